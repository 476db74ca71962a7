//! Versions of definitions under concurrency, deaths and trials.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use ihelper_testkit::{
    WorkflowTester,
    memory::{
        MemoryBudgets, MemoryDefinitionStore, MemoryStepCache, MemoryUsageLedger, ScriptedModel, SeededEntropy,
        VirtualClock,
    },
};
use ihelper_workflow::{
    assistant::{Accounts, FenceKey, PromptAssistant},
    domain::{
        Failure, Kind, Status, WorkflowType,
        configuration::{BudgetSettings, NodeSettings},
        definition::Definition,
        document::{Content, Criterion},
        email::Email,
        input::Violation,
        task::TaskInput,
        version::{Action, Arm, Change, Pointer, Tally, Terms, Version, VersionState},
    },
    embedded,
    engine::{Definitions, POINTER_LIFETIME},
    models::{Node, Router},
    ports::{Added, Assistant as _, Clock, DefinitionStore, ModelAnswer, ModelFailure, ModelFault, Moved, Tokens},
    rules::RulesAssistant,
    versions::{Changed, Deed, Expected, Refusal, Versions},
};
use serde_json::json;

const TASK: WorkflowType = WorkflowType::TaskAutomation;
const EMAIL: WorkflowType = WorkflowType::EmailProcessing;

fn built_in(workflow: WorkflowType) -> Definition {
    let all = embedded::definitions().unwrap();
    all.into_iter().find(|definition| definition.workflow == workflow).unwrap()
}

/// The definition of tasks with something that tells it from others.
fn marked(mark: &str) -> Definition {
    let mut definition = built_in(TASK);
    definition.variables.insert("mark".to_owned(), json!(mark));
    definition
}

/// A definition whose every run fails, which no golden case shows: what a plan's template comes to is seen by who fills
/// it.
fn failing() -> Definition {
    let plan = json!({"steps": [{
        "id": "tell",
        "tool": "send_email",
        "arguments": {"recipient": "{{ task.title }}", "subject": "x", "text": "y"},
    }]});
    Definition { plan: Some(serde_json::from_value(plan).unwrap()), golden_cases: Vec::new(), ..marked("failing") }
}

fn change(tester: &WorkflowTester, by: &str) -> Change {
    Change { by: by.to_owned(), at: tester.clock.now(), reason: "a test".to_owned() }
}

async fn numbers(store: &dyn DefinitionStore, workflow: WorkflowType) -> Vec<u32> {
    let mut numbers: Vec<u32> =
        store.versions(workflow, None, 10_000).await.unwrap().iter().map(Version::number).collect();
    numbers.reverse();
    numbers
}

/// The history has no gaps, and what is current is a whole version that was accepted.
async fn assert_whole(store: &dyn DefinitionStore, workflow: WorkflowType) {
    let numbers = numbers(store, workflow).await;
    assert_eq!(numbers, (1..=u32::try_from(numbers.len()).unwrap()).collect::<Vec<u32>>());
    let moves = store.moves(workflow, None, 10_000).await.unwrap();
    let revisions: Vec<u32> = moves.iter().rev().map(|at| at.revision).collect();
    assert_eq!(revisions, (1..=u32::try_from(moves.len()).unwrap()).collect::<Vec<u32>>());
    let pointer = store.pointer(workflow).await.unwrap();
    assert_eq!(pointer.as_ref(), moves.first());
    if let Some(pointer) = pointer {
        let current = store.version(workflow, pointer.current).await.unwrap().unwrap();
        assert_eq!((current.number(), current.state), (pointer.current, VersionState::Accepted));
    }
}

#[tokio::test]
async fn fifty_updates_at_once_leave_a_history_without_gaps_and_one_current() {
    let tester = WorkflowTester::new();
    let update = async |number: usize| {
        // Each from a process of its own.
        let definitions = Definitions::new(embedded::definitions().unwrap())
            .with_store(Arc::new(tester.versions.clone()), tester.ports().clock.clone());
        let versions = Versions { definitions, ..tester.versions() };
        let by = format!("user:{number}");
        versions.update_workflow(TASK, marked(&by), Expected::Any, None, &change(&tester, &by)).await
    };
    let outcomes = futures_of(50, &update).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Changed::Moved(_)))), "{outcomes:?}");
    assert_whole(&tester.versions, TASK).await;
    assert_eq!(numbers(&tester.versions, TASK).await.len(), 51);
    let pointer = tester.versions.pointer(TASK).await.unwrap().unwrap();
    assert_eq!(pointer.revision, 50);
    let current = tester.versions.version(TASK, pointer.current).await.unwrap().unwrap();
    assert_eq!((&current.definition.variables["mark"], &current.author), (&json!(pointer.by), &pointer.by));
}

async fn futures_of<T>(count: usize, make: &impl AsyncFn(usize) -> T) -> Vec<T> {
    use futures::stream::{FuturesOrdered, StreamExt as _};
    (0..count).map(|number| make(number)).collect::<FuturesOrdered<_>>().collect().await
}

#[tokio::test]
async fn of_fifty_updates_made_from_the_same_version_one_is_made() {
    let tester = WorkflowTester::new();
    let versions = tester.versions();
    let update = async |number: usize| {
        let by = format!("user:{number}");
        versions.update_workflow(TASK, marked(&by), Expected::Revision(0), None, &change(&tester, &by)).await
    };
    let outcomes = futures_of(50, &update).await;
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Ok(Changed::Moved(_)))).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Err(Refusal::Stale)).count(), 49);
    assert_whole(&tester.versions, TASK).await;
    let versions = tester.versions.versions(TASK, None, 100).await.unwrap();
    let made = versions.iter().filter(|version| version.state == VersionState::Accepted).count();
    assert_eq!(made, 2, "the one that was built in, and the one that was faster");
    assert!(versions.iter().all(|version| version.state != VersionState::Candidate), "each was told what became of it");
}

/// A store whose process dies at a call: before it does anything, or before its answer comes.
struct Dying {
    store: MemoryDefinitionStore,
    calls: AtomicUsize,
    dies_at: usize,
    does_it_first: bool,
}

impl Dying {
    async fn call<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let number = self.calls.fetch_add(1, Ordering::Relaxed);
        if number < self.dies_at {
            return work.await;
        }
        if number == self.dies_at && self.does_it_first {
            work.await?;
        }
        Err(Failure::new(Kind::Connection, "the process is dead"))
    }
}

#[async_trait]
impl DefinitionStore for Dying {
    async fn pointer(&self, workflow: WorkflowType) -> Result<Option<Pointer>, Failure> {
        self.call(self.store.pointer(workflow)).await
    }

    async fn add(&self, version: &Version) -> Result<Added, Failure> {
        self.call(self.store.add(version)).await
    }

    async fn version(&self, workflow: WorkflowType, number: u32) -> Result<Option<Version>, Failure> {
        self.call(self.store.version(workflow, number)).await
    }

    async fn versions(
        &self,
        workflow: WorkflowType,
        before: Option<u32>,
        limit: usize,
    ) -> Result<Vec<Version>, Failure> {
        self.call(self.store.versions(workflow, before, limit)).await
    }

    async fn reject(&self, workflow: WorkflowType, number: u32, problems: &[Violation]) -> Result<(), Failure> {
        self.call(self.store.reject(workflow, number, problems)).await
    }

    async fn move_pointer(
        &self,
        workflow: WorkflowType,
        pointer: &Pointer,
        accepts: Option<u32>,
    ) -> Result<Moved, Failure> {
        self.call(self.store.move_pointer(workflow, pointer, accepts)).await
    }

    async fn moves(&self, workflow: WorkflowType, before: Option<u32>, limit: usize) -> Result<Vec<Pointer>, Failure> {
        self.call(self.store.moves(workflow, before, limit)).await
    }

    async fn count(&self, workflow: WorkflowType, trial: u32, arm: Arm, failed: bool) -> Result<Tally, Failure> {
        self.call(self.store.count(workflow, trial, arm, failed)).await
    }

    async fn tally(&self, workflow: WorkflowType, trial: u32) -> Result<Tally, Failure> {
        self.call(self.store.tally(workflow, trial)).await
    }
}

/// What an operator does, to be killed at every point.
#[derive(Clone, Copy, Debug)]
enum Doing {
    FirstUpdate,
    Update,
    BadUpdate,
    Trial,
    Promotion,
    Rollback,
}

async fn perform(doing: Doing, versions: &Versions, tester: &WorkflowTester) -> Result<Changed, Refusal> {
    let change = change(tester, "user:olga");
    match doing {
        Doing::FirstUpdate | Doing::Update => {
            versions.update_workflow(TASK, marked("new"), Expected::Any, None, &change).await
        }
        Doing::BadUpdate => {
            let mut bad = marked("bad");
            bad.golden_cases[0].expect.insert("/status".to_owned(), json!("never"));
            versions.update_workflow(TASK, bad, Expected::Any, None, &change).await
        }
        Doing::Trial => {
            versions.update_workflow(TASK, marked("new"), Expected::Any, Some(Terms::of_share(10)), &change).await
        }
        Doing::Promotion => versions.promote(TASK, Expected::Any, &change).await,
        Doing::Rollback => versions.rollback(TASK, 1, Expected::Any, &change).await,
    }
}

#[tokio::test]
async fn a_kill_at_each_point_of_a_change_leaves_one_whole_version_current() {
    let mut points = 0;
    for doing in [Doing::FirstUpdate, Doing::Update, Doing::BadUpdate, Doing::Trial, Doing::Promotion, Doing::Rollback]
    {
        for does_it_first in [false, true] {
            for dies_at in 0.. {
                let tester = WorkflowTester::new();
                let sound = tester.versions();
                let trial = matches!(doing, Doing::Promotion).then(|| Terms::of_share(10));
                if !matches!(doing, Doing::FirstUpdate) {
                    let before = change(&tester, "user:before");
                    sound.update_workflow(TASK, marked("before"), Expected::Any, trial, &before).await.unwrap();
                }
                let before = sound.standing(TASK).await.unwrap();

                let store = Arc::new(Dying {
                    store: tester.versions.clone(),
                    calls: AtomicUsize::new(0),
                    dies_at,
                    does_it_first,
                });
                let dying = Versions { store: store.clone(), ..tester.versions() };
                let outcome = perform(doing, &dying, &tester).await;
                let died = store.calls.load(Ordering::Relaxed) > dies_at;
                points += usize::from(died);

                let case = format!("{doing:?}, killed at call {dies_at}, done first: {does_it_first}");
                assert_whole(&tester.versions, TASK).await;
                let after = sound.standing(TASK).await.unwrap();
                let moved = after.revision() - before.revision();
                assert!(moved <= 1, "{case}");
                if moved == 0 {
                    assert_eq!(after.current.definition, before.current.definition, "{case}");
                }
                if let Ok(Changed::Moved(pointer)) = &outcome {
                    assert_eq!(after.pointer.as_ref(), Some(pointer), "{case}");
                }
                // Runs begin, on what is current or on trial.
                let run =
                    tester.execute("task_automation", json!({"id": "t", "description": "Tidy up."})).await.unwrap();
                assert_eq!(run.status, Status::Succeeded, "{case}");
                let on_trial = after.pointer.as_ref().and_then(|pointer| pointer.canary).map(|canary| canary.version);
                assert!([Some(after.current.number()), on_trial].contains(&Some(run.definition_version)), "{case}");
                // Whoever does it again has it done, whatever was left.
                let again = perform(doing, &sound, &tester).await;
                assert_whole(&tester.versions, TASK).await;
                let standing = sound.standing(TASK).await.unwrap();
                match doing {
                    Doing::FirstUpdate | Doing::Update => {
                        assert_eq!(standing.current.definition.variables["mark"], "new", "{case}: {again:?}");
                    }
                    Doing::BadUpdate => assert!(matches!(again, Err(Refusal::Invalid { .. })), "{case}"),
                    Doing::Trial => assert!(standing.pointer.unwrap().canary.is_some(), "{case}: {again:?}"),
                    Doing::Promotion => assert_eq!(standing.current.number(), 2, "{case}: {again:?}"),
                    Doing::Rollback => assert_eq!(standing.current.number(), 1, "{case}: {again:?}"),
                }
                if !died {
                    break;
                }
            }
        }
    }
    assert!(points > 60, "only {points} points were tried");
}

#[tokio::test]
async fn a_bad_template_prompt_plan_or_golden_case_leaves_the_former_version_current_and_says_why() {
    let tester = WorkflowTester::new();
    let versions = tester.versions();
    let change = change(&tester, "user:olga");
    let mut template = built_in(EMAIL);
    template.templates.get_mut("complaint").unwrap().text = "Hello {{ nobody }}".to_owned();
    let mut golden = built_in(EMAIL);
    golden.golden_cases[0].expect.insert("/analysis/template".to_owned(), json!("complaint"));
    let mut plan = marked("plan");
    plan.plan = serde_json::from_value(json!({"steps": [{"id": "a", "tool": "dance"}]})).unwrap();
    let mut elsewhere = marked("elsewhere");
    elsewhere.plan = serde_json::from_value(json!({"steps": [{
        "id": "a", "tool": "http_request", "arguments": {"url": "https://elsewhere.example/"},
    }]}))
    .unwrap();
    let mut prompt = built_in(EMAIL);
    prompt.prompts.get_mut("analyze_email").unwrap().user = "Sort this: {{ mail }}".to_owned();
    for (definition, place, why) in [
        (template, "templates.complaint.text", "`nobody`"),
        (golden, "golden_cases[0].expect./analysis/template", "found \"acknowledgement\""),
        (plan, "plan.a", "no tool `dance`"),
        (elsewhere, "plan.a", "`security.http_hosts` is empty"),
        (prompt, "prompts.analyze_email.user", "no variable `mail`"),
    ] {
        let workflow = definition.workflow;
        let before = versions.standing(workflow).await.unwrap();
        let refused = versions.update_workflow(workflow, definition, Expected::Any, None, &change).await;
        let Err(Refusal::Invalid { version: Some(number), violations }) = refused else { panic!("{refused:?}") };
        assert_eq!(violations[0].field, place);
        assert!(violations[0].problem.contains(why), "{}", violations[0].problem);
        assert_eq!(versions.standing(workflow).await.unwrap(), before);
        let noted = tester.versions.version(workflow, number).await.unwrap().unwrap();
        assert_eq!((noted.state, noted.problems), (VersionState::Rejected, violations));
        assert_whole(&tester.versions, workflow).await;
    }
    assert!(tester.mailer.sent().is_empty());
}

/// An assistant that asks this model, within what a run may spend.
fn asking(model: &ScriptedModel, per_run: Option<u64>) -> PromptAssistant {
    let settings: NodeSettings =
        serde_saphyr::from_str("{name: one, provider: bedrock, prices: {input: 1000000, output: 5000000}}").unwrap();
    let clock: Arc<dyn Clock> = Arc::new(VirtualClock::default());
    let nodes = vec![Node { settings, model: Arc::new(model.clone()) }];
    PromptAssistant {
        name: "scripted".to_owned(),
        router: Arc::new(Router::new(nodes, Arc::clone(&clock), None)),
        degrades_to_rules: false,
        accounts: Accounts {
            budgets: Arc::new(MemoryBudgets::new()),
            settings: BudgetSettings { per_run, ..BudgetSettings::default() },
            clock: Arc::clone(&clock),
        },
        usage: Arc::new(MemoryUsageLedger::new()),
        cache: Arc::new(MemoryStepCache::new()),
        clock,
        fence: FenceKey::new(&SeededEntropy::new(7)),
    }
}

#[tokio::test]
async fn golden_cases_are_played_on_the_assistant_of_the_deployment() {
    let sort = |answer: &str| {
        let analysis = json!({
            "category": "complaint", "intent": "wants to know when", "urgency": "normal", "requires_response": false,
            "template": "", "questions": [], "dates": [], "reference_numbers": [], "language": "eng",
            "confidence": 0.9, "reasons": [answer],
        });
        ScriptedModel::new(move |_, _| {
            let text = analysis.to_string();
            async move { Ok(ModelAnswer { text, tokens: Tokens { input: 100, cached: 0, output: 10 } }) }
        })
    };
    let mut definition = built_in(EMAIL);
    definition.variables.insert("mark".to_owned(), json!("new"));
    definition.golden_cases.truncate(1);
    definition.golden_cases[0].expect = BTreeMap::from([("/analysis/category".to_owned(), json!("complaint"))]);

    let by_rules = WorkflowTester::new();
    let change = change(&by_rules, "user:olga");
    let update = async |tester: &WorkflowTester| {
        tester.versions().update_workflow(EMAIL, definition.clone(), Expected::Any, None, &change).await
    };
    assert!(matches!(update(&by_rules).await, Err(Refusal::Invalid { version: Some(2), .. })));

    // Each rehearsal is a run of its own, so none lives on what another has spent.
    let model = sort("because");
    let tester =
        WorkflowTester::with_assistant(embedded::definitions().unwrap(), Arc::new(asking(&model, Some(15_000))));
    for _ in 0..100 {
        assert_eq!(tester.versions().violations(&definition).await, []);
    }
    assert!(matches!(update(&tester).await, Ok(Changed::Moved(_))));
    assert_eq!(model.requests().len(), 101);
}

#[tokio::test]
async fn what_a_prompt_may_speak_of_is_what_the_assistant_tells() {
    let model =
        ScriptedModel::new(|_, _| async { Err(ModelFailure::new(ModelFault::Refused, "nothing is said to that")) });
    let assistant = asking(&model, None);
    let prompted = |workflow: WorkflowType, prompts: &[(&str, &str)]| {
        let mut definition = built_in(workflow);
        definition.golden_cases.clear();
        let prompts =
            prompts.iter().map(|(name, user)| ((*name).to_owned(), json!({"system": "Answer.", "user": user})));
        definition.prompts = prompts.map(|(name, prompt)| (name, serde_json::from_value(prompt).unwrap())).collect();
        definition
    };
    let email = prompted(
        EMAIL,
        &[
            ("analyze_email", "{{ email }}{{ templates }}"),
            ("generate_response", "{{ context }}{{ draft }}{{ template }}"),
        ],
    );
    let document = prompted(
        WorkflowType::DocumentReview,
        &[("review_document", "{{ document }}{{ criterion }}{{ is_truncated }}")],
    );
    let task = prompted(
        TASK,
        &[
            ("analyze_task", "{{ task }}{{ tools }}{{ recipients }}"),
            ("generate_report", "{{ task }}{{ results }}"),
            ("ask_assistant", "{{ instruction }}{{ text }}"),
        ],
    );
    let tester = WorkflowTester::new();
    for definition in [&email, &document, &task] {
        assert_eq!(tester.versions().violations(definition).await, [], "{}", definition.workflow);
    }
    let told = RulesAssistant.analyze_email(&email, &Email::default()).await.unwrap().value;
    let criterion =
        Criterion { id: "price".to_owned(), text: "A price is named.".to_owned(), required: false, weight: 1.0 };
    let refused = [
        assistant.analyze_email(&email, &Email::default()).await.err(),
        assistant.generate_response(&email, "acknowledgement", &told.context).await.err(),
        assistant.review_document(&document, &Content::default(), &criterion).await.err(),
        assistant.analyze_task(&task, &TaskInput::default(), &[("wait", "waits")]).await.err(),
        assistant.generate_report(&task, &TaskInput::default(), &[]).await.err(),
        assistant.ask(&task, "Sum up.", "A text.").await.err(),
    ];
    assert!(
        refused.iter().all(|failure| failure.as_ref().is_some_and(|failure| failure.kind == Kind::Refused)),
        "{refused:?}"
    );
    assert_eq!(model.requests().len(), 6, "each prompt was rendered and asked");
}

#[tokio::test]
async fn a_rehearsal_notes_effects_passes_waits_and_does_nothing() {
    let tester = WorkflowTester::new();
    let yaml = "
workflow: task_automation
version: 1
recipients: { boss: boss@example.com }
plan:
  steps:
    - { id: pause, tool: wait, arguments: { seconds: 864000 } }
    - { id: ask, tool: request_approval, depends_on: [pause], arguments: { question: 'Well?', otherwise: approve } }
    - { id: tell, tool: send_email, depends_on: [ask], arguments: { recipient: boss, subject: 'Done', text: 'It is.' } }
    - { id: next, tool: start_workflow, depends_on: [tell], arguments: { type: task_automation, data: { id: next, description: More. } } }
golden_cases:
  - { name: it is told, data: { id: t, description: Tell. }, expect: { /status: success, /steps/2/status: done } }
";
    let definition = Definition::parse(yaml).unwrap();
    let began = tester.clock.now();
    let played = tester.versions().rehearsal.play_all(&definition).await;
    assert!(played[0].passed(), "{:?}", played[0].mismatches);
    let deeds = &played[0].deeds;
    assert!(deeds.contains(&Deed::Sent { to: "boss@example.com".to_owned(), subject: "Done".to_owned() }), "{deeds:?}");
    assert!(deeds.contains(&Deed::Started { workflow: TASK }), "{deeds:?}");
    assert!(tester.mailer.sent().is_empty() && tester.bus.published().is_empty());
    assert!(tester.queue.take(TASK).is_none());
    assert!(tester.clock.now().duration_since(began).as_secs() < 60, "nobody waited for ten days");
}

#[tokio::test]
async fn a_run_ends_on_the_version_that_it_began_with() {
    let tester = WorkflowTester::new();
    let versions = tester.versions();
    let asleep = |mark: &str| {
        let plan = json!({"steps": [
            {"id": "pause", "tool": "wait", "arguments": {"seconds": 3600}},
            {"id": "note", "tool": "set_record", "depends_on": ["pause"], "arguments": {"name": "mark", "value": mark}},
        ]});
        Definition { plan: Some(serde_json::from_value(plan).unwrap()), golden_cases: Vec::new(), ..marked(mark) }
    };
    let by = change(&tester, "user:olga");
    let begin = async |id: &str| {
        let data = json!({"id": id, "description": "Note."});
        tester.execute_until_it_rests("task_automation", data).await.unwrap()
    };
    versions.update_workflow(TASK, asleep("second"), Expected::Any, None, &by).await.unwrap();
    let on_second = begin("a").await;
    versions.update_workflow(TASK, asleep("third"), Expected::Any, None, &by).await.unwrap();
    let on_third = begin("b").await;
    versions.rollback(TASK, 2, Expected::Any, &by).await.unwrap();
    let after_rollback = begin("c").await;
    assert_eq!([&on_second, &on_third, &after_rollback].map(|run| run.definition_version), [2, 3, 2]);
    tester.clock.advance(Duration::from_secs(3600));
    for (run, mark) in [(on_second, "second"), (on_third, "third"), (after_rollback, "second")] {
        let ended = tester.go_on(run.id).await.unwrap();
        assert_eq!(ended.status, Status::Succeeded, "{:?}", ended.error);
        assert_eq!(ended.result.unwrap()["steps"][1]["output"]["value"], mark);
    }
}

#[tokio::test]
async fn other_processes_hear_of_a_version_within_seconds_and_read_it_once() {
    let tester = WorkflowTester::new();
    let store = Arc::new(Dying {
        store: tester.versions.clone(),
        calls: AtomicUsize::new(0),
        dies_at: usize::MAX,
        does_it_first: false,
    });
    let definitions =
        Definitions::new(embedded::definitions().unwrap()).with_store(store.clone(), tester.ports().clock.clone());
    let worker = ihelper_workflow::engine::Worker::new(
        tester.ports().of_a_worker(),
        Arc::new(tester.worker().configuration().clone()),
        definitions,
        tester.ports().workflows(),
        Duration::from_secs(60),
    );
    let calls = || store.calls.load(Ordering::Relaxed);
    assert_eq!(worker.current_version(TASK).await.unwrap(), "1");
    for _ in 0..100 {
        worker.current_version(TASK).await.unwrap();
    }
    assert_eq!(calls(), 1, "a pointer is looked up once in a while, not once a run");
    let by = change(&tester, "user:olga");
    tester.versions().update_workflow(TASK, marked("new"), Expected::Any, None, &by).await.unwrap();
    tester.clock.advance(POINTER_LIFETIME);
    assert_eq!(worker.current_version(TASK).await.unwrap(), "2r1");
    assert_eq!(calls(), 2);
}

#[tokio::test]
async fn who_cannot_look_goes_by_what_was_current() {
    let tester = WorkflowTester::new();
    let store = |dies_at| {
        Arc::new(Dying { store: tester.versions.clone(), calls: AtomicUsize::new(0), dies_at, does_it_first: false })
    };
    let worker = |store: Arc<Dying>| {
        ihelper_workflow::engine::Worker::new(
            tester.ports().of_a_worker(),
            Arc::new(tester.worker().configuration().clone()),
            Definitions::new(embedded::definitions().unwrap()).with_store(store, tester.ports().clock.clone()),
            tester.ports().workflows(),
            Duration::from_secs(60),
        )
    };
    let by = change(&tester, "user:olga");
    tester.versions().update_workflow(TASK, marked("new"), Expected::Any, None, &by).await.unwrap();
    let cold = worker(store(0));
    assert_eq!(cold.current_version(TASK).await.unwrap_err().kind, Kind::Connection, "and not what is built in");
    let warm = worker(store(1));
    assert_eq!(warm.current_version(TASK).await.unwrap(), "2r1");
    tester.clock.advance(POINTER_LIFETIME);
    assert_eq!(warm.current_version(TASK).await.unwrap(), "2r1");
}

/// Runs tasks until the trial is over, and tells how many there were on each version.
async fn until_judged(tester: &WorkflowTester) -> (Pointer, usize, usize) {
    let (mut on_trial, mut beside) = (0, 0);
    for number in 0..2000 {
        let data = json!({"id": format!("t{number}"), "description": "Tidy up."});
        let run = tester.execute("task_automation", data).await.unwrap();
        if run.definition_version == 2 {
            on_trial += 1
        } else {
            beside += 1
        }
        let pointer = tester.versions.pointer(TASK).await.unwrap().unwrap();
        if pointer.canary.is_none() {
            return (pointer, on_trial, beside);
        }
    }
    panic!("the trial is not over: {:?}", tester.versions.tally(TASK, 1).await);
}

#[tokio::test]
async fn a_trial_that_goes_well_ends_with_the_version_current() {
    let tester = WorkflowTester::new();
    let terms = Terms { percent: 20, minimum_runs: 15, margin_percent: 5 };
    let by = change(&tester, "user:olga");
    tester.versions().update_workflow(TASK, marked("good"), Expected::Any, Some(terms), &by).await.unwrap();
    let (pointer, on_trial, beside) = until_judged(&tester).await;
    assert_eq!((pointer.action, pointer.current, pointer.by.as_str()), (Action::Promote, 2, "canary"));
    assert_eq!(on_trial, 15, "{}", pointer.reason);
    // A fifth of the runs, by the seeded chance of the tester's ids.
    assert!((30..120).contains(&beside), "{beside} runs beside 15");
    let next = tester.execute("task_automation", json!({"id": "next", "description": "Tidy up."})).await.unwrap();
    assert_eq!(next.definition_version, 2);
    assert_whole(&tester.versions, TASK).await;
}

#[tokio::test]
async fn a_trial_that_goes_badly_ends_at_once_with_the_former_version_current() {
    let tester = WorkflowTester::new();
    let terms = Terms { percent: 20, minimum_runs: 15, margin_percent: 10 };
    let by = change(&tester, "user:olga");
    let started = tester.versions().update_workflow(TASK, failing(), Expected::Any, Some(terms), &by).await;
    assert!(matches!(started, Ok(Changed::Moved(_))), "{started:?}");
    let (pointer, on_trial, _) = until_judged(&tester).await;
    assert_eq!((pointer.action, pointer.current, pointer.by.as_str()), (Action::Abort, 1, "canary"));
    assert!(on_trial < 15, "{on_trial} runs had to fail first");
    assert!(pointer.reason.contains("runs on trial failed"), "{}", pointer.reason);
    for number in 0..50 {
        let data = json!({"id": format!("after{number}"), "description": "Tidy up."});
        assert_eq!(tester.execute("task_automation", data).await.unwrap().definition_version, 1);
    }
    assert_whole(&tester.versions, TASK).await;
}
