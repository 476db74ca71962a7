use std::time::Duration;

use futures::{FutureExt as _, StreamExt as _, stream};
use ihelper_workflow::{
    domain::{
        WorkflowType,
        definition::{Definition, GoldenCase},
        run::Usage,
    },
    versions::Played,
};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::Candidate;

/// What came of one case on one candidate, all its plays together.
#[derive(Clone, Debug, PartialEq)]
pub struct Result {
    /// Its place among the candidates.
    pub candidate: usize,
    /// The case's workflow.
    pub workflow: WorkflowType,
    /// The case's name.
    pub case: String,
    /// How many plays passed.
    pub passed: u32,
    /// How long each play took.
    pub durations: Vec<Duration>,
    /// What all plays took.
    pub usage: Usage,
    /// What was not as expected, each once.
    pub mismatches: Vec<String>,
}

impl Result {
    /// How often the case was played.
    pub fn plays(&self) -> u32 {
        u32::try_from(self.durations.len()).unwrap_or(u32::MAX)
    }

    fn take_in(&mut self, played: Played) {
        self.passed += u32::from(played.passed());
        self.durations.push(played.duration);
        self.usage += played.usage;
        for mismatch in played.mismatches {
            let told = if mismatch.field.is_empty() {
                mismatch.problem
            } else {
                format!("{}: {}", mismatch.field, mismatch.problem)
            };
            if !self.mismatches.contains(&told) {
                self.mismatches.push(told);
            }
        }
    }
}

/// Plays every case so often on every candidate, so many at once. Results come by case, and for each case by candidate.
pub async fn play(candidates: &[Candidate], definitions: &[Definition], repeat: u32, parallel: u32) -> Vec<Result> {
    let cases: Vec<(&Definition, &GoldenCase)> = definitions
        .iter()
        .flat_map(|definition| definition.golden_cases.iter().map(move |case| (definition, case)))
        .collect();
    let mut results: Vec<Result> = cases
        .iter()
        .flat_map(|(definition, case)| (0..candidates.len()).map(|candidate| empty(candidate, definition, case)))
        .collect();
    let bars = Bars::new(candidates, cases.len() as u64 * u64::from(repeat));
    // By case, so that all candidates are asked all the while.
    let plays: Vec<_> = (0..repeat)
        .flat_map(|_| 0..results.len())
        .map(|place| {
            let (definition, case) = cases[place / candidates.len()];
            let candidate = place % candidates.len();
            let bars = &bars;
            async move {
                let played = candidates[candidate].rehearsal.play(definition, case).await;
                bars.count(candidate, &played);
                (place, played)
            }
            .boxed()
        })
        .collect();
    let played: Vec<(usize, Played)> = stream::iter(plays).buffer_unordered(parallel as usize).collect().await;
    bars.finish();
    for (place, played) in played {
        results[place].take_in(played);
    }
    results
}

fn empty(candidate: usize, definition: &Definition, case: &GoldenCase) -> Result {
    Result {
        candidate,
        workflow: definition.workflow,
        case: case.name.clone(),
        passed: 0,
        durations: Vec::new(),
        usage: Usage::default(),
        mismatches: Vec::new(),
    }
}

/// How far each candidate is, where somebody looks.
struct Bars {
    all: MultiProgress,
    bars: Vec<ProgressBar>,
}

impl Bars {
    fn new(candidates: &[Candidate], plays: u64) -> Self {
        let all = MultiProgress::new();
        let style = ProgressStyle::with_template("{prefix:>20} {bar:30} {pos}/{len} {elapsed} {msg}")
            .unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = |candidate: &Candidate| {
            let bar = all.add(ProgressBar::new(plays));
            bar.set_style(style.clone());
            bar.set_prefix(candidate.name.clone());
            bar
        };
        let bars = candidates.iter().map(bar).collect();
        Self { all, bars }
    }

    fn count(&self, candidate: usize, played: &Played) {
        let bar = &self.bars[candidate];
        if !played.passed() {
            bar.set_message(format!("✗ {}", played.name));
        }
        bar.inc(1);
    }

    fn finish(&self) {
        self.bars.iter().for_each(ProgressBar::finish_and_clear);
        // A terminal that is gone takes nothing with it.
        let _ = self.all.clear();
    }
}
