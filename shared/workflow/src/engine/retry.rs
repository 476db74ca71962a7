use std::time::Duration;

use crate::domain::{Failure, configuration::RetrySettings};

// SQS holds a message invisible for 12 hours at the most, counted from when it was received.
const LONGEST_WAIT: Duration = Duration::from_hours(11);

/// How long to wait before the attempt after `failed_attempts` failed ones: exponential from the workflow's
/// `retry.delay`, with full jitter (uniform between nothing and the exponential step), but never less than
/// what a server asked for in Retry-After.
pub fn backoff(settings: &RetrySettings, failed_attempts: u32, failure: &Failure, random: u128) -> Duration {
    let doublings = failed_attempts.saturating_sub(1).min(16);
    let ceiling = (settings.first_delay() * 2_u32.pow(doublings)).min(LONGEST_WAIT);
    let fraction = (random % 1_000_001) as f64 / 1_000_000.0;
    let asked = Duration::from_millis(failure.retry_after_ms.unwrap_or(0)).min(LONGEST_WAIT);
    ceiling.mul_f64(fraction).max(asked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Kind;

    const SETTINGS: RetrySettings = RetrySettings { max_attempts: 3, delay: 60 };

    #[test]
    fn the_longest_wait_doubles_with_each_attempt_and_is_bounded() {
        let failure = Failure::new(Kind::Timeout, "slow");
        let longest = |attempts| backoff(&SETTINGS, attempts, &failure, 1_000_000).as_secs();
        assert_eq!([longest(1), longest(2), longest(3), longest(40)], [60, 120, 240, 39_600]);
    }

    #[test]
    fn the_wait_is_jittered_down_to_nothing() {
        assert_eq!(backoff(&SETTINGS, 1, &Failure::new(Kind::Timeout, "slow"), 0), Duration::ZERO);
    }

    #[test]
    fn a_server_that_asks_for_time_gets_it() {
        let failure = Failure::new(Kind::Throttled, "slow down").retry_after(Duration::from_secs(90));
        assert_eq!(backoff(&SETTINGS, 1, &failure, 0), Duration::from_secs(90));
    }
}
