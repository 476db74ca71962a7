//! The people and services around a run: they answer what they are asked, tell what became of a mail, and cancel.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ihelper_workflow::{
    domain::{
        Failure, Run, RunId, Status,
        run::{StepKind, StepRecord, StepState},
    },
    engine::{Answered, Cancelling, Control, Decision, Reply},
    ports::{Clock as _, Journal, Queue, Receipt},
};
use serde_json::{Value, json};

use crate::memory::{MemoryEventBus, MemoryMailer, VirtualClock};

/// The event by which the tool `request_approval` asks, and so may any workflow: with `run_id`, `name` and `token`.
const QUESTION: &str = "approval_requested";

pub(super) struct World {
    pub(super) run: RunId,
    pub(super) journal: Arc<dyn Journal>,
    pub(super) queue: Arc<dyn Queue>,
    pub(super) clock: VirtualClock,
    pub(super) bus: MemoryEventBus,
    pub(super) mailer: MemoryMailer,
    /// What is answered to whatever is asked; `None` lets callbacks expire.
    pub(super) reply: Option<(Decision, Value)>,
    /// Whether runs that need attention get it.
    pub(super) settles: bool,
    pub(super) known: Mutex<Known>,
}

/// What the world did so far.
#[derive(Default)]
pub(super) struct Known {
    answered: HashSet<String>,
    /// Positions of mails whose delivery was told of.
    told: HashSet<String>,
    /// Positions of effects of which it was said that they did not happen, without an answer so far: whoever says so
    /// says it again.
    unheard: BTreeSet<String>,
    /// Where effects had been begun when the run was cancelled, if it was.
    pub(super) begun_when_cancelled: Option<BTreeSet<String>>,
    pub(super) complaints: Vec<String>,
}

struct Question {
    name: String,
    token: String,
}

impl World {
    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn control(&self) -> Control {
        Control::new(Arc::clone(&self.journal), Arc::clone(&self.queue), Arc::new(self.clock.clone()))
    }

    /// Answers whatever was asked, and tells of each mail that went out; without any fault of its own.
    pub(super) async fn act_at_once(&self) {
        let control = self.control();
        if let Err(failure) = async {
            self.answer(&control).await?;
            self.tell_of_mails(&control).await
        }
        .await
        {
            self.known().complaints.push(format!("the world could not act: {failure}"));
        }
    }

    /// Whether the run needs the world to come any further.
    pub(super) async fn has_to_act(&self) -> bool {
        let Ok(Some((run, steps))) = self.journal.find(self.run).await else { return false };
        if run.status.is_final() {
            return false;
        }
        let can_settle = || !intended(&steps).is_empty() || self.untold_mails().next().is_some();
        if !self.known().unheard.is_empty() {
            return true;
        }
        (self.reply.is_some() && self.questions().next().is_some()) || (self.attends(&run) && can_settle())
    }

    fn attends(&self, run: &Run) -> bool {
        self.settles && run.status == Status::Attention
    }

    /// Answers whatever was asked, and settles what needs attention, as someone does who can look it up. No attempt is
    /// under way meanwhile.
    pub(super) async fn act(&self, control: &Control) -> Result<(), Failure> {
        self.answer(control).await?;
        let Some((run, steps)) = self.journal.find(self.run).await? else { return Ok(()) };
        if self.attends(&run) {
            self.tell_of_mails(control).await?;
            let sent: BTreeMap<String, Receipt> = self.sent().collect();
            self.known().unheard.extend(intended(&steps).into_iter().filter(|position| !sent.contains_key(position)));
        }
        let unheard = self.known().unheard.clone();
        for position in unheard {
            control.settle(self.run, |step| step.position == position, None).await?;
            self.known().unheard.remove(&position);
        }
        Ok(())
    }

    pub(super) async fn cancel(&self) {
        match self.control().cancel(self.run, "somebody").await {
            Ok(Cancelling::Cancelled(_)) => {
                let steps = self.journal.find(self.run).await.ok().flatten().map(|(_, steps)| steps);
                let effects = steps.unwrap_or_default().into_iter().filter(|step| step.kind == StepKind::Effect);
                let begun = effects.map(|step| step.position).collect();
                self.known().begun_when_cancelled.get_or_insert(begun);
            }
            Ok(Cancelling::Ended(_) | Cancelling::Unknown) => {}
            Err(failure) => self.known().complaints.push(format!("the run could not be cancelled: {failure}")),
        }
    }

    async fn answer(&self, control: &Control) -> Result<(), Failure> {
        let Some((decision, data)) = &self.reply else { return Ok(()) };
        for Question { name, token } in self.questions().collect::<Vec<_>>() {
            let by = "somebody".to_owned();
            let reply = Reply { decision: *decision, data: data.clone(), by, at: self.clock.now() };
            let answered = control.answer(self.run, &name, &token, &reply).await?;
            let mut known = self.known();
            match answered {
                Answered::Taken(_) | Answered::TooLate => {}
                Answered::AnsweredOtherwise(_) => {
                    known.complaints.push(format!("`{name}` was answered otherwise by nobody"));
                }
                Answered::Unknown => known.complaints.push(format!("the token of `{name}` is not good")),
            }
            known.answered.insert(token);
        }
        Ok(())
    }

    async fn tell_of_mails(&self, control: &Control) -> Result<(), Failure> {
        for (position, receipt) in self.untold_mails().collect::<Vec<_>>() {
            control.settle(self.run, |step| step.position == position, Some(json!(receipt))).await?;
            self.known().told.insert(position);
        }
        Ok(())
    }

    fn questions(&self) -> impl Iterator<Item = Question> {
        let run = self.run.to_string();
        let asked = self.bus.published().into_iter().filter(move |published| {
            published.event.detail_type == QUESTION && published.event.detail["run_id"] == run
        });
        asked.filter_map(|published| {
            let text = |field: &str| published.event.detail[field].as_str().map(str::to_owned);
            let question = Question { name: text("name")?, token: text("token")? };
            (!self.known().answered.contains(&question.token)).then_some(question)
        })
    }

    fn sent(&self) -> impl Iterator<Item = (String, Receipt)> {
        let ours = self.mailer.sent().into_iter().filter(|sent| sent.run == self.run);
        ours.map(|sent| (sent.step, Receipt { message_id: sent.message_id }))
    }

    fn untold_mails(&self) -> impl Iterator<Item = (String, Receipt)> {
        self.sent().filter(|(position, _)| !self.known().told.contains(position))
    }
}

/// The positions of effects of which nobody knows what came of them.
pub(super) fn intended(steps: &[StepRecord]) -> Vec<String> {
    let open = steps.iter().filter(|step| step.state == StepState::Intended);
    open.map(|step| step.position.clone()).collect()
}
