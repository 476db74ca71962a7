//! `POST /workflow/uploads`: a place for data that is too large for a request.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::State,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, StatusCode};
use ihelper_workflow::ports::{Action, LARGEST_DATA, What};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ulid::Ulid;
use utoipa::ToSchema;

use crate::{
    Api, MAX_BODY_BYTES, Principal, Problem,
    body::{self, Body},
};

/// Where an upload begins.
pub const PATH: &str = "/workflow/uploads";

/// What somebody wants to upload.
#[derive(Deserialize, ToSchema)]
#[schema(as = Upload)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// How many bytes it has, 1 to 32 MiB.
    #[schema(value_type = u64, minimum = 1, maximum = 33_554_432)]
    bytes: Value,
}

/// A place for it: whoever PUTs it to `url` with these `headers` needs no token.
#[derive(Serialize, ToSchema)]
#[schema(as = UploadOffer)]
struct Offered {
    /// What `POST /workflow/process` takes in the place of `data`.
    upload_id: String,
    /// Always `PUT`.
    #[schema(pattern = "^PUT$")]
    method: &'static str,
    /// Where to.
    url: String,
    /// Header fields that the request must have.
    headers: BTreeMap<String, String>,
    /// Until when the upload may begin.
    expires_at: Timestamp,
    /// How many bytes it must have.
    max_bytes: u64,
}

/// Gives the caller an address to put `bytes` bytes of JSON to, which `POST /workflow/process` then takes by the
/// `upload_id` instead of `data`.
#[utoipa::path(
    post,
    path = "/workflow/uploads",
    tag = "runs",
    operation_id = "upload",
    request_body(content = Wanted, example = json!({ "bytes": 7_340_032 })),
    security(("bearer" = [])),
    responses((status = 201, description = "A place to put it.", body = Offered)),
)]
pub(crate) async fn offer(
    State(api): State<Arc<Api>>,
    principal: Principal,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    principal.must(&api, Action::Upload, What::Bundle, "the caller may not upload")?;
    let body = body::bytes(body, MAX_BODY_BYTES, None)?;
    let wanted: Wanted = body::typed(body::object(&headers, &body)?, &["bytes"])?;
    let bytes = wanted.bytes.as_u64().filter(|bytes| (1..=LARGEST_DATA).contains(bytes));
    let bytes =
        bytes.ok_or_else(|| Problem::invalid("bytes", format!("is not a whole number from 1 to {LARGEST_DATA}")))?;
    let made_at = u64::try_from(api.clock.now().as_millisecond()).unwrap_or(0);
    let id = Ulid::from_parts(made_at, api.entropy.random()).to_string();
    let offer = api.uploads.offer(&principal.caller(), &id, bytes).await?;
    let offered = Offered {
        upload_id: id,
        method: "PUT",
        url: offer.url,
        headers: offer.headers,
        expires_at: offer.expires_at,
        max_bytes: bytes,
    };
    Ok((StatusCode::CREATED, Json(offered)).into_response())
}

/// An upload's id as it was given out; `None` for what never was one.
pub(crate) fn parse_id(text: &str) -> Option<String> {
    Ulid::from_string(text).ok().map(|id| id.to_string())
}
