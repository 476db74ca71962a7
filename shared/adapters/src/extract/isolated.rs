//! The parent's side: starts a child for each document, and survives it.

use std::{
    os::unix::process::ExitStatusExt,
    path::PathBuf,
    process::{ExitStatus, Stdio},
};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{Failure, Kind, document::Content},
    ports::Extractor,
};
use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    sync::Semaphore,
    time,
};

use super::{
    Limits, MEBIBYTE, check_size,
    child::{ARGUMENT, Answer, Request, SETUP_STATUS},
    text,
};

/// How much of a child's last words is read, in bytes: the runtime says in the first line why it gives up.
const LAST_WORDS_BYTES: u64 = 4096;

/// The longest name that is handed on, in characters: only its ending is looked at.
const MAX_NAME_CHARACTERS: usize = 256;

/// Reads each document in a child process that limits itself.
#[derive(Debug)]
pub struct IsolatedExtractor {
    program: PathBuf,
    limits: Limits,
    children: Semaphore,
}

impl IsolatedExtractor {
    /// An extractor whose children run `program`, whose `main` calls [`run_if_child`](super::run_if_child)
    /// first: `/proc/self/exe`, the running binary.
    pub fn new(program: PathBuf, limits: Limits) -> Self {
        let children = Semaphore::new(limits.max_children.max(1));
        Self { program, limits, children }
    }

    async fn read_in_child(&self, name: Option<&str>, bytes: &[u8]) -> Result<Content, Failure> {
        let mut child = Command::new(&self.program)
            .arg(ARGUMENT)
            // No credential of the function reaches the process that reads a hostile file.
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| unknown(format!("the document's reader cannot be started: {}", error.kind())))?;
        let outcome = time::timeout(self.limits.timeout, self.converse(&mut child, name, bytes)).await;
        if let Ok(outcome) = outcome {
            return outcome;
        }
        // Its memory is free again before another child may start.
        let _ = child.kill().await;
        Err(Failure::validation(format!(
            "the document takes more than {} s to read",
            self.limits.timeout.as_secs_f32()
        )))
    }

    async fn converse(&self, child: &mut Child, name: Option<&str>, bytes: &[u8]) -> Result<Content, Failure> {
        let (Some(mut input), Some(output), Some(last_words)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(unknown("the document's reader has no streams"));
        };
        let request = Request {
            // The ending tells the kind, so a long name keeps that.
            name: name.map(|name| {
                let skipped = name.chars().count().saturating_sub(MAX_NAME_CHARACTERS);
                name.chars().skip(skipped).collect()
            }),
            limits: self.limits.clone(),
            bytes: bytes.len() as u64,
        };
        let request = serde_json::to_vec(&request).map_err(|_| unknown("the reader's request cannot be written"))?;
        let length = u32::try_from(request.len()).map_err(|_| unknown("the reader's request is too long"))?;
        let write = async move {
            input.write_all(&length.to_be_bytes()).await?;
            input.write_all(&request).await?;
            input.write_all(bytes).await?;
            input.shutdown().await
        };
        let max_answer_bytes = text::max_answer_bytes(&self.limits);
        let read = async move {
            let mut answer = Vec::new();
            // One byte too many shows that there are too many. The stream closes here, so a child that floods
            // it dies of that.
            output.take(max_answer_bytes + 5).read_to_end(&mut answer).await.map(|_| answer)
        };
        let listen = async move {
            let mut words = Vec::new();
            last_words.take(LAST_WORDS_BYTES).read_to_end(&mut words).await.map(|_| words)
        };
        // A child that ends early does not read to the end; how it ended says more than the broken stream.
        let (_, answer, words) = tokio::join!(write, read, listen);
        let status = child.wait().await.map_err(|_| unknown("the document's reader cannot be waited for"))?;
        let died = |status| death(status, &words.unwrap_or_default(), &self.limits);
        if !status.success() {
            return Err(died(status));
        }
        let answer = answer.map_err(|_| unknown("the reader's answer cannot be read"))?;
        parse(&answer).ok_or_else(|| unknown("the reader's answer is not one"))?.map_err(Failure::validation)
    }
}

#[async_trait]
impl Extractor for IsolatedExtractor {
    async fn extract(&self, name: Option<&str>, bytes: Vec<u8>) -> Result<Content, Failure> {
        check_size(&bytes, &self.limits)?;
        let _turn = self.children.acquire().await.map_err(|_| unknown("no document is read any more"))?;
        self.read_in_child(name, &bytes).await
    }
}

/// A fault that is not the document's: another attempt may do better.
fn unknown(message: impl Into<String>) -> Failure {
    Failure::new(Kind::Unknown, message)
}

fn parse(answer: &[u8]) -> Option<Answer> {
    let (length, answer) = answer.split_first_chunk()?;
    if u32::from_be_bytes(*length) as usize != answer.len() {
        return None;
    }
    serde_json::from_slice(answer).ok()
}

/// What a child's end says about its document. Its last words are looked at and never passed on: they may quote
/// the document.
fn death(status: ExitStatus, last_words: &[u8], limits: &Limits) -> Failure {
    let last_words = String::from_utf8_lossy(last_words);
    let said = |words: &str| last_words.contains(words);
    let too_much_memory = || {
        Failure::validation(format!(
            "the document is too complex to read within {} MiB of memory",
            limits.max_memory_bytes / MEBIBYTE
        ))
    };
    match (status.signal().and_then(Signal::from_named_raw), status.code()) {
        (Some(Signal::XCPU), _) => Failure::validation(format!(
            "the document is too complex to read within {} s of processor time",
            limits.timeout.as_secs_f32().ceil()
        )),
        (Some(Signal::ABORT), _) if said("memory allocation of") => too_much_memory(),
        (Some(Signal::ABORT | Signal::SEGV), _) if said("overflowed its stack") => {
            Failure::validation("the document is nested too deep to be read")
        }
        // Sent from outside, most often by a system without memory: not what the document does to its reader.
        (Some(Signal::KILL | Signal::TERM | Signal::INT | Signal::HUP), _) => {
            unknown("the document's reader was ended from outside")
        }
        (_, Some(SETUP_STATUS)) => unknown("the document's reader could not begin or answer"),
        (_, Some(101)) => Failure::validation("the document is damaged in a way that its reader cannot handle"),
        (_, Some(code)) => {
            Failure::validation(format!("the document broke its reader, which ended with status {code}"))
        }
        (_, None) => Failure::validation(format!(
            "the document broke its reader, which ended by signal {}",
            status.signal().unwrap_or_default()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_die_has_its_own_message() {
        let limits = Limits::default();
        // Wait statuses: a signal's number, or an exit status in the second byte.
        for (status, words, kind, message) in [
            (6, "memory allocation of 9 bytes failed", Kind::Validation, "within 512 MiB of memory"),
            (6, "thread 'main' has overflowed its stack", Kind::Validation, "nested too deep"),
            (6, "", Kind::Validation, "ended by signal 6"),
            (11, "", Kind::Validation, "ended by signal 11"),
            (24, "", Kind::Validation, "within 30 s of processor time"),
            (9, "", Kind::Unknown, "ended from outside"),
            (101 << 8, "panicked", Kind::Validation, "damaged in a way"),
            (SETUP_STATUS << 8, "", Kind::Unknown, "could not begin"),
            (3 << 8, "", Kind::Validation, "ended with status 3"),
        ] {
            let failure = death(ExitStatus::from_raw(status), words.as_bytes(), &limits);
            assert_eq!(failure.kind, kind, "{status}");
            assert!(failure.message.contains(message), "{status}: {}", failure.message);
        }
    }

    #[test]
    fn an_answer_that_is_cut_long_or_not_json_is_none() {
        let whole = [&4_u32.to_be_bytes()[..], b"true"].concat();
        for answer in [&b""[..], b"\0\0", &whole, &whole[..6], &[&whole[..], b"x"].concat()] {
            assert!(parse(answer).is_none());
        }
        assert_eq!(parse(b"\0\0\0\x0b{\"Err\":\"x\"}"), Some(Err("x".to_owned())));
    }
}
