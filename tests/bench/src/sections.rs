//! The sections about functions: what is measured, in words and tables.

use ihelper_bench::{
    Failed, documents,
    functions::{batch, cold, memory, sizes, telemetry, throughput, warm},
    report::{Claim, Report, Table},
};
use serde_json::json;

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// How large the functions are.
pub(crate) fn sizes(report: &mut Report) -> Result<(), Failed> {
    report.say("## Sizes")?;
    report.say("The functions as SAM builds and zips them, in MiB.")?;
    let all = sizes::measure()?;
    let mut table = Table::new(["function", "binary", "zip", "limit"]);
    let of = |bytes: u64| bytes as f64 / MEBIBYTE;
    for measured in &all {
        let figures = [measured.binary, measured.zipped, measured.limit].map(|bytes| format!("{:.2}", of(bytes)));
        table.row([vec![measured.name.to_owned()], figures.to_vec()].concat());
    }
    report.say(&table.to_string())?;
    let claims = all.iter().map(|measured| Claim {
        of: format!("zip of `{}`", measured.name),
        figure: format!("{:.2} MiB", of(measured.zipped)),
        beside: format!("binary, {:.2} MiB", of(measured.binary)),
        ratio: Some(of(measured.zipped) / of(measured.binary)),
        limit: Some(format!("{:.0} MiB", of(measured.limit))),
        holds: measured.zipped <= measured.limit,
    });
    report.claim("4 sizes", claims.collect());
    report.note("sizes", json!(all));
    Ok(())
}

/// How long the functions take to start.
pub(crate) async fn cold(report: &mut Report) -> Result<(), Failed> {
    report.say("## Cold starts")?;
    report.say(&format!(
        "From the start of the process to its first answer, under the runtime interface emulator, in milliseconds: \
         medians of {} starts of each kind, in turns, and of the ratios of each round. \"Nothing\" is an invocation without a \
         call to anybody; \"first calls\" has the first handshakes with store and queue, which a TLS server on this machine \
         answers that chooses ciphers as those of AWS do and resumes no session, and nothing of a workflow (the API checks \
         no token then; among the claims stands what it takes with one, for which it asks the issuer); \"a run\" is a whole \
         run of the typical input, mail and all. The bare function answers and builds no client.",
        cold::STARTS
    ))?;
    let all = cold::measure().await?;
    let mut table = Table::new(["function", "bare", "nothing", "/ bare", "first calls", "/ bare", "a run", "/ bare"]);
    for measured in &all {
        table.row([
            measured.name.to_owned(),
            format!("{:.1}", measured.bare_ms),
            format!("{:.1}", measured.idle_ms),
            format!("{:.2}", measured.idle_ratio),
            format!("{:.1}", measured.first_calls_ms),
            format!("{:.2}", measured.first_calls_ratio),
            format!("{:.1}", measured.work_ms),
            format!("{:.2}", measured.work_ratio),
        ]);
    }
    report.say(&table.to_string())?;
    let claims = all.iter().flat_map(|measured| {
        let claim = |what: &str, ms: f64, ratio: f64, limit: Option<f64>| Claim {
            of: format!("cold start of `{}`, {what}", measured.name),
            figure: format!("{ms:.1} ms"),
            beside: format!("bare function, {:.1} ms", measured.bare_ms),
            ratio: Some(ratio),
            limit: limit.map(|limit| format!("{limit} ×")),
            holds: limit.is_none_or(|limit| ratio <= limit),
        };
        [
            claim("no call", measured.idle_ms, measured.idle_ratio, Some(cold::IDLE_LIMIT)),
            claim(
                "first TLS calls",
                measured.first_calls_ms,
                measured.first_calls_ratio,
                Some(cold::FIRST_CALLS_LIMIT),
            ),
        ]
        .into_iter()
        .chain(
            measured
                .with_issuer_ms
                .zip(measured.with_issuer_ratio)
                .map(|(ms, ratio)| claim("first TLS calls with the issuer's", ms, ratio, None)),
        )
        .chain([claim("a whole run", measured.work_ms, measured.work_ratio, None)])
    });
    report.claim("5 cold", claims.collect());
    report.note("cold", json!(all));
    Ok(())
}

/// How long warm functions take.
pub(crate) async fn warm(report: &mut Report) -> Result<(), Failed> {
    report.say("## Warm invocations")?;
    report.say(&format!(
        "Under the runtime interface emulator, in milliseconds: medians of {} rounds of {} invocations of each kind, in \
         turns; \"added\" is the median of what each round adds, and stands by itself over all invocations at once. Claim: a \
         run by the API on ports in memory takes at the 99th of a hundred at most {} ms more than a function that echoes the \
         same calls, as a median of the rounds.",
        warm::ROUNDS,
        warm::INVOCATIONS,
        warm::LIMIT_MS
    ))?;
    let all = warm::measure().await?;
    report.say(if all.iter().all(|measured| measured.is_apart) {
        "The functions have a core of their own, where neither the bench nor the emulator computes."
    } else {
        "The functions share the only core with the bench and the emulator, which is in the figures."
    })?;
    let mut table = Table::new(["what", "p50", "p99", "beside", "its p50", "its p99", "added at p99", "over all"]);
    for measured in &all {
        table.row([
            measured.name.clone(),
            format!("{:.2}", measured.p50),
            format!("{:.2}", measured.p99),
            measured.beside.to_owned(),
            format!("{:.2}", measured.beside_p50),
            format!("{:.2}", measured.beside_p99),
            format!("{:.2}", measured.added_ms),
            format!("{:.2}", measured.added_over_all_ms),
        ]);
    }
    report.say(&table.to_string())?;
    let claims = all.iter().map(|measured| Claim {
        of: format!("warm, p99: {}", measured.name),
        figure: format!("{:.2} ms, {:+.2} ({:+.2})", measured.p99, measured.added_ms, measured.added_over_all_ms),
        beside: format!("{}, {:.2} ms", measured.beside, measured.beside_p99),
        ratio: Some(measured.ratio),
        limit: measured.is_claimed.then(|| format!("+{} ms", warm::LIMIT_MS)),
        holds: !measured.is_claimed || measured.holds(),
    });
    report.claim("6 warm", claims.collect());
    report.note("warm", json!(all));
    Ok(())
}

/// How much memory the functions need.
pub(crate) async fn memory(report: &mut Report) -> Result<(), Failed> {
    report.say("## Memory")?;
    report.say(&format!(
        "The most that a function's process had at once, in MiB, over {} runs of the typical input. The child that reads \
         a document is not in it: see the documents.",
        memory::RUNS
    ))?;
    let all = memory::measure().await?;
    let of = |bytes: u64| bytes as f64 / MEBIBYTE;
    let mut table = Table::new(["function", "at work", "bare", "limit"]);
    for measured in &all {
        table.row([
            measured.name.to_owned(),
            format!("{:.1}", of(measured.bytes)),
            format!("{:.1}", of(measured.bare_bytes)),
            measured.limit.map(|limit| format!("{:.0}", of(limit))).unwrap_or_default(),
        ]);
    }
    report.say(&table.to_string())?;
    let claims = all.iter().map(|measured| Claim {
        of: format!("memory of `{}` at work", measured.name),
        figure: format!("{:.1} MiB", of(measured.bytes)),
        beside: format!("bare function, {:.1} MiB", of(measured.bare_bytes)),
        ratio: Some(of(measured.bytes) / of(measured.bare_bytes)),
        limit: measured.limit.map(|limit| format!("{:.0} MiB", of(limit))),
        holds: measured.limit.is_none_or(|limit| measured.bytes <= limit),
    });
    report.claim("7 memory", claims.collect());
    report.note("memory", json!(all));
    Ok(())
}

/// How long a batch takes.
pub(crate) async fn batch(report: &mut Report) -> Result<(), Failed> {
    report.say("## A batch")?;
    let measured = batch::measure().await?;
    report.say(&format!(
        "{} messages of mail in one invocation, each with {:.0} call to a model that takes a second: {:.3} s in the first \
         invocation of a process, {:.3} s after it.",
        batch::MESSAGES,
        measured.calls,
        measured.first_s,
        measured.warm_s
    ))?;
    let claims = [("the first of a process", measured.first_s), ("warm", measured.warm_s)].map(|(which, seconds)| {
        let ratio = batch::Measured::ratio(seconds);
        Claim {
            of: format!("{} messages in one invocation, {which}", batch::MESSAGES),
            figure: format!("{seconds:.3} s"),
            beside: "one model call, 1 s".to_owned(),
            ratio: Some(ratio),
            limit: Some(format!("{} ×", batch::LIMIT)),
            holds: ratio <= batch::LIMIT,
        }
    });
    report.claim("8 batch", claims.into());
    report.note("batch", json!(measured));
    Ok(())
}

/// What logs and metrics take.
pub(crate) async fn telemetry(report: &mut Report) -> Result<(), Failed> {
    report.say("## Logs and metrics")?;
    report.say(&format!(
        "The time on the processor of a warm run, in microseconds, with logs and metrics and without (LOG_LEVEL=off, \
         METRICS=off): medians of {} rounds of {} runs, in turns.",
        telemetry::ROUNDS,
        telemetry::RUNS
    ))?;
    let all = telemetry::measure().await?;
    let mut table = Table::new(["function", "with", "without", "part"]);
    for measured in &all {
        table.row([
            measured.name.to_owned(),
            format!("{:.0}", measured.with_microseconds),
            format!("{:.0}", measured.without_microseconds),
            format!("{:.1} %", measured.part() * 100.0),
        ]);
    }
    report.say(&table.to_string())?;
    let claims = all.iter().map(|measured| Claim {
        of: format!("logs and metrics of `{}`, of a run's processor", measured.name),
        figure: format!("{:.1} %", measured.part() * 100.0),
        beside: format!("without, {:.0} µs", measured.without_microseconds),
        ratio: Some(measured.with_microseconds / measured.without_microseconds),
        limit: Some(format!("{:.0} %", telemetry::LIMIT * 100.0)),
        holds: measured.part() <= telemetry::LIMIT,
    });
    report.claim("9 telemetry", claims.collect());
    report.note("telemetry", json!(all));
    Ok(())
}

/// How many calls the API takes.
pub(crate) fn throughput(report: &mut Report) -> Result<(), Failed> {
    report.say("## Throughput on the local AWS")?;
    let measured = throughput::measure()?;
    report.say(&format!(
        "Calls in a second, {} at a time, all through the one process of the local AWS, in turns: a function that only \
         echoes {:.0}; `GET /health` {:.0}; runs of mail to their end {:.0}, each with its writes to the table.",
        throughput::AT_ONCE,
        measured.echoes,
        measured.health,
        measured.runs
    ))?;
    let claims = [("`GET /health`", measured.health), ("runs of mail", measured.runs)].map(|(what, calls)| Claim {
        of: format!("calls in a second on the local AWS: {what}"),
        figure: format!("{calls:.0}"),
        beside: format!("echo, {:.0}", measured.echoes),
        ratio: Some(calls / measured.echoes),
        limit: None,
        holds: true,
    });
    report.claim("b throughput", claims.into());
    report.note("throughput", json!(measured));
    Ok(())
}

/// How long reading documents takes.
pub(crate) fn documents(report: &mut Report) -> Result<(), Failed> {
    let (text, all) = documents::measure()?;
    report.say(&text.replace("# Documents", "## Documents"))?;
    let claims = all.iter().map(|measured| Claim {
        of: format!("reading: {}, {:.1} MiB", measured.name, measured.mebibytes),
        figure: format!("{:.0} ms/MiB", measured.ms_per_mebibyte()),
        beside: String::new(),
        ratio: None,
        limit: None,
        holds: true,
    });
    report.claim("a documents", claims.collect());
    report.note("documents", json!(all));
    Ok(())
}
