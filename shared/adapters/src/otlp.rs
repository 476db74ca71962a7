//! Spans to an OTLP endpoint: a collector, a vendor, or X-Ray's own, where requests are signed.
//!
//! Invariants:
//! - The endpoint is reached over HTTPS alone, and over plain HTTP only on this machine's own loopback, where a
//!   collector beside the function listens.
//! - Nothing redirects, and what an endpoint answers is bounded in bytes and in time: whoever waits for it is the caller
//!   of a function.
//!
//! Deliberately absent: which spans there are, and when they are sent.

use std::{collections::HashMap, fmt, sync::LazyLock, time::Duration};

use async_trait::async_trait;
use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::identity::Identity;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
pub use opentelemetry_otlp::SpanExporter as Exporter;
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use url::Url;

use crate::{
    aws,
    http::{is_sheltered, tls},
};

/// How long spans may keep an invocation from ending.
const LONGEST_EXCHANGE: Duration = Duration::from_secs(2);
/// An endpoint tells how many spans it refused, in some hundred bytes.
const LARGEST_ANSWER: usize = 64 * 1024;

/// Where spans go.
#[derive(Clone)]
pub struct Endpoint {
    /// Its address, the path included: `https://api.vendor.example/v1/traces`.
    pub url: String,
    /// Headers that it wants, such as a key.
    pub headers: HashMap<String, String>,
}

/// Who signs for X-Ray, and where.
#[derive(Clone, Debug)]
pub struct Signer {
    /// The region.
    pub region: String,
    /// The function's own credentials.
    pub credentials: aws::Credentials,
}

impl Endpoint {
    /// X-Ray's endpoint of a region. The account has to have CloudWatch Transaction Search.
    pub fn of_xray(region: &str) -> Self {
        Self { url: format!("https://xray.{region}.amazonaws.com/v1/traces"), headers: HashMap::new() }
    }

    /// Whether requests are signed: X-Ray's own endpoint takes no others.
    fn is_xray(&self) -> bool {
        let url = Url::parse(&self.url).ok();
        let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
        host.starts_with("xray.") && (host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn"))
    }

    /// An exporter to this endpoint. It connects when it first sends.
    ///
    /// # Errors
    /// This returns an error when the address is none of HTTPS, nor of HTTP on this machine.
    pub fn exporter(&self, signer: Signer) -> Result<Exporter, String> {
        let signer = self.is_xray().then_some(signer);
        if !Url::parse(&self.url).is_ok_and(|url| is_sheltered(&url)) {
            return Err("is not https:// with a host, or http:// on this machine".to_owned());
        }
        let exporter = Exporter::builder()
            .with_http()
            .with_http_client(Sender { signer, client: LazyLock::new(client) })
            .with_endpoint(&self.url)
            .with_headers(self.headers.clone())
            .with_timeout(LONGEST_EXCHANGE);
        exporter.build().map_err(|error| error.to_string())
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Endpoint").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A client, or why there is none.
type Built = Result<reqwest::Client, String>;

fn client() -> Built {
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls()?)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(LONGEST_EXCHANGE)
        .build()
        .map_err(|error| error.to_string())
}

struct Sender {
    signer: Option<Signer>,
    client: LazyLock<Built>,
}

impl fmt::Debug for Sender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Sender").field("signer", &self.signer).finish_non_exhaustive()
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.as_ref().map_err(String::as_str)?;
        if let Some(signer) = &self.signer {
            signer.sign(&mut request)?;
        }
        let mut answer = client.execute(request.try_into()?).await?;
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await? {
            if body.len() + piece.len() > LARGEST_ANSWER {
                return Err("the endpoint's answer is too large".into());
            }
            body.extend_from_slice(&piece);
        }
        let response = Response::builder().status(answer.status());
        Ok(response.body(body.into())?)
    }
}

impl Signer {
    /// Signs as AWS Signature Version 4 says.
    fn sign(&self, request: &mut Request<Bytes>) -> Result<(), HttpError> {
        let aws::Credentials { access_key_id, secret_access_key, session_token } = self.credentials.clone();
        let identity: Identity =
            Credentials::new(access_key_id, secret_access_key, session_token, None, "environment").into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("xray")
            .time(std::time::SystemTime::now())
            .settings(SigningSettings::default())
            .build()?;
        let (instructions, _) = {
            let headers =
                request.headers().iter().filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)));
            let body = SignableBody::Bytes(request.body());
            let signable = SignableRequest::new(request.method().as_str(), request.uri().to_string(), headers, body)?;
            sign(signable, &parameters.into())?.into_parts()
        };
        instructions.apply_to_request_http1x(request);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer() -> Signer {
        let credentials = aws::Credentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: "very secret".to_owned(),
            session_token: Some("token".to_owned()),
        };
        Signer { region: "eu-west-1".to_owned(), credentials }
    }

    #[test]
    fn spans_travel_encrypted_or_stay_on_this_machine() {
        let exporter = |url: &str| Endpoint { url: url.to_owned(), headers: HashMap::new() }.exporter(signer());
        for url in ["https://collector.example/v1/traces", "http://127.0.0.1:4318/v1/traces", "http://[::1]:1/"] {
            assert!(exporter(url).is_ok(), "{url}");
        }
        for url in ["http://collector.example/v1/traces", "collector", "ftp://127.0.0.1", "http://localhost.example"] {
            assert!(exporter(url).is_err(), "{url}");
        }
    }

    #[test]
    fn only_xray_gets_signatures() {
        assert!(Endpoint::of_xray("eu-west-1").is_xray());
        for url in ["https://xray.example/v1/traces", "https://amazonaws.com", "https://collector.example"] {
            assert!(!Endpoint { url: url.to_owned(), headers: HashMap::new() }.is_xray(), "{url}");
        }
        let mut request = Request::post(Endpoint::of_xray("eu-west-1").url).body(Bytes::from_static(b"spans")).unwrap();
        signer().sign(&mut request).unwrap();
        let signature = request.headers()["authorization"].to_str().unwrap();
        assert!(signature.contains("Credential=AKIDEXAMPLE/") && signature.contains("/eu-west-1/xray/aws4_request"));
        assert_eq!(request.headers()["x-amz-security-token"], "token");
    }
}
