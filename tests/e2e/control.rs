//! What people do to runs: cancel, retry, approve, send back dead letters; and runs that wait.

use serde_json::{Value, json};

use crate::bundle::{Bundle, email, token, unique};

fn task(id: &str, description: &str) -> Value {
    json!({"type": "task_automation", "data": {"id": id, "description": description}})
}

async fn start(bundle: &Bundle, body: &Value) -> String {
    let answer = bundle.post("/workflow/process", &[("prefer", "respond-async")], body).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    answer.location.unwrap()
}

/// The run at this address, once it waits for an answer.
async fn waiting(bundle: &Bundle, location: &str) -> Value {
    bundle
        .wait(&format!("{location} to wait"), async || {
            let run = bundle.get(location).await.body;
            (run["status"] == "waiting").then_some(run)
        })
        .await
}

/// The token that the event `approval_requested` told, which a queue behind the bus received.
async fn told_token(bundle: &Bundle, run: &str) -> String {
    let told =
        bundle.wait("the event `approval_requested`", async || bundle.published("approval_requested", run).await);
    told.await["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_approval_is_shown_to_who_has_the_token_decided_once_and_lets_the_run_go_on() {
    let bundle = Bundle::connect();
    bundle.listen_to_own_events().await;
    for (decision, last) in [("approve", "done"), ("reject", "skipped")] {
        let id = unique(decision);
        let location =
            start(&bundle, &task(&id, "1. Get approval for the order of <b>laptops</b>\n2. Notify the team")).await;
        waiting(&bundle, &location).await;
        let token_of_run = told_token(&bundle, &location).await;
        let path = format!("{location}/callbacks/step_1");

        let wrong = bundle.open("GET", &format!("{path}?token=00000000000000000000000000000000"), None).await;
        assert_eq!(wrong.status, 404, "{}", wrong.body);
        let asked = bundle.open("GET", &format!("{path}?token={token_of_run}"), None).await;
        assert_eq!(asked.status, 200, "{}", asked.body);
        assert_eq!(asked.body["asks"]["question"], "Get approval for the order of <b>laptops</b>");
        assert_eq!(bundle.get(&location).await.body["status"], "waiting", "looking decides nothing");

        let decide = json!({"decision": decision, "by": "Olga"});
        let answer = bundle.open("POST", &format!("{path}?token={token_of_run}"), Some(&decide)).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let other = json!({"decision": if decision == "approve" { "reject" } else { "approve" }});
        let late = bundle.open("POST", &format!("{path}?token={token_of_run}"), Some(&other)).await;
        assert_eq!(late.status, 409, "{}", late.body);

        let run = bundle.ended(&location).await;
        assert_eq!(run["status"], "succeeded", "{run}");
        assert_eq!(run["result"]["steps"][0]["output"]["by"], "Olga");
        assert_eq!(run["result"]["steps"][1]["status"], last);
    }
}

#[tokio::test]
async fn a_run_that_sleeps_wakes_up_and_no_process_waits_for_it() {
    let bundle = Bundle::connect();
    let location = start(&bundle, &task(&unique("sleep"), "1. Wait for 3 seconds\n2. Notify the team")).await;
    let asleep = waiting(&bundle, &location).await;
    assert!(asleep["due_at"].is_string(), "{asleep}");
    let run = bundle.wait("the run to end", async || {
        let run = bundle.get(&location).await.body;
        (run["status"] == "succeeded").then_some(run)
    });
    let run = run.await;
    assert!(run["duration_ms"].as_u64().unwrap() >= 3000, "{run}");
}

#[tokio::test]
async fn a_run_can_be_cancelled_and_retried_and_the_new_one_names_its_origin() {
    let bundle = Bundle::connect();
    let location =
        start(&bundle, &task(&unique("cancel"), "1. Notify the team\n2. Wait for 2 hours\n3. Notify all")).await;
    waiting(&bundle, &location).await;
    for _ in 0..2 {
        let cancelled = bundle.post(&format!("{location}/cancel"), &[], &json!({})).await;
        assert_eq!((cancelled.status, &cancelled.body["status"]), (200, &json!("cancelled")), "{}", cancelled.body);
    }
    let stranger = bundle.post_as(&token("mallory", "staff"), &format!("{location}/retry"), &json!({})).await;
    assert_eq!(stranger.status, 404);

    let refused = bundle.post(&format!("{location}/retry"), &[], &json!({"from_step": "step_1"})).await;
    assert_eq!(refused.status, 409, "the announcement would go out again: {}", refused.body);
    let data = json!({"id": unique("retried"), "description": "1. Notify the team"});
    let edited = json!({"data": data, "repeat_effects": true});
    let mut retried = Vec::new();
    for _ in 0..2 {
        let answer = bundle.post(&format!("{location}/retry"), &[], &edited).await;
        assert_eq!(answer.status, 202, "{}", answer.body);
        retried.push(answer.location.unwrap());
    }
    assert_eq!(retried[0], retried[1], "asked for twice, it is one run");
    let run = bundle.ended(&retried[0]).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    assert!(location.ends_with(run["lineage"]["retry_of"].as_str().unwrap()), "{run}");
}

#[tokio::test]
async fn a_dead_letter_is_listed_with_its_reason_sent_back_and_gone() {
    let bundle = Bundle::connect();
    let id = unique("nowhere");
    // The document is not there when the run comes to it, and is when its letter is sent back.
    let key = format!("documents/{id}.txt");
    let file = format!("s3://{}/{key}", bundle.bucket("documents"));
    let body =
        json!({"type": "document_review", "data": {"id": id, "file": file, "review_criteria": ["names a price"]}});
    bundle.send_message("document_review", &body.to_string()).await;
    let failed = bundle.run_on("document_review", &id).await;
    assert_eq!(failed["status"], "failed", "{failed}");
    let run_id = failed["run_id"].as_str().unwrap();

    let letter = bundle.wait("the letter", async || {
        let listed = bundle.get("/workflow/dead-letters?type=document_review&limit=100").await.body;
        listed["letters"].as_array()?.iter().find(|letter| letter["run_id"] == run_id).cloned()
    });
    let letter = letter.await;
    assert_eq!(letter["kind"], "not_found");
    assert!(letter["reason"].as_str().unwrap().starts_with("extract_content:"), "{letter}");

    let text = "The price is EUR 5.";
    let put = bundle.s3.put_object().bucket(bundle.bucket("documents")).key(&key);
    put.body(text.as_bytes().to_vec().into()).send().await.unwrap();
    let redrive = json!({"type": "document_review", "ids": [letter["id"]]});
    let answer = bundle.post("/workflow/dead-letters/redrive", &[], &redrive).await;
    assert_eq!((answer.status, &answer.body["redriven"][0]), (200, &letter["id"]), "{}", answer.body);
    let again = bundle.wait("the run that repeats it", async || {
        for run in bundle.runs_on("document_review", &id).await {
            let run = bundle.get(&format!("/workflow/runs/{}", run["run_id"].as_str()?)).await.body;
            if run["lineage"]["retry_of"] == run_id && run["status"] == "succeeded" {
                return Some(run);
            }
        }
        None
    });
    again.await;
    let twice = bundle.post("/workflow/dead-letters/redrive", &[], &redrive).await;
    assert_eq!(twice.body["not_found"][0], letter["id"], "{}", twice.body);
}

#[tokio::test]
async fn the_same_key_is_one_run_however_often_and_however_concurrently_it_is_sent() {
    let bundle = Bundle::connect();
    let id = unique("once");
    let body = json!({"type": "email_processing", "data": email(&id)});
    let key = [("idempotency-key", id.as_str())];
    let answers = futures::future::join_all((0..8).map(|_| bundle.post("/workflow/process", &key, &body))).await;
    let runs: Vec<&Value> = answers.iter().map(|answer| &answer.body["run_id"]).collect();
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 409)), "{runs:?}");
    assert!(runs.iter().all(|run| *run == runs[0]), "{runs:?}");
    let replayed = bundle.post("/workflow/process", &key, &body).await;
    assert_eq!((replayed.status, &replayed.body["run_id"]), (200, runs[0]));
    let other = json!({"type": "email_processing", "data": email(&unique("other"))});
    assert_eq!(bundle.post("/workflow/process", &key, &other).await.status, 422);
    assert_eq!(bundle.mails_by_address().await[&format!("{id}@customer.example")], 1);
}

#[tokio::test]
async fn equal_requests_of_one_caller_share_a_run_and_those_of_another_do_not() {
    let bundle = Bundle::connect();
    let body = json!({"type": "email_processing", "data": email(&unique("cached"))});
    let first = bundle.post("/workflow/process", &[], &body).await;
    let second = bundle.post("/workflow/process", &[], &body).await;
    assert_eq!((second.status, &second.body), (200, &first.body));
    let anew = bundle.post("/workflow/process", &[("cache-control", "no-cache")], &body).await;
    assert_ne!(anew.body["run_id"], first.body["run_id"]);
    let other = bundle.post_as(&token("bob", "staff"), "/workflow/process", &body).await;
    assert_ne!(other.body["run_id"], anew.body["run_id"]);
}

#[tokio::test]
async fn what_is_too_large_for_a_request_is_uploaded_and_what_is_too_large_for_an_answer_fetched() {
    let bundle = Bundle::connect();
    let id = unique("large");
    let blob = "0123456789abcdef".repeat(400_000);
    let data = json!({"id": id, "description": "1. Notify the team", "blob": blob}).to_string();
    let refused = bundle.post_text("/workflow/process", &data).await;
    assert_eq!((refused.status, &refused.body["upload"]), (413, &json!("/workflow/uploads")), "{}", refused.status);

    let offer = bundle.post("/workflow/uploads", &[], &json!({"bytes": data.len()})).await;
    assert_eq!(offer.status, 201, "{}", offer.body);
    bundle.put(&offer.body, data.into_bytes()).await;
    let body = json!({"type": "task_automation", "upload_id": offer.body["upload_id"]});
    let answer = bundle.post("/workflow/process", &[], &body).await;
    assert_eq!((answer.status, &answer.body["status"]), (200, &json!("success")), "{}", answer.body);
    let location = format!("/workflow/runs/{}", answer.body["run_id"].as_str().unwrap());
    assert_eq!(bundle.get(&location).await.body["data_id"], id.as_str());
}
