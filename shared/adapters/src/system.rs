//! The system's clock and randomness.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::LazyLock, time::Duration};

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

/// The most memory that this process has held, in bytes; zero where the system does not tell.
pub fn peak_memory_bytes() -> u64 {
    // Every invocation asks. The kernel writes the status anew for each that reads it from the beginning.
    static STATUS: LazyLock<io::Result<File>> = LazyLock::new(|| File::open("/proc/self/status"));
    // It writes less than this.
    let mut status = [0; 4096];
    let read = STATUS.as_ref().map_or(0, |file| file.read_at(&mut status, 0).unwrap_or_default());
    peak_memory_in(&status[..read]).unwrap_or_default()
}

/// The most memory that a process has held, in bytes, by what the kernel writes in its `/proc/<id>/status`. `None` where
/// that does not tell, as for a process that has ended and not been waited for.
pub fn peak_memory_in(status: &[u8]) -> Option<u64> {
    let peak = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"VmHWM:"))?;
    let kibibytes = str::from_utf8(peak).ok()?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_of_memory_is_read_as_the_kernel_writes_it() {
        assert_eq!(peak_memory_in(b"Name:\t\xff\nVmHWM:\t    2048 kB\nVmRSS:\t 10 kB\n"), Some(2048 * 1024));
        for other in [&b"Name:\tx\n"[..], b"VmHWM:\t 2048 MB\n", b"VmHWM:\t \xff kB\n", b""] {
            assert_eq!(peak_memory_in(other), None);
        }
        assert!(peak_memory_bytes() > 64 * 1024);
    }

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
