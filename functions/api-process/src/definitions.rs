//! `/workflow/definitions/{type}`: what workflows go by, version after version.
//!
//! Everybody with a token reads; operators change. Each answer about what is current has an `ETag`, and each change names
//! in `If-Match` what it was made from, so that nobody takes back unseen what another has just done.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, RawQuery, State, rejection::PathRejection},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use ihelper_workflow::{
    domain::{
        WorkflowType,
        definition::Definition,
        version::{Change, Pointer, Terms, Version},
    },
    versions::{Changed, Expected, Refusal, Standing, as_text},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Api, Principal, Problem,
    body::{self, Body, is_json, media_type, pairs, shortened},
};

/// The largest text of a definition, in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 256 * 1024;

const YAML: &str = "application/yaml";
const ACCEPTED: &str = "application/yaml or application/json";

// A page of versions unless the caller says less.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 100;

// A reason is a sentence or two.
const LONGEST_REASON: usize = 1000;

/// The type in a path, as it came: it may not even be text.
pub(crate) type Name = Result<Path<String>, PathRejection>;

/// `GET /workflow/definitions/{type}`: the current definition, or with `?version=n` that one.
pub(crate) async fn show(
    State(api): State<Arc<Api>>,
    _principal: Principal,
    name: Name,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let workflow = workflow_of(&name)?;
    let query = Query::read(query.as_deref(), &["version"])?;
    match query.number("version")? {
        Some(number) => {
            let found = api.versions.version(workflow, number).await?;
            let version = found.ok_or_else(|| no_such_version(number))?;
            Ok(tagged(&format!("v{number}"), described(&version)))
        }
        None => {
            let standing = api.versions.standing(workflow).await?;
            let mut shown = described(&standing.current);
            shown["canary"] = canary_of(&standing);
            Ok(tagged(&mark(standing.revision()), shown))
        }
    }
}

/// `PUT /workflow/definitions/{type}`: makes a definition the current one, or with `?canary=10` gives it a tenth of the
/// new runs. With `minimum_runs` and `margin` (percent points) go the terms of that trial. It is played on its golden
/// cases first; what does not hold changes nothing.
pub(crate) async fn put(
    State(api): State<Arc<Api>>,
    principal: Principal,
    name: Name,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (workflow, expected) = changed_by(&principal, &name, &headers)?;
    let query = Query::read(query.as_deref(), &["canary", "minimum_runs", "margin", "reason"])?;
    let change = change(&api, &principal, &headers, query.text("reason"))?;
    let text = body::bytes(body, MAX_BODY_BYTES, None)?;
    let is_yaml = media_type(&headers).is_some_and(|declared| {
        is_json(&declared) || declared == YAML || declared == "application/x-yaml" || declared.ends_with("+yaml")
    });
    if !is_yaml {
        return Err(Problem::UnsupportedMediaType(ACCEPTED));
    }
    let text = std::str::from_utf8(&text).map_err(|_| Problem::Malformed("the body is not UTF-8".to_owned()))?;
    let definition = Definition::read(text)?;
    let trial = query.terms()?;
    let changed = api.versions.update_workflow(workflow, definition, expected, trial, &change).await;
    answer(&api, workflow, changed).await
}

/// `GET /workflow/definitions/{type}/versions`: the versions, newest first, and the moves of what is current; `limit`
/// (1 to 100) and `before`, a version, page through them.
pub(crate) async fn versions(
    State(api): State<Arc<Api>>,
    _principal: Principal,
    name: Name,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let workflow = workflow_of(&name)?;
    let query = Query::read(query.as_deref(), &["limit", "before"])?;
    let limit = query.number("limit")?.map_or(PAGE, |limit| limit as usize);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Problem::invalid("limit", format!("is not from 1 to {LARGEST_PAGE}")));
    }
    let history = api.versions.history(workflow, query.number("before")?, limit).await?;
    let versions: Vec<Value> = history.versions.iter().map(summary).collect();
    let mut shown = json!({ "type": workflow, "versions": versions, "moves": history.moves });
    if let Some(next) = history.next {
        shown["before"] = json!(next);
    }
    Ok(Json(shown).into_response())
}

/// `GET /workflow/definitions/{type}/diff?from=&to=`: what differs between two versions; as text for who accepts that.
pub(crate) async fn diff(
    State(api): State<Arc<Api>>,
    _principal: Principal,
    name: Name,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let workflow = workflow_of(&name)?;
    let query = Query::read(query.as_deref(), &["from", "to"])?;
    let number = |name: &str| query.number(name)?.ok_or_else(|| Problem::invalid(name, "is missing"));
    let (from, to) = (number("from")?, number("to")?);
    let found = api.versions.differences(workflow, from, to).await?;
    let differences =
        found.ok_or_else(|| Problem::NotFound(format!("there is no version {from}, or no version {to}")))?;
    let wants_text = headers
        .get(header::ACCEPT)
        .and_then(|accepted| accepted.to_str().ok())
        .is_some_and(|accepted| accepted.trim_start().starts_with("text/plain"));
    if wants_text {
        let kind = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        return Ok((kind, as_text(&differences)).into_response());
    }
    Ok(Json(json!({ "type": workflow, "from": from, "to": to, "differences": differences })).into_response())
}

#[derive(Deserialize)]
struct Rollback {
    version: u32,
    reason: Option<String>,
}

/// `POST /workflow/definitions/{type}/rollback` `{"version", "reason"?}`: makes an older version current again.
pub(crate) async fn rollback(
    State(api): State<Arc<Api>>,
    principal: Principal,
    name: Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (workflow, expected) = changed_by(&principal, &name, &headers)?;
    let body = body::bytes(body, MAX_BODY_BYTES, None)?;
    let wanted: Rollback = body::typed(body::object(&headers, &body)?, &["version", "reason"])?;
    let change = change(&api, &principal, &headers, wanted.reason.as_deref())?;
    let changed = api.versions.rollback(workflow, wanted.version, expected, &change).await;
    answer(&api, workflow, changed).await
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Start,
    Promote,
    Abort,
}

#[derive(Deserialize)]
struct Trial {
    action: Verdict,
    version: Option<u32>,
    percent: Option<u32>,
    minimum_runs: Option<u32>,
    margin: Option<u32>,
    reason: Option<String>,
}

/// `POST /workflow/definitions/{type}/canary` `{"action": "promote"}` or `"abort"` ends the trial that is under way;
/// `{"action": "start", "version", "percent", "minimum_runs"?, "margin"?}` begins one of a version that is there.
pub(crate) async fn canary(
    State(api): State<Arc<Api>>,
    principal: Principal,
    name: Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (workflow, expected) = changed_by(&principal, &name, &headers)?;
    let body = body::bytes(body, MAX_BODY_BYTES, None)?;
    let known = ["action", "version", "percent", "minimum_runs", "margin", "reason"];
    let wanted: Trial = body::typed(body::object(&headers, &body)?, &known)?;
    let change = change(&api, &principal, &headers, wanted.reason.as_deref())?;
    let changed = match wanted.action {
        Verdict::Promote => api.versions.promote(workflow, expected, &change).await,
        Verdict::Abort => api.versions.abort(workflow, expected, &change).await,
        Verdict::Start => {
            let version = wanted.version.ok_or_else(|| Problem::invalid("version", "is missing"))?;
            let percent = wanted.percent.ok_or_else(|| Problem::invalid("percent", "is missing"))?;
            let terms = terms(percent, wanted.minimum_runs, wanted.margin);
            api.versions.start_canary(workflow, version, terms, expected, &change).await
        }
    };
    answer(&api, workflow, changed).await
}

fn terms(percent: u32, minimum_runs: Option<u32>, margin: Option<u32>) -> Terms {
    let usual = Terms::of_share(percent);
    Terms {
        percent,
        minimum_runs: minimum_runs.unwrap_or(usual.minimum_runs),
        margin_percent: margin.unwrap_or(usual.margin_percent),
    }
}

/// Who may change what, and from where.
fn changed_by(principal: &Principal, name: &Name, headers: &HeaderMap) -> Result<(WorkflowType, Expected), Problem> {
    if !principal.is_operator() {
        return Err(Problem::Forbidden("only operators change definitions"));
    }
    let workflow = workflow_of(name)?;
    let expected = headers.get(header::IF_MATCH).ok_or(Problem::PreconditionRequired)?;
    let expected = expected.to_str().unwrap_or_default().trim();
    if expected == "*" {
        return Ok((workflow, Expected::Any));
    }
    // Whatever is no mark of ours matches nothing.
    let revision = expected.strip_prefix("\"r").and_then(|rest| rest.strip_suffix('"')).and_then(|n| n.parse().ok());
    revision.map(|revision| (workflow, Expected::Revision(revision))).ok_or(Problem::PreconditionFailed)
}

/// Who, when and why. The reason is in the body or the query, or in the header `X-Reason`.
fn change(api: &Api, principal: &Principal, headers: &HeaderMap, reason: Option<&str>) -> Result<Change, Problem> {
    let in_header = headers.get("x-reason").map(|reason| String::from_utf8_lossy(reason.as_bytes()).into_owned());
    let reason = reason.map(str::to_owned).or(in_header).unwrap_or_default();
    if reason.len() > LONGEST_REASON {
        return Err(Problem::invalid("reason", format!("has more than {LONGEST_REASON} bytes")));
    }
    Ok(Change { by: principal.caller(), at: api.clock.now(), reason })
}

async fn answer(api: &Api, workflow: WorkflowType, changed: Result<Changed, Refusal>) -> Result<Response, Problem> {
    match changed {
        Ok(Changed::Moved(pointer)) => Ok(tagged(&mark(pointer.revision), moved(workflow, &pointer))),
        Ok(Changed::Unchanged) => {
            let standing = api.versions.standing(workflow).await?;
            let shown = json!({ "status": "unchanged", "type": workflow, "version": standing.current.number() });
            Ok(tagged(&mark(standing.revision()), shown))
        }
        Err(Refusal::Stale) => Err(Problem::PreconditionFailed),
        Err(Refusal::Invalid { violations, .. }) => Err(Problem::Invalid(violations)),
        Err(Refusal::NoSuchVersion(number)) => Err(no_such_version(number)),
        Err(Refusal::Conflict(because)) => Err(Problem::OnTrial(because)),
        Err(Refusal::Failed(failure)) => Err(failure.into()),
    }
}

fn moved(workflow: WorkflowType, pointer: &Pointer) -> Value {
    json!({
        "status": "changed",
        "type": workflow,
        "version": pointer.current,
        "canary": pointer.canary,
        "action": pointer.action,
        "by": pointer.by,
        "at": pointer.at,
        "reason": pointer.reason,
    })
}

fn no_such_version(number: u32) -> Problem {
    Problem::NotFound(format!("there is no version {number} that runs ever got"))
}

fn workflow_of(name: &Name) -> Result<WorkflowType, Problem> {
    let name = name.as_ref().ok().and_then(|Path(name)| name.parse().ok());
    name.ok_or_else(|| Problem::NotFound("there is no such workflow".to_owned()))
}

fn mark(revision: u32) -> String {
    format!("r{revision}")
}

/// A body under an `ETag`.
fn tagged(mark: &str, body: Value) -> Response {
    let mut response = (StatusCode::OK, Json(body)).into_response();
    if let Ok(mark) = HeaderValue::from_str(&format!("\"{mark}\"")) {
        response.headers_mut().insert(header::ETAG, mark);
    }
    response
}

fn described(version: &Version) -> Value {
    let mut shown = summary(version);
    shown["definition"] = json!(version.definition);
    shown
}

fn summary(version: &Version) -> Value {
    let mut shown = json!({
        "type": version.workflow(),
        "version": version.number(),
        "state": version.state,
        "author": version.author,
        "made_at": version.made_at,
        "reason": version.reason,
    });
    if !version.problems.is_empty() {
        shown["errors"] = json!(version.problems);
    }
    shown
}

fn canary_of(standing: &Standing) -> Value {
    let canary = standing.pointer.as_ref().and_then(|pointer| pointer.canary.as_ref());
    let Some(canary) = canary else { return Value::Null };
    let mut shown = json!(canary);
    shown["runs"] = json!(standing.tally);
    shown
}

/// The parameters of a query, each once and none that is not known.
struct Query(Vec<(String, String)>);

impl Query {
    fn read(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut read: Vec<(String, String)> = Vec::new();
        for (name, value) in pairs(query.unwrap_or_default().as_bytes()) {
            if !known.contains(&name.as_str()) {
                let problem = format!("is not known; there are `{}`", known.join("`, `"));
                return Err(Problem::invalid(shortened(&name), problem));
            }
            if read.iter().any(|(other, _)| *other == name) {
                return Err(Problem::invalid(name, "is there twice"));
            }
            read.push((name, value));
        }
        Ok(Self(read))
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> Result<Option<u32>, Problem> {
        let number = self.text(name).map(str::parse).transpose();
        number.map_err(|_| Problem::invalid(name, "is not a number"))
    }

    fn terms(&self) -> Result<Option<Terms>, Problem> {
        let (minimum_runs, margin) = (self.number("minimum_runs")?, self.number("margin")?);
        match self.number("canary")? {
            Some(percent) => Ok(Some(terms(percent, minimum_runs, margin))),
            None if minimum_runs.is_some() || margin.is_some() => {
                Err(Problem::invalid("canary", "is missing beside the terms of a trial"))
            }
            None => Ok(None),
        }
    }
}
