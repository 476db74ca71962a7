use std::{num::NonZeroU32, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::domain::Failure;

/// How many requests each caller has made, counted over all instances.
#[async_trait]
pub trait RequestCounts: Send + Sync {
    /// Counts one more request of the caller in the window around `now`, unless the quota is used up there.
    async fn count(&self, caller: &str, quota: Quota, now: Timestamp) -> Result<Counted, Failure>;
}

/// How many requests a caller may make in each window. Windows begin at multiples of their length since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The requests.
    pub requests: NonZeroU32,
    /// The length of a window: whole seconds, at least one.
    pub window: Duration,
}

impl Quota {
    /// The window around a moment, by the moment at which it ends.
    pub fn window_end(&self, now: Timestamp) -> Timestamp {
        let length = i64::try_from(self.window.as_secs()).unwrap_or(i64::MAX).max(1);
        let end = now.as_second().div_euclid(length).saturating_add(1).saturating_mul(length);
        Timestamp::from_second(end).unwrap_or(Timestamp::MAX)
    }
}

/// What came of counting a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counted {
    /// It was within the quota; so many more are, until the window ends.
    Within {
        /// How many more.
        remaining: u32,
    },
    /// The quota was used up; nothing was counted.
    UsedUp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_at_a_multiple_of_its_length_and_the_next_begins_there() {
        let quota = |seconds| Quota { requests: NonZeroU32::MIN, window: Duration::from_secs(seconds) };
        let end = |seconds, at: &str| quota(seconds).window_end(at.parse().unwrap()).to_string();
        assert_eq!(end(60, "2026-01-02T03:04:05Z"), "2026-01-02T03:05:00Z");
        assert_eq!(end(60, "2026-01-02T03:04:59.999999999Z"), "2026-01-02T03:05:00Z");
        assert_eq!(end(60, "2026-01-02T03:05:00Z"), "2026-01-02T03:06:00Z");
        assert_eq!(end(3600, "1969-12-31T23:59:59Z"), "1970-01-01T00:00:00Z");
        assert_eq!(quota(u64::MAX).window_end(Timestamp::UNIX_EPOCH), Timestamp::MAX);
    }
}
