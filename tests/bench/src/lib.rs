//! What a run costs and how long it takes.
//!
//! - [`workloads`]: the typical input of each workflow, which everything here is measured with.
//! - [`costs`]: the figures of `tests/costs.json`. The test `costs` of this package measures them on the real DynamoDB
//!   adapter and holds the code to them.
//! - [`stage`]: the engine and the workflows on a store and a model of a known pace.
//! - [`speed`], [`processor`] and [`router`]: what `make bench` measures.
//! - [`prices`]: what a million runs cost, from the figures and the public unit prices.
//! - [`report`]: tables, for people and for programs.
//!
//! Deliberately absent: thresholds on anything that a loaded machine changes, but for the claims of the engine and of the router.

pub mod costs;
pub mod prices;
pub mod processor;
pub mod report;
pub mod router;
pub mod speed;
pub mod stage;
pub mod workloads;
