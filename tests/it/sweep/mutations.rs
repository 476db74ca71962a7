//! An engine without one of its guards is found out; without leases, it needs none of them.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ihelper_testkit::{
    faults::{JournalLayer, Layered, Scenario, Schedule, Sweep},
    memory::MemoryJournal,
};
use ihelper_workflow::{
    domain::{
        Failure, RunId,
        run::{Entry, Lease, Segment, StepState},
    },
    ports::{Appended, Closing, Journal, Opened, Renewed},
};
use jiff::Timestamp;

use super::{number_from, report, scenarios};

/// So many schedules at the most until a broken guard must have shown.
const ENOUGH: usize = 20_000;

/// The first schedule under which a promise is broken in these words.
fn caught(scenario: Scenario, words: &str) {
    let sweep = Sweep::of(scenario);
    let schedules = sweep.single_faults().chain(sweep.random(number_from("SWEEP_SEED", 1), ENOUGH));
    let broken = |schedule: &Schedule| sweep.play(schedule).violations.iter().any(|found| found.contains(words));
    let (mut played, mut last) = (0, None);
    for schedule in schedules {
        played += 1;
        if broken(&schedule) {
            last = Some(schedule);
            break;
        }
    }
    match last {
        Some(schedule) => eprintln!("found out after {played} schedules, by {schedule}"),
        None => panic!("{played} schedules did not find out that `{words}`"),
    }
}

/// A journal in which nobody reads an intent.
struct WithoutIntents(MemoryJournal);

#[async_trait]
impl JournalLayer for WithoutIntents {
    fn below(&self) -> &dyn Journal {
        &self.0
    }

    async fn read(&self, id: RunId, from: u32) -> Result<Vec<Segment>, Failure> {
        let is_intent = |entry: &Entry| matches!(entry, Entry::Step(step) if step.state == StepState::Intended);
        let mut segments = self.0.read(id, from).await?;
        segments.iter_mut().for_each(|segment| segment.entries.retain(|entry| !is_intent(entry)));
        Ok(segments)
    }
}

#[test]
fn without_intents_a_mail_is_sent_twice() {
    caught(scenarios::email().with_journal(every(WithoutIntents)), "was sent 2 times");
}

/// A journal that says that a segment is durable while the last one is still on its way.
struct WithoutFlush {
    below: MemoryJournal,
    under_way: Mutex<Option<(RunId, Segment)>>,
}

impl WithoutFlush {
    fn new(below: MemoryJournal) -> Self {
        Self { below, under_way: Mutex::default() }
    }

    async fn land(&self) -> Result<(), Failure> {
        let under_way = self.under_way.lock().unwrap().take();
        if let Some((id, segment)) = under_way {
            self.below.append(id, &segment).await?;
        }
        Ok(())
    }
}

#[async_trait]
impl JournalLayer for WithoutFlush {
    fn below(&self) -> &dyn Journal {
        &self.below
    }

    async fn append(&self, id: RunId, segment: &Segment) -> Result<Appended, Failure> {
        self.land().await?;
        *self.under_way.lock().unwrap() = Some((id, segment.clone()));
        Ok(Appended::Written)
    }

    async fn close(&self, id: RunId, closing: &Closing, now: Timestamp) -> Result<bool, Failure> {
        self.land().await?;
        self.below.close(id, closing, now).await
    }
}

#[test]
fn without_the_flush_an_effect_is_repeated_with_another_content() {
    caught(scenarios::mixed().with_journal(every(WithoutFlush::new)), "with different contents");
}

#[test]
fn without_the_flush_a_mail_is_sent_twice() {
    caught(scenarios::email().with_journal(every(WithoutFlush::new)), "was sent 2 times");
}

/// A journal to which anybody appends, whether or not they have seen what is there.
struct WithoutCondition(MemoryJournal);

#[async_trait]
impl JournalLayer for WithoutCondition {
    fn below(&self) -> &dyn Journal {
        &self.0
    }

    async fn append(&self, id: RunId, segment: &Segment) -> Result<Appended, Failure> {
        let mut segment = segment.clone();
        while self.0.append(id, &segment).await? == Appended::Taken {
            segment.number += 1;
        }
        Ok(Appended::Written)
    }
}

#[test]
fn without_the_condition_on_segments_a_mail_is_sent_twice() {
    caught(scenarios::email().with_journal(every(WithoutCondition)), "was sent 2 times");
}

/// A journal whose leases keep nobody out.
struct WithoutLeases(MemoryJournal);

#[async_trait]
impl JournalLayer for WithoutLeases {
    fn below(&self) -> &dyn Journal {
        &self.0
    }

    async fn open(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<Opened, Failure> {
        let opened = self.0.open(id, lease, now).await?;
        let is_running = |run: &ihelper_workflow::domain::Run| run.id == id && run.lease.is_some();
        match opened {
            Opened::Busy { until } if self.0.runs().iter().any(is_running) => self.0.open(id, lease, until).await,
            opened => Ok(opened),
        }
    }

    async fn renew(&self, _: RunId, _: &Lease, _: Timestamp) -> Result<Renewed, Failure> {
        Ok(Renewed::Held)
    }

    async fn close(&self, id: RunId, closing: &Closing, now: Timestamp) -> Result<bool, Failure> {
        self.0.close(id, &Closing { owner: None, ..closing.clone() }, now).await
    }
}

fn without_leases(name: &str) {
    let (_, scenario) = scenarios::all().into_iter().find(|(known, _)| *known == name).unwrap();
    let sweep = Sweep::of(scenario.with_journal(every(WithoutLeases)));
    let share = number_from("SWEEP_SCHEDULES", 100_000) / 20;
    report(name, sweep.check(sweep.single_faults()));
    report(name, sweep.check(sweep.random(number_from("SWEEP_SEED", 1), share as usize)));
}

#[test]
fn without_leases_an_email_keeps_every_promise() {
    without_leases("email");
}

#[test]
fn without_leases_a_document_keeps_every_promise() {
    without_leases("document");
}

#[test]
fn without_leases_a_task_keeps_every_promise() {
    without_leases("task");
}

#[test]
fn without_leases_a_mixed_workflow_keeps_every_promise() {
    without_leases("mixed");
}

/// A layer of this kind for every machine.
fn every<L: JournalLayer + 'static>(
    make: impl Fn(MemoryJournal) -> L + Clone + Send + Sync + 'static,
) -> impl Fn(MemoryJournal) -> Box<dyn Fn() -> Arc<dyn Journal> + Send + Sync> + Send + Sync + 'static {
    move |journal| {
        let make = make.clone();
        Box::new(move || Arc::new(Layered(make(journal.clone()))))
    }
}
