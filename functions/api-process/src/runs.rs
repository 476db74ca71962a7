//! `GET /workflow/runs` and `GET /workflow/runs/{id}`: what became of runs.

use std::sync::Arc;

use axum::{
    Json,
    extract::{RawQuery, State},
    response::{IntoResponse, Response},
};
use ihelper_workflow::{
    domain::{
        Run, RunId, Status,
        run::{StepKind, StepRecord, StepState, Summary},
    },
    ports::RunFilter,
};
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Value, json};

use crate::{
    Api, Principal, Problem,
    answer::fit,
    body::{pairs, shortened},
    control::{Id, find},
};

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

/// Shows one run with its steps, and the callbacks that wait for an answer.
pub(crate) async fn show(State(api): State<Arc<Api>>, principal: Principal, id: Id) -> Result<Response, Problem> {
    let (run, steps) = find(&api, &principal, &id).await?;
    fit(&api, &principal.caller(), run.id, describe(&run, &steps), &["result", "steps"]).await
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
        "lineage": run.lineage.as_ref().map(|lineage| json!({
            "retry_of": lineage.retry_of, "from_step": lineage.from_step,
        })),
        "created_at": to_the_millisecond(run.created_at),
        "updated_at": to_the_millisecond(run.updated_at),
        "finished_at": run.finished_at.map(to_the_millisecond),
        "due_at": run.due_at.map(to_the_millisecond),
        "duration_ms": duration_ms.and_then(|milliseconds| u64::try_from(milliseconds).ok()),
        "result": run.result,
        "error": run.error.as_ref().map(|error| json!({
            "kind": error.kind, "message": error.message, "step": error.step,
            "model_text": error.in_vain.as_ref().and_then(|in_vain| in_vain.text.as_deref()),
        })),
        "usage": run.usage,
        "steps": steps.iter().map(|step| json!({
            "position": step.position,
            "name": step.name,
            "kind": step.kind,
            "state": step.state,
            "started_at": to_the_millisecond(step.started_at),
            "duration_ms": step.duration_ms,
            "usage": step.usage,
        })).collect::<Vec<_>>(),
        "callbacks": waiting_callbacks(run, steps),
    })
}

/// The callbacks that wait for an answer. Their tokens are told to those who are to answer, and to nobody else.
fn waiting_callbacks(run: &Run, steps: &[StepRecord]) -> Vec<Value> {
    /// What a wait has in the journal; only a callback has a token.
    #[derive(Deserialize)]
    struct Wait {
        until: Timestamp,
        #[serde(rename = "token")]
        _token: IgnoredAny,
    }
    let waiting =
        |step: &&StepRecord| step.kind == StepKind::Wait && step.state == StepState::Waiting && !run.status.is_final();
    let shown = |step: &StepRecord| {
        let wait = Wait::deserialize(&step.output).ok()?;
        Some(json!({ "name": step.name, "until": to_the_millisecond(wait.until) }))
    };
    steps.iter().filter(waiting).filter_map(shown).collect()
}

fn to_the_millisecond(at: Timestamp) -> Timestamp {
    at.round(TimestampRound::new().smallest(Unit::Millisecond).mode(RoundMode::Trunc)).unwrap_or(at)
}

fn read_filter(query: &str) -> Result<RunFilter, Problem> {
    let mut filter = RunFilter { limit: PAGE, ..RunFilter::default() };
    let wrong = |name: &str, problem: String| Problem::Malformed(format!("parameter `{name}`: {problem}"));
    for (name, value) in pairs(query.as_bytes()) {
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
