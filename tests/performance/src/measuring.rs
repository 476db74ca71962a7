use std::{
    cell::RefCell,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use ihelper_bench::costs::Costs;
use ihelper_workflow::domain::{RunId, Status, WorkflowType, run::Usage};
use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::Value;

use crate::{
    Bundle, Footprint, Input, Measurement, Mode, Options, Outcome, Sample, Settings,
    bundle::{Answer, NoAnswer},
    cost::{Estimate, memory_of},
    machine::{self, versions},
    progress::Progress,
};

/// The pauses between two questions for a run: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How often a record is asked for until it counts as unread.
const READING_TRIES: usize = 5;

/// How long reading a record may take. It is not measured.
const READING_PATIENCE: Duration = Duration::from_secs(30);

/// After so many runs a call that does nothing is timed: often enough to know the machine, and too seldom to burden it.
const RUNS_PER_CONTROL: u32 = 4;

/// No text of an answer that is kept has more characters.
const LONGEST_TEXT: usize = 200;

/// Measures one workflow: some runs to warm up, then those that count, and after all of these what each took. So no
/// reading of records stands in the way of a run that is measured.
pub async fn measure(bundle: &Bundle, workflow: WorkflowType, input: &Input, options: &Options) -> Measurement {
    let runner = Runner {
        bundle,
        workflow,
        input,
        mode: options.mode,
        patience: Duration::from_secs(options.patience.into()),
        mark: format!("{:x}", Timestamp::now().as_microsecond()),
        control_ms: RefCell::default(),
    };
    let concurrency = options.concurrency as usize;
    runner.runs(options.runs..options.runs + options.warmup(), concurrency, Instant::now(), "warm-up").await;

    runner.control_ms.take();
    let mut machine = machine::this();
    let (begun_at, begun) = (Timestamp::now(), Instant::now());
    let mut samples = runner.runs(0..options.runs, concurrency, begun, "runs").await;
    let took_ms = milliseconds(begun.elapsed());
    let control_ms = runner.control_ms.take();
    machine.load_after = machine::load();
    samples.sort_by(|one, other| one.started_ms.total_cmp(&other.started_ms));

    let memory_mib = options.memory.unwrap_or_else(|| memory_of(workflow, options.mode));
    let estimate = Estimate { workflow, mode: options.mode, memory_mib, is_typical_input: input.is_typical() };
    // The file is compiled in, and a test reads it.
    let costs = Costs::committed().unwrap_or_default();
    let samples = runner.read(samples, concurrency).await;
    let samples = samples.into_iter().map(|sample| Sample { cost: estimate.of(&costs, &sample), ..sample }).collect();
    let settings = Settings {
        mode: options.mode,
        runs: options.runs,
        concurrency: options.concurrency,
        warmup: options.warmup(),
        input: input.name.clone(),
        input_hash: input.hash.clone(),
        target: bundle.target.clone(),
        memory_mib,
        patience_seconds: options.patience,
    };
    Measurement { workflow, begun_at, took_ms, settings, versions: versions(), machine, control_ms, samples }
}

/// Runs runs.
struct Runner<'a> {
    bundle: &'a Bundle,
    workflow: WorkflowType,
    input: &'a Input,
    mode: Mode,
    patience: Duration,
    /// What tells this measurement's runs from those of all others.
    mark: String,
    /// How long calls took that do nothing.
    control_ms: RefCell<Vec<f64>>,
}

/// How a run ended, as its caller sees it.
struct End {
    outcome: Outcome,
    problem: Option<String>,
    detail: Option<String>,
}

impl Runner<'_> {
    /// Runs these, so many at a time.
    async fn runs(&self, numbers: std::ops::Range<u32>, at_once: usize, begun: Instant, what: &str) -> Vec<Sample> {
        let progress = Progress::new(&format!("{} {what}", self.workflow), numbers.len());
        let runs = stream::iter(numbers).map(|number| async move {
            let sample = self.run(number, begun).await;
            if number % RUNS_PER_CONTROL == 0 {
                self.control().await;
            }
            sample
        });
        let samples = runs.buffer_unordered(at_once).inspect(|sample| progress.count(sample.is_good())).collect().await;
        progress.finish();
        samples
    }

    /// Times a call that does nothing. One that fails tells nothing.
    async fn control(&self) {
        let started = Instant::now();
        if self.bundle.health(self.patience).await.is_ok_and(|answer| answer.status == 200) {
            self.control_ms.borrow_mut().push(milliseconds(started.elapsed()));
        }
    }

    /// Runs one to its end.
    async fn run(&self, number: u32, begun: Instant) -> Sample {
        let data = self.input.of_run(&self.mark, number);
        let first = Instant::now();
        let mut throttled = 0;
        loop {
            let started = Instant::now();
            let answer = self.bundle.start(self.workflow, &data, self.mode, self.patience).await;
            let wait = answer.as_ref().ok().filter(|answer| answer.status == 429).map(|answer| answer.retry_after);
            if let Some(wait) = wait {
                throttled += 1;
                if first.elapsed() + wait < self.patience {
                    tokio::time::sleep(wait).await;
                    continue;
                }
            }
            let http_status = answer.as_ref().ok().map(|answer| answer.status);
            let run = answer.as_ref().ok().and_then(Answer::run_id);
            let end = match &answer {
                Err(no_answer) => End::unanswered(*no_answer),
                Ok(answer) => match (answer.status, run) {
                    (200, _) => End::good(),
                    (202, Some(run)) => self.follow(run, started).await,
                    _ => End::of_problem(answer),
                },
            };
            return Sample {
                number,
                started_ms: milliseconds(started - begun),
                execution_ms: milliseconds(started.elapsed()),
                outcome: end.outcome,
                http_status,
                problem: end.problem,
                detail: end.detail,
                throttled,
                run_id: run.map(|run| run.to_string()),
                attempts: None,
                usage: None,
                footprint: None,
                cost: None,
                unread: None,
            };
        }
    }

    /// Asks for a run until it has ended, or goes on only when somebody does something.
    async fn follow(&self, run: RunId, started: Instant) -> End {
        let mut pause = FIRST_PAUSE;
        loop {
            let Some(left) = self.patience.checked_sub(started.elapsed()) else { return End::too_slow() };
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
            match self.bundle.run(run, left).await {
                Ok(answer) if answer.status == 200 => {
                    if let Some(end) = End::of_record(&answer.body) {
                        return end;
                    }
                }
                Ok(answer) if answer.status == 429 => pause = answer.retry_after,
                // Who may not ask now may not ask later; all else may pass.
                Ok(answer) if answer.status < 500 => return End::of_problem(&answer),
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Adds to each run what its record tells.
    async fn read(&self, samples: Vec<Sample>, at_once: usize) -> Vec<Sample> {
        let progress = Progress::new(&format!("{} records", self.workflow), samples.len());
        let read = stream::iter(samples).map(|mut sample| async move {
            if let Some(id) = sample.run_id.as_deref().and_then(|id| id.parse().ok()) {
                match self.record(id).await {
                    Ok(record) => take_in(&mut sample, &record),
                    Err(problem) => sample.unread = Some(problem),
                }
            }
            sample
        });
        let read = read.buffered(at_once).inspect(|sample| progress.count(sample.unread.is_none())).collect().await;
        progress.finish();
        read
    }

    async fn record(&self, run: RunId) -> Result<Value, String> {
        let mut problem = String::new();
        for _ in 0..READING_TRIES {
            let wait = match self.bundle.run(run, READING_PATIENCE).await {
                Ok(answer) if answer.status == 200 => return Ok(answer.body),
                Ok(answer) if answer.status == 429 || answer.status >= 500 => {
                    problem = format!("its record was answered with {}", answer.status);
                    answer.retry_after
                }
                Ok(answer) => return Err(format!("its record was answered with {}", answer.status)),
                Err(no_answer) => {
                    problem = format!("its record: {}", no_answer.words());
                    LONGEST_PAUSE
                }
            };
            tokio::time::sleep(wait).await;
        }
        Err(problem)
    }
}

impl End {
    fn good() -> Self {
        Self { outcome: Outcome::Succeeded, problem: None, detail: None }
    }

    fn bad(outcome: Outcome, problem: impl Into<String>, detail: Option<&str>) -> Self {
        Self { outcome, problem: Some(short(&problem.into())), detail: detail.map(short) }
    }

    fn too_slow() -> Self {
        Self::bad(Outcome::TooSlow, "had not ended when patience had", None)
    }

    fn unanswered(no_answer: NoAnswer) -> Self {
        let outcome = if no_answer == NoAnswer::Late { Outcome::TooSlow } else { Outcome::Unanswered };
        Self::bad(outcome, no_answer.words(), None)
    }

    /// The end that a problem tells of (RFC 9457), or anything else that is not what was asked for.
    fn of_problem(answer: &Answer) -> Self {
        let body = &answer.body;
        let text = |field: &str| body[field].as_str();
        let detail = text("detail").or_else(|| body["errors"][0]["problem"].as_str());
        match text("type").and_then(|name| name.rsplit(['/', ':']).next()) {
            Some("run-failed") => Self::bad(Outcome::Failed, what_failed(text("kind"), text("step")), detail),
            Some("run-cancelled") => Self::bad(Outcome::Cancelled, "was cancelled", detail),
            _ => {
                let title = text("title").or_else(|| text("message")).unwrap_or("an answer that is none of this API's");
                Self::bad(Outcome::Refused, title, detail)
            }
        }
    }

    /// The end that a run's record tells of; nothing as long as it goes on by itself.
    fn of_record(record: &Value) -> Option<Self> {
        let status: Status = record["status"].as_str()?.parse().ok()?;
        let error = &record["error"];
        match status {
            Status::Queued | Status::Running => None,
            Status::Succeeded => Some(Self::good()),
            Status::Failed => {
                let what = what_failed(error["kind"].as_str(), error["step"].as_str());
                Some(Self::bad(Outcome::Failed, what, error["message"].as_str()))
            }
            Status::Cancelled => Some(Self::bad(Outcome::Cancelled, "was cancelled", None)),
            Status::Waiting => Some(Self::bad(Outcome::Waiting, "waits for a person, a callback or a time", None)),
            Status::Attention => Some(Self::bad(Outcome::Attention, "the outcome of an effect is not known", None)),
        }
    }
}

/// What is the same for all runs that fail alike.
fn what_failed(kind: Option<&str>, step: Option<&str>) -> String {
    let kind = kind.unwrap_or("unknown");
    step.map_or_else(|| kind.to_owned(), |step| format!("{kind} in {step}"))
}

/// Adds to a run what its record tells, as far as it is understood.
fn take_in(sample: &mut Sample, record: &Value) {
    sample.attempts = record["attempts"].as_u64().and_then(|attempts| u32::try_from(attempts).ok());
    sample.usage = Usage::deserialize(&record["usage"]).ok();
    sample.footprint = Footprint::deserialize(&record["footprint"]).ok();
    let error = &record["error"];
    if sample.detail.is_none() && !sample.is_good() {
        sample.detail = error["message"].as_str().map(short);
    }
}

fn short(text: &str) -> String {
    if text.chars().count() <= LONGEST_TEXT {
        return text.to_owned();
    }
    text.chars().take(LONGEST_TEXT - 1).chain(['…']).collect()
}

fn milliseconds(duration: Duration) -> f64 {
    // To the microsecond: what lies below is chance, and makes files long.
    duration.as_micros() as f64 / 1000.0
}
