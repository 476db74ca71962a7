use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{Failure, WorkflowType, run::Usage},
    ports::UsageLedger,
};
use jiff::civil::Date;

use super::lock;

/// What models took, in memory.
#[derive(Clone, Default)]
pub struct MemoryUsageLedger {
    days: Arc<Mutex<BTreeMap<(WorkflowType, Date), Usage>>>,
}

impl MemoryUsageLedger {
    /// Nothing was asked yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What all calls took.
    pub fn total(&self) -> Usage {
        let mut total = Usage::default();
        lock(&self.days).values().for_each(|usage| total += *usage);
        total
    }
}

impl fmt::Debug for MemoryUsageLedger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("MemoryUsageLedger").field(&*lock(&self.days)).finish()
    }
}

#[async_trait]
impl UsageLedger for MemoryUsageLedger {
    async fn add(&self, workflow: WorkflowType, day: Date, usage: Usage) -> Result<(), Failure> {
        *lock(&self.days).entry((workflow, day)).or_default() += usage;
        Ok(())
    }

    async fn days(&self, workflow: WorkflowType, first: Date, last: Date) -> Result<Vec<(Date, Usage)>, Failure> {
        let days = lock(&self.days);
        let found = days.iter().filter(|((of, day), _)| *of == workflow && (first..=last).contains(day));
        Ok(found.map(|((_, day), usage)| (*day, *usage)).collect())
    }
}
