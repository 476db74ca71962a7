use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::ReturnValue;
use ihelper_workflow::{
    domain::Failure,
    ports::{Counted, Quota, RequestCounts},
};
use jiff::Timestamp;

use super::{
    Table, Written,
    item::{Item, Reader, expiry, number, text},
    later, vanished,
};

/// How long a count stays after its window: the table deletes late rather than early, and a clock may be wrong.
const MARGIN: Duration = Duration::from_hours(1);

const CALL: &str = "dynamodb count request";

/// Counted requests on the table: one write for each, also for one that is refused. No caller's name is kept in clear.
///
/// Here alone the client's repetition of a write whose answer was lost counts twice: a caller then has a request less in
/// one window, which costs less than telling the writes apart.
#[derive(Clone, Debug)]
pub struct TableRequestCounts {
    table: Table,
}

impl TableRequestCounts {
    /// The counts on this table.
    pub const fn new(table: Table) -> Self {
        Self { table }
    }
}

#[async_trait]
impl RequestCounts for TableRequestCounts {
    async fn count(&self, caller: &str, quota: Quota, now: Timestamp) -> Result<Counted, Failure> {
        let end = quota.window_end(now);
        let key = Item::from([
            ("pk".to_owned(), text(format!("RATE#{}", blake3::hash(caller.as_bytes())))),
            ("sk".to_owned(), text(end.as_second().to_string())),
        ]);
        let outcome = self
            .table
            .client()
            .update_item()
            .table_name(self.table.name())
            .set_key(Some(key))
            .update_expression("ADD counted :one SET expires_at = :expiry")
            .condition_expression("attribute_not_exists(counted) OR counted < :quota")
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":quota", number(quota.requests))
            .expression_attribute_values(":expiry", expiry(later(end, MARGIN)))
            .return_values(ReturnValue::UpdatedNew)
            .set_return_consumed_capacity(self.table.capacity())
            .send()
            .await;
        match self.table.written(CALL, outcome)? {
            Written::Done(done) => {
                let item = done.attributes.ok_or_else(|| vanished(CALL))?;
                let counted: u32 = Reader(&item).number("counted")?;
                Ok(Counted::Within { remaining: quota.requests.get().saturating_sub(counted) })
            }
            Written::Denied(_) => Ok(Counted::UsedUp),
        }
    }
}
