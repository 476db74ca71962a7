//! What may not stand in any log: this plants it everywhere, and `stack.py run` searches the logs of all functions after
//! the last test (`infra/local/private.py`).

use aws_sdk_eventbridge::types::PutEventsRequestEntry;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::bundle::{Bundle, token, unique};

const PLANTED: &str = "c0nf1dential";

/// What is worked on to its end, and what fails on the way.
fn data() -> Vec<(&'static str, Value)> {
    let address = format!("{PLANTED}-{}@customer.example", unique("m"));
    let text = format!("When do you open? {PLANTED}");
    let raw = format!("From: {PLANTED} <{address}>\r\nSubject: {PLANTED}\r\nX-{PLANTED}: {PLANTED}\r\n\r\n{text}");
    vec![
        ("email_processing", json!({"id": unique("m"), "from": address, "subject": PLANTED, "content": text})),
        ("email_processing", json!({"id": unique("m"), "raw": STANDARD.encode(raw)})),
        (
            "document_review",
            json!({"id": unique("d"), "file": {"text": text}, "review_criteria": [format!("It says {PLANTED}.")]}),
        ),
        (
            "document_review",
            json!({"id": unique("d"), "file": {"name": format!("{PLANTED}.pdf"), "content": STANDARD.encode(format!("%PDF-{PLANTED}"))},
                "review_criteria": [PLANTED]}),
        ),
        (
            "task_automation",
            json!({"id": unique("t"), "title": PLANTED, "description": format!("Notify {PLANTED} at {address}."), PLANTED: PLANTED}),
        ),
    ]
}

#[tokio::test]
async fn whatever_is_sent_in_whatever_comes_of_it_stays_out_of_the_logs() {
    let bundle = Bundle::connect();
    let mut runs = Vec::new();
    for (workflow, data) in data() {
        let body = json!({"type": workflow, "data": data});
        let headers = [("idempotency-key", &*format!("{PLANTED}-{}", unique("k"))), ("x-note", PLANTED)];
        let answer = bundle.post("/workflow/process", &headers, &body).await;
        assert!(matches!(answer.status, 200 | 202 | 422), "{}", answer.body);
        bundle.send_message(workflow, &body.to_string()).await;
        runs.push((workflow, data["id"].as_str().unwrap().to_owned()));
    }

    // What is refused, at each door.
    for body in [
        format!("{{\"type\":\"{PLANTED}\",\"data\":{{}}}}"),
        format!("{{\"type\":\"email_processing\",\"data\":{{\"id\":\"1\",\"from\":\"{PLANTED}\",\"{PLANTED}\":1}}}}"),
        format!("{{\"{PLANTED}"),
    ] {
        assert!(matches!(bundle.post_text("/workflow/process", &body).await.status, 400 | 422));
        let marked = json!({"planted": body}).to_string();
        for message in [body, marked.clone()] {
            bundle.send_message("email_processing", &message).await;
        }
        bundle.dead_letter("email_processing", |letter| letter == marked).await;
    }
    assert_eq!(bundle.get_with(&format!("{PLANTED}.{PLANTED}.{PLANTED}"), "/workflow/runs").await.status, 401);
    for path in [
        format!("/workflow/runs/{PLANTED}"),
        format!("/{PLANTED}"),
        format!("/workflow/runs?{PLANTED}={PLANTED}"),
        format!("/workflow/runs/01ARZ3NDEKTSV4RRFFQ69G5FAV/callbacks/{PLANTED}?token={PLANTED}"),
    ] {
        let status = bundle.get_with(&token(PLANTED, PLANTED), &path).await.status;
        assert!((400..500).contains(&status), "{path}: {status}");
    }
    for (source, detail_type, detail) in [
        (format!("<{PLANTED}>"), format!("<{PLANTED}>"), json!({PLANTED: PLANTED})),
        ("crm.example".to_owned(), "task_assigned".to_owned(), json!({"id": unique("t"), "description": [PLANTED]})),
        ("crm.example".to_owned(), "CloudEvent".to_owned(), json!({"specversion": PLANTED, "type": PLANTED})),
    ] {
        let entry = PutEventsRequestEntry::builder().event_bus_name(bundle.bus());
        let entry = entry.source(source).detail_type(detail_type).detail(detail.to_string()).build();
        bundle.events.put_events().entries(entry).send().await.unwrap();
    }
    // Its run shows that those before it were handled.
    let last = unique("t");
    let detail = json!({"id": last, "description": PLANTED}).to_string();
    let entry = PutEventsRequestEntry::builder().event_bus_name(bundle.bus());
    let entry = entry.source("crm.example").detail_type("task_assigned").detail(detail).build();
    bundle.events.put_events().entries(entry).send().await.unwrap();
    runs.push(("task_automation", last));
    for (workflow, id) in runs {
        let run = bundle.run_on(workflow, &id).await;
        assert!(matches!(run["status"].as_str(), Some("succeeded" | "failed")), "{run}");
    }
}
