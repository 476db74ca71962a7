//! `make bench`: measures the engine, and prints what it found. A measurement, not a test: only the claims of the
//! engine and of the router decide how it ends.

use std::{
    error::Error,
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use ihelper_bench::{
    costs::{Cost, Costs},
    prices::{self, Bill, Facts, UNIT_PRICES},
    processor,
    report::Table,
    router,
    speed::{self, PACE, SUBJECTS},
};
use ihelper_workflow::domain::WorkflowType;
use serde_json::{Value, json};

/// Runs of each kind that a figure of speed is the median of.
const SPEED_RUNS: usize = 31;

/// Runs that the figures of the processor are the medians of.
const PROCESSOR_RUNS: usize = 9;

/// Steps of each of those.
const STEPS: u32 = 10_000;

/// Calls that the figures of the router are of.
const ROUTER_CALLS: usize = 50_000;

type Failed = Box<dyn Error + Send + Sync>;

// One thread, so that its time on the processor is that of all there is to do.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Failed> {
    let mut report = Report::new();
    let cores = std::thread::available_parallelism()?.get();
    report.note("cores", json!(cores));
    report.say("# The engine, measured")?;
    report.say(&format!(
        "A measurement on this machine ({cores} cores), not a test: compare the figures of one run with each other."
    ))?;

    let is_fast = speed(&mut report).await?;
    let is_light = processor(&mut report).await?;
    let is_thin = router(&mut report).await?;
    prices(&mut report).await?;

    report.save()?;
    Ok(if is_fast && is_light && is_thin { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Measures the time over the model's, and tells whether the claim holds.
async fn speed(report: &mut Report) -> Result<bool, Failed> {
    report.say("## Speed")?;
    report.say(&format!(
        "The time a run takes over its model's, on a store of {} ms and a model of {} ms: medians of {SPEED_RUNS} runs, \
         in milliseconds and in round trips to the store as they were measured. \"Naive\" is the same run with a \
         journal that is awaited after each step. Claim, for the runs of five steps: at most one round trip for each \
         effect, and {} more. The workflows' own requests (a claim, a tracking entry) come on top, here as there.",
        PACE.store.as_millis(),
        PACE.model.as_millis(),
        speed::BESIDES_EFFECTS,
    ))?;
    let mut table = Table::new([
        "run",
        "effects",
        "own requests",
        "limit",
        "over, ms",
        "over, round trips",
        "naive, ms",
        "naive, round trips",
        "naive / ours",
        "claim",
    ]);
    let mut all = Vec::new();
    for subject in &SUBJECTS {
        let measured = speed::measure(subject, SPEED_RUNS).await?;
        table.row([
            measured.name.to_owned(),
            measured.effects.to_string(),
            measured.own_requests.to_string(),
            measured.limit.to_string(),
            format!("{:.1}", measured.over_ms),
            format!("{:.2}", measured.round_trips),
            format!("{:.1}", measured.naive_over_ms),
            format!("{:.2}", measured.naive_round_trips),
            format!("{:.2}", measured.ratio()),
            verdict(measured.is_claimed.then(|| measured.holds())).to_owned(),
        ]);
        all.push(measured);
    }
    report.say(&table.to_string())?;
    report.note("speed", json!(all));
    Ok(all.iter().all(|measured| !measured.is_claimed || measured.holds()))
}

/// Measures the processor's time for a step, and tells whether the claim holds.
async fn processor(report: &mut Report) -> Result<bool, Failed> {
    let measured = processor::measure(STEPS, PROCESSOR_RUNS).await?;
    report.say("## Processor")?;
    report.say(&format!(
        "The thread's time on the processor for each of {STEPS} trivial steps, on a store that answers at once: medians \
         of {PROCESSOR_RUNS} runs. Claim: under {:.0} µs.",
        processor::LIMIT_MICROSECONDS
    ))?;
    let mut table = Table::new(["of each step", "figure", "claim"]);
    table.row([
        "taken and journaled, µs".to_owned(),
        format!("{:.1}", measured.step_microseconds),
        verdict(Some(measured.holds())).to_owned(),
    ]);
    table.row(["found in the journal, µs".to_owned(), format!("{:.1}", measured.replay_microseconds)]);
    table.row(["segments of the journal".to_owned(), format!("{:.4}", measured.segments_per_step)]);
    table.row(["bytes of the journal, as JSON".to_owned(), format!("{:.0}", measured.bytes_per_step)]);
    report.say(&table.to_string())?;
    report.note("processor", json!(measured));
    Ok(measured.holds())
}

/// Measures what the router adds to a call, and tells whether the claim holds.
async fn router(report: &mut Report) -> Result<bool, Failed> {
    report.say("## Router")?;
    report.say(&format!(
        "The time of a call to a model that answers at once, through the router over three nodes and without it, in \
         microseconds, of {ROUTER_CALLS} calls each. Claim: at the 99th of a hundred it adds less than {} µs.",
        router::LIMIT.as_micros()
    ))?;
    let mut table = Table::new([
        "calls at a time",
        "direct, median",
        "direct, p99",
        "routed, median",
        "routed, p99",
        "added at p99",
        "claim",
    ]);
    let mut all = Vec::new();
    for at_once in router::AT_ONCE {
        let measured = router::measure(ROUTER_CALLS, at_once).await;
        table.row([
            at_once.to_string(),
            format!("{:.1}", measured.direct_p50),
            format!("{:.1}", measured.direct_p99),
            format!("{:.1}", measured.routed_p50),
            format!("{:.1}", measured.routed_p99),
            format!("{:.1}", measured.added()),
            verdict(Some(measured.holds())).to_owned(),
        ]);
        all.push(measured);
    }
    report.say(&table.to_string())?;
    report.note("router", json!(all));
    Ok(all.iter().all(router::Measured::holds))
}

/// Prices a million runs of each workflow.
async fn prices(report: &mut Report) -> Result<(), Failed> {
    report.say("## Prices of a million runs")?;
    report.say(
        "From the figures of tests/costs.json, which a test holds, and public unit prices, in US dollars. Where another \
         service's way of counting leaves a choice, the one that is cheaper for it is taken: durable functions without \
         an operation for each parallel branch, Step Functions without choices, maps and ends. Left out on all sides: \
         Lambda's requests and compute, API Gateway, the model, SES, EventBridge, logs, free tiers, the producer's \
         SendMessage.",
    )?;
    let costs = Costs::committed()?;
    let mut summary = Table::new([
        "workflow",
        "ours, by queue",
        "ours, by API",
        "Lambda durable functions",
        "Step Functions Standard",
    ]);
    let mut arithmetic = Table::new(["workflow", "side", "what", "per run", "unit price", "a million runs"]);
    let mut all = Vec::new();
    for workflow in WorkflowType::ALL {
        let doors = costs.of(workflow).ok_or("a workflow has no committed figures")?;
        let facts = Facts::of(workflow).await?;
        let bills = bills(&doors.queue, &doors.api, &facts);
        let ours = bills[0].dollars();
        let beside = |bill: &Bill| format!("${:.2} ({:.1} ×)", bill.dollars(), bill.dollars() / ours);
        summary.row([
            workflow.name().to_owned(),
            format!("${ours:.2}"),
            beside(&bills[1]),
            beside(&bills[2]),
            beside(&bills[3]),
        ]);
        for bill in &bills {
            add_lines(&mut arithmetic, workflow, bill);
        }
        all.push(json!({ "workflow": workflow, "facts": facts, "bills": bills }));
    }
    report.say(&summary.to_string())?;
    report.say("The arithmetic, line by line: what one run takes × 1,000,000 × the unit price.")?;
    report.say(&arithmetic.to_string())?;
    report.say(&unit_prices().to_string())?;
    report.note("prices", json!({ "of_a_million_runs": all, "unit_prices": UNIT_PRICES }));
    Ok(())
}

fn bills(queue: &Cost, api: &Cost, facts: &Facts) -> [Bill; 4] {
    [
        prices::ours("ours, by queue", queue),
        prices::ours("ours, by API", api),
        prices::durable_functions(facts, queue),
        prices::step_functions(facts, queue),
    ]
}

fn add_lines(table: &mut Table, workflow: WorkflowType, bill: &Bill) {
    for line in &bill.lines {
        table.row([
            workflow.name().to_owned(),
            bill.side.to_owned(),
            line.what.clone(),
            figure(line.per_run),
            unit_price(line.price.dollars, line.price.per),
            format!("${:.2}", line.dollars()),
        ]);
    }
    table.row([
        workflow.name().to_owned(),
        bill.side.to_owned(),
        "together".to_owned(),
        String::new(),
        String::new(),
        format!("${:.2}", bill.dollars()),
    ]);
}

fn unit_prices() -> Table {
    let mut table = Table::new(["unit price (us-east-1)", "dollars", "published at", "confirmed"]);
    for price in &UNIT_PRICES {
        table.row([
            price.of.to_owned(),
            unit_price(price.dollars, price.per),
            price.source.to_owned(),
            price.confirmed.to_owned(),
        ]);
    }
    table
}

/// A count as it is, a part of a gigabyte with what digits it has.
fn figure(count: f64) -> String {
    if count >= 0.5 { count.to_string() } else { format!("{count:.3e}") }
}

fn unit_price(dollars: f64, per: f64) -> String {
    match per {
        1e6 => format!("${dollars} / million"),
        1.0 => format!("${dollars}"),
        _ => format!("${dollars} / {per}"),
    }
}

const fn verdict(holds: Option<bool>) -> &'static str {
    match holds {
        Some(true) => "holds",
        Some(false) => "FAILS",
        None => "–",
    }
}

/// What is printed, and kept for people and for programs.
struct Report {
    markdown: String,
    figures: serde_json::Map<String, Value>,
}

impl Report {
    fn new() -> Self {
        Self { markdown: String::new(), figures: serde_json::Map::new() }
    }

    /// Prints a paragraph or a table, and keeps it.
    fn say(&mut self, paragraph: &str) -> io::Result<()> {
        let paragraph = format!("{}\n\n", paragraph.trim_end());
        self.markdown.push_str(&paragraph);
        let mut out = io::stdout().lock();
        out.write_all(paragraph.as_bytes())?;
        out.flush()
    }

    fn note(&mut self, name: &str, figures: Value) {
        self.figures.insert(name.to_owned(), figures);
    }

    /// Writes `bench/engine.md` and `bench/engine.json` into the target directory.
    fn save(&mut self) -> Result<(), Failed> {
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let target = target.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target"));
        let folder = target.join("bench");
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("engine.md"), &self.markdown)?;
        fs::write(folder.join("engine.json"), serde_json::to_string_pretty(&self.figures)?)?;
        self.say("Kept in target/bench/engine.md and engine.json.")?;
        Ok(())
    }
}
