//! Events of the bus, of S3 and of SES, and messages of each queue.

#![no_main]
#![allow(dead_code, reason = "the two files are taken as they stand, and not all of them is called here")]

#[path = "../../../functions/event-handler/src/event.rs"]
mod event;
#[path = "../../../shared/runtime/src/message.rs"]
mod message;

// The one of the two files calls the other by its crate's name.
extern crate self as ihelper_runtime;

/// Who checks tokens, in name only: whether one is good is for keys to say, not for chance.
mod tokens {
    use std::fmt;

    use ihelper_workflow::domain::Failure;
    use jiff::Timestamp;

    pub struct Tokens;

    pub struct Bearer {
        pub subject: String,
    }

    pub enum Error {
        Unavailable(Failure),
        Refused,
    }

    impl fmt::Display for Error {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("refused")
        }
    }

    impl Tokens {
        pub async fn verify_as_of(&self, _: &str, _: Timestamp) -> Result<Bearer, Error> {
            Err(Error::Refused)
        }
    }

    pub fn of_authorization(value: &str) -> Option<&str> {
        value.strip_prefix("Bearer ")
    }
}

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
