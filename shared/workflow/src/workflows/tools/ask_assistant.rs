use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Tool, ToolCall, schema_of};
use crate::{
    domain::{Failure, definition::Definition},
    engine::{Context, Stop},
    ports::{Answer, Assistant},
};

/// `ask_assistant {instruction, text}`: what the assistant says about a text. A step without effect.
pub struct AskAssistant(pub Arc<dyn Assistant>);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// What to do with the text.
    instruction: String,
    /// The text.
    text: String,
}

#[async_trait]
impl Tool for AskAssistant {
    fn name(&self) -> &'static str {
        "ask_assistant"
    }

    fn schema(&self) -> Value {
        schema_of::<Arguments>()
    }

    fn check(&self, _definition: &Definition, call: ToolCall<'_>) -> Result<(), Failure> {
        call.read::<Arguments>().map(drop)
    }

    async fn perform(&self, run: &mut Context, call: ToolCall<'_>) -> Result<Value, Stop> {
        let Arguments { instruction, text } = call.read()?;
        let definition = run.definition();
        run.ask(call.step, || async {
            let answer = self.0.ask(&definition, &instruction, &text).await?;
            Ok(Answer { value: json!({ "answer": answer.value }), usage: answer.usage })
        })
        .await
    }
}
