//! A table in memory behind a real HTTP endpoint.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use aws_sdk_dynamodb::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    types::{
        AttributeDefinition, AttributeValue, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
        ProjectionType, ScalarAttributeType,
    },
};
use dynoxide::{Database, server};
use ihelper_adapters::{
    dynamodb::{
        Meter, RETENTION, Table, TableAnswerLedger, TableBudgets, TableDefinitionStore, TableJournal,
        TableRequestCounts, TableRequests, TableStepCache, TableTracking, TableUsageLedger, ValueStore,
    },
    system::SystemEntropy,
};
use ihelper_workflow::{
    domain::{Failure, Kind},
    ports::Entropy as _,
};

use crate::wire::aws;

/// What each index shows besides keys; the template says the same.
pub(crate) const PROJECTED: [(&str, &[&str]); 2] = [
    ("by_type", &["caller"]),
    ("by_state", &["data_id", "failed_attempts", "trigger", "error_kind", "created_at", "finished_at", "caller"]),
];

pub(crate) type Item = HashMap<String, AttributeValue>;

/// The table and the store beside it.
pub(crate) struct TestTable {
    pub(crate) address: SocketAddr,
    pub(crate) payloads: Arc<MemoryValueStore>,
    client: Client,
    name: String,
}

impl TestTable {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        // Ends with the test's runtime.
        tokio::spawn(server::serve_on(listener, Database::memory().unwrap()));
        Self::at(address).await
    }

    /// A new table of the database at this address.
    pub(crate) async fn at(address: SocketAddr) -> Self {
        let client = client(address);
        let name = format!("ihelper-{}", SystemEntropy.random());
        create_table(&client, &name).await;
        Self { address, payloads: Arc::default(), client, name }
    }

    pub(crate) fn journal(&self) -> TableJournal {
        self.journal_at(self.address)
    }

    /// The journal, reached through another address.
    pub(crate) fn journal_at(&self, address: SocketAddr) -> TableJournal {
        TableJournal::new(self.table_at(address))
    }

    pub(crate) fn tracking(&self) -> TableTracking {
        TableTracking::new(self.table_at(self.address))
    }

    pub(crate) fn requests(&self) -> TableRequests {
        self.requests_at(self.address)
    }

    pub(crate) fn requests_at(&self, address: SocketAddr) -> TableRequests {
        TableRequests::new(self.table_at(address))
    }

    pub(crate) fn request_counts(&self) -> TableRequestCounts {
        TableRequestCounts::new(self.table_at(self.address))
    }

    pub(crate) fn answers(&self) -> TableAnswerLedger {
        TableAnswerLedger::new(self.table_at(self.address))
    }

    pub(crate) fn budgets(&self) -> TableBudgets {
        TableBudgets::new(self.table_at(self.address))
    }

    pub(crate) fn step_cache(&self) -> TableStepCache {
        TableStepCache::new(self.table_at(self.address))
    }

    pub(crate) fn usage(&self) -> TableUsageLedger {
        TableUsageLedger::new(self.table_at(self.address))
    }

    pub(crate) fn definitions(&self) -> TableDefinitionStore {
        self.definitions_at(self.address)
    }

    pub(crate) fn definitions_at(&self, address: SocketAddr) -> TableDefinitionStore {
        TableDefinitionStore::new(self.table_at(address))
    }

    /// The table, with every request counted.
    pub(crate) fn metered(&self) -> (Table, Arc<Meter>) {
        self.metered_at(self.address)
    }

    pub(crate) fn metered_at(&self, address: SocketAddr) -> (Table, Arc<Meter>) {
        let meter = Arc::new(Meter::new());
        (self.table_at(address).metered(Arc::clone(&meter)), meter)
    }

    pub(crate) fn table_at(&self, address: SocketAddr) -> Table {
        Table::new(&aws(address), &self.name, Arc::clone(&self.payloads) as Arc<dyn ValueStore>, RETENTION)
    }

    /// Every item, as it is stored.
    pub(crate) async fn items(&self) -> Vec<Item> {
        self.client.scan().table_name(&self.name).send().await.unwrap().items.unwrap_or_default()
    }
}

/// A client to look at the items themselves.
fn client(address: SocketAddr) -> Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"))
        .endpoint_url(format!("http://{address}"))
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

/// The table as the template makes it.
async fn create_table(client: &Client, name: &str) {
    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build().unwrap();
    let index = |(name, projected): (&str, &[&str]), hash: &str| {
        GlobalSecondaryIndex::builder()
            .index_name(name)
            .key_schema(key(hash, KeyType::Hash))
            .key_schema(key("pk", KeyType::Range))
            .projection(
                Projection::builder()
                    .projection_type(ProjectionType::Include)
                    .set_non_key_attributes(Some(projected.iter().map(|name| (*name).to_owned()).collect()))
                    .build(),
            )
            .build()
            .unwrap()
    };
    let attribute = |name: &str| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build().unwrap()
    };
    client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_attribute_definitions(Some(["pk", "sk", "list_pk", "state_pk"].map(attribute).to_vec()))
        .key_schema(key("pk", KeyType::Hash))
        .key_schema(key("sk", KeyType::Range))
        .global_secondary_indexes(index(PROJECTED[0], "list_pk"))
        .global_secondary_indexes(index(PROJECTED[1], "state_pk"))
        .send()
        .await
        .unwrap();
}

/// The size of an item in bytes as the service counts it: names and values, a number by its digits.
pub(crate) fn item_size(item: &Item) -> usize {
    fn size(value: &AttributeValue) -> usize {
        match value {
            AttributeValue::S(text) => text.len(),
            AttributeValue::B(bytes) => bytes.as_ref().len(),
            AttributeValue::N(number) => {
                let digits = number.trim_start_matches('-').trim_matches('0').len();
                usize::from(number.starts_with('-')) + digits.div_ceil(2) + 1
            }
            AttributeValue::Bool(_) => 1,
            AttributeValue::L(values) => 3 + values.iter().map(|value| size(value) + 1).sum::<usize>(),
            AttributeValue::M(values) => 3 + item_size(values) + values.len(),
            other => panic!("the table has no attribute like {other:?}"),
        }
    }
    item.iter().map(|(name, value)| name.len() + size(value)).sum()
}

/// Payloads in memory.
#[derive(Default)]
pub(crate) struct MemoryValueStore(Mutex<HashMap<String, Vec<u8>>>);

impl MemoryValueStore {
    pub(crate) fn keys(&self) -> Vec<String> {
        self.0.lock().unwrap().keys().cloned().collect()
    }
}

#[async_trait]
impl ValueStore for MemoryValueStore {
    async fn put(&self, key: &str, bytes: Vec<u8>) -> Result<(), Failure> {
        self.0.lock().unwrap().insert(key.to_owned(), bytes);
        Ok(())
    }

    async fn get(&self, key: &str, limit: u64) -> Result<Vec<u8>, Failure> {
        let bytes = self.0.lock().unwrap().get(key).cloned();
        bytes
            .filter(|bytes| bytes.len() as u64 <= limit)
            .ok_or_else(|| Failure::new(Kind::NotFound, "there is no such payload"))
    }
}
