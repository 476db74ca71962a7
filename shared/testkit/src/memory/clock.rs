use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, atomic::AtomicU64, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use ihelper_workflow::ports::{Clock, Entropy};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use super::lock;

/// How often a sleeper lets everyone else go first before it moves time. Work on in-memory ports is done after a
/// few polls, so what runs beside a sleep (a step beside the renewal of its lease) ends before time jumps.
const POLITE_TURNS: usize = 64;

/// A clock whose time moves only by [`VirtualClock::advance`] or when somebody sleeps.
///
/// A sleep costs no time: the earliest sleeper yields to all that is ready to run, then moves time to the end of
/// its sleep. Sleeps that overlap end in order of their ends, and a sleep that is dropped moves nothing.
#[derive(Clone)]
pub struct VirtualClock {
    state: Arc<State>,
}

struct State {
    inner: Mutex<Inner>,
    moved: Notify,
}

struct Inner {
    now: Timestamp,
    /// Ends of the sleeps under way; the number tells sleeps with the same end apart.
    sleepers: BTreeSet<(Timestamp, u64)>,
    next_sleeper: u64,
}

impl VirtualClock {
    /// A clock that stands at this moment.
    pub fn new(now: Timestamp) -> Self {
        let inner = Inner { now, sleepers: BTreeSet::new(), next_sleeper: 0 };
        Self { state: Arc::new(State { inner: Mutex::new(inner), moved: Notify::new() }) }
    }

    /// Moves time forward. A move beyond the last moment that a time stamp can hold stops there.
    pub fn advance(&self, by: Duration) {
        let mut inner = lock(&self.state.inner);
        inner.now = later(inner.now, by);
        drop(inner);
        self.state.moved.notify_waiters();
    }
}

impl Default for VirtualClock {
    /// A clock that stands at noon (UTC) on 1 March 2025.
    fn default() -> Self {
        Self::new(Timestamp::constant(1_740_830_400, 0))
    }
}

impl fmt::Debug for VirtualClock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("VirtualClock").field(&self.now()).finish()
    }
}

#[async_trait]
impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        lock(&self.state.inner).now
    }

    async fn sleep(&self, duration: Duration) {
        let sleeper = Sleeper::new(self, duration);
        loop {
            let moved = self.state.moved.notified();
            tokio::pin!(moved);
            // Registered before the look at the clock, so that no move between the two is missed.
            moved.as_mut().enable();
            if self.now() >= sleeper.until {
                break;
            }
            if !sleeper.is_first() {
                moved.await;
                continue;
            }
            for _ in 0..POLITE_TURNS {
                tokio::task::yield_now().await;
            }
            sleeper.wake_up();
        }
        // Even a sleep of no time lets others go first.
        tokio::task::yield_now().await;
    }
}

fn later(now: Timestamp, by: Duration) -> Timestamp {
    SignedDuration::try_from(by).ok().and_then(|by| now.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

/// A sleep under way. It takes itself off the clock when it ends or is dropped.
struct Sleeper {
    state: Arc<State>,
    until: Timestamp,
    number: u64,
}

impl Sleeper {
    fn new(clock: &VirtualClock, duration: Duration) -> Self {
        let mut inner = lock(&clock.state.inner);
        let until = later(inner.now, duration);
        let number = inner.next_sleeper;
        inner.next_sleeper += 1;
        inner.sleepers.insert((until, number));
        Self { state: Arc::clone(&clock.state), until, number }
    }

    fn is_first(&self) -> bool {
        lock(&self.state.inner).sleepers.first() == Some(&(self.until, self.number))
    }

    /// Moves time to the end of this sleep, unless an earlier sleeper came meanwhile.
    fn wake_up(&self) {
        if self.is_first() {
            let mut inner = lock(&self.state.inner);
            inner.now = inner.now.max(self.until);
            drop(inner);
            self.state.moved.notify_waiters();
        }
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        lock(&self.state.inner).sleepers.remove(&(self.until, self.number));
        // The next in line may be the first now.
        self.state.moved.notify_waiters();
    }
}

/// Chance that repeats itself: the same seed gives the same numbers.
#[derive(Clone, Debug)]
pub struct SeededEntropy {
    state: Arc<AtomicU64>,
}

impl SeededEntropy {
    /// The numbers of this seed.
    pub fn new(seed: u64) -> Self {
        Self { state: Arc::new(AtomicU64::new(seed)) }
    }

    // SplitMix64: a counter whose bits are mixed well enough that each value looks unrelated to the one before.
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Default for SeededEntropy {
    /// The numbers of seed 0.
    fn default() -> Self {
        Self::new(0)
    }
}

impl Entropy for SeededEntropy {
    fn random(&self) -> u128 {
        (u128::from(self.next()) << 64) | u128::from(self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn time_stands_still_unless_somebody_moves_it() {
        let clock = VirtualClock::default();
        let start = clock.now();
        tokio::task::yield_now().await;
        assert_eq!(clock.now(), start);
        clock.clone().advance(SECOND);
        assert_eq!(clock.now(), start + SECOND);
    }

    #[tokio::test]
    async fn a_sleep_moves_time_by_its_length() {
        let clock = VirtualClock::default();
        let start = clock.now();
        clock.sleep(3600 * SECOND).await;
        assert_eq!(clock.now(), start + 3600 * SECOND);
    }

    #[tokio::test]
    async fn sleeps_that_overlap_end_in_order_and_cost_the_longest() {
        let clock = VirtualClock::default();
        let start = clock.now();
        let order = Mutex::new(Vec::new());
        futures::future::join_all([3, 1, 2, 1].map(|seconds| {
            let (clock, order) = (&clock, &order);
            async move {
                clock.sleep(seconds * SECOND).await;
                lock(order).push((seconds, clock.now()));
            }
        }))
        .await;
        let ends = order.into_inner().unwrap();
        assert_eq!(ends.iter().map(|(seconds, _)| *seconds).collect::<Vec<_>>(), [1, 1, 2, 3]);
        assert_eq!(clock.now(), start + 3 * SECOND);
    }

    #[tokio::test]
    async fn a_dropped_sleep_moves_nothing_and_holds_nobody_up() {
        let clock = VirtualClock::default();
        let start = clock.now();
        {
            let short = clock.sleep(SECOND);
            let long = clock.sleep(5 * SECOND);
            tokio::pin!(short, long);
            // Both are polled once, so both are on the clock; then they are dropped.
            assert!(futures::poll!(&mut long).is_pending());
            assert!(futures::poll!(&mut short).is_pending());
        }
        assert_eq!(clock.now(), start);
        clock.sleep(2 * SECOND).await;
        assert_eq!(clock.now(), start + 2 * SECOND);
    }

    #[tokio::test]
    async fn work_beside_a_sleep_ends_before_time_moves() {
        let clock = VirtualClock::default();
        let start = clock.now();
        let work = async {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = work => {}
            () = clock.sleep(SECOND) => panic!("time moved although there was work"),
        }
        assert_eq!(clock.now(), start);
    }

    #[tokio::test]
    async fn a_sleep_without_end_stops_at_the_end_of_time() {
        let clock = VirtualClock::default();
        clock.sleep(Duration::MAX).await;
        assert_eq!(clock.now(), Timestamp::MAX);
    }

    #[test]
    fn the_same_seed_gives_the_same_numbers() {
        let numbers = |seed| {
            let entropy = SeededEntropy::new(seed);
            [entropy.random(), entropy.random(), entropy.random()]
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
        assert_ne!(numbers(7)[0], numbers(7)[1]);
    }
}
