use std::{
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use futures::future::BoxFuture;
use ihelper_workflow::ports::{Model, ModelAnswer, ModelFailure, ModelRequest};

use super::lock;

type Script = dyn Fn(usize, ModelRequest) -> BoxFuture<'static, Result<ModelAnswer, ModelFailure>> + Send + Sync;

/// A model that a test answers for.
#[derive(Clone)]
pub struct ScriptedModel {
    script: Arc<Script>,
    requests: Arc<Mutex<Vec<ModelRequest>>>,
}

impl ScriptedModel {
    /// Answers each request by a function, which also gets the request's number, from 0.
    pub fn new<Answering>(script: impl Fn(usize, ModelRequest) -> Answering + Send + Sync + 'static) -> Self
    where
        Answering: Future<Output = Result<ModelAnswer, ModelFailure>> + Send + 'static,
    {
        Self { script: Arc::new(move |number, request| Box::pin(script(number, request))), requests: Arc::default() }
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<ModelRequest> {
        lock(&self.requests).clone()
    }
}

impl fmt::Debug for ScriptedModel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ScriptedModel").field("requests", &lock(&self.requests).len()).finish()
    }
}

#[async_trait]
impl Model for ScriptedModel {
    async fn complete(&self, request: &ModelRequest) -> Result<ModelAnswer, ModelFailure> {
        let number = {
            let mut requests = lock(&self.requests);
            requests.push(request.clone());
            requests.len() - 1
        };
        (self.script)(number, request.clone()).await
    }
}
