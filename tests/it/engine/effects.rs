//! An effect that must not happen twice does not, and the run says when nobody knows whether it did.

use std::time::Duration;

use ihelper_workflow::{
    domain::{Failure, Kind, Status, run::StepState},
    engine::{Outcome, Semantics, Settling, Worker},
};
use serde_json::{Value, json};

use super::stage::{Call, LEASE, Stage, Tale, resting, retried, seconds, succeeded};

/// Sends a mail, whose first sending fails like this, and says by which receipt.
fn sending(stage: &Stage, first: Failure) -> Worker {
    stage.worker(move |run, world| {
        let first = first.clone();
        Box::pin(async move {
            let receipt = run
                .effect("send", Semantics::AtMostOnce, |_key| async {
                    world.note("tried to send");
                    if world.times("tried to send") == 1 {
                        return Err(first);
                    }
                    Ok("receipt".to_owned())
                })
                .await?;
            run.step("note", || world.works("note", Duration::ZERO)).await?;
            Ok(json!(receipt))
        })
    })
}

fn no_route() -> Failure {
    Failure::new(Kind::Connection, "no route to the mail service")
}

fn lost_answer() -> Failure {
    Failure::new(Kind::Timeout, "no answer").with_unknown_outcome()
}

#[tokio::test]
async fn a_failure_that_certainly_did_not_happen_releases_the_intent_and_a_later_attempt_performs_it() {
    let stage = Stage::new();
    let worker = sending(&stage, no_route());
    let (after, failure) = retried(stage.attempt(&worker).await);
    assert_eq!((failure.kind, failure.step.as_deref()), (Kind::Connection, Some("send")));
    assert_eq!(stage.world.state_of("send").await, Some(StepState::Released));
    stage.world.clock.advance(after);
    assert_eq!(succeeded(stage.attempt(&worker).await).result, Some(json!("receipt")));
    assert_eq!(stage.world.times("tried to send"), 2);
    assert_eq!(stage.world.done().await, ["send", "note"]);
}

/// A run that needs attention, since nobody knows whether its mail was sent.
async fn unknown() -> (Stage, Worker) {
    let stage = Stage::new();
    let worker = sending(&stage, lost_answer());
    let run = resting(stage.attempt(&worker).await);
    let error = run.error.unwrap();
    assert_eq!((run.status, run.due_at, run.failed_attempts), (Status::Attention, None, 0));
    assert_eq!((error.step.as_deref(), error.maybe_applied), (Some("send"), true));
    (stage, worker)
}

async fn settle(stage: &Stage, happened: Option<Value>) -> Settling {
    stage.world.control().settle(stage.world.id(), |step| step.name == "send", happened).await.unwrap()
}

#[tokio::test]
async fn an_effect_of_unknown_outcome_is_not_repeated_whoever_asks() {
    let (stage, worker) = unknown().await;
    for _ in 0..3 {
        stage.world.clock.advance(seconds(86_400));
        assert_eq!(resting(stage.attempt(&worker).await).status, Status::Attention);
    }
    assert_eq!(stage.world.diary(), ["tried to send"]);
    assert_eq!(stage.world.state_of("send").await, Some(StepState::Intended));
}

#[tokio::test]
async fn once_it_is_settled_that_it_happened_the_run_goes_on_from_there() {
    let (stage, worker) = unknown().await;
    assert_eq!(settle(&stage, Some(json!("receipt of SES"))).await, Settling::Settled);
    assert_eq!(stage.world.wake_ups(), 1, "its consumer is told");
    assert_eq!(succeeded(stage.attempt(&worker).await).result, Some(json!("receipt of SES")));
    assert_eq!(stage.world.diary(), ["tried to send", "note begun", "note done"]);
    assert_eq!(settle(&stage, None).await, Settling::NothingOpen);
}

#[tokio::test]
async fn once_it_is_settled_that_it_did_not_happen_it_is_performed_again() {
    let (stage, worker) = unknown().await;
    assert_eq!(settle(&stage, None).await, Settling::Settled);
    assert_eq!(stage.world.wake_ups(), 1, "its consumer is told");
    assert_eq!(settle(&stage, Some(json!("too late"))).await, Settling::NothingOpen, "the first outcome stands");
    assert_eq!(succeeded(stage.attempt(&worker).await).result, Some(json!("receipt")));
    assert_eq!(stage.world.diary(), ["tried to send", "tried to send", "note begun", "note done"]);
}

#[tokio::test]
async fn an_outcome_that_comes_before_the_run_is_put_up_for_attention_lets_it_go_on_at_once() {
    let stage = Stage::tampered(|world, call| {
        Box::pin(async move {
            match call {
                Call::Close(closing) if closing.status == Status::Attention => {
                    let sent = Some(json!("receipt of SES"));
                    let settling = world.control().settle(world.id(), |step| step.name == "send", sent).await?;
                    assert_eq!(settling, Settling::Settled);
                }
                _ => {}
            }
            Ok(())
        })
    });
    let worker = sending(&stage, lost_answer());
    assert_eq!(stage.attempt(&worker).await, Outcome::HandedOver);
    assert_eq!(succeeded(stage.attempt(&worker).await).result, Some(json!("receipt of SES")));
    assert_eq!(stage.world.times("tried to send"), 1);
}

/// Acts for a hundred seconds, in one way.
fn acting(stage: &Stage, semantics: Semantics) -> Worker {
    stage.worker(move |run, world| {
        Box::pin(async move {
            run.step("plan", || async { Ok(()) }).await?;
            run.effect("act", semantics, |key| async move { world.works(key.as_str(), seconds(100)).await }).await?;
            Ok(json!("done"))
        })
    })
}

#[tokio::test]
async fn a_crash_between_intent_and_outcome_leaves_the_run_in_need_of_attention() {
    let stage = Stage::new();
    let worker = acting(&stage, Semantics::AtMostOnce);
    stage.crash_after(&worker, seconds(50)).await;
    stage.world.clock.advance(LEASE);
    let run = resting(stage.attempt(&worker).await);
    assert_eq!((run.status, run.failed_attempts), (Status::Attention, 0));
    assert_eq!(stage.world.diary(), [format!("{}/00001/act begun", run.id)]);
}

#[tokio::test]
async fn a_crash_in_an_effect_that_may_happen_again_repeats_it_under_the_same_key() {
    let stage = Stage::new();
    let worker = acting(&stage, Semantics::AtLeastOnce);
    stage.crash_after(&worker, seconds(50)).await;
    stage.world.clock.advance(LEASE);
    let run = succeeded(stage.attempt(&worker).await);
    let key = format!("{}/00001/act", run.id);
    assert_eq!(stage.world.diary(), [format!("{key} begun"), format!("{key} begun"), format!("{key} done")]);
}

#[tokio::test]
async fn an_effect_is_not_begun_in_the_last_seconds_of_an_invocation_and_not_broken_off_by_its_end() {
    let tale: Tale = |run, world| {
        Box::pin(async move {
            run.step("think", || world.works("think", seconds(15))).await?;
            run.effect("act", Semantics::AtMostOnce, |_key| world.works("act", seconds(30))).await?;
            Ok(Value::Null)
        })
    };
    let too_late = Stage::new();
    let worker = too_late.worker(tale);
    assert_eq!(too_late.attempt_within(&worker, seconds(25)).await, Outcome::HandedOver);
    assert_eq!(too_late.world.diary(), ["think begun", "think done"]);
    assert_ne!(too_late.world.state_of("act").await, Some(StepState::Intended));
    succeeded(too_late.attempt(&worker).await);
    assert_eq!(too_late.world.times("act done"), 1);

    let just_in_time = Stage::new();
    let worker = just_in_time.worker(tale);
    succeeded(just_in_time.attempt_within(&worker, seconds(26)).await);
    assert_eq!(just_in_time.world.elapsed(), seconds(45));
}
