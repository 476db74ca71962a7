use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{
        Failure, Kind,
        http::{HttpRequest, HttpResponse},
    },
    ports::HttpClient,
};
use serde_json::json;

use super::lock;

/// The world outside, as far as `https://…example` goes: it keeps what it was sent, once for each key, and answers
/// with how much that was. What it has at `/missing` it does not have, and `/down` is down.
#[derive(Clone, Debug, Default)]
pub struct MemoryHttpClient {
    received: Arc<Mutex<Received>>,
}

#[derive(Debug, Default)]
struct Received {
    requests: Vec<ReceivedRequest>,
    answers: BTreeMap<String, HttpResponse>,
    failures_left: u32,
}

/// A request that was carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedRequest {
    /// Its idempotency key.
    pub key: String,
    /// The request.
    pub request: HttpRequest,
}

impl MemoryHttpClient {
    /// A world that was sent nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the next requests, so many, fail as a server does that is overloaded.
    pub fn fail_next(&self, times: u32) {
        lock(&self.received).failures_left = times;
    }

    /// What was carried out, in order; what came again under the same key was not.
    pub fn received(&self) -> Vec<ReceivedRequest> {
        lock(&self.received).requests.clone()
    }
}

#[async_trait]
impl HttpClient for MemoryHttpClient {
    fn check(&self, request: &HttpRequest) -> Result<(), Failure> {
        let host = request.url.strip_prefix("https://").and_then(|rest| rest.split('/').next());
        match host {
            Some(host) if host.ends_with(".example") && !host.contains(['@', ':']) => Ok(()),
            _ => Err(Failure::new(Kind::Authorization, "the host is not among `security.http_hosts`")),
        }
    }

    async fn send(&self, key: &str, request: &HttpRequest) -> Result<HttpResponse, Failure> {
        self.check(request)?;
        if request.url.ends_with("/missing") {
            return Err(Failure::new(Kind::NotFound, "http 404 from a host"));
        }
        if request.url.ends_with("/down") {
            return Err(Failure::new(Kind::Connection, "http 503 from a host"));
        }
        let mut received = lock(&self.received);
        if received.failures_left > 0 {
            received.failures_left -= 1;
            return Err(Failure::new(Kind::Throttled, "http 429 from a host"));
        }
        if let Some(answer) = received.answers.get(key) {
            return Ok(answer.clone());
        }
        received.requests.push(ReceivedRequest { key: key.to_owned(), request: request.clone() });
        let body = json!({ "bytes": request.body.as_ref().map_or(0, String::len) });
        let answer = HttpResponse { status: 200, headers: BTreeMap::new(), body };
        received.answers.insert(key.to_owned(), answer.clone());
        Ok(answer)
    }
}
