//! The API on ports in memory: all that a call takes but for the network.

use std::{error::Error, sync::Arc};

use api_process::{Api, call, router};
use ihelper_adapters::{cedar::CedarPermissions, system::SystemClock};
use ihelper_runtime::{
    settings::AuthMode,
    telemetry,
    tokens::{Expected, Tokens},
};
use ihelper_testkit::{Ports, WorkflowTester, memory::MemoryIssuer};
use lambda_http::{Request, service_fn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let telemetry = telemetry::start()?;
    let tester = WorkflowTester::new();
    let clock = Arc::new(SystemClock);
    let ports = Ports { clock: clock.clone(), ..tester.ports().clone() };
    let expected = Expected { issuer: MemoryIssuer::NAME.to_owned(), audience: MemoryIssuer::AUDIENCE.to_owned() };
    let api = Api {
        worker: tester.worker_of(&ports).watched_by(telemetry.monitor()),
        control: tester.control(),
        journal: Arc::clone(&ports.journal),
        queue: Arc::clone(&ports.queue),
        requests: Arc::new(tester.requests.clone()),
        letters: Arc::new(tester.queue.clone()),
        uploads: Arc::new(tester.uploads.clone()),
        usage: Arc::new(tester.usage.clone()),
        versions: tester.versions(),
        clock: clock.clone(),
        entropy: Arc::clone(&ports.entropy),
        auth_mode: AuthMode::Authorizer,
        origins: Vec::new(),
        tokens: Arc::new(Tokens::new(expected, Arc::new(MemoryIssuer::new()), clock)),
        permissions: Arc::new(CedarPermissions::embedded()),
        reads_files: false,
        limit: None,
    };
    let router = router(Arc::new(api));
    lambda_http::run(service_fn(move |request: Request| {
        let (router, telemetry) = (router.clone(), telemetry.clone());
        async move { telemetry.invocation(call(router, request)).await }
    }))
    .await
}
