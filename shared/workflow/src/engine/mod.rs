//! The durable engine: a run survives every fault without losing work or doing an outside effect twice.
//!
//! A workflow is plain async code against a [`Context`]. The [`Worker`] gives it one attempt at a time; [`Control`] is
//! how the world reaches a run between attempts: it cancels, retries, answers and settles.
//!
//! **Invariants**
//! - A step that has a result in the journal returns it and does not run again.
//! - The journal is a sequence of segments; a segment is appended only by who has seen all before it. Of two workers
//!   on one run, each learns of the other before anything of its own is written; the one whose result lost starts
//!   over from the journal.
//! - Results are appended in the background, several at once where they come close together; an effect, a wait and
//!   the end of the run wait for all of them.
//! - An at-most-once effect happens only after its intent was appended by this attempt, and only once.
//! - A cancellation is a segment too: no at-most-once effect is begun after it. Another, which has no intent, may be
//!   until the attempt appends something or renews its lease.
//! - The lease saves money; nothing above depends on it.
//!
//! Deliberately absent: a scheduler, timers, threads of its own. Whoever delivers the run's message again
//! (the queue, the caller, the hand-over) drives it on.

mod context;
mod control;
mod definitions;
mod log;
mod retry;
mod stop;
mod wait;
mod worker;

pub use context::{Branches, Context, Deadline, EffectKey, Semantics, Tries};
pub use control::{Answered, Asked, Cancelling, Control, Retry, Retrying, Settling};
pub use definitions::{Definitions, POINTER_LIFETIME};
pub use retry::backoff;
pub use stop::{Stop, Stops};
pub use wait::{Callback, Decision, LONGEST_WAIT, Reply};
pub use worker::{Begun, Outcome, Worker, WorkerPorts, Workflow};
