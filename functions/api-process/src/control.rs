//! How people reach a run: cancel it, repeat it, say what came of an effect.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State, rejection::PathRejection},
    response::{IntoResponse as _, Response},
};
use http::HeaderMap;
use ihelper_workflow::{
    domain::{
        Run, RunId, input,
        run::{StepKind, StepRecord, StepState},
    },
    engine::{Cancelling, Retry, Retrying, Settling},
    ports::Receipt,
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Api, MAX_BODY_BYTES, Principal, Problem,
    answer::{accepted_with, location_of},
    body::{self, Body, fits_depth},
    process::refuse_stored_objects,
};

/// `POST /workflow/runs/{id}/cancel`: stops a run. No mail is begun any more; what is under way may still end.
pub(crate) async fn cancel(State(api): State<Arc<Api>>, principal: Principal, id: Id) -> Result<Response, Problem> {
    let (run, _) = find(&api, &principal, &id).await?;
    match api.control.cancel(run.id, &principal.caller()).await? {
        Cancelling::Cancelled(run) => Ok(Json(json!({ "status": run.status, "run_id": run.id })).into_response()),
        Cancelling::Ended(run) => Err(Problem::Ended(run.id, run.status)),
        Cancelling::Unknown => Err(Problem::no_such_run()),
    }
}

#[derive(Default, Deserialize)]
struct Repeat {
    from_step: Option<String>,
    data: Option<Value>,
    repeat_effects: Option<bool>,
}

// A refusal names so many steps of a run; its address shows them all.
const STEPS_NAMED: usize = 50;

/// `POST /workflow/runs/{id}/retry`: repeats a run that has ended, by another run that its consumer takes up.
///
/// Everything that was done stands. With `from_step`, only what came before that step does; with `data`, the run gets
/// another input and begins anew, or at that step. Effects that happened and would happen again must be allowed to,
/// by `repeat_effects`. The same asked for again is the same run.
pub(crate) async fn retry(
    State(api): State<Arc<Api>>,
    principal: Principal,
    id: Id,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let body = body::bytes(body, MAX_BODY_BYTES, None)?;
    let repeat: Repeat = if body.is_empty() {
        Repeat::default()
    } else {
        body::typed(body::object(&headers, &body)?, &["from_step", "data", "repeat_effects"])?
    };
    let (run, _) = find(&api, &principal, &id).await?;
    let input = repeat.data.map(|data| input::parse(run.workflow, data)).transpose()?;
    match &input {
        Some(input) => refuse_stored_objects(&principal, input)?,
        None => refuse_stored_objects_of(&principal, &run)?,
    }
    let retry = Retry { from_step: repeat.from_step, input, repeat_effects: repeat.repeat_effects.unwrap_or_default() };
    match api.control.retry(run.id, &retry).await? {
        Retrying::Begun(again) => {
            let body = json!({
                "status": again.status,
                "run_id": again.id,
                "location": location_of(again.id),
                "retry_of": run.id,
            });
            Ok(accepted_with(again.id, body))
        }
        Retrying::NotEnded(status) => Err(Problem::NotEnded(run.id, status)),
        Retrying::NoSuchStep(names) => Err(Problem::invalid("from_step", no_such_step(&names))),
        Retrying::WouldRepeat(effects) => Err(Problem::WouldRepeat(run.id, effects)),
        Retrying::OtherWorkflow => Err(Problem::invalid("data", "is for another workflow")),
        Retrying::Unknown => Err(Problem::no_such_run()),
    }
}

/// Who may start a run may repeat it, if they still may.
fn refuse_stored_objects_of(principal: &Principal, run: &Run) -> Result<(), Problem> {
    if principal.is_operator() {
        return Ok(());
    }
    match input::parse(run.workflow, run.input.clone()) {
        Ok(input) => refuse_stored_objects(principal, &input),
        // Input that other code accepted once: nobody can say what it refers to.
        Err(_) => Err(Problem::Forbidden("only operators repeat a run whose input is no longer valid")),
    }
}

fn no_such_step(names: &[String]) -> String {
    if names.is_empty() {
        return "the run has no steps".to_owned();
    }
    let more = if names.len() > STEPS_NAMED { " and more" } else { "" };
    let names = names[..names.len().min(STEPS_NAMED)].join("`, `");
    format!("the run has no such step; it has `{names}`{more}")
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum WhatCameOfIt {
    Happened,
    NotHappened,
}

#[derive(Deserialize)]
struct Settlement {
    step: String,
    outcome: WhatCameOfIt,
    value: Option<Value>,
}

// A value stands in the journal for what the effect would have returned.
const LONGEST_VALUE: usize = 64 * 1024;
const DEEPEST_VALUE: usize = 32;

/// `POST /workflow/runs/{id}/settle`, for operators: says of an effect, by its name or position, whether it happened.
/// A run that needed attention for nothing else goes on: what happened counts as done, and what did not is done again.
///
/// `value` is what the effect would have returned, and the run reads it as such; a value that it cannot read ends the
/// run. The effects that can be open are those that happen at most once, which are all mail: without a `value`, one
/// that happened gets a receipt whose `message_id` says that an operator settled it.
pub(crate) async fn settle(
    State(api): State<Arc<Api>>,
    principal: Principal,
    id: Id,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if !principal.is_operator() {
        return Err(Problem::Forbidden("only operators say what came of an effect"));
    }
    let body = body::bytes(body, MAX_BODY_BYTES, None)?;
    let settlement: Settlement = body::typed(body::object(&headers, &body)?, &["step", "outcome", "value"])?;
    let happened = value_of(&settlement)?;
    let (run, steps) = find(&api, &principal, &id).await?;
    let named = |step: &StepRecord| step.name == settlement.step || step.position == settlement.step;
    let open: Vec<&StepRecord> = steps
        .iter()
        .filter(|step| step.kind == StepKind::Effect && step.state == StepState::Intended && named(step))
        .collect();
    if open.len() > 1 {
        let positions: Vec<&str> = open.iter().take(STEPS_NAMED).map(|step| step.position.as_str()).collect();
        let problem = format!("several effects of this name are open, at the positions `{}`", positions.join("`, `"));
        return Err(Problem::invalid("step", problem));
    }
    // Also where nothing is open: the engine then finishes what a former request may have begun.
    match api.control.settle(run.id, named, happened).await? {
        Settling::Settled => {
            Ok(Json(json!({ "status": "settled", "run_id": run.id, "step": settlement.step })).into_response())
        }
        Settling::NothingOpen => Err(Problem::NothingOpen(run.id)),
        Settling::Unknown => Err(Problem::no_such_run()),
    }
}

fn value_of(settlement: &Settlement) -> Result<Option<Value>, Problem> {
    match (&settlement.outcome, &settlement.value) {
        (WhatCameOfIt::NotHappened, None) => Ok(None),
        (WhatCameOfIt::NotHappened, Some(_)) => Err(Problem::invalid("value", "what did not happen returned nothing")),
        (WhatCameOfIt::Happened, None) => Ok(Some(json!(Receipt { message_id: "settled by an operator".to_owned() }))),
        (WhatCameOfIt::Happened, Some(value)) => {
            if !fits_depth(value, DEEPEST_VALUE) || value.to_string().len() > LONGEST_VALUE {
                let problem = format!("has more than {LONGEST_VALUE} bytes or {DEEPEST_VALUE} levels");
                return Err(Problem::invalid("value", problem));
            }
            Ok(Some(value.clone()))
        }
    }
}

/// The id in a path, as it came: it may not even be text.
pub(crate) type Id = Result<Path<String>, PathRejection>;

/// The run of this id that the caller may see.
pub(crate) async fn find(api: &Api, principal: &Principal, id: &Id) -> Result<(Run, Vec<StepRecord>), Problem> {
    // An id that cannot be is an id that is not.
    let id: Option<RunId> = id.as_ref().ok().and_then(|Path(id)| id.parse().ok());
    let id = id.ok_or_else(Problem::no_such_run)?;
    let found = api.journal.find(id).await?.filter(|(run, _)| principal.may_see(run));
    found.ok_or_else(Problem::no_such_run)
}
