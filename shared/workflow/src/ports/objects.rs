use async_trait::async_trait;

use crate::domain::{Failure, document::ObjectRef};

/// Objects in the buckets that this deployment may read.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Reads an object of at most `limit` bytes.
    ///
    /// # Errors
    /// This returns an error of kind `NotFound` when there is no such object, `Authorization` when it lies
    /// elsewhere than in the mail and document buckets, `Validation` when it is larger.
    async fn get(&self, object: &ObjectRef, limit: u64) -> Result<Vec<u8>, Failure>;

    /// An object's user metadata, keys in lower case, and its size.
    async fn head(&self, object: &ObjectRef) -> Result<StoredObject, Failure>;
}

/// What is known of an object without reading it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredObject {
    /// Its size.
    pub bytes: u64,
    /// Its user metadata, keys in lower case without `x-amz-meta-`.
    pub metadata: std::collections::BTreeMap<String, String>,
}
