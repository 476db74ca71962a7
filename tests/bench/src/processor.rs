//! How much of the processor the engine takes for a step, on a store that answers at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::WorkflowType,
    engine::{Context, Outcome, Stop, Workflow},
};
use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    speed::median,
    stage::{Pace, Stage, deadline, succeeded},
};

/// The most that a step may take.
pub const LIMIT_MICROSECONDS: f64 = 50.0;

/// What a run of many trivial steps took, as medians.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// How many steps the run had.
    pub steps: u32,
    /// How many such runs were measured.
    pub runs: usize,
    /// Microseconds of the processor for each step that is taken and journaled.
    pub step_microseconds: f64,
    /// Microseconds of the processor for each step that a later attempt finds in the journal.
    pub replay_microseconds: f64,
    /// Segments of the journal for each step.
    pub segments_per_step: f64,
    /// Bytes of the journal for each step, as JSON, before it is compressed.
    pub bytes_per_step: f64,
}

impl Measured {
    /// Whether a step stays under its limit.
    pub fn holds(&self) -> bool {
        self.step_microseconds < LIMIT_MICROSECONDS
    }
}

/// Measures runs of so many steps; the caller's runtime must be one of a single thread, whose time is taken.
///
/// # Errors
/// This returns an error when a run does not come to its end.
pub async fn measure(steps: u32, runs: usize) -> Result<Measured, String> {
    let (mut taken, mut replayed, mut segments, mut bytes) = (Vec::new(), Vec::new(), 0.0, 0.0);
    for _ in 0..runs.max(1) {
        let stage = Stage::new(Pace::default());
        let workflow = Arc::new(Trivial { steps, ends: AtomicBool::new(false) });
        let worker = stage.worker(workflow.clone());

        let before = thread_time();
        let (id, outcome) =
            stage.start(&worker, WorkflowType::TaskAutomation).await.map_err(|failure| failure.to_string())?;
        taken.push(per_step(thread_time() - before, steps));
        if outcome != Outcome::HandedOver {
            return Err(format!("the first attempt did not hand over: {outcome:?}"));
        }

        workflow.ends.store(true, Ordering::Relaxed);
        let before = thread_time();
        let outcome = worker.resume(id, deadline()).await.map_err(|failure| failure.to_string())?;
        replayed.push(per_step(thread_time() - before, steps));
        succeeded(outcome)?;

        let journal = stage.memory.segments(id);
        let json = journal.iter().map(|segment| json!(segment.entries).to_string().len());
        bytes = json.sum::<usize>() as f64 / f64::from(steps);
        segments = journal.len() as f64 / f64::from(steps);
    }
    Ok(Measured {
        steps,
        runs: runs.max(1),
        step_microseconds: median(taken),
        replay_microseconds: median(replayed),
        segments_per_step: segments,
        bytes_per_step: bytes,
    })
}

fn per_step(time: Duration, steps: u32) -> f64 {
    time.as_secs_f64() * 1e6 / f64::from(steps.max(1))
}

/// How long this thread has had a processor.
fn thread_time() -> Duration {
    // The clock of a thread that runs is never before its beginning.
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Takes its steps and hands over; asked again, it finds them all and ends.
struct Trivial {
    steps: u32,
    ends: AtomicBool,
}

#[async_trait]
impl Workflow for Trivial {
    fn workflow(&self) -> WorkflowType {
        WorkflowType::TaskAutomation
    }

    async fn execute(&self, run: &mut Context) -> Result<Value, Stop> {
        let mut sum: u64 = 0;
        for number in 0..self.steps {
            sum += run.step(&format!("step_{number}"), || async { Ok(u64::from(number)) }).await?;
        }
        if self.ends.load(Ordering::Relaxed) { Ok(json!(sum)) } else { Err(Stop::HandOver) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_run_is_measured_with_its_replay_and_its_journal() {
        let measured = measure(200, 2).await.unwrap();
        assert_eq!((measured.steps, measured.runs), (200, 2));
        assert!(measured.step_microseconds > 0.0 && measured.replay_microseconds > 0.0, "{measured:?}");
        assert!(measured.segments_per_step > 0.0 && measured.segments_per_step <= 1.0, "{measured:?}");
        assert!(measured.bytes_per_step > 100.0, "{measured:?}");
    }

    #[test]
    fn time_is_shared_out_among_steps() {
        assert_eq!(per_step(Duration::from_millis(20), 10_000), 2.0);
        assert_eq!(per_step(Duration::ZERO, 0), 0.0);
    }
}
