use async_trait::async_trait;

use crate::domain::{
    Failure, WorkflowType,
    input::Violation,
    version::{Arm, Pointer, Tally, Version},
};

/// The versions of definitions, and the pointer of each workflow.
///
/// A version is put once and never changes; only what became of it is noted. The pointer moves from one revision to
/// the next, by a write that happens whole or not at all, and each move stays on record.
#[async_trait]
pub trait DefinitionStore: Send + Sync {
    /// Where the pointer of a workflow stands; `None` as long as nobody moved it.
    async fn pointer(&self, workflow: WorkflowType) -> Result<Option<Pointer>, Failure>;

    /// Puts a version under its number, unless that is taken.
    ///
    /// # Errors
    /// This returns an error of kind `Validation` when the definition, as JSON, has more than [`LARGEST_DEFINITION`]
    /// bytes.
    async fn add(&self, version: &Version) -> Result<Added, Failure>;

    /// The version of this number.
    async fn version(&self, workflow: WorkflowType, number: u32) -> Result<Option<Version>, Failure>;

    /// The versions below `before`, newest first, at most `limit`.
    async fn versions(
        &self,
        workflow: WorkflowType,
        before: Option<u32>,
        limit: usize,
    ) -> Result<Vec<Version>, Failure>;

    /// Notes that a candidate is not valid, and why. One that was accepted or rejected before stays so.
    async fn reject(&self, workflow: WorkflowType, number: u32, problems: &[Violation]) -> Result<(), Failure>;

    /// Moves the pointer, if it stands one revision before; and in the same write notes that the version `accepts` is
    /// valid.
    async fn move_pointer(
        &self,
        workflow: WorkflowType,
        pointer: &Pointer,
        accepts: Option<u32>,
    ) -> Result<Moved, Failure>;

    /// The moves below revision `before`, newest first, at most `limit`.
    async fn moves(&self, workflow: WorkflowType, before: Option<u32>, limit: usize) -> Result<Vec<Pointer>, Failure>;

    /// Counts a run that ended in the trial that began with this revision, and tells how it stands.
    async fn count(&self, workflow: WorkflowType, trial: u32, arm: Arm, failed: bool) -> Result<Tally, Failure>;

    /// How the trial stands that began with this revision.
    async fn tally(&self, workflow: WorkflowType, trial: u32) -> Result<Tally, Failure>;
}

/// The largest definition, as JSON: what fits an item of the table, whatever it says.
pub const LARGEST_DEFINITION: usize = 300 * 1024;

/// What came of [`DefinitionStore::add`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It stands under its number.
    Written,
    /// Another has the number.
    Taken,
}

/// What came of [`DefinitionStore::move_pointer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The pointer stands as it was said.
    Done,
    /// Somebody moved it first.
    Overtaken,
}
