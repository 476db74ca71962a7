use async_trait::async_trait;
use aws_sdk_dynamodb::{
    operation::transact_write_items::TransactWriteItemsError,
    types::{Put, ReturnValue, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update},
};
use ihelper_workflow::{
    domain::{
        Failure, Kind, RunId, WorkflowType,
        definition::Definition,
        input::Violation,
        version::{Arm, Pointer, Tally, Version, VersionState},
    },
    ports::{Added, DefinitionStore, LARGEST_DEFINITION, Moved},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{
    Table, Written, is_of,
    item::{Item, Reader, damaged, instant, named, number, text},
    values::{Room, json_of},
    vanished, write_id,
};
use crate::failures::failure;

const CURRENT: &str = "CURRENT";
const VERSION: &str = "V#";
const MOVE: &str = "M#";
const TRIAL: &str = "TRIAL#";

/// Numbers have six digits in their key, so that keys sort as numbers do.
const LAST_NUMBER: u32 = 999_999;

/// Versions of definitions on the table. They have no end, unlike everything else there.
#[derive(Clone, Debug)]
pub struct TableDefinitionStore {
    table: Table,
}

impl TableDefinitionStore {
    /// The versions on this table.
    pub const fn new(table: Table) -> Self {
        Self { table }
    }

    /// The items of a workflow whose keys are from `first` to `last`, newest first.
    async fn items(
        &self,
        call: &str,
        workflow: WorkflowType,
        (first, last): (String, String),
        limit: usize,
    ) -> Result<Vec<Item>, Failure> {
        let mut items: Vec<Item> = Vec::new();
        let mut from = None;
        loop {
            let left = limit.saturating_sub(items.len());
            if left == 0 {
                return Ok(items);
            }
            let page = self
                .table
                .client()
                .query()
                .table_name(self.table.name())
                .consistent_read(true)
                .scan_index_forward(false)
                .limit(i32::try_from(left).unwrap_or(i32::MAX))
                .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
                .expression_attribute_values(":pk", text(partition(workflow)))
                .expression_attribute_values(":first", text(&first))
                .expression_attribute_values(":last", text(&last))
                .set_exclusive_start_key(from.take())
                .set_return_consumed_capacity(self.table.capacity())
                .send()
                .await
                .map_err(|error| failure(call, &error))?;
            self.table.was_read(page.consumed_capacity.as_slice());
            items.extend(page.items.unwrap_or_default());
            from = page.last_evaluated_key;
            if from.is_none() {
                return Ok(items);
            }
        }
    }

    /// The item of a key. By a query, since that is what the functions may do.
    async fn item(&self, call: &str, workflow: WorkflowType, key: &str) -> Result<Option<Item>, Failure> {
        Ok(self.items(call, workflow, (key.to_owned(), key.to_owned()), 1).await?.pop())
    }

    async fn version_of(&self, item: &Item) -> Result<Version, Failure> {
        let reader = Reader(item);
        let packed = item.get("definition").ok_or_else(|| damaged("definition"))?;
        let definition = self.table.values().unpack(packed).await?;
        let definition: Definition = serde_json::from_value(definition).map_err(|_| damaged("definition"))?;
        Ok(Version {
            definition,
            state: reader.named("state")?,
            author: reader.text("author")?.to_owned(),
            made_at: reader.instant("made_at")?,
            reason: reader.text("reason")?.to_owned(),
            problems: optional_json(&reader, "problems")?.unwrap_or_default(),
        })
    }
}

#[async_trait]
impl DefinitionStore for TableDefinitionStore {
    async fn pointer(&self, workflow: WorkflowType) -> Result<Option<Pointer>, Failure> {
        let item = self.item("dynamodb read pointer", workflow, CURRENT).await?;
        item.as_ref().map(pointer_of).transpose()
    }

    async fn add(&self, version: &Version) -> Result<Added, Failure> {
        const CALL: &str = "dynamodb add version";
        if version.number() > LAST_NUMBER {
            return Err(Failure::validation(format!("versions have numbers up to {LAST_NUMBER}")));
        }
        let json = json_of(&json!(version.definition))?;
        if json.len() > LARGEST_DEFINITION {
            return Err(Failure::validation(format!("a definition has at most {LARGEST_DEFINITION} bytes as JSON")));
        }
        // It always fits its item: what lies beside the table comes to an end, and a version does not.
        let definition = self.table.values().pack_json(RunId::first_of(version.made_at), json, Room::ALONE).await?;
        let write_id = write_id();
        let mut item = Item::from([
            ("pk".to_owned(), text(partition(version.workflow()))),
            ("sk".to_owned(), text(version_key(version.number()))),
            ("definition".to_owned(), definition),
            ("state".to_owned(), named(&version.state)?),
            ("author".to_owned(), text(&version.author)),
            ("made_at".to_owned(), instant(version.made_at)),
            ("reason".to_owned(), text(&version.reason)),
            ("write_id".to_owned(), write_id.clone()),
        ]);
        if !version.problems.is_empty() {
            item.insert("problems".to_owned(), text(json!(version.problems).to_string()));
        }
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
        match self.table.written(CALL, outcome)? {
            Written::Done(_) => Ok(Added::Written),
            Written::Denied(None) => Err(vanished(CALL)),
            // The SDK's repetition of what it wrote itself.
            Written::Denied(Some(standing)) if is_of(&standing, &write_id) => Ok(Added::Written),
            Written::Denied(Some(_)) => Ok(Added::Taken),
        }
    }

    async fn version(&self, workflow: WorkflowType, number: u32) -> Result<Option<Version>, Failure> {
        let item = self.item("dynamodb read version", workflow, &version_key(number)).await?;
        match item {
            Some(item) => Ok(Some(self.version_of(&item).await?)),
            None => Ok(None),
        }
    }

    async fn versions(
        &self,
        workflow: WorkflowType,
        before: Option<u32>,
        limit: usize,
    ) -> Result<Vec<Version>, Failure> {
        let Some(range) = range_below(VERSION, before) else { return Ok(Vec::new()) };
        let mut versions = Vec::new();
        for item in self.items("dynamodb list versions", workflow, range, limit).await? {
            versions.push(self.version_of(&item).await?);
        }
        Ok(versions)
    }

    async fn reject(&self, workflow: WorkflowType, number: u32, problems: &[Violation]) -> Result<(), Failure> {
        let outcome = self
            .table
            .client()
            .update_item()
            .table_name(self.table.name())
            .key("pk", text(partition(workflow)))
            .key("sk", text(version_key(number)))
            .update_expression("SET #state = :rejected, problems = :problems")
            .condition_expression("#state = :candidate")
            .expression_attribute_names("#state", "state")
            .expression_attribute_values(":rejected", named(&VersionState::Rejected)?)
            .expression_attribute_values(":candidate", named(&VersionState::Candidate)?)
            .expression_attribute_values(":problems", text(json!(problems).to_string()))
            .set_return_consumed_capacity(self.table.capacity())
            .send()
            .await;
        self.table.written("dynamodb reject version", outcome).map(|_| ())
    }

    async fn move_pointer(
        &self,
        workflow: WorkflowType,
        pointer: &Pointer,
        accepts: Option<u32>,
    ) -> Result<Moved, Failure> {
        const CALL: &str = "dynamodb move pointer";
        if pointer.revision == 0 || pointer.revision > LAST_NUMBER {
            return Err(Failure::validation(format!("a pointer moves from revision 1 to {LAST_NUMBER}")));
        }
        let write_id = write_id();
        let put = |key: String| -> Result<_, Failure> {
            let mut item = item_of(pointer)?;
            item.insert("pk".to_owned(), text(partition(workflow)));
            item.insert("sk".to_owned(), text(key));
            item.insert("write_id".to_owned(), write_id.clone());
            Ok(Put::builder().table_name(self.table.name()).set_item(Some(item)))
        };
        let current = put(CURRENT.to_owned())?;
        let current = if pointer.revision == 1 {
            current.condition_expression("attribute_not_exists(pk)")
        } else {
            current
                .condition_expression("revision = :former")
                .expression_attribute_values(":former", number(pointer.revision - 1))
        };
        let record = put(numbered(MOVE, pointer.revision))?.condition_expression("attribute_not_exists(pk)");
        let mut writes = vec![
            TransactWriteItem::builder().put(built(current.build())?).build(),
            TransactWriteItem::builder().put(built(record.build())?).build(),
        ];
        if let Some(version) = accepts {
            let update = Update::builder()
                .table_name(self.table.name())
                .key("pk", text(partition(workflow)))
                .key("sk", text(version_key(version)))
                .update_expression("SET #state = :accepted")
                .condition_expression("#state = :candidate")
                .expression_attribute_names("#state", "state")
                .expression_attribute_values(":accepted", named(&VersionState::Accepted)?)
                .expression_attribute_values(":candidate", named(&VersionState::Candidate)?);
            writes.push(TransactWriteItem::builder().update(built(update.build())?).build());
        }
        let outcome = self
            .table
            .client()
            .transact_write_items()
            .set_transact_items(Some(writes))
            .set_return_consumed_capacity(self.table.capacity())
            .send()
            .await;
        let Err(error) = outcome else { return Ok(Moved::Done) };
        let refused = error.as_service_error().is_some_and(TransactWriteItemsError::is_transaction_canceled_exception);
        if !refused {
            return Err(failure(CALL, &error));
        }
        // The record of the move tells more than the reasons: also that this very write has happened, whose answer was
        // lost.
        if let Some(record) = self.item(CALL, workflow, &numbered(MOVE, pointer.revision)).await? {
            return Ok(if is_of(&record, &write_id) { Moved::Done } else { Moved::Overtaken });
        }
        let standing = self.pointer(workflow).await?;
        if standing.map_or(0, |standing| standing.revision) + 1 != pointer.revision {
            return Ok(Moved::Overtaken);
        }
        if let Some(version) = accepts
            && self.version(workflow, version).await?.is_none_or(|found| found.state != VersionState::Candidate)
        {
            return Err(Failure::validation(format!("version {version} is no candidate")));
        }
        // Two transactions met, and neither happened.
        Err(Failure::new(Kind::Throttled, format!("{CALL}: another write was under way")))
    }

    async fn moves(&self, workflow: WorkflowType, before: Option<u32>, limit: usize) -> Result<Vec<Pointer>, Failure> {
        let Some(range) = range_below(MOVE, before) else { return Ok(Vec::new()) };
        self.items("dynamodb list moves", workflow, range, limit).await?.iter().map(pointer_of).collect()
    }

    async fn count(&self, workflow: WorkflowType, trial: u32, arm: Arm, failed: bool) -> Result<Tally, Failure> {
        const CALL: &str = "dynamodb count run";
        let counter = match (arm, failed) {
            (Arm::Canary, false) => "canary_succeeded",
            (Arm::Canary, true) => "canary_failed",
            (Arm::Control, false) => "control_succeeded",
            (Arm::Control, true) => "control_failed",
        };
        // One that the SDK repeats may count twice: a trial is judged by many.
        let outcome = self
            .table
            .client()
            .update_item()
            .table_name(self.table.name())
            .key("pk", text(partition(workflow)))
            .key("sk", text(numbered(TRIAL, trial)))
            .update_expression("ADD #counter :one")
            .expression_attribute_names("#counter", counter)
            .expression_attribute_values(":one", number(1))
            .return_values(ReturnValue::AllNew)
            .set_return_consumed_capacity(self.table.capacity())
            .send()
            .await;
        match self.table.written(CALL, outcome)? {
            Written::Done(done) => tally_of(&done.attributes.ok_or_else(|| vanished(CALL))?),
            Written::Denied(_) => Err(vanished(CALL)),
        }
    }

    async fn tally(&self, workflow: WorkflowType, trial: u32) -> Result<Tally, Failure> {
        let item = self.item("dynamodb read trial", workflow, &numbered(TRIAL, trial)).await?;
        item.as_ref().map_or(Ok(Tally::default()), tally_of)
    }
}

fn partition(workflow: WorkflowType) -> String {
    format!("DEF#{workflow}")
}

fn numbered(prefix: &str, number: u32) -> String {
    format!("{prefix}{number:06}")
}

fn version_key(number: u32) -> String {
    numbered(VERSION, number)
}

/// The keys of the numbers below this one; `None` where there is none.
fn range_below(prefix: &str, before: Option<u32>) -> Option<(String, String)> {
    let last = before.map_or(Some(LAST_NUMBER), |before| before.checked_sub(1))?;
    Some((numbered(prefix, 0), numbered(prefix, last.min(LAST_NUMBER))))
}

fn item_of(pointer: &Pointer) -> Result<Item, Failure> {
    let mut item = Item::from([
        ("revision".to_owned(), number(pointer.revision)),
        ("current_version".to_owned(), number(pointer.current)),
        ("action".to_owned(), named(&pointer.action)?),
        ("author".to_owned(), text(&pointer.by)),
        ("made_at".to_owned(), instant(pointer.at)),
        ("reason".to_owned(), text(&pointer.reason)),
    ]);
    if let Some(canary) = &pointer.canary {
        item.insert("canary".to_owned(), text(json!(canary).to_string()));
    }
    Ok(item)
}

fn pointer_of(item: &Item) -> Result<Pointer, Failure> {
    let reader = Reader(item);
    Ok(Pointer {
        revision: reader.number("revision")?,
        current: reader.number("current_version")?,
        canary: optional_json(&reader, "canary")?,
        action: reader.named("action")?,
        by: reader.text("author")?.to_owned(),
        at: reader.instant("made_at")?,
        reason: reader.text("reason")?.to_owned(),
    })
}

fn tally_of(item: &Item) -> Result<Tally, Failure> {
    let reader = Reader(item);
    let counter = |name: &str| -> Result<u32, Failure> { Ok(reader.optional_number(name)?.unwrap_or_default()) };
    Ok(Tally {
        canary_succeeded: counter("canary_succeeded")?,
        canary_failed: counter("canary_failed")?,
        control_succeeded: counter("control_succeeded")?,
        control_failed: counter("control_failed")?,
    })
}

fn optional_json<T: DeserializeOwned>(reader: &Reader<'_>, name: &str) -> Result<Option<T>, Failure> {
    let Some(json) = reader.optional_text(name)? else { return Ok(None) };
    serde_json::from_str(json).map(Some).map_err(|_| damaged(name))
}

/// What a builder gives that has everything it needs.
fn built<T, E>(built: Result<T, E>) -> Result<T, Failure> {
    built.map_err(|_| Failure::validation("a write lacks what it needs"))
}
