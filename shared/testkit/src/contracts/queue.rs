//! What must be true of every [`Queue`].

use std::time::Duration;

use ihelper_workflow::{
    domain::{Kind, WorkflowType, input},
    ports::{DeadLetter, Queue},
};
use serde_json::json;

use super::{EMAIL, TASK, hostile_texts, run_id};

/// Makes a test of every case of the queue's contract, each on a queue that the expression makes anew.
#[macro_export]
macro_rules! queue_contract {
    ($port:expr) => {
        $crate::contract_tests! { $port, queue:
            every_workflow_has_a_queue,
            any_delay_is_taken,
            a_run_can_be_started,
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

/// A delay longer than the queue's longest is cut, one below a second is not an error.
pub async fn any_delay_is_taken(queue: &dyn Queue) {
    for delay in [Duration::from_millis(1), Duration::from_mins(15), Duration::from_hours(12), Duration::MAX] {
        queue.resume(EMAIL, run_id(0, 1), delay).await.unwrap();
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
