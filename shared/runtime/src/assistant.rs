//! The assistant that the configuration asks for.

use std::{collections::BTreeMap, sync::Arc};

use ihelper_adapters::{
    aws::Aws,
    bedrock::BedrockModel,
    dynamodb::{Table, TableBudgets, TableStepCache, TableUsageLedger},
    openai::OpenAiModel,
    system::{SystemClock, SystemEntropy},
};
use ihelper_workflow::{
    assistant::{Accounts, FenceKey, PromptAssistant},
    domain::configuration::{AssistantKind, AssistantSettings, NodeSettings, Provider},
    models::{Node, Router},
    ports::{Assistant, Clock, Model, Monitor},
    rules::RulesAssistant,
};
use lambda_runtime::Error;

use crate::settings::Secret;

/// The assistant of one process: what it learns about its nodes is learnt once for all workflows.
///
/// # Errors
/// This returns an error that names the node whose key is missing or is none.
pub(crate) fn assistant(
    settings: &AssistantSettings,
    keys: &BTreeMap<String, Secret>,
    aws: &Aws,
    table: &Table,
    monitor: &Arc<dyn Monitor>,
) -> Result<Arc<dyn Assistant>, Error> {
    if settings.kind == AssistantKind::Rules {
        return Ok(Arc::new(RulesAssistant));
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let nodes = nodes(settings, keys, aws)?;
    let names: Vec<&str> = nodes.iter().map(|node| node.settings.model.as_str()).collect();
    let mut distinct = names.clone();
    distinct.dedup();
    Ok(Arc::new(PromptAssistant {
        name: distinct.join(", "),
        router: Arc::new(
            Router::new(nodes, Arc::clone(&clock), settings.hedge_after()).watched_by(Arc::clone(monitor)),
        ),
        degrades_to_rules: settings.degrades_to_rules(),
        accounts: Accounts {
            budgets: Arc::new(TableBudgets::new(table.clone())),
            settings: settings.budget,
            clock: Arc::clone(&clock),
        },
        usage: Arc::new(TableUsageLedger::new(table.clone())),
        cache: Arc::new(TableStepCache::new(table.clone())),
        clock,
        fence: FenceKey::new(&SystemEntropy),
    }))
}

/// The nodes that have a model, in their order.
///
/// # Errors
/// This returns an error that names the node whose key is missing or is none.
pub fn nodes(settings: &AssistantSettings, keys: &BTreeMap<String, Secret>, aws: &Aws) -> Result<Vec<Node>, Error> {
    let mut nodes = Vec::new();
    for node in &settings.nodes {
        if let Some(model) = model(node, keys, aws)? {
            nodes.push(Node { settings: node.clone(), model });
        }
    }
    Ok(nodes)
}

/// The model of a node; `rules` is none.
fn model(node: &NodeSettings, keys: &BTreeMap<String, Secret>, aws: &Aws) -> Result<Option<Arc<dyn Model>>, Error> {
    Ok(match node.provider {
        Provider::Rules => None,
        Provider::Bedrock => Some(Arc::new(BedrockModel::new(aws, node))),
        Provider::Openai => {
            let key = match &node.key_variable {
                None => None,
                Some(variable) => {
                    let missing = || format!("the node `{}` needs `{variable}` in the environment", node.name);
                    Some(keys.get(variable).ok_or_else(missing)?.reveal())
                }
            };
            let model = OpenAiModel::new(node, key).map_err(|error| format!("the node `{}`: {error}", node.name))?;
            Some(Arc::new(model))
        }
    })
}

#[cfg(test)]
mod tests {
    use ihelper_adapters::{
        aws::{Credentials, Timeouts},
        dynamodb::RETENTION,
        s3::S3Values,
    };
    use ihelper_workflow::{domain::configuration::Configuration, ports::Unwatched};

    use super::*;

    fn made(assistant: &str, keys: &[(&str, &str)]) -> Result<Arc<dyn Assistant>, String> {
        let embedded = include_str!("../../../infra/workflow_config.yaml");
        let configuration = embedded.replace("assistant:\n  kind: rules\n", assistant);
        let settings = Configuration::parse(&configuration).unwrap().assistant;
        let credentials =
            Credentials { access_key_id: "a".to_owned(), secret_access_key: "b".to_owned(), session_token: None };
        let aws = Aws::new("us-east-1", credentials, None, Timeouts::default());
        let table = Table::new(&aws, "table", Arc::new(S3Values::new(&aws, "bucket")), RETENTION);
        let keys = keys.iter().map(|(name, key)| ((*name).to_owned(), Secret::new(*key))).collect();
        super::assistant(&settings, &keys, &aws, &table, &(Arc::new(Unwatched) as Arc<dyn Monitor>))
            .map_err(|error| error.to_string())
    }

    const NODES: &str = "assistant:
  kind: model
  nodes:
    - { name: near, provider: openai, endpoint: \"https://models.example/v1\", model: small, key_variable: MODEL_KEY }
    - { name: far, provider: bedrock, model: large }
    - { name: last, provider: rules }
";

    #[test]
    fn the_configuration_decides_who_thinks() {
        assert_eq!(made("assistant:\n  kind: rules\n", &[]).unwrap().model(), "rules");
        assert_eq!(made(NODES, &[("MODEL_KEY", "secret")]).unwrap().model(), "small, large");
    }

    #[test]
    fn a_key_that_is_missing_or_none_is_named_and_never_shown() {
        let problem = |keys: &[(&str, &str)]| made(NODES, keys).err().unwrap();
        assert_eq!(problem(&[]), "the node `near` needs `MODEL_KEY` in the environment");
        assert_eq!(problem(&[("MODEL_KEY", "sec\nret")]), "the node `near`: the key holds what no header can");
    }
}
