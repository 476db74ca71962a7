use std::{
    env,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ihelper_workflow::domain::{RunId, WorkflowType};
use reqwest::{
    Client, RequestBuilder,
    header::{HeaderMap, HeaderValue},
    redirect::Policy,
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{process::Command, sync::Mutex};
use url::{Host, Url};

use crate::Mode;

/// The address of the bundle.
const URL: &str = "IHELPER_API_URL";

/// The token.
const TOKEN: &str = "IHELPER_TOKEN";

/// The file with the addresses of the stack around this process.
const OUTPUTS: &str = "IHELPER_OUTPUTS";

/// The same of the one that `make dev` keeps up.
const OUTPUTS_OF_DEV: &str = ".local/outputs.json";

/// What signs tokens for bundles on this machine.
const STACK: &str = "infra/local/stack.py";

/// Who runs the runs there.
const USER: &str = "performance";

/// Local tokens are good for an hour.
const TOKEN_RENEWED_AFTER: Duration = Duration::from_secs(45 * 60);

/// How long to wait after a 429 that does not say.
const USUAL_WAIT: Duration = Duration::from_secs(1);

/// No wait is longer, whatever a 429 says.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// No answer that is read has more bytes.
const LARGEST_ANSWER: usize = 16 * 1024 * 1024;

/// A bundle that is measured.
pub struct Bundle {
    http: Client,
    url: String,
    tokens: Tokens,
    /// What records call it: `local`, or its address.
    pub target: String,
}

/// Where tokens come from. None is ever shown, nor on the command line of a process.
enum Tokens {
    Given(HeaderValue),
    Signed { outputs: PathBuf, last: Mutex<Option<(Instant, HeaderValue)>> },
}

/// An answer of the API.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Duration,
    pub(crate) location: Option<String>,
    pub(crate) body: Value,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    NoConnection,
    Late,
    Broken,
    NoToken,
}

impl NoAnswer {
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::NoConnection => "no connection",
            Self::Late => "no answer in time",
            Self::Broken => "the answer broke off",
            Self::NoToken => "no token can be signed any more",
        }
    }
}

/// What `stack.py` writes about a stack that is up.
#[derive(Deserialize)]
struct Outputs {
    api_url: String,
}

impl Bundle {
    /// The bundle that the option or the environment names.
    ///
    /// # Errors
    /// This returns an error that names the option or the variable when there is none, or no token for it.
    pub async fn find(url: Option<&str>) -> Result<Self, String> {
        let given = env::var(URL).ok().filter(|url| !url.is_empty());
        let url = url.map(str::to_owned).or(given);
        let token = env::var(TOKEN).ok().filter(|token| !token.is_empty());
        let around = env::var_os(OUTPUTS).map(PathBuf::from);
        let stacks: Vec<PathBuf> = around.into_iter().chain([PathBuf::from(OUTPUTS_OF_DEV)]).collect();
        let (url, tokens) = match url {
            Some(url) => {
                let known = stacks.into_iter().find(|path| api_of(path).is_ok_and(|api| same(&api, &url)));
                (url, tokens(token, known)?)
            }
            // Whatever token there is, it is none for a bundle that nobody named.
            None => {
                let outputs = stacks.into_iter().find(|path| path.exists()).ok_or_else(|| {
                    format!(
                        "URL (--url, {URL}): is missing, and no bundle is up on this machine: `make perf` starts one"
                    )
                })?;
                (api_of(&outputs)?, tokens(None, Some(outputs))?)
            }
        };
        let bundle = Self::new(&url, tokens)?;
        // Whether a token can be had is better known before the first run.
        bundle.token().await?;
        Ok(bundle)
    }

    fn new(url: &str, tokens: Tokens) -> Result<Self, String> {
        let named = |problem: &str| format!("URL (--url, {URL}): `{url}` {problem}");
        let parsed = Url::parse(url).map_err(|error| named(&format!("is no address: {error}")))?;
        let is_local = match parsed.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            None => return Err(named("names no host")),
        };
        if !parsed.username().is_empty() || parsed.password().is_some() {
            // Not repeated: it would be shown.
            return Err(format!("URL (--url, {URL}): has a user or a password in it; a token goes by {TOKEN}"));
        }
        match parsed.scheme() {
            "https" => {}
            "http" if is_local => {}
            "http" => return Err(named("is not encrypted, and a token goes over https only")),
            _ => return Err(named("is no address of https")),
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(named("has more than a path in it"));
        }
        let url = url.trim_end_matches('/').to_owned();
        let target = if is_local { "local".to_owned() } else { url.clone() };
        // The client wants one to be there, whether anything is encrypted or not.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A token follows no redirect, and between loopback and loopback stands no proxy.
        let builder = Client::builder().redirect(Policy::none());
        let builder = if is_local { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(|error| format!("there is no HTTP client: {error}"))?;
        Ok(Self { http, url, tokens, target })
    }

    /// Whether it runs on this machine, where nobody gets mail.
    pub fn is_local(&self) -> bool {
        self.target == "local"
    }

    /// Starts a run.
    pub(crate) async fn start(
        &self,
        workflow: WorkflowType,
        data: &Value,
        mode: Mode,
        patience: Duration,
    ) -> Result<Answer, NoAnswer> {
        let request = self.http.post(format!("{}/workflow/process", self.url));
        let request = request.json(&json!({ "type": workflow, "data": data }));
        let request = match mode {
            Mode::Sync => request,
            Mode::Async => request.header("prefer", "respond-async"),
        };
        self.send(request, patience).await
    }

    /// A run's record.
    pub(crate) async fn run(&self, id: RunId, patience: Duration) -> Result<Answer, NoAnswer> {
        self.send(self.http.get(format!("{}/workflow/runs/{id}", self.url)), patience).await
    }

    /// A call that does nothing.
    pub(crate) async fn health(&self, patience: Duration) -> Result<Answer, NoAnswer> {
        self.send(self.http.get(format!("{}/health", self.url)), patience).await
    }

    async fn send(&self, request: RequestBuilder, patience: Duration) -> Result<Answer, NoAnswer> {
        let token = self.token().await.map_err(|_| NoAnswer::NoToken)?;
        let request = request.header("authorization", token).timeout(patience);
        let mut response = request.send().await.map_err(|error| no_answer(&error))?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| no_answer(&error))? {
            if bytes.len() + chunk.len() > LARGEST_ANSWER {
                return Err(NoAnswer::Broken);
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Answer {
            status,
            retry_after: retry_after(&headers),
            location: headers.get("location").and_then(|value| value.to_str().ok()).map(str::to_owned),
            body: serde_json::from_slice(&bytes).unwrap_or(Value::Null),
        })
    }

    async fn token(&self) -> Result<HeaderValue, String> {
        let (outputs, last) = match &self.tokens {
            Tokens::Given(token) => return Ok(token.clone()),
            Tokens::Signed { outputs, last } => (outputs, last),
        };
        let mut last = last.lock().await;
        if let Some((signed, token)) = &*last
            && signed.elapsed() < TOKEN_RENEWED_AFTER
        {
            return Ok(token.clone());
        }
        let token = sign(outputs).await?;
        *last = Some((Instant::now(), token.clone()));
        Ok(token)
    }
}

impl Answer {
    /// The run that it is about.
    pub(crate) fn run_id(&self) -> Option<RunId> {
        // The address is on this API whatever host a `Location` names: a token goes nowhere else.
        let told = self.body["run_id"].as_str().or_else(|| self.location.as_deref()?.rsplit('/').next());
        told.and_then(|id| id.parse().ok())
    }
}

/// The token that was given, or one signed for a bundle of this machine.
fn tokens(given: Option<String>, outputs: Option<PathBuf>) -> Result<Tokens, String> {
    match (given, outputs) {
        (Some(token), _) => bearer(&token).map(Tokens::Given).ok_or_else(|| format!("TOKEN ({TOKEN}): is no token")),
        (None, Some(outputs)) => Ok(Tokens::Signed { outputs, last: Mutex::new(None) }),
        (None, None) => {
            Err(format!("TOKEN ({TOKEN}): is missing; only for a bundle of this machine one is signed here"))
        }
    }
}

fn api_of(outputs: &Path) -> Result<String, String> {
    let named = |problem: String| format!("{}: {problem}", outputs.display());
    let text = std::fs::read(outputs).map_err(|error| named(error.to_string()))?;
    let outputs: Outputs = serde_json::from_slice(&text).map_err(|error| named(error.to_string()))?;
    Ok(outputs.api_url)
}

fn same(one: &str, other: &str) -> bool {
    one.trim_end_matches('/') == other.trim_end_matches('/')
}

async fn sign(outputs: &Path) -> Result<HeaderValue, String> {
    let mut command = Command::new("python3");
    command.args([STACK, "token", "--user", USER, "--groups", "operators"]).env(OUTPUTS, outputs);
    let signed = command.output().await.map_err(|error| format!("TOKEN ({TOKEN}): python3 cannot be run: {error}"))?;
    let token = String::from_utf8(signed.stdout).unwrap_or_default();
    if !signed.status.success() || token.trim().is_empty() {
        let said = String::from_utf8_lossy(&signed.stderr);
        return Err(format!("TOKEN ({TOKEN}): none can be signed for this bundle: {}", said.trim()));
    }
    bearer(token.trim()).ok_or_else(|| format!("TOKEN ({TOKEN}): what was signed is no token"))
}

fn bearer(token: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn no_answer(error: &reqwest::Error) -> NoAnswer {
    if error.is_timeout() {
        NoAnswer::Late
    } else if error.is_connect() {
        NoAnswer::NoConnection
    } else {
        NoAnswer::Broken
    }
}

/// `Retry-After` in seconds; a date is waited for as long as is usual.
fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers.get("retry-after").and_then(|value| value.to_str().ok()?.trim().parse().ok());
    seconds.map_or(USUAL_WAIT, Duration::from_secs).min(LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(url: &str) -> Result<Bundle, String> {
        Bundle::new(url, Tokens::Given(bearer("token").unwrap()))
    }

    fn refused(url: &str) -> String {
        bundle(url).err().unwrap_or_else(|| panic!("`{url}` was taken"))
    }

    #[test]
    fn a_bundle_of_this_machine_is_local_and_another_one_goes_by_its_address() {
        let local = ["http://127.0.0.1:4566/_aws/execute-api/a1/$default", "http://localhost:9000", "http://[::1]/"];
        for url in local {
            assert!(bundle(url).unwrap().is_local(), "{url}");
        }
        assert_eq!(bundle("https://api.example.com/v1/").unwrap().target, "https://api.example.com/v1");
    }

    #[test]
    fn an_address_that_is_none_is_refused_and_no_password_is_repeated() {
        assert!(refused("nowhere").contains("`nowhere` is no address"));
        assert!(refused("http://api.example.com").contains("a token goes over https only"));
        assert!(refused("ftp://api.example.com").contains("is no address of https"));
        assert!(refused("https://api.example.com/?a=b").contains("has more than a path"));
        let told = refused("https://ann:secret@api.example.com");
        assert!(told.contains("has a user or a password in it") && !told.contains("secret"), "{told}");
    }

    #[test]
    fn a_wait_is_what_the_server_says_within_reason() {
        let of = |value: &'static str| {
            retry_after(&HeaderMap::from_iter([("retry-after".parse().unwrap(), HeaderValue::from_static(value))]))
        };
        assert_eq!(of("3"), Duration::from_secs(3));
        assert_eq!(of("100000"), LONGEST_WAIT);
        assert_eq!(of("Wed, 21 Oct 2015 07:28:00 GMT"), USUAL_WAIT);
        assert_eq!(retry_after(&HeaderMap::new()), USUAL_WAIT);
    }

    #[test]
    fn a_token_is_not_told_by_its_own_debugging() {
        assert!(!format!("{:?}", bearer("planted").unwrap()).contains("planted"));
    }

    #[test]
    fn a_run_is_known_by_the_body_or_by_the_last_part_of_its_address() {
        let id = "01KDVQKM008G00BTEP6XQ3Q84M";
        let answer = |body: Value, location: &str| Answer {
            status: 202,
            retry_after: USUAL_WAIT,
            location: Some(location.to_owned()),
            body,
        };
        let expected = id.parse().ok();
        assert_eq!(answer(json!({ "run_id": id }), "/nowhere").run_id(), expected);
        assert_eq!(answer(Value::Null, &format!("https://evil.example/workflow/runs/{id}")).run_id(), expected);
        assert_eq!(answer(Value::Null, "/workflow/runs/..").run_id(), None);
    }
}
