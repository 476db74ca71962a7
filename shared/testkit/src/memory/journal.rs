use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{
        Failure, Kind, Run, RunId, Status,
        run::{History, Lease, Segment, StepRecord, Summary},
    },
    ports::{Appended, Closing, Created, Journal, Opened, Page, Renewed, RunFilter},
};
use jiff::Timestamp;

use super::lock;

/// Runs and their journals in memory.
#[derive(Clone, Default)]
pub struct MemoryJournal {
    runs: Arc<Mutex<BTreeMap<RunId, Kept>>>,
    segments: Arc<Mutex<BTreeMap<RunId, BTreeMap<u32, Segment>>>>,
}

/// A run with what its record holds besides.
struct Kept {
    run: Run,
    last_entries: Vec<StepRecord>,
}

impl MemoryJournal {
    /// A journal without runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every run, oldest first.
    pub fn runs(&self) -> Vec<Run> {
        lock(&self.runs).values().map(|kept| kept.run.clone()).collect()
    }

    /// The segments of a run's journal, in order.
    pub fn segments(&self, id: RunId) -> Vec<Segment> {
        lock(&self.segments).get(&id).map(|segments| segments.values().cloned().collect()).unwrap_or_default()
    }

    /// Forgets everything that is known of a run, as the table does when its time is over.
    pub fn forget(&self, id: RunId) {
        lock(&self.runs).remove(&id);
        lock(&self.segments).remove(&id);
    }
}

impl fmt::Debug for MemoryJournal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemoryJournal").field("runs", &lock(&self.runs).len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Journal for MemoryJournal {
    async fn create(&self, run: &Run) -> Result<Created, Failure> {
        let mut runs = lock(&self.runs);
        if let Some(existing) = runs.get(&run.id) {
            return Ok(Created::Existing(Box::new(existing.run.clone())));
        }
        runs.insert(run.id, Kept { run: run.clone(), last_entries: Vec::new() });
        Ok(Created::New)
    }

    async fn open(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<Opened, Failure> {
        let mut runs = lock(&self.runs);
        let Some(Kept { run, .. }) = runs.get_mut(&id) else {
            return Err(Failure::new(Kind::NotFound, format!("there is no run {id}")));
        };
        let may_begin = match run.status {
            Status::Running => match &run.lease {
                Some(held) if held.until > now && held.owner != lease.owner => {
                    return Ok(Opened::Busy { until: held.until });
                }
                _ => true,
            },
            Status::Queued => match run.due_at {
                Some(due) if due > now => return Ok(Opened::Busy { until: due }),
                _ => true,
            },
            Status::Waiting => run.due_at.is_some_and(|due| due <= now),
            Status::Attention | Status::Succeeded | Status::Failed | Status::Cancelled => false,
        };
        if may_begin {
            run.due_at = None;
            run.status = Status::Running;
            run.lease = Some(lease.clone());
            run.updated_at = now;
            Ok(Opened::Leased(Box::new(run.clone())))
        } else {
            Ok(Opened::Resting(Box::new(run.clone())))
        }
    }

    async fn renew(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<Renewed, Failure> {
        let mut runs = lock(&self.runs);
        let Some(Kept { run, .. }) = runs.get_mut(&id) else { return Ok(Renewed::Lost { status: None }) };
        if run.status != Status::Running || !holds(run, &lease.owner) {
            return Ok(Renewed::Lost { status: Some(run.status) });
        }
        run.lease = Some(lease.clone());
        run.updated_at = now;
        Ok(Renewed::Held)
    }

    async fn read(&self, id: RunId, from: u32) -> Result<Vec<Segment>, Failure> {
        let journals = lock(&self.segments);
        let Some(segments) = journals.get(&id) else { return Ok(Vec::new()) };
        let segments: Vec<Segment> = segments.range(from..).map(|(_, segment)| segment.clone()).collect();
        match segments.iter().zip(from..).find(|(segment, number)| segment.number != *number) {
            None => Ok(segments),
            Some((_, number)) => Err(Failure::validation(format!("the journal of run {id} has no segment {number}"))),
        }
    }

    async fn append(&self, id: RunId, segment: &Segment) -> Result<Appended, Failure> {
        let mut journals = lock(&self.segments);
        let segments = journals.entry(id).or_default();
        let standing = segments.entry(segment.number).or_insert_with(|| segment.clone());
        Ok(if standing == segment { Appended::Written } else { Appended::Taken })
    }

    async fn close(&self, id: RunId, closing: &Closing, now: Timestamp) -> Result<bool, Failure> {
        let mut runs = lock(&self.runs);
        let may_close = |run: &Run| {
            closing.from.contains(&run.status) && closing.owner.as_ref().is_none_or(|owner| holds(run, owner))
        };
        let Some(kept) = runs.get_mut(&id).filter(|kept| may_close(&kept.run)) else { return Ok(false) };
        kept.last_entries.clone_from(&closing.last_entries);
        let run = &mut kept.run;
        run.due_at = closing.due_at;
        run.status = closing.status;
        run.result.clone_from(&closing.result);
        if closing.error.is_some() {
            run.error.clone_from(&closing.error);
        }
        run.failed_attempts += u32::from(closing.counts_as_failed);
        run.owes_letter = closing.owes_letter;
        if let Some(usage) = closing.usage {
            run.usage = usage;
        }
        if let Some(footprint) = closing.footprint {
            run.footprint = footprint;
        }
        run.lease = None;
        run.updated_at = now;
        run.finished_at = closing.status.is_final().then_some(now);
        Ok(true)
    }

    async fn letter_sent(&self, id: RunId) -> Result<(), Failure> {
        if let Some(kept) = lock(&self.runs).get_mut(&id) {
            kept.run.owes_letter = false;
        }
        Ok(())
    }

    async fn find(&self, id: RunId) -> Result<Option<(Run, Vec<StepRecord>)>, Failure> {
        let runs = lock(&self.runs);
        let Some(kept) = runs.get(&id) else { return Ok(None) };
        let mut history = History::of(self.segments(id));
        kept.last_entries.iter().for_each(|entry| history.take_in(entry.clone()));
        Ok(Some((kept.run.clone(), history.into_steps())))
    }

    async fn list(&self, filter: &RunFilter) -> Result<Page, Failure> {
        let limit = filter.limit.clamp(1, 100);
        let first = filter.since.map(RunId::first_of);
        let runs = lock(&self.runs);
        let mut found: Vec<Summary> = runs
            .values()
            .rev()
            .map(|kept| &kept.run)
            .filter(|run| {
                first.is_none_or(|first| run.id >= first)
                    && filter.before.is_none_or(|before| run.id < before)
                    && filter.workflow.is_none_or(|workflow| run.workflow == workflow)
                    && filter.status.is_none_or(|status| run.status == status)
                    && filter.caller.as_ref().is_none_or(|caller| run.origin.caller == *caller)
            })
            // One more than asked for tells whether there is a next page.
            .take(limit + 1)
            .map(Summary::from)
            .collect();
        let has_more = found.len() > limit;
        found.truncate(limit);
        let next = has_more.then(|| found.last().map(|run| run.id)).flatten();
        Ok(Page { runs: found, next })
    }
}

fn holds(run: &Run, owner: &str) -> bool {
    run.lease.as_ref().is_some_and(|lease| lease.owner == owner)
}
