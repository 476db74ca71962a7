use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Tool, ToolCall, schema_of};
use crate::{
    domain::{
        Failure,
        definition::Definition,
        http::{HttpMethod, HttpRequest},
    },
    engine::{Context, EffectKey, Semantics, Stop},
    ports::HttpClient,
};

/// `http_request {method?, url, headers?, json? | body?}`: sends a request to a host that the configuration names.
/// At least once; the other side knows it by its `Idempotency-Key`. What it answers with 2xx is the result, `{status,
/// headers, body}`; everything else is a failure.
pub struct SendRequest(pub Arc<dyn HttpClient>);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The method.
    #[serde(default)]
    method: HttpMethod,
    /// The address, `https://…`, on a host among `security.http_hosts`.
    url: String,
    /// Headers of the request; those that belong to the connection are not possible.
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A body, as JSON.
    json: Option<Value>,
    /// A body, as text.
    body: Option<String>,
}

impl SendRequest {
    fn read(&self, call: ToolCall<'_>) -> Result<HttpRequest, Failure> {
        let Arguments { method, url, mut headers, json, body } = call.read()?;
        let body = match (json, body) {
            (Some(_), Some(_)) => return Err(call.wrong("json", "either this or `body` is possible, not both")),
            (Some(json), None) => {
                if !headers.keys().any(|name| name.eq_ignore_ascii_case("content-type")) {
                    headers.insert("content-type".to_owned(), "application/json".to_owned());
                }
                Some(json.to_string())
            }
            (None, body) => body,
        };
        let request = HttpRequest { method, url, headers, body };
        request.check().map_err(|(argument, problem)| call.wrong(argument, problem))?;
        self.0.check(&request).map_err(|failure| call.wrong("url", failure))?;
        Ok(request)
    }
}

#[async_trait]
impl Tool for SendRequest {
    fn name(&self) -> &'static str {
        "http_request"
    }

    fn schema(&self) -> Value {
        schema_of::<Arguments>()
    }

    fn check(&self, _definition: &Definition, call: ToolCall<'_>) -> Result<(), Failure> {
        self.read(call).map(drop)
    }

    async fn perform(&self, run: &mut Context, call: ToolCall<'_>) -> Result<Value, Stop> {
        let request = self.read(call)?;
        let send = |key: EffectKey| async move { Ok(json!(self.0.send(key.as_str(), &request).await?)) };
        run.effect(call.step, Semantics::AtLeastOnce, send).await
    }
}
