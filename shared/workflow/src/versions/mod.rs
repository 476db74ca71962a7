//! How a definition gets another version: the seed's version manager.
//!
//! A change is backed up, applied, validated, and taken back when it does not hold. Backing up means that the version
//! before stays as it is, under its own number; applying, that the new one is put under the next number; validating,
//! that its templates render and its golden cases come out as they say, played on the assistant and the settings of
//! this deployment. Only then does the pointer move, in one conditional write. Taking back therefore undoes nothing:
//! the pointer has not moved, and the version is noted as rejected, with what was wrong.
//!
//! **Invariants**
//! - The pointer points at a whole version, whenever whoever is killed.
//! - Versions have the numbers from the first on, and moves the revisions from 1 on, without gaps.
//! - What a version says never changes; a run keeps the version that it began with.
//!
//! Deliberately absent: the deletion of versions. A run may be pinned to any that was ever current.

mod check;
mod diff;
mod rehearsal;
mod stage;

use std::{sync::Arc, time::Duration};

use futures::future::{Either, select};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    domain::{
        Failure, Kind, WorkflowType,
        definition::Definition,
        input::Violation,
        version::{Action, Canary, Change, Pointer, Tally, Terms, Version, VersionState},
    },
    engine::Definitions,
    ports::{Added, Clock, DefinitionStore, LARGEST_DEFINITION, Moved},
};

pub use diff::{Difference, as_text, diff};
pub use rehearsal::{CASES_AT_ONCE, Played, Rehearsal};
pub use stage::Deed;

/// How often a change is tried that another overtakes each time.
const MOST_TRIES: usize = 1000;
/// How often a move is tried whose write met another's, and how much longer the pause grows each time.
const MOST_MEETINGS: u32 = 20;
const MEETING_PAUSE: Duration = Duration::from_millis(20);

/// Changes definitions, one version after another.
#[derive(Clone)]
pub struct Versions {
    /// Holds the versions.
    pub store: Arc<dyn DefinitionStore>,
    /// What runs of this process are pinned to: it hears of each move at once.
    pub definitions: Definitions,
    /// Plays golden cases.
    pub rehearsal: Rehearsal,
    /// Tells when.
    pub clock: Arc<dyn Clock>,
    /// How long all golden cases of a definition may take together.
    pub patience: Duration,
}

/// Where the pointer has to stand for a change to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Anywhere: the change is meant whatever others do.
    Any,
    /// At this revision; 0 is before its first move.
    Revision(u32),
}

impl Expected {
    fn allows(self, pointer: Option<&Pointer>) -> bool {
        match self {
            Self::Any => true,
            Self::Revision(expected) => expected == revision_of(pointer),
        }
    }
}

/// Why a change was not made. The version before is current.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// The pointer does not stand where it was expected.
    Stale,
    /// The definition is not valid. It stands in the history under this number, if it came so far.
    Invalid {
        /// The number.
        version: Option<u32>,
        /// What is wrong.
        violations: Vec<Violation>,
    },
    /// There is no such version that runs could get.
    NoSuchVersion(u32),
    /// The change does not fit the state that it meets.
    Conflict(&'static str),
    /// The store failed. A change may have been made all the same; who asks again finds out.
    Failed(Failure),
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// What came of a change.
#[derive(Clone, Debug, PartialEq)]
pub enum Changed {
    /// Nothing had to change.
    Unchanged,
    /// The pointer was moved, to here.
    Moved(Pointer),
}

/// How a workflow's versions stand.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// The pointer, once it was moved.
    pub pointer: Option<Pointer>,
    /// The current version.
    pub current: Version,
    /// How the trial stands that is under way.
    pub tally: Option<Tally>,
}

impl Standing {
    /// Which move of the pointer this is; 0 before the first.
    pub fn revision(&self) -> u32 {
        revision_of(self.pointer.as_ref())
    }
}

/// A part of a workflow's history, newest first.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// The versions.
    pub versions: Vec<Version>,
    /// The moves of the pointer, as many as there are versions shown at the most.
    pub moves: Vec<Pointer>,
    /// Below which version the history goes on.
    pub next: Option<u32>,
}

impl Versions {
    /// How a workflow's versions stand.
    ///
    /// # Errors
    /// This returns an error when the store cannot be read.
    pub async fn standing(&self, workflow: WorkflowType) -> Result<Standing, Failure> {
        let pointer = self.store.pointer(workflow).await?;
        let Some(at) = &pointer else {
            return Ok(Standing { pointer, current: self.built_in(workflow)?, tally: None });
        };
        let current = self.store.version(workflow, at.current).await?;
        let current = current.ok_or_else(|| {
            Failure::validation(format!("the current version {} of `{workflow}` is not in the store", at.current))
        })?;
        let tally = match at.canary {
            Some(_) => Some(self.store.tally(workflow, at.revision).await?),
            None => None,
        };
        Ok(Standing { pointer, current, tally })
    }

    /// A version, by its number.
    ///
    /// # Errors
    /// This returns an error when the store cannot be read.
    pub async fn version(&self, workflow: WorkflowType, number: u32) -> Result<Option<Version>, Failure> {
        let found = self.store.version(workflow, number).await?;
        let built_in = self.built_in(workflow)?;
        Ok(found.or_else(|| (built_in.number() == number).then_some(built_in)))
    }

    /// The versions below `before`, newest first, and the last moves of the pointer.
    ///
    /// # Errors
    /// This returns an error when the store cannot be read.
    pub async fn history(&self, workflow: WorkflowType, before: Option<u32>, limit: usize) -> Result<History, Failure> {
        // One more than asked for tells whether there is a next page.
        let mut versions = self.store.versions(workflow, before, limit + 1).await?;
        if versions.is_empty() && before.is_none() {
            versions.push(self.built_in(workflow)?);
        }
        let next = (versions.len() > limit).then(|| versions[limit - 1].number());
        versions.truncate(limit);
        let moves = if before.is_none() { self.store.moves(workflow, None, limit).await? } else { Vec::new() };
        Ok(History { versions, moves, next })
    }

    /// Makes a definition the current version, or puts it on trial on these terms: backs up, applies, validates, and
    /// takes back what does not hold.
    ///
    /// # Errors
    /// This returns an error when the definition is not valid, another change came first or is under way, or the
    /// store fails. Runs then get what they got before.
    pub async fn update_workflow(
        &self,
        workflow: WorkflowType,
        definition: Definition,
        expected: Expected,
        trial: Option<Terms>,
        change: &Change,
    ) -> Result<Changed, Refusal> {
        self.refuse_impossible(workflow, &definition, trial)?;
        let before = self.standing(workflow).await?;
        if !expected.allows(before.pointer.as_ref()) {
            return Err(Refusal::Stale);
        }
        refuse_during_a_trial(before.pointer.as_ref())?;
        if definition.says_the_same_as(&before.current.definition) {
            return Ok(Changed::Unchanged);
        }

        self.back_up_workflow(workflow).await?;
        let number = self.apply_update(workflow, definition, change).await?;
        let violations = match self.validate_update(workflow, number).await {
            Ok(violations) => violations,
            Err(failure) => return Err(failure.into()),
        };
        if !violations.is_empty() {
            self.roll_back_update(workflow, number, &violations).await;
            return Err(Refusal::Invalid { version: Some(number), violations });
        }
        let canary = trial.map(|terms| Canary { version: number, terms });
        let moved = self
            .move_pointer(workflow, expected, Some(number), change, |pointer| {
                refuse_during_a_trial(pointer)?;
                Ok(match (&canary, pointer) {
                    (None, _) => (number, None, Action::Update),
                    (Some(canary), Some(pointer)) => (pointer.current, Some(*canary), Action::Canary),
                    (Some(canary), None) => (before.current.number(), Some(*canary), Action::Canary),
                })
            })
            .await;
        if let Err(Refusal::Stale | Refusal::Conflict(_)) = &moved {
            let first = Violation { field: String::new(), problem: "another change came first".to_owned() };
            self.roll_back_update(workflow, number, &[first]).await;
        }
        moved
    }

    /// Makes an older version current again, and ends a trial that is under way. Nothing is validated: it was.
    ///
    /// # Errors
    /// This returns an error when no run ever got that version, another change came first, or the store fails.
    pub async fn rollback(
        &self,
        workflow: WorkflowType,
        to: u32,
        expected: Expected,
        change: &Change,
    ) -> Result<Changed, Refusal> {
        let standing = self.standing(workflow).await?;
        if !expected.allows(standing.pointer.as_ref()) {
            return Err(Refusal::Stale);
        }
        let accepted = self.version(workflow, to).await?.filter(|version| version.state == VersionState::Accepted);
        let Some(_) = accepted else { return Err(Refusal::NoSuchVersion(to)) };
        if standing.current.number() == to && standing.pointer.is_none_or(|pointer| pointer.canary.is_none()) {
            return Ok(Changed::Unchanged);
        }
        self.move_pointer(workflow, expected, None, change, |_| Ok((to, None, Action::Rollback))).await
    }

    /// Puts an accepted version on trial, on these terms.
    ///
    /// # Errors
    /// As [`rollback`](Self::rollback), and when a trial is under way or the version is current.
    pub async fn start_canary(
        &self,
        workflow: WorkflowType,
        version: u32,
        terms: Terms,
        expected: Expected,
        change: &Change,
    ) -> Result<Changed, Refusal> {
        let violations = terms.violations();
        if !violations.is_empty() {
            return Err(Refusal::Invalid { version: None, violations });
        }
        let found = self.store.version(workflow, version).await?;
        let Some(_) = found.filter(|version| version.state == VersionState::Accepted) else {
            return Err(Refusal::NoSuchVersion(version));
        };
        self.move_pointer(workflow, expected, None, change, |pointer| {
            refuse_during_a_trial(pointer)?;
            match pointer {
                Some(pointer) if pointer.current != version => {
                    Ok((pointer.current, Some(Canary { version, terms }), Action::Canary))
                }
                _ => Err(Refusal::Conflict("the version is current")),
            }
        })
        .await
    }

    /// Makes the version on trial current.
    ///
    /// # Errors
    /// This returns an error when no version is on trial, another change came first, or the store fails.
    pub async fn promote(
        &self,
        workflow: WorkflowType,
        expected: Expected,
        change: &Change,
    ) -> Result<Changed, Refusal> {
        self.end_trial(workflow, expected, change, |_, canary| (canary.version, None, Action::Promote)).await
    }

    /// Ends a trial; the current version stays.
    ///
    /// # Errors
    /// As [`promote`](Self::promote).
    pub async fn abort(&self, workflow: WorkflowType, expected: Expected, change: &Change) -> Result<Changed, Refusal> {
        self.end_trial(workflow, expected, change, |pointer, _| (pointer.current, None, Action::Abort)).await
    }

    /// The differences between two versions; `None` when one does not exist.
    ///
    /// # Errors
    /// This returns an error when the store cannot be read.
    pub async fn differences(
        &self,
        workflow: WorkflowType,
        from: u32,
        to: u32,
    ) -> Result<Option<Vec<Difference>>, Failure> {
        let (Some(from), Some(to)) = (self.version(workflow, from).await?, self.version(workflow, to).await?) else {
            return Ok(None);
        };
        Ok(Some(diff(&said_by(&from.definition), &said_by(&to.definition))))
    }

    fn built_in(&self, workflow: WorkflowType) -> Result<Version, Failure> {
        let definition = self.definitions.built_in(workflow)?;
        Ok(Version {
            definition: (*definition).clone(),
            state: VersionState::Accepted,
            author: "deployment".to_owned(),
            made_at: jiff::Timestamp::UNIX_EPOCH,
            reason: "built in".to_owned(),
            problems: Vec::new(),
        })
    }

    /// What no version needs to be put for.
    fn refuse_impossible(
        &self,
        workflow: WorkflowType,
        definition: &Definition,
        trial: Option<Terms>,
    ) -> Result<(), Refusal> {
        let mut violations = trial.map(Terms::violations).unwrap_or_default();
        if definition.workflow != workflow {
            let problem = format!("is `{}`, and this is the definition of `{workflow}`", definition.workflow);
            violations.push(Violation { field: "workflow".to_owned(), problem });
        }
        if json!(definition).to_string().len() > LARGEST_DEFINITION {
            let problem = format!("has more than {LARGEST_DEFINITION} bytes as JSON");
            violations.push(Violation { field: "definition".to_owned(), problem });
        }
        if violations.is_empty() { Ok(()) } else { Err(Refusal::Invalid { version: None, violations }) }
    }

    /// The first change of a workflow puts the version that is built in beside its own: another deployment may bring
    /// another one, and runs are pinned to this.
    async fn back_up_workflow(&self, workflow: WorkflowType) -> Result<(), Failure> {
        if self.store.versions(workflow, None, 1).await?.is_empty() {
            let mut version = self.built_in(workflow)?;
            version.made_at = self.clock.now();
            // Whoever was faster has put the same.
            self.store.add(&version).await?;
        }
        Ok(())
    }

    /// Puts the definition under the next number, for nobody to use so far.
    async fn apply_update(
        &self,
        workflow: WorkflowType,
        definition: Definition,
        change: &Change,
    ) -> Result<u32, Failure> {
        let last = self.store.versions(workflow, None, 1).await?;
        let first = last.first().map_or(0, Version::number) + 1;
        let mut version = Version {
            definition,
            state: VersionState::Candidate,
            author: change.by.clone(),
            made_at: change.at,
            reason: change.reason.clone(),
            problems: Vec::new(),
        };
        for number in (first..).take(MOST_TRIES) {
            version.definition.version = number;
            if self.store.add(&version).await? == Added::Written {
                return Ok(number);
            }
        }
        Err(overtaken())
    }

    /// Everything that is wrong with a version, as it stands in the store.
    async fn validate_update(&self, workflow: WorkflowType, number: u32) -> Result<Vec<Violation>, Failure> {
        let stored = self.store.version(workflow, number).await?;
        let stored = stored.ok_or_else(|| Failure::validation(format!("version {number} is not in the store")))?;
        Ok(self.violations(&stored.definition).await)
    }

    /// Everything that is wrong with a definition: what can be told by looking at it, or else what its golden cases
    /// show.
    pub async fn violations(&self, definition: &Definition) -> Vec<Violation> {
        let mut violations = check::check(definition, &self.rehearsal.configuration.assistant);
        if !violations.iter().any(|violation| violation.field.starts_with("plan")) {
            violations.extend(self.rehearsal.check_plan(definition));
        }
        if !violations.is_empty() {
            return violations;
        }
        let played = self.rehearsal.play_all(definition);
        let patience = self.clock.sleep(self.patience);
        let played = match select(Box::pin(played), patience).await {
            Either::Left((played, _)) => played,
            Either::Right(_) => {
                let problem = format!("took longer than {} s together", self.patience.as_secs());
                return vec![Violation { field: "golden_cases".to_owned(), problem }];
            }
        };
        let mismatches = played.into_iter().enumerate().flat_map(|(index, played)| {
            played.mismatches.into_iter().map(move |mismatch| Violation {
                field: match mismatch.field.as_str() {
                    "" => format!("golden_cases[{index}]"),
                    pointer => format!("golden_cases[{index}].expect.{pointer}"),
                },
                problem: format!("in `{}`: {}", played.name, mismatch.problem),
            })
        });
        mismatches.collect()
    }

    /// Notes what was wrong. That nobody gets the version does not depend on it.
    async fn roll_back_update(&self, workflow: WorkflowType, number: u32, violations: &[Violation]) {
        if let Err(failure) = self.store.reject(workflow, number, violations).await {
            tracing::warn!(error.kind = %failure.kind, definition.version = number, "a rejection was not noted");
        }
    }

    async fn end_trial(
        &self,
        workflow: WorkflowType,
        expected: Expected,
        change: &Change,
        end: impl Fn(&Pointer, &Canary) -> (u32, Option<Canary>, Action),
    ) -> Result<Changed, Refusal> {
        self.move_pointer(workflow, expected, None, change, |pointer| {
            let on_trial = pointer.and_then(|pointer| Some((pointer, pointer.canary.as_ref()?)));
            let (pointer, canary) = on_trial.ok_or(Refusal::Conflict("no version is on trial"))?;
            Ok(end(pointer, canary))
        })
        .await
    }

    /// Moves the pointer from where it is expected to where it is told from there.
    async fn move_pointer(
        &self,
        workflow: WorkflowType,
        expected: Expected,
        accepts: Option<u32>,
        change: &Change,
        to: impl Fn(Option<&Pointer>) -> Result<(u32, Option<Canary>, Action), Refusal>,
    ) -> Result<Changed, Refusal> {
        // The version that is built in has to be there before the pointer may ever come back to it.
        self.back_up_workflow(workflow).await?;
        let mut met = 0;
        for _ in 0..MOST_TRIES {
            let pointer = self.store.pointer(workflow).await?;
            if !expected.allows(pointer.as_ref()) {
                return Err(Refusal::Stale);
            }
            let (current, canary, action) = to(pointer.as_ref())?;
            let next = Pointer::next(pointer.as_ref(), current, canary, action, change);
            match self.store.move_pointer(workflow, &next, accepts).await {
                Ok(Moved::Done) => {
                    self.definitions.forget(workflow);
                    return Ok(Changed::Moved(next));
                }
                Ok(Moved::Overtaken) => {}
                // Two writes met, and the store let neither happen.
                Err(failure) if failure.kind == Kind::Throttled && met < MOST_MEETINGS => {
                    met += 1;
                    self.clock.sleep(MEETING_PAUSE * met).await;
                }
                Err(failure) => return Err(failure.into()),
            }
        }
        Err(overtaken().into())
    }
}

fn refuse_during_a_trial(pointer: Option<&Pointer>) -> Result<(), Refusal> {
    match pointer.and_then(|pointer| pointer.canary.as_ref()) {
        Some(_) => Err(Refusal::Conflict("a version is on trial: promote or abort it first")),
        None => Ok(()),
    }
}

fn revision_of(pointer: Option<&Pointer>) -> u32 {
    pointer.map_or(0, |pointer| pointer.revision)
}

fn overtaken() -> Failure {
    Failure::new(Kind::Throttled, format!("others were faster {MOST_TRIES} times"))
}

/// A definition without its number: that differs always.
fn said_by(definition: &impl Serialize) -> Value {
    let mut value = json!(definition);
    if let Some(fields) = value.as_object_mut() {
        fields.remove("version");
    }
    value
}
