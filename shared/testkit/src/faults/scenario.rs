use std::sync::Arc;

use ihelper_workflow::{
    domain::{
        RunId, WorkflowType,
        configuration::Configuration,
        definition::Definition,
        document::ObjectRef,
        input::{self, Input},
        run::{Origin, Trigger},
    },
    embedded,
    engine::{Decision, Definitions, Workflow},
    ports::{Assistant, Journal},
};
use jiff::Timestamp;
use serde_json::Value;

use super::ScriptedAssistant;
use crate::{memory::MemoryJournal, tester::Ports};

/// A workflow with its data, and the world around it.
///
/// Without further ado it has the embedded definitions and a [`ScriptedAssistant`], nobody answers its callbacks, and
/// whoever looks after runs that need attention looks up what happened.
#[derive(Clone)]
pub struct Scenario {
    pub(super) workflow: WorkflowType,
    pub(super) input: Arc<Input>,
    pub(super) configuration: Arc<Configuration>,
    pub(super) definitions: Definitions,
    pub(super) assistant: Arc<dyn Fn() -> Arc<dyn Assistant> + Send + Sync>,
    pub(super) own_workflow: Option<Arc<MakeWorkflow>>,
    pub(super) objects: Vec<(ObjectRef, Vec<u8>)>,
    pub(super) reply: Option<(Decision, Value)>,
    pub(super) settles: bool,
    pub(super) journal: Arc<MakeJournals>,
}

type MakeWorkflow = dyn Fn(&Ports) -> Arc<dyn Workflow> + Send + Sync;
/// For each play what gives each machine, and whoever looks on, a journal.
type MakeJournals = dyn Fn(MemoryJournal) -> MakeJournal + Send + Sync;
pub(super) type MakeJournal = Box<dyn Fn() -> Arc<dyn Journal> + Send + Sync>;

impl Scenario {
    /// This workflow on this data.
    ///
    /// # Panics
    /// When there is no such workflow, or the data is not what it accepts.
    pub fn new(workflow: &str, data: Value) -> Self {
        let workflow: WorkflowType = workflow.parse().unwrap_or_else(|failure| panic!("{failure}"));
        let input = input::parse(workflow, data).unwrap_or_else(|invalid| panic!("{invalid}"));
        Self {
            workflow,
            input: Arc::new(input),
            configuration: Arc::new(embedded::configuration().expect("the embedded configuration is valid")),
            definitions: embedded::known_definitions(),
            assistant: Arc::new(|| Arc::new(ScriptedAssistant::default())),
            own_workflow: None,
            objects: Vec::new(),
            reply: None,
            settles: true,
            journal: Arc::new(|journal| Box::new(move || Arc::new(journal.clone()))),
        }
    }

    /// With definitions of one's own; the workflow's must be among them.
    #[must_use]
    pub fn with_definitions(mut self, definitions: impl IntoIterator<Item = Definition>) -> Self {
        self.definitions = Definitions::new(definitions);
        self
    }

    /// With an assistant of one's own, made anew for each play. It must answer without waiting; what it answers the
    /// first time and later may differ only in marks, as those of a [`ScriptedAssistant`] do.
    #[must_use]
    pub fn with_assistant(mut self, make: impl Fn() -> Arc<dyn Assistant> + Send + Sync + 'static) -> Self {
        self.assistant = Arc::new(make);
        self
    }

    /// With a workflow of one's own in place of the one of its type. It has to reach the world through these ports,
    /// and only through them.
    #[must_use]
    pub fn with_workflow(mut self, make: impl Fn(&Ports) -> Arc<dyn Workflow> + Send + Sync + 'static) -> Self {
        self.own_workflow = Some(Arc::new(make));
        self
    }

    /// With an object in one of the buckets `mail` and `documents`.
    #[must_use]
    pub fn with_object(mut self, object: ObjectRef, bytes: impl Into<Vec<u8>>) -> Self {
        self.objects.push((object, bytes.into()));
        self
    }

    /// With somebody who answers every question that is asked by the event `approval_requested` with `run_id`, `name`
    /// and `token`.
    #[must_use]
    pub fn answering(mut self, decision: Decision, data: Value) -> Self {
        self.reply = Some((decision, data));
        self
    }

    /// With nobody who looks after runs that need attention: they stay there.
    #[must_use]
    pub fn left_unsettled(mut self) -> Self {
        self.settles = false;
        self
    }

    /// With a layer over the journal. `make` is called once for each play with the journal in memory, and what it
    /// gives once for each machine: what such a layer keeps is lost when its machine dies.
    #[must_use]
    pub fn with_journal<M>(mut self, make: impl Fn(MemoryJournal) -> M + Send + Sync + 'static) -> Self
    where
        M: Fn() -> Arc<dyn Journal> + Send + Sync + 'static,
    {
        self.journal = Arc::new(move |journal| Box::new(make(journal)));
        self
    }

    pub(super) fn run_id(&self) -> RunId {
        RunId::derived(START, &["faults", self.workflow.name()])
    }

    pub(super) fn origin(&self) -> Origin {
        Origin { trigger: Trigger::Queue, id: "m1".to_owned(), caller: "queue".to_owned() }
    }
}

/// Where the clock of each play begins: 1 January 2026, UTC.
pub(super) const START: Timestamp = Timestamp::constant(1_767_225_600, 0);
