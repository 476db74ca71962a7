//! What a run costs and how long it takes.
//!
//! - [`workloads`]: the typical input of each workflow, which everything here is measured with.
//! - [`costs`]: the figures of `tests/costs.json`. The test `costs` of this package measures them on the real DynamoDB
//!   adapter and holds the code to them.
//! - [`stage`]: the engine and the workflows on a store and a model of a known pace.
//! - [`speed`], [`processor`] and [`router`]: what `make bench` measures.
//! - [`functions`]: the functions as they are deployed, beside functions that do nothing.
//! - [`documents`]: what reading documents takes.
//! - [`prices`]: what a million runs cost, from the figures and the public unit prices.
//! - [`report`]: tables, for people and for programs.
//!
//! Deliberately absent: limits on what a loaded machine changes alone. What is limited is a ratio to something that was
//! measured in turns with it, or far from its limit.

pub mod costs;
pub mod documents;
pub mod functions;
pub mod prices;
pub mod processor;
pub mod report;
pub mod router;
pub mod speed;
pub mod stage;
pub mod workloads;

/// Why something could not be measured.
pub type Failed = Box<dyn std::error::Error + Send + Sync>;
