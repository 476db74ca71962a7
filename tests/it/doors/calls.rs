//! Who gets in by HTTP: behind the authorizer, the function checks the token itself.

use std::sync::Arc;

use axum::body::Body;
use http::{Request, StatusCode};
use ihelper_adapters::cedar::CedarPermissions;
use ihelper_testkit::{
    WorkflowTester,
    memory::{MemoryIssuer, SigningKey},
};
use ihelper_workflow::domain::{Failure, Kind};
use serde_json::json;

use crate::api::{Front, with_claims, with_header, with_token};

fn get(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).unwrap()
}

fn with_bearer(request: Request<Body>, token: &str) -> Request<Body> {
    with_header(request, "authorization", &format!("Bearer {token}"))
}

#[tokio::test]
async fn a_forged_token_that_got_past_the_authorizer_is_refused() {
    let front = Front::new();
    let claims = json!({"iss": MemoryIssuer::NAME, "aud": "ihelper", "sub": "alice", "groups": ["operators"],
        "exp": 4_102_444_800_u64});
    let forged = SigningKey::new("key-1", 66).token(&claims);
    let served = front.send(with_claims(with_bearer(get("/workflow/runs"), &forged), "alice")).await;
    assert_eq!((served.status, served.problem()), (StatusCode::UNAUTHORIZED, "unauthenticated"));
    assert_eq!(served.header("www-authenticate"), "Bearer error=\"invalid_token\"");
    assert_eq!(served.body["detail"], "its signature is not that of its key");
}

#[tokio::test]
async fn authorizer_and_token_must_both_be_there_and_mean_the_same_caller() {
    let front = Front::new();
    let token = MemoryIssuer::token("alice", &["operators"]);
    let twice = {
        let mut request = with_token(get("/workflow/runs"), "alice", "");
        request.headers_mut().append("authorization", format!("Bearer {token}").parse().unwrap());
        request
    };
    for (case, request) in [
        ("neither", get("/workflow/runs")),
        ("a token that no authorizer saw", with_bearer(get("/workflow/runs"), &token)),
        ("claims without a token", with_claims(get("/workflow/runs"), "alice")),
        ("another's claims", with_claims(with_bearer(get("/workflow/runs"), &token), "olga")),
        ("another scheme", with_claims(with_header(get("/workflow/runs"), "authorization", "Basic YTpi"), "alice")),
        ("two tokens", twice),
    ] {
        let served = front.send(request).await;
        assert_eq!((served.status, served.problem()), (StatusCode::UNAUTHORIZED, "unauthenticated"), "{case}");
        assert_eq!(served.header("www-authenticate"), "Bearer", "{case}");
    }
    assert_eq!(front.get("alice", "", "/workflow/runs").await.status, StatusCode::OK);
}

#[tokio::test]
async fn while_the_issuer_cannot_be_reached_nobody_gets_in_and_open_doors_stay_open() {
    let (tester, issuer) = (Arc::new(WorkflowTester::new()), MemoryIssuer::new());
    issuer.fail(Failure::new(Kind::Connection, "unplugged"));
    let front = Front::changed(Arc::clone(&tester), |api| api.tokens = super::tokens(&issuer, &tester.clock));
    let served = front.get("olga", "operators", "/workflow/runs").await;
    assert_eq!((served.status, served.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "5"));
    assert!(!served.text.contains("unplugged"), "{}", served.text);
    assert_eq!(front.send(get("/health")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_no_policy_permits_is_denied_open_doors_too_and_health_is_told_all_the_same() {
    let schema = include_str!("../../../infra/policies/ihelper.cedarschema");
    let front = Front::changed(Arc::new(WorkflowTester::new()), |api| {
        api.permissions = Arc::new(CedarPermissions::parse(schema, "").unwrap());
    });
    assert_eq!(front.send(get("/openapi.json")).await.status, StatusCode::FORBIDDEN);
    assert_eq!(front.send(get("/health")).await.status, StatusCode::OK);
    for path in ["/workflow/runs", "/workflow/dead-letters?type=email_processing", "/workflow/usage"] {
        assert_eq!(front.get("olga", "operators", path).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    let started = front.post(&crate::api::email()).await;
    assert_eq!((started.status, started.problem()), (StatusCode::FORBIDDEN, "forbidden"));
}
