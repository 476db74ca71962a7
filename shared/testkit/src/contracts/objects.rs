//! What must be true of every [`Objects`].
//!
//! The port only reads, so the cases need objects that are there already: [`FIXTURE`], in a bucket that may be
//! read, and nothing else.

use ihelper_workflow::{
    domain::{Kind, document::ObjectRef},
    ports::Objects,
};

/// Makes a test of every case of the objects' contract, each on a port that the expression makes anew and that
/// holds [`FIXTURE`](crate::contracts::objects::FIXTURE).
#[macro_export]
macro_rules! objects_contract {
    ($port:expr) => {
        $crate::contract_tests! { $port, objects:
            an_object_is_read_as_it_is,
            an_object_as_large_as_the_limit_is_read,
            an_object_larger_than_the_limit_is_refused,
            an_object_that_does_not_exist_is_not_found,
            a_bucket_that_is_not_ours_is_out_of_reach,
            what_is_known_of_an_object_is_told,
        }
    };
}

/// An object that must be there.
#[derive(Clone, Copy, Debug)]
pub struct Fixture {
    /// Its bucket, the only one that may be read.
    pub bucket: &'static str,
    /// Its key.
    pub key: &'static str,
    /// Its content.
    pub bytes: &'static [u8],
    /// Its user metadata.
    pub metadata: &'static [(&'static str, &'static str)],
}

/// What must be there: an object with metadata, and an empty one without. A key may hold any character.
pub const FIXTURE: [Fixture; 2] = [
    Fixture {
        bucket: "documents",
        key: "documents/a report #1 (é).txt",
        bytes: b"\x00\xff twelve b.",
        metadata: &[("criteria", "clear, complete"), ("owner", "ann")],
    },
    Fixture { bucket: "documents", key: "empty", bytes: b"", metadata: &[] },
];

fn object(fixture: &Fixture) -> ObjectRef {
    ObjectRef { bucket: fixture.bucket.to_owned(), key: fixture.key.to_owned() }
}

/// An object's bytes come as they are.
pub async fn an_object_is_read_as_it_is(objects: &dyn Objects) {
    for fixture in &FIXTURE {
        assert_eq!(objects.get(&object(fixture), 1000).await.unwrap(), fixture.bytes);
    }
}

/// The limit itself is allowed.
pub async fn an_object_as_large_as_the_limit_is_read(objects: &dyn Objects) {
    for fixture in &FIXTURE {
        assert_eq!(objects.get(&object(fixture), fixture.bytes.len() as u64).await.unwrap(), fixture.bytes);
    }
}

/// One byte more than the limit is too much.
pub async fn an_object_larger_than_the_limit_is_refused(objects: &dyn Objects) {
    for limit in [0, FIXTURE[0].bytes.len() as u64 - 1] {
        let failure = objects.get(&object(&FIXTURE[0]), limit).await.unwrap_err();
        assert_eq!(failure.kind, Kind::Validation);
    }
}

/// What is not there is not found, whatever its name.
pub async fn an_object_that_does_not_exist_is_not_found(objects: &dyn Objects) {
    for key in ["absent", "documents/", "../documents", "ü/\u{1}"] {
        let absent = ObjectRef { bucket: FIXTURE[0].bucket.to_owned(), key: key.to_owned() };
        assert_eq!(objects.get(&absent, 1000).await.unwrap_err().kind, Kind::NotFound);
        assert_eq!(objects.head(&absent).await.unwrap_err().kind, Kind::NotFound);
    }
}

/// Another bucket cannot be read, whether it exists or not.
pub async fn a_bucket_that_is_not_ours_is_out_of_reach(objects: &dyn Objects) {
    for bucket in ["elsewhere", "", "Documents", "documents/", "documents\0"] {
        let elsewhere = ObjectRef { bucket: bucket.to_owned(), key: FIXTURE[0].key.to_owned() };
        assert_eq!(objects.get(&elsewhere, 1000).await.unwrap_err().kind, Kind::Authorization);
        assert_eq!(objects.head(&elsewhere).await.unwrap_err().kind, Kind::Authorization);
    }
}

/// Size and metadata are told without reading the object.
pub async fn what_is_known_of_an_object_is_told(objects: &dyn Objects) {
    for fixture in &FIXTURE {
        let known = objects.head(&object(fixture)).await.unwrap();
        assert_eq!(known.bytes, fixture.bytes.len() as u64);
        let metadata: Vec<(&str, &str)> =
            known.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(metadata, fixture.metadata);
    }
}

#[cfg(test)]
mod memory {
    use super::{FIXTURE, object};
    use crate::memory::MemoryObjects;

    async fn prepared() -> MemoryObjects {
        let objects = MemoryObjects::new(["documents"]);
        for fixture in &FIXTURE {
            objects.put(&object(fixture), fixture.bytes, fixture.metadata);
        }
        objects
    }

    objects_contract!(prepared());
}
