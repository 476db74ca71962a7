//! Documents read in a child process: what must come of each kind, and that no hostile file gets further.

mod documents;
mod hostile;
mod programs;
mod quoted;
mod readable;

use std::{path::PathBuf, time::Duration};

use ihelper_adapters::extract::{IsolatedExtractor, Limits};
use ihelper_workflow::{
    domain::{Failure, Kind, document::Content},
    ports::Extractor,
};

/// Reads a document in a child, within the limits that production has but for the clock: other tests run beside.
async fn extract(name: &str, bytes: impl Into<Vec<u8>>) -> Result<Content, Failure> {
    extract_within(Limits { timeout: Duration::from_secs(60), ..Limits::default() }, name, bytes).await
}

async fn extract_within(limits: Limits, name: &str, bytes: impl Into<Vec<u8>>) -> Result<Content, Failure> {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_extract-document"));
    IsolatedExtractor::new(program, limits).extract(Some(name), bytes.into()).await
}

/// The message of the failure that a document must end in.
async fn refusal(name: &str, bytes: impl Into<Vec<u8>>) -> String {
    refusal_of(extract(name, bytes).await)
}

fn refusal_of(outcome: Result<Content, Failure>) -> String {
    let failure = outcome.expect_err("the document must be refused");
    assert_eq!(failure.kind, Kind::Validation, "{failure}");
    failure.message
}
