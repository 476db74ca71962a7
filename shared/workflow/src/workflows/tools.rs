//! What plans are made of.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    domain::{Failure, Kind, RunId, WorkflowType, definition::Definition, email::OutgoingMail, input, task::TaskInput},
    engine::{Callback, Context, Decision, EffectKey, Semantics, Stop},
    mail,
    ports::{Answer, Assistant, Clock, EventBus, Mailer, OutgoingEvent, Queue, Receipt, Tracking, TrackingEntry},
};

/// Something a step of a plan can do.
#[async_trait]
pub trait Tool: Send + Sync {
    /// What plans call it.
    fn name(&self) -> &'static str;

    /// What it is for and what it takes, in a sentence, for whoever plans.
    fn purpose(&self) -> &'static str;

    /// Does it, as a step, an effect or a wait of the run, under the name of the plan's step.
    ///
    /// # Errors
    /// This returns an error of kind `Validation` when the arguments are not what the tool takes; it names
    /// the argument. Everything else that stops a step of a run stops it too.
    async fn perform(&self, run: &mut Context, call: ToolCall<'_>) -> Result<Value, Stop>;
}

// Longer ones are folded or cut by mail programs in ways that nobody wants.
const LONGEST_SUBJECT: usize = 200;

/// A call of a tool.
#[derive(Clone, Copy)]
pub struct ToolCall<'a> {
    /// The id of the plan's step.
    pub step: &'a str,
    /// The task.
    pub task: &'a TaskInput,
    /// The arguments, templates filled.
    pub arguments: &'a BTreeMap<String, Value>,
}

impl ToolCall<'_> {
    fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_path_to_error::deserialize(json!(self.arguments))
            .map_err(|error| self.wrong(&error.path().to_string(), input::problem(error.inner())))
    }

    fn wrong(&self, argument: &str, problem: impl fmt::Display) -> Failure {
        Failure::validation(format!("argument `{argument}`: {problem}")).in_step(self.step)
    }

    /// Who is meant by a name among the definition's recipients.
    fn recipient(&self, definition: &Definition, name: &str) -> Result<String, Failure> {
        let address = definition.recipients.get(name).cloned();
        address.ok_or_else(|| self.wrong("recipient", "is not a name among the definition's `recipients`"))
    }
}

/// The tools of a deployment.
#[derive(Clone, Default)]
pub struct Toolbox(BTreeMap<&'static str, Arc<dyn Tool>>);

impl Toolbox {
    /// A box with these tools.
    pub fn new(tools: impl IntoIterator<Item = Arc<dyn Tool>>) -> Self {
        Self(tools.into_iter().map(|tool| (tool.name(), tool)).collect())
    }

    /// The tool of this name.
    ///
    /// # Errors
    /// This returns an error of kind `Validation` when there is none; it lists those that exist.
    pub fn get(&self, name: &str) -> Result<&dyn Tool, Failure> {
        self.0.get(name).map(AsRef::as_ref).ok_or_else(|| {
            let known = self.0.keys().copied().collect::<Vec<_>>().join("`, `");
            let shown: String = name.chars().take(64).collect();
            Failure::validation(format!("there is no tool `{shown}`; there are `{known}`"))
        })
    }

    /// Each tool's name and purpose.
    pub fn purposes(&self) -> Vec<(&'static str, &'static str)> {
        self.0.values().map(|tool| (tool.name(), tool.purpose())).collect()
    }
}

/// `ask_assistant {instruction, text}`: what the assistant says about a text. A step without effect.
pub struct AskAssistant(pub Arc<dyn Assistant>);

#[async_trait]
impl Tool for AskAssistant {
    fn name(&self) -> &'static str {
        "ask_assistant"
    }

    fn purpose(&self) -> &'static str {
        "answers an `instruction` about a `text`: summarizes, extracts, drafts"
    }

    async fn perform(&self, run: &mut Context, call: ToolCall<'_>) -> Result<Value, Stop> {
        #[derive(Deserialize)]
        struct Arguments {
            instruction: String,
            text: String,
        }
        let Arguments { instruction, text } = call.read()?;
        let definition = run.definition();
        run.ask(call.step, || async {
            let answer = self.0.ask(&definition, &instruction, &text).await?;
            Ok(Answer { value: json!({ "answer": answer.value }), usage: answer.usage })
        })
        .await
    }
}

/// `publish_event {type, detail}`: tells other systems. At least once; subscribers deduplicate by
/// `idempotency_key`.
pub struct PublishEvent(pub Arc<dyn EventBus>);

#[async_trait]
impl Tool for PublishEvent {
    fn name(&self) -> &'static str {
        "publish_event"
    }

    fn purpose(&self) -> &'static str {
        "publishes an event of a `type` with an object `detail` on the bus, for other systems"
    }

    async fn perform(&self, run: &mut Context, call: ToolCall<'_>) -> Result<Value, Stop> {
        #[derive(Deserialize)]
        struct Arguments {
            #[serde(rename = "type")]
            detail_type: String,
            detail: BTreeMap<String, Value>,
        }
        let Arguments { detail_type, detail } = call.read()?;
        let event = OutgoingEvent { detail_type, detail: json!(detail) };
        run.effect(call.step, Semantics::AtLeastOnce, |key| async move {
            self.0.publish(key.as_str(), &event).await?;
            Ok(json!({ "published": event.detail_type }))
        })
        .await
    }
}

/// `set_record {name, value}`: keeps a named value beside the task, where others look it up. At least once;
/// repeating it changes nothing.
pub struct SetRecord {
    /// Where records are kept.
    pub tracking: Arc<dyn Tracking>,
    /// Tells when.
    pub clock: Arc<dyn Clock>,
}

#[async_trait]
impl Tool for SetRecord {
    fn name(&self) -> &'static str {
        "set_record"
    }

    fn purpose(&self) -> &'static str {
        "keeps a `value` under a `name` beside the task: a checklist entry, a decision, a figure"
    }

    async fn perform(&self, run: &mut Context, call: ToolCall<'_>) -> Result<Value, Stop> {
        #[derive(Deserialize)]
        struct Arguments {
            name: String,
            value: Value,
        }
        let Arguments { name, value } = call.read()?;
        if name.is_empty() || name.len() > 256 || name.contains('#') {
            return Err(call.wrong("name", "must have 1 to 256 bytes and no `#`").into());
        }
        let run_id = run.id();
        run.effect(call.step, Semantics::AtLeastOnce, |_key| async move {
            let entry = TrackingEntry {
                workflow: WorkflowType::TaskAutomation,
                data_id: format!("{}#{name}", call.task.id),
                run_id,
                status: "recorded".to_owned(),
                details: value.clone(),
                at: self.clock.now(),
            };
            self.tracking.put(&entry).await?;
            Ok(json!({ "record": name, "value": value }))
        })
        .await
    }
}

/// `send_email {recipient, subject, text}`: writes to someone whom the definition names. At most once.
pub struct SendEmail(pub Arc<dyn Mailer>);

#[async_trait]
impl Tool for SendEmail {
    fn name(&self) -> &'static str {
        "send_email"
    }

    fn purpose(&self) -> &'static str {
        "sends an email with `subject` and `text` to a `recipient` that the definition names"
    }

    async fn perform(&self, run: &mut Context, call: ToolCall<'_>) -> Result<Value, Stop> {
        #[derive(Deserialize)]
        struct Arguments {
            recipient: String,
            subject: String,
            text: String,
        }
        let Arguments { recipient, subject, text } = call.read()?;
        let to = call.recipient(&run.definition(), &recipient)?;
        // What a delivery event settles the step with is a receipt too.
        send(run, call.step, self.0.as_ref(), note_to(to, &subject, text)).await.map(|receipt| json!(receipt))
    }
}

async fn send(run: &mut Context, step: &str, mailer: &dyn Mailer, mail: OutgoingMail) -> Result<Receipt, Stop> {
    let id = run.id();
    let send = |key: EffectKey| async move { mailer.send(id, key.position(), &mail).await };
    run.effect(step, Semantics::AtMostOnce, send).await
}

fn note_to(to: String, subject: &str, text: String) -> OutgoingMail {
    OutgoingMail {
        to,
        subject: mail::one_line(subject, LONGEST_SUBJECT),
        text,
        in_reply_to: None,
        references: Vec::new(),
        is_reply: false,
    }
}

/// `start_workflow {type, data}`: starts another run and does not wait for it. At least once; the run's id follows
/// from this step, so it is one run however often the step is repeated.
pub struct StartWorkflow(pub Arc<dyn Queue>);

#[async_trait]
impl Tool for StartWorkflow {
    fn name(&self) -> &'static str {
        "start_workflow"
    }

    fn purpose(&self) -> &'static str {
        "starts a run of the workflow `type` on `data` and goes on without waiting for it"
    }

    async fn perform(&self, run: &mut Context, call: ToolCall<'_>) -> Result<Value, Stop> {
        #[derive(Deserialize)]
        struct Arguments {
            #[serde(rename = "type")]
            workflow: String,
            data: Value,
        }
        let Arguments { workflow, data } = call.read()?;
        let workflow = workflow.parse().map_err(|failure| call.wrong("type", failure))?;
        let input = input::parse(workflow, data).map_err(|invalid| call.wrong("data", invalid))?;
        let parent = run.id();
        run.effect(call.step, Semantics::AtLeastOnce, |key| async move {
            let id = RunId::derived(key.run().made_at(), &["run", key.as_str()]);
            self.0.start(&input, id, &format!("run:{parent}")).await?;
            Ok(json!({ "run_id": id }))
        })
        .await
    }
}

/// `wait {seconds}` or `wait {until}`: goes on later, and takes up nothing meanwhile.
pub struct Wait(pub Arc<dyn Clock>);

#[async_trait]
impl Tool for Wait {
    fn name(&self) -> &'static str {
        "wait"
    }

    fn purpose(&self) -> &'static str {
        "waits for a number of `seconds`, or `until` a time of RFC 3339"
    }

    async fn perform(&self, run: &mut Context, call: ToolCall<'_>) -> Result<Value, Stop> {
        #[derive(Deserialize)]
        struct Arguments {
            seconds: Option<u64>,
            until: Option<Timestamp>,
        }
        let duration = match call.read()? {
            Arguments { seconds: Some(seconds), until: None } => Duration::from_secs(seconds),
            Arguments { seconds: None, until: Some(until) } => {
                Duration::try_from(until.duration_since(self.0.now())).unwrap_or(Duration::ZERO)
            }
            _ => return Err(call.wrong("seconds", "either this or `until` is needed, and not both").into()),
        };
        run.sleep(call.step, duration).await?;
        Ok(Value::Null)
    }
}

/// `request_approval {question, details?, recipient?, within_seconds?, otherwise?}`: asks a person and waits for the
/// answer, a day unless said. The question goes out as the event `approval_requested`, with its token, and as an
/// email to a recipient whom the definition names. Unanswered, the step comes out as `otherwise` says: `reject`
/// (the default), `approve` or `fail`.
pub struct RequestApproval {
    /// Hears of each question.
    pub bus: Arc<dyn EventBus>,
    /// Writes to the person.
    pub mailer: Arc<dyn Mailer>,
    /// Where people reach the API; without it the links are paths.
    pub public_url: Option<String>,
}

const ONE_DAY: u64 = 86_400;

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Otherwise {
    Approve,
    #[default]
    Reject,
    Fail,
}

#[async_trait]
impl Tool for RequestApproval {
    fn name(&self) -> &'static str {
        "request_approval"
    }

    fn purpose(&self) -> &'static str {
        "asks a person a yes-or-no `question`, by email to a `recipient` that the definition names, and waits for the answer"
    }

    async fn perform(&self, run: &mut Context, call: ToolCall<'_>) -> Result<Value, Stop> {
        #[derive(Deserialize)]
        struct Arguments {
            question: String,
            #[serde(default)]
            details: Value,
            recipient: Option<String>,
            #[serde(default = "one_day")]
            within_seconds: u64,
            #[serde(default)]
            otherwise: Otherwise,
        }
        const fn one_day() -> u64 {
            ONE_DAY
        }
        let Arguments { question, details, recipient, within_seconds, otherwise } = call.read()?;
        let to = recipient.map(|name| call.recipient(&run.definition(), &name)).transpose()?;

        let asks = json!({ "question": question, "details": details });
        let approval = run.callback(call.step, Duration::from_secs(within_seconds), &asks).await?;
        let url = self.url_of(run.id(), &approval);
        self.announce(run, call.step, &approval, &question, &url).await?;
        if let Some(to) = to {
            let text = format!(
                "{question}\n\nDecide here, until {}:\n{url}\n\nWhoever has this link can decide, once.\n",
                approval.deadline().strftime("%Y-%m-%d %H:%M UTC")
            );
            let mail = note_to(to, &format!("Approval needed: {question}"), text);
            send(run, &format!("{}.mail", call.step), self.mailer.as_ref(), mail).await?;
        }
        match (run.wait_for_callback(&approval).await?, otherwise) {
            (Some(reply), _) => Ok(json!({
                "approved": reply.decision == Decision::Approve,
                "decision": reply.decision,
                "data": reply.data,
                "by": reply.by,
            })),
            (None, Otherwise::Fail) => {
                Err(Failure::new(Kind::Expired, "nobody decided in time").in_step(call.step).into())
            }
            (None, otherwise) => Ok(json!({
                "approved": matches!(otherwise, Otherwise::Approve),
                "decision": Decision::Expired,
            })),
        }
    }
}

impl RequestApproval {
    fn url_of(&self, run: RunId, approval: &Callback) -> String {
        let base = self.public_url.as_deref().unwrap_or_default();
        format!("{base}/workflow/runs/{run}/callbacks/{}?token={}", approval.name(), approval.token())
    }

    async fn announce(
        &self,
        run: &mut Context,
        step: &str,
        approval: &Callback,
        question: &str,
        url: &str,
    ) -> Result<(), Stop> {
        let event = OutgoingEvent {
            detail_type: "approval_requested".to_owned(),
            detail: json!({
                "run_id": run.id(),
                "name": approval.name(),
                "question": question,
                "token": approval.token(),
                "url": url,
                "deadline": approval.deadline(),
            }),
        };
        run.effect(&format!("{step}.announce"), Semantics::AtLeastOnce, |key| async move {
            self.bus.publish(key.as_str(), &event).await
        })
        .await
    }
}
