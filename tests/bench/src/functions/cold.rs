//! Cold starts: from the process's beginning to its first answer, beside a function that builds no client.

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use crate::{
    Failed,
    functions::{
        Environment, FUNCTIONS, Function,
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
pub const STARTS: usize = 21;

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
    /// An invocation with a whole run.
    pub work_ms: f64,
    /// How much longer than the bare function it takes for nothing: the median of the rounds, in each of which the machine is
    /// as busy for the one as for the other.
    pub idle_ratio: f64,
    /// How much longer than the bare function it takes with its first calls, likewise.
    pub first_calls_ratio: f64,
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
    let (mut bare_ms, mut idle_ms, mut first_ms, mut work_ms) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // The first of each is read from the disk, and does not count.
    for number in 0..=STARTS {
        // What comes after another kind may find the machine as that left it, so each comes after each.
        for kind in 0..4 {
            match (kind + number) % 4 {
                0 => bare_ms.push(start(bare, &environment, &json!({}), |_| None).await?),
                1 => idle_ms.push(start(binary, &environment, &function.idle(), |_| None).await?),
                2 => {
                    let event = function.first_calls(number, service.issuer());
                    first_ms.push(start(binary, &environment, &event, |answer| function.complaint(answer)).await?);
                }
                _ => {
                    let event = function.work(number, service.issuer());
                    work_ms.push(start(binary, &environment, &event, |answer| function.complaint(answer)).await?);
                }
            }
        }
    }
    if service.dead_letters() > 0 {
        return Err(format!("runs of `{}` ended as dead letters", function.name).into());
    }
    let counted = |mut times: Vec<f64>| median(times.split_off(1));
    Ok(Measured {
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
