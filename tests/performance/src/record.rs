//! What is kept of a measurement: the form of `performance.json` and of accepted measurements.
//!
//! `docs/performance.md` explains each field to those who read it by a program.

use std::{fs, path::Path};

use ihelper_workflow::domain::{WorkflowType, run::Usage};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Mode,
    comparison::Comparison,
    cost::Cost,
    metric::{Figure, Metric},
};

/// The version of the form. A field that is added leaves it as it is.
pub const SCHEMA: u32 = 1;

/// All that was measured in one go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The version of this form.
    pub schema: u32,
    /// An analysis for each workflow.
    pub analyses: Vec<Analysis>,
}

/// A measurement and what it comes to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// What was measured.
    pub measurement: Measurement,
    /// What it comes to.
    pub figures: Vec<Figure>,
    /// How it stands beside the baseline.
    pub comparison: Comparison,
}

/// So many runs of one workflow.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measurement {
    /// The workflow.
    pub workflow: WorkflowType,
    /// When the first measured run began.
    pub begun_at: Timestamp,
    /// How long all measured runs took together.
    pub took_ms: f64,
    /// How it was measured.
    pub settings: Settings,
    /// What was measured with.
    pub versions: Versions,
    /// Where it was measured from.
    pub machine: Machine,
    /// How long calls took that do nothing (`GET /health`), made in between: what is the machine's and the way's.
    #[serde(default)]
    pub control_ms: Vec<f64>,
    /// Each run, in the order in which they began.
    pub samples: Vec<Sample>,
}

/// How it was measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// How runs were started and waited for.
    pub mode: Mode,
    /// How many were measured.
    pub runs: u32,
    /// How many there were at a time.
    pub concurrency: u32,
    /// How many came before.
    pub warmup: u32,
    /// What a run worked on: `sample`, or the name of a file.
    pub input: String,
    /// The same by its content.
    pub input_hash: String,
    /// The bundle: `local`, or its address.
    pub target: String,
    /// The memory that the function's price was taken of, in MiB.
    pub memory_mib: u32,
    /// How long a run could take, in seconds.
    pub patience_seconds: u32,
}

/// What was measured with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// Of this analyzer.
    pub analyzer: String,
    /// The commit that the sources are at, with `+` when something is changed; only where git tells.
    pub source: Option<String>,
}

/// The machine that measured, which is also the one that worked when the bundle is local.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The name of its processor.
    pub processor: Option<String>,
    /// How many processors this process may use.
    pub processors: usize,
    /// Its memory, in bytes.
    pub memory_bytes: Option<u64>,
    /// Operating system and architecture.
    pub system: String,
    /// The load of the last minute before the first run.
    pub load_before: Option<f64>,
    /// And after the last one.
    pub load_after: Option<f64>,
}

/// One run, as its caller saw it and as its record tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Its number, from 0.
    pub number: u32,
    /// When it began, after the first.
    pub started_ms: f64,
    /// How long its caller waited for its end. What a 429 had it wait before it was accepted is not in it.
    pub execution_ms: f64,
    /// What came of it.
    pub outcome: Outcome,
    /// The status that its start was answered with.
    pub http_status: Option<u16>,
    /// What was wrong with it, in few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// What was said about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// How often it was told to come later (429).
    #[serde(default)]
    pub throttled: u32,
    /// The run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// How often it was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<u32>,
    /// What the assistant was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What it took of the machine and the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footprint: Option<Footprint>,
    /// What it costs, by estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// Why its record could not be read, where it could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<String>,
}

/// What a run took of the machine and the store, as its record tells it. A bundle may leave out what it does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Footprint {
    /// Round trips to the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store_calls: Option<u64>,
    /// The attempts' own time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_ms: Option<u64>,
    /// The most memory that the function's process had held by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_memory_bytes: Option<u64>,
}

/// What came of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It ended with a result: a good one.
    Succeeded,
    /// It ended with an error.
    Failed,
    /// It was stopped.
    Cancelled,
    /// It waits for a person, a callback or a time.
    Waiting,
    /// Nobody knows what came of an effect.
    Attention,
    /// It had not ended when patience had.
    TooSlow,
    /// The API did not accept it.
    Refused,
    /// The API did not answer.
    Unanswered,
}

impl Outcome {
    /// The name in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Waiting => "waiting",
            Self::Attention => "attention",
            Self::TooSlow => "too slow",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
        }
    }
}

/// Runs that failed in the same way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FailureGroup {
    /// What came of them.
    pub outcome: Outcome,
    /// The status that their start was answered with.
    pub http_status: Option<u16>,
    /// What was wrong with them.
    pub problem: String,
    /// What was said about the first.
    pub detail: Option<String>,
    /// How many they are.
    pub runs: usize,
}

impl Sample {
    /// Whether it is a good one, whose times count.
    pub fn is_good(&self) -> bool {
        self.outcome == Outcome::Succeeded
    }
}

impl Measurement {
    /// The runs that succeeded.
    pub fn good(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(|sample| sample.is_good())
    }

    /// What each good run that tells it took, in the order in which they began.
    pub fn values(&self, metric: Metric) -> Vec<f64> {
        self.good().filter_map(|sample| metric.of(sample)).collect()
    }

    /// Good runs in a second, all that were under way at once together.
    pub fn runs_per_second(&self) -> f64 {
        if self.took_ms > 0.0 { self.good().count() as f64 * 1000.0 / self.took_ms } else { 0.0 }
    }

    /// How often runs were told to come later.
    pub fn throttled(&self) -> u32 {
        self.samples.iter().map(|sample| sample.throttled).sum()
    }

    /// The runs that failed, those that did so in the same way together, most first.
    pub fn failures(&self) -> Vec<FailureGroup> {
        let mut groups: Vec<FailureGroup> = Vec::new();
        for sample in self.samples.iter().filter(|sample| !sample.is_good()) {
            let problem = sample.problem.clone().unwrap_or_default();
            let same = groups.iter_mut().find(|group| {
                (group.outcome, group.http_status) == (sample.outcome, sample.http_status) && group.problem == problem
            });
            match same {
                Some(group) => group.runs += 1,
                None => groups.push(FailureGroup {
                    outcome: sample.outcome,
                    http_status: sample.http_status,
                    problem,
                    detail: sample.detail.clone(),
                    runs: 1,
                }),
            }
        }
        groups.sort_by(|one, other| other.runs.cmp(&one.runs).then_with(|| one.cmp(other)));
        groups
    }
}

impl Record {
    /// A record of analyses.
    pub fn new(analyses: Vec<Analysis>) -> Self {
        Self { schema: SCHEMA, analyses }
    }

    /// Reads a record.
    ///
    /// # Errors
    /// This returns an error that names the file when it cannot be read, or is not of this form.
    pub fn read(path: &Path) -> Result<Self, String> {
        let named = |problem: String| format!("{}: {problem}", path.display());
        let text = fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
        let record = Self::parse(&text).map_err(named)?;
        Ok(record)
    }

    /// # Errors
    /// This returns an error that names the place when the text is not of this form.
    pub fn parse(text: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Form {
            schema: u32,
        }
        let form: Form = serde_json::from_str(text).map_err(|error| format!("is no measurement: {error}"))?;
        if form.schema != SCHEMA {
            return Err(format!("its `schema` is {}, and {SCHEMA} is what is read here", form.schema));
        }
        serde_json::from_str(text).map_err(|error| format!("is no measurement: {error}"))
    }

    /// The record, for programs.
    ///
    /// # Panics
    /// Never: its fields are numbers, texts and lists.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a record is JSON");
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sampling::{analysis, bad_sample, typical};

    #[test]
    fn a_record_comes_back_from_its_json_as_it_was() {
        let baseline = typical(120, 1.0);
        let mut slower = typical(120, 1.3);
        slower.samples.push(Sample {
            detail: Some("\u{0}\"<ü>".to_owned()),
            execution_ms: 0.1 + 0.2,
            throttled: 3,
            footprint: None,
            unread: Some("its record was answered with 500".to_owned()),
            ..bad_sample(120, Outcome::TooSlow, None, "no answer in time")
        });
        let mut other = slower.clone();
        other.settings.concurrency = 1;
        let analyses =
            vec![analysis(baseline.clone(), None), analysis(slower, Some(&baseline)), analysis(other, Some(&baseline))];
        let record = Record::new(analyses);
        assert_eq!(Record::parse(&record.to_json()).unwrap(), record);
    }

    #[test]
    fn what_is_no_record_is_refused_with_the_reason() {
        let json = Record::new(vec![analysis(typical(2, 1.0), None)]).to_json();
        for (text, problem) in [
            ("", "is no measurement: EOF"),
            ("{}", "is no measurement: missing field `schema`"),
            (&json.replace("\"schema\": 1", "\"schema\": 2"), "its `schema` is 2, and 1 is what is read here"),
            (&json.replace("\"took_ms\"", "\"took\""), "is no measurement: missing field `took_ms`"),
        ] {
            let refused = Record::parse(text).unwrap_err();
            assert!(refused.contains(problem), "{refused}");
        }
    }

    #[test]
    fn a_bundle_that_tells_only_a_part_of_a_footprint_or_more_than_that_is_understood() {
        let read = |text: &str| serde_json::from_str::<Footprint>(text).unwrap();
        assert_eq!(read("{}"), Footprint::default());
        let partly = read(r#"{"store_calls": 9, "of_later_versions": true}"#);
        assert_eq!(partly, Footprint { store_calls: Some(9), ..Footprint::default() });
    }
}
