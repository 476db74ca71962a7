//! Models: calls spread over nodes, prompts and answers, degradation, accounts; on ports in memory.

mod assistant;
mod chaos;
mod money;
mod spans;

use std::sync::Arc;

use ihelper_testkit::memory::{ScriptedModel, VirtualClock};
use ihelper_workflow::{
    domain::configuration::NodeSettings,
    models::{Node, Router},
    ports::{AnswerSchema, Clock, ModelAnswer, ModelFailure, ModelRequest, Speaker, Tokens, Turn},
};
use serde_json::{Value, json};

/// A request about nothing.
fn request() -> ModelRequest {
    ModelRequest {
        system: "say yes".to_owned(),
        turns: vec![Turn { speaker: Speaker::User, stable: String::new(), text: "well?".to_owned() }],
        schema: Arc::new(AnswerSchema::new("answer", json!({"type": "object"}))),
        temperature: None,
        max_output_tokens: 100,
        timeout: std::time::Duration::from_secs(60),
    }
}

fn answer(value: &Value) -> Result<ModelAnswer, ModelFailure> {
    Ok(ModelAnswer { text: value.to_string(), tokens: Tokens { input: 100, cached: 0, output: 10 } })
}

/// Nodes of these settings, in YAML, each with the model of its place.
fn nodes(yaml: &str, models: impl IntoIterator<Item = ScriptedModel>) -> Vec<Node> {
    let settings: Vec<NodeSettings> = serde_saphyr::from_str(yaml).unwrap();
    let models: Vec<ScriptedModel> = models.into_iter().collect();
    assert_eq!(settings.len(), models.len());
    settings.into_iter().zip(models).map(|(settings, model)| Node { settings, model: Arc::new(model) }).collect()
}

fn router(clock: &VirtualClock, yaml: &str, models: impl IntoIterator<Item = ScriptedModel>) -> Router {
    Router::new(nodes(yaml, models), Arc::new(clock.clone()) as Arc<dyn Clock>, None)
}
