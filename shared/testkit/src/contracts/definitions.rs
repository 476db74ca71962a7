//! What must be true of every [`DefinitionStore`].

use futures::future::join_all;
use ihelper_workflow::{
    domain::{
        Kind, WorkflowType,
        definition::Definition,
        input::Violation,
        version::{Action, Arm, Canary, Pointer, Tally, Terms, Version, VersionState},
    },
    ports::{Added, DefinitionStore, LARGEST_DEFINITION, Moved},
};
use serde_json::{Value, json};

use super::{DOCUMENT, EMAIL, at, delicate_values, hostile_texts};

/// Makes a test of every case of the definition stores' contract, each on a port that the expression makes anew.
#[macro_export]
macro_rules! definitions_contract {
    ($port:expr) => {
        $crate::contract_tests! { $port, definitions:
            nothing_is_there_at_first,
            a_version_comes_back_as_it_was_put,
            a_number_is_taken_once,
            of_many_who_add_at_once_one_does,
            versions_are_listed_newest_first_and_page_by_page,
            a_candidate_is_rejected_once_and_an_accepted_version_never,
            the_pointer_moves_by_one_revision_only,
            a_move_accepts_its_version_in_the_same_write,
            of_many_who_move_at_once_one_does,
            many_who_move_leave_a_history_without_gaps,
            workflows_are_kept_apart,
            runs_are_counted_by_arm_and_trial,
            counts_made_at_once_are_all_counted,
            hostile_texts_and_delicate_values_survive,
            the_largest_definition_is_kept_and_a_larger_one_refused,
        }
    };
}

fn definition(workflow: WorkflowType, number: u32, variable: Value) -> Definition {
    let fields = json!({"workflow": workflow, "version": number, "variables": {"variable": variable}});
    serde_json::from_value(fields).expect("it has all fields of a definition")
}

fn version(workflow: WorkflowType, number: u32) -> Version {
    Version {
        definition: definition(workflow, number, json!(format!("text {number}"))),
        state: VersionState::Candidate,
        author: format!("user:{number}"),
        made_at: at(i64::from(number)),
        reason: format!("reason {number}"),
        problems: Vec::new(),
    }
}

fn pointer(revision: u32, current: u32) -> Pointer {
    Pointer {
        revision,
        current,
        canary: None,
        action: Action::Update,
        by: format!("user:{revision}"),
        at: at(i64::from(revision)),
        reason: format!("because of {revision}"),
    }
}

async fn put(store: &dyn DefinitionStore, version: &Version) {
    assert_eq!(store.add(version).await.unwrap(), Added::Written);
}

async fn state_of(store: &dyn DefinitionStore, number: u32) -> VersionState {
    store.version(EMAIL, number).await.unwrap().unwrap().state
}

/// A store that nobody wrote to says so.
pub async fn nothing_is_there_at_first(store: &dyn DefinitionStore) {
    for workflow in WorkflowType::ALL {
        assert_eq!(store.pointer(workflow).await.unwrap(), None);
        assert_eq!(store.version(workflow, 1).await.unwrap(), None);
        assert_eq!(store.versions(workflow, None, 10).await.unwrap(), []);
        assert_eq!(store.moves(workflow, None, 10).await.unwrap(), []);
        assert_eq!(store.tally(workflow, 1).await.unwrap(), Tally::default());
    }
}

/// Everything that was said of a version is there again.
pub async fn a_version_comes_back_as_it_was_put(store: &dyn DefinitionStore) {
    let first = Version { state: VersionState::Accepted, ..version(EMAIL, 1) };
    for version in [first, version(EMAIL, 2)] {
        put(store, &version).await;
        assert_eq!(store.version(EMAIL, version.number()).await.unwrap(), Some(version));
    }
}

/// Who comes second learns that the number is taken, and changes nothing.
pub async fn a_number_is_taken_once(store: &dyn DefinitionStore) {
    let first = version(EMAIL, 1);
    put(store, &first).await;
    let other = Version { author: "user:other".to_owned(), ..version(EMAIL, 1) };
    assert_eq!(store.add(&other).await.unwrap(), Added::Taken);
    assert_eq!(store.version(EMAIL, 1).await.unwrap(), Some(first));
}

/// Twenty put a version under the same number at once: one of them stands there.
pub async fn of_many_who_add_at_once_one_does(store: &dyn DefinitionStore) {
    let versions: Vec<Version> =
        (0..20).map(|number| Version { author: format!("user:{number}"), ..version(EMAIL, 1) }).collect();
    let outcomes = join_all(versions.iter().map(|version| store.add(version))).await;
    let winners: Vec<&Version> = outcomes
        .into_iter()
        .zip(&versions)
        .filter_map(|(outcome, version)| (outcome.unwrap() == Added::Written).then_some(version))
        .collect();
    assert_eq!(winners.len(), 1);
    assert_eq!(store.version(EMAIL, 1).await.unwrap().as_ref(), Some(winners[0]));
}

/// Also where numbers have different lengths.
pub async fn versions_are_listed_newest_first_and_page_by_page(store: &dyn DefinitionStore) {
    for number in 1..=12 {
        put(store, &version(EMAIL, number)).await;
    }
    let numbers = async |before, limit| -> Vec<u32> {
        store.versions(EMAIL, before, limit).await.unwrap().iter().map(Version::number).collect()
    };
    assert_eq!(numbers(None, 5).await, [12, 11, 10, 9, 8]);
    assert_eq!(numbers(Some(8), 5).await, [7, 6, 5, 4, 3]);
    assert_eq!(numbers(Some(3), 5).await, [2, 1]);
    assert!(numbers(Some(1), 5).await.is_empty());
    assert_eq!(store.versions(EMAIL, Some(3), 1).await.unwrap(), [version(EMAIL, 2)]);
}

/// The first word on a version stands.
pub async fn a_candidate_is_rejected_once_and_an_accepted_version_never(store: &dyn DefinitionStore) {
    let problems = |text: &str| vec![Violation { field: "templates.a".to_owned(), problem: text.to_owned() }];
    put(store, &version(EMAIL, 1)).await;
    store.reject(EMAIL, 1, &problems("first")).await.unwrap();
    store.reject(EMAIL, 1, &problems("second")).await.unwrap();
    let rejected = Version { state: VersionState::Rejected, problems: problems("first"), ..version(EMAIL, 1) };
    assert_eq!(store.version(EMAIL, 1).await.unwrap(), Some(rejected));

    put(store, &version(EMAIL, 2)).await;
    assert_eq!(store.move_pointer(EMAIL, &pointer(1, 2), Some(2)).await.unwrap(), Moved::Done);
    store.reject(EMAIL, 2, &problems("late")).await.unwrap();
    assert_eq!(state_of(store, 2).await, VersionState::Accepted);
    // What is not there cannot be rejected, and is not made by it.
    store.reject(EMAIL, 3, &problems("absent")).await.unwrap();
    assert_eq!(store.version(EMAIL, 3).await.unwrap(), None);
}

/// From one revision to the next; whoever is late, or ahead, changes nothing.
pub async fn the_pointer_moves_by_one_revision_only(store: &dyn DefinitionStore) {
    assert_eq!(store.move_pointer(EMAIL, &pointer(2, 7), None).await.unwrap(), Moved::Overtaken);
    assert_eq!(store.pointer(EMAIL).await.unwrap(), None);
    let canary = Canary { version: 2, terms: Terms::of_share(10) };
    let on_trial = Pointer { canary: Some(canary), action: Action::Canary, ..pointer(2, 1) };
    for next in [pointer(1, 1), on_trial, Pointer { action: Action::Promote, ..pointer(3, 2) }] {
        assert_eq!(store.move_pointer(EMAIL, &next, None).await.unwrap(), Moved::Done);
        assert_eq!(store.pointer(EMAIL).await.unwrap(), Some(next.clone()));
        assert_eq!(store.moves(EMAIL, None, 1).await.unwrap(), [next]);
    }
    for late in [pointer(1, 9), pointer(3, 9), pointer(5, 9)] {
        assert_eq!(store.move_pointer(EMAIL, &late, None).await.unwrap(), Moved::Overtaken);
    }
    assert_eq!(store.pointer(EMAIL).await.unwrap().unwrap().current, 2);
    let revisions: Vec<u32> = store.moves(EMAIL, Some(3), 10).await.unwrap().iter().map(|at| at.revision).collect();
    assert_eq!(revisions, [2, 1]);
}

/// A version is accepted when the pointer moves for it, and only then.
pub async fn a_move_accepts_its_version_in_the_same_write(store: &dyn DefinitionStore) {
    for number in 1..=3 {
        put(store, &version(EMAIL, number)).await;
    }
    assert_eq!(store.move_pointer(EMAIL, &pointer(1, 1), Some(1)).await.unwrap(), Moved::Done);
    assert_eq!(store.move_pointer(EMAIL, &pointer(1, 2), Some(2)).await.unwrap(), Moved::Overtaken);
    assert_eq!((state_of(store, 1).await, state_of(store, 2).await), (VersionState::Accepted, VersionState::Candidate));
    store.reject(EMAIL, 3, &[]).await.unwrap();
    for number in [3, 4] {
        // A version that was rejected, and one that is not there.
        let failure = store.move_pointer(EMAIL, &pointer(2, number), Some(number)).await.unwrap_err();
        assert_eq!(failure.kind, Kind::Validation);
    }
    assert_eq!(store.pointer(EMAIL).await.unwrap(), Some(pointer(1, 1)));
}

/// Twenty move from the same revision at once: one does, and only its version is accepted.
pub async fn of_many_who_move_at_once_one_does(store: &dyn DefinitionStore) {
    for number in 1..=20 {
        put(store, &version(EMAIL, number)).await;
    }
    let moves: Vec<Pointer> = (1..=20).map(|number| pointer(1, number)).collect();
    // A store may be too busy to tell; who asks again is told.
    let attempt = async |next: &Pointer| loop {
        match store.move_pointer(EMAIL, next, Some(next.current)).await {
            Err(failure) if failure.kind == Kind::Throttled => {}
            outcome => return outcome.unwrap(),
        }
    };
    let outcomes = join_all(moves.iter().map(attempt)).await;
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Moved::Done).count(), 1);
    let current = store.pointer(EMAIL).await.unwrap().unwrap().current;
    assert_eq!(outcomes[current as usize - 1], Moved::Done);
    for number in 1..=20 {
        assert_eq!(state_of(store, number).await == VersionState::Accepted, number == current);
    }
}

/// Ten move five times each, from wherever the pointer stands then.
pub async fn many_who_move_leave_a_history_without_gaps(store: &dyn DefinitionStore) {
    let mover = async |by: u32| {
        let mut left = 5;
        while left > 0 {
            let revision = store.pointer(EMAIL).await.unwrap().map_or(0, |pointer| pointer.revision) + 1;
            match store.move_pointer(EMAIL, &pointer(revision, by), None).await {
                Ok(Moved::Done) => left -= 1,
                Ok(Moved::Overtaken) => {}
                Err(failure) => assert_eq!(failure.kind, Kind::Throttled),
            }
        }
    };
    join_all((1..=10).map(mover)).await;
    let moves = store.moves(EMAIL, None, 100).await.unwrap();
    let revisions: Vec<u32> = moves.iter().map(|pointer| pointer.revision).collect();
    assert_eq!(revisions, (1..=50).rev().collect::<Vec<u32>>());
    assert_eq!(store.pointer(EMAIL).await.unwrap().as_ref(), moves.first());
    for by in 1..=10 {
        assert_eq!(moves.iter().filter(|pointer| pointer.current == by).count(), 5);
    }
}

/// One workflow's versions are not another's.
pub async fn workflows_are_kept_apart(store: &dyn DefinitionStore) {
    put(store, &version(EMAIL, 1)).await;
    put(store, &version(DOCUMENT, 1)).await;
    store.move_pointer(EMAIL, &pointer(1, 1), Some(1)).await.unwrap();
    store.count(EMAIL, 1, Arm::Canary, true).await.unwrap();
    assert_eq!(store.version(DOCUMENT, 1).await.unwrap(), Some(version(DOCUMENT, 1)));
    assert_eq!(store.pointer(DOCUMENT).await.unwrap(), None);
    assert_eq!(store.tally(DOCUMENT, 1).await.unwrap(), Tally::default());
}

/// Each trial counts its own runs.
pub async fn runs_are_counted_by_arm_and_trial(store: &dyn DefinitionStore) {
    let mut expected = Tally::default();
    for (arm, failed, times) in
        [(Arm::Canary, false, 4), (Arm::Canary, true, 3), (Arm::Control, false, 2), (Arm::Control, true, 1)]
    {
        for _ in 0..times {
            expected.count(arm, failed);
            assert_eq!(store.count(EMAIL, 7, arm, failed).await.unwrap(), expected);
        }
    }
    assert_eq!(store.tally(EMAIL, 7).await.unwrap(), expected);
    assert_eq!(store.tally(EMAIL, 8).await.unwrap(), Tally::default());
}

/// Fifty at once are fifty, and one of them is told so.
pub async fn counts_made_at_once_are_all_counted(store: &dyn DefinitionStore) {
    let tallies = join_all((0..50).map(|_| store.count(EMAIL, 1, Arm::Canary, false))).await;
    let mut counts: Vec<u32> = tallies.into_iter().map(|tally| tally.unwrap().canary_succeeded).collect();
    counts.sort_unstable();
    assert_eq!(counts, (1..=50).collect::<Vec<u32>>());
}

/// Whatever people write comes back as they wrote it.
pub async fn hostile_texts_and_delicate_values_survive(store: &dyn DefinitionStore) {
    for (number, text) in (1..).zip(hostile_texts()) {
        let problems = vec![Violation { field: text.clone(), problem: text.clone() }];
        let hostile = Version {
            definition: definition(EMAIL, number, json!({ &text: delicate_values(), "text": &text })),
            author: text.clone(),
            reason: text.clone(),
            ..version(EMAIL, number)
        };
        put(store, &hostile).await;
        store.reject(EMAIL, number, &problems).await.unwrap();
        let rejected = Version { state: VersionState::Rejected, problems, ..hostile };
        assert_eq!(store.version(EMAIL, number).await.unwrap(), Some(rejected));
        let next = Pointer { by: text.clone(), reason: text, ..pointer(number, number) };
        assert_eq!(store.move_pointer(EMAIL, &next, None).await.unwrap(), Moved::Done);
        assert_eq!(store.pointer(EMAIL).await.unwrap(), Some(next));
    }
}

/// The bound is the same everywhere, and what compresses badly fits as well.
pub async fn the_largest_definition_is_kept_and_a_larger_one_refused(store: &dyn DefinitionStore) {
    let bytes = |version: &Version| json!(version.definition).to_string().len();
    let of_length = |number: u32, letters: usize| {
        let text: String = super::bulky(letters)["text"].as_str().unwrap().replace(['"', '\\'], "x");
        Version { definition: definition(EMAIL, number, json!(text)), ..version(EMAIL, number) }
    };
    let frame = bytes(&of_length(1, 0));
    let largest = of_length(1, LARGEST_DEFINITION - frame);
    assert_eq!(bytes(&largest), LARGEST_DEFINITION);
    put(store, &largest).await;
    assert_eq!(store.version(EMAIL, 1).await.unwrap(), Some(largest));
    let failure = store.add(&of_length(2, LARGEST_DEFINITION - frame + 1)).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Validation);
    assert_eq!(store.version(EMAIL, 2).await.unwrap(), None);
}

#[cfg(test)]
mod memory {
    use crate::memory::MemoryDefinitionStore;

    definitions_contract!(async { MemoryDefinitionStore::new() });
}
