//! What the tests of models share.

use std::{sync::Arc, time::Duration};

use ihelper_workflow::{
    domain::configuration::NodeSettings,
    ports::{AnswerSchema, Model, ModelAnswer, ModelFailure, ModelFault, ModelRequest, Speaker, Turn},
};
use serde_json::{Value, json};

/// A node with these settings, beside its name.
pub(crate) fn node(mut settings: Value) -> NodeSettings {
    settings["name"] = json!("node");
    serde_json::from_value(settings).unwrap()
}

/// A question after an answer that was not valid.
pub(crate) fn request() -> ModelRequest {
    let turn = |speaker, stable: &str, text: &str| Turn { speaker, stable: stable.to_owned(), text: text.to_owned() };
    let schema = json!({
        "type": "object",
        "properties": { "verdict": { "type": "string", "enum": ["met", "not_met"] } },
        "required": ["verdict"],
        "additionalProperties": false,
    });
    ModelRequest {
        system: "You hold documents against criteria.".to_owned(),
        turns: vec![
            turn(Speaker::User, "The document.\n", "The criterion."),
            turn(Speaker::Model, "", "perhaps"),
            turn(Speaker::User, "", "This is not a valid answer."),
        ],
        schema: Arc::new(AnswerSchema::new("review", schema)),
        temperature: Some(0.2),
        max_output_tokens: 300,
        timeout: Duration::from_secs(60),
    }
}

pub(crate) async fn answered(model: &dyn Model) -> ModelAnswer {
    model.complete(&request()).await.unwrap()
}

/// How a call fails; its message tells nothing of what the service said.
pub(crate) async fn failed(model: &dyn Model) -> ModelFailure {
    let failure = model.complete(&request()).await.unwrap_err();
    let shown = format!("{failure} {failure:?}");
    assert!(!shown.contains("ann@example.com") && !shown.contains("criterion"), "{shown}");
    failure
}

/// The fault of a call that fails.
pub(crate) async fn fault(model: &dyn Model) -> ModelFault {
    failed(model).await.fault
}
