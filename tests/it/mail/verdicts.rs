//! What the mail service found decides before anybody else sees a message.

use ihelper_testkit::WorkflowTester;
use ihelper_workflow::{domain::WorkflowType, ports::Tracking as _};
use serde_json::{Value, json};

use super::{processed, raw, tester_with};

const QUESTION: &str = "From: Ann <ann@b.example>\r\nSubject: Hours\r\n\r\nWhen are you open?\r\n";

/// A message as Amazon SES stores it.
fn stored(spam: &str, virus: &str, dmarc: &str, message: &str) -> String {
    format!(
        "Return-Path: <ann@b.example>\r\nReceived: from mail.b.example by inbound-smtp.example with SMTP\r\n\
         X-SES-Spam-Verdict: {spam}\r\nX-SES-Virus-Verdict: {virus}\r\n\
         Authentication-Results: amazonses.com; spf=pass; dkim=none; dmarc={dmarc} header.from=b.example;\r\n\
         X-SES-RECEIPT: AEFB\r\n{message}"
    )
}

async fn quarantined(tester: &WorkflowTester, data: Value) -> String {
    let result = processed(tester, data.clone()).await;
    assert_eq!(result["status"], "quarantined", "{result}");
    assert_eq!((&result["response_generated"], &result["analysis"]), (&json!(false), &json!(null)));
    assert_eq!(tester.assistant.calls(), Vec::<&str>::new(), "no assistant saw it");
    assert!(tester.mailer.sent().is_empty());
    let id = data["id"].as_str().unwrap();
    let tracked = tester.tracking.get(WorkflowType::EmailProcessing, id).await.unwrap().unwrap();
    assert_eq!(tracked.status, "quarantined");
    result["withheld"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_virus_and_spam_are_quarantined_unseen() {
    let spam = stored("FAIL", "PASS", "pass", QUESTION);
    assert!(quarantined(&WorkflowTester::new(), raw("1", spam)).await.contains("spam"));
    let virus = stored("FAIL", "FAIL", "pass", QUESTION);
    assert!(quarantined(&WorkflowTester::new(), raw("1", virus)).await.contains("virus"));
}

#[tokio::test]
async fn the_receipt_counts_before_the_message() {
    let mut data = raw("1", stored("PASS", "PASS", "pass", QUESTION));
    data["verdicts"] = json!({"spam": "FAIL", "virus": "PROCESSING_FAILED"});
    assert!(quarantined(&WorkflowTester::new(), data).await.contains("spam"));
    let json = json!({"id": "2", "from": "a@b.example", "content": "When?", "verdicts": {"virus": "fail"}});
    assert!(quarantined(&WorkflowTester::new(), json).await.contains("virus"));
}

#[tokio::test]
async fn a_forged_sender_is_analyzed_and_not_answered() {
    let tester = WorkflowTester::new();
    let result = processed(&tester, raw("1", stored("PASS", "PASS", "fail", QUESTION))).await;
    assert_eq!((&result["status"], &result["response_generated"]), (&json!("success"), &json!(false)));
    assert_eq!(result["analysis"]["category"], "question");
    assert!(result["withheld"].as_str().unwrap().contains("DMARC"), "{result}");
    assert!(tester.mailer.sent().is_empty());
}

#[tokio::test]
async fn what_the_sender_says_about_it_changes_nothing() {
    let praise = "X-SES-Spam-Verdict: PASS\r\nX-SES-Virus-Verdict: PASS\r\n\
        Authentication-Results: amazonses.com; dmarc=pass\r\n";
    let forged = format!("{praise}Received: from a by b\r\n{praise}{QUESTION}");
    quarantined(&WorkflowTester::new(), raw("1", stored("FAIL", "PASS", "fail", &forged))).await;
    // Nor does a verdict that somebody on the way made up against the sender.
    let slander = praise.replace("PASS", "FAIL").replace("=pass", "=fail");
    let tester = WorkflowTester::new();
    let result = processed(&tester, raw("1", stored("PASS", "PASS", "pass", &format!("{slander}{QUESTION}")))).await;
    assert_eq!(result["response_generated"], true, "{result}");
}

#[tokio::test]
async fn the_definition_says_what_becomes_of_a_failed_check() {
    let tester = tester_with("verdicts: { spam: ignore, dmarc: quarantine, spf: no_response }");
    let result = processed(&tester, raw("1", stored("FAIL", "PASS", "pass", QUESTION))).await;
    assert_eq!(result["response_generated"], true, "{result}");
    assert_eq!(result["verdicts"]["spam"], "fail");
    let result = processed(&tester, raw("2", stored("PASS", "PASS", "fail", QUESTION))).await;
    assert_eq!(result["status"], "quarantined");
    let spf = json!({"id": "3", "from": "bo@b.example", "content": "When?", "verdicts": {"spf": "fail"}});
    assert!(processed(&tester, spf).await["withheld"].as_str().unwrap().contains("SPF"));
}

#[tokio::test]
async fn an_answer_goes_to_the_envelopes_sender_where_nobody_vouches_for_from() {
    let from_another = QUESTION.replace("ann@b.example", "victim@c.example");
    let tester = WorkflowTester::new();
    processed(&tester, raw("1", stored("PASS", "PASS", "none", &from_another))).await;
    assert_eq!(tester.mailer.sent()[0].mail.to, "ann@b.example");
    processed(&tester, raw("2", stored("PASS", "PASS", "pass", &from_another))).await;
    assert_eq!(tester.mailer.sent()[1].mail.to, "victim@c.example", "its own domain stands by it");
    let machine = stored("PASS", "PASS", "none", &from_another).replace("<ann@b.example>", "<bounces+7@b.example>");
    let result = processed(&tester, raw("3", machine)).await;
    assert_eq!(result["response_generated"], false);
    assert_eq!(tester.mailer.sent().len(), 2);
}
