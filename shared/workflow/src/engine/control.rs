//! How the world reaches a run between its attempts.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::Value;

use super::{
    wait::{Decision, Reply, Wait},
    worker::{cancelled, has_unsettled},
};
use crate::{
    domain::{
        Failure, Kind, Run, RunId, Status, canonical_text,
        input::Input,
        run::{Entry, Footprint, History, Lineage, Origin, Segment, StepKind, StepRecord, StepState, Trigger, Usage},
    },
    ports::{Appended, Clock, Closing, Created, Journal, Queue},
};

/// Cancels, retries, answers and settles runs. Each of these can be asked for again: what was broken off is then
/// finished, and what was done is not done twice.
#[derive(Clone)]
pub struct Control {
    journal: Arc<dyn Journal>,
    queue: Arc<dyn Queue>,
    clock: Arc<dyn Clock>,
}

/// What came of [`Control::cancel`].
#[derive(Clone, Debug, PartialEq)]
pub enum Cancelling {
    /// The run is cancelled: no at-most-once effect is begun any more, and no other once an attempt that is under way
    /// has heard of it. What was under way may still end.
    Cancelled(Box<Run>),
    /// The run had ended before.
    Ended(Box<Run>),
    /// There is no such run.
    Unknown,
}

/// How a run is to be repeated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retry {
    /// From which step on; everything before it stands. Without one, all that the run had done stands, and it goes
    /// on where it failed, unless the input is another one: then nothing stands.
    pub from_step: Option<String>,
    /// Another input, of the same workflow.
    pub input: Option<Input>,
    /// Whether effects that happened, and come after the step, may happen again.
    pub repeat_effects: bool,
}

/// What came of [`Control::retry`].
#[derive(Clone, Debug, PartialEq)]
pub enum Retrying {
    /// This run repeats it. Asked for the same again, it is the same run.
    Begun(Box<Run>),
    /// The run has not ended: this is where it stands.
    NotEnded(Status),
    /// The run has no such step; these it has.
    NoSuchStep(Vec<String>),
    /// These effects happened already, or may have, and would happen again.
    WouldRepeat(Vec<String>),
    /// The input is one of another workflow.
    OtherWorkflow,
    /// There is no such run.
    Unknown,
}

/// A callback as the answerer sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// What is asked.
    pub asks: Value,
    /// Until when it can be answered.
    pub until: jiff::Timestamp,
    /// The answer, once there is one.
    pub reply: Option<Reply>,
    /// Where the run stands.
    pub status: Status,
}

/// What came of [`Control::answer`].
#[derive(Clone, Debug, PartialEq)]
pub enum Answered {
    /// The answer stands, given now or before in the same words.
    Taken(Box<Reply>),
    /// Another answer stands.
    AnsweredOtherwise(Box<Reply>),
    /// The deadline has passed, or the run has ended.
    TooLate,
    /// There is no such callback, or the token is not its own.
    Unknown,
}

/// What came of [`Control::settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settling {
    /// The effect has this outcome now, and the run goes on if nothing else is open.
    Settled,
    /// No effect of that name or position is open.
    NothingOpen,
    /// There is no such run.
    Unknown,
}

// Entries that are copied for a retry at once: a segment of some hundred kilobytes at the most, large values lie
// elsewhere.
const COPIED_AT_ONCE: usize = 100;
// A segment that is taken again and again means that a worker writes busily; each time one reads what it wrote.
const APPENDS: usize = 100;

impl Control {
    /// Control of the runs of this journal.
    pub fn new(journal: Arc<dyn Journal>, queue: Arc<dyn Queue>, clock: Arc<dyn Clock>) -> Self {
        Self { journal, queue, clock }
    }

    /// Cancels a run on somebody's behalf. The cancellation is a segment of its journal: whatever attempt is at work
    /// finds it before its next effect.
    ///
    /// # Errors
    /// This returns an error when the journal does not answer; cancelling again finishes it.
    pub async fn cancel(&self, id: RunId, by: &str) -> Result<Cancelling, Failure> {
        let Some((run, _)) = self.journal.find(id).await? else { return Ok(Cancelling::Unknown) };
        if run.status == Status::Cancelled {
            return Ok(Cancelling::Cancelled(Box::new(run)));
        }
        if run.status.is_final() {
            return Ok(Cancelling::Ended(Box::new(run)));
        }
        let now = self.clock.now();
        self.append(id, |history| (!history.is_cancelled()).then(|| Entry::Cancelled { by: by.to_owned(), at: now }))
            .await?;
        let from = [Status::Queued, Status::Running, Status::Waiting, Status::Attention];
        let closing = Closing { error: Some(cancelled()), ..Closing::new(run.workflow, from, Status::Cancelled) };
        self.journal.close(id, &closing, now).await?;
        // Its last step may have ended it at the same moment: then that stands.
        Ok(match self.journal.find(id).await? {
            Some((run, _)) if run.status == Status::Cancelled => Cancelling::Cancelled(Box::new(run)),
            Some((run, _)) => Cancelling::Ended(Box::new(run)),
            None => Cancelling::Unknown,
        })
    }

    /// Notes that the dead letter that a run owed was sent.
    ///
    /// # Errors
    /// This returns an error when the journal does not answer; the letter is then sent again.
    pub async fn letter_sent(&self, id: RunId) -> Result<(), Failure> {
        self.journal.letter_sent(id).await
    }

    /// Begins a run that repeats one which ended without success, and has its consumer take it up.
    ///
    /// # Errors
    /// This returns an error when the journal or the queue does not answer; retrying again finishes it.
    pub async fn retry(&self, id: RunId, retry: &Retry) -> Result<Retrying, Failure> {
        let Some((run, steps)) = self.journal.find(id).await? else { return Ok(Retrying::Unknown) };
        let ended_at = match (run.status, run.finished_at) {
            (Status::Failed | Status::Cancelled | Status::Succeeded, Some(ended_at)) => ended_at,
            (status, _) => return Ok(Retrying::NotEnded(status)),
        };
        if retry.input.as_ref().is_some_and(|input| input.workflow() != run.workflow) {
            return Ok(Retrying::OtherWorkflow);
        }
        let Some(kept) = kept(&run, &steps, retry) else {
            let names: BTreeSet<String> = steps.into_iter().map(|step| step.name).collect();
            return Ok(Retrying::NoSuchStep(names.into_iter().collect()));
        };
        let repeated: Vec<String> = steps
            .iter()
            // One that was begun may have happened.
            .filter(|step| step.kind == StepKind::Effect)
            .filter(|step| matches!(step.state, StepState::Done | StepState::Intended))
            .filter(|step| !kept.iter().any(|kept| kept.position == step.position))
            .map(|step| step.name.clone())
            .collect();
        if !repeated.is_empty() && !retry.repeat_effects {
            return Ok(Retrying::WouldRepeat(repeated));
        }
        let again = again(&run, ended_at, retry, repeated.is_empty());
        for (number, entries) in (0..).zip(kept.chunks(COPIED_AT_ONCE)) {
            let entries = entries.iter().cloned().map(Entry::Step).collect();
            // A segment that is taken is what a former request for the same, or its run, wrote.
            self.journal.append(again.id, &Segment { number, entries }).await?;
        }
        let begun = match self.journal.create(&again).await? {
            Created::New => Box::new(again),
            Created::Existing(existing) => existing,
        };
        if begun.status == Status::Queued {
            self.queue.resume(begun.workflow, begun.id, Duration::ZERO).await?;
        }
        Ok(Retrying::Begun(begun))
    }

    /// What a callback asks, for who has its token.
    ///
    /// # Errors
    /// This returns an error when the journal does not answer.
    pub async fn asked(&self, id: RunId, name: &str, token: &str) -> Result<Option<Asked>, Failure> {
        let Some((run, steps)) = self.journal.find(id).await? else { return Ok(None) };
        Ok(callback(&steps, name, token).map(|(_, wait)| Asked {
            asks: wait.asks,
            until: wait.until,
            reply: wait.reply,
            status: run.status,
        }))
    }

    /// Answers a callback, for who has its token; the first answer stands.
    ///
    /// # Errors
    /// This returns an error when the journal or the queue does not answer; answering again finishes it.
    pub async fn answer(&self, id: RunId, name: &str, token: &str, reply: &Reply) -> Result<Answered, Failure> {
        let Some((run, steps)) = self.journal.find(id).await? else { return Ok(Answered::Unknown) };
        let Some((step, wait)) = callback(&steps, name, token) else { return Ok(Answered::Unknown) };
        if wait.reply.is_none() && (run.status.is_final() || wait.until <= self.clock.now()) {
            return Ok(Answered::TooLate);
        }
        let stood_before = wait.reply.is_some();
        let answered = Wait { reply: Some(reply.clone()), ..wait };
        let output = serde_json::to_value(&answered)
            .map_err(|error| Failure::validation(format!("the answer is not JSON: {error}")))?;
        let entry = StepRecord { state: StepState::Done, output, owner: String::new(), ..step.clone() };
        let history = self
            .append(id, |history| {
                let open = history.at(&entry.position).is_some_and(|step| step.state == StepState::Waiting);
                (open && !history.is_cancelled()).then(|| Entry::Step(entry.clone()))
            })
            .await?;
        let standing = history.at(&entry.position).and_then(wait_of).and_then(|wait| wait.reply);
        match standing {
            Some(standing) if standing.agrees_with(reply) => {
                self.tell(&run, !stood_before).await?;
                Ok(Answered::Taken(Box::new(standing)))
            }
            Some(standing) if standing.decision != Decision::Expired => {
                Ok(Answered::AnsweredOtherwise(Box::new(standing)))
            }
            _ => Ok(Answered::TooLate),
        }
    }

    /// Says what came of an effect that was begun: its value when it happened, `None` when it certainly did not. A
    /// run that needs attention for nothing else goes on.
    ///
    /// `is_it` finds the effect by its entry.
    ///
    /// # Errors
    /// This returns an error when the journal or the queue does not answer; settling again finishes it.
    pub async fn settle(
        &self,
        id: RunId,
        is_it: impl Fn(&StepRecord) -> bool,
        happened: Option<Value>,
    ) -> Result<Settling, Failure> {
        let Some((run, steps)) = self.journal.find(id).await? else { return Ok(Settling::Unknown) };
        if run.status.is_final() {
            return Ok(Settling::NothingOpen);
        }
        let open = steps.into_iter().find(|step| step.state == StepState::Intended && is_it(step));
        let was_open = open.is_some();
        let history = match open {
            None => History::of(self.journal.read(id, 0).await?),
            Some(step) => {
                let state = if happened.is_some() { StepState::Done } else { StepState::Released };
                let settled = StepRecord { state, output: happened.unwrap_or_default(), ..step };
                self.append(id, |history| {
                    let open = history.at(&settled.position).is_some_and(|step| step.state == StepState::Intended);
                    open.then(|| Entry::Step(settled.clone()))
                })
                .await?
            }
        };
        if !has_unsettled(&history) {
            self.tell(&run, was_open).await?;
        }
        Ok(if was_open { Settling::Settled } else { Settling::NothingOpen })
    }

    /// Has the run's consumer see what was said. The run itself stays as it is until then: were it put back into its
    /// queue here, and the message not sent, nobody would ever go on with it.
    async fn tell(&self, run: &Run, is_news: bool) -> Result<(), Failure> {
        // Also where it was said before: whoever said it may not have come this far. An attempt that is under way looks
        // once more before it leaves the run to rest.
        if is_news || matches!(run.status, Status::Waiting | Status::Attention) {
            self.queue.resume(run.workflow, run.id, Duration::ZERO).await?;
        }
        Ok(())
    }

    /// Appends what the history calls for, if it calls for something; gives the history as it then is.
    async fn append(&self, id: RunId, entry: impl Fn(&History) -> Option<Entry>) -> Result<History, Failure> {
        let mut history = History::default();
        for _ in 0..APPENDS {
            for segment in self.journal.read(id, history.next_segment()).await? {
                history.apply(segment);
            }
            let Some(entry) = entry(&history) else { return Ok(history) };
            let segment = Segment { number: history.next_segment(), entries: vec![entry] };
            if self.journal.append(id, &segment).await? == Appended::Written {
                history.apply(segment);
                return Ok(history);
            }
        }
        Err(Failure::new(Kind::Throttled, "the run's journal is written to all the time"))
    }
}

/// What stands when a run is repeated; `None` when it has no such step.
fn kept(run: &Run, steps: &[StepRecord], retry: &Retry) -> Option<Vec<StepRecord>> {
    let failed_in = run.error.as_ref().and_then(|error| error.step.as_deref());
    let end = match &retry.from_step {
        None if retry.input.is_some() => Some(String::new()),
        None => None,
        Some(name) => match steps.iter().find(|step| step.name == *name) {
            Some(step) => Some(step.position.clone()),
            // What failed has no entry: all that has one came before it, or beside it.
            None if failed_in == Some(name) => None,
            None => return None,
        },
    };
    let stands = |step: &&StepRecord| {
        matches!(step.state, StepState::Done | StepState::Intended)
            && end.as_ref().is_none_or(|end| step.position < *end)
    };
    Some(steps.iter().filter(stands).cloned().collect())
}

/// The run that repeats another. Its id follows from what was asked for, so the same again is the same run.
fn again(run: &Run, ended_at: jiff::Timestamp, retry: &Retry, keeps_keys: bool) -> Run {
    let from = retry.from_step.as_deref().unwrap_or_default();
    let input = retry.input.as_ref().map(Input::to_value);
    let input_text = input.as_ref().map(canonical_text).unwrap_or_default();
    let id = RunId::derived(ended_at, &["retry", &run.id.to_string(), from, &input_text]);
    let first = run.lineage.as_ref().map_or(run.id, |lineage| lineage.keys_of);
    let lineage = Lineage {
        retry_of: run.id,
        from_step: retry.from_step.clone(),
        keys_of: if keeps_keys && input.is_none() { first } else { id },
        first_run: Some(run.first_of_line()),
    };
    Run {
        id,
        workflow: run.workflow,
        data_id: retry.input.as_ref().map_or_else(|| run.data_id.clone(), |input| input.data_id().to_owned()),
        definition_version: run.definition_version,
        status: Status::Queued,
        origin: Origin { trigger: Trigger::Run, id: run.id.to_string(), caller: run.origin.caller.clone() },
        lineage: Some(lineage),
        input: input.unwrap_or_else(|| run.input.clone()),
        result: None,
        error: None,
        failed_attempts: 0,
        usage: Usage::default(),
        footprint: Footprint::default(),
        lease: None,
        due_at: None,
        owes_letter: false,
        created_at: ended_at,
        updated_at: ended_at,
        finished_at: None,
    }
}

fn wait_of(step: &StepRecord) -> Option<Wait> {
    serde_json::from_value(step.output.clone()).ok()
}

/// The callback of this name that has this token.
fn callback<'a>(steps: &'a [StepRecord], name: &str, token: &str) -> Option<(&'a StepRecord, Wait)> {
    let named = steps.iter().filter(|step| step.kind == StepKind::Wait && step.name == name);
    named.filter_map(|step| Some((step, wait_of(step)?))).find(|(_, wait)| {
        // Compared as hashes, which takes as long for a good guess as for a bad one.
        wait.token.as_ref().is_some_and(|own| blake3::hash(own.as_bytes()) == blake3::hash(token.as_bytes()))
    })
}
