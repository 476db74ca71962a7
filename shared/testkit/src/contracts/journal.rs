//! What must be true of every [`Journal`].

use std::collections::BTreeSet;

use futures::future::join_all;
use ihelper_workflow::{
    domain::{
        Failure, Kind, Run, RunId, Status, WorkflowType,
        run::{
            Entry, Footprint, History, Lease, Lineage, Origin, Segment, StepKind, StepRecord, StepState, Summary,
            Trigger, Usage,
        },
    },
    ports::{Appended, Closing, Created, Journal, Opened, Page, Renewed, RunFilter},
};
use serde_json::{Value, json};

use super::{DOCUMENT, EMAIL, KIB, SIZES, TASK, at, bulky, delicate_values, hostile_texts, monotonous, run_id};

/// Makes a test of every case of the journal's contract, each on a journal that the expression makes anew.
#[macro_export]
macro_rules! journal_contract {
    ($port:expr) => {
        $crate::contract_tests! { $port, journal:
            a_new_run_is_found_as_it_was_given,
            a_run_is_created_once,
            a_run_that_does_not_exist_is_not_found,
            of_many_who_create_at_once_one_does,
            lineage_survives,
            a_queued_run_can_be_leased,
            a_leased_run_is_busy_for_others,
            a_lease_ends_at_its_moment,
            the_same_owner_takes_its_lease_again,
            a_running_run_without_a_lease_can_be_leased,
            a_run_that_rests_is_not_leased,
            a_run_that_waits_is_opened_when_due_and_not_before,
            a_run_that_waits_for_no_moment_is_never_opened,
            of_many_who_open_at_once_one_does,
            of_many_who_open_a_run_that_waits_one_does,
            only_the_owner_renews,
            a_renewal_tells_where_a_run_stands_that_is_no_longer_running,
            segments_come_back_in_order_and_complete,
            segments_are_read_from_any_number_on,
            a_segments_number_is_taken_once,
            the_same_segment_appended_again_stands,
            of_many_who_append_at_once_one_does,
            many_who_append_make_a_journal_without_gaps,
            a_journal_with_a_gap_is_not_read,
            what_was_appended_before_a_run_was_made_is_its_journal,
            segments_of_one_run_are_not_those_of_another,
            a_run_is_found_with_what_its_journal_comes_to,
            a_journal_is_appended_to_whatever_the_runs_status,
            a_segment_of_a_thousand_entries_survives,
            a_journal_of_many_large_segments_survives,
            markers_of_cancellation_survive,
            last_entries_are_found_and_override_nothing,
            last_entries_last_until_the_next_closing,
            a_run_closes_only_from_the_statuses_named,
            closing_keeps_what_it_does_not_name,
            closing_counts_failed_attempts,
            a_closed_run_has_no_lease,
            a_run_that_is_not_due_waits,
            who_lost_the_lease_does_not_close,
            a_final_status_has_its_moment,
            of_many_who_close_at_once_one_does,
            a_letter_is_owed_until_it_was_sent,
            lists_are_newest_first,
            lists_show_what_the_run_says,
            lists_can_be_filtered,
            filters_hold_together,
            pages_are_complete_without_repeats,
            a_rare_status_is_found_page_by_page,
            runs_of_one_millisecond_are_paged_too,
            a_status_that_changes_moves_between_lists,
            an_empty_list_is_an_empty_page,
            hostile_texts_survive,
            delicate_values_survive,
            large_values_survive,
            moments_keep_their_nanoseconds,
        }
    };
}

fn new_run(id: RunId, workflow: WorkflowType) -> Run {
    Run {
        id,
        workflow,
        data_id: format!("data-{id}"),
        definition_version: 1,
        status: Status::Queued,
        origin: Origin { trigger: Trigger::Api, id: "request-1".to_owned(), caller: "alice".to_owned() },
        lineage: None,
        input: json!({"id": format!("data-{id}"), "description": "tidy up"}),
        result: None,
        error: None,
        failed_attempts: 0,
        usage: Usage::default(),
        footprint: Footprint::default(),
        lease: None,
        due_at: None,
        owes_letter: false,
        created_at: at(0),
        updated_at: at(0),
        finished_at: None,
    }
}

fn lease(owner: &str, until: i64) -> Lease {
    Lease { owner: owner.to_owned(), until: at(until) }
}

fn step(position: &str, state: StepState, owner: &str, output: Value) -> StepRecord {
    StepRecord {
        position: position.to_owned(),
        name: format!("step_{position}"),
        kind: match state {
            StepState::Intended | StepState::Released => StepKind::Effect,
            StepState::Waiting => StepKind::Wait,
            StepState::Done => StepKind::Step,
        },
        state,
        output,
        owner: owner.to_owned(),
        started_at: at(1),
        duration_ms: 12,
        usage: Usage { api_calls: 1, input_tokens: 20, output_tokens: 3, ..Usage::default() },
    }
}

fn done(position: &str, owner: &str, output: Value) -> StepRecord {
    step(position, StepState::Done, owner, output)
}

fn segment(number: u32, steps: impl IntoIterator<Item = StepRecord>) -> Segment {
    Segment { number, entries: steps.into_iter().map(Entry::Step).collect() }
}

fn closing(from: &[Status], status: Status) -> Closing {
    Closing::new(EMAIL, from, status)
}

fn page_of(limit: usize) -> RunFilter {
    RunFilter { limit, ..RunFilter::default() }
}

async fn created(journal: &dyn Journal, run: Run) -> Run {
    assert_eq!(journal.create(&run).await.unwrap(), Created::New);
    run
}

async fn found(journal: &dyn Journal, id: RunId) -> Run {
    journal.find(id).await.unwrap().expect("the run exists").0
}

async fn steps_found(journal: &dyn Journal, id: RunId) -> Vec<StepRecord> {
    journal.find(id).await.unwrap().expect("the run exists").1
}

async fn written(journal: &dyn Journal, id: RunId, segment: &Segment) {
    assert!(journal.append(id, segment).await.unwrap() == Appended::Written, "segment {}", segment.number);
}

fn leased(opened: Opened) -> Run {
    match opened {
        Opened::Leased(run) => *run,
        other => panic!("expected a lease, got {other:?}"),
    }
}

// ── create, find ─────────────────────────────────────────────────────────────────────────────────────────────

/// A run created with a lease and with every field set is found again, equal.
pub async fn a_new_run_is_found_as_it_was_given(journal: &dyn Journal) {
    let bare = created(journal, new_run(run_id(0, 1), EMAIL)).await;
    assert_eq!(found(journal, bare.id).await, bare);

    let full = Run {
        status: Status::Running,
        result: Some(json!({"done": true})),
        error: Some(
            Failure::new(Kind::Throttled, "the model asked to slow down")
                .in_step("analyze_email")
                .retry_after(std::time::Duration::from_millis(1500))
                .with_unknown_outcome(),
        ),
        failed_attempts: 3,
        usage: Usage { api_calls: 4, input_tokens: u64::MAX, output_tokens: 9_007_199_254_740_993, ..Usage::default() },
        footprint: Footprint { store_calls: 7, working_ms: u64::MAX, peak_memory_bytes: 9_007_199_254_740_993 },
        lease: Some(lease("worker-1", 60)),
        due_at: Some(at(70)),
        owes_letter: true,
        finished_at: Some(at(9)),
        updated_at: at(8),
        definition_version: u32::MAX,
        ..new_run(run_id(0, 2), DOCUMENT)
    };
    let full = created(journal, full).await;
    assert_eq!(journal.find(full.id).await.unwrap(), Some((full, Vec::new())));
}

/// Another creation under the same id writes nothing and is told the run that stands.
pub async fn a_run_is_created_once(journal: &dyn Journal) {
    let first = created(journal, new_run(run_id(0, 1), TASK)).await;
    let second = Run { data_id: "another".to_owned(), input: json!("other"), ..first.clone() };
    assert_eq!(journal.create(&second).await.unwrap(), Created::Existing(Box::new(first.clone())));
    assert_eq!(found(journal, first.id).await, first);

    // And it is told the run as it is now, not as it was made.
    leased(journal.open(first.id, &lease("worker-1", 60), at(5)).await.unwrap());
    let Created::Existing(now) = journal.create(&second).await.unwrap() else { panic!("it exists") };
    assert_eq!(*now, found(journal, first.id).await);
    assert_eq!(now.status, Status::Running);
}

/// What is not there is not found, has no journal, cannot be opened, renewed or closed.
pub async fn a_run_that_does_not_exist_is_not_found(journal: &dyn Journal) {
    let id = run_id(0, 404);
    assert_eq!(journal.find(id).await.unwrap(), None);
    assert_eq!(journal.read(id, 0).await.unwrap(), []);
    assert_eq!(journal.open(id, &lease("worker-1", 60), at(0)).await.unwrap_err().kind, Kind::NotFound);
    assert_eq!(journal.renew(id, &lease("worker-1", 60), at(0)).await.unwrap(), Renewed::Lost { status: None });
    journal.letter_sent(id).await.unwrap();
    assert!(!journal.close(id, &closing(&Status::ALL, Status::Failed), at(0)).await.unwrap());
    assert_eq!(journal.find(id).await.unwrap(), None, "none of this makes a run");
}

/// Twenty create the same run at once: one is told it is new, the others are told of that one.
pub async fn of_many_who_create_at_once_one_does(journal: &dyn Journal) {
    let id = run_id(0, 1);
    let attempts: Vec<Run> =
        (0..20).map(|number| Run { data_id: format!("attempt-{number}"), ..new_run(id, EMAIL) }).collect();
    let outcomes = join_all(attempts.iter().map(|run| journal.create(run))).await;
    let winners: Vec<&Run> = outcomes
        .iter()
        .zip(&attempts)
        .filter_map(|(outcome, run)| matches!(outcome, Ok(Created::New)).then_some(run))
        .collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(found(journal, id).await, *winners[0]);
    let told_of_winner =
        outcomes.iter().filter(|outcome| matches!(outcome, Ok(Created::Existing(run)) if **run == *winners[0])).count();
    assert_eq!(told_of_winner, 19);
}

/// A run tells which one it repeats, from which step, and by whose keys; its id may be what triggered it.
pub async fn lineage_survives(journal: &dyn Journal) {
    let steps = [None, Some(String::new()), Some("send_response".to_owned())];
    for (number, from_step) in steps.into_iter().chain(hostile_texts().into_iter().map(Some)).enumerate() {
        let id = run_id(1, number as u128);
        let lineage =
            Lineage { retry_of: run_id(0, 1), from_step, keys_of: run_id(0, 2), first_run: Some(run_id(0, 0)) };
        let origin = Origin { trigger: Trigger::Run, id: id.to_string(), caller: "alice".to_owned() };
        let run = created(journal, Run { lineage: Some(lineage), origin, ..new_run(id, TASK) }).await;
        assert_eq!(found(journal, id).await, run);
        let opened = leased(journal.open(id, &lease("worker-1", 60), at(5)).await.unwrap());
        assert_eq!((opened.lineage, opened.origin), (run.lineage, run.origin));
    }
}

// ── open, renew ──────────────────────────────────────────────────────────────────────────────────────────────

/// Opening a queued run sets it running under the lease.
pub async fn a_queued_run_can_be_leased(journal: &dyn Journal) {
    let run = created(journal, new_run(run_id(0, 1), EMAIL)).await;
    let opened = leased(journal.open(run.id, &lease("worker-1", 60), at(5)).await.unwrap());
    let expected =
        Run { status: Status::Running, lease: Some(lease("worker-1", 60)), updated_at: at(5), ..run.clone() };
    assert_eq!(opened, expected);
    assert_eq!(found(journal, run.id).await, expected);
}

/// While a lease lasts, nobody else gets one; they are told until when.
pub async fn a_leased_run_is_busy_for_others(journal: &dyn Journal) {
    let run = created(journal, new_run(run_id(0, 1), EMAIL)).await;
    leased(journal.open(run.id, &lease("worker-1", 60), at(0)).await.unwrap());
    let opened = journal.open(run.id, &lease("worker-2", 90), at(30)).await.unwrap();
    assert_eq!(opened, Opened::Busy { until: at(60) });
    assert_eq!(found(journal, run.id).await.lease, Some(lease("worker-1", 60)));
}

/// At the end of a lease, and not before, another worker takes over.
pub async fn a_lease_ends_at_its_moment(journal: &dyn Journal) {
    let run = created(journal, new_run(run_id(0, 1), EMAIL)).await;
    let until = at(60);
    let just_before = until - jiff::SignedDuration::from_nanos(1);
    leased(journal.open(run.id, &lease("worker-1", 60), at(0)).await.unwrap());
    let busy = journal.open(run.id, &lease("worker-2", 120), just_before).await.unwrap();
    assert_eq!(busy, Opened::Busy { until });
    let opened = leased(journal.open(run.id, &lease("worker-2", 120), until).await.unwrap());
    assert_eq!(opened.lease, Some(lease("worker-2", 120)));
    assert_eq!(opened.failed_attempts, 0, "taking over is no failed attempt");
    let busy = journal.open(run.id, &lease("worker-1", 180), at(61)).await.unwrap();
    assert_eq!(busy, Opened::Busy { until: at(120) }, "the former owner waits like everybody");
}

/// The owner of a lease may open its run again, before and after the lease's end.
pub async fn the_same_owner_takes_its_lease_again(journal: &dyn Journal) {
    let run = created(journal, Run { lease: Some(lease("worker-1", 60)), ..new_run(run_id(0, 1), EMAIL) }).await;
    for (until, now) in [(60, 0), (90, 10), (200, 100)] {
        let opened = leased(journal.open(run.id, &lease("worker-1", until), at(now)).await.unwrap());
        assert_eq!((opened.lease, opened.updated_at), (Some(lease("worker-1", until)), at(now)));
    }
}

/// A run that runs under no lease at all is not stuck.
pub async fn a_running_run_without_a_lease_can_be_leased(journal: &dyn Journal) {
    let run = created(journal, Run { status: Status::Running, ..new_run(run_id(0, 1), EMAIL) }).await;
    leased(journal.open(run.id, &lease("worker-1", 60), at(0)).await.unwrap());
}

/// A run that waits, needs attention or has ended is shown and stays as it is.
pub async fn a_run_that_rests_is_not_leased(journal: &dyn Journal) {
    for (number, status) in [Status::Waiting, Status::Attention, Status::Succeeded, Status::Failed, Status::Cancelled]
        .into_iter()
        .enumerate()
    {
        let run = Run { status, ..new_run(run_id(0, number as u128), EMAIL) };
        let run = created(journal, run).await;
        let opened = journal.open(run.id, &lease("worker-1", 60), at(5)).await.unwrap();
        assert_eq!(opened, Opened::Resting(Box::new(run.clone())));
        assert_eq!(found(journal, run.id).await, run);
    }
}

/// A run that waits until a moment is shown before it, and at it opened by anybody.
pub async fn a_run_that_waits_is_opened_when_due_and_not_before(journal: &dyn Journal) {
    let run = created(journal, new_run(run_id(0, 1), EMAIL)).await;
    leased(journal.open(run.id, &lease("worker-1", 600), at(0)).await.unwrap());
    let wait = Closing { due_at: Some(at(100)), ..closing(&[Status::Running], Status::Waiting) };
    assert!(journal.close(run.id, &wait, at(1)).await.unwrap());
    let waiting = found(journal, run.id).await;
    assert_eq!((waiting.status, waiting.due_at, &waiting.lease), (Status::Waiting, Some(at(100)), &None));
    let just_before = at(100) - jiff::SignedDuration::from_nanos(1);
    for now in [at(2), just_before] {
        let early = journal.open(run.id, &lease("worker-2", 600), now).await.unwrap();
        assert_eq!(early, Opened::Resting(Box::new(waiting.clone())));
    }
    assert_eq!(found(journal, run.id).await, waiting);
    let opened = leased(journal.open(run.id, &lease("worker-2", 600), at(100)).await.unwrap());
    assert_eq!((opened.status, opened.due_at, opened.lease), (Status::Running, None, Some(lease("worker-2", 600))));
    for (status, expected) in [(Status::Waiting, Vec::new()), (Status::Running, vec![run.id])] {
        let filter = RunFilter { status: Some(status), ..page_of(10) };
        assert_eq!(ids(journal, &filter).await, expected, "a run that waited in the list of {status}");
    }
}

/// Who waits for an answer and no moment is woken by closing alone: to queued, and then opened.
pub async fn a_run_that_waits_for_no_moment_is_never_opened(journal: &dyn Journal) {
    let run = created(journal, new_run(run_id(0, 1), EMAIL)).await;
    leased(journal.open(run.id, &lease("worker-1", 600), at(0)).await.unwrap());
    assert!(journal.close(run.id, &closing(&[Status::Running], Status::Waiting), at(1)).await.unwrap());
    let waiting = found(journal, run.id).await;
    for now in [at(2), at(1_000_000_000)] {
        let opened = journal.open(run.id, &lease("worker-2", 2_000_000_000), now).await.unwrap();
        assert_eq!(opened, Opened::Resting(Box::new(waiting.clone())));
    }
    assert!(journal.close(run.id, &closing(&[Status::Waiting], Status::Queued), at(3)).await.unwrap());
    leased(journal.open(run.id, &lease("worker-2", 600), at(3)).await.unwrap());
}

/// Twenty workers open the same run at once: one gets it.
pub async fn of_many_who_open_at_once_one_does(journal: &dyn Journal) {
    let run = created(journal, new_run(run_id(0, 1), EMAIL)).await;
    let leases: Vec<Lease> = (0..20).map(|number| lease(&format!("worker-{number}"), 60)).collect();
    let outcomes = join_all(leases.iter().map(|lease| journal.open(run.id, lease, at(0)))).await;
    let winners: Vec<Run> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            Ok(Opened::Leased(run)) => Some((**run).clone()),
            Ok(Opened::Busy { until }) if *until == at(60) => None,
            other => panic!("expected a lease or a busy run, got {other:?}"),
        })
        .collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(found(journal, run.id).await, winners[0]);
}

/// Twenty workers open the same run when its wait is over: one gets it.
pub async fn of_many_who_open_a_run_that_waits_one_does(journal: &dyn Journal) {
    let run = Run { status: Status::Waiting, due_at: Some(at(10)), ..new_run(run_id(0, 1), EMAIL) };
    let run = created(journal, run).await;
    let leases: Vec<Lease> = (0..20).map(|number| lease(&format!("worker-{number}"), 60)).collect();
    let outcomes = join_all(leases.iter().map(|lease| journal.open(run.id, lease, at(10)))).await;
    let winners = outcomes.iter().filter(|outcome| matches!(outcome, Ok(Opened::Leased(_)))).count();
    let busy = outcomes.iter().filter(|outcome| **outcome == Ok(Opened::Busy { until: at(60) })).count();
    assert_eq!((winners, busy), (1, 19));
}

/// A renewal prolongs the lease of its owner; to anybody else it says no and changes nothing.
pub async fn only_the_owner_renews(journal: &dyn Journal) {
    let run = created(journal, new_run(run_id(0, 1), EMAIL)).await;
    let renew =
        async |owner: &str, until: i64, now: i64| journal.renew(run.id, &lease(owner, until), at(now)).await.unwrap();
    let lost = |status| Renewed::Lost { status: Some(status) };
    assert_eq!(renew("worker-1", 60, 0).await, lost(Status::Queued), "nobody holds it yet");
    leased(journal.open(run.id, &lease("worker-1", 60), at(0)).await.unwrap());
    assert_eq!(renew("worker-2", 500, 10).await, lost(Status::Running));
    assert_eq!(found(journal, run.id).await.lease, Some(lease("worker-1", 60)));
    assert_eq!(renew("worker-1", 100, 10).await, Renewed::Held);
    let renewed = found(journal, run.id).await;
    assert_eq!((renewed.lease, renewed.updated_at), (Some(lease("worker-1", 100)), at(10)));
    let busy = journal.open(run.id, &lease("worker-2", 160), at(70)).await.unwrap();
    assert_eq!(busy, Opened::Busy { until: at(100) });

    // Late, but nobody took it meanwhile; then somebody does.
    assert_eq!(renew("worker-1", 150, 120).await, Renewed::Held);
    leased(journal.open(run.id, &lease("worker-2", 300), at(151)).await.unwrap());
    assert_eq!(renew("worker-1", 400, 152).await, lost(Status::Running));
}

/// Once a run is closed (cancelled, say), its worker learns so at the next renewal.
pub async fn a_renewal_tells_where_a_run_stands_that_is_no_longer_running(journal: &dyn Journal) {
    let others = Status::ALL.into_iter().filter(|status| *status != Status::Running);
    for (number, status) in others.enumerate() {
        let run = created(journal, new_run(run_id(0, number as u128), EMAIL)).await;
        leased(journal.open(run.id, &lease("worker-1", 60), at(0)).await.unwrap());
        assert!(journal.close(run.id, &closing(&[Status::Running], status), at(5)).await.unwrap());
        let closed = found(journal, run.id).await;
        let renewed = journal.renew(run.id, &lease("worker-1", 100), at(10)).await.unwrap();
        assert_eq!(renewed, Renewed::Lost { status: Some(status) });
        assert_eq!(found(journal, run.id).await, closed);
    }
}

// ── segments ─────────────────────────────────────────────────────────────────────────────────────────────────

/// What was appended is read as it was given: each entry in its place, the tenth segment after the second.
pub async fn segments_come_back_in_order_and_complete(journal: &dyn Journal) {
    let id = run_id(0, 1);
    let mut appended = Vec::new();
    for number in 0..12_u32 {
        let cancelled = Entry::Cancelled { by: "alice".to_owned(), at: at(i64::from(number)) };
        let mut entries = vec![
            Entry::Step(done(&format!("{:05}", 99 - number), "worker-1", json!(number))),
            Entry::Step(step("00003.00001.00000", StepState::Intended, "worker-2", Value::Null)),
            cancelled,
            Entry::Step(step("00003.00001.00000", StepState::Released, "worker-2", Value::Null)),
            Entry::Step(step("", StepState::Waiting, "", json!({"until": "2030-01-01T00:00:00Z"}))),
        ];
        entries.truncate(number as usize % 5 + 1);
        let segment = Segment { number, entries };
        written(journal, id, &segment).await;
        appended.push(segment);
        assert_eq!(journal.read(id, 0).await.unwrap(), appended);
    }
}

/// Whoever knows the first segments reads only those after them.
pub async fn segments_are_read_from_any_number_on(journal: &dyn Journal) {
    let id = run_id(0, 1);
    let segments: Vec<Segment> =
        (0..12).map(|number| segment(number, [done(&format!("{number:05}"), "worker-1", json!(number))])).collect();
    for segment in &segments {
        written(journal, id, segment).await;
    }
    for from in 0..=12 {
        assert_eq!(journal.read(id, from).await.unwrap(), segments[from as usize..]);
    }
    for beyond in [13, 1_000_000, u32::MAX] {
        assert_eq!(journal.read(id, beyond).await.unwrap(), []);
    }
}

/// The first segment of a number stands, whatever another one says.
pub async fn a_segments_number_is_taken_once(journal: &dyn Journal) {
    let id = run_id(0, 1);
    let first = segment(0, [done("00000", "worker-1", json!("first"))]);
    written(journal, id, &first).await;
    let others = [
        segment(0, [done("00000", "worker-2", json!("first"))]),
        segment(0, [done("00000", "worker-1", json!("second"))]),
        segment(0, [done("00007", "worker-2", json!("another step"))]),
        Segment { number: 0, entries: [first.entries.clone(), first.entries.clone()].concat() },
        Segment { number: 0, entries: vec![Entry::Cancelled { by: "alice".to_owned(), at: at(1) }] },
    ];
    for other in &others {
        assert_eq!(journal.append(id, other).await.unwrap(), Appended::Taken);
        assert_eq!(journal.read(id, 0).await.unwrap(), std::slice::from_ref(&first));
    }
    // The number after it is free for each of them.
    written(journal, id, &Segment { number: 1, ..others[0].clone() }).await;
}

/// Whoever does not know what became of an append asks again, and again much later.
pub async fn the_same_segment_appended_again_stands(journal: &dyn Journal) {
    let id = run_id(0, 1);
    let segments: Vec<Segment> = (0..4)
        .map(|number| {
            let value = [json!(0.1), json!({"b": 1, "a": 2}), bulky(600 * KIB), json!(null)][number as usize].clone();
            let entries = [done("00001", "worker-1", value), step("00002", StepState::Intended, "worker-1", json!(1))];
            segment(number, entries)
        })
        .collect();
    for segment in &segments {
        written(journal, id, segment).await;
        written(journal, id, segment).await;
    }
    for segment in &segments {
        written(journal, id, segment).await;
    }
    let mut reordered = segments[0].clone();
    reordered.entries.reverse();
    assert_eq!(journal.append(id, &reordered).await.unwrap(), Appended::Taken);
    assert!(journal.read(id, 0).await.unwrap() == segments, "each segment is there once");
}

/// Twenty append a segment of one number at once: one stands, the others are told that the number is taken.
pub async fn of_many_who_append_at_once_one_does(journal: &dyn Journal) {
    let id = run_id(0, 1);
    for number in 0..3 {
        let segments: Vec<Segment> = (0..20)
            .map(|worker| segment(number, [done("00000", &format!("worker-{worker}"), json!("the same"))]))
            .collect();
        let outcomes = join_all(segments.iter().map(|segment| journal.append(id, segment))).await;
        let winners: Vec<&Segment> = outcomes
            .iter()
            .zip(&segments)
            .filter_map(|(outcome, segment)| (*outcome == Ok(Appended::Written)).then_some(segment))
            .collect();
        assert_eq!(winners.len(), 1);
        assert_eq!(outcomes.iter().filter(|outcome| **outcome == Ok(Appended::Taken)).count(), 19);
        assert_eq!(journal.read(id, number).await.unwrap(), [winners[0].clone()]);
    }
}

/// Eight workers append five entries each, every one after what it has read: all are there, once, without gaps.
pub async fn many_who_append_make_a_journal_without_gaps(journal: &dyn Journal) {
    let id = run_id(0, 1);
    let work = async |worker: u32| {
        let mut history = History::default();
        for entry in 0..5 {
            let position = format!("{worker:05}.{entry:05}");
            loop {
                let segment = segment(history.next_segment(), [done(&position, &worker.to_string(), json!(entry))]);
                if journal.append(id, &segment).await.unwrap() == Appended::Written {
                    break;
                }
                // Others were first: it learns of them before it tries again.
                let missed = journal.read(id, history.next_segment()).await.unwrap();
                assert!(!missed.is_empty());
                missed.into_iter().for_each(|segment| history.apply(segment));
            }
        }
    };
    join_all((0..8).map(work)).await;
    let segments = journal.read(id, 0).await.unwrap();
    assert_eq!(segments.iter().map(|segment| segment.number).collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
    assert_eq!(History::of(segments).steps().count(), 40);
}

/// A journal from which something was lost is an error: whoever went on from it would do again what was done.
pub async fn a_journal_with_a_gap_is_not_read(journal: &dyn Journal) {
    let id = run_id(0, 1);
    for number in [0, 1, 3] {
        written(journal, id, &segment(number, [done("00000", "worker-1", json!(number))])).await;
    }
    for from in 0..3 {
        let failure = journal.read(id, from).await.unwrap_err();
        assert_eq!(failure.kind, Kind::Validation);
        assert!(failure.message.contains("no segment 2"), "{failure}");
    }
    assert_eq!(journal.read(id, 3).await.unwrap().len(), 1);
}

/// A journal may begin before its run: a cancellation may come first, or a worker be faster than its record.
pub async fn what_was_appended_before_a_run_was_made_is_its_journal(journal: &dyn Journal) {
    let id = run_id(0, 1);
    let result = done("00000", "worker-1", json!("early"));
    let cancelled = Entry::Cancelled { by: "alice".to_owned(), at: at(1) };
    let segments = [
        segment(0, [result.clone()]),
        Segment {
            number: 1,
            entries: vec![cancelled, Entry::Step(step("00001", StepState::Intended, "worker-1", Value::Null))],
        },
    ];
    for segment in &segments {
        written(journal, id, segment).await;
    }
    assert_eq!(journal.find(id).await.unwrap(), None, "a journal alone makes no run");
    let page = journal.list(&page_of(10)).await.unwrap();
    assert_eq!(page, Page::default());
    assert_eq!(journal.open(id, &lease("worker-1", 60), at(0)).await.unwrap_err().kind, Kind::NotFound);

    let run = created(journal, new_run(id, EMAIL)).await;
    assert_eq!(journal.read(id, 0).await.unwrap(), segments);
    let intent = step("00001", StepState::Intended, "worker-1", Value::Null);
    assert_eq!(journal.find(id).await.unwrap(), Some((run, vec![result, intent])));
}

/// Runs whose ids differ in their last character do not see each other's segments.
pub async fn segments_of_one_run_are_not_those_of_another(journal: &dyn Journal) {
    let [one, two] = [run_id(0, 1), run_id(0, 2)];
    let same = segment(0, [done("00000", "worker-1", json!(1))]);
    written(journal, one, &same).await;
    assert_eq!(journal.read(two, 0).await.unwrap(), []);
    written(journal, two, &same).await;
    written(journal, two, &Segment { number: 1, ..same.clone() }).await;
    assert_eq!(journal.read(one, 0).await.unwrap(), [same]);
}

/// A run is found with one entry for each position: the one that stands, in order of position.
pub async fn a_run_is_found_with_what_its_journal_comes_to(journal: &dyn Journal) {
    let run = created(journal, new_run(run_id(0, 1), TASK)).await;
    assert_eq!(steps_found(journal, run.id).await, []);
    let intent = |owner: &str| step("00002", StepState::Intended, owner, Value::Null);
    let segments = [
        segment(0, [done("00010", "worker-1", json!("last")), done("00003.00001.00000", "worker-1", json!("branch"))]),
        segment(1, [done("00003", "worker-1", json!("third")), intent("worker-1")]),
        segment(2, [step("00002", StepState::Released, "worker-1", Value::Null)]),
        segment(3, [intent("worker-2"), step("00004", StepState::Waiting, "worker-2", json!("until"))]),
        segment(4, [intent("worker-3"), done("00010", "worker-3", json!("late"))]),
        segment(5, [done("00002", "delivery event", json!({"message_id": "m1"})), done("00004", "bob", json!("yes"))]),
    ];
    for segment in &segments {
        written(journal, run.id, segment).await;
    }
    let expected = [
        done("00002", "delivery event", json!({"message_id": "m1"})),
        done("00003", "worker-1", json!("third")),
        done("00003.00001.00000", "worker-1", json!("branch")),
        done("00004", "bob", json!("yes")),
        done("00010", "worker-1", json!("last")),
    ];
    assert_eq!(History::of(segments).into_steps(), expected);
    assert_eq!(journal.find(run.id).await.unwrap(), Some((run, expected.to_vec())));
}

/// The outcome of an effect may come when nobody works on its run any more, or when it has ended.
pub async fn a_journal_is_appended_to_whatever_the_runs_status(journal: &dyn Journal) {
    for (run_number, status) in Status::ALL.into_iter().enumerate() {
        let run = created(journal, Run { status, ..new_run(run_id(0, run_number as u128), EMAIL) }).await;
        written(journal, run.id, &segment(0, [done("00000", "delivery event", json!(status.name()))])).await;
        assert_eq!(found(journal, run.id).await, run, "the record stays as it is");
        assert_eq!(steps_found(journal, run.id).await.len(), 1);
    }
}

/// A thousand entries appended at once come back, in their order.
pub async fn a_segment_of_a_thousand_entries_survives(journal: &dyn Journal) {
    let id = run_id(0, 1);
    let entries = (0..1000).map(|number| done(&format!("{:05}", 999 - number), "worker-1", json!({"number": number})));
    let thousand = segment(0, entries);
    written(journal, id, &thousand).await;
    assert_eq!(journal.read(id, 0).await.unwrap(), [thousand]);
}

/// So much that no database answers it in one go.
pub async fn a_journal_of_many_large_segments_survives(journal: &dyn Journal) {
    let run = created(journal, new_run(run_id(0, 1), EMAIL)).await;
    let large = bulky(100 * KIB);
    let segments: Vec<Segment> = (0..30)
        .map(|number| segment(number, [done(&format!("{number:05}"), "worker-1", json!([number, large]))]))
        .collect();
    for segment in &segments {
        written(journal, run.id, segment).await;
    }
    assert!(journal.read(run.id, 0).await.unwrap() == segments, "30 segments of 100 KiB come back, in order");
    assert!(journal.read(run.id, 17).await.unwrap() == segments[17..], "and the later ones of them");
    assert!(steps_found(journal, run.id).await == History::of(segments).into_steps(), "and are found with the run");
}

/// Who cancelled a run, and when to the nanosecond, is in its journal; two who do are told apart.
pub async fn markers_of_cancellation_survive(journal: &dyn Journal) {
    let id = run_id(0, 1);
    let mut segments = Vec::new();
    for (number, by) in hostile_texts().into_iter().enumerate() {
        let at = at(0) + jiff::SignedDuration::from_nanos(number as i64 + 1);
        let cancelled = |by: &str, at| Entry::Cancelled { by: by.to_owned(), at };
        let segment = Segment { number: number as u32, entries: vec![cancelled(&by, at)] };
        written(journal, id, &segment).await;
        let others = [cancelled(&format!("{by}!"), at), cancelled(&by, at + jiff::SignedDuration::from_nanos(1))];
        for other in others {
            let other = Segment { entries: vec![other], ..segment };
            assert_eq!(journal.append(id, &other).await.unwrap(), Appended::Taken);
        }
        segments.push(segment);
    }
    assert_eq!(journal.read(id, 0).await.unwrap(), segments);
    assert!(History::of(segments).is_cancelled());
}

/// What a run was closed with is found beside its journal; what the journal says of the same position stands.
pub async fn last_entries_are_found_and_override_nothing(journal: &dyn Journal) {
    let run = created(journal, new_run(run_id(0, 1), EMAIL)).await;
    leased(journal.open(run.id, &lease("worker-1", 60), at(0)).await.unwrap());
    let journaled = [
        done("00000", "worker-1", json!("journaled")),
        step("00001", StepState::Intended, "worker-1", Value::Null),
        step("00002", StepState::Released, "worker-1", Value::Null),
    ];
    written(journal, run.id, &segment(0, journaled.clone())).await;
    let texts = hostile_texts().into_iter().enumerate();
    let hostile: Vec<StepRecord> = texts
        .map(|(number, text)| StepRecord { name: text.clone(), ..done(&format!("1{number:04}"), &text, Value::Null) })
        .collect();
    let last = [
        done("00000", "worker-2", json!("another")),
        done("00001", "worker-2", Value::Null),
        step("00002", StepState::Intended, "worker-2", Value::Null),
        done("00003", "worker-2", Value::Null),
    ];
    let last_entries = [last.to_vec(), hostile.clone()].concat();
    let end = Closing { last_entries, ..closing(&[Status::Running], Status::Succeeded) };
    assert!(journal.close(run.id, &end, at(1)).await.unwrap());
    let expected = [vec![journaled[0].clone()], last[1..].to_vec(), hostile].concat();
    assert_eq!(steps_found(journal, run.id).await, expected);
    assert_eq!(journal.read(run.id, 0).await.unwrap(), [segment(0, journaled)], "the journal itself has none of them");

    // More of the journal may come after the end, and stands as well.
    let late = done("00003", "delivery event", json!("late"));
    written(journal, run.id, &segment(1, [late.clone()])).await;
    assert_eq!(steps_found(journal, run.id).await[3], late);
}

/// A closing says all of a run's last entries: those of a former one are gone, and a refused one changes none.
pub async fn last_entries_last_until_the_next_closing(journal: &dyn Journal) {
    let run = created(journal, Run { status: Status::Running, ..new_run(run_id(0, 1), EMAIL) }).await;
    let last = |positions: &[&str]| positions.iter().map(|at| done(at, "worker-1", Value::Null)).collect::<Vec<_>>();
    let end = |from: Status, last_entries| Closing { last_entries, ..closing(&[from], Status::Failed) };
    assert!(journal.close(run.id, &end(Status::Running, last(&["00000", "00001"])), at(1)).await.unwrap());
    assert!(!journal.close(run.id, &end(Status::Running, last(&["00002"])), at(2)).await.unwrap());
    assert_eq!(steps_found(journal, run.id).await, last(&["00000", "00001"]));
    assert!(journal.close(run.id, &end(Status::Failed, last(&["00002"])), at(3)).await.unwrap());
    assert_eq!(steps_found(journal, run.id).await, last(&["00002"]));
    assert!(journal.close(run.id, &end(Status::Failed, Vec::new()), at(4)).await.unwrap());
    assert_eq!(steps_found(journal, run.id).await, []);
}

// ── close ────────────────────────────────────────────────────────────────────────────────────────────────────

/// From any other status, closing says no and changes nothing.
pub async fn a_run_closes_only_from_the_statuses_named(journal: &dyn Journal) {
    for (number, status) in Status::ALL.into_iter().enumerate() {
        let run = created(journal, Run { status, ..new_run(run_id(0, number as u128), EMAIL) }).await;
        let others: Vec<Status> = Status::ALL.into_iter().filter(|other| *other != status).collect();
        let denied = Closing { counts_as_failed: true, ..closing(&others, Status::Failed) };
        assert!(!journal.close(run.id, &denied, at(5)).await.unwrap());
        assert!(!journal.close(run.id, &closing(&[], Status::Failed), at(5)).await.unwrap());
        assert_eq!(found(journal, run.id).await, run);
        assert!(journal.close(run.id, &closing(&[Status::Failed, status], Status::Queued), at(6)).await.unwrap());
        let closed = found(journal, run.id).await;
        assert_eq!((closed.status, closed.updated_at), (Status::Queued, at(6)));
    }
}

/// `None` for the error, the usage and the footprint keeps what stands.
pub async fn closing_keeps_what_it_does_not_name(journal: &dyn Journal) {
    let run = created(journal, Run { status: Status::Running, ..new_run(run_id(0, 1), EMAIL) }).await;
    let error = Failure::new(Kind::Timeout, "the model took too long").in_step("analyze_email");
    let usage = Usage { api_calls: 2, input_tokens: 300, output_tokens: 40, ..Usage::default() };
    let footprint = Footprint { store_calls: 3, working_ms: 40, peak_memory_bytes: 1 << 24 };
    let first = Closing {
        error: Some(error.clone()),
        usage: Some(usage),
        footprint: Some(footprint),
        ..closing(&[Status::Running], Status::Queued)
    };
    assert!(journal.close(run.id, &first, at(5)).await.unwrap());
    leased(journal.open(run.id, &lease("worker-2", 60), at(6)).await.unwrap());
    let last = Closing { result: Some(json!({"ok": 1})), ..closing(&[Status::Running], Status::Succeeded) };
    assert!(journal.close(run.id, &last, at(7)).await.unwrap());
    let expected = Run {
        status: Status::Succeeded,
        error: Some(error),
        usage,
        footprint,
        result: Some(json!({"ok": 1})),
        updated_at: at(7),
        finished_at: Some(at(7)),
        ..run.clone()
    };
    assert_eq!(found(journal, run.id).await, expected);

    // What is named replaces what stands.
    let other = Failure::validation("not so");
    let again = Closing {
        error: Some(other.clone()),
        usage: Some(Usage::default()),
        footprint: Some(Footprint::default()),
        ..closing(&[Status::Succeeded], Status::Failed)
    };
    assert!(journal.close(run.id, &again, at(8)).await.unwrap());
    let replaced = found(journal, run.id).await;
    assert_eq!((replaced.error, replaced.usage, replaced.result), (Some(other), Usage::default(), None));
    assert_eq!(replaced.footprint, Footprint::default());
}

/// An attempt counts as failed when, and only when, its closing says so.
pub async fn closing_counts_failed_attempts(journal: &dyn Journal) {
    let run = created(journal, new_run(run_id(0, 1), EMAIL)).await;
    for (attempt, (counts_as_failed, expected)) in [(true, 1), (false, 1), (true, 2), (true, 3)].into_iter().enumerate()
    {
        let now = at(attempt as i64);
        leased(journal.open(run.id, &lease("worker-1", 600), now).await.unwrap());
        let end = Closing { counts_as_failed, ..closing(&[Status::Running], Status::Queued) };
        assert!(journal.close(run.id, &end, now).await.unwrap());
        assert_eq!(found(journal, run.id).await.failed_attempts, expected);
    }
}

/// Whoever comes next need not wait for the lease of an attempt that has ended.
pub async fn a_closed_run_has_no_lease(journal: &dyn Journal) {
    let run = created(journal, new_run(run_id(0, 1), EMAIL)).await;
    leased(journal.open(run.id, &lease("worker-1", 600), at(0)).await.unwrap());
    assert!(journal.close(run.id, &closing(&[Status::Running], Status::Queued), at(1)).await.unwrap());
    assert_eq!(found(journal, run.id).await.lease, None);
    leased(journal.open(run.id, &lease("worker-2", 600), at(2)).await.unwrap());
}

/// A run that was put back until a moment is not opened before it, and at it by anybody.
pub async fn a_run_that_is_not_due_waits(journal: &dyn Journal) {
    let run = created(journal, new_run(run_id(0, 1), EMAIL)).await;
    leased(journal.open(run.id, &lease("worker-1", 600), at(0)).await.unwrap());
    let wait = Closing { due_at: Some(at(100)), ..closing(&[Status::Running], Status::Queued) };
    assert!(journal.close(run.id, &wait, at(1)).await.unwrap());
    assert_eq!(found(journal, run.id).await.due_at, Some(at(100)));
    let early = journal.open(run.id, &lease("worker-2", 600), at(99)).await.unwrap();
    assert_eq!(early, Opened::Busy { until: at(100) });
    let opened = leased(journal.open(run.id, &lease("worker-2", 600), at(100)).await.unwrap());
    assert_eq!(opened.due_at, None);
}

/// An attempt that was taken over cannot end or requeue the run of its successor.
pub async fn who_lost_the_lease_does_not_close(journal: &dyn Journal) {
    let run = created(journal, new_run(run_id(0, 1), EMAIL)).await;
    leased(journal.open(run.id, &lease("worker-1", 10), at(0)).await.unwrap());
    leased(journal.open(run.id, &lease("worker-2", 600), at(20)).await.unwrap());
    let of = |owner: &str| Closing { owner: Some(owner.to_owned()), ..closing(&[Status::Running], Status::Failed) };
    assert!(!journal.close(run.id, &of("worker-1"), at(21)).await.unwrap());
    assert_eq!(found(journal, run.id).await.status, Status::Running);
    assert!(journal.close(run.id, &of("worker-2"), at(22)).await.unwrap());
}

/// `finished_at` is when the run ended; a run that goes on has none.
pub async fn a_final_status_has_its_moment(journal: &dyn Journal) {
    let run = created(journal, new_run(run_id(0, 1), EMAIL)).await;
    for (number, status) in Status::ALL.into_iter().enumerate() {
        let now = at(number as i64 + 1);
        assert!(journal.close(run.id, &closing(&Status::ALL, status), now).await.unwrap());
        let expected = status.is_final().then_some(now);
        assert_eq!(found(journal, run.id).await.finished_at, expected, "{status}");
    }
}

/// Twenty close the same run at once: one does.
pub async fn of_many_who_close_at_once_one_does(journal: &dyn Journal) {
    let run = created(journal, Run { status: Status::Running, ..new_run(run_id(0, 1), EMAIL) }).await;
    let closings: Vec<Closing> = (0..20)
        .map(|number| Closing {
            result: Some(json!(number)),
            counts_as_failed: true,
            ..closing(&[Status::Running], Status::Succeeded)
        })
        .collect();
    let outcomes = join_all(closings.iter().map(|closing| journal.close(run.id, closing, at(1)))).await;
    let winners: Vec<&Closing> = outcomes
        .iter()
        .zip(&closings)
        .filter_map(|(outcome, closing)| (*outcome == Ok(true)).then_some(closing))
        .collect();
    assert_eq!(winners.len(), 1);
    let closed = found(journal, run.id).await;
    assert_eq!((closed.result, closed.failed_attempts), (winners[0].result.clone(), 1));
}

/// A letter is owed from the closing that says so until it was sent, or another closing says otherwise.
pub async fn a_letter_is_owed_until_it_was_sent(journal: &dyn Journal) {
    let run = created(journal, Run { status: Status::Running, ..new_run(run_id(0, 1), EMAIL) }).await;
    let owing = |from| Closing { owes_letter: true, ..closing(&[from], Status::Failed) };
    assert!(journal.close(run.id, &owing(Status::Running), at(1)).await.unwrap());
    let failed = found(journal, run.id).await;
    assert!(failed.owes_letter);
    for _ in 0..2 {
        journal.letter_sent(run.id).await.unwrap();
        assert_eq!(found(journal, run.id).await, Run { owes_letter: false, ..failed.clone() });
    }
    assert!(journal.close(run.id, &owing(Status::Failed), at(2)).await.unwrap());
    assert!(found(journal, run.id).await.owes_letter);
    assert!(journal.close(run.id, &closing(&[Status::Failed], Status::Queued), at(3)).await.unwrap());
    assert!(!found(journal, run.id).await.owes_letter);
}

// ── list ─────────────────────────────────────────────────────────────────────────────────────────────────────

async fn ids(journal: &dyn Journal, filter: &RunFilter) -> Vec<RunId> {
    journal.list(filter).await.unwrap().runs.iter().map(|run| run.id).collect()
}

/// Every page, each no longer than the limit, and each but the last leading to the next.
async fn all_pages(journal: &dyn Journal, filter: &RunFilter) -> Vec<RunId> {
    let mut filter = filter.clone();
    let mut found = Vec::new();
    loop {
        let page = journal.list(&filter).await.unwrap();
        assert!(page.runs.len() <= filter.limit);
        found.extend(page.runs.iter().map(|run| run.id));
        assert!(found.len() <= 10_000, "the pages never end");
        match page.next {
            Some(next) => filter.before = Some(next),
            None => return found,
        }
    }
}

/// The order is that of the ids, whatever the order of creation.
pub async fn lists_are_newest_first(journal: &dyn Journal) {
    let mut expected = Vec::new();
    for seconds in [5, 1, 9, 3, 7] {
        for (number, workflow) in WorkflowType::ALL.into_iter().enumerate() {
            let id = run_id(seconds, number as u128 * 7 + seconds.unsigned_abs() as u128);
            expected.push(created(journal, new_run(id, workflow)).await.id);
        }
    }
    expected.sort_unstable();
    expected.reverse();
    assert_eq!(ids(journal, &page_of(100)).await, expected);
}

/// A summary says what the run says, also when it failed.
pub async fn lists_show_what_the_run_says(journal: &dyn Journal) {
    let run = created(journal, Run { status: Status::Running, ..new_run(run_id(0, 1), DOCUMENT) }).await;
    let failed = Closing {
        error: Some(Failure::new(Kind::Refused, "the model declined")),
        counts_as_failed: true,
        ..Closing::new(DOCUMENT, [Status::Running], Status::Failed)
    };
    assert!(journal.close(run.id, &failed, at(5)).await.unwrap());
    let expected = Summary::from(&found(journal, run.id).await);
    assert_eq!(
        (expected.error_kind, expected.failed_attempts, expected.finished_at),
        (Some(Kind::Refused), 1, Some(at(5)))
    );
    for status in [None, Some(Status::Failed)] {
        let page = journal.list(&RunFilter { status, ..page_of(10) }).await.unwrap();
        assert_eq!(page, Page { runs: vec![expected.clone()], next: None });
    }
}

/// Each filter alone shows what it names, completely.
pub async fn lists_can_be_filtered(journal: &dyn Journal) {
    let mut runs = Vec::new();
    for (number, status) in Status::ALL.into_iter().enumerate() {
        for workflow in WorkflowType::ALL {
            let id = run_id(number as i64 * 10, runs.len() as u128 * 13);
            let mut run = Run { status, ..new_run(id, workflow) };
            run.origin.caller = ["alice", "bob#1", ""][runs.len() % 3].to_owned();
            runs.push(created(journal, run).await);
        }
    }
    runs.reverse();
    let expect = async |filter: RunFilter, keep: &dyn Fn(&Run) -> bool| {
        let expected: Vec<RunId> = runs.iter().filter(|run| keep(run)).map(|run| run.id).collect();
        assert!(!expected.is_empty());
        assert_eq!(ids(journal, &filter).await, expected, "{filter:?}");
        assert_eq!(all_pages(journal, &RunFilter { limit: 2, ..filter.clone() }).await, expected, "{filter:?}");
    };
    for workflow in WorkflowType::ALL {
        expect(RunFilter { workflow: Some(workflow), ..page_of(100) }, &|run| run.workflow == workflow).await;
    }
    for status in Status::ALL {
        expect(RunFilter { status: Some(status), ..page_of(100) }, &|run| run.status == status).await;
    }
    for caller in ["alice", "bob#1", ""] {
        let filter = RunFilter { caller: Some(caller.to_owned()), ..page_of(100) };
        expect(filter, &|run| run.origin.caller == caller).await;
    }
    for since in [-5, 0, 20, 25] {
        expect(RunFilter { since: Some(at(since)), ..page_of(100) }, &|run| run.id.made_at() >= at(since)).await;
    }
    let middle = runs[7].id;
    expect(RunFilter { before: Some(middle), ..page_of(100) }, &|run| run.id < middle).await;
    assert_eq!(ids(journal, &RunFilter { caller: Some("nobody".to_owned()), ..page_of(100) }).await, []);
    assert_eq!(ids(journal, &RunFilter { since: Some(at(1000)), ..page_of(100) }).await, []);
}

/// Filters together show what all of them name.
pub async fn filters_hold_together(journal: &dyn Journal) {
    let mut runs = Vec::new();
    for number in 0..60_u32 {
        let status = [Status::Failed, Status::Queued, Status::Succeeded][number as usize % 3];
        let workflow = [EMAIL, TASK][number as usize / 3 % 2];
        let mut run = Run { status, ..new_run(run_id(i64::from(number), u128::from(number) * 31), workflow) };
        run.origin.caller = ["alice", "bob"][number as usize / 6 % 2].to_owned();
        runs.push(created(journal, run).await);
    }
    runs.reverse();
    for status in [Status::Failed, Status::Succeeded] {
        let filter = RunFilter {
            workflow: Some(TASK),
            status: Some(status),
            caller: Some("bob".to_owned()),
            since: Some(at(12)),
            before: Some(runs[9].id),
            limit: 2,
        };
        let expected: Vec<RunId> = runs
            .iter()
            .filter(|run| {
                run.workflow == TASK
                    && run.status == status
                    && run.origin.caller == "bob"
                    && run.id.made_at() >= at(12)
                    && run.id < runs[9].id
            })
            .map(|run| run.id)
            .collect();
        assert!(expected.len() > 2);
        assert_eq!(all_pages(journal, &filter).await, expected);
    }
    // A range that holds nothing is an empty page, not an error.
    let nothing = RunFilter { since: Some(at(50)), before: Some(runs[40].id), ..page_of(10) };
    assert_eq!(journal.list(&nothing).await.unwrap(), Page::default());
}

/// 250 runs of every workflow and shard, by pages of every size: each run once.
pub async fn pages_are_complete_without_repeats(journal: &dyn Journal) {
    let runs: Vec<Run> = (0..250_u32)
        .map(|number| {
            let status = if number % 5 == 0 { Status::Attention } else { Status::Succeeded };
            let workflow = WorkflowType::ALL[number as usize % 3];
            // Clumps: many runs of one shard in a row, so that the shards' pages end at different moments.
            let random = u128::from(number / 20 % 4 + 4 * number);
            Run { status, ..new_run(run_id(i64::from(number / 2), random), workflow) }
        })
        .collect();
    for outcome in join_all(runs.iter().map(|run| journal.create(run))).await {
        assert_eq!(outcome.unwrap(), Created::New);
    }
    let expect = async |filter: RunFilter, keep: &dyn Fn(&Run) -> bool| {
        let mut expected: Vec<RunId> = runs.iter().filter(|run| keep(run)).map(|run| run.id).collect();
        expected.sort_unstable();
        expected.reverse();
        let shown = all_pages(journal, &filter).await;
        assert_eq!(shown.iter().collect::<BTreeSet<_>>().len(), shown.len(), "no run comes twice");
        assert_eq!(shown, expected, "{filter:?}");
    };
    for limit in [1, 7, 50, 100] {
        expect(page_of(limit), &|_| true).await;
    }
    for workflow in WorkflowType::ALL {
        expect(RunFilter { workflow: Some(workflow), ..page_of(9) }, &|run| run.workflow == workflow).await;
    }
    for status in [Status::Attention, Status::Succeeded] {
        expect(RunFilter { status: Some(status), ..page_of(11) }, &|run| run.status == status).await;
    }
}

/// Among a thousand runs that ended, the few that run are found: every page is short, and the last one ends.
pub async fn a_rare_status_is_found_page_by_page(journal: &dyn Journal) {
    let runs: Vec<Run> = (0..1000_u32)
        .map(|number| {
            let status = if number % 400 == 7 { Status::Running } else { Status::Succeeded };
            Run { status, ..new_run(run_id(i64::from(number), u128::from(number)), EMAIL) }
        })
        .collect();
    for some in runs.chunks(50) {
        for outcome in join_all(some.iter().map(|run| journal.create(run))).await {
            assert_eq!(outcome.unwrap(), Created::New);
        }
    }
    let of = |status| runs.iter().rev().filter(move |run| run.status == status).map(|run| run.id).collect::<Vec<_>>();
    for (status, limit) in [(Status::Running, 1), (Status::Running, 10), (Status::Succeeded, 100), (Status::Queued, 5)]
    {
        for workflow in [None, Some(EMAIL)] {
            let filter = RunFilter { status: Some(status), workflow, ..page_of(limit) };
            assert_eq!(all_pages(journal, &filter).await, of(status), "{filter:?}");
        }
    }
}

/// Runs made in the same millisecond have an order too, and a page may end between them.
pub async fn runs_of_one_millisecond_are_paged_too(journal: &dyn Journal) {
    let mut expected = Vec::new();
    for random in [0, 1, 2, 3, u128::MAX >> 48, 77, 78, 79, 80] {
        expected.push(created(journal, new_run(run_id(0, random), EMAIL)).await.id);
    }
    expected.sort_unstable();
    expected.reverse();
    for limit in [1, 2, 100] {
        assert_eq!(all_pages(journal, &page_of(limit)).await, expected);
        let since = RunFilter { since: Some(at(0)), ..page_of(limit) };
        assert_eq!(all_pages(journal, &since).await, expected, "the moment itself is included");
    }
}

/// A run stands in the list of the status that it has, and in no other.
pub async fn a_status_that_changes_moves_between_lists(journal: &dyn Journal) {
    let run = created(journal, new_run(run_id(0, 1), EMAIL)).await;
    let check = async |status: Status| {
        for other in Status::ALL {
            let expected = if other == status { vec![run.id] } else { Vec::new() };
            let filter = RunFilter { status: Some(other), ..page_of(10) };
            assert_eq!(ids(journal, &filter).await, expected, "a run that is {status} in the list of {other}");
        }
    };
    check(Status::Queued).await;
    leased(journal.open(run.id, &lease("worker-1", 60), at(0)).await.unwrap());
    check(Status::Running).await;
    for status in
        [Status::Waiting, Status::Queued, Status::Attention, Status::Failed, Status::Succeeded, Status::Cancelled]
    {
        assert!(journal.close(run.id, &closing(&Status::ALL, status), at(1)).await.unwrap());
        check(status).await;
    }
}

/// A journal without runs lists none, whatever is asked.
pub async fn an_empty_list_is_an_empty_page(journal: &dyn Journal) {
    let filters = [
        page_of(1),
        RunFilter { status: Some(Status::Failed), ..page_of(100) },
        RunFilter { status: Some(Status::Queued), workflow: Some(EMAIL), ..page_of(100) },
        RunFilter { before: Some(run_id(0, 0)), since: Some(jiff::Timestamp::MIN), ..page_of(100) },
    ];
    for filter in filters {
        assert_eq!(journal.list(&filter).await.unwrap(), Page::default());
    }
}

// ── values ───────────────────────────────────────────────────────────────────────────────────────────────────

/// Any text may stand wherever a text comes from outside.
pub async fn hostile_texts_survive(journal: &dyn Journal) {
    for (number, text) in hostile_texts().into_iter().enumerate() {
        let id = run_id(0, number as u128);
        let run = Run {
            data_id: text.clone(),
            origin: Origin { trigger: Trigger::Event, id: text.clone(), caller: text.clone() },
            input: json!({ text.clone(): text }),
            ..new_run(id, EMAIL)
        };
        let run = created(journal, run).await;
        let lease = Lease { owner: text.clone(), until: at(60) };
        let opened = leased(journal.open(id, &lease, at(0)).await.unwrap());
        assert_eq!(opened, Run { status: Status::Running, lease: Some(lease.clone()), ..run.clone() });
        assert_eq!(journal.renew(id, &lease, at(0)).await.unwrap(), Renewed::Held);

        let record = StepRecord { name: text.clone(), ..done(&text, &text, json!({ text.clone(): text })) };
        let segment = segment(0, [record.clone()]);
        written(journal, id, &segment).await;
        written(journal, id, &segment).await;
        assert_eq!(journal.read(id, 0).await.unwrap(), [segment]);
        assert_eq!(steps_found(journal, id).await, [record]);

        let error = Failure::new(Kind::Unknown, text.clone()).in_step(&text);
        let failed = Closing { error: Some(error.clone()), ..closing(&[Status::Running], Status::Failed) };
        assert!(journal.close(id, &failed, at(1)).await.unwrap());
        assert_eq!(found(journal, id).await.error, Some(error));
        for status in [None, Some(Status::Failed)] {
            let filter = RunFilter { caller: Some(text.clone()), status, ..page_of(100) };
            let page = journal.list(&filter).await.unwrap();
            assert_eq!(page.runs.iter().map(|run| run.id).collect::<Vec<_>>(), [id]);
            assert_eq!(page.runs[0].data_id, text);
        }
    }
}

/// Values come back as they were: integers above 2^53, the finest floats, empty names, deep nesting.
pub async fn delicate_values_survive(journal: &dyn Journal) {
    for (number, value) in delicate_values().into_iter().enumerate() {
        values_survive(journal, run_id(0, number as u128), &value).await;
    }
}

/// Inputs, outputs and results of 1 KiB to 5 MiB come back as they were, whether they compress or not.
pub async fn large_values_survive(journal: &dyn Journal) {
    for (number, bytes) in SIZES.into_iter().enumerate() {
        values_survive(journal, run_id(0, number as u128), &bulky(bytes)).await;
        values_survive(journal, run_id(1, number as u128), &monotonous(bytes)).await;
    }
}

async fn values_survive(journal: &dyn Journal, id: RunId, value: &Value) {
    // `assert!` where values are compared: a message with 5 MiB in it helps nobody.
    let run = created(journal, Run { input: value.clone(), ..new_run(id, DOCUMENT) }).await;
    let Created::Existing(existing) = journal.create(&run).await.unwrap() else { panic!("it exists") };
    assert!(existing.input == *value, "a second creation is told the input");
    let opened = leased(journal.open(id, &lease("worker-1", 60), at(0)).await.unwrap());
    assert!(opened.input == *value, "opening shows the input");

    let segments = [
        segment(0, [done("00000", "worker-1", value.clone())]),
        segment(1, [step("00001", StepState::Waiting, "worker-1", value.clone()), done("00002", "worker-1", json!(1))]),
    ];
    for segment in &segments {
        written(journal, id, segment).await;
        written(journal, id, segment).await;
    }
    assert!(journal.read(id, 0).await.unwrap() == segments, "the journal shows the outputs");

    let succeeded = Closing { result: Some(value.clone()), ..closing(&[Status::Running], Status::Succeeded) };
    assert!(journal.close(id, &succeeded, at(1)).await.unwrap());
    let closed = found(journal, id).await;
    assert!(closed.input == *value, "the closed run has its input");
    let steps = journal.find(id).await.unwrap().unwrap().1;
    assert!(steps == History::of(segments).into_steps(), "the run is found with the outputs");
    // A result that is null and no result are told apart.
    assert!(closed.result.as_ref() == Some(value), "the closed run has its result");
}

/// Moments come back to the nanosecond, also those of leases.
pub async fn moments_keep_their_nanoseconds(journal: &dyn Journal) {
    for (number, nanoseconds) in [1, 999_999_999, 120_000_000, 0].into_iter().enumerate() {
        let moment = at(0) + jiff::SignedDuration::from_nanos(nanoseconds);
        let run = Run {
            created_at: moment,
            updated_at: moment,
            finished_at: Some(moment),
            ..new_run(run_id(0, number as u128), EMAIL)
        };
        let run = created(journal, run).await;
        assert_eq!(found(journal, run.id).await, run);
        let until = moment + jiff::SignedDuration::from_secs(60);
        let held = Lease { owner: "worker-1".to_owned(), until };
        let opened = leased(journal.open(run.id, &held, moment).await.unwrap());
        assert_eq!((opened.lease, opened.updated_at), (Some(held), moment));
        let busy = journal.open(run.id, &lease("worker-2", 90), moment).await.unwrap();
        assert_eq!(busy, Opened::Busy { until });
        let record = StepRecord { started_at: moment, ..done("00000", "worker-1", json!(1)) };
        written(journal, run.id, &segment(0, [record.clone()])).await;
        assert_eq!(steps_found(journal, run.id).await, [record]);
        let wait = Closing { due_at: Some(until), ..closing(&[Status::Running], Status::Waiting) };
        assert!(journal.close(run.id, &wait, moment).await.unwrap());
        let waiting = found(journal, run.id).await;
        assert_eq!((waiting.due_at, waiting.updated_at), (Some(until), moment));
        assert!(journal.close(run.id, &closing(&[Status::Waiting], Status::Cancelled), until).await.unwrap());
        let ended = found(journal, run.id).await;
        assert_eq!((ended.finished_at, ended.updated_at, ended.due_at), (Some(until), until, None));
    }
}

#[cfg(test)]
mod memory {
    use crate::memory::MemoryJournal;

    journal_contract!(async { MemoryJournal::new() });
}
