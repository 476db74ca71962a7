//! A person looks at a response before it is sent.

use std::time::Duration;

use ihelper_testkit::WorkflowTester;
use ihelper_workflow::{
    domain::{Kind, Run, Status},
    engine::{Answered, Decision, Reply},
    ports::Clock as _,
};
use serde_json::{Value, json};

use super::tester_with;

const ALWAYS: &str = "review: { when: always, within_seconds: 3600, reviewer: boss@own.example }";

fn question() -> Value {
    json!({"id": "q", "from": "ann@example.com", "subject": "Hours", "content": "When are you open on Saturday?"})
}

/// A run whose response waits for somebody.
async fn waiting(tester: &WorkflowTester) -> Run {
    let run = tester.execute_until_it_rests("email_processing", question()).await.unwrap();
    assert_eq!(run.status, Status::Waiting);
    run
}

/// Answers as whoever heard of it by the event does; gives the run as it then is.
async fn answered(tester: &WorkflowTester, run: &Run, decision: Decision, data: Value) -> Run {
    let asked = &tester.bus.published()[0].event.detail;
    let reply = Reply { decision, data, by: "Bo".to_owned(), at: tester.clock.now() };
    let name = asked["name"].as_str().unwrap();
    let token = asked["token"].as_str().unwrap();
    let answered = tester.control().answer(run.id, name, token, &reply).await.unwrap();
    assert!(matches!(answered, Answered::Taken(_)), "{answered:?}");
    tester.go_on(run.id).await.unwrap()
}

fn answers(tester: &WorkflowTester) -> Vec<ihelper_workflow::domain::email::OutgoingMail> {
    tester.mailer.sent().into_iter().map(|sent| sent.mail).filter(|mail| mail.is_reply).collect()
}

#[tokio::test]
async fn a_draft_waits_and_is_announced_by_event_and_mail() {
    let tester = tester_with(ALWAYS);
    let run = waiting(&tester).await;
    let event = &tester.bus.published()[0].event;
    assert_eq!(event.detail_type, "approval_requested");
    assert_eq!(event.detail["run_id"], json!(run.id));
    let sent = tester.mailer.sent();
    assert_eq!((sent.len(), sent[0].mail.to.as_str()), (1, "boss@own.example"));
    assert!(sent[0].mail.text.contains(event.detail["url"].as_str().unwrap()));
    let token = event.detail["token"].as_str().unwrap();
    let asked = tester.control().asked(run.id, "review_response", token).await.unwrap().unwrap();
    assert_eq!(asked.asks["editable"]["subject"], "Re: Hours");
    assert_eq!(asked.asks["details"]["to"], "ann@example.com");
    assert_eq!(asked.asks["details"]["email"], "When are you open on Saturday?");
}

#[tokio::test]
async fn an_approved_draft_is_sent_as_it_was_written() {
    let tester = tester_with(ALWAYS);
    let run = waiting(&tester).await;
    let run = answered(&tester, &run, Decision::Approve, json!(null)).await;
    let result = run.result.unwrap();
    assert_eq!(result["review"], json!({"decision": "approve", "by": "Bo", "edited": false}));
    let answers = answers(&tester);
    assert_eq!((answers.len(), answers[0].to.as_str()), (1, "ann@example.com"));
    assert_eq!(json!(answers[0].text), result["response"]["text"]);
}

#[tokio::test]
async fn an_edited_draft_is_sent_in_the_editors_words_to_the_same_recipient() {
    let tester = tester_with(ALWAYS);
    let run = waiting(&tester).await;
    let edits = json!({"subject": "Hours\r\nBcc: x@evil.example", "text": "From ten to four.\r\nBo\u{0}", "comment": "ok",
        "to": "x@evil.example"});
    let run = answered(&tester, &run, Decision::Approve, edits).await;
    let answers = answers(&tester);
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].to, "ann@example.com");
    assert_eq!(answers[0].subject, "Re: Hours Bcc: x@evil.example");
    assert_eq!(answers[0].text, "From ten to four.\nBo\n");
    assert_eq!(run.result.unwrap()["review"]["edited"], true);
}

#[tokio::test]
async fn what_is_not_approved_is_not_sent() {
    for (decision, data) in [(Decision::Reject, json!({"text": "x"})), (Decision::Data, json!({"text": "x"}))] {
        let tester = tester_with(ALWAYS);
        let run = waiting(&tester).await;
        let run = answered(&tester, &run, decision, data).await;
        let result = run.result.unwrap();
        assert_eq!((&result["status"], &result["response_generated"]), (&json!("success"), &json!(false)));
        assert!(result["withheld"].as_str().unwrap().contains("did not approve"));
        assert!(answers(&tester).is_empty());
    }
}

#[tokio::test]
async fn after_the_deadline_the_definition_decides() {
    for (settings, sent) in [(ALWAYS.to_owned(), 0), (ALWAYS.replace("when:", "otherwise: send, when:"), 1)] {
        let tester = tester_with(&settings);
        let run = waiting(&tester).await;
        assert_eq!(run.due_at.unwrap(), tester.clock.now() + Duration::from_secs(3600));
        tester.clock.advance(Duration::from_secs(3600));
        let run = tester.go_on(run.id).await.unwrap();
        assert_eq!(run.result.unwrap()["review"]["decision"], "expired");
        assert_eq!(answers(&tester).len(), sent);
    }
}

#[tokio::test]
async fn an_edit_that_is_no_text_fails_the_run_and_sends_nothing() {
    for data in
        [json!({"text": 7}), json!({"text": " "}), json!({"subject": ["x"]}), json!({"text": "x".repeat(50_001)})]
    {
        let tester = tester_with(ALWAYS);
        let run = waiting(&tester).await;
        let run = answered(&tester, &run, Decision::Approve, data).await;
        let error = run.error.unwrap();
        assert_eq!((run.status, error.kind), (Status::Failed, Kind::Validation));
        assert!(error.message.contains("`data."), "{}", error.message);
        assert_eq!(error.step.as_deref(), Some("review_response"));
        assert!(answers(&tester).is_empty());
    }
}

#[tokio::test]
async fn only_what_is_not_sure_of_itself_is_looked_at_when_the_definition_says_so() {
    let sure = tester_with("review: { when: low_confidence, below: 0.0 }");
    let result = sure.execute_workflow("email_processing", question()).await.unwrap();
    assert_eq!(result["response_generated"], true);
    assert!(sure.bus.published().is_empty());
    let unsure = tester_with("review: { when: low_confidence, below: 1.0 }");
    let run = waiting(&unsure).await;
    assert_eq!(unsure.mailer.sent().len(), 0, "the event is enough where no reviewer is named");
    answered(&unsure, &run, Decision::Approve, json!(null)).await;
    assert_eq!(answers(&unsure).len(), 1);
}

#[tokio::test]
async fn mail_that_no_machine_may_answer_bothers_nobody() {
    let tester = tester_with(ALWAYS);
    let mut email = question();
    email["headers"] = json!({"Auto-Submitted": "auto-replied"});
    tester.execute_workflow("email_processing", email).await.unwrap();
    assert!(tester.bus.published().is_empty() && tester.mailer.sent().is_empty());
}
