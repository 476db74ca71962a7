use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use ihelper_workflow::{
    domain::{Failure, RunId},
    ports::{AnswerLedger, Claim, sender_key},
};
use jiff::Timestamp;

use super::{
    Table, Written,
    item::{Item, expiry, instant, moment, text},
    later,
};

/// How long an entry stays after its window: the table deletes late rather than early, and a clock may be wrong.
const MARGIN: Duration = Duration::from_hours(24);

/// The attribute that tells a suppressed address, and since when. Such an entry stays for good.
const SUPPRESSED: &str = "suppressed_at";

/// Who was answered lately, on the table. Addresses are kept as hashes only.
#[derive(Clone, Debug)]
pub struct TableAnswerLedger {
    table: Table,
}

impl TableAnswerLedger {
    /// The ledger on this table.
    pub const fn new(table: Table) -> Self {
        Self { table }
    }
}

#[async_trait]
impl AnswerLedger for TableAnswerLedger {
    async fn claim(&self, address: &str, run: RunId, now: Timestamp, window: Duration) -> Result<Claim, Failure> {
        let until = later(now, window);
        let mut item = entry(address);
        item.insert("run_id".to_owned(), text(run.to_string()));
        item.insert("window_until".to_owned(), instant(until));
        item.insert("expires_at".to_owned(), expiry(later(until, MARGIN)));
        let outcome = self
            .table
            .client()
            .put_item()
            .table_name(self.table.name())
            .set_item(Some(item))
            .condition_expression(
                "attribute_not_exists(pk) OR \
                 (attribute_not_exists(suppressed_at) AND (window_until <= :now OR run_id = :run_id))",
            )
            .expression_attribute_values(":now", instant(now))
            .expression_attribute_values(":run_id", text(run.to_string()))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .set_return_consumed_capacity(self.table.capacity())
            .send()
            .await;
        Ok(match self.table.written("dynamodb claim answer", outcome)? {
            Written::Done(_) => Claim::Granted,
            Written::Denied(Some(item)) if item.contains_key(SUPPRESSED) => Claim::Suppressed,
            Written::Denied(_) => Claim::AnsweredAlready,
        })
    }

    async fn release(&self, address: &str, run: RunId) -> Result<(), Failure> {
        // A window that ended long ago is as good as none, and its entry expires as it would have.
        let outcome = self
            .table
            .client()
            .update_item()
            .table_name(self.table.name())
            .set_key(Some(entry(address)))
            .update_expression("SET window_until = :over")
            .condition_expression("run_id = :run_id AND attribute_not_exists(suppressed_at)")
            .expression_attribute_values(":over", instant(Timestamp::UNIX_EPOCH))
            .expression_attribute_values(":run_id", text(run.to_string()))
            .set_return_consumed_capacity(self.table.capacity())
            .send()
            .await;
        self.table.written("dynamodb release answer", outcome).map(drop)
    }

    async fn suppress(&self, address: &str, now: Timestamp) -> Result<(), Failure> {
        let mut item = entry(address);
        item.insert(SUPPRESSED.to_owned(), moment(now));
        // The whole entry is replaced: who was answered last no longer matters.
        let outcome = self
            .table
            .client()
            .put_item()
            .table_name(self.table.name())
            .set_item(Some(item))
            .set_return_consumed_capacity(self.table.capacity())
            .send()
            .await;
        self.table.written("dynamodb suppress address", outcome).map(drop)
    }
}

fn entry(address: &str) -> Item {
    let hash = blake3::hash(sender_key(address).as_bytes());
    Item::from([("pk".to_owned(), text(format!("ANSWER#{hash}"))), ("sk".to_owned(), text("ANSWER"))])
}
