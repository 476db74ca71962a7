use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use ihelper_workflow::{
    domain::{
        Failure, Kind, Run, RunId, Status,
        run::{Entry, History, Lease, Origin, Segment, StepRecord},
    },
    ports::{Appended, Closing, Created, Journal, Opened, Page, Renewed, RunFilter},
};
use jiff::Timestamp;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    Table, Written, is_of,
    item::{Item, Reader, bytes, damaged, expiry, footprint, instant, named, number, text, usage},
    list, run_key,
    values::{Room, json_of},
    vanished, write_id,
};
use crate::failures::failure;

/// How many payloads of one journal are fetched at once.
const PAYLOADS_AT_ONCE: usize = 8;

/// The sort key of a run itself.
pub(super) const RUN: &str = "RUN";
const LOG: &str = "LOG#";

/// Segment numbers have six digits in their key, so that keys sort as numbers do.
const LAST_SEGMENT: u32 = 999_999;

/// Runs and their journals on the table.
#[derive(Clone, Debug)]
pub struct TableJournal {
    table: Table,
}

impl TableJournal {
    /// The journal on this table.
    pub const fn new(table: Table) -> Self {
        Self { table }
    }
}

#[async_trait]
impl Journal for TableJournal {
    async fn create(&self, run: &Run) -> Result<Created, Failure> {
        let write_id = write_id();
        let mut item = self.run_item(run).await?;
        item.insert("write_id".to_owned(), write_id.clone());
        Ok(match self.put_new("dynamodb create", item).await? {
            None => Created::New,
            Some(standing) if is_of(&standing, &write_id) => Created::New,
            Some(standing) => Created::Existing(Box::new(self.run_of(&standing).await?)),
        })
    }

    async fn open(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<Opened, Failure> {
        let outcome = self
            .table
            .client()
            .update_item()
            .table_name(self.table.name())
            .key("pk", text(run_key(id)))
            .key("sk", text(RUN))
            // A run that waited stood among the noteworthy ones.
            .update_expression(
                "SET #status = :running, lease_owner = :owner, lease_until = :until, updated_at = :now \
                 REMOVE due_at, state_pk",
            )
            .condition_expression(
                "(#status = :queued AND (attribute_not_exists(due_at) OR due_at <= :now)) \
                 OR (#status = :waiting AND due_at <= :now) \
                 OR (#status = :running \
                 AND (attribute_not_exists(lease_until) OR lease_until <= :now OR lease_owner = :owner))",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":queued", named(&Status::Queued)?)
            .expression_attribute_values(":waiting", named(&Status::Waiting)?)
            .expression_attribute_values(":running", named(&Status::Running)?)
            .expression_attribute_values(":owner", text(&lease.owner))
            .expression_attribute_values(":until", instant(lease.until))
            .expression_attribute_values(":now", instant(now))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .set_return_consumed_capacity(self.table.capacity())
            .send()
            .await;
        match self.table.written("dynamodb open", outcome)? {
            Written::Done(done) => {
                let item = done.attributes.ok_or_else(|| vanished("dynamodb open"))?;
                Ok(Opened::Leased(Box::new(self.run_of(&item).await?)))
            }
            Written::Denied(Some(standing)) => {
                let reader = Reader(&standing);
                let (lease, due) = (reader.optional_instant("lease_until")?, reader.optional_instant("due_at")?);
                match (reader.named("status")?, lease, due) {
                    (Status::Running, Some(until), _) | (Status::Queued, _, Some(until)) => Ok(Opened::Busy { until }),
                    _ => Ok(Opened::Resting(Box::new(self.run_of(&standing).await?))),
                }
            }
            Written::Denied(None) => Err(Failure::new(Kind::NotFound, format!("there is no run {id}"))),
        }
    }

    async fn renew(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<Renewed, Failure> {
        let outcome = self
            .table
            .client()
            .update_item()
            .table_name(self.table.name())
            .key("pk", text(run_key(id)))
            .key("sk", text(RUN))
            .update_expression("SET lease_until = :until, updated_at = :now")
            .condition_expression("#status = :running AND lease_owner = :owner")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":running", named(&Status::Running)?)
            .expression_attribute_values(":owner", text(&lease.owner))
            .expression_attribute_values(":until", instant(lease.until))
            .expression_attribute_values(":now", instant(now))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .set_return_consumed_capacity(self.table.capacity())
            .send()
            .await;
        Ok(match self.table.written("dynamodb renew", outcome)? {
            Written::Done(_) => Renewed::Held,
            Written::Denied(standing) => {
                let status = standing.map(|standing| Reader(&standing).named("status")).transpose()?;
                Renewed::Lost { status }
            }
        })
    }

    async fn read(&self, id: RunId, from: u32) -> Result<Vec<Segment>, Failure> {
        if from > LAST_SEGMENT {
            return Ok(Vec::new());
        }
        let items = self.items("dynamodb read", id, Some(from)).await?;
        let segments = self.segments_of(&items).await?;
        match segments.iter().zip(from..).find(|(segment, number)| segment.number != *number) {
            None => Ok(segments),
            // Whoever worked on without it would do again what was done.
            Some((_, number)) => Err(Failure::validation(format!("the stored journal has no segment {number}"))),
        }
    }

    async fn append(&self, id: RunId, segment: &Segment) -> Result<Appended, Failure> {
        if segment.number > LAST_SEGMENT {
            let message = format!("a journal has segments up to {LAST_SEGMENT}, not {}", segment.number);
            return Err(Failure::validation(message));
        }
        let json = json_of(&as_value("entries", &segment.entries)?)?;
        // From the content: who asks again, even much later, is told that it stands. No other has the same, because
        // entries name their writers.
        let hash = blake3::Hasher::new().update(run_key(id).as_bytes()).update(json.as_bytes()).finalize();
        let write_id = bytes(&hash.as_bytes()[..16]);
        let made_at = segment.entries.iter().map(moment_of).fold(id.made_at(), Timestamp::max);
        let item = Item::from([
            ("pk".to_owned(), text(run_key(id))),
            ("sk".to_owned(), text(segment_key(segment.number))),
            ("entries".to_owned(), self.table.values().pack_json(id, json, Room::ALONE).await?),
            ("write_id".to_owned(), write_id.clone()),
            ("expires_at".to_owned(), expiry(self.table.segment_expires_at(made_at))),
        ]);
        Ok(match self.put_new("dynamodb append", item).await? {
            Some(standing) if !is_of(&standing, &write_id) => Appended::Taken,
            _ => Appended::Written,
        })
    }

    async fn close(&self, id: RunId, closing: &Closing, now: Timestamp) -> Result<bool, Failure> {
        if closing.from.is_empty() {
            return Ok(false);
        }
        let write_id = write_id();
        let mut update = self.closing_update(id, closing, now).await?;
        update.set("write_id", write_id.clone());
        let mut from = Vec::new();
        for status in &closing.from {
            from.push(update.value(named(status)?));
        }
        // A repetition by the SDK must not count the attempt again: what it wrote itself is no status to start from.
        let mut condition =
            format!("#status IN ({}) AND write_id <> {}", from.join(", "), update.value(write_id.clone()));
        if let Some(owner) = &closing.owner {
            condition.push_str(&format!(" AND lease_owner = {}", update.value(text(owner))));
        }
        let outcome = self
            .table
            .client()
            .update_item()
            .table_name(self.table.name())
            .key("pk", text(run_key(id)))
            .key("sk", text(RUN))
            .update_expression(update.expression())
            .condition_expression(condition)
            .set_expression_attribute_names(Some(update.names))
            .set_expression_attribute_values(Some(update.values))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .set_return_consumed_capacity(self.table.capacity())
            .send()
            .await;
        match self.table.written("dynamodb close", outcome)? {
            Written::Done(_) => Ok(true),
            Written::Denied(standing) => Ok(standing.is_some_and(|standing| is_of(&standing, &write_id))),
        }
    }

    async fn letter_sent(&self, id: RunId) -> Result<(), Failure> {
        let outcome = self
            .table
            .client()
            .update_item()
            .table_name(self.table.name())
            .key("pk", text(run_key(id)))
            .key("sk", text(RUN))
            .update_expression("REMOVE owes_letter")
            // Of a run whose time is over there is nothing to note, and an update would make it anew.
            .condition_expression("attribute_exists(pk)")
            .set_return_consumed_capacity(self.table.capacity())
            .send()
            .await;
        self.table.written("dynamodb letter sent", outcome).map(drop)
    }

    async fn find(&self, id: RunId) -> Result<Option<(Run, Vec<StepRecord>)>, Failure> {
        let items = self.items("dynamodb find", id, None).await?;
        let Some(item) = items.iter().find(|item| sort_key(item) == RUN) else { return Ok(None) };
        let (run, segments) = futures::try_join!(self.run_of(item), self.segments_of(&items))?;
        let mut history = History::of(segments);
        let last_entries: Option<Vec<StepRecord>> = self.packed(item, "last_entries").await?;
        last_entries.into_iter().flatten().for_each(|entry| history.take_in(entry));
        Ok(Some((run, history.into_steps())))
    }

    async fn list(&self, filter: &RunFilter) -> Result<Page, Failure> {
        list::list(&self.table, filter).await
    }
}

impl TableJournal {
    /// Writes an item unless there is one under its key: that one is told.
    async fn put_new(&self, call: &str, item: Item) -> Result<Option<Item>, Failure> {
        let outcome = self
            .table
            .client()
            .put_item()
            .table_name(self.table.name())
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .set_return_consumed_capacity(self.table.capacity())
            .send()
            .await;
        match self.table.written(call, outcome)? {
            Written::Done(_) => Ok(None),
            Written::Denied(Some(standing)) => Ok(Some(standing)),
            Written::Denied(None) => Err(vanished(call)),
        }
    }

    /// A value that was packed as JSON.
    async fn packed<T: DeserializeOwned>(&self, item: &Item, name: &str) -> Result<Option<T>, Failure> {
        let Some(attribute) = item.get(name) else { return Ok(None) };
        let value = self.table.values().unpack(attribute).await?;
        serde_json::from_value(value).map(Some).map_err(|_| damaged(name))
    }
}

fn as_value(name: &str, part: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(part).map_err(|_| Failure::validation(format!("`{name}` could not be stored")))
}

// ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────

impl TableJournal {
    /// What says nothing is not stored: no failed attempts, no usage, a trigger's id that is the run's own, a moment of
    /// the last change that another one tells.
    async fn run_item(&self, run: &Run) -> Result<Item, Failure> {
        let values = self.table.values();
        let mut item = Item::from([
            ("pk".to_owned(), text(run_key(run.id))),
            ("sk".to_owned(), text(RUN)),
            ("list_pk".to_owned(), text(list::type_key(run.workflow, run.id))),
            ("data_id".to_owned(), text(&run.data_id)),
            ("definition_version".to_owned(), number(run.definition_version)),
            ("status".to_owned(), named(&run.status)?),
            ("trigger".to_owned(), named(&run.origin.trigger)?),
            ("caller".to_owned(), text(&run.origin.caller)),
            ("input".to_owned(), values.pack(run.id, &run.input, Room::RUN).await?),
            ("created_at".to_owned(), instant(run.created_at)),
            ("expires_at".to_owned(), expiry(self.table.run_expires_at(run.created_at))),
        ]);
        let mut set = |name: &str, value| item.insert(name.to_owned(), value);
        if run.status.is_noteworthy() {
            set("state_pk", text(list::state_key(run.status, run.workflow)));
        }
        if run.origin.id != run.id.to_string() {
            set("trigger_id", text(&run.origin.id));
        }
        if let Some(lineage) = &run.lineage {
            set("lineage", values.pack(run.id, &as_value("lineage", lineage)?, Room::DETAIL).await?);
        }
        if let Some(result) = &run.result {
            set("result", values.pack(run.id, result, Room::RUN).await?);
        }
        if let Some(error) = &run.error {
            set("error", values.pack(run.id, &as_value("error", error)?, Room::DETAIL).await?);
            set("error_kind", named(&error.kind)?);
        }
        if run.failed_attempts > 0 {
            set("failed_attempts", number(run.failed_attempts));
        }
        if let Some(usage) = usage(run.usage) {
            set("usage", usage);
        }
        if let Some(footprint) = footprint(run.footprint) {
            set("footprint", footprint);
        }
        if let Some(lease) = &run.lease {
            set("lease_owner", text(&lease.owner));
            set("lease_until", instant(lease.until));
        }
        if let Some(due_at) = run.due_at {
            set("due_at", instant(due_at));
        }
        if run.owes_letter {
            set("owes_letter", AttributeValue::Bool(true));
        }
        if run.updated_at != run.finished_at.unwrap_or(run.created_at) {
            set("updated_at", instant(run.updated_at));
        }
        if let Some(finished_at) = run.finished_at {
            set("finished_at", instant(finished_at));
        }
        Ok(item)
    }

    async fn run_of(&self, item: &Item) -> Result<Run, Failure> {
        let reader = Reader(item);
        let id = list::run_id_of(item)?;
        let lease = match (reader.optional_text("lease_owner")?, reader.optional_instant("lease_until")?) {
            (Some(owner), Some(until)) => Some(Lease { owner: owner.to_owned(), until }),
            _ => None,
        };
        let created_at = reader.instant("created_at")?;
        let finished_at = reader.optional_instant("finished_at")?;
        let updated_at = reader.optional_instant("updated_at")?.or(finished_at).unwrap_or(created_at);
        Ok(Run {
            id,
            workflow: list::workflow_of(item)?,
            data_id: reader.text("data_id")?.to_owned(),
            definition_version: reader.number("definition_version")?,
            status: reader.named("status")?,
            origin: Origin {
                trigger: reader.named("trigger")?,
                id: reader.optional_text("trigger_id")?.map_or_else(|| id.to_string(), str::to_owned),
                caller: reader.text("caller")?.to_owned(),
            },
            lineage: self.packed(item, "lineage").await?,
            input: self.packed(item, "input").await?.ok_or_else(|| damaged("input"))?,
            result: self.packed(item, "result").await?,
            error: self.packed(item, "error").await?,
            failed_attempts: reader.optional_number("failed_attempts")?.unwrap_or_default(),
            usage: reader.usage("usage")?,
            footprint: reader.footprint("footprint")?,
            lease,
            due_at: reader.optional_instant("due_at")?,
            owes_letter: reader.flag("owes_letter")?,
            created_at,
            updated_at,
            finished_at,
        })
    }

    async fn closing_update(&self, id: RunId, closing: &Closing, now: Timestamp) -> Result<Update, Failure> {
        let values = self.table.values();
        let mut update = Update::default();
        update.set("status", named(&closing.status)?);
        update.remove("lease_owner");
        update.remove("lease_until");
        if closing.status.is_final() {
            update.set("finished_at", instant(now));
            update.remove("updated_at");
        } else {
            update.set("updated_at", instant(now));
            update.remove("finished_at");
        }
        let state = closing.status.is_noteworthy().then(|| text(list::state_key(closing.status, closing.workflow)));
        update.set_or_remove("state_pk", state);
        update.set_or_remove("due_at", closing.due_at.map(instant));
        update.set_or_remove("owes_letter", closing.owes_letter.then_some(AttributeValue::Bool(true)));
        match &closing.result {
            Some(result) => update.set("result", values.pack(id, result, Room::RUN).await?),
            None => update.remove("result"),
        }
        if closing.last_entries.is_empty() {
            update.remove("last_entries");
        } else {
            let entries = as_value("last_entries", &closing.last_entries)?;
            update.set("last_entries", values.pack(id, &entries, Room::DETAIL).await?);
        }
        if let Some(error) = &closing.error {
            update.set("error", values.pack(id, &as_value("error", error)?, Room::DETAIL).await?);
            update.set("error_kind", named(&error.kind)?);
        }
        if let Some(now_used) = closing.usage {
            update.set_or_remove("usage", usage(now_used));
        }
        if let Some(now_taken) = closing.footprint {
            update.set_or_remove("footprint", footprint(now_taken));
        }
        if closing.counts_as_failed {
            update.increment("failed_attempts");
        }
        Ok(update)
    }
}

// ── segments ─────────────────────────────────────────────────────────────────────────────────────────────────

impl TableJournal {
    /// The segments among a run's items, in their order.
    async fn segments_of(&self, items: &[Item]) -> Result<Vec<Segment>, Failure> {
        let segments: Vec<_> =
            items.iter().filter(|item| sort_key(item).starts_with(LOG)).map(|item| self.segment_of(item)).collect();
        stream::iter(segments).buffered(PAYLOADS_AT_ONCE).try_collect().await
    }

    async fn segment_of(&self, item: &Item) -> Result<Segment, Failure> {
        let number = Reader(item).text_after("sk", LOG)?.parse().map_err(|_| damaged("sk"))?;
        let entries = self.packed(item, "entries").await?.ok_or_else(|| damaged("entries"))?;
        Ok(Segment { number, entries })
    }

    /// Everything under a run's key, or only its segments from a number on, in order.
    async fn items(&self, call: &str, id: RunId, from: Option<u32>) -> Result<Vec<Item>, Failure> {
        let mut request = self
            .table
            .client()
            .query()
            .table_name(self.table.name())
            .consistent_read(true)
            .set_return_consumed_capacity(self.table.capacity())
            .expression_attribute_values(":pk", text(run_key(id)));
        request = match from {
            // The tilde sorts after every digit.
            Some(from) => request
                .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
                .expression_attribute_values(":first", text(segment_key(from)))
                .expression_attribute_values(":last", text(format!("{LOG}~"))),
            None => request.key_condition_expression("pk = :pk"),
        };
        let mut pages = request.into_paginator().send();
        let mut items = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| failure(call, &error))?;
            self.table.was_read(page.consumed_capacity.as_slice());
            items.extend(page.items.unwrap_or_default());
        }
        Ok(items)
    }
}

fn segment_key(number: u32) -> String {
    format!("{LOG}{number:06}")
}

fn moment_of(entry: &Entry) -> Timestamp {
    match entry {
        Entry::Step(step) => step.started_at,
        Entry::Cancelled { at, .. } => *at,
    }
}

fn sort_key(item: &Item) -> &str {
    item.get("sk").and_then(|key| key.as_s().ok()).map_or("", String::as_str)
}

// ── update expressions ───────────────────────────────────────────────────────────────────────────────────────

/// An update expression as it grows. Every name goes through a placeholder, so none of the table's five hundred
/// reserved words needs to be known here.
#[derive(Default)]
struct Update {
    sets: Vec<String>,
    removals: Vec<String>,
    names: HashMap<String, String>,
    values: HashMap<String, AttributeValue>,
}

impl Update {
    fn set(&mut self, name: &str, value: AttributeValue) {
        let assignment = format!("{} = {}", self.name(name), self.value(value));
        self.sets.push(assignment);
    }

    fn set_or_remove(&mut self, name: &str, value: Option<AttributeValue>) {
        match value {
            Some(value) => self.set(name, value),
            None => self.remove(name),
        }
    }

    /// One more than there is; an attribute that is missing counts as none.
    fn increment(&mut self, name: &str) {
        let (none, one) = (self.value(number(0)), self.value(number(1)));
        let assignment = format!("{0} = if_not_exists({0}, {none}) + {one}", self.name(name));
        self.sets.push(assignment);
    }

    fn remove(&mut self, name: &str) {
        let removal = self.name(name);
        self.removals.push(removal);
    }

    fn name(&mut self, name: &str) -> String {
        let placeholder = format!("#{name}");
        self.names.insert(placeholder.clone(), name.to_owned());
        placeholder
    }

    fn value(&mut self, value: AttributeValue) -> String {
        let placeholder = format!(":v{}", self.values.len());
        self.values.insert(placeholder.clone(), value);
        placeholder
    }

    fn expression(&self) -> String {
        format!("SET {} REMOVE {}", self.sets.join(", "), self.removals.join(", "))
    }
}
