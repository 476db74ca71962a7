//! A batch of messages in one invocation of a consumer, each of which asks a model that takes its time.

use std::time::Duration;

use ihelper_workflow::domain::WorkflowType;
use serde::Serialize;
use serde_json::json;

use crate::{
    Failed,
    functions::{
        build::{self, MEMORY_CONSUMER},
        data,
        emulator::Emulator,
        messages as batch_of,
        service::{MODEL_TIME, Service},
    },
    speed::median,
};

/// Messages of a batch.
pub const MESSAGES: usize = 10;

/// The longest that a batch may take, as a multiple of the model's time for one call.
pub const LIMIT: f64 = 1.4;

/// Batches that the figure is the median of.
const BATCHES: usize = 5;

/// How long a batch took, in seconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// The first, with the start of the function and its first connections.
    pub first_s: f64,
    /// The median of those after it.
    pub warm_s: f64,
    /// Calls of the model for each message.
    pub calls: f64,
}

impl Measured {
    /// The first batch, over the model's time for one call.
    pub fn ratio(seconds: f64) -> f64 {
        seconds / MODEL_TIME.as_secs_f64()
    }
}

/// Measures batches of mail.
///
/// # Errors
/// This returns an error when the consumer does not compile, or a message comes to nothing.
pub async fn measure() -> Result<Measured, Failed> {
    let service = Service::start().await?;
    let mut environment = service.environment();
    environment.insert("MODEL_ENDPOINT".to_owned(), service.issuer().to_owned());
    let mut emulator = Emulator::start(&build::peer(MEMORY_CONSUMER)?, &environment).await?;
    let mut times = Vec::new();
    for number in 0..=BATCHES {
        let messages: Vec<String> = (0..MESSAGES)
            .map(|message| {
                let workflow = WorkflowType::EmailProcessing;
                json!({ "type": workflow.name(), "data": data(workflow, number * MESSAGES + message) }).to_string()
            })
            .collect();
        let (answer, took) = emulator.invoke(&batch_of(&messages, number)).await?;
        if answer["batchItemFailures"] != json!([]) || took < MODEL_TIME {
            return Err(format!("a batch was not worked on, and took {took:?}: {answer}").into());
        }
        times.push(took);
    }
    let seconds: Vec<f64> = times.iter().map(Duration::as_secs_f64).collect();
    let calls = service.calls() as f64 / (seconds.len() * MESSAGES) as f64;
    Ok(Measured { first_s: seconds[0], warm_s: median(seconds[1..].to_vec()), calls })
}
