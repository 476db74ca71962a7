//! Works through the queue of `document_review`.

use ihelper_runtime::{consumer, extract};
use ihelper_workflow::domain::WorkflowType;

fn main() -> Result<(), lambda_runtime::Error> {
    // The process that reads a document is this same binary.
    extract::run_if_child();
    serve()
}

#[tokio::main(flavor = "current_thread")]
async fn serve() -> Result<(), lambda_runtime::Error> {
    consumer::run(WorkflowType::DocumentReview).await
}
