//! What logs and metrics take of the processor in a warm run.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{
    Failed,
    functions::{FUNCTIONS, Function, build, emulator::Emulator, process::processor_time, service::Service},
    speed::median,
};

/// The part of a warm run's time on the processor that logs and metrics may take.
pub const LIMIT: f64 = 0.05;

/// Rounds, each of [`RUNS`] runs with telemetry and as many without.
pub const ROUNDS: usize = 15;

/// Runs of a round, of each kind.
pub const RUNS: usize = 50;

/// The time on the processor of a function's run, in microseconds: medians of the rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The function.
    pub name: &'static str,
    /// With logs and metrics as they are unless somebody says otherwise.
    pub with_microseconds: f64,
    /// Without.
    pub without_microseconds: f64,
}

impl Measured {
    /// The part that logs and metrics take.
    pub fn part(&self) -> f64 {
        (self.with_microseconds - self.without_microseconds) / self.with_microseconds
    }
}

/// Measures the API and a consumer.
///
/// # Errors
/// This returns an error when a function does not compile, or does not answer as it should.
pub async fn measure() -> Result<Vec<Measured>, Failed> {
    let mut all = Vec::new();
    for function in FUNCTIONS.iter().filter(|function| matches!(function.name, "api-process" | "email-consumer")) {
        all.push(measure_one(function).await?);
    }
    Ok(all)
}

async fn measure_one(function: &Function) -> Result<Measured, Failed> {
    let binary = build::function(function.name)?;
    let service = Service::start().await?;
    let with = service.environment();
    let off = ["LOG_LEVEL", "METRICS"].map(|name| (name.to_owned(), "off".to_owned()));
    let without: BTreeMap<String, String> = with.clone().into_iter().chain(off).collect();
    let mut with = Emulator::start(&binary, &with).await?;
    let mut without = Emulator::start(&binary, &without).await?;
    let (mut times_with, mut times_without) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let (one, other) = (
            runs(function, &mut with, &service, round * RUNS).await?,
            runs(function, &mut without, &service, round * RUNS).await?,
        );
        // The first round of each has the start in it.
        if round > 0 {
            times_with.push(of_each(one));
            times_without.push(of_each(other));
        }
    }
    Ok(Measured {
        name: function.name,
        with_microseconds: median(times_with),
        without_microseconds: median(times_without),
    })
}

async fn runs(
    function: &Function,
    emulator: &mut Emulator,
    service: &Service,
    first: usize,
) -> Result<Duration, Failed> {
    let now = |emulator: &Emulator| {
        let function = emulator.function().ok();
        function.and_then(processor_time).unwrap_or_default()
    };
    let before = now(emulator);
    for number in first..first + RUNS {
        let (answer, _) = emulator.invoke(&function.work(number, service.issuer())).await?;
        if let Some(complaint) = function.complaint(&answer) {
            return Err(complaint.into());
        }
    }
    Ok(now(emulator).saturating_sub(before))
}

fn of_each(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6 / RUNS as f64
}
