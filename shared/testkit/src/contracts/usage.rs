//! What must be true of every [`UsageLedger`].

use futures::future::join_all;
use ihelper_workflow::{
    domain::{WorkflowType, run::Usage},
    ports::UsageLedger,
};
use jiff::{ToSpan as _, civil::date};

/// Makes a test of every case of the ledger's contract, each on a ledger that the expression makes anew.
#[macro_export]
macro_rules! usage_contract {
    ($port:expr) => {
        $crate::contract_tests! { $port, usage:
            every_number_is_added_up,
            many_who_add_at_once_lose_nothing,
            days_and_workflows_are_kept_apart,
            days_come_in_order_and_only_those_asked_for,
        }
    };
}

const EMAIL: WorkflowType = WorkflowType::EmailProcessing;
const DAY: jiff::civil::Date = date(2026, 2, 28);

const ONE: Usage = Usage {
    api_calls: 1,
    input_tokens: 2000,
    output_tokens: 30,
    cached_tokens: 400,
    cost_microdollars: 5,
    degraded_calls: 1,
};

/// Every number of a call, those that are nothing too.
pub async fn every_number_is_added_up(ledger: &dyn UsageLedger) {
    assert_eq!(ledger.days(EMAIL, DAY, DAY).await.unwrap(), []);
    ledger.add(EMAIL, DAY, Usage { api_calls: 1, ..Usage::default() }).await.unwrap();
    ledger.add(EMAIL, DAY, ONE).await.unwrap();
    assert_eq!(ledger.days(EMAIL, DAY, DAY).await.unwrap(), [(DAY, Usage { api_calls: 2, ..ONE })]);
}

/// Fifty add one call each.
pub async fn many_who_add_at_once_lose_nothing(ledger: &dyn UsageLedger) {
    for outcome in join_all((0..50).map(|_| ledger.add(EMAIL, DAY, ONE))).await {
        outcome.unwrap();
    }
    let mut fifty = Usage::default();
    (0..50).for_each(|_| fifty += ONE);
    assert_eq!(ledger.days(EMAIL, DAY, DAY).await.unwrap(), [(DAY, fifty)]);
}

/// Another day or workflow has an account of its own.
pub async fn days_and_workflows_are_kept_apart(ledger: &dyn UsageLedger) {
    let next = DAY.tomorrow().unwrap();
    for workflow in WorkflowType::ALL {
        for day in [DAY, next] {
            ledger.add(workflow, day, ONE).await.unwrap();
        }
    }
    for workflow in WorkflowType::ALL {
        assert_eq!(ledger.days(workflow, DAY, next).await.unwrap(), [(DAY, ONE), (next, ONE)]);
    }
}

/// Both ends belong to what is asked for, and a range that ends before it begins holds nothing.
pub async fn days_come_in_order_and_only_those_asked_for(ledger: &dyn UsageLedger) {
    let days = [-400, -1, 0, 1, 2, 400].map(|days| DAY.checked_add(days.days()).unwrap());
    for day in days.into_iter().rev() {
        ledger.add(EMAIL, day, ONE).await.unwrap();
    }
    let found = ledger.days(EMAIL, days[1], days[4]).await.unwrap();
    assert_eq!(found.into_iter().map(|(day, _)| day).collect::<Vec<_>>(), days[1..=4]);
    assert_eq!(ledger.days(EMAIL, days[2], days[1]).await.unwrap(), []);
    assert_eq!(ledger.days(EMAIL, days[0], days[5]).await.unwrap().len(), 6);
}

#[cfg(test)]
mod memory {
    use crate::memory::MemoryUsageLedger;

    usage_contract!(async { MemoryUsageLedger::new() });
}
