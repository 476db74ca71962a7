//! Two bundles that answer each other stop after one mail each.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use ihelper_adapters::ses;
use ihelper_testkit::WorkflowTester;
use ihelper_workflow::{
    domain::{
        Failure, RunId, WorkflowType,
        definition::Definition,
        document::{Content, Criterion, Review},
        email::{Category, Draft, Email, EmailAnalysis, Urgency},
        input,
        run::{Origin, Trigger, Usage},
        task::{Plan, StepResult, TaskInput, TaskReport},
    },
    embedded,
    engine::{Deadline, Outcome, Worker},
    ports::{Answer, Assistant, Clock as _, Entropy as _},
    rules::RulesAssistant,
    workflows::EmailProcessing,
};
use serde_json::{Value, json};

use super::raw;

/// Somebody who answers everything, whatever it is and whoever sent it.
struct Eager;

#[async_trait]
impl Assistant for Eager {
    fn model(&self) -> &str {
        "eager"
    }

    async fn analyze_email(&self, _: &Definition, email: &Email) -> Result<Answer<EmailAnalysis>, Failure> {
        let analysis = EmailAnalysis {
            category: Category::Question,
            intent: email.text.clone(),
            urgency: Urgency::High,
            requires_response: true,
            template: "any".to_owned(),
            context: Default::default(),
            language: None,
            confidence: 1.0,
            reasons: Vec::new(),
        };
        Ok(Answer { value: analysis, usage: Usage::default() })
    }

    async fn generate_response(
        &self,
        _: &Definition,
        _: &str,
        _: &std::collections::BTreeMap<String, Value>,
    ) -> Result<Answer<Draft>, Failure> {
        let draft = Draft { subject: "And you?".to_owned(), text: "Please answer at once. When?".to_owned() };
        Ok(Answer { value: draft, usage: Usage::default() })
    }

    async fn review_document(&self, _: &Definition, _: &Content, _: &Criterion) -> Result<Answer<Review>, Failure> {
        unreachable!("mail only")
    }

    async fn analyze_task(&self, _: &Definition, _: &TaskInput, _: &[(&str, &str)]) -> Result<Answer<Plan>, Failure> {
        unreachable!("mail only")
    }

    async fn generate_report(
        &self,
        _: &Definition,
        _: &TaskInput,
        _: &[StepResult],
    ) -> Result<Answer<TaskReport>, Failure> {
        unreachable!("mail only")
    }

    async fn ask(&self, _: &Definition, _: &str, _: &str) -> Result<Answer<String>, Failure> {
        unreachable!("mail only")
    }
}

/// A bundle with an address, a memory and a clock of its own.
struct Bundle {
    tester: WorkflowTester,
    worker: Worker,
    address: &'static str,
    /// How many of the mails that it sent were fetched.
    fetched: std::cell::Cell<usize>,
}

impl Bundle {
    fn new(address: &'static str, assistant: Arc<dyn Assistant>) -> Self {
        let tester = WorkflowTester::with_assistant(embedded::definitions().unwrap(), assistant);
        let ports = tester.ports().clone();
        let worker = tester.worker_with([Arc::new(EmailProcessing {
            assistant: ports.assistant,
            mailer: ports.mailer,
            answers: ports.answers,
            objects: ports.objects,
            queue: ports.queue,
            bus: ports.bus,
            tracking: ports.tracking,
            clock: ports.clock,
            own_address: address.to_owned(),
            public_url: None,
        }) as Arc<_>]);
        Self { tester, worker, address, fetched: std::cell::Cell::new(0) }
    }

    /// Takes in a message as it came over the wire.
    async fn receive(&self, message: &[u8]) {
        let now = self.tester.clock.now();
        let id = RunId::new(now, self.tester.entropy.random());
        let input = input::parse(WorkflowType::EmailProcessing, raw(&id.to_string(), message)).unwrap();
        let origin = Origin { trigger: Trigger::Event, id: id.to_string(), caller: "ses".to_owned() };
        let deadline = Deadline::at(now + Duration::from_secs(300));
        match self.worker.start(&input, id, origin, deadline).await.unwrap() {
            Outcome::Ended { run, .. } => assert_eq!(run.result.unwrap()["status"], "success"),
            other => panic!("{other:?}"),
        }
    }

    /// The mails that it sent since the last time, as they go over the wire.
    fn sent(&self) -> Vec<(String, Vec<u8>)> {
        let sent = self.tester.mailer.sent();
        let new = &sent[self.fetched.replace(sent.len())..];
        let wire = |mail| ses::message(&format!("Office <{}>", self.address), mail).unwrap();
        new.iter().map(|sent| (sent.mail.to.clone(), wire(&sent.mail))).collect()
    }
}

/// Lets the two write to each other until both are silent; gives how many mails each sent.
async fn converse(one: &Bundle, other: &Bundle, on_the_way: impl Fn(Vec<u8>) -> Vec<u8>) -> (usize, usize) {
    let first = format!("From: {}\r\nSubject: Hello\r\n\r\nWhen are you open? Please answer.\r\n", other.address);
    one.receive(first.as_bytes()).await;
    for _round in 0..100 {
        let mut is_silent = true;
        for (from, to) in [(one, other), (other, one)] {
            for (recipient, message) in from.sent() {
                assert_eq!(recipient, to.address);
                is_silent = false;
                to.receive(&on_the_way(message)).await;
            }
        }
        // Hours pass, but no window.
        one.tester.clock.advance(Duration::from_secs(300));
        other.tester.clock.advance(Duration::from_secs(500));
        if is_silent {
            break;
        }
    }
    (one.tester.mailer.sent().len(), other.tester.mailer.sent().len())
}

/// The message without what says that a machine wrote it, as a bad gateway makes it.
fn stripped(message: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8(message).unwrap();
    let marks = ["Auto-Submitted:", "X-Auto-Response-Suppress:", "Precedence:"];
    let kept: Vec<&str> = text.split("\r\n").filter(|line| !marks.iter().any(|mark| line.starts_with(mark))).collect();
    assert!(!kept.join("\n").contains("auto-replied"));
    kept.join("\r\n").into_bytes()
}

fn pairs() -> [(Arc<dyn Assistant>, Arc<dyn Assistant>); 3] {
    [
        (Arc::new(RulesAssistant), Arc::new(RulesAssistant)),
        (Arc::new(RulesAssistant), Arc::new(Eager)),
        (Arc::new(Eager), Arc::new(Eager)),
    ]
}

#[tokio::test]
async fn two_bundles_that_answer_each_other_stop_after_one_mail() {
    for (one, other) in pairs() {
        let (one, other) = (Bundle::new("one@a.example", one), Bundle::new("two@b.example", other));
        assert_eq!(converse(&one, &other, |message| message).await, (1, 0), "the answer of a machine is not answered");
    }
}

#[tokio::test]
async fn they_stop_after_one_mail_each_even_when_nobody_can_tell_that_they_are_machines() {
    for (one, other) in pairs() {
        let is_eager = other.model() == "eager";
        let (one, other) = (Bundle::new("one@a.example", one), Bundle::new("two@b.example", other));
        let (sent, answered) = converse(&one, &other, stripped).await;
        assert_eq!(sent, 1);
        assert!(answered <= 1 && (answered == 1 || !is_eager), "{answered}");
    }
}

#[tokio::test]
async fn sub_addresses_and_forged_names_do_not_keep_them_going() {
    let (one, other) = (Bundle::new("one@a.example", Arc::new(Eager)), Bundle::new("two@b.example", Arc::new(Eager)));
    let mut number = 0;
    let numbered = |message: Vec<u8>, number: usize| {
        let text = String::from_utf8(stripped(message)).unwrap();
        text.replace("<two@b.example>", &format!("<two+{number}@B.example>")).into_bytes()
    };
    other.receive(b"From: one@a.example\r\n\r\nWhen?\r\n").await;
    for _round in 0..20 {
        for (_, message) in other.sent() {
            number += 1;
            one.receive(&numbered(message, number)).await;
        }
        for (_, message) in one.sent() {
            other.receive(&stripped(message)).await;
        }
        // Somebody else starts it again, from yet another address of the same mailbox.
        number += 1;
        one.receive(format!("From: two+{number}@b.example\r\n\r\nWhen?\r\n").as_bytes()).await;
    }
    assert_eq!((one.tester.mailer.sent().len(), other.tester.mailer.sent().len()), (1, 1));
}

#[test]
fn what_goes_out_says_that_a_machine_wrote_it() {
    let mail = ihelper_workflow::domain::email::OutgoingMail {
        to: "a@b.example".to_owned(),
        subject: "Re: x".to_owned(),
        text: "<b>Hi</b>".to_owned(),
        in_reply_to: None,
        references: Vec::new(),
        is_reply: true,
    };
    let message = ses::message("one@a.example", &mail).unwrap();
    let email = ihelper_workflow::mail::read_message("1", &message, "x@y.example", &Default::default()).unwrap();
    assert!(email.no_reply_because.unwrap().contains("Auto-Submitted"));
    assert_eq!(email.text, "<b>Hi</b>", "the plain form is read");
    assert_eq!(json!(email.attachments), json!([]));
}
