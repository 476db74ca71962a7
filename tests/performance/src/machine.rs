use std::{env::consts, fs, process::Command, thread};

use crate::{Machine, Versions};

/// The machine that this process is on. Where it does not say something, nothing is said.
pub(crate) fn this() -> Machine {
    let kibibytes = field("/proc/meminfo", "MemTotal").and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
    Machine {
        processor: field("/proc/cpuinfo", "model name"),
        processors: thread::available_parallelism().map_or(1, usize::from),
        memory_bytes: kibibytes.map(|kibibytes| kibibytes * 1024),
        system: format!("{} {}", consts::OS, consts::ARCH),
        load_before: load(),
        load_after: None,
    }
}

/// The load of the last minute.
pub(crate) fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}

/// What measures.
pub(crate) fn versions() -> Versions {
    Versions { analyzer: env!("CARGO_PKG_VERSION").to_owned(), source: source() }
}

/// The commit of the sources around this process.
fn source() -> Option<String> {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok().filter(|output| output.status.success())?;
        String::from_utf8(output.stdout).ok()
    };
    let commit = git(&["rev-parse", "--short", "HEAD"])?;
    let is_changed = git(&["status", "--porcelain", "--untracked-files=no"])?.trim() != "";
    Some(format!("{}{}", commit.trim(), if is_changed { "+" } else { "" }))
}

/// The value of the first line with this name.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    fields.find(|(field, _)| field.trim() == name).map(|(_, value)| value.trim().to_owned())
}
