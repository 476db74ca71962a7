use std::collections::BTreeMap;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::Failure;

/// Where callers put what is too large for a request, and fetch what is too large for an answer.
///
/// Nobody meets another's: whatever is there belongs to the caller it was offered to. An `id` has 1 to 64 letters,
/// digits, `_` and `-`; every call refuses another one with a failure of kind `Validation`. Nothing stays for longer
/// than some days.
#[async_trait]
pub trait Uploads: Send + Sync {
    /// A place for a body of exactly `bytes` bytes of JSON, for this caller alone, and how to put it there. What is put
    /// there twice is what was put last.
    async fn offer(&self, caller: &str, id: &str, bytes: u64) -> Result<Offer, Failure>;

    /// What the caller put there, at most `limit` bytes.
    ///
    /// # Errors
    /// This returns an error of kind `NotFound` when nothing is there, and `Validation` when it is larger.
    async fn take(&self, caller: &str, id: &str, limit: u64) -> Result<Vec<u8>, Failure>;

    /// Lays down an answer in JSON for the caller and gives an address to get it from, for some minutes.
    async fn lay_down(&self, caller: &str, id: &str, bytes: Vec<u8>) -> Result<Handout, Failure>;
}

/// How to upload a body: a PUT to `url` with these headers, any time before it expires. The url is the permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Where to.
    pub url: String,
    /// The headers that the request must have, names in lower case; the body's length is among them.
    pub headers: BTreeMap<String, String>,
    /// Until when the upload may begin.
    pub expires_at: Timestamp,
}

/// Where an answer can be had: by a GET of `url`, any time before it expires. The url is the permission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handout {
    /// Where from.
    pub url: String,
    /// Until when.
    pub expires_at: Timestamp,
}
