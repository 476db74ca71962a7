//! The durable engine: a run survives every fault without losing work or doing an outside effect twice.
//!
//! A workflow is plain async code against a [`Context`]. The [`Worker`] gives it one attempt at a time.
//!
//! **Invariants**
//! - A step that has a result in the journal returns it and does not run again.
//! - Results are written with "first writer wins"; an attempt whose result lost starts over from the journal.
//! - Writes of results run in the background; an effect and the end of the run wait for all of them.
//! - An at-most-once effect happens only after its intent was written by this attempt, and only once.
//! - The lease saves money; nothing above depends on it.
//!
//! Deliberately absent: a scheduler, timers, threads of its own. Whoever delivers the run's message again
//! (the queue, the caller, the hand-over) drives it on.

mod context;
mod retry;
mod stop;
mod worker;

pub use context::{Branches, Context, Deadline, EffectKey, Semantics};
pub use retry::backoff;
pub use stop::Stop;
pub use worker::{Begun, Definitions, Outcome, Worker, WorkerPorts, Workflow};
