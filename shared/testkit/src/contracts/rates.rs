//! What must be true of every [`RequestCounts`].

use std::{num::NonZeroU32, time::Duration};

use futures::future::join_all;
use ihelper_workflow::ports::{Counted, Quota, RequestCounts};
use jiff::{SignedDuration, Timestamp};

use super::{at, hostile_texts};

/// Makes a test of every case of the contract of counted requests, each on a port that the expression makes anew.
#[macro_export]
macro_rules! rates_contract {
    ($port:expr) => {
        $crate::contract_tests! { $port, rates:
            a_quota_is_used_up_and_no_more,
            the_next_window_begins_anew,
            callers_do_not_count_for_each_other,
            of_many_at_once_as_many_as_the_quota_are_within,
            a_smaller_quota_counts_what_was_counted_before,
        }
    };
}

// A multiple of the window's length, so that a window begins there.
fn begin() -> Timestamp {
    at(20)
}

fn quota(requests: u32) -> Quota {
    Quota { requests: NonZeroU32::new(requests).unwrap(), window: Duration::from_secs(60) }
}

async fn count(counts: &dyn RequestCounts, caller: &str, requests: u32, now: Timestamp) -> Counted {
    counts.count(caller, quota(requests), now).await.unwrap()
}

/// As many requests as the quota says are within it, each told how many more are; those after them are not.
pub async fn a_quota_is_used_up_and_no_more(counts: &dyn RequestCounts) {
    for remaining in (0..3).rev() {
        assert_eq!(count(counts, "user:alice", 3, begin()).await, Counted::Within { remaining });
    }
    for _ in 0..5 {
        assert_eq!(count(counts, "user:alice", 3, begin()).await, Counted::UsedUp);
    }
}

/// A window counts to its last moment, and what was refused in it counts for nothing in the next.
pub async fn the_next_window_begins_anew(counts: &dyn RequestCounts) {
    let window = SignedDuration::from_secs(60);
    for number in 0..3 {
        let begin = begin() + window * number;
        let last = begin + window - SignedDuration::from_nanos(1);
        assert_eq!(count(counts, "user:alice", 2, begin).await, Counted::Within { remaining: 1 });
        assert_eq!(count(counts, "user:alice", 2, last).await, Counted::Within { remaining: 0 });
        assert_eq!(count(counts, "user:alice", 2, last).await, Counted::UsedUp);
    }
}

/// Each caller has a quota of their own, whatever they are called.
pub async fn callers_do_not_count_for_each_other(counts: &dyn RequestCounts) {
    for caller in hostile_texts() {
        assert_eq!(count(counts, &caller, 1, begin()).await, Counted::Within { remaining: 0 }, "{caller:?}");
        assert_eq!(count(counts, &caller, 1, begin()).await, Counted::UsedUp, "{caller:?}");
    }
}

/// However many ask at once, on however many instances, no more than the quota are within it.
pub async fn of_many_at_once_as_many_as_the_quota_are_within(counts: &dyn RequestCounts) {
    let outcomes = join_all((0..30).map(|_| count(counts, "user:alice", 12, begin()))).await;
    let mut remaining: Vec<u32> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Counted::Within { remaining } => Some(*remaining),
            Counted::UsedUp => None,
        })
        .collect();
    remaining.sort_unstable();
    assert_eq!(remaining, (0..12).collect::<Vec<u32>>());
}

/// A deployment with another quota, in the middle of a window.
pub async fn a_smaller_quota_counts_what_was_counted_before(counts: &dyn RequestCounts) {
    for _ in 0..5 {
        count(counts, "user:alice", 10, begin()).await;
    }
    assert_eq!(count(counts, "user:alice", 3, begin()).await, Counted::UsedUp);
    assert_eq!(count(counts, "user:alice", 7, begin()).await, Counted::Within { remaining: 1 });
}

#[cfg(test)]
mod memory {
    use crate::memory::MemoryRequestCounts;

    rates_contract!(async { MemoryRequestCounts::new() });
}
