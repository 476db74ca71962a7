//! A server that answers whatever a test says, behind names that a test resolves.

use std::{
    collections::BTreeMap,
    io::Write as _,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use ihelper_adapters::http::{GuardedHttpClient, Names};
use ihelper_workflow::{
    domain::{
        Failure, Kind,
        http::{HttpMethod, HttpRequest, HttpResponse},
    },
    ports::HttpClient as _,
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// Here `127.0.0.1` stands for the open network, and everything else for a private one.
fn admits(address: IpAddr) -> bool {
    address == IpAddr::from([127, 0, 0, 1])
}

/// Names with what they resolve to, each time the next; the last stays.
#[derive(Default)]
struct TestNames {
    addresses: BTreeMap<&'static str, Vec<[u8; 4]>>,
    asked: AtomicUsize,
}

#[async_trait]
impl Names for TestNames {
    async fn addresses(&self, host: &str) -> std::io::Result<Vec<SocketAddr>> {
        let turn = self.asked.fetch_add(1, Ordering::Relaxed);
        let known = self.addresses.get(host).ok_or_else(|| std::io::Error::other("there is no such host"))?;
        Ok(vec![SocketAddr::from((known[turn.min(known.len() - 1)], 0))])
    }
}

/// A server on loopback that keeps what it was sent, and answers by path.
struct Server {
    port: u16,
    requests: Arc<Mutex<Vec<String>>>,
}

type Answers = fn(&str, u16) -> Vec<u8>;

impl Server {
    async fn answering(answers: Answers) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&requests);
        tokio::spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { return };
                let kept = Arc::clone(&kept);
                tokio::spawn(async move {
                    let mut bytes = vec![0; 64 * 1024];
                    let mut read = 0;
                    while !whole(&bytes[..read]) {
                        match stream.read(&mut bytes[read..]).await {
                            Ok(0) | Err(_) => return,
                            Ok(more) => read += more,
                        }
                    }
                    let request = String::from_utf8_lossy(&bytes[..read]).into_owned();
                    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                    kept.lock().unwrap().push(request);
                    if path == "/silent" {
                        return std::future::pending().await;
                    }
                    let _ = stream.write_all(&answers(&path, port)).await;
                    if path == "/drip" {
                        std::future::pending().await
                    }
                });
            }
        });
        Self { port, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    fn client(&self, names: &[(&'static str, &[[u8; 4]])]) -> GuardedHttpClient {
        let hosts = ["api.example", "other.example", "gone.example", "inner.example"];
        let rules = hosts.iter().map(|host| format!("http://{host}:{}", self.port).parse().unwrap());
        let addresses = names.iter().map(|(name, addresses)| (*name, addresses.to_vec())).collect();
        let names = Arc::new(TestNames { addresses, asked: AtomicUsize::new(0) });
        GuardedHttpClient::with(rules.collect(), names, admits, Duration::from_millis(1500))
    }

    async fn get(&self, path: &str) -> Result<HttpResponse, Failure> {
        let names: &[(&str, &[[u8; 4]])] = &[
            ("api.example", &[[127, 0, 0, 1]]),
            ("other.example", &[[127, 0, 0, 1]]),
            ("inner.example", &[[127, 0, 0, 2]]),
        ];
        self.client(names).send("run/1/step", &self.request(HttpMethod::Get, path)).await
    }

    fn request(&self, method: HttpMethod, path: &str) -> HttpRequest {
        let url = format!("http://api.example:{}{path}", self.port);
        HttpRequest { method, url, headers: BTreeMap::new(), body: None }
    }
}

fn whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn page(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n{headers}connection: close\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn moved(status: &str, to: &str) -> Vec<u8> {
    page(status, &format!("location: {to}\r\n"), b"")
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn answers(path: &str, port: u16) -> Vec<u8> {
    const JSON: &str = "content-type: application/json\r\n";
    match path {
        "/json" => page(
            "200 OK",
            "content-type: Application/JSON; charset=utf-8\r\netag: \"1\"\r\nset-cookie: a=b\r\n",
            b"{\"a\":[1]}",
        ),
        "/text" => page("200 OK", "content-type: text/html\r\n", b"<p>{\"a\": 1}</p>"),
        "/gzip" => page("200 OK", &format!("{JSON}content-encoding: gzip\r\n"), &gzipped(b"{\"a\":2}")),
        "/bomb" => page("200 OK", "content-encoding: gzip\r\n", &gzipped(&vec![b'x'; 64 << 20])),
        "/broken-gzip" => page("200 OK", "content-encoding: gzip\r\n", b"this is no gzip"),
        "/huge" => page("200 OK", "", &vec![b'x'; 300 * 1024]),
        "/no-json" => page("200 OK", JSON, b"<html>"),
        "/binary" => page("200 OK", "content-type: image/png\r\n", b"\x89PNG\0\0\0"),
        "/strange-type" => {
            b"HTTP/1.1 200 OK\r\ncontent-type: \xff/;;=\r\ncontent-length: 4\r\nconnection: close\r\n\r\nfine".to_vec()
        }
        "/empty" => page("204 No Content", "", b""),
        "/drip" => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nx".to_vec(),
        "/cut" => b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\nx".to_vec(),
        "/garbage" => b"\0\x01\x02 nothing like HTTP\r\n\r\n".to_vec(),
        "/busy" => page("429 Too Many Requests", "retry-after: 7\r\n", b"secret words"),
        "/down" => page("503 Service Unavailable", "", b""),
        "/missing" => page("404 Not Found", "", b"secret words"),
        "/away" => moved("302 Found", &format!("http://other.example:{port}/json")),
        "/near" => moved("301 Moved Permanently", "/json"),
        "/kept" => moved("307 Temporary Redirect", "/json"),
        "/kept-away" => moved("308 Permanent Redirect", &format!("http://other.example:{port}/json")),
        "/loop" => moved("302 Found", "/loop"),
        "/inner" => moved("302 Found", &format!("http://inner.example:{port}/json")),
        "/loopback" => moved("302 Found", &format!("http://127.0.0.1:{port}/json")),
        "/metadata" => moved("302 Found", "http://169.254.169.254/latest/meta-data/"),
        "/file" => moved("302 Found", "file:///etc/passwd"),
        "/unnamed" => moved("302 Found", "https://evil.example/"),
        _ => page("400 Bad Request", "", b""),
    }
}

#[tokio::test]
async fn an_answer_is_json_or_text_by_what_it_says_of_itself() {
    let server = Server::answering(answers).await;
    let read = server.get("/json").await.unwrap();
    assert_eq!((read.status, read.body), (200, json!({"a": [1]})));
    let names: Vec<&str> = read.headers.keys().map(String::as_str).collect();
    assert_eq!(names, ["content-type", "etag"]);
    assert_eq!(server.get("/text").await.unwrap().body, json!("<p>{\"a\": 1}</p>"));
    assert_eq!(server.get("/gzip").await.unwrap().body, json!({"a": 2}));
    assert_eq!(server.get("/empty").await.unwrap().body, json!(""));
    assert_eq!(server.get("/strange-type").await.unwrap().body, json!("fine"));
    for path in ["/no-json", "/binary"] {
        assert_eq!(server.get(path).await.unwrap_err().kind, Kind::Refused, "{path}");
    }
}

#[tokio::test]
async fn a_request_carries_its_key_its_headers_and_its_body() {
    let server = Server::answering(answers).await;
    let client = server.client(&[("api.example", &[[127, 0, 0, 1]])]);
    let headers = BTreeMap::from([("X-Note".to_owned(), "one".to_owned())]);
    let body = Some("{\"lead\":1}".to_owned());
    let request = HttpRequest { headers, body, ..server.request(HttpMethod::Post, "/json") };
    client.send("run/00003/call", &request).await.unwrap();
    let sent = &server.requests()[0];
    assert!(sent.starts_with("POST /json HTTP/1.1\r\n") && sent.ends_with("{\"lead\":1}"), "{sent}");
    for line in ["idempotency-key: run/00003/call\r\n", "x-note: one\r\n", "user-agent: ihelper\r\n"] {
        assert!(sent.contains(line), "{sent}");
    }
}

#[tokio::test]
async fn a_failure_says_whether_another_try_may_help_and_nothing_that_was_answered() {
    let server = Server::answering(answers).await;
    let busy = server.get("/busy").await.unwrap_err();
    assert_eq!((busy.kind, busy.retry_after_ms), (Kind::Throttled, Some(7000)));
    assert_eq!(server.get("/down").await.unwrap_err().kind, Kind::Connection);
    let missing = server.get("/missing").await.unwrap_err();
    assert_eq!((missing.kind, missing.message.as_str()), (Kind::NotFound, "http 404 from api.example"));
    for path in ["/cut", "/garbage"] {
        assert_eq!(server.get(path).await.unwrap_err().kind, Kind::Connection, "{path}");
    }
    let client = server.client(&[]);
    assert_eq!(client.send("k", &server.request(HttpMethod::Get, "/json")).await.unwrap_err().kind, Kind::Connection);
}

#[tokio::test]
async fn an_answer_that_is_too_large_or_too_slow_is_given_up() {
    let server = Server::answering(answers).await;
    for path in ["/huge", "/bomb"] {
        let failure = server.get(path).await.unwrap_err();
        assert!(failure.kind == Kind::Refused && failure.message.contains("more than 262144"), "{path}: {failure}");
    }
    assert_eq!(server.get("/broken-gzip").await.unwrap_err().kind, Kind::Refused);
    for path in ["/silent", "/drip"] {
        assert_eq!(server.get(path).await.unwrap_err().kind, Kind::Timeout, "{path}");
    }
}

#[tokio::test]
async fn redirects_are_followed_among_the_named_hosts_and_not_for_ever() {
    let server = Server::answering(answers).await;
    for path in ["/near", "/away", "/kept"] {
        assert_eq!(server.get(path).await.unwrap().body, json!({"a": [1]}), "{path}");
    }
    let circling = server.get("/loop").await.unwrap_err();
    assert!(circling.kind == Kind::Refused && circling.message.contains("more than 5 times"), "{circling}");
    let before = server.requests().len();
    for path in ["/loopback", "/metadata", "/unnamed"] {
        let failure = server.get(path).await.unwrap_err();
        assert_eq!(failure.kind, Kind::Authorization, "{path}: {failure}");
    }
    assert_eq!(server.get("/file").await.unwrap_err().kind, Kind::Validation);
    assert_eq!(server.requests().len(), before + 4);
}

#[tokio::test]
async fn a_redirect_to_another_host_takes_no_secret_and_no_body_along() {
    let server = Server::answering(answers).await;
    let client = server.client(&[("api.example", &[[127, 0, 0, 1]]), ("other.example", &[[127, 0, 0, 1]])]);
    let headers = BTreeMap::from([("authorization".to_owned(), "Bearer secret".to_owned())]);
    let body = Some("private".to_owned());
    let post =
        |path| HttpRequest { headers: headers.clone(), body: body.clone(), ..server.request(HttpMethod::Post, path) };

    client.send("k", &post("/away")).await.unwrap();
    let there = server.requests().pop().unwrap();
    assert!(there.starts_with("GET /json") && there.contains("other.example"), "{there}");
    assert!(!there.contains("secret") && !there.contains("private"), "{there}");

    client.send("k", &post("/kept")).await.unwrap();
    let here = server.requests().pop().unwrap();
    assert!(here.starts_with("POST /json") && here.contains("secret") && here.ends_with("private"), "{here}");

    let failure = client.send("k", &post("/kept-away")).await.unwrap_err();
    assert!(failure.message.contains("a body to another host"), "{failure}");
    assert!(server.requests().pop().unwrap().starts_with("POST /kept-away"));
}

#[tokio::test]
async fn no_connection_goes_to_an_address_that_is_not_of_the_open_network() {
    let server = Server::answering(answers).await;
    // At once, and after a redirect.
    let failure = server.get("/inner").await.unwrap_err();
    assert!(failure.kind == Kind::Authorization && failure.message.contains("open network"), "{failure}");
    assert_eq!(server.requests().len(), 1);
    let client = server.client(&[("api.example", &[[169, 254, 169, 254]])]);
    let failure = client.send("k", &server.request(HttpMethod::Get, "/json")).await.unwrap_err();
    assert_eq!((failure.kind, server.requests().len()), (Kind::Authorization, 1));
}

#[tokio::test]
async fn a_name_that_changes_its_address_is_looked_at_each_time_it_is_used() {
    let server = Server::answering(answers).await;
    // The first answer is good; the second, for the redirect to the same host, leads inside.
    let client = server.client(&[("api.example", &[[127, 0, 0, 1], [127, 0, 0, 2]])]);
    let failure = client.send("k", &server.request(HttpMethod::Get, "/near")).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Authorization, "{failure}");
    assert_eq!(server.requests().len(), 1);
}
