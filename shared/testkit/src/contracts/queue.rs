//! What must be true of every [`Queue`].

use std::time::Duration;

use ihelper_workflow::{
    domain::{Kind, WorkflowType, input},
    ports::{DeadLetter, LARGEST_DATA, LONGEST_DELAY, Queue},
};
use serde_json::{Value, json};

use super::{EMAIL, KIB, TASK, bulky, hostile_texts, run_id};

/// Makes a test of every case of the queue's contract, each on a queue that the expression makes anew.
#[macro_export]
macro_rules! queue_contract {
    ($port:expr) => {
        $crate::contract_tests! { $port, queue:
            every_workflow_has_a_queue,
            any_delay_is_taken,
            a_delay_that_must_be_a_mistake_is_refused,
            a_run_can_be_started,
            data_that_no_message_holds_is_laid_aside,
            data_beyond_the_limit_is_refused,
            only_starts_can_be_fetched,
            any_dead_letter_is_taken,
        }
    };
}

/// A message can be put on the queue and the dead-letter queue of each workflow.
pub async fn every_workflow_has_a_queue(queue: &dyn Queue) {
    for workflow in WorkflowType::ALL {
        queue.resume(workflow, run_id(0, 1), Duration::ZERO).await.unwrap();
        let letter = DeadLetter {
            body: "{}".to_owned(),
            reason: "no `type`".to_owned(),
            kind: Kind::Validation,
            run: Some(run_id(0, 1)),
        };
        queue.dead_letter(workflow, &letter).await.unwrap();
    }
}

/// A delay may be longer than a queue can hold a message back, and below a second.
pub async fn any_delay_is_taken(queue: &dyn Queue) {
    let year = Duration::from_hours(365 * 24);
    for delay in [Duration::from_millis(1), Duration::from_mins(15), Duration::from_hours(12), year, LONGEST_DELAY] {
        queue.resume(EMAIL, run_id(0, 1), delay).await.unwrap();
        // Asked again, as by two workers.
        queue.resume(EMAIL, run_id(0, 1), delay).await.unwrap();
    }
}

/// Nobody waits for longer than the longest delay.
pub async fn a_delay_that_must_be_a_mistake_is_refused(queue: &dyn Queue) {
    for delay in [LONGEST_DELAY + Duration::from_nanos(1), Duration::MAX] {
        assert_eq!(queue.resume(EMAIL, run_id(0, 1), delay).await.unwrap_err().kind, Kind::Validation);
    }
}

/// A start carries the data as it is.
pub async fn a_run_can_be_started(queue: &dyn Queue) {
    for text in hostile_texts().into_iter().filter(|text| !text.is_empty()) {
        let data = json!({"id": "t1", "description": text, "extra": {"deep": [1, null]}});
        let input = input::parse(TASK, data).unwrap();
        queue.start(&input, run_id(0, 1), &text).await.unwrap();
    }
}

/// Large data comes back as it was; that of a small start was in the message.
pub async fn data_that_no_message_holds_is_laid_aside(queue: &dyn Queue) {
    let small = run_id(0, 1);
    let input = input::parse(TASK, json!({"id": "t1", "description": "x"})).unwrap();
    queue.start(&input, small, "api").await.unwrap();
    assert_eq!(queue.fetch(&format!("starts/{small}")).await.unwrap_err().kind, Kind::NotFound);

    for (random, bytes) in [(2, 255 * KIB), (3, 5 * KIB * KIB)] {
        let run = run_id(0, random);
        let data = json!({"id": "t1", "description": "\u{fffe} ü", "filler": bulky(bytes)});
        let input = input::parse(TASK, data).unwrap();
        // Twice, as by a caller whose answer was lost.
        queue.start(&input, run, "api").await.unwrap();
        queue.start(&input, run, "api").await.unwrap();
        let fetched = queue.fetch(&format!("starts/{run}")).await.unwrap();
        assert!(serde_json::from_slice::<Value>(&fetched).unwrap() == input.to_value());
    }
}

/// What could not be fetched again is not laid aside.
pub async fn data_beyond_the_limit_is_refused(queue: &dyn Queue) {
    let run = run_id(0, 1);
    let filler = "x".repeat(usize::try_from(LARGEST_DATA).unwrap());
    let input = input::parse(TASK, json!({"id": "t1", "description": "x", "filler": filler})).unwrap();
    assert_eq!(queue.start(&input, run, "api").await.unwrap_err().kind, Kind::Validation);
    assert_eq!(queue.fetch(&format!("starts/{run}")).await.unwrap_err().kind, Kind::NotFound);
}

/// Whoever may send a message does not get at anything else with it.
pub async fn only_starts_can_be_fetched(queue: &dyn Queue) {
    let run = run_id(0, 1);
    for place in ["", "starts/", "starts/../payloads/x", "payloads/x", "uploads/x", &format!("/starts/{run}")] {
        assert_eq!(queue.fetch(place).await.unwrap_err().kind, Kind::Validation, "`{place}`");
    }
}

/// Whatever could not be read is kept as it came, and so is the reason.
pub async fn any_dead_letter_is_taken(queue: &dyn Queue) {
    for text in hostile_texts() {
        let letter = DeadLetter { body: text.clone(), reason: text, kind: Kind::Unknown, run: None };
        queue.dead_letter(EMAIL, &letter).await.unwrap();
    }
}

#[cfg(test)]
mod memory {
    use crate::memory::{MemoryQueue, VirtualClock};

    queue_contract!(async { MemoryQueue::new(VirtualClock::default()) });
}
