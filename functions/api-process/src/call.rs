//! A call that asks for a run: begins it, works on it, or waits for who does.

use std::time::Duration;

use axum::response::Response;
use ihelper_workflow::{
    domain::{
        Failure, Kind, Run, RunId, Status,
        input::{Input, Invalid},
        run::{Origin, Trigger},
    },
    engine::{Begun, Deadline, Outcome},
};
use jiff::Timestamp;

use crate::{
    Api, LAST_EFFECT, LONGEST_WAIT, Problem,
    answer::{accepted, outcome_of},
    process::Preference,
};

// The insurance message comes a little after the lease, so that it finds it over.
const INSURANCE_MARGIN: Duration = Duration::from_secs(1);
// How often a call looks at a run that another works on: soon at first, since most runs are short.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LONGEST_LOOK: Duration = Duration::from_secs(2);

/// A call of a caller who may start this run.
pub(crate) struct Call<'a> {
    pub(crate) api: &'a Api,
    pub(crate) caller: String,
    pub(crate) input: Input,
    pub(crate) preference: Preference,
    /// When it came in.
    pub(crate) began: Timestamp,
}

/// What came of starting a run.
pub(crate) enum Started {
    /// This call started it, and has its answer.
    Here(Response),
    /// Somebody else has started it.
    Elsewhere(Box<Run>),
}

impl Call<'_> {
    /// The id of a run that this call makes.
    pub(crate) fn new_id(&self) -> RunId {
        RunId::new(self.began, self.api.entropy.random())
    }

    /// Starts the run under this id, unless it exists, and answers for it.
    pub(crate) async fn start(&self, id: RunId) -> Result<Started, Problem> {
        match self.begin(id).await? {
            Begun::Existing(run) => Ok(Started::Elsewhere(run)),
            Begun::New(run) if self.is_left_to_the_consumer() => {
                let run = self.watch(run).await?;
                outcome_of(self.api, &self.caller, *run).await.map(Started::Here)
            }
            begun @ Begun::New(_) => self.work(id, begun).await.map(Started::Here),
        }
    }

    /// Should this process die, the message finds the lease over, or the run queued, and the consumer goes on from the
    /// journal. A run that is left to the consumer needs no other: a consumer that has the message before the run is written
    /// waits for it.
    async fn begin(&self, id: RunId) -> Result<Begun, Problem> {
        let (api, workflow) = (self.api, self.input.workflow());
        let origin = Origin { trigger: Trigger::Api, id: id.to_string(), caller: self.caller.clone() };
        let is_left = self.is_left_to_the_consumer();
        let comes_after = if is_left { Duration::ZERO } else { self.insured_after() };
        let begins = async {
            if is_left {
                api.worker.begin(&self.input, id, origin).await
            } else {
                api.worker.begin_leased(&self.input, id, origin).await
            }
        };
        let (sent, begun) = futures::join!(api.queue.resume(workflow, id, comes_after), begins);
        let begun = begun.map_err(not_begun)?;
        if sent.is_err() && matches!(begun, Begun::New(_)) {
            // Once more before the first step: without it the run would hang on this process.
            api.queue.resume(workflow, id, comes_after).await?;
        }
        Ok(begun)
    }

    /// Whether the consumer works on the run from its first step.
    fn is_left_to_the_consumer(&self) -> bool {
        self.preference.is_to_answer_at_once() || (self.input.has_a_file() && !self.api.reads_files)
    }

    async fn work(&self, id: RunId, begun: Begun) -> Result<Response, Problem> {
        let (api, workflow) = (self.api, self.input.workflow());
        let deadline = Deadline { work: self.deadline(), effects: self.after(LAST_EFFECT) };
        match api.worker.work_on(begun, deadline).await? {
            Outcome::Ended { run, .. } => outcome_of(api, &self.caller, *run).await,
            Outcome::Resting(run) => {
                if let (Status::Waiting, Some(due)) = (run.status, run.due_at) {
                    api.queue.resume(workflow, id, until(due, api.clock.now())).await?;
                }
                Ok(accepted(id, run.status))
            }
            Outcome::Retry { after, .. } => {
                api.queue.resume(workflow, id, after).await?;
                Ok(accepted(id, Status::Queued))
            }
            Outcome::HandedOver => {
                api.queue.resume(workflow, id, Duration::ZERO).await?;
                Ok(accepted(id, Status::Queued))
            }
            Outcome::Busy { after } => {
                api.queue.resume(workflow, id, after).await?;
                Ok(accepted(id, Status::Running))
            }
        }
    }

    /// Waits for a run that another works on, as long as this call may last.
    pub(crate) async fn watch(&self, mut run: Box<Run>) -> Result<Box<Run>, Problem> {
        let deadline = self.deadline();
        let mut pause = FIRST_LOOK;
        while matches!(run.status, Status::Queued | Status::Running) && !self.preference.is_to_answer_at_once() {
            let left = until(deadline, self.api.clock.now());
            if left.is_zero() {
                break;
            }
            self.api.clock.sleep(pause.min(left)).await;
            pause = (pause * 2).min(LONGEST_LOOK);
            let Some((found, _)) = self.api.journal.find(run.id).await? else { break };
            *run = found;
        }
        Ok(run)
    }

    /// Sends the message that a run hangs on, if by now it should have come: whoever owed it may have died, or met
    /// a queue that did not answer. One message too many does no harm.
    pub(crate) async fn remind(&self, run: &Run) -> Result<(), Problem> {
        let last_sign = match run.status {
            Status::Running => run.lease.as_ref().map(|lease| lease.until),
            Status::Queued => Some(run.due_at.unwrap_or(run.updated_at).max(run.updated_at)),
            Status::Waiting => run.due_at,
            Status::Attention | Status::Succeeded | Status::Failed | Status::Cancelled => None,
        };
        let overdue = |sign: Timestamp| later(sign, self.insured_after()) < self.began;
        if last_sign.is_some_and(overdue) {
            self.api.queue.resume(run.workflow, run.id, Duration::ZERO).await?;
        }
        Ok(())
    }

    fn insured_after(&self) -> Duration {
        self.api.worker.lease() + INSURANCE_MARGIN
    }

    fn deadline(&self) -> Timestamp {
        self.after(self.preference.wait.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT))
    }

    fn after(&self, wait: Duration) -> Timestamp {
        later(self.began, wait)
    }
}

/// The sum of a moment and a while.
pub(crate) fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// From one moment to another, or nothing when that has passed.
pub(crate) fn until(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
}

/// What no journal can hold (it nests too deep, say) is the caller's to mend.
fn not_begun(failure: Failure) -> Problem {
    match failure.kind {
        Kind::Validation => Invalid::one("data", failure.message).into(),
        _ => failure.into(),
    }
}
