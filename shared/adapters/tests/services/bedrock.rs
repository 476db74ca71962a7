//! Amazon Bedrock's real client against an endpoint that answers in the shapes that the service does.

use std::time::Duration;

use ihelper_adapters::{aws::Timeouts, bedrock::BedrockModel};
use ihelper_workflow::ports::{ModelFault, Tokens};
use serde_json::{Value, json};

use crate::{
    models::{answered, failed, fault, node},
    wire::{Answer, Wire, aws_with},
};

fn output(content: &Value, reason: &str) -> Value {
    json!({
        "metrics": { "latencyMs": 551 },
        "output": { "message": { "role": "assistant", "content": content } },
        "stopReason": reason,
        "usage": {
            "inputTokens": 20, "outputTokens": 12, "totalTokens": 132,
            "cacheReadInputTokens": 70, "cacheWriteInputTokens": 30,
        },
    })
}

fn words(text: &str) -> Value {
    json!([{ "text": text }])
}

async fn answering(body: Value) -> Wire {
    Wire::start(move |_, _| Answer::json(200, &body)).await
}

fn model(wire: &Wire, mut settings: Value) -> BedrockModel {
    settings["provider"] = json!("bedrock");
    settings["model"] = json!("eu.example.model-v1:0");
    BedrockModel::new(&wire.aws(), &node(settings))
}

/// What the service gets of a node's call.
async fn sent(settings: Value) -> Value {
    let wire = answering(output(&words("{}"), "end_turn")).await;
    answered(&model(&wire, settings)).await;
    let [request] = &wire.requests()[..] else { panic!("one request") };
    assert_eq!(request.target(), "POST /model/eu.example.model-v1%3A0/converse");
    request.json()
}

#[tokio::test]
async fn a_model_is_held_to_the_schema() {
    let body = sent(json!({})).await;
    assert_eq!(body["inferenceConfig"]["maxTokens"], 300);
    assert!((body["inferenceConfig"]["temperature"].as_f64().unwrap() - 0.2).abs() < 1e-6);
    let format = &body["outputConfig"]["textFormat"];
    assert_eq!(format["type"], "json_schema");
    let schema: Value = serde_json::from_str(format["structure"]["jsonSchema"]["schema"].as_str().unwrap()).unwrap();
    assert_eq!(schema["required"], json!(["verdict"]));
    assert_eq!(body["system"], json!([{"text": "You hold documents against criteria."}]));
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": [{"text": "The document.\n"}, {"text": "The criterion."}]},
            {"role": "assistant", "content": [{"text": "perhaps"}]},
            {"role": "user", "content": [{"text": "This is not a valid answer."}]},
        ])
    );
}

#[tokio::test]
async fn cache_points_stand_behind_what_is_the_same_for_many() {
    let body = sent(json!({"cache_points": true})).await;
    let point = json!({"cachePoint": {"type": "default"}});
    assert_eq!(body["system"][1], point);
    assert_eq!(body["messages"][0]["content"][1], point);
    assert_eq!(body.to_string().matches("cachePoint").count(), 2);
}

#[tokio::test]
async fn a_model_without_schemas_calls_a_tool_or_reads_the_schema() {
    let body = sent(json!({"structured": "tool"})).await;
    let tool = &body["toolConfig"]["tools"][0]["toolSpec"];
    assert_eq!((&tool["name"], &tool["inputSchema"]["json"]["required"]), (&json!("review"), &json!(["verdict"])));
    assert_eq!(body["toolConfig"]["toolChoice"], json!({"tool": {"name": "review"}}));
    assert_eq!(body.get("outputConfig"), None);
    let body = sent(json!({"structured": "text"})).await;
    assert!(body["system"][0]["text"].as_str().unwrap().contains(r#""enum":["met","not_met"]"#));
    assert_eq!((body.get("outputConfig"), body.get("toolConfig")), (None, None));
}

#[tokio::test]
async fn words_and_calls_of_tools_are_answers_and_every_token_counts() {
    let wire = answering(output(&words("{}"), "end_turn")).await;
    let answer = answered(&model(&wire, json!({}))).await;
    assert_eq!((answer.text.as_str(), answer.tokens), ("{}", Tokens { input: 120, cached: 70, output: 12 }));
    let call = json!([
        { "text": "I use the tool." },
        { "toolUse": { "toolUseId": "t", "name": "review", "input": { "verdict": "met", "n": [1, -2, 0.5] } } },
    ]);
    let wire = answering(output(&call, "tool_use")).await;
    let answer = answered(&model(&wire, json!({"structured": "tool"}))).await;
    assert_eq!(serde_json::from_str::<Value>(&answer.text).unwrap(), json!({"verdict": "met", "n": [1, -2, 0.5]}));
    // What the service calls malformed is looked at like any other answer.
    let wire = answering(output(&words("{\"verdict\": 1}"), "malformed_model_output")).await;
    assert_eq!(answered(&model(&wire, json!({}))).await.text, "{\"verdict\": 1}");
}

#[tokio::test]
async fn each_reason_to_stop_is_of_its_kind() {
    for (reason, content, expected) in [
        ("max_tokens", words("{\"verd"), ModelFault::Truncated),
        ("model_context_window_exceeded", words("{"), ModelFault::Truncated),
        ("content_filtered", words("no"), ModelFault::ContentFiltered),
        ("guardrail_intervened", words("no, ann@example.com"), ModelFault::ContentFiltered),
        ("refusal", words("I cannot"), ModelFault::Refused),
        ("malformed_tool_use", json!([]), ModelFault::Invalid),
        ("malformed_model_output", json!([]), ModelFault::Invalid),
        ("end_turn", json!([]), ModelFault::Invalid),
        ("a reason of tomorrow", json!([]), ModelFault::Invalid),
    ] {
        let wire = answering(output(&content, reason)).await;
        let failure = failed(&model(&wire, json!({}))).await;
        assert_eq!(failure.fault, expected, "{reason}");
        assert_eq!((failure.tokens.input, failure.tokens.output), (120, 12), "{reason}");
        assert_eq!(failure.text.is_some(), content != json!([]), "{reason}");
    }
}

#[tokio::test]
async fn each_error_is_of_its_kind_and_is_met_once() {
    for (status, code, expected) in [
        (429, "ThrottlingException", ModelFault::Throttled),
        (400, "ServiceQuotaExceededException", ModelFault::Quota),
        (403, "AccessDeniedException", ModelFault::Misconfigured),
        (403, "UnrecognizedClientException", ModelFault::Misconfigured),
        (404, "ResourceNotFoundException", ModelFault::Misconfigured),
        (408, "ModelTimeoutException", ModelFault::Timeout),
        (424, "ModelErrorException", ModelFault::Overloaded),
        (429, "ModelNotReadyException", ModelFault::Overloaded),
        (500, "InternalServerException", ModelFault::Overloaded),
        (503, "ServiceUnavailableException", ModelFault::Overloaded),
        (400, "ValidationException", ModelFault::Invalid),
        (418, "NeverHeardOf", ModelFault::Overloaded),
    ] {
        let wire = Wire::start(move |_, _| Answer::error(status, code)).await;
        let failure = failed(&model(&wire, json!({}))).await;
        assert_eq!(failure.fault, expected, "{status} {code}");
        assert!(failure.message.contains(code), "{failure}");
        assert_eq!(wire.requests().len(), 1, "{code}: the router repeats, nobody else");
    }
}

#[tokio::test]
async fn two_cases_that_share_a_code_are_told_apart() {
    for (status, code, message, expected) in [
        (400, "ValidationException", "Input is too long for requested model, ann@example.com", ModelFault::Truncated),
        (429, "ThrottlingException", "Too many tokens per day, ann@example.com", ModelFault::Quota),
    ] {
        let body = json!({ "message": message }).to_string().into_bytes();
        let headers =
            vec![("x-amzn-errortype".to_owned(), code.to_owned()), ("retry-after".to_owned(), "3".to_owned())];
        let wire = Wire::start(move |_, _| Answer::Reply(status, headers.clone(), body.clone())).await;
        let failure = failed(&model(&wire, json!({}))).await;
        assert_eq!((failure.fault, failure.retry_after), (expected, Some(Duration::from_secs(3))));
    }
}

#[tokio::test]
async fn a_broken_connection_is_told_from_a_damaged_answer() {
    let wire = Wire::start(|_, _| Answer::HangUp).await;
    assert_eq!(fault(&model(&wire, json!({}))).await, ModelFault::Connection);
    assert_eq!(wire.requests().len(), 1);
}

#[tokio::test]
async fn an_answer_may_take_longer_than_any_other_call_of_aws() {
    let wire = answering(output(&words("{}"), "end_turn")).await;
    let aws = aws_with(wire.address, Timeouts { attempt: Duration::from_nanos(1), ..Timeouts::default() });
    let model = BedrockModel::new(&aws, &node(json!({"provider": "bedrock", "model": "m"})));
    assert_eq!(answered(&model).await.text, "{}");
}
