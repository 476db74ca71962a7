//! Errors as callers see them: RFC 9457 problem details.
//!
//! What a caller sees and what the log says are two things: a 5xx body never tells more than its type.

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ihelper_runtime::tokens::{self, Refusal};
use ihelper_workflow::{
    domain::{
        Failure, Kind, RunId, Status,
        input::{Invalid, Violation},
    },
    engine::{Decision, Reply},
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{
    answer::location_of,
    limits::{LONGEST_ADDRESS, MOST_HEADER_BYTES, MOST_HEADERS},
};

/// A problem, by its stable type.
#[derive(Clone, Debug, PartialEq)]
pub enum Problem {
    /// 400: the body is not JSON, or a parameter or header is not of its form.
    Malformed(String),
    /// 401: no token was checked.
    Unauthenticated,
    /// 401: the token is not valid.
    TokenRefused(Refusal),
    /// 403: the caller may not do this.
    Forbidden(&'static str),
    /// 404: no such run or callback, or not the caller's.
    NotFound(String),
    /// 405: the path has no such method.
    MethodNotAllowed,
    /// 409: the run has ended, in this status.
    Ended(RunId, Status),
    /// 409: the run has not ended; this is where it stands.
    NotEnded(RunId, Status),
    /// 409: these effects of the run happened already and would happen again.
    WouldRepeat(RunId, Vec<String>),
    /// 409: no effect of that name or position waits for somebody to say what came of it.
    NothingOpen(RunId),
    /// 409: the callback has another answer.
    AnsweredOtherwise(Box<Reply>),
    /// 409: the request with this idempotency key is still being worked on.
    InFlight(RunId),
    /// 410: the callback can no longer be answered.
    TooLate,
    /// 409: the change does not fit the trial that is under way, or that is not.
    OnTrial(&'static str),
    /// 412: the definition is not what the change was made from.
    PreconditionFailed,
    /// 428: the change does not say what it was made from.
    PreconditionRequired,
    /// 413: the body is larger than the limit.
    TooLarge {
        /// The limit, in bytes.
        limit: u64,
        /// Where a larger body can be left.
        upload: Option<&'static str>,
    },
    /// 414: the path with its query is longer than the limit.
    AddressTooLong,
    /// 415: the body is not declared as what the path takes, which is this.
    UnsupportedMediaType(&'static str),
    /// 422: fields are not what is accepted.
    Invalid(Vec<Violation>),
    /// 422: the idempotency key came with another request before.
    KeyReused,
    /// 429: the caller has used up their quota; in so many seconds there is another.
    RateLimited(u64),
    /// 431: there are more header fields, or more of them, than the limit.
    HeadersTooLarge,
    /// The run ended with an error.
    RunFailed(RunId, Failure),
    /// The run was cancelled.
    RunCancelled(RunId),
    /// 503: the store or the queue does not answer.
    Unavailable,
    /// 500: a fault of ours.
    Internal,
}

/// An answer to a callback, as who has its token sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Decided<'a> {
    /// What was decided.
    decision: Decision,
    /// Who answered, in their own words.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    by: &'a str,
    /// When.
    at: Timestamp,
}

impl<'a> From<&'a Reply> for Decided<'a> {
    fn from(reply: &'a Reply) -> Self {
        Self { decision: reply.decision, by: &reply.by, at: reply.at }
    }
}

/// What went wrong, as RFC 9457 says it. The `type` is stable; the texts are for people and may change.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Body<'a> {
    /// What kind of problem: `urn:ihelper:problem:<name>`.
    r#type: String,
    /// The same, in words.
    title: &'a str,
    /// The answer's status.
    status: u16,
    /// What there is to say of this case.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// Everything that is not as it should be, with its place.
    #[schema(value_type = Option<Vec<Violation>>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<&'a [Violation]>,
    /// The run that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<RunId>,
    /// Where that run stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_status: Option<Status>,
    /// Where to look for the outcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    /// The effects that would happen again.
    #[schema(value_type = Option<Vec<String>>)]
    #[serde(skip_serializing_if = "Option::is_none")]
    effects: Option<&'a [String]>,
    /// The answer that stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    decided: Option<Decided<'a>>,
    /// Where a larger body can be left.
    #[serde(skip_serializing_if = "Option::is_none")]
    upload: Option<&'a str>,
    /// What kind of error the run ended with.
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<Kind>,
    /// The step in which it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
}

impl Problem {
    /// One field that is not what is accepted.
    pub(crate) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Invalid::one(field, problem).into()
    }

    /// The run does not exist, or is not the caller's.
    pub(crate) fn no_such_run() -> Self {
        Self::NotFound("the run does not exist".to_owned())
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.parts().0
    }

    pub(crate) fn title(&self) -> &'static str {
        self.parts().2
    }

    fn parts(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed", "The request is malformed"),
            Self::Unauthenticated | Self::TokenRefused(_) => {
                (StatusCode::UNAUTHORIZED, "unauthenticated", "A valid token is needed")
            }
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden", "The caller may not do this"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not-found", "There is no such thing"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The path has no such method")
            }
            Self::Ended(..) => (StatusCode::CONFLICT, "run-ended", "The run has ended"),
            Self::NotEnded(..) => (StatusCode::CONFLICT, "run-not-ended", "The run has not ended"),
            Self::WouldRepeat(..) => (StatusCode::CONFLICT, "would-repeat-effects", "Effects would happen again"),
            Self::NothingOpen(_) => (StatusCode::CONFLICT, "nothing-open", "No such effect is open"),
            Self::AnsweredOtherwise(_) => (StatusCode::CONFLICT, "answered-otherwise", "Another answer stands"),
            Self::InFlight(_) => (StatusCode::CONFLICT, "in-flight", "The request is still being worked on"),
            Self::TooLate => (StatusCode::GONE, "too-late", "It can no longer be answered"),
            Self::OnTrial(_) => (StatusCode::CONFLICT, "on-trial", "The change does not fit the trial"),
            Self::PreconditionFailed => {
                (StatusCode::PRECONDITION_FAILED, "precondition-failed", "Another change came first")
            }
            Self::PreconditionRequired => (
                StatusCode::PRECONDITION_REQUIRED,
                "precondition-required",
                "The change must say what it was made from",
            ),
            Self::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "The body is too large"),
            Self::AddressTooLong => (StatusCode::URI_TOO_LONG, "address-too-long", "The address is too long"),
            Self::HeadersTooLarge => (
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "headers-too-large",
                "There are too many header fields, or too large ones",
            ),
            Self::UnsupportedMediaType(_) => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body is of no accepted type")
            }
            Self::Invalid(_) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid", "The data is not valid"),
            Self::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "idempotency-key-reused",
                "The idempotency key came with another request",
            ),
            Self::RunFailed(_, failure) => (status_of(failure.kind), "run-failed", "The run failed"),
            Self::RunCancelled(_) => (StatusCode::CONFLICT, "run-cancelled", "The run was cancelled"),
            Self::RateLimited(_) => (StatusCode::TOO_MANY_REQUESTS, "rate-limited", "The caller has called too often"),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Try again shortly"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong on our side"),
        }
    }

    /// What there is to say beyond the title.
    pub(crate) fn detail(&self) -> Option<String> {
        match self {
            Self::Malformed(detail) | Self::NotFound(detail) => Some(detail.clone()),
            Self::Forbidden(detail) | Self::OnTrial(detail) => Some((*detail).to_owned()),
            Self::PreconditionFailed => {
                Some("look at what is current now, and send its `ETag` as `If-Match`".to_owned())
            }
            Self::PreconditionRequired => {
                Some("send the `ETag` of the definition that you changed as `If-Match`".to_owned())
            }
            Self::TokenRefused(refusal) => Some(refusal.to_string()),
            Self::RateLimited(seconds) => Some(format!("the quota is used up; there is another in {seconds} s")),
            Self::Ended(_, status) | Self::NotEnded(_, status) => Some(format!("the run is {status}")),
            Self::WouldRepeat(_, effects) => Some(format!(
                "`{}` happened already; with `repeat_effects`: true they may happen again",
                effects.join("`, `")
            )),
            Self::NothingOpen(_) => Some("nothing of that name or position waits for its outcome".to_owned()),
            Self::AnsweredOtherwise(_) => Some("somebody answered otherwise before".to_owned()),
            Self::InFlight(_) => {
                Some("look at the run, or ask again later with the same key for its result".to_owned())
            }
            Self::TooLate => Some("the time for an answer is over, or the run has ended".to_owned()),
            Self::TooLarge { limit, upload: None } => Some(format!("the limit is {limit} bytes")),
            Self::TooLarge { limit, upload: Some(path) } => Some(format!(
                "the limit is {limit} bytes; leave larger data at an address that a POST of `{path}` gives, and send \
                 its `upload_id` instead"
            )),
            Self::UnsupportedMediaType(accepted) => Some(format!("the body must be {accepted}")),
            Self::Invalid(violations) => {
                violations.first().map(|first| format!("`{}`: {}", first.field, first.problem))
            }
            Self::AddressTooLong => Some(format!("the limit is {LONGEST_ADDRESS} bytes")),
            Self::HeadersTooLarge => {
                Some(format!("the limit is {MOST_HEADERS} fields of {MOST_HEADER_BYTES} bytes together"))
            }
            Self::KeyReused => Some("a key stands for one request; send another request with another key".to_owned()),
            // A 5xx says no more than its type; the run itself tells those who may see it.
            Self::RunFailed(_, failure) => self.status().is_client_error().then(|| failure.message.clone()),
            Self::RunCancelled(_)
            | Self::Unauthenticated
            | Self::MethodNotAllowed
            | Self::Unavailable
            | Self::Internal => None,
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
        Kind::Cancelled | Kind::Expired => StatusCode::CONFLICT,
        Kind::OverBudget => StatusCode::TOO_MANY_REQUESTS,
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
            Kind::NotFound => Self::no_such_run(),
            _ => Self::Internal,
        }
    }
}

impl From<tokens::Error> for Problem {
    fn from(error: tokens::Error) -> Self {
        match error {
            tokens::Error::Refused(refusal) => {
                tracing::info!(token.refused = %refusal, "a token was refused");
                Self::TokenRefused(refusal)
            }
            // Whatever is wrong there, it is no fault of who calls.
            tokens::Error::Unavailable(failure) => {
                tracing::error!(error.kind = %failure.kind, error.message = failure.message, "tokens cannot be checked");
                Self::Unavailable
            }
        }
    }
}

impl From<Invalid> for Problem {
    fn from(Invalid(violations): Invalid) -> Self {
        Self::Invalid(violations)
    }
}

impl Problem {
    /// What the answer says.
    pub(crate) fn body(&self) -> Value {
        let (status, name, title) = self.parts();
        let mut body = Body {
            r#type: format!("urn:ihelper:problem:{name}"),
            title,
            status: status.as_u16(),
            detail: self.detail(),
            ..Body::default()
        };
        match self {
            Self::Ended(run, status) | Self::NotEnded(run, status) => {
                body.run_id = Some(*run);
                body.run_status = Some(*status);
            }
            Self::WouldRepeat(run, effects) => {
                body.run_id = Some(*run);
                body.effects = Some(effects);
            }
            Self::InFlight(run) => {
                body.run_id = Some(*run);
                body.location = Some(location_of(*run));
            }
            Self::NothingOpen(run) | Self::RunCancelled(run) => body.run_id = Some(*run),
            Self::RunFailed(run, failure) => {
                body.run_id = Some(*run);
                body.kind = Some(failure.kind);
                body.step = failure.step.as_deref();
            }
            Self::AnsweredOtherwise(reply) => body.decided = Some(Decided::from(&**reply)),
            Self::TooLarge { upload, .. } => body.upload = *upload,
            Self::Invalid(violations) => body.errors = Some(violations),
            Self::Malformed(_)
            | Self::Unauthenticated
            | Self::TokenRefused(_)
            | Self::RateLimited(_)
            | Self::Forbidden(_)
            | Self::NotFound(_)
            | Self::MethodNotAllowed
            | Self::TooLate
            | Self::OnTrial(_)
            | Self::PreconditionFailed
            | Self::PreconditionRequired
            | Self::AddressTooLong
            | Self::HeadersTooLarge
            | Self::UnsupportedMediaType(_)
            | Self::KeyReused
            | Self::Unavailable
            | Self::Internal => {}
        }
        json!(body)
    }

    /// The header fields that go with it.
    pub(crate) fn headers(&self) -> HeaderMap {
        let status = self.status();
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::SERVICE_UNAVAILABLE || matches!(self, Self::InFlight(_)) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        if let Self::RunFailed(_, Failure { kind: Kind::OverBudget, retry_after_ms: Some(wait), .. }) = self {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.div_ceil(1000)));
        }
        if let Self::RateLimited(seconds) = &self {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(*seconds));
        }
        match &self {
            Self::Unauthenticated => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            Self::TokenRefused(_) => {
                let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            _ => {}
        }
        headers
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status(), self.headers(), self.body().to_string()).into_response()
    }
}
