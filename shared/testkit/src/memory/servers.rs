use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{Failure, Kind},
    ports::{ServerTool, ToolServers},
};
use serde_json::{Map, Value, json};

use super::lock;

/// One server, `crm`, with two tools that answer with what they were given: `find`, which can be repeated, and `add`,
/// which cannot.
#[derive(Clone, Debug, Default)]
pub struct MemoryToolServers {
    called: Arc<Mutex<Called>>,
}

#[derive(Debug, Default)]
struct Called {
    tools: Vec<String>,
    answers_to_lose: u32,
}

impl MemoryToolServers {
    /// A server that was not called.
    pub fn new() -> Self {
        Self::default()
    }

    /// Carries out the next calls, so many, and lets nobody hear of it.
    pub fn lose_next_answers(&self, times: u32) {
        lock(&self.called).answers_to_lose = times;
    }

    /// The tools that were called, in order.
    pub fn calls(&self) -> Vec<String> {
        lock(&self.called).tools.clone()
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
        let mut called = lock(&self.called);
        called.tools.push(tool.to_owned());
        if called.answers_to_lose > 0 {
            called.answers_to_lose -= 1;
            return Err(Failure::new(Kind::Connection, "the line was cut before the answer").with_unknown_outcome());
        }
        Ok(json!({ "tool": tool, "given": arguments }))
    }
}
