//! A process that is killed in the middle of a run loses nothing.

use serde_json::{Value, json};

use crate::bundle::{Bundle, unique};

/// A document that takes some seconds to review: long enough to be in the middle of.
fn long_document(id: &str) -> Value {
    let clause = "The provider keeps the customer's data confidential and returns it within thirty days of the end \
        of this agreement. Invoices are payable within fourteen days. ";
    let text: String = (0..8_000).map(|number| format!("{number}. {clause}\n")).collect();
    let criteria: Vec<String> = (0..60)
        .map(|number| format!("Clause {number} says that data is confidential and when invoices are payable."))
        .collect();
    json!({"id": id, "file": {"text": text}, "review_criteria": criteria})
}

async fn wait_until_in_the_middle(bundle: &Bundle, id: &str) -> String {
    bundle
        .wait("the run to be in the middle", async || {
            let run = bundle.runs_on("document_review", id).await.pop()?;
            let location = format!("/workflow/runs/{}", run["run_id"].as_str()?);
            let run = bundle.get(&location).await.body;
            assert_ne!(run["status"], "succeeded", "the document is too short for this test");
            let reviewed = run["steps"].as_array()?.iter().filter(|step| step["name"] == "review_document").count();
            (run["status"] == "running" && reviewed > 0).then_some(location)
        })
        .await
}

async fn assert_done_once(bundle: &Bundle, location: &str) {
    let run = bundle.ended(location).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    assert_eq!(run["result"]["findings"].as_array().unwrap().len(), 60);
    let reviewed = run["steps"].as_array().unwrap().iter().filter(|step| step["name"] == "review_document").count();
    assert_eq!(reviewed, 60, "each step stands in the journal once");
}

#[tokio::test]
async fn a_consumer_killed_in_the_middle_of_a_run_loses_nothing() {
    let bundle = Bundle::connect();
    let id = unique("killed");
    let body = json!({"type": "document_review", "data": long_document(&id)});
    let answer = bundle.post("/workflow/process", &[("prefer", "respond-async")], &body).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
    let location = wait_until_in_the_middle(&bundle, &id).await;
    assert!(bundle.kill("document-consumer") > 0, "there was no process to kill");
    assert_done_once(&bundle, &location).await;
}

#[tokio::test]
async fn an_api_process_killed_in_the_middle_of_a_run_loses_nothing() {
    let bundle = Bundle::connect();
    let id = unique("killed");
    let body = json!({"type": "document_review", "data": long_document(&id)});
    let call = bundle.post("/workflow/process", &[], &body);
    let kill = async {
        // The list is asked of the same function: another instance of it answers.
        let location = wait_until_in_the_middle(&bundle, &id).await;
        assert!(bundle.kill("api-process") > 0, "there was no process to kill");
        location
    };
    let (answer, location) = futures::join!(call, kill);
    assert!(answer.status >= 500, "the call broke off: {} {}", answer.status, answer.body);
    assert_done_once(&bundle, &location).await;
}
