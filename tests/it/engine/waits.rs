//! A run that waits holds no compute, and what it waits for is answered once.

use std::time::Duration;

use ihelper_testkit::memory::VirtualClock;
use ihelper_workflow::{
    domain::{
        Failure, Kind, Status,
        run::{Segment, StepState},
    },
    engine::{Answered, Context, Decision, LONGEST_WAIT, Outcome, Semantics, Stop},
    ports::{Clock as _, Journal as _},
};
use serde_json::{Value, json};

use super::stage::{Call, START, Stage, Tale, World, ended, resting, retried, seconds, steps_of, succeeded};

#[tokio::test]
async fn a_sleep_puts_the_run_aside_and_it_comes_back_when_due_and_not_before() {
    const HOUR: Duration = Duration::from_secs(3600);
    let stage = Stage::new();
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            run.step("before", || world.works("before", seconds(1))).await?;
            run.sleep("pause", HOUR).await?;
            run.step("after", || world.works("after", seconds(1))).await?;
            Ok(json!("done"))
        })
    });
    let run = resting(stage.attempt(&worker).await);
    let due = START + seconds(1) + HOUR;
    assert_eq!((run.status, run.due_at, &run.lease), (Status::Waiting, Some(due), &None));
    assert_eq!(stage.world.elapsed(), seconds(1), "it holds nobody up");
    assert_eq!(stage.world.run(), run);

    stage.world.clock.advance(HOUR - Duration::from_millis(1));
    assert_eq!(resting(stage.attempt(&worker).await).due_at, Some(due), "a message that comes early changes nothing");
    assert_eq!(stage.world.diary(), ["before begun", "before done"]);

    stage.world.clock.advance(Duration::from_millis(1));
    let run = succeeded(stage.attempt(&worker).await);
    assert_eq!((run.result, run.failed_attempts), (Some(json!("done")), 0));
    assert_eq!(stage.world.diary(), ["before begun", "before done", "after begun", "after done"]);
    assert_eq!(stage.world.done().await, ["before", "pause", "after"]);
}

#[tokio::test]
async fn a_sleep_that_a_crash_interrupts_ends_when_it_would_have_ended() {
    let stage = Stage::new();
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            run.sleep("pause", seconds(600)).await?;
            world.note(format!("woke after {:?}", world.elapsed()));
            run.step("after", || world.works("after", seconds(50))).await?;
            Ok(Value::Null)
        })
    });
    resting(stage.attempt(&worker).await);
    stage.world.clock.advance(seconds(700));
    stage.crash_after(&worker, seconds(10)).await;
    stage.world.clock.advance(seconds(60));
    succeeded(stage.attempt(&worker).await);
    assert_eq!(stage.world.times("woke after 700s"), 1);
    assert_eq!(stage.world.times("woke after 770s"), 1, "it does not sleep again: {:?}", stage.world.diary());
}

#[tokio::test]
async fn a_sleep_longer_than_the_longest_is_a_terminal_error() {
    let sleeper = |longer: Duration| {
        let stage = Stage::new();
        let worker = stage.worker(move |run, _| {
            Box::pin(async move {
                run.sleep("hibernate", LONGEST_WAIT + longer).await?;
                Ok(Value::Null)
            })
        });
        (stage, worker)
    };
    let (stage, worker) = sleeper(seconds(1));
    let run = ended(stage.attempt(&worker).await);
    let error = run.error.unwrap();
    assert_eq!((run.status, run.failed_attempts), (Status::Failed, 1));
    assert_eq!((error.kind, error.step.as_deref()), (Kind::Validation, Some("hibernate")));
    assert_eq!(error.message, "a run waits for 60 days at the most");

    let (stage, worker) = sleeper(Duration::ZERO);
    assert_eq!(resting(stage.attempt(&worker).await).due_at, Some(START + LONGEST_WAIT));
}

/// Asks somebody, who has an hour to answer, and comes to the decision.
const ASK: Tale = |run, world| {
    Box::pin(async move {
        let decided = ask(run, world).await?;
        Ok(json!(decided))
    })
};

async fn ask(run: &mut Context, world: &World) -> Result<Option<Decision>, Stop> {
    let callback = run.callback("approve", seconds(3600), &json!({"question": "Go on?"})).await?;
    run.effect("tell", Semantics::AtLeastOnce, |_key| async {
        world.tell(callback.token());
        Ok(())
    })
    .await?;
    Ok(run.wait_for_callback(&callback).await?.map(|reply| reply.decision))
}

#[tokio::test]
async fn an_answer_brings_a_waiting_run_back_into_its_queue_and_the_run_goes_by_it() {
    let stage = Stage::new();
    let worker = stage.worker(ASK);
    let run = resting(stage.attempt(&worker).await);
    assert_eq!((run.status, run.due_at), (Status::Waiting, Some(START + seconds(3600))));

    stage.world.clock.advance(seconds(60));
    assert!(matches!(stage.world.answer(Decision::Reject).await, Answered::Taken(_)));
    assert_eq!(stage.world.wake_ups(), 1, "its consumer is told");
    assert_eq!(succeeded(stage.attempt(&worker).await).result, Some(json!("reject")));
}

#[tokio::test]
async fn the_first_answer_stands_and_the_same_again_is_taken_as_it() {
    let stage = Stage::new();
    let worker = stage.worker(ASK);
    resting(stage.attempt(&worker).await);
    let Answered::Taken(first) = stage.world.answer(Decision::Approve).await else { panic!("it was not taken") };
    stage.world.clock.advance(seconds(60));
    assert_eq!(stage.world.answer(Decision::Approve).await, Answered::Taken(first.clone()));
    assert_eq!(stage.world.answer(Decision::Reject).await, Answered::AnsweredOtherwise(first));
    assert_eq!(succeeded(stage.attempt(&worker).await).result, Some(json!("approve")));
}

#[tokio::test]
async fn an_answer_that_comes_before_the_run_is_put_aside_lets_it_go_on_at_once() {
    let while_it_tells = Stage::new();
    let worker = while_it_tells.worker(|run, world| {
        Box::pin(async move {
            let callback = run.callback("approve", seconds(3600), &json!({})).await?;
            run.effect("tell", Semantics::AtLeastOnce, |_key| async {
                world.tell(callback.token());
                world.answer(Decision::Approve).await;
                Ok(())
            })
            .await?;
            Ok(json!(run.wait_for_callback(&callback).await?.map(|reply| reply.decision)))
        })
    });
    assert_goes_on_at_once(&while_it_tells, while_it_tells.attempt(&worker).await).await;
    assert_eq!(succeeded(while_it_tells.attempt(&worker).await).result, Some(json!("approve")));

    let while_it_is_put_aside = Stage::tampered(|world, call| {
        Box::pin(async move {
            match call {
                Call::Close(closing) if closing.status == Status::Waiting => {
                    assert!(matches!(world.answer(Decision::Approve).await, Answered::Taken(_)));
                }
                _ => {}
            }
            Ok(())
        })
    });
    let worker = while_it_is_put_aside.worker(ASK);
    assert_goes_on_at_once(&while_it_is_put_aside, while_it_is_put_aside.attempt(&worker).await).await;
    assert_eq!(succeeded(while_it_is_put_aside.attempt(&worker).await).result, Some(json!("approve")));
}

async fn assert_goes_on_at_once(stage: &Stage, outcome: Outcome) {
    assert_eq!(outcome, Outcome::HandedOver, "whoever drives it brings it back at once");
    let run = stage.world.run();
    assert_eq!((run.status, run.due_at), (Status::Queued, None));
    assert_eq!(stage.world.state_of("approve").await, Some(StepState::Done));
}

/// A worker that dies each time it has put its run aside, before its last look for an answer.
fn dying_while_it_leaves() -> Stage {
    Stage::tampered(|world, call| {
        Box::pin(async move {
            match call {
                Call::Close(closing) if matches!(closing.status, Status::Waiting | Status::Queued) => {
                    world.journal.close(world.id(), closing, world.clock.now()).await?;
                    world.note("died");
                    std::future::pending().await
                }
                _ => Ok(()),
            }
        })
    })
}

#[tokio::test]
async fn an_answer_is_found_although_the_worker_wrote_on_after_it_and_died_when_it_had_put_the_run_aside() {
    let in_another_branch: Tale = |run, world| {
        Box::pin(async move {
            let (decided, ()) = run
                .join(
                    |mut branch| async move { ask(&mut branch, world).await },
                    |mut branch| async move {
                        branch.step("read", || world.works("read", seconds(10))).await?;
                        branch.step("think", || world.works("think", seconds(10))).await
                    },
                )
                .await?;
            Ok(json!(decided))
        })
    };
    let in_the_same: Tale = |run, world| {
        Box::pin(async move {
            let callback = run.callback("approve", seconds(3600), &json!({})).await?;
            world.tell(callback.token());
            run.step("think", || world.works("think", seconds(10))).await?;
            Ok(json!(run.wait_for_callback(&callback).await?.map(|reply| reply.decision)))
        })
    };
    for tale in [in_another_branch, in_the_same] {
        let stage = dying_while_it_leaves();
        let worker = stage.worker(tale);
        let person = async {
            stage.world.clock.sleep(seconds(5)).await;
            assert!(matches!(stage.world.answer(Decision::Approve).await, Answered::Taken(_)));
        };
        tokio::join!(stage.crash_after(&worker, seconds(50)), person);
        assert_eq!(stage.world.diary().last().unwrap(), "died");

        assert_eq!(stage.world.wake_ups(), 1, "its consumer is told");
        assert_eq!(succeeded(stage.attempt(&worker).await).result, Some(json!("approve")));
    }
}

#[tokio::test]
async fn when_the_deadline_passes_there_is_no_answer_and_none_is_taken_any_more() {
    let stage = Stage::new();
    let worker = stage.worker(ASK);
    resting(stage.attempt(&worker).await);
    stage.world.clock.advance(seconds(3600));
    assert_eq!(stage.world.answer(Decision::Approve).await, Answered::TooLate);
    assert_eq!(stage.world.wake_ups(), 0);
    assert_eq!(succeeded(stage.attempt(&worker).await).result, Some(Value::Null));
    assert_eq!(stage.world.answer(Decision::Approve).await, Answered::TooLate);
}

#[tokio::test]
async fn however_often_it_is_asked_for_the_answer_is_the_same() {
    let tale: Tale = |run, world| {
        Box::pin(async move {
            let callback = run.callback("approve", seconds(3600), &json!({})).await?;
            world.tell(callback.token());
            run.step("tell", || async { Ok(()) }).await?;
            let first = run.wait_for_callback(&callback).await?;
            let second = run.wait_for_callback(&callback).await?;
            assert_eq!(first, second);
            world.note(format!("{:?}", first.map(|reply| reply.decision)));
            run.step("call", || async {
                if world.diary().len() < 3 { Err(Failure::new(Kind::Connection, "the line is down")) } else { Ok(()) }
            })
            .await?;
            Ok(Value::Null)
        })
    };
    for (decision, noted) in [(Some(Decision::Data), "Some(Data)"), (None, "None")] {
        let stage = Stage::new();
        let worker = stage.worker(tale);
        resting(stage.attempt(&worker).await);
        match decision {
            Some(decision) => assert!(matches!(stage.world.answer(decision).await, Answered::Taken(_))),
            None => stage.world.clock.advance(seconds(3600)),
        }
        let run = stage.attempts(&worker).await;
        assert_eq!((run.status, run.failed_attempts), (Status::Succeeded, 2));
        assert_eq!(stage.world.diary(), [noted; 3]);
    }
}

fn says_that_nobody_answered(segment: &Segment) -> bool {
    steps_of(segment).any(|step| step.name == "approve" && step.output["reply"]["decision"] == "expired")
}

/// An answer by a clock that is far behind the workers'.
async fn late_answer(world: &World) -> Answered {
    world.answer_by(&world.control_at(VirtualClock::new(START)), Decision::Approve).await
}

#[tokio::test]
async fn of_an_answer_and_the_deadline_at_the_same_moment_the_first_stands() {
    let answered_first = Stage::tampered(|world, call| {
        Box::pin(async move {
            match call {
                Call::Append(segment) if says_that_nobody_answered(segment) => {
                    assert!(matches!(late_answer(world).await, Answered::Taken(_)));
                    world.note("answered");
                }
                _ => {}
            }
            Ok(())
        })
    });
    let worker = answered_first.worker(ASK);
    resting(answered_first.attempt(&worker).await);
    answered_first.world.clock.advance(seconds(3600));
    assert_eq!(succeeded(answered_first.attempt(&worker).await).result, Some(json!("approve")));
    assert_eq!(answered_first.world.diary(), ["answered"]);

    let expired_first = Stage::new();
    let worker = expired_first.worker(|run, world| {
        Box::pin(async move {
            let decided = ask(run, world).await?;
            run.effect("act", Semantics::AtMostOnce, |_key| async {
                world.note(format!("{:?}", late_answer(world).await));
                Ok(())
            })
            .await?;
            Ok(json!(decided))
        })
    });
    resting(expired_first.attempt(&worker).await);
    expired_first.world.clock.advance(seconds(3600));
    assert_eq!(succeeded(expired_first.attempt(&worker).await).result, Some(Value::Null));
    assert_eq!(expired_first.world.diary(), ["TooLate"]);
}

#[tokio::test]
async fn only_who_has_the_token_can_answer() {
    let stage = Stage::new();
    let worker = stage.worker(ASK);
    resting(stage.attempt(&worker).await);
    stage.world.tell("00000000000000000000000000000000");
    assert_eq!(stage.world.answer(Decision::Approve).await, Answered::Unknown);
    assert_eq!(stage.world.state_of("approve").await, Some(StepState::Waiting));
}

#[tokio::test]
async fn a_failure_after_the_answer_is_retried_without_asking_again() {
    let stage = Stage::new();
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            world.note("asked");
            let decided = ask(run, world).await?;
            run.step("call", || async {
                world.note("called");
                if world.times("called") == 1 { Err(Failure::new(Kind::Timeout, "no answer")) } else { Ok(()) }
            })
            .await?;
            Ok(json!(decided))
        })
    });
    resting(stage.attempt(&worker).await);
    stage.world.answer(Decision::Approve).await;
    let (after, _) = retried(stage.attempt(&worker).await);
    stage.world.clock.advance(after);
    assert_eq!(succeeded(stage.attempt(&worker).await).result, Some(json!("approve")));
    assert_eq!(stage.world.diary(), ["asked", "asked", "called", "asked", "called"]);
    assert_eq!(stage.world.steps().await.len(), 3);
}
