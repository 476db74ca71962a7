use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::Failure,
    ports::{ServerTool, ToolServers},
};
use serde_json::{Map, Value, json};

use super::lock;

/// One server, `crm`, with two tools that answer with what they were given: `find`, which can be repeated, and `add`,
/// which cannot.
#[derive(Clone, Debug, Default)]
pub struct MemoryToolServers {
    calls: Arc<Mutex<Vec<String>>>,
}

impl MemoryToolServers {
    /// A server that was not called.
    pub fn new() -> Self {
        Self::default()
    }

    /// The tools that were called, in order.
    pub fn calls(&self) -> Vec<String> {
        lock(&self.calls).clone()
    }
}

#[async_trait]
impl ToolServers for MemoryToolServers {
    fn check(&self, server: &str, tool: &str) -> Result<(), Failure> {
        match (server, tool) {
            ("crm", "find" | "add") => Ok(()),
            _ => Err(Failure::validation("there are `find` and `add` on `crm`")),
        }
    }

    async fn describe(&self, server: &str, tool: &str) -> Result<ServerTool, Failure> {
        self.check(server, tool)?;
        Ok(ServerTool { is_repeatable: tool == "find" })
    }

    async fn call(
        &self,
        _key: &str,
        server: &str,
        tool: &str,
        arguments: &Map<String, Value>,
    ) -> Result<Value, Failure> {
        self.check(server, tool)?;
        lock(&self.calls).push(tool.to_owned());
        Ok(json!({ "tool": tool, "given": arguments }))
    }
}
