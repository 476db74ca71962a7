use async_trait::async_trait;

use crate::domain::Failure;

/// The keys of who signs callers' tokens.
#[async_trait]
pub trait SigningKeys: Send + Sync {
    /// The keys as they are published now: a JSON Web Key Set (RFC 7517), not yet read.
    async fn published(&self) -> Result<String, Failure>;
}
