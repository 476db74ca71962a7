use std::collections::HashMap;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use ihelper_workflow::{
    domain::{
        Failure, Kind, Run, RunId, Status, WorkflowType,
        run::{Lease, Origin, StepRecord, StepState},
    },
    ports::{Closing, Created, Intended, Journal, Opened, Page, Recorded, RunFilter},
};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    Table, Written,
    item::{Item, Reader, expiry, instant, moment, named, number, text, usage},
    list, run_key,
    values::Room,
    write_id, written,
};
use crate::failures::failure;

/// How many payloads of one journal are fetched at once.
const PAYLOADS_AT_ONCE: usize = 8;

const RUN: &str = "RUN";
const STEP: &str = "STEP#";

/// Runs and their steps on the table.
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
        item.insert("write_id".to_owned(), text(&write_id));
        let outcome = self
            .table
            .client()
            .put_item()
            .table_name(self.table.name())
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match written("dynamodb create", outcome)? {
            Written::Done(_) => Ok(Created::New),
            Written::Denied(standing) => {
                let standing = standing.ok_or_else(|| vanished("create"))?;
                if is_of(&standing, &write_id) {
                    return Ok(Created::New);
                }
                Ok(Created::Existing(Box::new(self.run_of(&standing).await?)))
            }
        }
    }

    async fn open(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<Opened, Failure> {
        let outcome = self
            .table
            .client()
            .update_item()
            .table_name(self.table.name())
            .key("pk", text(run_key(id)))
            .key("sk", text(RUN))
            .update_expression(
                "SET #status = :running, lease_owner = :owner, lease_until = :until, updated_at = :at REMOVE due_at",
            )
            .condition_expression(
                "(#status = :queued AND (attribute_not_exists(due_at) OR due_at <= :now)) OR (#status = :running AND \
                 (attribute_not_exists(lease_until) OR lease_until <= :now OR lease_owner = :owner))",
            )
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":queued", named(&Status::Queued)?)
            .expression_attribute_values(":running", named(&Status::Running)?)
            .expression_attribute_values(":owner", text(&lease.owner))
            .expression_attribute_values(":until", instant(lease.until))
            .expression_attribute_values(":now", instant(now))
            .expression_attribute_values(":at", moment(now))
            .return_values(ReturnValue::AllNew)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match written("dynamodb open", outcome)? {
            Written::Done(done) => {
                let item = done.attributes.ok_or_else(|| vanished("open"))?;
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

    async fn renew(&self, id: RunId, lease: &Lease, now: Timestamp) -> Result<bool, Failure> {
        let outcome = self
            .table
            .client()
            .update_item()
            .table_name(self.table.name())
            .key("pk", text(run_key(id)))
            .key("sk", text(RUN))
            .update_expression("SET lease_until = :until, updated_at = :at")
            .condition_expression("#status = :running AND lease_owner = :owner")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":running", named(&Status::Running)?)
            .expression_attribute_values(":owner", text(&lease.owner))
            .expression_attribute_values(":until", instant(lease.until))
            .expression_attribute_values(":at", moment(now))
            .send()
            .await;
        Ok(matches!(written("dynamodb renew", outcome)?, Written::Done(_)))
    }

    async fn steps(&self, id: RunId) -> Result<Vec<StepRecord>, Failure> {
        let items = self.items("dynamodb steps", id, Some(STEP)).await?;
        self.steps_of(items.iter()).await
    }

    async fn record(&self, id: RunId, step: &StepRecord) -> Result<Recorded, Failure> {
        match self.write_step("dynamodb record", id, step, "attribute_not_exists(pk)").await? {
            None => Ok(Recorded::Written),
            Some(standing) => Ok(Recorded::Existing(Box::new(standing))),
        }
    }

    async fn intend(&self, id: RunId, step: &StepRecord) -> Result<Intended, Failure> {
        let condition = "attribute_not_exists(pk) OR #state = :released";
        match self.write_step("dynamodb intend", id, step, condition).await? {
            None => Ok(Intended::Ours),
            Some(standing) => Ok(Intended::Existing(Box::new(standing))),
        }
    }

    async fn settle(&self, id: RunId, step: &StepRecord) -> Result<(), Failure> {
        let outcome = self
            .table
            .client()
            .put_item()
            .table_name(self.table.name())
            .set_item(Some(self.step_item(id, step).await?))
            .condition_expression("#state = :intended")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":intended", named(&StepState::Intended)?)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match written("dynamodb settle", outcome)? {
            Written::Done(_) | Written::Denied(Some(_)) => Ok(()),
            Written::Denied(None) => {
                Err(Failure::new(Kind::NotFound, format!("there is no intent at step {} of run {id}", step.position)))
            }
        }
    }

    async fn close(&self, id: RunId, closing: &Closing, now: Timestamp) -> Result<bool, Failure> {
        if closing.from.is_empty() {
            return Ok(false);
        }
        let write_id = write_id();
        let mut update = self.closing_update(id, closing, now).await?;
        update.set("write_id", text(&write_id));
        let mut from = Vec::new();
        for status in &closing.from {
            from.push(update.value(named(status)?));
        }
        // A repetition by the SDK must not count the attempt again: what it wrote itself is no status to start from.
        let mut condition =
            format!("#status IN ({}) AND write_id <> {}", from.join(", "), update.value(text(&write_id)));
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
            .send()
            .await;
        match written("dynamodb close", outcome)? {
            Written::Done(_) => Ok(true),
            Written::Denied(standing) => Ok(standing.is_some_and(|standing| is_of(&standing, &write_id))),
        }
    }

    async fn find(&self, id: RunId) -> Result<Option<(Run, Vec<StepRecord>)>, Failure> {
        let items = self.items("dynamodb find", id, None).await?;
        let Some(run) = items.iter().find(|item| sort_key(item) == RUN) else { return Ok(None) };
        let steps = self.steps_of(items.iter().filter(|item| sort_key(item).starts_with(STEP)));
        let (run, steps) = futures::try_join!(self.run_of(run), steps)?;
        Ok(Some((run, steps)))
    }

    async fn list(&self, filter: &RunFilter) -> Result<Page, Failure> {
        list::list(&self.table, filter).await
    }
}

// ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────

impl TableJournal {
    async fn run_item(&self, run: &Run) -> Result<Item, Failure> {
        let values = self.table.values();
        let mut item = Item::from([
            ("pk".to_owned(), text(run_key(run.id))),
            ("sk".to_owned(), text(RUN)),
            ("list_pk".to_owned(), text(list::type_key(run.workflow, run.id))),
            ("list_sk".to_owned(), text(run.id.to_string())),
            ("state_keys".to_owned(), state_keys(run.workflow)),
            ("type".to_owned(), named(&run.workflow)?),
            ("data_id".to_owned(), text(&run.data_id)),
            ("definition_version".to_owned(), number(run.definition_version)),
            ("status".to_owned(), named(&run.status)?),
            ("trigger".to_owned(), named(&run.origin.trigger)?),
            ("trigger_id".to_owned(), text(&run.origin.id)),
            ("caller".to_owned(), text(&run.origin.caller)),
            ("input".to_owned(), values.pack(run.id, &run.input, Room::RUN).await?),
            ("failed_attempts".to_owned(), number(run.failed_attempts)),
            ("usage".to_owned(), usage(run.usage)),
            ("created_at".to_owned(), moment(run.created_at)),
            ("updated_at".to_owned(), moment(run.updated_at)),
            ("expires_at".to_owned(), expiry(self.table.run_expires_at(run.created_at))),
        ]);
        let mut set = |name: &str, value| item.insert(name.to_owned(), value);
        if run.status.is_noteworthy() {
            set("state_pk", text(list::state_key(run.status, run.workflow)));
        }
        if let Some(result) = &run.result {
            set("result", values.pack(run.id, result, Room::RUN).await?);
        }
        if let Some(error) = &run.error {
            set("error", values.pack(run.id, &as_value(error)?, Room::ERROR).await?);
            set("error_kind", named(&error.kind)?);
        }
        if let Some(lease) = &run.lease {
            set("lease_owner", text(&lease.owner));
            set("lease_until", instant(lease.until));
        }
        if let Some(due_at) = run.due_at {
            set("due_at", instant(due_at));
        }
        if let Some(finished_at) = run.finished_at {
            set("finished_at", moment(finished_at));
        }
        Ok(item)
    }

    async fn run_of(&self, item: &Item) -> Result<Run, Failure> {
        let reader = Reader(item);
        let error = match self.optional_value(item, "error").await? {
            None => None,
            Some(error) => {
                let error: Result<Failure, _> = serde_json::from_value(error);
                Some(error.map_err(|_| Failure::validation("the stored item has no readable `error`"))?)
            }
        };
        let lease = match (reader.optional_text("lease_owner")?, reader.optional_instant("lease_until")?) {
            (Some(owner), Some(until)) => Some(Lease { owner: owner.to_owned(), until }),
            _ => None,
        };
        Ok(Run {
            id: run_id_of(item)?,
            workflow: reader.named("type")?,
            data_id: reader.text("data_id")?.to_owned(),
            definition_version: reader.number("definition_version")?,
            status: reader.named("status")?,
            origin: Origin {
                trigger: reader.named("trigger")?,
                id: reader.text("trigger_id")?.to_owned(),
                caller: reader.text("caller")?.to_owned(),
            },
            input: self.optional_value(item, "input").await?.unwrap_or_default(),
            result: self.optional_value(item, "result").await?,
            error,
            failed_attempts: reader.number("failed_attempts")?,
            usage: reader.usage("usage")?,
            lease,
            due_at: reader.optional_instant("due_at")?,
            created_at: reader.moment("created_at")?,
            updated_at: reader.moment("updated_at")?,
            finished_at: reader.optional_moment("finished_at")?,
        })
    }

    async fn closing_update(&self, id: RunId, closing: &Closing, now: Timestamp) -> Result<Update, Failure> {
        let values = self.table.values();
        let mut update = Update::default();
        update.set("status", named(&closing.status)?);
        update.set("updated_at", moment(now));
        update.remove("lease_owner");
        update.remove("lease_until");
        match closing.due_at {
            Some(due_at) => update.set("due_at", instant(due_at)),
            None => update.remove("due_at"),
        }
        if closing.status.is_noteworthy() {
            // The key names the workflow, which a closing does not know: the item does.
            update.set_from("state_pk", "state_keys", closing.status.name());
        } else {
            update.remove("state_pk");
        }
        if closing.status.is_final() {
            update.set("finished_at", moment(now));
        } else {
            update.remove("finished_at");
        }
        match &closing.result {
            Some(result) => update.set("result", values.pack(id, result, Room::RUN).await?),
            None => update.remove("result"),
        }
        if let Some(error) = &closing.error {
            update.set("error", values.pack(id, &as_value(error)?, Room::ERROR).await?);
            update.set("error_kind", named(&error.kind)?);
        }
        if let Some(now_used) = closing.usage {
            update.set("usage", usage(now_used));
        }
        if closing.counts_as_failed {
            update.increment("failed_attempts");
        }
        Ok(update)
    }

    async fn optional_value(&self, item: &Item, name: &str) -> Result<Option<Value>, Failure> {
        match item.get(name) {
            Some(attribute) => Ok(Some(self.table.values().unpack(attribute).await?)),
            None => Ok(None),
        }
    }
}

/// The keys under which a run of this workflow stands in the index of noteworthy runs, by status.
fn state_keys(workflow: WorkflowType) -> AttributeValue {
    let keys = Status::ALL
        .into_iter()
        .filter(|status| status.is_noteworthy())
        .map(|status| (status.name().to_owned(), text(list::state_key(status, workflow))));
    AttributeValue::M(keys.collect())
}

fn run_id_of(item: &Item) -> Result<RunId, Failure> {
    Reader(item).text("list_sk")?.parse()
}

/// Whether the write of this id made the item what it is.
fn is_of(item: &Item, write_id: &str) -> bool {
    item.get("write_id").is_some_and(|standing| standing.as_s().is_ok_and(|standing| standing == write_id))
}

fn as_value(error: &Failure) -> Result<Value, Failure> {
    serde_json::to_value(error).map_err(|_| Failure::validation("an error could not be stored"))
}

fn vanished(call: &str) -> Failure {
    Failure::new(Kind::Unknown, format!("dynamodb {call}: the answer names no item"))
}

// ── steps ────────────────────────────────────────────────────────────────────────────────────────────────────

impl TableJournal {
    /// Writes a step under a condition. `None` when it stands; otherwise what stands instead.
    async fn write_step(
        &self,
        call: &str,
        id: RunId,
        step: &StepRecord,
        condition: &str,
    ) -> Result<Option<StepRecord>, Failure> {
        let write_id = write_id();
        let mut item = self.step_item(id, step).await?;
        item.insert("write_id".to_owned(), text(&write_id));
        let mut request = self
            .table
            .client()
            .put_item()
            .table_name(self.table.name())
            .set_item(Some(item))
            .condition_expression(condition)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if condition.contains(":released") {
            request = request
                .expression_attribute_names("#state", "state")
                .expression_attribute_values(":released", named(&StepState::Released)?);
        }
        match written(call, request.send().await)? {
            Written::Done(_) => Ok(None),
            Written::Denied(Some(standing)) if is_of(&standing, &write_id) => Ok(None),
            Written::Denied(Some(standing)) => Ok(Some(self.step_of(&standing).await?)),
            Written::Denied(None) => Err(Failure::new(Kind::Unknown, format!("{call}: the answer names no item"))),
        }
    }

    async fn step_item(&self, id: RunId, step: &StepRecord) -> Result<Item, Failure> {
        let mut item = Item::from([
            ("pk".to_owned(), text(run_key(id))),
            ("sk".to_owned(), text(format!("{STEP}{}", step.position))),
            ("name".to_owned(), text(&step.name)),
            ("state".to_owned(), named(&step.state)?),
            ("owner".to_owned(), text(&step.owner)),
            ("started_at".to_owned(), moment(step.started_at)),
            ("duration_ms".to_owned(), number(step.duration_ms)),
            ("usage".to_owned(), usage(step.usage)),
            ("expires_at".to_owned(), expiry(self.table.step_expires_at(step.started_at))),
        ]);
        if !step.output.is_null() {
            item.insert("output".to_owned(), self.table.values().pack(id, &step.output, Room::ALONE).await?);
        }
        Ok(item)
    }

    async fn step_of(&self, item: &Item) -> Result<StepRecord, Failure> {
        let reader = Reader(item);
        let position = reader.text("sk")?.strip_prefix(STEP);
        Ok(StepRecord {
            position: position.ok_or_else(|| Failure::validation("the stored item is no step"))?.to_owned(),
            name: reader.text("name")?.to_owned(),
            state: reader.named("state")?,
            output: self.optional_value(item, "output").await?.unwrap_or_default(),
            owner: reader.text("owner")?.to_owned(),
            started_at: reader.moment("started_at")?,
            duration_ms: reader.number("duration_ms")?,
            usage: reader.usage("usage")?,
        })
    }

    async fn steps_of<'a>(&self, items: impl Iterator<Item = &'a Item> + Send) -> Result<Vec<StepRecord>, Failure> {
        let steps: Vec<_> = items.map(|item| self.step_of(item)).collect();
        stream::iter(steps).buffered(PAYLOADS_AT_ONCE).try_collect().await
    }

    /// Everything under a run's key, or what of it begins with a prefix, in order.
    async fn items(&self, call: &str, id: RunId, prefix: Option<&str>) -> Result<Vec<Item>, Failure> {
        let mut request = self
            .table
            .client()
            .query()
            .table_name(self.table.name())
            .consistent_read(true)
            .expression_attribute_values(":pk", text(run_key(id)));
        request = match prefix {
            Some(prefix) => request
                .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
                .expression_attribute_values(":prefix", text(prefix)),
            None => request.key_condition_expression("pk = :pk"),
        };
        let pages: Result<Vec<Item>, _> = request.into_paginator().items().send().collect().await;
        pages.map_err(|error| failure(call, &error))
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

    /// Sets an attribute to what another one, a map, holds under a key.
    fn set_from(&mut self, name: &str, map: &str, key: &str) {
        let assignment = format!("{} = {}.{}", self.name(name), self.name(map), self.name(key));
        self.sets.push(assignment);
    }

    fn increment(&mut self, name: &str) {
        let assignment = format!("{0} = {0} + {1}", self.name(name), self.value(number(1)));
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
