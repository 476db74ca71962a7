//! Lists of runs from the two indexes.
//!
//! `by_type` holds every run, each workflow spread over some keys; `by_state` holds the few runs that somebody has
//! to look at. A list asks each key that may hold runs at once and merges the answers, newest first. What `by_state`
//! shows is what the list shows; `by_type` tells only which runs there are, so that no change of a run is a change of
//! that index too, and the runs themselves are read then. No answer is scanned without end: a page may be shorter
//! than asked for and still have a next one.

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
use futures::future::try_join_all;
use ihelper_workflow::{
    domain::{Failure, Kind, RunId, Status, WorkflowType, run::Summary},
    ports::{Page, RunFilter},
};

use super::{
    Table,
    item::{Item, Reader, damaged, text},
    run_key,
};
use crate::failures::failure;

/// Over how many keys the runs of a workflow are spread in the index. One key takes a thousand writes a second;
/// every key is one more query for each list.
const SHARDS: u32 = 4;

/// How many index entries one request looks at when a filter throws some away: with about 200 bytes each, a page
/// stays far below the megabyte at which the service cuts.
const SCAN_PAGE: usize = 250;

/// How many such requests one key gets for one list, so that a rare caller costs no scan of the whole index.
const SCAN_PAGES: usize = 8;

/// How many runs are read at once: as many as the service takes in one request.
const READ_AT_ONCE: usize = 100;

/// How often a list reads runs, so that a rare status costs no reading of all runs.
const READS: usize = 8;

/// How often a read asks again for what the service left out, because the runs were larger than an answer or because
/// the table was too busy.
const READ_ATTEMPTS: u32 = 8;

/// How long a read waits when the service left out all; twice as long each time, two and a half seconds in all.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

/// What a list shows of a run, as far as no key says it.
const SHOWN: &str = "pk, list_pk, data_id, #status, #trigger, failed_attempts, error_kind, created_at, finished_at";

/// The key of a run in the index of all runs.
pub(super) fn type_key(workflow: WorkflowType, id: RunId) -> String {
    shard_key(workflow, id.shard(SHARDS))
}

fn shard_key(workflow: WorkflowType, shard: u32) -> String {
    format!("{workflow}#{shard}")
}

/// The key of a run in the index of noteworthy runs.
pub(super) fn state_key(status: Status, workflow: WorkflowType) -> String {
    format!("{status}#{workflow}")
}

/// The workflow of a run's item.
pub(super) fn workflow_of(item: &Item) -> Result<WorkflowType, Failure> {
    let (workflow, _) = Reader(item).text("list_pk")?.split_once('#').ok_or_else(|| damaged("list_pk"))?;
    workflow.parse().map_err(|_| damaged("list_pk"))
}

/// The run of an item, of an index's entry or of a key.
pub(super) fn run_id_of(item: &Item) -> Result<RunId, Failure> {
    Reader(item).text_after("pk", "RUN#")?.parse().map_err(|_| damaged("pk"))
}

/// Runs, newest first.
pub(super) async fn list(table: &Table, filter: &RunFilter) -> Result<Page, Failure> {
    let limit = filter.limit.clamp(1, READ_AT_ONCE);
    let workflows = filter.workflow.map_or_else(|| WorkflowType::ALL.to_vec(), |workflow| vec![workflow]);
    match filter.status {
        Some(status) if status.is_noteworthy() => noteworthy(table, filter, status, &workflows, limit).await,
        _ => any(table, filter, &workflows, limit).await,
    }
}

/// Runs in a status that has an index.
async fn noteworthy(
    table: &Table,
    filter: &RunFilter,
    status: Status,
    workflows: &[WorkflowType],
    limit: usize,
) -> Result<Page, Failure> {
    let keys: Vec<Key> = workflows.iter().map(|workflow| Key::state(status, *workflow)).collect();
    let (entries, next) = scan(table, &keys, filter, filter.before, limit).await?;
    let summary = |entry: &Entry| {
        let (_, workflow) = Reader(&entry.item).text("state_pk")?.split_once('#').ok_or_else(|| damaged("state_pk"))?;
        summary_of(&entry.item, workflow.parse().map_err(|_| damaged("state_pk"))?, status)
    };
    Ok(Page { runs: entries.iter().map(summary).collect::<Result<_, _>>()?, next })
}

/// Runs in any status, or in one that only the runs themselves tell.
async fn any(table: &Table, filter: &RunFilter, workflows: &[WorkflowType], limit: usize) -> Result<Page, Failure> {
    let keys: Vec<Key> =
        workflows.iter().flat_map(|workflow| (0..SHARDS).map(move |shard| Key::shard(*workflow, shard))).collect();
    let at_once = if filter.status.is_some() { READ_AT_ONCE } else { limit };
    let mut page = Page { runs: Vec::new(), next: filter.before };
    for _ in 0..READS {
        let (entries, next) = scan(table, &keys, filter, page.next, at_once).await?;
        let is_cut_short = entries.len() < at_once;
        let runs = read(table, &entries).await?;
        page.runs.extend(runs.into_iter().filter(|run| filter.status.is_none_or(|status| run.status == status)));
        page.next = next;
        if page.runs.len() > limit {
            page.runs.truncate(limit);
            page.next = page.runs.last().map(|run| run.id);
        }
        // A scan that stopped short of what it may look at is not begun again.
        if page.runs.len() == limit || page.next.is_none() || is_cut_short {
            break;
        }
    }
    Ok(page)
}

// ── the indexes ──────────────────────────────────────────────────────────────────────────────────────────────

/// The newest entries under these keys, older than a run, and where to go on.
async fn scan(
    table: &Table,
    keys: &[Key],
    filter: &RunFilter,
    before: Option<RunId>,
    limit: usize,
) -> Result<(Vec<Entry>, Option<RunId>), Failure> {
    let first = filter.since.map(RunId::first_of);
    if let (Some(first), Some(before)) = (first, before)
        && first >= before
    {
        return Ok((Vec::new(), None));
    }
    let caller = filter.caller.as_deref();
    let scans = try_join_all(keys.iter().map(|key| key.scan(table, caller, first, before, limit))).await?;
    Ok(merge(scans, limit))
}

/// A key of an index.
struct Key {
    index: &'static str,
    attribute: &'static str,
    value: String,
}

impl Key {
    fn state(status: Status, workflow: WorkflowType) -> Self {
        Self { index: "by_state", attribute: "state_pk", value: state_key(status, workflow) }
    }

    fn shard(workflow: WorkflowType, shard: u32) -> Self {
        Self { index: "by_type", attribute: "list_pk", value: shard_key(workflow, shard) }
    }

    /// The newest entries under this key: one more than the limit, or all there are, or what a bounded scan finds.
    async fn scan(
        &self,
        table: &Table,
        caller: Option<&str>,
        first: Option<RunId>,
        before: Option<RunId>,
        limit: usize,
    ) -> Result<Scan, Failure> {
        // A filter of the service's acts after it has counted, so a filtered page looks at more.
        let page = if caller.is_some() { SCAN_PAGE } else { limit + 1 };
        let range = match (first, before) {
            (None, None) => "",
            (Some(_), None) => " AND pk >= :first",
            (None, Some(_)) => " AND pk < :before",
            // One condition on the range is all that there is. It includes the cursor itself, left out below.
            (Some(_), Some(_)) => " AND pk BETWEEN :first AND :before",
        };
        let mut values = HashMap::from([(":key".to_owned(), text(&self.value))]);
        values.extend(first.map(|first| (":first".to_owned(), text(run_key(first)))));
        values.extend(before.map(|before| (":before".to_owned(), text(run_key(before)))));
        values.extend(caller.map(|caller| (":caller".to_owned(), text(caller))));

        let mut scan = Scan::default();
        let mut start: Option<Item> = None;
        for _ in 0..SCAN_PAGES {
            let mut request = table
                .client()
                .query()
                .table_name(table.name())
                .index_name(self.index)
                .scan_index_forward(false)
                .key_condition_expression(format!("#key = :key{range}"))
                .expression_attribute_names("#key", self.attribute)
                .set_expression_attribute_values(Some(values.clone()))
                .limit(i32::try_from(page).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start)
                .set_return_consumed_capacity(table.capacity());
            if caller.is_some() {
                request =
                    request.filter_expression("#caller = :caller").expression_attribute_names("#caller", "caller");
            }
            let answer = request.send().await.map_err(|error| failure("dynamodb list", &error))?;
            table.was_read(answer.consumed_capacity.as_slice());
            for item in answer.items.unwrap_or_default() {
                let id = run_id_of(&item)?;
                if before != Some(id) {
                    scan.entries.push(Entry { id, item });
                }
            }
            if scan.entries.len() > limit {
                scan.seen_down_to = scan.entries.last().map(|entry| entry.id);
                return Ok(scan);
            }
            match answer.last_evaluated_key {
                None => {
                    scan.seen_down_to = None;
                    return Ok(scan);
                }
                Some(key) => {
                    scan.seen_down_to = Some(run_id_of(&key)?);
                    start = Some(key);
                }
            }
        }
        Ok(scan)
    }
}

/// A run in an index.
struct Entry {
    id: RunId,
    item: Item,
}

/// What one key gave.
#[derive(Default)]
struct Scan {
    /// Entries, newest first.
    entries: Vec<Entry>,
    /// The oldest run that was looked at, unless all were.
    seen_down_to: Option<RunId>,
}

/// The newest entries of several keys, and where the next ones begin. They end where the first of the unfinished keys
/// was left: below, a run of that key might be missing between those of others.
fn merge(scans: Vec<Scan>, limit: usize) -> (Vec<Entry>, Option<RunId>) {
    let end = scans.iter().filter_map(|scan| scan.seen_down_to).max();
    let mut entries: Vec<Entry> =
        scans.into_iter().flat_map(|scan| scan.entries).filter(|entry| end.is_none_or(|end| entry.id >= end)).collect();
    entries.sort_unstable_by_key(|entry| std::cmp::Reverse(entry.id));
    if entries.len() > limit {
        entries.truncate(limit);
        let next = entries.last().map(|entry| entry.id);
        return (entries, next);
    }
    (entries, end)
}

// ── the runs ─────────────────────────────────────────────────────────────────────────────────────────────────

/// The runs of these entries, at most [`READ_AT_ONCE`], in the same order. One that was deleted meanwhile is left out.
async fn read(table: &Table, entries: &[Entry]) -> Result<Vec<Summary>, Failure> {
    let key = |entry: &Entry| {
        HashMap::from([("pk".to_owned(), text(run_key(entry.id))), ("sk".to_owned(), text(super::journal::RUN))])
    };
    let mut keys: Vec<HashMap<String, AttributeValue>> = entries.iter().map(key).collect();
    let mut found = HashMap::with_capacity(keys.len());
    let mut pause = FIRST_PAUSE;
    let mut attempts = 0..READ_ATTEMPTS;
    while !keys.is_empty() {
        if attempts.next().is_none() {
            return Err(Failure::new(Kind::Throttled, "dynamodb list: the service left runs unread"));
        }
        let wanted = KeysAndAttributes::builder()
            .set_keys(Some(keys))
            .projection_expression(SHOWN)
            .expression_attribute_names("#status", "status")
            .expression_attribute_names("#trigger", "trigger")
            .build()
            .map_err(|_| Failure::new(Kind::Unknown, "dynamodb list: the request has no keys"))?;
        let request = table.client().batch_get_item().request_items(table.name(), wanted);
        let answer = request
            .set_return_consumed_capacity(table.capacity())
            .send()
            .await
            .map_err(|error| failure("dynamodb list", &error))?;
        table.was_read(answer.consumed_capacity());
        let items = answer.responses.unwrap_or_default().remove(table.name()).unwrap_or_default();
        for item in &items {
            let run = summary_of(item, workflow_of(item)?, Reader(item).named("status")?)?;
            found.insert(run.id, run);
        }
        keys =
            answer.unprocessed_keys.unwrap_or_default().remove(table.name()).map(|left| left.keys).unwrap_or_default();
        if items.is_empty() && !keys.is_empty() {
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }
    Ok(entries.iter().filter_map(|entry| found.remove(&entry.id)).collect())
}

fn summary_of(item: &Item, workflow: WorkflowType, status: Status) -> Result<Summary, Failure> {
    let reader = Reader(item);
    Ok(Summary {
        id: run_id_of(item)?,
        workflow,
        data_id: reader.text("data_id")?.to_owned(),
        status,
        trigger: reader.named("trigger")?,
        failed_attempts: reader.optional_number("failed_attempts")?.unwrap_or_default(),
        error_kind: reader.optional_named("error_kind")?,
        created_at: reader.instant("created_at")?,
        finished_at: reader.optional_instant("finished_at")?,
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn id(number: u128) -> RunId {
        RunId::new(Timestamp::UNIX_EPOCH, number)
    }

    fn scan(runs: &[u128], seen_down_to: Option<u128>) -> Scan {
        let entry = |number: &u128| Entry { id: id(*number), item: Item::new() };
        Scan { entries: runs.iter().map(entry).collect(), seen_down_to: seen_down_to.map(id) }
    }

    fn merged(scans: Vec<Scan>, limit: usize) -> (Vec<RunId>, Option<RunId>) {
        let (entries, next) = merge(scans, limit);
        (entries.into_iter().map(|entry| entry.id).collect(), next)
    }

    #[test]
    fn a_page_ends_where_a_key_was_left_unfinished() {
        // The first key was scanned down to 50 only: its run 45 is not known, so 40 must wait.
        let (runs, next) = merged(vec![scan(&[90], Some(50)), scan(&[80, 60, 40], None)], 10);
        assert_eq!(runs, [90, 80, 60].map(id));
        assert_eq!(next, Some(id(50)));
        // A page may even be empty and still have a next one.
        let (runs, next) = merged(vec![scan(&[], Some(50)), scan(&[40], None)], 10);
        assert_eq!((runs.len(), next), (0, Some(id(50))));
    }

    #[test]
    fn a_full_page_ends_with_its_last_run() {
        let (runs, next) = merged(vec![scan(&[9, 7, 5], Some(5)), scan(&[8, 6], None)], 2);
        assert_eq!(runs, [9, 8].map(id));
        assert_eq!(next, Some(id(8)));
    }

    #[test]
    fn the_last_page_has_no_next() {
        assert_eq!(merged(vec![scan(&[2], None), scan(&[1], None)], 2).1, None);
    }

    #[test]
    fn a_key_says_the_workflow() {
        for workflow in WorkflowType::ALL {
            let item = Item::from([("list_pk".to_owned(), text(type_key(workflow, id(7))))]);
            assert_eq!(workflow_of(&item), Ok(workflow));
        }
        for damaged in ["", "email_processing", "mail#1"] {
            let item = Item::from([("list_pk".to_owned(), text(damaged))]);
            assert!(workflow_of(&item).unwrap_err().message.contains("`list_pk`"));
        }
    }
}
