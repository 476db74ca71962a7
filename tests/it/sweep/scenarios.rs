//! What is swept: the three workflows, and one that mixes everything the engine offers.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use ihelper_testkit::{Ports, faults::Scenario};
use ihelper_workflow::{
    domain::{Failure, RunId, WorkflowType, definition::Definition, document::ObjectRef, email::OutgoingMail, input},
    embedded,
    engine::{Context, Decision, EffectKey, Semantics, Stop, Workflow},
    ports::{Answer, OutgoingEvent, TrackingEntry},
};
use serde_json::{Value, json};

/// An email that lies in S3 and is answered.
pub(super) fn email() -> Scenario {
    let object = ObjectRef { bucket: "mail".to_owned(), key: "mail/m1".to_owned() };
    let message = "From: Ada <ada@example.com>\r\nTo: us@ihelper.example\r\nSubject: Opening hours\r\n\
        Message-ID: <1@example.com>\r\n\r\nWhen are you open on Saturday?\r\n";
    Scenario::new("email_processing", json!({"id": "m1", "s3": object})).with_object(object, message)
}

/// An email whose attachment is reviewed, and whose response waits for somebody who edits and approves it.
pub(super) fn reviewed() -> Scenario {
    let settings = r#"
workflow: email_processing
version: 1
# Shorter than the window of an answer, which is looked at when the last message came.
review: { when: always, within_seconds: 3600, reviewer: boss@ihelper.example }
attachments: { review: { criteria: [It names a price.], types: [text/*] } }
templates:
  acknowledge_question: { subject: "Re: {{ subject }}", text: "It has reached us." }
  acknowledgement: { subject: "Re: {{ subject }}", text: "It has reached us." }
"#;
    let object = ObjectRef { bucket: "mail".to_owned(), key: "mail/m2".to_owned() };
    let message = "From: Ada <ada@example.com>\r\nSubject: Offer\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n\
        --b\r\n\r\nCould you please look at this?\r\n--b\r\nContent-Type: text/plain\r\n\
        Content-Disposition: attachment; filename=offer.txt\r\n\r\nIt costs 12 EUR.\r\n--b--\r\n";
    Scenario::new("email_processing", json!({"id": "m2", "s3": object}))
        .with_definitions([Definition::parse(settings).unwrap()])
        .with_object(object, message)
        .answering(Decision::Approve, json!({"text": "It has reached us, and I read it."}))
}

/// A document that lies in S3 and is held against seven criteria, two more than at a time.
pub(super) fn document() -> Scenario {
    let object = ObjectRef { bucket: "documents".to_owned(), key: "documents/d1.txt".to_owned() };
    let criteria: Vec<String> = (1..=7).map(|number| format!("The document keeps rule {number}.")).collect();
    let data = json!({"id": "d1", "file": object, "review_criteria": criteria});
    Scenario::new("document_review", data).with_object(object, "Either party may terminate this agreement.")
}

/// A pinned plan of every tool, some steps side by side, with an approval that somebody gives and a request that always
/// fails.
pub(super) fn task() -> Scenario {
    let plan = r#"
workflow: task_automation
version: 1
recipients: { sales: sales@ihelper.example, boss: boss@ihelper.example }
plan:
  steps:
    - { id: summary, tool: ask_assistant, arguments: { instruction: summarize, text: "{{ task.description }}" } }
    - { id: record, tool: set_record, arguments: { name: summary, value: "{{ results.summary.answer }}" }, depends_on: [summary] }
    - { id: publish, tool: publish_event, arguments: { type: lead_read, detail: { about: "{{ results.summary.answer }}" } }, depends_on: [summary] }
    - { id: mail, tool: send_email, arguments: { recipient: sales, subject: Lead, text: "{{ results.summary.answer }}" }, depends_on: [summary] }
    - { id: pause, tool: wait, arguments: { seconds: 120 } }
    - { id: second, tool: ask_assistant, arguments: { instruction: weigh, text: x }, depends_on: [pause] }
    - { id: approve, tool: request_approval, arguments: { question: "Go on?", recipient: boss, within_seconds: 86400 }, depends_on: [mail], retry: { max_attempts: 6, delay: 20 } }
    - { id: start, tool: start_workflow, arguments: { type: email_processing, data: { id: e1, from: a@b.example, content: "{{ results.second.answer }}" } }, depends_on: [approve, second], when: "results.approve.approved" }
    - { id: skipped, tool: ask_assistant, arguments: { instruction: never, text: x }, depends_on: [approve], when: "not results.approve.approved" }
    - { id: call, tool: http_request, arguments: { method: POST, url: "https://crm.example/leads", json: { about: "{{ results.second.answer }}" } }, depends_on: [second], retry: { max_attempts: 6, delay: 30 }, timeout: 20 }
    - { id: missing, tool: http_request, arguments: { url: "https://crm.example/missing" }, depends_on: [summary], retry: { max_attempts: 6, delay: 10 }, on_failure: continue }
    - { id: after, tool: set_record, arguments: { name: missing, value: "{{ results.missing.error.kind }}" }, depends_on: [missing] }
    - { id: look, tool: mcp, arguments: { server: crm, tool: find, arguments: { name: "{{ results.summary.answer }}" } }, depends_on: [summary], retry: { max_attempts: 6 }, on_failure: skip }
"#;
    let data = json!({"id": "t1", "description": "A lead came in."});
    Scenario::new("task_automation", data)
        .with_definitions([Definition::parse(plan).unwrap()])
        .answering(Decision::Approve, json!({"note": "fine"}))
}

/// A workflow of forty steps, effects and waits, in order and side by side.
pub(super) fn mixed() -> Scenario {
    let mut definitions = embedded::definitions().unwrap();
    definitions.retain(|definition| definition.workflow == WorkflowType::TaskAutomation);
    Scenario::new("task_automation", json!({"id": "x1", "description": "Everything."}))
        .with_definitions(definitions)
        .with_object(item(), "an item")
        .with_workflow(|ports| Arc::new(Mixed(ports.clone())))
        .answering(Decision::Data, json!(42))
}

/// All of them, by name.
pub(super) fn all() -> [(&'static str, Scenario); 5] {
    [("email", email()), ("reviewed", reviewed()), ("document", document()), ("task", task()), ("mixed", mixed())]
}

fn item() -> ObjectRef {
    ObjectRef { bucket: "documents".to_owned(), key: "items/1".to_owned() }
}

struct Mixed(Ports);

#[async_trait]
impl Workflow for Mixed {
    fn workflow(&self) -> WorkflowType {
        WorkflowType::TaskAutomation
    }

    async fn execute(&self, run: &mut Context) -> Result<Value, Stop> {
        let mut thoughts = Vec::new();
        for number in 0..5 {
            thoughts.push(self.think(run, &format!("think {number}")).await?);
        }
        self.publish(run, "announce", "mixed_begun", json!(thoughts)).await?;

        let items = run.map(0..6, 3, |branch, item| self.look_after(branch, item)).await?;
        let (left, right) = run
            .join(
                |mut branch| async move {
                    let letter = self.think(&mut branch, "left").await?;
                    self.mail(&mut branch, "mail left", letter.clone()).await?;
                    Ok(letter)
                },
                |mut branch| async move {
                    branch.sleep("pause", Duration::from_secs(300)).await?;
                    self.think(&mut branch, "right").await
                },
            )
            .await?;

        let answer = self.ask_somebody(run).await?;
        let letters = run
            .map(0..3, 2, |mut branch, number| async move {
                let letter = self.think(&mut branch, "write").await?;
                self.mail(&mut branch, "post", format!("{number}: {letter}")).await?;
                Ok(letter)
            })
            .await?;
        self.start_another(run, &letters).await?;
        let last = self.think(run, "conclude").await?;
        self.mail(run, "report", format!("{last}, after {left} and {right}")).await?;
        self.track(run, "finish", "x1", json!(last)).await?;
        Ok(json!({
            "thoughts": thoughts, "items": items, "left": left, "right": right, "answer": answer,
            "letters": letters, "last": last, "api_calls": run.usage().api_calls,
        }))
    }
}

impl Mixed {
    async fn look_after(&self, mut branch: Context, item_number: usize) -> Result<Value, Stop> {
        let thought = self.think(&mut branch, "look").await?;
        let bytes = branch.step("size", || async { Ok(self.0.objects.head(&item()).await?.bytes) }).await?;
        self.track(&mut branch, "note", &format!("x1#{item_number}"), json!([thought, bytes])).await?;
        Ok(json!([thought, bytes]))
    }

    async fn think(&self, run: &mut Context, name: &str) -> Result<String, Stop> {
        let definition = run.definition();
        run.ask(name, || async {
            let answer: Answer<String> = self.0.assistant.ask(&definition, name, "").await?;
            Ok(answer)
        })
        .await
    }

    async fn publish(&self, run: &mut Context, name: &str, detail_type: &str, detail: Value) -> Result<(), Stop> {
        let event = OutgoingEvent { detail_type: detail_type.to_owned(), detail };
        let publish = |key: EffectKey| async move { self.0.bus.publish(key.as_str(), &event).await };
        run.effect(name, Semantics::AtLeastOnce, publish).await
    }

    async fn mail(&self, run: &mut Context, name: &str, text: String) -> Result<(), Stop> {
        let mail = OutgoingMail {
            to: "somebody@example.com".to_owned(),
            subject: name.to_owned(),
            text,
            in_reply_to: None,
            references: Vec::new(),
            is_reply: false,
        };
        let id = run.id();
        run.effect(
            name,
            Semantics::AtMostOnce,
            |key| async move { self.0.mailer.send(id, key.position(), &mail).await },
        )
        .await
        .map(|_receipt| ())
    }

    async fn track(&self, run: &mut Context, name: &str, data_id: &str, details: Value) -> Result<(), Stop> {
        let run_id = run.id();
        run.effect(name, Semantics::AtLeastOnce, |_key| async move {
            let entry = TrackingEntry {
                workflow: WorkflowType::TaskAutomation,
                data_id: data_id.to_owned(),
                run_id,
                status: "noted".to_owned(),
                details,
                at: self.0.clock.now(),
            };
            self.0.tracking.put(&entry).await
        })
        .await
    }

    async fn ask_somebody(&self, run: &mut Context) -> Result<Value, Stop> {
        let callback = run.callback("question", Duration::from_secs(86_400), &json!("how many?")).await?;
        let asks = json!({"run_id": run.id(), "name": callback.name(), "token": callback.token()});
        self.publish(run, "ask", "approval_requested", asks).await?;
        let reply = run.wait_for_callback(&callback).await?;
        Ok(reply.map(|reply| reply.data).unwrap_or_default())
    }

    async fn start_another(&self, run: &mut Context, letters: &[String]) -> Result<(), Stop> {
        let data = json!({"id": "e1", "from": "a@b.example", "content": letters.join(" ")});
        let input = input::parse(WorkflowType::EmailProcessing, data).map_err(Failure::from)?;
        run.effect("start", Semantics::AtLeastOnce, |key| async move {
            let id = RunId::derived(key.run().made_at(), &["mixed", key.as_str()]);
            self.0.queue.start(&input, id, "run:mixed").await
        })
        .await
    }
}
