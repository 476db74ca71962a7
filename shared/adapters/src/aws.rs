//! What all AWS clients share: region, credentials, endpoint, one HTTP client, timeouts and retries.
//!
//! Built from values, not by `aws-config`: its chain of sources costs milliseconds of every cold start and finds
//! what Lambda has already put into the environment.

use std::{fmt, sync::LazyLock, time::Duration};

use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_http_client::{
    Builder,
    tls::{Provider, TlsContext, TrustStore, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::{HttpClient, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector},
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::{retry::RetryConfig, timeout::TimeoutConfig};
use aws_types::{SdkConfig, region::Region};
use url::Url;

use crate::roots;
pub use crate::roots::NoRoots;

#[cfg(any(feature = "dynamodb", feature = "s3"))]
use crate::work::CountsRequests;

/// How often the SDK tries one call, all attempts counted. The engine repeats steps on its own schedule; this only
/// bridges a broken connection or a moment of throttling.
const ATTEMPTS: u32 = 3;

/// The roots of Amazon Trust Services, which all hosts of AWS can be traced to. Reading these five takes a tenth of what
/// reading the hundred and more of a system takes, at the first call of each start.
const AMAZON: &str = include_str!("amazon.pem");

/// What the names of its hosts end with, in the partitions that it vouches for.
const AWS_HOSTS: &str = ".amazonaws.com";

/// Regions of partitions that may have certificates of others.
const ELSEWHERE: [&str; 4] = ["cn-", "us-iso", "eu-iso", "eusc-"];

/// A client that is made when first used.
pub(crate) type Lazy<Client> = LazyLock<Client, Box<dyn FnOnce() -> Client + Send>>;

/// What all clients share. A clone is cheap and shares the connections.
#[derive(Clone)]
pub struct Aws {
    config: SdkConfig,
    trust: Trust,
}

/// Whose certificates count.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Trust {
    /// Those of these roots, as PEM.
    These(String),
    /// What the system trusts.
    System,
}

impl Trust {
    /// What the services of a region, or whatever is at an endpoint, are to be trusted by.
    fn of(region: &str, endpoint: Option<&str>) -> Self {
        let is_elsewhere = ELSEWHERE.iter().any(|prefix| region.starts_with(prefix));
        if endpoint.is_some() || is_elsewhere { Self::System } else { Self::These(AMAZON.to_owned()) }
    }
}

/// Who calls. `Debug` shows the access key's id and nothing secret.
#[derive(Clone)]
pub struct Credentials {
    /// The access key's id.
    pub access_key_id: String,
    /// The secret.
    pub secret_access_key: String,
    /// The session's token; a function's role always has one.
    pub session_token: Option<String>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// How long a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands, its TLS handshake included.
    pub connect: Duration,
    /// One attempt, from the first byte sent to the headers of the answer.
    pub attempt: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            // Within a region a connection stands after some milliseconds; a lost packet is sent again after one
            // second, so two seconds survive one loss.
            connect: Duration::from_secs(2),
            // The slowest call here writes 350 KiB or sends a mail, well below a second. Ten seconds are beyond
            // what a healthy service takes, and three attempts still fit into a consumer's shortest timeout.
            attempt: Duration::from_secs(10),
        }
    }
}

impl Aws {
    /// The services of a region, or all of them behind one endpoint (a local AWS, plain HTTP or not).
    pub fn new(
        region: impl Into<String>,
        credentials: Credentials,
        endpoint: Option<String>,
        timeouts: Timeouts,
    ) -> Self {
        let region = region.into();
        let trust = Trust::of(&region, endpoint.as_deref());
        Self::with(region, credentials, endpoint, timeouts, trust)
    }

    /// The same, trusting these roots, as PEM, and no other.
    ///
    /// # Errors
    /// This returns an error when it is no PEM, or has no certificate.
    pub fn trusting(
        pem: String,
        region: impl Into<String>,
        credentials: Credentials,
        endpoint: Option<String>,
        timeouts: Timeouts,
    ) -> Result<Self, NoRoots> {
        // The client would panic over it, and at its first call only.
        roots::read(&pem)?;
        Ok(Self::with(region.into(), credentials, endpoint, timeouts, Trust::These(pem)))
    }

    fn with(
        region: String,
        credentials: Credentials,
        endpoint: Option<String>,
        timeouts: Timeouts,
        trust: Trust,
    ) -> Self {
        let http_client = http_client(endpoint.as_deref(), &trust, Builder::new());
        let credentials = aws_credential_types::Credentials::new(
            credentials.access_key_id,
            credentials.secret_access_key,
            credentials.session_token,
            None,
            "environment",
        );
        let mut config = SdkConfig::builder()
            .region(Region::new(region))
            .credentials_provider(SharedCredentialsProvider::new(credentials))
            .http_client(http_client)
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(timeouts.connect)
                    .operation_attempt_timeout(timeouts.attempt)
                    .build(),
            );
        config.set_endpoint_url(endpoint);
        Self { config: config.build(), trust }
    }

    /// The roots, as PEM, that vouch for who is at this address: a host of AWS, or that of the endpoint. `None` for others,
    /// and where what the system trusts counts.
    pub fn roots_for(&self, address: &str) -> Option<String> {
        let Trust::These(roots) = &self.trust else { return None };
        let host_of = |address: &str| Some(Url::parse(address).ok()?.host_str()?.to_owned());
        let host = host_of(address)?;
        let at_endpoint = || self.config.endpoint_url().and_then(host_of).is_some_and(|endpoint| endpoint == host);
        (host.ends_with(AWS_HOSTS) || at_endpoint()).then(|| roots.clone())
    }

    /// The model client never repeats a call: the router asks another node instead. An answer takes as long as it takes,
    /// and the router ends the wait.
    #[cfg(feature = "bedrock")]
    pub(crate) fn bedrock(&self) -> Lazy<aws_sdk_bedrockruntime::Client> {
        let config = self.config.clone();
        Lazy::new(Box::new(move || {
            let connect = config.timeout_config().and_then(TimeoutConfig::connect_timeout);
            let mut timeouts = TimeoutConfig::builder();
            timeouts.set_connect_timeout(connect);
            // Taken whole: what a client's own configuration leaves open is filled up from the shared one.
            let shared = config.into_builder().timeout_config(timeouts.build()).build();
            let config =
                aws_sdk_bedrockruntime::config::Builder::from(&shared).retry_config(RetryConfig::disabled()).build();
            aws_sdk_bedrockruntime::Client::from_conf(config)
        }))
    }

    #[cfg(feature = "dynamodb")]
    pub(crate) fn dynamodb(&self) -> Lazy<aws_sdk_dynamodb::Client> {
        let config = self.config.clone();
        Lazy::new(Box::new(move || {
            let config = aws_sdk_dynamodb::config::Builder::from(&config).interceptor(CountsRequests).build();
            aws_sdk_dynamodb::Client::from_conf(config)
        }))
    }

    #[cfg(feature = "eventbridge")]
    pub(crate) fn eventbridge(&self) -> Lazy<aws_sdk_eventbridge::Client> {
        let config = self.config.clone();
        Lazy::new(Box::new(move || aws_sdk_eventbridge::Client::new(&config)))
    }

    #[cfg(feature = "s3")]
    pub(crate) fn s3(&self) -> Lazy<aws_sdk_s3::Client> {
        let config = self.config.clone();
        Lazy::new(Box::new(move || {
            let is_local = config.endpoint_url().is_some();
            // A local AWS has no host name per bucket.
            let config = aws_sdk_s3::config::Builder::from(&config)
                .force_path_style(is_local)
                .interceptor(CountsRequests)
                .build();
            aws_sdk_s3::Client::from_conf(config)
        }))
    }

    #[cfg(feature = "scheduler")]
    pub(crate) fn scheduler(&self) -> Lazy<aws_sdk_scheduler::Client> {
        let config = self.config.clone();
        Lazy::new(Box::new(move || aws_sdk_scheduler::Client::new(&config)))
    }

    /// The mail client never repeats a call: a mail whose answer was lost may have gone out.
    ///
    /// Nor does it keep connections: one that broke while the function was frozen fails only once the mail is on
    /// its way, and nobody could tell whether it went out. A handshake for each mail is the price.
    #[cfg(feature = "ses")]
    pub(crate) fn ses(&self) -> Lazy<aws_sdk_sesv2::Client> {
        let (config, trust) = (self.config.clone(), self.trust.clone());
        Lazy::new(Box::new(move || {
            let http_client = http_client(config.endpoint_url(), &trust, Builder::new().pool_max_idle_per_host(0));
            let config = aws_sdk_sesv2::config::Builder::from(&config)
                .http_client(http_client)
                .retry_config(RetryConfig::disabled())
                .build();
            aws_sdk_sesv2::Client::from_conf(config)
        }))
    }

    #[cfg(feature = "sqs")]
    pub(crate) fn sqs(&self) -> Lazy<aws_sdk_sqs::Client> {
        let config = self.config.clone();
        Lazy::new(Box::new(move || aws_sdk_sqs::Client::new(&config)))
    }
}

/// A client that is asked for a connector by who has something to send. Each service's client would else make one when it is
/// made, read the roots for it, and throw it away.
#[derive(Debug)]
struct WhenAsked(SharedHttpClient);

impl HttpClient for WhenAsked {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        self.0.http_connector(settings, components)
    }
}

fn http_client(endpoint: Option<&str>, trust: &Trust, builder: Builder) -> SharedHttpClient {
    SharedHttpClient::new(WhenAsked(hyper_client(endpoint, trust, builder)))
}

fn hyper_client(endpoint: Option<&str>, trust: &Trust, builder: Builder) -> SharedHttpClient {
    if endpoint.is_some_and(|endpoint| endpoint.starts_with("http://")) {
        // Leaves out loading the certificates, which a plain connection never looks at.
        builder.build_http()
    } else {
        // Ring, not AWS-LC: the latter collects entropy for 100 ms at the first handshake.
        let builder = builder.tls_provider(Provider::Rustls(CryptoMode::Ring));
        match trust {
            Trust::System => builder.build_https(),
            Trust::These(pem) => builder.tls_context(context(pem)).build_https(),
        }
    }
}

fn context(pem: &str) -> TlsContext {
    let roots = TrustStore::empty().with_pem_certificate(pem.as_bytes());
    TlsContext::builder().with_trust_store(roots).build().expect("whatever the roots, there is a context")
}

impl fmt::Debug for Aws {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Aws")
            .field("region", &self.config.region())
            .field("endpoint", &self.config.endpoint_url())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{CertificateDer, pem::PemObject as _};

    use super::*;

    fn credentials() -> Credentials {
        Credentials { access_key_id: "id".to_owned(), secret_access_key: "key".to_owned(), session_token: None }
    }

    #[test]
    fn amazon_vouches_for_its_own_hosts_only() {
        assert_eq!(Trust::of("eu-west-1", None), Trust::These(AMAZON.to_owned()));
        assert_eq!(Trust::of("us-gov-west-1", None), Trust::These(AMAZON.to_owned()));
        assert_eq!(Trust::of("cn-north-1", None), Trust::System);
        assert_eq!(Trust::of("eu-west-1", Some("https://localhost:4566")), Trust::System);
    }

    #[test]
    fn an_issuer_at_aws_is_vouched_for_by_the_roots_of_aws() {
        let endpoint = Some("https://localhost:4566".to_owned());
        let local =
            Aws::trusting(AMAZON.to_owned(), "eu-west-1", credentials(), endpoint, Timeouts::default()).unwrap();
        let aws = Aws::new("eu-west-1", credentials(), None, Timeouts::default());
        let pool = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_x";
        for (aws, address, is_vouched_for) in [
            (&aws, pool, true),
            (&local, pool, true),
            (&local, "https://localhost:4566/pool", true),
            (&aws, "https://localhost:4566/pool", false),
            (&aws, "https://issuer.example/amazonaws.com", false),
            (&aws, "https://notamazonaws.com", false),
            (&aws, "https://x.amazonaws.com.example", false),
            (&aws, "no address", false),
            (&Aws::new("cn-north-1", credentials(), None, Timeouts::default()), pool, false),
        ] {
            assert_eq!(aws.roots_for(address).is_some(), is_vouched_for, "{address}");
        }
    }

    #[test]
    fn roots_are_certificates_or_refused() {
        let made = |pem: &str| Aws::trusting(pem.to_owned(), "eu-west-1", credentials(), None, Timeouts::default());
        assert!(made(AMAZON).is_ok());
        let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
        for pem in [String::new(), "text".to_owned(), format!("{begin}\nAAAA\n{end}\n"), format!("{begin}\n!\n{end}\n")]
        {
            assert_eq!(made(&pem).unwrap_err(), NoRoots, "{pem}");
        }
    }

    #[test]
    fn amazons_roots_are_five_and_those_that_browsers_trust() {
        let roots: Vec<CertificateDer<'_>> =
            CertificateDer::pem_slice_iter(AMAZON.as_bytes()).collect::<Result<_, _>>().unwrap();
        assert_eq!(roots.len(), 5);
        assert!(roots.iter().all(|root| webpki_root_certs::TLS_SERVER_ROOT_CERTS.contains(root)));
    }

    #[test]
    fn secrets_do_not_show() {
        let credentials = Credentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: "very secret".to_owned(),
            session_token: Some("token secret".to_owned()),
        };
        let aws = Aws::new("eu-west-1", credentials.clone(), None, Timeouts::default());
        let shown = format!("{credentials:?} {aws:?}");
        assert!(shown.contains("AKIDEXAMPLE") && shown.contains("eu-west-1"));
        assert!(!shown.contains("secret"), "{shown}");
    }
}
