//! Requests to the world outside, and whom they may go to.

use std::{collections::BTreeMap, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The largest body of a request.
pub const LARGEST_REQUEST: usize = 256 * 1024;
// What servers take at the least: 8 KiB for all headers.
const LARGEST_HEADERS: usize = 8 * 1024;
const LONGEST_URL: usize = 8 * 1024;

/// The headers that are the connection's or ours.
const RESERVED_HEADERS: [&str; 12] = [
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "idempotency-key",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "accept-encoding",
];

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HttpRequest {
    /// The method.
    pub method: HttpMethod,
    /// The address.
    pub url: String,
    /// Its headers.
    pub headers: BTreeMap<String, String>,
    /// Its body.
    pub body: Option<String>,
}

impl HttpRequest {
    /// Refuses a request that is none, or that says what only the connection may say.
    ///
    /// # Errors
    /// This returns the part that is wrong and what is wrong with it.
    pub fn check(&self) -> Result<(), (&'static str, String)> {
        if self.url.len() > LONGEST_URL {
            return Err(("url", format!("has {} bytes, more than {LONGEST_URL}", self.url.len())));
        }
        let bytes: usize = self.headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        if bytes > LARGEST_HEADERS {
            return Err(("headers", format!("have {bytes} bytes, more than {LARGEST_HEADERS}")));
        }
        for (name, value) in &self.headers {
            let shown: String = name.chars().filter(|character| !character.is_control()).take(64).collect();
            if name.is_empty() || !name.bytes().all(is_token) {
                return Err(("headers", format!("`{shown}` is not the name of a header")));
            }
            let lower = name.to_ascii_lowercase();
            if RESERVED_HEADERS.contains(&lower.as_str()) || lower.starts_with("proxy-") {
                return Err(("headers", format!("`{shown}` cannot be set")));
            }
            if !value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)) {
                return Err(("headers", format!("`{shown}` holds what no header can")));
            }
        }
        match &self.body {
            Some(body) if body.len() > LARGEST_REQUEST => {
                Err(("body", format!("has {} bytes, more than {LARGEST_REQUEST}", body.len())))
            }
            Some(_) if matches!(self.method, HttpMethod::Get | HttpMethod::Head) => {
                Err(("body", format!("a {} has none", self.method)))
            }
            _ => Ok(()),
        }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HttpResponse {
    /// Its status.
    pub status: u16,
    /// Those of its headers that a plan may need.
    pub headers: BTreeMap<String, String>,
    /// Its body: JSON where it is that, else text.
    pub body: Value,
}

/// The methods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum HttpMethod {
    /// Reads.
    #[default]
    Get,
    /// Reads without a body.
    Head,
    /// Does or makes something.
    Post,
    /// Replaces.
    Put,
    /// Changes.
    Patch,
    /// Removes.
    Delete,
}

impl HttpMethod {
    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

impl fmt::Display for HttpMethod {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Hosts that requests may go to: `api.example.com`, `*.example.com` (each host below it), with `:8443` for another
/// port than the usual one, or `http://` before it for plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct HostRule {
    is_plain: bool,
    host: String,
    takes_subdomains: bool,
    port: u16,
}

impl HostRule {
    /// Whether a request with this scheme, host (in lower case) and port may be sent.
    pub fn allows(&self, is_plain: bool, host: &str, port: u16) -> bool {
        let is_host = if self.takes_subdomains {
            host.strip_suffix(&self.host).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
        } else {
            host == self.host
        };
        is_host && is_plain == self.is_plain && port == self.port
    }
}

impl FromStr for HostRule {
    type Err = String;

    /// # Errors
    /// This returns an error that says what a host looks like.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a host like `api.example.com`, `*.example.com:8443` or `http://host`");
        let (is_plain, rest) = match text.strip_prefix("http://") {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix("https://").unwrap_or(text)),
        };
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0).ok_or_else(wrong)?),
            None => (rest, if is_plain { 80 } else { 443 }),
        };
        let (takes_subdomains, host) = match host.strip_prefix("*.") {
            Some(host) => (true, host),
            None => (false, host),
        };
        let is_label = |label: &str| {
            !label.is_empty() && label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c))
        };
        // A star over a whole top-level domain would be a hole and not a rule.
        let is_wide = takes_subdomains && !host.contains('.');
        if host.len() > 253 || !host.split('.').all(is_label) || is_wide {
            return Err(wrong());
        }
        Ok(Self { is_plain, host: host.to_owned(), takes_subdomains, port })
    }
}

impl TryFrom<String> for HostRule {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(rule: &str, plain: bool, host: &str, port: u16) -> bool {
        rule.parse::<HostRule>().unwrap().allows(plain, host, port)
    }

    #[test]
    fn a_rule_stands_for_a_host_a_scheme_and_a_port() {
        assert!(allows("api.example.com", false, "api.example.com", 443));
        assert!(allows("https://api.example.com", false, "api.example.com", 443));
        assert!(!allows("api.example.com", true, "api.example.com", 80));
        assert!(!allows("api.example.com", false, "api.example.com", 8443));
        assert!(!allows("api.example.com", false, "api.example.com.evil.example", 443));
        assert!(!allows("example.com", false, "api.example.com", 443));
        assert!(allows("http://localhost:8080", true, "localhost", 8080));
        assert!(allows("*.example.com", false, "a.b.example.com", 443));
        for host in ["example.com", ".example.com", "evilexample.com", "example.com.evil.example"] {
            assert!(!allows("*.example.com", false, host, 443), "{host}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in
            ["", "*", "*.com", "a b", "EXAMPLE.com", "a..b", "a/b", "user@host", "host:0", "host:x", "[::1]", "ftp://h"]
        {
            assert!(text.parse::<HostRule>().unwrap_err().contains("is not a host"), "{text}");
        }
    }

    #[test]
    fn a_header_cannot_say_what_the_connection_says_or_begin_another_one() {
        let problem = |name: &str, value: &str| {
            let headers = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            HttpRequest { method: HttpMethod::Get, url: "https://a.example".to_owned(), headers, body: None }.check()
        };
        for name in ["Host", "content-length", "Transfer-Encoding", "idempotency-key", "Proxy-Authorization"] {
            assert!(problem(name, "x").unwrap_err().1.contains("cannot be set"), "{name}");
        }
        for name in ["", "a b", "a:b", "a\r\nb", "ä"] {
            assert!(problem(name, "x").unwrap_err().1.contains("is not the name"), "{name}");
        }
        for value in ["a\r\nX-Evil: 1", "a\nb", "a\0b", "ä"] {
            assert!(problem("x-note", value).unwrap_err().1.contains("holds what no header can"), "{value}");
        }
        problem("X-Note", "fine, really").unwrap();
        assert!(problem("x", &"y".repeat(9000)).unwrap_err().1.contains("more than 8192"));
    }
}
