//! `GET /workflow/runs` and `GET /workflow/runs/{id}`: what became of runs.

use std::sync::Arc;

use axum::{
    Json,
    extract::{RawQuery, State},
    response::{IntoResponse, Response},
};
use ihelper_workflow::{
    domain::{
        Kind, Run, RunId, Status, WorkflowType,
        run::{Footprint, Origin, StepKind, StepRecord, StepState, Summary, Usage},
    },
    ports::{Action, RunFilter, What},
};
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    Api, Principal, Problem,
    answer::fit,
    body::{parameters, shortened},
    control::{Id, find},
};

// A page of runs unless the caller says less.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 100;

/// Lists runs, newest first: `type`, `status`, `since` (RFC 3339), `limit` (1 to 100) and the `cursor` of the
/// page before. Who may list everybody's sees all, others their own.
#[utoipa::path(
    get,
    path = "/workflow/runs",
    tag = "runs",
    operation_id = "list_runs",
    params(
        ("type" = Option<WorkflowType>, Query, description = "Only of this workflow."),
        ("status" = Option<Status>, Query, description = "Only in this status."),
        ("since" = Option<Timestamp>, Query, description = "Only made at this moment or later."),
        ("limit" = Option<u8>, Query, minimum = 1, maximum = 100, description = "How many at most; 50 unless given."),
        ("cursor" = Option<RunId>, Query, description = "The `cursor` of the page before."),
    ),
    security(("bearer" = [])),
    responses((status = 200, description = "A page of runs.", body = Runs)),
)]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    principal: Principal,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut filter = read_filter(query.as_deref())?;
    let workflows = filter.workflow.map_or(WorkflowType::ALL.to_vec(), |workflow| vec![workflow]);
    let may = |action, workflow: &WorkflowType| principal.may(&api, action, What::Workflow(*workflow));
    if !workflows.iter().all(|workflow| may(Action::ListEveryonesRuns, workflow)) {
        if !workflows.iter().all(|workflow| may(Action::ListRuns, workflow)) {
            return Err(Problem::Forbidden("the caller may not list these runs"));
        }
        filter.caller = Some(principal.caller());
    }
    let page = api.journal.list(&filter).await?;
    Ok(Json(Runs { runs: page.runs, cursor: page.next }).into_response())
}

/// Shows one run with its steps, and the callbacks that wait for an answer.
#[utoipa::path(
    get,
    path = "/workflow/runs/{id}",
    tag = "runs",
    operation_id = "show_run",
    params(("id" = RunId, Path, description = "The run.")),
    security(("bearer" = [])),
    responses((status = 200, description = "The run.", body = Shown)),
)]
pub(crate) async fn show(State(api): State<Arc<Api>>, principal: Principal, id: Id) -> Result<Response, Problem> {
    let (run, steps) = find(&api, &principal, &id, Action::ViewRun).await?;
    fit(&api, &principal.caller(), run.id, &describe(&run, &steps), &["result", "steps"]).await
}

/// A page of runs, newest first.
#[derive(Serialize, ToSchema)]
struct Runs {
    runs: Vec<Summary>,
    /// What the next page is asked for with; the last page has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<RunId>,
}

/// One run with what was done.
#[derive(Serialize, ToSchema)]
#[schema(as = Run)]
struct Shown<'a> {
    /// Its id.
    run_id: RunId,
    /// Its workflow.
    r#type: WorkflowType,
    /// Where it stands.
    status: Status,
    /// The id inside its data: the email's, the document's or the task's.
    data_id: &'a str,
    /// The version of the definition that it is pinned to.
    definition_version: u32,
    /// How often it was tried.
    attempts: u32,
    /// Where it came from.
    origin: &'a Origin,
    /// Which run it repeats.
    lineage: Option<Repeated<'a>>,
    /// When it was made.
    created_at: Timestamp,
    /// When its record last changed.
    updated_at: Timestamp,
    /// When it ended.
    finished_at: Option<Timestamp>,
    /// When it is worked on again, at the latest.
    due_at: Option<Timestamp>,
    /// How long it took.
    duration_ms: Option<u64>,
    /// What came of it.
    #[schema(value_type = Value, required = false)]
    result: Option<&'a Value>,
    /// The last error, kept through retries.
    error: Option<Error<'a>>,
    /// What the assistant was asked.
    usage: Usage,
    /// What its attempts took of the functions.
    footprint: Footprint,
    /// What was done, in order. Too many for an answer are at `steps_url`.
    #[schema(required = false)]
    steps: Vec<Step<'a>>,
    /// The callbacks that wait for an answer.
    callbacks: Vec<Callback<'a>>,
    /// Where the result can be had, by a GET without a token, when it is too large for the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_url: Option<String>,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_expires_at: Option<Timestamp>,
    /// Where the steps can be had, by a GET without a token, when they are too many for the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    steps_url: Option<String>,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    steps_expires_at: Option<Timestamp>,
}

/// Which run another one repeats.
#[derive(Serialize, ToSchema)]
struct Repeated<'a> {
    /// That run.
    retry_of: RunId,
    /// The step from which on it does.
    from_step: Option<&'a str>,
}

/// What went wrong in a run.
#[derive(Serialize, ToSchema)]
#[schema(as = RunError)]
struct Error<'a> {
    /// What kind of error.
    kind: Kind,
    /// What happened.
    message: &'a str,
    /// In which step.
    step: Option<&'a str>,
    /// What a model said instead of what it was asked for.
    model_text: Option<&'a str>,
}

/// A step, an effect or a wait.
#[derive(Serialize, ToSchema)]
struct Step<'a> {
    /// Its place in the order.
    position: &'a str,
    /// Its name.
    name: &'a str,
    /// What kind of thing it is.
    kind: StepKind,
    /// Where it stands.
    state: StepState,
    /// When it began.
    started_at: Timestamp,
    /// How long it took.
    duration_ms: u64,
    /// What the assistant was asked in it.
    usage: Usage,
}

/// A callback that waits for an answer.
#[derive(Serialize, ToSchema)]
struct Callback<'a> {
    /// Its name, as its address has it.
    name: &'a str,
    /// Until when it can be answered.
    until: Timestamp,
}

fn describe<'a>(run: &'a Run, steps: &'a [StepRecord]) -> Shown<'a> {
    let duration_ms = run.finished_at.map(|end| end.duration_since(run.created_at).as_millis());
    Shown {
        run_id: run.id,
        r#type: run.workflow,
        status: run.status,
        data_id: &run.data_id,
        definition_version: run.definition_version,
        attempts: run.failed_attempts + u32::from(run.status == Status::Succeeded),
        origin: &run.origin,
        lineage: run
            .lineage
            .as_ref()
            .map(|lineage| Repeated { retry_of: lineage.retry_of, from_step: lineage.from_step.as_deref() }),
        created_at: to_the_millisecond(run.created_at),
        updated_at: to_the_millisecond(run.updated_at),
        finished_at: run.finished_at.map(to_the_millisecond),
        due_at: run.due_at.map(to_the_millisecond),
        duration_ms: duration_ms.and_then(|milliseconds| u64::try_from(milliseconds).ok()),
        result: run.result.as_ref(),
        error: run.error.as_ref().map(|error| Error {
            kind: error.kind,
            message: &error.message,
            step: error.step.as_deref(),
            model_text: error.in_vain.as_ref().and_then(|in_vain| in_vain.text.as_deref()),
        }),
        usage: run.usage,
        footprint: run.footprint,
        steps: steps.iter().map(Step::of).collect(),
        callbacks: waiting_callbacks(run, steps),
        result_url: None,
        result_expires_at: None,
        steps_url: None,
        steps_expires_at: None,
    }
}

impl<'a> Step<'a> {
    fn of(step: &'a StepRecord) -> Self {
        Self {
            position: &step.position,
            name: &step.name,
            kind: step.kind,
            state: step.state,
            started_at: to_the_millisecond(step.started_at),
            duration_ms: step.duration_ms,
            usage: step.usage,
        }
    }
}

/// The callbacks that wait for an answer. Their tokens are told to those who are to answer, and to nobody else.
fn waiting_callbacks<'a>(run: &Run, steps: &'a [StepRecord]) -> Vec<Callback<'a>> {
    /// What a wait has in the journal; only a callback has a token.
    #[derive(Deserialize)]
    struct Wait {
        until: Timestamp,
        #[serde(rename = "token")]
        _token: IgnoredAny,
    }
    let waiting = |step: &&'a StepRecord| {
        step.kind == StepKind::Wait && step.state == StepState::Waiting && !run.status.is_final()
    };
    let shown = |step: &'a StepRecord| {
        let wait = Wait::deserialize(&step.output).ok()?;
        Some(Callback { name: &step.name, until: to_the_millisecond(wait.until) })
    };
    steps.iter().filter(waiting).filter_map(shown).collect()
}

fn to_the_millisecond(at: Timestamp) -> Timestamp {
    at.round(TimestampRound::new().smallest(Unit::Millisecond).mode(RoundMode::Trunc)).unwrap_or(at)
}

fn read_filter(query: Option<&str>) -> Result<RunFilter, Problem> {
    let mut filter = RunFilter { limit: PAGE, ..RunFilter::default() };
    let wrong = |name: &str, problem: String| Problem::Malformed(format!("parameter `{name}`: {problem}"));
    for (name, value) in parameters(query)? {
        match name.as_str() {
            "type" => filter.workflow = Some(value.parse().map_err(|error| wrong("type", format!("{error}")))?),
            "status" => filter.status = Some(value.parse().map_err(|error| wrong("status", format!("{error}")))?),
            "since" => {
                let time = value.parse().map_err(|_| wrong("since", "is not a time of RFC 3339".to_owned()))?;
                filter.since = Some(time);
            }
            "cursor" => filter.before = Some(value.parse().map_err(|error| wrong("cursor", format!("{error}")))?),
            "limit" => {
                filter.limit = value
                    .parse()
                    .ok()
                    .filter(|limit| (1..=LARGEST_PAGE).contains(limit))
                    .ok_or_else(|| wrong("limit", format!("is not a number from 1 to {LARGEST_PAGE}")))?;
            }
            _ => return Err(wrong(&shortened(&name), "is not known".to_owned())),
        }
    }
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_is_not_understood_is_refused_with_the_parameters_name() {
        for (query, expected) in [
            ("type=mail", "`type`"),
            ("status=lost", "`status`"),
            ("since=yesterday", "`since`"),
            ("cursor=7", "`cursor`"),
            ("limit=0", "`limit`"),
            ("limit=101", "`limit`"),
            ("color=red", "`color`"),
        ] {
            match read_filter(Some(query)) {
                Err(Problem::Malformed(detail)) => assert!(detail.contains(expected), "{query}: {detail}"),
                other => panic!("{query}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_filter_is_read_from_its_parameters() {
        let filter =
            read_filter(Some("type=document_review&status=failed&since=2026-01-02T03%3A04%3A05Z&limit=7")).unwrap();
        assert_eq!(filter.limit, 7);
        assert_eq!(filter.status, Some(Status::Failed));
        assert_eq!(filter.since.unwrap().as_second(), 1_767_323_045);
    }
}
