use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{Failure, RunId},
    ports::{AnswerLedger, Claim, sender_key},
};
use jiff::{SignedDuration, Timestamp};

use super::lock;

/// Who was answered lately, in memory.
#[derive(Clone, Default)]
pub struct MemoryAnswerLedger {
    answers: Arc<Mutex<BTreeMap<String, Entry>>>,
}

#[derive(Clone, Copy)]
enum Entry {
    Answered { by: RunId, until: Timestamp },
    Suppressed,
}

impl MemoryAnswerLedger {
    /// Nobody answered yet.
    pub fn new() -> Self {
        Self::default()
    }
}

impl fmt::Debug for MemoryAnswerLedger {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemoryAnswerLedger").field("answers", &lock(&self.answers).len()).finish()
    }
}

#[async_trait]
impl AnswerLedger for MemoryAnswerLedger {
    async fn claim(&self, address: &str, run: RunId, now: Timestamp, window: Duration) -> Result<Claim, Failure> {
        let mut answers = lock(&self.answers);
        let address = sender_key(address);
        match answers.get(&address) {
            Some(Entry::Suppressed) => Ok(Claim::Suppressed),
            Some(Entry::Answered { by, until }) if *by != run && *until > now => Ok(Claim::AnsweredAlready),
            _ => {
                let until = SignedDuration::try_from(window).ok().and_then(|window| now.checked_add(window).ok());
                answers.insert(address, Entry::Answered { by: run, until: until.unwrap_or(Timestamp::MAX) });
                Ok(Claim::Granted)
            }
        }
    }

    async fn release(&self, address: &str, run: RunId) -> Result<(), Failure> {
        let mut answers = lock(&self.answers);
        let key = sender_key(address);
        if matches!(answers.get(&key), Some(Entry::Answered { by, .. }) if *by == run) {
            answers.remove(&key);
        }
        Ok(())
    }

    async fn suppress(&self, address: &str, _now: Timestamp) -> Result<(), Failure> {
        lock(&self.answers).insert(sender_key(address), Entry::Suppressed);
        Ok(())
    }
}
