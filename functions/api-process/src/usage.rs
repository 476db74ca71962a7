//! `GET /workflow/usage`: what models took, by workflow and day.

use std::sync::Arc;

use axum::{
    Json,
    extract::{RawQuery, State},
    response::{IntoResponse as _, Response},
};
use ihelper_workflow::{
    domain::{WorkflowType, run::Usage},
    ports::{Action, What, day_of},
};
use jiff::{ToSpan as _, civil::Date};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    Api, Principal, Problem,
    body::{parameters, shortened},
};

// Days shown unless the caller says how many: a month and what it began with.
const DAYS: i32 = 31;
// As many as the ledger keeps.
const MOST_DAYS: i32 = 800;

/// Shows what the models of each workflow took on each day of UTC from `since` to `until`, today unless said, and in
/// all; `type` leaves the other workflows out. Only operators see it.
#[utoipa::path(
    get,
    path = "/workflow/usage",
    tag = "service",
    operation_id = "show_usage",
    params(
        ("type" = Option<WorkflowType>, Query, description = "Only this workflow."),
        ("since" = Option<String>, Query, format = Date, description = "The first day; 30 days before the last unless given."),
        ("until" = Option<String>, Query, format = Date, description = "The last day; today unless given."),
    ),
    security(("bearer" = [])),
    responses((status = 200, description = "What models took.", body = Took)),
)]
pub(crate) async fn show(
    State(api): State<Arc<Api>>,
    principal: Principal,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let otherwise = "only operators see what models took";
    principal.must_somewhere(&api, Action::ReadUsage, otherwise)?;
    let wanted = Wanted::read(query.as_deref(), day_of(api.clock.now()))?;
    for workflow in &wanted.workflows {
        principal.must(&api, Action::ReadUsage, What::Workflow(*workflow), otherwise)?;
    }
    let mut total = Usage::default();
    let mut workflows = Vec::new();
    for workflow in wanted.workflows {
        let days = api.usage.days(workflow, wanted.since, wanted.until).await?;
        let mut usage = Usage::default();
        days.iter().for_each(|(_, day)| usage += *day);
        total += usage;
        let days = days.into_iter().map(|(day, usage)| OfADay { day, usage }).collect();
        workflows.push(OfAWorkflow { workflow, usage, days });
    }
    Ok(Json(Took { since: wanted.since, until: wanted.until, usage: total, workflows }).into_response())
}

/// What models took.
#[derive(Serialize, ToSchema)]
struct Took {
    /// The first day.
    #[schema(value_type = String, format = Date)]
    since: Date,
    /// The last day.
    #[schema(value_type = String, format = Date)]
    until: Date,
    /// On all days, for all workflows.
    usage: Usage,
    /// Workflow by workflow.
    workflows: Vec<OfAWorkflow>,
}

/// What the models of one workflow took.
#[derive(Serialize, ToSchema)]
#[schema(as = TookOfWorkflow)]
struct OfAWorkflow {
    /// The workflow.
    #[serde(rename = "type")]
    workflow: WorkflowType,
    /// On all days.
    usage: Usage,
    /// On each day on which a model was asked, the oldest first.
    days: Vec<OfADay>,
}

/// What models took on one day of UTC.
#[derive(Serialize, ToSchema)]
#[schema(as = TookOnDay)]
struct OfADay {
    /// The day.
    #[schema(value_type = String, format = Date)]
    day: Date,
    /// What they took.
    usage: Usage,
}

struct Wanted {
    since: Date,
    until: Date,
    workflows: Vec<WorkflowType>,
}

impl Wanted {
    fn read(query: Option<&str>, today: Date) -> Result<Self, Problem> {
        let wrong = |name: &str, problem: String| Problem::Malformed(format!("parameter `{name}`: {problem}"));
        let day = |name: &str, value: &str| {
            value.parse::<Date>().map_err(|_| wrong(name, "is not a day as in 2026-01-31".to_owned()))
        };
        let (mut since, mut until, mut workflows) = (None, today, WorkflowType::ALL.to_vec());
        for (name, value) in parameters(query)? {
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
            return Err(Problem::invalid("since", format!("is after {until}")));
        }
        if since < until.saturating_sub((MOST_DAYS - 1).days()) {
            return Err(Problem::invalid("since", format!("is more than {MOST_DAYS} days before {until}")));
        }
        Ok(Self { since, until, workflows })
    }
}
