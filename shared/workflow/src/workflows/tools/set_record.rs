use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Tool, ToolCall, schema_of};
use crate::{
    domain::{Failure, WorkflowType, definition::Definition},
    engine::{Context, Semantics, Stop},
    ports::{Clock, Tracking, TrackingEntry},
};

/// `set_record {name, value}`: keeps a named value beside the task, where others look it up. At least once;
/// repeating it changes nothing.
pub struct SetRecord {
    /// Where records are kept.
    pub tracking: Arc<dyn Tracking>,
    /// Tells when.
    pub clock: Arc<dyn Clock>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// What it is called: 1 to 256 bytes without `#`.
    name: String,
    /// What is kept.
    value: Value,
}

fn read(call: ToolCall<'_>) -> Result<Arguments, Failure> {
    let arguments: Arguments = call.read()?;
    let name = &arguments.name;
    if name.is_empty() || name.len() > 256 || name.contains('#') {
        return Err(call.wrong("name", "must have 1 to 256 bytes and no `#`"));
    }
    Ok(arguments)
}

#[async_trait]
impl Tool for SetRecord {
    fn name(&self) -> &'static str {
        "set_record"
    }

    fn schema(&self) -> Value {
        schema_of::<Arguments>()
    }

    fn check(&self, _definition: &Definition, call: ToolCall<'_>) -> Result<(), Failure> {
        read(call).map(drop)
    }

    async fn perform(&self, run: &mut Context, call: ToolCall<'_>) -> Result<Value, Stop> {
        let Arguments { name, value } = read(call)?;
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
