//! `make bench`: measures the engine and the functions, and prints what it found. A measurement, not a test: only its
//! claims decide how it ends, and that after everything was measured.

mod sections;

use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use ihelper_bench::{
    Failed,
    costs::{Cost, Costs},
    functions::{build, process::load, throughput},
    prices::{self, Bill, Facts, UNIT_PRICES},
    processor,
    report::{Claim, Report, Table, show_in_readme},
    router,
    speed::{self, PACE, SUBJECTS},
};
use ihelper_workflow::domain::WorkflowType;
use serde_json::json;

/// Runs of each kind that a figure of speed is the median of.
const SPEED_RUNS: usize = 31;

/// Runs that the figures of the processor are the medians of.
const PROCESSOR_RUNS: usize = 9;

/// Steps of each of those.
const STEPS: u32 = 10_000;

/// Calls that the figures of the router are of.
const ROUTER_CALLS: usize = 50_000;

/// Measures the engine and the functions, and holds them to their claims.
#[derive(Parser)]
struct Options {
    /// These sections only, separated by commas.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Section>,
    /// Builds no function: measures those that were built before.
    #[arg(long)]
    built: bool,
    /// Measures what there is to measure on the local AWS around this.
    #[arg(long, hide = true)]
    within_stack: bool,
    /// Measures nothing, but puts the newest claims of every section into README.md.
    #[arg(long)]
    readme: bool,
}

/// A part of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    /// The engine's time over the model's.
    Speed,
    /// The engine's time on the processor.
    Processor,
    /// What the router adds to a call.
    Router,
    /// A million runs in dollars.
    Prices,
    /// Binaries and zips.
    Sizes,
    /// Cold starts.
    Cold,
    /// Warm invocations.
    Warm,
    /// Memory at work.
    Memory,
    /// Ten messages in one invocation.
    Batch,
    /// Logs and metrics.
    Telemetry,
    /// Calls in a second on the local AWS.
    Throughput,
    /// Reading documents.
    Documents,
}

// One thread, so that its time on the processor is that of all there is to do.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Failed> {
    let options = Options::parse();
    if options.within_stack {
        return throughput::measure_within_stack().await.map(|()| ExitCode::SUCCESS);
    }
    if options.readme {
        show_in_readme()?;
        return Ok(ExitCode::SUCCESS);
    }
    if options.built {
        build::take_as_built();
    }
    let mut report = Report::new();
    let cores = std::thread::available_parallelism()?.get();
    report.note("cores", json!(cores));
    report.say("# ihelper, measured")?;
    report.say(&format!(
        "A measurement on this machine ({cores} cores, load {:.1} at the beginning), not a test: compare the figures of \
         one run with each other.",
        load()
    ))?;
    let mut is_whole = true;
    for section in Section::value_variants() {
        if !options.only.is_empty() && !options.only.contains(section) {
            continue;
        }
        // What cannot be measured keeps nothing else from being.
        if let Err(error) = measure(*section, &mut report).await {
            report.say(&format!("{section:?} could not be measured: {error}"))?;
            is_whole = false;
        }
    }
    let holds = report.holds();
    report.save()?;
    Ok(if is_whole && holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn measure(section: Section, report: &mut Report) -> Result<(), Failed> {
    match section {
        Section::Speed => speed(report).await,
        Section::Processor => processor(report).await,
        Section::Router => router(report).await,
        Section::Prices => prices(report).await,
        Section::Sizes => sections::sizes(report),
        Section::Cold => sections::cold(report).await,
        Section::Warm => sections::warm(report).await,
        Section::Memory => sections::memory(report).await,
        Section::Batch => sections::batch(report).await,
        Section::Telemetry => sections::telemetry(report).await,
        Section::Throughput => sections::throughput(report),
        Section::Documents => sections::documents(report),
    }
}

/// Measures the time over the model's.
async fn speed(report: &mut Report) -> Result<(), Failed> {
    report.say("## Speed")?;
    report.say(&format!(
        "The time a run takes over its model's, on a store of {} ms and a model of {} ms: medians of {SPEED_RUNS} runs, \
         in milliseconds and in round trips to the store as they were measured. \"Naive\" is the same run with a \
         journal that is awaited after each step. Claim, for the runs of five steps: at most one round trip for each \
         effect, and {} more; half a one is allowed for what is no request, since figures are times. The workflows' own \
         requests (a claim, a tracking entry) come on top, here as there.",
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
    let claims = all.iter().filter(|measured| measured.is_claimed).map(|measured| Claim {
        of: format!("engine: {}", measured.name),
        figure: format!("{:.2} round trips over its model", measured.round_trips),
        beside: format!("naive journal, {:.2}", measured.naive_round_trips),
        ratio: Some(1.0 / measured.ratio()),
        limit: Some(format!("{} round trips", measured.most_round_trips())),
        holds: measured.holds(),
    });
    report.claim("1 speed", claims.collect());
    report.note("speed", json!(all));
    Ok(())
}

/// Measures the processor's time for a step.
async fn processor(report: &mut Report) -> Result<(), Failed> {
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
    let claim = Claim {
        of: "engine: processor for a step".to_owned(),
        figure: format!("{:.1} µs", measured.step_microseconds),
        beside: String::new(),
        ratio: None,
        limit: Some(format!("{:.0} µs", processor::LIMIT_MICROSECONDS)),
        holds: measured.holds(),
    };
    report.claim("2 processor", vec![claim]);
    report.note("processor", json!(measured));
    Ok(())
}

/// Measures what the router adds to a call.
async fn router(report: &mut Report) -> Result<(), Failed> {
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
    let claims = all.iter().map(|measured| Claim {
        of: format!("router: added at p99, {} calls at a time", measured.at_once),
        figure: format!("{:.1} µs", measured.added()),
        beside: format!("direct call, {:.1} µs", measured.direct_p99),
        ratio: Some(measured.routed_p99 / measured.direct_p99),
        limit: Some(format!("{} µs", router::LIMIT.as_micros())),
        holds: measured.holds(),
    });
    report.claim("3 router", claims.collect());
    report.note("router", json!(all));
    Ok(())
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
