//! What the template tells a function, read from the environment once, at start.

use std::{collections::BTreeMap, time::Duration};

use ihelper_workflow::domain::{WorkflowType, configuration::Configuration};

/// Everything that the environment tells.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The AWS region.
    pub region: String,
    /// Where AWS is, when it is not at its own addresses: the local AWS.
    pub endpoint: Option<String>,
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
    /// How long a lease lasts: 1 to 900 s.
    pub lease: Duration,
    /// How many messages of a batch are worked on at a time: 1 to 10,000.
    pub message_concurrency: usize,
    /// Who checks tokens.
    pub auth_mode: AuthMode,
}

/// Who checks a caller's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// API Gateway's authorizer: a request without its claims is refused.
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
                lease: Duration::from_secs(60),
                message_concurrency: 1,
                auth_mode: AuthMode::Authorizer,
            }
        };
        let mut number = |name: &str, default: u64, most: u64| match variable(name).map(|text| text.parse::<u64>()) {
            None => default,
            Some(Ok(value)) if (1..=most).contains(&value) => value,
            Some(_) => {
                problems.push(format!("`{name}` is not a number from 1 to {most}"));
                default
            }
        };
        let lease = Duration::from_secs(number("LEASE_SECONDS", 60, 900));
        let message_concurrency = usize::try_from(number("MESSAGE_CONCURRENCY", 1, 10_000)).unwrap_or(1);
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
        // Nothing on AWS may switch the checks off.
        let is_local =
            |endpoint: &str| ["http://127.0.0.1:", "http://localhost:"].iter().any(|at| endpoint.starts_with(at));
        if auth_mode == AuthMode::Off && !settings.endpoint.as_deref().is_some_and(is_local) {
            problems.push("`AUTH_MODE=off` needs an `AWS_ENDPOINT_URL` on this machine".to_owned());
        }
        if problems.is_empty() {
            Ok(Self { lease, message_concurrency, auth_mode, ..settings })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(name: &str) -> Option<String> {
        match name {
            "AWS_ENDPOINT_URL"
            | "AWS_SESSION_TOKEN"
            | "AUTH_MODE"
            | "LEASE_SECONDS"
            | "MESSAGE_CONCURRENCY"
            | "PUBLIC_URL" => None,
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
    fn queues_are_known_by_url_and_by_arn() {
        let settings = Settings::read(complete).unwrap();
        assert_eq!(settings.queues[&WorkflowType::TaskAutomation], "value-of-TASK_QUEUE_URL");
        assert_eq!(settings.queue_arns[&WorkflowType::TaskAutomation], "value-of-TASK_QUEUE_ARN");
        assert_eq!(settings.dead_letter_queues[&WorkflowType::TaskAutomation], "value-of-TASK_DEAD_LETTER_URL");
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
