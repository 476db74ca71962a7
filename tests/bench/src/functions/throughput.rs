//! How many calls the API takes in a second on the local AWS, beside a function that only echoes.
//!
//! The local AWS is one process that carries every call to its function and every write to its table, so that a figure by
//! itself tells of that process; the ratio tells what the bundle asks of it.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Uri,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use ihelper_workflow::domain::WorkflowType;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::{
    Failed,
    functions::{
        build::{self, ECHO},
        data,
    },
};

/// Calls at a time.
pub const AT_ONCE: usize = 8;

/// Rounds, in each of which every kind of call has its turn.
const ROUNDS: usize = 4;

/// How long a turn is.
const TURN: Duration = Duration::from_secs(3);

/// The argument with which this program calls itself on a stack.
pub const WITHIN_STACK: &str = "--within-stack";

/// Calls in a second.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Measured {
    /// Runs of mail by the API, each to its end.
    pub runs: f64,
    /// Answers of the API that need no store.
    pub health: f64,
    /// Answers of the echo.
    pub echoes: f64,
}

/// Deploys the bundle to a local AWS of its own, and measures there.
///
/// # Errors
/// This returns an error when the stack does not come up, or an answer is no success.
pub fn measure() -> Result<Measured, Failed> {
    let status = Command::new("python3")
        .arg(build::root().join("infra/local/stack.py"))
        .args(["run", "--all-targets", "--"])
        .arg(std::env::current_exe()?)
        .arg(WITHIN_STACK)
        .current_dir(build::root())
        .stdout(Stdio::null())
        .status()?;
    if !status.success() {
        return Err("nothing was measured on the local AWS".into());
    }
    Ok(serde_json::from_slice(&fs::read(figures()?)?)?)
}

fn figures() -> Result<PathBuf, Failed> {
    Ok(build::reports()?.join("throughput.json"))
}

/// Measures on the stack around this process, and leaves the figures where [`measure`] finds them.
///
/// # Errors
/// This returns an error when there is no stack, or an answer is no success.
pub async fn measure_within_stack() -> Result<(), Failed> {
    let outputs = std::env::var_os("IHELPER_OUTPUTS").ok_or("there is no stack around this")?;
    let outputs: Value = serde_json::from_slice(&fs::read(outputs)?)?;
    let text = |name: &str| outputs[name].as_str().ok_or_else(|| format!("the stack has no `{name}`"));
    let (api, endpoint) = (text("api_url")?, text("endpoint")?);
    let token = said(Command::new("python3").arg(build::root().join("infra/local/stack.py")).arg("token"))?;
    let echo = said(
        Command::new(build::root().join(".local/tools/ministack/bin/python"))
            .arg(build::root().join("infra/local/echo.py"))
            .arg(build::target().join("quick").join(ECHO)),
    )?;
    let echo = format!("{endpoint}/_aws/execute-api/{echo}/$default/echo");
    let calls = Calls { process: format!("{api}/workflow/process"), health: format!("{api}/health"), echo, token };
    let mut measured = Measured::default();
    for round in 0..=ROUNDS {
        let echoes = calls.in_a_second(Kind::Echo, round).await?;
        let health = calls.in_a_second(Kind::Health, round).await?;
        let runs = calls.in_a_second(Kind::Run, round).await?;
        // The first round has the starts in it.
        if round > 0 {
            let part = ROUNDS as f64;
            measured.echoes += echoes / part;
            measured.health += health / part;
            measured.runs += runs / part;
        }
    }
    fs::write(figures()?, serde_json::to_vec(&measured)?)?;
    Ok(())
}

fn said(command: &mut Command) -> Result<String, Failed> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{command:?} ended with {}", output.status).into());
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

#[derive(Clone, Copy)]
enum Kind {
    Echo,
    Health,
    Run,
}

struct Calls {
    process: String,
    health: String,
    echo: String,
    token: String,
}

impl Calls {
    async fn in_a_second(&self, kind: Kind, round: usize) -> Result<f64, Failed> {
        let began = Instant::now();
        let workers = (0..AT_ONCE).map(|worker| self.work(kind, began, (round * AT_ONCE + worker) * 100_000));
        let calls: usize = futures::future::try_join_all(workers).await?.into_iter().sum();
        Ok(calls as f64 / began.elapsed().as_secs_f64())
    }

    /// Calls one after the other until the turn is over; tells how many.
    async fn work(&self, kind: Kind, began: Instant, first: usize) -> Result<usize, Failed> {
        let url: Uri = match kind {
            Kind::Echo => self.echo.parse()?,
            Kind::Health => self.health.parse()?,
            Kind::Run => self.process.parse()?,
        };
        let mut calls = 0;
        let mut connection = connect(&url).await?;
        while began.elapsed() < TURN {
            if connection.ready().await.is_err() {
                connection = connect(&url).await?;
            }
            let answer = connection.send_request(self.request(kind, &url, first + calls)?).await?;
            let status = answer.status();
            let body = answer.into_body().collect().await?.to_bytes();
            if !status.is_success() {
                return Err(format!("{url} answers {status}: {}", String::from_utf8_lossy(&body)).into());
            }
            calls += 1;
        }
        Ok(calls)
    }

    fn request(&self, kind: Kind, url: &Uri, number: usize) -> Result<Request<Full<Bytes>>, Failed> {
        let workflow = WorkflowType::EmailProcessing;
        let body = json!({ "type": workflow.name(), "data": data(workflow, number) }).to_string();
        let path = url.path_and_query().map_or("/", |path| path.as_str());
        let request =
            Request::builder().uri(path).header(header::HOST, url.authority().map_or("", |host| host.as_str()));
        Ok(match kind {
            Kind::Health => request.body(Full::default())?,
            Kind::Echo => request.method("POST").body(Full::from(body))?,
            Kind::Run => request
                .method("POST")
                .header(header::CONTENT_TYPE, "application/json")
                .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
                .body(Full::from(body))?,
        })
    }
}

async fn connect(url: &Uri) -> Result<SendRequest<Full<Bytes>>, Failed> {
    let stream = TcpStream::connect(url.authority().map_or("", |host| host.as_str())).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}
