//! `/workflow/definitions`: versions made, looked at, compared, tried and taken back.

use axum::body::Body;
use http::{Request, StatusCode};
use ihelper_workflow::{domain::definition::Definition, embedded};
use serde_json::{Value, json};

use super::{Front, Served, task, with_token};

const EMAIL: &str = "/workflow/definitions/email_processing";
const TASK: &str = "/workflow/definitions/task_automation";
const EMAIL_YAML: &str = include_str!("../../../infra/definitions/email_processing.yaml");

/// A change by an operator; `if_match` is what it was made from.
async fn change(front: &Front, method: &str, path: &str, if_match: &str, kind: &str, body: &str) -> Served {
    let request = Request::builder().method(method).uri(path).header("content-type", kind).header("x-reason", "a test");
    let request = if if_match.is_empty() { request } else { request.header("if-match", if_match) };
    front.send(with_token(request.body(Body::from(body.to_owned())).unwrap(), "olga", "operators")).await
}

async fn put(front: &Front, path: &str, if_match: &str, yaml: &str) -> Served {
    change(front, "PUT", path, if_match, "application/yaml", yaml).await
}

async fn post(front: &Front, path: &str, if_match: &str, body: &Value) -> Served {
    change(front, "POST", path, if_match, "application/json", &body.to_string()).await
}

async fn get(front: &Front, path: &str) -> Served {
    front.get("olga", "operators", path).await
}

fn signed(name: &str) -> String {
    EMAIL_YAML.replace("Kind regards\n    Example Company", &format!("Kind regards\n    {name}"))
}

#[tokio::test]
async fn a_fresh_deployment_shows_what_is_built_in() {
    let front = Front::new();
    for definition in embedded::definitions().unwrap() {
        let path = format!("/workflow/definitions/{}", definition.workflow);
        let shown = get(&front, &path).await;
        assert_eq!((shown.status, shown.header("etag")), (StatusCode::OK, "\"r0\""), "{}", shown.text);
        // As text: a number of 32 bits has other digits as one of 64.
        let told: Value = serde_json::from_str(&serde_json::to_string(&definition).unwrap()).unwrap();
        assert_eq!(shown.body["definition"], told);
        let history = get(&front, &format!("{path}/versions")).await.body;
        assert_eq!((&history["versions"][0]["version"], &history["moves"]), (&json!(1), &json!([])));
    }
}

#[tokio::test]
async fn a_version_is_made_current_shown_compared_and_taken_back() {
    let front = Front::new();
    let made = put(&front, EMAIL, "\"r0\"", &signed("The Office")).await;
    assert_eq!((made.status, made.header("etag")), (StatusCode::OK, "\"r1\""), "{}", made.text);
    assert_eq!((&made.body["version"], &made.body["by"]), (&json!(2), &json!("user:olga")));

    let shown = get(&front, EMAIL).await;
    assert_eq!(shown.header("etag"), "\"r1\"");
    assert_eq!((&shown.body["author"], &shown.body["reason"]), (&json!("user:olga"), &json!("a test")));
    assert_eq!(shown.body["definition"]["variables"]["signature"], "Kind regards\nThe Office");
    let first = get(&front, &format!("{EMAIL}?version=1")).await;
    assert_eq!(first.body["definition"]["variables"]["signature"], "Kind regards\nExample Company");
    assert_eq!(get(&front, &format!("{EMAIL}?version=3")).await.status, StatusCode::NOT_FOUND);

    let diff = get(&front, &format!("{EMAIL}/diff?from=1&to=2")).await;
    let differences = diff.body["differences"].as_array().unwrap();
    assert_eq!(differences.len(), 1, "{}", diff.text);
    assert_eq!(differences[0]["at"], "/variables/signature");
    let request = Request::get(format!("{EMAIL}/diff?from=1&to=2")).header("accept", "text/plain");
    let text = front.send(with_token(request.body(Body::empty()).unwrap(), "olga", "operators")).await.text;
    assert!(text.contains("- Example Company\n  + The Office\n"), "{text}");

    let back =
        post(&front, &format!("{EMAIL}/rollback"), "\"r1\"", &json!({"version": 1, "reason": "too stiff"})).await;
    assert_eq!((back.status, back.header("etag")), (StatusCode::OK, "\"r2\""), "{}", back.text);
    let history = get(&front, &format!("{EMAIL}/versions")).await.body;
    let actions: Vec<&str> =
        history["moves"].as_array().unwrap().iter().map(|at| at["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["rollback", "update"]);
    assert_eq!(history["moves"][0]["reason"], "too stiff");
    assert_eq!(history["versions"].as_array().unwrap().len(), 2);
    assert_eq!(get(&front, EMAIL).await.body["version"], 1);
}

#[tokio::test]
async fn a_change_has_to_say_what_it_was_made_from() {
    let front = Front::new();
    let (yaml, rollback) = (signed("x"), format!("{EMAIL}/rollback"));
    let unsaid = put(&front, EMAIL, "", &yaml).await;
    assert_eq!((unsaid.status, unsaid.problem()), (StatusCode::PRECONDITION_REQUIRED, "precondition-required"));
    assert_eq!(post(&front, &rollback, "", &json!({"version": 1})).await.status, StatusCode::PRECONDITION_REQUIRED);
    for stale in ["\"r1\"", "r0", "\"v1\"", "\"\"", "W/\"r0\"", "\"r99999999999\""] {
        let refused = put(&front, EMAIL, stale, &yaml).await;
        assert_eq!(
            (refused.status, refused.problem()),
            (StatusCode::PRECONDITION_FAILED, "precondition-failed"),
            "{stale}"
        );
    }
    assert_eq!(put(&front, EMAIL, "\"r0\"", &yaml).await.status, StatusCode::OK);
    assert_eq!(put(&front, EMAIL, "\"r0\"", &signed("y")).await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(post(&front, &rollback, "\"r0\"", &json!({"version": 1})).await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(put(&front, EMAIL, "*", &signed("y")).await.header("etag"), "\"r2\"");
}

#[tokio::test]
async fn only_operators_see_and_change_definitions() {
    let front = Front::new();
    let routes = [
        ("GET", EMAIL.to_owned()),
        ("GET", format!("{EMAIL}/versions")),
        ("GET", format!("{EMAIL}/diff?from=1&to=1")),
        ("PUT", EMAIL.to_owned()),
        ("POST", format!("{EMAIL}/rollback")),
        ("POST", format!("{EMAIL}/canary")),
    ];
    for (method, path) in routes {
        let request = Request::builder().method(method).uri(&path).header("if-match", "*");
        let request = request.header("content-type", "application/json").body(Body::from("{}")).unwrap();
        let refused = front.send(with_token(request, "alice", "staff")).await;
        assert_eq!((refused.status, refused.problem()), (StatusCode::FORBIDDEN, "forbidden"), "{method} {path}");
        let anonymous = Request::builder().method(method).uri(&path).body(Body::empty()).unwrap();
        assert_eq!(front.send(anonymous).await.status, StatusCode::UNAUTHORIZED);
    }
}

#[tokio::test]
async fn everything_wrong_with_a_definition_is_listed_and_the_former_version_stays() {
    let front = Front::new();
    let fields = |served: &Served| -> Vec<String> {
        assert_eq!((served.status, served.problem()), (StatusCode::UNPROCESSABLE_ENTITY, "invalid"), "{}", served.text);
        let errors = served.body["errors"].as_array().unwrap();
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect()
    };
    let schema = put(&front, EMAIL, "*", "workflow: email_processing\nversion: 1\nanswer_window: x\ncolour: red").await;
    let mut found = fields(&schema);
    found.sort();
    assert_eq!(found, ["answer_window", "colour"]);
    let text = put(&front, EMAIL, "*", "workflow: [").await;
    assert_eq!(fields(&text), ["definition"]);
    assert!(text.text.contains("line"), "{}", text.text);
    let other = put(&front, TASK, "*", EMAIL_YAML).await;
    assert_eq!(fields(&other), ["workflow"]);

    let broken = EMAIL_YAML.replace("your message has reached {{ organization }}", "{{ nobody }}");
    let found = put(&front, EMAIL, "*", &broken).await;
    assert_eq!(fields(&found), ["templates.acknowledgement.text"]);
    assert!(found.text.contains("`nobody`"), "{}", found.text);

    let golden = EMAIL_YAML.replace("/analysis/urgency: high", "/analysis/urgency: low");
    let found = put(&front, EMAIL, "*", &golden).await;
    assert_eq!(fields(&found), ["golden_cases[3].expect./analysis/urgency"]);
    assert!(found.text.contains(r#"expected \"low\", found \"high\""#), "{}", found.text);
    assert!(front.tester.mailer.sent().is_empty(), "a golden case sends no mail");
    assert!(front.tester.journal.runs().is_empty(), "a golden case is no run");

    assert_eq!(get(&front, EMAIL).await.header("etag"), "\"r0\"");
    // What is wrong with a version is told for ever; what cannot be read is none.
    let history = get(&front, &format!("{EMAIL}/versions")).await.body;
    let states: Vec<&str> =
        history["versions"].as_array().unwrap().iter().map(|version| version["state"].as_str().unwrap()).collect();
    assert_eq!(states, ["rejected", "rejected", "accepted"]);
    assert_eq!(history["versions"][1]["errors"][0]["field"], "templates.acknowledgement.text");
    let back = post(&front, &format!("{EMAIL}/rollback"), "*", &json!({"version": 3})).await;
    assert_eq!(back.status, StatusCode::NOT_FOUND, "nobody goes back to what was rejected: {}", back.text);
}

#[tokio::test]
async fn what_says_the_same_changes_nothing() {
    let front = Front::new();
    let same = put(&front, EMAIL, "\"r0\"", &EMAIL_YAML.replace("version: 1", "version: 77")).await;
    assert_eq!((same.status, &same.body["status"]), (StatusCode::OK, &json!("unchanged")), "{}", same.text);
    assert_eq!((same.header("etag"), &same.body["version"]), ("\"r0\"", &json!(1)));
    let json = json!(Definition::parse(EMAIL_YAML).unwrap()).to_string();
    let same = change(&front, "PUT", EMAIL, "\"r0\"", "application/json", &json).await;
    assert_eq!(same.body["status"], "unchanged", "{}", same.text);
}

#[tokio::test]
async fn a_body_that_is_no_text_of_yaml_is_refused() {
    let front = Front::new();
    let refused = change(&front, "PUT", EMAIL, "*", "text/html", EMAIL_YAML).await;
    assert_eq!((refused.status, refused.problem()), (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type"));
    let large = put(&front, EMAIL, "*", &"#".repeat(256 * 1024 + 1)).await;
    assert_eq!((large.status, large.problem()), (StatusCode::PAYLOAD_TOO_LARGE, "too-large"));
    let request = Request::put(EMAIL).header("if-match", "*").header("content-type", "application/yaml");
    let request = request.body(Body::from(vec![b'a', 0xff, 0xfe])).unwrap();
    let broken = front.send(with_token(request, "olga", "operators")).await;
    assert_eq!((broken.status, broken.problem()), (StatusCode::BAD_REQUEST, "malformed"));
    let bomb = format!(
        "a: &a [x, x, x, x, x, x, x, x, x]\n{}",
        (0..9).fold(String::new(), |text, level| {
            let (this, last) = (char::from(b'b' + level), char::from(b'a' + level));
            text + &format!("{this}: &{this} [{}]\n", vec![format!("*{last}"); 9].join(", "))
        })
    );
    assert_eq!(put(&front, EMAIL, "*", &bomb).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_parameter_that_is_unknown_or_no_number_is_named() {
    let front = Front::new();
    for (path, field) in [
        (format!("{EMAIL}?versoin=1"), "versoin"),
        (format!("{EMAIL}?version=one"), "version"),
        (format!("{EMAIL}/versions?before=2147483648"), "before"),
        (format!("{EMAIL}/versions?limit=101"), "limit"),
        (format!("{EMAIL}/diff?from=1"), "to"),
    ] {
        let refused = get(&front, &path).await;
        assert_eq!(
            (refused.status, &refused.body["errors"][0]["field"]),
            (StatusCode::UNPROCESSABLE_ENTITY, &json!(field))
        );
    }
    let twice = get(&front, &format!("{EMAIL}?version=1&version=2")).await;
    assert_eq!(
        (twice.status, &twice.body["detail"]),
        (StatusCode::BAD_REQUEST, &json!("parameter `version`: is there twice"))
    );
    for path in ["/workflow/definitions/nothing", "/workflow/definitions/%ff", "/workflow/definitions/nothing/versions"]
    {
        assert_eq!(get(&front, path).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    for query in ["canary=0", "canary=100", "minimum_runs=5", "canary=10&margin=101"] {
        let refused = put(&front, &format!("{EMAIL}?{query}"), "*", &signed("x")).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }
    assert_eq!(get(&front, &format!("{EMAIL}/versions")).await.body["versions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_version_is_tried_on_a_share_and_promoted_or_given_up() {
    let front = Front::new();
    let tried = put(&front, &format!("{EMAIL}?canary=10&minimum_runs=50&margin=2"), "\"r0\"", &signed("x")).await;
    assert_eq!(tried.status, StatusCode::OK, "{}", tried.text);
    assert_eq!(tried.body["version"], 1, "the version before is current");
    assert_eq!(tried.body["canary"], json!({"version": 2, "percent": 10, "minimum_runs": 50, "margin_percent": 2}));
    assert_eq!(get(&front, EMAIL).await.body["canary"]["runs"]["canary_failed"], 0);
    let second = put(&front, EMAIL, "*", &signed("y")).await;
    assert_eq!((second.status, second.problem()), (StatusCode::CONFLICT, "on-trial"));

    let (canary, abort, promote) =
        (format!("{EMAIL}/canary"), json!({"action": "abort"}), json!({"action": "promote"}));
    let given_up = post(&front, &canary, "\"r1\"", &abort).await;
    assert_eq!((given_up.status, &given_up.body["version"]), (StatusCode::OK, &json!(1)), "{}", given_up.text);
    for ended in [&abort, &promote] {
        assert_eq!(post(&front, &canary, "*", ended).await.problem(), "on-trial");
    }
    let again = post(&front, &canary, "*", &json!({"action": "start", "version": 2, "percent": 50})).await;
    assert_eq!(again.body["canary"]["minimum_runs"], 20, "{}", again.text);
    let promoted = post(&front, &canary, "*", &promote).await;
    assert_eq!((&promoted.body["version"], promoted.header("etag")), (&json!(2), "\"r4\""));
    for wrong in [
        json!({"action": "start", "version": 2, "percent": 50}),
        json!({"action": "start", "version": 9, "percent": 50}),
        json!({"action": "start", "percent": 50}),
        json!({"action": "celebrate"}),
        json!({}),
    ] {
        assert!(post(&front, &canary, "*", &wrong).await.status.is_client_error(), "{wrong}");
    }
}

#[tokio::test]
async fn a_result_of_the_version_before_answers_no_request_after_it() {
    let front = Front::new();
    let first = front.post(&task()).await;
    assert_eq!(front.post(&task()).await.run_id(), first.run_id());
    let yaml = include_str!("../../../infra/definitions/task_automation.yaml");
    let made = put(&front, TASK, "*", &yaml.replace("version: 1", "version: 1\nvariables: { colour: red }")).await;
    assert_eq!(made.status, StatusCode::OK, "{}", made.text);
    let second = front.post(&task()).await;
    assert_ne!(second.run_id(), first.run_id());
    assert_eq!(front.show(first.run_id()).await["definition_version"], 1);
    assert_eq!(front.show(second.run_id()).await["definition_version"], 2);
}
