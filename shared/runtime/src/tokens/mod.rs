//! Who stands behind a token: a JSON Web Token (RFC 7519), checked as RFC 8725 advises.
//!
//! Invariants:
//! - Only what an issuer's published key has signed counts, by an algorithm that is listed here and fits that key's type.
//!   What a token says of keys itself (`jwk`, `jku`, `x5u`, `x5c`) is not looked at.
//! - What two readers could read differently is refused: a member that is there twice, an extension that must be
//!   understood, bytes that are no strict base64url.
//! - That the issuer cannot be reached is a [`Failure`], and never makes a token good.
//! - Nothing here writes a token, or what it says, anywhere.
//!
//! Deliberately absent: encrypted tokens, tokens signed with a shared secret, and asking the issuer about each token.

mod held;
mod keys;
mod members;
mod signature;

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ihelper_workflow::{
    domain::{Failure, Kind},
    ports::{Clock, SigningKeys},
};
use jiff::Timestamp;
use jsonwebtoken::{
    Algorithm,
    crypto::{self, CryptoProvider},
};
use serde_json::Value;

use held::Held;
use keys::KeyRing;
use members::{Members, Twice};

/// The longest token, in bytes: headers of API Gateway have 10,240 in all, and one with a hundred groups has four.
pub const LONGEST_TOKEN: usize = 8192;

/// How far the clocks of issuer and function may be apart.
pub const CLOCK_SKEW: Duration = Duration::from_secs(60);

// OpenID Connect: 255 ASCII characters.
const LONGEST_SUBJECT: usize = 255;

/// Whom tokens must come from, and whom they must be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The `iss` of tokens, to the letter.
    pub issuer: String,
    /// What `aud` must be or hold; in a token without `aud`, what `client_id` must be.
    pub audience: String,
}

/// Who stands behind a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The subject.
    pub subject: String,
    /// The groups.
    pub groups: Vec<String>,
}

/// Why nobody stands behind a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not valid, and never will be where it was sent to.
    #[error("the token is not valid: {0}")]
    Refused(Refusal),
    /// Nobody can tell now.
    #[error("the token could not be checked: {0}")]
    Unavailable(Failure),
}

/// What is wrong with a token. It quotes nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Longer than [`LONGEST_TOKEN`].
    #[error("it is longer than {LONGEST_TOKEN} bytes")]
    TooLong,
    /// Not three parts of base64url with two JSON objects among them.
    #[error("it is not a signed token of three parts")]
    Malformed,
    /// A member of the header or of the claims is there twice.
    #[error("a member is there twice")]
    MemberTwice,
    /// The header is not that of an access or identity token: an encrypted one, another `typ`.
    #[error("it is a token of another kind")]
    OtherKind,
    /// The header asks for an extension that is not known here (`crit`).
    #[error("it asks for an extension that is not known here")]
    UnknownExtension,
    /// The algorithm is not one of those listed.
    #[error("its algorithm is not accepted")]
    Algorithm,
    /// The algorithm is not one for the key.
    #[error("its algorithm is not one for its key")]
    AlgorithmOfOtherKey,
    /// The issuer publishes no key of this id, or the token names none.
    #[error("its key is not among those of the issuer")]
    UnknownKey,
    /// The signature is not the key's.
    #[error("its signature is not that of its key")]
    Signature,
    /// `iss` is not the issuer.
    #[error("it comes from another issuer")]
    Issuer,
    /// `aud` or `client_id` is not the audience.
    #[error("it is made for somebody else")]
    Audience,
    /// `exp` is over, or missing.
    #[error("it has expired, or says not when it does")]
    Expired,
    /// `nbf` or `iat` lies in the future.
    #[error("it is not valid yet")]
    NotYet,
    /// `sub` is missing or no name.
    #[error("it names no subject")]
    Subject,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Checks tokens.
pub struct Tokens {
    expected: Expected,
    keys: KeyRing,
    held: Held,
    clock: Arc<dyn Clock>,
}

impl Tokens {
    /// Tokens as expected, signed with keys from there. The keys are fetched with the first token.
    pub fn new(expected: Expected, source: Arc<dyn SigningKeys>, clock: Arc<dyn Clock>) -> Self {
        // It fails only when that was done before.
        let _ = CryptoProvider::install_default(&signature::RING);
        Self { expected, keys: KeyRing::new(source), held: Held::default(), clock }
    }

    /// Who stands behind a token now.
    ///
    /// # Errors
    /// This returns an error that says what is wrong with the token, or why nobody can tell.
    pub async fn verify(&self, token: &str) -> Result<Bearer, Error> {
        self.verify_as_of(token, self.clock.now()).await
    }

    /// Who stood behind a token when it was sent, for one that waited since: on a queue, or between the attempts of a
    /// run.
    ///
    /// # Errors
    /// As [`verify`](Self::verify).
    pub async fn verify_as_of(&self, token: &str, sent_at: Timestamp) -> Result<Bearer, Error> {
        let parts = Parts::of(token)?;
        let header = Header::read(&parts)?;
        let now = self.clock.now();
        let keys = self.keys.of(header.key_id, now).await.map_err(Error::Unavailable)?;
        if keys.is_empty() {
            return Err(Refusal::UnknownKey.into());
        }
        let mut fitting = keys.iter().filter(|key| key.takes(header.algorithm)).peekable();
        if fitting.peek().is_none() {
            return Err(Refusal::AlgorithmOfOtherKey.into());
        }
        if !self.held.or(token, &keys, || fitting.any(|key| is_signed(token, header.algorithm, key.key()))) {
            return Err(Refusal::Signature.into());
        }
        // Nothing of it is looked at before its signature holds.
        Ok(self.bearer(&parts.claims()?, sent_at)?)
    }

    fn bearer(&self, claims: &Members, sent_at: Timestamp) -> Result<Bearer, Refusal> {
        if claims.get("iss").and_then(Value::as_str) != Some(&self.expected.issuer) {
            return Err(Refusal::Issuer);
        }
        if !self.is_audience(claims) {
            return Err(Refusal::Audience);
        }
        check_time(claims, sent_at)?;
        let subject = claims.get("sub").and_then(Value::as_str).filter(|subject| is_name(subject));
        let subject = subject.ok_or(Refusal::Subject)?.to_owned();
        Ok(Bearer { subject, groups: groups(claims) })
    }

    fn is_audience(&self, claims: &Members) -> bool {
        let expected = self.expected.audience.as_str();
        match (claims.get("aud"), claims.get("client_id")) {
            (Some(Value::String(audience)), _) => audience == expected,
            (Some(Value::Array(audiences)), _) => {
                audiences.iter().all(Value::is_string) && audiences.iter().any(|audience| audience == expected)
            }
            (Some(_), _) => false,
            // An access token of Amazon Cognito, as API Gateway's authorizer takes it.
            (None, Some(client)) => client == expected,
            (None, None) => false,
        }
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Tokens").field("expected", &self.expected).finish_non_exhaustive()
    }
}

/// The token in an `Authorization` header or member: behind `Bearer`, in any case, and a space.
pub fn of_authorization(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    let token = token.trim_matches(' ');
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// Three parts, decoded but for the signature.
struct Parts {
    header: Vec<u8>,
    claims: Vec<u8>,
}

impl Parts {
    fn of(token: &str) -> Result<Self, Refusal> {
        if token.len() > LONGEST_TOKEN {
            return Err(Refusal::TooLong);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(claims), Some(signature)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(Refusal::Malformed);
        };
        match parts.count() {
            0 => {}
            // Five parts are an encrypted one.
            2 => return Err(Refusal::OtherKind),
            _ => return Err(Refusal::Malformed),
        }
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| Refusal::Malformed);
        decode(signature)?;
        Ok(Self { header: decode(header)?, claims: decode(claims)? })
    }

    fn claims(&self) -> Result<Members, Refusal> {
        members(&self.claims)
    }
}

fn members(json: &[u8]) -> Result<Members, Refusal> {
    Members::parse(json).map_err(|error| match error {
        Some(Twice) => Refusal::MemberTwice,
        None => Refusal::Malformed,
    })
}

struct Header {
    algorithm: Algorithm,
    key_id: String,
}

impl Header {
    fn read(parts: &Parts) -> Result<Self, Refusal> {
        let header = members(&parts.header)?;
        if header.get("crit").is_some() {
            return Err(Refusal::UnknownExtension);
        }
        if header.get("enc").is_some() || header.get("zip").is_some() || !is_kind(header.get("typ")) {
            return Err(Refusal::OtherKind);
        }
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(accepted).ok_or(Refusal::Algorithm)?;
        let key_id = header.get("kid").and_then(Value::as_str).filter(|id| (1..=LONGEST_SUBJECT).contains(&id.len()));
        Ok(Self { algorithm, key_id: key_id.ok_or(Refusal::UnknownKey)?.to_owned() })
    }
}

/// An access token of RFC 9068, or one that says nothing more than that it is a token. Others (a logout token, a proof
/// of possession, a security event) are signed with the same keys and mean something else.
fn is_kind(typ: Option<&Value>) -> bool {
    match typ {
        None => true,
        Some(Value::String(typ)) => {
            ["jwt", "at+jwt", "application/at+jwt"].contains(&typ.to_ascii_lowercase().as_str())
        }
        Some(_) => false,
    }
}

/// The algorithms that count, by their names to the letter: no `none`, in whatever case, and none with a shared secret.
fn accepted(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" => Algorithm::EdDSA,
        _ => return None,
    })
}

/// Whether the key has signed the token by this one algorithm.
fn is_signed(token: &str, algorithm: Algorithm, key: &jsonwebtoken::DecodingKey) -> bool {
    let Some((message, signature)) = token.rsplit_once('.') else { return false };
    crypto::verify(signature, message.as_bytes(), key, algorithm).unwrap_or(false)
}

fn check_time(claims: &Members, sent_at: Timestamp) -> Result<(), Refusal> {
    let now = sent_at.as_second() as f64;
    let skew = CLOCK_SKEW.as_secs_f64();
    match moment(claims.get("exp")) {
        Ok(Some(expires)) if now < expires + skew => {}
        _ => return Err(Refusal::Expired),
    }
    for name in ["nbf", "iat"] {
        match moment(claims.get(name)) {
            Ok(None) => {}
            Ok(Some(begins)) if begins <= now + skew => {}
            _ => return Err(Refusal::NotYet),
        }
    }
    Ok(())
}

/// Seconds since 1970, which may have a fraction.
fn moment(claim: Option<&Value>) -> Result<Option<f64>, ()> {
    match claim {
        None => Ok(None),
        Some(value) => value.as_f64().filter(|seconds| seconds.is_finite()).map(Some).ok_or(()),
    }
}

/// A text that can be a name: it is kept with runs, and compared.
fn is_name(text: &str) -> bool {
    (1..=LONGEST_SUBJECT).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// The groups as Amazon Cognito names them, or as others do. API Gateway passes a list of claims on as one text, in
/// which `["ex operators"]` cannot be told from `["ex", "operators"]`; here it is the list.
fn groups(claims: &Members) -> Vec<String> {
    let groups = claims.get("cognito:groups").or_else(|| claims.get("groups")).and_then(Value::as_array);
    let name = |group: &Value| group.as_str().map(str::to_owned);
    // What is no list of names gives none.
    groups.and_then(|groups| groups.iter().map(name).collect()).unwrap_or_default()
}

impl Error {
    /// The kind of failure that it is to whoever sent the token.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Refused(_) => Kind::Authorization,
            Self::Unavailable(failure) => failure.kind,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_stands_behind_bearer_and_nothing_else() {
        for value in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c "] {
            assert_eq!(of_authorization(value), Some("a.b.c"), "{value}");
        }
        for value in ["", "Bearer", "Bearer ", "a.b.c", "Basic a.b.c", "Bearera.b.c"] {
            assert_eq!(of_authorization(value), None, "{value}");
        }
    }
}
