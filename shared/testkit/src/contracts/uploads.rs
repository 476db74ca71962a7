//! What must be true of all [`Uploads`], with somebody [`Outside`] who follows the addresses.

use async_trait::async_trait;
use ihelper_workflow::{
    domain::Kind,
    ports::{Handout, Offer, Uploads},
};

use super::{KIB, bulky};

/// Makes a test of every case of the uploads' contract, each on a port that the expression makes anew.
#[macro_export]
macro_rules! uploads_contract {
    ($port:expr) => {
        $crate::contract_tests! { $port, uploads:
            what_was_put_is_taken_by_its_caller,
            what_was_put_last_is_taken,
            another_length_is_not_put,
            more_than_the_limit_is_not_taken,
            an_answer_is_there_to_be_had,
            a_strange_id_is_refused,
        }
    };
}

/// Whoever was given an address, with nothing else in hand.
#[async_trait]
pub trait Outside: Send + Sync {
    /// Puts a body where an offer says; whether it was taken.
    async fn put(&self, offer: &Offer, body: Vec<u8>) -> bool;

    /// Gets an answer from where it is said to be.
    async fn get(&self, handout: &Handout) -> Option<Vec<u8>>;
}

/// Bytes come as they are, to the caller that the place was offered to and to nobody else.
pub async fn what_was_put_is_taken_by_its_caller(port: &(impl Uploads + Outside)) {
    for body in [b"{}".to_vec(), b"\x00\xff".to_vec(), bulky(KIB * KIB).to_string().into_bytes()] {
        let offer = port.offer("ann", "u-1", body.len() as u64).await.unwrap();
        assert!(port.put(&offer, body.clone()).await);
        assert!(port.take("ann", "u-1", body.len() as u64).await.unwrap() == body);
        for (caller, id) in [("ann", "u-2"), ("bob", "u-1"), ("", "u-1"), ("ann/", "u-1"), ("Ann", "u-1")] {
            assert_eq!(port.take(caller, id, 10).await.unwrap_err().kind, Kind::NotFound, "{caller} {id}");
        }
    }
}

/// A second upload replaces the first.
pub async fn what_was_put_last_is_taken(port: &(impl Uploads + Outside)) {
    let offer = port.offer("ann", "u-1", 3).await.unwrap();
    for body in [b"one", b"two"] {
        assert!(port.put(&offer, body.to_vec()).await);
        assert_eq!(port.take("ann", "u-1", 3).await.unwrap(), body);
    }
}

/// What was offered is a place for exactly so many bytes.
pub async fn another_length_is_not_put(port: &(impl Uploads + Outside)) {
    let offer = port.offer("ann", "u-1", 3).await.unwrap();
    assert_eq!(offer.headers["content-length"], "3");
    for body in ["", "no", "none"] {
        assert!(!port.put(&offer, body.as_bytes().to_vec()).await, "`{body}`");
        // Nor under another name for it.
        let mut forged = offer.clone();
        forged.headers.insert("content-length".to_owned(), body.len().to_string());
        assert!(!port.put(&forged, body.as_bytes().to_vec()).await, "`{body}`");
    }
    assert_eq!(port.take("ann", "u-1", 10).await.unwrap_err().kind, Kind::NotFound);
    assert!(port.put(&offer, b"yes".to_vec()).await);
}

/// The limit itself is allowed.
pub async fn more_than_the_limit_is_not_taken(port: &(impl Uploads + Outside)) {
    let offer = port.offer("ann", "u-1", 10).await.unwrap();
    assert!(port.put(&offer, b"0123456789".to_vec()).await);
    assert_eq!(port.take("ann", "u-1", 9).await.unwrap_err().kind, Kind::Validation);
    assert_eq!(port.take("ann", "u-1", 10).await.unwrap().len(), 10);
}

/// An answer comes as it is, and is no upload.
pub async fn an_answer_is_there_to_be_had(port: &(impl Uploads + Outside)) {
    let mut handouts = Vec::new();
    for answer in [b"{}".to_vec(), bulky(KIB * KIB).to_string().into_bytes()] {
        let handout = port.lay_down("ann", &format!("a-{}", answer.len()), answer.clone()).await.unwrap();
        handouts.push((handout, answer));
    }
    for (handout, answer) in &handouts {
        assert!(port.get(handout).await.as_ref() == Some(answer));
        assert_eq!(port.take("ann", &format!("a-{}", answer.len()), 10).await.unwrap_err().kind, Kind::NotFound);
    }
}

/// An id that could be a path, or anything else, is none.
pub async fn a_strange_id_is_refused(port: &(impl Uploads + Outside)) {
    for id in ["", ".", "..", "../x", "a/b", "a b", "é", "%2e", "\u{0}", &"a".repeat(65)] {
        assert_eq!(port.offer("ann", id, 1).await.unwrap_err().kind, Kind::Validation, "`{id}`");
        assert_eq!(port.take("ann", id, 1).await.unwrap_err().kind, Kind::Validation, "`{id}`");
        assert_eq!(port.lay_down("ann", id, Vec::new()).await.unwrap_err().kind, Kind::Validation, "`{id}`");
    }
}

#[cfg(test)]
mod memory {
    use std::time::Duration;

    use super::*;
    use crate::memory::{MemoryUploads, VirtualClock};

    uploads_contract!(async { MemoryUploads::new(VirtualClock::default()) });

    #[tokio::test]
    async fn an_address_expires() {
        let clock = VirtualClock::default();
        let uploads = MemoryUploads::new(clock.clone());
        let offer = uploads.offer("ann", "u-1", 1).await.unwrap();
        let handout = uploads.lay_down("ann", "u-1", vec![1]).await.unwrap();
        clock.advance(Duration::from_mins(15));
        assert!(!uploads.put(&offer, vec![1]).await);
        assert_eq!(uploads.get(&handout).await, None);
    }
}
