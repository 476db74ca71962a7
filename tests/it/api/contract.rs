//! The document says what the API does: every answer of these tests is held against it ([`check`]), and it is the one in
//! `docs/openapi.json`.
//!
//! A change that is meant is taken over by `UPDATE_CONTRACT=1`.

use std::{
    collections::BTreeSet,
    fs,
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use http::{Method, Request, StatusCode, header};
use ihelper_runtime::settings::AuthMode;
use ihelper_testkit::WorkflowTester;
use ihelper_workflow::ports::Clock;
use jiff::Timestamp;
use jsonschema::Validator;
use serde_json::{Value, json};

use super::{Front, Served, email, path_of, process, with_header, with_token};

static CONTRACT: LazyLock<Value> = LazyLock::new(|| {
    let mut contract = api_process::contract();
    close(&mut contract["components"]["schemas"]);
    contract
});

/// Has every object take the fields that it names and no others: what is answered without being told is a fault here.
fn close(schemas: &mut Value) {
    for schema in schemas.as_object_mut().unwrap().values_mut() {
        close_object(schema);
    }
}

fn close_object(schema: &mut Value) {
    let is_open = schema.get("additionalProperties").is_none() && schema.get("oneOf").is_none();
    if schema.get("properties").is_some() && is_open {
        schema["additionalProperties"] = json!(false);
    }
    let kinds = schema.get_mut("oneOf").and_then(Value::as_array_mut).into_iter().flatten();
    for kind in kinds.filter(|kind| kind["type"] == "object") {
        close_object(kind);
    }
}

/// The operation of a method at a path, by the templates of paths.
fn operation(method: &Method, path: &str) -> Option<&'static Value> {
    let paths = CONTRACT["paths"].as_object().unwrap();
    let (_, item) = paths.iter().find(|(template, _)| is_of(template, path))?;
    item.get(method.as_str().to_lowercase())
}

fn is_of(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    template.len() == path.len()
        && template.iter().zip(&path).all(|(wanted, part)| wanted.starts_with('{') || wanted == part)
}

/// Holds an answer against the contract: its status, its media type, its body and its header fields.
pub(super) fn check(method: &Method, path: &str, served: &Served) {
    let Some(operation) = operation(method, path) else {
        assert!(
            path == api_process::CONTRACT_PATH || served.status.is_client_error() || served.status.is_success(),
            "{method} {path} is in no contract and answered {}",
            served.status
        );
        return;
    };
    let told = &operation["responses"][served.status.as_str()];
    assert!(told.is_object(), "{method} {path}: {} is not in the contract: {}", served.status, served.text);
    let media_type = served.header("content-type").split(';').next().unwrap();
    let content = &told["content"][media_type];
    assert!(content.is_object(), "{method} {path}: {} as `{media_type}` is not in the contract", served.status);
    if media_type.ends_with("json") {
        let problems = problems(&content["schema"], &served.body);
        assert!(problems.is_empty(), "{method} {path}: {problems:?} in {}", served.text);
    }
    for name in ["location", "retry-after", "www-authenticate", "preference-applied", "cache-status", "etag", "age"] {
        let is_told =
            told["headers"].as_object().is_some_and(|told| told.keys().any(|told| told.eq_ignore_ascii_case(name)));
        assert!(served.headers.get(name).is_none() || is_told, "{method} {path}: `{name}` is not in the contract");
    }
}

fn problems(schema: &Value, body: &Value) -> Vec<String> {
    let validator = validator(schema);
    validator.iter_errors(body).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

/// A schema of the contract, with the components that it refers to.
fn validator(schema: &Value) -> Validator {
    let whole = json!({ "components": { "schemas": CONTRACT["components"]["schemas"] }, "allOf": [schema] });
    jsonschema::draft202012::options().should_validate_formats(true).build(&whole).unwrap()
}

#[test]
fn the_committed_document_is_the_one_that_the_api_gives() {
    let path = format!("{}/../../docs/openapi.json", env!("CARGO_MANIFEST_DIR"));
    let given = format!("{:#}\n", api_process::contract());
    if std::env::var_os("UPDATE_CONTRACT").is_some() {
        fs::write(&path, given).unwrap();
        return;
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == given,
        "docs/openapi.json is another one; if that is meant, `UPDATE_CONTRACT=1` writes it anew"
    );
}

#[tokio::test]
async fn anybody_can_read_the_document() {
    let front = Front::new();
    let request = Request::get("/openapi.json").body(axum::body::Body::empty()).unwrap();
    let served = front.send(request).await;
    assert_eq!((served.status, served.header("content-type")), (StatusCode::OK, "application/json"));
    assert_eq!(served.body, api_process::contract());
    assert!(served.body["openapi"].as_str().unwrap().starts_with("3.1."));
    assert_eq!(served.header("cache-control"), "public, max-age=3600");
}

#[tokio::test]
async fn what_the_document_tells_is_served_and_nothing_else_is() {
    let front = Front::changed(Arc::new(WorkflowTester::new()), |api| api.auth_mode = AuthMode::Off);
    for (template, item) in CONTRACT["paths"].as_object().unwrap() {
        let path = template.replace("{type}", "email_processing").replace(['{', '}'], "");
        for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::PATCH] {
            let is_told = item.get(method.as_str().to_lowercase()).is_some();
            let request = Request::builder().method(&method).uri(&path).body(axum::body::Body::empty()).unwrap();
            let served = front.send(request).await;
            let is_served = served.status != StatusCode::METHOD_NOT_ALLOWED && !served.text.contains("no such path");
            assert_eq!(is_served, is_told, "{method} {template}: {} {}", served.status, served.text);
        }
    }
}

#[test]
fn every_example_is_an_instance_of_its_schema() {
    let mut examples = 0;
    let mut wrong = Vec::new();
    for (path, item) in CONTRACT["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let answers = operation["responses"].as_object().unwrap().values();
            let bodies = answers.chain(operation.get("requestBody"));
            let contents = bodies.flat_map(|body| body["content"].as_object().into_iter().flatten());
            for (_, content) in contents {
                let several = content["examples"].as_object().into_iter().flat_map(|examples| examples.values());
                for example in several.map(|example| &example["value"]).chain(content.get("example")) {
                    examples += 1;
                    let problems = problems(&content["schema"], example);
                    if !problems.is_empty() {
                        wrong.push(format!("{method} {path}: {problems:?} in {example}"));
                    }
                }
            }
        }
    }
    assert!(examples > 100, "only {examples} examples were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_operation_says_who_may_call_it_and_what_can_go_wrong() {
    let mut ids = BTreeSet::new();
    for (path, item) in CONTRACT["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id), "{id} is there twice");
            assert!(operation["summary"].is_string(), "{method} {path} says nothing");
            let answers = operation["responses"].as_object().unwrap();
            assert!(answers.contains_key("500") && answers.contains_key("503"), "{method} {path}");
            let needs_token = operation["security"][0].get("bearer").is_some();
            assert_eq!(answers.contains_key("401"), needs_token, "{method} {path}");
            if operation.get("requestBody").is_some() {
                for status in ["400", "413", "415", "422"] {
                    assert!(answers.contains_key(status), "{method} {path} has a body and no {status}");
                }
            }
        }
    }
}

#[tokio::test]
async fn every_answer_is_kept_from_caches_frames_and_guesses() {
    let front = Front::new();
    let run = front.post(&email()).await.run_id();
    let answers = [
        front.get("alice", "", &path_of(run, "")).await,
        front.get("alice", "", "/workflow/runs/nothing").await,
        front.get("alice", "", "/nowhere").await,
        front.send(Request::get(path_of(run, "")).body(axum::body::Body::empty()).unwrap()).await,
        front.get("", "", &path_of(run, "/callbacks/x?token=y")).await,
    ];
    for served in answers {
        let expected = [
            ("cache-control", "no-store"),
            ("referrer-policy", "no-referrer"),
            ("strict-transport-security", "max-age=31536000"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
        ];
        for (name, value) in expected {
            assert_eq!(served.header(name), value, "{name} of {}", served.text);
        }
        assert!(served.header("content-security-policy").starts_with("default-src 'none'"), "{}", served.text);
    }
}

#[tokio::test]
async fn a_request_that_brings_too_much_is_refused_before_anybody_looks_at_it() {
    let front = Front::new();
    let many = (0..=api_process::MOST_HEADERS)
        .fold(Request::get("/workflow/runs"), |request, number| request.header(format!("x-{number}"), "1"));
    let served = front.send(many.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!((served.status.as_u16(), served.problem()), (431, "headers-too-large"));
    let large = "x".repeat(api_process::MOST_HEADER_BYTES);
    let served = front.send(with_header(process("alice", email().to_string()), "x-large", &large)).await;
    assert_eq!((served.status.as_u16(), served.problem()), (431, "headers-too-large"));
    let served =
        front.get("alice", "", &format!("/workflow/runs?type={}", "x".repeat(api_process::LONGEST_ADDRESS))).await;
    assert_eq!((served.status.as_u16(), served.problem()), (414, "address-too-long"));
    assert!(front.tester.journal.runs().is_empty(), "a refused request leaves no run");
}

#[tokio::test]
async fn what_could_be_read_in_two_ways_is_read_in_none() {
    let front = Front::new();
    let twice =
        r#"{"type": "email_processing", "data": {"id": "1", "from": "a@b.example", "content": "x", "id": "2"}}"#;
    let served = front.send(process("alice", twice)).await;
    assert_eq!((served.status.as_u16(), served.problem()), (400, "malformed"), "{}", served.text);
    let detail = served.body["detail"].as_str().unwrap();
    assert!(detail.contains("in `data`") && detail.contains("`id` is there twice"), "{detail}");
    for path in
        ["/workflow/runs?limit=1&limit=2", "/workflow/dead-letters?type=task_automation&%74ype=email_processing"]
    {
        let served = front.get("olga", "operators", path).await;
        assert_eq!((served.status.as_u16(), served.problem()), (400, "malformed"), "{}", served.text);
        assert!(served.body["detail"].as_str().unwrap().ends_with("is there twice"), "{}", served.text);
    }
    let served = front.get("olga", "operators", &format!("/workflow/runs?{}", "a=1&".repeat(21))).await;
    assert!(served.body["detail"].as_str().unwrap().contains("more than 20 parameters"), "{}", served.text);
    let run = front.post(&email()).await.run_id();
    let served = front.get("", "", &path_of(run, "/callbacks/x?token=a&token=b")).await;
    assert_eq!(served.status, StatusCode::BAD_REQUEST, "{}", served.text);
    assert!(!served.text.contains("token=a"));
}

#[tokio::test]
async fn a_method_that_a_path_does_not_have_is_answered_with_those_that_it_has() {
    let front = Front::new();
    let request = Request::delete("/workflow/runs").body(axum::body::Body::empty()).unwrap();
    let served = front.send(with_token(request, "alice", "")).await;
    assert_eq!((served.status.as_u16(), served.problem()), (405, "method-not-allowed"));
    assert_eq!(served.header("allow"), "GET,HEAD");
}

/// A clock that says more than it should, in the middle of a request.
struct Broken;

#[async_trait]
impl Clock for Broken {
    fn now(&self) -> Timestamp {
        panic!("the table `runs` at 10.0.0.7 has no hands")
    }

    async fn sleep(&self, _: Duration) {}
}

#[tokio::test]
async fn a_fault_of_ours_is_answered_with_the_same_words_whatever_it_was() {
    let front = Front::changed(WorkflowTester::new().into(), |api| api.clock = Arc::new(Broken));
    let panicked = front.post(&email()).await;
    let expected = json!({"type": "urn:ihelper:problem:internal", "title": "Something went wrong on our side",
        "status": 500});
    assert_eq!((panicked.status.as_u16(), &panicked.body), (500, &expected));
    assert_eq!(panicked.header("x-content-type-options"), "nosniff");
    assert_eq!(front.get("", "", "/health").await.status, StatusCode::OK, "the next call finds everything as it was");
}

/// What a browser asks before a page of this origin calls.
fn preflight(origin: &str) -> Request<axum::body::Body> {
    Request::options("/workflow/process")
        .header(header::ORIGIN, origin)
        .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST")
        .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "authorization,content-type,idempotency-key")
        .body(axum::body::Body::empty())
        .unwrap()
}

#[tokio::test]
async fn pages_of_named_origins_may_call_and_no_others() {
    let allowed = "https://app.example.com";
    let front = Front::changed(WorkflowTester::new().into(), |api| api.origins = vec![allowed.parse().unwrap()]);
    let served = front.send(preflight(allowed)).await;
    assert_eq!((served.status, served.header("access-control-allow-origin")), (StatusCode::OK, allowed));
    assert!(served.header("access-control-allow-headers").contains("idempotency-key"));
    assert!(served.header("access-control-allow-credentials").is_empty(), "no cookie counts here");
    let served = front.send(with_header(process("alice", email().to_string()), "origin", allowed)).await;
    assert_eq!((served.status, served.header("access-control-allow-origin")), (StatusCode::OK, allowed));
    assert!(served.header("access-control-expose-headers").contains("location"));
    let refused = with_header(process("alice", "{}"), "origin", allowed);
    assert_eq!(
        front.send(refused).await.header("access-control-allow-origin"),
        allowed,
        "a page can read what is wrong"
    );

    let others = ["https://app.example.com.evil.example", "http://app.example.com", "https://evil.example", "null"];
    for origin in others {
        assert_eq!(front.send(preflight(origin)).await.header("access-control-allow-origin"), "", "{origin}");
        let served = front.send(with_header(process("alice", "{}"), "origin", origin)).await;
        assert_eq!(served.header("access-control-allow-origin"), "", "{origin}");
    }
}

#[tokio::test]
async fn no_page_of_another_site_may_call_unless_somebody_said_so() {
    let front = Front::new();
    let served = front.send(preflight("https://app.example.com")).await;
    assert_eq!(served.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(served.headers.keys().all(|name| !name.as_str().starts_with("access-control")), "{:?}", served.headers);
}
