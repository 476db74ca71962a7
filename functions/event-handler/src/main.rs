//! Turns events of the bus, of S3 and of SES into runs.

use std::sync::Arc;

use event_handler::EventHandler;
use ihelper_runtime::{
    deployment::Deployment,
    telemetry::{self, Parent},
};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::Value;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let telemetry = telemetry::start()?;
    let deployment = Deployment::from_environment(telemetry.monitor())?;
    let handler = Arc::new(EventHandler {
        queue: deployment.queue(),
        control: deployment.control(),
        objects: deployment.documents(),
        answers: deployment.answers(),
        tokens: deployment.tokens(),
        clock: deployment.clock(),
        monitor: deployment.monitor(),
        mail_bucket: deployment.settings().mail_bucket.clone(),
        document_bucket: deployment.settings().document_bucket.clone(),
        definitions: deployment.definitions(),
    });
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
        let (handler, telemetry) = (Arc::clone(&handler), telemetry.clone());
        async move {
            let xray = event.context.xray_trace_id.as_deref().and_then(Parent::of_xray);
            match telemetry.invocation(handler.receive(event.payload, xray)).await {
                Ok(_handled) => Ok(()),
                Err(error) => {
                    let message = error.to_string();
                    let message = telemetry::message_of(error.kind(), &message);
                    tracing::error!(error.kind = %error.kind(), error.message = message, "the event was not handled");
                    Err(Error::from(error))
                }
            }
        }
    }))
    .await
}
