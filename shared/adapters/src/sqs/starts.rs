//! The data of starts that no message holds: laid aside in the payload bucket, where the message says.

use ihelper_workflow::{
    domain::{Failure, RunId},
    ports::LARGEST_DATA,
};

use crate::{aws::Aws, s3::Bucket};

const FOLDER: &str = "starts/";

/// Data laid aside under `starts/<run id>`. The bucket's lifecycle removes it, long after the longest life of a
/// message and of its dead letter.
#[derive(Clone, Debug)]
pub(super) struct Starts {
    bucket: Bucket,
}

impl Starts {
    pub(super) fn new(aws: &Aws, bucket: &str) -> Self {
        Self { bucket: Bucket::new(aws, bucket) }
    }

    /// Lays data aside and gives the place.
    pub(super) async fn put(&self, run: RunId, data: Vec<u8>) -> Result<String, Failure> {
        if data.len() as u64 > LARGEST_DATA {
            let bytes = data.len();
            return Err(Failure::validation(format!("the data has {bytes} bytes, more than {LARGEST_DATA}")));
        }
        let place = place(run);
        self.bucket.put("s3 put start", &place, data).await?;
        Ok(place)
    }

    pub(super) async fn get(&self, place: &str) -> Result<Vec<u8>, Failure> {
        check(place)?;
        self.bucket.get("s3 get start", place, LARGEST_DATA).await
    }
}

fn place(run: RunId) -> String {
    format!("{FOLDER}{run}")
}

/// Whoever may write to the queue may name a place, and nothing but starts is theirs to read.
fn check(named: &str) -> Result<(), Failure> {
    let run = named.strip_prefix(FOLDER).and_then(|run| run.parse::<RunId>().ok());
    // Written as we write it, for a ULID can be written in several ways.
    if run.is_some_and(|run| place(run) == named) {
        Ok(())
    } else {
        Err(Failure::validation("`data_at` is not `starts/<run id>`"))
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn only_starts_can_be_referred_to() {
        let run = RunId::new(Timestamp::UNIX_EPOCH, 7);
        check(&place(run)).unwrap();
        let strange = ["", "starts/", "starts/x", "payloads/run/hash", "/starts/", "starts/../uploads"];
        let near = [format!("{}/", place(run)), format!(" {}", place(run)), place(run).replace("starts", "answers")];
        for place in strange.map(str::to_owned).into_iter().chain(near) {
            assert!(check(&place).is_err(), "`{place}`");
        }
    }
}
