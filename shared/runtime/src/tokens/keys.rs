//! The issuer's keys, kept for a while.
//!
//! | keys are | then |
//! |---|---|
//! | younger than [`FRESH`] | they count |
//! | younger than [`OLDEST`] | new ones are asked for first; where there are none to be had, they count still |
//! | older, or not there | new ones are asked for; where there are none to be had, nobody can tell |
//!
//! A key that is not among them may be new, so they are asked for once more, but by nobody more than once in [`PAUSE`]:
//! whoever invents keys makes this function ask its issuer no oftener than that.

use std::{collections::HashMap, sync::Arc, time::Duration};

use ihelper_workflow::{
    domain::{Failure, Kind},
    ports::SigningKeys,
};
use jiff::Timestamp;
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::Mutex;

/// How old keys may be without anybody asking for new ones.
const FRESH: Duration = Duration::from_secs(600);
/// How long a key that the issuer took back may still count, at the most.
const OLDEST: Duration = Duration::from_secs(3600);
/// The least time between two questions to the issuer.
const PAUSE: Duration = Duration::from_secs(30);

// Providers publish two to ten.
const MOST_KEYS: usize = 100;
const LARGEST_SET: usize = 128 * 1024;

/// A key with what it may verify.
#[derive(Clone)]
pub(super) struct Key {
    key: DecodingKey,
    algorithms: Vec<Algorithm>,
}

impl Key {
    pub(super) fn takes(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    pub(super) const fn key(&self) -> &DecodingKey {
        &self.key
    }
}

type ById = HashMap<String, Arc<[Key]>>;

#[derive(Default)]
struct Kept {
    keys: Option<(ById, Timestamp)>,
    asked_at: Option<Timestamp>,
}

/// The keys of one issuer.
pub(super) struct KeyRing {
    source: Arc<dyn SigningKeys>,
    kept: Mutex<Kept>,
}

impl KeyRing {
    pub(super) fn new(source: Arc<dyn SigningKeys>) -> Self {
        Self { source, kept: Mutex::default() }
    }

    /// The keys of this id, most often one; none when the issuer publishes none.
    pub(super) async fn of(&self, id: String, now: Timestamp) -> Result<Arc<[Key]>, Failure> {
        // Whoever asks meanwhile waits for the same answer.
        let mut kept = self.kept.lock().await;
        let is_within = |at: Timestamp, age: Duration| (at..later(at, age)).contains(&now);
        let found = |kept: &Kept, age| {
            let (keys, at) = kept.keys.as_ref().filter(|(_, at)| is_within(*at, age))?;
            Some((keys.get(&id).cloned(), *at))
        };
        if let Some((Some(keys), _)) = found(&kept, FRESH) {
            return Ok(keys);
        }
        let may_ask = kept.asked_at.is_none_or(|at| !is_within(at, PAUSE));
        let failure = if may_ask { self.ask(&mut kept, now).await.err() } else { None };
        match found(&kept, OLDEST) {
            Some((Some(keys), _)) => Ok(keys),
            // The set is known, and the key is not in it.
            Some((None, at)) if failure.is_none() && is_within(at, FRESH) => Ok(Arc::new([])),
            _ => {
                Err(failure
                    .unwrap_or_else(|| Failure::new(Kind::Connection, "the issuer of tokens gave no keys lately")))
            }
        }
    }

    async fn ask(&self, kept: &mut Kept, now: Timestamp) -> Result<(), Failure> {
        kept.asked_at = Some(now);
        let published = self.source.published().await;
        let read = published.and_then(|text| read(&text));
        match read {
            Ok(keys) => {
                kept.keys = Some((keys, now));
                Ok(())
            }
            Err(failure) => {
                tracing::warn!(error.kind = %failure.kind, error.message = failure.message, "no keys from the issuer");
                Err(failure)
            }
        }
    }
}

fn later(at: Timestamp, by: Duration) -> Timestamp {
    at.saturating_add(by).unwrap_or(Timestamp::MAX)
}

/// Reads a key set. A key that cannot verify anything here is left out; a set that is none is a failure.
fn read(text: &str) -> Result<ById, Failure> {
    #[derive(Deserialize)]
    struct KeySet {
        keys: Vec<Value>,
    }
    let broken = |problem: &str| Failure::new(Kind::Connection, format!("the issuer of tokens publishes {problem}"));
    if text.len() > LARGEST_SET {
        return Err(broken(&format!("more than {LARGEST_SET} bytes of keys")));
    }
    let set: KeySet = serde_json::from_str(text).map_err(|_| broken("keys that are no JSON Web Key Set"))?;
    if set.keys.len() > MOST_KEYS {
        return Err(broken(&format!("more than {MOST_KEYS} keys")));
    }
    let mut by_id: HashMap<String, Vec<Key>> = HashMap::new();
    for (id, key) in set.keys.into_iter().filter_map(read_key) {
        by_id.entry(id).or_default().push(key);
    }
    Ok(by_id.into_iter().map(|(id, keys)| (id, keys.into())).collect())
}

fn read_key(value: Value) -> Option<(String, Key)> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let common = &jwk.common;
    let is_for_signatures = common.public_key_use.as_ref().is_none_or(|used| *used == PublicKeyUse::Signature);
    let verifies = common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
    if !is_for_signatures || !verifies {
        return None;
    }
    let mut algorithms = of_type(&jwk.algorithm).to_vec();
    if let Some(bound) = common.key_algorithm {
        algorithms.retain(|algorithm| KeyAlgorithm::from(*algorithm) == bound);
    }
    if algorithms.is_empty() {
        return None;
    }
    let id = common.key_id.clone()?;
    Some((id, Key { key: DecodingKey::from_jwk(&jwk).ok()?, algorithms }))
}

/// What a key of this type can verify. A shared secret verifies nothing: whoever publishes one has none.
const fn of_type(parameters: &AlgorithmParameters) -> &'static [Algorithm] {
    match parameters {
        AlgorithmParameters::RSA(_) => &[
            Algorithm::RS256,
            Algorithm::RS384,
            Algorithm::RS512,
            Algorithm::PS256,
            Algorithm::PS384,
            Algorithm::PS512,
        ],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[Algorithm::ES256],
            EllipticCurve::P384 => &[Algorithm::ES384],
            _ => &[],
        },
        AlgorithmParameters::OctetKeyPair(key) => match key.curve {
            EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
            _ => &[],
        },
        _ => &[],
    }
}
