//! `email_processing`: reads an email and answers it when an answer is due.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    domain::{
        Failure, WorkflowType,
        email::{Draft, Email, EmailAnalysis, EmailInput},
        input::decode_base64,
    },
    engine::{Context, EffectKey, Semantics, Stop, Workflow},
    mail,
    ports::{AnswerLedger, Assistant, Claim, Clock, Mailer, Objects, Tracking, TrackingEntry},
};

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
    /// Remembers what was done.
    pub tracking: Arc<dyn Tracking>,
    /// Tells when.
    pub clock: Arc<dyn Clock>,
    /// The address that this deployment writes from: mail from it is never answered.
    pub own_address: String,
}

/// The result of a run.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Processed {
    status: &'static str,
    response_generated: bool,
    /// Why there is no response although the email asked for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    withheld: Option<&'static str>,
    analysis: EmailAnalysis,
    response: Option<Draft>,
    api_calls: u64,
    model: String,
}

#[async_trait]
impl Workflow for EmailProcessing {
    fn workflow(&self) -> WorkflowType {
        WorkflowType::EmailProcessing
    }

    async fn execute(&self, run: &mut Context) -> Result<Value, Stop> {
        let definition = run.definition();
        let email = self.read_email(run).await?;
        let analysis = run.ask("analyze_email", || self.assistant.analyze_email(&definition, &email)).await?;

        let mut response = None;
        let mut withheld = None;
        // No assistant decides that a machine is answered.
        if analysis.requires_response && email.no_reply_because.is_none() {
            let draft = self.generate_response(run, &analysis).await?;
            match self.claim_answer(run, &email).await? {
                Claim::Granted => {
                    self.send_response(run, &email, &draft).await?;
                    response = Some(draft);
                }
                Claim::AnsweredAlready => withheld = Some("the sender was answered a short while ago"),
                Claim::Suppressed => withheld = Some("the sender's address bounced or complained"),
            }
        }

        self.update_email_tracking(run, &email, &analysis, response.is_some()).await?;
        let processed = Processed {
            status: "success",
            response_generated: response.is_some(),
            withheld,
            analysis,
            response,
            api_calls: run.usage().api_calls,
            model: self.assistant.model().to_owned(),
        };
        Ok(json!(processed))
    }
}

impl EmailProcessing {
    /// What came inline is read again by each attempt; what lies elsewhere is read once and remembered, for
    /// the object may change.
    async fn read_email(&self, run: &mut Context) -> Result<Email, Stop> {
        let input: EmailInput = run.input()?;
        if let Some(object) = &input.s3 {
            return run
                .step("read_message", || async {
                    let raw = self.objects.get(object, mail::Limits::default().bytes).await?;
                    self.read_message(&input.id, &raw)
                })
                .await;
        }
        match &input.raw {
            Some(raw) => {
                let raw = decode_base64(raw).map_err(|problem| Failure::validation(format!("`data.raw` {problem}")))?;
                Ok(self.read_message(&input.id, &raw)?)
            }
            None => Ok(mail::from_fields(&input, &self.own_address)),
        }
    }

    fn read_message(&self, id: &str, raw: &[u8]) -> Result<Email, Failure> {
        mail::read_message(id, raw, &self.own_address, &mail::Limits::default())
    }

    /// One answer per sender and window, so that two machines never keep each other busy. A step, since the same run
    /// may claim again and nothing that was found before is claimed with it.
    async fn claim_answer(&self, run: &mut Context, email: &Email) -> Result<Claim, Stop> {
        let window = Duration::from_secs(run.definition().answer_window.into());
        let id = run.id();
        run.step("claim_answer", || self.answers.claim(&email.from, id, self.clock.now(), window)).await
    }

    async fn generate_response(&self, run: &mut Context, analysis: &EmailAnalysis) -> Result<Draft, Stop> {
        let definition = run.definition();
        run.ask("generate_response", || {
            self.assistant.generate_response(&definition, &analysis.template, &analysis.context)
        })
        .await
    }

    async fn send_response(&self, run: &mut Context, email: &Email, draft: &Draft) -> Result<(), Stop> {
        let mail = &mail::reply_to(email, draft);
        let id = run.id();
        let send = |key: EffectKey| async move { self.mailer.send(id, key.position(), mail).await };
        run.effect("send_response", Semantics::AtMostOnce, send).await.map(|_receipt| ())
    }

    async fn update_email_tracking(
        &self,
        run: &mut Context,
        email: &Email,
        analysis: &EmailAnalysis,
        answered: bool,
    ) -> Result<(), Stop> {
        let run_id = run.id();
        run.effect("update_email_tracking", Semantics::AtLeastOnce, |_key| async move {
            let entry = TrackingEntry {
                workflow: WorkflowType::EmailProcessing,
                data_id: email.id.clone(),
                run_id,
                status: if answered { "answered" } else { "no_response" }.to_owned(),
                details: json!({ "category": analysis.category, "urgency": analysis.urgency }),
                at: self.clock.now(),
            };
            self.tracking.put(&entry).await
        })
        .await
    }
}
