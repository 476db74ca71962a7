//! What a review came to, as a page, as Markdown and as JSON.

use axum::body::Body;
use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::{Front, Served, email, path_of, process, with_header, with_token};

fn review(text: &str) -> Value {
    json!({"type": "document_review", "data": {"id": "d1", "file": {"text": text},
        "review_criteria": [{"id": "rent", "text": "The amount of the rent is stated", "required": true}]}})
}

async fn report(front: &Front, user: &str, reviewed: &Served, accept: &str) -> Served {
    let request = Request::get(path_of(reviewed.run_id(), "/report")).body(Body::empty()).unwrap();
    front.send(with_header(with_token(request, user, ""), "accept", accept)).await
}

#[tokio::test]
async fn a_browser_gets_a_page_that_runs_nothing_and_others_markdown_or_json() {
    let front = Front::new();
    let text = "The rent is EUR 900 a month <script>alert(1)</script>.";
    let reviewed = front.post(&review(text)).await;
    assert_eq!(reviewed.status, StatusCode::OK, "{}", reviewed.text);

    let firefox = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let page = report(&front, "alice", &reviewed, firefox).await;
    assert_eq!((page.status, page.header("content-type")), (StatusCode::OK, "text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").starts_with("default-src 'none';"));
    assert_eq!((page.header("cache-control"), page.header("x-content-type-options")), ("no-store", "nosniff"));
    assert!(page.text.contains("Accepted") && page.text.contains("EUR 900 a month &lt;script&gt;"), "{}", page.text);
    assert!(!page.text.contains("<script"), "{}", page.text);

    for accept in ["*/*", "text/markdown", "text/markdown, text/html;q=0.5", "image/png"] {
        let markdown = report(&front, "alice", &reviewed, accept).await;
        assert_eq!(markdown.header("content-type"), "text/markdown; charset=utf-8", "{accept}");
        assert_eq!(json!(markdown.text), reviewed.body["result"]["report"]["markdown"]);
    }
    let json = report(&front, "alice", &reviewed, "application/json").await;
    assert_eq!(json.body, reviewed.body["result"]);
}

#[tokio::test]
async fn only_who_may_see_the_run_sees_its_report() {
    let front = Front::new();
    let reviewed = front.post(&review("The rent is EUR 900 a month.")).await;
    assert_eq!(report(&front, "mallory", &reviewed, "text/html").await.status, StatusCode::NOT_FOUND);
    let path = path_of(reviewed.run_id(), "/report");
    assert_eq!(front.get("olga", "operators", &path).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_run_without_a_report_says_so() {
    let front = Front::new();
    let answered = front.post(&email()).await;
    assert_eq!(report(&front, "alice", &answered, "text/html").await.status, StatusCode::NOT_FOUND);
    let failed = front
        .post(&json!({"type": "document_review", "data": {"id": "d", "review_criteria": ["x"],
        "file": {"content": "not base64!"}}}))
        .await;
    assert_eq!(failed.status, StatusCode::UNPROCESSABLE_ENTITY);
    if failed.body["run_id"].is_string() {
        assert_eq!(report(&front, "alice", &failed, "*/*").await.status, StatusCode::NOT_FOUND);
    }
    assert_eq!(front.get("alice", "", "/workflow/runs/none/report").await.status, StatusCode::NOT_FOUND);

    let request = with_header(process("alice", review("The rent is 900.").to_string()), "prefer", "respond-async");
    let queued = front.send(request).await;
    let served = report(&front, "alice", &queued, "*/*").await;
    assert_eq!((served.status, served.problem()), (StatusCode::CONFLICT, "run-not-ended"));
}
