//! Each workflow, by each trigger.

use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::bundle::{Bundle, email, token, unique};

const PDF: &[u8] = include_bytes!("../../infra/local/samples/services-agreement.pdf");
const MAIL: &[u8] = include_bytes!("../../infra/local/samples/question.eml");

fn task(id: &str) -> Value {
    json!({"id": id, "description": "Collect the figures. Then notify the team."})
}

#[tokio::test]
async fn the_api_runs_each_workflow_and_answers_with_its_result() {
    let bundle = Bundle::connect();
    let document = json!({"id": unique("d"), "review_criteria": ["The agreement can be terminated with notice."],
        "file": {"name": "agreement.pdf", "content": STANDARD.encode(PDF)}});
    let mail = json!({"id": unique("m"), "raw": STANDARD.encode(MAIL)});
    for (workflow, data) in
        [("email_processing", mail), ("document_review", document), ("task_automation", task(&unique("t")))]
    {
        let answer = bundle.post("/workflow/process", &[], &json!({"type": workflow, "data": data})).await;
        assert_eq!(answer.status, 200, "{workflow}: {}", answer.body);
        assert_eq!(answer.body["result"]["status"], "success", "{}", answer.body);
        assert_eq!(answer.body["result"]["model"], "rules");
        let run = bundle.get(&format!("/workflow/runs/{}", answer.body["run_id"].as_str().unwrap())).await;
        assert_eq!(run.body["status"], "succeeded");
        assert!(run.body["steps"].as_array().unwrap().len() >= 3, "{}", run.body);
    }
}

#[tokio::test]
async fn a_run_that_the_caller_does_not_wait_for_goes_on_in_the_consumer() {
    let bundle = Bundle::connect();
    let body = json!({"type": "email_processing", "data": email(&unique("m"))});
    let answer = bundle.post("/workflow/process", &[("prefer", "respond-async")], &body).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let run = bundle.ended(&answer.location.unwrap()).await;
    assert_eq!((&run["status"], &run["result"]["response_generated"]), (&json!("succeeded"), &json!(true)));
}

#[tokio::test]
async fn a_message_of_any_producer_becomes_a_run() {
    let bundle = Bundle::connect();
    let (mail, document, task_id) = (unique("m"), unique("d"), unique("t"));
    let review = json!({"id": document, "file": {"text": "Notice is thirty days."}, "review_criteria": ["notice"]});
    for (workflow, id, data) in [
        ("email_processing", &mail, email(&mail)),
        ("document_review", &document, review),
        ("task_automation", &task_id, task(&task_id)),
    ] {
        bundle.send_message(workflow, &json!({"type": workflow, "data": data}).to_string()).await;
        let run = bundle.run_on(workflow, id).await;
        assert_eq!((&run["status"], &run["origin"]["trigger"]), (&json!("succeeded"), &json!("queue")), "{run}");
    }
}

#[tokio::test]
async fn an_event_of_the_bus_becomes_one_run_however_often_it_is_published() {
    let bundle = Bundle::connect();
    let id = unique("t");
    let cloud_event = json!({"specversion": "1.0", "id": id, "source": "/crm", "type": "task_assigned",
        "time": "2026-01-01T00:00:00Z", "data": task(&id)});
    for _ in 0..2 {
        let entry = PutEventsRequestEntry::builder()
            .event_bus_name(bundle.bus())
            .source("crm.example")
            .detail_type("CloudEvent")
            .detail(cloud_event.to_string())
            .build();
        bundle.events.put_events().entries(entry).send().await.unwrap();
    }
    let run = bundle.wait("the run of the event", async || {
        // The run's time is the event's own, so it is not among the newest.
        let runs = bundle.get("/workflow/runs?type=task_automation&limit=100&status=succeeded").await.body;
        runs["runs"].as_array().unwrap().iter().find(|run| run["data_id"] == id.as_str()).cloned()
    });
    assert_eq!(run.await["trigger"], "event");
    assert_eq!(bundle.runs_on("task_automation", &id).await.len(), 1);
}

#[tokio::test]
async fn stored_mail_and_documents_become_runs() {
    let bundle = Bundle::connect();
    let (mail, document) = (unique("m"), format!("{}.pdf", unique("d")));
    let put = |bucket: &str, key: String, body: &'static [u8]| {
        bundle.s3.put_object().bucket(bundle.bucket(bucket)).key(key).body(body.to_vec().into())
    };
    put("mail", format!("mail/{mail}"), MAIL).send().await.unwrap();
    let criteria = json!(["The agreement can be terminated with notice."]).to_string();
    put("documents", format!("documents/{document}"), PDF).metadata("review-criteria", criteria).send().await.unwrap();

    let run = bundle.run_on("email_processing", &mail).await;
    assert_eq!((&run["status"], &run["origin"]["trigger"]), (&json!("succeeded"), &json!("event")), "{run}");
    let run = bundle.run_on("document_review", &document).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    assert_eq!(run["result"]["format"], "pdf");
    let quotation = &run["result"]["findings"][0]["quotations"][0];
    assert!(quotation["section"].as_str().unwrap().starts_with("page "), "{run}");
}

#[tokio::test]
async fn the_api_turns_away_who_has_no_token_and_hides_the_runs_of_others() {
    let bundle = Bundle::connect();
    assert_eq!(bundle.anonymously("/workflow/runs").await.status, 401);
    assert_eq!(bundle.get_with("not.a.token", "/workflow/runs").await.status, 401);
    assert_eq!(bundle.anonymously("/health").await.body["status"], "ok");

    let body = json!({"type": "email_processing", "data": email(&unique("m"))});
    let run = bundle.post("/workflow/process", &[], &body).await.body["run_id"].as_str().unwrap().to_owned();
    let path = format!("/workflow/runs/{run}");
    assert_eq!(bundle.get_with(&token("mallory", "staff"), &path).await.status, 404);
    assert_eq!(bundle.get_with(&token("otto", "staff,operators"), &path).await.status, 200);
}

#[tokio::test]
async fn a_bad_request_is_a_problem_that_names_the_place() {
    let bundle = Bundle::connect();
    for (body, status, detail) in [
        ("{\"type\":", 400, "line 1 column"),
        ("{\"type\":\"mail\",\"data\":{}}", 422, "unknown workflow type"),
        ("{\"type\":\"email_processing\",\"data\":{\"id\":\"1\",\"from\":\"x\",\"content\":\"y\"}}", 422, "data.from"),
    ] {
        let answer = bundle.post_text("/workflow/process", body).await;
        assert_eq!((answer.status, answer.content_type.as_str()), (status, "application/problem+json"));
        assert!(answer.body["detail"].as_str().unwrap().contains(detail), "{}", answer.body);
    }
}
