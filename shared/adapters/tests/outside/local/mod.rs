//! Servers of others, started by each test from what `make test` installs.

mod llama;
mod mcp;

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

/// A server that prints its port and serves until it is dropped.
struct Process {
    child: Child,
    port: u16,
}

impl Process {
    /// Starts a program beside this file with the Python of an environment.
    fn start(environment: &str, program: &str) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut child = Command::new(root.join("../../.local/tools").join(environment).join("bin/python"))
            .arg(root.join("tests/outside/local").join(program))
            .stdout(Stdio::piped())
            .spawn()
            .expect("`infra/local/stack.py tools` has installed the server");
        let mut port = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut port).unwrap();
        Self { child, port: port.trim().parse().unwrap() }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
