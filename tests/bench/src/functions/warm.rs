//! Warm invocations, beside functions that do nothing.

use std::path::Path;

use ihelper_testkit::memory::MemoryIssuer;
use serde::Serialize;
use serde_json::Value;

use crate::{
    Failed,
    functions::{
        Door, Environment, FUNCTIONS,
        build::{self, BARE, ECHO, MEMORY_API},
        cores::Apart,
        emulator::Emulator,
        service::Service,
    },
    router::quantiles,
};

/// How much longer than the echo a run of the API on ports in memory may take at the 99th of a hundred, in
/// milliseconds.
pub const LIMIT_MS: f64 = 1.0;

/// Invocations of each kind.
pub const INVOCATIONS: usize = 2000;

/// The first of each kind, which do not count: they start the function.
const STARTING: usize = 50;

/// What invocations took, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// What was invoked.
    pub name: String,
    /// Half of its invocations took less.
    pub p50: f64,
    /// 99 of a hundred of its invocations took less.
    pub p99: f64,
    /// The function beside it.
    pub beside: &'static str,
    /// Half of that one's invocations took less.
    pub beside_p50: f64,
    /// 99 of a hundred of that one's invocations took less.
    pub beside_p99: f64,
    /// Whether a limit stands for it.
    pub is_claimed: bool,
}

impl Measured {
    /// What it takes beyond the function beside it, at the 99th of a hundred.
    pub fn added_ms(&self) -> f64 {
        self.p99 - self.beside_p99
    }

    /// Whether it keeps its limit.
    pub fn holds(&self) -> bool {
        self.added_ms() <= LIMIT_MS
    }
}

/// Measures every function with nothing to do, and the API with runs on ports in memory.
///
/// # Errors
/// This returns an error when a function does not compile, or does not answer as it should.
pub async fn measure() -> Result<Vec<Measured>, Failed> {
    let service = Service::start().await?;
    let environment = service.environment();
    let mut all = vec![api_in_memory(&environment).await?];
    for function in FUNCTIONS {
        let (beside, event) = match function.door {
            Door::Api => (ECHO, function.idle()),
            Door::Bus | Door::Queue(_) => (BARE, function.idle()),
        };
        let binary = build::function(function.name)?;
        let (own, other) = in_turns(&binary, |_| event.clone(), beside, &environment, |_| None).await?;
        all.push(measured(format!("`{}` with nothing to do", function.name), own, beside, other, false));
    }
    Ok(all)
}

async fn api_in_memory(environment: &Environment) -> Result<Measured, Failed> {
    let [api, ..] = FUNCTIONS;
    let binary = build::peer(MEMORY_API)?;
    let runs = |number| api.work(number, MemoryIssuer::NAME);
    let (own, other) = in_turns(&binary, runs, ECHO, environment, |answer| api.complaint(answer)).await?;
    Ok(measured("a run of mail by the API, ports in memory".to_owned(), own, ECHO, other, true))
}

/// Both get the same events, so that what it takes to pass one on is on either side.
async fn in_turns(
    binary: &Path,
    event: impl Fn(usize) -> Value,
    beside: &str,
    environment: &Environment,
    complaint: impl Fn(&Value) -> Option<String>,
) -> Result<(Vec<f64>, Vec<f64>), Failed> {
    let apart = Apart::begin()?;
    let mut own = Emulator::start(binary, environment).await?;
    let mut other = Emulator::start(&build::peer(beside)?, environment).await?;
    let (mut own_ms, mut other_ms) = (Vec::new(), Vec::new());
    for number in 0..INVOCATIONS + STARTING {
        let counts = number >= STARTING;
        let event = event(number);
        let (answer, took) = own.invoke(&event).await?;
        if let Some(complaint) = complaint(&answer) {
            return Err(complaint.into());
        }
        own_ms.extend(counts.then_some(took.as_secs_f64() * 1e3));
        let (_, took) = other.invoke(&event).await?;
        other_ms.extend(counts.then_some(took.as_secs_f64() * 1e3));
        if let (0, Some(apart)) = (number, &apart) {
            // The emulator has started them by now.
            apart.give_core_to(own.function()?)?;
            apart.give_core_to(other.function()?)?;
        }
    }
    Ok((own_ms, other_ms))
}

fn measured(name: String, own: Vec<f64>, beside: &'static str, other: Vec<f64>, is_claimed: bool) -> Measured {
    let ([p50, p99], [beside_p50, beside_p99]) = (quantiles(own), quantiles(other));
    Measured { name, p50, p99, beside, beside_p50, beside_p99, is_claimed }
}
