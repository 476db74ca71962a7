//! CloudWatch's embedded metric format: a line of JSON from which CloudWatch takes metrics.
//!
//! The format: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{
    Serialize, Serializer,
    ser::{SerializeMap as _, SerializeSeq as _},
};

/// The most values that one metric may have in one line.
pub(super) const MOST_VALUES: usize = 100;

/// A metric's unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum Unit {
    Count,
    Milliseconds,
    Bytes,
    /// Dollars have none.
    None,
}

/// A metric, and how its values come together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) unit: Unit,
    /// Whether values are added up; otherwise each is kept, for percentiles.
    pub(super) is_sum: bool,
}

/// The values of metrics with the same dimensions.
pub(super) type Values = BTreeMap<Metric, Vec<f64>>;

/// Adds a value.
pub(super) fn add(values: &mut Values, metric: Metric, value: f64) {
    let so_far = values.entry(metric).or_default();
    match so_far.first_mut() {
        Some(sum) if metric.is_sum => *sum += value,
        _ => so_far.push(value),
    }
}

/// Writes metrics of the same dimensions as lines: one, unless a metric has too many values. They are also counted by
/// those of the dimensions that `also` names, where it does.
pub(super) fn write(
    out: &mut Vec<u8>,
    namespace: &str,
    dimensions: &[(&str, &str)],
    also: Option<&str>,
    values: &Values,
    now: Timestamp,
) {
    let rounds = values.values().map(|values| values.len().div_ceil(MOST_VALUES)).max().unwrap_or_default();
    for round in 0..rounds {
        let line = Line { namespace, dimensions, also, values, round, now };
        if serde_json::to_writer(&mut *out, &line).is_ok() {
            out.push(b'\n');
        }
    }
}

struct Line<'a> {
    namespace: &'a str,
    dimensions: &'a [(&'a str, &'a str)],
    also: Option<&'a str>,
    values: &'a Values,
    /// Which hundred of the values.
    round: usize,
    now: Timestamp,
}

impl Line<'_> {
    fn metrics(&self) -> impl Iterator<Item = (&Metric, &[f64])> {
        let from = self.round * MOST_VALUES;
        self.values.iter().filter_map(move |(metric, values)| {
            Some((metric, values.get(from..values.len().min(from + MOST_VALUES))?)).filter(|(_, here)| !here.is_empty())
        })
    }
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("_aws", &Metadata(self))?;
        for (name, value) in self.dimensions {
            line.serialize_entry(name, value)?;
        }
        for (metric, values) in self.metrics() {
            match values {
                [value] => line.serialize_entry(metric.name, value)?,
                values => line.serialize_entry(metric.name, values)?,
            }
        }
        line.end()
    }
}

struct Metadata<'a>(&'a Line<'a>);

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut metadata = serializer.serialize_map(Some(2))?;
        metadata.serialize_entry("Timestamp", &self.0.now.as_millisecond())?;
        metadata.serialize_entry("CloudWatchMetrics", &[Directive(self.0)])?;
        metadata.end()
    }
}

struct Directive<'a>(&'a Line<'a>);

impl Serialize for Directive<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut directive = serializer.serialize_map(Some(3))?;
        directive.serialize_entry("Namespace", self.0.namespace)?;
        let all: Vec<&str> = self.0.dimensions.iter().map(|(name, _)| *name).collect();
        let sets: Vec<Vec<&str>> = [all].into_iter().chain(self.0.also.map(|name| vec![name])).collect();
        directive.serialize_entry("Dimensions", &sets)?;
        directive.serialize_entry("Metrics", &Metrics(self.0))?;
        directive.end()
    }
}

struct Metrics<'a>(&'a Line<'a>);

impl Serialize for Metrics<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Definition {
            name: &'static str,
            unit: Unit,
        }
        let mut metrics = serializer.serialize_seq(None)?;
        for (metric, _) in self.0.metrics() {
            metrics.serialize_element(&Definition { name: metric.name, unit: metric.unit })?;
        }
        metrics.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const RUNS: Metric = Metric { name: "Runs", unit: Unit::Count, is_sum: true };
    const TOOK: Metric = Metric { name: "RunDuration", unit: Unit::Milliseconds, is_sum: false };

    fn lines(values: &Values) -> Vec<Value> {
        let mut out = Vec::new();
        let now = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
        write(
            &mut out,
            "ihelper",
            &[("Workflow", "email_processing"), ("Outcome", "succeeded")],
            Some("Outcome"),
            values,
            now,
        );
        out.split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    #[test]
    fn counts_are_added_up_and_durations_kept() {
        let mut values = Values::new();
        for value in [12.5, 7.0] {
            add(&mut values, TOOK, value);
            add(&mut values, RUNS, 1.0);
        }
        let expected = json!({
            "_aws": {
                "Timestamp": 1_700_000_000_123_i64,
                "CloudWatchMetrics": [{
                    "Namespace": "ihelper",
                    "Dimensions": [["Workflow", "Outcome"], ["Outcome"]],
                    "Metrics": [
                        { "Name": "RunDuration", "Unit": "Milliseconds" },
                        { "Name": "Runs", "Unit": "Count" },
                    ],
                }],
            },
            "Workflow": "email_processing",
            "Outcome": "succeeded",
            "RunDuration": [12.5, 7.0],
            "Runs": 2.0,
        });
        assert_eq!(lines(&values), [expected]);
        assert_eq!(lines(&Values::new()), Vec::<Value>::new());
    }

    #[test]
    fn a_hundred_values_are_a_line() {
        let mut values = Values::new();
        (0..250).for_each(|value| add(&mut values, TOOK, f64::from(value)));
        add(&mut values, RUNS, 1.0);
        let lines = lines(&values);
        let lengths: Vec<usize> = lines.iter().map(|line| line["RunDuration"].as_array().unwrap().len()).collect();
        assert_eq!(lengths, [100, 100, 50]);
        assert_eq!(lines.iter().filter(|line| line.get("Runs").is_some()).count(), 1, "nothing is told twice");
    }
}
