use std::{collections::BTreeMap, fmt};

use ihelper_workflow::{
    domain::{Status, run::Entry},
    ports::Entropy as _,
};
use tokio::runtime::{Builder, Runtime};

use super::{
    oracle::{self, Undisturbed},
    play::{Played, play},
    scenario::Scenario,
    schedule::{Fault, Planned, Schedule},
};
use crate::memory::SeededEntropy;

/// A scenario that is played under many schedules.
pub struct Sweep {
    scenario: Scenario,
    runtime: Runtime,
    undisturbed: Undisturbed,
    calls: usize,
}

/// What a sweep that found nothing went through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Schedules that were played.
    pub schedules: usize,
    /// Calls to ports that were made in all of them.
    pub calls: usize,
    /// Messages that were delivered.
    pub deliveries: usize,
    /// Faults that struck.
    pub faults: usize,
    /// How many runs ended how.
    pub ended: BTreeMap<&'static str, usize>,
}

/// A schedule under which a promise was broken.
#[derive(Clone, Debug)]
pub struct Found {
    /// The schedule.
    pub schedule: Schedule,
    /// How many schedules were played until then, this one included.
    pub after: usize,
    /// What came of it, with the promises that were broken.
    pub played: Played,
}

impl fmt::Display for Found {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "under schedule {} (the {}. that was played):", self.schedule, self.after)?;
        for violation in &self.played.violations {
            writeln!(formatter, "- {violation}")?;
        }
        writeln!(formatter, "its journal:")?;
        for segment in &self.played.segments {
            for entry in &segment.entries {
                match entry {
                    Entry::Step(step) => writeln!(
                        formatter,
                        "{:5} {} {} {:?} by {}",
                        segment.number, step.position, step.name, step.state, step.owner
                    )?,
                    Entry::Cancelled { .. } => writeln!(formatter, "{:5} cancelled", segment.number)?,
                }
            }
        }
        writeln!(formatter, "the calls that were made:")?;
        for (number, call) in self.played.calls.iter().enumerate().take(400) {
            writeln!(formatter, "{number:5} {call}")?;
        }
        Ok(())
    }
}

impl Sweep {
    /// Plays the scenario undisturbed, to know what must come of it.
    ///
    /// # Panics
    /// When a promise is broken even so.
    pub fn of(scenario: Scenario) -> Self {
        let runtime = Builder::new_current_thread().build().expect("a runtime needs nothing but memory");
        let schedule = Schedule::default();
        let mut played = runtime.block_on(play(&scenario, &schedule));
        let undisturbed = Undisturbed::of(&played);
        played.violations = oracle::violations(&scenario, &schedule, &played, &undisturbed);
        if played.status() != Some(Status::Succeeded) {
            played.violations.push(format!("the run is {:?}", played.run));
        }
        let calls = played.calls.len();
        assert!(played.violations.is_empty(), "{}", Found { schedule, after: 1, played });
        Self { scenario, runtime, undisturbed, calls }
    }

    /// How many calls the undisturbed run makes.
    pub const fn calls(&self) -> usize {
        self.calls
    }

    /// Every fault at every call of the undisturbed run, one at a time.
    pub fn single_faults(&self) -> impl Iterator<Item = Schedule> + use<> {
        (0..self.calls).flat_map(|call| {
            let schedule = move |fault| Schedule { seed: call as u64, faults: vec![Planned { call, fault }] };
            Fault::ALL.map(schedule)
        })
    }

    /// Every pair of faults at every two calls of the undisturbed run.
    pub fn pairs_of_faults(&self) -> impl Iterator<Item = Schedule> + use<> {
        let calls = self.calls;
        (0..calls).flat_map(move |first| (first + 1..calls).map(move |second| (first, second))).flat_map(
            |(first, second)| {
                let pair = move |one, other| Schedule {
                    seed: (first * 1000 + second) as u64,
                    faults: vec![Planned { call: first, fault: one }, Planned { call: second, fault: other }],
                };
                Fault::ALL.into_iter().flat_map(move |one| Fault::ALL.map(|other| pair(one, other)))
            },
        )
    }

    /// So many schedules of one to four faults, drawn at random from a seed. Calls that only a disturbed run makes are
    /// among those that are struck.
    pub fn random(&self, seed: u64, schedules: usize) -> impl Iterator<Item = Schedule> + use<> {
        let seeds = SeededEntropy::new(seed);
        let calls = self.calls * 3 / 2;
        (0..schedules).map(move |_| Schedule::random((seeds.random() & u128::from(u32::MAX)) as u64, calls))
    }

    /// Plays the scenario under one schedule.
    pub fn play(&self, schedule: &Schedule) -> Played {
        let mut played = self.runtime.block_on(play(&self.scenario, schedule));
        played.violations = oracle::violations(&self.scenario, schedule, &played, &self.undisturbed);
        played
    }

    /// Plays the scenario under these schedules, up to the first that breaks a promise.
    ///
    /// # Errors
    /// This returns an error with the schedule that did.
    pub fn check(&self, schedules: impl IntoIterator<Item = Schedule>) -> Result<Swept, Box<Found>> {
        let mut swept = Swept::default();
        for schedule in schedules {
            let played = self.play(&schedule);
            swept.schedules += 1;
            if !played.violations.is_empty() {
                return Err(Box::new(Found { schedule, after: swept.schedules, played }));
            }
            swept.calls += played.calls.len();
            swept.deliveries += played.deliveries;
            swept.faults += played.calls.iter().filter(|call| call.fault.is_some()).count();
            *swept.ended.entry(played.status().map_or("lost", Status::name)).or_default() += 1;
        }
        Ok(swept)
    }
}
