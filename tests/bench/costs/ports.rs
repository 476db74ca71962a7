//! Ports that count what is asked of them.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use ihelper_adapters::dynamodb::{Meter, TableAnswerLedger, TableJournal, TableRequests, TableTracking};
use ihelper_runtime::consumer::Visibility;
use ihelper_testkit::memory::MemoryQueue;
use ihelper_workflow::{
    domain::{
        Failure, Run, RunId, WorkflowType,
        email::OutgoingMail,
        input::Input,
        run::{Lease, Segment, StepRecord},
    },
    ports::{
        AnswerLedger, Appended, Claim, Clock, Closing, Created, DeadLetter, GivesWay, Journal, Mailer, Opened, Page,
        Queue, Recalled, Receipt, Remembered, Renewed, RequestKey, Requests, RunFilter, Tracking, TrackingEntry,
    },
};
use jiff::{SignedDuration, Timestamp};

use crate::service::Service;

/// What lies between two looks at the clock: steps that take as long as a model's, and moments with all their digits.
const TICK: SignedDuration = SignedDuration::from_nanos(137_123_457);

/// A clock that moves a little with each look at it, and on which no sleep ends. So results that wait for company are
/// written when somebody waits for them, and no lease needs renewing.
pub(crate) struct TickingClock(Mutex<Timestamp>);

impl TickingClock {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Timestamp::constant(1_795_513_267, 123_456_789)))
    }
}

#[async_trait]
impl Clock for TickingClock {
    fn now(&self) -> Timestamp {
        let mut now = self.0.lock().unwrap();
        *now += TICK;
        *now
    }

    async fn sleep(&self, _: Duration) {
        std::future::pending().await
    }
}

/// Counts requests to SQS.
#[derive(Default)]
pub(crate) struct SqsRequests(AtomicU64);

impl SqsRequests {
    pub(crate) fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// The queues in memory; each message that is sent is a request.
pub(crate) struct CountedQueue {
    pub(crate) inner: MemoryQueue,
    pub(crate) requests: Arc<SqsRequests>,
}

#[async_trait]
impl Queue for CountedQueue {
    async fn resume(&self, workflow: WorkflowType, run: RunId, delay: Duration) -> Result<(), Failure> {
        self.requests.add_one();
        self.inner.resume(workflow, run, delay).await
    }

    async fn start(&self, input: &Input, run: RunId, source: &str) -> Result<(), Failure> {
        self.requests.add_one();
        self.inner.start(input, run, source).await
    }

    async fn fetch(&self, place: &str) -> Result<Vec<u8>, Failure> {
        self.inner.fetch(place).await
    }

    async fn dead_letter(&self, workflow: WorkflowType, letter: &DeadLetter) -> Result<(), Failure> {
        self.requests.add_one();
        self.inner.dead_letter(workflow, letter).await
    }
}

/// Visibility that nobody waits for; each change, of up to ten messages, is a request.
pub(crate) struct CountedVisibility(pub(crate) Arc<SqsRequests>);

#[async_trait]
impl Visibility for CountedVisibility {
    async fn change(&self, receipts: &[String], _: Duration) -> Result<(), Failure> {
        if !receipts.is_empty() {
            self.0.add_one();
        }
        Ok(())
    }
}

/// Takes mail as SES does, and gives receipts of its length.
#[derive(Default)]
pub(crate) struct CountedMailer(AtomicU64);

impl CountedMailer {
    pub(crate) fn sent(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Mailer for CountedMailer {
    async fn send(&self, _: RunId, _: &str, _: &OutgoingMail) -> Result<Receipt, Failure> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Receipt { message_id: "0100019a8f3c5d21-7d0f6f0a-3f6b-4d54-9c1e-5f0c7b1e9d1a-000000".to_owned() })
    }
}

/// What one call of a port took, and the bytes of the items that it made or changed.
pub(crate) struct Line {
    call: &'static str,
    requests: u64,
    write: f64,
    read: f64,
    items: Vec<(String, usize)>,
}

impl fmt::Display for Line {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, requests, write, read, items } = self;
        write!(formatter, "{call:<24} {requests} request(s) {write:>4} write {read:>4} read ")?;
        items.iter().try_for_each(|(name, bytes)| write!(formatter, " {name}: {bytes} B"))
    }
}

/// The lines, in order.
#[derive(Default)]
pub(crate) struct Lines(Mutex<Vec<Line>>);

impl Lines {
    pub(crate) fn take(&self) -> Vec<Line> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A port of the table, whose every call is a line.
#[derive(Clone)]
pub(crate) struct Watched<Port> {
    pub(crate) port: Port,
    pub(crate) meter: Arc<Meter>,
    pub(crate) service: Arc<Service>,
    pub(crate) lines: Arc<Lines>,
}

impl<Port> Watched<Port> {
    async fn watch<T>(&self, call: &'static str, answer: impl Future<Output = T>) -> T {
        let (before, items_before) = (self.meter.total(), self.service.sizes());
        let answer = answer.await;
        let after = self.meter.total();
        let changed = |items: BTreeMap<String, usize>| {
            items.into_iter().filter(|(name, bytes)| items_before.get(name) != Some(bytes)).collect()
        };
        self.lines.0.lock().unwrap().push(Line {
            call,
            requests: after.requests - before.requests,
            write: after.write_units - before.write_units,
            read: after.read_units - before.read_units,
            items: changed(self.service.sizes()),
        });
        answer
    }
}

#[async_trait]
impl Journal for Watched<TableJournal> {
    async fn create(&self, run: &Run) -> Result<Created, Failure> {
        self.watch("journal create", self.port.create(run)).await
    }

    async fn open(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<Opened, Failure> {
        self.watch("journal open", self.port.open(id, lease, now)).await
    }

    async fn renew(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<Renewed, Failure> {
        self.watch("journal renew", self.port.renew(id, lease, now)).await
    }

    async fn read(&self, id: RunId, from: u32) -> Result<Vec<Segment>, Failure> {
        self.watch("journal read", self.port.read(id, from)).await
    }

    async fn append(&self, id: RunId, segment: &Segment) -> Result<Appended, Failure> {
        self.watch("journal append", self.port.append(id, segment)).await
    }

    async fn close(&self, id: RunId, closing: &Closing, now: Timestamp) -> Result<bool, Failure> {
        self.watch("journal close", self.port.close(id, closing, now)).await
    }

    async fn letter_sent(&self, id: RunId) -> Result<(), Failure> {
        self.watch("journal letter sent", self.port.letter_sent(id)).await
    }

    async fn find(&self, id: RunId) -> Result<Option<(Run, Vec<StepRecord>)>, Failure> {
        self.watch("journal find", self.port.find(id)).await
    }

    async fn list(&self, filter: &RunFilter) -> Result<Page, Failure> {
        self.watch("journal list", self.port.list(filter)).await
    }
}

#[async_trait]
impl Tracking for Watched<TableTracking> {
    async fn put(&self, entry: &TrackingEntry) -> Result<(), Failure> {
        self.watch("tracking put", self.port.put(entry)).await
    }

    async fn get(&self, workflow: WorkflowType, data_id: &str) -> Result<Option<TrackingEntry>, Failure> {
        self.watch("tracking get", self.port.get(workflow, data_id)).await
    }
}

#[async_trait]
impl AnswerLedger for Watched<TableAnswerLedger> {
    async fn claim(&self, address: &str, run: RunId, now: Timestamp, window: Duration) -> Result<Claim, Failure> {
        self.watch("answers claim", self.port.claim(address, run, now, window)).await
    }

    async fn release(&self, address: &str, run: RunId) -> Result<(), Failure> {
        self.watch("answers release", self.port.release(address, run)).await
    }

    async fn suppress(&self, address: &str, now: Timestamp) -> Result<(), Failure> {
        self.watch("answers suppress", self.port.suppress(address, now)).await
    }
}

#[async_trait]
impl Requests for Watched<TableRequests> {
    async fn remember(
        &self,
        key: &RequestKey,
        request: &Remembered,
        gives_way: GivesWay,
        now: Timestamp,
    ) -> Result<Recalled, Failure> {
        self.watch("requests remember", self.port.remember(key, request, gives_way, now)).await
    }
}
