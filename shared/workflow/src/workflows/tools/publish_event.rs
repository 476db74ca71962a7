use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Tool, ToolCall, schema_of};
use crate::{
    domain::{Failure, definition::Definition},
    engine::{Context, Semantics, Stop},
    ports::{EventBus, OutgoingEvent},
};

/// `publish_event {type, detail}`: tells other systems. At least once; subscribers deduplicate by
/// `idempotency_key`.
pub struct PublishEvent(pub Arc<dyn EventBus>);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The event's type.
    #[serde(rename = "type")]
    detail_type: String,
    /// What it says.
    detail: BTreeMap<String, Value>,
}

#[async_trait]
impl Tool for PublishEvent {
    fn name(&self) -> &'static str {
        "publish_event"
    }

    fn schema(&self) -> Value {
        schema_of::<Arguments>()
    }

    fn check(&self, _definition: &Definition, call: ToolCall<'_>) -> Result<(), Failure> {
        call.read::<Arguments>().map(drop)
    }

    async fn perform(&self, run: &mut Context, call: ToolCall<'_>) -> Result<Value, Stop> {
        let Arguments { detail_type, detail } = call.read()?;
        let event = OutgoingEvent { detail_type, detail: json!(detail) };
        run.effect(call.step, Semantics::AtLeastOnce, |key| async move {
            self.0.publish(key.as_str(), &event).await?;
            Ok(json!({ "published": event.detail_type }))
        })
        .await
    }
}
