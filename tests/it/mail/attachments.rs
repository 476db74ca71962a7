//! What is attached is listed, and reviewed where the definition says so.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ihelper_testkit::{WorkflowTester, memory::Body};
use ihelper_workflow::{
    domain::{
        WorkflowType,
        document::ObjectRef,
        input,
        run::{Origin, Trigger},
    },
    engine::{Deadline, Outcome},
};
use serde_json::{Value, json};

use super::{processed, raw, tester_with};

const REVIEWED: &str = "attachments: { review: { criteria: [\"The agreement says how it can be terminated.\"], \
                        types: [text/plain, .pdf], largest_bytes: 1000, most: 2 } }";

const TERMS: &str = "Either party may terminate this agreement with thirty days' written notice.";

fn message() -> String {
    let part = |header: &str, body: &str| format!("--m\r\n{header}\r\n\r\n{body}\r\n");
    let attached = |name: &str| format!("Content-Disposition: attachment; filename=\"{name}\"");
    format!(
        "From: Ann <ann@b.example>\r\nSubject: Contract\r\nMIME-Version: 1.0\r\n\
         Content-Type: multipart/mixed; boundary=m\r\n\r\n{}{}{}{}{}{}{}--m--\r\n",
        part("Content-Type: text/plain", "Could you please look at this?"),
        part(
            &format!("Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n{}", attached("terms.txt")),
            &STANDARD.encode(TERMS)
        ),
        part(&format!("Content-Type: image/png\r\n{}", attached("logo.png")), "PNG"),
        part(&format!("Content-Type: application/octet-stream\r\n{}", attached("winmail.dat")), "x"),
        part("Content-Type: text/calendar; method=REQUEST", "BEGIN:VCALENDAR"),
        part(&format!("Content-Type: text/plain\r\n{}", attached("long.txt")), &"x".repeat(1001)),
        part(&format!("Content-Type: application/octet-stream\r\n{}", attached("Offer.PDF")), "%PDF-"),
    )
}

fn started(tester: &WorkflowTester) -> Vec<Value> {
    let messages = tester.queue.drain(WorkflowType::DocumentReview);
    messages.into_iter().map(|message| serde_json::from_str(&message.body.to_json()).unwrap()).collect()
}

#[tokio::test]
async fn attachments_are_listed_by_name_type_and_size() {
    let tester = WorkflowTester::new();
    let result = processed(&tester, raw("1", message())).await;
    assert_eq!(
        result["attachments"],
        json!([
            {"name": "terms.txt", "content_type": "text/plain", "bytes": TERMS.len()},
            {"name": "logo.png", "content_type": "image/png", "bytes": 3},
            {"name": "winmail.dat", "content_type": "application/ms-tnef", "bytes": 1},
            {"name": "invite.ics", "content_type": "text/calendar", "bytes": 15},
            {"name": "long.txt", "content_type": "text/plain", "bytes": 1001},
            {"name": "Offer.PDF", "content_type": "application/octet-stream", "bytes": 5},
        ])
    );
    assert_eq!(started(&tester), Vec::<Value>::new(), "nothing is reviewed unless the definition says so");
}

#[tokio::test]
async fn each_attachment_that_fits_is_reviewed_by_a_run_of_its_own() {
    let tester = tester_with(REVIEWED);
    let result = processed(&tester, raw("mail", message())).await;
    assert_eq!(result["response_generated"], true, "{result}");
    let started = started(&tester);
    let ids: Vec<&Value> = started.iter().map(|start| &start["data"]["id"]).collect();
    assert_eq!(ids, ["mail#1", "mail#6"]);
    let listed = result["attachments"].as_array().unwrap();
    let runs: Vec<&Value> = listed.iter().filter_map(|attachment| attachment.get("review_run")).collect();
    assert_eq!(runs, [&started[0]["run_id"], &started[1]["run_id"]]);
    assert_eq!(started[0]["data"]["file"], json!({"name": "terms.txt", "content": STANDARD.encode(TERMS)}));

    // The review is one like any other.
    let input = input::parse(WorkflowType::DocumentReview, started[0]["data"].clone()).unwrap();
    let id = started[0]["run_id"].as_str().unwrap().parse().unwrap();
    let origin = Origin { trigger: Trigger::Run, id: "x".to_owned(), caller: "tester".to_owned() };
    let deadline = Deadline::at("2026-12-01T00:00:00Z".parse().unwrap());
    match tester.worker().start(&input, id, origin, deadline).await.unwrap() {
        Outcome::Ended { run, .. } => assert_eq!(run.result.unwrap()["findings"][0]["verdict"], "met"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_large_attachment_travels_by_reference() {
    let tester = tester_with("attachments: { review: { criteria: [a], types: [text/*] } }");
    let large = "All work and no play. ".repeat(40_000);
    let message = format!(
        "From: ann@b.example\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n\r\nHi\r\n\
         --m\r\nContent-Type: text/plain\r\nContent-Disposition: attachment; filename=a.txt\r\n\r\n{large}\r\n--m--\r\n"
    );
    let object = ObjectRef { bucket: "mail".to_owned(), key: "mail/m1".to_owned() };
    tester.objects.put(&object, message, &[]);
    processed(&tester, json!({"id": "m1", "s3": object})).await;
    let messages = tester.queue.drain(WorkflowType::DocumentReview);
    assert!(matches!(&messages[0].body, Body::StartAside { .. }), "{:?}", messages[0].body);
}

#[tokio::test]
async fn what_is_quarantined_is_not_reviewed() {
    let tester = tester_with(REVIEWED);
    let mut data = raw("1", message());
    data["verdicts"] = json!({"virus": "FAIL"});
    let result = processed(&tester, data).await;
    assert_eq!(result["status"], "quarantined");
    assert_eq!(result["attachments"].as_array().unwrap().len(), 6, "it is listed all the same");
    assert!(started(&tester).is_empty());
}
