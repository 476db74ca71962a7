//! The data of each workflow, as callers send it.

#![no_main]

use ihelper_workflow::domain::{WorkflowType, input};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(data) = serde_json::from_slice::<Value>(data) else { return };
    for workflow in WorkflowType::ALL {
        match input::parse(workflow, data.clone()) {
            // What is kept in the run is what its next attempt reads.
            Ok(input) => assert_eq!(input::parse(workflow, input.to_value()).as_ref(), Ok(&input)),
            Err(invalid) => assert!(!invalid.to_string().is_empty()),
        }
    }
});
