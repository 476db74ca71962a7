//! The system's clock and randomness.

use std::time::Duration;

use async_trait::async_trait;
use ihelper_workflow::ports::{Clock, Entropy};
use jiff::Timestamp;

/// The system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// The operating system's randomness.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    /// # Panics
    /// When the operating system has no randomness to give: then no id that is made would be unique, and no work
    /// is safe.
    fn random(&self) -> u128 {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        u128::from_le_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_numbers_differ() {
        assert_ne!(SystemEntropy.random(), SystemEntropy.random());
    }

    #[tokio::test]
    async fn time_goes_on() {
        let before = SystemClock.now();
        SystemClock.sleep(Duration::from_millis(1)).await;
        assert!(SystemClock.now() > before);
    }
}
