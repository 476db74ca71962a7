//! Changes of definitions on the real table: many at once, and one whose process dies at each of its requests.

use std::sync::Arc;

use futures::future::join_all;
use ihelper_adapters::{dynamodb::TableDefinitionStore, system::SystemClock};
use ihelper_testkit::WorkflowTester;
use ihelper_workflow::{
    domain::{
        WorkflowType,
        definition::Definition,
        version::{Change, Pointer, Version, VersionState},
    },
    embedded,
    engine::Definitions,
    ports::DefinitionStore,
    versions::{Changed, Expected, Refusal, Versions},
};
use jiff::Timestamp;
use serde_json::json;

use crate::{table::TestTable, wire::Wire};

const TASK: WorkflowType = WorkflowType::TaskAutomation;

/// Changes of a process of its own, with the workflows in memory and the versions here.
fn versions(store: TableDefinitionStore) -> Versions {
    let (store, clock) = (Arc::new(store), Arc::new(SystemClock));
    let definitions = Definitions::new(embedded::definitions().unwrap()).with_store(store.clone(), clock.clone());
    Versions { store, definitions, clock, ..WorkflowTester::new().versions() }
}

fn marked(mark: &str) -> Definition {
    let all = embedded::definitions().unwrap();
    let mut definition = all.into_iter().find(|definition| definition.workflow == TASK).unwrap();
    definition.variables.insert("mark".to_owned(), json!(mark));
    definition
}

async fn update(versions: &Versions, mark: &str) -> Result<Changed, Refusal> {
    let change = Change { by: mark.to_owned(), at: Timestamp::UNIX_EPOCH, reason: "a test".to_owned() };
    versions.update_workflow(TASK, marked(mark), Expected::Any, None, &change).await
}

/// The pointer, the versions and the moves, which have no gaps, and of which the last one is where the pointer stands:
/// at a whole version that was accepted.
async fn whole(table: &TestTable) -> (Option<Pointer>, Vec<Version>) {
    let store = table.definitions();
    let versions = store.versions(TASK, None, 1000).await.unwrap();
    let moves = store.moves(TASK, None, 1000).await.unwrap();
    let pointer = store.pointer(TASK).await.unwrap();
    let count = |length: usize| (1..=u32::try_from(length).unwrap()).rev().collect::<Vec<u32>>();
    assert_eq!(versions.iter().map(Version::number).collect::<Vec<_>>(), count(versions.len()));
    assert_eq!(moves.iter().map(|each| each.revision).collect::<Vec<_>>(), count(moves.len()));
    assert_eq!(pointer.as_ref(), moves.first());
    if let Some(pointer) = &pointer {
        let current = versions.iter().find(|version| version.number() == pointer.current).unwrap();
        assert_eq!(current.state, VersionState::Accepted);
    }
    (pointer, versions)
}

#[tokio::test]
async fn fifty_updates_at_once_leave_a_history_without_gaps_and_one_current() {
    let table = TestTable::start().await;
    let marks: Vec<String> = (0..50).map(|number| format!("user:{number}")).collect();
    let outcomes = join_all(marks.iter().map(async |mark| update(&versions(table.definitions()), mark).await)).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Ok(Changed::Moved(_)))), "{outcomes:?}");
    let (pointer, versions) = whole(&table).await;
    let pointer = pointer.unwrap();
    assert_eq!((pointer.revision, versions.len()), (50, 51));
    let current = versions.iter().find(|version| version.number() == pointer.current).unwrap();
    assert_eq!((&current.definition.variables["mark"], &current.author), (&json!(pointer.by), &pointer.by));
}

/// Whether the process came to die, having sent so many requests.
async fn killed_at(dies_at: usize, does_it_first: bool) -> bool {
    let table = TestTable::start().await;
    update(&versions(table.definitions()), "before").await.unwrap();
    let wire = Wire::of_who_dies(table.address, dies_at, does_it_first).await;
    let outcome = update(&versions(table.definitions_at(wire.address)), "new").await;

    let case = format!("killed at request {dies_at}, carried out: {does_it_first}: {outcome:?}");
    let (pointer, found) = whole(&table).await;
    let pointer = pointer.unwrap();
    let current = found.iter().find(|version| version.number() == pointer.current).unwrap();
    match (pointer.revision, current.definition.variables["mark"].as_str()) {
        (1, Some("before")) => assert!(outcome.is_err(), "{case}"),
        (2, Some("new")) => {}
        other => panic!("{case}: {other:?}"),
    }
    // Whoever does it again has it done, whatever was left.
    update(&versions(table.definitions()), "new").await.unwrap();
    let (pointer, found) = whole(&table).await;
    let pointer = pointer.unwrap();
    let current = found.iter().find(|version| version.number() == pointer.current).unwrap();
    assert_eq!((pointer.revision, &current.definition.variables["mark"]), (2, &json!("new")), "{case}");
    wire.requests().len() > dies_at
}

#[tokio::test]
async fn a_process_that_dies_at_any_request_of_an_update_leaves_one_whole_version_current() {
    let points = (0..20).flat_map(|dies_at| [(dies_at, false), (dies_at, true)]);
    let died = join_all(points.map(|(dies_at, does_it_first)| killed_at(dies_at, does_it_first))).await;
    let count = died.iter().filter(|died| **died).count();
    assert!((14..40).contains(&count), "{count} points were met: there are more than were tried, or hardly any");
    assert!(died[..count].iter().all(|died| *died) && !died[count..].contains(&true), "{died:?}");
}
