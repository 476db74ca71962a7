//! What a run of each workflow takes of DynamoDB and SQS, on the real adapter, held to `tests/costs.json`.
//!
//! The table is the one of the template, in a database in memory behind a real endpoint. Everything else is in memory,
//! and time moves only by being read: no result lingers, so what is written together does not depend on the machine.
//!
//! After a change that is meant, `UPDATE_COSTS=1` writes the measured figures into `tests/costs.json`.

mod ports;
mod service;

use std::{fs, sync::Arc, time::Duration};

use api_process::{Api, router};
use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use http::{Request, StatusCode};
use ihelper_adapters::{
    cedar::CedarPermissions,
    dynamodb::{Meter, Metered, TableAnswerLedger, TableJournal, TableRequests, TableTracking},
    system::SystemEntropy,
};
use ihelper_bench::{
    costs::{Cost, Costs, Doors, POLLER_REQUESTS, Units, differences},
    workloads,
};
use ihelper_runtime::{
    consumer::Consumer,
    settings::AuthMode,
    tokens::{Expected, Tokens},
};
use ihelper_testkit::{
    OWN_ADDRESS, PlainTextExtractor, WorkflowTester,
    memory::{
        MemoryEventBus, MemoryIssuer, MemoryObjects, MemoryQueue, MemoryUploads, MemoryUsageLedger, VirtualClock,
    },
};
use ihelper_workflow::{
    domain::{Status, WorkflowType},
    embedded,
    engine::{Control, Deadline, Definitions, Worker, WorkerPorts, Workflow},
    ports::{AnswerLedger, Assistant, Clock, Journal, Queue, Requests, RunFilter, Tracking},
    rules::RulesAssistant,
    workflows::{
        AskAssistant, DocumentReview, EmailProcessing, PublishEvent, SendEmail, SetRecord, TaskAutomation, Tool,
        Toolbox,
    },
};
use serde_json::json;
use tower::ServiceExt as _;

use ports::{CountedMailer, CountedQueue, CountedVisibility, Line, Lines, SqsRequests, TickingClock, Watched};
use service::Service;

/// The most that the run of a usual email may take.
const EMAIL_LIMIT: Units = Units { write: 9.0, read: 3.0 };

const LEASE: Duration = Duration::from_secs(60);

/// A deployment of which every request is counted.
struct Stage {
    service: Arc<Service>,
    lines: Arc<Lines>,
    engine: Arc<Meter>,
    steps: Arc<Meter>,
    sqs: Arc<SqsRequests>,
    queue: MemoryQueue,
    mailer: Arc<CountedMailer>,
    bus: MemoryEventBus,
    clock: Arc<TickingClock>,
}

impl Stage {
    async fn new() -> Self {
        Self {
            service: Arc::new(Service::start().await),
            lines: Arc::default(),
            engine: Arc::default(),
            steps: Arc::default(),
            sqs: Arc::default(),
            queue: MemoryQueue::new(VirtualClock::default()),
            mailer: Arc::default(),
            bus: MemoryEventBus::new(),
            clock: Arc::new(TickingClock::new()),
        }
    }

    fn watched<Port>(&self, port: Port, meter: &Arc<Meter>) -> Watched<Port> {
        let (service, lines) = (Arc::clone(&self.service), Arc::clone(&self.lines));
        Watched { port, meter: Arc::clone(meter), service, lines }
    }

    fn journal(&self) -> Arc<dyn Journal> {
        Arc::new(self.watched(TableJournal::new(self.service.table(&self.engine)), &self.engine))
    }

    fn tracking(&self) -> Arc<dyn Tracking> {
        Arc::new(self.watched(TableTracking::new(self.service.table(&self.steps)), &self.steps))
    }

    fn answers(&self) -> Arc<dyn AnswerLedger> {
        Arc::new(self.watched(TableAnswerLedger::new(self.service.table(&self.steps)), &self.steps))
    }

    fn requests(&self) -> Arc<dyn Requests> {
        Arc::new(self.watched(TableRequests::new(self.service.table(&self.engine)), &self.engine))
    }

    fn queue(&self) -> Arc<dyn Queue> {
        Arc::new(CountedQueue { inner: self.queue.clone(), requests: Arc::clone(&self.sqs) })
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock) as Arc<dyn Clock>
    }

    fn workflow(&self, workflow: WorkflowType) -> Arc<dyn Workflow> {
        let assistant: Arc<dyn Assistant> = Arc::new(RulesAssistant);
        let (tracking, clock) = (self.tracking(), self.clock());
        let objects = Arc::new(MemoryObjects::new(["mail", "documents"]));
        match workflow {
            WorkflowType::EmailProcessing => Arc::new(EmailProcessing {
                assistant,
                mailer: self.mailer.clone(),
                answers: self.answers(),
                objects,
                queue: self.queue(),
                bus: Arc::new(self.bus.clone()),
                tracking,
                clock,
                own_address: OWN_ADDRESS.to_owned(),
                public_url: None,
            }),
            WorkflowType::DocumentReview => Arc::new(DocumentReview {
                assistant,
                extractor: Arc::new(PlainTextExtractor),
                objects,
                tracking,
                clock,
            }),
            WorkflowType::TaskAutomation => {
                let tools: [Arc<dyn Tool>; 4] = [
                    Arc::new(AskAssistant(Arc::clone(&assistant))),
                    Arc::new(SetRecord { tracking: Arc::clone(&tracking), clock: Arc::clone(&clock) }),
                    Arc::new(PublishEvent(Arc::new(self.bus.clone()))),
                    Arc::new(SendEmail(self.mailer.clone())),
                ];
                Arc::new(TaskAutomation { assistant, tools: Toolbox::new(tools), tracking, clock })
            }
        }
    }

    fn worker(&self, workflows: &[WorkflowType]) -> Worker {
        let ports = WorkerPorts { journal: self.journal(), clock: self.clock(), entropy: Arc::new(SystemEntropy) };
        let configuration = Arc::new(embedded::configuration().unwrap());
        let definitions = Definitions::new(workloads::definitions());
        let workflows = workflows.iter().map(|workflow| self.workflow(*workflow));
        Worker::new(ports, configuration, definitions, workflows, LEASE)
    }

    /// Nobody brings a token here.
    fn tokens(&self) -> Arc<Tokens> {
        let expected = Expected { issuer: MemoryIssuer::NAME.to_owned(), audience: MemoryIssuer::AUDIENCE.to_owned() };
        Arc::new(Tokens::new(expected, Arc::new(MemoryIssuer::new()), self.clock()))
    }

    /// Lets the workflow's consumer handle a batch of one message.
    async fn consume(&self, workflow: WorkflowType, body: String) {
        let consumer = Consumer {
            workflow,
            worker: self.worker(&[workflow]).that_sends_letters(),
            control: Control::new(self.journal(), self.queue(), self.clock()),
            queue: self.queue(),
            tokens: self.tokens(),
            visibility: Arc::new(CountedVisibility(Arc::clone(&self.sqs))),
            clock: self.clock(),
            concurrency: 5,
        };
        let mut message = SqsMessage::default();
        message.message_id = Some("5f0c7b1e-9d1a-4c55-8f3b-000000000001".to_owned());
        message.receipt_handle = Some("receipt".to_owned());
        message.body = Some(body);
        let sent_at = self.clock.now().as_millisecond().to_string();
        message.attributes.insert("SentTimestamp".to_owned(), sent_at);
        let mut batch = SqsEvent::default();
        batch.records = vec![message];
        let deadline = Deadline::at(self.clock.now() + Duration::from_secs(290));
        let response = consumer.handle(batch, deadline).await;
        assert!(response.batch_item_failures.is_empty(), "the message came back: {:?}", response.batch_item_failures);
    }

    /// Calls the API and waits for the result.
    async fn call(&self, workflow: WorkflowType) {
        let api = Api {
            worker: self.worker(&WorkflowType::ALL),
            control: Control::new(self.journal(), self.queue(), self.clock()),
            journal: self.journal(),
            queue: self.queue(),
            requests: self.requests(),
            letters: Arc::new(self.queue.clone()),
            uploads: Arc::new(MemoryUploads::new(VirtualClock::default())),
            usage: Arc::new(MemoryUsageLedger::new()),
            versions: WorkflowTester::new().versions(),
            clock: self.clock(),
            entropy: Arc::new(SystemEntropy),
            auth_mode: AuthMode::Off,
            origins: Vec::new(),
            tokens: self.tokens(),
            permissions: Arc::new(CedarPermissions::embedded()),
            reads_files: false,
            limit: None,
        };
        let body = json!({ "type": workflow.name(), "data": workloads::data(workflow) }).to_string();
        let request = Request::post("/workflow/process").header("content-type", "application/json");
        let response =
            router(Arc::new(api)).oneshot(request.body(axum::body::Body::from(body)).unwrap()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }

    /// What was taken so far. `batches` of messages were polled.
    fn cost(&self, batches: u64) -> Cost {
        let units = |metered: Metered| Units { write: metered.write_units, read: metered.read_units };
        Cost {
            engine: units(self.engine.total()),
            steps: units(self.steps.total()),
            sqs_requests: self.sqs.total() + batches * POLLER_REQUESTS,
            stored_kib: self.service.stored().div_ceil(1024) as u64,
        }
    }

    /// The run did what is typical of it.
    async fn expect_typical(&self, workflow: WorkflowType) {
        let unmetered = TableJournal::new(self.service.table(&Arc::default()));
        let filter = RunFilter { workflow: Some(workflow), limit: 10, ..RunFilter::default() };
        let page = unmetered.list(&filter).await.unwrap();
        assert_eq!(page.runs.iter().map(|run| run.status).collect::<Vec<_>>(), [Status::Succeeded]);
        let (run, steps) = unmetered.find(page.runs[0].id).await.unwrap().unwrap();
        let result = run.result.unwrap();
        let (mails, events) = (self.mailer.sent(), self.bus.published().len());
        match workflow {
            WorkflowType::EmailProcessing => {
                assert_eq!((&result["response_generated"], mails, steps.len()), (&json!(true), 1, 4), "{result}");
            }
            WorkflowType::DocumentReview => {
                assert_eq!((result["findings"].as_array().unwrap().len(), steps.len()), (5, 7), "{result}");
            }
            WorkflowType::TaskAutomation => {
                assert_eq!((result["steps"].as_array().unwrap().len(), steps.len()), (4, 6), "{result}");
                assert_eq!((mails, events), (1, 1), "{result}");
            }
        }
    }
}

/// A typical run by its queue: what it took, and each call of the table.
async fn by_queue(workflow: WorkflowType) -> (Cost, Vec<Line>) {
    let stage = Stage::new().await;
    let message = json!({ "type": workflow.name(), "data": workloads::data(workflow) });
    stage.consume(workflow, message.to_string()).await;
    stage.expect_typical(workflow).await;
    (stage.cost(1), stage.lines.take())
}

/// A typical run by the API, with what follows from it.
async fn by_api(workflow: WorkflowType) -> (Cost, Vec<Line>) {
    let stage = Stage::new().await;
    stage.call(workflow).await;
    let messages = stage.queue.drain(workflow);
    assert_eq!(messages.len(), 1, "a call leaves an insurance message");
    stage.consume(workflow, messages[0].body.to_json()).await;
    assert!(stage.queue.drain(workflow).is_empty(), "the insurance of a run that has ended leads to no other message");
    stage.expect_typical(workflow).await;
    (stage.cost(1), stage.lines.take())
}

fn shown(title: &str, cost: &Cost, lines: &[Line]) -> String {
    let lines: String = lines.iter().map(|line| format!("  {line}\n")).collect();
    format!("{title}: {cost:?}\n{lines}")
}

#[tokio::test]
async fn the_run_of_a_usual_email_takes_at_most_9_write_units_and_3_read_units() {
    let (cost, lines) = by_queue(WorkflowType::EmailProcessing).await;
    let taken = cost.table();
    let is_within = taken.write <= EMAIL_LIMIT.write && taken.read <= EMAIL_LIMIT.read;
    eprintln!("{}", shown("email_processing, by queue", &cost, &lines));
    assert!(is_within, "{taken:?} is more than {EMAIL_LIMIT:?}");
}

#[tokio::test]
async fn every_typical_run_takes_what_is_committed() {
    let mut measured = Costs::default();
    for workflow in WorkflowType::ALL {
        let (queue, lines) = by_queue(workflow).await;
        eprintln!("{}", shown(&format!("{workflow}, by queue"), &queue, &lines));
        let (api, lines) = by_api(workflow).await;
        eprintln!("{}", shown(&format!("{workflow}, by the API"), &api, &lines));
        measured.0.insert(workflow.name().to_owned(), Doors { queue, api });
    }
    if std::env::var_os("UPDATE_COSTS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../costs.json");
        fs::write(path, serde_json::to_string_pretty(&measured).unwrap() + "\n").unwrap();
        return;
    }
    let differences = differences(&Costs::committed().unwrap(), &measured);
    assert!(differences.is_empty(), "costs changed (see the head of this file):\n{}", differences.join("\n"));
}
