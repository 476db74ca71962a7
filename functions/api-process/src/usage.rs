//! `GET /workflow/usage`: what models took, by workflow and day.

use std::sync::Arc;

use axum::{
    Json,
    extract::{RawQuery, State},
    response::{IntoResponse as _, Response},
};
use ihelper_workflow::{
    domain::{WorkflowType, run::Usage},
    ports::day_of,
};
use jiff::{ToSpan as _, civil::Date};
use serde_json::{Value, json};

use crate::{
    Api, Principal, Problem,
    body::{pairs, shortened},
};

// Days shown unless the caller says how many: a month and what it began with.
const DAYS: i32 = 31;
// As many as the ledger keeps.
const MOST_DAYS: i32 = 800;

/// Shows what the models of each workflow took on each day of UTC from `since` to `until`, today unless said, and in
/// all; `type` leaves the other workflows out. Only operators see it.
pub(crate) async fn show(
    State(api): State<Arc<Api>>,
    principal: Principal,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    if !principal.is_operator() {
        return Err(Problem::Forbidden("only operators see what models took"));
    }
    let wanted = Wanted::read(query.as_deref().unwrap_or_default(), day_of(api.clock.now()))?;
    let mut total = Usage::default();
    let mut workflows = Vec::new();
    for workflow in wanted.workflows {
        let days = api.usage.days(workflow, wanted.since, wanted.until).await?;
        let mut of_the_workflow = Usage::default();
        days.iter().for_each(|(_, usage)| of_the_workflow += *usage);
        total += of_the_workflow;
        let days: Vec<Value> = days.iter().map(|(day, usage)| json!({ "day": day, "usage": usage })).collect();
        workflows.push(json!({ "type": workflow, "usage": of_the_workflow, "days": days }));
    }
    let (since, until) = (wanted.since, wanted.until);
    Ok(Json(json!({ "since": since, "until": until, "usage": total, "workflows": workflows })).into_response())
}

struct Wanted {
    since: Date,
    until: Date,
    workflows: Vec<WorkflowType>,
}

impl Wanted {
    fn read(query: &str, today: Date) -> Result<Self, Problem> {
        let wrong = |name: &str, problem: String| Problem::Malformed(format!("parameter `{name}`: {problem}"));
        let day = |name: &str, value: &str| {
            value.parse::<Date>().map_err(|_| wrong(name, "is not a day as in 2026-01-31".to_owned()))
        };
        let (mut since, mut until, mut workflows) = (None, today, WorkflowType::ALL.to_vec());
        for (name, value) in pairs(query.as_bytes()) {
            match name.as_str() {
                "since" => since = Some(day("since", &value)?),
                "until" => until = day("until", &value)?,
                "type" => {
                    workflows = vec![value.parse().map_err(|failure| wrong("type", format!("{failure}")))?];
                }
                _ => return Err(wrong(&shortened(&name), "is not known".to_owned())),
            }
        }
        let since = since.unwrap_or_else(|| until.saturating_sub((DAYS - 1).days()));
        if since > until {
            return Err(wrong("since", format!("is after {until}")));
        }
        if since < until.saturating_sub((MOST_DAYS - 1).days()) {
            return Err(wrong("since", format!("is more than {MOST_DAYS} days before {until}")));
        }
        Ok(Self { since, until, workflows })
    }
}
