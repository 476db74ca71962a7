//! Models behind `POST /chat/completions`, as OpenAI has it and Ollama, llama.cpp, vLLM, LiteLLM and many others speak it.
//!
//! Invariants: one call is one request, with no retry and no redirect, so that what it takes is known and the key goes
//! nowhere else; an answer is bounded; what a service says in words stays out of messages, since that may repeat a prompt.
//!
//! What is the same for many requests comes first (system, then the stable part of the question), so that services which
//! cache prompts by their beginning can.
//!
//! Deliberately absent: streaming, and time limits of its own: the router's count.

use std::{fmt, sync::LazyLock, time::Duration};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::configuration::{NodeSettings, Structured},
    ports::{Model, ModelAnswer, ModelFailure, ModelFault, ModelRequest, Speaker, Tokens, Turn},
};
use jiff::Timestamp;
use reqwest::{
    Response,
    header::{HeaderMap, HeaderValue},
};
use serde::Deserialize;
use serde_json::{Value, json};

const LONGEST_CONNECT: Duration = Duration::from_secs(5);
/// A hundred thousand tokens of answer are some 500 KB.
const LARGEST_ANSWER: usize = 4 * 1024 * 1024;

type Built = Result<reqwest::Client, String>;

/// A model of an OpenAI-compatible service.
pub struct OpenAiModel {
    url: String,
    model: String,
    structured: Structured,
    names_limit_anew: bool,
    key: Option<HeaderValue>,
    client: LazyLock<Built>,
}

impl fmt::Debug for OpenAiModel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("OpenAiModel")
            .field("url", &self.url)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

impl OpenAiModel {
    /// The model of a node, with the service's key. Nothing is loaded before the first call.
    ///
    /// # Errors
    /// This returns an error when the key is none that a header can hold.
    pub fn new(node: &NodeSettings, key: Option<&str>) -> Result<Self, InvalidKey> {
        let key = key.map(|key| {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}")).map_err(|_| InvalidKey)?;
            value.set_sensitive(true);
            Ok(value)
        });
        let endpoint = node.endpoint.as_deref().unwrap_or_default();
        Ok(Self {
            url: format!("{}/chat/completions", endpoint.trim_end_matches('/')),
            model: node.model.clone(),
            structured: node.structured,
            names_limit_anew: node.max_completion_tokens,
            key: key.transpose()?,
            client: LazyLock::new(client),
        })
    }

    fn body(&self, request: &ModelRequest) -> Value {
        let schema = &request.schema;
        let mut system = request.system.clone();
        if matches!(self.structured, Structured::Json | Structured::Text) {
            system.push_str(&format!(
                "\n\nAnswer with one JSON object that fits this JSON schema, and with nothing else:\n{}",
                schema.schema
            ));
        }
        let mut messages = vec![json!({ "role": "system", "content": system })];
        messages.extend(request.turns.iter().map(|turn| self.message(request, turn)));
        let limit = if self.names_limit_anew { "max_completion_tokens" } else { "max_tokens" };
        let mut body = json!({
            "model": self.model,
            "messages": messages,
            "stream": false,
            limit: request.max_output_tokens,
        });
        if let Some(temperature) = request.temperature {
            // The digits that were written, not those of the next binary fraction.
            body["temperature"] = temperature.to_string().parse::<f64>().map_or(Value::Null, Value::from);
        }
        match self.structured {
            Structured::Schema => {
                body["response_format"] = json!({
                    "type": "json_schema",
                    "json_schema": { "name": schema.name, "strict": true, "schema": schema.schema },
                });
            }
            Structured::Tool => {
                body["tools"] = json!([{
                    "type": "function",
                    "function": { "name": schema.name, "description": "takes the answer", "parameters": schema.schema },
                }]);
                body["tool_choice"] = json!({ "type": "function", "function": { "name": schema.name } });
            }
            Structured::Json => body["response_format"] = json!({ "type": "json_object" }),
            Structured::Text => {}
        }
        body
    }

    fn message(&self, request: &ModelRequest, turn: &Turn) -> Value {
        let text = format!("{}{}", turn.stable, turn.text);
        match turn.speaker {
            Speaker::User => json!({ "role": "user", "content": text }),
            // Not as the call that it was: a call must be answered as one, and arguments that are not JSON are refused.
            Speaker::Model if self.structured == Structured::Tool => {
                json!({ "role": "assistant", "content": format!("{}({text})", request.schema.name) })
            }
            Speaker::Model => json!({ "role": "assistant", "content": text }),
        }
    }
}

/// A key that no header can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key holds what no header can")]
pub struct InvalidKey;

#[async_trait]
impl Model for OpenAiModel {
    async fn complete(&self, request: &ModelRequest) -> Result<ModelAnswer, ModelFailure> {
        let client = self.client.as_ref().map_err(|problem| {
            ModelFailure::new(ModelFault::Misconfigured, format!("openai: no client can be made: {problem}"))
        })?;
        let mut sent = client.post(&self.url).json(&self.body(request));
        if let Some(key) = &self.key {
            sent = sent.header("authorization", key.clone());
        }
        let response = sent.send().await.map_err(|error| broken(&error))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = bounded(response).await?;
        if status == 200 { read(&body) } else { Err(failure(status, &headers, &body)) }
    }
}

fn client() -> Built {
    reqwest::Client::builder()
        .tls_backend_preconfigured(crate::http::tls()?)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .connect_timeout(LONGEST_CONNECT)
        .user_agent("ihelper")
        .gzip(true)
        .build()
        .map_err(|error| error.to_string())
}

async fn bounded(mut response: Response) -> Result<Vec<u8>, ModelFailure> {
    let mut bytes = Vec::new();
    while let Some(piece) = response.chunk().await.map_err(|error| broken(&error))? {
        if bytes.len() + piece.len() > LARGEST_ANSWER {
            let message = format!("openai: the answer has more than {LARGEST_ANSWER} bytes");
            return Err(ModelFailure::new(ModelFault::Invalid, message));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Completion {
    choices: Vec<Choice>,
    usage: Option<Spent>,
    error: Option<Problem>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Choice {
    message: Message,
    finish_reason: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message {
    content: Option<String>,
    refusal: Option<String>,
    tool_calls: Option<Vec<ToolCall>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ToolCall {
    function: Function,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Function {
    arguments: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spent {
    prompt_tokens: u64,
    completion_tokens: u64,
    prompt_tokens_details: Option<Details>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Details {
    cached_tokens: Option<u64>,
}

/// What went wrong, as services tell it: an object, or, in some, only a sentence.
#[derive(Deserialize)]
#[serde(untagged)]
enum Problem {
    Told {
        #[serde(default)]
        code: Option<Value>,
        #[serde(default, rename = "type")]
        kind: Option<String>,
    },
    Other(serde::de::IgnoredAny),
}

impl Problem {
    /// Whether its code or type is one of these.
    fn is(&self, names: &[&str]) -> bool {
        let Self::Told { code, kind } = self else { return false };
        let code = code.as_ref().and_then(Value::as_str);
        [code, kind.as_deref()].into_iter().flatten().any(|name| names.contains(&name))
    }
}

/// What a call that was answered came to.
fn read(body: &[u8]) -> Result<ModelAnswer, ModelFailure> {
    let completion: Completion = serde_json::from_slice(body)
        .map_err(|_| ModelFailure::new(ModelFault::Invalid, "openai: the answer is no completion"))?;
    let tokens = completion.usage.map(tokens).unwrap_or_default();
    let failed = |fault, message: &str, text| Err(ModelFailure::new(fault, message).after(tokens, text));
    if completion.error.is_some() {
        return Err(failure(200, &HeaderMap::new(), body));
    }
    let Some(Choice { message, finish_reason }) = completion.choices.into_iter().next() else {
        return failed(ModelFault::Invalid, "openai: the answer has no choice", None);
    };
    let called = message.tool_calls.into_iter().flatten().next().map(|call| call.function.arguments);
    let text = called.or(message.content).filter(|text| !text.trim().is_empty());
    if message.refusal.as_ref().is_some_and(|refusal| !refusal.is_empty()) {
        return failed(ModelFault::Refused, "openai: the model declined to answer", message.refusal);
    }
    match (finish_reason.as_deref(), text) {
        (Some("length"), text) => {
            failed(ModelFault::Truncated, "openai: the answer is cut at its limit of tokens", text)
        }
        (Some("content_filter"), text) => {
            failed(ModelFault::ContentFiltered, "openai: a filter held back the answer", text)
        }
        (_, Some(text)) => Ok(ModelAnswer { text, tokens }),
        (_, None) => failed(ModelFault::Invalid, "openai: the answer is empty", None),
    }
}

fn tokens(spent: Spent) -> Tokens {
    let cached = spent.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or_default();
    Tokens { input: spent.prompt_tokens, cached: cached.min(spent.prompt_tokens), output: spent.completion_tokens }
}

fn failure(status: u16, headers: &HeaderMap, body: &[u8]) -> ModelFailure {
    let problem = serde_json::from_slice::<Completion>(body).ok().and_then(|answer| answer.error);
    let is = |names: &[&str]| problem.as_ref().is_some_and(|problem| problem.is(names));
    let fault = if is(&["content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"]) {
        ModelFault::ContentFiltered
    } else if is(&["context_length_exceeded", "exceed_context_size_error"]) {
        ModelFault::Truncated
    } else if is(&["insufficient_quota", "billing_hard_limit_reached", "quota_exceeded"]) {
        ModelFault::Quota
    } else {
        match status {
            401 | 403 | 404 | 300..=399 => ModelFault::Misconfigured,
            402 => ModelFault::Quota,
            408 | 504 => ModelFault::Timeout,
            429 => ModelFault::Throttled,
            500.. => ModelFault::Overloaded,
            // An error in an answer that is none: a gateway's, of the service behind it.
            200 => ModelFault::Overloaded,
            _ => ModelFault::Invalid,
        }
    };
    let message = match headers.get("x-request-id").and_then(|id| id.to_str().ok()) {
        Some(id) => {
            let id: String =
                id.chars().filter(|letter| letter.is_ascii_alphanumeric() || "-_".contains(*letter)).collect();
            format!("openai: status {status} (request {})", &id[..id.len().min(64)])
        }
        None => format!("openai: status {status}"),
    };
    ModelFailure::new(fault, message).retry_after(retry_after(headers, Timestamp::now()))
}

/// What a service asks to wait: in milliseconds where it says so, in seconds, or until a moment.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    if let Some(milliseconds) = text("retry-after-ms").and_then(number) {
        return Duration::try_from_secs_f64(milliseconds / 1000.0).ok();
    }
    let text = text("retry-after")?;
    match number(text) {
        Some(seconds) => Duration::try_from_secs_f64(seconds).ok(),
        None => crate::http::wait(text, now),
    }
}

/// The library's own words may repeat the address: only their kind is passed on.
fn broken(error: &reqwest::Error) -> ModelFailure {
    if error.is_connect() {
        ModelFailure::new(ModelFault::Connection, "openai: no connection")
    } else if error.is_timeout() {
        ModelFailure::new(ModelFault::Timeout, "openai: no answer in time")
    } else {
        ModelFailure::new(ModelFault::Connection, "openai: the connection broke, or the answer cannot be read")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_wait_is_milliseconds_seconds_or_a_date() {
        let now = "2015-10-21T07:28:00Z".parse().unwrap();
        let wait = |pairs: &[(&'static str, &str)]| retry_after(&headers(pairs), now).map(|wait| wait.as_millis());
        assert_eq!(wait(&[("retry-after", "7")]), Some(7000));
        assert_eq!(wait(&[("retry-after", "0.25")]), Some(250));
        assert_eq!(wait(&[("retry-after-ms", "1500"), ("retry-after", "7")]), Some(1500));
        assert_eq!(wait(&[("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT")]), Some(30_000));
        assert_eq!(wait(&[("retry-after", "Wed, 21 Oct 2015 07:27:30 GMT")]), Some(0));
        for useless in ["", "-1", "soon", "NaN", "inf", "1e300"] {
            assert_eq!(wait(&[("retry-after", useless)]), None, "{useless}");
        }
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn a_key_does_not_show() {
        let node: NodeSettings = serde_json::from_value(json!({
            "name": "n", "provider": "openai", "endpoint": "http://x/v1/", "model": "m",
        }))
        .unwrap();
        let shown = format!("{:?}", OpenAiModel::new(&node, Some("very-secret")).unwrap());
        assert!(shown.contains("http://x/v1/chat/completions") && !shown.contains("secret"), "{shown}");
        assert_eq!(OpenAiModel::new(&node, Some("line\nbreak")).unwrap_err(), InvalidKey);
    }
}
