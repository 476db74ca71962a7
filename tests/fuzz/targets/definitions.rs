//! Definitions, with the plans in them, as people write them; and plans as an assistant answers them.

#![no_main]

use ihelper_workflow::domain::{definition::Definition, plan::Plan};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(failure) = Definition::parse(text) {
        assert!(!failure.message.is_empty());
    }
    let Ok(plan) = serde_json::from_str::<Plan>(text) else { return };
    match plan.check() {
        // Whatever passes can be begun somewhere, and no step waits for itself.
        Ok(()) => {
            assert!(plan.steps.iter().any(|step| step.depends_on.is_empty()));
            assert!(plan.steps.iter().all(|step| !plan.before(step).contains(step.id.as_str())));
        }
        Err(failure) => assert!(!failure.message.is_empty()),
    }
});
