//! A run that is cancelled begins no effect any more, and says what came of one that was under way.

use ihelper_workflow::{
    domain::{
        Failure, Kind, Run, Status,
        run::{StepState, Usage},
    },
    engine::{Cancelling, Outcome, Semantics},
    ports::{Answer, Clock as _},
};
use serde_json::{Value, json};

use super::stage::{Call, LEASE, Stage, ended, resting, seconds, steps_of};

#[track_caller]
fn assert_cancelled(run: &Run) {
    assert_eq!(run.status, Status::Cancelled);
    assert_eq!(run.error.as_ref().map(|error| error.kind), Some(Kind::Cancelled));
    assert_eq!((run.failed_attempts, &run.result), (0, &None));
}

#[tokio::test]
async fn a_run_that_is_cancelled_between_two_steps_begins_no_effect() {
    for semantics in [Semantics::AtMostOnce, Semantics::AtLeastOnce] {
        let stage = Stage::new();
        let worker = stage.worker(move |run, world| {
            Box::pin(async move {
                run.step("before", || world.works("before", seconds(1))).await?;
                world.cancel().await;
                run.step("after", || async { Ok(()) }).await?;
                run.effect("act", semantics, |_key| world.works("act", seconds(1))).await?;
                Ok(Value::Null)
            })
        });
        assert_cancelled(&ended(stage.attempt(&worker).await));
        assert_cancelled(&stage.world.run());
        assert_eq!(stage.world.diary(), ["before begun", "before done"]);
        assert_eq!(stage.world.state_of("act").await, None, "there is no intent");
    }
}

#[tokio::test]
async fn a_cancellation_that_comes_just_before_an_intent_keeps_the_effect_from_being_begun() {
    let stage = Stage::tampered(|world, call| {
        Box::pin(async move {
            match call {
                Call::Append(segment) if steps_of(segment).any(|step| step.state == StepState::Intended) => {
                    world.cancel().await;
                    world.note("cancelled");
                }
                _ => {}
            }
            Ok(())
        })
    });
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            run.effect("act", Semantics::AtMostOnce, |_key| world.works("act", seconds(1))).await?;
            Ok(Value::Null)
        })
    });
    assert_cancelled(&ended(stage.attempt(&worker).await));
    assert_eq!(stage.world.diary(), ["cancelled"]);
    assert_eq!(stage.world.state_of("act").await, None);
}

#[tokio::test]
async fn a_call_to_a_model_is_broken_off_by_the_next_renewal_of_the_lease() {
    let stage = Stage::new();
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            run.ask("think", || async {
                world.works("think", seconds(200)).await?;
                Ok(Answer { value: 1, usage: Usage::default() })
            })
            .await?;
            run.effect("act", Semantics::AtMostOnce, |_key| world.works("act", seconds(1))).await?;
            Ok(Value::Null)
        })
    });
    let operator = async {
        stage.world.clock.sleep(seconds(45)).await;
        stage.world.cancel().await;
    };
    let (outcome, ()) = tokio::join!(stage.attempt(&worker), operator);
    assert_cancelled(&ended(outcome));
    assert_eq!(stage.world.diary(), ["think begun"]);
    assert!(stage.world.elapsed() <= seconds(45) + LEASE / 3, "{:?}", stage.world.elapsed());
}

#[tokio::test]
async fn the_outcome_of_an_effect_that_was_under_way_is_recorded_and_the_next_is_not_begun() {
    for semantics in [Semantics::AtMostOnce, Semantics::AtLeastOnce] {
        let stage = Stage::new();
        let worker = stage.worker(move |run, world| {
            Box::pin(async move {
                run.effect("act", semantics, |_key| async {
                    world.works("act", seconds(100)).await?;
                    Ok("receipt".to_owned())
                })
                .await?;
                run.effect("act again", semantics, |_key| world.works("act again", seconds(1))).await?;
                Ok(Value::Null)
            })
        });
        let operator = async {
            stage.world.clock.sleep(seconds(5)).await;
            stage.world.cancel().await;
        };
        let (outcome, ()) = tokio::join!(stage.attempt(&worker), operator);
        assert_cancelled(&ended(outcome));
        assert_cancelled(&stage.world.run());
        assert_eq!(stage.world.diary(), ["act begun", "act done"], "an effect is not broken off");
        let steps = stage.world.steps().await;
        assert_eq!(steps.len(), 1, "{semantics:?}: {steps:?}");
        assert_eq!((steps[0].state, &steps[0].output), (StepState::Done, &json!("receipt")), "{semantics:?}");
    }
}

#[tokio::test]
async fn an_effect_under_way_that_did_not_happen_is_recorded_as_such_after_a_cancellation() {
    let stage = Stage::new();
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            run.effect("act", Semantics::AtMostOnce, |_key| async {
                world.works("act", seconds(100)).await?;
                Err::<(), _>(Failure::new(Kind::Connection, "no route"))
            })
            .await?;
            Ok(Value::Null)
        })
    });
    let operator = async {
        stage.world.clock.sleep(seconds(5)).await;
        stage.world.cancel().await;
    };
    let (outcome, ()) = tokio::join!(stage.attempt(&worker), operator);
    assert_cancelled(&ended(outcome));
    assert_eq!(stage.world.state_of("act").await, Some(StepState::Released));
}

#[tokio::test]
async fn a_run_that_is_cancelled_while_it_waits_stays_so_when_its_time_comes() {
    let stage = Stage::new();
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            run.sleep("pause", seconds(3600)).await?;
            world.note("woke");
            Ok(Value::Null)
        })
    });
    resting(stage.attempt(&worker).await);
    stage.world.cancel().await;
    stage.world.clock.advance(seconds(3600));
    let outcome = stage.attempt(&worker).await;
    assert!(matches!(outcome, Outcome::Ended { just_now: false, .. }), "{outcome:?}");
    assert_cancelled(&ended(outcome));
    assert!(stage.world.diary().is_empty());
}

#[tokio::test]
async fn a_cancellation_that_comes_while_the_run_is_closed_is_what_stands() {
    let stage = Stage::tampered(|world, call| {
        Box::pin(async move {
            match call {
                Call::Close(closing) if closing.status == Status::Succeeded => world.cancel().await,
                _ => {}
            }
            Ok(())
        })
    });
    let worker = stage.worker(|run, _| {
        Box::pin(async move {
            run.step("think", || async { Ok(()) }).await?;
            Ok(json!("done"))
        })
    });
    assert_cancelled(&ended(stage.attempt(&worker).await));
    assert_cancelled(&stage.world.run());
}

#[tokio::test]
async fn a_run_that_has_ended_is_not_cancelled() {
    let stage = Stage::new();
    let worker = stage.worker(|_, _| Box::pin(async move { Ok(json!("done")) }));
    ended(stage.attempt(&worker).await);
    let cancelling = stage.world.control().cancel(stage.world.id(), "user:operator").await.unwrap();
    assert!(matches!(cancelling, Cancelling::Ended(run) if run.status == Status::Succeeded));
    assert!(stage.world.journal.segments(stage.world.id()).is_empty());
}
