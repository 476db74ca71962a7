//! The table's ports against a database that speaks DynamoDB: the contracts, and what is true of the table alone.

use std::{collections::BTreeSet, time::Duration};

use ihelper_adapters::dynamodb::{Metered, TableAnswerLedger, TableJournal, TableRequests, TableTracking};
use ihelper_testkit::{
    answers_contract, budgets_contract, definitions_contract, journal_contract, rates_contract, requests_contract,
    step_cache_contract, tracking_contract, usage_contract,
};
use ihelper_workflow::{
    domain::{
        Failure, Kind, Run, RunId, Status, WorkflowType,
        run::{Entry, Footprint, Lease, Origin, Segment, StepKind, StepRecord, StepState, Trigger, Usage},
    },
    ports::{
        AnswerLedger as _, Appended, Closing, Created, GivesWay, Journal as _, Opened, Recalled, Remembered, Renewed,
        RequestKey, Requests as _, RunFilter, Tracking as _, TrackingEntry,
    },
};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::{
    table::{Item, PROJECTED, TestTable, item_size},
    wire::{Answer, Request, Wire},
};

mod journal {
    use super::*;

    journal_contract!(async { TestTable::start().await.journal() });
}

mod budgets {
    use super::*;

    budgets_contract!(async { TestTable::start().await.budgets() });
}

mod step_cache {
    use super::*;

    step_cache_contract!(async { TestTable::start().await.step_cache() });
}

mod usage {
    use super::*;

    usage_contract!(async { TestTable::start().await.usage() });
}

mod requests {
    use super::*;

    requests_contract!(async { TestTable::start().await.requests() });
}

mod rates {
    use super::*;

    rates_contract!(async { TestTable::start().await.request_counts() });
}

mod tracking {
    use super::*;

    tracking_contract!(async { TestTable::start().await.tracking() });
}

mod answers {
    use super::*;

    answers_contract!(async { TestTable::start().await.answers() });
}

mod definitions {
    use super::*;

    definitions_contract!(async { TestTable::start().await.definitions() });
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
        lineage: None,
        input: json!({"id": "email-1"}),
        result: None,
        error: None,
        failed_attempts: 0,
        usage: Usage::default(),
        footprint: Footprint::default(),
        lease: None,
        due_at: None,
        owes_letter: false,
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
        kind: if state == StepState::Done { StepKind::Step } else { StepKind::Effect },
        state,
        output,
        owner: "worker-1".to_owned(),
        started_at: now(),
        duration_ms: 1,
        usage: Usage::default(),
    }
}

fn segment(number: u32, steps: impl IntoIterator<Item = StepRecord>) -> Segment {
    Segment { number, entries: steps.into_iter().map(Entry::Step).collect() }
}

fn ended(from: Status, status: Status) -> Closing {
    Closing { counts_as_failed: true, ..Closing::new(WorkflowType::EmailProcessing, [from], status) }
}

fn idempotency(key: &str) -> RequestKey {
    RequestKey::Idempotency { caller: "alice".to_owned(), key: key.to_owned() }
}

fn remembered(run: u128) -> Remembered {
    let until = now() + SignedDuration::from_hours(24);
    Remembered { run: RunId::new(now(), run), fingerprint: "fingerprint".to_owned(), until }
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

    let (journal, wire) = losing().await;
    let steps = [step("00000", StepState::Done, json!("result")), step("00001", StepState::Intended, Value::Null)];
    assert_eq!(journal.append(id, &segment(0, steps.clone())).await.unwrap(), Appended::Written);
    assert_eq!(wire.requests().len(), 2);

    let (journal, _wire) = losing().await;
    assert_eq!(journal.renew(id, &lease(), now()).await.unwrap(), Renewed::Held);

    // From running to running, so that a repetition would be allowed by the status alone.
    let (journal, wire) = losing().await;
    let closing = Closing { from: vec![Status::Running, Status::Queued], ..ended(Status::Running, Status::Queued) };
    assert!(journal.close(id, &closing, now()).await.unwrap());
    assert_eq!(wire.requests().len(), 2);

    let (run, found) = table.journal().find(id).await.unwrap().unwrap();
    assert_eq!((run.status, run.failed_attempts), (Status::Queued, 1), "the attempt counts once");
    assert_eq!(found, steps);

    let wire = Wire::before(table.address, |number, answer| lost(number, 0, answer)).await;
    let key = idempotency("key-1");
    let recalled = table.requests_at(wire.address).remember(&key, &remembered(1), GivesWay::Nothing, now()).await;
    assert_eq!((recalled.unwrap(), wire.requests().len()), (Recalled::New, 2));
}

#[tokio::test]
async fn who_never_got_an_answer_learns_by_asking_again_that_a_segment_stands() {
    let table = TestTable::start().await;
    // Every answer is lost, also those to the client's repetitions.
    let wire = Wire::before(table.address, |_, _| Answer::HangUp).await;
    let id = RunId::new(now(), 1);
    let first = segment(0, [step("00000", StepState::Intended, Value::Null)]);
    let failure = table.journal_at(wire.address).append(id, &first).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Connection);
    let journal = table.journal();
    assert_eq!(journal.append(id, &first).await.unwrap(), Appended::Written);
    assert_eq!(journal.read(id, 0).await.unwrap(), [first]);
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
    journal.append(run.id, &segment(0, [step("00000", StepState::Done, json!(1))])).await.unwrap();
    journal.append(run.id, &segment(0, [step("00000", StepState::Done, json!(2))])).await.unwrap();
    count(7, "renew and append").await;
    journal.read(run.id, 0).await.unwrap();
    count(8, "read").await;
    journal.close(run.id, &ended(Status::Running, Status::Succeeded), now()).await.unwrap();
    journal.close(run.id, &ended(Status::Running, Status::Succeeded), now()).await.unwrap();
    count(10, "close").await;
    journal.letter_sent(run.id).await.unwrap();
    count(11, "a letter").await;
    journal.find(run.id).await.unwrap();
    count(12, "find, with the journal").await;
    let requests = table.requests_at(wire.address);
    for gives_way in [GivesWay::Nothing, GivesWay::Nothing, GivesWay::Run(run.id), GivesWay::Anything] {
        requests.remember(&idempotency("key-1"), &remembered(2), gives_way, now()).await.unwrap();
    }
    count(16, "four requests").await;
    let methods: BTreeSet<String> = wire.requests().iter().map(method).collect();
    assert_eq!(methods, BTreeSet::from(["PutItem", "Query", "UpdateItem"].map(str::to_owned)));
}

fn method(request: &Request) -> String {
    request.header("x-amz-target").unwrap().trim_start_matches("DynamoDB_20120810.").to_owned()
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
async fn a_list_reads_the_runs_of_a_page_at_once() {
    let table = TestTable::start().await;
    let journal = table.journal();
    for number in 0..120 {
        journal.create(&queued(number)).await.unwrap();
    }
    let wire = Wire::before(table.address, |_, answer| answer).await;
    let journal = table.journal_at(wire.address);
    let workflow = Some(WorkflowType::EmailProcessing);
    let filter = RunFilter { workflow, limit: 100, ..RunFilter::default() };
    assert_eq!(journal.list(&filter).await.unwrap().runs.len(), 100);
    let reads = wire.requests().iter().filter(|request| method(request) == "BatchGetItem").count();
    assert_eq!((wire.requests().len(), reads), (5, 1));
}

/// A service with three runs in its index, which answers for the runs themselves as it is told.
async fn with_three_runs(read: impl Fn(usize, Vec<Value>) -> Value + Send + Sync + 'static) -> (Wire, Vec<RunId>) {
    let ids: Vec<RunId> = [3, 2, 1].map(|number| RunId::new(now(), number * 4)).to_vec();
    let entries: Vec<Value> = ids
        .iter()
        .map(|id| json!({"pk": {"S": format!("RUN#{id}")}, "sk": {"S": "RUN"}, "list_pk": {"S": "email_processing#0"}}))
        .collect();
    let reads = std::sync::atomic::AtomicUsize::new(0);
    let wire = Wire::start(move |_, request| {
        let body = request.json();
        if method(request) == "Query" {
            let is_theirs = body["ExpressionAttributeValues"][":key"]["S"] == "email_processing#0";
            let items = if is_theirs { entries.clone() } else { Vec::new() };
            return Answer::json(200, &json!({"Items": items, "Count": items.len(), "ScannedCount": items.len()}));
        }
        let (name, asked) = body["RequestItems"].as_object().unwrap().iter().next().unwrap();
        let keys = asked["Keys"].as_array().unwrap().clone();
        let number = reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut answer = read(number, keys);
        let left = answer["left"].take();
        let unprocessed = if left == json!([]) { json!({}) } else { json!({ name: { "Keys": left } }) };
        Answer::json(200, &json!({"Responses": { name: answer["items"] }, "UnprocessedKeys": unprocessed}))
    })
    .await;
    (wire, ids)
}

/// The item of a key, as far as a list shows it.
fn shown(key: &Value) -> Value {
    json!({
        "pk": key["pk"], "list_pk": {"S": "email_processing#0"}, "data_id": {"S": "email-1"},
        "status": {"S": "queued"}, "trigger": {"S": "queue"}, "created_at": {"N": "1"},
    })
}

#[tokio::test]
async fn runs_that_the_service_left_out_are_asked_for_again() {
    let table = TestTable::start().await;
    // None at first, then one at a time.
    let (wire, ids) = with_three_runs(|number, keys| match number {
        0 => json!({"items": [], "left": keys}),
        _ => json!({"items": [shown(&keys[keys.len() - 1])], "left": keys[..keys.len() - 1]}),
    })
    .await;
    let page = table.journal_at(wire.address).list(&RunFilter { limit: 10, ..RunFilter::default() }).await.unwrap();
    assert_eq!((page.runs.iter().map(|run| run.id).collect::<Vec<_>>(), page.next), (ids, None));
}

#[tokio::test]
async fn a_service_that_leaves_out_runs_for_ever_is_not_asked_for_ever() {
    let table = TestTable::start().await;
    let (wire, _) = with_three_runs(|_, keys| json!({"items": [shown(&keys[0])], "left": keys})).await;
    let list = RunFilter { limit: 10, ..RunFilter::default() };
    let failure = table.journal_at(wire.address).list(&list).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Throttled);
    assert_eq!(wire.requests().iter().filter(|request| method(request) == "BatchGetItem").count(), 8);
}

#[tokio::test]
async fn a_run_that_is_deleted_while_it_is_listed_is_left_out() {
    let table = TestTable::start().await;
    let (wire, ids) = with_three_runs(|_, keys| json!({"items": [shown(&keys[2]), shown(&keys[0])], "left": []})).await;
    let page = table.journal_at(wire.address).list(&RunFilter { limit: 10, ..RunFilter::default() }).await.unwrap();
    assert_eq!(page.runs.iter().map(|run| run.id).collect::<Vec<_>>(), [ids[0], ids[2]]);
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
    let state_key = async || {
        let items = table.items().await;
        item_of(&items, "RUN").get("state_pk").map(|key| key.as_s().unwrap().clone())
    };
    let mut status = Status::Queued;
    for next in
        [Status::Waiting, Status::Queued, Status::Attention, Status::Failed, Status::Succeeded, Status::Cancelled]
    {
        assert!(journal.close(run.id, &ended(status, next), now()).await.unwrap());
        status = next;
        assert_eq!(state_key().await, status.is_noteworthy().then(|| format!("{status}#email_processing")));
    }
    let waits = Closing { due_at: Some(now()), ..ended(status, Status::Waiting) };
    assert!(journal.close(run.id, &waits, now()).await.unwrap());
    assert!(state_key().await.is_some());
    assert!(matches!(journal.open(run.id, &lease(), now()).await.unwrap(), Opened::Leased(_)));
    assert_eq!(state_key().await, None, "a run that waited is opened");
}

#[tokio::test]
async fn everything_has_an_end_and_a_run_ends_before_its_journal() {
    let table = TestTable::start().await;
    let journal = table.journal();
    // Its message waited in a queue for some days before the run was made.
    let made_at = now() - SignedDuration::from_hours(4 * 24);
    let run = Run { id: RunId::new(made_at, 1), ..queued(1) };
    journal.create(&run).await.unwrap();
    let appended = [
        segment(0, [step("00000", StepState::Done, json!(1))]),
        Segment { number: 1, entries: vec![Entry::Cancelled { by: "alice".to_owned(), at: now() }] },
        segment(2, [StepRecord { started_at: Timestamp::MIN, ..step("00000", StepState::Done, json!(1)) }]),
    ];
    for segment in &appended {
        journal.append(run.id, segment).await.unwrap();
    }
    table.answers().claim("ann@example.com", run.id, now(), Duration::from_hours(24)).await.unwrap();
    let cached = RequestKey::Result { workflow_id: "hash".to_owned() };
    for key in [idempotency("key-1"), cached] {
        table.requests().remember(&key, &remembered(1), GivesWay::Nothing, now()).await.unwrap();
    }
    let items = table.items().await;
    let end = number_of(item_of(&items, "RUN"), "expires_at");
    assert_eq!(end, now().as_second() + 90 * 86_400);
    for key in ["LOG#000000", "LOG#000001", "LOG#000002"] {
        assert!(number_of(item_of(&items, key), "expires_at") > end, "{key}");
    }
    for key in ["ANSWER", "IDEM", "CACHE"] {
        assert_eq!(number_of(item_of(&items, key), "expires_at"), now().as_second() + 2 * 86_400, "{key}");
    }
    assert_eq!(item_of(&items, "CACHE")["pk"].as_s().unwrap(), "CACHE#workflow:hash");
}

#[tokio::test]
async fn no_address_and_no_key_is_stored_in_clear() {
    let table = TestTable::start().await;
    let ledger = table.answers();
    ledger.claim("Ann@Example.com", RunId::new(now(), 1), now(), Duration::from_hours(24)).await.unwrap();
    ledger.suppress("bob@example.com", now()).await.unwrap();
    let key = RequestKey::Idempotency { caller: "carol@example.com".to_owned(), key: "dan@example.com".to_owned() };
    table.requests().remember(&key, &remembered(1), GivesWay::Nothing, now()).await.unwrap();
    let stored = format!("{:?}", table.items().await).to_lowercase();
    assert!(stored.contains("answer#") && stored.contains("idem#"));
    assert!(!stored.contains("example.com") && !stored.contains('@'), "{stored}");
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
    let recorded = step("00000", StepState::Done, json!(large));
    for _ in 0..2 {
        assert_eq!(journal.append(run.id, &segment(0, [recorded.clone()])).await.unwrap(), Appended::Written);
    }
    let last = Closing { result: Some(json!(large)), ..ended(Status::Queued, Status::Succeeded) };
    assert!(journal.close(run.id, &last, now()).await.unwrap());
    let keys = table.payloads.keys();
    assert_eq!(keys.len(), 2, "the input is the result, and kept once; a segment is kept whole");
    assert!(keys.iter().all(|key| key.starts_with(&format!("payloads/{}/", run.id))));
    let (found, steps) = journal.find(run.id).await.unwrap().unwrap();
    assert!(found.input == json!(large) && found.result == Some(json!(large)) && steps == [recorded]);
}

#[tokio::test]
async fn an_item_that_somebody_damaged_is_a_terminal_failure_that_names_the_attribute() {
    let table = TestTable::start().await;
    let cases = [
        (json!({"sk": {"S": "LOG#000000"}}), "`entries`"),
        (json!({"sk": {"S": "LOG#000000"}, "entries": {"S": "{}"}}), "`entries`"),
        (json!({"sk": {"S": "LOG#one"}, "entries": {"S": "[]"}}), "`sk`"),
        (json!({"sk": {"S": "LOG#000001"}, "entries": {"S": "[]"}}), "no segment 0"),
    ];
    for (mut item, named) in cases {
        item["pk"] = json!({"S": "RUN#x"});
        let answer = Answer::json(200, &json!({"Items": [item], "Count": 1, "ScannedCount": 1}));
        let wire = Wire::start(move |_, _| answer.clone()).await;
        let failure: Failure = table.journal_at(wire.address).read(RunId::new(now(), 1), 0).await.unwrap_err();
        assert_eq!(failure.kind, Kind::Validation);
        assert!(failure.message.contains(named), "{failure}");
    }
}

#[tokio::test]
async fn what_cannot_be_stored_as_a_segment_is_refused_before_anything_is_written() {
    let table = TestTable::start().await;
    let journal = table.journal();
    let id = RunId::new(now(), 1);
    let deep = (0..125).fold(json!(0), |inner, _| json!([inner]));
    let refused = [
        segment(0, [step("00000", StepState::Done, deep)]),
        segment(1_000_000, [step("00000", StepState::Done, json!(1))]),
    ];
    for segment in &refused {
        assert_eq!(journal.append(id, segment).await.unwrap_err().kind, Kind::Validation);
    }
    assert_eq!(table.items().await, []);
    assert_eq!(
        journal.append(id, &segment(999_999, [step("00000", StepState::Done, json!(1))])).await.unwrap(),
        Appended::Written
    );
    assert_eq!(journal.read(id, 999_999).await.unwrap().len(), 1);
}

// ── cost ─────────────────────────────────────────────────────────────────────────────────────────────────────

/// An email as many write them, of 700 characters.
const MAIL: &str = "Hello,

thank you for confirming the return. I sent the faulty controller back on Friday; the parcel service's receipt is \
attached.

Two questions before I plan the installation:

1. When will the replacement for order 48213 arrive? Our electrician comes on Monday, 3 December, and cannot wait \
for another week.
2. Does the new controller need the adapter plate that came with the old one, or should we keep the old plate?

Could you please let me know by Thursday? I am in the office until noon every day of this week, and on the telephone \
after that. If the parcel is late again, we will have to rent a heater.

Kind regards,
Marta Lindqvist
Facility management, Bj\u{f6}rkudden Hotell
+46 8 555 010 42
";

fn usual_email() -> Run {
    assert_eq!(MAIL.chars().count(), 700);
    Run {
        data_id: "b81f5c02-7d4e-4b8e-9d3a-5f0d2c6a9e11".to_owned(),
        origin: Origin {
            trigger: Trigger::Queue,
            id: "5f0c7b1e-9d1a-4c55-8f3b-000000000001".to_owned(),
            caller: "queue".to_owned(),
        },
        input: json!({
            "id": "b81f5c02-7d4e-4b8e-9d3a-5f0d2c6a9e11", "from": "marta.lindqvist@customer.example",
            "subject": "Re: Your order 48213: when does the replacement arrive?", "content": MAIL,
        }),
        status: Status::Running,
        lease: Some(Lease { owner: "0f3a9b5c7d1e2f405162738495a6b7c8".to_owned(), ..lease() }),
        created_at: moment(123_456_789),
        updated_at: moment(123_456_789),
        ..queued(1)
    }
}

fn moment(nanoseconds: i64) -> Timestamp {
    now() + SignedDuration::from_nanos(nanoseconds)
}

/// What a usual email comes to: the two answers of the assistant, then the intent of the reply.
fn usual_steps() -> [Value; 2] {
    let analysis = json!({
        "category": "question", "intent": "When will the replacement for order 48213 arrive?", "urgency": "high",
        "requires_response": true, "template": "question",
        "context": {
            "sender_name": "Marta Lindqvist", "subject": "Re: Your order 48213: when does the replacement arrive?",
            "question": "When will the replacement for order 48213 arrive?", "deadline": "Thursday",
        },
        "language": "eng", "confidence": 0.82, "reasons": ["asks a question", "names a date"],
    });
    let draft = json!({
        "subject": "Re: Your order 48213: when does the replacement arrive?",
        "text": "Dear Marta Lindqvist,\n\nthank you for your message. You asked: \"When will the replacement for order \
                 48213 arrive?\"\n\nWe have passed your question on to a colleague who knows the matter. You will hear \
                 from us within one working day.\n\nKind regards\nSupport\n",
    });
    [analysis, draft]
}

#[tokio::test]
async fn the_run_of_a_usual_email_costs_what_it_should() {
    let test = TestTable::start().await;
    let (table, meter) = test.metered();
    let journal = TableJournal::new(table);
    let mut before = Metered::default();
    // What was written and read since the last time.
    let mut cost = || {
        let total = meter.total();
        let cost = (total.write_units - before.write_units, total.read_units - before.read_units);
        assert_eq!(total.requests, before.requests + 1, "one request");
        before = total;
        cost
    };
    let size = async |key: &str| item_size(item_of(&test.items().await, key));
    let run = usual_email();
    let owner = run.lease.clone().unwrap().owner;

    journal.create(&run).await.unwrap();
    assert_eq!(cost(), (2.0, 0.0), "a unit for the run, and one for its entry in `by_type`");
    let at_creation = size("RUN").await;
    assert!(at_creation < 1024, "{at_creation} bytes");

    let prolonged = Lease { owner: owner.clone(), until: moment(90_123_456_789) };
    journal.renew(run.id, &prolonged, moment(30_123_456_789)).await.unwrap();
    assert_eq!(cost(), (1.0, 0.0), "no index shows a lease");
    assert!(size("RUN").await < 1024);

    let [analysis, draft] = usual_steps();
    let recorded = |position: &str, name: &str, output: &Value| StepRecord {
        name: name.to_owned(),
        owner: owner.clone(),
        started_at: moment(987_654_321),
        duration_ms: 812,
        usage: Usage { api_calls: 1, input_tokens: 812, output_tokens: 141, ..Usage::default() },
        ..step(position, StepState::Done, output.clone())
    };
    let first = segment(
        0,
        [
            recorded("00000", "analyze_email", &analysis),
            recorded("00001", "generate_response", &draft),
            StepRecord { owner: owner.clone(), ..step("00002", StepState::Intended, Value::Null) },
        ],
    );
    journal.append(run.id, &first).await.unwrap();
    assert_eq!(cost(), (1.0, 0.0));
    let segment_size = size("LOG#000000").await;
    assert!(segment_size < 1024, "{segment_size} bytes");

    let sent = json!({"message_id": "0100019a8f3c5d21-7d0f6f0a-3f6b-4d54-9c1e-000000000001-000000"});
    journal.append(run.id, &segment(1, [recorded("00002", "send_response", &sent)])).await.unwrap();
    assert_eq!(cost(), (1.0, 0.0));

    let closing = Closing {
        result: Some(json!({
            "status": "success", "response_generated": true, "analysis": analysis, "response": draft, "api_calls": 2,
            "model": "rules",
        })),
        last_entries: vec![StepRecord { owner: owner.clone(), ..step("00003", StepState::Done, Value::Null) }],
        usage: Some(Usage { api_calls: 2, input_tokens: 1624, output_tokens: 282, ..Usage::default() }),
        owner: Some(owner.clone()),
        ..Closing::new(run.workflow, [Status::Running], Status::Succeeded)
    };
    assert!(journal.close(run.id, &closing, moment(2_345_678_901)).await.unwrap());
    assert_eq!(cost(), (2.0, 0.0), "input and result together are beyond one KiB");
    let at_close = size("RUN").await;
    assert!(at_close < 1536, "{at_close} bytes");

    journal.read(run.id, 0).await.unwrap();
    assert_eq!(cost(), (0.0, 1.0));
    journal.find(run.id).await.unwrap();
    assert_eq!(cost(), (0.0, 1.0));
}

#[tokio::test]
async fn a_refused_write_is_metered_by_the_item_in_its_way() {
    let test = TestTable::start().await;
    let (table, meter) = test.metered();
    let journal = TableJournal::new(table.clone());
    let mut noise = vec![0; 5_000];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    let bulky: String = noise.iter().map(|byte| char::from(b' ' + byte % 90)).collect();
    let run = Run { input: json!(bulky), ..queued(1) };
    test.journal().create(&run).await.unwrap();
    test.journal().append(run.id, &segment(0, [step("00000", StepState::Done, json!(bulky))])).await.unwrap();
    let entry = |run: RunId| TrackingEntry {
        workflow: WorkflowType::EmailProcessing,
        data_id: "email-1".to_owned(),
        run_id: run,
        status: "answered".to_owned(),
        details: json!(bulky),
        at: now(),
    };
    test.tracking().put(&entry(RunId::new(now(), 2))).await.unwrap();
    let items = test.items().await;
    let units = |key: &str| item_size(item_of(&items, key)).div_ceil(1024) as f64;
    assert!(units("RUN") > 3.0 && units("LOG#000000") > 3.0 && units("STATUS") > 3.0);

    let mut before = 0.0;
    let mut cost = || {
        let total = meter.total().write_units;
        total - std::mem::replace(&mut before, total)
    };
    journal.create(&run).await.unwrap();
    assert_eq!(cost(), units("RUN"));
    journal.renew(run.id, &lease(), now()).await.unwrap();
    assert_eq!(cost(), units("RUN"));
    journal.close(run.id, &ended(Status::Failed, Status::Queued), now()).await.unwrap();
    assert_eq!(cost(), units("RUN"));
    journal.append(run.id, &segment(0, [step("00000", StepState::Done, json!(2))])).await.unwrap();
    assert_eq!(cost(), units("LOG#000000"));
    TableTracking::new(table.clone()).put(&entry(RunId::new(now(), 1))).await.unwrap();
    assert_eq!(cost(), units("STATUS"));
    journal.letter_sent(RunId::new(now(), 404)).await.unwrap();
    assert_eq!(cost(), 1.0, "nothing in the way is a unit too");
}

#[tokio::test]
async fn requests_ask_what_they_take_only_when_they_are_metered() {
    let test = TestTable::start().await;
    let wire = Wire::before(test.address, |_, answer| answer).await;
    let (metered, meter) = test.metered_at(wire.address);
    for (table, expected) in [(test.table_at(wire.address), Value::Null), (metered, json!("TOTAL"))] {
        let before = wire.requests().len();
        let journal = TableJournal::new(table.clone());
        let run = queued(before as u128);
        journal.create(&run).await.unwrap();
        journal.open(run.id, &lease(), now()).await.unwrap();
        journal.renew(run.id, &lease(), now()).await.unwrap();
        journal.append(run.id, &segment(0, [step("00000", StepState::Done, json!(1))])).await.unwrap();
        journal.read(run.id, 0).await.unwrap();
        journal.close(run.id, &ended(Status::Running, Status::Failed), now()).await.unwrap();
        journal.letter_sent(run.id).await.unwrap();
        journal.find(run.id).await.unwrap();
        for status in [None, Some(Status::Failed)] {
            journal.list(&RunFilter { status, limit: 10, ..RunFilter::default() }).await.unwrap();
        }
        let requests = TableRequests::new(table.clone());
        requests.remember(&idempotency("key-1"), &remembered(1), GivesWay::Anything, now()).await.unwrap();
        let ledger = TableAnswerLedger::new(table.clone());
        ledger.claim("ann@example.com", run.id, now(), Duration::ZERO).await.unwrap();
        ledger.suppress("bob@example.com", now()).await.unwrap();
        let tracking = TableTracking::new(table);
        let entry = TrackingEntry {
            workflow: run.workflow,
            data_id: "email-1".to_owned(),
            run_id: run.id,
            status: "answered".to_owned(),
            details: Value::Null,
            at: now(),
        };
        tracking.put(&entry).await.unwrap();
        tracking.get(run.workflow, "email-1").await.unwrap();

        let requests = wire.requests().split_off(before);
        for request in &requests {
            assert_eq!(request.json()["ReturnConsumedCapacity"], expected, "{}", method(request));
        }
        let counted = if expected.is_null() { 0 } else { requests.len() as u64 };
        assert_eq!(meter.total().requests, counted);
    }
    let total = meter.total();
    assert!(total.write_units > 8.0 && total.read_units > 2.0, "{total:?}");
}

#[test]
fn the_template_makes_the_indexes_that_the_tests_make() {
    let template = include_str!("../../../../infra/templates/data.yaml");
    for (name, expected) in PROJECTED {
        let index = template.split("- IndexName: ").find(|part| part.starts_with(name)).unwrap();
        let line = index.lines().find(|line| line.contains("NonKeyAttributes")).unwrap();
        let projected: BTreeSet<&str> = line.split(['[', ']']).nth(1).unwrap().split(',').map(str::trim).collect();
        assert_eq!(projected, expected.iter().copied().collect());
        assert!(index.contains("{ AttributeName: pk, KeyType: RANGE }"), "{name}");
    }
    for name in ["list_pk", "state_pk", "expires_at"] {
        assert!(template.contains(name), "{name}");
    }
    assert!(!template.contains("list_sk"));
}
