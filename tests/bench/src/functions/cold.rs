//! Cold starts: from the process's beginning to its first answer, beside a function that builds no client.

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use crate::{
    Failed,
    functions::{
        self, Environment, FUNCTIONS, Function,
        build::{self, BARE},
        emulator::Emulator,
        service::Service,
    },
    speed::median,
};

/// How much longer than the bare function one may take that is asked for nothing.
pub const IDLE_LIMIT: f64 = 1.5;

/// How much longer than the bare function one may take with its first TLS calls to store and queue.
pub const FIRST_CALLS_LIMIT: f64 = 3.0;

/// Starts of each kind.
pub const STARTS: usize = 61;

/// The medians of a function's starts, in milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// The function.
    pub name: &'static str,
    /// The bare function, measured in turns with this one.
    pub bare_ms: f64,
    /// An invocation without a call to anybody.
    pub idle_ms: f64,
    /// An invocation with its first calls to store and queue.
    pub first_calls_ms: f64,
    /// The same of the API, with those to the issuer of tokens.
    pub with_issuer_ms: Option<f64>,
    /// An invocation with a whole run.
    pub work_ms: f64,
    /// How much longer than the bare function it takes for nothing: the median of the rounds, in each of which the machine is
    /// as busy for the one as for the other.
    pub idle_ratio: f64,
    /// How much longer than the bare function it takes with its first calls, likewise.
    pub first_calls_ratio: f64,
    /// How much longer than the bare function it takes with those to the issuer too, likewise.
    pub with_issuer_ratio: Option<f64>,
    /// How much longer than the bare function it takes for a run, likewise.
    pub work_ratio: f64,
}

/// Measures the starts of every function.
///
/// # Errors
/// This returns an error when a function does not compile, or does not answer as it should.
pub async fn measure() -> Result<Vec<Measured>, Failed> {
    let bare = build::peer(BARE)?;
    let mut all = Vec::new();
    for function in &FUNCTIONS {
        let binary = build::function(function.name)?;
        all.push(measure_one(function, &binary, &bare).await?);
    }
    Ok(all)
}

async fn measure_one(function: &Function, binary: &Path, bare: &Path) -> Result<Measured, Failed> {
    let service = Service::start().await?;
    let environment = service.environment();
    // As on AWS: the certificates of the services here are for who calls them.
    let without_certificates = functions::environment(service.issuer(), service.issuer());
    let of_first_calls = function.environment_of_first_calls(environment.clone());
    let asks_issuer = of_first_calls != environment;
    let kinds = if asks_issuer { 5 } else { 4 };
    let mut times: [Vec<f64>; 5] = Default::default();
    // The first of each is read from the disk, and does not count.
    for number in 0..=STARTS {
        let first_calls = function.first_calls(number, service.issuer());
        let work = function.work(number, service.issuer());
        // What comes after another kind may find the machine as that left it, so each comes after each.
        for kind in (0..kinds).map(|kind| (kind + number) % kinds) {
            let complaint = |answer: &serde_json::Value| function.complaint(answer);
            let took = match kind {
                0 => start(bare, &environment, &json!({}), |_| None).await?,
                1 => start(binary, &without_certificates, &function.idle(), |_| None).await?,
                2 => start(binary, &of_first_calls, &first_calls, complaint).await?,
                3 => start(binary, &environment, &work, complaint).await?,
                _ => start(binary, &environment, &first_calls, complaint).await?,
            };
            times[kind].push(took);
        }
    }
    let [bare_ms, idle_ms, first_ms, work_ms, issuer_ms] = times;
    if service.dead_letters() > 0 {
        return Err(format!("runs of `{}` ended as dead letters", function.name).into());
    }
    let counted = |mut times: Vec<f64>| median(times.split_off(1));
    Ok(Measured {
        with_issuer_ratio: asks_issuer.then(|| median(ratios(&issuer_ms[1..], &bare_ms[1..]))),
        with_issuer_ms: asks_issuer.then(|| counted(issuer_ms)),
        idle_ratio: median(ratios(&idle_ms[1..], &bare_ms[1..])),
        first_calls_ratio: median(ratios(&first_ms[1..], &bare_ms[1..])),
        work_ratio: median(ratios(&work_ms[1..], &bare_ms[1..])),
        name: function.name,
        bare_ms: counted(bare_ms),
        idle_ms: counted(idle_ms),
        first_calls_ms: counted(first_ms),
        work_ms: counted(work_ms),
    })
}

/// Each time over the one that was measured in the same round.
fn ratios(times: &[f64], beside: &[f64]) -> Vec<f64> {
    times.iter().zip(beside).map(|(time, other)| time / other).collect()
}

async fn start(
    binary: &Path,
    environment: &Environment,
    event: &serde_json::Value,
    complaint: impl Fn(&serde_json::Value) -> Option<String>,
) -> Result<f64, Failed> {
    let mut emulator = Emulator::start(binary, environment).await?;
    let (answer, took) = emulator.invoke(event).await?;
    emulator.stop().await?;
    match complaint(&answer) {
        Some(complaint) => Err(complaint.into()),
        None => Ok(took.as_secs_f64() * 1e3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_moment_falls_on_both_sides_of_a_ratio() {
        // Twice as long in each round, whatever the machine did meanwhile.
        assert_eq!(median(ratios(&[8.0, 80.0, 8.0], &[4.0, 40.0, 4.0])), 2.0);
        assert_eq!(ratios(&[8.0, 9.0], &[4.0, 3.0]), [2.0, 3.0]);
    }
}
