use std::{fmt, time::Duration};

use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use ihelper_workflow::domain::run::Usage;
use serde_json::{Value, json};

use crate::{Candidate, Outcome};

/// What came of all cases on all candidates.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The name and the model of each candidate.
    candidates: Vec<(String, String)>,
    results: Vec<Outcome>,
    at_least_percent: u32,
}

/// What came of all cases on one candidate.
#[derive(Clone, Debug, PartialEq)]
struct Sum {
    passed: u32,
    plays: u32,
    usage: Usage,
    durations: Vec<Duration>,
}

impl Report {
    /// A report that holds when on each candidate this share of the plays passed.
    pub fn new(candidates: &[Candidate], results: Vec<Outcome>, at_least_percent: u32) -> Self {
        let candidates = candidates.iter().map(|candidate| (candidate.name.clone(), candidate.model.clone())).collect();
        Self { candidates, results, at_least_percent }
    }

    /// Whether enough passed on each candidate.
    pub fn holds(&self) -> bool {
        (0..self.candidates.len()).all(|candidate| self.sum(candidate).holds(self.at_least_percent))
    }

    /// The results, for programs.
    pub fn to_json(&self) -> String {
        let result = |result: &Outcome| {
            json!({
                "node": self.candidates[result.candidate].0,
                "workflow": result.workflow,
                "case": result.case,
                "passed": result.passed,
                "plays": result.plays(),
                "usage": result.usage,
                "durations_ms": result.durations.iter().map(Duration::as_millis).map(json_number).collect::<Vec<_>>(),
                "mismatches": result.mismatches,
            })
        };
        let results: Vec<Value> = self.results.iter().map(result).collect();
        format!(
            "{:#}\n",
            json!({ "holds": self.holds(), "at_least_percent": self.at_least_percent, "results": results })
        )
    }

    fn sum(&self, candidate: usize) -> Sum {
        let mut sum = Sum { passed: 0, plays: 0, usage: Usage::default(), durations: Vec::new() };
        for result in self.results.iter().filter(|result| result.candidate == candidate) {
            sum.passed += result.passed;
            sum.plays += result.plays();
            sum.usage += result.usage;
            sum.durations.extend(&result.durations);
        }
        sum
    }

    fn cases(&self) -> Table {
        let mut table =
            table(["workflow", "case"].into_iter().chain(self.candidates.iter().map(|(name, _)| name.as_str())));
        for results in self.results.chunks(self.candidates.len().max(1)) {
            let Some(first) = results.first() else { continue };
            let mut row = vec![first.workflow.to_string(), first.case.clone()];
            row.extend(results.iter().map(|result| {
                let mark = if result.passed == result.plays() { "✓" } else { "✗" };
                let share =
                    if result.plays() == 1 { String::new() } else { format!(" {}/{}", result.passed, result.plays()) };
                let (latency, cost) = (seconds(median(&result.durations)), dollars(result.usage));
                format!("{mark}{share}  {latency}  {cost}")
            }));
            table.add_row(row);
        }
        table
    }

    fn nodes(&self) -> Table {
        let header = ["node", "model", "passed", "cost", "calls", "tokens in", "tokens out", "median", "longest"];
        let mut table = table(header);
        for column in 2..header.len() {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        for (number, (name, model)) in self.candidates.iter().enumerate() {
            let sum = self.sum(number);
            table.add_row([
                name.clone(),
                model.clone(),
                format!("{}/{}", sum.passed, sum.plays),
                dollars(sum.usage),
                sum.usage.api_calls.to_string(),
                sum.usage.input_tokens.to_string(),
                sum.usage.output_tokens.to_string(),
                seconds(median(&sum.durations)),
                seconds(sum.durations.iter().max().copied().unwrap_or_default()),
            ]);
        }
        table
    }
}

impl Sum {
    fn holds(&self, at_least_percent: u32) -> bool {
        u64::from(self.passed) * 100 >= u64::from(self.plays) * u64::from(at_least_percent)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "{}\n", self.cases())?;
        for result in self.results.iter().filter(|result| !result.mismatches.is_empty()) {
            writeln!(formatter, "✗ {}, {}: {}", self.candidates[result.candidate].0, result.workflow, result.case)?;
            for mismatch in &result.mismatches {
                writeln!(formatter, "    {mismatch}")?;
            }
        }
        write!(formatter, "{}", self.nodes())
    }
}

fn table<'a>(header: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header(header);
    table
}

fn json_number(number: u128) -> Value {
    json!(u64::try_from(number).unwrap_or(u64::MAX))
}

fn median(durations: &[Duration]) -> Duration {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn seconds(duration: Duration) -> String {
    if duration < Duration::from_secs(1) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

fn dollars(usage: Usage) -> String {
    format!("${:.4}", usage.cost_microdollars as f64 / 1e6)
}
