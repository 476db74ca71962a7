//! Requests that were made before: the same ones by their `Idempotency-Key`, equal ones by what they ask for.
//!
//! **Invariants**
//! - A request is remembered before its run is made, with the run's id. Whoever meets a request whose run is not there
//!   makes it under that id, and the journal's first write decides: a crash between the two heals by itself, and
//!   however many ask at once, there is one run.
//! - The caller is a part of every key: nobody meets another's request, and nobody gets another's result.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, header};
use ihelper_workflow::{
    domain::{Run, RunId, Status, canonical_text, canonical_text_of},
    ports::{GivesWay, Recalled, Remembered, RequestKey, Seen},
};
use jiff::Timestamp;

use crate::{
    Api, Problem,
    answer::{accepted, outcome_of},
    body::Fields,
    call::{Call, Started, later, until},
};

/// How long an idempotency key stands for its request.
const KEY_LIFE: Duration = Duration::from_hours(24);
const LONGEST_KEY: usize = 255;
/// Each time another run has failed meanwhile. At last the request gets a run of its own, whoever comes between.
const MOST_FAILED_RUNS: usize = 3;

/// What a caller calls a request, so that it can be sent again.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct IdempotencyKey(String);

/// A key with the request that it stands for, as a hash.
pub(crate) struct KeyedRequest {
    key: String,
    fingerprint: String,
}

impl IdempotencyKey {
    /// Reads the header: visible ASCII, 1 to 255 characters.
    pub(crate) fn read(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let wrong = |problem: &str| Problem::Malformed(format!("header `Idempotency-Key`: {problem}"));
        let mut values = headers.get_all("idempotency-key").into_iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(wrong("is there more than once"));
        }
        let key = value.to_str().ok().filter(|key| (1..=LONGEST_KEY).contains(&key.len()));
        let key = key.filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic()));
        let key = key.ok_or_else(|| wrong("has not 1 to 255 characters of visible ASCII"))?;
        Ok(Some(Self(key.to_owned())))
    }

    /// The key of this request.
    pub(crate) fn of_request(self, method: &str, path: &str, body: &Fields) -> KeyedRequest {
        KeyedRequest { key: self.0, fingerprint: hash_of(&[method, path], &canonical_text_of(body)) }
    }
}

impl Call<'_> {
    /// Answers a request with an idempotency key: the same one again is the same run.
    pub(crate) async fn once(&self, request: KeyedRequest) -> Result<Response, Problem> {
        let KeyedRequest { key, fingerprint } = request;
        let key = RequestKey::Idempotency { caller: self.caller.clone(), key };
        let new = Remembered { run: self.new_id(), fingerprint, until: later(self.began, KEY_LIFE) };
        let (id, found) = match self.api.requests.remember(&key, &new, GivesWay::Nothing, self.began).await? {
            Recalled::New => (new.run, None),
            Recalled::Known(known) if known.fingerprint != new.fingerprint => return Err(Problem::KeyReused),
            Recalled::Known(known) => (known.run, find(self.api, known.run).await?),
        };
        let run = match found {
            Some(run) => run,
            None => match self.start(id).await? {
                Started::Here(response) => return Ok(response),
                Started::Elsewhere(run) => run,
            },
        };
        if !run.status.is_final() {
            self.remind(&run).await?;
            if self.preference.respond_async {
                return Ok(accepted(run.id, run.status));
            }
            return Err(Problem::InFlight(run.id));
        }
        let mut response = outcome_of(self.api, &self.caller, *run).await.unwrap_or_else(IntoResponse::into_response);
        response.headers_mut().insert("idempotency-replayed", HeaderValue::from_static("true"));
        Ok(response)
    }

    /// Answers a request with the result of an equal one, where there is one, and joins one that is being worked on.
    /// `fresh` asks for a run of its own, whose result then stands for those that follow.
    ///
    /// The answer says in `Cache-Status` (RFC 9211) where it came from.
    pub(crate) async fn cached(&self, fresh: bool) -> Response {
        // What lies in a bucket may be another thing by now, under the same name.
        let expire = self.api.worker.configuration().cache.expire().filter(|_| !self.input.refers_to_an_object());
        let Some(expire) = expire else {
            return match self.start(self.new_id()).await {
                Ok(Started::Here(response)) => response,
                Ok(Started::Elsewhere(run)) => accepted(run.id, run.status),
                Err(problem) => problem.into_response(),
            };
        };
        let mut source = if fresh { Source::Request } else { Source::Miss };
        let answer = if fresh { self.anew(expire).await } else { self.shared(expire, &mut source).await };
        let mut response = answer.unwrap_or_else(IntoResponse::into_response);
        let stood = matches!(source, Source::Hit { .. } | Source::Collapsed);
        self.api.worker.monitor().note(&Seen::ResultWanted { workflow: self.input.workflow(), stood });
        source.note(response.headers_mut());
        response
    }

    /// A run of its own, which takes the place of what is remembered.
    async fn anew(&self, expire: Duration) -> Result<Response, Problem> {
        let (key, new) = self.result_of_equal_requests(expire).await?;
        // What is there gives way in any case, so nothing waits for it.
        let remembered = self.api.requests.remember(&key, &new, GivesWay::Anything, self.began);
        let (remembered, started) = futures::join!(remembered, self.start(new.run));
        if let Err(failure) = remembered {
            tracing::warn!(error.kind = %failure.kind, "a request could not be remembered");
        }
        match started? {
            Started::Here(response) => Ok(response),
            Started::Elsewhere(run) => Ok(accepted(run.id, run.status)),
        }
    }

    async fn shared(&self, expire: Duration, source: &mut Source) -> Result<Response, Problem> {
        let mut gives_way = GivesWay::Nothing;
        let mut failed_runs = 0;
        loop {
            let (key, new) = self.result_of_equal_requests(expire).await?;
            let (id, stands_until, found) = match self.api.requests.remember(&key, &new, gives_way, self.began).await? {
                Recalled::New => (new.run, new.until, None),
                Recalled::Known(known) => (known.run, known.until, find(self.api, known.run).await?),
            };
            let run = match found {
                Some(run) => run,
                None => match self.start(id).await? {
                    Started::Here(response) => return Ok(response),
                    Started::Elsewhere(run) => run,
                },
            };
            match run.status {
                Status::Failed | Status::Cancelled => {
                    failed_runs += 1;
                    gives_way = if failed_runs < MOST_FAILED_RUNS { GivesWay::Run(run.id) } else { GivesWay::Anything };
                }
                Status::Succeeded => {
                    *source = Source::hit(&run, stands_until, self.api.clock.now());
                    return outcome_of(self.api, &self.caller, *run).await;
                }
                Status::Queued | Status::Running | Status::Waiting | Status::Attention => {
                    *source = Source::Collapsed;
                    self.remind(&run).await?;
                    let run = self.watch(run).await?;
                    return outcome_of(self.api, &self.caller, *run).await;
                }
            }
        }
    }

    async fn result_of_equal_requests(&self, expire: Duration) -> Result<(RequestKey, Remembered), Problem> {
        let workflow = self.input.workflow();
        let version = self.api.worker.current_version(workflow).await?;
        let parts = [self.caller.as_str(), workflow.name(), &version];
        let workflow_id = hash_of(&parts, &canonical_text(&self.input.to_value()));
        let new = Remembered { run: self.new_id(), fingerprint: workflow_id.clone(), until: later(self.began, expire) };
        Ok((RequestKey::Result { workflow_id }, new))
    }
}

async fn find(api: &Api, id: RunId) -> Result<Option<Box<Run>>, Problem> {
    Ok(api.journal.find(id).await?.map(|(run, _)| Box::new(run)))
}

/// The hash of texts and a value's canonical text: equal values have equal hashes.
fn hash_of(parts: &[&str], value: &str) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.update(value.as_bytes());
    hasher.finalize().to_hex().to_string()
}

/// Where an answer comes from, as `Cache-Status` says it.
enum Source {
    /// From a run that was made before.
    Hit { ttl_s: u64, age_s: u64 },
    /// From a run that this call made.
    Miss,
    /// From a run that this call made because the request asked for that.
    Request,
    /// From a run that another call had made and that was being worked on.
    Collapsed,
}

impl Source {
    fn hit(run: &Run, stands_until: Timestamp, now: Timestamp) -> Self {
        let made_at = run.finished_at.unwrap_or(run.updated_at);
        Self::Hit { ttl_s: until(stands_until, now).as_secs(), age_s: until(now, made_at).as_secs() }
    }

    fn note(&self, headers: &mut HeaderMap) {
        let status = match self {
            Self::Hit { ttl_s, age_s } => {
                headers.insert(header::AGE, HeaderValue::from(*age_s));
                format!("ihelper; hit; ttl={ttl_s}")
            }
            Self::Miss => "ihelper; fwd=miss".to_owned(),
            Self::Request => "ihelper; fwd=request".to_owned(),
            Self::Collapsed => "ihelper; fwd=miss; collapsed".to_owned(),
        };
        if let Ok(status) = HeaderValue::from_str(&status) {
            headers.insert("cache-status", status);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(value: &str) -> Result<Option<IdempotencyKey>, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", HeaderValue::from_bytes(value.as_bytes()).unwrap());
        IdempotencyKey::read(&headers)
    }

    #[test]
    fn a_key_is_visible_ascii() {
        assert_eq!(IdempotencyKey::read(&HeaderMap::new()), Ok(None));
        for good in ["k", "\"8e03978e-40d5-43dd-bc93-6894a57f9324\"", &"~".repeat(255)] {
            assert_eq!(read(good), Ok(Some(IdempotencyKey(good.to_owned()))));
        }
        for bad in ["", "two words", "é", &"k".repeat(256)] {
            assert!(matches!(read(bad), Err(Problem::Malformed(_))), "`{bad}`");
        }
        let mut twice = HeaderMap::new();
        twice.append("idempotency-key", HeaderValue::from_static("a"));
        twice.append("idempotency-key", HeaderValue::from_static("b"));
        assert!(IdempotencyKey::read(&twice).is_err());
    }

    #[test]
    fn a_hash_knows_no_order_of_fields_and_knows_everything_else() {
        let of = |text: &str| hash_of(&["a"], &canonical_text(&serde_json::from_str(text).unwrap()));
        assert_eq!(of(r#"{"a": 1, "b": {"c": 2, "d": 3}}"#), of(r#"{"b":{"d":3,"c":2},"a":1}"#));
        assert_ne!(of("[1, 2]"), of("[2, 1]"));
        assert_ne!(of("1"), of("1.0"));
        assert_ne!(hash_of(&["ab", "c"], "1"), hash_of(&["a", "bc"], "1"));
    }
}
