//! The three workflows, each the story of what happens to one email, one document, one task.

mod document;
mod email;
mod task;
mod tools;

pub use document::{DocumentReview, Reviewed};
pub use email::EmailProcessing;
pub use task::TaskAutomation;
pub use tools::{
    AskAssistant, CallServer, PublishEvent, RequestApproval, SendEmail, SendRequest, SetRecord, StartWorkflow, Tool,
    ToolCall, Toolbox, Wait,
};

use crate::{domain::run::Usage, ports::Assistant};

/// Who answered, as results say it: `rules` where no model answered a single question, whoever was to be asked.
fn model_of(usage: Usage, assistant: &dyn Assistant) -> String {
    let is_all_degraded = usage.degraded_calls > 0 && usage.degraded_calls == usage.api_calls;
    if is_all_degraded { "rules".to_owned() } else { assistant.model().to_owned() }
}
