use async_trait::async_trait;

use crate::domain::{Failure, document::Content};

/// Reads the text out of a document.
#[async_trait]
pub trait Extractor: Send + Sync {
    /// Reads a document; its kind is told from its bytes, the name only helps between kinds of plain text.
    ///
    /// # Errors
    /// This returns an error of kind `Validation` that says which: encrypted, scanned without text, corrupt,
    /// too large, of a kind that is not supported, or too much for the limits of memory and time.
    async fn extract(&self, name: Option<&str>, bytes: Vec<u8>) -> Result<Content, Failure>;
}
