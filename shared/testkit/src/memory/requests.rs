use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::Failure,
    ports::{GivesWay, Recalled, Remembered, RequestKey, Requests},
};
use jiff::Timestamp;

use super::lock;

/// Remembered requests in memory.
#[derive(Clone, Default)]
pub struct MemoryRequests {
    requests: Arc<Mutex<HashMap<RequestKey, Remembered>>>,
}

impl MemoryRequests {
    /// No request remembered.
    pub fn new() -> Self {
        Self::default()
    }
}

impl fmt::Debug for MemoryRequests {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemoryRequests").field("requests", &lock(&self.requests).len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl Requests for MemoryRequests {
    async fn remember(
        &self,
        key: &RequestKey,
        request: &Remembered,
        gives_way: GivesWay,
        now: Timestamp,
    ) -> Result<Recalled, Failure> {
        let mut requests = lock(&self.requests);
        let stands = |known: &&Remembered| match gives_way {
            GivesWay::Nothing => known.until > now,
            GivesWay::Run(run) => known.until > now && known.run != run,
            GivesWay::Anything => false,
        };
        if let Some(known) = requests.get(key).filter(stands) {
            return Ok(Recalled::Known(known.clone()));
        }
        requests.insert(key.clone(), request.clone());
        Ok(Recalled::New)
    }
}
