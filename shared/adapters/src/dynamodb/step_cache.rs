use async_trait::async_trait;
use ihelper_workflow::{
    domain::{Failure, RunId},
    ports::StepCache,
};
use jiff::Timestamp;
use serde_json::Value;

use super::{
    Table,
    item::{Item, Reader, expiry, instant, text},
    key_of,
    values::Room,
};
use crate::failures::failure;

const STEP_CACHE: &str = "STEPCACHE";

/// Answers of the assistant on the table, by the hash of what they depend on.
#[derive(Clone, Debug)]
pub struct TableStepCache {
    table: Table,
}

impl TableStepCache {
    /// The cache on this table.
    pub const fn new(table: Table) -> Self {
        Self { table }
    }
}

#[async_trait]
impl StepCache for TableStepCache {
    async fn get(&self, key: &str, now: Timestamp) -> Result<Option<Value>, Failure> {
        let answer = self
            .table
            .client()
            .get_item()
            .table_name(self.table.name())
            .key("pk", text(key_of(STEP_CACHE, key)))
            .key("sk", text(STEP_CACHE))
            .set_return_consumed_capacity(self.table.capacity())
            .send()
            .await
            .map_err(|error| failure("dynamodb get cached answer", &error))?;
        self.table.was_read(answer.consumed_capacity.as_slice());
        let Some(item) = answer.item else { return Ok(None) };
        // The table deletes late.
        if Reader(&item).instant("valid_until")? <= now {
            return Ok(None);
        }
        match item.get("value") {
            Some(value) => self.table.values().unpack(value).await.map(Some),
            None => Ok(None),
        }
    }

    async fn put(&self, key: &str, run: RunId, value: &Value, until: Timestamp) -> Result<(), Failure> {
        let item = Item::from([
            ("pk".to_owned(), text(key_of(STEP_CACHE, key))),
            ("sk".to_owned(), text(STEP_CACHE)),
            ("value".to_owned(), self.table.values().pack(run, value, Room::ALONE).await?),
            ("valid_until".to_owned(), instant(until)),
            ("expires_at".to_owned(), expiry(until)),
        ]);
        let outcome = self
            .table
            .client()
            .put_item()
            .table_name(self.table.name())
            .set_item(Some(item))
            .set_return_consumed_capacity(self.table.capacity())
            .send()
            .await;
        self.table.written("dynamodb cache answer", outcome).map(drop)
    }
}
