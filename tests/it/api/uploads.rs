//! What is too large for a request or for an answer.

use std::collections::BTreeMap;

use api_process::{MAX_ANSWER_BYTES, MAX_BODY_BYTES};
use axum::body::Body;
use http::{Request, StatusCode};
use ihelper_testkit::{WorkflowTester, contracts::uploads::Outside as _};
use ihelper_workflow::{
    domain::WorkflowType,
    ports::{Clock as _, Handout, LARGEST_DATA, Offer, Uploads as _},
};
use serde_json::{Value, json};

use super::{Front, Served, email, path_of, planned, process, process_in, task, with_token};

const PATH: &str = "/workflow/uploads";

impl Front {
    /// Leaves a body at an address that the API gives, and gives the upload's id.
    async fn upload(&self, user: &str, body: Vec<u8>) -> String {
        let served = self.post_to(user, "staff", PATH, &json!({"bytes": body.len()})).await;
        assert_eq!(served.status, StatusCode::CREATED, "{}", served.text);
        assert_eq!((&served.body["method"], &served.body["max_bytes"]), (&json!("PUT"), &json!(body.len())));
        assert!(self.tester.uploads.put(&offer_of(&served.body), body).await);
        served.body["upload_id"].as_str().unwrap().to_owned()
    }

    async fn process_upload(&self, user: &str, workflow: &str, id: &str) -> Served {
        self.send(process(user, json!({"type": workflow, "upload_id": id}).to_string())).await
    }

    /// Fetches a field that was too large for an answer.
    async fn fetch(&self, body: &Value, field: &str) -> Value {
        assert_eq!(body[field], Value::Null, "`{field}` is in the answer");
        let handout = Handout {
            url: body[format!("{field}_url")].as_str().unwrap().to_owned(),
            expires_at: body[format!("{field}_expires_at")].as_str().unwrap().parse().unwrap(),
        };
        assert!(handout.expires_at > self.tester.clock.now());
        serde_json::from_slice(&self.tester.uploads.get(&handout).await.unwrap()).unwrap()
    }
}

fn offer_of(body: &Value) -> Offer {
    let headers: BTreeMap<String, String> = serde_json::from_value(body["headers"].clone()).unwrap();
    Offer {
        url: body["url"].as_str().unwrap().to_owned(),
        headers,
        expires_at: body["expires_at"].as_str().unwrap().parse().unwrap(),
    }
}

/// Keeps the task's field `blob`, so that it stands in the result.
fn keeps_blob() -> WorkflowTester {
    planned(&json!([{"id": "keep", "tool": "set_record",
        "arguments": {"name": "blob", "value": "{{ task.blob }}"}}]))
}

fn task_with(blob: &str) -> Value {
    json!({"id": "t", "description": "Keep it.", "blob": blob})
}

/// A quote takes a byte, two in JSON, and four inside a response of Lambda: so many of them fit into a request and
/// not into an answer.
fn quotes() -> String {
    "\"".repeat(MAX_ANSWER_BYTES / 4)
}

#[tokio::test]
async fn data_that_no_request_holds_is_left_at_an_address_and_worked_on_by_its_id() {
    let front = Front::on(keeps_blob());
    let data = task_with(&"x".repeat(MAX_BODY_BYTES));
    let refused = front.post(&json!({"type": "task_automation", "data": data})).await;
    assert_eq!((refused.status.as_u16(), refused.problem()), (413, "too-large"));
    assert_eq!(refused.body["upload"], PATH, "the refusal names the way");

    let id = front.upload("alice", data.to_string().into_bytes()).await;
    let served = front.process_upload("alice", "task_automation", &id).await;
    assert_eq!((served.status, &served.body["status"]), (StatusCode::OK, &json!("success")), "{:.500}", served.text);
    assert_eq!(front.tester.run(served.run_id()).await.unwrap().input, data);
    let result = front.fetch(&served.body, "result").await;
    assert_eq!(result["steps"][0]["output"]["value"], data["blob"]);
}

#[tokio::test]
async fn an_upload_is_worked_on_as_the_same_data_in_a_request_would_be() {
    let front = Front::new();
    let id = front.upload("alice", email()["data"].to_string().into_bytes()).await;
    let served = front.process_upload("alice", "email_processing", &id.to_lowercase()).await;
    assert_eq!((served.status, &served.body["result"]["response_generated"]), (StatusCode::OK, &json!(true)));
    let equal = front.post(&email()).await;
    assert_eq!(equal.run_id(), served.run_id(), "an equal request gets its result");
}

#[tokio::test]
async fn an_upload_of_somebody_else_looks_like_none() {
    let front = Front::new();
    let id = front.upload("alice", email()["data"].to_string().into_bytes()).await;
    let offered = front.post_to("alice", "staff", PATH, &json!({"bytes": 10})).await.body["upload_id"].clone();
    let nothing = front.process_upload("mallory", "email_processing", "01ARZ3NDEKTSV4RRFFQ69G5FAV").await;
    assert_eq!((nothing.status.as_u16(), nothing.problem()), (422, "invalid"));
    assert_eq!(
        nothing.body["errors"],
        json!([{"field": "upload_id", "problem": "nothing was uploaded under this id"}])
    );
    for (user, groups, id) in [
        ("mallory", "staff", id.as_str()),
        ("olga", "operators", id.as_str()),
        ("alice", "staff", offered.as_str().unwrap()),
        ("alice", "staff", ""),
        ("alice", "staff", "../user:alice"),
        ("alice", "staff", &"x".repeat(10_000)),
    ] {
        let body = json!({"type": "email_processing", "upload_id": id}).to_string();
        let served = front.send(process_in(user, groups, body)).await;
        assert_eq!((served.status, &served.text), (nothing.status, &nothing.text), "{user}, `{id:.40}`");
    }
    assert!(front.tester.journal.runs().is_empty());
    assert_eq!(front.process_upload("alice", "email_processing", &id).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_place_is_offered_for_one_byte_to_32_mib_and_to_callers_only() {
    let front = Front::new();
    for bytes in [1, LARGEST_DATA] {
        assert_eq!(front.post_to("alice", "staff", PATH, &json!({"bytes": bytes})).await.status, StatusCode::CREATED);
    }
    for bytes in [json!(0), json!(LARGEST_DATA + 1), json!(-1), json!(1.5), json!("7"), json!(1e300), Value::Null] {
        let served = front.post_to("alice", "staff", PATH, &json!({"bytes": bytes})).await;
        assert_eq!((served.status.as_u16(), served.problem()), (422, "invalid"), "{bytes}: {}", served.text);
        assert_eq!(served.body["errors"][0]["field"], "bytes", "{}", served.text);
    }
    for (body, field) in [(json!({}), "bytes"), (json!({"bytes": 1, "name": "x"}), "name")] {
        let served = front.post_to("alice", "staff", PATH, &body).await;
        assert_eq!((served.status.as_u16(), &served.body["errors"][0]["field"]), (422, &json!(field)));
    }
    let request = Request::post(PATH).header("content-type", "application/json");
    let served = front.send(request.body(Body::from("{\"bytes\":1}")).unwrap()).await;
    assert_eq!(served.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn no_two_uploads_share_an_id() {
    let front = Front::new();
    let offer = async || front.post_to("alice", "staff", PATH, &json!({"bytes": 1})).await.body["upload_id"].clone();
    assert_ne!(offer().await, offer().await);
}

#[tokio::test]
async fn an_upload_of_more_than_32_mib_is_refused() {
    let front = Front::new();
    let id = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    let body = vec![b' '; LARGEST_DATA as usize + 1];
    // The API offers no such place: this stands for a store that took more than it was told to.
    let offer = front.tester.uploads.offer("user:alice", id, body.len() as u64).await.unwrap();
    assert!(front.tester.uploads.put(&offer, body).await);
    let served = front.process_upload("alice", "task_automation", id).await;
    assert_eq!((served.status.as_u16(), served.problem()), (413, "too-large"));
    assert!(served.body["detail"].as_str().unwrap().contains(&LARGEST_DATA.to_string()), "{}", served.text);
    assert_eq!(served.body["upload"], Value::Null, "there is no way for more");
    assert!(front.tester.journal.runs().is_empty());
}

#[tokio::test]
async fn an_upload_that_is_not_json_is_refused_with_the_place() {
    let front = Front::new();
    for (body, wrong, place) in [
        (b"{\"id\": \"t\",\n \"description\": my secret}".to_vec(), "not JSON", "line 2 column"),
        (b"{\"id\": [1,".to_vec(), "not JSON", "line 1 column 10"),
        (vec![0xff, 0xfe, b'{'], "not JSON", "line 1 column 1"),
        ("[".repeat(100_000).into_bytes(), "nests deeper than 64 levels", "line 1 column 65"),
        (b"{\"id\": \"secret\", \"id\": \"t\"}".to_vec(), "the field `id` is there twice", "line 1 column 21"),
    ] {
        let id = front.upload("alice", body).await;
        let served = front.process_upload("alice", "task_automation", &id).await;
        assert_eq!((served.status.as_u16(), served.problem()), (422, "invalid"), "{}", served.text);
        let error = &served.body["errors"][0];
        assert_eq!(error["field"], "upload_id");
        let problem = error["problem"].as_str().unwrap();
        assert!(problem.contains(wrong) && problem.contains(place), "{problem}");
        assert!(!served.text.contains("secret"));
    }
}

#[tokio::test]
async fn an_upload_that_its_workflow_does_not_accept_is_refused_with_the_field() {
    let front = Front::new();
    let id = front.upload("alice", json!({"id": "1", "from": "x", "content": "y"}).to_string().into_bytes()).await;
    let served = front.process_upload("alice", "email_processing", &id).await;
    assert_eq!((served.status.as_u16(), &served.body["errors"][0]["field"]), (422, &json!("data.from")));

    let document = json!({"id": "d", "review_criteria": ["x"], "file": "s3://documents/documents/none.txt"});
    let id = front.upload("alice", document.to_string().into_bytes()).await;
    let served = front.process_upload("alice", "document_review", &id).await;
    assert_eq!((served.status.as_u16(), served.problem()), (403, "forbidden"), "an upload is no way around that");
}

#[tokio::test]
async fn a_request_has_its_data_or_an_uploads_id_and_not_both() {
    let front = Front::new();
    let id = front.upload("alice", email()["data"].to_string().into_bytes()).await;
    let mut both = email();
    both["upload_id"] = json!(id);
    for body in [both, json!({"type": "email_processing", "upload_id": 7})] {
        let served = front.post(&body).await;
        assert_eq!((served.status.as_u16(), &served.body["errors"][0]["field"]), (422, &json!("upload_id")));
    }
    assert!(front.tester.journal.runs().is_empty());
}

#[tokio::test]
async fn a_result_that_no_answer_holds_is_handed_out_by_its_url_each_time() {
    let front = Front::on(keeps_blob());
    let body = json!({"type": "task_automation", "data": task_with(&quotes())});
    let served = front.post(&body).await;
    assert_eq!((served.status, &served.body["status"]), (StatusCode::OK, &json!("success")), "{:.500}", served.text);
    assert!(served.text.len() < 10_000);
    let result = front.fetch(&served.body, "result").await;
    assert_eq!(result["steps"][0]["output"]["value"], json!(quotes()));

    let again = front.post(&body).await;
    assert_eq!(again.run_id(), served.run_id());
    assert_ne!(again.body["result_url"], served.body["result_url"]);
    assert_eq!(front.fetch(&again.body, "result").await, result);

    let shown = front.show(served.run_id()).await;
    assert_eq!(front.fetch(&shown, "result").await, result);
    assert_eq!(shown["steps"][0]["name"], "keep", "what fits stays in the answer");
}

#[tokio::test]
async fn a_result_that_an_answer_holds_is_in_it() {
    let front = Front::on(keeps_blob());
    let blob = "\"".repeat(MAX_ANSWER_BYTES / 4 - 2048);
    let served = front.post(&json!({"type": "task_automation", "data": task_with(&blob)})).await;
    assert_eq!(served.body["result"]["steps"][0]["output"]["value"], json!(blob));
    assert_eq!(served.body["result_url"], Value::Null);
    assert!(json!(served.text).to_string().len() - 2 <= MAX_ANSWER_BYTES, "it fits into Lambda's response");
}

#[tokio::test]
async fn where_no_upload_helps_a_body_that_is_too_large_names_none() {
    let front = Front::new();
    let run = front.post(&task()).await.run_id();
    for path in [path_of(run, "/retry"), PATH.to_owned(), "/workflow/dead-letters/redrive".to_owned()] {
        let request = Request::post(&path).header("content-type", "application/json");
        let request = request.body(Body::from(vec![b' '; MAX_BODY_BYTES + 1])).unwrap();
        let served = front.send(with_token(request, "olga", "operators")).await;
        assert_eq!((served.status.as_u16(), served.problem()), (413, "too-large"), "{path}");
        assert_eq!(served.body["upload"], Value::Null, "{path}");
    }
    assert_eq!(front.tester.queue.messages(WorkflowType::TaskAutomation).len(), 1, "the insurance of the first run");
}
