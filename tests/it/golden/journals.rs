//! Journals that were once written, in `journals/*.json`.
//!
//! Today's code writes the same ones, compared by event: what came of each position, whoever wrote it and whenever. And
//! today's code goes on with them from every point: a run that was under way when a version was deployed ends as it
//! would have ended.
//!
//! A change that is meant is taken over by `UPDATE_JOURNALS=1`. Runs of the old journals that are still under way then
//! fail with a journal mismatch; where the definition changed, a new version of it keeps them going.

use std::{fs, path::PathBuf, time::Duration};

use ihelper_testkit::WorkflowTester;
use ihelper_workflow::{
    domain::{
        Run, Status, WorkflowType,
        definition::Definition,
        document::ObjectRef,
        run::{Entry, History, Segment, StepRecord, StepState},
    },
    embedded,
    engine::{Decision, Reply},
    ports::{Clock as _, Created, Journal as _},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A run with what it wrote.
#[derive(Deserialize, Serialize)]
struct Golden {
    /// The run as it was made.
    run: Run,
    entries: Vec<Entry>,
    result: Value,
}

struct Case {
    workflow: WorkflowType,
    tester: WorkflowTester,
    data: Value,
}

fn cases() -> [Case; 3] {
    [email(), document(), task()]
}

fn case(workflow: WorkflowType) -> Case {
    cases().into_iter().find(|case| case.workflow == workflow).expect("there is a case of each workflow")
}

fn email() -> Case {
    let object = ObjectRef { bucket: "mail".to_owned(), key: "mail/m1".to_owned() };
    let message = "From: Ada <ada@example.com>\r\nTo: us@ihelper.example\r\nSubject: Opening hours\r\n\
        Message-ID: <1@example.com>\r\n\r\nWhen are you open on Saturday?\r\n";
    let tester = WorkflowTester::new();
    tester.objects.put(&object, message, &[]);
    Case { workflow: WorkflowType::EmailProcessing, tester, data: json!({"id": "m1", "s3": object}) }
}

fn document() -> Case {
    let text = "Either party may terminate this agreement with thirty days' written notice. \
        Invoices are payable within 30 days of receipt. The provider keeps all customer data confidential.";
    let criteria = json!(["The agreement says how it can be terminated.", "Invoices are payable within 30 days.",
        {"text": "The agreement names a cap on liability.", "required": true}]);
    let data = json!({"id": "d1", "file": {"text": text}, "review_criteria": criteria});
    Case { workflow: WorkflowType::DocumentReview, tester: WorkflowTester::new(), data }
}

fn task() -> Case {
    let plan = r#"
workflow: task_automation
version: 1
recipients: { sales: sales@ihelper.example, boss: boss@ihelper.example }
plan:
  steps:
    - { id: summary, tool: ask_assistant, arguments: { instruction: summarize, text: "{{ task.description }}" } }
    - { id: record, tool: set_record, arguments: { name: summary, value: "{{ results.summary.answer }}" }, depends_on: [summary] }
    - { id: publish, tool: publish_event, arguments: { type: lead_read, detail: { about: "{{ task.title }}" } } }
    - { id: mail, tool: send_email, arguments: { recipient: sales, subject: Lead, text: "{{ results.summary.answer }}" }, depends_on: [summary] }
    - { id: pause, tool: wait, arguments: { seconds: 120 }, depends_on: [mail] }
    - { id: approve, tool: request_approval, arguments: { question: "Go on?", recipient: boss }, depends_on: [pause] }
    - { id: start, tool: start_workflow, arguments: { type: email_processing, data: { id: e1, from: a@b.example, content: "Hello." } }, depends_on: [approve], when: "results.approve.approved" }
    - { id: skipped, tool: ask_assistant, arguments: { instruction: never, text: x }, depends_on: [approve], when: "not results.approve.approved" }
"#;
    let mut definitions = embedded::definitions().unwrap();
    definitions.retain(|definition| definition.workflow != WorkflowType::TaskAutomation);
    definitions.push(Definition::parse(plan).unwrap());
    Case {
        workflow: WorkflowType::TaskAutomation,
        tester: WorkflowTester::with_definitions(definitions),
        data: json!({"id": "t1", "title": "A lead", "description": "A lead came in. It is about forty chairs."}),
    }
}

/// Answers what is asked and lets time pass, until the run ends or needs attention.
async fn to_its_end(tester: &WorkflowTester, mut run: Run) -> Run {
    while run.status == Status::Waiting {
        answer(tester, &run).await;
        if tester.run(run.id).await.unwrap().status == Status::Waiting {
            let due = run.due_at.expect("nobody waits for ever");
            tester.clock.advance(Duration::try_from(due.duration_since(tester.clock.now())).unwrap_or_default());
        }
        run = tester.go_on(run.id).await.unwrap();
    }
    run
}

async fn answer(tester: &WorkflowTester, run: &Run) {
    let (_, steps) = tester.journal.find(run.id).await.unwrap().unwrap();
    let open = steps.iter().filter(|step| step.state == StepState::Waiting && step.output["token"].is_string());
    for step in open {
        let token = step.output["token"].as_str().unwrap();
        let reply =
            Reply { decision: Decision::Approve, data: Value::Null, by: "Olga".to_owned(), at: tester.clock.now() };
        tester.control().answer(run.id, &step.name, token, &reply).await.unwrap();
    }
}

async fn written_today(case: Case) -> Golden {
    let Case { workflow, tester, data } = case;
    let run = tester.execute_until_it_rests(workflow.name(), data).await.unwrap();
    let run = to_its_end(&tester, run).await;
    assert_eq!(run.status, Status::Succeeded, "{run:?}");
    let mut entries: Vec<Entry> =
        tester.journal.segments(run.id).into_iter().flat_map(|segment| segment.entries).collect();
    let (_, steps) = tester.journal.find(run.id).await.unwrap().unwrap();
    // Last entries stand in the run's record.
    let in_the_journal = |step: &StepRecord| entries.iter().any(|entry| matches!(entry, Entry::Step(it) if it == step));
    let last: Vec<Entry> = steps.into_iter().filter(|step| !in_the_journal(step)).map(Entry::Step).collect();
    entries.extend(last);
    let result = run.result.clone().unwrap();
    let made = Run {
        status: Status::Queued,
        result: None,
        usage: Default::default(),
        lease: None,
        due_at: None,
        updated_at: run.created_at,
        finished_at: None,
        ..run
    };
    Golden { run: made, entries, result }
}

fn path_of(workflow: WorkflowType) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden/journals").join(format!("{workflow}.json"))
}

fn committed(workflow: WorkflowType) -> Golden {
    let path = path_of(workflow);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// An entry without who wrote it and when.
fn event(entry: &Entry) -> Value {
    let mut value = json!(entry);
    if let Some(step) = value["step"].as_object_mut() {
        for accidental in ["owner", "started_at", "duration_ms"] {
            step.remove(accidental);
        }
    }
    value
}

/// Events in order of position; at one position, in the order in which they came.
fn events(golden: &Golden) -> Vec<Value> {
    let mut events: Vec<Value> = golden.entries.iter().map(event).collect();
    events.sort_by_key(|event| event["step"]["position"].as_str().unwrap_or_default().to_owned());
    events
}

#[tokio::test]
async fn each_workflow_writes_the_journal_that_is_committed() {
    let update = std::env::var_os("UPDATE_JOURNALS").is_some();
    for case in cases() {
        let workflow = case.workflow;
        let today = written_today(case).await;
        if update {
            fs::write(path_of(workflow), serde_json::to_string_pretty(&today).unwrap() + "\n").unwrap();
            continue;
        }
        let golden = committed(workflow);
        let (then, now) = (events(&golden), events(&today));
        for (number, (then, now)) in then.iter().zip(&now).enumerate() {
            assert_eq!(now, then, "{workflow}, event {number}");
        }
        assert_eq!(now.len(), then.len(), "{workflow}: {:?}", now.last());
        assert_eq!(today.result, golden.result, "{workflow}");
    }
}

#[tokio::test]
async fn each_committed_journal_is_gone_on_with_from_every_point_and_ends_as_it_did() {
    for workflow in WorkflowType::ALL {
        let golden = committed(workflow);
        for cut in 0..=golden.entries.len() {
            goes_on_from(workflow, &golden, cut).await;
        }
    }
}

async fn goes_on_from(workflow: WorkflowType, golden: &Golden, cut: usize) {
    let tester = case(workflow).tester;
    let entries = &golden.entries[..cut];
    let id = golden.run.id;
    assert_eq!(tester.journal.create(&golden.run).await.unwrap(), Created::New);
    for (number, entry) in (0..).zip(entries) {
        tester.journal.append(id, &Segment { number, entries: vec![entry.clone()] }).await.unwrap();
    }
    let run = tester.go_on(id).await.unwrap();
    let run = to_its_end(&tester, run).await;
    let at = format!("{workflow}, after {cut} of {} entries", golden.entries.len());
    let history = tester.journal.segments(id).into_iter().take(cut);
    if History::of(history).steps().any(|step| step.state == StepState::Intended) {
        assert_eq!(run.status, Status::Attention, "{at}: nobody knows whether the mail went out");
        return;
    }
    assert_eq!(run.status, Status::Succeeded, "{at}: {:?}", run.error);
    assert_eq!(comparable(run.result.unwrap()), comparable(golden.result.clone()), "{at}");
    let done_since = golden.entries[cut..].iter().filter(|entry| is_mail(entry)).count();
    assert_eq!(tester.mailer.sent().len(), done_since, "{at}: mails");
}

fn is_mail(entry: &Entry) -> bool {
    matches!(entry, Entry::Step(step) if step.state == StepState::Intended)
}

/// A result without the ids that the mail service gave.
fn comparable(mut result: Value) -> Value {
    for step in result["steps"].as_array_mut().into_iter().flatten() {
        if let Some(id) = step["output"].get_mut("message_id") {
            *id = Value::Null;
        }
    }
    result
}
