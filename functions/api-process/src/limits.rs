//! What a request may bring before anybody looks at it.
//!
//! API Gateway has limits of its own (10,240 bytes of address and header fields together); these hold wherever the
//! function stands.

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::HeaderMap;

use crate::Problem;

/// The most header fields.
pub const MOST_HEADERS: usize = 100;

/// The most bytes of all header fields together, names and values.
pub const MOST_HEADER_BYTES: usize = 16 * 1024;

/// The longest path with its query, in bytes.
pub const LONGEST_ADDRESS: usize = 8 * 1024;

/// Refuses a request with a longer address, or with more header fields.
pub(crate) async fn check(request: Request, next: Next) -> Response {
    let address = request.uri().path_and_query().map_or(0, |address| address.as_str().len());
    if address > LONGEST_ADDRESS {
        return Problem::AddressTooLong.into_response();
    }
    let headers = request.headers();
    if headers.len() > MOST_HEADERS || bytes_of(headers) > MOST_HEADER_BYTES {
        return Problem::HeadersTooLarge.into_response();
    }
    next.run(request).await
}

fn bytes_of(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum()
}
