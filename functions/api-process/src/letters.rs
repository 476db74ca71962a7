//! Dead letters, for operators: what could not be worked on, sent back or taken out.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Json,
    extract::{RawQuery, State},
    response::{IntoResponse as _, Response},
};
use http::HeaderMap;
use ihelper_workflow::{
    domain::WorkflowType,
    ports::{Letter, MOST_LETTERS},
};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Api, MAX_BODY_BYTES, Principal, Problem,
    body::{self, Body, pairs, shortened},
};

// Letters shown unless the caller says how many.
const PAGE: usize = 20;
// As much of a letter's body as an answer shows, in bytes: enough to see what it is about.
const SHOWN_BYTES: usize = 2048;
// SQS's own ids have 36 characters.
const LONGEST_ID: usize = 100;

/// `GET /workflow/dead-letters`: some letters of the workflow `type`, oldest first, `limit` (1 to 100) at the most.
/// Looking does not take them out.
pub(crate) async fn list(
    State(api): State<Arc<Api>>,
    principal: Principal,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    only_operators(&principal)?;
    let (workflow, limit) = read_query(query.as_deref().unwrap_or_default())?;
    let letters = api.letters.look(workflow, limit).await?;
    Ok(Json(json!({ "letters": letters.iter().map(describe).collect::<Vec<_>>() })).into_response())
}

/// `POST /workflow/dead-letters/redrive`: sends letters back to the workflow's queue; its consumer retries the runs
/// that they name.
pub(crate) async fn redrive(
    State(api): State<Arc<Api>>,
    principal: Principal,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    only_operators(&principal)?;
    let chosen = Chosen::read(&headers, body)?;
    let found = api.letters.redrive(chosen.workflow, &chosen.ids).await?;
    Ok(chosen.answer("redriven", &found))
}

/// `POST /workflow/dead-letters/discard`: takes letters out for good.
pub(crate) async fn discard(
    State(api): State<Arc<Api>>,
    principal: Principal,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    only_operators(&principal)?;
    let chosen = Chosen::read(&headers, body)?;
    let found = api.letters.discard(chosen.workflow, &chosen.ids).await?;
    Ok(chosen.answer("discarded", &found))
}

/// Letters that somebody chose.
struct Chosen {
    workflow: WorkflowType,
    /// Their ids, each once.
    ids: Vec<String>,
}

impl Chosen {
    fn read(headers: &HeaderMap, body: Body) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        struct Wanted {
            #[serde(rename = "type")]
            workflow: String,
            ids: Vec<String>,
        }
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

    fn answer(&self, done: &str, found: &[Letter]) -> Response {
        let (found, missing): (Vec<&String>, Vec<&String>) =
            self.ids.iter().partition(|id| found.iter().any(|letter| letter.id == **id));
        Json(json!({ done: found, "not_found": missing })).into_response()
    }
}

fn only_operators(principal: &Principal) -> Result<(), Problem> {
    if principal.is_operator() { Ok(()) } else { Err(Problem::Forbidden("only operators look after dead letters")) }
}

fn read_query(query: &str) -> Result<(WorkflowType, usize), Problem> {
    let wrong = |name: &str, problem: String| Problem::Malformed(format!("parameter `{name}`: {problem}"));
    let (mut workflow, mut limit) = (None, PAGE);
    for (name, value) in pairs(query.as_bytes()) {
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

fn describe(letter: &Letter) -> Value {
    let shown = &letter.body[..letter.body.floor_char_boundary(SHOWN_BYTES)];
    json!({
        "id": letter.id,
        "reason": letter.reason,
        "kind": letter.kind,
        "run_id": letter.run,
        "at": letter.at,
        "body": shown,
        "body_bytes": letter.body.len(),
    })
}
