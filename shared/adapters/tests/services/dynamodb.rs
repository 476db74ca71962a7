//! The table's ports against a database that speaks DynamoDB: the contracts, and what is true of the table alone.

use std::{collections::BTreeSet, time::Duration};

use ihelper_testkit::{answers_contract, journal_contract, tracking_contract};
use ihelper_workflow::{
    domain::{
        Failure, Kind, Run, RunId, Status, WorkflowType,
        run::{Lease, Origin, StepRecord, StepState, Trigger, Usage},
    },
    ports::{AnswerLedger as _, Closing, Created, Intended, Journal as _, Opened, Recorded, RunFilter},
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    table::{Item, PROJECTED, TestTable},
    wire::{Answer, Wire},
};

mod journal {
    use super::*;

    journal_contract!(async { TestTable::start().await.journal() });
}

mod tracking {
    use super::*;

    tracking_contract!(async { TestTable::start().await.tracking() });
}

mod answers {
    use super::*;

    answers_contract!(async { TestTable::start().await.answers() });
}

fn now() -> Timestamp {
    Timestamp::constant(1_750_000_000, 0)
}

fn queued(random: u128) -> Run {
    Run {
        id: RunId::new(now(), random),
        workflow: WorkflowType::EmailProcessing,
        data_id: "email-1".to_owned(),
        definition_version: 1,
        status: Status::Queued,
        origin: Origin { trigger: Trigger::Queue, id: "message-1".to_owned(), caller: "queue".to_owned() },
        input: json!({"id": "email-1"}),
        result: None,
        error: None,
        failed_attempts: 0,
        usage: Usage::default(),
        lease: None,
        due_at: None,
        created_at: now(),
        updated_at: now(),
        finished_at: None,
    }
}

fn lease() -> Lease {
    Lease { owner: "worker-1".to_owned(), until: now() + SignedDuration::from_secs(60) }
}

fn step(position: &str, state: StepState, output: Value) -> StepRecord {
    StepRecord {
        position: position.to_owned(),
        name: "send_response".to_owned(),
        state,
        output,
        owner: "worker-1".to_owned(),
        started_at: now(),
        duration_ms: 1,
        usage: Usage::default(),
    }
}

fn ended(from: Status, status: Status) -> Closing {
    Closing { counts_as_failed: true, ..Closing::new([from], status) }
}

/// What the service makes of a cut in the middle of everything: the write is done, the answer never comes.
fn lost(number: usize, which: usize, answer: Answer) -> Answer {
    if number == which { Answer::HangUp } else { answer }
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_recognized_when_the_client_repeats_it() {
    let table = TestTable::start().await;
    let run = queued(1);
    let id = run.id;
    // Each journal loses its first answer; the client then repeats the request by itself.
    let losing = async || {
        let wire = Wire::before(table.address, |number, answer| lost(number, 0, answer)).await;
        (table.journal_at(wire.address), wire)
    };

    let (journal, wire) = losing().await;
    assert_eq!(journal.create(&run).await.unwrap(), Created::New);
    assert_eq!(wire.requests().len(), 2);

    let (journal, _wire) = losing().await;
    assert!(matches!(journal.open(id, &lease(), now()).await.unwrap(), Opened::Leased(_)));

    let (journal, _wire) = losing().await;
    let result = step("0000", StepState::Done, json!("result"));
    assert_eq!(journal.record(id, &result).await.unwrap(), Recorded::Written);

    let (journal, _wire) = losing().await;
    let intent = step("0001", StepState::Intended, Value::Null);
    assert_eq!(journal.intend(id, &intent).await.unwrap(), Intended::Ours);

    let (journal, _wire) = losing().await;
    let outcome = step("0001", StepState::Done, json!("sent"));
    journal.settle(id, &outcome).await.unwrap();

    // From running to running, so that a repetition would be allowed by the status alone.
    let (journal, wire) = losing().await;
    let closing = Closing { from: vec![Status::Running, Status::Queued], ..ended(Status::Running, Status::Queued) };
    assert!(journal.close(id, &closing, now()).await.unwrap());
    assert_eq!(wire.requests().len(), 2);

    let (run, steps) = table.journal().find(id).await.unwrap().unwrap();
    assert_eq!((run.status, run.failed_attempts), (Status::Queued, 1), "the attempt counts once");
    assert_eq!(steps, [result, outcome]);
}

#[tokio::test]
async fn a_database_that_is_away_is_a_connection_failure_that_may_be_retried() {
    let table = TestTable::start().await;
    let wire = Wire::start(|_, _| Answer::HangUp).await;
    let failure = table.journal_at(wire.address).create(&queued(1)).await.unwrap_err();
    assert_eq!((failure.kind, failure.kind.retryable()), (Kind::Connection, true));
    let wire = Wire::start(|_, _| Answer::error(400, "com.amazonaws.dynamodb.v20120810#AccessDeniedException")).await;
    let failure = table.journal_at(wire.address).find(RunId::new(now(), 1)).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Authorization);
    assert!(!failure.message.contains("ann@example.com"), "{failure}");
    let wire = Wire::start(|_, _| Answer::error(400, "ResourceNotFoundException")).await;
    let failure = table.journal_at(wire.address).open(RunId::new(now(), 1), &lease(), now()).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Unknown, "a missing table is not a missing run");
}

#[tokio::test]
async fn every_write_is_one_request() {
    let table = TestTable::start().await;
    let wire = Wire::before(table.address, |_, answer| answer).await;
    let journal = table.journal_at(wire.address);
    let run = queued(1);
    let count = async |expected: usize, what: &str| {
        assert_eq!(wire.requests().len(), expected, "{what}");
    };
    journal.create(&run).await.unwrap();
    count(1, "create").await;
    journal.create(&run).await.unwrap();
    count(2, "a second create").await;
    journal.open(run.id, &lease(), now()).await.unwrap();
    count(3, "open").await;
    journal.open(run.id, &Lease { owner: "worker-2".to_owned(), ..lease() }, now()).await.unwrap();
    count(4, "a second open").await;
    journal.renew(run.id, &lease(), now()).await.unwrap();
    journal.record(run.id, &step("0000", StepState::Done, json!(1))).await.unwrap();
    journal.record(run.id, &step("0000", StepState::Done, json!(2))).await.unwrap();
    count(7, "renew and record").await;
    journal.intend(run.id, &step("0001", StepState::Intended, Value::Null)).await.unwrap();
    journal.intend(run.id, &step("0001", StepState::Intended, Value::Null)).await.unwrap();
    journal.settle(run.id, &step("0001", StepState::Done, json!("sent"))).await.unwrap();
    count(10, "intend and settle").await;
    journal.close(run.id, &ended(Status::Running, Status::Succeeded), now()).await.unwrap();
    journal.close(run.id, &ended(Status::Running, Status::Succeeded), now()).await.unwrap();
    count(12, "close").await;
    journal.find(run.id).await.unwrap();
    count(13, "find, with the steps").await;
    let methods: BTreeSet<String> =
        wire.requests().iter().filter_map(|request| request.header("x-amz-target")).collect();
    let expected = ["PutItem", "Query", "UpdateItem"].map(|method| format!("DynamoDB_20120810.{method}"));
    assert_eq!(methods, BTreeSet::from(expected));
}

#[tokio::test]
async fn a_list_asks_each_key_once() {
    let table = TestTable::start().await;
    let wire = Wire::before(table.address, |_, answer| answer).await;
    let journal = table.journal_at(wire.address);
    let base = RunFilter { limit: 20, ..RunFilter::default() };
    let workflow = Some(WorkflowType::EmailProcessing);
    let cases = [
        (RunFilter { workflow, status: Some(Status::Failed), ..base.clone() }, 1),
        (RunFilter { status: Some(Status::Attention), ..base.clone() }, 3),
        (RunFilter { workflow, status: Some(Status::Running), ..base.clone() }, 4),
        (RunFilter { workflow, ..base.clone() }, 4),
        (base, 12),
    ];
    let mut before = 0;
    for (filter, expected) in cases {
        journal.list(&filter).await.unwrap();
        let after = wire.requests().len();
        assert_eq!(after - before, expected, "{filter:?}");
        before = after;
    }
}

#[tokio::test]
async fn a_rare_caller_among_many_runs_is_found_page_by_page() {
    let table = TestTable::start().await;
    let journal = table.journal();
    let mut rare = Vec::new();
    // All under one key of the index: more runs of others than one list looks at.
    for number in 0..2600_u128 {
        let mut run = queued(number * 4);
        if number % 1300 == 7 {
            run.origin.caller = "rare".to_owned();
            rare.push(run.id);
        }
        journal.create(&run).await.unwrap();
    }
    rare.reverse();
    let mut filter = RunFilter { caller: Some("rare".to_owned()), limit: 10, ..RunFilter::default() };
    let mut found = Vec::new();
    let mut pages = 0;
    loop {
        let page = journal.list(&filter).await.unwrap();
        pages += 1;
        found.extend(page.runs.iter().map(|run| run.id));
        match page.next {
            Some(next) => filter.before = Some(next),
            None => break,
        }
    }
    assert_eq!(found, rare);
    assert_eq!(pages, 2, "one list looks at 2,000 entries of a key at most");
}

fn item_of<'a>(items: &'a [Item], sort_key: &str) -> &'a Item {
    items.iter().find(|item| item["sk"].as_s().unwrap() == sort_key).unwrap()
}

fn number_of(item: &Item, name: &str) -> i64 {
    item[name].as_n().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_run_stands_in_the_index_of_noteworthy_runs_only_while_it_is_one() {
    let table = TestTable::start().await;
    let journal = table.journal();
    let run = queued(1);
    journal.create(&run).await.unwrap();
    let mut status = Status::Queued;
    for next in
        [Status::Waiting, Status::Queued, Status::Attention, Status::Failed, Status::Succeeded, Status::Cancelled]
    {
        assert!(journal.close(run.id, &ended(status, next), now()).await.unwrap());
        status = next;
        let items = table.items().await;
        let key = item_of(&items, "RUN").get("state_pk").map(|key| key.as_s().unwrap().clone());
        assert_eq!(key, status.is_noteworthy().then(|| format!("{status}#email_processing")));
    }
}

#[tokio::test]
async fn everything_has_an_end_and_a_run_ends_before_its_steps() {
    let table = TestTable::start().await;
    let journal = table.journal();
    let run = queued(1);
    journal.create(&run).await.unwrap();
    journal.record(run.id, &step("0000", StepState::Done, json!(1))).await.unwrap();
    journal.intend(run.id, &step("0001", StepState::Intended, Value::Null)).await.unwrap();
    journal.settle(run.id, &step("0001", StepState::Done, json!(1))).await.unwrap();
    table.answers().claim("ann@example.com", run.id, now(), Duration::from_hours(24)).await.unwrap();
    let items = table.items().await;
    let end = number_of(item_of(&items, "RUN"), "expires_at");
    assert_eq!(end, now().as_second() + 90 * 86_400);
    for key in ["STEP#0000", "STEP#0001"] {
        assert!(number_of(item_of(&items, key), "expires_at") > end, "{key}");
    }
    assert_eq!(number_of(item_of(&items, "ANSWER"), "expires_at"), now().as_second() + 2 * 86_400);
}

#[tokio::test]
async fn no_address_is_stored_in_clear() {
    let table = TestTable::start().await;
    let ledger = table.answers();
    ledger.claim("Ann@Example.com", RunId::new(now(), 1), now(), Duration::from_hours(24)).await.unwrap();
    ledger.suppress("bob@example.com", now()).await.unwrap();
    let stored = format!("{:?}", table.items().await).to_lowercase();
    assert!(stored.contains("answer#"));
    assert!(!stored.contains("example.com") && !stored.contains("ann@") && !stored.contains("bob@"), "{stored}");
}

#[tokio::test]
async fn what_is_too_large_for_an_item_lies_under_its_runs_own_prefix() {
    let table = TestTable::start().await;
    let journal = table.journal();
    let mut noise = vec![0; 600_000];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    let large: String = noise.iter().map(|byte| char::from(b' ' + byte % 90)).collect();
    let run = Run { input: json!(large), ..queued(1) };
    journal.create(&run).await.unwrap();
    journal.record(run.id, &step("0000", StepState::Done, json!(large))).await.unwrap();
    let keys = table.payloads.keys();
    assert_eq!(keys.len(), 1, "the same value is kept once");
    assert!(keys[0].starts_with(&format!("payloads/{}/", run.id)));
    assert!(journal.find(run.id).await.unwrap() == Some((run, vec![step("0000", StepState::Done, json!(large))])));
}

#[tokio::test]
async fn an_item_that_somebody_damaged_is_a_terminal_failure_that_names_the_attribute() {
    let table = TestTable::start().await;
    // An item of another kind under a run's key: a step without what a step has.
    let wire = Wire::start(|_, _| {
        let item = json!({"pk": {"S": "RUN#x"}, "sk": {"S": "STEP#0000"}, "name": {"N": "1"}});
        Answer::json(200, &json!({"Items": [item], "Count": 1, "ScannedCount": 1}))
    })
    .await;
    let failure: Failure = table.journal_at(wire.address).steps(RunId::new(now(), 1)).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Validation);
    assert!(failure.message.contains("`name`"), "{failure}");
}

#[test]
fn the_template_projects_what_lists_show() {
    let template = include_str!("../../../../infra/templates/data.yaml");
    let lines: Vec<&str> = template.lines().filter(|line| line.contains("NonKeyAttributes")).collect();
    assert_eq!(lines.len(), 2);
    for line in lines {
        let projected: BTreeSet<&str> = line.split(['[', ']']).nth(1).unwrap().split(',').map(str::trim).collect();
        assert_eq!(projected, BTreeSet::from(PROJECTED));
    }
    for name in ["by_type", "by_state", "list_pk", "list_sk", "state_pk", "expires_at"] {
        assert!(template.contains(name), "{name}");
    }
}
