//! A person looks at a response before it is sent.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};

use super::EmailProcessing;
use crate::{
    domain::{
        Failure,
        email::{Draft, Email, EmailAnalysis, OutgoingMail, Unreviewed},
    },
    engine::{Callback, Context, Decision, EffectKey, Reply, Semantics, Stop},
    mail,
    ports::{OutgoingEvent, Receipt},
};

/// The name of the callback, and what the names of its steps begin with.
const REVIEW: &str = "review_response";

/// How much of the email a reviewer is shown, in characters: a few pages.
const SHOWN_CHARACTERS: usize = 8_000;

/// The longest response, in characters; what a reviewer writes has to fit into the answer to a callback besides.
const LONGEST_TEXT: usize = 50_000;

/// The longest subject, in characters.
const LONGEST_SUBJECT: usize = 200;

/// What came of a review.
pub(super) struct Reviewed {
    /// How it was decided, where a person was asked.
    pub(super) looked: Option<Looked>,
    /// What is sent, or why nothing is.
    pub(super) outcome: Result<Draft, &'static str>,
}

/// How a person decided about a response, as the result tells it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Looked {
    decision: Decision,
    /// Who, in their own words.
    #[serde(skip_serializing_if = "String::is_empty")]
    by: String,
    /// Whether the text is theirs.
    edited: bool,
}

impl EmailProcessing {
    /// Lets a person approve, edit or reject the draft, where the definition wants that; until then the run holds no
    /// compute. Whatever they write, it goes to whom the draft would have gone to.
    pub(super) async fn review_response(
        &self,
        run: &mut Context,
        email: &Email,
        analysis: &EmailAnalysis,
        draft: Draft,
    ) -> Result<Reviewed, Stop> {
        let definition = run.definition();
        let settings = &definition.review;
        if !settings.is_due(analysis.confidence) {
            return Ok(Reviewed { looked: None, outcome: Ok(draft) });
        }
        let asks = question(email, analysis, &draft);
        let callback = run.callback(REVIEW, Duration::from_secs(settings.within_seconds), &asks).await?;
        let url = self.url_of(run, &callback);
        self.announce(run, &callback, &url).await?;
        if let Some(reviewer) = &settings.reviewer {
            self.write_to_reviewer(run, reviewer, &callback, &url).await?;
        }
        Ok(match run.wait_for_callback(&callback).await? {
            Some(reply) => decided(reply, draft).map_err(|failure| failure.in_step(REVIEW))?,
            None => Reviewed {
                looked: Some(Looked { decision: Decision::Expired, by: String::new(), edited: false }),
                outcome: match settings.otherwise {
                    Unreviewed::Send => Ok(draft),
                    Unreviewed::Discard => Err("nobody approved the response in time"),
                },
            },
        })
    }

    fn url_of(&self, run: &Context, callback: &Callback) -> String {
        let base = self.public_url.as_deref().unwrap_or_default();
        format!("{base}/workflow/runs/{}/callbacks/{}?token={}", run.id(), callback.name(), callback.token())
    }

    async fn announce(&self, run: &mut Context, callback: &Callback, url: &str) -> Result<(), Stop> {
        let event = OutgoingEvent {
            detail_type: "approval_requested".to_owned(),
            detail: json!({
                "run_id": run.id(),
                "name": callback.name(),
                "question": QUESTION,
                "token": callback.token(),
                "url": url,
                "deadline": callback.deadline(),
            }),
        };
        run.effect(&format!("{REVIEW}.announce"), Semantics::AtLeastOnce, |key| async move {
            self.bus.publish(key.as_str(), &event).await
        })
        .await
    }

    /// The mail quotes nothing of the email: what is shown there is shown on the page, as text.
    async fn write_to_reviewer(
        &self,
        run: &mut Context,
        reviewer: &str,
        callback: &Callback,
        url: &str,
    ) -> Result<Receipt, Stop> {
        let until = callback.deadline().strftime("%Y-%m-%d %H:%M UTC");
        let mail = OutgoingMail {
            to: reviewer.to_owned(),
            subject: "Approval needed: a response to an email".to_owned(),
            text: format!(
                "A response to an email waits for you.\n\nRead, edit, approve or reject it here, until {until}:\n{url}\n\n\
                 Whoever has this link can decide, once.\n"
            ),
            in_reply_to: None,
            references: Vec::new(),
            is_reply: false,
        };
        let id = run.id();
        let send = |key: EffectKey| async move { self.mailer.send(id, key.position(), &mail).await };
        run.effect(&format!("{REVIEW}.mail"), Semantics::AtMostOnce, send).await
    }
}

const QUESTION: &str = "Send this response?";

/// What a reviewer is shown. What stands under `editable` can be written anew in the answer's data.
fn question(email: &Email, analysis: &EmailAnalysis, draft: &Draft) -> Value {
    let message: String = email.text.chars().take(SHOWN_CHARACTERS).collect();
    json!({
        "question": QUESTION,
        "details": {
            "to": email.recipient(),
            "from": email.from,
            "email_subject": email.subject,
            "email": message,
            "category": analysis.category,
            "confidence": analysis.confidence,
        },
        "editable": { "subject": draft.subject, "text": draft.text },
    })
}

fn decided(reply: Reply, draft: Draft) -> Result<Reviewed, Failure> {
    let (edited, outcome) = match reply.decision {
        Decision::Approve => {
            let edited = edited(&reply.data, &draft)?;
            (edited != draft, Ok(edited))
        }
        // Data alone approves nothing.
        Decision::Reject | Decision::Data | Decision::Expired => {
            (false, Err("a reviewer did not approve the response"))
        }
    };
    Ok(Reviewed { looked: Some(Looked { decision: reply.decision, by: reply.by, edited }), outcome })
}

fn edited(data: &Value, draft: &Draft) -> Result<Draft, Failure> {
    let field = |name: &str| match data.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if !text.trim().is_empty() && text.chars().count() <= LONGEST_TEXT => Ok(Some(text)),
        Some(_) => Err(Failure::validation(format!(
            "the reviewer's `data.{name}` is not a text of 1 to {LONGEST_TEXT} characters"
        ))),
    };
    Ok(Draft {
        subject: field("subject")?.map_or_else(|| draft.subject.clone(), |text| mail::one_line(text, LONGEST_SUBJECT)),
        text: field("text")?
            .map_or_else(|| draft.text.clone(), |text| format!("{}\n", mail::clean(text, LONGEST_TEXT).trim())),
    })
}
