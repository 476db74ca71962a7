//! `assistant` in `workflow_config.yaml`: who thinks, on which nodes, and for how much.

use std::{collections::BTreeSet, time::Duration};

use garde::Validate;
use serde::Deserialize;

/// Which assistant works.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct AssistantSettings {
    /// Its kind.
    #[serde(default)]
    #[garde(skip)]
    pub kind: AssistantKind,
    /// What models answer, for the kind `model`: calls are spread over them. `rules`, as the last one, answers when no
    /// other can.
    #[serde(default)]
    #[garde(dive, custom(in_order), custom(fits(self.kind)))]
    pub nodes: Vec<NodeSettings>,
    /// After how long without an answer a second node is asked the same, in milliseconds; the first answer counts, and
    /// both are paid. 0, never, unless said.
    #[serde(default)]
    #[garde(range(max = 600_000))]
    pub hedge_after_ms: u32,
    /// What may be spent.
    #[serde(default)]
    #[garde(dive)]
    pub budget: BudgetSettings,
}

/// The kinds of assistant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AssistantKind {
    /// The embedded default: deterministic text analysis, no model, no network.
    #[default]
    Rules,
    /// The definition's prompts, answered by the nodes.
    Model,
}

/// One node: a model at a service.
#[derive(Clone, Debug, PartialEq, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct NodeSettings {
    /// What it is called, in logs and here: unique.
    #[garde(length(bytes, min = 1, max = 64), custom(plain_name))]
    pub name: String,
    /// Whose interface it speaks.
    #[garde(skip)]
    pub provider: Provider,
    /// Where an OpenAI-compatible service is, up to `/v1`. Plain HTTP is for this machine and private networks.
    #[serde(default)]
    #[garde(custom(endpoint_of(self.provider)))]
    pub endpoint: Option<String>,
    /// The model, as the service calls it; for Bedrock also an inference profile.
    #[serde(default)]
    #[garde(custom(model_of(self.provider)))]
    pub model: String,
    /// The environment variable that holds the key of an OpenAI-compatible service; none for one that asks for none.
    #[serde(default)]
    #[garde(inner(length(bytes, min = 1, max = 128)))]
    pub key_variable: Option<String>,
    /// The groups it belongs to: a prompt may ask for one of them. Every node is in the group `default`, too.
    #[serde(default)]
    #[garde(skip)]
    pub groups: BTreeSet<String>,
    /// Its share of the calls, beside the others' weights: 1 to 1,000.
    #[serde(default = "one")]
    #[garde(range(min = 1, max = 1000))]
    pub weight: u32,
    /// Nodes of one name share a quota: when one is throttled, all of them cool down.
    #[serde(default)]
    #[garde(skip)]
    pub quota_group: Option<String>,
    /// Calls at a time from one process: 1 to 1,000.
    #[serde(default = "eight")]
    #[garde(range(min = 1, max = 1000))]
    pub concurrency: u32,
    /// The longest time for an answer, in seconds: 1 to 600.
    #[serde(default = "one_minute")]
    #[garde(range(min = 1, max = 600))]
    pub timeout: u32,
    /// How the service is brought to answer in JSON.
    #[serde(default)]
    #[garde(skip)]
    pub structured: Structured,
    /// Whether the service takes marks at which its prompt cache may begin (Bedrock, for the models that have it).
    #[serde(default)]
    #[garde(skip)]
    pub cache_points: bool,
    /// Whether the service wants the limit of tokens as `max_completion_tokens` (OpenAI's newer models) and not as
    /// `max_tokens` (nearly everybody else).
    #[serde(default)]
    #[garde(skip)]
    pub max_completion_tokens: bool,
    /// What it costs.
    #[serde(default)]
    #[garde(skip)]
    pub prices: Prices,
}

/// Whose interface a node speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Amazon Bedrock's Converse.
    Bedrock,
    /// `POST /chat/completions` as OpenAI has it: Ollama, llama.cpp, vLLM, LiteLLM and many others.
    Openai,
    /// No model: the embedded rules, when no model answers.
    Rules,
}

/// How a service is brought to answer in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Structured {
    /// It holds the model to the schema.
    #[default]
    Schema,
    /// The model calls a tool whose arguments are the answer.
    Tool,
    /// It holds the model to JSON; the schema stands in the prompt.
    Json,
    /// It holds the model to nothing; the schema stands in the prompt.
    Text,
}

/// What tokens cost, in millionths of a dollar for a million of them: 3 dollars are 3000000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prices {
    /// Tokens sent.
    #[serde(default)]
    pub input: u64,
    /// Tokens sent that the service had cached; as those that it had not, unless said.
    #[serde(default)]
    pub cached: Option<u64>,
    /// Tokens received.
    #[serde(default)]
    pub output: u64,
}

/// What may be spent, in millionths of a dollar; without a number there is no limit and no account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Validate)]
#[serde(deny_unknown_fields)]
pub struct BudgetSettings {
    /// By one run.
    #[serde(default)]
    #[garde(inner(range(min = 1)))]
    pub per_run: Option<u64>,
    /// By one caller in a day of UTC.
    #[serde(default)]
    #[garde(inner(range(min = 1)))]
    pub per_caller_and_day: Option<u64>,
    /// By one workflow in a day of UTC.
    #[serde(default)]
    #[garde(inner(range(min = 1)))]
    pub per_workflow_and_day: Option<u64>,
}

impl AssistantSettings {
    /// After how long a second node is asked the same.
    pub fn hedge_after(&self) -> Option<Duration> {
        (self.hedge_after_ms > 0).then(|| Duration::from_millis(self.hedge_after_ms.into()))
    }

    /// Whether `rules` answer when no model can.
    pub fn degrades_to_rules(&self) -> bool {
        self.nodes.last().is_some_and(|node| node.provider == Provider::Rules)
    }
}

impl NodeSettings {
    /// The longest time for an answer.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout.into())
    }

    /// Whether the node is in a group.
    pub fn is_in(&self, group: &str) -> bool {
        group == DEFAULT_GROUP || self.groups.contains(group)
    }
}

/// The group that every node is in.
pub const DEFAULT_GROUP: &str = "default";

impl Prices {
    /// What a call costs that took so much, rounded up to a millionth of a dollar.
    pub fn cost(&self, tokens: crate::ports::Tokens) -> u64 {
        let cached = tokens.cached.min(tokens.input);
        let price = |tokens: u64, price: u64| u128::from(tokens) * u128::from(price);
        let sum = price(tokens.input - cached, self.input)
            .saturating_add(price(cached, self.cached.unwrap_or(self.input)))
            .saturating_add(price(tokens.output, self.output));
        u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}

const fn one() -> u32 {
    1
}

const fn eight() -> u32 {
    8
}

const fn one_minute() -> u32 {
    60
}

fn plain_name(name: &str, _context: &()) -> garde::Result {
    if name.chars().all(|character| character.is_ascii_alphanumeric() || "_.:-".contains(character)) {
        Ok(())
    } else {
        Err(garde::Error::new("may hold letters, digits, `_`, `.`, `:` and `-`"))
    }
}

fn in_order(nodes: &[NodeSettings], _context: &()) -> garde::Result {
    let mut names = BTreeSet::new();
    if let Some(twice) = nodes.iter().find(|node| !names.insert(&node.name)) {
        return Err(garde::Error::new(format!("two nodes are called `{}`", twice.name)));
    }
    let before_last = nodes.iter().rev().skip(1);
    if before_last.clone().any(|node| node.provider == Provider::Rules) {
        return Err(garde::Error::new("`rules` can only be the last node"));
    }
    Ok(())
}

fn fits(kind: AssistantKind) -> impl FnOnce(&[NodeSettings], &()) -> garde::Result {
    move |nodes, ()| match kind {
        AssistantKind::Model if nodes.iter().all(|node| node.provider == Provider::Rules) => {
            Err(garde::Error::new("the kind `model` needs a node with a model"))
        }
        AssistantKind::Rules | AssistantKind::Model => Ok(()),
    }
}

fn endpoint_of(provider: Provider) -> impl FnOnce(&Option<String>, &()) -> garde::Result {
    move |endpoint, ()| match (provider, endpoint) {
        (Provider::Openai, Some(endpoint)) if is_endpoint(endpoint) => Ok(()),
        (Provider::Openai, _) => {
            Err(garde::Error::new("an OpenAI-compatible node needs one: http(s)://, a host, no `?`, `#` or `@`"))
        }
        (_, None) => Ok(()),
        (Provider::Bedrock | Provider::Rules, Some(_)) => Err(garde::Error::new("is for OpenAI-compatible nodes")),
    }
}

fn is_endpoint(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        !rest.starts_with('/')
            && (1..=1024).contains(&rest.len())
            && rest.chars().all(|letter| letter.is_ascii_graphic() && !"?#@\\\"<>".contains(letter))
    })
}

fn model_of(provider: Provider) -> impl FnOnce(&str, &()) -> garde::Result {
    move |model, ()| match provider {
        Provider::Rules => Ok(()),
        _ if model.is_empty() || model.len() > 256 || model.chars().any(char::is_control) => {
            Err(garde::Error::new("a model's name has 1 to 256 bytes"))
        }
        _ => Ok(()),
    }
}
