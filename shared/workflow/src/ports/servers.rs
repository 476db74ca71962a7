use async_trait::async_trait;
use serde_json::{Map, Value};

use crate::domain::Failure;

/// Calls tools on servers that the configuration names (Model Context Protocol).
#[async_trait]
pub trait ToolServers: Send + Sync {
    /// Refuses a server or tool that is not named, without looking at the network.
    ///
    /// # Errors
    /// This returns an error of kind `Validation` that names what there is.
    fn check(&self, server: &str, tool: &str) -> Result<(), Failure>;

    /// What a server says of its tool.
    ///
    /// # Errors
    /// This returns an error of kind `NotFound` when the server has no such tool.
    async fn describe(&self, server: &str, tool: &str) -> Result<ServerTool, Failure>;

    /// Calls a tool, and gives what it answered: `{text, structured}`.
    ///
    /// # Errors
    /// This returns an error of kind `Refused` when the tool says that it failed, `Validation` when the arguments are
    /// not what it takes or the answer is too large, and one that says `maybe_applied` when nobody knows whether it
    /// was carried out.
    async fn call(&self, key: &str, server: &str, tool: &str, arguments: &Map<String, Value>)
    -> Result<Value, Failure>;
}

/// What a server says of a tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerTool {
    /// Whether calling it twice does no more than calling it once.
    pub is_repeatable: bool,
}
