//! What must be true of every [`Requests`].

use futures::future::join_all;
use ihelper_workflow::ports::{GivesWay, Recalled, Remembered, RequestKey, Requests};
use jiff::{SignedDuration, Timestamp};

use super::{at, hostile_texts, run_id};

/// Makes a test of every case of the requests' contract, each on a port that the expression makes anew.
#[macro_export]
macro_rules! requests_contract {
    ($port:expr) => {
        $crate::contract_tests! { $port, requests:
            a_request_is_new_once,
            a_request_is_over_at_its_moment,
            what_was_refused_prolongs_nothing,
            a_request_gives_way_for_the_run_that_is_named,
            whatever_is_there_gives_way_when_asked_to,
            of_many_who_remember_at_once_one_does,
            of_many_whose_request_is_over_one_follows,
            callers_do_not_meet_each_others_keys,
            a_result_is_no_idempotency_key,
            hostile_texts_are_kept_apart,
            moments_keep_their_nanoseconds,
        }
    };
}

fn idempotency(caller: &str, key: &str) -> RequestKey {
    RequestKey::Idempotency { caller: caller.to_owned(), key: key.to_owned() }
}

fn result(workflow_id: &str) -> RequestKey {
    RequestKey::Result { workflow_id: workflow_id.to_owned() }
}

/// A key of each kind: every promise holds for both.
fn kinds() -> [RequestKey; 2] {
    [idempotency("alice", "key-1"), result("9f86d081884c7d65")]
}

fn request(run: u128, until: i64) -> Remembered {
    Remembered { run: run_id(0, run), fingerprint: format!("fingerprint-{run}"), until: at(until) }
}

async fn remember(
    requests: &dyn Requests,
    key: &RequestKey,
    request: &Remembered,
    gives_way: GivesWay,
    now: Timestamp,
) -> Recalled {
    requests.remember(key, request, gives_way, now).await.unwrap()
}

/// The first request is new; whoever comes after it, the same one included, is told of it.
pub async fn a_request_is_new_once(requests: &dyn Requests) {
    for key in kinds() {
        let first = request(1, 100);
        assert_eq!(remember(requests, &key, &first, GivesWay::Nothing, at(0)).await, Recalled::New);
        for other in [request(2, 500), first.clone()] {
            let recalled = remember(requests, &key, &other, GivesWay::Nothing, at(1)).await;
            assert_eq!(recalled, Recalled::Known(first.clone()));
        }
    }
}

/// At its end, and not before, a request is forgotten for another.
pub async fn a_request_is_over_at_its_moment(requests: &dyn Requests) {
    for key in kinds() {
        let [first, second] = [request(1, 100), request(2, 200)];
        let just_before = |seconds| at(seconds) - SignedDuration::from_nanos(1);
        for gives_way in [GivesWay::Nothing, GivesWay::Run(run_id(0, 77))] {
            remember(requests, &key, &first, GivesWay::Anything, at(0)).await;
            let recalled = remember(requests, &key, &second, gives_way, just_before(100)).await;
            assert_eq!(recalled, Recalled::Known(first.clone()));
            assert_eq!(remember(requests, &key, &second, gives_way, at(100)).await, Recalled::New);
            let recalled = remember(requests, &key, &first, gives_way, just_before(200)).await;
            assert_eq!(recalled, Recalled::Known(second.clone()));
        }
    }
}

/// Who asks again and again is told of the first until that is over, not for ever.
pub async fn what_was_refused_prolongs_nothing(requests: &dyn Requests) {
    for key in kinds() {
        let first = request(1, 100);
        assert_eq!(remember(requests, &key, &first, GivesWay::Nothing, at(0)).await, Recalled::New);
        for now in 1..100 {
            let again = request(2, now + 100);
            let recalled = remember(requests, &key, &again, GivesWay::Nothing, at(now)).await;
            assert_eq!(recalled, Recalled::Known(first.clone()));
        }
        assert_eq!(remember(requests, &key, &request(2, 200), GivesWay::Nothing, at(100)).await, Recalled::New);
    }
}

/// What led to a run that is no longer wanted gives way; what led to another run stays.
pub async fn a_request_gives_way_for_the_run_that_is_named(requests: &dyn Requests) {
    for key in kinds() {
        let [first, second, third] = [1, 2, 3].map(|run| request(run, 100));
        assert_eq!(remember(requests, &key, &first, GivesWay::Run(run_id(0, 9)), at(0)).await, Recalled::New);
        let recalled = remember(requests, &key, &second, GivesWay::Run(run_id(0, 9)), at(1)).await;
        assert_eq!(recalled, Recalled::Known(first.clone()));
        assert_eq!(remember(requests, &key, &second, GivesWay::Run(first.run), at(1)).await, Recalled::New);
        // Two who saw the first at once: the later one meets the earlier one's.
        let recalled = remember(requests, &key, &third, GivesWay::Run(first.run), at(1)).await;
        assert_eq!(recalled, Recalled::Known(second));
    }
}

/// A caller who wants no remembered result replaces it for all.
pub async fn whatever_is_there_gives_way_when_asked_to(requests: &dyn Requests) {
    for key in kinds() {
        for run in 1..4 {
            assert_eq!(remember(requests, &key, &request(run, 100), GivesWay::Anything, at(0)).await, Recalled::New);
        }
        let recalled = remember(requests, &key, &request(9, 100), GivesWay::Nothing, at(0)).await;
        assert_eq!(recalled, Recalled::Known(request(3, 100)));
    }
}

/// Twenty make the same request at once: one is told that it is new, the others are told of that one.
pub async fn of_many_who_remember_at_once_one_does(requests: &dyn Requests) {
    for key in kinds() {
        one_of_twenty(requests, &key, GivesWay::Nothing, at(0)).await;
    }
}

/// Twenty find a request over, or in their way, at once: one takes its place, the others are told of that one.
pub async fn of_many_whose_request_is_over_one_follows(requests: &dyn Requests) {
    for key in kinds() {
        let former = request(77, 50);
        assert_eq!(remember(requests, &key, &former, GivesWay::Nothing, at(0)).await, Recalled::New);
        one_of_twenty(requests, &key, GivesWay::Nothing, at(50)).await;
        assert_eq!(remember(requests, &key, &former, GivesWay::Anything, at(0)).await, Recalled::New);
        one_of_twenty(requests, &key, GivesWay::Run(former.run), at(10)).await;
    }
}

async fn one_of_twenty(requests: &dyn Requests, key: &RequestKey, gives_way: GivesWay, now: Timestamp) {
    let attempts: Vec<Remembered> = (0..20).map(|run| request(run, 100)).collect();
    let outcomes = join_all(attempts.iter().map(|attempt| remember(requests, key, attempt, gives_way, now))).await;
    let winners: Vec<&Remembered> = outcomes
        .iter()
        .zip(&attempts)
        .filter_map(|(outcome, attempt)| (*outcome == Recalled::New).then_some(attempt))
        .collect();
    assert_eq!(winners.len(), 1);
    let known = Recalled::Known(winners[0].clone());
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == known).count(), 19);
}

/// The same key of two callers is two requests, also where one's name ends as the other's key begins.
pub async fn callers_do_not_meet_each_others_keys(requests: &dyn Requests) {
    let keys = [("alice", "key-1"), ("bob", "key-1"), ("ab", "c"), ("a", "bc"), ("", "abc"), ("abc", ""), ("a#b", "c")];
    for (run, (caller, key)) in (0..).zip(keys) {
        let key = idempotency(caller, key);
        assert_eq!(remember(requests, &key, &request(run, 100), GivesWay::Nothing, at(0)).await, Recalled::New);
    }
    for (run, (caller, key)) in (0..).zip(keys) {
        let recalled = remember(requests, &idempotency(caller, key), &request(99, 100), GivesWay::Nothing, at(1)).await;
        assert_eq!(recalled, Recalled::Known(request(run, 100)));
    }
}

/// The two kinds of keys never meet, whatever they say.
pub async fn a_result_is_no_idempotency_key(requests: &dyn Requests) {
    let keys = [result("same"), idempotency("same", ""), idempotency("", "same"), idempotency("workflow", "same")];
    for key in &keys {
        assert_eq!(remember(requests, key, &request(1, 100), GivesWay::Nothing, at(0)).await, Recalled::New);
    }
}

/// Any text may be a caller, a key, a workflow's id or a fingerprint, and different texts are different ones.
pub async fn hostile_texts_are_kept_apart(requests: &dyn Requests) {
    let mut texts = hostile_texts();
    texts.extend(["x".repeat(4096) + "1", "x".repeat(4096) + "2"]);
    let all: Vec<(RequestKey, Remembered)> = (0_u128..)
        .zip(&texts)
        .flat_map(|(number, text)| {
            let of = |kind: u128| Remembered { fingerprint: text.clone(), ..request(number * 3 + kind, 100) };
            [(idempotency(text, "key"), of(0)), (idempotency("alice", text), of(1)), (result(text), of(2))]
        })
        .collect();
    for (key, request) in &all {
        assert_eq!(remember(requests, key, request, GivesWay::Nothing, at(0)).await, Recalled::New, "{key:?}");
    }
    for (key, known) in all {
        let recalled = remember(requests, &key, &request(9999, 100), GivesWay::Nothing, at(1)).await;
        assert_eq!(recalled, Recalled::Known(known));
    }
}

/// Until when a request is remembered is told to the nanosecond, also the last moment that there is.
pub async fn moments_keep_their_nanoseconds(requests: &dyn Requests) {
    let moments = [1, 999_999_999, 120_000_000].map(|nanoseconds| at(9) + SignedDuration::from_nanos(nanoseconds));
    for (run, until) in (0..).zip(moments.into_iter().chain([Timestamp::MAX])) {
        let key = result(&until.to_string());
        let first = Remembered { until, ..request(run, 0) };
        assert_eq!(remember(requests, &key, &first, GivesWay::Nothing, at(0)).await, Recalled::New);
        let recalled = remember(requests, &key, &request(99, 100), GivesWay::Nothing, at(9)).await;
        assert_eq!(recalled, Recalled::Known(first));
    }
}

#[cfg(test)]
mod memory {
    use crate::memory::MemoryRequests;

    requests_contract!(async { MemoryRequests::new() });
}
