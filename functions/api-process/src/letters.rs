//! Dead letters, for operators: what could not be worked on, sent back or taken out.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Json,
    extract::{RawQuery, State},
    response::{IntoResponse as _, Response},
};
use http::HeaderMap;
use ihelper_workflow::{
    domain::{RunId, WorkflowType},
    ports::{Action, Letter, MOST_LETTERS, What},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Api, MAX_BODY_BYTES, Principal, Problem,
    body::{self, Body, parameters, shortened},
};

// Letters shown unless the caller says how many.
const PAGE: usize = 20;
// As much of a letter's body as an answer shows, in bytes: enough to see what it is about.
const SHOWN_BYTES: usize = 2048;
const ONLY_OPERATORS: &str = "only operators look after dead letters";
// SQS's own ids have 36 characters.
const LONGEST_ID: usize = 100;

/// `GET /workflow/dead-letters`: some letters of the workflow `type`, oldest first, `limit` (1 to 100) at the most.
/// Looking does not take them out.
#[utoipa::path(
    get,
    path = "/workflow/dead-letters",
    tag = "dead letters",
    operation_id = "list_dead_letters",
    params(
        ("type" = WorkflowType, Query, description = "The workflow whose letters to show."),
        ("limit" = Option<u8>, Query, minimum = 1, maximum = 100, description = "How many at most; 20 unless given."),
    ),
    security(("bearer" = [])),
    responses((status = 200, description = "Some letters.", body = Letters)),
)]
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    principal: Principal,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    principal.must_somewhere(&api, Action::ListDeadLetters, ONLY_OPERATORS)?;
    let (workflow, limit) = read_query(query.as_deref())?;
    principal.must(&api, Action::ListDeadLetters, What::Workflow(workflow), ONLY_OPERATORS)?;
    let letters = api.letters.look(workflow, limit).await?;
    Ok(Json(Letters { letters: letters.iter().map(DeadLetter::of).collect() }).into_response())
}

/// `POST /workflow/dead-letters/redrive`: sends letters back to the workflow's queue; its consumer retries the runs
/// that they name.
#[utoipa::path(
    post,
    path = "/workflow/dead-letters/redrive",
    tag = "dead letters",
    operation_id = "redrive_dead_letters",
    request_body(content = Wanted, example = json!({ "type": "email_processing", "ids": ["0f9a…"] })),
    security(("bearer" = [])),
    responses((status = 200, description = "What was sent back, and what was not found.", body = Redriven)),
)]
pub(crate) async fn redrive(
    State(api): State<Arc<Api>>,
    principal: Principal,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    principal.must_somewhere(&api, Action::RedriveDeadLetters, ONLY_OPERATORS)?;
    let chosen = Chosen::read(&headers, body)?;
    principal.must(&api, Action::RedriveDeadLetters, What::Workflow(chosen.workflow), ONLY_OPERATORS)?;
    let found = api.letters.redrive(chosen.workflow, &chosen.ids).await?;
    let (redriven, not_found) = chosen.parted(&found);
    Ok(Json(Redriven { redriven, not_found }).into_response())
}

/// `POST /workflow/dead-letters/discard`: takes letters out for good.
#[utoipa::path(
    post,
    path = "/workflow/dead-letters/discard",
    tag = "dead letters",
    operation_id = "discard_dead_letters",
    request_body(content = Wanted, example = json!({ "type": "email_processing", "ids": ["0f9a…"] })),
    security(("bearer" = [])),
    responses((status = 200, description = "What was taken out, and what was not found.", body = Discarded)),
)]
pub(crate) async fn discard(
    State(api): State<Arc<Api>>,
    principal: Principal,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    principal.must_somewhere(&api, Action::DiscardDeadLetters, ONLY_OPERATORS)?;
    let chosen = Chosen::read(&headers, body)?;
    principal.must(&api, Action::DiscardDeadLetters, What::Workflow(chosen.workflow), ONLY_OPERATORS)?;
    let found = api.letters.discard(chosen.workflow, &chosen.ids).await?;
    let (discarded, not_found) = chosen.parted(&found);
    Ok(Json(Discarded { discarded, not_found }).into_response())
}

/// Letters to do something with, as somebody chose them.
#[derive(Deserialize, ToSchema)]
#[schema(as = ChosenLetters)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The workflow whose letters they are.
    #[serde(rename = "type")]
    #[schema(value_type = WorkflowType)]
    workflow: String,
    /// Their ids.
    #[schema(schema_with = ids)]
    ids: Vec<String>,
}

fn ids() -> utoipa::openapi::schema::Array {
    use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Type};
    let id = ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(LONGEST_ID));
    ArrayBuilder::new().items(id).min_items(Some(1)).max_items(Some(MOST_LETTERS)).build()
}

/// What was sent back to its queue.
#[derive(Serialize, ToSchema)]
struct Redriven<'a> {
    /// The ids of letters that were.
    #[schema(value_type = Vec<String>)]
    redriven: Vec<&'a String>,
    /// The ids of those that were not found.
    #[schema(value_type = Vec<String>)]
    not_found: Vec<&'a String>,
}

/// What was taken out for good.
#[derive(Serialize, ToSchema)]
struct Discarded<'a> {
    /// The ids of letters that were.
    #[schema(value_type = Vec<String>)]
    discarded: Vec<&'a String>,
    /// The ids of those that were not found.
    #[schema(value_type = Vec<String>)]
    not_found: Vec<&'a String>,
}

/// Some dead letters, oldest first.
#[derive(Serialize, ToSchema)]
struct Letters<'a> {
    #[schema(value_type = Vec<DeadLetter>)]
    letters: Vec<DeadLetter<'a>>,
}

/// What could not be worked on, and why.
#[derive(Serialize, ToSchema)]
struct DeadLetter<'a> {
    /// Its id in the dead-letter queue.
    id: &'a str,
    /// Why it is there; `null` when the queue itself put it there, after too many receives.
    reason: Option<&'a str>,
    /// What kind of error.
    kind: Option<&'a str>,
    /// The run, where there is one.
    run_id: Option<RunId>,
    /// When it was put there.
    at: Timestamp,
    /// The beginning of the message as it came, or the run's address.
    body: &'a str,
    /// How long the whole of it is.
    body_bytes: usize,
}

/// Letters that somebody chose.
struct Chosen {
    workflow: WorkflowType,
    /// Their ids, each once.
    ids: Vec<String>,
}

impl Chosen {
    fn read(headers: &HeaderMap, body: Body) -> Result<Self, Problem> {
        let body = body::bytes(body, MAX_BODY_BYTES, None)?;
        let wanted: Wanted = body::typed(body::object(headers, &body)?, &["type", "ids"])?;
        let workflow = wanted.workflow.parse().map_err(|failure| Problem::invalid("type", format!("{failure}")))?;
        if !(1..=MOST_LETTERS).contains(&wanted.ids.len()) {
            return Err(Problem::invalid("ids", format!("has not 1 to {MOST_LETTERS} ids")));
        }
        let is_id = |id: &String| (1..=LONGEST_ID).contains(&id.len());
        if let Some(index) = wanted.ids.iter().position(|id| !is_id(id)) {
            return Err(Problem::invalid(format!("ids[{index}]"), format!("has not 1 to {LONGEST_ID} bytes")));
        }
        let mut seen = BTreeSet::new();
        let ids = wanted.ids.into_iter().filter(|id| seen.insert(id.clone())).collect();
        Ok(Self { workflow, ids })
    }

    /// Those that were found, and the others.
    fn parted(&self, found: &[Letter]) -> (Vec<&String>, Vec<&String>) {
        self.ids.iter().partition(|id| found.iter().any(|letter| letter.id == **id))
    }
}

fn read_query(query: Option<&str>) -> Result<(WorkflowType, usize), Problem> {
    let wrong = |name: &str, problem: String| Problem::Malformed(format!("parameter `{name}`: {problem}"));
    let (mut workflow, mut limit) = (None, PAGE);
    for (name, value) in parameters(query)? {
        match name.as_str() {
            "type" => workflow = Some(value.parse().map_err(|failure| wrong("type", format!("{failure}")))?),
            "limit" => {
                limit = value
                    .parse()
                    .ok()
                    .filter(|limit| (1..=MOST_LETTERS).contains(limit))
                    .ok_or_else(|| wrong("limit", format!("is not a number from 1 to {MOST_LETTERS}")))?;
            }
            _ => return Err(wrong(&shortened(&name), "is not known".to_owned())),
        }
    }
    Ok((workflow.ok_or_else(|| wrong("type", "is missing".to_owned()))?, limit))
}

impl<'a> DeadLetter<'a> {
    fn of(letter: &'a Letter) -> Self {
        Self {
            id: &letter.id,
            reason: letter.reason.as_deref(),
            kind: letter.kind.as_deref(),
            run_id: letter.run,
            at: letter.at,
            body: &letter.body[..letter.body.floor_char_boundary(SHOWN_BYTES)],
            body_bytes: letter.body.len(),
        }
    }
}
