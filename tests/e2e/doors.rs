//! Who gets in: forged tokens, rotated keys, other people's runs.

use serde_json::{Value, json};

use crate::bundle::{Bundle, email, token, unique};

/// A call as API Gateway passes it on for this subject.
fn passed_on(token: &str, subject: &str) -> Value {
    json!({
        "version": "2.0", "routeKey": "GET /workflow/runs", "rawPath": "/workflow/runs", "rawQueryString": "",
        "headers": {"authorization": format!("Bearer {token}"), "host": "api.example.com"},
        "requestContext": {
            "accountId": "000000000000", "apiId": "a", "stage": "$default", "requestId": "r", "routeKey": "$default",
            "domainName": "api.example.com", "domainPrefix": "api", "time": "17/Nov/2026:08:41:07 +0000",
            "timeEpoch": 1_794_904_867_000_u64,
            "authorizer": {"jwt": {"claims": {"sub": subject}, "scopes": null}},
            "http": {"method": "GET", "path": "/workflow/runs", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1",
                "userAgent": "test"},
        },
        "isBase64Encoded": false,
    })
}

#[tokio::test]
async fn a_forged_token_is_refused_by_the_authorizer_and_by_the_function_behind_it() {
    let bundle = Bundle::connect();
    // Under the id of the key that the issuer has.
    let (_, sign) = bundle.other_key("local");
    let forged = sign("olga", "operators");
    assert_eq!(bundle.get_with(&forged, "/workflow/runs").await.status, 401);

    let past_it = bundle.invoke("api-process", &passed_on(&forged, "olga")).await;
    assert_eq!(past_it["statusCode"], 401, "{past_it}");
    let problem: Value = serde_json::from_str(past_it["body"].as_str().unwrap()).unwrap();
    assert_eq!(problem["detail"], "its signature is not that of its key");
    let anothers = bundle.invoke("api-process", &passed_on(&token("mallory", "staff"), "olga")).await;
    assert_eq!(anothers["statusCode"], 401, "{anothers}");
    let good = bundle.invoke("api-process", &passed_on(&token("olga", "operators"), "olga")).await;
    assert_eq!(good["statusCode"], 200, "{good}");
}

#[tokio::test]
async fn a_key_that_the_issuer_begins_to_publish_counts_without_a_deployment() {
    let bundle = Bundle::connect();
    let (key, sign) = bundle.other_key(&unique("rotated"));
    let rotated = sign("olga", "operators");
    // Past the gateway, which keeps keys for two hours, as on AWS.
    let call = passed_on(&rotated, "olga");
    let before = bundle.invoke("api-process", &call).await;
    assert_eq!(before["statusCode"], 401, "{before}");
    bundle.publish_key(key).await;
    // An instance asks its issuer no oftener than each half minute.
    let served = bundle.wait("the key to count", async || {
        let answer = bundle.invoke("api-process", &call).await;
        (answer["statusCode"] == 200).then_some(answer)
    });
    let runs: Value = serde_json::from_str(served.await["body"].as_str().unwrap()).unwrap();
    assert!(runs["runs"].is_array());
}

#[tokio::test]
async fn nobody_reads_cancels_or_repeats_anothers_run() {
    let bundle = Bundle::connect();
    let (alice, bob) = (token("alice", "staff"), token("bob", "staff"));
    let body = json!({"type": "email_processing", "data": email(&unique("private"))});
    let started = bundle.post_as(&alice, "/workflow/process", &body).await;
    assert_eq!(started.status, 200, "{}", started.body);
    let location = format!("/workflow/runs/{}", started.body["run_id"].as_str().unwrap());
    assert_eq!(bundle.get_with(&alice, &location).await.status, 200);
    let nowhere = "/workflow/runs/01ARZ3NDEKTSV4RRFFQ69G5FAV";
    for what in ["", "/report"] {
        let (theirs, none) =
            (bundle.get_with(&bob, &format!("{location}{what}")).await, bundle.get_with(&bob, nowhere).await);
        assert_eq!((theirs.status, &theirs.body), (404, &none.body));
    }
    for what in ["cancel", "retry"] {
        let refused = bundle.post_as(&bob, &format!("{location}/{what}"), &json!({})).await;
        assert_eq!(refused.status, 404, "{}", refused.body);
    }
    let settle = json!({"step": "send_response", "outcome": "happened"});
    for token in [&bob, &alice] {
        let refused = bundle.post_as(token, &format!("{location}/settle"), &settle).await;
        assert_eq!(refused.status, 403, "{}", refused.body);
    }
    let letters = bundle.get_with(&bob, "/workflow/dead-letters?type=email_processing").await;
    assert_eq!(letters.status, 403, "{}", letters.body);
    let run = bundle.get(&location).await.body;
    assert_eq!(run["status"], "succeeded", "{run}");
}

#[tokio::test]
async fn a_message_with_a_forged_token_is_a_dead_letter_without_it() {
    let bundle = Bundle::connect();
    let (_, sign) = bundle.other_key("local");
    let id = unique("forged");
    let message = |token: &str, id: &str| {
        let data = json!({"id": id, "description": "1. Notify the team"});
        json!({"type": "task_automation", "data": data, "token": token, "user_id": "alice"}).to_string()
    };
    bundle.send_message("task_automation", &message(&sign("alice", "staff"), &id)).await;
    let letter = bundle.dead_letter("task_automation", |body| body.contains(&id)).await;
    assert!(!letter.body().unwrap().contains("eyJ"), "{letter:?}");
    let reason = letter.message_attributes().unwrap()["reason"].string_value().unwrap();
    assert!(reason.contains("its signature is not that of its key"), "{reason}");
    assert!(bundle.runs_on("task_automation", &id).await.is_empty());

    let id = unique("signed");
    bundle.send_message("task_automation", &message(&token("alice", "staff"), &id)).await;
    assert_eq!(bundle.run_on("task_automation", &id).await["status"], "succeeded");
}
