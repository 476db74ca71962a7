//! Requests of tasks to the world outside.
//!
//! Invariants:
//! - A request goes to a host that the configuration names, and so does each redirect that it follows.
//! - A connection goes to an address of the open network. It is looked at where the connection takes it from, after
//!   the name is resolved, so that a name which means something else a moment later changes nothing.
//! - What is kept of an answer is bounded after decompression, and the whole exchange in time.
//! - A redirect to another host gets no header of the plan's, since one of them may be a secret.
//!
//! Deliberately absent: cookies, proxies, connections kept for another request, retries.

mod address;

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, SocketAddr},
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{
        Failure, Kind,
        http::{HostRule, HttpMethod, HttpRequest, HttpResponse},
    },
    ports::HttpClient,
};
use jiff::Timestamp;
use reqwest::{
    Method, Response, StatusCode,
    dns::{Name, Resolve, Resolving},
    header::{HeaderMap, HeaderName, HeaderValue},
};
use serde_json::Value;
use url::{Host, Url};

/// How long the whole exchange takes at the most, redirects included: an effect may be under way for twenty seconds
/// when an invocation ends.
const LONGEST_EXCHANGE: Duration = Duration::from_secs(15);
const LONGEST_CONNECT: Duration = Duration::from_secs(5);
/// The largest body of an answer, decompressed: it is kept in the journal, and plans pass parts of it on.
const LARGEST_ANSWER: usize = 256 * 1024;
/// As browsers follow twenty and APIs need one or two.
const MOST_REDIRECTS: usize = 5;
const USER_AGENT: &str = "ihelper";

/// What a plan may see of an answer's headers.
const KEPT_HEADERS: [&str; 7] = ["content-type", "date", "etag", "last-modified", "link", "location", "x-request-id"];
const LONGEST_KEPT_HEADER: usize = 1024;

/// Tells the addresses of a host: the system's resolver, or a test's.
#[async_trait]
pub trait Names: Send + Sync {
    /// The addresses; port 0 stands for the one in the request.
    ///
    /// # Errors
    /// This returns an error when the name cannot be resolved.
    async fn addresses(&self, host: &str) -> std::io::Result<Vec<SocketAddr>>;
}

struct SystemNames;

#[async_trait]
impl Names for SystemNames {
    async fn addresses(&self, host: &str) -> std::io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host((host, 0)).await?.collect())
    }
}

/// Which addresses may be connected to.
type Admits = fn(IpAddr) -> bool;

/// A client, or why there is none.
type Built = Result<reqwest::Client, String>;

/// Sends requests to the hosts of a list, and only over the open network.
pub struct GuardedHttpClient {
    hosts: Vec<HostRule>,
    admits: Admits,
    exchange: Duration,
    client: LazyLock<Built, Box<dyn FnOnce() -> Built + Send>>,
}

impl fmt::Debug for GuardedHttpClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("GuardedHttpClient").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl GuardedHttpClient {
    /// A client for these hosts. Nothing is loaded before the first request.
    pub fn new(hosts: Vec<HostRule>) -> Self {
        Self::with(hosts, Arc::new(SystemNames), address::is_public, LONGEST_EXCHANGE)
    }

    /// A client that resolves names, admits addresses and gives up as a test says.
    pub fn with(hosts: Vec<HostRule>, names: Arc<dyn Names>, admits: Admits, exchange: Duration) -> Self {
        let make = move || client(names, admits);
        Self { hosts, admits, exchange, client: LazyLock::new(Box::new(make)) }
    }

    /// The address, when a request may go there.
    fn admitted(&self, url: &str) -> Result<Url, Failure> {
        let url = Url::parse(url).map_err(|_| Failure::validation("is not an address like `https://host/path`"))?;
        let is_plain = match url.scheme() {
            "https" => false,
            "http" => true,
            _ => return Err(Failure::validation("is neither https:// nor http://")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Failure::validation("holds a user or a password"));
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(Failure::validation("has no host"));
        };
        // A dot at the end means the same host by a name that no rule has.
        let name = host.to_string();
        let name = name.strip_suffix('.').unwrap_or(&name);
        if !self.hosts.iter().any(|rule| rule.allows(is_plain, name, port)) {
            let message = "the host, with its scheme and port, is not among `security.http_hosts`";
            return Err(Failure::new(Kind::Authorization, message));
        }
        // An address is not resolved, so it is looked at here.
        let literal = match host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
        };
        if literal.is_some_and(|address| !(self.admits)(address)) {
            return Err(not_admitted());
        }
        Ok(url)
    }

    async fn exchange(&self, key: &str, request: &HttpRequest) -> Result<HttpResponse, Failure> {
        let client = self.client.as_ref().map_err(|problem| Failure::new(Kind::Unknown, format!("http: {problem}")))?;
        let mut url = self.admitted(&request.url)?;
        let mut method = method_of(request.method);
        let mut body = request.body.clone();
        let mut headers = headers_of(request)?;
        for _ in 0..=MOST_REDIRECTS {
            let mut sent = client.request(method.clone(), url.clone()).headers(headers.clone());
            sent = sent.header("idempotency-key", header_value(key)?);
            if let Some(body) = &body {
                sent = sent.body(body.clone());
            }
            let response = sent.send().await.map_err(|error| failure(&url, &error))?;
            let Some(location) = redirect(&response) else { return answer(&url, response).await };
            let next = location.and_then(|location| url.join(&location).ok());
            let next = next.ok_or_else(|| refused(&url, "redirects to no address"))?;
            let next = self.admitted(next.as_str()).map_err(|failure| Failure {
                message: format!("http redirect from {}: {failure}", host_of(&url)),
                ..failure
            })?;
            if next.origin() != url.origin() {
                headers = HeaderMap::new();
            }
            // As browsers do: only 307 and 308 keep the method and the body.
            let keeps =
                matches!(response.status().as_u16(), 307 | 308) || method == Method::GET || method == Method::HEAD;
            if !keeps {
                (method, body) = (Method::GET, None);
                headers.remove("content-type");
            }
            // What was meant for one host is not handed to another.
            if body.is_some() && next.origin() != url.origin() {
                return Err(refused(&url, "redirects a body to another host"));
            }
            url = next;
        }
        Err(refused(&url, &format!("redirects more than {MOST_REDIRECTS} times")))
    }
}

#[async_trait]
impl HttpClient for GuardedHttpClient {
    fn check(&self, request: &HttpRequest) -> Result<(), Failure> {
        self.admitted(&request.url).map(drop)
    }

    async fn send(&self, key: &str, request: &HttpRequest) -> Result<HttpResponse, Failure> {
        match tokio::time::timeout(self.exchange, self.exchange(key, request)).await {
            Ok(answered) => answered,
            Err(_) => {
                let seconds = self.exchange.as_secs_f32();
                Err(Failure::new(Kind::Timeout, format!("http: no whole answer after {seconds} s")))
            }
        }
    }
}

/// Whether what is sent there travels encrypted, or stays on this machine.
pub(crate) fn is_sheltered(url: &Url) -> bool {
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => true,
        ("http", Some(Host::Domain(name))) => name == "localhost",
        ("http", Some(Host::Ipv4(address))) => address.is_loopback(),
        ("http", Some(Host::Ipv6(address))) => address.is_loopback(),
        _ => false,
    }
}

/// Certificates as the system trusts them, with ring as the AWS clients have it. They are read once for all clients.
pub(crate) fn tls() -> Result<rustls::ClientConfig, String> {
    static TLS: LazyLock<Result<rustls::ClientConfig, String>> = LazyLock::new(read_tls);
    TLS.clone()
}

fn read_tls() -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    with_roots(roots)
}

/// What these certificates vouch for, as PEM.
pub(crate) fn tls_trusting(pem: &str) -> Result<rustls::ClientConfig, String> {
    with_roots(crate::roots::read(pem).map_err(|error| error.to_string())?)
}

fn with_roots(roots: rustls::RootCertStore) -> Result<rustls::ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

fn client(names: Arc<dyn Names>, admits: Admits) -> Result<reqwest::Client, String> {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls()?)
        .dns_resolver(GuardedNames { names, admits })
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .pool_max_idle_per_host(0)
        .connect_timeout(LONGEST_CONNECT)
        .user_agent(USER_AGENT)
        .gzip(true)
        .build()
        .map_err(|error| error.to_string())
}

/// The resolver that connections take their addresses from: it gives none that is not admitted.
struct GuardedNames {
    names: Arc<dyn Names>,
    admits: Admits,
}

#[derive(Debug, thiserror::Error)]
#[error("the host's address is not one of the open network")]
struct NotAdmitted;

impl Resolve for GuardedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let (names, admits) = (Arc::clone(&self.names), self.admits);
        Box::pin(async move {
            let found = names.addresses(name.as_str()).await?;
            // One address that is not admitted spoils all: such a name is not to be trusted with the others.
            if !found.iter().all(|address| admits(address.ip())) {
                return Err(NotAdmitted.into());
            }
            Ok(Box::new(found.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

const fn method_of(method: HttpMethod) -> Method {
    match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Head => Method::HEAD,
        HttpMethod::Post => Method::POST,
        HttpMethod::Put => Method::PUT,
        HttpMethod::Patch => Method::PATCH,
        HttpMethod::Delete => Method::DELETE,
    }
}

fn headers_of(request: &HttpRequest) -> Result<HeaderMap, Failure> {
    let pairs = request.headers.iter().map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| Failure::validation("http: a header has a name that is none"))?;
        Ok((name, header_value(value)?))
    });
    pairs.collect()
}

fn header_value(text: &str) -> Result<HeaderValue, Failure> {
    HeaderValue::from_str(text).map_err(|_| Failure::validation("http: a header holds what no header can"))
}

fn host_of(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}

/// Where an answer sends to, if it does; the inner `None` is a place that cannot be read.
fn redirect(response: &Response) -> Option<Option<String>> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get("location").map(|place| place.to_str().ok().map(str::to_owned));
    location.filter(|_| is_redirect)
}

async fn answer(url: &Url, response: Response) -> Result<HttpResponse, Failure> {
    let status = response.status();
    if !status.is_success() {
        return Err(failure_of_status(url, status, response.headers()));
    }
    let is_json = response.headers().get("content-type").is_some_and(is_json);
    let headers = kept(response.headers());
    let bytes = bounded_body(url, response).await?;
    let text = String::from_utf8_lossy(&bytes);
    let body = match serde_json::from_slice(&bytes) {
        Ok(value) if is_json => value,
        Err(_) if is_json && !bytes.is_empty() => return Err(refused(url, "answers what it calls JSON and is not")),
        _ if text.contains('\0') => return Err(refused(url, "answers what is neither text nor JSON")),
        _ => Value::from(text),
    };
    Ok(HttpResponse { status: status.as_u16(), headers, body })
}

async fn bounded_body(url: &Url, mut response: Response) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    // Decompressed piece by piece, so that a bomb is met when it has filled the limit.
    while let Some(piece) = response.chunk().await.map_err(|error| failure(url, &error))? {
        if bytes.len() + piece.len() > LARGEST_ANSWER {
            return Err(refused(url, &format!("answers with more than {LARGEST_ANSWER} bytes")));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

fn is_json(content_type: &HeaderValue) -> bool {
    let essence = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn kept(headers: &HeaderMap) -> BTreeMap<String, String> {
    let pairs = KEPT_HEADERS.iter().filter_map(|name| Some((*name, headers.get(*name)?.to_str().ok()?)));
    let short = pairs.filter(|(_, value)| value.len() <= LONGEST_KEPT_HEADER);
    short.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn failure_of_status(url: &Url, status: StatusCode, headers: &HeaderMap) -> Failure {
    let kind = match status.as_u16() {
        401 | 403 => Kind::Authorization,
        404 | 410 => Kind::NotFound,
        408 => Kind::Timeout,
        425 | 429 => Kind::Throttled,
        // What the other side does not know how to do, it will not know later.
        501 | 505 => Kind::Refused,
        500.. => Kind::Connection,
        400..=499 => Kind::Validation,
        _ => Kind::Refused,
    };
    let failure = Failure::new(kind, format!("http {} from {}", status.as_u16(), host_of(url)));
    match headers.get("retry-after").and_then(|value| value.to_str().ok()).and_then(|text| wait(text, Timestamp::now()))
    {
        Some(wait) if kind.retryable() => failure.retry_after(wait),
        _ => failure,
    }
}

/// `Retry-After`: seconds, or a date of RFC 2822.
pub(crate) fn wait(text: &str, now: Timestamp) -> Option<Duration> {
    if let Ok(seconds) = text.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(text.trim()).ok()?.timestamp();
    Some(Duration::try_from(at.duration_since(now)).unwrap_or_default())
}

fn not_admitted() -> Failure {
    Failure::new(Kind::Authorization, NotAdmitted.to_string())
}

fn refused(url: &Url, problem: &str) -> Failure {
    Failure::new(Kind::Refused, format!("http: {} {problem}", host_of(url)))
}

/// The library's own words may repeat the address with its query: only their kind is passed on.
fn failure(url: &Url, error: &reqwest::Error) -> Failure {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    let mut is_corrupt = false;
    while let Some(inner) = cause {
        if inner.is::<NotAdmitted>() {
            return not_admitted();
        }
        // A broken connection shows as a failure to decode too; what cannot be decompressed says so below it.
        let kind = inner.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        is_corrupt |= matches!(kind, Some(std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput));
        cause = inner.source();
    }
    let host = host_of(url);
    if error.is_timeout() {
        Failure::new(Kind::Timeout, format!("http: {host} did not answer in time"))
    } else if error.is_decode() && is_corrupt {
        refused(url, "answers what cannot be decompressed")
    } else if error.is_builder() {
        Failure::validation(format!("http: no request to {host} can be made of this"))
    } else {
        Failure::new(Kind::Connection, format!("http: {host} cannot be reached, or broke off"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(url: &str) -> Failure {
        let hosts = ["api.example.com", "*.example.org", "http://127.0.0.1:8080", "169.254.169.254"];
        let client = GuardedHttpClient::new(hosts.map(|host| host.parse().unwrap()).to_vec());
        match client.admitted(url) {
            Ok(url) => panic!("`{url}` is admitted"),
            Err(failure) => failure,
        }
    }

    #[test]
    fn only_named_hosts_are_admitted_however_the_address_is_written() {
        for url in [
            "https://evil.example",
            "https://api.example.com.evil.example/",
            "https://api.example.com:8443/",
            "http://api.example.com/",
            "https://evil.example/https://api.example.com/",
            "https://evil.example#@api.example.com/",
            "https://evil.example\\@api.example.com/",
            "https://0x7f000001/",
            "https://2130706433/",
            "https://[::1]/",
            "https://example.org/",
        ] {
            assert_eq!(problem(url).kind, Kind::Authorization, "{url}");
        }
        for url in [
            "",
            "api.example.com",
            "ftp://api.example.com",
            "file:///etc/passwd",
            "https://",
            "https://a:b@api.example.com/",
        ] {
            assert_eq!(problem(url).kind, Kind::Validation, "{url}");
        }
        // Not even when the configuration names them.
        for url in ["https://169.254.169.254/latest/meta-data", "http://127.0.0.1:8080/", "http://0177.0.0.1:8080/"] {
            assert!(problem(url).message.contains("open network"), "{url}");
        }
    }

    #[test]
    fn a_status_says_whether_another_try_may_help_and_when() {
        let url = Url::parse("https://api.example.com/?secret=1").unwrap();
        let of = |status: u16, retry_after: &str| {
            let headers = HeaderMap::from_iter([("retry-after".parse().unwrap(), retry_after.parse().unwrap())]);
            failure_of_status(&url, StatusCode::from_u16(status).unwrap(), &headers)
        };
        for status in [400, 401, 403, 404, 409, 410, 422, 501, 304] {
            let failure = of(status, "7");
            assert!(!failure.kind.retryable() && failure.retry_after_ms.is_none(), "{failure:?}");
        }
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(of(status, "x").kind.retryable(), "{status}");
            assert_eq!(of(status, "7").retry_after_ms, Some(7000), "{status}");
        }
        assert_eq!(of(429, "7").message, "http 429 from api.example.com");
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(wait("Thu, 01 Jan 2026 00:01:00 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(wait("Wed, 31 Dec 2025 00:00:00 GMT", now), Some(Duration::ZERO));
    }
}
