//! `/workflow/runs/{id}/callbacks/{name}`: what a run asks of somebody, and the answer.
//!
//! **Invariants**
//! - The token is the permission, whoever calls; without it, nobody learns whether the run or the callback exists.
//! - GET shows and decides nothing: whoever follows the link of a mail before its reader does (a scanner, a preview)
//!   changes nothing.
//! - What a person or a run wrote is shown as text. The page has no scripts and loads nothing.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, RawQuery, State, rejection::PathRejection},
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderValue, header};
use ihelper_workflow::{
    domain::{
        RunId,
        input::{Invalid, Violation},
    },
    engine::{Answered, Asked, Decision, Reply},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    Api, Problem,
    accept::qualities,
    answer::fit,
    body::{self, Body, FORM, Fields, fits_depth, is_json, media_type, parameters},
    page,
    problem::Decided,
};

/// The largest body: data of 64 KiB, however it is escaped.
pub(crate) const MAX_BODY_BYTES: usize = 512 * 1024;

// An answer's data stands in the journal and goes through every attempt that follows.
const LONGEST_DATA: usize = 64 * 1024;
const DEEPEST_DATA: usize = 32;
const LONGEST_NAME: usize = 200;

/// What is asked may hold texts, by name, that whoever approves can write anew.
pub(crate) const EDITABLE: &str = "editable";

// In a form, the name of such a text stands behind this.
const EDITED: &str = "edit.";

/// Shows what is asked, until when, and what was decided, as JSON or as a page with a form.
#[utoipa::path(
    get,
    path = "/workflow/runs/{id}/callbacks/{name}",
    tag = "callbacks",
    operation_id = "show_callback",
    params(
        ("id" = RunId, Path, description = "The run that asks."),
        ("name" = String, Path, description = "The callback's name."),
    ),
    security(("callback_token" = [])),
    responses((
        status = 200,
        description = "What is asked; a page with a form for who accepts HTML.",
        content((Question = "application/json"), (String = "text/html")),
    )),
)]
pub(crate) async fn show(
    State(api): State<Arc<Api>>,
    place: Place,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let format = Format::preferred(&headers, Format::Json);
    let found = async {
        let token = token_of(query.as_deref())?;
        asked(&api, &place, token.as_deref()).await
    };
    let answer = match found.await {
        Ok((run, name, asked)) => match format {
            Format::Html => page::question(&asked, is_open(&api, &asked)),
            Format::Json => question(&api, run, name, &asked).await.unwrap_or_else(|problem| problem.into_response()),
        },
        Err(problem) => format.problem(problem),
    };
    varied(answer)
}

/// Takes an answer. The first one stands; given again in the same words, it is taken again.
#[utoipa::path(
    post,
    path = "/workflow/runs/{id}/callbacks/{name}",
    tag = "callbacks",
    operation_id = "answer_callback",
    params(
        ("id" = RunId, Path, description = "The run that asks."),
        ("name" = String, Path, description = "The callback's name."),
    ),
    request_body(content(
        (Given = "application/json", example = json!({ "decision": "approve", "by": "Ann" })),
        (GivenForm = "application/x-www-form-urlencoded"),
    )),
    security(("callback_token" = [])),
    responses((
        status = 200,
        description = "The answer is taken, now or before.",
        content((TakenAnswer = "application/json"), (String = "text/html")),
    )),
)]
pub(crate) async fn answer(
    State(api): State<Arc<Api>>,
    place: Place,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let declared = media_type(&headers).unwrap_or_default();
    let otherwise = if declared == FORM { Format::Html } else { Format::Json };
    let format = Format::preferred(&headers, otherwise);
    let taken = async {
        let body = body::bytes(body, MAX_BODY_BYTES, None)?;
        let given = match declared.as_str() {
            FORM => Given::of_form(&body)?,
            declared if is_json(declared) => Given::of_fields(body::object(&headers, &body)?)?,
            _ => return Err(Problem::UnsupportedMediaType("application/json or application/x-www-form-urlencoded")),
        };
        let token = match given.token.clone() {
            Some(token) => Some(token),
            None => token_of(query.as_deref())?,
        };
        let reply = given.into_reply(api.clock.now())?;
        let (run, name, token) = named(&place, token.as_deref()).ok_or_else(unknown)?;
        if reply.data.is_object() {
            let asked = api.control.asked(run, name, token).await?.ok_or_else(unknown)?;
            check_edited(&asked.asks, &reply.data)?;
        }
        match api.control.answer(run, name, token, &reply).await? {
            Answered::Taken(reply) => Ok((run, name, reply)),
            Answered::AnsweredOtherwise(reply) => Err(Problem::AnsweredOtherwise(reply)),
            Answered::TooLate => Err(Problem::TooLate),
            Answered::Unknown => Err(unknown()),
        }
    };
    varied(match (taken.await, format) {
        (Ok((_, _, reply)), Format::Html) => page::taken(&reply),
        (Ok((run, name, reply)), Format::Json) => {
            let decided = Decided::from(&*reply);
            Json(TakenAnswer { status: "taken", run_id: run, name, decided }).into_response()
        }
        (Err(problem), format) => format.problem(problem),
    })
}

/// The run and the name in the path, as they came: they may not even be text.
type Place = Result<Path<(String, String)>, PathRejection>;

async fn asked<'a>(api: &Api, place: &'a Place, token: Option<&str>) -> Result<(RunId, &'a str, Asked), Problem> {
    let (run, name, token) = named(place, token).ok_or_else(unknown)?;
    let asked = api.control.asked(run, name, token).await?;
    Ok((run, name, asked.ok_or_else(unknown)?))
}

/// What the address names; `None` where that can be nothing.
fn named<'a, 'b>(place: &'a Place, token: Option<&'b str>) -> Option<(RunId, &'a str, &'b str)> {
    let Path((run, name)) = place.as_ref().ok()?;
    Some((run.parse().ok()?, name, token?))
}

/// One answer for everything that is not there, or not for this token.
fn unknown() -> Problem {
    Problem::NotFound("there is no such callback, or the token is not its own".to_owned())
}

/// The texts in what is asked that can be written anew.
pub(crate) fn editable(asks: &Value) -> impl Iterator<Item = (&str, &str)> {
    let texts = asks.get(EDITABLE).and_then(Value::as_object).into_iter().flatten();
    texts.filter_map(|(name, text)| Some((name.as_str(), text.as_str()?)))
}

/// What was written anew is a text, and says something.
fn check_edited(asks: &Value, data: &Value) -> Result<(), Problem> {
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
    let wrong = editable(asks).filter(|(name, _)| data.get(name).is_some_and(|value| !is_text(value)));
    let violations: Vec<Violation> = wrong
        .map(|(name, _)| Violation {
            field: format!("data.{name}"),
            problem: "is not a text that says something".to_owned(),
        })
        .collect();
    if violations.is_empty() { Ok(()) } else { Err(Invalid(violations).into()) }
}

/// The answer that somebody gave; that nobody did is none.
pub(crate) fn decided(asked: &Asked) -> Option<&Reply> {
    asked.reply.as_ref().filter(|reply| reply.decision != Decision::Expired)
}

fn is_open(api: &Api, asked: &Asked) -> bool {
    asked.reply.is_none() && !asked.status.is_final() && api.clock.now() < asked.until
}

async fn question(api: &Api, run: RunId, name: &str, asked: &Asked) -> Result<Response, Problem> {
    let body = Question {
        run_id: run,
        name,
        asks: &asked.asks,
        until: asked.until,
        open: is_open(api, asked),
        decided: decided(asked).map(Decided::from),
        asks_url: None,
        asks_expires_at: None,
    };
    // Whoever has the token may read it, and has no name here.
    fit(api, &format!("callback:{run}"), run, &body, &["asks"]).await
}

fn token_of(query: Option<&str>) -> Result<Option<String>, Problem> {
    Ok(parameters(query)?.into_iter().find(|(name, _)| name == "token").map(|(_, value)| value))
}

/// One address, a page or JSON.
fn varied(mut answer: Response) -> Response {
    answer.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    answer
}

/// What a run asks of somebody.
#[derive(Serialize, ToSchema)]
struct Question<'a> {
    /// The run.
    run_id: RunId,
    /// The callback's name.
    name: &'a str,
    /// What is asked.
    #[schema(value_type = Value, required = false)]
    asks: &'a Value,
    /// Until when it can be answered.
    until: Timestamp,
    /// Whether it can be.
    open: bool,
    /// The answer that was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    decided: Option<Decided<'a>>,
    /// Where what is asked can be had, by a GET without a token, when it is too large for the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    asks_url: Option<String>,
    /// Until when.
    #[serde(skip_serializing_if = "Option::is_none")]
    asks_expires_at: Option<Timestamp>,
}

/// An answer that was taken.
#[derive(Serialize, ToSchema)]
struct TakenAnswer<'a> {
    /// Always `taken`.
    #[schema(pattern = "^taken$")]
    status: &'static str,
    /// The run.
    run_id: RunId,
    /// The callback's name.
    name: &'a str,
    /// The answer that stands.
    decided: Decided<'a>,
}

/// An answer as it is given.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = Answer)]
#[serde(deny_unknown_fields)]
struct Given {
    /// The token, where it is not in the address.
    token: Option<String>,
    /// What is decided.
    decision: GivenDecision,
    /// What comes with it, at most 64 KiB: needed for `data`, and where the question has texts to edit, these.
    #[schema(value_type = Value, required = false)]
    data: Option<Value>,
    /// Who answers, in their own words: a line.
    #[serde(default)]
    #[schema(max_length = 200)]
    by: String,
}

/// An answer as the page's form gives it; fields `edit.<name>` hold what was edited.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = AnswerForm)]
struct GivenForm {
    /// The token, where it is not in the address.
    token: Option<String>,
    /// What is decided.
    decision: GivenDecision,
    /// What to say about it.
    #[serde(default)]
    comment: String,
    /// Who answers, in their own words.
    #[serde(default)]
    #[schema(max_length = 200)]
    by: String,
}

/// What somebody can decide; that nobody did is not among it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[schema(as = AnswerDecision)]
#[serde(rename_all = "snake_case")]
enum GivenDecision {
    Approve,
    Reject,
    Data,
}

impl Given {
    fn of_fields(fields: Fields) -> Result<Self, Problem> {
        body::typed(fields, &["token", "decision", "data", "by"])
    }

    /// Reads a form: its `comment`, and what was written anew, is the data.
    fn of_form(form: &[u8]) -> Result<Self, Problem> {
        let (edited, fields): (Vec<_>, Vec<_>) = body::form(form)?
            .into_iter()
            .map(|(name, value)| (name, Value::String(value)))
            .partition(|(name, _)| name.starts_with(EDITED));
        let form: GivenForm = body::typed(fields.into_iter().collect(), &["token", "decision", "comment", "by"])?;
        let edited = edited.into_iter().filter_map(|(name, text)| Some((name.strip_prefix(EDITED)?.to_owned(), text)));
        let mut data: serde_json::Map<String, Value> = match form.decision {
            GivenDecision::Approve => edited.collect(),
            // What is rejected is not sent, however it was written.
            GivenDecision::Reject | GivenDecision::Data => serde_json::Map::new(),
        };
        let comment = form.comment.trim();
        if !comment.is_empty() {
            data.insert("comment".to_owned(), Value::String(comment.to_owned()));
        }
        let data = (!data.is_empty()).then_some(Value::Object(data));
        Ok(Self { token: form.token, decision: form.decision, data, by: form.by })
    }

    fn into_reply(self, at: Timestamp) -> Result<Reply, Problem> {
        let mut violations = Vec::new();
        let mut wrong = |field: &str, problem: String| violations.push(Violation { field: field.to_owned(), problem });
        let by = self.by.trim();
        if by.chars().count() > LONGEST_NAME || by.chars().any(char::is_control) {
            wrong("by", format!("is not a line of at most {LONGEST_NAME} characters"));
        }
        let data = self.data.unwrap_or_default();
        if !fits_depth(&data, DEEPEST_DATA) {
            wrong("data", format!("nests deeper than {DEEPEST_DATA} levels"));
        } else if data.to_string().len() > LONGEST_DATA {
            wrong("data", format!("has more than {LONGEST_DATA} bytes"));
        }
        let decision = match self.decision {
            GivenDecision::Approve => Decision::Approve,
            GivenDecision::Reject => Decision::Reject,
            GivenDecision::Data => {
                if data.is_null() {
                    wrong("data", "is missing".to_owned());
                }
                Decision::Data
            }
        };
        if !violations.is_empty() {
            return Err(Invalid(violations).into());
        }
        Ok(Reply { decision, data, by: by.to_owned(), at })
    }
}

/// What an answer is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Html,
}

impl Format {
    /// What `Accept` (RFC 9110) prefers; where it prefers neither, `otherwise`.
    fn preferred(headers: &HeaderMap, otherwise: Self) -> Self {
        let [html, json] = qualities(headers, ["text/html", "application/json"]);
        match html.cmp(&json) {
            std::cmp::Ordering::Greater => Self::Html,
            std::cmp::Ordering::Less => Self::Json,
            std::cmp::Ordering::Equal => otherwise,
        }
    }

    fn problem(self, problem: Problem) -> Response {
        match self {
            Self::Json => problem.into_response(),
            Self::Html => page::problem(&problem),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn format(accept: Option<&'static str>) -> Format {
        let headers = accept.map(|accept| (header::ACCEPT, HeaderValue::from_static(accept)));
        Format::preferred(&headers.into_iter().collect(), Format::Json)
    }

    #[test]
    fn a_browser_gets_a_page_and_everybody_else_json() {
        let firefox = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        for accept in [firefox, "text/html", "text/*;q=0.5", "application/json;q=0.1, TEXT/HTML; q=0.2"] {
            assert_eq!(format(Some(accept)), Format::Html, "{accept}");
        }
        let json = ["*/*", "application/json", "text/html, application/json", "text/html;q=0", "image/png", ""];
        for accept in json.map(Some).into_iter().chain([None]) {
            assert_eq!(format(accept), Format::Json, "{accept:?}");
        }
        assert_eq!(Format::preferred(&HeaderMap::new(), Format::Html), Format::Html);
    }

    #[test]
    fn a_form_says_what_its_fields_say() {
        let given = Given::of_form(b"decision=reject&comment=+too+dear+%F0%9F%92%B8&by=Ann").unwrap();
        let reply = given.into_reply(Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!((reply.decision, reply.by.as_str()), (Decision::Reject, "Ann"));
        assert_eq!(reply.data, json!({"comment": "too dear 💸"}));
        assert_eq!(Given::of_form(b"decision=approve&comment=+&by=").unwrap().data, None);
        let edited = b"decision=approve&comment=ok&edit.text=Hello%0D%0AAnn&edit.subject=Re%3A+x";
        let data = Given::of_form(edited).unwrap().data.unwrap();
        assert_eq!(data, json!({"comment": "ok", "text": "Hello\r\nAnn", "subject": "Re: x"}));
        assert_eq!(Given::of_form(b"decision=reject&edit.text=x").unwrap().data, None);
    }

    #[test]
    fn nobody_can_decide_that_nobody_did() {
        for form in ["decision=expired", "decision=", "", "decision=approve&color=red"] {
            assert!(matches!(Given::of_form(form.as_bytes()), Err(Problem::Invalid(_))), "`{form}`");
        }
    }
}
