//! One answer per sender and window, and what becomes of the claim when the answer does not go out.

use ihelper_testkit::WorkflowTester;
use ihelper_workflow::{
    domain::{Failure, Kind, Status},
    engine::{Retry, Retrying},
};
use serde_json::{Value, json};

use super::processed;

fn question(id: &str, from: &str) -> Value {
    json!({"id": id, "from": from, "content": "When are you open on Saturday?"})
}

#[tokio::test]
async fn sub_addresses_are_one_sender() {
    let tester = WorkflowTester::new();
    for number in 0..5 {
        let result = processed(&tester, question("q", &format!("Ann+{number}@Example.com"))).await;
        assert_eq!(result["response_generated"], number == 0, "{result}");
    }
    assert_eq!(tester.mailer.sent().len(), 1);
}

#[tokio::test]
async fn a_refused_mail_keeps_nobody_from_the_next_answer() {
    let tester = WorkflowTester::new();
    tester.mailer.fail_next(Failure::new(Kind::Refused, "the sender is not verified"));
    let run = tester.execute("email_processing", question("1", "ann@example.com")).await.unwrap();
    assert_eq!((run.status, run.error.unwrap().kind), (Status::Failed, Kind::Refused));
    let result = processed(&tester, question("2", "ann@example.com")).await;
    assert_eq!(result["response_generated"], true, "the sender's next mail is answered: {result}");
    assert_eq!(tester.mailer.sent().len(), 1);
}

#[tokio::test]
async fn a_retry_of_a_failed_run_sends_the_answer_unless_another_did_meanwhile() {
    for another_came in [false, true] {
        let tester = WorkflowTester::new();
        tester.mailer.fail_next(Failure::new(Kind::Refused, "the sender is not verified"));
        let failed = tester.execute("email_processing", question("1", "ann@example.com")).await.unwrap();
        if another_came {
            processed(&tester, question("2", "ann+2@example.com")).await;
        }
        let Retrying::Begun(again) = tester.control().retry(failed.id, &Retry::default()).await.unwrap() else {
            panic!("the run was not retried")
        };
        let run = tester.go_on(again.id).await.unwrap();
        assert_eq!(run.status, Status::Succeeded, "{:?}", run.error);
        assert_eq!(run.result.unwrap()["response_generated"], !another_came);
        assert_eq!(tester.mailer.sent().len(), 1, "one answer in the window, whoever sent it");
    }
}

#[tokio::test]
async fn who_repeats_an_answer_knowingly_is_not_kept_from_it() {
    let tester = WorkflowTester::new();
    let run = tester.execute("email_processing", question("1", "ann@example.com")).await.unwrap();
    let retry = Retry { from_step: Some("generate_response".to_owned()), repeat_effects: true, ..Retry::default() };
    for sent in [2, 2] {
        let Retrying::Begun(again) = tester.control().retry(run.id, &retry).await.unwrap() else {
            panic!("the run was not retried")
        };
        let again = tester.go_on(again.id).await.unwrap();
        assert_eq!(again.result.unwrap()["response_generated"], true);
        assert_eq!(tester.mailer.sent().len(), sent);
    }
    // The line's claim stands against everybody else.
    assert_eq!(processed(&tester, question("2", "ann@example.com")).await["response_generated"], false);
}

#[tokio::test]
async fn a_mail_of_unknown_outcome_keeps_its_claim() {
    let tester = WorkflowTester::new();
    tester.mailer.lose_next_answer(Failure::new(Kind::Timeout, "no answer"));
    let run = tester.execute("email_processing", question("1", "ann@example.com")).await.unwrap();
    assert_eq!(run.status, Status::Attention);
    assert_eq!(processed(&tester, question("2", "ann@example.com")).await["response_generated"], false);
    assert_eq!(tester.mailer.sent().len(), 1);
}

#[tokio::test]
async fn a_mail_that_certainly_did_not_go_out_is_sent_by_the_next_attempt() {
    let tester = WorkflowTester::new();
    for _ in 0..2 {
        tester.mailer.fail_next(Failure::new(Kind::Throttled, "slow down"));
    }
    let run = tester.execute("email_processing", question("1", "ann@example.com")).await.unwrap();
    assert_eq!((run.status, run.failed_attempts), (Status::Succeeded, 2));
    assert_eq!(tester.mailer.sent().len(), 1);
}
