//! The functions as they are deployed, under the runtime interface emulator, beside functions that do nothing.
//!
//! A figure of one machine says little, so each stands beside that of a peer which was measured in turns with it.

pub mod batch;
pub mod build;
pub mod cold;
pub mod cores;
pub mod emulator;
pub mod memory;
pub mod process;
pub mod service;
pub mod sizes;
pub mod telemetry;
pub mod throughput;
pub mod warm;

use std::collections::BTreeMap;

use ihelper_testkit::memory::SigningKey;
use ihelper_workflow::domain::{RunId, WorkflowType};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::workloads;

/// The variables that a function finds.
pub type Environment = BTreeMap<String, String>;

/// The audience of tokens.
const AUDIENCE: &str = "ihelper";

/// A function of the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Function {
    /// The name of its package and of its binary.
    pub name: &'static str,
    /// What starts it.
    pub door: Door,
}

/// What starts a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// API Gateway.
    Api,
    /// EventBridge.
    Bus,
    /// The queue of a workflow.
    Queue(WorkflowType),
}

/// Every function that is deployed.
pub const FUNCTIONS: [Function; 5] = [
    Function { name: "api-process", door: Door::Api },
    Function { name: "event-handler", door: Door::Bus },
    Function { name: "email-consumer", door: Door::Queue(WorkflowType::EmailProcessing) },
    Function { name: "document-consumer", door: Door::Queue(WorkflowType::DocumentReview) },
    Function { name: "task-consumer", door: Door::Queue(WorkflowType::TaskAutomation) },
];

impl Function {
    /// What gives it nothing to do: it answers without a call to anybody.
    pub fn idle(&self) -> Value {
        match self.door {
            Door::Api => request("GET", "/health", None, ""),
            Door::Bus => event("something_else", 0, &json!({})),
            Door::Queue(_) => json!({ "Records": [] }),
        }
    }

    /// What it answers after its first calls to store and queue, and to no other service, without a workflow's own work: the
    /// API begins a run and leaves it to the consumer, a consumer looks for a run that it finds to be gone.
    pub fn first_calls(&self, number: usize, issuer: &str) -> Value {
        match self.door {
            Door::Api => {
                let mut call = self.work(number, issuer);
                call["headers"]["prefer"] = json!("respond-async");
                call
            }
            Door::Queue(workflow) => {
                let run = RunId::derived(Timestamp::UNIX_EPOCH, &[workflow.name(), &number.to_string()]);
                messages(&[json!({ "run_id": run }).to_string()], number)
            }
            Door::Bus => self.work(number, issuer),
        }
    }

    /// What it finds where its first calls are to store and queue alone: the API checks no token then, for which it would
    /// ask the issuer.
    pub fn environment_of_first_calls(&self, mut environment: Environment) -> Environment {
        if self.door == Door::Api {
            environment.insert("AUTH_MODE".to_owned(), "off".to_owned());
        }
        environment
    }

    /// The `number`th run of its workflow, or the event that leads to one.
    pub fn work(&self, number: usize, issuer: &str) -> Value {
        match self.door {
            Door::Api => {
                let workflow = WorkflowType::EmailProcessing;
                let body = json!({ "type": workflow.name(), "data": data(workflow, number) });
                request("POST", "/workflow/process", Some(&token(issuer)), &body.to_string())
            }
            Door::Bus => event("email_received", number, &data(WorkflowType::EmailProcessing, number)),
            Door::Queue(workflow) => {
                let body = json!({ "type": workflow.name(), "data": data(workflow, number) });
                messages(&[body.to_string()], number)
            }
        }
    }

    /// What is wrong with an answer to [`work`](Self::work), if something is.
    pub fn complaint(&self, answer: &Value) -> Option<String> {
        let is_good = match self.door {
            Door::Api => matches!(answer["statusCode"].as_u64(), Some(200 | 202)),
            Door::Bus => answer.is_null(),
            Door::Queue(_) => answer["batchItemFailures"].as_array().is_some_and(Vec::is_empty),
        };
        (!is_good).then(|| format!("`{}` answers `{answer}`", self.name))
    }
}

/// The typical input, by another sender with another id each time, so that no run meets the one before.
fn data(workflow: WorkflowType, number: usize) -> Value {
    let mut data = workloads::data(workflow);
    data["id"] = json!(format!("measured-{number}"));
    if workflow == WorkflowType::EmailProcessing {
        data["from"] = json!(format!("marta.lindqvist.{number}@customer.example"));
    }
    data
}

/// A token of this issuer, good until the year 2100.
fn token(issuer: &str) -> String {
    SigningKey::first().token(&json!({
        "iss": issuer, "aud": AUDIENCE, "sub": "alice", "cognito:groups": ["operators"], "exp": 4_102_444_800_u64,
    }))
}

/// A request as API Gateway passes it on once its authorizer has checked the token.
pub fn request(method: &str, path: &str, token: Option<&str>, body: &str) -> Value {
    let mut headers = json!({
        "accept": "application/json",
        "content-type": "application/json",
        "host": "api.example.com",
        "user-agent": "bench",
    });
    let mut context = json!({
        "accountId": "123456789012",
        "apiId": "a1b2c3d4e5",
        "domainName": "api.example.com",
        "domainPrefix": "api",
        "http": { "method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.44", "userAgent": "bench" },
        "requestId": "TxYz1hK4oAMEPqg=",
        "routeKey": format!("{method} {path}"),
        "stage": "$default",
        "time": "17/Nov/2026:08:41:07 +0000",
        "timeEpoch": 1_794_904_867_000_u64,
    });
    if let Some(token) = token {
        headers["authorization"] = json!(format!("Bearer {token}"));
        context["authorizer"] = json!({ "jwt": { "claims": { "sub": "alice" }, "scopes": null } });
    }
    json!({
        "version": "2.0",
        "routeKey": format!("{method} {path}"),
        "rawPath": path,
        "rawQueryString": "",
        "headers": headers,
        "requestContext": context,
        "body": body,
        "isBase64Encoded": false,
    })
}

fn event(detail_type: &str, number: usize, detail: &Value) -> Value {
    json!({
        "version": "0",
        "id": format!("0d3a5f6c-6f0e-4d58-9f1c-{number:012}"),
        "detail-type": detail_type,
        "source": "mail.customer.example",
        "account": "123456789012",
        "time": "2026-11-17T08:41:07Z",
        "region": "us-east-1",
        "resources": [],
        "detail": detail,
    })
}

/// Messages of a queue, in one batch.
pub fn messages(bodies: &[String], number: usize) -> Value {
    let message = |(index, body): (usize, &String)| {
        json!({
            "messageId": format!("5f0c7b1e-9d1a-4c55-8f3b-{number:08}{index:04}"),
            "receiptHandle": format!("receipt-{number}-{index}"),
            "body": body,
            "attributes": {
                "ApproximateReceiveCount": "1",
                "SentTimestamp": "1767225600000",
                "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                "ApproximateFirstReceiveTimestamp": "1767225600012",
            },
            "messageAttributes": {},
            "md5OfBody": "00000000000000000000000000000000",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:123456789012:queue",
            "awsRegion": "us-east-1",
        })
    };
    json!({ "Records": bodies.iter().enumerate().map(message).collect::<Vec<_>>() })
}

/// What the template tells the functions, with every service of AWS and the issuer of tokens at one address.
pub fn environment(address: &str, issuer: &str) -> Environment {
    let mut environment: Environment = [
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_ENDPOINT_URL", address),
        ("TABLE_NAME", "ihelper"),
        ("SCHEDULE_GROUP", "ihelper"),
        ("SCHEDULER_ROLE_ARN", "arn:aws:iam::123456789012:role/scheduler"),
        ("MAIL_BUCKET", "mail"),
        ("DOCUMENT_BUCKET", "documents"),
        ("PAYLOAD_BUCKET", "payloads"),
        ("EVENT_BUS_NAME", "ihelper-events"),
        ("SENDER_ADDRESS", "assistant@ihelper.example"),
        ("CONFIGURATION_SET", "ihelper"),
        ("JWT_ISSUER", issuer),
        ("JWT_AUDIENCE", AUDIENCE),
        ("MESSAGE_CONCURRENCY", "10"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    for queue in ["EMAIL", "DOCUMENT", "TASK"] {
        let name = queue.to_lowercase();
        environment.insert(format!("{queue}_QUEUE_URL"), format!("{address}/123456789012/{name}"));
        environment.insert(format!("{queue}_QUEUE_ARN"), format!("arn:aws:sqs:us-east-1:123456789012:{name}"));
        environment.insert(format!("{queue}_DEAD_LETTER_URL"), format!("{address}/123456789012/{name}-dlq"));
    }
    environment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_runs_are_of_the_same_input() {
        for function in FUNCTIONS {
            assert_ne!(function.work(1, "https://i"), function.work(2, "https://i"), "{}", function.name);
            assert_ne!(function.work(1, "https://i"), function.idle(), "{}", function.name);
        }
    }

    #[test]
    fn an_answer_that_is_no_success_is_complained_about() {
        let [api, bus, queue, ..] = FUNCTIONS;
        assert_eq!(api.complaint(&json!({ "statusCode": 200 })), None);
        assert!(api.complaint(&json!({ "statusCode": 503 })).is_some());
        assert_eq!(bus.complaint(&Value::Null), None);
        assert!(bus.complaint(&json!({ "errorType": "E" })).is_some());
        assert_eq!(queue.complaint(&json!({ "batchItemFailures": [] })), None);
        assert!(queue.complaint(&json!({ "batchItemFailures": [{ "itemIdentifier": "m" }] })).is_some());
        assert!(queue.complaint(&json!({ "errorType": "E" })).is_some());
    }
}
