//! The ports as they are reached from one machine: each call can meet a fault.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{
        Failure, Kind, Run, RunId, WorkflowType,
        definition::Definition,
        document::{Content, Criterion, ObjectRef, Review},
        email::{Draft, Email, EmailAnalysis, OutgoingMail},
        http::{HttpRequest, HttpResponse},
        input::Input,
        run::{Lease, Segment, StepRecord},
        task::{Plan, StepResult, TaskInput, TaskReport},
    },
    ports::{
        Answer, AnswerLedger, Appended, Assistant, Claim, Closing, Created, DeadLetter, EventBus, Extractor,
        HttpClient, Journal, Mailer, Objects, Opened, OutgoingEvent, Page, Queue, Receipt, Renewed, RunFilter,
        ServerTool, StoredObject, ToolServers, Tracking, TrackingEntry,
    },
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::machine::Machine;
use crate::tester::Ports;

/// The mail service, in what was performed.
pub(super) const MAIL: &str = "mail";
/// The dead-letter queue, in what was performed.
pub(super) const LETTER: &str = "letter";

/// These ports as they are reached from this machine.
pub(super) fn from_machine(machine: &Arc<Machine>, ports: &Ports) -> Ports {
    fn reached<P: ?Sized>(machine: &Arc<Machine>, port: &Arc<P>) -> Arc<Reached<P>> {
        Arc::new(Reached { machine: Arc::clone(machine), port: Arc::clone(port) })
    }
    Ports {
        journal: reached(machine, &ports.journal),
        queue: reached(machine, &ports.queue),
        mailer: reached(machine, &ports.mailer),
        answers: reached(machine, &ports.answers),
        objects: reached(machine, &ports.objects),
        extractor: reached(machine, &ports.extractor),
        tracking: reached(machine, &ports.tracking),
        bus: reached(machine, &ports.bus),
        http: reached(machine, &ports.http),
        servers: reached(machine, &ports.servers),
        assistant: reached(machine, &ports.assistant),
        clock: Arc::clone(&ports.clock),
        entropy: Arc::clone(&ports.entropy),
    }
}

struct Reached<P: ?Sized> {
    machine: Arc<Machine>,
    port: Arc<P>,
}

#[async_trait]
impl Journal for Reached<dyn Journal> {
    async fn create(&self, run: &Run) -> Result<Created, Failure> {
        self.machine.call("journal.create", self.port.create(run)).await
    }

    async fn open(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<Opened, Failure> {
        self.machine.call("journal.open", self.port.open(id, lease, now)).await
    }

    async fn renew(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<Renewed, Failure> {
        self.machine.call("journal.renew", self.port.renew(id, lease, now)).await
    }

    async fn read(&self, id: RunId, from: u32) -> Result<Vec<Segment>, Failure> {
        self.machine.call("journal.read", self.port.read(id, from)).await
    }

    async fn append(&self, id: RunId, segment: &Segment) -> Result<Appended, Failure> {
        self.machine.call("journal.append", self.port.append(id, segment)).await
    }

    async fn close(&self, id: RunId, closing: &Closing, now: Timestamp) -> Result<bool, Failure> {
        self.machine.call("journal.close", self.port.close(id, closing, now)).await
    }

    async fn letter_sent(&self, id: RunId) -> Result<(), Failure> {
        self.machine.call("journal.letter_sent", self.port.letter_sent(id)).await
    }

    async fn find(&self, id: RunId) -> Result<Option<(Run, Vec<StepRecord>)>, Failure> {
        self.machine.call("journal.find", self.port.find(id)).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<Page, Failure> {
        self.machine.call("journal.list", self.port.list(filter)).await
    }
}

#[async_trait]
impl Mailer for Reached<dyn Mailer> {
    async fn send(&self, run: RunId, position: &str, mail: &OutgoingMail) -> Result<Receipt, Failure> {
        let sending = async {
            let receipt = self.port.send(run, position, mail).await?;
            self.machine.performed(MAIL, format!("{run}/{position}"), json!(mail));
            Ok(receipt)
        };
        let result = self.machine.call("mailer.send", sending).await;
        result.map_err(|failure| match failure.kind {
            // That is what a mail service's timeout means.
            Kind::Timeout => failure.with_unknown_outcome(),
            _ => failure,
        })
    }
}

#[async_trait]
impl AnswerLedger for Reached<dyn AnswerLedger> {
    async fn claim(&self, address: &str, run: RunId, now: Timestamp, window: Duration) -> Result<Claim, Failure> {
        self.machine.call("answers.claim", self.port.claim(address, run, now, window)).await
    }

    async fn release(&self, address: &str, run: RunId) -> Result<(), Failure> {
        self.machine.call("answers.release", self.port.release(address, run)).await
    }

    async fn suppress(&self, address: &str, now: Timestamp) -> Result<(), Failure> {
        self.machine.call("answers.suppress", self.port.suppress(address, now)).await
    }
}

#[async_trait]
impl Tracking for Reached<dyn Tracking> {
    async fn put(&self, entry: &TrackingEntry) -> Result<(), Failure> {
        let putting = async {
            self.port.put(entry).await?;
            let key = format!("{}/{}/{}", entry.run_id, entry.workflow, entry.data_id);
            // When it was done is told anew each time.
            self.machine.performed("tracking", key, json!([entry.status, entry.details]));
            Ok(())
        };
        self.machine.call("tracking.put", putting).await
    }

    async fn get(&self, workflow: WorkflowType, data_id: &str) -> Result<Option<TrackingEntry>, Failure> {
        self.machine.call("tracking.get", self.port.get(workflow, data_id)).await
    }
}

#[async_trait]
impl EventBus for Reached<dyn EventBus> {
    async fn publish(&self, key: &str, event: &OutgoingEvent) -> Result<(), Failure> {
        let publishing = async {
            self.port.publish(key, event).await?;
            self.machine.performed("bus", key.to_owned(), json!([event.detail_type, event.detail]));
            Ok(())
        };
        self.machine.call("bus.publish", publishing).await
    }
}

#[async_trait]
impl HttpClient for Reached<dyn HttpClient> {
    fn check(&self, request: &HttpRequest) -> Result<(), Failure> {
        self.port.check(request)
    }

    async fn send(&self, key: &str, request: &HttpRequest) -> Result<HttpResponse, Failure> {
        let sending = async {
            let response = self.port.send(key, request).await?;
            self.machine.performed("http", key.to_owned(), json!(request));
            Ok(response)
        };
        self.machine.call("http.send", sending).await
    }
}

#[async_trait]
impl ToolServers for Reached<dyn ToolServers> {
    fn check(&self, server: &str, tool: &str) -> Result<(), Failure> {
        self.port.check(server, tool)
    }

    async fn describe(&self, server: &str, tool: &str) -> Result<ServerTool, Failure> {
        self.machine.call("servers.describe", self.port.describe(server, tool)).await
    }

    async fn call(
        &self,
        key: &str,
        server: &str,
        tool: &str,
        arguments: &Map<String, Value>,
    ) -> Result<Value, Failure> {
        let calling = async {
            let answer = self.port.call(key, server, tool, arguments).await?;
            self.machine.performed("servers", key.to_owned(), json!([server, tool, arguments]));
            Ok(answer)
        };
        self.machine.call("servers.call", calling).await
    }
}

#[async_trait]
impl Queue for Reached<dyn Queue> {
    async fn resume(&self, workflow: WorkflowType, run: RunId, delay: Duration) -> Result<(), Failure> {
        self.machine.call("queue.resume", self.port.resume(workflow, run, delay)).await
    }

    async fn start(&self, input: &Input, run: RunId, source: &str) -> Result<(), Failure> {
        let starting = async {
            self.port.start(input, run, source).await?;
            self.machine.performed("queue", run.to_string(), json!([input.workflow(), input.to_value(), source]));
            Ok(())
        };
        self.machine.call("queue.start", starting).await
    }

    async fn fetch(&self, place: &str) -> Result<Vec<u8>, Failure> {
        self.machine.call("queue.fetch", self.port.fetch(place)).await
    }

    async fn dead_letter(&self, workflow: WorkflowType, letter: &DeadLetter) -> Result<(), Failure> {
        let sending = async {
            self.port.dead_letter(workflow, letter).await?;
            self.machine.performed(LETTER, letter.body.clone(), json!([letter.reason, letter.kind]));
            Ok(())
        };
        self.machine.call("queue.dead_letter", sending).await
    }
}

#[async_trait]
impl Objects for Reached<dyn Objects> {
    async fn get(&self, object: &ObjectRef, limit: u64) -> Result<Vec<u8>, Failure> {
        self.machine.call("objects.get", self.port.get(object, limit)).await
    }

    async fn head(&self, object: &ObjectRef) -> Result<StoredObject, Failure> {
        self.machine.call("objects.head", self.port.head(object)).await
    }
}

#[async_trait]
impl Extractor for Reached<dyn Extractor> {
    async fn extract(&self, name: Option<&str>, bytes: Vec<u8>) -> Result<Content, Failure> {
        self.machine.call("extractor.extract", self.port.extract(name, bytes)).await
    }
}

#[async_trait]
impl Assistant for Reached<dyn Assistant> {
    fn model(&self) -> &str {
        self.port.model()
    }

    async fn analyze_email(&self, definition: &Definition, email: &Email) -> Result<Answer<EmailAnalysis>, Failure> {
        self.machine.call("assistant.analyze_email", self.port.analyze_email(definition, email)).await
    }

    async fn generate_response(
        &self,
        definition: &Definition,
        template: &str,
        context: &BTreeMap<String, Value>,
    ) -> Result<Answer<Draft>, Failure> {
        let generating = self.port.generate_response(definition, template, context);
        self.machine.call("assistant.generate_response", generating).await
    }

    async fn review_document(
        &self,
        definition: &Definition,
        content: &Content,
        criterion: &Criterion,
    ) -> Result<Answer<Review>, Failure> {
        let reviewing = self.port.review_document(definition, content, criterion);
        self.machine.call("assistant.review_document", reviewing).await
    }

    async fn analyze_task(
        &self,
        definition: &Definition,
        task: &TaskInput,
        tools: &[(&str, &str)],
    ) -> Result<Answer<Plan>, Failure> {
        self.machine.call("assistant.analyze_task", self.port.analyze_task(definition, task, tools)).await
    }

    async fn generate_report(
        &self,
        definition: &Definition,
        task: &TaskInput,
        results: &[StepResult],
    ) -> Result<Answer<TaskReport>, Failure> {
        self.machine.call("assistant.generate_report", self.port.generate_report(definition, task, results)).await
    }

    async fn ask(&self, definition: &Definition, instruction: &str, text: &str) -> Result<Answer<String>, Failure> {
        self.machine.call("assistant.ask", self.port.ask(definition, instruction, text)).await
    }
}
