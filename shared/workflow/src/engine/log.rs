//! The writing end of an attempt's journal.
//!
//! **Invariants**
//! - Entries are appended in the order in which they were recorded, one segment at a time, and a segment only after
//!   all segments before it are known: an attempt never writes past what it has not seen.
//! - What others appended meanwhile counts like what stood there at first: for the entries that are recorded from then
//!   on as for those that were waiting.
//! - What waits to be appended is bounded, in entries and in bytes.
//! - Once the journal says something else than this attempt, nothing more of it is written, but for the outcomes of
//!   effects that it has begun.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::sync::Notify;

use super::stop::Stop;
use crate::{
    domain::{
        Failure, Kind, RunId,
        run::{Entry, History, Segment, StepRecord, StepState},
    },
    ports::{Appended, Clock, Journal},
};

/// How long a result waits for others to be appended with it: nothing beside a model's answer, and enough for a
/// store's. An effect, a wait and the end do not wait for it.
const LINGER: Duration = Duration::from_millis(10);
/// So much is appended without lingering.
const FULL: Load = Load { entries: 64, bytes: 64 * 1024 };
/// So much is appended at once, if it is not a single entry.
const SEGMENT: Load = Load { entries: 256, bytes: 256 * 1024 };
/// So much waits at the most before the workflow itself waits.
const BACKLOG: Load = Load { entries: 512, bytes: 512 * 1024 };

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Load {
    entries: usize,
    bytes: usize,
}

impl Load {
    const fn reaches(self, limit: Self) -> bool {
        self.entries >= limit.entries || self.bytes >= limit.bytes
    }
}

/// What an entry is to the attempt that records it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// A result, an intent or a wait: worth nothing once the journal says something else.
    Ordinary,
    /// What came of an effect that was repeated by its key: written even after a cancellation, for the record.
    Happened,
    /// What came of an intent: always written.
    Outcome,
}

struct Pending {
    step: StepRecord,
    weight: Weight,
    bytes: usize,
}

impl Pending {
    /// Whether nobody's work depends on it once the run has ended: what came of an intent, which nobody else can say,
    /// and of an effect that has no value.
    fn may_come_last(&self) -> bool {
        match self.weight {
            Weight::Ordinary => false,
            Weight::Happened => self.step.output.is_null(),
            Weight::Outcome => true,
        }
    }
}

/// The writing end.
pub(super) struct Log {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    run: RunId,
    state: Mutex<State>,
    /// There is something to do for the writer.
    work: Notify,
    /// Something was appended, or will never be.
    progress: Notify,
}

#[derive(Default)]
struct State {
    pending: Vec<Pending>,
    load: Load,
    /// Counts of entries recorded, and of those appended or given up.
    recorded: u64,
    settled: u64,
    next_segment: u32,
    /// The first segment that another wrote meanwhile.
    foreign_from: Option<u32>,
    /// What others wrote meanwhile.
    others: History,
    urgent: bool,
    failed: Option<Stop>,
}

impl Log {
    pub(super) fn new(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>, run: RunId, next_segment: u32) -> Self {
        let state = Mutex::new(State { next_segment, ..State::default() });
        Self { journal, clock, run, state, work: Notify::new(), progress: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From which segment on there may be something that the workflow did not see.
    pub(super) fn unseen_from(&self) -> u32 {
        let state = self.state();
        state.foreign_from.unwrap_or(state.next_segment)
    }

    /// Whether others appended anything since this attempt began.
    pub(super) fn has_met_others(&self) -> bool {
        self.state().foreign_from.is_some()
    }

    /// What another appended at this position since this attempt began.
    pub(super) fn standing_of_others(&self, position: &str) -> Option<StepRecord> {
        self.state().others.at(position).cloned()
    }

    /// Records an entry, to be appended soon, or at once if it is urgent. Waits only while too much is waiting.
    pub(super) async fn record(&self, step: StepRecord, weight: Weight, urgent: bool) -> Result<(), Stop> {
        let full = {
            let mut state = self.state();
            if let Some(stop) = &state.failed
                && !survives(weight, stop)
            {
                return Err(stop.clone());
            }
            let bytes = bytes_of(&step);
            let wake = state.pending.is_empty() || urgent;
            state.load = Load { entries: state.load.entries + 1, bytes: state.load.bytes + bytes };
            state.pending.push(Pending { step, weight, bytes });
            state.recorded += 1;
            state.urgent |= urgent;
            if wake || state.load.reaches(FULL) {
                self.work.notify_one();
            }
            state.load.reaches(BACKLOG)
        };
        if full { self.flush().await } else { Ok(()) }
    }

    /// Waits until everything recorded so far is durable.
    pub(super) async fn flush(&self) -> Result<(), Stop> {
        let until = {
            let mut state = self.state();
            // What is under way needs no hurrying, and what comes after it may linger.
            if !state.pending.is_empty() {
                state.urgent = true;
                self.work.notify_one();
            }
            state.recorded
        };
        self.until(|state| state.settled >= until).await;
        self.state().failed.clone().map_or(Ok(()), Err)
    }

    /// The end of a workflow that came to a result: gives the entries that its closing may tell of
    /// ([`Closing::last_entries`]). Everything else is durable; what came of an intent is about to be, beside the
    /// closing.
    ///
    /// [`Closing::last_entries`]: crate::ports::Closing::last_entries
    pub(super) async fn finish(&self) -> Result<Vec<StepRecord>, Stop> {
        {
            let mut state = self.state();
            let nothing_under_way = state.settled + state.pending.len() as u64 == state.recorded;
            if state.failed.is_none() && nothing_under_way && state.pending.iter().all(Pending::may_come_last) {
                let last = state.pending.iter().map(|pending| pending.step.clone()).collect();
                state.retain(|pending| pending.weight == Weight::Outcome);
                state.urgent = !state.pending.is_empty();
                return Ok(last);
            }
        }
        self.flush().await?;
        Ok(Vec::new())
    }

    /// Lets nothing more be written but outcomes.
    pub(super) fn fail(&self, stop: Stop) {
        let mut state = self.state();
        state.fail(stop);
        drop(state);
        self.progress.notify_waiters();
    }

    /// Waits until the attempt must stop.
    pub(super) async fn failed(&self) -> Stop {
        self.until(|state| state.failed.is_some()).await;
        self.state().failed.clone().unwrap_or(Stop::StandBack)
    }

    /// Why the attempt must stop, if it must.
    pub(super) fn failure(&self) -> Option<Stop> {
        self.state().failed.clone()
    }

    async fn until(&self, holds: impl Fn(&State) -> bool) {
        loop {
            let progress = self.progress.notified();
            tokio::pin!(progress);
            // Registered before the look, so that nothing between the two is missed.
            progress.as_mut().enable();
            if holds(&self.state()) {
                return;
            }
            progress.await;
        }
    }

    /// Appends what is recorded, for as long as it is polled.
    pub(super) async fn write(&self) -> Infallible {
        loop {
            self.wait_for_work().await;
            let batch = self.state().take_segment();
            let entries = batch.len() as u64;
            if let Err(stop) = self.append(batch).await {
                self.state().fail(stop);
            }
            self.state().settled += entries;
            self.progress.notify_waiters();
        }
    }

    async fn wait_for_work(&self) {
        loop {
            let (empty, due) = {
                let state = self.state();
                (state.pending.is_empty(), state.urgent || state.load.reaches(FULL))
            };
            match (empty, due) {
                (true, _) => self.work.notified().await,
                (false, true) => return,
                (false, false) => tokio::select! {
                    biased;
                    () = self.work.notified() => {}
                    () = self.clock.sleep(LINGER) => return,
                },
            }
        }
    }

    async fn append(&self, mut batch: Vec<Pending>) -> Result<(), Stop> {
        let mut asked_again = false;
        let mut stop = None;
        // What was recorded after others' segments were met has still to be held against them.
        let met = self.entries_of_others(&batch);
        if let Err(found) = reconcile(&mut batch, met) {
            batch.retain(|pending| survives(pending.weight, &found));
            stop = Some(found);
        }
        while !batch.is_empty() {
            let number = self.state().next_segment;
            let entries = batch.iter().map(|pending| Entry::Step(pending.step.clone())).collect();
            match self.journal.append(self.run, &Segment { number, entries }).await {
                Ok(Appended::Written) => {
                    self.state().next_segment = number + 1;
                    break;
                }
                Ok(Appended::Taken) => {
                    let theirs = self.journal.read(self.run, number).await?;
                    if theirs.is_empty() {
                        return Err(Failure::new(Kind::Unknown, "a segment of the journal is taken and gone").into());
                    }
                    for segment in theirs {
                        {
                            let mut state = self.state();
                            state.next_segment = segment.number + 1;
                            state.foreign_from.get_or_insert(segment.number);
                            state.others.apply(segment.clone());
                        }
                        if let Err(found) = reconcile(&mut batch, segment.entries) {
                            batch.retain(|pending| survives(pending.weight, &found));
                            stop.get_or_insert(found);
                        }
                    }
                }
                // The segment may stand all the same. Asked again with the same content, the journal tells.
                Err(failure) if failure.kind.retryable() && !asked_again => asked_again = true,
                Err(failure) => return Err(failure.into()),
            }
        }
        stop.map_or(Ok(()), Err)
    }

    fn entries_of_others(&self, batch: &[Pending]) -> Vec<Entry> {
        let state = self.state();
        let standing = batch.iter().filter_map(|pending| state.others.at(&pending.step.position));
        standing.map(|step| Entry::Step(step.clone())).collect()
    }
}

impl State {
    fn take_segment(&mut self) -> Vec<Pending> {
        let mut load = Load::default();
        let mut count = 0;
        for pending in &self.pending {
            load = Load { entries: load.entries + 1, bytes: load.bytes + pending.bytes };
            if count > 0 && load.bytes > SEGMENT.bytes || load.entries > SEGMENT.entries {
                break;
            }
            count += 1;
        }
        let rest = self.pending.split_off(count);
        let batch = std::mem::replace(&mut self.pending, rest);
        self.load.entries -= batch.len();
        self.load.bytes -= batch.iter().map(|pending| pending.bytes).sum::<usize>();
        self.urgent &= !self.pending.is_empty();
        batch
    }

    fn fail(&mut self, stop: Stop) {
        let stop = self.failed.get_or_insert(stop).clone();
        self.retain(|pending| survives(pending.weight, &stop));
    }

    /// Gives up what is pending, but for this.
    fn retain(&mut self, keep: impl Fn(&Pending) -> bool) {
        let before = self.pending.len();
        self.pending.retain(keep);
        self.settled += (before - self.pending.len()) as u64;
        self.load = Load { entries: self.pending.len(), bytes: self.pending.iter().map(|pending| pending.bytes).sum() };
    }
}

/// Whether an entry is still worth writing once the attempt must stop.
fn survives(weight: Weight, stop: &Stop) -> bool {
    match weight {
        Weight::Ordinary => false,
        Weight::Happened => *stop == Stop::Cancelled,
        Weight::Outcome => true,
    }
}

/// Takes out of a batch what another's entries already say, and finds out whether this attempt may go on beside
/// them.
fn reconcile(batch: &mut Vec<Pending>, theirs: Vec<Entry>) -> Result<(), Stop> {
    let mut stop = None;
    for entry in theirs {
        let theirs = match entry {
            Entry::Cancelled { .. } => {
                stop = Some(Stop::Cancelled);
                continue;
            }
            Entry::Step(step) => step,
        };
        let Some(index) = batch.iter().position(|pending| pending.step.position == theirs.position) else { continue };
        let ours = &batch[index];
        let fate = fate_beside(ours, &theirs);
        if fate != Fate::Stays {
            batch.remove(index);
        }
        if let Fate::Ends(found) = fate {
            stop.get_or_insert(found);
        }
    }
    stop.map_or(Ok(()), Err)
}

/// What becomes of an entry of ours beside one of another's at the same position.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    /// It follows theirs.
    Stays,
    /// Theirs says the same, or counts for more.
    Yields,
    /// The attempt is over.
    Ends(Stop),
}

fn fate_beside(ours: &Pending, theirs: &StepRecord) -> Fate {
    let step = &ours.step;
    if step == theirs {
        return Fate::Yields;
    }
    match (step.state, theirs.state) {
        // A delivery event told first what came of the effect.
        (_, StepState::Done) if ours.weight == Weight::Outcome => Fate::Yields,
        (StepState::Done, StepState::Done) if step.name == theirs.name && step.output == theirs.output => Fate::Yields,
        (_, StepState::Done) | (StepState::Waiting, StepState::Waiting) => Fate::Ends(Stop::Superseded),
        // It was not there when this attempt began, so its writer is at work right now.
        (StepState::Intended, StepState::Intended) => Fate::Ends(Stop::StandBack),
        (StepState::Released, StepState::Released) => Fate::Yields,
        _ => Fate::Stays,
    }
}

/// About how much an entry weighs: its texts, which is what makes entries large.
fn bytes_of(step: &StepRecord) -> usize {
    const ENTRY: usize = 200;
    fn texts(value: &Value) -> usize {
        match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(texts).sum::<usize>() + items.len(),
            Value::Object(fields) => fields.iter().map(|(name, field)| name.len() + texts(field)).sum(),
            Value::Null | Value::Bool(_) | Value::Number(_) => 8,
        }
    }
    ENTRY + texts(&step.output)
}
