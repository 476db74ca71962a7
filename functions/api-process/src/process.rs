//! `POST /workflow/process`: runs a workflow.

use std::{sync::Arc, time::Duration};

use axum::{extract::State, response::Response};
use http::{HeaderMap, header};
use ihelper_workflow::{
    domain::{
        Kind, WorkflowType,
        input::{self, Input, Invalid},
    },
    ports::LARGEST_DATA,
};
use serde_json::Value;

use crate::{
    Api, MAX_BODY_BYTES, Principal, Problem,
    body::{self, Body, Fields},
    call::Call,
    repeats::IdempotencyKey,
    uploads,
};

/// Runs a workflow on data: 200 with its result, or 202 with the run's address when the caller prefers that
/// (RFC 7240: `respond-async`, `wait`) or the run takes longer than a call can.
///
/// With an `Idempotency-Key`, the same request is the same run for a day. Without one, an equal request of the same
/// caller gets the result of the first for as long as the configuration says, unless it says
/// `Cache-Control: no-cache`.
pub(crate) async fn process(
    State(api): State<Arc<Api>>,
    principal: Principal,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let began = api.clock.now();
    let key = IdempotencyKey::read(&headers)?;
    let body = body::bytes(body, MAX_BODY_BYTES, Some(uploads::PATH))?;
    let fields = body::object(&headers, &body)?;
    // From here on the fields are what there is of it.
    drop(body);
    let key = key.map(|key| key.of_request("POST", "/workflow/process", &fields));
    let caller = principal.caller();
    let input = read(&api, &caller, fields).await?;
    refuse_stored_objects(&principal, &input)?;
    let call = Call { api: &api, caller, input, preference: Preference::read(&headers), began };
    match key {
        Some(key) => call.once(key).await,
        None => Ok(call.cached(says_no_cache(&headers)).await),
    }
}

/// Whoever starts a run on a stored object reads what the deployment may read.
pub(crate) fn refuse_stored_objects(principal: &Principal, input: &Input) -> Result<(), Problem> {
    if input.refers_to_an_object() && !principal.is_operator() {
        return Err(Problem::Forbidden("only operators start runs on stored objects; send the content itself"));
    }
    Ok(())
}

async fn read(api: &Api, caller: &str, mut fields: Fields) -> Result<Input, Problem> {
    let workflow: WorkflowType = match fields.remove("type") {
        Some(Value::String(name)) => name.parse().map_err(|failure| Problem::invalid("type", format!("{failure}")))?,
        Some(_) => return Err(Problem::invalid("type", "is not a text")),
        None => return Err(Problem::invalid("type", "is missing")),
    };
    let data = match (fields.remove("data"), fields.remove("upload_id")) {
        (Some(data), None) => data,
        (None, Some(Value::String(id))) => fetch(api, caller, &id).await?,
        (None, Some(_)) => return Err(Problem::invalid("upload_id", "is not a text")),
        (None, None) => return Err(Problem::invalid("data", "is missing")),
        (Some(_), Some(_)) => return Err(Problem::invalid("upload_id", "takes the place of `data`: one of them only")),
    };
    Ok(input::parse(workflow, data)?)
}

async fn fetch(api: &Api, caller: &str, id: &str) -> Result<Value, Problem> {
    let missing = || Problem::invalid("upload_id", "nothing was uploaded under this id");
    let id = uploads::parse_id(id).ok_or_else(missing)?;
    let bytes = api.uploads.take(caller, &id, LARGEST_DATA).await.map_err(|failure| match failure.kind {
        Kind::NotFound => missing(),
        Kind::Validation => Problem::TooLarge { limit: LARGEST_DATA, upload: None },
        _ => failure.into(),
    })?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Problem::from(Invalid::one("upload_id", format!("what was uploaded is not JSON: {error}"))))
}

fn says_no_cache(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CACHE_CONTROL).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|directive| directive.trim().eq_ignore_ascii_case("no-cache"))
}

/// What the caller prefers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Preference {
    pub(crate) respond_async: bool,
    pub(crate) wait: Option<Duration>,
}

impl Preference {
    /// Reads `Prefer` (RFC 7240). What is not understood is no preference.
    fn read(headers: &HeaderMap) -> Self {
        let mut preference = Self::default();
        let values = headers.get_all("prefer").into_iter().filter_map(|value| value.to_str().ok());
        for part in values.flat_map(|value| value.split(',')) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "respond-async" => preference.respond_async = true,
                "wait" => {
                    let seconds = value.split(';').next().unwrap_or_default().trim().trim_matches('"').parse();
                    preference.wait = preference.wait.or(seconds.ok().map(Duration::from_secs));
                }
                _ => {}
            }
        }
        preference
    }

    /// Whether the caller does not wait at all.
    pub(crate) fn is_to_answer_at_once(&self) -> bool {
        self.respond_async && self.wait.is_none()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn with(name: &'static str, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::HeaderName::from_static(name), HeaderValue::from_static(value))])
    }

    fn preference(value: &'static str) -> Preference {
        Preference::read(&with("prefer", value))
    }

    #[test]
    fn preferences_are_read_as_rfc_7240_writes_them() {
        let ten = Some(Duration::from_secs(10));
        assert_eq!(preference("respond-async"), Preference { respond_async: true, wait: None });
        assert_eq!(preference("respond-async, wait=10"), Preference { respond_async: true, wait: ten });
        assert_eq!(preference("Wait = 10"), Preference { respond_async: false, wait: ten });
        assert_eq!(preference("handling=lenient, wait=soon"), Preference::default());
    }

    #[test]
    fn no_cache_is_one_directive_among_others() {
        assert!(says_no_cache(&with("cache-control", "max-age=0, No-Cache")));
        assert!(!says_no_cache(&with("cache-control", "max-age=0, no-cachet")));
        assert!(!says_no_cache(&HeaderMap::new()));
    }
}
