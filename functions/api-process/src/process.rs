//! `POST /workflow/process`: runs a workflow.

use std::{sync::Arc, time::Duration};

use axum::{extract::State, response::Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ihelper_workflow::{
    domain::{
        Kind, WorkflowType,
        document::DocumentInput,
        email::EmailInput,
        input::{self, Input, Invalid},
        task::TaskInput,
    },
    ports::{Action, LARGEST_DATA, What},
};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    Api, LONGEST_WAIT, MAX_BODY_BYTES, Principal, Problem,
    answer::{Accepted, Outcome},
    body::{self, Body, Fields},
    call::Call,
    json,
    repeats::IdempotencyKey,
    uploads,
};

/// Runs a workflow on data: 200 with its result, or 202 with the run's address when the caller prefers that
/// (RFC 7240: `respond-async`, `wait`) or the run takes longer than a call can.
///
/// With an `Idempotency-Key`, the same request is the same run for a day. Without one, an equal request of the same
/// caller gets the result of the first for as long as the configuration says, unless it says
/// `Cache-Control: no-cache`.
#[utoipa::path(
    post,
    path = "/workflow/process",
    tag = "runs",
    operation_id = "process",
    params(
        ("Idempotency-Key" = Option<String>, Header, pattern = "^[!-~]{1,255}$", example = "8e03978e-40d5-43dd-bc93",
            description = "The same request with the same key is the same run for a day."),
        ("Prefer" = Option<String>, Header, example = "respond-async, wait=10",
            description = "`respond-async` answers at once; `wait=<seconds>` says how long to wait (RFC 7240)."),
        ("Cache-Control" = Option<String>, Header, example = "no-cache",
            description = "`no-cache` wants a run of its own, whatever equal requests came to."),
    ),
    request_body(content = Wanted, examples(
        ("an email" = (value = json!({ "type": "email_processing",
            "data": { "id": "test123", "from": "user@example.com", "content": "When are you open on Saturday?" } }))),
        ("a document" = (value = json!({ "type": "document_review", "data": { "id": "d1",
            "file": { "text": "Invoices are payable within thirty days." },
            "review_criteria": ["Invoices are payable within 30 days.", { "text": "It names a cap.", "weight": 2.0 }] } }))),
        ("a task" = (value = json!({ "type": "task_automation",
            "data": { "id": "t1", "description": "Summarize what the lead wants.", "dry_run": true } }))),
        ("what was uploaded" = (value = json!({ "type": "document_review", "upload_id": "01KDVQKM008G00BTEP6XQ3Q84M" }))),
    )),
    security(("bearer" = [])),
    responses(
        (
            status = 200,
            description = "The run succeeded.",
            body = Outcome,
            headers(
                ("Age" = u64, description = "How long ago the former run ended, in seconds."),
                ("Preference-Applied" = String, description = "What of `Prefer` was heeded (RFC 7240)."),
            ),
            example = json!({ "status": "success", "run_id": "01KDVQKM008G00BTEP6XQ3Q84M",
                "result": { "status": "success", "response_generated": true, "api_calls": 2, "model": "rules" } }),
        ),
        (
            status = 202,
            description = "The run goes on; its address tells what comes of it.",
            body = Accepted,
            headers(
                ("Location" = String, description = "Where the run can be looked at."),
                ("Preference-Applied" = String, description = "What of `Prefer` was heeded (RFC 7240)."),
            ),
        ),
    ),
)]
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
    let input = read(&api, &principal, fields).await?;
    refuse_stored_objects(&api, &principal, &input)?;
    let preference = Preference::read(&headers);
    let call = Call { api: &api, caller, input, preference, began };
    let answered = async {
        match key {
            Some(key) => call.once(key).await,
            None => Ok(call.cached(says_no_cache(&headers)).await),
        }
    };
    // The first call of a process waits for the store, and its queue is made ready meanwhile.
    let (answer, ()) = futures::join!(answered, async { api.queue.prepare() });
    let mut answer = answer?;
    if let Some(applied) = preference.applied(answer.status()) {
        answer.headers_mut().insert("preference-applied", applied);
    }
    Ok(answer)
}

/// What to run: a workflow, on data or on what was uploaded.
#[derive(ToSchema)]
#[schema(as = Process)]
#[serde(untagged)]
#[expect(dead_code, reason = "it describes what `read` reads field by field, so that each error can name its own")]
enum Wanted {
    OnData(OnData),
    OnUpload(OnUpload),
}

/// A workflow with its data.
#[derive(ToSchema)]
#[schema(as = ProcessData)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(dead_code, reason = "as `Wanted`")]
enum OnData {
    EmailProcessing { data: EmailInput },
    DocumentReview { data: DocumentInput },
    TaskAutomation { data: TaskInput },
}

/// A workflow with data that was uploaded before.
#[derive(ToSchema)]
#[schema(as = ProcessUpload)]
#[expect(dead_code, reason = "as `Wanted`")]
struct OnUpload {
    r#type: WorkflowType,
    /// What `POST /workflow/uploads` gave.
    upload_id: String,
}

/// Whoever starts a run on a stored object reads what the deployment may read.
pub(crate) fn refuse_stored_objects(api: &Api, principal: &Principal, input: &Input) -> Result<(), Problem> {
    if !input.refers_to_an_object() {
        return Ok(());
    }
    let otherwise = "only operators start runs on stored objects; send the content itself";
    principal.must(api, Action::UseStoredObjects, What::Workflow(input.workflow()), otherwise)
}

async fn read(api: &Api, principal: &Principal, mut fields: Fields) -> Result<Input, Problem> {
    let workflow: WorkflowType = match fields.remove("type") {
        Some(Value::String(name)) => name.parse().map_err(|failure| Problem::invalid("type", format!("{failure}")))?,
        Some(_) => return Err(Problem::invalid("type", "is not a text")),
        None => return Err(Problem::invalid("type", "is missing")),
    };
    principal.must(api, Action::StartRun, What::Workflow(workflow), "the caller may not start this workflow")?;
    let data = match (fields.remove("data"), fields.remove("upload_id")) {
        (Some(data), None) => data,
        (None, Some(Value::String(id))) => fetch(api, &principal.caller(), &id).await?,
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
    json::read(&bytes).map_err(|problem| Invalid::one("upload_id", format!("what was uploaded {problem}")).into())
}

fn says_no_cache(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::CACHE_CONTROL).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|directive| directive.trim().eq_ignore_ascii_case("no-cache"))
}

/// What the caller prefers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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

    /// What to say of it in `Preference-Applied`, beside an answer of this status.
    fn applied(self, status: StatusCode) -> Option<HeaderValue> {
        let is_async = self.respond_async && status == StatusCode::ACCEPTED;
        let wait = self.wait.filter(|_| status.is_success()).map(|wait| wait.min(LONGEST_WAIT).as_secs());
        let said: Vec<String> = is_async
            .then(|| "respond-async".to_owned())
            .into_iter()
            .chain(wait.map(|seconds| format!("wait={seconds}")))
            .collect();
        HeaderValue::from_str(&said.join(", ")).ok().filter(|_| !said.is_empty())
    }

    /// Whether the caller does not wait at all.
    pub(crate) fn is_to_answer_at_once(self) -> bool {
        self.respond_async && self.wait.is_none()
    }
}

#[cfg(test)]
mod tests {
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
    fn what_was_heeded_is_said() {
        let both = preference("respond-async, wait=10");
        assert_eq!(both.applied(StatusCode::ACCEPTED).unwrap(), "respond-async, wait=10");
        assert_eq!(both.applied(StatusCode::OK).unwrap(), "wait=10", "the answer did not come later");
        assert_eq!(both.applied(StatusCode::CONFLICT), None);
        let applied = preference("wait=3600").applied(StatusCode::OK).unwrap();
        assert_eq!(applied, "wait=24", "nobody waits longer than a call can last");
        assert_eq!(preference("handling=lenient").applied(StatusCode::OK), None);
    }

    #[test]
    fn no_cache_is_one_directive_among_others() {
        assert!(says_no_cache(&with("cache-control", "max-age=0, No-Cache")));
        assert!(!says_no_cache(&with("cache-control", "max-age=0, no-cachet")));
        assert!(!says_no_cache(&HeaderMap::new()));
    }
}
