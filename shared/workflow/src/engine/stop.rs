use jiff::Timestamp;

use crate::domain::Failure;

/// Why an attempt stops before the workflow's end. Workflows pass it on with `?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Something failed; its kind says whether another attempt may help.
    Failed(Failure),
    /// An at-most-once effect has an intent and no outcome: it may or may not have happened.
    OutcomeUnknown {
        /// The effect.
        step: String,
    },
    /// The invocation's time is nearly up: another one goes on from the journal.
    HandOver,
    /// The run waits for a time, or for an answer until then; it holds no compute meanwhile.
    Wait {
        /// Until when.
        until: Timestamp,
    },
    /// Another worker is at it.
    StandBack,
    /// Another worker's result stands where this attempt had one of its own: start over from the journal.
    Superseded,
    /// The run was cancelled.
    Cancelled,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Stop {
    /// How much it matters among the stops of branches side by side.
    const fn weight(&self) -> u8 {
        match self {
            Self::Cancelled => 6,
            Self::Superseded => 5,
            Self::StandBack => 4,
            // Above a failure: the run can fail once somebody has said whether the effect happened.
            Self::OutcomeUnknown { .. } => 3,
            Self::Failed(_) => 2,
            Self::HandOver => 1,
            Self::Wait { .. } => 0,
        }
    }
}

/// The stops of branches side by side, as one.
#[derive(Debug, Default)]
pub struct Stops(Option<Stop>);

impl Stops {
    /// Takes in the stop of a branch: the one that matters most stays, among waits the shortest.
    pub fn add(&mut self, stop: Stop) {
        self.0 = Some(match (self.0.take(), stop) {
            (None, stop) => stop,
            (Some(Stop::Wait { until }), Stop::Wait { until: other }) => Stop::Wait { until: until.min(other) },
            (Some(standing), stop) if stop.weight() > standing.weight() => stop,
            (Some(standing), _) => standing,
        });
    }

    /// Whether other branches may still be begun: where all that stopped only wait, the others go on.
    pub const fn let_others_begin(&self) -> bool {
        matches!(self.0, None | Some(Stop::Wait { .. }))
    }

    /// The value, unless a branch stopped.
    ///
    /// # Errors
    /// This returns the stop that matters most.
    pub fn or<T>(self, value: T) -> Result<T, Stop> {
        self.0.map_or(Ok(value), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(second: i64) -> Stop {
        Stop::Wait { until: Timestamp::from_second(second).unwrap() }
    }

    fn merged(stops: &[Stop]) -> Result<(), Stop> {
        let mut all = Stops::default();
        stops.iter().cloned().for_each(|stop| all.add(stop));
        all.or(())
    }

    #[test]
    fn of_two_waits_the_shorter_counts_and_others_go_on() {
        assert_eq!(merged(&[wait(5), wait(3), wait(9)]), Err(wait(3)));
        let mut stops = Stops::default();
        stops.add(wait(1));
        assert!(stops.let_others_begin());
        stops.add(Stop::HandOver);
        assert!(!stops.let_others_begin());
    }

    #[test]
    fn what_matters_most_wins_whatever_the_order() {
        let failed = Stop::Failed(Failure::validation("no"));
        let unknown = Stop::OutcomeUnknown { step: "send".to_owned() };
        let stops = [wait(1), failed, Stop::HandOver, unknown.clone()];
        assert_eq!(merged(&stops), Err(unknown.clone()));
        assert_eq!(merged(&stops.iter().rev().cloned().collect::<Vec<_>>()), Err(unknown));
        assert_eq!(merged(&[]), Ok(()));
    }
}
