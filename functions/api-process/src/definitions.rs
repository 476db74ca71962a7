//! `/workflow/definitions/{type}`: what workflows go by, version after version.
//!
//! Operators read and change it. Each answer about what is current has an `ETag`, and each change names
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
        input::Violation,
        version::{self, Canary, Change, Pointer, Tally, Terms, Version, VersionState},
    },
    ports::{Action, What},
    versions::{Changed, Difference, Expected, Refusal, Standing, as_text},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Api, Principal, Problem,
    body::{self, Body, is_json, media_type, parameters, shortened},
};

/// The largest text of a definition, in bytes.
pub(crate) const MAX_BODY_BYTES: usize = 256 * 1024;

const YAML: &str = "application/yaml";
pub(crate) const ACCEPTED: &str = "application/yaml or application/json";

// A page of versions unless the caller says less.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 100;

// A reason is a sentence or two.
const LONGEST_REASON: usize = 1000;

/// The type in a path, as it came: it may not even be text.
pub(crate) type Name = Result<Path<String>, PathRejection>;

/// `GET /workflow/definitions/{type}`: the current definition, or with `?version=n` that one.
#[utoipa::path(
    get,
    path = "/workflow/definitions/{type}",
    tag = "definitions",
    operation_id = "show_definition",
    params(
        ("type" = WorkflowType, Path, description = "The workflow."),
        ("version" = Option<u32>, Query, description = "That version; the current one unless given."),
    ),
    security(("bearer" = [])),
    responses((status = 200, description = "The definition.", body = ShownDefinition, headers(("ETag" = String, description = "What a change names in `If-Match`.")))),
)]
pub(crate) async fn show(
    State(api): State<Arc<Api>>,
    principal: Principal,
    name: Name,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let workflow = read_by(&api, &principal, Action::ViewDefinition, &name)?;
    let query = Query::read(query.as_deref(), &["version"])?;
    match query.number("version")? {
        Some(number) => {
            let found = api.versions.version(workflow, number).await?;
            let version = found.ok_or_else(|| no_such_version(number))?;
            Ok(tagged(&format!("v{number}"), ShownDefinition::of(&version, None)))
        }
        None => {
            let standing = api.versions.standing(workflow).await?;
            let shown = ShownDefinition::of(&standing.current, OnTrial::of(&standing));
            Ok(tagged(&mark(standing.revision()), shown))
        }
    }
}

/// `PUT /workflow/definitions/{type}`: makes a definition the current one, or with `?canary=10` gives it a tenth of the
/// new runs. With `minimum_runs` and `margin` (percent points) go the terms of that trial. It is played on its golden
/// cases first; what does not hold changes nothing.
#[utoipa::path(
    put,
    path = "/workflow/definitions/{type}",
    tag = "definitions",
    operation_id = "update_workflow",
    params(
        ("type" = WorkflowType, Path, description = "The workflow."),
        ("canary" = Option<u32>, Query, minimum = 1, maximum = 99, description = "The share of new runs that get it, in percent, as a trial."),
        ("minimum_runs" = Option<u32>, Query, minimum = 1, maximum = 100_000, description = "After how many of its runs the trial is decided; 20 unless given."),
        ("margin" = Option<u32>, Query, minimum = 0, maximum = 100, description = "How many percent points more of its runs may fail; 5 unless given."),
        ("reason" = Option<String>, Query, max_length = 1000, description = "Why."),
        ("If-Match" = String, Header, description = "The `ETag` of what the change was made from, or `*`."),
        ("X-Reason" = Option<String>, Header, description = "Why, where it stands nowhere else.", max_length = 1000),
    ),
    request_body(content((serde_json::Value = "application/json"), (String = "application/yaml"))),
    security(("bearer" = [])),
    responses((status = 200, description = "It is current, or on trial, or there was nothing to change.", body = ChangedDefinition, headers(("ETag" = String, description = "What a change names in `If-Match`.")))),
)]
pub(crate) async fn put(
    State(api): State<Arc<Api>>,
    principal: Principal,
    name: Name,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (workflow, expected) = changed_by(&api, &principal, Action::PutDefinition, &name, &headers)?;
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
#[utoipa::path(
    get,
    path = "/workflow/definitions/{type}/versions",
    tag = "definitions",
    operation_id = "list_versions",
    params(
        ("type" = WorkflowType, Path, description = "The workflow."),
        ("limit" = Option<u8>, Query, minimum = 1, maximum = 100, description = "How many at most; 50 unless given."),
        ("before" = Option<u32>, Query, description = "Only versions before this one."),
    ),
    security(("bearer" = [])),
    responses((status = 200, description = "The versions, newest first, and the moves of what is current.", body = History)),
)]
pub(crate) async fn versions(
    State(api): State<Arc<Api>>,
    principal: Principal,
    name: Name,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let workflow = read_by(&api, &principal, Action::ListDefinitionVersions, &name)?;
    let query = Query::read(query.as_deref(), &["limit", "before"])?;
    let limit = query.number("limit")?.map_or(PAGE, |limit| limit as usize);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Problem::invalid("limit", format!("is not from 1 to {LARGEST_PAGE}")));
    }
    let history = api.versions.history(workflow, query.number("before")?, limit).await?;
    let versions = history.versions.iter().map(ShownVersion::of).collect();
    Ok(Json(History { workflow, versions, moves: &history.moves, before: history.next }).into_response())
}

/// `GET /workflow/definitions/{type}/diff?from=&to=`: what differs between two versions; as text for who accepts that.
#[utoipa::path(
    get,
    path = "/workflow/definitions/{type}/diff",
    tag = "definitions",
    operation_id = "compare_versions",
    params(
        ("type" = WorkflowType, Path, description = "The workflow."),
        ("from" = u32, Query, description = "The one version."),
        ("to" = u32, Query, description = "The other one."),
    ),
    security(("bearer" = [])),
    responses((status = 200, description = "What differs; as text for who accepts `text/plain`.", content((Differences = "application/json"), (String = "text/plain")))),
)]
pub(crate) async fn diff(
    State(api): State<Arc<Api>>,
    principal: Principal,
    name: Name,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let workflow = read_by(&api, &principal, Action::DiffDefinition, &name)?;
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
    Ok(Json(Differences { workflow, from, to, differences }).into_response())
}

/// Which version is to be current again.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rollback {
    /// The version.
    version: u32,
    /// Why.
    #[schema(max_length = 1000)]
    reason: Option<String>,
}

/// `POST /workflow/definitions/{type}/rollback` `{"version", "reason"?}`: makes an older version current again.
#[utoipa::path(
    post,
    path = "/workflow/definitions/{type}/rollback",
    tag = "definitions",
    operation_id = "roll_back_definition",
    params(
        ("type" = WorkflowType, Path, description = "The workflow."),
        ("If-Match" = String, Header, description = "The `ETag` of what the change was made from, or `*`."),
        ("X-Reason" = Option<String>, Header, description = "Why, where it stands nowhere else.", max_length = 1000),
    ),
    request_body(content = Rollback, example = json!({ "version": 1, "reason": "too many answers were wrong" })),
    security(("bearer" = [])),
    responses((status = 200, description = "It is current again, or was.", body = ChangedDefinition, headers(("ETag" = String, description = "What a change names in `If-Match`.")))),
)]
pub(crate) async fn rollback(
    State(api): State<Arc<Api>>,
    principal: Principal,
    name: Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (workflow, expected) = changed_by(&api, &principal, Action::RollBackDefinition, &name, &headers)?;
    let body = body::bytes(body, MAX_BODY_BYTES, None)?;
    let wanted: Rollback = body::typed(body::object(&headers, &body)?, &["version", "reason"])?;
    let change = change(&api, &principal, &headers, wanted.reason.as_deref())?;
    let changed = api.versions.rollback(workflow, wanted.version, expected, &change).await;
    answer(&api, workflow, changed).await
}

/// What is to become of a trial.
#[derive(Deserialize, ToSchema)]
#[schema(as = TrialAction)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// It begins.
    Start,
    /// Its version becomes current.
    Promote,
    /// Its version gets no new runs any more.
    Abort,
}

/// A trial that begins or ends.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Trial {
    /// What is to become of it.
    action: Verdict,
    /// Of `start`: the version, which is needed.
    version: Option<u32>,
    /// Of `start`: its share of the new runs, which is needed.
    #[schema(minimum = 1, maximum = 99)]
    percent: Option<u32>,
    /// Of `start`: after how many of its runs it is decided; 20 unless given.
    #[schema(minimum = 1, maximum = 100_000)]
    minimum_runs: Option<u32>,
    /// Of `start`: how many percent points more of its runs may fail; 5 unless given.
    #[schema(minimum = 0, maximum = 100)]
    margin: Option<u32>,
    /// Why.
    #[schema(max_length = 1000)]
    reason: Option<String>,
}

/// `POST /workflow/definitions/{type}/canary` `{"action": "promote"}` or `"abort"` ends the trial that is under way;
/// `{"action": "start", "version", "percent", "minimum_runs"?, "margin"?}` begins one of a version that is there.
#[utoipa::path(
    post,
    path = "/workflow/definitions/{type}/canary",
    tag = "definitions",
    operation_id = "decide_trial",
    params(
        ("type" = WorkflowType, Path, description = "The workflow."),
        ("If-Match" = String, Header, description = "The `ETag` of what the change was made from, or `*`."),
        ("X-Reason" = Option<String>, Header, description = "Why, where it stands nowhere else.", max_length = 1000),
    ),
    request_body(content = Trial, example = json!({ "action": "promote" })),
    security(("bearer" = [])),
    responses((status = 200, description = "The trial began or ended.", body = ChangedDefinition, headers(("ETag" = String, description = "What a change names in `If-Match`.")))),
)]
pub(crate) async fn canary(
    State(api): State<Arc<Api>>,
    principal: Principal,
    name: Name,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let (workflow, expected) = changed_by(&api, &principal, Action::CanaryDefinition, &name, &headers)?;
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

/// Who may read what. A definition holds addresses of people.
fn read_by(api: &Api, principal: &Principal, action: Action, name: &Name) -> Result<WorkflowType, Problem> {
    let workflow = workflow_of(name)?;
    principal.must(api, action, What::Workflow(workflow), "only operators see definitions")?;
    Ok(workflow)
}

/// Who may change what, and from where.
fn changed_by(
    api: &Api,
    principal: &Principal,
    action: Action,
    name: &Name,
    headers: &HeaderMap,
) -> Result<(WorkflowType, Expected), Problem> {
    let workflow = workflow_of(name)?;
    principal.must(api, action, What::Workflow(workflow), "only operators change definitions")?;
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
        Ok(Changed::Moved(pointer)) => {
            Ok(tagged(&mark(pointer.revision), ChangedDefinition::moved(workflow, &pointer)))
        }
        Ok(Changed::Unchanged) => {
            let standing = api.versions.standing(workflow).await?;
            let shown = ChangedDefinition::unchanged(workflow, standing.current.number());
            Ok(tagged(&mark(standing.revision()), shown))
        }
        Err(Refusal::Stale) => Err(Problem::PreconditionFailed),
        Err(Refusal::Invalid { violations, .. }) => Err(Problem::Invalid(violations)),
        Err(Refusal::NoSuchVersion(number)) => Err(no_such_version(number)),
        Err(Refusal::Conflict(because)) => Err(Problem::OnTrial(because)),
        Err(Refusal::Failed(failure)) => Err(failure.into()),
    }
}

/// What became of a change.
#[derive(Serialize, ToSchema)]
struct ChangedDefinition<'a> {
    /// `changed`, or `unchanged` when there was nothing to change.
    #[schema(pattern = "^(un)?changed$")]
    status: &'static str,
    /// The workflow.
    #[serde(rename = "type")]
    workflow: WorkflowType,
    /// The version that is current now.
    version: u32,
    /// The version on trial.
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<&'a Canary>,
    /// What was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<version::Action>,
    /// By whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'a str>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
}

impl<'a> ChangedDefinition<'a> {
    const fn unchanged(workflow: WorkflowType, version: u32) -> Self {
        Self { status: "unchanged", workflow, version, canary: None, action: None, by: None, at: None, reason: None }
    }

    fn moved(workflow: WorkflowType, pointer: &'a Pointer) -> Self {
        Self {
            status: "changed",
            workflow,
            version: pointer.current,
            canary: pointer.canary.as_ref(),
            action: Some(pointer.action),
            by: Some(&pointer.by),
            at: Some(pointer.at),
            reason: Some(&pointer.reason),
        }
    }
}

/// A version, without what it says.
#[derive(Serialize, ToSchema)]
#[schema(as = DefinitionVersion)]
struct ShownVersion<'a> {
    /// The workflow.
    #[serde(rename = "type")]
    workflow: WorkflowType,
    /// Its number.
    version: u32,
    /// What became of it.
    state: VersionState,
    /// Who made it.
    author: &'a str,
    /// When.
    made_at: Timestamp,
    /// Why.
    reason: &'a str,
    /// What was wrong with it, when it was rejected.
    #[serde(skip_serializing_if = "<[Violation]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [Violation],
}

impl<'a> ShownVersion<'a> {
    fn of(version: &'a Version) -> Self {
        Self {
            workflow: version.workflow(),
            version: version.number(),
            state: version.state,
            author: &version.author,
            made_at: version.made_at,
            reason: &version.reason,
            errors: &version.problems,
        }
    }
}

/// A version with what it says.
#[derive(Serialize, ToSchema)]
#[schema(as = Definition)]
struct ShownDefinition<'a> {
    /// The workflow.
    #[serde(rename = "type")]
    workflow: WorkflowType,
    /// Its number.
    version: u32,
    /// What became of it.
    state: VersionState,
    /// Who made it.
    author: &'a str,
    /// When.
    made_at: Timestamp,
    /// Why.
    reason: &'a str,
    /// What was wrong with it, when it was rejected.
    #[serde(skip_serializing_if = "<[Violation]>::is_empty")]
    #[schema(required = false)]
    errors: &'a [Violation],
    /// What it says, as the files of definitions do.
    #[schema(value_type = Object)]
    definition: &'a Definition,
    /// The version on trial beside the current one.
    #[serde(skip_serializing_if = "Option::is_none")]
    canary: Option<OnTrial<'a>>,
}

impl<'a> ShownDefinition<'a> {
    fn of(version: &'a Version, canary: Option<OnTrial<'a>>) -> Self {
        let ShownVersion { workflow, version: number, state, author, made_at, reason, errors } =
            ShownVersion::of(version);
        let definition = &version.definition;
        Self { workflow, version: number, state, author, made_at, reason, errors, definition, canary }
    }
}

/// A version on trial, and how its runs ended so far.
#[derive(Serialize, ToSchema)]
struct OnTrial<'a> {
    /// The version.
    version: u32,
    /// Its share of the new runs, in percent.
    percent: u32,
    /// After how many of its runs it is decided.
    minimum_runs: u32,
    /// How many percent points more of its runs may fail.
    margin_percent: u32,
    /// The runs that are compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    runs: Option<&'a Tally>,
}

impl<'a> OnTrial<'a> {
    fn of(standing: &'a Standing) -> Option<Self> {
        let canary = standing.pointer.as_ref()?.canary.as_ref()?;
        let Canary { version, terms: Terms { percent, minimum_runs, margin_percent } } = *canary;
        Some(Self { version, percent, minimum_runs, margin_percent, runs: standing.tally.as_ref() })
    }
}

/// The versions of a workflow.
#[derive(Serialize, ToSchema)]
#[schema(as = DefinitionHistory)]
struct History<'a> {
    /// The workflow.
    #[serde(rename = "type")]
    workflow: WorkflowType,
    /// Its versions, newest first.
    versions: Vec<ShownVersion<'a>>,
    /// The moves of what is current, newest first.
    moves: &'a [Pointer],
    /// Below which version the history goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<u32>,
}

/// What differs between two versions.
#[derive(Serialize, ToSchema)]
#[schema(as = DefinitionDifferences)]
struct Differences {
    /// The workflow.
    #[serde(rename = "type")]
    workflow: WorkflowType,
    /// The one version.
    from: u32,
    /// The other one.
    to: u32,
    /// What differs, place by place.
    differences: Vec<Difference>,
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
fn tagged(mark: &str, body: impl Serialize) -> Response {
    let mut response = (StatusCode::OK, Json(body)).into_response();
    if let Ok(mark) = HeaderValue::from_str(&format!("\"{mark}\"")) {
        response.headers_mut().insert(header::ETAG, mark);
    }
    response
}

/// The parameters of a query, each once and none that is not known.
struct Query(Vec<(String, String)>);

impl Query {
    fn read(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let read = parameters(query)?;
        match read.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => {
                let problem = format!("is not known; there are `{}`", known.join("`, `"));
                Err(Problem::invalid(shortened(name), problem))
            }
            None => Ok(Self(read)),
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    fn number(&self, name: &str) -> Result<Option<u32>, Problem> {
        // As large as the contract tells: numbers of 32 bits have a sign there.
        let number = |text: &str| text.parse().ok().filter(|number| *number <= i32::MAX as u32);
        let wrong = || Problem::invalid(name, format!("is not a number from 0 to {}", i32::MAX));
        self.text(name).map(|text| number(text).ok_or_else(wrong)).transpose()
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
