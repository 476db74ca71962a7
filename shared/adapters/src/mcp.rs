//! Tools of servers that speak the Model Context Protocol by streamable HTTP.
//!
//! Invariants: a server and its tool are used only when the configuration names both; an exchange is bounded in time
//! and an answer in bytes; an answer that is too long is cut and says so, since what was done cannot be undone by
//! calling it a failure.
//!
//! Deliberately absent: sessions kept between calls, sampling, elicitation, resources and prompts; checking arguments
//! against the tool's schema (the server does, and answers that the call failed).

use std::{collections::BTreeMap, fmt, sync::LazyLock, time::Duration};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{Failure, Kind, configuration::McpServer},
    ports::{ServerTool, ToolServers},
};
use rmcp::{
    RoleClient, ServiceExt,
    model::{CallToolRequestParams, CallToolResult, ErrorCode},
    service::{RunningService, ServiceError},
    transport::{StreamableHttpClientTransport, streamable_http_client::StreamableHttpClientTransportConfig},
};
use serde_json::{Map, Value, json};

/// How long a call takes at the most, its handshake included; see the http client's.
const LONGEST_EXCHANGE: Duration = Duration::from_secs(15);
const LONGEST_CONNECT: Duration = Duration::from_secs(5);
// What is read from the wire: a list of tools with their schemas is the longest thing that has to be read whole.
const LARGEST_MESSAGE: usize = 4 * 1024 * 1024;
/// What goes into the journal of an answer.
const LARGEST_ANSWER: usize = 256 * 1024;

type Session = RunningService<RoleClient, ()>;

/// The servers of the configuration.
pub struct McpServers {
    servers: BTreeMap<String, McpServer>,
    exchange: Duration,
    client: LazyLock<Result<reqwest::Client, String>>,
}

impl fmt::Debug for McpServers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("McpServers").field("servers", &self.servers).finish_non_exhaustive()
    }
}

impl McpServers {
    /// These servers. Nothing is reached before the first call.
    pub fn new(servers: BTreeMap<String, McpServer>) -> Self {
        Self::giving_up_after(LONGEST_EXCHANGE, servers)
    }

    /// These servers, with another patience.
    pub fn giving_up_after(exchange: Duration, servers: BTreeMap<String, McpServer>) -> Self {
        Self { servers, exchange, client: LazyLock::new(client) }
    }

    fn server(&self, name: &str, tool: &str) -> Result<&McpServer, Failure> {
        let known = |names: Vec<&str>| names.join("`, `");
        let Some(server) = self.servers.get(name) else {
            let names = known(self.servers.keys().map(String::as_str).collect());
            return Err(Failure::validation(format!("there is no such server; there are `{names}`")));
        };
        if !server.tools.contains(tool) {
            let names = known(server.tools.iter().map(String::as_str).collect());
            return Err(Failure::validation(format!("the configuration allows `{names}` on `{name}`")));
        }
        Ok(server)
    }

    async fn session(&self, name: &str, server: &McpServer) -> Result<Session, Failure> {
        let client = self.client.as_ref().map_err(|problem| Failure::new(Kind::Unknown, format!("mcp: {problem}")))?;
        let mut config = StreamableHttpClientTransportConfig::with_uri(server.url.as_str());
        config.max_json_response_size = LARGEST_MESSAGE;
        config.max_sse_event_size = LARGEST_MESSAGE;
        let transport = StreamableHttpClientTransport::with_client(client.clone(), config);
        ().serve(transport).await.map_err(|error| {
            let kind = if error.is_authorization_required() { Kind::Authorization } else { Kind::Connection };
            Failure::new(kind, format!("mcp: no session with `{name}`"))
        })
    }

    async fn in_time<T>(&self, name: &str, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        match tokio::time::timeout(self.exchange, work).await {
            Ok(result) => result,
            Err(_) => Err(Failure::new(Kind::Timeout, format!("mcp: `{name}` did not answer in time"))),
        }
    }
}

#[async_trait]
impl ToolServers for McpServers {
    fn check(&self, server: &str, tool: &str) -> Result<(), Failure> {
        self.server(server, tool).map(drop)
    }

    async fn describe(&self, server: &str, tool: &str) -> Result<ServerTool, Failure> {
        let known = self.server(server, tool)?;
        let tools = self
            .in_time(server, async {
                let session = self.session(server, known).await?;
                let tools = session.list_all_tools().await.map_err(|error| failure(server, &error));
                end(session).await;
                tools
            })
            .await?;
        let found = tools.into_iter().find(|found| found.name == tool);
        let found =
            found.ok_or_else(|| Failure::new(Kind::NotFound, format!("mcp: `{server}` has no tool `{tool}`")))?;
        let says = |hint: Option<bool>| hint == Some(true);
        let is_repeatable = found
            .annotations
            .is_some_and(|annotations| says(annotations.read_only_hint) || says(annotations.idempotent_hint));
        Ok(ServerTool { is_repeatable })
    }

    async fn call(
        &self,
        key: &str,
        server: &str,
        tool: &str,
        arguments: &Map<String, Value>,
    ) -> Result<Value, Failure> {
        let known = self.server(server, tool)?;
        // Without a session nothing was called.
        let session = self.in_time(server, self.session(server, known)).await?;
        let params = serde_json::from_value::<CallToolRequestParams>(json!({
            "name": tool,
            "arguments": arguments,
            "_meta": { "ihelper/idempotency-key": key },
        }));
        let params = params.map_err(|_| Failure::validation("mcp: the arguments are not an object"))?;
        let calling = async { session.call_tool(params).await.map_err(|error| failure(server, &error)) };
        let result = self.in_time(server, calling).await.map_err(|failure| match failure.kind {
            Kind::Timeout => failure.with_unknown_outcome(),
            _ => failure,
        });
        end(session).await;
        answer(server, tool, result?)
    }
}

fn client() -> Result<reqwest::Client, String> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(crate::http::tls()?)
        // A server that the configuration names has no business elsewhere.
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .pool_max_idle_per_host(0)
        .connect_timeout(LONGEST_CONNECT)
        .build()
        .map_err(|error| error.to_string())
}

/// Says goodbye; a server that does not hear it forgets the session by itself.
async fn end(mut session: Session) {
    let _ = session.close_with_timeout(Duration::from_secs(1)).await;
}

fn answer(server: &str, tool: &str, result: CallToolResult) -> Result<Value, Failure> {
    if result.is_error == Some(true) {
        return Err(Failure::new(Kind::Refused, format!("mcp: `{tool}` of `{server}` says that it failed")));
    }
    let content = serde_json::to_value(&result.content).unwrap_or_default();
    let texts: Vec<&str> =
        content.as_array().into_iter().flatten().filter_map(|block| block["text"].as_str()).collect();
    let text = texts.join("\n");
    let structured = result.structured_content.unwrap_or_default();
    let bytes = text.len() + structured.to_string().len();
    if bytes <= LARGEST_ANSWER {
        return Ok(json!({ "text": text, "structured": structured }));
    }
    let kept = &text[..text.floor_char_boundary(LARGEST_ANSWER)];
    Ok(json!({ "text": kept, "structured": null, "cut_from_bytes": bytes }))
}

fn failure(server: &str, error: &ServiceError) -> Failure {
    match error {
        ServiceError::McpError(error) => match error.code {
            ErrorCode::INVALID_PARAMS => {
                Failure::validation(format!("mcp: the arguments are not what `{server}` takes"))
            }
            ErrorCode::METHOD_NOT_FOUND => Failure::new(Kind::NotFound, format!("mcp: `{server}` does not know that")),
            code => Failure::new(Kind::Unknown, format!("mcp: `{server}` answers with error {}", code.0))
                .with_unknown_outcome(),
        },
        ServiceError::Timeout { .. } => {
            Failure::new(Kind::Timeout, format!("mcp: `{server}` did not answer in time")).with_unknown_outcome()
        }
        _ => {
            Failure::new(Kind::Connection, format!("mcp: the session with `{server}` broke off")).with_unknown_outcome()
        }
    }
}
