//! The keys of who signs tokens, from where OpenID Connect says that they are published.
//!
//! Invariants:
//! - The issuer is reached over HTTPS alone, and over plain HTTP only on this machine's own loopback, for a local AWS.
//!   So are the keys, wherever the issuer says that they are.
//! - What answers in the issuer's name names the issuer as its own (OpenID Connect Discovery 1.0, section 4.3).
//! - Nothing redirects, nothing is decompressed, and what is read is bounded in bytes and in time.
//!
//! Deliberately absent: keeping keys, which is up to who uses them, and retries.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{Failure, Kind},
    ports::SigningKeys,
};
use serde::Deserialize;
use url::Url;

use crate::http::{is_sheltered, tls, tls_trusting};

/// A caller waits meanwhile, and whoever cannot reach the issuer within this will not within twice.
const LONGEST_EXCHANGE: Duration = Duration::from_secs(5);
const LONGEST_CONNECT: Duration = Duration::from_secs(2);
/// Large providers publish some 6 KiB of keys, with certificates some 20.
const LARGEST_ANSWER: usize = 128 * 1024;
const USER_AGENT: &str = "ihelper";

/// A client, or why there is none.
type Built = Result<reqwest::Client, String>;

/// The keys that an issuer publishes.
pub struct IssuerKeys {
    issuer: String,
    patience: Duration,
    roots: Option<String>,
}

impl fmt::Debug for IssuerKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("IssuerKeys").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl IssuerKeys {
    /// The keys of this issuer, the `iss` of its tokens to the letter. Nothing is loaded before they are asked for.
    pub fn new(issuer: impl Into<String>) -> Self {
        Self::within(issuer, LONGEST_EXCHANGE)
    }

    /// The keys of this issuer, asked for no longer than this.
    pub fn within(issuer: impl Into<String>, patience: Duration) -> Self {
        Self { issuer: issuer.into(), patience, roots: None }
    }

    /// The same keys, from a server that these roots vouch for, as PEM. Without them those of the system do, of which there
    /// are a hundred and more to read.
    #[must_use]
    pub fn trusting(mut self, roots: Option<String>) -> Self {
        self.roots = roots;
        self
    }

    async fn fetch(client: &reqwest::Client, place: Url) -> Result<Vec<u8>, Failure> {
        let request = client.get(place).header("accept", "application/json");
        let mut response = request.send().await.map_err(|error| failure(&error))?;
        if !response.status().is_success() {
            return Err(unreachable(&format!("answers with status {}", response.status().as_u16())));
        }
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| failure(&error))? {
            if bytes.len() + piece.len() > LARGEST_ANSWER {
                return Err(unreachable(&format!("answers with more than {LARGEST_ANSWER} bytes")));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    async fn find(&self) -> Result<String, Failure> {
        // One connection for both requests, and none that is kept: asked once an hour, it would be found broken.
        let client = client(self.roots.as_deref())
            .map_err(|problem| Failure::new(Kind::Unknown, format!("issuer: {problem}")))?;
        #[derive(Deserialize)]
        struct Description {
            issuer: String,
            jwks_uri: String,
        }
        // As the standard has it: a slash at the issuer's end is not doubled.
        let place = format!("{}/.well-known/openid-configuration", self.issuer.trim_end_matches('/'));
        let description = Self::fetch(&client, admitted(&place)?).await?;
        let description: Description = serde_json::from_slice(&description)
            .map_err(|_| unreachable("describes itself by no JSON with `issuer` and `jwks_uri`"))?;
        if description.issuer != self.issuer {
            return Err(unreachable("calls itself by another name"));
        }
        let keys = Self::fetch(&client, admitted(&description.jwks_uri)?).await?;
        String::from_utf8(keys).map_err(|_| unreachable("publishes keys that are no text"))
    }
}

#[async_trait]
impl SigningKeys for IssuerKeys {
    async fn published(&self) -> Result<String, Failure> {
        match tokio::time::timeout(self.patience, self.find()).await {
            Ok(found) => found,
            Err(_) => Err(Failure::new(Kind::Timeout, "the issuer of tokens did not answer in time")),
        }
    }
}

/// Whether tokens of this issuer can be trusted by where it is: HTTPS, or loopback.
pub fn is_admitted(issuer: &str) -> bool {
    admitted(issuer).is_ok()
}

fn admitted(place: &str) -> Result<Url, Failure> {
    let url = Url::parse(place).map_err(|_| unreachable("has no address"))?;
    let is_plain_address = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    if is_plain_address && is_sheltered(&url) { Ok(url) } else { Err(unreachable("is not at an https:// address")) }
}

fn client(roots: Option<&str>) -> Built {
    reqwest::Client::builder()
        .tls_backend_preconfigured(roots.map_or_else(tls, tls_trusting)?)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .connect_timeout(LONGEST_CONNECT)
        .user_agent(USER_AGENT)
        .build()
        .map_err(|error| error.to_string())
}

/// What the issuer does wrong may be mended, so whoever asked may ask again.
fn unreachable(problem: &str) -> Failure {
    Failure::new(Kind::Connection, format!("the issuer of tokens {problem}"))
}

/// The library's own words repeat the address: only their kind is passed on.
fn failure(error: &reqwest::Error) -> Failure {
    if error.is_timeout() {
        Failure::new(Kind::Timeout, "the issuer of tokens did not answer in time")
    } else {
        unreachable("cannot be reached, or broke off")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_over_https_and_in_plain_only_from_this_machine() {
        for place in [
            "https://issuer.example",
            "https://issuer.example/tenant/",
            "https://10.0.0.1:8443/x",
            "http://127.0.0.1:4566/token-issuer",
            "http://localhost:1",
            "http://[::1]:8080/",
        ] {
            assert!(is_admitted(place), "{place}");
        }
        for place in [
            "",
            "issuer.example",
            "http://issuer.example",
            "http://127.0.0.1.example/",
            "http://localhost.example/",
            "http://10.0.0.1/",
            "http://127.0.0.1@evil.example/",
            "https://user:word@issuer.example/",
            "https://issuer.example/#x",
            "ftp://127.0.0.1/",
            "file:///etc/passwd",
        ] {
            assert!(!is_admitted(place), "{place}");
        }
    }
}
