//! AWS as a function meets it at its start, over TLS: services that take everything, and the issuer of tokens.
//!
//! Deliberately absent: keeping anything. Each run is of another input, so none would find what another left.

use std::{
    net::Ipv4Addr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use ihelper_testkit::memory::SigningKey;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{CipherSuite, ServerConfig, pki_types::PrivateKeyDer, server::NoServerSessionStorage};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::{
    Failed,
    functions::{Environment, build, environment},
};

/// Where distributions keep what they trust.
const BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// What functions trust on AWS.
const AMAZON: &str = include_str!("../../../../shared/adapters/src/amazon.pem");

/// How long the model takes for an answer.
pub const MODEL_TIME: Duration = Duration::from_secs(1);

/// The services, until this is dropped.
pub struct Service {
    address: String,
    certificates: PathBuf,
    aws_certificates: PathBuf,
    counts: Arc<Counts>,
    task: tokio::task::JoinHandle<()>,
}

/// How often what was asked.
#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    dead_letters: AtomicU64,
}

impl Service {
    /// Services at a free port of this machine. Their certificate is made now, and stands in files with all those that a
    /// function trusts anyway, so that it reads as many as it would on AWS.
    ///
    /// # Errors
    /// This returns an error when the port or the file cannot be had.
    pub async fn start() -> Result<Self, Failed> {
        let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()])?;
        let certificates = build::reports()?.join("certificates.pem");
        let trusted = BUNDLES.iter().find_map(|bundle| std::fs::read_to_string(bundle).ok()).unwrap_or_default();
        std::fs::write(&certificates, format!("{trusted}\n{}", cert.pem()))?;
        let aws_certificates = build::reports()?.join("aws-certificates.pem");
        std::fs::write(&aws_certificates, format!("{AMAZON}\n{}", cert.pem()))?;

        let key = PrivateKeyDer::try_from(signing_key.serialize_der())?;
        let mut provider = rustls::crypto::ring::default_provider();
        // As the services of AWS choose, whatever a client would rather have.
        provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)?;
        config.ignore_client_order = true;
        // Store and queue are two hosts on AWS: what one of them said shortens no handshake with the other.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = format!("https://localhost:{}", listener.local_addr()?.port());
        let counts = Arc::new(Counts::default());
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let task = tokio::spawn(serve(listener, acceptor, address.clone(), Arc::clone(&counts)));
        Ok(Self { address, certificates, aws_certificates, counts, task })
    }

    /// The issuer of tokens, which is at the same address.
    pub fn issuer(&self) -> &str {
        &self.address
    }

    /// What a function finds that works with these.
    pub fn environment(&self) -> Environment {
        let mut environment = environment(&self.address, &self.address);
        let files = [("SSL_CERT_FILE", &self.certificates), ("AWS_CA_BUNDLE", &self.aws_certificates)];
        environment.extend(files.map(|(name, path)| (name.to_owned(), path.display().to_string())));
        environment
    }

    /// How many calls there were.
    pub fn calls(&self) -> u64 {
        self.counts.calls.load(Ordering::Relaxed)
    }

    /// How many messages were sent to dead letters: as many runs came to nothing.
    pub fn dead_letters(&self) -> u64 {
        self.counts.dead_letters.load(Ordering::Relaxed)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, address: String, counts: Arc<Counts>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, address, counts) = (acceptor.clone(), address.clone(), Arc::clone(&counts));
        tokio::spawn(async move {
            // Otherwise the two sides would wait for each other's acknowledgements.
            let _ = stream.set_nodelay(true);
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let answer = service_fn(|request| answer(request, &address, &counts));
            // A function that is killed leaves its connections broken.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    address: &str,
    counts: &Counts,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    counts.calls.fetch_add(1, Ordering::Relaxed);
    let (parts, body) = request.into_parts();
    let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
    let body = body.collect().await?.to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if body["QueueUrl"].as_str().is_some_and(|queue| queue.ends_with("-dlq")) {
        counts.dead_letters.fetch_add(1, Ordering::Relaxed);
    }
    let mut status = StatusCode::OK;
    let value = match (target, parts.uri.path()) {
        ("", "/.well-known/openid-configuration") => {
            json!({ "issuer": address, "jwks_uri": format!("{address}/keys") })
        }
        ("", "/keys") => json!({ "keys": [SigningKey::first().jwk()] }),
        ("", "/chat/completions") => {
            tokio::time::sleep(MODEL_TIME).await;
            completion(&body)
        }
        ("", "/v2/email/outbound-emails") => json!({ "MessageId": "0100019a8f3c5d21-7d0f6f0a-000000" }),
        _ if asks_for_a_run(target, &body) => {
            status = StatusCode::BAD_REQUEST;
            json!({
                "__type": "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException",
                "message": "The conditional request failed",
            })
        }
        _ => answer_to(target, &body),
    };
    let content = if target.starts_with("AmazonSQS") { "application/x-amz-json-1.0" } else { "application/json" };
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content));
    Ok(response)
}

/// Whether the store is asked for a run that it should have: none of those that are here is kept.
fn asks_for_a_run(target: &str, body: &Value) -> bool {
    target == "DynamoDB_20120810.UpdateItem" && body["ReturnValues"] == "ALL_NEW"
}

/// What a service says to a call that it takes.
fn answer_to(target: &str, body: &Value) -> Value {
    let entries = || body["Entries"].as_array().into_iter().flatten();
    match target {
        "DynamoDB_20120810.Query" => json!({ "Items": [], "Count": 0, "ScannedCount": 0 }),
        "AmazonSQS.SendMessage" => json!({ "MessageId": "5f0c7b1e-9d1a-4c55-8f3b-000000000001" }),
        "AmazonSQS.SendMessageBatch" | "AmazonSQS.ChangeMessageVisibilityBatch" => {
            let successful: Vec<Value> =
                entries().map(|entry| json!({ "Id": entry["Id"], "MessageId": "m" })).collect();
            json!({ "Successful": successful, "Failed": [] })
        }
        "AWSEvents.PutEvents" => {
            json!({ "FailedEntryCount": 0, "Entries": entries().map(|_| json!({ "EventId": "e" })).collect::<Vec<_>>() })
        }
        _ => json!({}),
    }
}

/// What the model says: that a mail needs no response, which is the shortest run with one call.
fn completion(request: &Value) -> Value {
    let schema = request.pointer("/response_format/json_schema/schema").cloned().unwrap_or_default();
    let content = fitting(&schema);
    json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": request["model"],
        "choices": [{
            "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": content.to_string() },
        }],
        "usage": { "prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110 },
    })
}

/// The least value that fits a schema: the first of what it may be, and nothing that is not required.
fn fitting(schema: &Value) -> Value {
    if let Some(first) = schema.pointer("/enum/0").or_else(|| schema.get("const")) {
        return first.clone();
    }
    if let Some(first) = schema.pointer("/anyOf/0").or_else(|| schema.pointer("/oneOf/0")) {
        return fitting(first);
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"][0].as_str());
    match kind {
        Some("boolean") => json!(false),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| json!(0)),
        Some("array") => json!([]),
        Some("object") => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            required.map(|name| (name.to_owned(), fitting(&schema["properties"][name]))).collect()
        }
        _ => json!("nothing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_says_the_least_that_fits() {
        let schema = json!({
            "type": "object",
            "required": ["due", "tone", "notes", "count", "title"],
            "properties": {
                "due": { "type": "boolean" },
                "tone": { "enum": ["calm", "warm"] },
                "notes": { "type": "array", "items": { "type": "string" } },
                "count": { "type": "integer", "minimum": 3 },
                "title": { "type": ["string", "null"] },
                "left_out": { "type": "string" },
            },
        });
        let expected = json!({ "due": false, "tone": "calm", "notes": [], "count": 3, "title": "nothing" });
        assert_eq!(fitting(&schema), expected);
    }

    #[test]
    fn every_message_of_a_batch_is_taken() {
        let answer = answer_to("AmazonSQS.SendMessageBatch", &json!({ "Entries": [{ "Id": "0" }, { "Id": "1" }] }));
        let ids: Vec<&Value> = answer["Successful"].as_array().unwrap().iter().map(|entry| &entry["Id"]).collect();
        assert_eq!(ids, ["0", "1"]);
        assert_eq!(answer["Failed"], json!([]));
    }
}
