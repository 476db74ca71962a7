use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Tool, ToolCall, schema_of};
use crate::{
    domain::{Failure, definition::Definition, email::OutgoingMail},
    engine::{Context, EffectKey, Semantics, Stop},
    mail,
    ports::{Mailer, Receipt},
};

// Longer ones are folded or cut by mail programs in ways that nobody wants.
const LONGEST_SUBJECT: usize = 200;

/// `send_email {recipient, subject, text}`: writes to someone whom the definition names. At most once.
pub struct SendEmail(pub Arc<dyn Mailer>);

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// A name among the definition's `recipients`.
    recipient: String,
    /// The subject.
    subject: String,
    /// The body, plain text.
    text: String,
}

#[async_trait]
impl Tool for SendEmail {
    fn name(&self) -> &'static str {
        "send_email"
    }

    fn schema(&self) -> Value {
        schema_of::<Arguments>()
    }

    fn check(&self, definition: &Definition, call: ToolCall<'_>) -> Result<(), Failure> {
        let arguments: Arguments = call.read()?;
        call.recipient(definition, &arguments.recipient).map(drop)
    }

    async fn perform(&self, run: &mut Context, call: ToolCall<'_>) -> Result<Value, Stop> {
        let Arguments { recipient, subject, text } = call.read()?;
        let to = call.recipient(&run.definition(), &recipient)?;
        // What a delivery event settles the step with is a receipt too.
        send(run, call.step, self.0.as_ref(), note_to(to, &subject, text)).await.map(|receipt| json!(receipt))
    }
}

pub(super) async fn send(
    run: &mut Context,
    step: &str,
    mailer: &dyn Mailer,
    mail: OutgoingMail,
) -> Result<Receipt, Stop> {
    let id = run.id();
    let send = |key: EffectKey| async move { mailer.send(id, key.position(), &mail).await };
    run.effect(step, Semantics::AtMostOnce, send).await
}

pub(super) fn note_to(to: String, subject: &str, text: String) -> OutgoingMail {
    OutgoingMail {
        to,
        subject: mail::one_line(subject, LONGEST_SUBJECT),
        text,
        in_reply_to: None,
        references: Vec::new(),
        is_reply: false,
    }
}
