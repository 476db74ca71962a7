//! What the table and the page say in the same words.

use jiff::{Timestamp, tz::TimeZone};

use crate::{Change, Comparison, FailureGroup, Measurement, Metric, Settings, Verdict, statistics};

/// The columns of figures, and the percentile of those that are one.
pub(crate) const COLUMNS: [(&str, Option<usize>); 7] = [
    ("mean", None),
    ("p50", Some(50)),
    ("p95", Some(95)),
    ("p99", Some(99)),
    ("max", None),
    ("min", None),
    ("deviation", None),
];

/// What is said where no run tells a metric.
pub(crate) const NOT_TOLD: &str = "not told";

/// What marks a percentile that so few runs do not carry.
pub(crate) const MARK: &str = "*";

pub(crate) const MARK_EXPLAINED: &str =
    "* With so few runs none lies beyond this percentile: it is the longest or largest run.";

/// One figure of a metric, by column; nothing where no run tells it.
pub(crate) fn cells(metric: Metric, summary: Option<&statistics::Summary>) -> Option<Vec<String>> {
    let summary = summary?;
    let values = [summary.mean, summary.p50, summary.p95, summary.p99, summary.max, summary.min, summary.deviation];
    let cells = values.into_iter().zip(COLUMNS).map(|(value, (_, percentile))| {
        let is_carried = percentile.is_none_or(|percent| statistics::carries(summary.count, percent));
        format!("{}{}", metric.show(value), if is_carried { "" } else { MARK })
    });
    Some(cells.collect())
}

/// How many runs there were and how fast they came.
pub(crate) fn headline(measurement: &Measurement) -> String {
    let settings = &measurement.settings;
    let (good, all) = (measurement.good().count(), measurement.samples.len());
    let mut said = format!(
        "{good} of {all} runs succeeded in {}, {:.1} a second, {} at a time, {} {} before them",
        seconds(measurement.took_ms),
        measurement.runs_per_second(),
        settings.concurrency,
        settings.warmup,
        if settings.warmup == 1 { "came" } else { "more came" },
    );
    let throttled = measurement.throttled();
    if throttled > 0 {
        said += &format!("; {throttled} times one was told to come later (429)");
    }
    said
}

/// A time, as people read it.
pub(crate) fn seconds(milliseconds: f64) -> String {
    match milliseconds {
        short if short < 1000.0 => format!("{short:.0} ms"),
        long if long < 120_000.0 => format!("{:.1} s", long / 1000.0),
        long => format!("{} min {:.0} s", (long / 60_000.0) as u64, long % 60_000.0 / 1000.0),
    }
}

/// A moment, to the minute.
pub(crate) fn moment(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// How one percentile of a metric changed.
pub(crate) fn change(change: &Change) -> String {
    let by = change.relative().map_or_else(
        || format!("{} → {}", change.metric.show(change.baseline), change.metric.show(change.now)),
        |relative| format!("{:+.1} %", relative * 100.0),
    );
    match change.verdict {
        Verdict::Worse | Verdict::Better => format!("{by} {}", change.word()),
        Verdict::NoDifference if change.baseline == change.now => change.word().to_owned(),
        Verdict::NoDifference | Verdict::TooFewRuns => format!("{} ({by})", change.word()),
    }
}

/// What the comparison comes to, and what is to be known of it.
pub(crate) fn verdict(comparison: &Comparison) -> (String, Vec<String>) {
    match comparison {
        Comparison::NoBaseline => {
            ("Nothing to compare with: no measurement was accepted yet (ACCEPT=1 accepts one).".to_owned(), Vec::new())
        }
        Comparison::NotComparable { baseline_at, differences } => (
            format!("Not compared with the baseline of {}, which was measured otherwise:", moment(*baseline_at)),
            differences.clone(),
        ),
        Comparison::Compared { baseline_at, changes, notes } => {
            let mut said: Vec<String> = changes
                .iter()
                .filter(|change| matches!(change.verdict, Verdict::Worse | Verdict::Better))
                .map(told)
                .collect();
            let summary = if said.is_empty() { "no difference beyond the noise." } else { "this changed:" };
            said.extend(notes.iter().cloned());
            (format!("Beside the baseline of {}, {summary}", moment(*baseline_at)), said)
        }
    }
}

/// A change in a sentence's worth of words.
fn told(change: &Change) -> String {
    let show = |value| change.metric.show(value);
    let between = change.interval.map_or_else(String::new, |(low, high)| {
        format!("; the difference lies between {} and {}", show(low), show(high))
    });
    format!(
        "{} p{} is {}: {} then, {} now ({}){between}",
        change.metric.title(),
        change.percentile,
        change.word(),
        show(change.baseline),
        show(change.now),
        change.relative().map_or_else(|| "from nothing".to_owned(), |relative| format!("{:+.1} %", relative * 100.0)),
    )
}

/// Runs that failed alike.
pub(crate) fn failure(group: &FailureGroup) -> String {
    let status = group.http_status.map_or_else(String::new, |status| format!(", HTTP {status}"));
    let detail = group.detail.as_ref().map_or_else(String::new, |detail| format!(": {detail}"));
    format!("{} × {}{status}: {}{detail}", group.runs, group.outcome.name(), group.problem)
}

/// Records that could not be read.
pub(crate) fn unread(measurement: &Measurement) -> Option<String> {
    let mut problems = measurement.samples.iter().filter_map(|sample| sample.unread.as_deref());
    let first = problems.next()?;
    Some(format!("The records of {} runs could not be read, such as: {first}", problems.count() + 1))
}

/// How it was measured, by name.
pub(crate) fn settings(measurement: &Measurement) -> Vec<(&'static str, String)> {
    let Measurement { settings, machine, versions, .. } = measurement;
    let Settings { mode, input, target, memory_mib, patience_seconds, .. } = settings;
    let load = |load: Option<f64>| load.map_or_else(|| NOT_TOLD.to_owned(), |load| format!("{load:.2}"));
    let processor = machine.processor.as_deref().unwrap_or("unknown");
    let gibibytes = machine
        .memory_bytes
        .map_or_else(String::new, |bytes| format!(", {:.1} GiB of memory", bytes as f64 / f64::from(1 << 30)));
    vec![
        ("measured at", moment(measurement.begun_at)),
        ("bundle", target.clone()),
        ("mode", mode.name().to_owned()),
        ("input", input.clone()),
        ("runs at a time", settings.concurrency.to_string()),
        ("runs before", settings.warmup.to_string()),
        ("patience", format!("{patience_seconds} s")),
        ("priced memory", format!("{memory_mib} MiB")),
        ("machine", format!("{} × {processor}{gibibytes}, {}", machine.processors, machine.system)),
        ("load before, after", format!("{}, {}", load(machine.load_before), load(machine.load_after))),
        (
            "versions",
            format!("analyzer {}, sources {}", versions.analyzer, versions.source.as_deref().unwrap_or(NOT_TOLD)),
        ),
    ]
}
