//! The seed's testing framework: any workflow, in a test, on ports in memory.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{
        Failure, Kind, RunId, Status, WorkflowType,
        definition::Definition,
        document::{Content, Criterion, Review, Section},
        email::{Draft, Email, EmailAnalysis},
        input,
        run::{Origin, Run, Trigger},
        task::{Plan, StepResult, TaskInput, TaskReport},
    },
    embedded,
    engine::{Control, Deadline, Definitions, Outcome, Worker, WorkerPorts, Workflow},
    ports::{
        Answer, AnswerLedger, Assistant, Clock, Entropy, EventBus, Extractor, HttpClient, Journal, Mailer, Objects,
        Queue, ToolServers, Tracking,
    },
    rules::RulesAssistant,
    versions::{Rehearsal, Versions},
    workflows::{
        AskAssistant, CallServer, DocumentReview, EmailProcessing, PublishEvent, RequestApproval, SendEmail,
        SendRequest, SetRecord, StartWorkflow, TaskAutomation, Tool, Toolbox, Wait,
    },
};
use jiff::Timestamp;
use serde_json::Value;

use crate::memory::{
    MemoryAnswerLedger, MemoryDefinitionStore, MemoryEventBus, MemoryHttpClient, MemoryJournal, MemoryMailer,
    MemoryObjects, MemoryQueue, MemoryRequests, MemoryToolServers, MemoryTracking, MemoryUploads, MemoryUsageLedger,
    SeededEntropy, VirtualClock,
};

/// The ports that workflows work with.
#[derive(Clone)]
pub struct Ports {
    /// Where runs are kept.
    pub journal: Arc<dyn Journal>,
    /// The queues.
    pub queue: Arc<dyn Queue>,
    /// Sends mail.
    pub mailer: Arc<dyn Mailer>,
    /// Knows who was answered lately.
    pub answers: Arc<dyn AnswerLedger>,
    /// Holds objects.
    pub objects: Arc<dyn Objects>,
    /// Reads documents.
    pub extractor: Arc<dyn Extractor>,
    /// Remembers what was done.
    pub tracking: Arc<dyn Tracking>,
    /// Takes events.
    pub bus: Arc<dyn EventBus>,
    /// The world outside.
    pub http: Arc<dyn HttpClient>,
    /// Servers with tools.
    pub servers: Arc<dyn ToolServers>,
    /// Thinks.
    pub assistant: Arc<dyn Assistant>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
}

impl Ports {
    /// The three workflows, with every tool, on these ports.
    pub fn workflows(&self) -> Vec<Arc<dyn Workflow>> {
        let tools: [Arc<dyn Tool>; 9] = [
            Arc::new(AskAssistant(Arc::clone(&self.assistant))),
            Arc::new(PublishEvent(Arc::clone(&self.bus))),
            Arc::new(SetRecord { tracking: Arc::clone(&self.tracking), clock: Arc::clone(&self.clock) }),
            Arc::new(SendEmail(Arc::clone(&self.mailer))),
            Arc::new(StartWorkflow(Arc::clone(&self.queue))),
            Arc::new(SendRequest(Arc::clone(&self.http))),
            Arc::new(CallServer(Arc::clone(&self.servers))),
            Arc::new(Wait(Arc::clone(&self.clock))),
            Arc::new(RequestApproval {
                bus: Arc::clone(&self.bus),
                mailer: Arc::clone(&self.mailer),
                public_url: None,
            }),
        ];
        vec![
            Arc::new(EmailProcessing {
                assistant: Arc::clone(&self.assistant),
                mailer: Arc::clone(&self.mailer),
                answers: Arc::clone(&self.answers),
                objects: Arc::clone(&self.objects),
                tracking: Arc::clone(&self.tracking),
                clock: Arc::clone(&self.clock),
                queue: Arc::clone(&self.queue),
                bus: Arc::clone(&self.bus),
                own_address: OWN_ADDRESS.to_owned(),
                public_url: None,
            }),
            Arc::new(DocumentReview {
                assistant: Arc::clone(&self.assistant),
                extractor: Arc::clone(&self.extractor),
                objects: Arc::clone(&self.objects),
                tracking: Arc::clone(&self.tracking),
                clock: Arc::clone(&self.clock),
            }),
            Arc::new(TaskAutomation {
                assistant: Arc::clone(&self.assistant),
                tools: Toolbox::new(tools),
                tracking: Arc::clone(&self.tracking),
                clock: Arc::clone(&self.clock),
            }),
        ]
    }

    /// What a worker needs of these.
    pub fn of_a_worker(&self) -> WorkerPorts {
        WorkerPorts {
            journal: Arc::clone(&self.journal),
            clock: Arc::clone(&self.clock),
            entropy: Arc::clone(&self.entropy),
        }
    }
}

/// Runs any workflow on ports in memory, on a clock that only the test moves.
///
/// ```
/// use ihelper_testkit::WorkflowTester;
/// use serde_json::json;
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let tester = WorkflowTester::new();
/// let email = json!({"id": "test123", "from": "user@example.com", "content": "Test email content"});
///
/// let result = tester.execute_workflow("email_processing", email).await.unwrap();
///
/// assert_eq!(result["status"], "success");
/// assert_eq!(result["response_generated"], true);
/// assert_eq!(tester.mailer.sent()[0].mail.to, "user@example.com");
/// assert_eq!(tester.assistant.calls(), ["analyze_email", "generate_response"]);
/// # });
/// ```
pub struct WorkflowTester {
    /// Time.
    pub clock: VirtualClock,
    /// The runs.
    pub journal: MemoryJournal,
    /// The queues.
    pub queue: MemoryQueue,
    /// The mail that was sent.
    pub mailer: MemoryMailer,
    /// Who was answered.
    pub answers: MemoryAnswerLedger,
    /// The buckets `mail` and `documents`.
    pub objects: MemoryObjects,
    /// What was tracked.
    pub tracking: MemoryTracking,
    /// The events that were published.
    pub bus: MemoryEventBus,
    /// The requests that were sent to the world outside.
    pub http: MemoryHttpClient,
    /// The servers whose tools were called.
    pub servers: MemoryToolServers,
    /// The requests that are remembered.
    pub requests: MemoryRequests,
    /// What callers uploaded.
    pub uploads: MemoryUploads,
    /// What models took; the tester's own assistant is none.
    pub usage: MemoryUsageLedger,
    /// The versions of definitions.
    pub versions: MemoryDefinitionStore,
    /// The assistant, which remembers what it was asked.
    pub assistant: Arc<RecordingAssistant>,
    /// Chance.
    pub entropy: SeededEntropy,
    ports: Ports,
    workflows: Vec<Arc<dyn Workflow>>,
    definitions: Definitions,
    worker: Worker,
}

/// The address that workflows in tests write from.
pub const OWN_ADDRESS: &str = "assistant@ihelper.example";

// A run that still is not over then waits for something that the test has to do.
const MAX_ATTEMPTS: usize = 1000;
const INVOCATION: Duration = Duration::from_secs(300);
const LEASE: Duration = Duration::from_secs(60);
/// Where a tester's clock begins: 1 January 2026, UTC.
const START: Timestamp = Timestamp::constant(1_767_225_600, 0);

impl Default for WorkflowTester {
    fn default() -> Self {
        Self::new()
    }
}

impl WorkflowTester {
    /// A tester with the embedded definitions and the assistant `rules`.
    ///
    /// # Panics
    /// When the embedded configuration or definitions are not valid.
    pub fn new() -> Self {
        Self::with_definitions(embedded::definitions().expect("the embedded definitions are valid"))
    }

    /// A tester with definitions of one's own; a workflow without one cannot be run.
    ///
    /// # Panics
    /// When the embedded configuration is not valid.
    pub fn with_definitions(definitions: Vec<Definition>) -> Self {
        Self::with_assistant(definitions, Arc::new(RulesAssistant))
    }

    /// A tester with definitions and an assistant of one's own.
    ///
    /// # Panics
    /// When the embedded configuration is not valid.
    pub fn with_assistant(definitions: Vec<Definition>, assistant: Arc<dyn Assistant>) -> Self {
        Self::on_clock(VirtualClock::new(START), definitions, assistant)
    }

    /// The same, on a clock that the assistant knows too.
    ///
    /// # Panics
    /// When the embedded configuration is not valid.
    pub fn on_clock(clock: VirtualClock, definitions: Vec<Definition>, assistant: Arc<dyn Assistant>) -> Self {
        let queue = MemoryQueue::new(clock.clone());
        let uploads = MemoryUploads::new(clock.clone());
        let (journal, mailer, answers) = (MemoryJournal::new(), MemoryMailer::new(), MemoryAnswerLedger::new());
        let (tracking, bus, entropy) = (MemoryTracking::new(), MemoryEventBus::new(), SeededEntropy::new(1));
        let objects = MemoryObjects::new(["mail", "documents"]);
        let (http, servers) = (MemoryHttpClient::new(), MemoryToolServers::new());
        let assistant = Arc::new(RecordingAssistant { inner: assistant, calls: Mutex::default() });
        let ports = Ports {
            journal: Arc::new(journal.clone()),
            queue: Arc::new(queue.clone()),
            mailer: Arc::new(mailer.clone()),
            answers: Arc::new(answers.clone()),
            objects: Arc::new(objects.clone()),
            extractor: Arc::new(PlainTextExtractor),
            tracking: Arc::new(tracking.clone()),
            bus: Arc::new(bus.clone()),
            http: Arc::new(http.clone()),
            servers: Arc::new(servers.clone()),
            assistant: assistant.clone(),
            clock: Arc::new(clock.clone()),
            entropy: Arc::new(entropy.clone()),
        };
        let workflows = ports.workflows();
        let configuration = Arc::new(embedded::configuration().expect("the embedded configuration is valid"));
        let versions = MemoryDefinitionStore::new();
        let definitions = Definitions::new(definitions).with_store(Arc::new(versions.clone()), ports.clock.clone());
        let worker = Worker::new(ports.of_a_worker(), configuration, definitions.clone(), workflows.clone(), LEASE);
        Self {
            clock,
            journal,
            queue,
            mailer,
            answers,
            objects,
            tracking,
            bus,
            http,
            servers,
            requests: MemoryRequests::new(),
            usage: MemoryUsageLedger::new(),
            uploads,
            versions,
            assistant,
            entropy,
            ports,
            workflows,
            definitions,
            worker,
        }
    }

    /// Gives runs their attempts; for tests that drive a run themselves.
    pub fn worker(&self) -> &Worker {
        &self.worker
    }

    /// Another worker on the same ports: for a function under test, or to play a second machine.
    pub fn worker_on(&self) -> Worker {
        self.worker_with(self.workflows.iter().cloned())
    }

    /// A worker on the same ports that knows these workflows only, as a consumer's does.
    pub fn worker_with(&self, workflows: impl IntoIterator<Item = Arc<dyn Workflow>>) -> Worker {
        let configuration = Arc::new(self.worker.configuration().clone());
        Worker::new(self.ports.of_a_worker(), configuration, self.definitions.clone(), workflows, LEASE)
    }

    /// A worker on ports that differ from the tester's, with every workflow: on the clock of this machine, where something
    /// real takes its time.
    pub fn worker_of(&self, ports: &Ports) -> Worker {
        let configuration = Arc::new(self.worker.configuration().clone());
        Worker::new(ports.of_a_worker(), configuration, self.definitions.clone(), ports.workflows(), LEASE)
    }

    /// Changes the tester's definitions. Their golden cases are played on its assistant.
    pub fn versions(&self) -> Versions {
        let rehearsal = Rehearsal {
            assistant: self.assistant.clone(),
            extractor: Arc::new(PlainTextExtractor),
            http: self.ports.http.clone(),
            configuration: Arc::new(self.worker.configuration().clone()),
            clock: self.ports.clock.clone(),
            entropy: self.ports.entropy.clone(),
        };
        Versions {
            store: Arc::new(self.versions.clone()),
            definitions: self.definitions.clone(),
            rehearsal,
            clock: self.ports.clock.clone(),
            patience: INVOCATION,
        }
    }

    /// Cancels, retries, answers and settles the tester's runs.
    pub fn control(&self) -> Control {
        Control::new(self.ports.journal.clone(), self.ports.queue.clone(), self.ports.clock.clone())
    }

    /// The tester's ports, for a workflow of one's own.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The workflow of this type on the tester's ports, to be wrapped or given to a worker.
    ///
    /// # Panics
    /// Never: there is one of each type.
    pub fn workflow(&self, workflow: WorkflowType) -> Arc<dyn Workflow> {
        let found = self.workflows.iter().find(|known| known.workflow() == workflow);
        Arc::clone(found.expect("the tester has a workflow of each type"))
    }

    /// Runs a workflow on data to its end, through retries and hand-overs, and gives its result.
    ///
    /// # Errors
    /// This returns an error when the type is unknown, the data is not valid, the run fails, or it rests
    /// (waiting, or in need of attention).
    pub async fn execute_workflow(&self, workflow: &str, data: Value) -> Result<Value, Failure> {
        let run = self.execute(workflow, data).await?;
        match (run.result, run.error) {
            (Some(result), _) => Ok(result),
            (None, Some(failure)) => Err(failure),
            (None, None) => Err(Failure::new(Kind::Unknown, format!("the run is {}", run.status))),
        }
    }

    /// Runs a workflow on data through retries, hand-overs and waits, until it ends or needs attention, and gives the
    /// whole run. Time passes as it has to: nobody answers a callback, so it expires.
    ///
    /// # Errors
    /// This returns an error when the type is unknown or the data is not valid, or the journal fails.
    pub async fn execute(&self, workflow: &str, data: Value) -> Result<Run, Failure> {
        let mut run = self.execute_until_it_rests(workflow, data).await?;
        for _ in 0..MAX_ATTEMPTS {
            match (run.status, run.due_at) {
                (Status::Waiting, Some(due)) => {
                    let until = Duration::try_from(due.duration_since(self.clock.now())).unwrap_or_default();
                    self.clock.advance(until);
                    run = self.go_on(run.id).await?;
                }
                _ => return Ok(run),
            }
        }
        Err(too_many_attempts())
    }

    /// Runs a workflow on data until it ends, waits or needs attention: then a test can answer, settle or cancel.
    ///
    /// # Errors
    /// As [`execute`](Self::execute).
    pub async fn execute_until_it_rests(&self, workflow: &str, data: Value) -> Result<Run, Failure> {
        let workflow: WorkflowType = workflow.parse()?;
        let input = input::parse(workflow, data)?;
        let id = RunId::new(self.clock.now(), self.entropy.random());
        let origin = Origin { trigger: Trigger::Api, id: id.to_string(), caller: "tester".to_owned() };
        let outcome = self.worker.start(&input, id, origin, self.deadline()).await?;
        self.until_it_rests(id, outcome).await
    }

    /// Goes on with a run that was answered, settled or retried, or is due, until it ends, waits or needs attention.
    ///
    /// # Errors
    /// This returns an error when there is no such run, or the journal fails.
    pub async fn go_on(&self, id: RunId) -> Result<Run, Failure> {
        let outcome = self.worker.resume(id, self.deadline()).await?;
        self.until_it_rests(id, outcome).await
    }

    async fn until_it_rests(&self, id: RunId, mut outcome: Outcome) -> Result<Run, Failure> {
        for _ in 0..MAX_ATTEMPTS {
            match outcome {
                Outcome::Ended { run, .. } | Outcome::Resting(run) => return Ok(*run),
                Outcome::Retry { after, .. } | Outcome::Busy { after } => self.clock.advance(after),
                Outcome::HandedOver => {}
            }
            outcome = self.worker.resume(id, self.deadline()).await?;
        }
        Err(too_many_attempts())
    }

    /// The run, as it stands in the journal.
    ///
    /// # Errors
    /// This returns an error when there is no such run.
    pub async fn run(&self, id: RunId) -> Result<Run, Failure> {
        let found = self.journal.find(id).await?;
        found.map(|(run, _)| run).ok_or_else(|| Failure::new(Kind::NotFound, "there is no such run"))
    }

    fn deadline(&self) -> Deadline {
        Deadline::at(self.clock.now().saturating_add(INVOCATION).unwrap_or(Timestamp::MAX))
    }
}

fn too_many_attempts() -> Failure {
    Failure::new(Kind::Timeout, format!("the run is not over after {MAX_ATTEMPTS} attempts"))
}

/// An assistant that remembers the names of its methods as they were called, in order.
pub struct RecordingAssistant {
    inner: Arc<dyn Assistant>,
    calls: Mutex<Vec<&'static str>>,
}

impl RecordingAssistant {
    /// The calls so far.
    pub fn calls(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn called(&self, name: &'static str) -> &dyn Assistant {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(name);
        self.inner.as_ref()
    }
}

#[async_trait]
impl Assistant for RecordingAssistant {
    fn model(&self) -> &str {
        self.inner.model()
    }

    async fn analyze_email(&self, definition: &Definition, email: &Email) -> Result<Answer<EmailAnalysis>, Failure> {
        self.called("analyze_email").analyze_email(definition, email).await
    }

    async fn generate_response(
        &self,
        definition: &Definition,
        template: &str,
        context: &std::collections::BTreeMap<String, Value>,
    ) -> Result<Answer<Draft>, Failure> {
        self.called("generate_response").generate_response(definition, template, context).await
    }

    async fn review_document(
        &self,
        definition: &Definition,
        content: &Content,
        criterion: &Criterion,
    ) -> Result<Answer<Review>, Failure> {
        self.called("review_document").review_document(definition, content, criterion).await
    }

    async fn analyze_task(
        &self,
        definition: &Definition,
        task: &TaskInput,
        tools: &[(&str, &str)],
    ) -> Result<Answer<Plan>, Failure> {
        self.called("analyze_task").analyze_task(definition, task, tools).await
    }

    async fn generate_report(
        &self,
        definition: &Definition,
        task: &TaskInput,
        results: &[StepResult],
    ) -> Result<Answer<TaskReport>, Failure> {
        self.called("generate_report").generate_report(definition, task, results).await
    }

    async fn ask(&self, definition: &Definition, instruction: &str, text: &str) -> Result<Answer<String>, Failure> {
        self.called("ask").ask(definition, instruction, text).await
    }
}

/// Reads documents of plain UTF-8 text, one section a document. The adapters read all other kinds.
#[derive(Clone, Copy, Debug, Default)]
pub struct PlainTextExtractor;

#[async_trait]
impl Extractor for PlainTextExtractor {
    async fn extract(&self, name: Option<&str>, bytes: Vec<u8>) -> Result<Content, Failure> {
        let text = String::from_utf8(bytes)
            .map_err(|error| Failure::validation(format!("the document is not UTF-8: {}", error.utf8_error())))?;
        let section = Section { label: name.unwrap_or("text").to_owned(), text, ..Section::default() };
        Ok(Content { format: "text".to_owned(), sections: vec![section], ..Content::default() })
    }
}
