//! The heart of ihelper: what a run is, how it survives, and the three workflows.
//!
//! - [`domain`]: the values; one that exists is valid.
//! - [`ports`]: what the workflows need from outside, in domain words.
//! - [`engine`]: journaled steps, guarded effects, leases, retries.
//! - [`workflows`]: `email_processing`, `document_review` and `task_automation`, each read as a story.
//! - [`embedded`]: the configuration and the definitions that are built in.
//! - [`mail`]: MIME read into the domain, and the rules of RFC 3834.
//! - `templates`, `markdown`: the two ways in which text from outside meets text of ours.
//! - [`assistant`]: the definition's prompts, put to models, and their answers checked.
//! - [`models`]: calls spread over the configured nodes, with failover and accounts.
//! - [`versions`]: how a definition gets another version, and how that is tried before any run gets it.
//! - [`rules`]: the embedded default assistant, deterministic and without a model.
//!
//! Deliberately absent: AWS, HTTP and Lambda types. Nothing here reads a clock, an environment variable or
//! a source of randomness but through a port, so a test owns time and a replay repeats itself.

pub mod assistant;
pub mod domain;
pub mod embedded;
pub mod engine;
pub mod mail;
mod markdown;
pub mod models;
pub mod ports;
pub mod rules;
mod templates;
pub mod versions;
pub mod workflows;
