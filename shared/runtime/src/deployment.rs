//! Adapters wired to ports, and the workflows on them.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use ihelper_adapters::{
    aws::{Aws, Credentials, Timeouts},
    dynamodb::{
        RETENTION, Table, TableAnswerLedger, TableDefinitionStore, TableJournal, TableRequestCounts, TableRequests,
        TableTracking, TableUsageLedger,
    },
    eventbridge::EventBridgeBus,
    extract::{IsolatedExtractor, Limits},
    http::GuardedHttpClient,
    issuer::IssuerKeys,
    s3::{S3Objects, S3Uploads, S3Values},
    scheduler::{Scheduler, Schedules},
    ses::SesMailer,
    sqs::{QueueUrls, SqsQueue},
    system::{SystemClock, SystemEntropy},
};
use ihelper_workflow::{
    domain::{Failure, WorkflowType, configuration::Configuration, document::Content},
    embedded,
    engine::{Control, Definitions, Worker, WorkerPorts, Workflow},
    ports::{
        AnswerLedger, Assistant, Clock, DeadLetters, Entropy, EventBus, Extractor, Journal, Mailer, Monitor, Objects,
        Queue, RequestCounts, Requests, Tracking, Uploads, UsageLedger,
    },
    versions::{Rehearsal, Versions},
    workflows::{
        AskAssistant, DocumentReview, EmailProcessing, PublishEvent, RequestApproval, SendEmail, SendRequest,
        SetRecord, StartWorkflow, TaskAutomation, Tool, Toolbox, Wait,
    },
};
use lambda_runtime::Error;
#[cfg(feature = "permissions")]
use {ihelper_adapters::cedar::BuiltIn, ihelper_workflow::ports::Permissions};
#[cfg(feature = "mcp")]
use {ihelper_adapters::mcp::McpServers, ihelper_workflow::workflows::CallServer};

use crate::{
    assistant::assistant,
    consumer::{Consumer, Visibility},
    settings::{self, Settings},
    tokens::{Expected, Tokens},
};

/// How long the golden cases of a new version may take together: a call of the API ends after 29 s, and the pointer
/// has to be moved after them.
const LONGEST_REHEARSAL: Duration = Duration::from_secs(22);

/// Everything that a function can be wired from. Nothing here talks to AWS before it is used.
pub struct Deployment {
    settings: Settings,
    configuration: Arc<Configuration>,
    definitions: Definitions,
    aws: Aws,
    table: Table,
    queue: SqsQueue,
    mailer: SesMailer,
    assistant: Arc<dyn Assistant>,
    extractor: Arc<dyn Extractor>,
    monitor: Arc<dyn Monitor>,
}

impl Deployment {
    /// Reads the environment and the embedded configuration; the monitor is told what the workers do.
    ///
    /// # Errors
    /// This returns an error that lists what is missing from the environment, or is wrong in the configuration
    /// or a definition.
    pub fn from_environment(monitor: Arc<dyn Monitor>) -> Result<Self, Error> {
        Self::new(Settings::from_environment()?, monitor)
    }

    fn new(settings: Settings, monitor: Arc<dyn Monitor>) -> Result<Self, Error> {
        let credentials = Credentials {
            access_key_id: settings.access_key_id.clone(),
            secret_access_key: settings.secret_access_key.reveal().to_owned(),
            session_token: settings.session_token.as_ref().map(|token| token.reveal().to_owned()),
        };
        let aws = aws(&settings, credentials)?;
        let values = S3Values::new(&aws, &settings.payload_bucket);
        let table = Table::new(&aws, &settings.table, Arc::new(values), RETENTION);
        let urls: BTreeMap<WorkflowType, QueueUrls> = WorkflowType::ALL
            .into_iter()
            .map(|workflow| {
                let (queue, dead_letters) = (&settings.queues[&workflow], &settings.dead_letter_queues[&workflow]);
                (workflow, QueueUrls { queue: queue.clone(), dead_letters: dead_letters.clone() })
            })
            .collect();
        let schedules = Schedules {
            group: settings.schedule_group.clone(),
            role_arn: settings.scheduler_role_arn.clone(),
            queue_arns: settings.queue_arns.clone(),
        };
        let configuration = embedded::configuration()?;
        let keys = settings::model_keys(&configuration, |name| std::env::var(name).ok());
        // One for the whole process, so that it learns of each version once.
        let definitions = embedded::known_definitions()
            .with_store(Arc::new(TableDefinitionStore::new(table.clone())), Arc::new(SystemClock));
        Ok(Self {
            assistant: assistant(&configuration.assistant, &keys, &aws, &table, &monitor)?,
            extractor: Arc::new(ReadElsewhere),
            monitor,
            configuration: Arc::new(configuration),
            definitions,
            queue: SqsQueue::new(&aws, urls)
                .with_scheduler(Scheduler::new(&aws, Arc::new(SystemClock), schedules))
                .with_starts_in(&aws, &settings.payload_bucket),
            mailer: SesMailer::new(&aws, &settings.sender_address, Some(&settings.configuration_set))?,
            aws,
            table,
            settings,
        })
    }

    /// The same, whose workers read documents, each in a process of its own. That process is this very binary: its main has
    /// to look for a child's argument before anything else.
    ///
    /// Other functions carry a megabyte less, and meet no file that somebody made to break what reads it.
    #[must_use]
    pub fn that_reads_documents(mut self) -> Self {
        self.extractor = Arc::new(IsolatedExtractor::new(PathBuf::from("/proc/self/exe"), Limits::default()));
        self
    }

    /// What the environment told.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The settings of the workflows.
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// What workflows go by.
    pub fn definitions(&self) -> Definitions {
        self.definitions.clone()
    }

    /// This fails when the built-in definition of a workflow is not valid, or pins a plan that the tools of this deployment
    /// cannot carry out.
    fn check_definition(&self, workflow: WorkflowType) -> Result<(), Failure> {
        let definition = self.definitions.built_in(workflow)?;
        definition.plan.iter().try_for_each(|plan| self.tools().check(&definition, plan))
    }

    /// The queues.
    pub fn queue(&self) -> Arc<dyn Queue> {
        Arc::new(self.queue.clone())
    }

    /// The runs.
    pub fn journal(&self) -> Arc<dyn Journal> {
        Arc::new(TableJournal::new(self.table.clone()))
    }

    /// Which requests led to which runs.
    pub fn requests(&self) -> Arc<dyn Requests> {
        Arc::new(TableRequests::new(self.table.clone()))
    }

    /// How often each caller called.
    pub fn request_counts(&self) -> Arc<dyn RequestCounts> {
        Arc::new(TableRequestCounts::new(self.table.clone()))
    }

    /// Who stands behind a token. The issuer is asked for its keys with the first one.
    pub fn tokens(&self) -> Arc<Tokens> {
        let Settings { jwt_issuer: issuer, jwt_audience: audience, .. } = self.settings.clone();
        let keys = IssuerKeys::new(issuer.as_str()).trusting(self.aws.roots_for(&issuer));
        Arc::new(Tokens::new(Expected { issuer, audience }, Arc::new(keys), self.clock()))
    }

    /// Who may do what.
    #[cfg(feature = "permissions")]
    pub fn permissions(&self) -> Arc<dyn Permissions> {
        Arc::new(BuiltIn)
    }

    /// The dead-letter queues.
    pub fn dead_letters(&self) -> Arc<dyn DeadLetters> {
        Arc::new(self.queue.clone())
    }

    /// What is too large for a request or an answer.
    pub fn uploads(&self) -> Arc<dyn Uploads> {
        Arc::new(S3Uploads::new(&self.aws, self.clock(), &self.settings.payload_bucket))
    }

    /// How the world reaches a run between its attempts.
    pub fn control(&self) -> Control {
        Control::new(self.journal(), self.queue(), self.clock())
    }

    /// The document bucket, in which nobody finds anybody's mail.
    pub fn documents(&self) -> Arc<dyn Objects> {
        Arc::new(S3Objects::new(&self.aws, [&self.settings.document_bucket]))
    }

    fn stored_mail(&self) -> Arc<dyn Objects> {
        Arc::new(S3Objects::new(&self.aws, [&self.settings.mail_bucket]))
    }

    /// Who was answered.
    pub fn answers(&self) -> Arc<dyn AnswerLedger> {
        Arc::new(TableAnswerLedger::new(self.table.clone()))
    }

    /// Who watches.
    pub fn monitor(&self) -> Arc<dyn Monitor> {
        Arc::clone(&self.monitor)
    }

    /// The system's time.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }

    /// The system's chance.
    pub fn entropy(&self) -> Arc<dyn Entropy> {
        Arc::new(SystemEntropy)
    }

    /// A worker for these workflows.
    pub fn worker(&self, workflows: &[WorkflowType]) -> Worker {
        let ports = WorkerPorts { journal: self.journal(), clock: self.clock(), entropy: self.entropy() };
        let definitions = self.definitions.clone();
        let workflows = workflows.iter().map(|workflow| self.workflow(*workflow));
        Worker::new(ports, Arc::clone(&self.configuration), definitions, workflows, self.settings.lease)
            .watched_by(Arc::clone(&self.monitor))
    }

    /// The consumer of a workflow's queue.
    ///
    /// # Errors
    /// This returns an error when the built-in definition of the workflow is not valid, or pins a plan that the tools of
    /// this deployment cannot carry out: that ends the function's start, not its first run.
    pub fn consumer(&self, workflow: WorkflowType) -> Result<Consumer, Failure> {
        self.check_definition(workflow)?;
        Ok(Consumer {
            workflow,
            worker: self.worker(&[workflow]).that_sends_letters(),
            control: self.control(),
            queue: self.queue(),
            tokens: self.tokens(),
            visibility: Arc::new(QueueVisibility {
                queue: self.queue.clone(),
                url: self.settings.queues[&workflow].clone(),
            }),
            clock: self.clock(),
            concurrency: self.settings.message_concurrency,
        })
    }

    /// Changes definitions. Their golden cases are played on the assistant and the settings of this deployment.
    pub fn versions(&self) -> Versions {
        Versions {
            store: Arc::new(TableDefinitionStore::new(self.table.clone())),
            definitions: self.definitions.clone(),
            rehearsal: Rehearsal {
                assistant: self.assistant(),
                extractor: Arc::clone(&self.extractor),
                http: Arc::new(GuardedHttpClient::new(self.configuration.security.http_hosts.clone())),
                configuration: Arc::clone(&self.configuration),
                clock: self.clock(),
                entropy: self.entropy(),
            },
            clock: self.clock(),
            patience: LONGEST_REHEARSAL,
        }
    }

    fn workflow(&self, workflow: WorkflowType) -> Arc<dyn Workflow> {
        match workflow {
            WorkflowType::EmailProcessing => Arc::new(EmailProcessing {
                assistant: self.assistant(),
                mailer: self.mailer(),
                answers: self.answers(),
                objects: self.stored_mail(),
                tracking: self.tracking(),
                clock: self.clock(),
                queue: self.queue(),
                bus: self.bus(),
                own_address: self.settings.sender_address.clone(),
                public_url: self.settings.public_url.clone(),
            }),
            WorkflowType::DocumentReview => Arc::new(DocumentReview {
                assistant: self.assistant(),
                extractor: Arc::clone(&self.extractor),
                objects: self.documents(),
                tracking: self.tracking(),
                clock: self.clock(),
            }),
            WorkflowType::TaskAutomation => Arc::new(TaskAutomation {
                assistant: self.assistant(),
                tools: self.tools(),
                tracking: self.tracking(),
                clock: self.clock(),
            }),
        }
    }

    fn tools(&self) -> Toolbox {
        let bus = self.bus();
        let approval = RequestApproval {
            bus: Arc::clone(&bus),
            mailer: self.mailer(),
            public_url: self.settings.public_url.clone(),
        };
        let mut tools: Vec<Arc<dyn Tool>> = vec![
            Arc::new(AskAssistant(self.assistant())),
            Arc::new(PublishEvent(bus)),
            Arc::new(Wait(self.clock())),
            Arc::new(approval),
            Arc::new(SetRecord { tracking: self.tracking(), clock: self.clock() }),
            Arc::new(SendEmail(self.mailer())),
            Arc::new(StartWorkflow(self.queue())),
        ];
        let hosts = &self.configuration.security.http_hosts;
        if !hosts.is_empty() {
            tools.push(Arc::new(SendRequest(Arc::new(GuardedHttpClient::new(hosts.clone())))));
        }
        let servers = &self.configuration.mcp.servers;
        if servers.is_empty() {
            return Toolbox::new(tools);
        }
        #[cfg(feature = "mcp")]
        {
            tools.push(Arc::new(CallServer(Arc::new(McpServers::new(servers.clone())))));
            Toolbox::new(tools)
        }
        #[cfg(not(feature = "mcp"))]
        Toolbox::new(tools).beside(["mcp"])
    }

    fn assistant(&self) -> Arc<dyn Assistant> {
        Arc::clone(&self.assistant)
    }

    fn bus(&self) -> Arc<dyn EventBus> {
        Arc::new(EventBridgeBus::new(&self.aws, &self.settings.event_bus))
    }

    fn mailer(&self) -> Arc<dyn Mailer> {
        Arc::new(self.mailer.clone())
    }

    /// Knows what models took.
    pub fn usage(&self) -> Arc<dyn UsageLedger> {
        Arc::new(TableUsageLedger::new(self.table.clone()))
    }

    fn tracking(&self) -> Arc<dyn Tracking> {
        Arc::new(TableTracking::new(self.table.clone()))
    }
}

/// Documents are read by the consumer of their workflow alone; whoever gets one elsewhere is told.
struct ReadElsewhere;

#[async_trait]
impl Extractor for ReadElsewhere {
    async fn extract(&self, _: Option<&str>, _: Vec<u8>) -> Result<Content, Failure> {
        Err(Failure::validation("files are not read here; give the document's text, as `file.text`"))
    }
}

fn aws(settings: &Settings, credentials: Credentials) -> Result<Aws, Error> {
    let (region, endpoint) = (settings.region.clone(), settings.endpoint.clone());
    let Some(bundle) = &settings.ca_bundle else {
        return Ok(Aws::new(region, credentials, endpoint, Timeouts::default()));
    };
    let named = |problem: &dyn std::fmt::Display| format!("`AWS_CA_BUNDLE`, {}: {problem}", bundle.display());
    let roots = std::fs::read_to_string(bundle).map_err(|error| named(&error))?;
    let aws = Aws::trusting(roots, region, credentials, endpoint, Timeouts::default());
    Ok(aws.map_err(|error| named(&error))?)
}

/// The visibility of messages on one queue.
struct QueueVisibility {
    queue: SqsQueue,
    url: String,
}

#[async_trait]
impl Visibility for QueueVisibility {
    async fn change(&self, receipts: &[String], invisible_for: Duration) -> Result<(), Failure> {
        let messages: Vec<(String, Duration)> =
            receipts.iter().map(|receipt| (receipt.clone(), invisible_for)).collect();
        self.queue.change_visibilities(&self.url, &messages).await.into_iter().collect()
    }
}
