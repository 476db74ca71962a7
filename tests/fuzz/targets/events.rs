//! Events of the bus, of S3 and of SES, and messages of each queue.

#![no_main]
#![allow(dead_code, reason = "the two files are taken as they stand, and not all of them is called here")]

#[path = "../../../functions/event-handler/src/event.rs"]
mod event;
#[path = "../../../shared/runtime/src/message.rs"]
mod message;

use ihelper_workflow::domain::WorkflowType;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(envelope) = serde_json::from_str::<event::Envelope>(text)
        && let Err(invalid) = event::read(&envelope)
    {
        assert!(!invalid.to_string().is_empty());
    }
    for workflow in WorkflowType::ALL {
        match message::Wire::parse(workflow, text).and_then(message::Wire::into_message) {
            Ok(_) => {}
            Err(invalid) => assert!(!invalid.to_string().is_empty()),
        }
    }
});
