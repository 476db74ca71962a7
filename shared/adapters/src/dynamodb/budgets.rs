use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    operation::update_item::builders::UpdateItemFluentBuilder, types::ReturnValuesOnConditionCheckFailure,
};
use ihelper_workflow::{
    domain::Failure,
    ports::{Account, Budgets, Reserved},
};
use jiff::Timestamp;

use super::{
    Table, Written,
    item::{Item, Reader, expiry, number, text},
    later, once, vanished,
};

/// How long an account stays after its day: the table deletes late rather than early, and a clock may be wrong.
const MARGIN: Duration = Duration::from_hours(24);

/// How often an amount is given back, as long as it certainly was not.
const ATTEMPTS: usize = 3;

const RESERVE: &str = "dynamodb reserve budget";
const SETTLE: &str = "dynamodb settle budget";

/// Budgets on the table: one item for each account, with all that was `taken` and not given back, and what of that calls
/// under way have `held`. No caller's name is kept in clear.
///
/// The SDK repeats none of these writes.
#[derive(Clone, Debug)]
pub struct TableBudgets {
    table: Table,
}

impl TableBudgets {
    /// The budgets on this table.
    pub const fn new(table: Table) -> Self {
        Self { table }
    }

    fn update(&self, account: &Account) -> UpdateItemFluentBuilder {
        self.table
            .client()
            .update_item()
            .table_name(self.table.name())
            .key("pk", text(key(account)))
            .key("sk", text("BUDGET"))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .set_return_consumed_capacity(self.table.capacity())
    }

    async fn write(&self, call: &str, update: UpdateItemFluentBuilder) -> Result<Written<()>, Failure> {
        let outcome = update.customize().config_override(once()).send().await;
        Ok(match self.table.written(call, outcome)? {
            Written::Done(_) => Written::Done(()),
            Written::Denied(standing) => Written::Denied(standing),
        })
    }

    fn expires_at(&self, account: &Account) -> Timestamp {
        match (account, account.resets_at()) {
            (Account::Run(id), _) => self.table.run_expires_at(id.made_at()),
            (_, Some(reset)) => later(reset, MARGIN),
            (_, None) => Timestamp::MAX,
        }
    }
}

#[async_trait]
impl Budgets for TableBudgets {
    async fn reserve(&self, account: &Account, amount: u64, limit: u64) -> Result<Reserved, Failure> {
        let Some(room) = limit.checked_sub(amount) else { return Ok(Reserved::Spent) };
        let update = self
            .update(account)
            .update_expression("ADD taken :amount, held :amount SET expires_at = :expires_at")
            .condition_expression("attribute_not_exists(taken) OR taken <= :room")
            .expression_attribute_values(":amount", number(amount))
            .expression_attribute_values(":room", number(room))
            .expression_attribute_values(":expires_at", expiry(self.expires_at(account)));
        match self.write(RESERVE, update).await? {
            Written::Done(()) => Ok(Reserved::Granted),
            Written::Denied(Some(standing)) => {
                let settled = taken(&standing)?.saturating_sub(held(&standing)?);
                Ok(if settled <= i128::from(room) { Reserved::Occupied } else { Reserved::Spent })
            }
            Written::Denied(None) => Err(vanished(RESERVE)),
        }
    }

    async fn settle(&self, account: &Account, reserved: u64, spent: u64) -> Result<(), Failure> {
        let mut attempts = 1;
        loop {
            let update = self
                .update(account)
                .update_expression("ADD taken :more, held :less")
                // An account that has expired meanwhile is not begun anew with a debt of its own.
                .condition_expression("attribute_exists(taken)")
                .expression_attribute_values(":more", number(i128::from(spent) - i128::from(reserved)))
                .expression_attribute_values(":less", number(-i128::from(reserved)));
            match self.write(SETTLE, update).await {
                Ok(_) => return Ok(()),
                Err(failure) if failure.maybe_applied || !failure.kind.retryable() || attempts == ATTEMPTS => {
                    return Err(failure);
                }
                Err(_) => attempts += 1,
            }
        }
    }
}

fn taken(item: &Item) -> Result<i128, Failure> {
    Reader(item).number("taken")
}

fn held(item: &Item) -> Result<i128, Failure> {
    Reader(item).number("held")
}

fn key(account: &Account) -> String {
    match account {
        Account::Run(id) => format!("BUDGET#run#{id}"),
        Account::CallerDay { caller, day } => {
            format!("BUDGET#caller#{}#{}", blake3::hash(caller.as_bytes()), day.as_second())
        }
        Account::WorkflowDay { workflow, day } => format!("BUDGET#workflow#{workflow}#{}", day.as_second()),
    }
}
