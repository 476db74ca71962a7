use async_trait::async_trait;

use crate::domain::{Failure, RunId, email::OutgoingMail};

/// Sends mail.
#[async_trait]
pub trait Mailer: Send + Sync {
    /// Sends one mail, tagged with the run and the position of the step, so that delivery events find their way
    /// back to its intent.
    ///
    /// # Errors
    /// This returns an error that says `maybe_applied` when the mail may have gone out all the same.
    async fn send(&self, run: RunId, position: &str, mail: &OutgoingMail) -> Result<Receipt, Failure>;
}

/// What the mail service gave for a mail that it took.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Receipt {
    /// Its id for the message.
    pub message_id: String,
}
