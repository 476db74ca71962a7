//! Models of Amazon Bedrock, by Converse.
//!
//! Invariants: one call is one request, since the SDK's own retries are off: the router goes on to another node instead;
//! what the service says in words stays out of messages, since that may repeat a prompt.
//!
//! Where a node says that its model has a prompt cache, marks stand behind what is the same for many requests: the system
//! prompt, and the stable part of the question.
//!
//! Deliberately absent: streaming, guardrails (they are set on the account's side), and time limits of its own beyond the
//! connection's: the router's count.

use std::{collections::HashMap, fmt, time::Duration};

use async_trait::async_trait;
use aws_sdk_bedrockruntime::{
    Client,
    operation::converse::{ConverseError, ConverseOutput},
    types::{
        self, CachePointBlock, CachePointType, ContentBlock, ConversationRole, InferenceConfiguration,
        JsonSchemaDefinition, Message, OutputConfig, OutputFormat, OutputFormatStructure, OutputFormatType,
        SpecificToolChoice, StopReason, SystemContentBlock, TokenUsage, Tool, ToolChoice, ToolConfiguration,
        ToolInputSchema, ToolSpecification,
    },
};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::{Document, Number, error::metadata::ProvideErrorMetadata};
use ihelper_workflow::{
    domain::{
        Kind,
        configuration::{NodeSettings, Structured},
    },
    ports::{Model, ModelAnswer, ModelFailure, ModelFault, ModelRequest, Speaker, Tokens, Turn},
};
use serde_json::Value;

use crate::{
    aws::{Aws, Lazy},
    failures,
};

/// A model of Amazon Bedrock.
pub struct BedrockModel {
    client: Lazy<Client>,
    model: String,
    structured: Structured,
    cache_points: bool,
}

impl fmt::Debug for BedrockModel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("BedrockModel").field("model", &self.model).finish_non_exhaustive()
    }
}

impl BedrockModel {
    /// The model of a node.
    pub fn new(aws: &Aws, node: &NodeSettings) -> Self {
        Self {
            client: aws.bedrock(),
            model: node.model.clone(),
            structured: node.structured,
            cache_points: node.cache_points,
        }
    }

    fn system(&self, request: &ModelRequest) -> Result<Vec<SystemContentBlock>, ModelFailure> {
        let mut text = request.system.clone();
        if matches!(self.structured, Structured::Json | Structured::Text) {
            text.push_str(&format!(
                "\n\nAnswer with one JSON object that fits this JSON schema, and with nothing else:\n{}",
                request.schema.schema
            ));
        }
        let mut blocks = vec![SystemContentBlock::Text(text)];
        if self.cache_points {
            blocks.push(SystemContentBlock::CachePoint(cache_point()?));
        }
        Ok(blocks)
    }

    fn message(&self, turn: &Turn) -> Result<Message, ModelFailure> {
        let role = match turn.speaker {
            Speaker::User => ConversationRole::User,
            Speaker::Model => ConversationRole::Assistant,
        };
        let mut message = Message::builder().role(role);
        // A block of nothing is refused.
        if !turn.stable.is_empty() {
            message = message.content(ContentBlock::Text(turn.stable.clone()));
            if self.cache_points {
                message = message.content(ContentBlock::CachePoint(cache_point()?));
            }
        }
        if !turn.text.trim().is_empty() {
            message = message.content(ContentBlock::Text(turn.text.clone()));
        }
        message.build().map_err(|_| unbuilt())
    }

    fn tools(&self, request: &ModelRequest) -> Result<Option<ToolConfiguration>, ModelFailure> {
        if self.structured != Structured::Tool {
            return Ok(None);
        }
        let schema = &request.schema;
        let tool = ToolSpecification::builder()
            .name(&schema.name)
            .description("takes the answer")
            .input_schema(ToolInputSchema::Json(document(&schema.schema)))
            .build()
            .map_err(|_| unbuilt())?;
        let choice = SpecificToolChoice::builder().name(&schema.name).build().map_err(|_| unbuilt())?;
        let tools =
            ToolConfiguration::builder().tools(Tool::ToolSpec(tool)).tool_choice(ToolChoice::Tool(choice)).build();
        tools.map(Some).map_err(|_| unbuilt())
    }

    fn format(&self, request: &ModelRequest) -> Result<Option<OutputConfig>, ModelFailure> {
        if self.structured != Structured::Schema {
            return Ok(None);
        }
        let schema = JsonSchemaDefinition::builder()
            .name(&request.schema.name)
            .schema(request.schema.schema.to_string())
            .build()
            .map_err(|_| unbuilt())?;
        let format = OutputFormat::builder()
            .r#type(OutputFormatType::JsonSchema)
            .structure(OutputFormatStructure::JsonSchema(schema))
            .build()
            .map_err(|_| unbuilt())?;
        Ok(Some(OutputConfig::builder().text_format(format).build()))
    }
}

#[async_trait]
impl Model for BedrockModel {
    async fn complete(&self, request: &ModelRequest) -> Result<ModelAnswer, ModelFailure> {
        let messages: Vec<Message> =
            request.turns.iter().map(|turn| self.message(turn)).collect::<Result<_, ModelFailure>>()?;
        let limits = InferenceConfiguration::builder()
            .max_tokens(i32::try_from(request.max_output_tokens).unwrap_or(i32::MAX))
            .set_temperature(request.temperature)
            .build();
        let outcome = self
            .client
            .converse()
            .model_id(&self.model)
            .set_system(Some(self.system(request)?))
            .set_messages(Some(messages))
            .inference_config(limits)
            .set_tool_config(self.tools(request)?)
            .set_output_config(self.format(request)?)
            .send()
            .await;
        match outcome {
            Ok(output) => read(output),
            Err(error) => Err(failure(&error)),
        }
    }
}

fn cache_point() -> Result<CachePointBlock, ModelFailure> {
    CachePointBlock::builder().r#type(CachePointType::Default).build().map_err(|_| unbuilt())
}

fn unbuilt() -> ModelFailure {
    ModelFailure::new(ModelFault::Invalid, "bedrock converse: the request could not be built")
}

/// What a call that was answered came to.
fn read(output: ConverseOutput) -> Result<ModelAnswer, ModelFailure> {
    let tokens = output.usage.as_ref().map(tokens).unwrap_or_default();
    let text = output.output.as_ref().and_then(text);
    let failed = |fault, message: &str, text| Err(ModelFailure::new(fault, message).after(tokens, text));
    match (&output.stop_reason, text) {
        (StopReason::MaxTokens, text) => {
            failed(ModelFault::Truncated, "bedrock converse: the answer is cut at its limit of tokens", text)
        }
        (StopReason::ModelContextWindowExceeded, text) => {
            failed(ModelFault::Truncated, "bedrock converse: question and answer are longer than the model reads", text)
        }
        (StopReason::ContentFiltered | StopReason::GuardrailIntervened, text) => {
            failed(ModelFault::ContentFiltered, "bedrock converse: a filter held back the answer", text)
        }
        (reason, text) if reason.as_str() == "refusal" => {
            failed(ModelFault::Refused, "bedrock converse: the model declined to answer", text)
        }
        // One that the service calls malformed is looked at like any other: the model may mend it.
        (_, Some(text)) => Ok(ModelAnswer { text, tokens }),
        (StopReason::MalformedModelOutput | StopReason::MalformedToolUse, None) => {
            failed(ModelFault::Invalid, "bedrock converse: the answer is malformed", None)
        }
        (_, None) => failed(ModelFault::Invalid, "bedrock converse: the answer is empty", None),
    }
}

/// The arguments of the tool that the model called, else its words.
fn text(output: &types::ConverseOutput) -> Option<String> {
    let blocks = &output.as_message().ok()?.content;
    let called = blocks.iter().find_map(|block| block.as_tool_use().ok());
    if let Some(call) = called {
        return Some(value(&call.input).to_string());
    }
    let words: String = blocks.iter().filter_map(|block| block.as_text().ok()).map(String::as_str).collect();
    Some(words).filter(|words| !words.trim().is_empty())
}

/// Converse counts what came out of the cache, and what went into it, beside the rest.
fn tokens(usage: &TokenUsage) -> Tokens {
    let count = |number: i32| u64::try_from(number).unwrap_or_default();
    let cached = count(usage.cache_read_input_tokens.unwrap_or_default());
    let written = count(usage.cache_write_input_tokens.unwrap_or_default());
    Tokens { input: count(usage.input_tokens) + cached + written, cached, output: count(usage.output_tokens) }
}

fn failure(error: &SdkError<ConverseError, HttpResponse>) -> ModelFailure {
    let told = failures::failure("bedrock converse", error);
    let fault = match error.as_service_error() {
        Some(service) => fault_of(service, &told),
        None => match told.kind {
            Kind::Timeout => ModelFault::Timeout,
            Kind::Validation => ModelFault::Invalid,
            _ => ModelFault::Connection,
        },
    };
    ModelFailure::new(fault, told.message).retry_after(told.retry_after_ms.map(Duration::from_millis))
}

fn fault_of(error: &ConverseError, told: &ihelper_workflow::domain::Failure) -> ModelFault {
    // Read to tell two cases apart that share a code, and not passed on.
    let says = |words: &str| error.message().is_some_and(|message| message.to_lowercase().contains(words));
    match error {
        ConverseError::ThrottlingException(_) if says("per day") => ModelFault::Quota,
        ConverseError::ThrottlingException(_) => ModelFault::Throttled,
        ConverseError::AccessDeniedException(_) | ConverseError::ResourceNotFoundException(_) => {
            ModelFault::Misconfigured
        }
        ConverseError::ModelTimeoutException(_) => ModelFault::Timeout,
        ConverseError::ModelErrorException(_)
        | ConverseError::ModelNotReadyException(_)
        | ConverseError::InternalServerException(_)
        | ConverseError::ServiceUnavailableException(_) => ModelFault::Overloaded,
        ConverseError::ValidationException(_) if says("too long") => ModelFault::Truncated,
        ConverseError::ValidationException(_) => ModelFault::Invalid,
        _ => match (error.code(), told.kind) {
            (Some("ServiceQuotaExceededException"), _) => ModelFault::Quota,
            (_, Kind::Throttled) => ModelFault::Throttled,
            (_, Kind::Authorization) => ModelFault::Misconfigured,
            (_, Kind::Timeout) => ModelFault::Timeout,
            (_, Kind::Validation) => ModelFault::Invalid,
            _ => ModelFault::Overloaded,
        },
    }
}

fn document(value: &Value) -> Document {
    match value {
        Value::Null => Document::Null,
        Value::Bool(flag) => Document::Bool(*flag),
        Value::Number(number) => Document::Number(match (number.as_u64(), number.as_i64()) {
            (Some(whole), _) => Number::PosInt(whole),
            (None, Some(whole)) => Number::NegInt(whole),
            (None, None) => Number::Float(number.as_f64().unwrap_or_default()),
        }),
        Value::String(text) => Document::String(text.clone()),
        Value::Array(items) => Document::Array(items.iter().map(document).collect()),
        Value::Object(fields) => {
            let fields: HashMap<String, Document> =
                fields.iter().map(|(name, field)| (name.clone(), document(field))).collect();
            Document::Object(fields)
        }
    }
}

fn value(document: &Document) -> Value {
    match document {
        Document::Null => Value::Null,
        Document::Bool(flag) => Value::from(*flag),
        Document::Number(Number::PosInt(whole)) => Value::from(*whole),
        Document::Number(Number::NegInt(whole)) => Value::from(*whole),
        Document::Number(Number::Float(number)) => Value::from(*number),
        Document::String(text) => Value::from(text.as_str()),
        Document::Array(items) => items.iter().map(value).collect(),
        Document::Object(fields) => fields.iter().map(|(name, field)| (name.clone(), value(field))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_comes_through_documents_as_it_was() {
        let all = json!({"a": [null, true, "x", 1, -1, 0.5, u64::MAX, i64::MIN], "b": {"": {}}});
        assert_eq!(value(&document(&all)), all);
    }
}
