//! `GET /workflow/runs` and `GET /workflow/runs/{id}`: what became of runs.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, RawQuery, State},
    response::{IntoResponse, Response},
};
use ihelper_workflow::{
    domain::{
        Run, RunId, Status,
        run::{StepRecord, Summary},
    },
    ports::RunFilter,
};
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{Api, Principal, Problem};

// A page of runs unless the caller says less.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 100;

/// Lists runs, newest first: `type`, `status`, `since` (RFC 3339), `limit` (1 to 100) and the `cursor` of the
/// page before. Operators see all, others their own.
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    principal: Principal,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let mut filter = read_filter(query.as_deref().unwrap_or_default())?;
    if !principal.is_operator() {
        filter.caller = Some(principal.caller());
    }
    let page = api.journal.list(&filter).await?;
    Ok(Json(Runs { runs: page.runs, cursor: page.next }).into_response())
}

/// Shows one run with its steps.
pub(crate) async fn show(
    State(api): State<Arc<Api>>,
    principal: Principal,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    // An id that cannot be is an id that is not.
    let missing = || Problem::NotFound("the run does not exist".to_owned());
    let id: RunId = id.parse().map_err(|_| missing())?;
    let (run, steps) = api.journal.find(id).await?.ok_or_else(missing)?;
    if !principal.may_see(&run) {
        return Err(missing());
    }
    Ok(Json(describe(&run, &steps)).into_response())
}

#[derive(Serialize)]
struct Runs {
    runs: Vec<Summary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<RunId>,
}

fn describe(run: &Run, steps: &[StepRecord]) -> Value {
    let duration_ms = run.finished_at.map(|end| end.duration_since(run.created_at).as_millis());
    json!({
        "run_id": run.id,
        "type": run.workflow,
        "status": run.status,
        "data_id": run.data_id,
        "definition_version": run.definition_version,
        "attempts": run.failed_attempts + u32::from(run.status == Status::Succeeded),
        "origin": run.origin,
        "created_at": to_the_millisecond(run.created_at),
        "updated_at": to_the_millisecond(run.updated_at),
        "finished_at": run.finished_at.map(to_the_millisecond),
        "duration_ms": duration_ms.and_then(|milliseconds| u64::try_from(milliseconds).ok()),
        "result": run.result,
        "error": run.error.as_ref().map(|error| json!({
            "kind": error.kind, "message": error.message, "step": error.step,
        })),
        "usage": run.usage,
        "steps": steps.iter().map(|step| json!({
            "position": step.position,
            "name": step.name,
            "state": step.state,
            "started_at": to_the_millisecond(step.started_at),
            "duration_ms": step.duration_ms,
            "usage": step.usage,
        })).collect::<Vec<_>>(),
    })
}

fn to_the_millisecond(at: Timestamp) -> Timestamp {
    at.round(TimestampRound::new().smallest(Unit::Millisecond).mode(RoundMode::Trunc)).unwrap_or(at)
}

fn read_filter(query: &str) -> Result<RunFilter, Problem> {
    let mut filter = RunFilter { limit: PAGE, ..RunFilter::default() };
    let wrong = |name: &str, problem: String| Problem::Malformed(format!("parameter `{name}`: {problem}"));
    for (name, value) in form_pairs(query) {
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
            _ => return Err(wrong(&name.chars().take(64).collect::<String>(), "is not known".to_owned())),
        }
    }
    Ok(filter)
}

/// The pairs of a query, decoded. `form_urlencoded` never fails: what is not UTF-8 shows as `�`.
fn form_pairs(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
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
            match read_filter(query) {
                Err(Problem::Malformed(detail)) => assert!(detail.contains(expected), "{query}: {detail}"),
                other => panic!("{query}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_filter_is_read_from_its_parameters() {
        let filter = read_filter("type=document_review&status=failed&since=2026-01-02T03%3A04%3A05Z&limit=7").unwrap();
        assert_eq!(filter.limit, 7);
        assert_eq!(filter.status, Some(Status::Failed));
        assert_eq!(filter.since.unwrap().as_second(), 1_767_323_045);
    }
}
