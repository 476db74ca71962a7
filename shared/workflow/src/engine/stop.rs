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
    /// Another worker is at it.
    StandBack,
    /// Another worker's result stands where this attempt had one of its own: start over from the journal.
    Superseded,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}
