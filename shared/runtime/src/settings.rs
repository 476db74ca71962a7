//! What the template tells a function, read from the environment once, at start.

use std::{
    collections::{BTreeMap, HashMap},
    num::NonZeroU32,
    ops::RangeInclusive,
    path::PathBuf,
    time::Duration,
};

use ihelper_adapters::{
    aws::Credentials,
    issuer,
    otlp::{Endpoint, Signer},
};
use ihelper_workflow::{
    domain::{WorkflowType, configuration::Configuration},
    ports::Quota,
};

use crate::telemetry::SpanSettings;

/// Everything that the environment tells.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The AWS region.
    pub region: String,
    /// Where AWS is, when it is not at its own addresses: the local AWS.
    pub endpoint: Option<String>,
    /// The file with the roots that AWS, or what stands in its place, is trusted by: where a proxy or a local AWS has
    /// certificates of its own.
    pub ca_bundle: Option<PathBuf>,
    /// The role's access key.
    pub access_key_id: String,
    /// The role's secret.
    pub secret_access_key: Secret,
    /// The role's session, on AWS.
    pub session_token: Option<Secret>,
    /// The table.
    pub table: String,
    /// Each workflow's queue.
    pub queues: BTreeMap<WorkflowType, String>,
    /// The same queues, as EventBridge Scheduler calls them: by ARN.
    pub queue_arns: BTreeMap<WorkflowType, String>,
    /// Each workflow's dead-letter queue.
    pub dead_letter_queues: BTreeMap<WorkflowType, String>,
    /// The group of the schedules that send to the queues.
    pub schedule_group: String,
    /// The role in which they send, as ARN.
    pub scheduler_role_arn: String,
    /// The bucket with mail under `mail/`.
    pub mail_bucket: String,
    /// The bucket with documents under `documents/`.
    pub document_bucket: String,
    /// The bucket for values too large for the table or a message, and for uploads and answers.
    pub payload_bucket: String,
    /// The event bus.
    pub event_bus: String,
    /// The address that answers come from.
    pub sender_address: String,
    /// The SES configuration set, which publishes delivery events.
    pub configuration_set: String,
    /// Where people reach the API, for links in mail: `https://`, or `http://` on this machine, without a slash at its
    /// end. `None` when nobody said.
    pub public_url: Option<String>,
    /// The origins whose pages may call the API, each as a browser sends it. None, no page of another site may.
    pub cors_origins: Vec<String>,
    /// How long a lease lasts: 1 to 900 s.
    pub lease: Duration,
    /// How many messages of a batch are worked on at a time: 1 to 10,000.
    pub message_concurrency: usize,
    /// Who checks tokens.
    pub auth_mode: AuthMode,
    /// The `iss` of tokens, to the letter: `https://`, or `http://` on this machine.
    pub jwt_issuer: String,
    /// The audience, or client id, that a token must be made for.
    pub jwt_audience: String,
    /// How often a caller may call the API: 1 to 1,000,000 requests in 1 to 86,400 s. `None` when nobody said.
    pub quota: Option<Quota>,
}

/// Who checks a caller's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// API Gateway's authorizer and then the function itself: a request without the claims of the one or a valid token
    /// for the other is refused.
    Authorizer,
    /// Nobody: every caller is the operator `local`. For `cargo lambda watch` on one's own machine.
    Off,
}

/// A text that no log shows.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text secret.
    #[cfg(test)]
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one who needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("[secret]")
    }
}

/// Everything wrong with the environment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment is not complete: {}", .0.join("; "))]
pub struct Invalid(Vec<String>);

impl Settings {
    /// Reads the environment of this process.
    ///
    /// # Errors
    /// This returns an error that lists every variable that is missing or out of range.
    pub fn from_environment() -> Result<Self, Invalid> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads settings from anything that has variables.
    ///
    /// # Errors
    /// As [`from_environment`](Self::from_environment).
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Invalid> {
        let mut problems = Vec::new();
        let settings = {
            let mut required = |name: &str| match variable(name) {
                Some(value) if !value.trim().is_empty() => value,
                _ => {
                    problems.push(format!("`{name}` is missing"));
                    String::new()
                }
            };
            let mut per_workflow = |suffix: &str| {
                WorkflowType::ALL
                    .into_iter()
                    .map(|workflow| {
                        let prefix = match workflow {
                            WorkflowType::EmailProcessing => "EMAIL",
                            WorkflowType::DocumentReview => "DOCUMENT",
                            WorkflowType::TaskAutomation => "TASK",
                        };
                        (workflow, required(&format!("{prefix}_{suffix}")))
                    })
                    .collect()
            };
            let (queues, queue_arns) = (per_workflow("QUEUE_URL"), per_workflow("QUEUE_ARN"));
            let dead_letter_queues = per_workflow("DEAD_LETTER_URL");
            Self {
                region: required("AWS_REGION"),
                endpoint: variable("AWS_ENDPOINT_URL").filter(|endpoint| !endpoint.is_empty()),
                ca_bundle: variable("AWS_CA_BUNDLE").filter(|path| !path.is_empty()).map(PathBuf::from),
                access_key_id: required("AWS_ACCESS_KEY_ID"),
                secret_access_key: Secret(required("AWS_SECRET_ACCESS_KEY")),
                session_token: variable("AWS_SESSION_TOKEN").filter(|token| !token.is_empty()).map(Secret),
                table: required("TABLE_NAME"),
                queues,
                queue_arns,
                dead_letter_queues,
                schedule_group: required("SCHEDULE_GROUP"),
                scheduler_role_arn: required("SCHEDULER_ROLE_ARN"),
                mail_bucket: required("MAIL_BUCKET"),
                document_bucket: required("DOCUMENT_BUCKET"),
                payload_bucket: required("PAYLOAD_BUCKET"),
                event_bus: required("EVENT_BUS_NAME"),
                sender_address: required("SENDER_ADDRESS"),
                configuration_set: required("CONFIGURATION_SET"),
                public_url: variable("PUBLIC_URL").filter(|url| !url.is_empty()),
                cors_origins: listed(&variable("CORS_ORIGINS").unwrap_or_default()),
                lease: Duration::from_secs(60),
                message_concurrency: 1,
                auth_mode: AuthMode::Authorizer,
                jwt_issuer: required("JWT_ISSUER"),
                jwt_audience: required("JWT_AUDIENCE"),
                quota: None,
            }
        };
        let mut number = |name: &str, default: u64, range: RangeInclusive<u64>| match variable(name)
            .map(|text| text.parse::<u64>())
        {
            None => default,
            Some(Ok(value)) if range.contains(&value) => value,
            Some(_) => {
                problems.push(format!("`{name}` is not a number from {} to {}", range.start(), range.end()));
                default
            }
        };
        let lease = Duration::from_secs(number("LEASE_SECONDS", 60, 1..=900));
        let message_concurrency = usize::try_from(number("MESSAGE_CONCURRENCY", 1, 1..=10_000)).unwrap_or(1);
        let requests = u32::try_from(number("RATE_LIMIT_REQUESTS", 0, 0..=1_000_000)).ok().and_then(NonZeroU32::new);
        let window = Duration::from_secs(number("RATE_LIMIT_SECONDS", 60, 1..=86_400));
        let quota = requests.map(|requests| Quota { requests, window });
        let auth_mode = match variable("AUTH_MODE").as_deref() {
            None | Some("authorizer") => AuthMode::Authorizer,
            Some("off") => AuthMode::Off,
            Some(_) => {
                problems.push("`AUTH_MODE` is neither `authorizer` nor `off`".to_owned());
                AuthMode::Authorizer
            }
        };
        if settings.public_url.as_deref().is_some_and(|url| !is_public_url(url)) {
            problems.push(
                "`PUBLIC_URL` is not https:// with a host and no slash at its end, or http:// on this machine"
                    .to_owned(),
            );
        }
        for origin in settings.cors_origins.iter().filter(|origin| !is_origin(origin)) {
            problems.push(format!(
                "`CORS_ORIGINS`: `{origin}` is not https:// with a host and nothing behind it, or http:// on this machine"
            ));
        }
        if !settings.jwt_issuer.is_empty() && !issuer::is_admitted(&settings.jwt_issuer) {
            problems.push("`JWT_ISSUER` is not https:// with a host, or http:// on this machine".to_owned());
        }
        // Nothing on AWS may switch the checks off.
        let is_local = |endpoint: &str| {
            let place = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
            place.is_some_and(|place| ["127.0.0.1:", "localhost:"].iter().any(|host| place.starts_with(host)))
        };
        if auth_mode == AuthMode::Off && !settings.endpoint.as_deref().is_some_and(is_local) {
            problems.push("`AUTH_MODE=off` needs an `AWS_ENDPOINT_URL` on this machine".to_owned());
        }
        if problems.is_empty() {
            Ok(Self { lease, message_concurrency, auth_mode, quota, ..settings })
        } else {
            Err(Invalid(problems))
        }
    }
}

/// What a function tells about itself, and to whom.
#[derive(Clone, Debug)]
pub struct Observation {
    /// The least level of its lines: `off`, `error`, `warn`, `info`, `debug` or `trace`; what is none is `info`.
    pub log_level: String,
    /// The namespace of its metrics; `None` when nobody wants any.
    pub metrics: Option<String>,
    /// The function's name.
    pub function: String,
    /// Where its spans go; `None` when nobody wants any.
    pub spans: Option<SpanSettings>,
}

const METRICS_NAMESPACE: &str = "ihelper";
const LONGEST_NAMESPACE: usize = 255;

impl Observation {
    /// Reads the environment of this process.
    ///
    /// # Errors
    /// This returns an error that lists every variable that is out of range.
    pub fn from_environment() -> Result<Self, Invalid> {
        Self::read(|name| std::env::var(name).ok())
    }

    /// Reads it from anything that has variables: `LOG_LEVEL` (`info` unless set), `METRICS` (`off`, or the namespace
    /// of CloudWatch, `ihelper` unless set), `TRACES_ENDPOINT` (none unless set, `xray`, or the address of an OTLP
    /// endpoint), `TRACES_HEADERS` (`name=value`, separated by commas) and `TRACES_PERCENT` (0 to 100).
    ///
    /// # Errors
    /// As [`from_environment`](Self::from_environment).
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Invalid> {
        let mut problems = Vec::new();
        let set = |name: &str| variable(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        let metrics = match set("METRICS") {
            None => Some(METRICS_NAMESPACE.to_owned()),
            Some(off) if off == "off" => None,
            Some(namespace) => {
                if !is_namespace(&namespace) {
                    problems.push("`METRICS` is neither `off` nor a namespace of CloudWatch".to_owned());
                }
                Some(namespace)
            }
        };
        let percent = set("TRACES_PERCENT").map_or(Ok(100.0), |text| text.parse::<f64>());
        let percent = percent.ok().filter(|percent| (0.0..=100.0).contains(percent)).unwrap_or_else(|| {
            problems.push("`TRACES_PERCENT` is not a number from 0 to 100".to_owned());
            100.0
        });
        let headers = headers(&set("TRACES_HEADERS").unwrap_or_default()).unwrap_or_else(|| {
            problems.push("`TRACES_HEADERS` is not `name=value`, separated by commas".to_owned());
            HashMap::new()
        });
        let function = set("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|| "ihelper".to_owned());
        let region = set("AWS_REGION").unwrap_or_default();
        let spans = set("TRACES_ENDPOINT").map(|endpoint| SpanSettings {
            endpoint: match endpoint.as_str() {
                "xray" => Endpoint::of_xray(&region),
                _ => Endpoint { url: endpoint, headers },
            },
            signer: Signer {
                credentials: Credentials {
                    access_key_id: set("AWS_ACCESS_KEY_ID").unwrap_or_default(),
                    secret_access_key: set("AWS_SECRET_ACCESS_KEY").unwrap_or_default(),
                    session_token: set("AWS_SESSION_TOKEN"),
                },
                region,
            },
            share: percent / 100.0,
            function: function.clone(),
        });
        let log_level = set("LOG_LEVEL").unwrap_or_else(|| "info".to_owned());
        if problems.is_empty() { Ok(Self { log_level, metrics, function, spans }) } else { Err(Invalid(problems)) }
    }
}

/// Whether CloudWatch takes it for a namespace that is not of AWS.
fn is_namespace(text: &str) -> bool {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || ".-_/#:".contains(letter);
    text.len() <= LONGEST_NAMESPACE && !text.starts_with(':') && !text.starts_with("AWS/") && text.chars().all(is_part)
}

/// Headers as `name=value`, separated by commas; `None` when one is no header.
fn headers(text: &str) -> Option<HashMap<String, String>> {
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let is_value = |value: &str| value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    listed(text)
        .into_iter()
        .map(|header| {
            let (name, value) = header.split_once('=')?;
            let (name, value) = (name.trim(), value.trim());
            (is_name(name) && is_value(value)).then(|| (name.to_owned(), value.to_owned()))
        })
        .collect()
}

/// The keys of models, by the variables that the configuration names for them. Those that are not there are left out.
pub fn model_keys(
    configuration: &Configuration,
    variable: impl Fn(&str) -> Option<String>,
) -> BTreeMap<String, Secret> {
    let names = configuration.assistant.nodes.iter().filter_map(|node| node.key_variable.as_deref());
    let found = names.filter_map(|name| Some((name, variable(name).filter(|key| !key.is_empty())?)));
    found.map(|(name, key)| (name.to_owned(), Secret(key))).collect()
}

/// Whether links can be made of it by appending a path. A link that a token travels in is encrypted, unless it never
/// leaves this machine.
fn is_public_url(url: &str) -> bool {
    let (rest, is_encrypted) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (rest, true),
        (None, Some(rest)) => (rest, false),
        (None, None) => return false,
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.split(':').next().unwrap_or_default();
    let is_plain = |letter: char| letter.is_ascii_graphic() && !"?#@\\\"<>".contains(letter);
    !host.is_empty()
        && (is_encrypted || ["localhost", "127.0.0.1"].contains(&host))
        && !url.ends_with('/')
        && url.chars().all(is_plain)
}

/// What stands between commas.
fn listed(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Whether a browser could send it as the origin of a page: no pattern, no path, no capital.
fn is_origin(origin: &str) -> bool {
    let authority = origin.split_once("://").map_or("", |(_, authority)| authority);
    is_public_url(origin)
        && !authority.contains(['/', '*'])
        && !origin.chars().any(|letter| letter.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(name: &str) -> Option<String> {
        match name {
            "AWS_CA_BUNDLE"
            | "AWS_ENDPOINT_URL"
            | "AWS_SESSION_TOKEN"
            | "AUTH_MODE"
            | "CORS_ORIGINS"
            | "LEASE_SECONDS"
            | "MESSAGE_CONCURRENCY"
            | "PUBLIC_URL"
            | "RATE_LIMIT_REQUESTS"
            | "RATE_LIMIT_SECONDS" => None,
            "JWT_ISSUER" => Some("https://issuer.example".to_owned()),
            _ => Some(format!("value-of-{name}")),
        }
    }

    #[test]
    fn every_missing_variable_is_named_at_once() {
        let problem = Settings::read(|_| None).unwrap_err().to_string();
        for name in [
            "TABLE_NAME",
            "EMAIL_QUEUE_URL",
            "DOCUMENT_QUEUE_ARN",
            "TASK_DEAD_LETTER_URL",
            "AWS_REGION",
            "SCHEDULE_GROUP",
            "SCHEDULER_ROLE_ARN",
            "SENDER_ADDRESS",
            "JWT_ISSUER",
            "JWT_AUDIENCE",
        ] {
            assert!(problem.contains(&format!("`{name}` is missing")), "{problem}");
        }
    }

    #[test]
    fn a_number_out_of_range_is_named() {
        let read = |name: &str| if name == "LEASE_SECONDS" { Some("0".to_owned()) } else { complete(name) };
        assert!(
            Settings::read(read).unwrap_err().to_string().contains("`LEASE_SECONDS` is not a number from 1 to 900")
        );
    }

    #[test]
    fn a_public_url_is_one_that_links_can_begin_with() {
        let read =
            |url: &str| Settings::read(|name| if name == "PUBLIC_URL" { Some(url.to_owned()) } else { complete(name) });
        for url in [
            "https://api.example.com",
            "https://example.com:8443/ihelper",
            "http://127.0.0.1:4566/a/$default",
            "http://localhost",
        ] {
            assert_eq!(read(url).unwrap().public_url.as_deref(), Some(url));
        }
        assert_eq!(read("").unwrap().public_url, None);
        assert_eq!(Settings::read(complete).unwrap().public_url, None);
        for url in [
            "set",
            "https://",
            "https:///path",
            "https://:8080",
            "https://example.com/",
            "https://example.com?x=",
            "https://example.com#x",
            "https://example.com/a b",
            "https://user@example.com",
            "http://example.com",
            "http://localhost.example.com",
            "http://127.0.0.1@example.com",
            "ftp://localhost",
            "https://exämple.com",
            "https://example.com\r\nX: y",
        ] {
            let problem = read(url).unwrap_err().to_string();
            assert!(problem.contains("`PUBLIC_URL` is not"), "`{url}`: {problem}");
        }
    }

    #[test]
    fn an_origin_is_named_to_the_letter_or_not_at_all() {
        let read = |origins: &str| {
            Settings::read(|name| if name == "CORS_ORIGINS" { Some(origins.to_owned()) } else { complete(name) })
        };
        let origins =
            read("https://app.example.com, https://example.com:8443,http://localhost:3000").unwrap().cors_origins;
        assert_eq!(origins, ["https://app.example.com", "https://example.com:8443", "http://localhost:3000"]);
        assert!(read("").unwrap().cors_origins.is_empty());
        for origin in [
            "*",
            "null",
            "https://*.example.com",
            "https://app.example.com/",
            "https://app.example.com/path",
            "https://App.example.com",
            "http://app.example.com",
            "app.example.com",
        ] {
            let problem = read(&format!("https://good.example.com,{origin}")).unwrap_err().to_string();
            assert!(problem.contains(&format!("`CORS_ORIGINS`: `{origin}` is not")), "{problem}");
        }
    }

    #[test]
    fn queues_are_known_by_url_and_by_arn() {
        let settings = Settings::read(complete).unwrap();
        assert_eq!(settings.queues[&WorkflowType::TaskAutomation], "value-of-TASK_QUEUE_URL");
        assert_eq!(settings.queue_arns[&WorkflowType::TaskAutomation], "value-of-TASK_QUEUE_ARN");
        assert_eq!(settings.dead_letter_queues[&WorkflowType::TaskAutomation], "value-of-TASK_DEAD_LETTER_URL");
    }

    #[test]
    fn tokens_come_from_an_issuer_over_https() {
        let read = |issuer: &str| {
            Settings::read(|name| if name == "JWT_ISSUER" { Some(issuer.to_owned()) } else { complete(name) })
        };
        assert_eq!(read("https://issuer.example/pool/").unwrap().jwt_issuer, "https://issuer.example/pool/");
        assert!(read("http://127.0.0.1:4566/token-issuer").is_ok());
        for issuer in ["http://issuer.example", "issuer.example", "https://"] {
            let problem = read(issuer).unwrap_err().to_string();
            assert!(problem.contains("`JWT_ISSUER` is not https://"), "`{issuer}`: {problem}");
        }
    }

    #[test]
    fn callers_are_limited_only_where_somebody_says_how() {
        let read = |requests: &str, seconds: &str| {
            Settings::read(|name| match name {
                "RATE_LIMIT_REQUESTS" => Some(requests.to_owned()),
                "RATE_LIMIT_SECONDS" => Some(seconds.to_owned()),
                _ => complete(name),
            })
        };
        assert_eq!(Settings::read(complete).unwrap().quota, None);
        assert_eq!(read("0", "60").unwrap().quota, None);
        let quota = read("600", "30").unwrap().quota.unwrap();
        assert_eq!((quota.requests.get(), quota.window), (600, Duration::from_secs(30)));
        for (requests, seconds, expected) in [
            ("-1", "60", "`RATE_LIMIT_REQUESTS` is not a number from 0 to 1000000"),
            ("1000001", "60", "`RATE_LIMIT_REQUESTS`"),
            ("1", "0", "`RATE_LIMIT_SECONDS` is not a number from 1 to 86400"),
            ("1", "a minute", "`RATE_LIMIT_SECONDS`"),
        ] {
            let problem = read(requests, seconds).unwrap_err().to_string();
            assert!(problem.contains(expected), "{problem}");
        }
    }

    #[test]
    fn the_checks_of_tokens_cannot_be_switched_off_on_aws() {
        let read = |name: &str| if name == "AUTH_MODE" { Some("off".to_owned()) } else { complete(name) };
        assert!(Settings::read(read).unwrap_err().to_string().contains("AUTH_MODE=off"));
        let at = |endpoint: &'static str| {
            Settings::read(move |name| if name == "AWS_ENDPOINT_URL" { Some(endpoint.to_owned()) } else { read(name) })
        };
        for endpoint in ["http://127.0.0.1:4566", "http://localhost:1", "https://localhost:4566"] {
            assert_eq!(at(endpoint).unwrap().auth_mode, AuthMode::Off, "{endpoint}");
        }
        for endpoint in
            ["https://dynamodb.eu-west-1.amazonaws.com", "http://localhost.example:1", "https://x/localhost:1"]
        {
            assert!(at(endpoint).unwrap_err().to_string().contains("AUTH_MODE=off"), "{endpoint}");
        }
    }

    fn observed(variables: &[(&str, &str)]) -> Result<Observation, Invalid> {
        Observation::read(|name| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn unless_somebody_says_otherwise_there_are_metrics_and_no_traces() {
        let observation = observed(&[]).unwrap();
        assert_eq!((observation.metrics.as_deref(), observation.log_level.as_str()), (Some("ihelper"), "info"));
        assert!(observation.spans.is_none());
        assert_eq!(observed(&[("METRICS", "off")]).unwrap().metrics, None);
        let spans = observed(&[("TRACES_ENDPOINT", "xray"), ("AWS_REGION", "eu-west-1"), ("TRACES_PERCENT", "5")]);
        let spans = spans.unwrap().spans.unwrap();
        assert_eq!(
            (spans.endpoint.url.as_str(), spans.share),
            ("https://xray.eu-west-1.amazonaws.com/v1/traces", 0.05)
        );
    }

    #[test]
    fn what_is_wrong_with_an_observation_is_named_at_once() {
        let wrong = [
            ("METRICS", "AWS/Lambda"),
            ("TRACES_ENDPOINT", "https://collector.example"),
            ("TRACES_PERCENT", "NaN"),
            ("TRACES_HEADERS", "key"),
        ];
        let problem = observed(&wrong).unwrap_err().to_string();
        for name in ["METRICS", "TRACES_PERCENT", "TRACES_HEADERS"] {
            assert!(problem.contains(&format!("`{name}`")), "{problem}");
        }
        for namespace in ["a b", "é", &"x".repeat(256)] {
            assert!(observed(&[("METRICS", namespace)]).is_err(), "{namespace}");
        }
        let headers = "x-key = abc=, other=1";
        let endpoint = observed(&[("TRACES_ENDPOINT", "https://c.example"), ("TRACES_HEADERS", headers)]).unwrap();
        let endpoint = endpoint.spans.unwrap().endpoint;
        assert_eq!((endpoint.headers["x-key"].as_str(), endpoint.headers["other"].as_str()), ("abc=", "1"));
        assert!(!format!("{endpoint:?}").contains("abc"), "a key is not shown");
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", Settings::read(complete).unwrap());
        assert!(!shown.contains("value-of-AWS_SECRET_ACCESS_KEY"), "{shown}");
    }
}
