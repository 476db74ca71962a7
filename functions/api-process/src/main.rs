//! Serves the HTTP API behind API Gateway.

use std::sync::Arc;

use api_process::{Api, RateLimit, call, router};
use ihelper_runtime::{deployment::Deployment, telemetry};
use ihelper_workflow::domain::WorkflowType;
use lambda_http::{Request, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    let telemetry = telemetry::start()?;
    let deployment = Deployment::from_environment(telemetry.monitor())?;
    let api = Api {
        worker: deployment.worker(&WorkflowType::ALL),
        control: deployment.control(),
        journal: deployment.journal(),
        queue: deployment.queue(),
        requests: deployment.requests(),
        letters: deployment.dead_letters(),
        uploads: deployment.uploads(),
        usage: deployment.usage(),
        versions: deployment.versions(),
        clock: deployment.clock(),
        entropy: deployment.entropy(),
        auth_mode: deployment.settings().auth_mode,
        reads_files: false,
        origins: deployment.settings().cors_origins.iter().map(|origin| origin.parse()).collect::<Result<_, _>>()?,
        tokens: deployment.tokens(),
        permissions: deployment.permissions(),
        limit: deployment.settings().quota.map(|quota| RateLimit::new(deployment.request_counts(), quota)),
    };
    let router = router(Arc::new(api));
    lambda_http::run(service_fn(move |request: Request| {
        let (router, telemetry) = (router.clone(), telemetry.clone());
        async move { telemetry.invocation(call(router, request)).await }
    }))
    .await
}
