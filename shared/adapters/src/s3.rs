//! Objects on S3: what workflows read, values too large for the table, and what callers put there and get there.

mod uploads;

use std::{collections::BTreeSet, fmt, sync::Arc};

use async_trait::async_trait;
use aws_sdk_s3::{Client, operation::get_object::GetObjectOutput};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use ihelper_workflow::{
    domain::{Failure, Kind, document::ObjectRef},
    ports::{Objects, StoredObject},
};

use crate::{
    aws::{Aws, Lazy},
    failures::failure,
};

pub use uploads::S3Uploads;

/// The type of what callers upload and get, and of what messages refer to.
const JSON: &str = "application/json";

/// Objects in the buckets that this deployment may read. A clone is cheap.
#[derive(Clone)]
pub struct S3Objects {
    client: Arc<Lazy<Client>>,
    buckets: Arc<BTreeSet<String>>,
}

impl S3Objects {
    /// Reads from these buckets and from no other, whatever the function's role allows.
    pub fn new<Name: Into<String>>(aws: &Aws, buckets: impl IntoIterator<Item = Name>) -> Self {
        let buckets = buckets.into_iter().map(Into::into).collect();
        Self { client: Arc::new(aws.s3()), buckets: Arc::new(buckets) }
    }

    fn check(&self, object: &ObjectRef) -> Result<(), Failure> {
        if !self.buckets.contains(&object.bucket) {
            return Err(Failure::new(Kind::Authorization, "the object lies outside of this deployment's buckets"));
        }
        if object.key.is_empty() {
            return Err(absent());
        }
        Ok(())
    }
}

impl fmt::Debug for S3Objects {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("S3Objects").field("buckets", &self.buckets).finish_non_exhaustive()
    }
}

#[async_trait]
impl Objects for S3Objects {
    async fn get(&self, object: &ObjectRef, limit: u64) -> Result<Vec<u8>, Failure> {
        self.check(object)?;
        let answer = self.client.get_object().bucket(&object.bucket).key(&object.key).send().await;
        bounded(answer.map_err(|error| missing_or("s3 get", &error))?, limit).await
    }

    async fn head(&self, object: &ObjectRef) -> Result<StoredObject, Failure> {
        self.check(object)?;
        let answer = self.client.head_object().bucket(&object.bucket).key(&object.key).send().await;
        let answer = answer.map_err(|error| missing_or("s3 head", &error))?;
        let metadata = answer.metadata.unwrap_or_default();
        Ok(StoredObject {
            bytes: answer.content_length.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default(),
            metadata: metadata.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect(),
        })
    }
}

/// Values too large for the table, in a bucket of their own. A clone is cheap.
#[cfg(feature = "dynamodb")]
#[derive(Clone)]
pub struct S3Values {
    client: Arc<Lazy<Client>>,
    bucket: Arc<str>,
}

#[cfg(feature = "dynamodb")]
impl S3Values {
    /// Values in this bucket.
    pub fn new(aws: &Aws, bucket: &str) -> Self {
        Self { client: Arc::new(aws.s3()), bucket: Arc::from(bucket) }
    }
}

#[cfg(feature = "dynamodb")]
impl fmt::Debug for S3Values {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("S3Values").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

#[cfg(feature = "dynamodb")]
#[async_trait]
impl crate::dynamodb::ValueStore for S3Values {
    async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), Failure> {
        let request = self.client.put_object().bucket(&*self.bucket).key(key).body(bytes.into());
        request.send().await.map(drop).map_err(|error| failure("s3 put payload", &error))
    }

    async fn get(&self, key: &str, limit: u64) -> Result<Vec<u8>, Failure> {
        let answer = self.client.get_object().bucket(&*self.bucket).key(key).send().await;
        // A payload that is gone is a fault of the store, never the absence of the run that refers to it.
        bounded(answer.map_err(|error| failure("s3 get payload", &error))?, limit).await
    }
}

/// A bucket of our own, in which the absence of an object is an answer. A clone is cheap.
#[derive(Clone)]
pub(crate) struct Bucket {
    client: Arc<Lazy<Client>>,
    name: Arc<str>,
}

impl Bucket {
    pub(crate) fn new(aws: &Aws, name: &str) -> Self {
        Self { client: Arc::new(aws.s3()), name: Arc::from(name) }
    }

    /// Writes JSON under a key. `call` names the call in a failure.
    pub(crate) async fn put(&self, call: &str, key: &str, json: Vec<u8>) -> Result<(), Failure> {
        let request = self.client.put_object().bucket(&*self.name).key(key).content_type(JSON).body(json.into());
        request.send().await.map(drop).map_err(|error| failure(call, &error))
    }

    /// Reads what is under a key, at most `limit` bytes.
    pub(crate) async fn get(&self, call: &str, key: &str, limit: u64) -> Result<Vec<u8>, Failure> {
        let answer = self.client.get_object().bucket(&*self.name).key(key).send().await;
        bounded(answer.map_err(|error| missing_or(call, &error))?, limit).await
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Bucket").field(&self.name).finish()
    }
}

/// Reads an answer's body. The length that it announces is believed only when it is too much; what really comes
/// is counted.
async fn bounded(answer: GetObjectOutput, limit: u64) -> Result<Vec<u8>, Failure> {
    let too_large = || Failure::validation(format!("the object has more than {limit} bytes"));
    let announced = answer.content_length.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default();
    if announced > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(announced).unwrap_or_default());
    let mut body = answer.body;
    while let Some(chunk) = body.next().await {
        let chunk = chunk.map_err(|_| Failure::new(Kind::Connection, "s3 get: the object broke off"))?;
        if (bytes.len() + chunk.len()) as u64 > limit {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Absence is an answer here, if it is the object's own and not the bucket's.
fn missing_or<E>(call: &str, error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    if matches!(code, Some("NoSuchKey" | "NotFound")) { absent() } else { failure(call, error) }
}

fn absent() -> Failure {
    Failure::new(Kind::NotFound, "there is no such object")
}
