//! `workflow_config.yaml`: the seed's settings of each workflow, typed and validated.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use garde::Validate;
use serde::Deserialize;

use super::{http::HostRule, run::WorkflowType};

pub use super::nodes::{
    AssistantKind, AssistantSettings, BudgetSettings, DEFAULT_GROUP, NodeSettings, Prices, Provider, Structured,
};

/// The whole file.
#[derive(Clone, Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// Settings of each workflow.
    #[garde(dive)]
    workflows: Workflows,
    /// Which assistant works.
    #[serde(default)]
    #[garde(dive)]
    pub assistant: AssistantSettings,
    /// How long results count for equal requests.
    #[serde(default)]
    #[garde(dive)]
    pub cache: CacheSettings,
    /// What tasks may reach.
    #[serde(default)]
    #[garde(skip)]
    pub security: SecuritySettings,
    /// Whose tools tasks may use.
    #[serde(default)]
    #[garde(dive)]
    pub mcp: McpSettings,
}

/// What tasks may reach.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecuritySettings {
    /// The hosts that the tool `http_request` may send to. Empty, there is no such tool.
    #[serde(default)]
    pub http_hosts: Vec<HostRule>,
}

/// Whose tools tasks may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct McpSettings {
    /// Servers of the Model Context Protocol, by the names that plans use. Empty, there is no tool `mcp`.
    #[serde(default)]
    #[garde(dive)]
    pub servers: BTreeMap<String, McpServer>,
}

/// A server of the Model Context Protocol.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct McpServer {
    /// Where it is reached by streamable HTTP: `https://…`, or `http://` on this machine.
    #[garde(custom(server_url))]
    pub url: String,
    /// Those of its tools that plans may use.
    #[garde(length(min = 1))]
    pub tools: BTreeSet<String>,
}

fn server_url(url: &str, _context: &()) -> garde::Result {
    let is_local = ["http://127.0.0.1", "http://localhost"]
        .iter()
        .filter_map(|start| url.strip_prefix(start))
        .any(|rest| rest.is_empty() || rest.starts_with([':', '/']));
    let is_encrypted = url.strip_prefix("https://").is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    if (is_local || is_encrypted) && !url.contains(['@', '#', ' ']) && url.is_ascii() {
        Ok(())
    } else {
        Err(garde::Error::new("is not https:// with a host, or http:// on this machine"))
    }
}

#[derive(Clone, Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
struct Workflows {
    #[garde(dive)]
    email_processing: WorkflowSettings,
    #[garde(dive)]
    document_review: WorkflowSettings,
    #[garde(dive)]
    task_automation: WorkflowSettings,
}

/// Settings of one workflow. Times are in seconds, as in the seed.
#[derive(Clone, Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct WorkflowSettings {
    /// The queue's name, without the stack's.
    #[garde(length(min = 1, max = 64), custom(queue_name))]
    pub queue: String,
    /// How many runs are worked on at once, over all instances: 1 to 10,000.
    #[garde(range(min = 1, max = 10_000))]
    pub concurrent_limit: u32,
    /// How long one invocation of the consumer may take: 30 to 900 s, Lambda's limit. The last twenty seconds
    /// are for effects that are under way and for handing over.
    #[garde(range(min = 30, max = 900))]
    pub timeout: u32,
    /// How a failed attempt is repeated.
    #[garde(dive)]
    pub retry: RetrySettings,
}

/// How a failed attempt is repeated.
#[derive(Clone, Debug, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct RetrySettings {
    /// How often a run is tried before it fails: 1 to 100.
    #[garde(range(min = 1, max = 100))]
    pub max_attempts: u32,
    /// The first wait, which doubles with each attempt: 0 to 43,200 s, the longest visibility timeout.
    #[garde(range(max = 43_200))]
    pub delay: u32,
}

impl WorkflowSettings {
    /// How long one invocation of the consumer may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout.into())
    }
}

impl RetrySettings {
    /// The first wait.
    pub fn first_delay(&self) -> Duration {
        Duration::from_secs(self.delay.into())
    }
}

/// How long results count for equal requests.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct CacheSettings {
    /// How long the result of a request answers the same caller's equal requests, from the first request on: 0 to
    /// 86,400 s. 0 switches the cache off; 3,600 s, as in the seed, unless said.
    #[serde(default = "one_hour")]
    #[garde(range(max = 86_400))]
    pub expire: u32,
}

impl CacheSettings {
    /// How long a result answers equal requests; `None` when the cache is off.
    pub fn expire(&self) -> Option<Duration> {
        (self.expire > 0).then(|| Duration::from_secs(self.expire.into()))
    }
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self { expire: one_hour() }
    }
}

const fn one_hour() -> u32 {
    3600
}

fn queue_name(name: &str, _context: &()) -> garde::Result {
    if name.chars().all(|character| character.is_ascii_alphanumeric() || "_-".contains(character)) {
        Ok(())
    } else {
        Err(garde::Error::new("may hold letters, digits, `_` and `-`"))
    }
}

impl Configuration {
    /// Reads the file's text.
    ///
    /// # Errors
    /// This returns an error that lists every mistake with its place: a syntax error, a duplicate key or an
    /// unknown field with line and column, and each value out of range with its path.
    pub fn parse(yaml: &str) -> Result<Self, Invalid> {
        let configuration: Self = serde_saphyr::from_str(yaml).map_err(|error| Invalid(vec![error.to_string()]))?;
        configuration.valid()
    }

    /// Reads what the build made of the file.
    pub(crate) fn parse_json(json: &str) -> Result<Self, Invalid> {
        let configuration: Self = serde_json::from_str(json).map_err(|error| Invalid(vec![error.to_string()]))?;
        configuration.valid()
    }

    fn valid(self) -> Result<Self, Invalid> {
        self.validate()
            .map_err(|report| Invalid(report.iter().map(|(path, error)| format!("{path}: {error}")).collect()))?;
        Ok(self)
    }

    /// The settings of a workflow.
    pub fn of(&self, workflow: WorkflowType) -> &WorkflowSettings {
        match workflow {
            WorkflowType::EmailProcessing => &self.workflows.email_processing,
            WorkflowType::DocumentReview => &self.workflows.document_review,
            WorkflowType::TaskAutomation => &self.workflows.task_automation,
        }
    }

    /// The settings of every workflow, by name.
    pub fn by_name(&self) -> BTreeMap<&'static str, &WorkflowSettings> {
        WorkflowType::ALL.into_iter().map(|workflow| (workflow.name(), self.of(workflow))).collect()
    }
}

/// Everything wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("workflow_config.yaml is not valid:\n  {}", .0.join("\n  "))]
pub struct Invalid(Vec<String>);

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = include_str!("../../../../infra/workflow_config.yaml");

    fn problem(yaml: &str) -> String {
        Configuration::parse(yaml).unwrap_err().to_string()
    }

    #[test]
    fn every_value_out_of_range_is_listed_at_once() {
        let shown = problem(&VALID.replace("timeout: 300", "timeout: 901").replace("delay: 120", "delay: 43201"));
        assert!(shown.contains("workflows.email_processing.timeout"), "{shown}");
        assert!(shown.contains("workflows.task_automation.timeout"), "{shown}");
        assert!(shown.contains("workflows.document_review.retry.delay"), "{shown}");
    }

    #[test]
    fn a_duplicate_or_unknown_key_is_named_with_its_line() {
        let twice = VALID.replace("queue: email_queue", "queue: email_queue\n    queue: other_queue");
        assert!(problem(&twice).contains("line"), "{}", problem(&twice));
        let unknown = problem(&VALID.replace("concurrent_limit: 5", "concurent_limit: 5"));
        assert!(unknown.contains("concurent_limit") && unknown.contains("line"), "{unknown}");
    }

    #[test]
    fn results_count_for_an_hour_unless_said_and_for_a_day_at_the_most() {
        let cache = "cache:\n  expire: 3600";
        assert!(VALID.contains(cache));
        let expire = |text: &str| Configuration::parse(&VALID.replace(cache, text)).unwrap().cache.expire();
        for unsaid in ["", "cache: {}", cache] {
            assert_eq!(expire(unsaid), Some(Duration::from_secs(3600)), "{unsaid}");
        }
        assert_eq!(expire("cache: { expire: 86400 }"), Some(Duration::from_secs(86_400)));
        assert_eq!(expire("cache: { expire: 0 }"), None);
        assert!(problem(&VALID.replace("expire: 3600", "expire: 86401")).contains("cache.expire"));
        let unknown = problem(&VALID.replace("expire: 3600", "expires: 3600"));
        assert!(unknown.contains("expires") && unknown.contains("line"), "{unknown}");
    }

    fn with_assistant(yaml: &str) -> String {
        assert!(VALID.contains("assistant:\n  kind: rules\n"));
        VALID.replace("assistant:\n  kind: rules\n", &format!("assistant:\n{yaml}"))
    }

    const NODES: &str = "  kind: model
  nodes:
    - { name: near, provider: openai, endpoint: \"http://127.0.0.1:8080/v1\", model: llama, weight: 3 }
    - { name: far, provider: bedrock, model: some.model-v1, prices: { input: 3000000, output: 15000000 } }
    - { name: last, provider: rules }
";

    #[test]
    fn nodes_are_read_with_their_defaults() {
        let assistant = Configuration::parse(&with_assistant(NODES)).unwrap().assistant;
        let [near, far, _last] = &assistant.nodes[..] else { panic!("three nodes") };
        assert_eq!((near.weight, near.concurrency, near.timeout, near.structured), (3, 8, 60, Structured::Schema));
        assert!(near.is_in("default") && !near.is_in("fast") && assistant.degrades_to_rules());
        assert_eq!((assistant.hedge_after(), assistant.budget), (None, BudgetSettings::default()));
        let tokens = |input, cached, output| crate::ports::Tokens { input, cached, output };
        assert_eq!(far.prices.cost(tokens(1000, 0, 100)), 4500);
        assert_eq!(far.prices.cost(tokens(0, 0, 1)), 15);
        assert_eq!(Prices { cached: Some(300_000), ..far.prices }.cost(tokens(1000, 900, 0)), 570);
        assert_eq!(Prices { input: 1, ..Prices::default() }.cost(tokens(1, 5, 0)), 1, "rounded up, never down");
        assert_eq!(Prices { input: u64::MAX, ..far.prices }.cost(tokens(u64::MAX, 0, u64::MAX)), u64::MAX);
    }

    #[test]
    fn a_node_that_cannot_work_is_refused_with_its_place() {
        for (from, to, place) in [
            ("name: far", "name: near", "two nodes are called `near`"),
            ("provider: rules", "provider: gpt", "gpt"),
            ("weight: 3", "weight: 0", "assistant.nodes[0].weight"),
            ("weight: 3", "wait: 3", "wait"),
            ("http://127.0.0.1:8080/v1", "file:///etc/passwd", "assistant.nodes[0].endpoint"),
            ("http://127.0.0.1:8080/v1", "http://user:key@host/v1", "assistant.nodes[0].endpoint"),
            ("model: some.model-v1", "model: ''", "assistant.nodes[1].model"),
            ("model: some.model-v1", "endpoint: 'http://x/v1', model: m", "assistant.nodes[1].endpoint"),
            ("name: last", "name: 'la st'", "assistant.nodes[2].name"),
            ("  nodes:", "  budget: { per_run: 0 }\n  nodes:", "assistant.budget.per_run"),
        ] {
            assert!(NODES.contains(from), "{from}");
            let shown = problem(&with_assistant(&NODES.replace(from, to)));
            assert!(shown.contains(place), "{to}: {shown}");
        }
        let first = "  kind: model\n  nodes:\n    - { name: a, provider: rules }\n    - { name: b, provider: bedrock, model: m }\n";
        assert!(problem(&with_assistant(first)).contains("`rules` can only be the last node"));
        assert!(problem(&with_assistant("  kind: model\n")).contains("needs a node with a model"));
    }

    #[test]
    fn a_queue_name_that_sqs_refuses_is_refused() {
        assert!(problem(&VALID.replace("email_queue", "email queue")).contains("workflows.email_processing.queue"));
    }

    #[test]
    fn hosts_and_servers_that_tasks_reach_are_checked() {
        let without = &VALID[..VALID.find("\nsecurity:").unwrap()];
        let with = |rest: &str| Configuration::parse(&format!("{without}\n{rest}"));
        assert!(with("").unwrap().security.http_hosts.is_empty());
        let read = with("security: { http_hosts: [api.example.com, '*.example.org:8443'] }").unwrap();
        assert_eq!(read.security.http_hosts.len(), 2);
        assert!(with("security: { http_hosts: ['https://a/b'] }").unwrap_err().to_string().contains("is not a host"));
        assert!(with("mcp: { servers: { crm: { url: 'http://127.0.0.1:9/mcp', tools: [find] } } }").is_ok());
        for url in ["http://crm.example/mcp", "http://127.0.0.1.evil.example", "https://", "https://u@h/", "crm"] {
            let problem =
                with(&format!("mcp: {{ servers: {{ crm: {{ url: '{url}', tools: [find] }} }} }}")).unwrap_err();
            assert!(problem.to_string().contains("mcp.servers.crm.url"), "{url}: {problem}");
        }
        let none = with("mcp: { servers: { crm: { url: 'https://crm.example/mcp', tools: [] } } }").unwrap_err();
        assert!(none.to_string().contains("mcp.servers.crm.tools"), "{none}");
    }
}
