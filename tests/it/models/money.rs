use std::sync::Arc;

use futures::future::join_all;
use ihelper_testkit::{
    WorkflowTester,
    memory::{MemoryBudgets, ScriptedModel, VirtualClock},
};
use ihelper_workflow::{
    domain::{Kind, Status, configuration::BudgetSettings},
    embedded,
    ports::{Clock as _, ModelAnswer, ModelFailure, ModelFault, Tokens},
};
use serde_json::{Value, json};

use super::assistant::assistant_on;

/// A model that reviews at a price: so many millionths of a dollar, by the node's price for tokens in.
fn costing(microdollars: u64) -> ScriptedModel {
    ScriptedModel::new(move |_, _| async move {
        tokio::task::yield_now().await;
        let review = json!({"explanation": "yes", "quotations": [], "verdict": "met", "confidence": 1.0});
        Ok(ModelAnswer { text: review.to_string(), tokens: Tokens { input: microdollars, ..Tokens::default() } })
    })
}

fn document(number: usize) -> Value {
    json!({"id": format!("d{number}"), "file": {"text": "A lease."}, "review_criteria": ["A lease"]})
}

fn tester(model: ScriptedModel, budgets: &MemoryBudgets, settings: BudgetSettings) -> WorkflowTester {
    let clock = VirtualClock::default();
    let assistant = assistant_on(&clock, model, budgets, settings);
    WorkflowTester::on_clock(clock, embedded::definitions().unwrap(), Arc::new(assistant))
}

// What a review can cost at the most (its bytes, and 1500 tokens at five each) is well below this; what it costs is this.
const PRICE: u64 = 20_000;

#[tokio::test]
async fn two_hundred_runs_never_spend_more_than_fifty_can_and_fifty_succeed() {
    let budgets = MemoryBudgets::new();
    let limit = 50 * PRICE;
    let settings = BudgetSettings { per_caller_and_day: Some(limit), ..BudgetSettings::default() };
    // Each costs less than is taken for it beforehand, so what is left must be given back to be spent.
    let price = 5000;
    let tester = tester(costing(price), &budgets, settings);
    let noon = tester.clock.now();
    let runs = join_all((0..200).map(|number| tester.execute("document_review", document(number)))).await;
    let runs: Vec<_> = runs.into_iter().map(Result::unwrap).collect();
    let succeeded = runs.iter().filter(|run| run.status == Status::Succeeded).count() as u64;
    let spent: u64 = runs.iter().map(|run| run.usage.cost_microdollars).sum();
    assert!(spent <= limit, "{spent}");
    assert_eq!(spent, succeeded * price);
    let [account] = &budgets.accounts()[..] else { panic!("one account") };
    assert_eq!(budgets.used(account), spent, "everything is settled");
    // The first that was refused found less than a call may cost.
    let most = 10_500;
    assert!(limit - spent < most, "{spent} of {limit} spent: money was left for another");
    for run in runs.iter().filter(|run| run.status != Status::Succeeded) {
        let error = run.error.as_ref().unwrap();
        assert_eq!((run.status, error.kind, run.failed_attempts), (Status::Failed, Kind::OverBudget, 1));
        assert!(error.message.contains("full again at 2025-03-02T00:00:00Z"), "{error}");
        let noon_to_midnight_ms = 12 * 3600 * 1000;
        let (wait_ms, took_ms) = (
            error.retry_after_ms.unwrap(),
            u64::try_from(tester.clock.now().duration_since(noon).as_millis()).unwrap(),
        );
        assert!((noon_to_midnight_ms - took_ms..=noon_to_midnight_ms).contains(&wait_ms), "{wait_ms} of {took_ms}");
    }
}

#[tokio::test]
async fn a_run_a_caller_and_a_workflow_have_budgets_of_their_own() {
    for (settings, whose) in [
        (BudgetSettings { per_run: Some(100), ..BudgetSettings::default() }, "the run's budget"),
        (BudgetSettings { per_caller_and_day: Some(100), ..BudgetSettings::default() }, "the caller's budget"),
        (BudgetSettings { per_workflow_and_day: Some(100), ..BudgetSettings::default() }, "the workflow's budget"),
    ] {
        let model = costing(1);
        let run = tester(model.clone(), &MemoryBudgets::new(), settings).execute("document_review", document(1)).await;
        let error = run.unwrap().error.unwrap();
        assert_eq!(error.kind, Kind::OverBudget);
        assert!(error.message.starts_with(whose), "{error}");
        assert!(model.requests().is_empty(), "nobody is asked without money");
    }
}

#[tokio::test]
async fn a_call_that_fails_costs_what_it_took_and_no_more() {
    let budgets = MemoryBudgets::new();
    let model = ScriptedModel::new(|_, _| async {
        let tokens = Tokens { input: 70, ..Tokens::default() };
        Err(ModelFailure::new(ModelFault::Refused, "no").after(tokens, None))
    });
    let settings = BudgetSettings { per_workflow_and_day: Some(1_000_000), ..BudgetSettings::default() };
    let run = tester(model, &budgets, settings).execute("document_review", document(1)).await.unwrap();
    assert_eq!((run.status, run.usage.cost_microdollars), (Status::Failed, 70));
    assert_eq!(budgets.used(&budgets.accounts()[0]), 70);
}

#[tokio::test]
async fn without_a_limit_there_is_no_account() {
    let budgets = MemoryBudgets::new();
    tester(costing(5), &budgets, BudgetSettings::default()).execute("document_review", document(1)).await.unwrap();
    assert!(budgets.accounts().is_empty());
}
