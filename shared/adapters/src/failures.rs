//! The services' errors in the domain's words.
//!
//! A pure translation. What counts is the service's error code, then the HTTP status; the service's own sentence
//! is left out, because it may repeat an address or a value from the request.
//!
//! With SDK retries, a failure speaks of the last attempt only. Whoever relies on
//! [`Failure::maybe_applied`](ihelper_workflow::domain::Failure) must call without retries.

use std::{error::Error, time::Duration};

use aws_smithy_runtime_api::client::{dns::ResolveDnsError, orchestrator::HttpResponse, result::SdkError};
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use aws_types::request_id::RequestId;
use ihelper_workflow::domain::{Failure, Kind};

/// Codes of a service that asks to slow down.
const THROTTLED: &[&str] = &[
    "BandwidthLimitExceeded",
    "KmsThrottled",
    "LimitExceeded",
    "LimitExceededException",
    "OverLimit",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "TooManyRequestsException",
    "TransactionInProgressException",
];

/// Codes of a service that does not allow the call to this role.
const UNAUTHORIZED: &[&str] = &[
    "AccessDenied",
    "AccessDeniedException",
    "AllAccessDisabled",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "KmsAccessDenied",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "NotAuthorized",
    "SignatureDoesNotMatch",
    "UnauthorizedOperation",
    "UnrecognizedClientException",
];

/// Codes about credentials or clocks that a fresh instance would not meet: another attempt may help, although the
/// status says that the call is forbidden.
const STALE: &[&str] =
    &["ExpiredToken", "ExpiredTokenException", "RequestExpired", "RequestTimeTooSkewed", "TokenRefreshRequired"];

/// Codes of a service that cannot work with the request as it is.
const INVALID: &[&str] = &[
    "BadRequestException",
    "EntityTooLarge",
    "InvalidArgument",
    "InvalidMessageContents",
    "InvalidParameterCombination",
    "InvalidParameterValue",
    "InvalidRequest",
    "ItemCollectionSizeLimitExceededException",
    "MalformedDetail",
    "MessageTooLong",
    "MissingParameter",
    "SerializationException",
    "ValidationError",
    "ValidationException",
];

/// Codes of a service that itself waited in vain.
const TIMED_OUT: &[&str] = &["RequestTimeout", "RequestTimeoutException"];

/// Translates the failure of a call. `call` names it for the operator: `dynamodb open`.
pub fn failure<E>(call: &str, error: &SdkError<E, HttpResponse>) -> Failure
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match error {
        SdkError::ConstructionFailure(_) => Failure::validation(format!("{call}: the request could not be built")),
        SdkError::TimeoutError(_) => {
            Failure::new(Kind::Timeout, format!("{call}: no answer in time")).with_unknown_outcome()
        }
        SdkError::DispatchFailure(dispatch) => {
            let cause = dispatch.as_connector_error().and_then(Error::source);
            if dispatch.is_user() {
                Failure::validation(format!("{call}: the request could not be sent as it is"))
            } else if cause.is_some_and(was_never_connected) {
                Failure::new(Kind::Connection, format!("{call}: no connection"))
            } else if dispatch.is_timeout() {
                Failure::new(Kind::Timeout, format!("{call}: no answer in time")).with_unknown_outcome()
            } else {
                Failure::new(Kind::Connection, format!("{call}: the connection broke")).with_unknown_outcome()
            }
        }
        SdkError::ResponseError(_) => {
            Failure::new(Kind::Connection, format!("{call}: the answer is not complete")).with_unknown_outcome()
        }
        SdkError::ServiceError(service) => of_answer(call, service.err().code(), service.raw(), error.request_id()),
        _ => Failure::new(Kind::Unknown, format!("{call}: unknown error")).with_unknown_outcome(),
    }
}

/// Translates an error code that came without an HTTP status of its own: an entry of a batch.
pub fn failure_of_code(call: &str, code: Option<&str>) -> Failure {
    let kind = kind_of_code(code.unwrap_or_default()).unwrap_or(Kind::Unknown);
    Failure::new(kind, format!("{call}: {}", shown(code)))
}

fn of_answer(call: &str, code: Option<&str>, answer: &HttpResponse, request_id: Option<&str>) -> Failure {
    let status = answer.status().as_u16();
    let kind = kind_of_code(code.unwrap_or_default()).unwrap_or_else(|| kind_of_status(status));
    let mut message = format!("{call}: {} with status {status}", shown(code));
    if let Some(id) = request_id {
        message.push_str(" (request ");
        message.extend(plain(id));
        message.push(')');
    }
    let mut failure = Failure::new(kind, message);
    failure.retry_after_ms = retry_after(answer).and_then(|wait| u64::try_from(wait.as_millis()).ok());
    // A server that failed may have done its work first; one that declined has not begun.
    failure.maybe_applied = status >= 500 && kind != Kind::Throttled;
    failure
}

fn kind_of_code(code: &str) -> Option<Kind> {
    // Some protocols write `namespace#Code` or `Code:address`.
    let code = code.rsplit('#').next().unwrap_or(code);
    let code = code.split(':').next().unwrap_or(code);
    let kinds = [
        (THROTTLED, Kind::Throttled),
        (UNAUTHORIZED, Kind::Authorization),
        (STALE, Kind::Unknown),
        (INVALID, Kind::Validation),
        (TIMED_OUT, Kind::Timeout),
    ];
    kinds.into_iter().find(|(codes, _)| codes.contains(&code)).map(|(_, kind)| kind)
}

fn kind_of_status(status: u16) -> Kind {
    match status {
        401 | 403 => Kind::Authorization,
        408 | 504 => Kind::Timeout,
        413 => Kind::Validation,
        429 => Kind::Throttled,
        // Among them 404: what a call needs (a table, a queue) is missing, perhaps only during a deployment. A
        // port for which absence is an answer looks for it before it comes here.
        _ => Kind::Unknown,
    }
}

fn shown(code: Option<&str>) -> String {
    match code {
        Some(code) => format!("`{}`", plain(code).collect::<String>()),
        None => "an error without a code".to_owned(),
    }
}

/// A code or an id as the services make them; anything else in it is not for the log.
fn plain(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|letter| letter.is_ascii_alphanumeric() || "-_.#:".contains(*letter)).take(64)
}

fn retry_after(answer: &HttpResponse) -> Option<Duration> {
    let number = |header| answer.headers().get(header).and_then(|text: &str| text.trim().parse::<u32>().ok());
    // AWS's own header counts milliseconds, the standard one seconds. The standard allows a date as well; no
    // service that is called here sends one.
    number("x-amz-retry-after")
        .map(|milliseconds| Duration::from_millis(milliseconds.into()))
        .or_else(|| number("retry-after").map(|seconds| Duration::from_secs(seconds.into())))
}

/// Whether the request certainly did not leave: no address was found, or no connection stood.
fn was_never_connected(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let connecting = error.downcast_ref::<hyper_util::client::legacy::Error>();
        if connecting.is_some_and(hyper_util::client::legacy::Error::is_connect) || error.is::<ResolveDnsError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use aws_smithy_runtime_api::{client::result::ConnectorError, http::StatusCode};
    use aws_smithy_types::{body::SdkBody, error::ErrorMetadata};

    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)]) -> HttpResponse {
        let mut answer = HttpResponse::new(StatusCode::try_from(status).unwrap(), SdkBody::empty());
        for (name, value) in headers {
            answer.headers_mut().insert(*name, *value);
        }
        answer
    }

    fn refused(status: u16, code: &str, headers: &[(&'static str, &'static str)]) -> Failure {
        let metadata = ErrorMetadata::builder().code(code).message("ann@example.com is not verified").build();
        failure("ses send", &SdkError::service_error(metadata, answer(status, headers)))
    }

    #[test]
    fn codes_and_statuses_lead_to_kinds() {
        let cases = [
            (400, "ProvisionedThroughputExceededException", Kind::Throttled, false),
            (503, "SlowDown", Kind::Throttled, false),
            (429, "", Kind::Throttled, false),
            (429, "TooManyRequestsException", Kind::Throttled, false),
            (400, "com.amazonaws.dynamodb.v20120810#ThrottlingException", Kind::Throttled, false),
            (400, "AccessDeniedException", Kind::Authorization, false),
            (403, "", Kind::Authorization, false),
            (400, "UnrecognizedClientException:http://internal.amazon.com/", Kind::Authorization, false),
            (403, "ExpiredToken", Kind::Unknown, false),
            (400, "ValidationException", Kind::Validation, false),
            (413, "", Kind::Validation, false),
            (400, "ResourceNotFoundException", Kind::Unknown, false),
            (400, "NeverHeardOf", Kind::Unknown, false),
            (400, "RequestTimeout", Kind::Timeout, false),
            (504, "", Kind::Timeout, true),
            (500, "InternalServerError", Kind::Unknown, true),
            (503, "ServiceUnavailable", Kind::Unknown, true),
        ];
        for (status, code, kind, maybe_applied) in cases {
            let failure = refused(status, code, &[]);
            assert_eq!((failure.kind, failure.maybe_applied), (kind, maybe_applied), "{status} {code}");
        }
    }

    #[test]
    fn a_message_names_the_code_and_never_repeats_the_service() {
        let failure = refused(400, "MessageRejected\r\nX-Evil: 1", &[("x-amzn-requestid", "r-1 (forged)")]);
        assert!(!failure.message.contains("ann@example.com"));
        assert!(failure.message.starts_with("ses send: `MessageRejectedX-Evil:1` with status 400"), "{failure}");
        assert!(failure.message.ends_with(" (request r-1forged)"), "{failure}");
        let failure = refused(400, &"long".repeat(1000), &[]);
        assert!(failure.message.len() < 120);
    }

    #[test]
    fn the_wait_that_a_server_asks_for_is_kept() {
        let wait = |headers| refused(429, "Throttling", headers).retry_after_ms;
        assert_eq!(wait(&[]), None);
        assert_eq!(wait(&[("retry-after", "7")]), Some(7000));
        assert_eq!(wait(&[("x-amz-retry-after", "1500"), ("retry-after", "7")]), Some(1500));
        // Neither a date nor nonsense is a number of seconds.
        for useless in ["", "-1", "soon", "99999999999999999999", "Wed, 21 Oct 2015 07:28:00 GMT"] {
            assert_eq!(refused(429, "Throttling", &[("retry-after", useless)]).retry_after_ms, None, "{useless}");
        }
    }

    #[test]
    fn a_fault_on_the_way_tells_whether_the_request_may_have_arrived() {
        let translate = |error: SdkError<ErrorMetadata, HttpResponse>| {
            let failure = failure("ses send", &error);
            (failure.kind, failure.maybe_applied)
        };
        let io = || std::io::Error::other("broken pipe");
        assert_eq!(translate(SdkError::timeout_error(io())), (Kind::Timeout, true));
        let broken = SdkError::dispatch_failure(ConnectorError::io(io().into()));
        assert_eq!(translate(broken), (Kind::Connection, true));
        let late = SdkError::dispatch_failure(ConnectorError::timeout(io().into()));
        assert_eq!(translate(late), (Kind::Timeout, true));
        let strange = SdkError::dispatch_failure(ConnectorError::other(io().into(), None));
        assert_eq!(translate(strange), (Kind::Connection, true));
        let invalid = SdkError::dispatch_failure(ConnectorError::user(io().into()));
        assert_eq!(translate(invalid), (Kind::Validation, false));
        let unknown_host = ConnectorError::io(ResolveDnsError::new(io()).into());
        assert_eq!(translate(SdkError::dispatch_failure(unknown_host)), (Kind::Connection, false));
        assert_eq!(translate(SdkError::construction_failure(io())), (Kind::Validation, false));
        let cut = SdkError::response_error(io(), answer(200, &[]));
        assert_eq!(translate(cut), (Kind::Connection, true));
    }

    #[test]
    fn an_entry_of_a_batch_is_known_by_its_code() {
        assert_eq!(failure_of_code("eventbridge publish", Some("ThrottlingException")).kind, Kind::Throttled);
        assert_eq!(failure_of_code("eventbridge publish", None).kind, Kind::Unknown);
    }
}
