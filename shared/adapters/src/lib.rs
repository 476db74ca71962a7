//! The ports against the real services: one file per port, each behind a feature of its name.
//!
//! - [`aws`]: what all clients share; built from values, without reading the environment.
//! - [`dynamodb`]: the journal, the tracking, the answer ledger and the remembered requests on one table.
//! - [`sqs`], [`scheduler`], [`ses`], [`s3`], [`eventbridge`]: queues, what they send later, mail, objects and events.
//! - [`bedrock`], [`openai`]: models.
//! - [`cedar`], [`issuer`]: who may do what, and the keys of who says who somebody is.
//! - [`http`], [`mcp`]: what tasks reach beyond AWS.
//! - [`work`], [`otlp`]: what the work at hand takes and the trace that it belongs to, and where spans go.
//! - [`extract`]: text out of documents.
//! - [`failures`]: the one translation of the services' errors into the domain's.
//! - [`system`]: the system's clock and randomness.
//!
//! Invariants:
//! - No SDK type crosses inward: constructors take texts and numbers, results are domain values.
//! - A failure's message names the call and the service's error code. It never holds what the service said in
//!   words, because that repeats addresses and values from the request.
//! - Clients are made when first used, so that a function pays for the services that it talks to.
//!
//! Deliberately absent: reading environment variables (the runtime's part), and retries of our own around the
//! SDK's.

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(feature = "bedrock")]
pub mod bedrock;
#[cfg(feature = "cedar")]
pub mod cedar;
#[cfg(feature = "dynamodb")]
pub mod dynamodb;
#[cfg(feature = "eventbridge")]
pub mod eventbridge;
#[cfg(feature = "extract")]
pub mod extract;
#[cfg(feature = "aws")]
pub mod failures;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "issuer")]
pub mod issuer;
#[cfg(feature = "mcp")]
pub mod mcp;
#[cfg(feature = "openai")]
pub mod openai;
#[cfg(feature = "otlp")]
pub mod otlp;
#[cfg(any(feature = "aws", feature = "http"))]
mod roots;
#[cfg(feature = "s3")]
pub mod s3;
#[cfg(feature = "scheduler")]
pub mod scheduler;
#[cfg(feature = "ses")]
pub mod ses;
#[cfg(feature = "sqs")]
pub mod sqs;
pub mod system;
#[cfg(feature = "aws")]
pub mod work;
