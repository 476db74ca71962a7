//! What is attached to an email, and its way to `document_review`.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::EmailProcessing;
use crate::{
    domain::{
        Failure, Kind, RunId,
        document::{CriterionInput, DocumentInput, FileSource},
        email::{Attachment, Email, EmailInput},
        input::Input,
    },
    engine::{Context, EffectKey, Semantics, Stop},
    mail,
};

/// Something attached, as the result lists it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Listed {
    #[serde(flatten)]
    attachment: Attachment,
    /// The run that reviews it.
    #[serde(skip_serializing_if = "Option::is_none")]
    review_run: Option<RunId>,
}

impl From<&Attachment> for Listed {
    fn from(attachment: &Attachment) -> Self {
        Self { attachment: attachment.clone(), review_run: None }
    }
}

/// A review that was asked for.
#[derive(Serialize, Deserialize)]
struct Started {
    run_id: RunId,
}

/// The longest id of a document's data.
const LONGEST_ID: usize = 256;

impl EmailProcessing {
    /// Starts a review of each attachment that the definition wants reviewed. At least once; the run's id follows from
    /// the email's run and the attachment's place, so it is one run however often this is repeated.
    pub(super) async fn review_attachments(
        &self,
        run: &mut Context,
        input: &EmailInput,
        email: &Email,
    ) -> Result<Vec<Listed>, Stop> {
        let mut listed: Vec<Listed> = email.attachments.iter().map(Listed::from).collect();
        let definition = run.definition();
        let Some(review) = &definition.attachments.review else { return Ok(listed) };
        // Read when it is first needed: a replay needs none of it.
        let message = OnceCell::new();
        let fitting = email.attachments.iter().enumerate().filter(|(_, attachment)| review.takes(attachment));
        for (index, attachment) in fitting.take(review.most) {
            let parent = run.id();
            let start = |key: EffectKey| async {
                let key = key;
                let raw = message.get_or_try_init(|| self.raw_message(input)).await?;
                let document = document(email, index, raw, &review.criteria)?;
                let id = RunId::derived(key.run().made_at(), &["run", key.as_str()]);
                self.queue.start(&Input::Document(document), id, &format!("run:{parent}")).await?;
                Ok(Started { run_id: id })
            };
            let name = format!("review_attachment.{}", index + 1);
            let started: Started = run.effect(&name, Semantics::AtLeastOnce, start).await?;
            listed[index] = Listed { attachment: attachment.clone(), review_run: Some(started.run_id) };
        }
        Ok(listed)
    }
}

fn document(email: &Email, index: usize, raw: &[u8], criteria: &[CriterionInput]) -> Result<DocumentInput, Failure> {
    let attachment = &email.attachments[index];
    let bytes = mail::attachment(raw, index, &mail::Limits::default())?
        .filter(|bytes| bytes.len() as u64 == attachment.bytes)
        .ok_or_else(|| Failure::new(Kind::NotFound, "the stored message is another one than was read"))?;
    let id = format!("{}#{}", email.id, index + 1);
    Ok(DocumentInput {
        id: if id.len() <= LONGEST_ID { id } else { blake3::hash(id.as_bytes()).to_hex().to_string() },
        file: FileSource::Inline { name: attachment.name.clone(), content: STANDARD.encode(bytes) },
        review_criteria: criteria.to_vec(),
    })
}
