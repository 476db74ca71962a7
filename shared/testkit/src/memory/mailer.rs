use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use ihelper_workflow::{
    domain::{Failure, RunId, email::OutgoingMail},
    ports::{Mailer, Receipt},
};

use super::lock;

/// A mail service that keeps what it is given. It never deduplicates: what is sent twice arrives twice.
#[derive(Clone, Debug, Default)]
pub struct MemoryMailer {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    sent: Vec<SentMail>,
    faults: VecDeque<Fault>,
}

#[derive(Debug)]
struct Fault {
    failure: Failure,
    mail_goes_out: bool,
}

/// A mail that went out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentMail {
    /// The run that sent it.
    pub run: RunId,
    /// The step that sent it.
    pub step: String,
    /// The mail.
    pub mail: OutgoingMail,
    /// The service's id for it.
    pub message_id: String,
}

impl MemoryMailer {
    /// A mail service that has sent nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// What went out, in order.
    pub fn sent(&self) -> Vec<SentMail> {
        lock(&self.state).sent.clone()
    }

    /// The next mail that has no fault ahead of it does not go out, and the sender is told this failure.
    pub fn fail_next(&self, failure: Failure) {
        lock(&self.state).faults.push_back(Fault { failure, mail_goes_out: false });
    }

    /// The next mail that has no fault ahead of it goes out, but the answer is lost: the sender is told this
    /// failure, with an unknown outcome.
    pub fn lose_next_answer(&self, failure: Failure) {
        let failure = failure.with_unknown_outcome();
        lock(&self.state).faults.push_back(Fault { failure, mail_goes_out: true });
    }
}

#[async_trait]
impl Mailer for MemoryMailer {
    async fn send(&self, run: RunId, step: &str, mail: &OutgoingMail) -> Result<Receipt, Failure> {
        let mut state = lock(&self.state);
        let fault = state.faults.pop_front();
        if let Some(Fault { failure, mail_goes_out: false }) = fault {
            return Err(failure);
        }
        let message_id = format!("memory-{:04}", state.sent.len() + 1);
        state.sent.push(SentMail { run, step: step.to_owned(), mail: mail.clone(), message_id: message_id.clone() });
        match fault {
            Some(fault) => Err(fault.failure),
            None => Ok(Receipt { message_id }),
        }
    }
}
