//! Two deployed bundles that write to each other, each on an AWS of its own; the test carries their mail.

use serde_json::{Value, json};

use crate::bundle::{Bundle, unique};

/// The mails that a bundle has sent to this address.
async fn sent_to(bundle: &Bundle, address: &str) -> Vec<Value> {
    let sent = bundle.sent_mail().await;
    sent.into_iter()
        .filter(|mail| mail["To"].as_array().is_some_and(|to| to.iter().any(|one| one == address)))
        .collect()
}

/// Hands a bundle a mail of the other, and waits until it has made of it what it will.
async fn carry(mail: &Value, headers: &Value, from: &Bundle, to: &Bundle) {
    let id = unique("carried");
    let text = mail["BodyText"].as_str().unwrap_or_default();
    let data = json!({
        "id": id,
        "from": from.sender(),
        "subject": mail["Subject"],
        // Whatever the bundle says, its mail asks for an answer.
        "content": format!("{text}\n\nWhen will you let us know? Please answer soon."),
        "headers": headers,
    });
    to.send_message("email_processing", &json!({"type": "email_processing", "data": data}).to_string()).await;
    let run = to.run_on("email_processing", &id).await;
    assert_eq!(run["status"], "succeeded", "{run}");
}

#[tokio::test]
async fn two_bundles_that_answer_each_other_stop_after_one_mail_each_even_when_the_way_takes_their_marks_off() {
    let (one, other) = (Bundle::connect(), Bundle::connect_to_other());
    assert_ne!(one.sender(), other.sender());
    let question = json!({"Subject": "Delivery", "BodyText": "When do you deliver the chairs?"});
    // With its mark, what a machine wrote gets no answer at all.
    carry(&question, &json!({"Auto-Submitted": "auto-replied"}), &other, &one).await;
    assert_eq!(sent_to(&one, other.sender()).await.len(), 0);

    carry(&question, &json!({}), &other, &one).await;
    for _ in 0..3 {
        let from_one = sent_to(&one, other.sender()).await;
        carry(from_one.last().expect("one bundle has answered"), &json!({}), &one, &other).await;
        let from_other = sent_to(&other, one.sender()).await;
        carry(from_other.last().expect("the other has answered that"), &json!({}), &other, &one).await;
    }
    assert_eq!(sent_to(&one, other.sender()).await.len(), 1);
    assert_eq!(sent_to(&other, one.sender()).await.len(), 1);
}
