//! What every answer carries so that browsers and caches make nothing else of it, and which pages of other sites may
//! read it.

use std::{any::Any, time::Duration};

use axum::response::{IntoResponse as _, Response};
use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::Problem;

// Each only where the handler said nothing of its own.
const HEADERS: [(HeaderName, &str); 7] = [
    // Nearly every answer is one person's, or one run's at one moment.
    (header::CACHE_CONTROL, "no-store"),
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    // An address may hold the token of a callback.
    (header::REFERRER_POLICY, "no-referrer"),
    // A year, as browsers' lists ask for.
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

/// How long a browser may keep what it was told of another site's rights.
const PREFLIGHT_LIFE: Duration = Duration::from_secs(600);

/// Adds what the handler did not say itself.
pub(crate) async fn cover(mut answer: Response) -> Response {
    let headers = answer.headers_mut();
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    answer
}

/// Lets pages of these origins, and of no other, call the API with a token and read its answers. No cookie counts here,
/// so none is let through.
pub(crate) fn cross_origin(origins: &[HeaderValue]) -> CorsLayer {
    let sent = [
        header::ACCEPT,
        header::AUTHORIZATION,
        header::CACHE_CONTROL,
        header::CONTENT_TYPE,
        header::IF_MATCH,
        HeaderName::from_static("idempotency-key"),
        HeaderName::from_static("prefer"),
    ];
    let read = [
        header::AGE,
        header::ETAG,
        header::LOCATION,
        header::RETRY_AFTER,
        header::WWW_AUTHENTICATE,
        HeaderName::from_static("cache-status"),
        HeaderName::from_static("idempotency-replayed"),
        HeaderName::from_static("preference-applied"),
        HeaderName::from_static("ratelimit"),
        HeaderName::from_static("ratelimit-policy"),
    ];
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.iter().cloned()))
        .allow_methods([Method::GET, Method::POST, Method::PUT])
        .allow_headers(sent)
        .expose_headers(read)
        .max_age(PREFLIGHT_LIFE)
}

/// The answer of a handler that panicked: the same as for any fault of ours.
pub(crate) fn panicked(_: Box<dyn Any + Send>) -> Response {
    tracing::error!("a handler panicked");
    Problem::Internal.into_response()
}
