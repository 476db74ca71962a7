use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Tool, ToolCall, schema_of};
use crate::{
    domain::{Failure, definition::Definition},
    engine::{Context, EffectKey, Semantics, Stop},
    ports::ToolServers,
};

/// `mcp {server, tool, arguments?}`: calls a tool of a server of the Model Context Protocol that the configuration
/// names. At least once where the server says that the tool only reads or that repeating it changes nothing, else at
/// most once.
pub struct CallServer(pub Arc<dyn ToolServers>);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// A name among `mcp.servers`.
    server: String,
    /// A tool that the configuration lists for that server.
    tool: String,
    /// What the tool gets.
    #[serde(default)]
    arguments: Map<String, Value>,
}

impl CallServer {
    fn read(&self, call: ToolCall<'_>) -> Result<Arguments, Failure> {
        let arguments: Arguments = call.read()?;
        self.0.check(&arguments.server, &arguments.tool).map_err(|failure| call.wrong("tool", failure))?;
        Ok(arguments)
    }
}

#[async_trait]
impl Tool for CallServer {
    fn name(&self) -> &'static str {
        "mcp"
    }

    fn schema(&self) -> Value {
        schema_of::<Arguments>()
    }

    fn check(&self, _definition: &Definition, call: ToolCall<'_>) -> Result<(), Failure> {
        self.read(call).map(drop)
    }

    async fn perform(&self, run: &mut Context, call: ToolCall<'_>) -> Result<Value, Stop> {
        let Arguments { server, tool, arguments } = self.read(call)?;
        // Journaled, so that every attempt treats the call alike, whatever the server says later.
        let look_up = || async { Ok(self.0.describe(&server, &tool).await?.is_repeatable) };
        let is_repeatable = run.step(&format!("{}.tool", call.step), look_up).await?;
        let semantics = if is_repeatable { Semantics::AtLeastOnce } else { Semantics::AtMostOnce };
        let (server, tool, arguments) = (&server, &tool, &arguments);
        let ask = |key: EffectKey| async move { self.0.call(key.as_str(), server, tool, arguments).await };
        run.effect(call.step, semantics, ask).await
    }
}
