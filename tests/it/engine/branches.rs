//! Work side by side: in order where it is read, bounded, and never broken off by a neighbour.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use ihelper_workflow::{
    domain::{Failure, Kind, Status},
    engine::{Outcome, Semantics},
    ports::Clock as _,
};
use serde_json::{Value, json};

use super::stage::{START, Stage, ended, resting, seconds, succeeded};

#[tokio::test]
async fn a_map_keeps_the_order_of_its_items_and_does_so_many_at_a_time() {
    for (limit, at_once, takes) in [(3, 3, seconds(7)), (1, 1, seconds(21)), (0, 1, seconds(21)), (100, 6, seconds(6))]
    {
        let stage = Stage::new();
        let most = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&most);
        let worker = stage.worker(move |run, world| {
            let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::clone(&seen));
            Box::pin(async move {
                let doubled = run
                    .map((1..=6_u64).rev(), limit, |mut branch, item| {
                        let (now, most) = (Arc::clone(&now), Arc::clone(&most));
                        async move {
                            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            let doubled = branch
                                .step("double", || async {
                                    world.clock.sleep(seconds(item)).await;
                                    world.note(item.to_string());
                                    Ok(item * 2)
                                })
                                .await;
                            now.fetch_sub(1, Ordering::SeqCst);
                            doubled
                        }
                    })
                    .await?;
                Ok(json!(doubled))
            })
        });
        assert_eq!(succeeded(stage.attempt(&worker).await).result, Some(json!([12, 10, 8, 6, 4, 2])));
        assert_eq!(most.load(Ordering::SeqCst), at_once, "limit {limit}");
        // The end waits ten milliseconds for nothing; so the time is that of the work.
        assert_eq!(stage.world.elapsed(), takes, "limit {limit}");
        assert_eq!(stage.world.diary().len(), 6);
    }
}

#[tokio::test]
async fn when_one_item_fails_those_under_way_end_and_no_other_is_begun() {
    let stage = Stage::new();
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            run.map(0..10_u64, 3, |mut branch, item| async move {
                branch
                    .effect("act", Semantics::AtMostOnce, |_key| async move {
                        world.works(item.to_string(), seconds(10 + item)).await?;
                        if item == 0 { Err(Failure::new(Kind::Refused, "declined")) } else { Ok(item) }
                    })
                    .await
            })
            .await?;
            Ok(Value::Null)
        })
    });
    let run = ended(stage.attempt(&worker).await);
    assert_eq!((run.status, run.error.unwrap().kind), (Status::Failed, Kind::Refused));
    let mut diary = stage.world.diary();
    // In which order those that begin together begin is nobody's business.
    diary[..3].sort();
    assert_eq!(diary, ["0 begun", "1 begun", "2 begun", "0 done", "1 done", "2 done"]);
    assert_eq!(stage.world.done().await, ["act"; 2], "what the others did is journaled");
}

#[tokio::test]
async fn what_the_neighbours_of_a_failed_item_found_is_not_looked_for_again() {
    let stage = Stage::new();
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            let found = run
                .map(0..4_u64, 4, |mut branch, item| async move {
                    branch
                        .step("look", || async move {
                            let name = item.to_string();
                            world.works(&name, seconds(1 + item)).await?;
                            if item == 1 && world.times("1 begun") == 1 {
                                return Err(Failure::new(Kind::Timeout, "no answer"));
                            }
                            Ok(item)
                        })
                        .await
                })
                .await?;
            Ok(json!(found))
        })
    });
    let run = stage.attempts(&worker).await;
    assert_eq!((run.status, run.failed_attempts), (Status::Succeeded, 1));
    assert_eq!(run.result, Some(json!([0, 1, 2, 3])));
    assert_eq!([0, 1, 2, 3].map(|item| stage.world.times(&format!("{item} done"))), [1, 2, 1, 1]);
}

#[tokio::test]
async fn while_one_item_waits_the_others_go_on_and_the_run_comes_back_for_the_first_that_is_due() {
    let stage = Stage::new();
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            run.map([300, 100, 200], 1, |mut branch, pause| async move {
                branch.step("before", || world.works(format!("before {pause}"), Duration::ZERO)).await?;
                branch.sleep("pause", seconds(pause)).await?;
                branch.step("after", || world.works(format!("after {pause}"), Duration::ZERO)).await
            })
            .await?;
            Ok(Value::Null)
        })
    });
    for due in [100, 200, 300] {
        let run = resting(stage.attempt(&worker).await);
        assert_eq!(run.due_at, Some(START + seconds(due)));
        stage.world.clock.advance(seconds(100));
    }
    succeeded(stage.attempt(&worker).await);
    let done: Vec<String> = stage.world.diary().into_iter().filter(|noted| noted.ends_with(" done")).collect();
    let expected =
        ["before 300 done", "before 100 done", "before 200 done", "after 100 done", "after 200 done", "after 300 done"];
    assert_eq!(done, expected);
}

#[tokio::test]
async fn a_join_does_two_things_side_by_side_and_gives_both() {
    let stage = Stage::new();
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            let (number, text) = run
                .join(
                    |mut branch| async move {
                        branch.step("find", || world.works("number", seconds(20))).await?;
                        Ok(7)
                    },
                    |mut branch| async move {
                        branch.step("find", || world.works("text", seconds(10))).await?;
                        Ok("seven")
                    },
                )
                .await?;
            Ok(json!([number, text]))
        })
    });
    assert_eq!(succeeded(stage.attempt(&worker).await).result, Some(json!([7, "seven"])));
    assert_eq!(stage.world.elapsed(), seconds(20));
    assert_eq!(stage.world.diary(), ["number begun", "text begun", "text done", "number done"]);
}

#[tokio::test]
async fn a_side_of_a_join_that_fails_lets_the_other_end() {
    let stage = Stage::new();
    let worker = stage.worker(|run, world| {
        Box::pin(async move {
            run.join(
                |mut branch| async move {
                    branch.step("fail", || async { Err::<(), _>(Failure::new(Kind::Refused, "declined")) }).await
                },
                |mut branch| async move {
                    branch.step("think", || world.works("think", seconds(10))).await?;
                    branch.effect("act", Semantics::AtMostOnce, |_key| world.works("act", seconds(10))).await
                },
            )
            .await?;
            Ok(Value::Null)
        })
    });
    let run = ended(stage.attempt(&worker).await);
    assert_eq!(run.error.unwrap().kind, Kind::Refused);
    assert_eq!(stage.world.diary(), ["think begun", "think done", "act begun", "act done"]);
    assert_eq!(stage.world.done().await, ["think", "act"]);
}

#[tokio::test]
async fn an_unknown_outcome_beside_a_failure_is_what_the_run_stops_for() {
    let stage = Stage::new();
    let worker = stage.worker(|run, _| {
        Box::pin(async move {
            run.join(
                |mut branch| async move {
                    branch.step("fail", || async { Err::<(), _>(Failure::new(Kind::Refused, "declined")) }).await
                },
                |mut branch| async move {
                    let lost = Failure::new(Kind::Timeout, "no answer").with_unknown_outcome();
                    branch.effect("send", Semantics::AtMostOnce, |_key| async { Err::<(), _>(lost) }).await
                },
            )
            .await?;
            Ok(Value::Null)
        })
    });
    let outcome = stage.attempt(&worker).await;
    assert!(matches!(&outcome, Outcome::Resting(run) if run.status == Status::Attention), "{outcome:?}");
}
