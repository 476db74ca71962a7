//! Leases keep two workers from one run; what must be true without them, too.

use std::time::Duration;

use ihelper_workflow::{
    domain::{Failure, Kind, Status},
    engine::{Outcome, Semantics},
    ports::Clock as _,
};
use serde_json::{Value, json};

use super::stage::{Call, LEASE, Stage, Tale, busy, resting, seconds, succeeded};

/// One step after the other, each noted under the name of the worker that does it.
const THREE_STEPS: Tale = |run, world| {
    Box::pin(async move {
        for (name, takes) in [("read", 110), ("think", 5), ("write", 5)] {
            let noted = format!("{}: {name}", world.worker);
            run.step(name, || world.works(&noted, seconds(takes))).await?;
        }
        Ok(json!("done"))
    })
};

#[tokio::test]
async fn a_lease_is_renewed_while_a_long_step_works_and_a_second_worker_is_told_to_come_later() {
    let stage = Stage::new();
    let (first, second) = (stage.worker_named("first", THREE_STEPS), stage.worker_named("second", THREE_STEPS));
    let intruder = async {
        stage.world.clock.sleep(seconds(100)).await;
        let held_until = stage.world.run().lease.unwrap().until;
        let after = busy(stage.attempt(&second).await);
        assert_eq!(stage.world.clock.now() + after, held_until, "it is told when the lease ends");
        assert!(after <= LEASE && after >= LEASE * 2 / 3 - seconds(1), "{after:?}");
    };
    let (outcome, ()) = tokio::join!(stage.attempt(&first), intruder);
    succeeded(outcome);
    assert!(stage.world.diary().iter().all(|noted| noted.starts_with("first: ")), "{:?}", stage.world.diary());
}

#[tokio::test]
async fn a_run_whose_worker_died_is_taken_over_when_its_lease_ends_and_not_before() {
    let stage = Stage::new();
    let (first, second) = (stage.worker_named("first", THREE_STEPS), stage.worker_named("second", THREE_STEPS));
    stage.crash_after(&first, seconds(112)).await;
    let died_at = stage.world.elapsed();

    let after = busy(stage.attempt(&second).await);
    assert!(after > Duration::ZERO && after <= LEASE, "{after:?}");
    stage.world.clock.advance(after - Duration::from_millis(1));
    assert_eq!(busy(stage.attempt(&second).await), Duration::from_millis(1));
    assert!(!stage.world.diary().iter().any(|noted| noted.starts_with("second")));

    stage.world.clock.advance(Duration::from_millis(1));
    assert!(stage.world.elapsed() - died_at <= LEASE, "it was stuck for longer than a lease");
    succeeded(stage.attempt(&second).await);
    let expected = [
        "first: read begun",
        "first: read done",
        "first: think begun",
        "second: think begun",
        "second: think done",
        "second: write begun",
        "second: write done",
    ];
    assert_eq!(stage.world.diary(), expected);
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_stops_before_its_next_step() {
    // For a minute and a half nobody reaches the journal to renew a lease.
    let stage = Stage::tampered(|world, call| {
        Box::pin(async move {
            match call {
                Call::Renew if world.elapsed() < seconds(90) => Err(Failure::new(Kind::Connection, "no route")),
                _ => Ok(()),
            }
        })
    });
    let (first, second) = (stage.worker_named("first", THREE_STEPS), stage.worker_named("second", THREE_STEPS));
    let takes_over = async {
        stage.world.clock.sleep(LEASE).await;
        stage.attempt(&second).await
    };
    let (lost, won) = tokio::join!(stage.attempt(&first), takes_over);
    assert!(busy(lost) <= LEASE);
    assert_eq!(succeeded(won).failed_attempts, 0);
    let expected = [
        "first: read begun",
        "second: read begun",
        "first: read done",
        "second: read done",
        "second: think begun",
        "second: think done",
        "second: write begun",
        "second: write done",
    ];
    assert_eq!(stage.world.diary(), expected);
}

/// Plans, in words of its own; sends, publishes and notes by that plan.
const PLAN_AND_ACT: Tale = |run, world| {
    Box::pin(async move {
        let pause = || world.pauses(seconds(2));
        let plan = run
            .step("plan", || async {
                world.note(format!("{} plans", world.worker));
                pause().await?;
                Ok(format!("plan of {}", world.worker))
            })
            .await?;
        run.effect("send", Semantics::AtMostOnce, |_key| async {
            world.note(format!("sent the {plan}"));
            pause().await
        })
        .await?;
        run.effect("publish", Semantics::AtLeastOnce, |key| {
            let (world, plan) = (&world, &plan);
            async move {
                world.note(format!("published the {plan} as {key}"));
                pause().await
            }
        })
        .await?;
        run.step("note", pause).await?;
        Ok(json!(plan))
    })
};

#[tokio::test]
async fn two_workers_without_leases_do_an_at_most_once_effect_once_and_agree_on_every_result() {
    let mut both_planned = 0;
    for offset in (0..10_000).step_by(125).map(Duration::from_millis) {
        let stage = Stage::without_leases();
        let (first, second) = (stage.worker_named("first", PLAN_AND_ACT), stage.worker_named("second", PLAN_AND_ACT));
        let late = async {
            stage.world.clock.sleep(offset).await;
            stage.attempt(&second).await
        };
        let outcomes = tokio::join!(stage.attempt(&first), late);
        let run = stage.attempts(&first).await;
        let story = format!("{offset:?} later: {outcomes:?}, {:?}", stage.world.diary());
        assert_eq!(run.status, Status::Succeeded, "{story}");

        let journaled = stage.world.steps().await.remove(0).output;
        let plan = journaled.as_str().unwrap();
        assert_eq!(run.result.as_ref(), Some(&journaled), "{story}");
        let acted: Vec<String> = stage.world.diary().into_iter().filter(|noted| !noted.ends_with(" plans")).collect();
        let (sent, published) =
            (format!("sent the {plan}"), format!("published the {plan} as {}/00002/publish", run.id));
        assert_eq!(stage.world.times(&sent), 1, "{story}");
        assert!(stage.world.times(&published) >= 1, "{story}");
        assert!(acted.iter().all(|noted| *noted == sent || *noted == published), "{story}");
        both_planned += usize::from(stage.world.times("first plans") * stage.world.times("second plans") == 1);
    }
    assert!(both_planned >= 10, "the workers met {both_planned} times");
}

#[tokio::test]
async fn a_worker_that_settles_its_effect_ends_the_run_although_another_has_put_it_up_for_attention() {
    let stage = Stage::without_leases();
    let tale: Tale = |run, world| {
        Box::pin(async move {
            run.effect("send", Semantics::AtMostOnce, |_key| world.works("send", seconds(30))).await?;
            Ok(json!("done"))
        })
    };
    let (first, second) = (stage.worker_named("first", tale), stage.worker_named("second", tale));
    let late = async {
        stage.world.clock.sleep(seconds(10)).await;
        stage.attempt(&second).await
    };
    let (first, second) = tokio::join!(stage.attempt(&first), late);
    assert_eq!(resting(second).status, Status::Attention);
    assert_eq!(succeeded(first).result, Some(json!("done")));
    assert_eq!(stage.world.diary(), ["send begun", "send done"]);
}

#[tokio::test]
async fn a_worker_whose_result_came_second_goes_on_with_the_first() {
    let stage = Stage::without_leases();
    let tale: Tale = |run, world| {
        Box::pin(async move {
            let takes = if world.worker == "slow" { 20 } else { 5 };
            let who = run
                .step("who", || async {
                    world.clock.sleep(seconds(takes)).await;
                    Ok(world.worker.to_owned())
                })
                .await?;
            run.step("say", || async {
                world.note(format!("{} says {who}", world.worker));
                world.pauses(seconds(30)).await
            })
            .await?;
            Ok(Value::Null)
        })
    };
    let (slow, fast) = (stage.worker_named("slow", tale), stage.worker_named("fast", tale));
    let late = async {
        stage.world.clock.sleep(seconds(1)).await;
        stage.attempt(&fast).await
    };
    let (slow, fast) = tokio::join!(stage.attempt(&slow), late);
    succeeded(fast);
    // Whether it ended the run or found it ended, it is not the one that says otherwise.
    assert!(matches!(slow, Outcome::Ended { .. }), "{slow:?}");
    let said: Vec<String> = stage.world.diary().into_iter().filter(|noted| !noted.ends_with("says fast")).collect();
    assert_eq!(stage.world.times("slow says fast"), 1);
    assert!(said.iter().all(|noted| noted == "slow says slow"), "{said:?}");
}
