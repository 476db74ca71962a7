//! The world of a rehearsal: it takes what a run does and does nothing.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    domain::{
        Failure, Kind, Run, RunId, Status, WorkflowType,
        configuration::Configuration,
        document::ObjectRef,
        email::OutgoingMail,
        http::{HttpMethod, HttpRequest, HttpResponse},
        input::Input,
        run::{History, Lease, Segment, StepRecord},
    },
    ports::{
        AnswerLedger, Appended, Claim, Clock, Closing, Created, DeadLetter, EventBus, HttpClient, Journal, Mailer,
        Objects, Opened, OutgoingEvent, Page, Queue, Receipt, Renewed, RunFilter, ServerTool, StoredObject,
        ToolServers, Tracking, TrackingEntry,
    },
};

/// Something that a run would have done to the world.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "did", rename_all = "snake_case")]
pub enum Deed {
    /// A mail.
    Sent {
        /// To whom.
        to: String,
        /// About what.
        subject: String,
    },
    /// An event.
    Published {
        /// Its type.
        event: String,
    },
    /// A record, or what was tracked.
    Recorded {
        /// Of what.
        data_id: String,
        /// What stands there.
        status: String,
    },
    /// Another run.
    Started {
        /// Of which workflow.
        workflow: WorkflowType,
    },
    /// A request to the world outside.
    Requested {
        /// Its method.
        method: HttpMethod,
        /// Its address.
        url: String,
    },
    /// A tool of a server.
    Called {
        /// The server.
        server: String,
        /// Its tool.
        tool: String,
    },
}

/// The ports of one run, in memory. Nothing leaves them: whoever is asked for something outside answers well and says
/// nothing.
pub(super) struct Stage {
    configuration: Arc<Configuration>,
    http: Arc<dyn HttpClient>,
    run: Mutex<Option<Run>>,
    last_entries: Mutex<Vec<StepRecord>>,
    segments: Mutex<Vec<Segment>>,
    tracked: Mutex<BTreeMap<(WorkflowType, String), TrackingEntry>>,
    deeds: Mutex<Vec<Deed>>,
}

impl Stage {
    pub(super) fn new(configuration: Arc<Configuration>, http: Arc<dyn HttpClient>) -> Self {
        Self {
            configuration,
            http,
            run: Mutex::default(),
            last_entries: Mutex::default(),
            segments: Mutex::default(),
            tracked: Mutex::default(),
            deeds: Mutex::default(),
        }
    }

    /// What was done, in order.
    pub(super) fn deeds(&self) -> Vec<Deed> {
        lock(&self.deeds).clone()
    }

    fn note(&self, deed: Deed) {
        lock(&self.deeds).push(deed);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One run's journal, worked on by one worker: so no condition ever fails but that of an ended run.
#[async_trait]
impl Journal for Stage {
    async fn create(&self, run: &Run) -> Result<Created, Failure> {
        *lock(&self.run) = Some(run.clone());
        Ok(Created::New)
    }

    async fn open(&self, _id: RunId, lease: &Lease, now: Timestamp) -> Result<Opened, Failure> {
        let mut kept = lock(&self.run);
        let run = kept.as_mut().ok_or_else(absent)?;
        let is_due = run.due_at.is_none_or(|due| due <= now);
        match run.status {
            Status::Queued | Status::Waiting if is_due => {
                (run.status, run.lease, run.due_at, run.updated_at) = (Status::Running, Some(lease.clone()), None, now);
                Ok(Opened::Leased(Box::new(run.clone())))
            }
            _ => Ok(Opened::Resting(Box::new(run.clone()))),
        }
    }

    async fn renew(&self, _id: RunId, _lease: &Lease, _now: Timestamp) -> Result<Renewed, Failure> {
        Ok(Renewed::Held)
    }

    async fn read(&self, _id: RunId, from: u32) -> Result<Vec<Segment>, Failure> {
        Ok(lock(&self.segments).iter().filter(|segment| segment.number >= from).cloned().collect())
    }

    async fn append(&self, _id: RunId, segment: &Segment) -> Result<Appended, Failure> {
        let mut segments = lock(&self.segments);
        let is_next = segments.len() == segment.number as usize;
        if is_next {
            segments.push(segment.clone());
        }
        Ok(if is_next { Appended::Written } else { Appended::Taken })
    }

    async fn close(&self, _id: RunId, closing: &Closing, now: Timestamp) -> Result<bool, Failure> {
        let mut kept = lock(&self.run);
        let run = kept.as_mut().ok_or_else(absent)?;
        if !closing.from.contains(&run.status) {
            return Ok(false);
        }
        lock(&self.last_entries).clone_from(&closing.last_entries);
        (run.status, run.result, run.due_at, run.lease) =
            (closing.status, closing.result.clone(), closing.due_at, None);
        run.error = closing.error.clone().or(run.error.take());
        run.usage = closing.usage.unwrap_or(run.usage);
        run.failed_attempts += u32::from(closing.counts_as_failed);
        run.updated_at = now;
        Ok(true)
    }

    async fn letter_sent(&self, _id: RunId) -> Result<(), Failure> {
        Ok(())
    }

    async fn find(&self, _id: RunId) -> Result<Option<(Run, Vec<StepRecord>)>, Failure> {
        let mut history = History::of(lock(&self.segments).clone());
        lock(&self.last_entries).iter().for_each(|entry| history.take_in(entry.clone()));
        Ok(lock(&self.run).clone().map(|run| (run, history.into_steps())))
    }

    async fn list(&self, _filter: &RunFilter) -> Result<Page, Failure> {
        Ok(Page::default())
    }
}

fn absent() -> Failure {
    Failure::new(Kind::NotFound, "there is no such run")
}

#[async_trait]
impl Mailer for Stage {
    async fn send(&self, run: RunId, position: &str, mail: &OutgoingMail) -> Result<Receipt, Failure> {
        self.note(Deed::Sent { to: mail.to.clone(), subject: mail.subject.clone() });
        Ok(Receipt { message_id: format!("rehearsal/{run}/{position}") })
    }
}

#[async_trait]
impl AnswerLedger for Stage {
    async fn claim(&self, _: &str, _: RunId, _: Timestamp, _: Duration) -> Result<Claim, Failure> {
        Ok(Claim::Granted)
    }

    async fn release(&self, _address: &str, _run: RunId) -> Result<(), Failure> {
        Ok(())
    }

    async fn suppress(&self, _address: &str, _now: Timestamp) -> Result<(), Failure> {
        Ok(())
    }
}

/// A case that reads what lies elsewhere would change with that.
#[async_trait]
impl Objects for Stage {
    async fn get(&self, _object: &ObjectRef, _limit: u64) -> Result<Vec<u8>, Failure> {
        Err(Failure::validation("a rehearsal reads no stored object"))
    }

    async fn head(&self, _object: &ObjectRef) -> Result<StoredObject, Failure> {
        Err(Failure::validation("a rehearsal reads no stored object"))
    }
}

#[async_trait]
impl Tracking for Stage {
    async fn put(&self, entry: &TrackingEntry) -> Result<(), Failure> {
        self.note(Deed::Recorded { data_id: entry.data_id.clone(), status: entry.status.clone() });
        lock(&self.tracked).insert((entry.workflow, entry.data_id.clone()), entry.clone());
        Ok(())
    }

    async fn get(&self, workflow: WorkflowType, data_id: &str) -> Result<Option<TrackingEntry>, Failure> {
        Ok(lock(&self.tracked).get(&(workflow, data_id.to_owned())).cloned())
    }
}

#[async_trait]
impl EventBus for Stage {
    async fn publish(&self, _key: &str, event: &OutgoingEvent) -> Result<(), Failure> {
        self.note(Deed::Published { event: event.detail_type.clone() });
        Ok(())
    }
}

#[async_trait]
impl Queue for Stage {
    async fn resume(&self, _workflow: WorkflowType, _run: RunId, _delay: Duration) -> Result<(), Failure> {
        Ok(())
    }

    async fn start(&self, input: &Input, _run: RunId, _source: &str) -> Result<(), Failure> {
        self.note(Deed::Started { workflow: input.workflow() });
        Ok(())
    }

    async fn fetch(&self, _place: &str) -> Result<Vec<u8>, Failure> {
        Err(absent())
    }

    async fn dead_letter(&self, _workflow: WorkflowType, _letter: &DeadLetter) -> Result<(), Failure> {
        Ok(())
    }
}

#[async_trait]
impl HttpClient for Stage {
    fn check(&self, request: &HttpRequest) -> Result<(), Failure> {
        self.http.check(request)
    }

    async fn send(&self, _key: &str, request: &HttpRequest) -> Result<HttpResponse, Failure> {
        HttpClient::check(self, request)?;
        self.note(Deed::Requested { method: request.method, url: request.url.clone() });
        Ok(HttpResponse { status: 200, headers: BTreeMap::new(), body: Value::Null })
    }
}

#[async_trait]
impl ToolServers for Stage {
    fn check(&self, server: &str, tool: &str) -> Result<(), Failure> {
        let tools = self.configuration.mcp.servers.get(server).map(|server| &server.tools);
        match tools {
            Some(tools) if tools.contains(tool) => Ok(()),
            Some(_) => Err(Failure::validation(format!("`mcp.servers.{server}` does not list this tool"))),
            None => Err(Failure::validation("there is no such server among `mcp.servers`")),
        }
    }

    async fn describe(&self, server: &str, tool: &str) -> Result<ServerTool, Failure> {
        ToolServers::check(self, server, tool)?;
        Ok(ServerTool { is_repeatable: true })
    }

    async fn call(
        &self,
        _key: &str,
        server: &str,
        tool: &str,
        _arguments: &Map<String, Value>,
    ) -> Result<Value, Failure> {
        ToolServers::check(self, server, tool)?;
        self.note(Deed::Called { server: server.to_owned(), tool: tool.to_owned() });
        Ok(json!({ "text": "", "structured": null }))
    }
}

/// Time that goes on as it does, and can be moved ahead: a rehearsal waits for nothing.
pub(super) struct MovedClock {
    clock: Arc<dyn Clock>,
    ahead_ms: AtomicU64,
}

impl MovedClock {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, ahead_ms: AtomicU64::new(0) }
    }

    /// Moves on to this moment, unless it has passed.
    pub(super) fn move_to(&self, at: Timestamp) {
        let ahead = Duration::try_from(at.duration_since(self.now())).unwrap_or_default();
        // One more, for what the division drops.
        self.ahead_ms.fetch_add(u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX / 2) + 1, Ordering::Relaxed);
    }
}

#[async_trait]
impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        let ahead = Duration::from_millis(self.ahead_ms.load(Ordering::Relaxed));
        self.clock.now().saturating_add(ahead).unwrap_or(Timestamp::MAX)
    }

    async fn sleep(&self, duration: Duration) {
        self.clock.sleep(duration).await;
    }
}

/// What a value shows of itself in a mismatch.
pub(super) fn shown(value: Option<&Value>) -> String {
    let text = value.map_or_else(|| "nothing".to_owned(), |value| json!(value).to_string());
    let mut short: String = text.chars().take(200).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}
