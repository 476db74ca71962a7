//! What is measured of each run.

use serde::{Deserialize, Serialize};

use crate::{Measurement, Sample, statistics::Summary};

/// What is measured of each run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// How long its caller waited, in milliseconds.
    ExecutionTime,
    /// How long the function worked on it, in milliseconds.
    WorkingTime,
    /// The most memory that the function's process had held by then, in MiB.
    Memory,
    /// Calls to the assistant.
    ApiCalls,
    /// Tokens that models read and wrote.
    Tokens,
    /// Round trips to the store.
    StoreCalls,
    /// How often it was tried.
    Attempts,
    /// What it costs by estimate, in millionths of a dollar: dollars for a million runs.
    Cost,
}

const MEBIBYTE: f64 = 1_048_576.0;

impl Metric {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 8] = [
        Self::ExecutionTime,
        Self::WorkingTime,
        Self::Memory,
        Self::ApiCalls,
        Self::Tokens,
        Self::StoreCalls,
        Self::Attempts,
        Self::Cost,
    ];

    /// The name in tables, with its unit.
    pub const fn title(self) -> &'static str {
        match self {
            Self::ExecutionTime => "execution time, ms",
            Self::WorkingTime => "working time, ms",
            Self::Memory => "memory, MiB",
            Self::ApiCalls => "api calls",
            Self::Tokens => "tokens",
            Self::StoreCalls => "store round trips",
            Self::Attempts => "attempts",
            Self::Cost => "cost, $ per million runs",
        }
    }

    /// Whether it is a time, which becomes slower; others become more.
    pub const fn is_time(self) -> bool {
        matches!(self, Self::ExecutionTime | Self::WorkingTime)
    }

    /// Whether it is a count, whose values need no fraction.
    pub const fn is_count(self) -> bool {
        matches!(self, Self::ApiCalls | Self::Tokens | Self::StoreCalls | Self::Attempts)
    }

    /// What a run tells of it.
    pub fn of(self, sample: &Sample) -> Option<f64> {
        let footprint = sample.footprint;
        match self {
            Self::ExecutionTime => Some(sample.execution_ms),
            Self::WorkingTime => footprint.and_then(|footprint| footprint.working_ms).map(number),
            Self::Memory => {
                footprint.and_then(|footprint| footprint.peak_memory_bytes).map(|bytes| number(bytes) / MEBIBYTE)
            }
            Self::ApiCalls => sample.usage.map(|usage| number(usage.api_calls)),
            Self::Tokens => sample.usage.map(|usage| number(usage.input_tokens.saturating_add(usage.output_tokens))),
            Self::StoreCalls => footprint.and_then(|footprint| footprint.store_calls).map(number),
            Self::Attempts => sample.attempts.map(f64::from),
            Self::Cost => sample.cost.map(|cost| cost.microdollars()),
        }
    }

    /// A value, as tables show it.
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Cost => format!("{value:.2}"),
            _ if value.abs() < 100.0 && (!self.is_count() || value.fract() != 0.0) => format!("{value:.1}"),
            _ => grouped(value),
        }
    }
}

// Counts are far below 2^53.
fn number(count: u64) -> f64 {
    count as f64
}

/// A whole number whose thousands are told apart.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut shown = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    if value <= -0.5 { format!("-{shown}") } else { shown }
}

/// What all good runs come to by one metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// The metric.
    pub metric: Metric,
    /// What it comes to; nothing where no run tells it.
    pub summary: Option<Summary>,
}

impl Figure {
    /// Each metric's, of a measurement.
    pub fn all(measurement: &Measurement) -> Vec<Self> {
        Metric::ALL
            .into_iter()
            .map(|metric| Self { metric, summary: Summary::of(&measurement.values(metric)) })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_shown_as_precisely_as_they_are_read() {
        let shown = [
            (Metric::ExecutionTime, 4.26, "4.3"),
            (Metric::ExecutionTime, 1_234_567.8, "1,234,568"),
            (Metric::ApiCalls, 2.0, "2"),
            (Metric::ApiCalls, 2.5, "2.5"),
            (Metric::Tokens, 999.6, "1,000"),
            (Metric::Cost, 12.345, "12.35"),
        ];
        for (metric, value, expected) in shown {
            assert_eq!(metric.show(value), expected, "{metric:?} {value}");
        }
    }
}
