//! What fails is tried again as often and as late as it should be, and then says why.

use std::time::Duration;

use ihelper_workflow::{
    domain::{Failure, Kind, Status},
    engine::{Outcome, Semantics, Worker},
    ports::Clock as _,
};
use serde_json::{Value, json};

use super::stage::{Call, Stage, busy, ended, resting, retried, seconds, succeeded};

/// A worker whose one step always fails like this.
fn failing(stage: &Stage, failure: Failure) -> Worker {
    stage.worker(move |run, world| {
        let failure = failure.clone();
        Box::pin(async move {
            run.step("call", || async {
                world.note("called");
                Err::<(), _>(failure)
            })
            .await?;
            Ok(Value::Null)
        })
    })
}

#[tokio::test]
async fn a_failed_attempt_is_followed_by_others_ever_later_until_they_are_used_up() {
    let stage = Stage::new();
    let worker = failing(&stage, Failure::new(Kind::Connection, "the line is down"));
    for (attempt, longest) in [(1, seconds(60)), (2, seconds(120))] {
        let (after, failure) = retried(stage.attempt(&worker).await);
        assert!(after <= longest, "{after:?} after attempt {attempt}");
        assert_eq!((failure.kind, failure.step.as_deref()), (Kind::Connection, Some("call")));
        let run = stage.world.run();
        assert_eq!((run.status, run.failed_attempts, run.lease), (Status::Queued, attempt, None));
        assert_eq!(run.due_at, Some(stage.world.clock.now() + after));
        assert_eq!(run.error, Some(failure), "the last error is kept");

        // A message that comes too early is told when to come.
        let early = busy(stage.attempt(&worker).await);
        assert_eq!(early, after);
        assert_eq!(stage.world.times("called"), attempt as usize);
        stage.world.clock.advance(after);
    }
    let run = ended(stage.attempt(&worker).await);
    assert_eq!((run.status, run.failed_attempts), (Status::Failed, 3));
    assert_eq!(run.error.unwrap().message, "the line is down");
    assert_eq!(stage.world.times("called"), 3);

    let again = stage.attempt(&worker).await;
    assert!(matches!(again, Outcome::Ended { just_now: false, .. }), "{again:?}");
    assert_eq!(stage.world.times("called"), 3, "a run that has ended is left alone");
}

#[tokio::test]
async fn a_server_that_asks_for_time_gets_it() {
    let stage = Stage::new();
    let asks = Failure::new(Kind::Throttled, "slow down").retry_after(seconds(600));
    let (after, _) = retried(stage.attempt(&failing(&stage, asks)).await);
    assert_eq!(after, seconds(600), "the workflow's own delay is a minute");
}

#[tokio::test]
async fn what_will_not_do_better_fails_at_once_and_what_may_is_tried_again() {
    for kind in [
        Kind::Validation,
        Kind::Authorization,
        Kind::Refused,
        Kind::NotFound,
        Kind::JournalMismatch,
        Kind::Cancelled,
        Kind::Expired,
        Kind::OverBudget,
    ] {
        let stage = Stage::new();
        let run = ended(stage.attempt(&failing(&stage, Failure::new(kind, "no"))).await);
        assert_eq!((run.status, run.failed_attempts), (Status::Failed, 1), "{kind}");
        assert_eq!(run.error.map(|error| error.kind), Some(kind));
    }
    for kind in [Kind::Connection, Kind::Timeout, Kind::Throttled, Kind::Unknown] {
        let stage = Stage::new();
        let (_, failure) = retried(stage.attempt(&failing(&stage, Failure::new(kind, "no"))).await);
        assert_eq!(failure.kind, kind);
    }
}

#[tokio::test]
async fn attempts_are_counted_for_the_run_and_not_for_each_of_its_steps() {
    let stage = Stage::new();
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            for name in ["first", "second", "third"] {
                run.step(name, || async {
                    world.note(name);
                    if world.times(name) == 1 { Err(Failure::new(Kind::Timeout, name)) } else { Ok(()) }
                })
                .await?;
            }
            Ok(Value::Null)
        })
    });
    let run = stage.attempts(&worker).await;
    assert_eq!((run.status, run.failed_attempts), (Status::Failed, 3));
    assert_eq!(stage.world.diary(), ["first", "first", "second", "second", "third"]);
    assert_eq!(run.error.unwrap().step.as_deref(), Some("third"));
}

#[tokio::test]
async fn a_panic_in_the_workflows_code_is_a_failure_that_is_tried_again() {
    let stage = Stage::new();
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            run.step("before", || world.works("before", seconds(1))).await?;
            run.step("call", || async {
                world.note("called");
                assert!(world.times("called") > 1, "the first call panics, for this test");
                Ok(())
            })
            .await?;
            Ok(json!("done"))
        })
    });
    let (after, failure) = retried(stage.attempt(&worker).await);
    assert_eq!((failure.kind, failure.message.as_str()), (Kind::Unknown, "the workflow's code panicked"));
    assert_eq!((stage.world.run().failed_attempts, stage.world.run().lease), (1, None));
    stage.world.clock.advance(after);
    assert_eq!(succeeded(stage.attempt(&worker).await).result, Some(json!("done")));
    assert_eq!(stage.world.diary(), ["before begun", "before done", "called", "called"]);
}

#[tokio::test]
async fn a_panic_inside_an_at_most_once_effect_leaves_it_in_need_of_attention_and_is_not_repeated() {
    let stage = Stage::new();
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            run.effect("send", Semantics::AtMostOnce, |_key| async {
                world.note("sent");
                assert!(world.times("sent") > 1, "the first one panics, for this test");
                Ok(())
            })
            .await?;
            Ok(Value::Null)
        })
    });
    let (after, _) = retried(stage.attempt(&worker).await);
    stage.world.clock.advance(after);
    assert_eq!(resting(stage.attempt(&worker).await).status, Status::Attention);
    assert_eq!(stage.world.times("sent"), 1);
}

#[tokio::test]
async fn a_result_that_cannot_be_stored_ends_the_run_as_failed_with_the_reason() {
    let stage = Stage::tampered(|world, call| {
        Box::pin(async move {
            match call {
                Call::Close(closing) if closing.result.is_some() => {
                    world.note("refused");
                    Err(Failure::validation("the result nests too deep"))
                }
                _ => Ok(()),
            }
        })
    });
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            run.step("think", || world.works("think", seconds(1))).await?;
            Ok(json!([[[["deep"]]]]))
        })
    });
    let outcome = stage.attempt(&worker).await;
    assert!(matches!(outcome, Outcome::Ended { just_now: true, .. }), "{outcome:?}");
    let run = ended(outcome);
    assert_eq!((run.status, run.failed_attempts, &run.result), (Status::Failed, 1, &None));
    assert_eq!(run.error.as_ref().map(|error| error.message.as_str()), Some("the result nests too deep"));
    assert_eq!(stage.world.run().error, run.error);
    ended(stage.attempt(&worker).await);
    assert_eq!(stage.world.diary(), ["think begun", "think done", "refused"], "it is not tried again");
}

#[tokio::test]
async fn a_steps_result_that_cannot_be_stored_ends_the_run_as_failed_with_the_reason() {
    let stage = Stage::tampered(|_, call| {
        Box::pin(async move {
            match call {
                Call::Append(_) => Err(Failure::validation("an entry nests too deep")),
                _ => Ok(()),
            }
        })
    });
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            run.step("think", || world.works("think", seconds(1))).await?;
            run.effect("act", Semantics::AtLeastOnce, |_key| world.works("act", seconds(1))).await?;
            Ok(Value::Null)
        })
    });
    let run = ended(stage.attempt(&worker).await);
    assert_eq!((run.status, run.failed_attempts), (Status::Failed, 1));
    assert_eq!(run.error.map(|error| error.message), Some("an entry nests too deep".to_owned()));
    assert_eq!(stage.world.diary(), ["think begun", "think done"], "no effect rests on it");
}

#[tokio::test]
async fn a_store_that_fails_for_a_while_costs_an_attempt_and_no_result_that_was_written() {
    let stage = Stage::tampered(|world, call| {
        Box::pin(async move {
            match call {
                Call::Append(_) if (seconds(20)..seconds(40)).contains(&world.elapsed()) => {
                    Err(Failure::new(Kind::Connection, "no route to the table").retry_after(seconds(300)))
                }
                _ => Ok(()),
            }
        })
    });
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            run.step("first", || world.works("first", seconds(10))).await?;
            run.step("second", || world.works("second", seconds(15))).await?;
            run.step("third", || world.works("third", seconds(100))).await?;
            Ok(Value::Null)
        })
    });
    let (after, failure) = retried(stage.attempt(&worker).await);
    assert_eq!((failure.kind, after), (Kind::Connection, seconds(300)));
    assert!(stage.world.elapsed() < seconds(30), "the third step is broken off: {:?}", stage.world.elapsed());
    assert_eq!(stage.world.done().await, ["first"]);
    stage.world.clock.advance(after + Duration::from_millis(1));
    succeeded(stage.attempt(&worker).await);
    let times = ["first", "second", "third"].map(|name| stage.world.times(&format!("{name} done")));
    assert_eq!(times, [1, 2, 1]);
}
