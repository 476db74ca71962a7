//! AWS's runtime interface emulator, around one function.
//!
//! It starts the function with the first invocation, so that a cold start is the time of that invocation: from the
//! process's beginning to its first answer.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr},
    ops::Range,
    path::Path,
    process::Stdio,
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    process::{Child, Command},
};

use crate::{
    Failed,
    functions::{Environment, build, process},
};

const INVOCATIONS: &str = "/2015-03-31/functions/function/invocations";
const LOG_LEVEL: &str = "LOG_LEVEL";
/// Below those that Linux takes for connections (`net.ipv4.ip_local_port_range`, from 32768 on).
const PORTS: Range<u16> = 20_000..32_000;
/// Beyond this the emulator does not come up any more.
const PATIENCE: Duration = Duration::from_secs(10);

/// A function that waits for its first invocation, or has been invoked.
pub struct Emulator {
    process: Child,
    sender: SendRequest<Full<Bytes>>,
}

impl Emulator {
    /// An emulator around this binary, which finds these variables and no other. What it logs stands in
    /// `target/bench/emulator.log` until the next one starts.
    ///
    /// # Errors
    /// This returns an error when the emulator is not installed or does not answer.
    pub async fn start(binary: &Path, environment: &Environment) -> Result<Self, Failed> {
        let (address, runtime) = (free_address().await?, free_address().await?);
        let log = File::create(build::reports()?.join("emulator.log"))?;
        let mut command = Command::new(build::emulator()?);
        command
            .arg("--runtime-interface-emulator-address")
            .arg(address.to_string())
            .arg("--runtime-api-address")
            .arg(runtime.to_string())
            .env_clear()
            .envs(environment)
            .env_remove(LOG_LEVEL)
            .env("AWS_LAMBDA_FUNCTION_TIMEOUT", "60");
        if let Some(level) = environment.get(LOG_LEVEL) {
            // The emulator would take it for its own, which knows no `off`.
            command.args(["/usr/bin/env", &format!("{LOG_LEVEL}={level}")]);
        }
        let process =
            command.arg(binary).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true).spawn()?;
        // It listens to callers before it listens to its function.
        drop(connected(runtime).await?);
        let stream = connected(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { process, sender })
    }

    /// Invokes the function, and tells its answer and how long that took.
    ///
    /// # Errors
    /// This returns an error when the function does not answer with JSON.
    pub async fn invoke(&mut self, event: &Value) -> Result<(Value, Duration), Failed> {
        let request = Request::post(INVOCATIONS)
            .header(header::HOST, "localhost")
            .body(Full::new(Bytes::from(event.to_string())))?;
        self.sender.ready().await?;
        let began = Instant::now();
        let answer = self.sender.send_request(request).await?.into_body().collect().await?.to_bytes();
        let took = began.elapsed();
        let value = serde_json::from_slice(&answer);
        Ok((value.map_err(|_| format!("no JSON: `{}`", String::from_utf8_lossy(&answer)))?, took))
    }

    /// Ends both, and waits until they are gone: what is torn down takes the processor from what starts next.
    ///
    /// # Errors
    /// This returns an error when the emulator cannot be ended.
    pub async fn stop(mut self) -> Result<(), Failed> {
        let function = self.function();
        if let Ok(function) = function {
            process::kill(function);
        }
        self.process.kill().await?;
        let began = Instant::now();
        while function.as_ref().is_ok_and(|function| process::lives(*function)) && began.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// The process of the function, once it was invoked.
    ///
    /// # Errors
    /// This returns an error when there is none.
    pub fn function(&self) -> Result<u32, Failed> {
        let functions = self.process.id().map(process::children).unwrap_or_default();
        functions.first().copied().ok_or_else(|| "the emulator runs no function".into())
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // The emulator would leave it behind.
        if let Ok(function) = self.function() {
            process::kill(function);
        }
    }
}

async fn connected(address: SocketAddr) -> Result<TcpStream, Failed> {
    let began = Instant::now();
    loop {
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) if began.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => tokio::time::sleep(Duration::from_millis(2)).await,
        }
    }
}

/// An address that nobody listens at, none of those that connections are made from: whoever tries one of them before
/// somebody listens there may come to be connected with themselves.
async fn free_address() -> Result<SocketAddr, Failed> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    for _ in PORTS {
        let port = PORTS.start + NEXT.fetch_add(1, Ordering::Relaxed) % PORTS.len() as u16;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
            return Ok(listener.local_addr()?);
        }
    }
    Err(format!("no port of {PORTS:?} is free").into())
}
