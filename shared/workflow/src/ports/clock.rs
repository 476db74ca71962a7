use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

/// Time. Every read of a clock and every wait goes through here, so tests skip both.
#[async_trait]
pub trait Clock: Send + Sync {
    /// This moment.
    fn now(&self) -> Timestamp;

    /// Waits.
    async fn sleep(&self, duration: Duration);
}

/// Chance.
pub trait Entropy: Send + Sync {
    /// 128 random bits.
    fn random(&self) -> u128;
}
