use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{Failure, Kind, document::ObjectRef},
    ports::{Objects, StoredObject},
};

use super::lock;

/// Objects in memory, in the buckets that were named.
#[derive(Clone, Default)]
pub struct MemoryObjects {
    buckets: Arc<BTreeSet<String>>,
    objects: Arc<Mutex<BTreeMap<(String, String), Object>>>,
}

#[derive(Clone)]
struct Object {
    bytes: Vec<u8>,
    metadata: BTreeMap<String, String>,
}

impl MemoryObjects {
    /// No objects yet; only these buckets may be read.
    pub fn new<Name: Into<String>>(buckets: impl IntoIterator<Item = Name>) -> Self {
        Self { buckets: Arc::new(buckets.into_iter().map(Into::into).collect()), objects: Arc::default() }
    }

    /// Puts an object, with user metadata; one under the same key is replaced. Also possible in a bucket that
    /// may not be read.
    pub fn put(&self, object: &ObjectRef, bytes: impl Into<Vec<u8>>, metadata: &[(&str, &str)]) {
        let metadata = metadata.iter().map(|(name, value)| (name.to_ascii_lowercase(), (*value).to_owned())).collect();
        lock(&self.objects)
            .insert((object.bucket.clone(), object.key.clone()), Object { bytes: bytes.into(), metadata });
    }

    fn find(&self, object: &ObjectRef) -> Result<Object, Failure> {
        if !self.buckets.contains(&object.bucket) {
            return Err(Failure::new(Kind::Authorization, "the object lies outside of this deployment's buckets"));
        }
        lock(&self.objects)
            .get(&(object.bucket.clone(), object.key.clone()))
            .cloned()
            .ok_or_else(|| Failure::new(Kind::NotFound, "there is no such object"))
    }
}

impl fmt::Debug for MemoryObjects {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("MemoryObjects")
            .field("buckets", &self.buckets)
            .field("objects", &lock(&self.objects).len())
            .finish()
    }
}

#[async_trait]
impl Objects for MemoryObjects {
    async fn get(&self, object: &ObjectRef, limit: u64) -> Result<Vec<u8>, Failure> {
        let found = self.find(object)?;
        let bytes = found.bytes.len() as u64;
        if bytes > limit {
            return Err(Failure::validation(format!("the object has {bytes} bytes, more than the limit of {limit}")));
        }
        Ok(found.bytes)
    }

    async fn head(&self, object: &ObjectRef) -> Result<StoredObject, Failure> {
        let found = self.find(object)?;
        Ok(StoredObject { bytes: found.bytes.len() as u64, metadata: found.metadata })
    }
}
