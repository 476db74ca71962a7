//! The table of the template, in a database in memory behind a real endpoint.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use dynoxide::{AttributeValue, Database, Item, actions::scan::ScanRequest, server, types::item_size};
use ihelper_adapters::{
    aws::{Aws, Credentials, Timeouts},
    dynamodb::{Meter, RETENTION, Table, ValueStore},
};
use ihelper_workflow::domain::Failure;
use serde_json::Value;

/// What the service counts for each item and each index entry besides what is in it, in bytes.
const OVERHEAD: usize = 100;

const NAME: &str = "ihelper";

/// A DynamoDB with one table.
pub(crate) struct Service {
    database: Database,
    aws: Aws,
}

impl Service {
    /// An empty one. It ends with the test's runtime.
    pub(crate) async fn start() -> Self {
        let database = Database::memory().unwrap();
        database.create_table(serde_json::from_value(table_of_the_template()).unwrap()).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(server::serve_on(listener, database.clone()));
        let credentials =
            Credentials { access_key_id: "test".to_owned(), secret_access_key: "test".to_owned(), session_token: None };
        Self { database, aws: Aws::new("us-east-1", credentials, Some(endpoint), Timeouts::default()) }
    }

    /// The table, each request of which this meter counts.
    pub(crate) fn table(&self, meter: &Arc<Meter>) -> Table {
        Table::new(&self.aws, NAME, Arc::new(NoValues), RETENTION).metered(Arc::clone(meter))
    }

    /// The bytes of each item, by its sort key and the kind of its partition.
    pub(crate) fn sizes(&self) -> BTreeMap<String, usize> {
        let name_of = |item: &Item| {
            let kind = text(item, "pk").split('#').next().unwrap_or_default();
            format!("{kind} {}", text(item, "sk"))
        };
        self.items(None).iter().map(|item| (name_of(item), item_size(item))).collect()
    }

    /// What the table holds, in bytes as they are billed.
    pub(crate) fn stored(&self) -> usize {
        [None, Some("by_type"), Some("by_state")]
            .into_iter()
            .flat_map(|index| self.items(index))
            .map(|item| item_size(&item) + OVERHEAD)
            .sum()
    }

    fn items(&self, index: Option<&str>) -> Vec<Item> {
        let request =
            ScanRequest { table_name: NAME.to_owned(), index_name: index.map(str::to_owned), ..ScanRequest::default() };
        self.database.scan(request).unwrap().items.unwrap_or_default()
    }
}

fn text<'a>(item: &'a Item, name: &str) -> &'a str {
    match item.get(name) {
        Some(AttributeValue::S(text)) => text,
        _ => "",
    }
}

/// A request to make the table, from what the template says of it.
fn table_of_the_template() -> Value {
    let template = include_str!("../../../infra/templates/data.yaml");
    let template: Value = serde_saphyr::from_str(template).unwrap();
    let mut table = template.pointer("/Resources/Table/Properties").cloned().unwrap();
    let asked = ["BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes"];
    table.as_object_mut().unwrap().retain(|name, _| asked.contains(&name.as_str()));
    table["TableName"] = NAME.into();
    table
}

/// Nothing that a typical run has is too large for an item.
struct NoValues;

#[async_trait]
impl ValueStore for NoValues {
    async fn put(&self, key: &str, _: Vec<u8>) -> Result<(), Failure> {
        Err(Failure::validation(format!("a typical run needs no payload, but {key} was written")))
    }

    async fn get(&self, key: &str, _: u64) -> Result<Vec<u8>, Failure> {
        Err(Failure::validation(format!("a typical run needs no payload, but {key} was read")))
    }
}
