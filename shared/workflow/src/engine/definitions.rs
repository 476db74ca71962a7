//! The definition versions that a process knows, and how it learns of others.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    domain::{
        Failure, Kind, Run, RunId, Status, WorkflowType,
        definition::Definition,
        version::{Action, Change, Judgement, Pointer},
    },
    ports::{Clock, DefinitionStore, Moved},
};

/// How long a process goes by a pointer that it has read. Reading it costs one unit in that while, however many runs
/// there are; within it, a new version reaches every process.
pub const POINTER_LIFETIME: Duration = Duration::from_secs(5);

/// Who moves a pointer when a trial ends by itself.
const JUDGE: &str = "canary";

/// The definition versions that this process knows: those that are built in, and those of a store.
///
/// A version never changes, so each is read once. As long as nobody has moved a workflow's pointer, the highest version
/// that is built in is current, and nothing but the pointer is ever read.
#[derive(Clone)]
pub struct Definitions {
    built_in: BuiltIn,
    stored: Option<Arc<Stored>>,
}

/// Tells the one version of a workflow that is built in.
type Source = fn(WorkflowType) -> Result<Arc<Definition>, Failure>;

/// Tells its number.
type Number = fn(WorkflowType) -> u32;

#[derive(Clone)]
enum BuiltIn {
    Given(HashMap<WorkflowType, BTreeMap<u32, Arc<Definition>>>),
    Read(Source, Number),
}

impl BuiltIn {
    fn highest_number(&self, workflow: WorkflowType) -> Result<u32, Failure> {
        match self {
            Self::Read(_, number) => Ok(number(workflow)),
            Self::Given(_) => Ok(self.highest(workflow)?.version),
        }
    }

    fn highest(&self, workflow: WorkflowType) -> Result<Arc<Definition>, Failure> {
        let given = match self {
            Self::Read(source, _) => return source(workflow),
            Self::Given(all) => all.get(&workflow).and_then(BTreeMap::last_key_value),
        };
        let highest = given.map(|(_, definition)| Arc::clone(definition));
        highest.ok_or_else(|| Failure::new(Kind::Unknown, format!("there is no definition of `{workflow}`")))
    }

    fn version(&self, workflow: WorkflowType, number: u32) -> Result<Option<Arc<Definition>>, Failure> {
        match self {
            Self::Read(source, only) => (only(workflow) == number).then(|| source(workflow)).transpose(),
            Self::Given(all) => Ok(all.get(&workflow).and_then(|versions| versions.get(&number)).cloned()),
        }
    }
}

struct Stored {
    store: Arc<dyn DefinitionStore>,
    clock: Arc<dyn Clock>,
    pointers: Mutex<HashMap<WorkflowType, Seen>>,
    versions: Mutex<HashMap<(WorkflowType, u32), Arc<Definition>>>,
}

#[derive(Clone)]
struct Seen {
    pointer: Option<Arc<Pointer>>,
    at: Timestamp,
}

impl Definitions {
    /// Of these, the highest version of each workflow is current.
    pub fn new(definitions: impl IntoIterator<Item = Definition>) -> Self {
        let mut all: HashMap<_, BTreeMap<_, _>> = HashMap::new();
        for definition in definitions {
            all.entry(definition.workflow).or_default().insert(definition.version, Arc::new(definition));
        }
        Self { built_in: BuiltIn::Given(all), stored: None }
    }

    /// What `source` tells of a workflow is built in, under this number. It is asked whenever a run needs that, and not
    /// before.
    pub const fn read_by(source: Source, number: Number) -> Self {
        Self { built_in: BuiltIn::Read(source, number), stored: None }
    }

    /// The same, and those of a store, which says what is current once somebody told it.
    #[must_use]
    pub fn with_store(mut self, store: Arc<dyn DefinitionStore>, clock: Arc<dyn Clock>) -> Self {
        self.stored = Some(Arc::new(Stored { store, clock, pointers: Mutex::default(), versions: Mutex::default() }));
        self
    }

    /// The current definition of those that are built in.
    ///
    /// # Errors
    /// This returns an error when there is none of this workflow, or it is not valid.
    pub fn built_in(&self, workflow: WorkflowType) -> Result<Arc<Definition>, Failure> {
        self.built_in.highest(workflow)
    }

    /// The version that a run of this id gets.
    pub(super) async fn version_for(&self, workflow: WorkflowType, run: RunId) -> Result<u32, Failure> {
        match self.pointer(workflow).await? {
            Some(pointer) => Ok(pointer.version_for(run)),
            None => self.built_in.highest_number(workflow),
        }
    }

    /// What new runs get, as a text that changes whenever that does.
    pub(super) async fn mark(&self, workflow: WorkflowType) -> Result<String, Failure> {
        match self.pointer(workflow).await? {
            Some(pointer) => Ok(format!("{}r{}", pointer.current, pointer.revision)),
            None => Ok(self.built_in.highest_number(workflow)?.to_string()),
        }
    }

    /// The version of this number.
    pub(super) async fn version(&self, workflow: WorkflowType, number: u32) -> Result<Arc<Definition>, Failure> {
        let key = (workflow, number);
        let built_in = self.built_in.version(workflow, number)?;
        if let Some(stored) = &self.stored {
            if let Some(known) = lock(&stored.versions).get(&key) {
                return Ok(Arc::clone(known));
            }
            // Once a pointer was moved, the store has all versions: another deployment's first one may be another.
            if built_in.is_none() || self.pointer(workflow).await?.is_some() {
                let found = stored.store.version(workflow, number).await?;
                if let Some(found) = found.map(|version| Arc::new(version.definition)) {
                    lock(&stored.versions).insert(key, Arc::clone(&found));
                    return Ok(found);
                }
            }
        }
        // While a deployment goes through, another function may know it: that is worth a retry.
        built_in.ok_or_else(|| {
            Failure::new(Kind::Unknown, format!("version {number} of `{workflow}` is not part of this deployment"))
        })
    }

    /// Counts a run that has ended, where it belongs to a trial, and ends the trial when it can be told how. What
    /// cannot be counted is missed: the next run makes up for it.
    pub(super) async fn ended(&self, run: &Run) {
        let failed = match run.status {
            Status::Succeeded => false,
            Status::Failed => true,
            Status::Queued | Status::Running | Status::Waiting | Status::Attention | Status::Cancelled => return,
        };
        if let Err(failure) = self.tally(run, failed).await {
            tracing::warn!(error.kind = %failure.kind, "a run was not counted in its trial");
        }
    }

    async fn tally(&self, run: &Run, failed: bool) -> Result<(), Failure> {
        let Some(stored) = &self.stored else { return Ok(()) };
        let Some(pointer) = self.pointer(run.workflow).await? else { return Ok(()) };
        let (Some(canary), Some(arm)) = (&pointer.canary, pointer.arm_of(run.id, run.definition_version)) else {
            return Ok(());
        };
        let tally = stored.store.count(run.workflow, pointer.revision, arm, failed).await?;
        let (current, action) = match canary.judge(&tally) {
            Judgement::Open => return Ok(()),
            Judgement::Promote => (canary.version, Action::Promote),
            Judgement::Abort => (pointer.current, Action::Abort),
        };
        let change = Change { by: JUDGE.to_owned(), at: stored.clock.now(), reason: tally.describe() };
        let next = Pointer::next(Some(&pointer), current, None, action, &change);
        if stored.store.move_pointer(run.workflow, &next, None).await? == Moved::Done {
            tracing::info!(
                definition.type = %run.workflow,
                definition.version = canary.version,
                definition.action = ?action,
                "a trial is over: {}",
                next.reason
            );
        }
        self.forget(run.workflow);
        Ok(())
    }

    /// Looks at the pointer anew the next time it is asked for: this process has moved it.
    pub(crate) fn forget(&self, workflow: WorkflowType) {
        if let Some(stored) = &self.stored {
            lock(&stored.pointers).remove(&workflow);
        }
    }

    /// The pointer as it stood a few seconds ago at the most. While one caller looks, the others go by the former one;
    /// and so do all when the store does not answer, rather than that no run began.
    async fn pointer(&self, workflow: WorkflowType) -> Result<Option<Arc<Pointer>>, Failure> {
        let Some(stored) = &self.stored else { return Ok(None) };
        let now = stored.clock.now();
        let known = {
            let mut pointers = lock(&stored.pointers);
            let known = pointers.get(&workflow).cloned();
            match pointers.get_mut(&workflow) {
                Some(seen) if is_fresh(seen.at, now) => return Ok(seen.pointer.clone()),
                Some(seen) => seen.at = now,
                None => {}
            }
            known
        };
        match stored.store.pointer(workflow).await {
            Ok(found) => {
                let found = found.map(Arc::new);
                lock(&stored.pointers).insert(workflow, Seen { pointer: found.clone(), at: now });
                Ok(found)
            }
            Err(failure) => match known {
                Some(seen) => {
                    tracing::warn!(error.kind = %failure.kind, "the current version could not be looked up");
                    Ok(seen.pointer)
                }
                None => Err(failure),
            },
        }
    }
}

fn is_fresh(seen: Timestamp, now: Timestamp) -> bool {
    Duration::try_from(now.duration_since(seen)).is_ok_and(|age| age < POINTER_LIFETIME)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
