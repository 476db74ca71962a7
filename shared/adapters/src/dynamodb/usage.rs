use std::time::Duration;

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{Failure, Kind, WorkflowType, run::Usage},
    ports::UsageLedger,
};
use jiff::{civil::Date, tz::TimeZone};

use super::{
    Table,
    item::{Item, Reader, damaged, expiry, number, text},
    later, once,
};
use crate::failures::failure;

/// How long a day is kept: a year can be held against the one before.
const KEPT: Duration = Duration::from_hours(24 * 800);

const DAY: &str = "DAY#";

/// What models took, on the table: one item for each workflow and day.
///
/// The SDK repeats none of the writes.
#[derive(Clone, Debug)]
pub struct TableUsageLedger {
    table: Table,
}

impl TableUsageLedger {
    /// The ledger on this table.
    pub const fn new(table: Table) -> Self {
        Self { table }
    }
}

fn key(workflow: WorkflowType) -> String {
    format!("USAGE#{workflow}")
}

fn sort_key(day: Date) -> String {
    format!("{DAY}{day}")
}

#[async_trait]
impl UsageLedger for TableUsageLedger {
    async fn add(&self, workflow: WorkflowType, day: Date, usage: Usage) -> Result<(), Failure> {
        let midnight = day
            .to_zoned(TimeZone::UTC)
            .map_err(|_| Failure::new(Kind::Validation, format!("{day} is beyond the calendar")))?
            .timestamp();
        let outcome = self
            .table
            .client()
            .update_item()
            .table_name(self.table.name())
            .key("pk", text(key(workflow)))
            .key("sk", text(sort_key(day)))
            .update_expression(
                "ADD api_calls :api_calls, input_tokens :input_tokens, output_tokens :output_tokens, \
                 cached_tokens :cached_tokens, cost_microdollars :cost, degraded_calls :degraded \
                 SET expires_at = :expires_at",
            )
            .expression_attribute_values(":api_calls", number(usage.api_calls))
            .expression_attribute_values(":input_tokens", number(usage.input_tokens))
            .expression_attribute_values(":output_tokens", number(usage.output_tokens))
            .expression_attribute_values(":cached_tokens", number(usage.cached_tokens))
            .expression_attribute_values(":cost", number(usage.cost_microdollars))
            .expression_attribute_values(":degraded", number(usage.degraded_calls))
            .expression_attribute_values(":expires_at", expiry(later(midnight, KEPT)))
            .set_return_consumed_capacity(self.table.capacity())
            .customize()
            .config_override(once())
            .send()
            .await;
        self.table.written("dynamodb add usage", outcome).map(drop)
    }

    async fn days(&self, workflow: WorkflowType, first: Date, last: Date) -> Result<Vec<(Date, Usage)>, Failure> {
        if first > last {
            return Ok(Vec::new());
        }
        let mut days = Vec::new();
        let mut start: Option<Item> = None;
        loop {
            let answer = self
                .table
                .client()
                .query()
                .table_name(self.table.name())
                .key_condition_expression("pk = :pk AND sk BETWEEN :first AND :last")
                .expression_attribute_values(":pk", text(key(workflow)))
                .expression_attribute_values(":first", text(sort_key(first)))
                .expression_attribute_values(":last", text(sort_key(last)))
                .set_exclusive_start_key(start)
                .set_return_consumed_capacity(self.table.capacity())
                .send()
                .await
                .map_err(|error| failure("dynamodb read usage", &error))?;
            self.table.was_read(answer.consumed_capacity.as_slice());
            for item in answer.items.unwrap_or_default() {
                days.push(read(&item)?);
            }
            start = answer.last_evaluated_key;
            if start.is_none() {
                return Ok(days);
            }
        }
    }
}

fn read(item: &Item) -> Result<(Date, Usage), Failure> {
    let item = Reader(item);
    let day = item.text_after("sk", DAY)?.parse().map_err(|_| damaged("sk"))?;
    let usage = Usage {
        api_calls: item.number("api_calls")?,
        input_tokens: item.number("input_tokens")?,
        output_tokens: item.number("output_tokens")?,
        cached_tokens: item.number("cached_tokens")?,
        cost_microdollars: item.number("cost_microdollars")?,
        degraded_calls: item.number("degraded_calls")?,
    };
    Ok((day, usage))
}
