use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure;
use ihelper_workflow::{
    domain::Failure,
    ports::{GivesWay, Recalled, Remembered, RequestKey, Requests},
};
use jiff::Timestamp;

use super::{
    Table, Written, is_of,
    item::{Item, Reader, expiry, instant, text},
    key_of, later, vanished, write_id,
};

/// How long an entry stays after it is over: the table deletes late rather than early, and a clock may be wrong.
const MARGIN: Duration = Duration::from_hours(24);

const CALL: &str = "dynamodb remember request";

/// Remembered requests on the table. Neither a caller's name nor an idempotency key is kept in clear.
#[derive(Clone, Debug)]
pub struct TableRequests {
    table: Table,
}

impl TableRequests {
    /// The requests on this table.
    pub const fn new(table: Table) -> Self {
        Self { table }
    }
}

#[async_trait]
impl Requests for TableRequests {
    async fn remember(
        &self,
        key: &RequestKey,
        request: &Remembered,
        gives_way: GivesWay,
        now: Timestamp,
    ) -> Result<Recalled, Failure> {
        let write_id = write_id();
        let (pk, sk) = keys(key);
        let item = Item::from([
            ("pk".to_owned(), text(pk)),
            ("sk".to_owned(), text(sk)),
            ("run_id".to_owned(), text(request.run.to_string())),
            ("fingerprint".to_owned(), text(&request.fingerprint)),
            ("until".to_owned(), instant(request.until)),
            ("expires_at".to_owned(), expiry(later(request.until, MARGIN))),
            ("write_id".to_owned(), write_id.clone()),
        ]);
        let mut put = self
            .table
            .client()
            .put_item()
            .table_name(self.table.name())
            .set_item(Some(item))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .set_return_consumed_capacity(self.table.capacity());
        let over = "attribute_not_exists(pk) OR #until <= :now";
        let condition = match gives_way {
            GivesWay::Anything => None,
            GivesWay::Nothing => Some(over.to_owned()),
            GivesWay::Run(run) => {
                put = put.expression_attribute_values(":run_id", text(run.to_string()));
                Some(format!("{over} OR run_id = :run_id"))
            }
        };
        if let Some(condition) = condition {
            put = put
                .condition_expression(condition)
                .expression_attribute_names("#until", "until")
                .expression_attribute_values(":now", instant(now));
        }
        match self.table.written(CALL, put.send().await)? {
            Written::Done(_) => Ok(Recalled::New),
            Written::Denied(None) => Err(vanished(CALL)),
            // The SDK's repetition of what it wrote itself.
            Written::Denied(Some(standing)) if is_of(&standing, &write_id) => Ok(Recalled::New),
            Written::Denied(Some(standing)) => Ok(Recalled::Known(remembered(&standing)?)),
        }
    }
}

fn keys(key: &RequestKey) -> (String, &'static str) {
    match key {
        RequestKey::Idempotency { caller, key } => {
            let mut hasher = blake3::Hasher::new();
            for part in [caller, key] {
                // The length keeps ("ab", "c") and ("a", "bc") apart.
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part.as_bytes());
            }
            (key_of("IDEM", hasher.finalize().to_hex().as_str()), "IDEM")
        }
        RequestKey::Result { workflow_id } => (key_of("CACHE", &format!("workflow:{workflow_id}")), "CACHE"),
    }
}

fn remembered(item: &Item) -> Result<Remembered, Failure> {
    let reader = Reader(item);
    Ok(Remembered {
        run: reader.text("run_id")?.parse()?,
        fingerprint: reader.text("fingerprint")?.to_owned(),
        until: reader.instant("until")?,
    })
}
