use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use ihelper_testkit::memory::{ScriptedModel, VirtualClock};
use ihelper_workflow::{
    models::Router,
    ports::{Clock as _, ModelFailure, ModelFault},
};
use jiff::Timestamp;
use serde_json::json;

use super::{answer, nodes, request, router};

fn well() -> ScriptedModel {
    ScriptedModel::new(|_, _| async { answer(&json!({})) })
}

fn failing(fault: ModelFault, wait: Option<u64>) -> ScriptedModel {
    ScriptedModel::new(move |_, _| async move {
        Err(ModelFailure::new(fault, "no").retry_after(wait.map(Duration::from_secs)))
    })
}

/// A model that says when it was called.
fn noted(clock: &VirtualClock, inner: ScriptedModel) -> (ScriptedModel, Arc<Mutex<Vec<Timestamp>>>) {
    use ihelper_workflow::ports::Model as _;
    let calls: Arc<Mutex<Vec<Timestamp>>> = Arc::default();
    let (clock, seen) = (clock.clone(), Arc::clone(&calls));
    let model = ScriptedModel::new(move |_, request| {
        seen.lock().unwrap().push(clock.now());
        let inner = inner.clone();
        async move { inner.complete(&request).await }
    });
    (model, calls)
}

const THREE: &str = "[{name: slow, provider: bedrock, timeout: 30, weight: 2}, \
                      {name: throttled, provider: bedrock, weight: 2}, {name: well, provider: bedrock, weight: 2}]";

#[tokio::test]
async fn of_three_nodes_one_silent_one_throttled_and_one_well_a_thousand_calls_succeed() {
    let clock = VirtualClock::default();
    let silent = ScriptedModel::new(|_, _| std::future::pending());
    let (silent, silent_calls) = noted(&clock, silent);
    let (throttled, throttled_calls) = noted(&clock, failing(ModelFault::Throttled, Some(40)));
    let (well, well_calls) = noted(&clock, well());
    let router = router(&clock, THREE, [silent, throttled, well]);
    for _ in 0..1000 {
        let routed = router.complete("default", &request()).await.unwrap();
        assert_eq!(routed.node, "well");
        clock.advance(Duration::from_millis(500));
    }
    assert_eq!(well_calls.lock().unwrap().len(), 1000);
    // None while it cools: what it asked for, or a pause that doubles up to five minutes.
    for pair in throttled_calls.lock().unwrap().windows(2) {
        assert!(pair[1].duration_since(pair[0]).as_secs() >= 40, "{pair:?}");
    }
    let silent_calls = silent_calls.lock().unwrap();
    for (number, pair) in silent_calls.windows(2).enumerate() {
        let pause = 30 + (1_i64 << number.min(16)).min(300);
        assert!(pair[1].duration_since(pair[0]).as_secs() >= pause, "{number}: {pair:?}");
    }
    assert!(silent_calls.len() > 2, "a node that is out comes in again");
}

#[tokio::test]
async fn the_shares_of_the_healthy_follow_their_weights() {
    let clock = VirtualClock::default();
    let models = [well(), failing(ModelFault::Throttled, Some(3600)), well(), well()];
    let counted = models.clone();
    let yaml = "[{name: a, provider: bedrock, weight: 5}, {name: b, provider: bedrock, weight: 7}, \
                 {name: c, provider: bedrock, weight: 3}, {name: d, provider: bedrock, weight: 2}]";
    let router = router(&clock, yaml, models);
    for _ in 0..1000 {
        router.complete("default", &request()).await.unwrap();
    }
    let [a, b, c, d] = counted.map(|model| model.requests().len());
    assert_eq!((a + c + d, b), (1000, 1));
    for (calls, weight) in [(a, 5), (c, 3), (d, 2)] {
        assert!(calls.abs_diff(100 * weight) <= 2, "{calls} of 1000 for a weight of {weight} in 10");
    }
}

#[tokio::test]
async fn when_all_cool_down_nobody_is_called_and_the_wait_is_told() {
    let clock = VirtualClock::default();
    let models = [failing(ModelFault::Throttled, Some(20)), failing(ModelFault::Quota, Some(90))];
    let counted = models.clone();
    let yaml = "[{name: a, provider: bedrock}, {name: b, provider: bedrock}]";
    let router = router(&clock, yaml, models);
    router.complete("default", &request()).await.unwrap_err();
    clock.advance(Duration::from_secs(5));
    let unanswered = router.complete("default", &request()).await.unwrap_err();
    assert_eq!(unanswered.failure.retry_after, Some(Duration::from_secs(15)));
    assert_eq!(unanswered.failure.fault, ModelFault::Throttled);
    assert_eq!(counted.map(|model| model.requests().len()), [1, 1]);
}

#[tokio::test]
async fn what_is_the_requests_own_fault_goes_to_no_other_node() {
    for fault in [ModelFault::Refused, ModelFault::ContentFiltered, ModelFault::Truncated, ModelFault::Invalid] {
        let clock = VirtualClock::default();
        let second = well();
        let yaml = "[{name: a, provider: bedrock}, {name: b, provider: bedrock}]";
        let router = router(&clock, yaml, [failing(fault, None), second.clone()]);
        assert_eq!(router.complete("default", &request()).await.unwrap_err().failure.fault, fault);
        assert!(second.requests().is_empty());
    }
}

#[tokio::test]
async fn no_node_has_more_calls_than_its_limit_and_all_get_through() {
    let clock = VirtualClock::default();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let model = {
        let (now, most, clock) = (Arc::clone(&now), Arc::clone(&most), clock.clone());
        ScriptedModel::new(move |_, _| {
            let (now, most, clock) = (Arc::clone(&now), Arc::clone(&most), clock.clone());
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                clock.sleep(Duration::from_millis(100)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                answer(&json!({}))
            }
        })
    };
    let router = router(&clock, "[{name: a, provider: bedrock, concurrency: 3}]", [model]);
    let calls = (0..60).map(|_| async { router.complete("default", &request()).await.map(drop) });
    for outcome in futures::future::join_all(calls).await {
        outcome.unwrap();
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_call_that_is_broken_off_leaves_its_place() {
    let clock = VirtualClock::default();
    let calls = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&calls);
    let model = ScriptedModel::new(move |number, _| {
        counted.fetch_add(1, Ordering::SeqCst);
        async move { if number == 0 { std::future::pending().await } else { answer(&json!({})) } }
    });
    let router = router(&clock, "[{name: a, provider: bedrock, concurrency: 1, timeout: 600}]", [model]);
    let asked = request();
    {
        let first = router.complete("default", &asked);
        tokio::pin!(first);
        assert!(futures::poll!(&mut first).is_pending());
    }
    router.complete("default", &asked).await.unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_hedge_asks_a_second_node_and_the_first_answer_counts() {
    let clock = VirtualClock::default();
    let slow = {
        let clock = clock.clone();
        ScriptedModel::new(move |_, _| {
            let clock = clock.clone();
            async move {
                clock.sleep(Duration::from_secs(20)).await;
                answer(&json!({}))
            }
        })
    };
    let fast = well();
    let yaml = "[{name: slow, provider: bedrock, weight: 100}, {name: fast, provider: bedrock}]";
    let hedged =
        Router::new(nodes(yaml, [slow.clone(), fast.clone()]), Arc::new(clock.clone()), Some(Duration::from_secs(2)));
    let began = clock.now();
    assert_eq!(hedged.complete("default", &request()).await.unwrap().node, "fast");
    assert_eq!(clock.now().duration_since(began).as_secs(), 2);
    let unhedged = router(&clock, yaml, [slow, fast.clone()]);
    assert_eq!(unhedged.complete("default", &request()).await.unwrap().node, "slow");
    assert_eq!(fast.requests().len(), 1);
}

#[tokio::test]
async fn a_group_is_answered_by_its_nodes_only() {
    let clock = VirtualClock::default();
    let yaml = "[{name: a, provider: bedrock, groups: [fast]}, {name: b, provider: bedrock, weight: 100}]";
    let router = router(&clock, yaml, [well(), well()]);
    for _ in 0..10 {
        assert_eq!(router.complete("fast", &request()).await.unwrap().node, "a");
    }
    let failure = router.complete("large", &request()).await.unwrap_err().failure;
    assert!(failure.message.contains("`large`"), "{failure}");
}
