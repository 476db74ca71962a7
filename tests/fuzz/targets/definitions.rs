//! Definitions, with the plans in them, as people write them.

#![no_main]

use ihelper_workflow::domain::definition::Definition;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(failure) = Definition::parse(text) {
        assert!(!failure.message.is_empty());
    }
});
