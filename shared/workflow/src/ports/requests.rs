use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::{Failure, RunId};

/// Which run a request led to, so that the same request again is the same run.
#[async_trait]
pub trait Requests: Send + Sync {
    /// Remembers a request under its key, if what is remembered there may give way; one that is over by `now` always
    /// may.
    async fn remember(
        &self,
        key: &RequestKey,
        request: &Remembered,
        gives_way: GivesWay,
        now: Timestamp,
    ) -> Result<Recalled, Failure>;
}

/// By what a request is recognized.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RequestKey {
    /// By the `Idempotency-Key` that a caller sent with it.
    Idempotency {
        /// The caller: nobody meets another's key.
        caller: String,
        /// The key.
        key: String,
    },
    /// By what it asks for: the seed's result cache, `workflow:<workflow id>`.
    Result {
        /// The caller, the workflow, its definition and the data, as one hash.
        workflow_id: String,
    },
}

/// What is remembered of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The run it led to. It may not exist yet, or never have been made: whoever is told of it may make it.
    pub run: RunId,
    /// What the request was, as a hash.
    pub fingerprint: String,
    /// Until when it is remembered.
    pub until: Timestamp,
}

/// What may be forgotten for a new request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivesWay {
    /// Nothing that still counts.
    Nothing,
    /// A request that led to this run.
    Run(RunId),
    /// Whatever is there.
    Anything,
}

/// What came of [`Requests::remember`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recalled {
    /// The request is new, and remembered.
    New,
    /// Another was made before; nothing was written.
    Known(Remembered),
}
