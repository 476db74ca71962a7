use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{
        Failure, Kind, Run, RunId, Status,
        run::{Lease, StepRecord, StepState, Summary},
    },
    ports::{Closing, Created, Intended, Journal, Opened, Page, Recorded, RunFilter},
};
use jiff::Timestamp;

use super::lock;

/// Runs and their steps in memory.
#[derive(Clone, Default)]
pub struct MemoryJournal {
    runs: Arc<Mutex<BTreeMap<RunId, Run>>>,
    steps: Arc<Mutex<BTreeMap<RunId, BTreeMap<String, StepRecord>>>>,
}

impl MemoryJournal {
    /// A journal without runs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Every run, oldest first.
    pub fn runs(&self) -> Vec<Run> {
        lock(&self.runs).values().cloned().collect()
    }

    /// Forgets everything that is known of a run, as the table does when its time is over.
    pub fn forget(&self, id: RunId) {
        lock(&self.runs).remove(&id);
        lock(&self.steps).remove(&id);
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
            return Ok(Created::Existing(Box::new(existing.clone())));
        }
        runs.insert(run.id, run.clone());
        Ok(Created::New)
    }

    async fn open(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<Opened, Failure> {
        let mut runs = lock(&self.runs);
        let run = runs.get_mut(&id).ok_or_else(|| Failure::new(Kind::NotFound, format!("there is no run {id}")))?;
        match (run.status, &run.lease) {
            (Status::Running, Some(held)) if held.until > now && held.owner != lease.owner => {
                Ok(Opened::Busy { until: held.until })
            }
            (Status::Queued, _) if run.due_at.is_some_and(|due| due > now) => {
                Ok(Opened::Busy { until: run.due_at.unwrap_or(now) })
            }
            (Status::Queued | Status::Running, _) => {
                run.due_at = None;
                run.status = Status::Running;
                run.lease = Some(lease.clone());
                run.updated_at = now;
                Ok(Opened::Leased(Box::new(run.clone())))
            }
            _ => Ok(Opened::Resting(Box::new(run.clone()))),
        }
    }

    async fn renew(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<bool, Failure> {
        let mut runs = lock(&self.runs);
        let Some(run) = runs.get_mut(&id) else { return Ok(false) };
        let holds = run.status == Status::Running && run.lease.as_ref().is_some_and(|held| held.owner == lease.owner);
        if holds {
            run.lease = Some(lease.clone());
            run.updated_at = now;
        }
        Ok(holds)
    }

    async fn steps(&self, id: RunId) -> Result<Vec<StepRecord>, Failure> {
        Ok(lock(&self.steps).get(&id).map(|steps| steps.values().cloned().collect()).unwrap_or_default())
    }

    async fn record(&self, id: RunId, step: &StepRecord) -> Result<Recorded, Failure> {
        let mut journals = lock(&self.steps);
        let steps = journals.entry(id).or_default();
        if let Some(existing) = steps.get(&step.position) {
            return Ok(Recorded::Existing(Box::new(existing.clone())));
        }
        steps.insert(step.position.clone(), step.clone());
        Ok(Recorded::Written)
    }

    async fn intend(&self, id: RunId, step: &StepRecord) -> Result<Intended, Failure> {
        let mut journals = lock(&self.steps);
        let steps = journals.entry(id).or_default();
        match steps.get(&step.position) {
            Some(existing) if existing.state != StepState::Released => {
                Ok(Intended::Existing(Box::new(existing.clone())))
            }
            _ => {
                steps.insert(step.position.clone(), step.clone());
                Ok(Intended::Ours)
            }
        }
    }

    async fn settle(&self, id: RunId, step: &StepRecord) -> Result<(), Failure> {
        let mut journals = lock(&self.steps);
        let existing = journals.get_mut(&id).and_then(|steps| steps.get_mut(&step.position)).ok_or_else(|| {
            Failure::new(Kind::NotFound, format!("there is no intent at step {} of run {id}", step.position))
        })?;
        if existing.state == StepState::Intended {
            *existing = step.clone();
        }
        Ok(())
    }

    async fn close(&self, id: RunId, closing: &Closing, now: Timestamp) -> Result<bool, Failure> {
        let mut runs = lock(&self.runs);
        let holds = |run: &Run| match &closing.owner {
            Some(owner) => run.lease.as_ref().is_some_and(|lease| lease.owner == *owner),
            None => true,
        };
        let Some(run) = runs.get_mut(&id).filter(|run| closing.from.contains(&run.status) && holds(run)) else {
            return Ok(false);
        };
        run.due_at = closing.due_at;
        run.status = closing.status;
        run.result.clone_from(&closing.result);
        if closing.error.is_some() {
            run.error.clone_from(&closing.error);
        }
        run.failed_attempts += u32::from(closing.counts_as_failed);
        if let Some(usage) = closing.usage {
            run.usage = usage;
        }
        run.lease = None;
        run.updated_at = now;
        run.finished_at = closing.status.is_final().then_some(now);
        Ok(true)
    }

    async fn find(&self, id: RunId) -> Result<Option<(Run, Vec<StepRecord>)>, Failure> {
        let Some(run) = lock(&self.runs).get(&id).cloned() else { return Ok(None) };
        Ok(Some((run, self.steps(id).await?)))
    }

    async fn list(&self, filter: &RunFilter) -> Result<Page, Failure> {
        let limit = filter.limit.clamp(1, 100);
        let first = filter.since.map(RunId::first_of);
        let runs = lock(&self.runs);
        let mut found: Vec<Summary> = runs
            .values()
            .rev()
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
