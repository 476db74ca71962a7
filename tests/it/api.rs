//! The HTTP API on ports in memory.

mod callbacks;
mod contract;
mod control;
mod definitions;
mod files;
mod left;
mod letters;
mod repeats;
mod reports;
mod uploads;
mod usage;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use api_process::{Api, MAX_BODY_BYTES, router};
use async_trait::async_trait;
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use ihelper_adapters::cedar::CedarPermissions;
use ihelper_runtime::settings::AuthMode;
use ihelper_testkit::{
    WorkflowTester,
    memory::{MemoryIssuer, VirtualClock},
};
use ihelper_workflow::{
    domain::{Failure, Kind, Run, RunId, WorkflowType, definition::Definition},
    embedded,
    engine::{Context, Deadline, Stop, Workflow},
    ports::Clock as _,
};
use jiff::Timestamp;
use lambda_http::{
    RequestExt as _,
    aws_lambda_events::apigw::{
        ApiGatewayRequestAuthorizer, ApiGatewayRequestAuthorizerJwtDescription, ApiGatewayV2httpRequestContext,
    },
    request::RequestContext,
};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::doors;

pub(crate) struct Served {
    pub(crate) status: StatusCode,
    pub(crate) headers: http::HeaderMap,
    pub(crate) body: Value,
    pub(crate) text: String,
}

impl Served {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The problem's type without its prefix.
    pub(crate) fn problem(&self) -> &str {
        self.body["type"].as_str().and_then(|name| name.strip_prefix("urn:ihelper:problem:")).unwrap_or_default()
    }

    pub(crate) fn run_id(&self) -> RunId {
        self.body["run_id"].as_str().unwrap().parse().unwrap()
    }
}

#[derive(Clone)]
pub(crate) struct Front {
    pub(crate) tester: Arc<WorkflowTester>,
    router: axum::Router,
}

impl Front {
    pub(crate) fn new() -> Self {
        Self::on(WorkflowTester::new())
    }

    /// The API on this tester's ports.
    pub(crate) fn on(tester: WorkflowTester) -> Self {
        Self::changed(Arc::new(tester), |_| {})
    }

    /// The API on this tester's ports, but for what is changed.
    pub(crate) fn changed(tester: Arc<WorkflowTester>, change: impl FnOnce(&mut Api)) -> Self {
        let mut api = Api {
            worker: tester.worker_on(),
            control: tester.control(),
            journal: Arc::new(tester.journal.clone()),
            queue: Arc::new(tester.queue.clone()),
            requests: Arc::new(tester.requests.clone()),
            letters: Arc::new(tester.queue.clone()),
            uploads: Arc::new(tester.uploads.clone()),
            usage: Arc::new(tester.usage.clone()),
            versions: tester.versions(),
            clock: Arc::new(tester.clock.clone()),
            entropy: Arc::new(tester.entropy.clone()),
            auth_mode: AuthMode::Authorizer,
            origins: Vec::new(),
            tokens: doors::tokens(&MemoryIssuer::new(), &tester.clock),
            permissions: Arc::new(CedarPermissions::embedded()),
            reads_files: true,
            limit: None,
        };
        change(&mut api);
        Self { tester, router: router(Arc::new(api)) }
    }

    /// The answer, which is one that the contract tells.
    pub(crate) async fn send(&self, request: Request<Body>) -> Served {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        let served = Served { status: parts.status, headers: parts.headers, body, text };
        contract::check(&method, &path, &served);
        served
    }

    pub(crate) async fn post(&self, body: &Value) -> Served {
        self.send(process("alice", body.to_string())).await
    }

    /// A POST of JSON by a user of this group.
    pub(crate) async fn post_to(&self, user: &str, group: &str, path: &str, body: &Value) -> Served {
        let request = Request::post(path).header("content-type", "application/json");
        self.send(with_token(request.body(Body::from(body.to_string())).unwrap(), user, group)).await
    }

    /// A POST of nothing.
    pub(crate) async fn post_nothing(&self, user: &str, group: &str, path: &str) -> Served {
        self.send(with_token(Request::post(path).body(Body::empty()).unwrap(), user, group)).await
    }

    pub(crate) async fn get(&self, user: &str, groups: &str, path: &str) -> Served {
        self.send(with_token(Request::get(path).body(Body::empty()).unwrap(), user, groups)).await
    }

    /// The run as an operator sees it.
    pub(crate) async fn show(&self, run: RunId) -> Value {
        let served = self.get("olga", "operators", &path_of(run, "")).await;
        assert_eq!(served.status, StatusCode::OK, "{}", served.text);
        served.body
    }

    /// Hands the next message that is due to the workflow's consumer, and gives the run it is about, at rest.
    pub(crate) async fn deliver(&self, workflow: WorkflowType) -> Run {
        let message = self.tester.queue.take(workflow).expect("a message is due");
        self.tester.go_on(message.body.run_id()).await.unwrap()
    }

    /// Moves time to this moment.
    pub(crate) fn move_to(&self, at: Timestamp) {
        let wait = Duration::try_from(at.duration_since(self.tester.clock.now())).expect("time only goes forward");
        self.tester.clock.advance(wait);
    }
}

/// The address of a run, or of something of it: `/cancel`.
pub(crate) fn path_of(run: RunId, what: &str) -> String {
    format!("/workflow/runs/{run}{what}")
}

pub(crate) fn with_header(mut request: Request<Body>, name: &'static str, value: &str) -> Request<Body> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

/// A tester whose tasks follow this plan.
pub(crate) fn planned(steps: &Value) -> WorkflowTester {
    let mut definitions = embedded::definitions().unwrap();
    definitions.retain(|definition| definition.workflow != WorkflowType::TaskAutomation);
    let pinned = json!({"workflow": "task_automation", "version": 1, "plan": {"steps": steps},
        "recipients": {"boss": "boss@example.com"}});
    definitions.push(Definition::parse(&pinned.to_string()).unwrap());
    WorkflowTester::with_definitions(definitions)
}

pub(crate) fn process(user: &str, body: impl Into<Body>) -> Request<Body> {
    process_in(user, "staff", body)
}

pub(crate) fn process_in(user: &str, groups: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post("/workflow/process").header("content-type", "application/json");
    with_token(request.body(body.into()).unwrap(), user, groups)
}

pub(crate) fn with_token(request: Request<Body>, user: &str, groups: &str) -> Request<Body> {
    let groups: Vec<&str> = groups.split(',').filter(|group| !group.is_empty()).collect();
    let token = MemoryIssuer::token(user, &groups);
    with_claims(with_header(request, "authorization", &format!("Bearer {token}")), user)
}

/// The request as the authorizer passes it on, whatever stands in it.
pub(crate) fn with_claims(request: Request<Body>, user: &str) -> Request<Body> {
    let mut jwt = ApiGatewayRequestAuthorizerJwtDescription::default();
    jwt.claims = [("sub".to_owned(), user.to_owned())].into_iter().collect();
    let mut authorizer = ApiGatewayRequestAuthorizer::default();
    authorizer.jwt = Some(jwt);
    let mut context = ApiGatewayV2httpRequestContext::default();
    context.authorizer = Some(authorizer);
    request.with_request_context(RequestContext::ApiGatewayV2(context))
}

pub(crate) fn task() -> Value {
    json!({"type": "task_automation", "data": {"id": "t", "description": "Tidy up the archive."}})
}

pub(crate) fn email() -> Value {
    json!({"type": "email_processing",
        "data": {"id": "test123", "from": "user@example.com", "content": "Test email content"}})
}

#[tokio::test]
async fn a_workflow_answers_with_its_result_and_its_run_can_be_looked_up() {
    let front = Front::new();
    let served = front.post(&email()).await;
    assert_eq!(served.status, StatusCode::OK);
    assert_eq!(served.body["status"], "success");
    assert_eq!(served.body["result"]["response_generated"], true);

    let path = format!("/workflow/runs/{}", served.body["run_id"].as_str().unwrap());
    let run = front.get("alice", "", &path).await.body;
    assert_eq!((&run["status"], &run["data_id"]), (&json!("succeeded"), &json!("test123")));
    let names: Vec<&str> = run["steps"].as_array().unwrap().iter().map(|step| step["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["analyze_email", "generate_response", "send_response", "update_email_tracking"]);

    let listed = front.get("alice", "", "/workflow/runs?type=email_processing&status=succeeded").await.body;
    assert_eq!(listed["runs"][0]["run_id"], served.body["run_id"]);
}

#[tokio::test]
async fn a_caller_who_prefers_that_gets_the_runs_address_and_the_consumer_does_the_work() {
    let front = Front::new();
    let mut request = process("alice", email().to_string());
    request.headers_mut().insert("prefer", "respond-async".parse().unwrap());
    let served = front.send(request).await;
    assert_eq!(served.status, StatusCode::ACCEPTED);
    assert_eq!(served.header("preference-applied"), "respond-async");
    let location = served.headers["location"].to_str().unwrap();
    assert_eq!(location, format!("/workflow/runs/{}", served.body["run_id"].as_str().unwrap()));
    assert_eq!(front.get("alice", "", location).await.body["status"], "queued");
    let messages = front.tester.queue.messages(WorkflowType::EmailProcessing);
    assert_eq!(messages.len(), 1, "a run that waits in its queue needs no insurance");
    assert_eq!((messages[0].body.run_id(), messages[0].delay), (served.run_id(), Duration::ZERO));
}

/// Takes ten seconds for each of five steps, and notes those that it did.
struct Lengthy {
    clock: VirtualClock,
    done: Mutex<Vec<usize>>,
}

#[async_trait]
impl Workflow for Lengthy {
    fn workflow(&self) -> WorkflowType {
        WorkflowType::TaskAutomation
    }

    async fn execute(&self, run: &mut Context) -> Result<Value, Stop> {
        for number in 0..5 {
            run.step(&format!("step_{number}"), || async {
                self.clock.sleep(Duration::from_secs(10)).await;
                self.done.lock().unwrap().push(number);
                Ok(())
            })
            .await?;
        }
        Ok(json!("done"))
    }
}

#[tokio::test]
async fn a_call_that_gets_too_long_answers_with_the_runs_address_and_the_consumer_does_no_step_again() {
    let tester = Arc::new(WorkflowTester::new());
    let lengthy = Arc::new(Lengthy { clock: tester.clock.clone(), done: Mutex::default() });
    let worker = || tester.worker_with([lengthy.clone() as Arc<dyn Workflow>]);
    let front = Front::changed(tester.clone(), |api| api.worker = worker());
    let served = front.post(&task()).await;
    assert_eq!((served.status, &served.body["status"]), (StatusCode::ACCEPTED, &json!("queued")), "{}", served.text);
    assert_eq!(served.header("location"), path_of(served.run_id(), ""));
    assert_eq!(*lengthy.done.lock().unwrap(), [0, 1], "two steps fit into a call");

    let message = tester.queue.take(WorkflowType::TaskAutomation).expect("it is handed over at once");
    assert_eq!(message.body.run_id(), served.run_id());
    let deadline = Deadline::at(tester.clock.now() + Duration::from_secs(290));
    worker().resume(served.run_id(), deadline).await.unwrap();
    assert_eq!(front.show(served.run_id()).await["status"], "succeeded");
    assert_eq!(*lengthy.done.lock().unwrap(), [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn a_call_leaves_an_insurance_message_that_comes_after_its_lease() {
    let front = Front::new();
    front.post(&email()).await;
    let messages = front.tester.queue.messages(WorkflowType::EmailProcessing);
    assert_eq!(messages.len(), 1);
    assert!(messages[0].delay > front.tester.worker().lease());
}

#[tokio::test]
async fn a_run_that_waits_is_called_back_when_its_time_comes() {
    let month = 30 * 86_400;
    let front = Front::on(planned(&json!([{"id": "pause", "tool": "wait", "arguments": {"seconds": month}}])));
    let served = front.post(&json!({"type": "task_automation", "data": {"id": "t", "description": "Wait."}})).await;
    assert_eq!((served.status, &served.body["status"]), (StatusCode::ACCEPTED, &json!("waiting")));
    let messages = front.tester.queue.messages(WorkflowType::TaskAutomation);
    let wake_up = messages.iter().find(|message| message.delay == Duration::from_secs(month)).unwrap();
    assert_eq!(wake_up.body.run_id(), served.run_id());

    let shown = front.get("alice", "", served.header("location")).await.body;
    let due = front.tester.clock.now() + Duration::from_secs(month);
    assert_eq!(shown["due_at"], json!(due));
    let pause = shown["steps"].as_array().unwrap().iter().find(|step| step["kind"] == "wait").unwrap();
    assert_eq!((&pause["state"], &shown["callbacks"]), (&json!("waiting"), &json!([])), "a sleep asks nobody");
}

#[tokio::test]
async fn a_run_that_needs_attention_is_accepted_as_such() {
    let front = Front::new();
    front.tester.mailer.lose_next_answer(Failure::new(Kind::Timeout, "no answer"));
    let served = front.post(&email()).await;
    assert_eq!((served.status, &served.body["status"]), (StatusCode::ACCEPTED, &json!("attention")));
}

#[tokio::test]
async fn data_that_no_journal_can_hold_is_refused_with_its_place() {
    let front = Front::new();
    // What goes around the data in a request is one level more, so only an upload reaches this.
    let mut deep = json!(1);
    for _ in 0..126 {
        deep = json!([deep]);
    }
    let data = json!({"id": "t", "description": "x", "deep": deep});
    let served = front.post(&json!({"type": "task_automation", "data": data})).await;
    assert_eq!((served.status.as_u16(), served.problem()), (400, "malformed"), "{}", served.body);
}

#[tokio::test]
async fn every_bad_request_is_a_problem_that_names_the_place() {
    let front = Front::new();
    let cases: [(Request<Body>, u16, &str, &str); 9] = [
        (process("alice", "{\"type\":"), 400, "malformed", "line 1 column"),
        (process("alice", "[]"), 400, "malformed", "not a JSON object"),
        (process("alice", vec![0xff, 0xfe, b'{']), 400, "malformed", "not JSON"),
        (process("alice", "[".repeat(100_000)), 400, "malformed", "deeper than 64 levels"),
        (process("alice", "{}"), 422, "invalid", "`type`: is missing"),
        (process("alice", "{\"type\":\"mail\",\"data\":{}}"), 422, "invalid", "unknown workflow type `mail`"),
        (process("alice", "{\"type\":\"task_automation\"}"), 422, "invalid", "`data`: is missing"),
        (
            process(
                "alice",
                json!({"type": "email_processing", "data": {"id": "1", "from": "x", "content": "y"}}).to_string(),
            ),
            422,
            "invalid",
            "`data.from`",
        ),
        (process("alice", vec![b' '; MAX_BODY_BYTES + 1]), 413, "too-large", "/workflow/uploads"),
    ];
    for (request, status, name, detail) in cases {
        let served = front.send(request).await;
        assert_eq!(served.status.as_u16(), status, "{}", served.body);
        assert_eq!(served.body["type"], format!("urn:ihelper:problem:{name}"));
        assert_eq!(served.body["status"], status);
        assert!(served.body["detail"].as_str().unwrap().contains(detail), "{}", served.body);
        assert_eq!(served.headers["content-type"], "application/problem+json");
    }
    assert!(front.tester.journal.runs().is_empty(), "a refused request leaves no run");
}

#[tokio::test]
async fn a_request_is_refused_without_a_token_a_json_body_a_known_path_or_method() {
    let front = Front::new();
    let no_token = Request::post("/workflow/process").header("content-type", "application/json");
    let served = front.send(no_token.body(Body::from(email().to_string())).unwrap()).await;
    assert_eq!((served.status.as_u16(), served.headers["www-authenticate"].to_str().unwrap()), (401, "Bearer"));

    let form = Request::post("/workflow/process").header("content-type", "text/plain");
    let served = front.send(with_token(form.body(Body::from("a=b")).unwrap(), "alice", "")).await;
    assert_eq!(served.body["type"], "urn:ihelper:problem:unsupported-media-type");

    let served = front.get("alice", "", "/nowhere").await;
    assert_eq!((served.status.as_u16(), &served.body["type"]), (404, &json!("urn:ihelper:problem:not-found")));
    let served = front.get("alice", "", "/workflow/process").await;
    assert_eq!(served.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(front.get("alice", "", "/health").await.body["status"], "ok");
}

#[tokio::test]
async fn a_user_sees_their_own_runs_and_an_operator_sees_all() {
    let front = Front::new();
    let id = front.post(&email()).await.body["run_id"].as_str().unwrap().to_owned();
    let path = format!("/workflow/runs/{id}");
    assert_eq!(front.get("mallory", "staff", &path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(front.get("mallory", "staff", "/workflow/runs").await.body["runs"], json!([]));
    assert_eq!(front.get("olga", "operators,staff", &path).await.status, StatusCode::OK);
    assert_eq!(front.get("olga", "operators", "/workflow/runs").await.body["runs"][0]["run_id"], id);
    assert_eq!(front.get("olga", "operators", "/workflow/runs/not-an-id").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_run_that_fails_for_its_data_says_so_and_keeps_its_history() {
    let front = Front::new();
    let document = json!({"type": "document_review", "data": {"id": "d", "review_criteria": ["x"],
        "file": "s3://documents/documents/none.txt"}});
    let served = front.send(process_in("olga", "operators", document.to_string())).await;
    assert_eq!(served.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!((&served.body["kind"], &served.body["step"]), (&json!("not_found"), &json!("extract_content")));
    let path = format!("/workflow/runs/{}", served.body["run_id"].as_str().unwrap());
    assert_eq!(front.get("olga", "", &path).await.body["error"]["step"], "extract_content");

    let served = front.post(&document).await;
    assert_eq!(served.body["type"], "urn:ihelper:problem:forbidden", "only operators read what lies in a bucket");
}

#[tokio::test]
async fn a_group_whose_name_contains_another_is_not_that_group() {
    let front = Front::new();
    let id = front.post(&email()).await.body["run_id"].as_str().unwrap().to_owned();
    let path = format!("/workflow/runs/{id}");
    assert_eq!(front.get("mallory", "ex operators", &path).await.status, StatusCode::NOT_FOUND);
}
