//! Works through the queue of `task_automation`.

use ihelper_runtime::consumer;
use ihelper_workflow::domain::WorkflowType;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    consumer::run(WorkflowType::TaskAutomation).await
}
