//! The official Python SDK's server, started by each test: `make test` installs it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use ihelper_adapters::mcp::McpServers;
use ihelper_workflow::{
    domain::{Failure, Kind, configuration::McpServer},
    ports::ToolServers as _,
};
use serde_json::{Value, json};

use super::Process;

struct Server {
    _process: Process,
    servers: McpServers,
}

impl Server {
    fn start(patience: Duration) -> Self {
        let process = Process::start("mcp", "mcp_server.py");
        let servers = servers(process.url("/mcp"), patience);
        Self { _process: process, servers }
    }

    async fn call(&self, tool: &str, arguments: Value) -> Result<Value, Failure> {
        self.servers.call("run/1/step", "crm", tool, arguments.as_object().unwrap()).await
    }
}

fn servers(url: String, patience: Duration) -> McpServers {
    let tools = ["find", "put", "add", "fail", "flood", "sleep", "nothing"];
    let tools: BTreeSet<String> = tools.map(str::to_owned).into();
    let servers = BTreeMap::from([("crm".to_owned(), McpServer { url, tools })]);
    McpServers::giving_up_after(patience, servers)
}

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
#[ignore = "needs the server that `make test` installs"]
async fn a_tool_of_a_real_server_is_described_and_called() {
    let server = Server::start(PATIENCE);
    for (tool, is_repeatable) in [("find", true), ("put", true), ("add", false)] {
        let described = server.servers.describe("crm", tool).await.unwrap();
        assert_eq!(described.is_repeatable, is_repeatable, "{tool}");
    }
    let added = server.call("add", json!({"name": "Ada"})).await.unwrap();
    assert_eq!(added["text"], "Ada is added");
    let found = server.call("find", json!({"name": "A", "most": 7})).await.unwrap();
    assert_eq!(found["structured"], json!({"name": "A", "most": 7, "added": ["Ada"]}));
}

#[tokio::test]
#[ignore = "needs the server that `make test` installs"]
async fn what_a_server_refuses_is_a_failure_that_repeats_none_of_its_words() {
    let server = Server::start(PATIENCE);
    let failure = server.call("fail", json!({"secret": "hush"})).await.unwrap_err();
    assert!(failure.kind == Kind::Refused && !failure.maybe_applied, "{failure:?}");
    assert!(!failure.message.contains("hush"), "{failure}");
    // The server checks arguments by the tool's schema.
    for arguments in [json!({}), json!({"name": 7, "most": "many"})] {
        let failure = server.call("find", arguments).await.unwrap_err();
        assert!(!failure.kind.retryable() && !failure.maybe_applied, "{failure:?}");
    }
    assert_eq!(server.servers.describe("crm", "nothing").await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
#[ignore = "needs the server that `make test` installs"]
async fn a_long_answer_is_cut_and_says_so() {
    let server = Server::start(PATIENCE);
    let flooded = server.call("flood", json!({})).await.unwrap();
    assert_eq!(flooded["text"].as_str().unwrap().len(), 256 * 1024);
    assert!(flooded["cut_from_bytes"].as_u64().unwrap() >= 1 << 20, "{}", flooded["cut_from_bytes"]);
}

#[tokio::test]
#[ignore = "needs the server that `make test` installs"]
async fn of_a_call_that_is_given_up_nobody_knows_what_became() {
    let server = Server::start(Duration::from_secs(3));
    let failure = server.call("sleep", json!({})).await.unwrap_err();
    assert!(failure.kind == Kind::Timeout && failure.maybe_applied, "{failure:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_was_certainly_not_called() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/mcp", listener.local_addr().unwrap());
    drop(listener);
    let failure = servers(url, PATIENCE).call("k", "crm", "add", &serde_json::Map::new()).await.unwrap_err();
    assert!(failure.kind.retryable() && !failure.maybe_applied, "{failure:?}");
}

#[tokio::test]
async fn only_servers_and_tools_of_the_configuration_are_used() {
    let servers = servers("http://127.0.0.1:1/mcp".to_owned(), PATIENCE);
    assert!(servers.check("erp", "add").unwrap_err().message.contains("`crm`"));
    assert!(servers.check("crm", "drop").unwrap_err().message.contains("allows"));
    servers.check("crm", "add").unwrap();
}
