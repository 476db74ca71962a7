//! Golden cases, run through the workflow itself without any effect on the world.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, stream};
use jiff::Timestamp;
use serde_json::Value;

use super::stage::{Deed, MovedClock, Stage, shown};
use crate::{
    domain::{
        Failure, Run, RunId, Status, WorkflowType,
        configuration::Configuration,
        definition::{Definition, GoldenCase, plan_violation},
        input::{self, Violation},
        run::{Origin, StepRecord, Trigger, Usage},
    },
    engine::{Deadline, Definitions, Outcome, Worker, WorkerPorts, Workflow},
    ports::{Assistant, Clock, Entropy, Extractor, HttpClient, Journal as _},
    workflows::{
        AskAssistant, CallServer, DocumentReview, EmailProcessing, PublishEvent, RequestApproval, SendEmail,
        SendRequest, SetRecord, StartWorkflow, TaskAutomation, Tool, Toolbox, Wait,
    },
};

/// Longer than any rehearsal, so that no lease is ever renewed.
const LEASE: Duration = Duration::from_hours(1);
/// A case that is still not over then turns in a circle.
const MOST_ATTEMPTS: usize = 1000;
/// The address that a rehearsal writes from. Nobody has it.
const OWN_ADDRESS: &str = "rehearsal@ihelper.invalid";
/// How many cases are played at once: an assistant behind a network answers as many side by side.
pub const CASES_AT_ONCE: usize = 8;

/// Plays golden cases with the assistant and the settings of this deployment. Each case is a whole run, with its steps,
/// waits and effects; but its journal is in memory, its effects are only noted, and its waits take no time.
#[derive(Clone)]
pub struct Rehearsal {
    /// The assistant that is tried along with the definition.
    pub assistant: Arc<dyn Assistant>,
    /// Reads the documents of cases.
    pub extractor: Arc<dyn Extractor>,
    /// Tells which requests would be sent; it is never asked to send one.
    pub http: Arc<dyn HttpClient>,
    /// The settings.
    pub configuration: Arc<Configuration>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub entropy: Arc<dyn Entropy>,
}

/// What came of a golden case.
#[derive(Clone, Debug, PartialEq)]
pub struct Played {
    /// The case's name.
    pub name: String,
    /// What was not as expected; empty when the case passed. Places are JSON pointers into the result.
    pub mismatches: Vec<Violation>,
    /// What the assistant took.
    pub usage: Usage,
    /// How long the case took.
    pub duration: Duration,
    /// The run's result, if it came to one.
    pub result: Option<Value>,
    /// What the run would have done.
    pub deeds: Vec<Deed>,
    /// The run's steps.
    pub steps: Vec<StepRecord>,
}

impl Played {
    /// Whether everything was as expected.
    pub fn passed(&self) -> bool {
        self.mismatches.is_empty()
    }
}

impl Rehearsal {
    /// What is wrong with a definition's plan in this deployment: one that no case comes to is checked all the same.
    pub(super) fn check_plan(&self, definition: &Definition) -> Option<Violation> {
        let plan = definition.plan.as_ref()?;
        self.tools(&self.stage(), &self.clock).check(definition, plan).err().map(plan_violation)
    }

    /// Plays all cases of a definition, some at once, and gives what came of each, in their order.
    pub async fn play_all(&self, definition: &Definition) -> Vec<Played> {
        let cases: Vec<_> = definition.golden_cases.iter().map(|case| self.play(definition, case).boxed()).collect();
        stream::iter(cases).buffered(CASES_AT_ONCE).collect().await
    }

    /// Plays one case.
    pub async fn play(&self, definition: &Definition, case: &GoldenCase) -> Played {
        let began = self.clock.now();
        let stage = self.stage();
        let run = self.run(definition, case, &stage).await;
        let (usage, result, mismatches) = match run {
            Ok(run) => {
                let mismatches = match run.status {
                    Status::Succeeded => mismatches(case, run.result.as_ref()),
                    status => {
                        let because = run.error.map(|failure| format!(": {failure}")).unwrap_or_default();
                        vec![Violation { field: String::new(), problem: format!("the run is {status}{because}") }]
                    }
                };
                (run.usage, run.result, mismatches)
            }
            Err(failure) => {
                let problem = format!("the run failed: {failure}");
                (Usage::default(), None, vec![Violation { field: String::new(), problem }])
            }
        };
        let steps = stage.find(RunId::first_of(began)).await.ok().flatten().map(|(_, steps)| steps);
        Played {
            name: case.name.clone(),
            mismatches,
            usage,
            duration: Duration::try_from(self.clock.now().duration_since(began)).unwrap_or_default(),
            result,
            deeds: stage.deeds(),
            steps: steps.unwrap_or_default(),
        }
    }

    async fn run(&self, definition: &Definition, case: &GoldenCase, stage: &Arc<Stage>) -> Result<Run, Failure> {
        let workflow = definition.workflow;
        let clock = Arc::new(MovedClock::new(Arc::clone(&self.clock)));
        let ports = WorkerPorts { journal: stage.clone(), clock: clock.clone(), entropy: Arc::clone(&self.entropy) };
        let worker = Worker::new(
            ports,
            Arc::clone(&self.configuration),
            Definitions::new([definition.clone()]),
            [self.workflow(workflow, stage, clock.clone())],
            LEASE,
        );
        let input = input::parse(workflow, case.data.clone())?;
        // One of its own each time: what a run may spend is counted by its id.
        let id = RunId::new(clock.now(), self.entropy.random());
        let origin = Origin { trigger: Trigger::Api, id: id.to_string(), caller: "rehearsal".to_owned() };
        let deadline = || {
            let work = clock.now().saturating_add(self.configuration.of(workflow).timeout()).unwrap_or(Timestamp::MAX);
            Deadline::at(work)
        };
        let mut outcome = worker.start(&input, id, origin, deadline()).await?;
        for _ in 0..MOST_ATTEMPTS {
            match outcome {
                Outcome::Ended { run, .. } => return Ok(*run),
                Outcome::Resting(run) => match (run.status, run.due_at) {
                    (Status::Waiting, Some(due)) => clock.move_to(due),
                    _ => return Ok(*run),
                },
                // Whoever waits for the outcome of a rehearsal can have it repeated.
                Outcome::Retry { failure, .. } => return Err(failure),
                Outcome::HandedOver | Outcome::Busy { .. } => {}
            }
            outcome = worker.resume(id, deadline()).await?;
        }
        Err(Failure::validation(format!("the run is not over after {MOST_ATTEMPTS} attempts")))
    }

    fn workflow(&self, workflow: WorkflowType, stage: &Arc<Stage>, clock: Arc<dyn Clock>) -> Arc<dyn Workflow> {
        let assistant = Arc::clone(&self.assistant);
        match workflow {
            WorkflowType::EmailProcessing => Arc::new(EmailProcessing {
                assistant,
                mailer: stage.clone(),
                answers: stage.clone(),
                objects: stage.clone(),
                queue: stage.clone(),
                bus: stage.clone(),
                tracking: stage.clone(),
                clock,
                own_address: OWN_ADDRESS.to_owned(),
                public_url: None,
            }),
            WorkflowType::DocumentReview => Arc::new(DocumentReview {
                assistant,
                extractor: Arc::clone(&self.extractor),
                objects: stage.clone(),
                tracking: stage.clone(),
                clock,
            }),
            WorkflowType::TaskAutomation => {
                Arc::new(TaskAutomation { assistant, tools: self.tools(stage, &clock), tracking: stage.clone(), clock })
            }
        }
    }

    fn stage(&self) -> Arc<Stage> {
        Arc::new(Stage::new(Arc::clone(&self.configuration), Arc::clone(&self.http)))
    }

    /// The tools that this deployment has: a plan that needs another one fails here as it would there.
    fn tools(&self, stage: &Arc<Stage>, clock: &Arc<dyn Clock>) -> Toolbox {
        let mut tools: Vec<Arc<dyn Tool>> = vec![
            Arc::new(AskAssistant(Arc::clone(&self.assistant))),
            Arc::new(PublishEvent(stage.clone())),
            Arc::new(SetRecord { tracking: stage.clone(), clock: Arc::clone(clock) }),
            Arc::new(SendEmail(stage.clone())),
            Arc::new(StartWorkflow(stage.clone())),
            Arc::new(Wait(Arc::clone(clock))),
            Arc::new(RequestApproval { bus: stage.clone(), mailer: stage.clone(), public_url: None }),
        ];
        if !self.configuration.security.http_hosts.is_empty() {
            tools.push(Arc::new(SendRequest(stage.clone())));
        }
        if !self.configuration.mcp.servers.is_empty() {
            tools.push(Arc::new(CallServer(stage.clone())));
        }
        Toolbox::new(tools)
    }
}

fn mismatches(case: &GoldenCase, result: Option<&Value>) -> Vec<Violation> {
    case.expect
        .iter()
        .filter_map(|(pointer, expected)| {
            let found = result.and_then(|result| result.pointer(pointer));
            let problem = || format!("expected {}, found {}", shown(Some(expected)), shown(found));
            (found != Some(expected)).then(|| Violation { field: pointer.clone(), problem: problem() })
        })
        .collect()
}
