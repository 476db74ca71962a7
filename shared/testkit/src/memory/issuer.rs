use std::{
    fmt,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ihelper_workflow::{domain::Failure, ports::SigningKeys};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::lock;

/// An issuer of tokens in memory: what it publishes, and who asked.
#[derive(Clone)]
pub struct MemoryIssuer {
    state: Arc<Mutex<State>>,
}

struct State {
    published: Result<String, Failure>,
    asked: usize,
}

impl MemoryIssuer {
    /// The `iss` of its tokens.
    pub const NAME: &'static str = "https://issuer.example";
    /// Whom its tokens are made for.
    pub const AUDIENCE: &'static str = "ihelper";

    /// An issuer that publishes one key, [`SigningKey::first`].
    pub fn new() -> Self {
        let published = Ok(json!({ "keys": [SigningKey::first().jwk()] }).to_string());
        Self { state: Arc::new(Mutex::new(State { published, asked: 0 })) }
    }

    /// Publishes these keys in the place of all others.
    pub fn publish(&self, keys: &[Value]) {
        self.publish_text(json!({ "keys": keys }).to_string());
    }

    /// Publishes this, whatever it is.
    pub fn publish_text(&self, text: impl Into<String>) {
        lock(&self.state).published = Ok(text.into());
    }

    /// Cannot be reached from now on.
    pub fn fail(&self, failure: Failure) {
        lock(&self.state).published = Err(failure);
    }

    /// How often it was asked for its keys.
    pub fn asked(&self) -> usize {
        lock(&self.state).asked
    }

    /// A token of this issuer, good until the year 2100.
    pub fn token(subject: &str, groups: &[&str]) -> String {
        let claims = json!({
            "iss": Self::NAME, "aud": Self::AUDIENCE, "sub": subject, "cognito:groups": groups, "exp": 4_102_444_800_u64,
        });
        SigningKey::first().token(&claims)
    }
}

impl Default for MemoryIssuer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryIssuer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("MemoryIssuer").field("asked", &self.asked()).finish_non_exhaustive()
    }
}

#[async_trait]
impl SigningKeys for MemoryIssuer {
    async fn published(&self) -> Result<String, Failure> {
        let mut state = lock(&self.state);
        state.asked += 1;
        state.published.clone()
    }
}

/// A key that signs tokens in tests (Ed25519), always the same for the same seed.
pub struct SigningKey {
    id: String,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// The key of this id and seed.
    ///
    /// # Panics
    /// Never: every seed makes a key.
    pub fn new(id: &str, seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("32 bytes are a seed");
        Self { id: id.to_owned(), pair }
    }

    /// The key that an issuer begins with.
    pub fn first() -> Self {
        Self::new("key-1", 1)
    }

    /// Its public half, as an issuer publishes it.
    pub fn jwk(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key());
        json!({ "kty": "OKP", "crv": "Ed25519", "use": "sig", "kid": self.id, "x": x })
    }

    /// A token with these claims and the usual header.
    pub fn token(&self, claims: &Value) -> String {
        self.sign(&json!({ "alg": "EdDSA", "typ": "JWT", "kid": self.id }).to_string(), &claims.to_string())
    }

    /// Signs a header and claims as they are written.
    pub fn sign(&self, header: &str, claims: &str) -> String {
        let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(message.as_bytes()));
        format!("{message}.{signature}")
    }
}
