use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Tool, ToolCall, schema_of};
use crate::{
    domain::{Failure, definition::Definition},
    engine::{Context, Stop},
    ports::Clock,
};

/// `wait {seconds}` or `wait {until}`: goes on later, and takes up nothing meanwhile.
pub struct Wait(pub Arc<dyn Clock>);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// How long.
    seconds: Option<u64>,
    /// Until when: a time of RFC 3339.
    #[schemars(with = "Option<String>")]
    until: Option<Timestamp>,
}

impl Wait {
    fn duration(&self, call: ToolCall<'_>) -> Result<Duration, Failure> {
        match call.read()? {
            Arguments { seconds: Some(seconds), until: None } => Ok(Duration::from_secs(seconds)),
            Arguments { seconds: None, until: Some(until) } => {
                Ok(Duration::try_from(until.duration_since(self.0.now())).unwrap_or(Duration::ZERO))
            }
            _ => Err(call.wrong("seconds", "either this or `until` is needed, and not both")),
        }
    }
}

#[async_trait]
impl Tool for Wait {
    fn name(&self) -> &'static str {
        "wait"
    }

    fn schema(&self) -> Value {
        schema_of::<Arguments>()
    }

    fn check(&self, _definition: &Definition, call: ToolCall<'_>) -> Result<(), Failure> {
        self.duration(call).map(drop)
    }

    async fn perform(&self, run: &mut Context, call: ToolCall<'_>) -> Result<Value, Stop> {
        let duration = self.duration(call)?;
        run.sleep(call.step, duration).await?;
        Ok(Value::Null)
    }
}
