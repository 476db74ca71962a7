//! What the template tells a function, read from the environment once, at start.

use std::{collections::BTreeMap, num::NonZeroU32, ops::RangeInclusive, path::PathBuf, time::Duration};

use ihelper_adapters::issuer;
use ihelper_workflow::{
    domain::{WorkflowType, configuration::Configuration},
    ports::Quota,
};

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
        let is_local =
            |endpoint: &str| ["http://127.0.0.1:", "http://localhost:"].iter().any(|at| endpoint.starts_with(at));
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
    }

    #[test]
    fn secrets_are_not_shown() {
        let shown = format!("{:?}", Settings::read(complete).unwrap());
        assert!(!shown.contains("value-of-AWS_SECRET_ACCESS_KEY"), "{shown}");
    }
}
