//! What must be true of every [`Tracking`].

use futures::future::join_all;
use ihelper_workflow::{
    domain::{RunId, WorkflowType},
    ports::{Tracking, TrackingEntry},
};
use serde_json::json;

use super::{DOCUMENT, EMAIL, SIZES, at, bulky, delicate_values, hostile_texts, run_id};

/// Makes a test of every case of the tracking's contract, each on a tracking that the expression makes anew.
#[macro_export]
macro_rules! tracking_contract {
    ($port:expr) => {
        $crate::contract_tests! { $port, tracking:
            what_was_written_is_read,
            what_was_not_written_is_absent,
            a_later_run_replaces_the_entry,
            an_earlier_run_changes_nothing,
            the_same_run_may_write_again,
            of_many_who_write_at_once_the_latest_stands,
            each_workflow_has_its_own_entries,
            hostile_ids_are_kept_apart,
            any_details_survive,
        }
    };
}

fn entry(workflow: WorkflowType, data_id: &str, run: RunId, status: &str) -> TrackingEntry {
    TrackingEntry {
        workflow,
        data_id: data_id.to_owned(),
        run_id: run,
        status: status.to_owned(),
        details: json!({"run": run.to_string()}),
        at: at(1),
    }
}

/// An entry is read as it was written.
pub async fn what_was_written_is_read(tracking: &dyn Tracking) {
    for workflow in WorkflowType::ALL {
        let written = entry(workflow, "id-1", run_id(0, 1), "completed");
        tracking.put(&written).await.unwrap();
        assert_eq!(tracking.get(workflow, "id-1").await.unwrap(), Some(written));
    }
}

/// An id that no run was about has no entry.
pub async fn what_was_not_written_is_absent(tracking: &dyn Tracking) {
    tracking.put(&entry(EMAIL, "id-1", run_id(0, 1), "answered")).await.unwrap();
    assert_eq!(tracking.get(EMAIL, "id-2").await.unwrap(), None);
    assert_eq!(tracking.get(EMAIL, "id-").await.unwrap(), None);
}

/// The entry of a later run takes the place of the former.
pub async fn a_later_run_replaces_the_entry(tracking: &dyn Tracking) {
    tracking.put(&entry(EMAIL, "id-1", run_id(0, 9), "no_response")).await.unwrap();
    let later = entry(EMAIL, "id-1", run_id(1, 0), "answered");
    tracking.put(&later).await.unwrap();
    assert_eq!(tracking.get(EMAIL, "id-1").await.unwrap(), Some(later));
}

/// A run that comes late does not undo what a later one did, and that is no error.
pub async fn an_earlier_run_changes_nothing(tracking: &dyn Tracking) {
    let later = entry(EMAIL, "id-1", run_id(5, 0), "answered");
    tracking.put(&later).await.unwrap();
    tracking.put(&entry(EMAIL, "id-1", run_id(4, u128::MAX), "no_response")).await.unwrap();
    assert_eq!(tracking.get(EMAIL, "id-1").await.unwrap(), Some(later));
}

/// A run writes the same entry again without effect, and another one as it goes on.
pub async fn the_same_run_may_write_again(tracking: &dyn Tracking) {
    let first = entry(EMAIL, "id-1", run_id(0, 1), "reviewed");
    for _ in 0..2 {
        tracking.put(&first).await.unwrap();
        assert_eq!(tracking.get(EMAIL, "id-1").await.unwrap().as_ref(), Some(&first));
    }
    let second = TrackingEntry { status: "completed".to_owned(), at: at(2), ..first };
    tracking.put(&second).await.unwrap();
    assert_eq!(tracking.get(EMAIL, "id-1").await.unwrap(), Some(second));
}

/// Twenty runs write at once: the latest run's entry stands.
pub async fn of_many_who_write_at_once_the_latest_stands(tracking: &dyn Tracking) {
    let entries: Vec<TrackingEntry> =
        (0..20).map(|number| entry(EMAIL, "id-1", run_id(0, number * 7 % 20), "answered")).collect();
    for outcome in join_all(entries.iter().map(|entry| tracking.put(entry))).await {
        outcome.unwrap();
    }
    let standing = tracking.get(EMAIL, "id-1").await.unwrap().unwrap();
    assert_eq!(standing.run_id, run_id(0, 19));
}

/// An email and a document may have the same id.
pub async fn each_workflow_has_its_own_entries(tracking: &dyn Tracking) {
    let email = entry(EMAIL, "id-1", run_id(5, 1), "answered");
    let document = entry(DOCUMENT, "id-1", run_id(0, 1), "reviewed");
    tracking.put(&email).await.unwrap();
    tracking.put(&document).await.unwrap();
    assert_eq!(tracking.get(EMAIL, "id-1").await.unwrap(), Some(email));
    assert_eq!(tracking.get(DOCUMENT, "id-1").await.unwrap(), Some(document));
}

/// Any text is an id, and different texts are different ids.
pub async fn hostile_ids_are_kept_apart(tracking: &dyn Tracking) {
    let mut texts = hostile_texts();
    // Long texts that differ in their last character only.
    texts.extend(["x".repeat(4096) + "1", "x".repeat(4096) + "2", "x".repeat(1025)]);
    let entries: Vec<TrackingEntry> =
        texts.iter().enumerate().map(|(number, text)| entry(EMAIL, text, run_id(0, number as u128), text)).collect();
    for entry in &entries {
        tracking.put(entry).await.unwrap();
    }
    for entry in &entries {
        assert_eq!(tracking.get(EMAIL, &entry.data_id).await.unwrap().as_ref(), Some(entry));
    }
}

/// Details of any shape and size come back as they were.
pub async fn any_details_survive(tracking: &dyn Tracking) {
    let values = delicate_values().into_iter().chain(SIZES.map(bulky));
    for (number, details) in values.enumerate() {
        let written = TrackingEntry { details, ..entry(EMAIL, "id-1", run_id(0, number as u128), "completed") };
        tracking.put(&written).await.unwrap();
        assert!(tracking.get(EMAIL, "id-1").await.unwrap() == Some(written), "details come back as they were");
    }
}

#[cfg(test)]
mod memory {
    use crate::memory::MemoryTracking;

    tracking_contract!(async { MemoryTracking::new() });
}
