//! The child's side: limits itself, reads one document, answers, ends.

use std::{
    env,
    io::{self, Read, Write},
    process,
};

use ihelper_workflow::domain::document::Content;
use rustix::process::{Resource, Rlimit, setrlimit};
use serde::{Deserialize, Serialize};

use super::{Limits, extract};

/// The first argument that makes a process a child.
pub(super) const ARGUMENT: &str = "extract-document";

/// How a child ends that could not do its work, for a reason that is not the document. Not 1 and not 101, with
/// which a process of Rust ends by itself.
pub(super) const SETUP_STATUS: i32 = 70;

/// The longest request before the document itself, in bytes: limits, and a name.
const MAX_REQUEST_BYTES: u32 = 64 * 1024;

/// What a child is asked. The document's bytes follow.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) name: Option<String>,
    pub(super) limits: Limits,
    pub(super) bytes: u64,
}

/// What a child answers: the text, or the message of a failure of kind `Validation`.
pub(super) type Answer = Result<Content, String>;

/// Reads a document for the parent and ends the process, where the process was started for that; returns at
/// once otherwise.
///
/// Call it first in every `main`, before a runtime, a client or a thread: what exists by then counts against the
/// child's memory and stays within the reach of a hostile document.
pub fn run_if_child() {
    if env::args_os().nth(1).is_some_and(|argument| argument == ARGUMENT) {
        process::exit(match answer() {
            Ok(()) => 0,
            Err(_) => SETUP_STATUS,
        });
    }
}

fn answer() -> io::Result<()> {
    let mut input = io::stdin().lock();
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let length = u32::from_be_bytes(length);
    if length > MAX_REQUEST_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut request = vec![0; length as usize];
    input.read_exact(&mut request)?;
    let request: Request = serde_json::from_slice(&request)?;
    limit_this_process(&request.limits)?;
    let size = usize::try_from(request.bytes).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut bytes = vec![0; size];
    input.read_exact(&mut bytes)?;
    let answer: Answer = extract(request.name.as_deref(), &bytes, &request.limits).map_err(|failure| failure.message);
    let answer = serde_json::to_vec(&answer)?;
    let length = u32::try_from(answer.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut output = io::stdout().lock();
    output.write_all(&length.to_be_bytes())?;
    output.write_all(&answer)?;
    output.flush()
}

/// Takes from this process what reading a document does not need. Nothing gives it back.
fn limit_this_process(limits: &Limits) -> io::Result<()> {
    let seconds = limits.timeout.as_secs() + u64::from(limits.timeout.subsec_nanos() > 0);
    for (resource, soft, hard) in [
        (Resource::As, limits.max_memory_bytes, limits.max_memory_bytes),
        // The soft limit ends a process with a signal that says why; the hard one is there if it lives on.
        (Resource::Cpu, seconds, seconds + 1),
        // A core dump would be a copy of the document on disk.
        (Resource::Core, 0, 0),
        // No file is written and none is opened: the three streams are open already.
        (Resource::Fsize, 0, 0),
        (Resource::Nofile, 0, 0),
    ] {
        setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })?;
    }
    Ok(())
}
