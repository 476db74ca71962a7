//! Mail: what is sent, how often, and what is known of its outcome.

use base64::Engine as _;
use ihelper_adapters::ses::SesMailer;
use ihelper_testkit::mailer_contract;
use ihelper_workflow::{
    domain::{Failure, Kind, RunId, email::OutgoingMail},
    ports::Mailer as _,
};
use jiff::Timestamp;
use serde_json::json;

use crate::wire::{Answer, Wire, aws};

mailer_contract!(async { mailer(&taking().await) });

/// An endpoint that takes every mail.
async fn taking() -> Wire {
    Wire::start(|number, _| Answer::json(200, &json!({"MessageId": format!("m-{number}")}))).await
}

fn mailer(wire: &Wire) -> SesMailer {
    SesMailer::new(&wire.aws(), "Office <office@example.org>", Some("news")).unwrap()
}

fn run() -> RunId {
    RunId::new(Timestamp::UNIX_EPOCH, 7)
}

fn mail() -> OutgoingMail {
    OutgoingMail {
        to: "ann@example.com".to_owned(),
        subject: "Re: Question".to_owned(),
        text: "yes".to_owned(),
        in_reply_to: None,
        references: Vec::new(),
        is_reply: true,
    }
}

async fn failure_of(answer: Answer) -> (Failure, usize) {
    let wire = Wire::start(move |_, _| answer.clone()).await;
    let failure = mailer(&wire).send(run(), "send_response", &mail()).await.unwrap_err();
    (failure, wire.requests().len())
}

#[tokio::test]
async fn a_mail_whose_outcome_is_unknown_is_not_sent_again() {
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"Mess".to_vec();
    for (answer, kind) in [
        (Answer::HangUp, Kind::Connection),
        (Answer::Silence, Kind::Timeout),
        (Answer::Bytes(cut), Kind::Connection),
        (Answer::error(500, "InternalFailure"), Kind::Unknown),
        (Answer::error(503, "ServiceUnavailable"), Kind::Unknown),
    ] {
        let (failure, requests) = failure_of(answer.clone()).await;
        assert_eq!((failure.kind, failure.maybe_applied, requests), (kind, true, 1), "{answer:?}");
    }
}

#[tokio::test]
async fn a_mail_that_certainly_did_not_go_out_says_so() {
    for (answer, kind) in [
        (Answer::error(429, "TooManyRequestsException"), Kind::Throttled),
        (Answer::error(400, "LimitExceededException"), Kind::Throttled),
        (Answer::error(400, "MessageRejected"), Kind::Refused),
        (Answer::error(400, "MailFromDomainNotVerifiedException"), Kind::Refused),
        (Answer::error(400, "AccountSuspendedException"), Kind::Refused),
        (Answer::error(400, "SendingPausedException"), Kind::Refused),
        (Answer::error(400, "BadRequestException"), Kind::Validation),
        (Answer::error(403, "AccessDeniedException"), Kind::Authorization),
    ] {
        let (failure, requests) = failure_of(answer.clone()).await;
        assert_eq!((failure.kind, failure.maybe_applied, requests), (kind, false, 1), "{answer:?}");
        assert!(!failure.message.contains("ann@example.com"), "{failure}");
    }
}

#[tokio::test]
async fn without_a_connection_no_mail_went_out() {
    // A port that nobody listens on any more.
    let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let mailer = SesMailer::new(&aws(address), "office@example.org", None).unwrap();
    let failure = mailer.send(run(), "send_response", &mail()).await.unwrap_err();
    assert_eq!((failure.kind, failure.maybe_applied), (Kind::Connection, false));
}

#[tokio::test]
async fn a_recipient_that_is_none_is_refused_before_anything_is_sent() {
    let wire = taking().await;
    for to in ["", "ann@example.com, bob@example.com", "ann@example.com\r\nBcc: bob@example.com"] {
        let failure = mailer(&wire).send(run(), "s", &OutgoingMail { to: to.to_owned(), ..mail() }).await.unwrap_err();
        assert_eq!((failure.kind, failure.maybe_applied), (Kind::Validation, false));
    }
    assert!(wire.requests().is_empty());
    assert!(SesMailer::new(&wire.aws(), "nobody", None).is_err());
}

#[tokio::test]
async fn delivery_events_will_find_their_way_back() {
    let wire = taking().await;
    let receipt = mailer(&wire).send(run(), "execute_step:notify", &mail()).await.unwrap();
    assert_eq!(receipt.message_id, "m-0");
    let request = &wire.requests()[0];
    assert_eq!(request.target(), "POST /v2/email/outbound-emails");
    let sent = request.json();
    assert_eq!(sent["ConfigurationSetName"], "news");
    assert_eq!(sent["FromEmailAddress"], "office@example.org");
    assert_eq!(sent["Destination"], json!({"ToAddresses": ["ann@example.com"]}));
    assert_eq!(
        sent["EmailTags"],
        json!([{"Name": "run_id", "Value": run()}, {"Name": "step", "Value": "execute_step_notify"}])
    );
    let raw = base64::engine::general_purpose::STANDARD.decode(sent["Content"]["Raw"]["Data"].as_str().unwrap());
    let raw = String::from_utf8(raw.unwrap()).unwrap();
    assert!(raw.contains("\r\nTo: <ann@example.com>\r\n") && raw.contains("\r\n\r\nyes"), "{raw}");
    assert!(raw.contains("Content-Type: text/plain") && raw.contains("Content-Type: text/html"), "{raw}");
}
