//! Answers: about runs, and too large ones.

use axum::{
    Json,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, StatusCode, header};
use ihelper_workflow::domain::{Run, RunId, Status};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{Api, Problem, body::JSON};

/// The longest answer, in bytes of Lambda's response. That may have 6 MB, and holds the body as a text of JSON, in
/// which each quote and backslash takes a byte more; the rest is for headers.
pub const MAX_ANSWER_BYTES: usize = 5 * 1024 * 1024;

/// Where a run can be looked at.
pub(crate) fn location_of(run: RunId) -> String {
    format!("/workflow/runs/{run}")
}

/// A run that goes on without the caller.
#[derive(Serialize, ToSchema)]
pub(crate) struct Accepted {
    /// Where it stands.
    status: Status,
    /// The run.
    run_id: RunId,
    /// Where it can be looked at.
    location: String,
    /// The run that it repeats, where it repeats one.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_of: Option<RunId>,
}

/// What a run came to.
#[derive(Serialize, ToSchema)]
pub(crate) struct Outcome {
    /// Always `success`: what failed is a problem.
    #[schema(pattern = "^success$")]
    status: &'static str,
    /// The run.
    run_id: RunId,
    /// The workflow's result.
    #[schema(value_type = Value, required = false)]
    result: Option<Value>,
    /// Where the result can be had instead, by a GET without a token: it is too large for the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_url: Option<String>,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_expires_at: Option<Timestamp>,
}

/// 202: the run goes on without the caller.
pub(crate) fn accepted(run: RunId, status: Status) -> Response {
    accepted_with(run, status, None)
}

/// 202: the run goes on without the caller, and repeats another.
pub(crate) fn accepted_again(run: &Run, retry_of: RunId) -> Response {
    accepted_with(run.id, run.status, Some(retry_of))
}

fn accepted_with(run: RunId, status: Status, retry_of: Option<RunId>) -> Response {
    let body = Accepted { status, run_id: run, location: location_of(run), retry_of };
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    if let Ok(value) = HeaderValue::from_str(&location_of(run)) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    response
}

/// What a run that has ended came to; 202 for one that has not.
pub(crate) async fn outcome_of(api: &Api, caller: &str, run: Run) -> Result<Response, Problem> {
    match (run.status, run.error) {
        (Status::Succeeded, _) => {
            let body = Outcome {
                status: "success",
                run_id: run.id,
                result: run.result,
                result_url: None,
                result_expires_at: None,
            };
            fit(api, caller, run.id, &body, &["result"]).await
        }
        (Status::Cancelled, _) => Err(Problem::RunCancelled(run.id)),
        (Status::Failed, Some(failure)) => Err(Problem::RunFailed(run.id, failure)),
        (Status::Failed, None) => Err(Problem::Internal),
        (status, _) => Ok(accepted(run.id, status)),
    }
}

/// An answer about a run. As long as it does not fit into a response, one after another of these fields is laid down
/// for the caller, and `<field>_url` and `<field>_expires_at` say where it can be had.
pub(crate) async fn fit(
    api: &Api,
    caller: &str,
    run: RunId,
    body: &impl Serialize,
    fields: &[&str],
) -> Result<Response, Problem> {
    let mut text = serde_json::to_string(body).map_err(|_| Problem::Internal)?;
    // Most answers fit, and are not taken apart.
    if bytes_in_response(&text) > MAX_ANSWER_BYTES {
        let mut body = json!(body);
        for field in fields {
            let Some(value) = body.as_object_mut().and_then(|body| body.remove(*field)) else { continue };
            let bytes = value.to_string().into_bytes();
            let handout = api.uploads.lay_down(caller, &format!("{run}-{field}"), bytes).await?;
            body[format!("{field}_url")] = json!(handout.url);
            body[format!("{field}_expires_at")] = json!(handout.expires_at);
            text = body.to_string();
            if bytes_in_response(&text) <= MAX_ANSWER_BYTES {
                break;
            }
        }
    }
    Ok(([(header::CONTENT_TYPE, JSON)], text).into_response())
}

fn bytes_in_response(json: &str) -> usize {
    json.len() + json.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_weighs_what_it_takes_inside_a_text_of_json() {
        for body in [json!({"a": 1}), json!({"text": "\"quoted\" and \\ and \n and é"})] {
            let json = body.to_string();
            assert_eq!(bytes_in_response(&json), json!(json).to_string().len() - 2, "{json}");
        }
    }
}
