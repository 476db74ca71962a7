//! What must be true of every [`Journal`].

use std::collections::BTreeSet;

use futures::future::join_all;
use ihelper_workflow::{
    domain::{
        Failure, Kind, Run, RunId, Status, WorkflowType,
        run::{Lease, Origin, StepRecord, StepState, Summary, Trigger, Usage},
    },
    ports::{Closing, Created, Intended, Journal, Opened, Page, Recorded, RunFilter},
};
use serde_json::{Value, json};

use super::{DOCUMENT, EMAIL, SIZES, TASK, at, bulky, delicate_values, hostile_texts, monotonous, run_id};

/// Makes a test of every case of the journal's contract, each on a journal that the expression makes anew.
#[macro_export]
macro_rules! journal_contract {
    ($port:expr) => {
        $crate::contract_tests! { $port, journal:
            a_new_run_is_found_as_it_was_given,
            a_run_is_created_once,
            a_run_that_does_not_exist_is_not_found,
            of_many_who_create_at_once_one_does,
            a_queued_run_can_be_leased,
            a_leased_run_is_busy_for_others,
            a_lease_ends_at_its_moment,
            the_same_owner_takes_its_lease_again,
            a_running_run_without_a_lease_can_be_leased,
            a_run_that_rests_is_not_leased,
            of_many_who_open_at_once_one_does,
            only_the_owner_renews,
            a_run_that_is_no_longer_running_is_not_renewed,
            the_first_result_of_a_step_stands,
            of_many_who_record_at_once_one_does,
            a_result_is_not_recorded_over_an_intent,
            an_intent_is_written_once,
            a_released_intent_can_be_intended_again,
            of_many_who_intend_at_once_one_does,
            an_intent_is_settled_once,
            an_intent_that_was_released_stays_released,
            nothing_is_settled_without_an_intent,
            steps_come_in_order_of_position,
            steps_of_one_run_are_not_those_of_another,
            a_run_closes_only_from_the_statuses_named,
            closing_keeps_what_it_does_not_name,
            closing_counts_failed_attempts,
            a_closed_run_has_no_lease,
            a_run_that_is_not_due_waits,
            who_lost_the_lease_does_not_close,
            a_final_status_has_its_moment,
            of_many_who_close_at_once_one_does,
            lists_are_newest_first,
            lists_show_what_the_run_says,
            lists_can_be_filtered,
            filters_hold_together,
            pages_are_complete_without_repeats,
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
        input: json!({"id": format!("data-{id}"), "description": "tidy up"}),
        result: None,
        error: None,
        failed_attempts: 0,
        usage: Usage::default(),
        lease: None,
        due_at: None,
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
        state,
        output,
        owner: owner.to_owned(),
        started_at: at(1),
        duration_ms: 12,
        usage: Usage { api_calls: 1, input_tokens: 20, output_tokens: 3 },
    }
}

fn closing(from: &[Status], status: Status) -> Closing {
    Closing::new(from, status)
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
        usage: Usage { api_calls: 4, input_tokens: u64::MAX, output_tokens: 9_007_199_254_740_993 },
        lease: Some(lease("worker-1", 60)),
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

/// What is not there is not found, has no steps, cannot be opened, renewed or closed.
pub async fn a_run_that_does_not_exist_is_not_found(journal: &dyn Journal) {
    let id = run_id(0, 404);
    assert_eq!(journal.find(id).await.unwrap(), None);
    assert_eq!(journal.steps(id).await.unwrap(), Vec::new());
    assert_eq!(journal.open(id, &lease("worker-1", 60), at(0)).await.unwrap_err().kind, Kind::NotFound);
    assert!(!journal.renew(id, &lease("worker-1", 60), at(0)).await.unwrap());
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

/// A renewal prolongs the lease of its owner; to anybody else it says no and changes nothing.
pub async fn only_the_owner_renews(journal: &dyn Journal) {
    let run = created(journal, new_run(run_id(0, 1), EMAIL)).await;
    assert!(!journal.renew(run.id, &lease("worker-1", 60), at(0)).await.unwrap(), "nobody holds it yet");
    leased(journal.open(run.id, &lease("worker-1", 60), at(0)).await.unwrap());
    assert!(!journal.renew(run.id, &lease("worker-2", 500), at(10)).await.unwrap());
    assert_eq!(found(journal, run.id).await.lease, Some(lease("worker-1", 60)));
    assert!(journal.renew(run.id, &lease("worker-1", 100), at(10)).await.unwrap());
    let renewed = found(journal, run.id).await;
    assert_eq!((renewed.lease, renewed.updated_at), (Some(lease("worker-1", 100)), at(10)));
    let busy = journal.open(run.id, &lease("worker-2", 160), at(70)).await.unwrap();
    assert_eq!(busy, Opened::Busy { until: at(100) });

    // Late, but nobody took it meanwhile; then somebody does.
    assert!(journal.renew(run.id, &lease("worker-1", 150), at(120)).await.unwrap());
    leased(journal.open(run.id, &lease("worker-2", 300), at(151)).await.unwrap());
    assert!(!journal.renew(run.id, &lease("worker-1", 400), at(152)).await.unwrap());
}

/// Once a run is closed (cancelled, say), its worker learns so at the next renewal.
pub async fn a_run_that_is_no_longer_running_is_not_renewed(journal: &dyn Journal) {
    let run = created(journal, new_run(run_id(0, 1), EMAIL)).await;
    leased(journal.open(run.id, &lease("worker-1", 60), at(0)).await.unwrap());
    assert!(journal.close(run.id, &closing(&[Status::Running], Status::Cancelled), at(5)).await.unwrap());
    assert!(!journal.renew(run.id, &lease("worker-1", 100), at(10)).await.unwrap());
    assert_eq!(found(journal, run.id).await.status, Status::Cancelled);
}

// ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────

/// A second result of a step is not written, whatever its name; its writer is told the first.
pub async fn the_first_result_of_a_step_stands(journal: &dyn Journal) {
    let id = run_id(0, 1);
    let first = step("0000", StepState::Done, "worker-1", json!("first"));
    assert_eq!(journal.record(id, &first).await.unwrap(), Recorded::Written);
    for name in ["step_0000", "another name"] {
        let mut second = step("0000", StepState::Done, "worker-2", json!("second"));
        second.name = name.to_owned();
        assert_eq!(journal.record(id, &second).await.unwrap(), Recorded::Existing(Box::new(first.clone())));
    }
    assert_eq!(journal.steps(id).await.unwrap(), [first]);
}

/// Twenty write the same step's result at once: one stands, the others are told it.
pub async fn of_many_who_record_at_once_one_does(journal: &dyn Journal) {
    let id = run_id(0, 1);
    let records: Vec<StepRecord> =
        (0..20).map(|number| step("0000", StepState::Done, &format!("worker-{number}"), json!(number))).collect();
    let outcomes = join_all(records.iter().map(|record| journal.record(id, record))).await;
    let standing = journal.steps(id).await.unwrap();
    assert_eq!(standing.len(), 1);
    for (outcome, record) in outcomes.into_iter().zip(&records) {
        match outcome.unwrap() {
            Recorded::Written => assert_eq!(*record, standing[0]),
            Recorded::Existing(existing) => {
                assert_eq!(*existing, standing[0]);
                assert_ne!(*record, standing[0]);
            }
        }
    }
}

/// An intent is an entry too: only its settlement changes it.
pub async fn a_result_is_not_recorded_over_an_intent(journal: &dyn Journal) {
    let id = run_id(0, 1);
    let intent = step("0000", StepState::Intended, "worker-1", Value::Null);
    assert_eq!(journal.intend(id, &intent).await.unwrap(), Intended::Ours);
    let result = step("0000", StepState::Done, "worker-2", json!("sent"));
    assert_eq!(journal.record(id, &result).await.unwrap(), Recorded::Existing(Box::new(intent.clone())));
    assert_eq!(journal.steps(id).await.unwrap(), [intent]);
}

/// A second intent is not ours, neither while the first stands nor once it is done, nor over a plain result.
pub async fn an_intent_is_written_once(journal: &dyn Journal) {
    let id = run_id(0, 1);
    let first = step("0000", StepState::Intended, "worker-1", Value::Null);
    let second = step("0000", StepState::Intended, "worker-2", Value::Null);
    assert_eq!(journal.intend(id, &first).await.unwrap(), Intended::Ours);
    assert_eq!(journal.intend(id, &second).await.unwrap(), Intended::Existing(Box::new(first.clone())));
    // Not even for its own writer: that one may have performed the effect before it forgot.
    assert_eq!(journal.intend(id, &first).await.unwrap(), Intended::Existing(Box::new(first)));
    let done = step("0000", StepState::Done, "worker-1", json!("sent"));
    journal.settle(id, &done).await.unwrap();
    assert_eq!(journal.intend(id, &second).await.unwrap(), Intended::Existing(Box::new(done)));

    let result = step("0001", StepState::Done, "worker-1", json!("result"));
    assert_eq!(journal.record(id, &result).await.unwrap(), Recorded::Written);
    let intent = step("0001", StepState::Intended, "worker-2", Value::Null);
    assert_eq!(journal.intend(id, &intent).await.unwrap(), Intended::Existing(Box::new(result)));
}

/// An effect that certainly did not happen may be tried again, by one.
pub async fn a_released_intent_can_be_intended_again(journal: &dyn Journal) {
    let id = run_id(0, 1);
    for owner in ["worker-1", "worker-2", "worker-2"] {
        let intent = step("0000", StepState::Intended, owner, Value::Null);
        assert_eq!(journal.intend(id, &intent).await.unwrap(), Intended::Ours);
        assert_eq!(journal.steps(id).await.unwrap(), [intent]);
        let released = step("0000", StepState::Released, owner, Value::Null);
        journal.settle(id, &released).await.unwrap();
        assert_eq!(journal.steps(id).await.unwrap(), [released]);
    }
    let last = step("0000", StepState::Intended, "worker-3", Value::Null);
    assert_eq!(journal.intend(id, &last).await.unwrap(), Intended::Ours);
    let late = step("0000", StepState::Intended, "worker-4", Value::Null);
    assert_eq!(journal.intend(id, &late).await.unwrap(), Intended::Existing(Box::new(last)));
}

/// Twenty intend the same effect at once, first and after a release: one is to perform it each time.
pub async fn of_many_who_intend_at_once_one_does(journal: &dyn Journal) {
    let id = run_id(0, 1);
    let intents: Vec<StepRecord> =
        (0..20).map(|number| step("0000", StepState::Intended, &format!("worker-{number}"), Value::Null)).collect();
    for _ in 0..2 {
        let outcomes = join_all(intents.iter().map(|intent| journal.intend(id, intent))).await;
        let winners: Vec<&StepRecord> = outcomes
            .iter()
            .zip(&intents)
            .filter_map(|(outcome, intent)| (*outcome == Ok(Intended::Ours)).then_some(intent))
            .collect();
        assert_eq!(winners.len(), 1);
        assert_eq!(journal.steps(id).await.unwrap(), [winners[0].clone()]);
        journal.settle(id, &StepRecord { state: StepState::Released, ..winners[0].clone() }).await.unwrap();
    }
}

/// The first outcome of an effect stands; a later one is accepted and changes nothing.
pub async fn an_intent_is_settled_once(journal: &dyn Journal) {
    let id = run_id(0, 1);
    let intent = step("0000", StepState::Intended, "worker-1", Value::Null);
    assert_eq!(journal.intend(id, &intent).await.unwrap(), Intended::Ours);
    // Whoever knows the outcome settles it: a delivery event, an operator.
    let done = step("0000", StepState::Done, "delivery event", json!({"message_id": "m1"}));
    journal.settle(id, &done).await.unwrap();
    assert_eq!(journal.steps(id).await.unwrap(), std::slice::from_ref(&done));
    for state in [StepState::Released, StepState::Done] {
        journal.settle(id, &step("0000", state, "worker-1", json!("late"))).await.unwrap();
        assert_eq!(journal.steps(id).await.unwrap(), std::slice::from_ref(&done));
    }
}

/// A release is an outcome as well: only a new intent follows it.
pub async fn an_intent_that_was_released_stays_released(journal: &dyn Journal) {
    let id = run_id(0, 1);
    let intent = step("0000", StepState::Intended, "worker-1", Value::Null);
    assert_eq!(journal.intend(id, &intent).await.unwrap(), Intended::Ours);
    let released = step("0000", StepState::Released, "worker-1", Value::Null);
    journal.settle(id, &released).await.unwrap();
    journal.settle(id, &step("0000", StepState::Done, "worker-2", json!("late"))).await.unwrap();
    assert_eq!(journal.steps(id).await.unwrap(), [released]);
}

/// An outcome without an intent is an error, so that it is not lost in silence.
pub async fn nothing_is_settled_without_an_intent(journal: &dyn Journal) {
    let id = run_id(0, 1);
    let failure = journal.settle(id, &step("0000", StepState::Done, "worker-1", json!("x"))).await.unwrap_err();
    assert_eq!(failure.kind, Kind::NotFound);
    assert_eq!(journal.steps(id).await.unwrap(), []);
}

/// Positions sort as texts, a branch inside the step that it belongs to; a thousand steps are all there.
pub async fn steps_come_in_order_of_position(journal: &dyn Journal) {
    let run = created(journal, new_run(run_id(0, 1), TASK)).await;
    let positions = ["0004", "0003.0001.0001", "0000", "0003", "0003.0001.0000", "0003.0000.0000", "0010"];
    for position in positions {
        let record = step(position, StepState::Done, "worker-1", json!(position));
        assert_eq!(journal.record(run.id, &record).await.unwrap(), Recorded::Written);
    }
    let mut expected = positions.to_vec();
    expected.sort_unstable();
    assert_eq!(expected[2..5], ["0003.0000.0000", "0003.0001.0000", "0003.0001.0001"]);
    let steps = journal.steps(run.id).await.unwrap();
    assert_eq!(steps.iter().map(|step| step.position.as_str()).collect::<Vec<_>>(), expected);
    assert_eq!(journal.find(run.id).await.unwrap(), Some((run, steps)));

    // So much that no database answers it in one go.
    let id = run_id(0, 2);
    let records: Vec<StepRecord> =
        (0..30).map(|number| step(&format!("{number:04}"), StepState::Done, "worker-1", bulky(100 * 1024))).collect();
    for record in &records {
        assert_eq!(journal.record(id, record).await.unwrap(), Recorded::Written);
    }
    assert!(journal.steps(id).await.unwrap() == records, "30 steps of 100 KiB come back complete and in order");
}

/// Runs whose ids differ in their last character do not see each other's steps.
pub async fn steps_of_one_run_are_not_those_of_another(journal: &dyn Journal) {
    let [one, two] = [run_id(0, 1), run_id(0, 2)];
    let record = step("0000", StepState::Done, "worker-1", json!(1));
    assert_eq!(journal.record(one, &record).await.unwrap(), Recorded::Written);
    assert_eq!(journal.steps(two).await.unwrap(), []);
    assert_eq!(journal.record(two, &record).await.unwrap(), Recorded::Written);
    assert_eq!(journal.find(one).await.unwrap(), None, "a step alone makes no run");
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

/// `None` for the error and the usage keeps what stands.
pub async fn closing_keeps_what_it_does_not_name(journal: &dyn Journal) {
    let run = created(journal, Run { status: Status::Running, ..new_run(run_id(0, 1), EMAIL) }).await;
    let error = Failure::new(Kind::Timeout, "the model took too long").in_step("analyze_email");
    let usage = Usage { api_calls: 2, input_tokens: 300, output_tokens: 40 };
    let first =
        Closing { error: Some(error.clone()), usage: Some(usage), ..closing(&[Status::Running], Status::Queued) };
    assert!(journal.close(run.id, &first, at(5)).await.unwrap());
    leased(journal.open(run.id, &lease("worker-2", 60), at(6)).await.unwrap());
    let last = Closing { result: Some(json!({"ok": 1})), ..closing(&[Status::Running], Status::Succeeded) };
    assert!(journal.close(run.id, &last, at(7)).await.unwrap());
    let expected = Run {
        status: Status::Succeeded,
        error: Some(error),
        usage,
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
        ..closing(&[Status::Succeeded], Status::Failed)
    };
    assert!(journal.close(run.id, &again, at(8)).await.unwrap());
    let replaced = found(journal, run.id).await;
    assert_eq!((replaced.error, replaced.usage, replaced.result), (Some(other), Usage::default(), None));
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
        ..closing(&[Status::Running], Status::Failed)
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
        assert!(journal.renew(id, &lease, at(0)).await.unwrap());

        let record = StepRecord { name: text.clone(), ..step("0000", StepState::Done, &text, json!(text)) };
        assert_eq!(journal.record(id, &record).await.unwrap(), Recorded::Written);
        assert_eq!(journal.steps(id).await.unwrap(), [record]);

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

    let record = step("0000", StepState::Done, "worker-1", value.clone());
    assert_eq!(journal.record(id, &record).await.unwrap(), Recorded::Written);
    let again = journal.record(id, &record).await.unwrap();
    assert!(again == Recorded::Existing(Box::new(record.clone())), "a second writer is told the output");
    let intent = step("0001", StepState::Intended, "worker-1", Value::Null);
    assert_eq!(journal.intend(id, &intent).await.unwrap(), Intended::Ours);
    let outcome = step("0001", StepState::Done, "worker-1", value.clone());
    journal.settle(id, &outcome).await.unwrap();
    assert!(journal.steps(id).await.unwrap() == [record, outcome], "the journal shows the outputs");

    let succeeded = Closing { result: Some(value.clone()), ..closing(&[Status::Running], Status::Succeeded) };
    assert!(journal.close(id, &succeeded, at(1)).await.unwrap());
    let closed = found(journal, id).await;
    assert!(closed.input == *value, "the closed run has its input");
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
    }
}

#[cfg(test)]
mod memory {
    use crate::memory::MemoryJournal;

    journal_contract!(async { MemoryJournal::new() });
}
