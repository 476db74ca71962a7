//! Works through the queue of `email_processing`.

use ihelper_runtime::consumer;
use ihelper_workflow::domain::WorkflowType;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    consumer::run(WorkflowType::EmailProcessing).await
}
