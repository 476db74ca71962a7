//! Errors as callers see them: RFC 9457 problem details.
//!
//! What a caller sees and what the log says are two things: a 5xx body never tells more than its type.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use ihelper_workflow::domain::{Failure, Kind, RunId, input::Violation};
use serde::Serialize;

/// A problem, by its stable type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// 400: the body is not JSON, or a parameter is not of its form.
    Malformed(String),
    /// 401: no token was checked.
    Unauthenticated,
    /// 403: the caller may not do this.
    Forbidden(&'static str),
    /// 404: no such run, or not the caller's.
    NotFound(String),
    /// 405: the path has no such method.
    MethodNotAllowed,
    /// 413: the body is larger than the limit, in bytes.
    TooLarge(usize),
    /// 415: the body is not declared as JSON.
    UnsupportedMediaType,
    /// 422: fields are not what the workflow accepts.
    Invalid(Vec<Violation>),
    /// The run ended with an error.
    RunFailed(RunId, Failure),
    /// The run was cancelled.
    RunCancelled(RunId),
    /// 503: the store or the queue does not answer.
    Unavailable,
    /// 500: a fault of ours.
    Internal,
}

#[derive(Serialize)]
struct Body<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [Violation]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<RunId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
}

impl Problem {
    fn parts(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed", "The request is malformed"),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated", "A valid token is needed"),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden", "The caller may not do this"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The path has no such method")
            }
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body must be application/json")
            }
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The data is not valid"),
            Self::RunFailed(_, failure) => (status_of(failure.kind), "run-failed", "The run failed"),
            Self::RunCancelled(_) => (StatusCode::CONFLICT, "run-cancelled", "The run was cancelled"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Try again shortly"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong on our side"),
        }
    }
}

/// A run that failed for what it was given is the caller's to mend; else it is ours.
const fn status_of(kind: Kind) -> StatusCode {
    match kind {
        Kind::Validation | Kind::Refused | Kind::NotFound => StatusCode::UNPROCESSABLE_ENTITY,
        Kind::Authorization => StatusCode::FORBIDDEN,
        Kind::Throttled => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Kind::Cancelled => StatusCode::CONFLICT,
        Kind::Connection => StatusCode::SERVICE_UNAVAILABLE,
        Kind::JournalMismatch | Kind::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl From<Failure> for Problem {
    /// A failure of the store or the queue, not of a run.
    fn from(failure: Failure) -> Self {
        tracing::error!(error.kind = %failure.kind, error.message = failure.message, "a request failed");
        match failure.kind {
            Kind::Connection | Kind::Timeout | Kind::Throttled => Self::Unavailable,
            Kind::NotFound => Self::NotFound("the run does not exist".to_owned()),
            _ => Self::Internal,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, name, title) = self.parts();
        let mut body = Body {
            r#type: format!("urn:ihelper:problem:{name}"),
            title,
            status: status.as_u16(),
            detail: None,
            errors: None,
            run_id: None,
            kind: None,
            step: None,
        };
        match &self {
            Self::Malformed(detail) | Self::NotFound(detail) => body.detail = Some(detail.clone()),
            Self::Forbidden(detail) => body.detail = Some((*detail).to_owned()),
            Self::TooLarge(limit) => body.detail = Some(format!("the limit is {limit} bytes")),
            Self::Invalid(violations) => {
                body.detail = violations.first().map(|first| format!("`{}`: {}", first.field, first.problem));
                body.errors = Some(violations);
            }
            Self::RunFailed(run, failure) => {
                body.run_id = Some(*run);
                body.kind = Some(failure.kind);
                body.step = failure.step.as_deref();
                // A 5xx says no more than its type; the run itself tells those who may see it.
                body.detail = status.is_client_error().then(|| failure.message.clone());
            }
            Self::RunCancelled(run) => body.run_id = Some(*run),
            Self::Unauthenticated
            | Self::MethodNotAllowed
            | Self::UnsupportedMediaType
            | Self::Unavailable
            | Self::Internal => {}
        }
        let text = serde_json::to_string(&body).unwrap_or_default();
        let mut response = (status, text).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match status {
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            _ => {}
        }
        response
    }
}
