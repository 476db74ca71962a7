//! Results are written in the background: not too late, not too many at once.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ihelper_workflow::{
    domain::run::{Segment, StepState},
    engine::{Semantics, Worker},
    ports::Clock as _,
};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::stage::{Call, Stage, seconds, steps_of, succeeded, turns};

/// So much is appended at once, and so much waits at the most: `SEGMENT` and `BACKLOG` of the engine's log.
const SEGMENT_ENTRIES: usize = 256;
const SEGMENT_BYTES: usize = 256 * 1024;
const BACKLOG_ENTRIES: usize = 512;
const BACKLOG_BYTES: usize = 512 * 1024;

/// A stage whose journal takes a second for each append.
fn slow() -> Stage {
    Stage::tampered(|world, call| {
        Box::pin(async move {
            if let Call::Append(_) = call {
                world.clock.sleep(seconds(1)).await;
            }
            Ok(())
        })
    })
}

#[tokio::test]
async fn no_effect_happens_before_everything_earlier_is_durable_in_any_branch() {
    let stage = slow();
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            run.step("plan", || async { Ok(()) }).await?;
            world.note("finished plan");
            run.map(0..6_u32, 6, |mut branch, number| async move {
                for round in 0..3 {
                    let (step, effect) = (format!("read {number}/{round}"), format!("act {number}/{round}"));
                    let takes = Duration::from_millis(u64::from(number) * 300);
                    branch.step(&step, || world.pauses(takes)).await?;
                    world.note(format!("finished {step}"));
                    if !world.done().await.contains(&step) {
                        world.note("went on before it was durable");
                    }
                    let earlier = world.diary();
                    let semantics = [Semantics::AtLeastOnce, Semantics::AtMostOnce][number as usize % 2];
                    branch
                        .effect(&effect, semantics, |_key| async {
                            let durable: HashSet<String> = world.done().await.into_iter().collect();
                            for name in earlier.iter().filter_map(|noted| noted.strip_prefix("finished ")) {
                                if !durable.contains(name) {
                                    world.note(format!("{effect} came before {name}"));
                                }
                            }
                            if semantics == Semantics::AtMostOnce
                                && world.state_of(&effect).await != Some(StepState::Intended)
                            {
                                world.note(format!("{effect} came before its intent"));
                            }
                            world.note("acted");
                            Ok(())
                        })
                        .await?;
                    world.note(format!("finished {effect}"));
                }
                Ok(())
            })
            .await?;
            Ok(Value::Null)
        })
    });
    succeeded(stage.attempt(&worker).await);
    let too_early: Vec<String> =
        stage.world.diary().into_iter().filter(|noted| noted.contains(" came before ")).collect();
    assert!(too_early.is_empty(), "{too_early:?}");
    assert_eq!(stage.world.times("acted"), 18);
    assert_eq!(stage.world.times("went on before it was durable"), 18, "the journal was not slow enough to tell");
}

#[tokio::test]
async fn results_cost_no_waiting_and_those_that_come_together_are_written_together() {
    let stage = slow();
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            for number in 0..20 {
                run.step(&format!("step {number}"), || async { Ok(number) }).await?;
            }
            assert_eq!(world.elapsed(), Duration::ZERO);
            assert_eq!(world.done().await.len(), 0);
            Ok(Value::Null)
        })
    });
    let run = succeeded(stage.attempt(&worker).await);
    assert_eq!(stage.world.done().await.len(), 20, "the end waits for all of them");
    assert_eq!(stage.world.journal.segments(run.id).len(), 1);
    assert!(stage.world.elapsed() < seconds(2), "{:?}", stage.world.elapsed());
}

/// Where appends hang until it is opened.
struct Gate {
    open: Semaphore,
    under_way: AtomicUsize,
    most: AtomicUsize,
}

fn gated() -> (Stage, Arc<Gate>) {
    let gate = Arc::new(Gate { open: Semaphore::new(0), under_way: AtomicUsize::new(0), most: AtomicUsize::new(0) });
    let at_the_gate = Arc::clone(&gate);
    let stage = Stage::tampered(move |_, call| {
        let gate = Arc::clone(&at_the_gate);
        Box::pin(async move {
            if let Call::Append(_) = call {
                let under_way = gate.under_way.fetch_add(1, Ordering::SeqCst) + 1;
                gate.most.fetch_max(under_way, Ordering::SeqCst);
                drop(gate.open.acquire().await.unwrap());
                gate.under_way.fetch_sub(1, Ordering::SeqCst);
            }
            Ok(())
        })
    });
    (stage, gate)
}

/// A worker whose workflow makes so many steps, each with so many bytes in its result.
fn worker_of_steps(
    stage: &Stage,
    count: usize,
    bytes: impl Fn(usize) -> usize + Copy + Send + Sync + 'static,
) -> Worker {
    stage.worker(move |run, world| {
        Box::pin(async move {
            for number in 0..count {
                run.step(&format!("step {number}"), || async { Ok("x".repeat(bytes(number))) }).await?;
                world.note("made");
            }
            Ok(json!(count))
        })
    })
}

/// How many of the steps are made while no append comes back. Then all come back, and the run ends.
async fn made_at_a_closed_gate(
    count: usize,
    bytes: impl Fn(usize) -> usize + Copy + Send + Sync + 'static,
) -> (usize, Stage) {
    let (stage, gate) = gated();
    let worker = worker_of_steps(&stage, count, bytes);
    let made = {
        let attempt = stage.attempt_within(&worker, seconds(1_000_000));
        tokio::pin!(attempt);
        tokio::select! {
            biased;
            outcome = &mut attempt => panic!("it ended although nothing was durable: {outcome:?}"),
            () = turns(10_000) => {}
        }
        let made = stage.world.times("made");
        assert_eq!(gate.under_way.load(Ordering::SeqCst), 1);
        gate.open.add_permits(1);
        succeeded(attempt.await);
        made
    };
    assert_eq!(gate.most.load(Ordering::SeqCst), 1, "one append is under way at a time");
    (made, stage)
}

fn bytes_in(segment: &Segment) -> usize {
    steps_of(segment).map(|step| step.output.as_str().map_or(0, str::len)).sum()
}

/// The run's segments; together they have all steps in the order in which they were made.
fn segments_of_all(stage: &Stage, count: usize) -> Vec<Segment> {
    let segments = stage.world.journal.segments(stage.world.id());
    let names: Vec<&str> = segments.iter().flat_map(steps_of).map(|step| step.name.as_str()).collect();
    assert_eq!(names, (0..count).map(|number| format!("step {number}")).collect::<Vec<_>>());
    segments
}

#[tokio::test]
async fn a_journal_that_hangs_stops_the_workflow_after_a_bounded_number_of_steps() {
    let (made, stage) = made_at_a_closed_gate(3000, |_| 1).await;
    assert!((BACKLOG_ENTRIES..=BACKLOG_ENTRIES + SEGMENT_ENTRIES).contains(&made), "{made} steps were made");
    let segments = segments_of_all(&stage, 3000);
    let largest = segments.iter().map(|segment| segment.entries.len()).max().unwrap();
    assert!((64..=SEGMENT_ENTRIES).contains(&largest), "a segment has {largest} entries");
}

#[tokio::test]
async fn a_journal_that_hangs_stops_the_workflow_after_a_bounded_number_of_bytes() {
    const BYTES: usize = 10_000;
    let (made, stage) = made_at_a_closed_gate(300, |_| BYTES).await;
    assert!(made * BYTES > BACKLOG_BYTES / 2, "{made} steps were made");
    assert!(made * BYTES <= BACKLOG_BYTES + SEGMENT_BYTES, "{made} steps were made");
    let largest = segments_of_all(&stage, 300).iter().map(bytes_in).max().unwrap();
    assert!((SEGMENT_BYTES / 2..=SEGMENT_BYTES).contains(&largest), "a segment has {largest} bytes");
}

#[tokio::test]
async fn only_a_single_entry_may_be_larger_than_a_segment() {
    let (_, stage) = made_at_a_closed_gate(60, |number| if number % 3 == 0 { SEGMENT_BYTES + 1 } else { 30_000 }).await;
    let segments = segments_of_all(&stage, 60);
    let (large, others): (Vec<&Segment>, Vec<&Segment>) =
        segments.iter().partition(|segment| bytes_in(segment) > SEGMENT_BYTES);
    assert_eq!(large.len(), 20);
    assert!(large.iter().all(|segment| segment.entries.len() == 1));
    assert!(others.iter().any(|segment| segment.entries.len() > 1), "small ones go together");
}
