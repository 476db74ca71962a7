//! What is journaled is not done again, and only by the code that journaled it.

use std::time::Duration;

use ihelper_workflow::{
    domain::{Failure, Kind, Status, run::Usage},
    engine::{Outcome, Semantics},
    ports::{Answer, Clock as _},
};
use serde_json::{Value, json};

use super::stage::{Stage, Tale, ended, retried, seconds, succeeded};

#[tokio::test]
async fn a_step_that_fits_into_no_invocation_counts_as_a_failed_attempt() {
    let stage = Stage::new();
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            run.step("endless", || world.works("endless", seconds(3600))).await?;
            Ok(Value::Null)
        })
    });
    let (_, failure) = retried(stage.attempt(&worker).await);
    assert_eq!(failure.kind, Kind::Timeout);
    assert_eq!(stage.world.run().failed_attempts, 1);

    let run = stage.attempts(&worker).await;
    assert_eq!((run.status, run.failed_attempts), (Status::Failed, 3));
    assert_eq!(stage.world.diary(), ["endless begun"; 3]);
}

#[tokio::test]
async fn a_step_that_a_short_invocation_breaks_off_is_done_by_the_next_and_no_journaled_one_again() {
    let stage = Stage::new();
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            run.step("short", || world.works("short", seconds(1))).await?;
            run.step("long", || world.works("long", seconds(100))).await?;
            Ok(json!("done"))
        })
    });
    assert_eq!(stage.attempt_within(&worker, seconds(25)).await, Outcome::HandedOver);
    let run = stage.world.run();
    assert_eq!((run.status, run.failed_attempts, run.lease), (Status::Queued, 0, None));
    assert_eq!(stage.world.elapsed(), seconds(25), "it worked for as long as it had");
    // A second short one gets no further: that says nothing against the step.
    assert_eq!(stage.attempt_within(&worker, seconds(25)).await, Outcome::HandedOver);

    let run = succeeded(stage.attempt(&worker).await);
    assert_eq!((run.result, run.failed_attempts), (Some(json!("done")), 0));
    let expected = ["short begun", "short done", "long begun", "long begun", "long begun", "long done"];
    assert_eq!(stage.world.diary(), expected);
}

#[tokio::test]
async fn an_invocation_that_came_further_hands_over_what_does_not_fit_any_more() {
    let stage = Stage::new();
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            run.step("first", || world.works("first", seconds(200))).await?;
            run.step("second", || world.works("second", seconds(200))).await?;
            Ok(Value::Null)
        })
    });
    assert_eq!(stage.attempt(&worker).await, Outcome::HandedOver);
    assert_eq!(succeeded(stage.attempt(&worker).await).failed_attempts, 0);
    assert_eq!(stage.world.diary(), ["first begun", "first done", "second begun", "second begun", "second done"]);
}

/// What a run that one code began comes to in the hands of another.
async fn error_of_other_code(begun_by: Tale, goes_on_with: Tale) -> Failure {
    let stage = Stage::new();
    let (after, _) = retried(stage.attempt(&stage.worker(begun_by)).await);
    let diary = stage.world.diary();
    stage.world.clock.advance(after);
    let run = ended(stage.attempt(&stage.worker(goes_on_with)).await);
    assert_eq!((run.status, run.failed_attempts), (Status::Failed, 2), "it fails at once");
    assert_eq!(stage.world.diary(), diary, "nothing is done that does not fit");
    run.error.unwrap()
}

/// Reads, writes, and finds the line down.
fn reads_and_writes() -> Tale {
    |run, _| {
        Box::pin(async move {
            run.step("read", || async { Ok("text".to_owned()) }).await?;
            run.step("write", || async { Ok("text".to_owned()) }).await?;
            Err(Failure::new(Kind::Connection, "the line is down").into())
        })
    }
}

#[tokio::test]
async fn a_step_of_another_name_is_a_terminal_error_that_names_both() {
    let error = error_of_other_code(reads_and_writes(), |run, world| {
        Box::pin(async move {
            run.step("read", || async { Ok(String::new()) }).await?;
            run.step("translate", || world.works("translate", seconds(1))).await?;
            Ok(Value::Null)
        })
    })
    .await;
    assert_eq!(error.kind, Kind::JournalMismatch);
    let expected = "at position 00001 the journal has the step `write` and the code has the step `translate`: \
        the run was begun by other code";
    assert_eq!(error.message, expected);
}

#[tokio::test]
async fn a_step_that_became_an_effect_or_a_wait_is_a_terminal_error_that_names_both() {
    let as_an_effect: Tale = |run, world| {
        Box::pin(async move {
            run.step("read", || async { Ok(String::new()) }).await?;
            run.effect("write", Semantics::AtMostOnce, |_key| world.works("write", seconds(1))).await?;
            Ok(Value::Null)
        })
    };
    let as_a_sleep: Tale = |run, _| {
        Box::pin(async move {
            run.step("read", || async { Ok(String::new()) }).await?;
            run.sleep("write", seconds(1)).await?;
            Ok(Value::Null)
        })
    };
    let as_a_callback: Tale = |run, _| {
        Box::pin(async move {
            run.step("read", || async { Ok(String::new()) }).await?;
            run.callback("write", seconds(1), &json!({})).await?;
            Ok(Value::Null)
        })
    };
    for (other, named) in [(as_an_effect, "effect"), (as_a_sleep, "wait"), (as_a_callback, "wait")] {
        let error = error_of_other_code(reads_and_writes(), other).await;
        assert_eq!(error.kind, Kind::JournalMismatch);
        let expected = format!("the journal has the step `write` and the code has the {named} `write`");
        assert!(error.message.contains(&expected), "{}", error.message);
    }
}

#[tokio::test]
async fn a_result_of_another_type_is_a_terminal_error_that_names_the_step() {
    let error = error_of_other_code(reads_and_writes(), |run, _| {
        Box::pin(async move {
            run.step("read", || async { Ok(7_u32) }).await?;
            Ok(Value::Null)
        })
    })
    .await;
    assert_eq!(error.kind, Kind::JournalMismatch);
    assert!(error.message.starts_with("the journaled result of `read`"), "{}", error.message);
    assert!(error.message.contains("expected u32"), "{}", error.message);
}

#[tokio::test]
async fn what_a_failed_attempt_found_is_not_looked_for_again_and_counts_once() {
    let stage = Stage::new();
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            let usage = Usage { api_calls: 1, input_tokens: 100, output_tokens: 10, ..Usage::default() };
            let found = run
                .ask("look", || async {
                    world.works("look", seconds(1)).await?;
                    Ok(Answer { value: world.elapsed(), usage })
                })
                .await?;
            run.step("call", || async {
                world.note("call");
                if world.times("call") < 3 { Err(Failure::new(Kind::Connection, "the line is down")) } else { Ok(()) }
            })
            .await?;
            Ok(json!(found))
        })
    });
    let run = stage.attempts(&worker).await;
    assert_eq!((run.status, run.failed_attempts), (Status::Succeeded, 2));
    assert_eq!(run.result, Some(json!(seconds(1))), "the first answer stands");
    assert_eq!(run.usage, Usage { api_calls: 1, input_tokens: 100, output_tokens: 10, ..Usage::default() });
    assert_eq!(stage.world.diary(), ["look begun", "look done", "call", "call", "call"]);
}

#[tokio::test]
async fn two_steps_of_one_name_in_one_order_are_a_clear_terminal_error() {
    let stage = Stage::new();
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            run.step("read", || world.works("first", seconds(1))).await?;
            run.effect("read", Semantics::AtLeastOnce, |_key| world.works("second", seconds(1))).await?;
            Ok(Value::Null)
        })
    });
    let run = ended(stage.attempt(&worker).await);
    let error = run.error.unwrap();
    assert_eq!((run.status, error.kind), (Status::Failed, Kind::Validation));
    assert!(error.message.contains("two steps named `read`"), "{}", error.message);
    assert_eq!(stage.world.diary(), ["first begun", "first done"]);
}

#[tokio::test]
async fn two_branches_may_have_steps_of_one_name() {
    let stage = Stage::new();
    let worker = stage.worker(|run, _| {
        Box::pin(async move {
            let outer = run.step("read", || async { Ok(0) }).await?;
            let inner =
                run.map([1, 2], 2, |mut branch, item| async move { branch.step("read", || async { Ok(item) }).await });
            Ok(json!([outer, inner.await?]))
        })
    });
    assert_eq!(succeeded(stage.attempt(&worker).await).result, Some(json!([0, [1, 2]])));
    assert_eq!(stage.world.done().await, ["read"; 3]);
}

#[tokio::test]
async fn ten_thousand_steps_cross_many_invocations_and_each_is_done_once() {
    const STEPS: u64 = 10_000;
    let stage = Stage::new();
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            let mut sum = 0;
            for number in 0..STEPS {
                let name = format!("step {number}");
                sum += run
                    .step(&name, || async {
                        world.clock.sleep(Duration::from_millis(1)).await;
                        world.note(&name);
                        Ok(number)
                    })
                    .await?;
            }
            Ok(json!(sum))
        })
    });
    let mut handed_over = 0;
    let run = loop {
        match stage.attempt_within(&worker, Duration::from_millis(250)).await {
            Outcome::HandedOver => handed_over += 1,
            outcome => break succeeded(outcome),
        }
    };
    assert_eq!((run.result, run.failed_attempts), (Some(json!(STEPS * (STEPS - 1) / 2)), 0));
    assert!(handed_over >= 39, "{handed_over} hand-overs");
    let expected: Vec<String> = (0..STEPS).map(|number| format!("step {number}")).collect();
    assert!(stage.world.diary() == expected, "a step was done again, or out of order");
    assert!(stage.world.done().await == expected);
    let segments = stage.world.journal.segments(run.id).len();
    assert!(segments < STEPS as usize / 5, "{segments} segments");
}
