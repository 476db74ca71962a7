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
        Run, RunId, Status, input,
        run::{StepKind, StepRecord, StepState},
    },
    engine::{Cancelling, Retry, Retrying, Settling},
    ports::{Action, Receipt, Seen, What},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{
    Api, MAX_BODY_BYTES, Principal, Problem,
    answer::{Accepted, accepted_again},
    body::{self, Body, fits_depth},
    process::refuse_stored_objects,
};

/// `POST /workflow/runs/{id}/cancel`: stops a run. No mail is begun any more; what is under way may still end.
#[utoipa::path(
    post,
    path = "/workflow/runs/{id}/cancel",
    tag = "control",
    operation_id = "cancel",
    params(("id" = RunId, Path, description = "The run.")),
    security(("bearer" = [])),
    responses((status = 200, description = "The run is cancelled, now or before.", body = Stopped)),
)]
pub(crate) async fn cancel(State(api): State<Arc<Api>>, principal: Principal, id: Id) -> Result<Response, Problem> {
    let (run, _) = find(&api, &principal, &id, Action::CancelRun).await?;
    let began = api.clock.now();
    match api.control.cancel(run.id, &principal.caller()).await? {
        Cancelling::Cancelled(run) => {
            // Not when it was cancelled before.
            if run.finished_at.is_some_and(|at| at >= began) {
                api.worker.monitor().note(&Seen::Ended(&run));
            }
            Ok(Json(Stopped { status: run.status, run_id: run.id }).into_response())
        }
        Cancelling::Ended(run) => Err(Problem::Ended(run.id, run.status)),
        Cancelling::Unknown => Err(Problem::no_such_run()),
    }
}

/// A run that was stopped.
#[derive(Serialize, ToSchema)]
struct Stopped {
    /// Where it stands.
    status: Status,
    /// The run.
    run_id: RunId,
}

/// How to repeat a run; without anything, from where it failed.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Repeat {
    /// The step from which on everything is done again.
    from_step: Option<String>,
    /// Another input, as `POST /workflow/process` takes it.
    #[schema(value_type = Option<Object>)]
    data: Option<Value>,
    /// Whether effects that happened may happen again.
    repeat_effects: Option<bool>,
}

// A refusal names so many steps of a run; its address shows them all.
const STEPS_NAMED: usize = 50;

/// `POST /workflow/runs/{id}/retry`: repeats a run that has ended, by another run that its consumer takes up.
///
/// Everything that was done stands. With `from_step`, only what came before that step does; with `data`, the run gets
/// another input and begins anew, or at that step. Effects that happened and would happen again must be allowed to,
/// by `repeat_effects`. The same asked for again is the same run.
#[utoipa::path(
    post,
    path = "/workflow/runs/{id}/retry",
    tag = "control",
    operation_id = "retry",
    params(("id" = RunId, Path, description = "The run.")),
    request_body(content = Option<Repeat>, examples(
        ("from where it failed" = (value = json!({}))),
        ("from a step, effects too" = (value = json!({ "from_step": "analyze_email", "repeat_effects": true }))),
    )),
    security(("bearer" = [])),
    responses((
        status = 202,
        description = "Another run repeats this one.",
        body = Accepted,
        headers(("Location" = String, description = "Where the new run can be looked at.")),
    )),
)]
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
    let (run, _) = find(&api, &principal, &id, Action::RetryRun).await?;
    let input = repeat.data.map(|data| input::parse(run.workflow, data)).transpose()?;
    match &input {
        Some(input) => refuse_stored_objects(&api, &principal, input)?,
        None => refuse_stored_objects_of(&api, &principal, &run)?,
    }
    let retry = Retry { from_step: repeat.from_step, input, repeat_effects: repeat.repeat_effects.unwrap_or_default() };
    match api.control.retry(run.id, &retry).await? {
        Retrying::Begun(again) => Ok(accepted_again(&again, run.id)),
        Retrying::NotEnded(status) => Err(Problem::NotEnded(run.id, status)),
        Retrying::NoSuchStep(names) => Err(Problem::invalid("from_step", no_such_step(&names))),
        Retrying::WouldRepeat(effects) => Err(Problem::WouldRepeat(run.id, effects)),
        Retrying::OtherWorkflow => Err(Problem::invalid("data", "is for another workflow")),
        Retrying::Unknown => Err(Problem::no_such_run()),
    }
}

/// Who may start a run may repeat it, if they still may.
fn refuse_stored_objects_of(api: &Api, principal: &Principal, run: &Run) -> Result<(), Problem> {
    match input::parse(run.workflow, run.input.clone()) {
        Ok(input) => refuse_stored_objects(api, principal, &input),
        // Input that other code accepted once: nobody can say what it refers to.
        Err(_) => {
            let otherwise = "only operators repeat a run whose input is no longer valid";
            principal.must(api, Action::RetryUnreadableRun, What::Run(run), otherwise)
        }
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

/// What came of an effect.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum WhatCameOfIt {
    /// It counts as done.
    Happened,
    /// It is done again.
    NotHappened,
}

/// What somebody says of an effect.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Settlement {
    /// The effect's name or position.
    step: String,
    /// What came of it.
    outcome: WhatCameOfIt,
    /// What it would have returned, at most 64 KiB; only for what happened.
    #[schema(value_type = Value, required = false)]
    value: Option<Value>,
}

/// An effect about which somebody said what came of it.
#[derive(Serialize, ToSchema)]
struct Settled {
    /// Always `settled`.
    #[schema(pattern = "^settled$")]
    status: &'static str,
    /// The run.
    run_id: RunId,
    /// The effect, as it was named.
    step: String,
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
#[utoipa::path(
    post,
    path = "/workflow/runs/{id}/settle",
    tag = "control",
    operation_id = "settle",
    params(("id" = RunId, Path, description = "The run.")),
    request_body(content = Settlement, example = json!({ "step": "send_response", "outcome": "happened" })),
    security(("bearer" = [])),
    responses((status = 200, description = "The effect is settled.", body = Settled)),
)]
pub(crate) async fn settle(
    State(api): State<Arc<Api>>,
    principal: Principal,
    id: Id,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    principal.must_somewhere(&api, Action::SettleRun, otherwise(Action::SettleRun))?;
    let body = body::bytes(body, MAX_BODY_BYTES, None)?;
    let settlement: Settlement = body::typed(body::object(&headers, &body)?, &["step", "outcome", "value"])?;
    let happened = value_of(&settlement)?;
    let (run, steps) = find(&api, &principal, &id, Action::SettleRun).await?;
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
            Ok(Json(Settled { status: "settled", run_id: run.id, step: settlement.step }).into_response())
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

/// The run of this id, when the caller may see it and do this to it. Who may not see it does not learn that it exists.
pub(crate) async fn find(
    api: &Api,
    principal: &Principal,
    id: &Id,
    action: Action,
) -> Result<(Run, Vec<StepRecord>), Problem> {
    // An id that cannot be is an id that is not.
    let id: Option<RunId> = id.as_ref().ok().and_then(|Path(id)| id.parse().ok());
    let id = id.ok_or_else(Problem::no_such_run)?;
    let found = api.journal.find(id).await?;
    let found = found.filter(|(run, _)| principal.may(api, Action::ViewRun, What::Run(run)));
    let (run, steps) = found.ok_or_else(Problem::no_such_run)?;
    if action != Action::ViewRun {
        principal.must(api, action, What::Run(&run), otherwise(action))?;
    }
    Ok((run, steps))
}

const fn otherwise(action: Action) -> &'static str {
    match action {
        Action::SettleRun => "only operators say what came of an effect",
        _ => "the caller may see the run, but not do this to it",
    }
}
