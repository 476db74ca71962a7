//! Uploads and answers in the payload bucket, reached by signed addresses: the bytes pass by the functions.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_s3::{
    config::{self, RequestChecksumCalculation},
    presigning::PresigningConfig,
};
use ihelper_workflow::{
    domain::Failure,
    ports::{Clock, Handout, Offer, Uploads},
};
use jiff::{SignedDuration, Timestamp};

use super::{Bucket, JSON};
use crate::{aws::Aws, failures::failure};

/// How long a signed address is good: time for 32 MiB over a slow line, and little for whoever finds the address.
/// Whatever an address says, it ends with the session of the function that signed it.
const GOOD_FOR: Duration = Duration::from_mins(15);

/// The longest id.
const LONGEST_ID: usize = 64;

/// Uploads and answers in a bucket, under `uploads/<caller>/<id>` and `answers/<caller>/<id>`, where the caller is a
/// BLAKE3 hash. The bucket's lifecycle removes them. A clone is cheap.
#[derive(Clone)]
pub struct S3Uploads {
    bucket: Bucket,
    clock: Arc<dyn Clock>,
}

impl S3Uploads {
    /// Uploads and answers in this bucket; addresses are good for 15 minutes of this clock.
    pub fn new(aws: &Aws, clock: Arc<dyn Clock>, bucket: &str) -> Self {
        Self { bucket: Bucket::new(aws, bucket), clock }
    }

    /// How addresses are signed now, and until when they are good.
    fn signing(&self) -> Result<(PresigningConfig, Timestamp), Failure> {
        let unusable = |_| Failure::validation("s3 sign: the clock shows no moment that an address can be signed for");
        // Signatures know whole seconds only.
        let from = Timestamp::from_second(self.clock.now().as_second()).map_err(unusable)?;
        let good_for = SignedDuration::try_from(GOOD_FOR).map_err(unusable)?;
        let until = from.checked_add(good_for).map_err(unusable)?;
        let config = PresigningConfig::builder().start_time(from.into()).expires_in(GOOD_FOR).build();
        let config = config.map_err(|_| Failure::validation("s3 sign: the address would be good for too long"))?;
        Ok((config, until))
    }
}

impl std::fmt::Debug for S3Uploads {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("S3Uploads").field("bucket", &self.bucket).finish_non_exhaustive()
    }
}

#[async_trait]
impl Uploads for S3Uploads {
    /// # Errors
    /// This returns an error of kind `Validation` also when S3 could not take so many bytes at all.
    async fn offer(&self, caller: &str, id: &str, bytes: u64) -> Result<Offer, Failure> {
        let key = key("uploads", caller, id)?;
        let length = i64::try_from(bytes).map_err(|_| Failure::validation("the upload has too many bytes"))?;
        let (signing, expires_at) = self.signing()?;
        // By default the SDK signs the checksum of the body that it sees, an empty one, and S3 would hold the upload
        // to that.
        let no_checksum = config::Builder::new().request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
        let request = self
            .bucket
            .client
            .put_object()
            .bucket(&*self.bucket.name)
            .key(key)
            .content_type(JSON)
            .content_length(length)
            .customize()
            .config_override(no_checksum)
            .presigned(signing)
            .await
            .map_err(|error| failure("s3 sign upload", &error))?;
        let headers = request.headers().map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        Ok(Offer { url: request.uri().to_owned(), headers, expires_at })
    }

    async fn take(&self, caller: &str, id: &str, limit: u64) -> Result<Vec<u8>, Failure> {
        self.bucket.get("s3 get upload", &key("uploads", caller, id)?, limit).await
    }

    async fn lay_down(&self, caller: &str, id: &str, bytes: Vec<u8>) -> Result<Handout, Failure> {
        let key = key("answers", caller, id)?;
        self.bucket.put("s3 put answer", &key, bytes).await?;
        let (signing, expires_at) = self.signing()?;
        let request = self.bucket.client.get_object().bucket(&*self.bucket.name).key(key).presigned(signing).await;
        let request = request.map_err(|error| failure("s3 sign answer", &error))?;
        Ok(Handout { url: request.uri().to_owned(), expires_at })
    }
}

fn key(folder: &str, caller: &str, id: &str) -> Result<String, Failure> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '-';
    if !(1..=LONGEST_ID).contains(&id.len()) || !id.chars().all(is_plain) {
        return Err(Failure::validation("an upload's id has 1 to 64 letters, digits, `_` and `-`"));
    }
    Ok(format!("{folder}/{}/{id}", blake3::hash(caller.as_bytes()).to_hex()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_caller_has_a_folder_of_their_own() {
        let ann = key("uploads", "ann", "u-1").unwrap();
        assert!(ann.starts_with("uploads/") && ann.ends_with("/u-1"));
        assert!(!ann.contains("ann"));
        assert_ne!(ann, key("uploads", "bob", "u-1").unwrap());
        assert_ne!(ann, key("answers", "ann", "u-1").unwrap());
    }

    #[test]
    fn an_id_is_no_path() {
        for id in ["", ".", "..", "a/b", "a b", "é", "a%2fb", &"a".repeat(65)] {
            assert!(key("uploads", "ann", id).is_err(), "`{id}`");
        }
        assert!(key("uploads", "ann", &"a".repeat(64)).is_ok());
    }
}
