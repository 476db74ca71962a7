//! `email_processing`: reads an email and answers it when an answer is due.

mod attachments;
mod review;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::model_of;
use crate::{
    domain::{
        Failure, Kind, RunId, WorkflowType,
        email::{Draft, Email, EmailAnalysis, EmailInput, OnFailure, Verdicts},
        input::decode_base64,
    },
    engine::{Context, EffectKey, Semantics, Stop, Workflow},
    mail,
    ports::{
        AnswerLedger, Assistant, Claim, Clock, EventBus, Mailer, Objects, Queue, Receipt, Tracking, TrackingEntry,
    },
};
use attachments::Listed;
use review::{Looked, Reviewed};

/// The workflow and what it works with.
pub struct EmailProcessing {
    /// Reads and writes.
    pub assistant: Arc<dyn Assistant>,
    /// Sends the answer.
    pub mailer: Arc<dyn Mailer>,
    /// Knows who was answered lately.
    pub answers: Arc<dyn AnswerLedger>,
    /// Holds messages that came by S3.
    pub objects: Arc<dyn Objects>,
    /// Starts reviews of what is attached.
    pub queue: Arc<dyn Queue>,
    /// Hears of responses that wait for a person.
    pub bus: Arc<dyn EventBus>,
    /// Remembers what was done.
    pub tracking: Arc<dyn Tracking>,
    /// Tells when.
    pub clock: Arc<dyn Clock>,
    /// The address that this deployment writes from: mail from it is never answered.
    pub own_address: String,
    /// Where people reach the API, for links in mail; without it the links are paths.
    pub public_url: Option<String>,
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Processed {
    /// `success`, or `quarantined` when nobody was to see the email.
    status: &'static str,
    response_generated: bool,
    /// Why there is no response although the email asked for one, or why it was quarantined.
    #[serde(skip_serializing_if = "Option::is_none")]
    withheld: Option<String>,
    #[serde(skip_serializing_if = "Verdicts::is_empty")]
    verdicts: Verdicts,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attachments: Vec<Listed>,
    analysis: Option<EmailAnalysis>,
    response: Option<Draft>,
    /// How a person decided about the response, where one was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    review: Option<Looked>,
    api_calls: u64,
    model: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    degraded: bool,
}

/// How sending a response came out, as the journal keeps it. A delivery event or an operator settles it as a [`Receipt`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Sent {
    /// The mail service's id for it; empty when it was not sent.
    message_id: String,
    /// Why it was not: the sender may get no answer now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    withheld: Option<Claim>,
}

/// What may take up to the end of an invocation is reckoned from here on; a mail that waits longer for its claim is
/// sent by the next attempt.
const LONGEST_CLAIM: Duration = Duration::from_secs(5);

#[async_trait]
impl Workflow for EmailProcessing {
    fn workflow(&self) -> WorkflowType {
        WorkflowType::EmailProcessing
    }

    async fn execute(&self, run: &mut Context) -> Result<Value, Stop> {
        let definition = run.definition();
        let input: EmailInput = run.input()?;
        let email = self.read_email(run, &input).await?;
        let failed = definition.verdicts.decide(&email.verdicts);
        let mut processed = Processed {
            status: "success",
            response_generated: false,
            withheld: None,
            verdicts: email.verdicts,
            attachments: Vec::new(),
            analysis: None,
            response: None,
            review: None,
            api_calls: 0,
            model: self.assistant.model().to_owned(),
            degraded: false,
        };
        if let Some((OnFailure::Quarantine, because)) = failed {
            processed.status = "quarantined";
            processed.withheld = Some(because.to_owned());
            processed.attachments = email.attachments.iter().map(Listed::from).collect();
            self.update_email_tracking(run, &email, "quarantined", json!({ "because": because })).await?;
            return Ok(json!(processed));
        }

        processed.attachments = self.review_attachments(run, &input, &email).await?;
        let analysis = run.ask("analyze_email", || self.assistant.analyze_email(&definition, &email)).await?;
        if analysis.requires_response {
            // No assistant decides that a machine is answered, or a sender who may be another.
            match (&email.no_reply_because, failed) {
                (Some(because), _) => processed.withheld = Some(because.clone()),
                (None, Some((OnFailure::NoResponse, because))) => processed.withheld = Some(because.to_owned()),
                (None, _) => self.respond(run, &email, &analysis, &mut processed).await?,
            }
        }

        let status = if processed.response_generated { "answered" } else { "no_response" };
        let details = json!({ "category": analysis.category, "urgency": analysis.urgency });
        self.update_email_tracking(run, &email, status, details).await?;
        processed.analysis = Some(analysis);
        let usage = run.usage();
        processed.api_calls = usage.api_calls;
        processed.model = model_of(usage, self.assistant.as_ref());
        processed.degraded = usage.degraded_calls > 0;
        Ok(json!(processed))
    }
}

impl EmailProcessing {
    /// What came inline is read again by each attempt; what lies elsewhere is read once and remembered, for
    /// the object may change.
    async fn read_email(&self, run: &mut Context, input: &EmailInput) -> Result<Email, Stop> {
        if input.s3.is_some() {
            return run
                .step("read_message", || async {
                    let raw = self.raw_message(input).await?;
                    self.read_message(input, &raw)
                })
                .await;
        }
        if input.raw.is_some() {
            let raw = self.raw_message(input).await?;
            return Ok(self.read_message(input, &raw)?);
        }
        Ok(mail::from_fields(input, &self.own_address))
    }

    /// The whole message, where there is one.
    async fn raw_message(&self, input: &EmailInput) -> Result<Vec<u8>, Failure> {
        match (&input.s3, &input.raw) {
            (Some(object), _) => self.objects.get(object, mail::Limits::default().bytes).await,
            (None, Some(raw)) => {
                decode_base64(raw).map_err(|problem| Failure::validation(format!("`data.raw` {problem}")))
            }
            (None, None) => Err(Failure::validation("the email came without a whole message")),
        }
    }

    fn read_message(&self, input: &EmailInput, raw: &[u8]) -> Result<Email, Failure> {
        let email = mail::read_message(&input.id, raw, &self.own_address, &mail::Limits::default())?;
        Ok(Email { verdicts: input.verdicts.or(email.verdicts), ..email })
    }

    async fn respond(
        &self,
        run: &mut Context,
        email: &Email,
        analysis: &EmailAnalysis,
        processed: &mut Processed,
    ) -> Result<(), Stop> {
        let draft = self.generate_response(run, analysis).await?;
        let Reviewed { looked, outcome } = self.review_response(run, email, analysis, draft).await?;
        processed.review = looked;
        let draft = match outcome {
            Ok(draft) => draft,
            Err(because) => {
                processed.withheld = Some(because.to_owned());
                return Ok(());
            }
        };
        match self.send_response(run, email, &draft).await?.withheld {
            None | Some(Claim::Granted) => {
                processed.response_generated = true;
                processed.response = Some(draft);
            }
            Some(Claim::AnsweredAlready) => {
                processed.withheld = Some("the sender was answered a short while ago".to_owned());
            }
            Some(Claim::Suppressed) => {
                processed.withheld = Some("the sender's address bounced or complained".to_owned());
            }
        }
        Ok(())
    }

    async fn generate_response(&self, run: &mut Context, analysis: &EmailAnalysis) -> Result<Draft, Stop> {
        let definition = run.definition();
        run.ask("generate_response", || {
            self.assistant.generate_response(&definition, &analysis.template, &analysis.context)
        })
        .await
    }

    /// Sends the one answer of this sender and window, so that two machines never keep each other busy.
    ///
    /// The claim is a part of the effect: whoever sends claims right before, however long ago another attempt did, and
    /// gives the claim back when the mail certainly did not go out. It is the line's, so a retry of this run is not
    /// kept out by it.
    async fn send_response(&self, run: &mut Context, email: &Email, draft: &Draft) -> Result<Sent, Stop> {
        let window = Duration::from_secs(run.definition().answer_window.into());
        let mail = &mail::reply_to(email, draft);
        let (id, line) = (run.id(), run.line());
        let send = |key: EffectKey| async move {
            match self.claim_answer(&mail.to, line, window).await? {
                Claim::Granted => {}
                withheld => return Ok(Sent { message_id: String::new(), withheld: Some(withheld) }),
            }
            let sent = self.mailer.send(id, key.position(), mail).await;
            if matches!(&sent, Err(failure) if !failure.maybe_applied) {
                self.give_back(&mail.to, line).await;
            }
            sent.map(|Receipt { message_id }| Sent { message_id, withheld: None })
        };
        run.effect("send_response", Semantics::AtMostOnce, send).await
    }

    async fn claim_answer(&self, to: &str, line: RunId, window: Duration) -> Result<Claim, Failure> {
        let begun = self.clock.now();
        // A claim whose answer was lost is made again by the same line.
        let claimed = |failure: Failure| Failure { maybe_applied: false, ..failure };
        let claim = self.answers.claim(to, line, begun, window).await.map_err(claimed)?;
        let took = Duration::try_from(self.clock.now().duration_since(begun)).unwrap_or_default();
        if claim == Claim::Granted && took > LONGEST_CLAIM {
            self.give_back(to, line).await;
            return Err(Failure::new(Kind::Timeout, "the claim of the answer took too long to send it"));
        }
        Ok(claim)
    }

    /// Should it fail, the window ends by itself, and a retry is granted the claim all the same.
    async fn give_back(&self, to: &str, line: RunId) {
        if let Err(failure) = self.answers.release(to, line).await {
            tracing::warn!(run.id = %line, error.kind = ?failure.kind, "the claim of an answer was not given back");
        }
    }

    async fn update_email_tracking(
        &self,
        run: &mut Context,
        email: &Email,
        status: &str,
        details: Value,
    ) -> Result<(), Stop> {
        let run_id = run.id();
        run.effect("update_email_tracking", Semantics::AtLeastOnce, |_key| async move {
            let entry = TrackingEntry {
                workflow: WorkflowType::EmailProcessing,
                data_id: email.id.clone(),
                run_id,
                status: status.to_owned(),
                details,
                at: self.clock.now(),
            };
            self.tracking.put(&entry).await
        })
        .await
    }
}
