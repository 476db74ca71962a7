//! What must be true of every [`AnswerLedger`].

use std::time::Duration;

use futures::future::join_all;
use ihelper_workflow::{
    domain::RunId,
    ports::{AnswerLedger, Claim},
};

use super::{at, hostile_texts, run_id};

/// Makes a test of every case of the ledger's contract, each on a ledger that the expression makes anew.
#[macro_export]
macro_rules! answers_contract {
    ($port:expr) => {
        $crate::contract_tests! { $port, answers:
            one_answer_goes_to_an_address_in_a_window,
            the_same_run_may_claim_again,
            the_window_ends_at_its_moment,
            a_claim_that_was_refused_opens_no_window,
            letter_case_makes_no_other_address,
            sub_addresses_are_one_sender,
            a_claim_that_is_given_back_leaves_the_window_open,
            only_the_claimer_gives_a_claim_back,
            of_many_who_claim_at_once_one_is_granted,
            a_window_of_no_length_keeps_nobody,
            a_window_without_end_is_kept,
            hostile_addresses_are_kept_apart,
            a_suppressed_address_is_never_granted_again,
        }
    };
}

const DAY: Duration = Duration::from_hours(24);
const ADDRESS: &str = "ann@example.com";

async fn claim(ledger: &dyn AnswerLedger, address: &str, run: RunId, seconds: i64) -> Claim {
    ledger.claim(address, run, at(seconds), DAY).await.unwrap()
}

/// A second run within the window is told that the address was answered already.
pub async fn one_answer_goes_to_an_address_in_a_window(ledger: &dyn AnswerLedger) {
    assert_eq!(claim(ledger, ADDRESS, run_id(0, 1), 0).await, Claim::Granted);
    assert_eq!(claim(ledger, ADDRESS, run_id(0, 2), 1).await, Claim::AnsweredAlready);
    assert_eq!(claim(ledger, "bob@example.com", run_id(0, 2), 1).await, Claim::Granted);
}

/// A run that is worked on again is granted its answer again.
pub async fn the_same_run_may_claim_again(ledger: &dyn AnswerLedger) {
    for seconds in [0, 0, 10, 86_399, 200_000] {
        assert_eq!(claim(ledger, ADDRESS, run_id(0, 1), seconds).await, Claim::Granted);
    }
}

/// At the end of the window, and not before, another answer may go.
pub async fn the_window_ends_at_its_moment(ledger: &dyn AnswerLedger) {
    assert_eq!(claim(ledger, ADDRESS, run_id(0, 1), 0).await, Claim::Granted);
    let end = at(86_400);
    let just_before = end - jiff::SignedDuration::from_nanos(1);
    assert_eq!(ledger.claim(ADDRESS, run_id(0, 2), just_before, DAY).await.unwrap(), Claim::AnsweredAlready);
    assert_eq!(ledger.claim(ADDRESS, run_id(0, 2), end, DAY).await.unwrap(), Claim::Granted);
    assert_eq!(ledger.claim(ADDRESS, run_id(0, 1), end, DAY).await.unwrap(), Claim::AnsweredAlready);
}

/// Who writes again and again gets an answer once the window is over, not never.
pub async fn a_claim_that_was_refused_opens_no_window(ledger: &dyn AnswerLedger) {
    assert_eq!(claim(ledger, ADDRESS, run_id(0, 1), 0).await, Claim::Granted);
    for hour in 1..24 {
        assert_eq!(claim(ledger, ADDRESS, run_id(hour, 2), hour * 3600).await, Claim::AnsweredAlready);
    }
    assert_eq!(claim(ledger, ADDRESS, run_id(24, 2), 86_400).await, Claim::Granted);
}

/// An address in capitals is the same address.
pub async fn letter_case_makes_no_other_address(ledger: &dyn AnswerLedger) {
    assert_eq!(claim(ledger, ADDRESS, run_id(0, 1), 0).await, Claim::Granted);
    assert_eq!(claim(ledger, "Ann@EXAMPLE.com", run_id(0, 2), 0).await, Claim::AnsweredAlready);
}

/// What follows a `+` makes no other sender.
pub async fn sub_addresses_are_one_sender(ledger: &dyn AnswerLedger) {
    assert_eq!(claim(ledger, "ann+1@example.com", run_id(0, 1), 0).await, Claim::Granted);
    for address in ["ann+2@example.com", "ann@example.com", "ANN+@Example.com", "ann+1+2@example.com"] {
        assert_eq!(claim(ledger, address, run_id(0, 2), 0).await, Claim::AnsweredAlready, "{address}");
    }
    for other in ["ann@sub.example.com", "+1@example.com", "anna+1@example.com"] {
        assert_eq!(claim(ledger, other, run_id(0, 2), 0).await, Claim::Granted, "{other}");
    }
    ledger.suppress("ann+9@example.com", at(1)).await.unwrap();
    assert_eq!(claim(ledger, ADDRESS, run_id(0, 1), 2).await, Claim::Suppressed);
}

/// After a claim was given back, any run is granted it, the same one too; giving it back again changes nothing.
pub async fn a_claim_that_is_given_back_leaves_the_window_open(ledger: &dyn AnswerLedger) {
    assert_eq!(claim(ledger, ADDRESS, run_id(0, 1), 0).await, Claim::Granted);
    ledger.release("Ann+x@Example.com", run_id(0, 1)).await.unwrap();
    ledger.release(ADDRESS, run_id(0, 1)).await.unwrap();
    assert_eq!(claim(ledger, ADDRESS, run_id(0, 1), 1).await, Claim::Granted);
    ledger.release(ADDRESS, run_id(0, 1)).await.unwrap();
    assert_eq!(claim(ledger, ADDRESS, run_id(0, 2), 2).await, Claim::Granted);
    assert_eq!(claim(ledger, ADDRESS, run_id(0, 1), 3).await, Claim::AnsweredAlready);
}

/// Nobody else's claim is given back, nor one that was never made, nor does a suppression end.
pub async fn only_the_claimer_gives_a_claim_back(ledger: &dyn AnswerLedger) {
    ledger.release(ADDRESS, run_id(0, 1)).await.unwrap();
    assert_eq!(claim(ledger, ADDRESS, run_id(0, 1), 0).await, Claim::Granted);
    ledger.release(ADDRESS, run_id(0, 2)).await.unwrap();
    assert_eq!(claim(ledger, ADDRESS, run_id(0, 2), 1).await, Claim::AnsweredAlready);
    ledger.suppress(ADDRESS, at(2)).await.unwrap();
    ledger.release(ADDRESS, run_id(0, 1)).await.unwrap();
    assert_eq!(claim(ledger, ADDRESS, run_id(0, 1), 3).await, Claim::Suppressed);
}

/// Twenty runs claim at once: one is granted the answer.
pub async fn of_many_who_claim_at_once_one_is_granted(ledger: &dyn AnswerLedger) {
    let outcomes = join_all((0..20).map(|number| claim(ledger, ADDRESS, run_id(0, number), 0))).await;
    assert_eq!(outcomes.iter().filter(|claim| **claim == Claim::Granted).count(), 1);
}

/// A window of zero allows every answer.
pub async fn a_window_of_no_length_keeps_nobody(ledger: &dyn AnswerLedger) {
    for number in 0..3 {
        let claim = ledger.claim(ADDRESS, run_id(0, number), at(0), Duration::ZERO).await.unwrap();
        assert_eq!(claim, Claim::Granted);
    }
}

/// The longest window that can be said is a window, not a fault.
pub async fn a_window_without_end_is_kept(ledger: &dyn AnswerLedger) {
    assert_eq!(ledger.claim(ADDRESS, run_id(0, 1), at(0), Duration::MAX).await.unwrap(), Claim::Granted);
    assert_eq!(claim(ledger, ADDRESS, run_id(0, 2), 1_000_000_000).await, Claim::AnsweredAlready);
}

/// Any text may be an address, and different texts are different addresses.
pub async fn hostile_addresses_are_kept_apart(ledger: &dyn AnswerLedger) {
    let mut addresses = hostile_texts();
    addresses.extend(["x".repeat(4096) + "1", "x".repeat(4096) + "2"]);
    for (number, address) in addresses.iter().enumerate() {
        assert_eq!(claim(ledger, address, run_id(0, number as u128), 0).await, Claim::Granted);
    }
    for address in &addresses {
        assert_eq!(claim(ledger, address, run_id(9, 0), 1).await, Claim::AnsweredAlready);
    }
}

/// Whoever claims, whenever, is told that the address is suppressed.
pub async fn a_suppressed_address_is_never_granted_again(ledger: &dyn AnswerLedger) {
    assert_eq!(claim(ledger, ADDRESS, run_id(0, 1), 0).await, Claim::Granted);
    ledger.suppress("Ann@Example.com", at(1)).await.unwrap();
    ledger.suppress(ADDRESS, at(2)).await.unwrap();
    assert_eq!(claim(ledger, ADDRESS, run_id(0, 1), 3).await, Claim::Suppressed);
    assert_eq!(claim(ledger, ADDRESS, run_id(0, 2), 1_000_000_000).await, Claim::Suppressed);
    assert_eq!(claim(ledger, "bob@example.com", run_id(0, 2), 3).await, Claim::Granted);
}

#[cfg(test)]
mod memory {
    use crate::memory::MemoryAnswerLedger;

    answers_contract!(async { MemoryAnswerLedger::new() });
}
