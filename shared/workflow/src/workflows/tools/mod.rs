//! What plans are made of: one file per tool.
//!
//! | tool | repeated after a crash | an assistant may use it unasked |
//! |---|---|---|
//! | `ask_assistant` | until its answer is in the journal; it has no effect | yes |
//! | `set_record` | changes nothing | yes |
//! | `publish_event` | under the same key, by which subscribers know it | yes |
//! | `wait`, `request_approval` | goes on waiting; its mail is sent at most once | yes |
//! | `start_workflow` | starts the same run, which is one | no |
//! | `http_request` | with the same `Idempotency-Key` | no |
//! | `send_email` | never: the run needs attention | no |
//! | `mcp` | where the server says that it may be; else as `send_email` | no |

mod ask_assistant;
mod http_request;
mod mcp;
mod publish_event;
mod request_approval;
mod send_email;
mod set_record;
mod start_workflow;
mod wait;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub use self::{
    ask_assistant::AskAssistant, http_request::SendRequest, mcp::CallServer, publish_event::PublishEvent,
    request_approval::RequestApproval, send_email::SendEmail, set_record::SetRecord, start_workflow::StartWorkflow,
    wait::Wait,
};
use crate::{
    domain::{Failure, definition::Definition, input, plan::Plan, task::TaskInput, tool::ToolFacts},
    engine::{Context, Stop},
    templates,
};

/// Something a step of a plan can do.
#[async_trait]
pub trait Tool: Send + Sync {
    /// What plans call it: the name of one of the [`TOOLS`](crate::domain::tool::TOOLS).
    fn name(&self) -> &'static str;

    /// The JSON schema of its arguments.
    fn schema(&self) -> Value;

    /// Refuses arguments that it could not be performed with.
    ///
    /// # Errors
    /// This returns an error of kind `Validation` that names the argument.
    fn check(&self, definition: &Definition, call: ToolCall<'_>) -> Result<(), Failure>;

    /// Does it, as a step, an effect or a wait of the run, under the name of the plan's step.
    ///
    /// # Errors
    /// This returns an error of kind `Validation` when the arguments are not what the tool takes; it names
    /// the argument. Everything else that stops a step of a run stops it too.
    async fn perform(&self, run: &mut Context, call: ToolCall<'_>) -> Result<Value, Stop>;
}

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
    fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
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

fn schema_of<T: JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}

/// The tools of a deployment.
#[derive(Clone, Default)]
pub struct Toolbox {
    tools: BTreeMap<&'static str, Arc<dyn Tool>>,
    elsewhere: BTreeSet<&'static str>,
}

impl Toolbox {
    /// A box with these tools.
    pub fn new(tools: impl IntoIterator<Item = Arc<dyn Tool>>) -> Self {
        Self { tools: tools.into_iter().map(|tool| (tool.name(), tool)).collect(), elsewhere: BTreeSet::new() }
    }

    /// The same box, which knows that the workflow's consumer has these tools too: a plan that needs one of them is
    /// left to it.
    #[must_use]
    pub fn beside(mut self, names: impl IntoIterator<Item = &'static str>) -> Self {
        self.elsewhere.extend(names);
        self
    }

    /// Whether a plan needs a tool that only the workflow's consumer has.
    pub fn leaves(&self, plan: &Plan) -> bool {
        plan.steps.iter().any(|step| self.elsewhere.contains(step.tool.as_str()))
    }

    /// The tool of this name.
    ///
    /// # Errors
    /// This returns an error of kind `Validation` when this deployment has none; it lists those that it has.
    pub fn get(&self, name: &str) -> Result<&dyn Tool, Failure> {
        self.tools.get(name).map(AsRef::as_ref).ok_or_else(|| {
            let known = self.tools.keys().copied().collect::<Vec<_>>().join("`, `");
            let shown: String = name.chars().take(64).collect();
            let hint = match name {
                "http_request" => " (`security.http_hosts` is empty)",
                "mcp" => " (`mcp.servers` is empty)",
                _ => "",
            };
            Failure::validation(format!("there is no tool `{shown}` in this deployment{hint}; there are `{known}`"))
        })
    }

    /// Name and purpose of each tool that an assistant's plan may use.
    pub fn purposes(&self, definition: &Definition) -> Vec<(&'static str, &'static str)> {
        let facts = self.tools.keys().chain(&self.elsewhere).filter_map(|name| ToolFacts::of(name));
        facts.filter(|tool| definition.allows(tool)).map(|tool| (tool.name, tool.purpose)).collect()
    }

    /// Refuses a plan that this deployment cannot carry out, or that does what the definition does not allow, before
    /// any of it is done.
    ///
    /// # Errors
    /// This returns an error of kind `Validation` that names the step and what is wrong with it.
    pub fn check(&self, definition: &Definition, plan: &Plan) -> Result<(), Failure> {
        plan.check()?;
        for step in &plan.steps {
            let placed = |failure: Failure| failure.in_step(&step.id);
            if !ToolFacts::of(&step.tool).is_some_and(|facts| definition.allows(facts)) {
                let message = format!("the definition does not allow the tool `{}`", step.tool);
                return Err(placed(Failure::validation(message)));
            }
            if self.elsewhere.contains(step.tool.as_str()) {
                continue;
            }
            let tool = self.get(&step.tool).map_err(placed)?;
            check_names(&tool.schema(), &step.arguments).map_err(placed)?;
            // What holds a template is checked once it is filled.
            if !step.arguments.values().any(has_template) {
                let task = TaskInput::default();
                tool.check(definition, ToolCall { step: &step.id, task: &task, arguments: &step.arguments })?;
            }
        }
        Ok(())
    }
}

fn check_names(schema: &Value, arguments: &BTreeMap<String, Value>) -> Result<(), Failure> {
    let known: BTreeSet<&str> =
        schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    if let Some(unknown) = arguments.keys().find(|name| !known.contains(name.as_str())) {
        let shown: String = unknown.chars().filter(|character| !character.is_control()).take(64).collect();
        let known = known.into_iter().collect::<Vec<_>>().join("`, `");
        return Err(Failure::validation(format!("there is no argument `{shown}`; there are `{known}`")));
    }
    let mut required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    match required.find(|name| !arguments.contains_key(*name)) {
        Some(missing) => Err(Failure::validation(format!("argument `{missing}`: is missing"))),
        None => Ok(()),
    }
}

/// Whether a value holds a text that is still to be filled.
fn has_template(value: &Value) -> bool {
    match value {
        Value::String(text) => templates::is_template(text),
        Value::Array(items) => items.iter().any(has_template),
        Value::Object(fields) => fields.values().any(has_template),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
