//! What must be true of [`Budgets`].

use futures::future::join_all;
use ihelper_workflow::{
    domain::WorkflowType,
    ports::{Account, Budgets, Reserved},
};

use super::{at, hostile_texts, run_id};

/// Makes a test of every case of the budgets' contract, each on budgets that the expression makes anew.
#[macro_export]
macro_rules! budgets_contract {
    ($port:expr) => {
        $crate::contract_tests! { $port, budgets:
            an_account_gives_what_it_holds_and_no_more,
            what_a_call_did_not_cost_is_there_for_the_next,
            while_calls_are_under_way_what_they_may_give_back_is_not_spent,
            a_call_that_cost_more_is_counted_whole,
            an_amount_that_no_account_holds_is_refused,
            of_many_at_once_as_many_are_granted_as_fit,
            many_who_settle_at_once_lose_nothing,
            accounts_are_kept_apart,
        }
    };
}

fn account(number: u128) -> Account {
    Account::Run(run_id(0, number))
}

async fn reserve(budgets: &dyn Budgets, amount: u64, limit: u64) -> Reserved {
    budgets.reserve(&account(1), amount, limit).await.unwrap()
}

/// Three thirds fit, and a fourth does not.
pub async fn an_account_gives_what_it_holds_and_no_more(budgets: &dyn Budgets) {
    for _ in 0..3 {
        assert_eq!(reserve(budgets, 10, 30).await, Reserved::Granted);
        budgets.settle(&account(1), 10, 10).await.unwrap();
    }
    assert_eq!(reserve(budgets, 1, 30).await, Reserved::Spent);
    assert_eq!(reserve(budgets, 1, 31).await, Reserved::Granted, "the limit is the caller's to say");
}

/// Of ten taken and four spent, six are left.
pub async fn what_a_call_did_not_cost_is_there_for_the_next(budgets: &dyn Budgets) {
    assert_eq!(reserve(budgets, 10, 10).await, Reserved::Granted);
    budgets.settle(&account(1), 10, 4).await.unwrap();
    assert_eq!(reserve(budgets, 7, 10).await, Reserved::Spent);
    assert_eq!(reserve(budgets, 6, 10).await, Reserved::Granted);
}

/// What is taken but not spent yet may come back, and the answer says so.
pub async fn while_calls_are_under_way_what_they_may_give_back_is_not_spent(budgets: &dyn Budgets) {
    assert_eq!(reserve(budgets, 10, 10).await, Reserved::Granted);
    assert_eq!(reserve(budgets, 10, 10).await, Reserved::Occupied);
    budgets.settle(&account(1), 10, 1).await.unwrap();
    assert_eq!(reserve(budgets, 10, 10).await, Reserved::Spent);
    assert_eq!(reserve(budgets, 9, 10).await, Reserved::Granted);
}

/// A call that cost more than was taken for it leaves less for the next, down to nothing.
pub async fn a_call_that_cost_more_is_counted_whole(budgets: &dyn Budgets) {
    assert_eq!(reserve(budgets, 1, 10).await, Reserved::Granted);
    budgets.settle(&account(1), 1, 12).await.unwrap();
    assert_eq!(reserve(budgets, 1, 10).await, Reserved::Spent);
    assert_eq!(reserve(budgets, 1, 13).await, Reserved::Granted);
}

/// More than the whole limit is refused at once, however large the numbers.
pub async fn an_amount_that_no_account_holds_is_refused(budgets: &dyn Budgets) {
    for (amount, limit) in [(11, 10), (u64::MAX, u64::MAX - 1), (1, 0)] {
        assert_eq!(reserve(budgets, amount, limit).await, Reserved::Spent);
    }
    assert_eq!(reserve(budgets, 10, 10).await, Reserved::Granted, "nothing was taken");
}

/// Two hundred take one each of fifty.
pub async fn of_many_at_once_as_many_are_granted_as_fit(budgets: &dyn Budgets) {
    let outcomes = join_all((0..200).map(|_| reserve(budgets, 1, 50))).await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Reserved::Granted).count(), 50);
}

/// Fifty settle at once, each for half of what it took.
pub async fn many_who_settle_at_once_lose_nothing(budgets: &dyn Budgets) {
    for _ in 0..50 {
        assert_eq!(reserve(budgets, 2, 100).await, Reserved::Granted);
    }
    let account = account(1);
    for outcome in join_all((0..50).map(|_| budgets.settle(&account, 2, 1))).await {
        outcome.unwrap();
    }
    assert_eq!(reserve(budgets, 51, 100).await, Reserved::Spent);
    assert_eq!(reserve(budgets, 50, 100).await, Reserved::Granted);
}

/// Another run, caller, day or workflow has an account of its own.
pub async fn accounts_are_kept_apart(budgets: &dyn Budgets) {
    let days = [at(0), at(86_400)].map(Account::day_of);
    let mut accounts = vec![account(1), account(2)];
    for day in days {
        accounts.extend(hostile_texts().into_iter().map(|caller| Account::CallerDay { caller, day }));
        accounts.extend(WorkflowType::ALL.map(|workflow| Account::WorkflowDay { workflow, day }));
        accounts.push(Account::CallerDay { caller: WorkflowType::EmailProcessing.name().to_owned(), day });
    }
    for account in &accounts {
        assert_eq!(budgets.reserve(account, 1, 1).await.unwrap(), Reserved::Granted, "{account:?}");
    }
    for account in &accounts {
        assert_eq!(budgets.reserve(account, 1, 1).await.unwrap(), Reserved::Occupied, "{account:?}");
    }
}

#[cfg(test)]
mod memory {
    use crate::memory::MemoryBudgets;

    budgets_contract!(async { MemoryBudgets::new() });
}
