//! An issuer of tokens on loopback, which describes itself as a test says.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use ihelper_adapters::issuer::IssuerKeys;
use ihelper_workflow::{
    domain::{Failure, Kind},
    ports::SigningKeys as _,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

const DESCRIPTION: &str = "/pool/.well-known/openid-configuration";

/// What is answered on a path; nothing at all for `None`.
type Answers = Box<dyn Fn(&str, &str) -> Option<(u16, String)> + Send + Sync>;

struct Issuer {
    address: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Issuer {
    /// An issuer whose answers know the path and its own address.
    async fn answering(answers: impl Fn(&str, &str) -> Option<(u16, String)> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (requests, answers): (Arc<Mutex<Vec<String>>>, Answers) = (Arc::default(), Box::new(answers));
        let (kept, own) = (Arc::clone(&requests), address.clone());
        tokio::spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut bytes = vec![0; 16 * 1024];
                let read = stream.read(&mut bytes).await.unwrap_or_default();
                let request = String::from_utf8_lossy(&bytes[..read]).into_owned();
                let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
                kept.lock().unwrap().push(request);
                match answers(&path, &own) {
                    Some((status, body)) => {
                        let head = format!(
                            "HTTP/1.1 {status} Said\r\nlocation: {own}/keys\r\ncontent-length: {}\r\n\
                             connection: close\r\n\r\n",
                            body.len()
                        );
                        let _ = stream.write_all((head + &body).as_bytes()).await;
                    }
                    // Kept open, and never answered.
                    None => silent.push(stream),
                }
            }
        });
        Self { address, requests }
    }

    /// One that describes itself so; its keys are at `/keys`.
    async fn described(description: impl Fn(&str) -> Value + Send + Sync + 'static) -> Self {
        Self::answering(move |path, own| {
            Some(match path {
                DESCRIPTION => (200, description(own).to_string()),
                "/keys" => (200, r#"{"keys": []}"#.to_owned()),
                _ => (404, String::new()),
            })
        })
        .await
    }

    async fn keys(&self) -> Result<String, Failure> {
        IssuerKeys::new(format!("{}/pool", self.address)).published().await
    }

    fn paths(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap();
        requests.iter().map(|request| request.split(' ').nth(1).unwrap().to_owned()).collect()
    }
}

fn whole(own: &str) -> Value {
    json!({"issuer": format!("{own}/pool"), "jwks_uri": format!("{own}/keys")})
}

#[tokio::test]
async fn keys_are_where_the_issuers_description_says() {
    let issuer = Issuer::described(whole).await;
    assert_eq!(issuer.keys().await.unwrap(), r#"{"keys": []}"#);
    assert_eq!(issuer.paths(), [DESCRIPTION, "/keys"]);
    // With a slash at its end, an issuer is another name with the same description.
    let slash = Issuer::described(|own| json!({"issuer": format!("{own}/pool/"), "jwks_uri": format!("{own}/keys")}));
    let slash = slash.await;
    assert!(IssuerKeys::new(format!("{}/pool/", slash.address)).published().await.is_ok());
    assert!(slash.keys().await.unwrap_err().message.contains("calls itself by another name"));
}

#[tokio::test]
async fn an_issuer_that_is_not_whole_or_not_itself_gives_no_keys() {
    for (description, expected) in [
        (json!({"issuer": "https://evil.example"}), "no JSON with `issuer` and `jwks_uri`"),
        (json!({"issuer": "https://evil.example", "jwks_uri": "https://evil.example/keys"}), "another name"),
        (json!([]), "no JSON with"),
        (json!("x".repeat(200_000)), "more than 131072 bytes"),
    ] {
        let issuer = Issuer::described(move |_| description.clone()).await;
        let failure = issuer.keys().await.unwrap_err();
        assert!(failure.message.contains(expected) && failure.kind.retryable(), "{}", failure.message);
        assert_eq!(issuer.paths(), [DESCRIPTION]);
    }
}

#[tokio::test]
async fn keys_that_lie_where_nobody_can_trust_them_are_not_fetched() {
    for place in
        ["http://10.0.0.1/keys", "http://keys.example/keys", "ftp://127.0.0.1/keys", "file:///etc/passwd", "/keys"]
    {
        let issuer = Issuer::described(move |own| json!({"issuer": format!("{own}/pool"), "jwks_uri": place})).await;
        assert_eq!(issuer.keys().await.unwrap_err().kind, Kind::Connection, "{place}");
        assert_eq!(issuer.paths(), [DESCRIPTION], "{place}");
    }
}

#[tokio::test]
async fn neither_errors_nor_redirects_are_keys() {
    for status in [204, 301, 302, 307, 404, 500, 503] {
        let issuer = Issuer::answering(move |path, own| {
            let is_description = path == DESCRIPTION;
            Some(if is_description { (200, whole(own).to_string()) } else { (status, r#"{"keys": []}"#.to_owned()) })
        });
        let issuer = issuer.await;
        let answered = issuer.keys().await;
        // An answer without content has none, whatever it is called.
        assert!(answered.as_ref().map_or(true, String::is_empty), "{status}: {answered:?}");
        assert_eq!(issuer.paths(), [DESCRIPTION, "/keys"], "{status}");
    }
}

#[tokio::test]
async fn nobody_waits_longer_than_they_can_for_an_issuer() {
    let issuer = Issuer::answering(|path, own| (path == DESCRIPTION).then(|| (200, whole(own).to_string()))).await;
    let keys = IssuerKeys::within(format!("{}/pool", issuer.address), Duration::from_millis(300));
    assert_eq!(keys.published().await.unwrap_err().kind, Kind::Timeout);
    let nobody = IssuerKeys::new("http://127.0.0.1:1/pool");
    let failure = nobody.published().await.unwrap_err();
    assert_eq!(failure.kind, Kind::Connection);
    assert!(!failure.message.contains("127.0.0.1"), "{}", failure.message);
}
