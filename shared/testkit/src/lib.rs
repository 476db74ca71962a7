//! What tests of ihelper are made of.
//!
//! - [`memory`]: a real implementation of the ports that keeps everything in memory, with a clock and a chance
//!   that the test owns.
//! - [`faults`]: a run under faults at every point where it touches the world, and what must be true of it.
//! - [`contracts`]: what must be true of each port, whoever implements it.
//!
//! Deliberately absent: mocks that expect calls in an order. A fake here does what its port promises.

pub mod contracts;
pub mod faults;
pub mod memory;
mod tester;

pub use tester::{OWN_ADDRESS, PlainTextExtractor, Ports, RecordingAssistant, WorkflowTester};
