//! A process that is killed in the middle of a run loses nothing.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use ihelper_workflow::domain::RunId;
use serde_json::{Value, json};

use crate::bundle::{Bundle, email, unique};

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
    assert!(reviewed >= 60 && reviewed.is_multiple_of(60), "each criterion is held against each part: {reviewed}");
    assert_eq!(run["result"]["api_calls"], reviewed, "each step stands in the journal once, and was counted once");
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

/// Kills the email consumer's processes again and again, at moments that nobody chose.
async fn kill_every_second(bundle: &Bundle, kills: &AtomicUsize) -> std::convert::Infallible {
    loop {
        // Not to the beat of anything that the bundle does.
        let random = jiff::Timestamp::now().subsec_nanosecond() % 400_000_000;
        tokio::time::sleep(Duration::from_millis(800) + Duration::from_nanos(random.unsigned_abs().into())).await;
        kills.fetch_add(bundle.kill("email-consumer"), Ordering::Relaxed);
    }
}

/// What an operator does about runs of which nobody knows whether their mail went out: looks, and says so.
async fn settle_attention(bundle: &Bundle, prefix: &str, settled: &AtomicUsize) {
    let listed = bundle.get("/workflow/runs?type=email_processing&status=attention&limit=100").await.body;
    let runs = listed["runs"].as_array().map(Vec::as_slice).unwrap_or_default();
    if runs.is_empty() {
        return;
    }
    let mails = bundle.mails_by_address().await;
    for run in runs {
        let data_id = run["data_id"].as_str().unwrap();
        if !data_id.starts_with(prefix) {
            continue;
        }
        let went_out = mails.contains_key(&format!("{data_id}@customer.example"));
        let outcome = if went_out { "happened" } else { "not_happened" };
        let path = format!("/workflow/runs/{}/settle", run["run_id"].as_str().unwrap());
        let answer = bundle.post(&path, &[], &json!({"step": "send_response", "outcome": outcome})).await;
        assert!(matches!(answer.status, 200 | 409), "{} {}", answer.status, answer.body);
        settled.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test]
async fn of_three_hundred_emails_none_is_lost_and_none_answered_twice_while_consumers_are_killed_every_second() {
    const EMAILS: usize = 300;
    const PATIENCE: Duration = Duration::from_secs(300);
    // A consumer that is killed before its first call leaves its messages invisible for the queue's own visibility
    // timeout of half an hour. What SQS then does, this test does sooner.
    const REDELIVERY: Duration = Duration::from_secs(20);
    let bundle = Bundle::connect();
    let prefix = unique("storm");
    let (kills, settled, redelivered) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let messages: BTreeMap<String, String> = (0..EMAILS)
        .map(|number| {
            let id = format!("{prefix}-{number}");
            // The sender fixes the run's id, so that the same message sent twice is one run.
            let run = RunId::derived(jiff::Timestamp::now(), &[&id]);
            let message = json!({"type": "email_processing", "data": email(&id), "run_id": run}).to_string();
            (id, message)
        })
        .collect();
    let send = async {
        let bodies: Vec<String> = messages.values().cloned().collect();
        for chunk in bodies.chunks(10) {
            bundle.send_batch("email_processing", chunk).await;
            // Each third message is delivered again, whatever has become of the first.
            bundle.send_batch("email_processing", &chunk.iter().step_by(3).cloned().collect::<Vec<_>>()).await;
        }
        let (begun, mut redelivered_at) = (Instant::now(), Instant::now());
        loop {
            settle_attention(&bundle, &prefix, &settled).await;
            let ended = bundle.data_ids("email_processing", &prefix, "succeeded").await;
            let missing: Vec<&String> = messages.keys().filter(|id| !ended.contains(*id)).collect();
            if missing.is_empty() {
                break;
            }
            let count = missing.len();
            assert!(begun.elapsed() < PATIENCE, "{count} of {EMAILS} runs have not ended: {missing:?}");
            if redelivered_at.elapsed() > REDELIVERY {
                let again: Vec<String> = missing.into_iter().map(|id| messages[id].clone()).collect();
                for chunk in again.chunks(10) {
                    bundle.send_batch("email_processing", chunk).await;
                }
                redelivered.fetch_add(count, Ordering::Relaxed);
                redelivered_at = Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::select! {
        () = send => {}
        never = kill_every_second(&bundle, &kills) => match never {},
    }
    let mails = bundle.mails_by_address().await;
    let mut answered = 0;
    for id in messages.keys() {
        let count = mails.get(&format!("{id}@customer.example")).copied().unwrap_or_default();
        assert!(count <= 1, "{id} was answered {count} times");
        answered += count;
    }
    let letters = bundle.get("/workflow/dead-letters?type=email_processing&limit=100").await.body;
    let ours =
        letters["letters"].as_array().into_iter().flatten().filter(|letter| letter.to_string().contains(&prefix));
    assert_eq!(ours.count(), 0, "{letters}");
    assert!(kills.load(Ordering::Relaxed) > 0, "nothing was killed");
    eprintln!(
        "{EMAILS} emails: {answered} answered, {} processes killed, {} runs settled by an operator, {} messages \
         delivered again",
        kills.load(Ordering::Relaxed),
        settled.load(Ordering::Relaxed),
        redelivered.load(Ordering::Relaxed)
    );
    assert_eq!(answered, EMAILS, "each run that ended with an answer has sent it");
}
