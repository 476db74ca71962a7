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
