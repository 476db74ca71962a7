//! What the workflows need from outside, in domain words.
//!
//! Every port fails with a [`Failure`](crate::domain::Failure), whose kind says whether another attempt may
//! help. Each has an in-memory implementation in the testkit and a real one in the adapters; one contract
//! suite holds both.

mod answers;
mod assistant;
mod budgets;
mod bus;
mod clock;
mod definitions;
mod extractor;
mod http;
mod journal;
mod keys;
mod mailer;
mod model;
mod monitor;
mod objects;
mod permissions;
mod queue;
mod rates;
mod requests;
mod servers;
mod tracking;
mod uploads;
mod usage;

pub use answers::{AnswerLedger, Claim, sender_key};
pub use assistant::{Answer, Asking, Assistant};
pub use budgets::{Account, Budgets, Reserved, StepCache};
pub use bus::{EventBus, OutgoingEvent};
pub use clock::{Clock, Entropy};
pub use definitions::{Added, DefinitionStore, LARGEST_DEFINITION, Moved};
pub use extractor::Extractor;
pub use http::HttpClient;
pub use journal::{Appended, Closing, Created, Journal, Opened, Page, Renewed, RunFilter};
pub use keys::SigningKeys;
pub use mailer::{Mailer, Receipt};
pub use model::{AnswerSchema, Model, ModelAnswer, ModelFailure, ModelFault, ModelRequest, Speaker, Tokens, Turn};
pub use monitor::{Monitor, Seen, Taken, Unwatched};
pub use objects::{Objects, StoredObject};
pub use permissions::{Action, Permissions, What, Who};
pub use queue::{
    DeadLetter, DeadLetters, LARGEST_DATA, LONGEST_DELAY, Letter, MOST_LETTERS, Queue, REDRIVE_OF, REDRIVE_SENT_AT,
};
pub use rates::{Counted, Quota, RequestCounts};
pub use requests::{GivesWay, Recalled, Remembered, RequestKey, Requests};
pub use servers::{ServerTool, ToolServers};
pub use tracking::{Tracking, TrackingEntry};
pub use uploads::{Handout, Offer, Uploads};
pub use usage::{UsageLedger, day_of};
