use async_trait::async_trait;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use ihelper_workflow::{
    domain::{Failure, WorkflowType},
    ports::{Tracking, TrackingEntry},
};

use super::{
    Table,
    item::{Item, Reader, expiry, moment, named, text},
    key_of,
    values::Room,
};
use crate::failures::failure;

const STATUS: &str = "STATUS";

/// Tracking entries on the table.
#[derive(Clone, Debug)]
pub struct TableTracking {
    table: Table,
}

impl TableTracking {
    /// The tracking on this table.
    pub const fn new(table: Table) -> Self {
        Self { table }
    }
}

#[async_trait]
impl Tracking for TableTracking {
    async fn put(&self, entry: &TrackingEntry) -> Result<(), Failure> {
        let details = self.table.values().pack(entry.run_id, &entry.details, Room::ALONE).await?;
        let item = Item::from([
            ("pk".to_owned(), text(key(entry.workflow, &entry.data_id))),
            ("sk".to_owned(), text(STATUS)),
            ("type".to_owned(), named(&entry.workflow)?),
            ("data_id".to_owned(), text(&entry.data_id)),
            ("run_id".to_owned(), text(entry.run_id.to_string())),
            ("status".to_owned(), text(&entry.status)),
            ("details".to_owned(), details),
            ("at".to_owned(), moment(entry.at)),
            ("expires_at".to_owned(), expiry(self.table.run_expires_at(entry.at))),
        ]);
        let outcome = self
            .table
            .client()
            .put_item()
            .table_name(self.table.name())
            .set_item(Some(item))
            // Ids sort by time, so texts can be compared.
            .condition_expression("attribute_not_exists(pk) OR run_id <= :run_id")
            .expression_attribute_values(":run_id", text(entry.run_id.to_string()))
            .set_return_consumed_capacity(self.table.capacity())
            // Nobody but the meter wants to know what stands.
            .set_return_values_on_condition_check_failure(
                self.table.capacity().map(|_| ReturnValuesOnConditionCheckFailure::AllOld),
            )
            .send()
            .await;
        // A later run's entry stands: nothing to do.
        self.table.written("dynamodb put tracking", outcome).map(drop)
    }

    async fn get(&self, workflow: WorkflowType, data_id: &str) -> Result<Option<TrackingEntry>, Failure> {
        let answer = self
            .table
            .client()
            .get_item()
            .table_name(self.table.name())
            .key("pk", text(key(workflow, data_id)))
            .key("sk", text(STATUS))
            .consistent_read(true)
            .set_return_consumed_capacity(self.table.capacity())
            .send()
            .await
            .map_err(|error| failure("dynamodb get tracking", &error))?;
        self.table.was_read(answer.consumed_capacity.as_slice());
        match answer.item {
            Some(item) => Ok(Some(self.entry_of(&item).await?)),
            None => Ok(None),
        }
    }
}

impl TableTracking {
    async fn entry_of(&self, item: &Item) -> Result<TrackingEntry, Failure> {
        let reader = Reader(item);
        let details = match item.get("details") {
            Some(details) => self.table.values().unpack(details).await?,
            None => serde_json::Value::Null,
        };
        Ok(TrackingEntry {
            workflow: reader.named("type")?,
            data_id: reader.text("data_id")?.to_owned(),
            run_id: reader.text("run_id")?.parse()?,
            status: reader.text("status")?.to_owned(),
            details,
            at: reader.moment("at")?,
        })
    }
}

fn key(workflow: WorkflowType, data_id: &str) -> String {
    let kind = match workflow {
        WorkflowType::EmailProcessing => "EMAIL",
        WorkflowType::DocumentReview => "DOCUMENT",
        WorkflowType::TaskAutomation => "TASK",
    };
    key_of(kind, data_id)
}
