//! Works through the queue of `task_automation`.

use ihelper_runtime::{consumer, telemetry};
use ihelper_workflow::domain::WorkflowType;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    telemetry::start();
    consumer::run(WorkflowType::TaskAutomation).await
}
