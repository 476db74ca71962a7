//! A handle on the bundle that is up.

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    time::{Duration, Instant},
};

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_eventbridge::types::Target;
use aws_sdk_sqs::types::{QueueAttributeName, SendMessageBatchRequestEntry};
use aws_types::{SdkConfig, region::Region};
use ihelper_adapters::aws::{Aws, Timeouts};
use ihelper_workflow::domain::Status;
use serde::Deserialize;
use serde_json::{Value, json};

/// What `stack.py` writes about a stack that is up.
#[derive(Deserialize)]
struct Outputs {
    api_url: String,
    endpoint: String,
    region: String,
    issuer: String,
    audience: String,
    functions: BTreeMap<String, String>,
    queue_urls: BTreeMap<String, String>,
    dead_letter_urls: BTreeMap<String, String>,
    bus: String,
    buckets: BTreeMap<String, String>,
    sender: String,
    process: u32,
    traces_endpoint: Option<String>,
}

/// Names the file with the outputs of the stack around these tests.
pub(crate) const OUTPUTS: &str = "IHELPER_OUTPUTS";

/// The same of the stack around that one.
const OTHER_OUTPUTS: &str = "IHELPER_OTHER_OUTPUTS";

/// The bundle, and clients to talk to it.
pub(crate) struct Bundle {
    outputs: Outputs,
    http: reqwest::Client,
    pub(crate) sqs: aws_sdk_sqs::Client,
    pub(crate) s3: aws_sdk_s3::Client,
    pub(crate) events: aws_sdk_eventbridge::Client,
    config: SdkConfig,
    token: String,
}

/// An answer of the API.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) location: Option<String>,
    pub(crate) etag: Option<String>,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

// The queue, and the rule in front of it, through which tests hear what the bundle publishes.
const LISTENER: &str = "e2e-listener";

// A run on `rules` takes milliseconds; this is for a machine that compiles something else meanwhile.
const PATIENCE: Duration = Duration::from_secs(120);

impl Bundle {
    pub(crate) fn connect() -> Self {
        Self::connect_to(OUTPUTS)
    }

    /// The other bundle that is up around these tests, with an AWS of its own.
    pub(crate) fn connect_to_other() -> Self {
        Self::connect_to(OTHER_OUTPUTS)
    }

    fn connect_to(variable: &str) -> Self {
        let path = std::env::var(variable)
            .unwrap_or_else(|_| panic!("`{variable}` is not set: `make test` starts the stacks that these tests need"));
        let outputs: Outputs = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let config = SdkConfig::builder()
            .region(Region::new(outputs.region.clone()))
            .endpoint_url(&outputs.endpoint)
            .credentials_provider(SharedCredentialsProvider::new(Credentials::new("test", "test", None, None, "local")))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .build();
        let s3 = aws_sdk_s3::config::Builder::from(&config).force_path_style(true).build();
        Self {
            http: plain_client(),
            sqs: aws_sdk_sqs::Client::new(&config),
            s3: aws_sdk_s3::Client::from_conf(s3),
            events: aws_sdk_eventbridge::Client::new(&config),
            token: token_for(&path, "olga", "operators"),
            config,
            outputs,
        }
    }

    /// The AWS that the bundle runs on, as adapters see it.
    pub(crate) fn aws(&self) -> Aws {
        let credentials = ihelper_adapters::aws::Credentials {
            access_key_id: "test".to_owned(),
            secret_access_key: "test".to_owned(),
            session_token: None,
        };
        let endpoint = self.config.endpoint_url().map(str::to_owned);
        Aws::new(&self.outputs.region, credentials, endpoint, Timeouts::default())
    }

    /// The file with the outputs of the other bundle's stack, for programs that talk to it.
    pub(crate) fn other_outputs() -> String {
        std::env::var(OTHER_OUTPUTS).unwrap()
    }

    /// Where the bundle sends its spans, as host and port.
    pub(crate) fn traces_address(&self) -> &str {
        let endpoint = self.outputs.traces_endpoint.as_deref().expect("the stack sends spans: `stack.py run --traces`");
        endpoint.trim_start_matches("http://").split('/').next().unwrap()
    }

    /// The address that the bundle writes from.
    pub(crate) fn sender(&self) -> &str {
        &self.outputs.sender
    }

    pub(crate) fn queue_url(&self, workflow: &str) -> &str {
        &self.outputs.queue_urls[workflow]
    }

    pub(crate) fn dead_letter_url(&self, workflow: &str) -> &str {
        &self.outputs.dead_letter_urls[workflow]
    }

    pub(crate) fn bucket(&self, name: &str) -> &str {
        &self.outputs.buckets[name]
    }

    pub(crate) fn bus(&self) -> &str {
        &self.outputs.bus
    }

    /// Calls the API as an operator.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.http.get(self.url(path)).bearer_auth(&self.token)).await
    }

    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Answer {
        let mut request = self.http.post(self.url(path)).bearer_auth(&self.token).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request).await
    }

    pub(crate) async fn anonymously(&self, path: &str) -> Answer {
        self.send(self.http.get(self.url(path))).await
    }

    pub(crate) async fn get_with(&self, token: &str, path: &str) -> Answer {
        self.send(self.http.get(self.url(path)).bearer_auth(token)).await
    }

    /// Calls the API as someone.
    pub(crate) async fn post_as(&self, token: &str, path: &str, body: &Value) -> Answer {
        self.send(self.http.post(self.url(path)).bearer_auth(token).json(body)).await
    }

    /// Changes something that was made from what this `ETag` marks.
    pub(crate) async fn change(&self, method: &str, path: &str, if_match: &str, kind: &str, body: String) -> Answer {
        let request = self.http.request(method.parse().unwrap(), self.url(path)).bearer_auth(&self.token);
        self.send(request.header("if-match", if_match).header("content-type", kind).body(body)).await
    }

    /// Calls the API as nobody in particular, as who follows a link does.
    pub(crate) async fn open(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        let request = self.http.request(method.parse().unwrap(), self.url(path));
        self.send(if let Some(body) = body { request.json(body) } else { request }).await
    }

    /// Puts a body where an offer of the API says.
    pub(crate) async fn put(&self, offer: &Value, body: Vec<u8>) {
        let mut request = self.http.put(offer["url"].as_str().unwrap()).body(body);
        for (name, value) in offer["headers"].as_object().unwrap() {
            request = request.header(name, value.as_str().unwrap());
        }
        let response = request.send().await.unwrap();
        assert!(response.status().is_success(), "{} {}", response.status(), response.text().await.unwrap());
    }

    /// Has everything that the bundle publishes come to a queue, as a subscriber would.
    pub(crate) async fn listen_to_own_events(&self) {
        let queue = self.sqs.create_queue().queue_name(LISTENER).send().await.unwrap().queue_url.unwrap();
        let attributes = self.sqs.get_queue_attributes().queue_url(queue).attribute_names(QueueAttributeName::QueueArn);
        let arn = attributes.send().await.unwrap().attributes.unwrap().remove(&QueueAttributeName::QueueArn).unwrap();
        let rule = self.events.put_rule().name(LISTENER).event_bus_name(self.bus());
        rule.event_pattern(json!({"source": ["ihelper"]}).to_string()).send().await.unwrap();
        let target = Target::builder().id(LISTENER).arn(arn).build().unwrap();
        self.events.put_targets().rule(LISTENER).event_bus_name(self.bus()).targets(target).send().await.unwrap();
    }

    /// The detail of an event that the bundle published about the run at this address, since somebody listens.
    pub(crate) async fn published(&self, detail_type: &str, location: &str) -> Option<Value> {
        let queue = self.sqs.get_queue_url().queue_name(LISTENER).send().await.unwrap().queue_url.unwrap();
        let received = self.sqs.receive_message().queue_url(queue).max_number_of_messages(10).visibility_timeout(0);
        let messages = received.send().await.unwrap().messages.unwrap_or_default();
        let events = messages.iter().filter_map(|message| serde_json::from_str::<Value>(message.body()?).ok());
        let mut about_run = events.filter(|event| {
            let run = event["detail"]["run_id"].as_str();
            event["detail-type"] == detail_type && run.is_some_and(|run| location.ends_with(run))
        });
        about_run.next().map(|event| event["detail"].clone())
    }

    pub(crate) async fn post_text(&self, path: &str, body: &str) -> Answer {
        let request =
            self.http.post(self.url(path)).bearer_auth(&self.token).header("content-type", "application/json");
        self.send(request.body(body.to_owned())).await
    }

    /// A request that is not sent yet.
    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method.parse().unwrap(), self.url(path))
    }

    /// Invokes a function with an event, past everything that stands before it.
    pub(crate) async fn invoke(&self, function: &str, event: &Value) -> Value {
        let name = &self.outputs.functions[function];
        let url = format!("{}/2015-03-31/functions/{name}/invocations", self.outputs.endpoint);
        let response = self.http.post(url).json(event).send().await.unwrap();
        serde_json::from_str(&response.text().await.unwrap()).unwrap()
    }

    /// Another key than the issuer's, under this id: its public half, and what signs a token with it.
    pub(crate) fn other_key(&self, id: &str) -> (Value, impl Fn(&str, &str) -> String + use<>) {
        let folder = std::env::temp_dir().join(unique("key"));
        let script = format!("{}/../../infra/local/tokens.py", env!("CARGO_MANIFEST_DIR"));
        let python = format!("{}/../../.local/tools/ministack/bin/python", env!("CARGO_MANIFEST_DIR"));
        let run = move |arguments: &[&str]| {
            let made = Command::new(&python).arg(&script).args(arguments).output().unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            String::from_utf8(made.stdout).unwrap().trim().to_owned()
        };
        run(&["key", folder.to_str().unwrap(), id]);
        let published: Value = serde_json::from_slice(&std::fs::read(folder.join("jwks.json")).unwrap()).unwrap();
        let (issuer, audience) = (self.outputs.issuer.clone(), self.outputs.audience.clone());
        let sign =
            move |user: &str, group: &str| run(&["sign", folder.to_str().unwrap(), &issuer, &audience, user, group]);
        (published["keys"][0].clone(), sign)
    }

    /// Publishes a key beside those that the issuer has.
    pub(crate) async fn publish_key(&self, key: Value) {
        let place = format!("{}/.well-known/jwks.json", self.outputs.issuer);
        let text = self.http.get(&place).send().await.unwrap().text().await.unwrap();
        let mut keys: Value = serde_json::from_str(&text).unwrap();
        keys["keys"].as_array_mut().unwrap().push(key);
        assert!(self.http.put(&place).body(keys.to_string()).send().await.unwrap().status().is_success());
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (status, location, content_type) = (response.status().as_u16(), header("location"), header("content-type"));
        let etag = header("etag");
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer { status, location, etag, content_type: content_type.unwrap_or_default(), body }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.outputs.api_url.trim_end_matches('/'))
    }

    pub(crate) async fn send_message(&self, workflow: &str, body: &str) {
        self.sqs.send_message().queue_url(self.queue_url(workflow)).message_body(body).send().await.unwrap();
    }

    /// Sends up to ten messages at once.
    pub(crate) async fn send_batch(&self, workflow: &str, bodies: &[String]) {
        let entries = bodies.iter().enumerate().map(|(index, body)| {
            let entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(body);
            entry.build().unwrap()
        });
        let request = self.sqs.send_message_batch().queue_url(self.queue_url(workflow));
        let answer = request.set_entries(Some(entries.collect())).send().await.unwrap();
        assert!(answer.failed().is_empty());
    }

    /// The data ids, of those that begin so, whose runs are in this status.
    pub(crate) async fn data_ids(&self, workflow: &str, prefix: &str, status: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut cursor = String::new();
        loop {
            let page =
                self.get(&format!("/workflow/runs?type={workflow}&status={status}&limit=100{cursor}")).await.body;
            let runs = page["runs"].as_array().map(Vec::as_slice).unwrap_or_default();
            let ids = runs.iter().map(|run| run["data_id"].as_str().unwrap()).filter(|id| id.starts_with(prefix));
            found.extend(ids.map(str::to_owned));
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return found,
            }
        }
    }

    /// How many mails the local SES took for each address.
    pub(crate) async fn mails_by_address(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for mail in self.sent_mail().await {
            for address in mail["To"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                *counts.entry(address.to_owned()).or_default() += 1;
            }
        }
        counts
    }

    /// The mail that the local SES took.
    pub(crate) async fn sent_mail(&self) -> Vec<Value> {
        let inbox = format!("{}/_ministack/ses/messages", self.outputs.endpoint);
        let taken: Value = self.http.get(inbox).send().await.unwrap().json().await.unwrap();
        let accounts = taken["messages"].as_object().into_iter().flat_map(|accounts| accounts.values());
        accounts.filter_map(Value::as_array).flatten().cloned().collect()
    }

    /// The run on the data of this id, once it has ended or needs somebody's attention.
    pub(crate) async fn run_on(&self, workflow: &str, data_id: &str) -> Value {
        self.wait(&format!("a run of {workflow} on {data_id} to end"), async || {
            let runs = self.runs_on(workflow, data_id).await;
            let id = runs.iter().find(|run| has_ended(run))?["run_id"].as_str()?.to_owned();
            Some(self.get(&format!("/workflow/runs/{id}")).await.body)
        })
        .await
    }

    /// The runs on the data of this id, as the list shows them.
    pub(crate) async fn runs_on(&self, workflow: &str, data_id: &str) -> Vec<Value> {
        let listed = self.get(&format!("/workflow/runs?type={workflow}&limit=100")).await;
        // Another test may just have killed the function that answers.
        assert!(listed.status == 200 || listed.status >= 500, "{}", listed.body);
        let runs = listed.body["runs"].as_array().map(Vec::as_slice).unwrap_or_default().iter();
        runs.filter(|run| run["data_id"] == data_id).cloned().collect()
    }

    /// The run at this address, once it has ended or needs somebody's attention.
    pub(crate) async fn ended(&self, location: &str) -> Value {
        self.wait(&format!("{location} to end"), async || {
            let run = self.get(location).await.body;
            has_ended(&run).then_some(run)
        })
        .await
    }

    /// The dead letter whose body this is said of.
    pub(crate) async fn dead_letter(
        &self,
        workflow: &str,
        is_it: impl Fn(&str) -> bool,
    ) -> aws_sdk_sqs::types::Message {
        self.wait(&format!("a dead letter of {workflow}"), async || {
            let received = self
                .sqs
                .receive_message()
                .queue_url(self.dead_letter_url(workflow))
                .max_number_of_messages(10)
                .visibility_timeout(0)
                .message_attribute_names("All")
                .wait_time_seconds(1)
                .send()
                .await
                .unwrap();
            received.messages.unwrap_or_default().into_iter().find(|message| is_it(message.body().unwrap_or_default()))
        })
        .await
    }

    /// Asks until there is an answer.
    pub(crate) async fn wait<T>(&self, what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Kills the processes of a function, as the machine under it might. Gives how many there were.
    pub(crate) fn kill(&self, function: &str) -> usize {
        let kill = |process: &u32| Command::new("kill").args(["-9", &process.to_string()]).status().unwrap().success();
        self.processes(function).iter().filter(|process| kill(process)).count()
    }

    /// What each process of a function has in memory, in bytes.
    pub(crate) fn memory(&self, function: &str) -> BTreeMap<u32, u64> {
        let resident = |process: &u32| {
            let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
            let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
            Some((*process, kilobytes * 1024))
        };
        self.processes(function).iter().filter_map(resident).collect()
    }

    fn processes(&self, function: &str) -> Vec<u32> {
        let name = format!("-{function}");
        let is_function = |process: &u32| {
            let environment = std::fs::read(format!("/proc/{process}/environ")).unwrap_or_default();
            environment
                .split(|byte| *byte == 0)
                .filter_map(|variable| std::str::from_utf8(variable).ok())
                .any(|variable| variable.starts_with("AWS_LAMBDA_FUNCTION_NAME=") && variable.ends_with(&name))
        };
        descendants(self.outputs.process).into_iter().filter(is_function).collect()
    }
}

/// A token that the bundle accepts, made as `make token` makes it.
pub(crate) fn token(user: &str, groups: &str) -> String {
    token_for(&std::env::var(OUTPUTS).unwrap(), user, groups)
}

fn token_for(outputs: &str, user: &str, groups: &str) -> String {
    let script = format!("{}/../../infra/local/stack.py", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("python3");
    command.args([&script, "token", "--user", user, "--groups", groups]).env(OUTPUTS, outputs);
    let made = command.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

/// An id that no other test uses.
pub(crate) fn unique(name: &str) -> String {
    format!("{name}-{}", jiff::Timestamp::now().as_nanosecond())
}

/// An email that asks something, from a sender of its own.
pub(crate) fn email(id: &str) -> Value {
    json!({"id": id, "from": format!("{id}@customer.example"), "content": "When are you open on Saturday?"})
}

// Another test may just have killed the function that answers: then there is no status, and it has not ended.
fn has_ended(run: &Value) -> bool {
    Status::deserialize(&run["status"]).is_ok_and(|status| status.is_final() || status == Status::Attention)
}

fn descendants(ancestor: u32) -> Vec<u32> {
    let mut parents: BTreeMap<u32, u32> = BTreeMap::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(process) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // A process may end while it is looked at.
        let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { continue };
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
        parents.insert(process, parent.unwrap_or(0));
    }
    let descends = |mut process: u32| {
        while let Some(parent) = parents.get(&process).copied().filter(|parent| *parent > 1) {
            if parent == ancestor {
                return true;
            }
            process = parent;
        }
        false
    };
    parents.keys().copied().filter(|process| descends(*process)).collect()
}

fn plain_client() -> reqwest::Client {
    // The client wants one to be there, though nothing here is encrypted.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}
