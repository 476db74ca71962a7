//! How often a caller may call, counted over all instances.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use api_process::RateLimit;
use async_trait::async_trait;
use http::StatusCode;
use ihelper_testkit::{
    WorkflowTester,
    memory::{MemoryRequestCounts, VirtualClock},
};
use ihelper_workflow::{
    domain::{Failure, Kind},
    ports::{Counted, Quota, RequestCounts},
};
use jiff::Timestamp;

use crate::api::{Front, Served};

fn quota(requests: u32) -> Quota {
    Quota { requests: NonZeroU32::new(requests).unwrap(), window: Duration::from_secs(60) }
}

/// An instance of the API that counts there.
fn front(tester: &Arc<WorkflowTester>, counts: &(impl RequestCounts + Clone + 'static), requests: u32) -> Front {
    Front::changed(Arc::clone(tester), |api| {
        api.limit = Some(RateLimit::new(Arc::new(counts.clone()), quota(requests)));
    })
}

async fn list(front: &Front, user: &str) -> Served {
    front.get(user, "staff", "/workflow/runs").await
}

#[tokio::test]
async fn a_caller_over_the_quota_is_told_when_to_come_back_and_others_are_served() {
    let (tester, counts) = (Arc::new(WorkflowTester::new()), MemoryRequestCounts::new());
    // Two instances, as Lambda starts them.
    let fronts = [front(&tester, &counts, 4), front(&tester, &counts, 4)];
    for number in 0..4_usize {
        let served = list(&fronts[number % 2], "alice").await;
        assert_eq!(served.status, StatusCode::OK, "{}", served.text);
        assert_eq!(served.header("ratelimit-policy"), "\"caller\";q=4;w=60");
        assert_eq!(served.header("ratelimit"), format!("\"caller\";r={};t=60", 3 - number));
    }
    tester.clock.advance(Duration::from_secs(12));
    for front in &fronts {
        let refused = list(front, "alice").await;
        assert_eq!((refused.status, refused.problem()), (StatusCode::TOO_MANY_REQUESTS, "rate-limited"));
        assert_eq!(refused.header("content-type"), "application/problem+json");
        assert_eq!((refused.header("retry-after"), refused.header("ratelimit")), ("48", "\"caller\";r=0;t=48"));
        assert_eq!(list(front, "bob").await.status, StatusCode::OK);
    }
    tester.clock.advance(Duration::from_secs(48));
    assert_eq!(list(&fronts[0], "alice").await.status, StatusCode::OK);
}

/// Counts how often it is asked.
#[derive(Clone)]
struct Watched {
    counts: MemoryRequestCounts,
    asked: Arc<std::sync::atomic::AtomicUsize>,
}

#[async_trait]
impl RequestCounts for Watched {
    async fn count(&self, caller: &str, quota: Quota, now: Timestamp) -> Result<Counted, Failure> {
        self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.counts.count(caller, quota, now).await
    }
}

#[tokio::test]
async fn a_flood_writes_nothing_once_its_caller_is_over_the_quota() {
    let tester = Arc::new(WorkflowTester::new());
    let counts = Watched { counts: MemoryRequestCounts::new(), asked: Arc::default() };
    let front = front(&tester, &counts, 3);
    for number in 0..100 {
        let expected = if number < 3 { StatusCode::OK } else { StatusCode::TOO_MANY_REQUESTS };
        assert_eq!(list(&front, "alice").await.status, expected);
    }
    assert_eq!(counts.asked.load(std::sync::atomic::Ordering::Relaxed), 4);
}

#[tokio::test]
async fn what_needs_no_token_and_what_is_refused_at_the_door_counts_for_nobody() {
    let tester = Arc::new(WorkflowTester::new());
    let counts = Watched { counts: MemoryRequestCounts::new(), asked: Arc::default() };
    let front = front(&tester, &counts, 3);
    for path in ["/health", "/workflow/runs", "/nowhere"] {
        let served = front.send(http::Request::get(path).body(axum::body::Body::empty()).unwrap()).await;
        assert_eq!(served.header("ratelimit"), "", "{path}");
    }
    assert_eq!(counts.asked.load(std::sync::atomic::Ordering::Relaxed), 0);
}

/// Cannot count.
#[derive(Clone)]
struct Broken;

#[async_trait]
impl RequestCounts for Broken {
    async fn count(&self, _: &str, _: Quota, _: Timestamp) -> Result<Counted, Failure> {
        Err(Failure::new(Kind::Connection, "the table does not answer"))
    }
}

#[tokio::test]
async fn where_nothing_can_be_counted_callers_with_a_token_are_served() {
    let served = list(&front(&Arc::new(WorkflowTester::new()), &Broken, 1), "alice").await;
    assert_eq!((served.status, served.header("ratelimit")), (StatusCode::OK, ""));
}

#[tokio::test]
async fn without_a_quota_nobody_is_counted() {
    let front = Front::new();
    for _ in 0..50 {
        let served = list(&front, "alice").await;
        assert_eq!((served.status, served.header("ratelimit-policy")), (StatusCode::OK, ""));
    }
}

#[test]
fn windows_are_those_of_the_port() {
    // The clock of the tests stands at a whole minute, on which the figures above rest.
    let now = ihelper_workflow::ports::Clock::now(&VirtualClock::default());
    assert_eq!(quota(1).window_end(now).as_second() - now.as_second(), 60);
}
