//! Every workflow under every fault, at every point where it touches the world.
//!
//! `SWEEP_SCHEDULES` says how many schedules are drawn at random in all (100,000 unless said), `SWEEP_SEED` from which
//! seed. A schedule that breaks a promise is printed; `SWEEP_REPLAY='email 7/3:crash_before,9:throttle'` plays it
//! alone, in the test `one_schedule_alone`.

mod mutations;
mod scenarios;

use ihelper_testkit::faults::{Found, Sweep, Swept};

fn report(name: &str, swept: Result<Swept, Box<Found>>) -> Swept {
    let swept = swept.unwrap_or_else(|found| panic!("{name} {found}"));
    eprintln!("{name}: {swept:?}");
    swept
}

fn number_from(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{variable} is not a number")),
        Err(_) => otherwise,
    }
}

#[test]
fn one_schedule_alone() {
    let Ok(text) = std::env::var("SWEEP_REPLAY") else { return };
    let (name, schedule) = text.split_once(' ').expect("SWEEP_REPLAY is `<scenario> <schedule>`");
    let (_, scenario) =
        scenarios::all().into_iter().find(|(known, _)| *known == name).expect("there is such a scenario");
    report(name, Sweep::of(scenario).check([schedule.parse().unwrap()]));
}

fn every_single_fault(name: &str) {
    let (_, scenario) = scenarios::all().into_iter().find(|(known, _)| *known == name).unwrap();
    let sweep = Sweep::of(scenario);
    eprintln!("{name}: {} calls", sweep.calls());
    report(name, sweep.check(sweep.single_faults()));
}

#[test]
fn an_email_survives_every_fault_at_every_call() {
    every_single_fault("email");
}

#[test]
fn a_reviewed_email_survives_every_fault_at_every_call() {
    every_single_fault("reviewed");
}

#[test]
fn a_document_survives_every_fault_at_every_call() {
    every_single_fault("document");
}

#[test]
fn a_task_survives_every_fault_at_every_call() {
    every_single_fault("task");
}

#[test]
fn a_mixed_workflow_survives_every_fault_at_every_call() {
    every_single_fault("mixed");
}

fn at_random(name: &str, share: u64) {
    let (_, scenario) = scenarios::all().into_iter().find(|(known, _)| *known == name).unwrap();
    let sweep = Sweep::of(scenario);
    let (seed, all) = (number_from("SWEEP_SEED", 1), number_from("SWEEP_SCHEDULES", 100_000));
    eprintln!("{name}: seed {seed}");
    report(name, sweep.check(sweep.random(seed, (all * share / 100) as usize)));
}

#[test]
fn an_email_survives_faults_at_random() {
    at_random("email", 20);
}

#[test]
fn a_reviewed_email_survives_faults_at_random() {
    at_random("reviewed", 20);
}

#[test]
fn a_document_survives_faults_at_random() {
    at_random("document", 20);
}

#[test]
fn a_task_survives_faults_at_random() {
    at_random("task", 20);
}

#[test]
fn a_mixed_workflow_survives_faults_at_random() {
    at_random("mixed", 20);
}
