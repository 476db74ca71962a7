//! `POST /workflow/process`: runs a workflow.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ihelper_workflow::{
    domain::{
        RunId, Status, WorkflowType,
        input::{self, Input, Invalid},
        run::{Origin, Trigger},
    },
    engine::{Begun, Deadline, Outcome},
};
use serde_json::{Value, json};

use crate::{Api, LAST_EFFECT, LONGEST_WAIT, MAX_BODY_BYTES, Principal, Problem};

// The insurance message comes a little after the lease, so that it finds it over.
const INSURANCE_MARGIN: Duration = Duration::from_secs(1);

/// Runs a workflow on data: 200 with its result, or 202 with the run's address when the caller prefers that
/// (RFC 7240: `respond-async`, `wait`) or the run takes longer than a call can.
pub(crate) async fn process(
    State(api): State<Arc<Api>>,
    principal: Principal,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Problem> {
    let body = body.map_err(|_| Problem::TooLarge(MAX_BODY_BYTES))?;
    let input = read_body(&headers, &body)?;
    if !principal.is_operator() && input.refers_to_an_object() {
        return Err(Problem::Forbidden("only operators start runs on stored objects; send the content itself"));
    }
    let now = api.clock.now();
    let id = RunId::new(now, api.entropy.random());
    let origin = Origin { trigger: Trigger::Api, id: id.to_string(), caller: principal.caller() };
    let preference = Preference::read(&headers);

    // Should this process die, the message finds the lease over, or the run queued, and the consumer goes on from
    // the journal.
    let insured_after = api.worker.lease() + INSURANCE_MARGIN;
    if preference.respond_async && preference.wait.is_none() {
        let (insured, begun) = futures::join!(
            api.queue.resume(input.workflow(), id, insured_after),
            api.worker.begin(&input, id, origin),
        );
        begun?;
        let asked_for = api.queue.resume(input.workflow(), id, Duration::ZERO).await;
        // One message suffices; the other is the insurance.
        asked_for.or(insured)?;
        return Ok(accepted(id, Status::Queued));
    }

    let (insured, begun) = futures::join!(
        api.queue.resume(input.workflow(), id, insured_after),
        api.worker.begin_leased(&input, id, origin),
    );
    let begun = begun?;
    if insured.is_err() {
        // Once more before the first step: without it the run would hang on this process.
        api.queue.resume(input.workflow(), id, insured_after).await?;
    }
    let after = |wait| now.saturating_add(wait).unwrap_or(now);
    let deadline = Deadline {
        work: after(preference.wait.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)),
        effects: after(LAST_EFFECT),
    };
    work(&api, input.workflow(), id, begun, deadline).await
}

async fn work(
    api: &Api,
    workflow: WorkflowType,
    id: RunId,
    begun: Begun,
    deadline: Deadline,
) -> Result<Response, Problem> {
    match api.worker.work_on(begun, deadline).await? {
        Outcome::Ended { run, .. } => match run.status {
            Status::Succeeded => {
                Ok(Json(json!({ "status": "success", "run_id": id, "result": run.result })).into_response())
            }
            Status::Cancelled => Err(Problem::RunCancelled(id)),
            _ => match run.error {
                Some(failure) => Err(Problem::RunFailed(id, failure)),
                None => Err(Problem::Internal),
            },
        },
        Outcome::Resting(run) => Ok(accepted(id, run.status)),
        Outcome::Retry { after, .. } => {
            api.queue.resume(workflow, id, after).await?;
            Ok(accepted(id, Status::Queued))
        }
        Outcome::HandedOver => {
            api.queue.resume(workflow, id, Duration::ZERO).await?;
            Ok(accepted(id, Status::Queued))
        }
        Outcome::Busy { after } => {
            api.queue.resume(workflow, id, after).await?;
            Ok(accepted(id, Status::Running))
        }
    }
}

fn read_body(headers: &HeaderMap, body: &[u8]) -> Result<Input, Problem> {
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase());
    if !media_type.is_some_and(|media_type| media_type == "application/json" || media_type.ends_with("+json")) {
        return Err(Problem::UnsupportedMediaType);
    }
    let value: Value =
        serde_json::from_slice(body).map_err(|error| Problem::Malformed(format!("the body is not JSON: {error}")))?;
    let Value::Object(mut fields) = value else {
        return Err(Problem::Malformed("the body is not a JSON object".to_owned()));
    };
    let invalid = |field: &str, problem: &str| Problem::Invalid(Invalid::one(field, problem).0);
    let workflow: WorkflowType = match fields.remove("type") {
        Some(Value::String(name)) => name.parse().map_err(|failure| invalid("type", &format!("{failure}")))?,
        Some(_) => return Err(invalid("type", "is not a text")),
        None => return Err(invalid("type", "is missing")),
    };
    let data = fields.remove("data").ok_or_else(|| invalid("data", "is missing"))?;
    input::parse(workflow, data).map_err(|Invalid(violations)| Problem::Invalid(violations))
}

fn accepted(id: RunId, status: Status) -> Response {
    let location = format!("/workflow/runs/{id}");
    let body = Json(json!({ "status": status, "run_id": id, "location": location }));
    let mut response = (StatusCode::ACCEPTED, body).into_response();
    if let Ok(value) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, value);
    }
    response
}

/// What the caller prefers.
#[derive(Debug, Default, PartialEq, Eq)]
struct Preference {
    respond_async: bool,
    wait: Option<Duration>,
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn preference(value: &'static str) -> Preference {
        Preference::read(&HeaderMap::from_iter([(
            header::HeaderName::from_static("prefer"),
            HeaderValue::from_static(value),
        )]))
    }

    #[test]
    fn preferences_are_read_as_rfc_7240_writes_them() {
        let ten = Some(Duration::from_secs(10));
        assert_eq!(preference("respond-async"), Preference { respond_async: true, wait: None });
        assert_eq!(preference("respond-async, wait=10"), Preference { respond_async: true, wait: ten });
        assert_eq!(preference("Wait = 10"), Preference { respond_async: false, wait: ten });
        assert_eq!(preference("handling=lenient, wait=soon"), Preference::default());
    }
}
