//! What became slower, beyond the noise.
//!
//! Two measurements differ when both holds: the interval that contains the difference of their medians (or of their 95th
//! percentiles) in 99 of 100 cases does not contain zero, and the difference is large enough to be worth a word.
//!
//! The interval is a bootstrap's: the difference is taken again and again of runs drawn from both measurements. Not single
//! runs are drawn but stretches of them, since runs that follow each other share what the machine did meanwhile, and would
//! otherwise count as more evidence than they are. Chance has a fixed seed, so that the same measurements compare the same.
//!
//! A machine that is busy makes everything slower, also another day. So calls that do nothing are timed between the runs.
//! When those differ too, a time is slower only if it still is after that share is taken off.
//!
//! Deliberately absent: a comparison of what was measured in another way or on another machine. That is said instead.

use std::collections::BTreeSet;

use fastrand::Rng;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Measurement, metric::Metric, statistics::percentile};

/// How a measurement stands beside its baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Comparison {
    /// There is no baseline.
    NoBaseline,
    /// The baseline was measured otherwise, so nothing is told by it.
    NotComparable {
        /// When the baseline was measured.
        baseline_at: Timestamp,
        /// What is different, each in a few words.
        differences: Vec<String>,
    },
    /// They were compared.
    Compared {
        /// When the baseline was measured.
        baseline_at: Timestamp,
        /// What changed by how much, metric by metric.
        changes: Vec<Change>,
        /// What else is to be known of it.
        notes: Vec<String>,
    },
}

/// How one percentile of a metric changed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The metric.
    pub metric: Metric,
    /// The percentile: 50 or 95.
    pub percentile: u8,
    /// Its value in the baseline.
    pub baseline: f64,
    /// Its value now.
    pub now: f64,
    /// Between what the difference lies in 99 of 100 cases, in the metric's unit; nothing with too few runs.
    pub interval: Option<(f64, f64)>,
    /// What that means.
    pub verdict: Verdict,
}

/// What a change means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Slower, or more.
    Worse,
    /// Faster, or less.
    Better,
    /// No difference beyond the noise that is worth a word.
    NoDifference,
    /// Too few runs to tell.
    TooFewRuns,
}

/// The fewest good runs whose medians are compared, on each side.
pub const FEWEST_FOR_MEDIAN: usize = 20;

/// The fewest whose 95th percentiles are: five runs lie beyond it then.
pub const FEWEST_FOR_P95: usize = 100;

/// How unlikely a difference is to lie outside its interval, half of it on each side.
const UNLIKELY: f64 = 0.01;

/// Draws: enough for the interval's ends to be settled, and not so many that a large measurement takes seconds.
const MOST_DRAWS: usize = 2_000;
const FEWEST_DRAWS: usize = 400;
const MOST_DRAWN: usize = 20_000_000;

const SEED: u64 = 0x1b57_a7e5;

/// A load of the machine, for each of its processors, above which somebody else had a part in the times.
const HIGH_LOAD: f64 = 1.5;

impl Change {
    /// How much the value changed, as a share of the baseline's; nothing where that was zero.
    pub fn relative(&self) -> Option<f64> {
        (self.baseline > 0.0).then(|| (self.now - self.baseline) / self.baseline)
    }

    /// The verdict in a word: a time is slower or faster, another thing more or less.
    pub const fn word(&self) -> &'static str {
        match (self.verdict, self.metric.is_time()) {
            (Verdict::Worse, true) => "slower",
            (Verdict::Better, true) => "faster",
            (Verdict::Worse, false) => "more",
            (Verdict::Better, false) => "less",
            (Verdict::NoDifference, _) => "no difference",
            (Verdict::TooFewRuns, _) => "too few runs",
        }
    }
}

impl Comparison {
    /// Compares a measurement with its baseline, if there is one.
    pub fn between(baseline: Option<&Measurement>, now: &Measurement, relevant_percent: u32) -> Self {
        let Some(baseline) = baseline else { return Self::NoBaseline };
        let baseline_at = baseline.begun_at;
        let differences = differences(baseline, now);
        if !differences.is_empty() {
            return Self::NotComparable { baseline_at, differences };
        }
        let machine = change(Metric::ExecutionTime, 50, &baseline.control_ms, &now.control_ms, relevant_percent);
        let machine = machine.filter(|change| matches!(change.verdict, Verdict::Worse | Verdict::Better));
        let changes = Metric::ALL
            .into_iter()
            .flat_map(|metric| {
                let (before, after) = (baseline.values(metric), now.values(metric));
                [50, 95].map(|percentile| {
                    let found = change(metric, percentile, &before, &after, relevant_percent)?;
                    let Some(machine) = machine.filter(|_| metric.is_time()) else { return Some(found) };
                    // What is left of it beside the machine.
                    let factor = machine.now / machine.baseline;
                    let own: Vec<f64> = after.iter().map(|value| value / factor).collect();
                    let own = change(metric, percentile, &before, &own, relevant_percent)?;
                    let is_own = own.verdict == found.verdict || found.verdict == Verdict::TooFewRuns;
                    Some(Change { verdict: if is_own { found.verdict } else { Verdict::NoDifference }, ..found })
                })
            })
            .flatten()
            .collect();
        let mut notes = notes(baseline, now);
        if let Some(machine) = machine {
            notes.push(format!(
                "calls that do nothing took {:.1} ms then and {:.1} ms now: that share of the times is taken for the \
                 machine's",
                machine.baseline, machine.now
            ));
        }
        Self::Compared { baseline_at, changes, notes }
    }

    /// What changed; nothing where nothing was compared.
    pub fn changes(&self) -> &[Change] {
        match self {
            Self::Compared { changes, .. } => changes,
            Self::NoBaseline | Self::NotComparable { .. } => &[],
        }
    }

    /// Whether a time became slower.
    pub fn is_slower(&self) -> bool {
        self.changes().iter().any(|change| change.metric.is_time() && change.verdict == Verdict::Worse)
    }
}

/// Why two measurements tell nothing about each other.
fn differences(baseline: &Measurement, now: &Measurement) -> Vec<String> {
    let facts = |measurement: &Measurement| {
        let Measurement { workflow, settings, machine, .. } = measurement;
        let processor = machine.processor.clone().unwrap_or_else(|| "unknown".to_owned());
        [
            ("workflow", workflow.to_string()),
            ("mode", settings.mode.name().to_owned()),
            ("concurrency", settings.concurrency.to_string()),
            ("bundle", settings.target.clone()),
            ("processor", processor),
            ("processors", machine.processors.to_string()),
            ("system", machine.system.clone()),
        ]
    };
    let both = facts(baseline).into_iter().zip(facts(now));
    let found = both.filter(|(then, now)| then != now);
    let mut found: Vec<String> =
        found.map(|((what, then), (_, now))| format!("{what}: {then} then, {now} now")).collect();
    let (then, now) = (&baseline.settings, &now.settings);
    // By what it says: a file may change, and may be called otherwise.
    if then.input_hash != now.input_hash {
        found.push(format!("input: `{}` then, `{}` now, which say different things", then.input, now.input));
    }
    found
}

/// What does not forbid a comparison, and is good to know with it.
fn notes(baseline: &Measurement, now: &Measurement) -> Vec<String> {
    let mut notes = Vec::new();
    for (when, measurement) in [("then", baseline), ("now", now)] {
        let failed = measurement.samples.len() - measurement.good().count();
        if failed > 0 {
            notes.push(format!("{failed} of {} runs failed {when} and are not in it", measurement.samples.len()));
        }
        let load = measurement.machine.load_before.unwrap_or_default();
        if load > HIGH_LOAD * measurement.machine.processors as f64 {
            notes.push(format!(
                "the machine was busy with something else {when}: a load of {load:.1} before the first run"
            ));
        }
    }
    let memory: BTreeSet<u32> = [baseline, now].map(|measurement| measurement.settings.memory_mib).into();
    if memory.len() > 1 {
        notes.push("costs were taken of another memory size then".to_owned());
    }
    notes
}

/// How a percentile changed; nothing where one side does not tell the metric.
fn change(metric: Metric, percent: u8, baseline: &[f64], now: &[f64], relevant_percent: u32) -> Option<Change> {
    if baseline.is_empty() || now.is_empty() {
        return None;
    }
    let of = |values: &[f64]| percentile(&mut values.to_vec(), percent.into());
    let (before, after) = (of(baseline), of(now));
    let fewest = if percent == 50 { FEWEST_FOR_MEDIAN } else { FEWEST_FOR_P95 };
    let is_told = baseline.len() >= fewest && now.len() >= fewest;
    let interval = is_told.then(|| interval(baseline, now, percent.into()));
    let is_relevant = (after - before).abs() >= before.abs() * f64::from(relevant_percent) / 100.0;
    let verdict = match interval {
        None => Verdict::TooFewRuns,
        Some((low, _)) if low > 0.0 && is_relevant => Verdict::Worse,
        Some((_, high)) if high < 0.0 && is_relevant => Verdict::Better,
        Some(_) => Verdict::NoDifference,
    };
    Some(Change { metric, percentile: percent, baseline: before, now: after, interval, verdict })
}

/// Between what the difference of a percentile lies in 99 of 100 cases.
fn interval(baseline: &[f64], now: &[f64], percent: usize) -> (f64, f64) {
    let mut chance = Rng::with_seed(SEED);
    let draws = (MOST_DRAWN / (baseline.len() + now.len())).clamp(FEWEST_DRAWS, MOST_DRAWS);
    let mut drawn = Vec::new();
    let mut differences: Vec<f64> = (0..draws)
        .map(|_| {
            let mut of = |values: &[f64]| {
                draw(values, &mut chance, &mut drawn);
                percentile(&mut drawn, percent)
            };
            of(now) - of(baseline)
        })
        .collect();
    differences.sort_unstable_by(f64::total_cmp);
    let outside = (draws as f64 * UNLIKELY / 2.0) as usize;
    (differences[outside], differences[draws - 1 - outside])
}

/// Draws as many values as there are, in stretches that may begin anywhere and go on at the beginning after the end.
fn draw(values: &[f64], chance: &mut Rng, drawn: &mut Vec<f64>) {
    // The cube root is the length by which the error of such an interval shrinks fastest.
    let stretch = (values.len() as f64).cbrt().ceil() as usize;
    drawn.clear();
    while drawn.len() < values.len() {
        let begin = chance.usize(..values.len());
        let left = values.len() - drawn.len();
        drawn.extend((begin..begin + stretch.min(left)).map(|place| values[place % values.len()]));
    }
}

#[cfg(test)]
mod tests {
    use ihelper_workflow::domain::WorkflowType;

    use super::*;
    use crate::{
        Mode, Outcome,
        sampling::{bad_sample, typical},
    };

    /// Times of some 20 ms, spread as times are: a few of them are much longer. Of what the machine does, a part
    /// (`waves`) goes on from one run to the next.
    fn times(chance: &mut Rng, runs: usize, factor: f64, waves: f64) -> Vec<f64> {
        let mut wave = 0.0;
        let mut normal = || {
            let (radius, angle) = (1.0 - chance.f64(), chance.f64() * std::f64::consts::TAU);
            (-2.0 * radius.ln()).sqrt() * angle.cos()
        };
        (0..runs)
            .map(|_| {
                wave = waves * wave + (1.0 - waves * waves).sqrt() * normal();
                20.0 * factor * (0.2 * wave).exp()
            })
            .collect()
    }

    fn verdict(chance: &mut Rng, runs: usize, factor: f64, waves: f64, percent: u8) -> Verdict {
        let (before, after) = (times(chance, runs, 1.0, waves), times(chance, runs, factor, waves));
        change(Metric::ExecutionTime, percent, &before, &after, 5).unwrap().verdict
    }

    /// In which share of so many pairs of measurements this is the verdict. One chance makes all of them: those of
    /// neighbouring seeds are not independent.
    fn share(wanted: Verdict, pairs: u32, verdict: impl Fn(&mut Rng) -> Verdict) -> f64 {
        let mut chance = Rng::with_seed(7);
        f64::from((0..pairs).map(|_| u32::from(verdict(&mut chance) == wanted)).sum::<u32>()) / f64::from(pairs)
    }

    #[test]
    fn a_slowdown_of_a_fifth_is_found_in_a_hundred_runs() {
        let found = share(Verdict::Worse, 200, |chance| verdict(chance, 100, 1.2, 0.0, 50));
        assert!(found >= 0.95, "found in {found} of the cases");
        let found = share(Verdict::Better, 200, |chance| verdict(chance, 100, 1.0 / 1.2, 0.0, 50));
        assert!(found >= 0.95, "a speedup was found in {found} of the cases");
    }

    #[test]
    fn a_slowdown_of_the_slowest_runs_is_found_at_the_95th_percentile() {
        let found = share(Verdict::Worse, 60, |chance| verdict(chance, 500, 1.2, 0.0, 95));
        assert!(found >= 0.95, "found in {found} of the cases");
    }

    #[test]
    fn the_same_noise_twice_is_no_difference() {
        // Over many more pairs it is 1.3, 0.7 and 2.8 percent; if single runs were drawn, the last one would be 5.2.
        for (percent, waves, bound) in [(50, 0.0, 0.025), (95, 0.0, 0.025), (50, 0.4, 0.045)] {
            let cried = 1.0 - share(Verdict::NoDifference, 300, |chance| verdict(chance, 100, 1.0, waves, percent));
            assert!(cried <= bound, "p{percent} with waves of {waves}: cried in {cried} of the cases");
        }
    }

    #[test]
    fn what_is_certain_and_small_is_not_worth_a_word() {
        let of =
            |before: f64, after: f64| change(Metric::StoreCalls, 50, &[before; 30], &[after; 30], 5).unwrap().verdict;
        assert_eq!(of(100.0, 104.0), Verdict::NoDifference);
        assert_eq!(of(100.0, 105.0), Verdict::Worse);
        assert_eq!(of(100.0, 95.0), Verdict::Better);
        assert_eq!(of(0.0, 1.0), Verdict::Worse, "from nothing, anything is much");
        assert_eq!(of(0.0, 0.0), Verdict::NoDifference);
    }

    #[test]
    fn too_few_runs_tell_nothing_however_far_apart_they_are() {
        let of = |runs, percent| verdict(&mut Rng::with_seed(1), runs, 10.0, 0.0, percent);
        assert_eq!((of(19, 50), of(20, 50)), (Verdict::TooFewRuns, Verdict::Worse));
        assert_eq!((of(99, 95), of(100, 95)), (Verdict::TooFewRuns, Verdict::Worse));
        assert_eq!(change(Metric::Memory, 50, &[], &[1.0; 30], 5), None, "what was not told is not compared");
    }

    #[test]
    fn what_was_measured_otherwise_is_named_and_not_compared() {
        type Otherwise = fn(&mut Measurement);

        let baseline = typical(100, 1.0);
        let differences = |otherwise: Otherwise| {
            let mut now = typical(100, 2.0);
            otherwise(&mut now);
            match Comparison::between(Some(&baseline), &now, 5) {
                Comparison::NotComparable { differences, .. } => differences.join("; "),
                compared => format!("{compared:?}"),
            }
        };
        let of_each: [(Otherwise, &str); 8] = [
            (|now| now.workflow = WorkflowType::TaskAutomation, "workflow: email_processing then, task_automation now"),
            (|now| now.settings.mode = Mode::Async, "mode: sync then, async now"),
            (|now| now.settings.concurrency = 1, "concurrency: 8 then, 1 now"),
            (
                |now| now.settings.target = "https://api.example".to_owned(),
                "bundle: local then, https://api.example now",
            ),
            (
                |now| now.settings.input_hash = "other".to_owned(),
                "input: `sample` then, `sample` now, which say different",
            ),
            (|now| now.machine.processor = None, "processor: Some processor then, unknown now"),
            (|now| now.machine.processors = 64, "processors: 2 then, 64 now"),
            (|now| now.machine.system = "linux aarch64".to_owned(), "system: linux x86_64 then, linux aarch64 now"),
        ];
        for (otherwise, told) in of_each {
            assert!(differences(otherwise).starts_with(told), "{}", differences(otherwise));
        }
        let renamed = differences(|now| now.settings.input = "the same.json".to_owned());
        assert!(renamed.starts_with("Compared"), "what says the same is the same: {renamed}");
        assert_eq!(Comparison::between(None, &baseline, 5), Comparison::NoBaseline);
    }

    #[test]
    fn a_busy_machine_and_failed_runs_are_told_beside_a_comparison() {
        let baseline = typical(100, 1.0);
        let mut now = typical(100, 1.0);
        now.machine.load_before = Some(7.0);
        now.samples.push(bad_sample(100, Outcome::Failed, Some(500), "unknown"));
        let Comparison::Compared { notes, .. } = Comparison::between(Some(&baseline), &now, 5) else {
            panic!("they were not compared")
        };
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].starts_with("1 of 101 runs failed now") && notes[1].contains("a load of 7.0"), "{notes:?}");
    }

    #[test]
    fn what_the_machine_makes_slower_is_not_the_workflows_and_what_remains_is() {
        let mut baseline = typical(100, 1.0);
        baseline.control_ms = (0..25).map(|number| 5.0 + f64::from(number % 5) * 0.1).collect();
        let beside = |times: f64, controls: f64| {
            let mut now = typical(100, times);
            now.control_ms = baseline.control_ms.iter().map(|value| value * controls).collect();
            let comparison = Comparison::between(Some(&baseline), &now, 5);
            let Comparison::Compared { notes, .. } = &comparison else { panic!("{comparison:?}") };
            (comparison.is_slower(), notes.join("; "))
        };
        assert_eq!(beside(1.5, 1.0), (true, String::new()));
        let (is_slower, told) = beside(1.5, 1.5);
        assert!(!is_slower && told.starts_with("calls that do nothing took 5.2 ms then and 7.8 ms now"), "{told}");
        assert!(beside(2.0, 1.5).0, "a third of it is the workflow's own");
        assert!(!beside(1.0, 0.5).0, "that the machine is faster makes nothing slower");
    }

    #[test]
    fn only_a_time_makes_a_measurement_slower() {
        let (baseline, mut more) = (typical(100, 1.0), typical(100, 1.0));
        for footprint in more.samples.iter_mut().filter_map(|sample| sample.footprint.as_mut()) {
            footprint.store_calls = Some(90);
        }
        let comparison = Comparison::between(Some(&baseline), &more, 5);
        let verdicts = comparison.changes().iter().filter(|change| change.metric == Metric::StoreCalls);
        assert_eq!(verdicts.map(Change::word).collect::<Vec<_>>(), ["more", "more"]);
        assert!(!comparison.is_slower());
        assert!(Comparison::between(Some(&baseline), &typical(100, 1.2), 5).is_slower());
    }

    #[test]
    fn the_same_measurements_compare_the_same() {
        let mut chance = Rng::with_seed(1);
        let (before, after) = (times(&mut chance, 50, 1.0, 0.0), times(&mut chance, 50, 1.1, 0.0));
        let again = || change(Metric::ExecutionTime, 50, &before, &after, 5);
        assert_eq!(again(), again());
    }

    #[test]
    fn stretches_hold_as_many_values_as_there_are_and_only_those() {
        let (values, mut drawn) = (times(&mut Rng::with_seed(3), 10, 1.0, 0.0), Vec::new());
        for seed in 0..50 {
            draw(&values, &mut Rng::with_seed(seed), &mut drawn);
            assert!(drawn.len() == 10 && drawn.iter().all(|value| values.contains(value)), "{drawn:?}");
        }
    }
}
