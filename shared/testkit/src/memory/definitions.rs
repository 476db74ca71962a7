use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{
        Failure, WorkflowType,
        input::Violation,
        version::{Arm, Pointer, Tally, Version, VersionState},
    },
    ports::{Added, DefinitionStore, LARGEST_DEFINITION, Moved},
};
use serde_json::json;

use super::lock;

/// Versions of definitions in memory.
#[derive(Clone, Default)]
pub struct MemoryDefinitionStore {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    versions: BTreeMap<(WorkflowType, u32), Version>,
    moves: BTreeMap<(WorkflowType, u32), Pointer>,
    tallies: BTreeMap<(WorkflowType, u32), Tally>,
}

impl MemoryDefinitionStore {
    /// A store without versions.
    pub fn new() -> Self {
        Self::default()
    }
}

impl fmt::Debug for MemoryDefinitionStore {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let versions = lock(&self.kept).versions.len();
        formatter.debug_struct("MemoryDefinitionStore").field("versions", &versions).finish_non_exhaustive()
    }
}

impl Kept {
    fn pointer(&self, workflow: WorkflowType) -> Option<&Pointer> {
        self.moves.range((workflow, 0)..=(workflow, u32::MAX)).next_back().map(|(_, pointer)| pointer)
    }
}

#[async_trait]
impl DefinitionStore for MemoryDefinitionStore {
    async fn pointer(&self, workflow: WorkflowType) -> Result<Option<Pointer>, Failure> {
        Ok(lock(&self.kept).pointer(workflow).cloned())
    }

    async fn add(&self, version: &Version) -> Result<Added, Failure> {
        if json!(version.definition).to_string().len() > LARGEST_DEFINITION {
            return Err(Failure::validation(format!("a definition has at most {LARGEST_DEFINITION} bytes")));
        }
        let mut kept = lock(&self.kept);
        let key = (version.workflow(), version.number());
        if kept.versions.contains_key(&key) {
            return Ok(Added::Taken);
        }
        kept.versions.insert(key, version.clone());
        Ok(Added::Written)
    }

    async fn version(&self, workflow: WorkflowType, number: u32) -> Result<Option<Version>, Failure> {
        Ok(lock(&self.kept).versions.get(&(workflow, number)).cloned())
    }

    async fn versions(
        &self,
        workflow: WorkflowType,
        before: Option<u32>,
        limit: usize,
    ) -> Result<Vec<Version>, Failure> {
        let kept = lock(&self.kept);
        let all = kept.versions.range((workflow, 0)..=(workflow, u32::MAX)).rev().map(|(_, version)| version);
        let older = all.filter(|version| before.is_none_or(|before| version.number() < before));
        Ok(older.take(limit).cloned().collect())
    }

    async fn reject(&self, workflow: WorkflowType, number: u32, problems: &[Violation]) -> Result<(), Failure> {
        let mut kept = lock(&self.kept);
        let version = kept.versions.get_mut(&(workflow, number));
        if let Some(version) = version.filter(|version| version.state == VersionState::Candidate) {
            version.state = VersionState::Rejected;
            version.problems = problems.to_vec();
        }
        Ok(())
    }

    async fn move_pointer(
        &self,
        workflow: WorkflowType,
        pointer: &Pointer,
        accepts: Option<u32>,
    ) -> Result<Moved, Failure> {
        let mut kept = lock(&self.kept);
        let standing = kept.pointer(workflow).map_or(0, |pointer| pointer.revision);
        if standing + 1 != pointer.revision {
            return Ok(Moved::Overtaken);
        }
        if let Some(number) = accepts {
            let version = kept.versions.get_mut(&(workflow, number));
            let Some(version) = version.filter(|version| version.state == VersionState::Candidate) else {
                return Err(Failure::validation(format!("version {number} is no candidate")));
            };
            version.state = VersionState::Accepted;
        }
        kept.moves.insert((workflow, pointer.revision), pointer.clone());
        Ok(Moved::Done)
    }

    async fn moves(&self, workflow: WorkflowType, before: Option<u32>, limit: usize) -> Result<Vec<Pointer>, Failure> {
        let kept = lock(&self.kept);
        let all = kept.moves.range((workflow, 0)..=(workflow, u32::MAX)).rev().map(|(_, pointer)| pointer);
        Ok(all.filter(|pointer| before.is_none_or(|before| pointer.revision < before)).take(limit).cloned().collect())
    }

    async fn count(&self, workflow: WorkflowType, trial: u32, arm: Arm, failed: bool) -> Result<Tally, Failure> {
        let mut kept = lock(&self.kept);
        let tally = kept.tallies.entry((workflow, trial)).or_default();
        tally.count(arm, failed);
        Ok(*tally)
    }

    async fn tally(&self, workflow: WorkflowType, trial: u32) -> Result<Tally, Failure> {
        Ok(lock(&self.kept).tallies.get(&(workflow, trial)).copied().unwrap_or_default())
    }
}
