//! The same request again, and equal ones.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use http::StatusCode;
use ihelper_testkit::{WorkflowTester, memory::MemoryRequests};
use ihelper_workflow::{
    domain::{Failure, Kind, RunId, Status, WorkflowType, definition::Definition, document::ObjectRef},
    embedded,
    engine::{Context, Definitions, Stop, Worker, Workflow},
    ports::{Clock as _, GivesWay, Recalled, Remembered, RequestKey, Requests},
};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::{Front, Served, path_of, planned, process, process_in, task, with_header};

const TASK: WorkflowType = WorkflowType::TaskAutomation;
const DAY: Duration = Duration::from_hours(24);
const HOUR: Duration = Duration::from_hours(1);
const SECOND: Duration = Duration::from_secs(1);

/// One question to the assistant.
pub(super) fn question() -> WorkflowTester {
    planned(&json!([{"id": "ask", "tool": "ask_assistant",
        "arguments": {"instruction": "Summarize.", "text": "{{ task.description }}"}}]))
}

/// A mail to the boss.
fn mail() -> WorkflowTester {
    planned(&json!([{"id": "mail", "tool": "send_email",
        "arguments": {"recipient": "boss", "subject": "Task", "text": "Done."}}]))
}

fn other_task() -> Value {
    json!({"type": "task_automation", "data": {"id": "t", "description": "Sweep the floor."}})
}

impl Front {
    async fn keyed(&self, user: &str, key: &str, body: &Value) -> Served {
        self.send(with_header(process(user, body.to_string()), "idempotency-key", key)).await
    }

    pub(super) async fn keyed_async(&self, key: &str, body: &Value) -> Served {
        let request = with_header(process("alice", body.to_string()), "idempotency-key", key);
        self.send(with_header(request, "prefer", "respond-async")).await
    }

    async fn post_async(&self, body: &Value) -> Served {
        self.send(with_header(process("alice", body.to_string()), "prefer", "respond-async")).await
    }

    async fn post_fresh(&self, body: &Value) -> Served {
        self.send(with_header(process("alice", body.to_string()), "cache-control", "no-cache")).await
    }

    pub(crate) fn runs(&self) -> Vec<RunId> {
        self.tester.journal.runs().into_iter().map(|run| run.id).collect()
    }
}

/// The answer of a run that was made for this request.
fn assert_new(served: &Served) {
    assert_eq!((served.status, &served.body["status"]), (StatusCode::OK, &json!("success")), "{}", served.text);
    assert_eq!(served.header("idempotency-replayed"), "");
    assert_eq!(served.header("age"), "");
}

#[tokio::test]
async fn a_request_with_a_known_key_gets_the_stored_result_and_does_nothing() {
    let front = Front::on(mail());
    let first = front.keyed("alice", "k", &task()).await;
    assert_new(&first);
    front.tester.clock.advance(HOUR * 2);
    let messages = front.tester.queue.messages(TASK);
    for _ in 0..2 {
        let again = front.keyed("alice", "k", &task()).await;
        assert_eq!((again.status, &again.text), (first.status, &first.text));
        assert_eq!(again.header("idempotency-replayed"), "true");
    }
    assert_eq!((front.runs().len(), front.tester.mailer.sent().len()), (1, 1));
    assert_eq!(front.tester.queue.messages(TASK), messages);

    // However the caller spells it.
    let spelled =
        "{ \"data\": {\"description\": \"Tidy up the archive.\", \"id\": \"t\"},\n\"type\": \"task_automation\"}";
    let again = front.send(with_header(process("alice", spelled), "idempotency-key", "k")).await;
    assert_eq!((again.text, again.headers["idempotency-replayed"].to_str().unwrap()), (first.text, "true"));
}

#[tokio::test]
async fn a_key_stands_for_one_request() {
    let front = Front::on(question());
    front.keyed("alice", "k", &task()).await;
    let mut longer = task();
    longer["data"]["priority"] = json!("high");
    let mut of_other_type = task();
    of_other_type["type"] = json!("email_processing");
    of_other_type["data"] = super::email()["data"].clone();
    for body in [other_task(), longer, of_other_type] {
        let served = front.keyed("alice", "k", &body).await;
        assert_eq!((served.status.as_u16(), served.problem()), (422, "idempotency-key-reused"), "{body}");
        assert_eq!(served.header("idempotency-replayed"), "");
    }
    assert_eq!(front.runs().len(), 1);
    assert_new(&front.keyed("alice", "k2", &other_task()).await);
}

#[tokio::test]
async fn a_key_asks_for_a_run_of_its_own_whatever_results_are_known() {
    let front = Front::on(question());
    let served = [
        front.post(&task()).await,
        front.keyed("alice", "k1", &task()).await,
        front.keyed("alice", "k2", &task()).await,
    ];
    served.iter().for_each(assert_new);
    assert_eq!(front.runs().len(), 3);
    assert_eq!(served[1].header("cache-status"), "");
}

#[tokio::test]
async fn nobody_meets_the_key_of_another() {
    let front = Front::on(question());
    let alice = front.keyed("alice", "k", &task()).await;
    let bob = front.keyed("bob", "k", &other_task()).await;
    assert_new(&bob);
    assert_ne!(alice.run_id(), bob.run_id());
    let replayed = front.keyed("bob", "k", &other_task()).await;
    assert_eq!((replayed.run_id(), replayed.header("idempotency-replayed")), (bob.run_id(), "true"));
}

#[tokio::test]
async fn a_request_that_is_still_worked_on_says_where_and_is_not_begun_again() {
    let front = Front::on(question());
    let first = front.keyed_async("k", &task()).await;
    assert_eq!((first.status.as_u16(), &first.body["status"]), (202, &json!("queued")));
    let run = first.run_id();
    let second = front.keyed("alice", "k", &task()).await;
    assert_eq!((second.status.as_u16(), second.problem()), (409, "in-flight"));
    assert_eq!((second.run_id(), &second.body["location"]), (run, &json!(path_of(run, ""))));
    assert_eq!(second.header("retry-after"), "5");

    let third = front.keyed_async("k", &task()).await;
    assert_eq!((third.status.as_u16(), third.run_id()), (202, run));
    assert_eq!(third.header("location"), path_of(run, ""));
    assert_eq!(front.keyed("alice", "k", &other_task()).await.problem(), "idempotency-key-reused");
    assert_eq!(front.tester.queue.messages(TASK).len(), 1, "the first request's own");

    assert_eq!(front.deliver(TASK).await.id, run);
    let last = front.keyed_async("k", &task()).await;
    assert_eq!((last.status, last.run_id()), (StatusCode::OK, run), "what has ended is not accepted but answered");
    assert_eq!(last.header("idempotency-replayed"), "true");
    assert_eq!(front.tester.assistant.calls(), ["ask", "generate_report"]);
}

#[tokio::test]
async fn a_run_that_waits_or_needs_attention_is_in_flight() {
    let front = Front::on(planned(&json!([{"id": "pause", "tool": "wait", "arguments": {"seconds": 60}}])));
    let waiting = front.keyed("alice", "k", &task()).await;
    assert_eq!((waiting.status.as_u16(), &waiting.body["status"]), (202, &json!("waiting")));
    assert_eq!(front.keyed("alice", "k", &task()).await.problem(), "in-flight");

    let front = Front::on(mail());
    front.tester.mailer.lose_next_answer(Failure::new(Kind::Timeout, "no answer"));
    assert_eq!(front.keyed("alice", "k", &task()).await.body["status"], "attention");
    assert_eq!(front.keyed("alice", "k", &task()).await.problem(), "in-flight");
    assert_eq!(front.tester.mailer.sent().len(), 1);
}

#[tokio::test]
async fn a_run_that_failed_or_was_cancelled_is_replayed_as_such() {
    let front = Front::on(mail());
    front.tester.mailer.fail_next(Failure::new(Kind::Refused, "the message was rejected"));
    let first = front.keyed("alice", "k", &task()).await;
    assert_eq!((first.status.as_u16(), first.problem()), (422, "run-failed"));
    let again = front.keyed("alice", "k", &task()).await;
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.header("idempotency-replayed"), "true");

    let run = front.keyed_async("k2", &task()).await.run_id();
    assert_eq!(front.post_nothing("alice", "staff", &path_of(run, "/cancel")).await.status, StatusCode::OK);
    let cancelled = front.keyed("alice", "k2", &task()).await;
    assert_eq!((cancelled.status.as_u16(), cancelled.problem()), (409, "run-cancelled"));
    assert_eq!((cancelled.run_id(), cancelled.header("idempotency-replayed")), (run, "true"));
    assert!(front.tester.mailer.sent().is_empty());
}

#[tokio::test]
async fn many_who_send_the_same_request_at_once_make_one_run() {
    let front = Front::on(mail());
    let task = task();
    let send = || front.keyed("alice", "k", &task);
    let (first, second, third) = tokio::join!(send(), send(), send());
    let statuses = [first.status.as_u16(), second.status.as_u16(), third.status.as_u16()];
    assert!(statuses.contains(&200) && statuses.iter().all(|status| [200, 409].contains(status)), "{statuses:?}");
    assert_eq!(front.runs(), [first.run_id()]);
    assert_eq!((second.run_id(), third.run_id()), (first.run_id(), first.run_id()));
    assert_eq!(front.tester.mailer.sent().len(), 1);
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day() {
    let front = Front::on(question());
    let began = front.tester.clock.now();
    let first = front.keyed("alice", "k", &task()).await;
    front.move_to(began + DAY - SECOND);
    assert_eq!(front.keyed("alice", "k", &task()).await.run_id(), first.run_id());
    assert_eq!(front.keyed("alice", "k", &other_task()).await.problem(), "idempotency-key-reused");
    front.move_to(began + DAY);
    let second = front.keyed("alice", "k", &other_task()).await;
    assert_new(&second);
    assert_ne!(second.run_id(), first.run_id());
}

#[tokio::test]
async fn a_request_that_is_refused_leaves_its_key_free() {
    let front = Front::on(question());
    let refused = front.keyed("alice", "k", &json!({"type": "task_automation", "data": {"id": "t"}})).await;
    assert_eq!(refused.problem(), "invalid");
    assert_new(&front.keyed("alice", "k", &task()).await);
}

#[tokio::test]
async fn a_key_that_is_none_is_refused_and_makes_no_run() {
    let front = Front::on(question());
    for key in ["", "two words", &"k".repeat(256)] {
        let served = front.keyed("alice", key, &task()).await;
        assert_eq!((served.status.as_u16(), served.problem()), (400, "malformed"), "`{key}`");
        assert!(served.body["detail"].as_str().unwrap().contains("`Idempotency-Key`"));
    }
    assert!(front.runs().is_empty());
}

/// Remembers a request and dies before it can say so: nobody makes the run.
struct DiesAfterwards {
    inner: MemoryRequests,
    remembered: Mutex<Option<RunId>>,
}

#[async_trait]
impl Requests for DiesAfterwards {
    async fn remember(
        &self,
        key: &RequestKey,
        request: &Remembered,
        gives_way: GivesWay,
        now: Timestamp,
    ) -> Result<Recalled, Failure> {
        assert_eq!(self.inner.remember(key, request, gives_way, now).await?, Recalled::New);
        *self.remembered.lock().unwrap() = Some(request.run);
        Err(Failure::new(Kind::Connection, "the answer was lost"))
    }
}

#[tokio::test]
async fn a_request_whose_run_was_never_made_gets_it_when_it_comes_again() {
    for key in [Some("k"), None] {
        let tester = Arc::new(question());
        let dies = Arc::new(DiesAfterwards { inner: tester.requests.clone(), remembered: Mutex::default() });
        let send = async |front: &Front| match key {
            Some(key) => front.keyed("alice", key, &task()).await,
            None => front.post(&task()).await,
        };
        let broken = Front::changed(tester.clone(), |api| api.requests = dies.clone());
        let served = send(&broken).await;
        assert_eq!((served.status.as_u16(), served.problem()), (503, "unavailable"), "{}", served.text);
        assert!(broken.runs().is_empty());
        let promised = dies.remembered.lock().unwrap().unwrap();

        let front = Front::changed(tester, |_| {});
        front.tester.clock.advance(60 * SECOND);
        let (first, second) = tokio::join!(send(&front), send(&front));
        assert_eq!(front.runs(), [promised]);
        assert_new(&first);
        assert_eq!((first.run_id(), second.run_id()), (promised, promised));
        assert_eq!(send(&front).await.run_id(), promised);
        assert_eq!(front.tester.assistant.calls(), ["ask", "generate_report"]);
    }
}

#[tokio::test]
async fn a_run_that_is_forgotten_before_its_key_is_made_again() {
    let front = Front::on(question());
    let first = front.keyed("alice", "k", &task()).await;
    front.tester.journal.forget(first.run_id());
    let again = front.keyed("alice", "k", &task()).await;
    assert_new(&again);
    assert_eq!((again.run_id(), front.runs()), (first.run_id(), vec![first.run_id()]));
}

#[tokio::test]
async fn a_run_whose_message_was_lost_gets_another_from_who_asks_for_it_again() {
    for key in [Some("k"), None] {
        let front = Front::on(question());
        let send = async || match key {
            Some(key) => front.keyed_async(key, &task()).await,
            None => front.post_async(&task()).await,
        };
        let run = send().await.run_id();
        front.tester.queue.drain(TASK);
        assert_eq!(send().await.run_id(), run);
        assert!(front.tester.queue.messages(TASK).is_empty(), "its message may be on its way");

        front.tester.clock.advance(front.tester.worker().lease() + 2 * SECOND);
        assert_eq!(send().await.run_id(), run);
        let ended = front.deliver(TASK).await;
        assert_eq!((ended.id, ended.status), (run, Status::Succeeded));
    }
}

#[tokio::test]
async fn an_equal_request_gets_the_result_of_the_first_and_how_old_it_is() {
    let front = Front::on(mail());
    let began = front.tester.clock.now();
    let first = front.post(&task()).await;
    assert_new(&first);
    assert_eq!(first.header("cache-status"), "ihelper; fwd=miss");
    let messages = front.tester.queue.messages(TASK);
    front.tester.clock.advance(100 * SECOND);
    let left = (began + HOUR).duration_since(front.tester.clock.now()).as_secs();

    let second = front.post(&task()).await;
    assert_eq!((second.status, &second.text), (first.status, &first.text));
    assert_eq!(second.header("age"), "100");
    assert_eq!(second.header("cache-status"), format!("ihelper; hit; ttl={left}"));
    assert_eq!((front.runs().len(), front.tester.mailer.sent().len()), (1, 1));
    assert_eq!(front.tester.queue.messages(TASK), messages);
    let third = front.post_async(&task()).await;
    assert_eq!((third.status, third.text), (first.status, first.text), "nobody has to wait for what is there");

    assert_new(&front.post(&other_task()).await);
}

#[tokio::test]
async fn no_cache_makes_a_run_whose_result_then_stands() {
    let front = Front::on(question());
    let first = front.post(&task()).await;
    front.tester.clock.advance(10 * SECOND);
    let fresh = front.post_fresh(&task()).await;
    assert_new(&fresh);
    assert_ne!(fresh.run_id(), first.run_id());
    assert_eq!(fresh.header("cache-status"), "ihelper; fwd=request");
    let finished = front.tester.clock.now();
    front.move_to(finished + 10 * SECOND);
    let third = front.post(&task()).await;
    assert_eq!((third.run_id(), third.header("age")), (fresh.run_id(), "10"));
    assert_eq!(front.runs().len(), 2);
}

#[tokio::test]
async fn nobody_gets_the_result_of_another() {
    let front = Front::on(question());
    let alice = front.post(&task()).await;
    for (user, groups) in [("bob", "staff"), ("olga", "operators"), ("Alice", "staff")] {
        let served = front.send(process_in(user, groups, task().to_string())).await;
        assert_new(&served);
        assert_eq!(served.header("cache-status"), "ihelper; fwd=miss");
        assert_ne!(served.run_id(), alice.run_id());
    }
    assert_eq!(front.runs().len(), 4);
}

#[tokio::test]
async fn a_run_that_failed_or_was_cancelled_gives_way() {
    let front = Front::on(mail());
    front.tester.mailer.fail_next(Failure::new(Kind::Refused, "the message was rejected"));
    let failed = front.post(&task()).await;
    assert_eq!((failed.problem(), failed.header("cache-status")), ("run-failed", "ihelper; fwd=miss"));

    let queued = front.post_async(&task()).await;
    assert_eq!((queued.status.as_u16(), &queued.body["status"]), (202, &json!("queued")));
    assert_ne!(queued.run_id(), failed.run_id());
    assert_eq!(front.post_nothing("alice", "staff", &path_of(queued.run_id(), "/cancel")).await.status, StatusCode::OK);

    let third = front.post(&task()).await;
    assert_new(&third);
    assert_eq!(third.header("cache-status"), "ihelper; fwd=miss");
    assert_eq!(front.post(&task()).await.run_id(), third.run_id());
    assert_eq!((front.runs().len(), front.tester.mailer.sent().len()), (3, 1));
}

#[tokio::test]
async fn a_request_whose_runs_keep_failing_is_told_so_each_time() {
    let front = Front::on(mail());
    for runs in 1..=5 {
        front.tester.mailer.fail_next(Failure::new(Kind::Refused, "the message was rejected"));
        assert_eq!(front.post(&task()).await.problem(), "run-failed");
        assert_eq!(front.runs().len(), runs, "one attempt a request");
    }
}

/// A workflow that goes on only once it is let.
struct Held {
    inner: Arc<dyn Workflow>,
    gate: Semaphore,
}

#[async_trait]
impl Workflow for Held {
    fn workflow(&self) -> WorkflowType {
        self.inner.workflow()
    }

    async fn execute(&self, run: &mut Context) -> Result<Value, Stop> {
        let _permit = self.gate.acquire().await.unwrap();
        self.inner.execute(run).await
    }
}

fn held() -> (Front, Arc<Held>) {
    let tester = Arc::new(question());
    let held = Arc::new(Held { inner: tester.workflow(TASK), gate: Semaphore::new(0) });
    let worker = tester.worker_with([Arc::clone(&held) as _]);
    (Front::changed(tester, |api| api.worker = worker), held)
}

#[tokio::test]
async fn an_equal_request_joins_the_one_that_is_under_way_and_gets_its_result() {
    let (front, held) = held();
    let let_go = async {
        front.tester.clock.sleep(5 * SECOND).await;
        held.gate.add_permits(1);
    };
    let task = task();
    let (first, second, ()) = tokio::join!(front.post(&task), front.post(&task), let_go);
    assert_new(&first);
    assert_eq!(first.header("cache-status"), "ihelper; fwd=miss");
    assert_eq!((second.status, &second.text), (first.status, &first.text));
    assert_eq!(second.header("cache-status"), "ihelper; fwd=miss; collapsed");
    assert_eq!(front.runs().len(), 1);
    assert_eq!(front.tester.assistant.calls(), ["ask", "generate_report"]);
}

#[tokio::test]
async fn who_joins_a_run_waits_no_longer_than_they_prefer() {
    let (front, held) = held();
    let began = front.tester.clock.now();
    let second = async {
        let request = with_header(process("alice", task().to_string()), "prefer", "wait=3");
        let served = front.send(request).await;
        assert_eq!(front.tester.clock.now(), began + 3 * SECOND);
        let third = front.post_async(&task()).await;
        assert_eq!(front.tester.clock.now(), began + 3 * SECOND, "this one does not wait at all");
        held.gate.add_permits(1);
        (served, third)
    };
    let task = task();
    let (first, (second, third)) = tokio::join!(front.post(&task), second);
    assert_new(&first);
    for served in [second, third] {
        assert_eq!((served.status.as_u16(), &served.body["status"]), (202, &json!("running")));
        assert_eq!((served.run_id(), served.header("location")), (first.run_id(), &*path_of(first.run_id(), "")));
    }
    assert_eq!(front.runs().len(), 1);
}

#[tokio::test]
async fn an_equal_request_joins_a_run_that_waits() {
    let front = Front::on(planned(&json!([{"id": "pause", "tool": "wait", "arguments": {"seconds": 3600}}])));
    let first = front.post(&task()).await;
    let second = front.post(&task()).await;
    assert_eq!((second.status.as_u16(), &second.text), (202, &first.text));
    assert_eq!(second.header("cache-status"), "ihelper; fwd=miss; collapsed");
    assert_eq!(front.runs().len(), 1);
}

#[tokio::test]
async fn a_result_about_a_stored_object_is_never_given_again() {
    let front = Front::new();
    let object = ObjectRef { bucket: "documents".to_owned(), key: "documents/a.txt".to_owned() };
    front.tester.objects.put(&object, "Either party may terminate this agreement.", &[]);
    let mail = ObjectRef { bucket: "mail".to_owned(), key: "mail/m".to_owned() };
    front.tester.objects.put(&mail, "From: Ada <ada@example.com>\r\n\r\nWhen are you open?\r\n", &[]);
    let bodies = [
        json!({"type": "document_review", "data": {"id": "d", "file": "s3://documents/documents/a.txt",
            "review_criteria": ["The agreement says how it can be terminated."]}}),
        json!({"type": "document_review", "data": {"id": "d", "file": object,
            "review_criteria": ["The agreement says how it can be terminated."]}}),
        json!({"type": "email_processing", "data": {"id": "m", "s3": mail}}),
    ];
    for body in bodies {
        let send = || front.send(process_in("olga", "operators", body.to_string()));
        let (first, second) = (send().await, send().await);
        for served in [&first, &second] {
            assert_new(served);
            assert_eq!(served.header("cache-status"), "");
        }
        assert_ne!(first.run_id(), second.run_id(), "{body}");
    }
}

#[tokio::test]
async fn a_result_stands_for_an_hour_from_its_request() {
    let front = Front::on(question());
    let began = front.tester.clock.now();
    let first = front.post(&task()).await;
    front.move_to(began + HOUR - SECOND);
    let last = front.post(&task()).await;
    assert_eq!((last.run_id(), last.header("cache-status")), (first.run_id(), "ihelper; hit; ttl=1"));
    front.move_to(began + HOUR);
    let second = front.post(&task()).await;
    assert_new(&second);
    assert_ne!(second.run_id(), first.run_id());
}

/// The API on these ports, with a worker whose settings and definitions are others.
fn redeployed(tester: &Arc<WorkflowTester>, expire_s: u32, definitions: Vec<Definition>) -> Front {
    let mut configuration = tester.worker().configuration().clone();
    configuration.cache.expire = expire_s;
    let (ports, lease) = (tester.ports(), tester.worker().lease());
    let definitions = Definitions::new(definitions);
    let worker = Worker::new(ports.of_a_worker(), Arc::new(configuration), definitions, ports.workflows(), lease);
    Front::changed(Arc::clone(tester), |api| api.worker = worker)
}

#[tokio::test]
async fn a_result_of_another_definition_is_not_given() {
    let tester = Arc::new(WorkflowTester::new());
    let definitions = embedded::definitions().unwrap();
    let before = redeployed(&tester, 3600, definitions.clone());
    let first = before.post(&task()).await;
    let mut second_version = definitions.clone();
    second_version.extend(definitions.into_iter().map(|definition| Definition { version: 2, ..definition }));
    let after = redeployed(&tester, 3600, second_version);
    let second = after.post(&task()).await;
    assert_new(&second);
    assert_ne!(second.run_id(), first.run_id());
    assert_eq!(before.post(&task()).await.run_id(), first.run_id());
}

#[tokio::test]
async fn a_cache_that_is_switched_off_remembers_nothing() {
    let tester = Arc::new(WorkflowTester::new());
    let front = redeployed(&tester, 0, embedded::definitions().unwrap());
    let (first, second) = (front.post(&task()).await, front.post(&task()).await);
    for served in [&first, &second] {
        assert_new(served);
        assert_eq!(served.header("cache-status"), "");
    }
    assert_ne!(first.run_id(), second.run_id());
}
