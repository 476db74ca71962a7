//! The consumer of mail on ports in memory, with the assistant that asks a model: the one at `MODEL_ENDPOINT`.

use std::{env, error::Error, sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_lambda_events::event::sqs::SqsEvent;
use ihelper_adapters::{openai::OpenAiModel, system::SystemClock};
use ihelper_runtime::{
    consumer::{Consumer, Visibility, deadline},
    telemetry,
    tokens::{Expected, Tokens},
};
use ihelper_testkit::{
    Ports, WorkflowTester,
    memory::{MemoryBudgets, MemoryIssuer, MemoryStepCache, MemoryUsageLedger, SeededEntropy},
};
use ihelper_workflow::{
    assistant::{Accounts, FenceKey, PromptAssistant},
    domain::{
        Failure, WorkflowType,
        configuration::{BudgetSettings, NodeSettings},
    },
    models::{Node, Router},
    ports::Clock,
};
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::json;

type Failed = Box<dyn Error + Send + Sync>;

/// As many messages at a time as a batch has.
const CONCURRENCY: usize = 10;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failed> {
    let telemetry = telemetry::start()?;
    let consumer = Arc::new(consumer(&env::var("MODEL_ENDPOINT")?)?);
    lambda_runtime::run(service_fn(move |event: LambdaEvent<SqsEvent>| {
        let (consumer, telemetry) = (Arc::clone(&consumer), telemetry.clone());
        async move {
            let deadline = deadline(event.context.deadline);
            Ok::<_, Failed>(telemetry.invocation(consumer.handle(event.payload, deadline)).await)
        }
    }))
    .await
}

fn consumer(endpoint: &str) -> Result<Consumer, Failed> {
    let tester = WorkflowTester::new();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let assistant = Arc::new(assistant(endpoint, &clock)?);
    let ports = Ports { clock: Arc::clone(&clock), assistant, ..tester.ports().clone() };
    let expected = Expected { issuer: MemoryIssuer::NAME.to_owned(), audience: MemoryIssuer::AUDIENCE.to_owned() };
    Ok(Consumer {
        workflow: WorkflowType::EmailProcessing,
        worker: tester.worker_of(&ports).that_sends_letters(),
        control: tester.control(),
        queue: Arc::clone(&ports.queue),
        tokens: Arc::new(Tokens::new(expected, Arc::new(MemoryIssuer::new()), Arc::clone(&clock))),
        visibility: Arc::new(Nobody),
        clock,
        concurrency: CONCURRENCY,
    })
}

fn assistant(endpoint: &str, clock: &Arc<dyn Clock>) -> Result<PromptAssistant, Failed> {
    let node =
        json!({ "name": "near", "provider": "openai", "endpoint": endpoint, "model": "m", "concurrency": CONCURRENCY });
    let settings: NodeSettings = serde_json::from_value(node)?;
    let model = Arc::new(OpenAiModel::new(&settings, None)?);
    Ok(PromptAssistant {
        name: "m".to_owned(),
        router: Arc::new(Router::new(vec![Node { settings, model }], Arc::clone(clock), None)),
        degrades_to_rules: false,
        accounts: Accounts {
            budgets: Arc::new(MemoryBudgets::new()),
            settings: BudgetSettings::default(),
            clock: Arc::clone(clock),
        },
        usage: Arc::new(MemoryUsageLedger::new()),
        cache: Arc::new(MemoryStepCache::new()),
        clock: Arc::clone(clock),
        fence: FenceKey::new(&SeededEntropy::new(1)),
    })
}

/// Nobody else receives these messages.
struct Nobody;

#[async_trait]
impl Visibility for Nobody {
    async fn change(&self, _: &[String], _: Duration) -> Result<(), Failure> {
        Ok(())
    }
}
