use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{Failure, RunId},
    ports::{Account, Budgets, Reserved, StepCache},
};
use jiff::Timestamp;
use serde_json::Value;

use super::lock;

/// Budgets in memory.
#[derive(Clone, Default)]
pub struct MemoryBudgets {
    accounts: Arc<Mutex<BTreeMap<Account, Taken>>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Taken {
    /// All that was taken and not given back.
    used: u64,
    /// Of that, what calls under way took.
    open: u64,
}

impl MemoryBudgets {
    /// Nothing spent yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was taken from an account and not given back.
    pub fn used(&self, account: &Account) -> u64 {
        lock(&self.accounts).get(account).map(|taken| taken.used).unwrap_or_default()
    }

    /// Every account from which something was taken.
    pub fn accounts(&self) -> Vec<Account> {
        lock(&self.accounts).keys().cloned().collect()
    }
}

impl fmt::Debug for MemoryBudgets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemoryBudgets").field("accounts", &lock(&self.accounts).len()).finish()
    }
}

#[async_trait]
impl Budgets for MemoryBudgets {
    async fn reserve(&self, account: &Account, amount: u64, limit: u64) -> Result<Reserved, Failure> {
        let mut accounts = lock(&self.accounts);
        let taken = accounts.get(account).copied().unwrap_or_default();
        if taken.used.checked_add(amount).is_some_and(|used| used <= limit) {
            accounts.insert(account.clone(), Taken { used: taken.used + amount, open: taken.open + amount });
            return Ok(Reserved::Granted);
        }
        let settled = taken.used - taken.open;
        let would_fit = settled.checked_add(amount).is_some_and(|used| used <= limit);
        Ok(if would_fit { Reserved::Occupied } else { Reserved::Spent })
    }

    async fn settle(&self, account: &Account, reserved: u64, spent: u64) -> Result<(), Failure> {
        let mut accounts = lock(&self.accounts);
        let taken = accounts.entry(account.clone()).or_default();
        taken.open = taken.open.saturating_sub(reserved);
        taken.used = taken.used.saturating_sub(reserved).saturating_add(spent);
        Ok(())
    }
}

/// Cached answers in memory.
#[derive(Clone, Default)]
pub struct MemoryStepCache {
    values: Arc<Mutex<BTreeMap<String, (Value, Timestamp)>>>,
}

impl MemoryStepCache {
    /// Nothing cached yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl fmt::Debug for MemoryStepCache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemoryStepCache").field("values", &lock(&self.values).len()).finish()
    }
}

#[async_trait]
impl StepCache for MemoryStepCache {
    async fn get(&self, key: &str, now: Timestamp) -> Result<Option<Value>, Failure> {
        let values = lock(&self.values);
        Ok(values.get(key).filter(|(_, until)| *until > now).map(|(value, _)| value.clone()))
    }

    async fn put(&self, key: &str, _run: RunId, value: &Value, until: Timestamp) -> Result<(), Failure> {
        lock(&self.values).insert(key.to_owned(), (value.clone(), until));
        Ok(())
    }
}
