//! `GET /workflow/runs/{id}/report`: what a document review came to, for people.
//!
//! **Invariants**
//! - Who may see the run may see its report, and nobody else.
//! - The page has no scripts and loads nothing, and the browser is told to keep it so.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, header};
use ihelper_workflow::{
    domain::{RunId, Status, WorkflowType},
    ports::Action,
    workflows::Reviewed,
};
use serde::Deserialize as _;

use crate::{
    Api, MAX_ANSWER_BYTES, Principal, Problem,
    accept::qualities,
    answer::fit,
    control::{Id, find},
};

const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'; \
                      frame-ancestors 'none'; sandbox";

const HTML: &str = "text/html";
const MARKDOWN: &str = "text/markdown";

/// Shows the report as a page, as Markdown or as JSON, whatever `Accept` prefers; Markdown where it prefers none.
#[utoipa::path(
    get,
    path = "/workflow/runs/{id}/report",
    tag = "runs",
    operation_id = "show_report",
    params(("id" = RunId, Path, description = "The run of a document review.")),
    security(("bearer" = [])),
    responses((
        status = 200,
        description = "The report, in what `Accept` prefers; Markdown where it prefers nothing.",
        content(
            (String = "text/markdown", example = "# Review of d1"),
            (String = "text/html"),
            (Reviewed = "application/json"),
        ),
    )),
)]
pub(crate) async fn show(
    State(api): State<Arc<Api>>,
    principal: Principal,
    id: Id,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let (run, _) = find(&api, &principal, &id, Action::ReadReport).await?;
    if run.workflow != WorkflowType::DocumentReview {
        return Err(Problem::NotFound("only a run of `document_review` has a report".to_owned()));
    }
    if !run.status.is_final() {
        return Err(Problem::NotEnded(run.id, run.status));
    }
    let reviewed = run.result.as_ref().filter(|_| run.status == Status::Succeeded);
    let Some(reviewed) = reviewed.and_then(|result| Reviewed::deserialize(result).ok()) else {
        return Err(Problem::NotFound("the run came to no report".to_owned()));
    };
    let [html, markdown, json] = qualities(&headers, [HTML, MARKDOWN, "application/json"]);
    let answer = if html > markdown && html >= json {
        let page = reviewed.html().map_err(|error| {
            tracing::error!(run.id = %run.id, error.kind = ?error.kind, "a report could not be rendered");
            Problem::Internal
        })?;
        text_of(HTML, page)
    } else if json > markdown {
        fit(&api, &principal.caller(), run.id, &reviewed, &["findings", "report"]).await?
    } else {
        text_of(MARKDOWN, reviewed.report.markdown)
    };
    Ok(kept_private(answer))
}

/// A text, as long as it fits into a response; what does not is in the run's own answer.
fn text_of(media_type: &'static str, text: String) -> Response {
    if text.len() + text.bytes().filter(|byte| matches!(byte, b'"' | b'\\' | b'\n')).count() > MAX_ANSWER_BYTES {
        return Problem::NotFound("the report is too long for a page; it is in the run's result".to_owned())
            .into_response();
    }
    let content_type = match media_type {
        HTML => HeaderValue::from_static("text/html; charset=utf-8"),
        _ => HeaderValue::from_static("text/markdown; charset=utf-8"),
    };
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

fn kept_private(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    answer
}
