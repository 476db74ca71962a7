//! What the kernel tells of a process.

use std::{fs, time::Duration};

use rustix::process::{Pid, Signal, kill_process};

/// The processes that this one started and that live.
pub fn children(process: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|children| children.split_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<u32>>())
        .collect()
}

/// The most memory that a process had at once, in bytes.
pub fn highest_mark(process: u32) -> Option<u64> {
    highest_mark_in(&fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

fn highest_mark_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kibibytes| kibibytes * 1024)
}

/// How long the threads of a process have had a processor, those that have ended left out.
pub fn processor_time(process: u32) -> Option<Duration> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let times = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("schedstat")).ok());
    times.map(|times| on_processor_in(&times)).sum()
}

fn on_processor_in(schedstat: &str) -> Option<Duration> {
    schedstat.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Whether a process is there and has not ended.
pub fn lives(process: u32) -> bool {
    fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| !has_ended_in(&stat))
}

fn has_ended_in(stat: &str) -> bool {
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
}

/// Ends a process.
pub fn kill(process: u32) {
    if let Some(process) = i32::try_from(process).ok().and_then(Pid::from_raw) {
        // It fails only when there is no such process any more.
        let _ = kill_process(process, Signal::KILL);
    }
}

/// The load of the machine over the last minute.
pub fn load() -> f64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split_whitespace().next().and_then(|load| load.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_read_as_it_writes() {
        assert_eq!(highest_mark_in("Name:\tx\nVmHWM:\t   12340 kB\nVmRSS:\t 1 kB\n"), Some(12_340 * 1024));
        assert_eq!(highest_mark_in("Name:\tx\n"), None);
        assert_eq!(on_processor_in("123456789 42 7\n"), Some(Duration::from_nanos(123_456_789)));
        assert_eq!(on_processor_in(""), None);
    }

    #[test]
    fn an_ended_process_whose_parent_has_not_looked_yet_does_not_live() {
        assert!(has_ended_in("42 (boot) strap) Z 1 42 42"));
        assert!(!has_ended_in("42 (Z) S 1 42 42"));
        assert!(lives(std::process::id()) && !lives(u32::MAX));
    }

    #[test]
    fn this_process_has_a_mark_and_a_time() {
        let this = std::process::id();
        assert!(highest_mark(this).is_some_and(|bytes| bytes > 1024 * 1024));
        assert!(processor_time(this).is_some_and(|time| time > Duration::ZERO));
    }
}
