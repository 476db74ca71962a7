//! The values that workflows are made of.
//!
//! Input is parsed at the edge ([`input::parse`]); inside, nothing is checked twice.

mod canonical;
pub mod configuration;
pub mod definition;
pub mod document;
pub mod email;
pub mod failure;
pub mod http;
pub mod input;
mod nodes;
pub mod plan;
pub mod run;
pub mod task;
pub mod tool;
pub mod version;

pub use canonical::{canonical_text, canonical_text_of};
pub use failure::{Failure, Kind};
pub use run::{Run, RunId, Status, WorkflowType};
