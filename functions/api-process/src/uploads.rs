//! `POST /workflow/uploads`: a place for data that is too large for a request.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, StatusCode};
use ihelper_workflow::ports::LARGEST_DATA;
use serde::Deserialize;
use serde_json::{Value, json};
use ulid::Ulid;

use crate::{
    Api, MAX_BODY_BYTES, Principal, Problem,
    body::{self, Body},
};

/// Where an upload begins.
pub const PATH: &str = "/workflow/uploads";

#[derive(Deserialize)]
struct Wanted {
    bytes: Value,
}

/// Gives the caller an address to put `bytes` bytes of JSON to, which `POST /workflow/process` then takes by the
/// `upload_id` instead of `data`.
pub(crate) async fn offer(
    State(api): State<Arc<Api>>,
    principal: Principal,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::bytes(body, MAX_BODY_BYTES, None)?;
    let wanted: Wanted = body::typed(body::object(&headers, &body)?, &["bytes"])?;
    let bytes = wanted.bytes.as_u64().filter(|bytes| (1..=LARGEST_DATA).contains(bytes));
    let bytes =
        bytes.ok_or_else(|| Problem::invalid("bytes", format!("is not a whole number from 1 to {LARGEST_DATA}")))?;
    let made_at = u64::try_from(api.clock.now().as_millisecond()).unwrap_or(0);
    let id = Ulid::from_parts(made_at, api.entropy.random()).to_string();
    let offer = api.uploads.offer(&principal.caller(), &id, bytes).await?;
    let body = json!({
        "upload_id": id,
        "method": "PUT",
        "url": offer.url,
        "headers": offer.headers,
        "expires_at": offer.expires_at,
        "max_bytes": bytes,
    });
    Ok((StatusCode::CREATED, Json(body)).into_response())
}

/// An upload's id as it was given out; `None` for what never was one.
pub(crate) fn parse_id(text: &str) -> Option<String> {
    Ulid::from_string(text).ok().map(|id| id.to_string())
}
