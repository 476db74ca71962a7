//! The Lambda edge: what every function does before and around its own work.
//!
//! - [`settings`]: the one reader of the environment.
//! - [`deployment`]: adapters wired to ports, and the workflows on them.
//! - [`assistant`]: who thinks, by the configuration.
//! - [`consumer`]: batches of a workflow's queue, message by message.
//! - [`tokens`]: who stands behind a token, of a call or in a message.
//! - [`telemetry`]: log lines as JSON.
//!
//! Deliberately absent: anything that knows what an email, a document or a task is.

pub mod assistant;
pub mod consumer;
pub mod deployment;
pub mod message;
pub mod settings;
pub mod telemetry;
pub mod tokens;

/// Reading documents in a process of its own: a function that does calls `run_if_child` before anything else.
pub use ihelper_adapters::extract;
