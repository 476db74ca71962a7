//! What models took, and the operators who see it.

use http::StatusCode;
use ihelper_workflow::{
    domain::{WorkflowType, run::Usage},
    ports::{Clock as _, UsageLedger as _, day_of},
};
use jiff::{ToSpan as _, civil::Date};
use serde_json::json;

use super::{Front, Served};

const PATH: &str = "/workflow/usage";

impl Front {
    fn today(&self) -> Date {
        day_of(self.tester.clock.now())
    }

    /// Adds a call of so many tokens, so many days ago.
    async fn took(&self, workflow: WorkflowType, days_ago: i32, input_tokens: u64) {
        let usage = Usage { api_calls: 1, input_tokens, cost_microdollars: 10 * input_tokens, ..Usage::default() };
        self.tester.usage.add(workflow, self.today() - days_ago.days(), usage).await.unwrap();
    }

    async fn usage(&self, query: &str) -> Served {
        self.get("olga", "operators", &format!("{PATH}{query}")).await
    }
}

#[tokio::test]
async fn only_operators_see_what_models_took() {
    let front = Front::new();
    for group in ["staff", "ex operators", ""] {
        let served = front.get("alice", group, PATH).await;
        assert_eq!(served.status, StatusCode::FORBIDDEN, "{group}: {}", served.text);
    }
    assert_eq!(front.usage("").await.status, StatusCode::OK);
}

#[tokio::test]
async fn each_day_of_each_workflow_is_shown_and_their_sums() {
    let front = Front::new();
    front.took(WorkflowType::EmailProcessing, 0, 5).await;
    front.took(WorkflowType::EmailProcessing, 30, 7).await;
    front.took(WorkflowType::EmailProcessing, 31, 100).await;
    front.took(WorkflowType::DocumentReview, 1, 11).await;
    let body = front.usage("").await.body;
    let (today, first) = (front.today(), front.today() - 30.days());
    let usage = |calls, tokens| json!({"api_calls": calls, "input_tokens": tokens, "output_tokens": 0, "cost_microdollars": 10 * tokens});
    let expected = json!({
        "since": first, "until": today, "usage": usage(3, 23),
        "workflows": [
            {"type": "email_processing", "usage": usage(2, 12),
             "days": [{"day": first, "usage": usage(1, 7)}, {"day": today, "usage": usage(1, 5)}]},
            {"type": "document_review", "usage": usage(1, 11), "days": [{"day": today - 1.day(), "usage": usage(1, 11)}]},
            {"type": "task_automation", "usage": {"api_calls": 0, "input_tokens": 0, "output_tokens": 0}, "days": []},
        ],
    });
    assert_eq!(body, expected);
    let since = today - 40.days();
    let chosen = front.usage(&format!("?type=email_processing&since={since}&until={first}")).await.body;
    assert_eq!((&chosen["usage"], chosen["workflows"].as_array().unwrap().len()), (&usage(2, 107), 1));
}

#[tokio::test]
async fn a_range_that_is_none_is_a_problem_that_names_the_parameter() {
    let front = Front::new();
    for (query, problem) in [
        ("?since=yesterday", "parameter `since`: is not a day as in 2026-01-31"),
        ("?until=2026-02-30", "parameter `until`: is not a day as in 2026-01-31"),
        ("?since=-9999-01-01&until=-9999-01-01", ""),
        ("?type=fax", "parameter `type`: "),
        ("?day=2026-01-01", "parameter `day`: is not known"),
    ] {
        let served = front.usage(query).await;
        if problem.is_empty() {
            assert!(served.status.is_success() || served.status == StatusCode::BAD_REQUEST, "{query}: {}", served.text);
            continue;
        }
        assert_eq!(served.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(served.body["detail"].as_str().unwrap().starts_with(problem), "{query}: {}", served.text);
    }
    for (query, problem) in [
        ("?since=2026-01-02&until=2026-01-01", "is after 2026-01-01"),
        ("?since=2020-01-01&until=2026-01-01", "is more than 800 days before 2026-01-01"),
    ] {
        let served = front.usage(query).await;
        assert_eq!(served.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert_eq!(served.body["errors"][0], json!({"field": "since", "problem": problem}));
    }
}
