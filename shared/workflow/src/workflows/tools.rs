//! What plans are made of.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    domain::{
        Failure, Kind, Run, RunId, WorkflowType, definition::Definition, email::OutgoingMail, input, task::TaskInput,
    },
    engine::{EffectKey, Semantics},
    mail,
    ports::{Answer, Assistant, Clock, EventBus, Mailer, OutgoingEvent, Queue, Tracking, TrackingEntry},
};

/// Something a step of a plan can do.
#[async_trait]
pub trait Tool: Send + Sync {
    /// What plans call it.
    fn name(&self) -> &'static str;

    /// What it is for and what it takes, in a sentence, for whoever plans.
    fn purpose(&self) -> &'static str;

    /// How often its effect may happen; `None` for a tool that has none.
    fn semantics(&self) -> Option<Semantics>;

    /// Does it.
    ///
    /// # Errors
    /// This returns an error of kind `Validation` when the arguments are not what the tool takes; it names
    /// the argument.
    async fn call(&self, call: ToolCall<'_>) -> Result<Answer<Value>, Failure>;
}

// Longer ones are folded or cut by mail programs in ways that nobody wants.
const LONGEST_SUBJECT: usize = 200;

/// A call of a tool.
pub struct ToolCall<'a> {
    /// The run.
    pub run: &'a Run,
    /// The run's definition.
    pub definition: &'a Definition,
    /// The task.
    pub task: &'a TaskInput,
    /// The arguments, templates filled.
    pub arguments: &'a BTreeMap<String, Value>,
    /// The effect's stable key, for the other side to deduplicate by; a tool without effects has none.
    pub key: Option<EffectKey>,
}

impl ToolCall<'_> {
    fn key(&self) -> Result<&EffectKey, Failure> {
        self.key.as_ref().ok_or_else(|| Failure::new(Kind::Unknown, "a tool with effects was called without a key"))
    }

    fn read<T: serde::de::DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_path_to_error::deserialize(json!(self.arguments)).map_err(|error| {
            Failure::validation(format!("argument `{}`: {}", error.path(), input::problem(error.inner())))
        })
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

/// `ask_assistant {instruction, text}`: what the assistant says about a text.
pub struct AskAssistant(pub Arc<dyn Assistant>);

#[async_trait]
impl Tool for AskAssistant {
    fn name(&self) -> &'static str {
        "ask_assistant"
    }

    fn purpose(&self) -> &'static str {
        "answers an `instruction` about a `text`: summarizes, extracts, drafts"
    }

    fn semantics(&self) -> Option<Semantics> {
        None
    }

    async fn call(&self, call: ToolCall<'_>) -> Result<Answer<Value>, Failure> {
        #[derive(Deserialize)]
        struct Arguments {
            instruction: String,
            text: String,
        }
        let Arguments { instruction, text } = call.read()?;
        let answer = self.0.ask(call.definition, &instruction, &text).await?;
        Ok(Answer { value: json!({ "answer": answer.value }), usage: answer.usage })
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

    fn semantics(&self) -> Option<Semantics> {
        Some(Semantics::AtLeastOnce)
    }

    async fn call(&self, call: ToolCall<'_>) -> Result<Answer<Value>, Failure> {
        #[derive(Deserialize)]
        struct Arguments {
            #[serde(rename = "type")]
            detail_type: String,
            detail: BTreeMap<String, Value>,
        }
        let Arguments { detail_type, detail } = call.read()?;
        self.0
            .publish(call.key()?.as_str(), &OutgoingEvent { detail_type: detail_type.clone(), detail: json!(detail) })
            .await?;
        Ok(done(json!({ "published": detail_type })))
    }
}

/// `set_record {name, value}`: keeps a named value beside the task, where others look it up. Repeating it
/// changes nothing.
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

    fn semantics(&self) -> Option<Semantics> {
        Some(Semantics::AtLeastOnce)
    }

    async fn call(&self, call: ToolCall<'_>) -> Result<Answer<Value>, Failure> {
        #[derive(Deserialize)]
        struct Arguments {
            name: String,
            value: Value,
        }
        let Arguments { name, value } = call.read()?;
        if name.is_empty() || name.len() > 256 || name.contains('#') {
            return Err(Failure::validation("argument `name`: must have 1 to 256 bytes and no `#`"));
        }
        let entry = TrackingEntry {
            workflow: WorkflowType::TaskAutomation,
            data_id: format!("{}#{name}", call.task.id),
            run_id: call.run.id,
            status: "recorded".to_owned(),
            details: value.clone(),
            at: self.clock.now(),
        };
        self.tracking.put(&entry).await?;
        Ok(done(json!({ "record": name, "value": value })))
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

    fn semantics(&self) -> Option<Semantics> {
        Some(Semantics::AtMostOnce)
    }

    async fn call(&self, call: ToolCall<'_>) -> Result<Answer<Value>, Failure> {
        #[derive(Deserialize)]
        struct Arguments {
            recipient: String,
            subject: String,
            text: String,
        }
        let Arguments { recipient, subject, text } = call.read()?;
        let to = call.definition.recipients.get(&recipient).ok_or_else(|| {
            Failure::validation("argument `recipient`: is not a name among the definition's `recipients`")
        })?;
        let mail = OutgoingMail {
            to: to.clone(),
            subject: mail::one_line(&subject, LONGEST_SUBJECT),
            text,
            in_reply_to: None,
            references: Vec::new(),
            is_reply: false,
        };
        // What a delivery event settles the step with is a receipt too.
        Ok(done(json!(self.0.send(call.run.id, call.key()?.position(), &mail).await?)))
    }
}

/// `start_workflow {type, data}`: starts another run and does not wait for it. The run's id follows from
/// this step, so it is one run however often the step is repeated.
pub struct StartWorkflow(pub Arc<dyn Queue>);

#[async_trait]
impl Tool for StartWorkflow {
    fn name(&self) -> &'static str {
        "start_workflow"
    }

    fn purpose(&self) -> &'static str {
        "starts a run of the workflow `type` on `data` and goes on without waiting for it"
    }

    fn semantics(&self) -> Option<Semantics> {
        Some(Semantics::AtLeastOnce)
    }

    async fn call(&self, call: ToolCall<'_>) -> Result<Answer<Value>, Failure> {
        #[derive(Deserialize)]
        struct Arguments {
            #[serde(rename = "type")]
            workflow: String,
            data: Value,
        }
        let Arguments { workflow, data } = call.read()?;
        let input = input::parse(workflow.parse()?, data)?;
        let id = RunId::derived(call.run.created_at, &["run", call.key()?.as_str()]);
        self.0.start(&input, id, &format!("run:{}", call.run.id)).await?;
        Ok(done(json!({ "run_id": id })))
    }
}

fn done(value: Value) -> Answer<Value> {
    Answer { value, usage: Default::default() }
}
