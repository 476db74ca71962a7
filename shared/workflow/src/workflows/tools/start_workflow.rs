use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Tool, ToolCall, schema_of};
use crate::{
    domain::{
        Failure, RunId, WorkflowType,
        definition::Definition,
        input::{self, Input},
    },
    engine::{Context, Semantics, Stop},
    ports::Queue,
};

/// `start_workflow {type, data}`: starts another run and does not wait for it. At least once; the run's id follows
/// from this step, so it is one run however often the step is repeated.
pub struct StartWorkflow(pub Arc<dyn Queue>);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// `email_processing`, `document_review` or `task_automation`.
    #[serde(rename = "type")]
    workflow: String,
    /// The run's data.
    data: Value,
}

fn read(call: ToolCall<'_>) -> Result<Input, Failure> {
    let Arguments { workflow, data } = call.read()?;
    let workflow: WorkflowType = workflow.parse().map_err(|failure| call.wrong("type", failure))?;
    input::parse(workflow, data).map_err(|invalid| call.wrong("data", invalid))
}

#[async_trait]
impl Tool for StartWorkflow {
    fn name(&self) -> &'static str {
        "start_workflow"
    }

    fn schema(&self) -> Value {
        schema_of::<Arguments>()
    }

    fn check(&self, _definition: &Definition, call: ToolCall<'_>) -> Result<(), Failure> {
        read(call).map(drop)
    }

    async fn perform(&self, run: &mut Context, call: ToolCall<'_>) -> Result<Value, Stop> {
        let input = read(call)?;
        let parent = run.id();
        run.effect(call.step, Semantics::AtLeastOnce, |key| async move {
            let id = RunId::derived(key.run().made_at(), &["run", key.as_str()]);
            self.0.start(&input, id, &format!("run:{parent}")).await?;
            Ok(json!({ "run_id": id }))
        })
        .await
    }
}
