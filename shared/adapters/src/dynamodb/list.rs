//! Lists of runs from the two indexes.
//!
//! `by_type` holds every run, each workflow spread over some keys; `by_state` holds the few runs that somebody has
//! to look at. A list asks each key that may hold runs at once and merges the answers, newest first. No answer
//! is scanned without end: a page may be shorter than asked for and still have a next one.

use futures::future::try_join_all;
use ihelper_workflow::{
    domain::{Failure, RunId, Status, WorkflowType, run::Summary},
    ports::{Page, RunFilter},
};

use super::{
    Table,
    item::{Item, Reader, named, text},
};
use crate::failures::failure;

/// Over how many keys the runs of a workflow are spread in the index. One key takes a thousand writes a second;
/// every key is one more query for each list.
const SHARDS: u32 = 4;

/// How many index entries one request looks at when a filter throws some away: with about 300 bytes each, a page
/// stays far below the megabyte at which the service cuts.
const SCAN_PAGE: usize = 250;

/// How many such requests one key gets for one list, so that a rare caller costs no scan of the whole index.
const SCAN_PAGES: usize = 8;

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

/// Runs, newest first.
pub(super) async fn list(table: &Table, filter: &RunFilter) -> Result<Page, Failure> {
    let limit = filter.limit.clamp(1, 100);
    let first = filter.since.map(RunId::first_of);
    if let (Some(first), Some(before)) = (first, filter.before)
        && first >= before
    {
        return Ok(Page::default());
    }
    let workflows = filter.workflow.map_or_else(|| WorkflowType::ALL.to_vec(), |workflow| vec![workflow]);
    let noteworthy = filter.status.filter(|status| status.is_noteworthy());
    let keys: Vec<Key> = match noteworthy {
        Some(status) => workflows.into_iter().map(|workflow| Key::state(status, workflow)).collect(),
        None => workflows
            .into_iter()
            .flat_map(|workflow| (0..SHARDS).map(move |shard| Key::shard(workflow, shard)))
            .collect(),
    };
    let scans = try_join_all(keys.iter().map(|key| key.scan(table, filter, first, limit))).await?;
    Ok(merge(scans, limit))
}

/// A key of an index.
struct Key {
    index: &'static str,
    attribute: &'static str,
    value: String,
    /// Whether the key itself says the status.
    tells_status: bool,
}

impl Key {
    fn state(status: Status, workflow: WorkflowType) -> Self {
        Self { index: "by_state", attribute: "state_pk", value: state_key(status, workflow), tells_status: true }
    }

    fn shard(workflow: WorkflowType, shard: u32) -> Self {
        Self { index: "by_type", attribute: "list_pk", value: shard_key(workflow, shard), tells_status: false }
    }

    /// The newest runs under this key: one more than the limit, or all there are, or what a bounded scan finds.
    async fn scan(
        &self,
        table: &Table,
        filter: &RunFilter,
        first: Option<RunId>,
        limit: usize,
    ) -> Result<Scan, Failure> {
        let mut conditions = Vec::new();
        let mut values = vec![(":key", text(&self.value))];
        if let Some(status) = filter.status.filter(|_| !self.tells_status) {
            conditions.push("#status = :status");
            values.push((":status", named(&status)?));
        }
        if let Some(caller) = &filter.caller {
            conditions.push("#caller = :caller");
            values.push((":caller", text(caller)));
        }
        // A filter of the service's acts after it has counted, so a filtered page looks at more.
        let page = if conditions.is_empty() { limit + 1 } else { SCAN_PAGE };
        let range = match (first, filter.before) {
            (None, None) => "",
            (Some(_), None) => " AND list_sk >= :first",
            (None, Some(_)) => " AND list_sk < :before",
            // One condition on the range is all that there is. It includes the cursor itself, left out below.
            (Some(_), Some(_)) => " AND list_sk BETWEEN :first AND :before",
        };
        values.extend(first.map(|first| (":first", text(first.to_string()))));
        values.extend(filter.before.map(|before| (":before", text(before.to_string()))));

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
                .set_expression_attribute_values(Some(
                    values.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
                ))
                .limit(i32::try_from(page).unwrap_or(i32::MAX))
                .set_exclusive_start_key(start);
            if !conditions.is_empty() {
                request = request.filter_expression(conditions.join(" AND "));
                if conditions.contains(&"#status = :status") {
                    request = request.expression_attribute_names("#status", "status");
                }
                if filter.caller.is_some() {
                    request = request.expression_attribute_names("#caller", "caller");
                }
            }
            let answer = request.send().await.map_err(|error| failure("dynamodb list", &error))?;
            for item in answer.items() {
                let summary = summary_of(item)?;
                if filter.before != Some(summary.id) {
                    scan.runs.push(summary);
                }
            }
            if scan.runs.len() > limit {
                scan.seen_down_to = scan.runs.last().map(|run| run.id);
                return Ok(scan);
            }
            match answer.last_evaluated_key {
                None => {
                    scan.seen_down_to = None;
                    return Ok(scan);
                }
                Some(key) => {
                    scan.seen_down_to = Some(seen(&key)?);
                    start = Some(key);
                }
            }
        }
        Ok(scan)
    }
}

/// What one key gave.
#[derive(Default)]
struct Scan {
    /// Runs, newest first.
    runs: Vec<Summary>,
    /// The oldest run that was looked at, unless all were.
    seen_down_to: Option<RunId>,
}

/// One page of several keys' runs. It ends where the first of the unfinished keys was left: below, a run of that
/// key might be missing between those of others.
fn merge(scans: Vec<Scan>, limit: usize) -> Page {
    let end = scans.iter().filter_map(|scan| scan.seen_down_to).max();
    let mut runs: Vec<Summary> =
        scans.into_iter().flat_map(|scan| scan.runs).filter(|run| end.is_none_or(|end| run.id >= end)).collect();
    runs.sort_unstable_by_key(|run| std::cmp::Reverse(run.id));
    if runs.len() > limit {
        runs.truncate(limit);
        let next = runs.last().map(|run| run.id);
        return Page { runs, next };
    }
    Page { runs, next: end }
}

fn seen(key: &Item) -> Result<RunId, Failure> {
    Reader(key).text("list_sk")?.parse()
}

fn summary_of(item: &Item) -> Result<Summary, Failure> {
    let reader = Reader(item);
    Ok(Summary {
        id: reader.text("list_sk")?.parse()?,
        workflow: reader.named("type")?,
        data_id: reader.text("data_id")?.to_owned(),
        status: reader.named("status")?,
        trigger: reader.named("trigger")?,
        failed_attempts: reader.number("failed_attempts")?,
        error_kind: reader.optional_named("error_kind")?,
        created_at: reader.moment("created_at")?,
        finished_at: reader.optional_moment("finished_at")?,
    })
}

#[cfg(test)]
mod tests {
    use ihelper_workflow::domain::run::Trigger;
    use jiff::Timestamp;

    use super::*;

    fn run(number: u128) -> Summary {
        Summary {
            id: RunId::new(Timestamp::UNIX_EPOCH, number),
            workflow: WorkflowType::TaskAutomation,
            data_id: number.to_string(),
            status: Status::Queued,
            trigger: Trigger::Api,
            failed_attempts: 0,
            error_kind: None,
            created_at: Timestamp::UNIX_EPOCH,
            finished_at: None,
        }
    }

    fn scan(runs: &[u128], seen_down_to: Option<u128>) -> Scan {
        Scan { runs: runs.iter().map(|number| run(*number)).collect(), seen_down_to: seen_down_to.map(|n| run(n).id) }
    }

    fn merged(scans: Vec<Scan>, limit: usize) -> (Vec<String>, Option<RunId>) {
        let page = merge(scans, limit);
        (page.runs.into_iter().map(|run| run.data_id).collect(), page.next)
    }

    #[test]
    fn a_page_ends_where_a_key_was_left_unfinished() {
        // The first key was scanned down to 50 only: its run 45 is not known, so 40 must wait.
        let (runs, next) = merged(vec![scan(&[90], Some(50)), scan(&[80, 60, 40], None)], 10);
        assert_eq!(runs, ["90", "80", "60"]);
        assert_eq!(next, Some(run(50).id));
        // A page may even be empty and still have a next one.
        let (runs, next) = merged(vec![scan(&[], Some(50)), scan(&[40], None)], 10);
        assert_eq!((runs.len(), next), (0, Some(run(50).id)));
    }

    #[test]
    fn a_full_page_ends_with_its_last_run() {
        let (runs, next) = merged(vec![scan(&[9, 7, 5], Some(5)), scan(&[8, 6], None)], 2);
        assert_eq!(runs, ["9", "8"]);
        assert_eq!(next, Some(run(8).id));
    }

    #[test]
    fn the_last_page_has_no_next() {
        assert_eq!(merged(vec![scan(&[2], None), scan(&[1], None)], 2).1, None);
    }
}
