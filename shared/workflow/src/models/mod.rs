//! Calls to models, spread over the configured nodes.
//!
//! - `balance`: who is next: weights, limits, and who has to cool down. No call, no time of its own.
//! - [`Router`]: one call, over as many nodes as it takes.
//!
//! Invariants: a node that cools down is not called; a node never has more calls than its limit; among the nodes that
//! can be called, the shares follow the weights; a call that is broken off leaves nothing behind.
//!
//! The state is one process's, and kept in moments of the clock port rather than in running timers: a function that was
//! frozen finds, when it thaws, that what was to cool down meanwhile has.
//!
//! Deliberately absent: probing nodes that nobody asked for anything, and state shared between processes. Each learns
//! from its own calls, one failure each.

mod balance;
mod router;

pub use router::{Node, Routed, Router, Unanswered};
