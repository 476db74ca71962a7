//! The OpenAI-compatible adapter against an endpoint that the test answers for: each form of request, answer and error.

use std::time::Duration;

use ihelper_adapters::openai::OpenAiModel;
use ihelper_workflow::ports::{ModelFault, Tokens};
use serde_json::{Value, json};

use crate::{
    models::{answered, failed, fault, node},
    wire::{Answer, Wire},
};

fn completion(message: &Value, reason: &str) -> Value {
    json!({
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [{ "index": 0, "message": message, "finish_reason": reason, "logprobs": null }],
        "usage": {
            "prompt_tokens": 120, "completion_tokens": 12, "total_tokens": 132,
            "prompt_tokens_details": { "cached_tokens": 100 },
        },
    })
}

fn said(text: &str) -> Value {
    completion(&json!({ "role": "assistant", "content": text, "refusal": null }), "stop")
}

async fn answering(status: u16, headers: &[(&str, &str)], body: Value) -> Wire {
    let headers: Vec<(String, String)> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let body = body.to_string().into_bytes();
    Wire::start(move |_, _| Answer::Reply(status, headers.clone(), body.clone())).await
}

fn model(wire: &Wire, settings: Value) -> OpenAiModel {
    let mut settings = settings;
    settings["provider"] = json!("openai");
    settings["endpoint"] = json!(format!("http://{}/v1", wire.address));
    settings["model"] = json!("some-model");
    OpenAiModel::new(&node(settings), Some("key-of-the-service")).unwrap()
}

/// What the service gets of a node's call.
async fn sent(settings: Value) -> Value {
    let wire = answering(200, &[], said(r#"{"verdict": "met"}"#)).await;
    answered(&model(&wire, settings)).await;
    let [request] = &wire.requests()[..] else { panic!("one request") };
    assert_eq!(request.target(), "POST /v1/chat/completions");
    assert_eq!(request.header("authorization").as_deref(), Some("Bearer key-of-the-service"));
    request.json()
}

#[tokio::test]
async fn a_service_is_held_to_the_schema_with_the_stable_part_first() {
    let body = sent(json!({})).await;
    assert_eq!(body["model"], "some-model");
    assert_eq!((&body["max_tokens"], &body["temperature"], &body["stream"]), (&json!(300), &json!(0.2), &json!(false)));
    let schema = &body["response_format"]["json_schema"];
    assert_eq!((&body["response_format"]["type"], &schema["name"]), (&json!("json_schema"), &json!("review")));
    assert_eq!((&schema["strict"], &schema["schema"]["required"]), (&json!(true), &json!(["verdict"])));
    let turns: Vec<(&str, &str)> = body["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|turn| (turn["role"].as_str().unwrap(), turn["content"].as_str().unwrap()))
        .collect();
    assert_eq!(
        turns,
        [
            ("system", "You hold documents against criteria."),
            ("user", "The document.\nThe criterion."),
            ("assistant", "perhaps"),
            ("user", "This is not a valid answer."),
        ]
    );
}

#[tokio::test]
async fn a_service_without_schemas_gets_a_tool_or_the_schema_in_words() {
    let tool = sent(json!({"structured": "tool"})).await;
    assert_eq!(tool["tools"][0]["function"]["parameters"]["required"], json!(["verdict"]));
    assert_eq!(tool["tool_choice"]["function"]["name"], "review");
    assert_eq!(tool["messages"][2]["content"], "review(perhaps)");
    assert_eq!(tool.get("response_format"), None);
    let plain = sent(json!({"structured": "json"})).await;
    assert_eq!(plain["response_format"], json!({"type": "json_object"}));
    assert!(plain["messages"][0]["content"].as_str().unwrap().contains(r#""enum":["met","not_met"]"#));
    let text = sent(json!({"structured": "text", "max_completion_tokens": true})).await;
    assert_eq!((text.get("response_format"), text.get("tools"), text.get("max_tokens")), (None, None, None));
    assert_eq!(text["max_completion_tokens"], 300);
    assert!(text["messages"][0]["content"].as_str().unwrap().contains(r#""enum":["met","not_met"]"#));
}

#[tokio::test]
async fn words_and_calls_of_tools_are_answers_and_every_token_counts() {
    let wire = answering(200, &[], said("{}")).await;
    let answer = answered(&model(&wire, json!({}))).await;
    assert_eq!((answer.text.as_str(), answer.tokens), ("{}", Tokens { input: 120, cached: 100, output: 12 }));
    let call = json!({ "role": "assistant", "content": null, "tool_calls": [
        { "id": "c", "type": "function", "function": { "name": "review", "arguments": "{\"verdict\": \"met\"}" } },
    ] });
    let wire = answering(200, &[], completion(&call, "tool_calls")).await;
    assert_eq!(answered(&model(&wire, json!({"structured": "tool"}))).await.text, r#"{"verdict": "met"}"#);
    // Small servers leave out what they do not count.
    let wire = answering(200, &[], json!({"choices": [{"message": {"content": "{}"}}]})).await;
    assert_eq!(answered(&model(&wire, json!({}))).await.tokens, Tokens::default());
}

#[tokio::test]
async fn an_answer_that_is_none_says_why_and_what_it_took() {
    let text = |text: &str| json!({ "role": "assistant", "content": text });
    let refusal = json!({ "role": "assistant", "content": null, "refusal": "I cannot, ann@example.com" });
    for (body, expected, kept) in [
        (completion(&text("{\"verdict\": \"m"), "length"), ModelFault::Truncated, Some("{\"verdict\": \"m")),
        (completion(&text(""), "content_filter"), ModelFault::ContentFiltered, None),
        (completion(&refusal, "stop"), ModelFault::Refused, Some("I cannot, ann@example.com")),
        (completion(&text("  "), "stop"), ModelFault::Invalid, None),
        (json!({"choices": [], "usage": {"prompt_tokens": 120, "completion_tokens": 12}}), ModelFault::Invalid, None),
    ] {
        let wire = answering(200, &[], body).await;
        let failure = failed(&model(&wire, json!({}))).await;
        assert_eq!((failure.fault, failure.text.as_deref()), (expected, kept));
        assert_eq!((failure.tokens.input, failure.tokens.output), (120, 12), "{expected:?}");
    }
}

#[tokio::test]
async fn each_error_is_of_its_kind() {
    let told = |code: &str| json!({"error": {"message": "not for ann@example.com", "type": "t", "code": code}});
    for (status, body, expected) in [
        (429, told("rate_limit_exceeded"), ModelFault::Throttled),
        (429, told("insufficient_quota"), ModelFault::Quota),
        (429, json!("slow down, ann@example.com"), ModelFault::Throttled),
        (402, told("payment"), ModelFault::Quota),
        (401, told("invalid_api_key"), ModelFault::Misconfigured),
        (403, told("country"), ModelFault::Misconfigured),
        (404, told("model_not_found"), ModelFault::Misconfigured),
        (302, json!(null), ModelFault::Misconfigured),
        (400, told("context_length_exceeded"), ModelFault::Truncated),
        (400, json!({"error": {"code": 400, "type": "exceed_context_size_error"}}), ModelFault::Truncated),
        (400, told("content_filter"), ModelFault::ContentFiltered),
        (400, told("invalid_schema"), ModelFault::Invalid),
        (400, json!({"error": "a sentence"}), ModelFault::Invalid),
        (422, json!([]), ModelFault::Invalid),
        (408, json!({}), ModelFault::Timeout),
        (504, json!({}), ModelFault::Timeout),
        (500, told("server_error"), ModelFault::Overloaded),
        (503, json!({}), ModelFault::Overloaded),
        (529, told("overloaded_error"), ModelFault::Overloaded),
        (200, told("upstream"), ModelFault::Overloaded),
    ] {
        let wire = answering(status, &[("location", "http://127.0.0.1:1/")], body.clone()).await;
        assert_eq!(fault(&model(&wire, json!({}))).await, expected, "{status} {body}");
        assert_eq!(wire.requests().len(), 1, "{status}: the router repeats, nobody else");
    }
}

#[tokio::test]
async fn the_wait_that_a_service_asks_for_is_kept() {
    for (headers, expected) in [
        (&[("retry-after", "7")][..], Some(7000)),
        (&[("retry-after-ms", "350"), ("retry-after", "7")][..], Some(350)),
        (&[("retry-after", "soon")][..], None),
        (&[][..], None),
    ] {
        let wire = answering(429, headers, json!({})).await;
        let wait = failed(&model(&wire, json!({}))).await.retry_after;
        assert_eq!(wait, expected.map(Duration::from_millis), "{headers:?}");
    }
    let wire = answering(503, &[("retry-after", "Thu, 31 Dec 9998 23:59:59 GMT")], json!({})).await;
    assert!(failed(&model(&wire, json!({}))).await.retry_after.unwrap() > Duration::from_hours(24 * 365));
}

#[tokio::test]
async fn what_is_no_answer_at_all_is_told_from_one_that_is_damaged() {
    let wire = Wire::start(|_, _| Answer::HangUp).await;
    assert_eq!(fault(&model(&wire, json!({}))).await, ModelFault::Connection);
    let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"choices\"".to_vec();
    let wire = Wire::start(move |_, _| Answer::Bytes(cut.clone())).await;
    assert_eq!(fault(&model(&wire, json!({}))).await, ModelFault::Connection);
    let wire = Wire::start(|_, _| Answer::Reply(200, Vec::new(), b"<html>ann@example.com</html>".to_vec())).await;
    assert_eq!(fault(&model(&wire, json!({}))).await, ModelFault::Invalid);
    let wire = Wire::start(|_, _| Answer::Reply(200, Vec::new(), vec![b' '; 5 << 20])).await;
    let failure = failed(&model(&wire, json!({}))).await;
    assert!(failure.fault == ModelFault::Invalid && failure.message.contains("more than 4194304 bytes"), "{failure}");
    let nobody = json!({"provider": "openai", "endpoint": "http://127.0.0.1:1/v1", "model": "m"});
    let failure = failed(&OpenAiModel::new(&node(nobody), None).unwrap()).await;
    assert_eq!((failure.fault, failure.message.as_str()), (ModelFault::Connection, "openai: no connection"));
}
