use std::{error::Error, path::PathBuf, sync::Arc};

use ihelper_adapters::{
    aws::{Aws, Credentials, Timeouts},
    extract::{IsolatedExtractor, Limits},
    http::GuardedHttpClient,
    system::{SystemClock, SystemEntropy},
};
use ihelper_runtime::{assistant::nodes, settings::model_keys};
use ihelper_testkit::memory::{MemoryBudgets, MemoryStepCache, MemoryUsageLedger};
use ihelper_workflow::{
    assistant::{Accounts, FenceKey, PromptAssistant},
    domain::{
        configuration::{AssistantKind, BudgetSettings, Configuration, NodeSettings, Provider},
        definition::Definition,
    },
    models::{Node, Router},
    ports::{Assistant, Clock, Extractor},
    rules::RulesAssistant,
    versions::Rehearsal,
};

/// The name of who is no node.
const RULES: &str = "rules";

/// Who is evaluated.
pub struct Candidate {
    /// What the tables call it: the node's name.
    pub name: String,
    /// Its model.
    pub model: String,
    /// Plays cases with it.
    pub rehearsal: Rehearsal,
}

impl Candidate {
    /// The embedded rules.
    pub fn rules(configuration: &Configuration) -> Self {
        Self::new(RULES, RULES, configuration, Arc::new(RulesAssistant))
    }

    /// One node, for every prompt, whatever group that asks for, and with nobody to stand in for it.
    pub fn node(node: Node, configuration: &Configuration, definitions: &[Definition]) -> Self {
        let (name, model) = (node.settings.name.clone(), node.settings.model.clone());
        let asked = definitions.iter().flat_map(|definition| definition.prompts.values());
        let groups = node.settings.groups.iter().cloned().chain(asked.filter_map(|prompt| prompt.nodes.clone()));
        let settings = NodeSettings { groups: groups.collect(), ..node.settings };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let node = Node { settings, model: node.model };
        let assistant = PromptAssistant {
            name: model.clone(),
            router: Arc::new(Router::new(vec![node], Arc::clone(&clock), None)),
            degrades_to_rules: false,
            // What one run may not spend, no case may; what a day may not, is for those who work.
            accounts: Accounts {
                budgets: Arc::new(MemoryBudgets::new()),
                settings: BudgetSettings {
                    per_run: configuration.assistant.budget.per_run,
                    ..BudgetSettings::default()
                },
                clock: Arc::clone(&clock),
            },
            usage: Arc::new(MemoryUsageLedger::new()),
            cache: Arc::new(MemoryStepCache::new()),
            clock,
            fence: FenceKey::new(&SystemEntropy),
        };
        Self::new(&name, &model, configuration, Arc::new(assistant))
    }

    fn new(name: &str, model: &str, configuration: &Configuration, assistant: Arc<dyn Assistant>) -> Self {
        // The child is this very binary: its main looks for the child's argument first.
        let extractor: Arc<dyn Extractor> =
            Arc::new(IsolatedExtractor::new(PathBuf::from("/proc/self/exe"), Limits::default()));
        let rehearsal = Rehearsal {
            assistant,
            extractor,
            http: Arc::new(GuardedHttpClient::new(configuration.security.http_hosts.clone())),
            configuration: Arc::new(configuration.clone()),
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
        };
        Self { name: name.to_owned(), model: model.to_owned(), rehearsal }
    }
}

/// Everybody whom a configuration names, or those of them who are wanted.
///
/// # Errors
/// This returns an error that names a wanted node that does not exist, or one whose key is missing.
pub fn candidates(
    configuration: &Configuration,
    definitions: &[Definition],
    wanted: &[String],
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Vec<Candidate>, Box<dyn Error + Send + Sync>> {
    let mut settings = configuration.assistant.clone();
    let has_rules = settings.kind == AssistantKind::Rules || settings.degrades_to_rules();
    if settings.kind == AssistantKind::Rules {
        settings.nodes.clear();
    }
    settings.nodes.retain(|node| node.provider != Provider::Rules);
    let known = settings.nodes.iter().map(|node| node.name.as_str()).chain([RULES]);
    let known: Vec<String> = known.map(str::to_owned).collect();
    if let Some(unknown) = wanted.iter().find(|name| !known.contains(name)) {
        return Err(format!("there is no node `{unknown}`; there are `{}`", known.join("`, `")).into());
    }
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    settings.nodes.retain(|node| is_wanted(&node.name));
    let mut asked = configuration.clone();
    asked.assistant = settings;
    let keys = model_keys(&asked, &variable);
    let aws = aws(&asked, &variable)?;
    let mut found: Vec<Candidate> = nodes(&asked.assistant, &keys, &aws)?
        .into_iter()
        .map(|node| Candidate::node(node, configuration, definitions))
        .collect();
    if is_wanted(RULES) && (has_rules || !wanted.is_empty()) {
        found.push(Candidate::rules(configuration));
    }
    Ok(found)
}

/// AWS as the environment names it, for nodes at Bedrock; where there is none, nobody asks.
fn aws(configuration: &Configuration, variable: impl Fn(&str) -> Option<String>) -> Result<Aws, String> {
    let is_asked = configuration.assistant.nodes.iter().any(|node| node.provider == Provider::Bedrock);
    let required = |name: &str| match variable(name) {
        Some(value) if !value.is_empty() => Ok(value),
        _ if is_asked => Err(format!("nodes at Bedrock need `{name}` in the environment")),
        _ => Ok(String::from("none")),
    };
    let credentials = Credentials {
        access_key_id: required("AWS_ACCESS_KEY_ID")?,
        secret_access_key: required("AWS_SECRET_ACCESS_KEY")?,
        session_token: variable("AWS_SESSION_TOKEN").filter(|token| !token.is_empty()),
    };
    let endpoint = variable("AWS_ENDPOINT_URL").filter(|endpoint| !endpoint.is_empty());
    Ok(Aws::new(&required("AWS_REGION")?, credentials, endpoint, Timeouts::default()))
}
