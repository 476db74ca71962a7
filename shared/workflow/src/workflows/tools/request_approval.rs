use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Tool, ToolCall, schema_of,
    send_email::{note_to, send},
};
use crate::{
    domain::{Failure, Kind, RunId, definition::Definition},
    engine::{Callback, Context, Decision, LONGEST_WAIT, Semantics, Stop},
    ports::{EventBus, Mailer, OutgoingEvent},
};

/// `request_approval {question, details?, recipient?, within_seconds?, otherwise?}`: asks a person and waits for the
/// answer, a day unless said. The question goes out as the event `approval_requested`, with its token, and as an
/// email to a recipient whom the definition names. Unanswered, the step comes out as `otherwise` says: `reject`
/// (the default), `approve` or `fail`.
pub struct RequestApproval {
    /// Hears of each question.
    pub bus: Arc<dyn EventBus>,
    /// Writes to the person.
    pub mailer: Arc<dyn Mailer>,
    /// Where people reach the API; without it the links are paths.
    pub public_url: Option<String>,
}

const ONE_DAY: u64 = 86_400;

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Otherwise {
    Approve,
    #[default]
    Reject,
    Fail,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// What is asked.
    question: String,
    /// What whoever decides should know.
    #[serde(default)]
    details: Value,
    /// Who is written to: a name among the definition's `recipients`.
    recipient: Option<String>,
    /// How long there is to decide: a day unless said, 60 days at the most.
    #[serde(default = "one_day")]
    within_seconds: u64,
    /// What it comes to when nobody decides.
    #[serde(default)]
    otherwise: Otherwise,
}

const fn one_day() -> u64 {
    ONE_DAY
}

fn read(definition: &Definition, call: ToolCall<'_>) -> Result<(Arguments, Option<String>), Failure> {
    let arguments: Arguments = call.read()?;
    if arguments.within_seconds > LONGEST_WAIT.as_secs() {
        let most = LONGEST_WAIT.as_secs();
        return Err(call.wrong("within_seconds", format!("must be {most} or less")));
    }
    let to = arguments.recipient.as_ref().map(|name| call.recipient(definition, name)).transpose()?;
    Ok((arguments, to))
}

#[async_trait]
impl Tool for RequestApproval {
    fn name(&self) -> &'static str {
        "request_approval"
    }

    fn schema(&self) -> Value {
        schema_of::<Arguments>()
    }

    fn check(&self, definition: &Definition, call: ToolCall<'_>) -> Result<(), Failure> {
        read(definition, call).map(drop)
    }

    async fn perform(&self, run: &mut Context, call: ToolCall<'_>) -> Result<Value, Stop> {
        let (Arguments { question, details, within_seconds, otherwise, .. }, to) = read(&run.definition(), call)?;
        let asks = json!({ "question": question, "details": details });
        let approval = run.callback(call.step, Duration::from_secs(within_seconds), &asks).await?;
        let url = self.url_of(run.id(), &approval);
        self.announce(run, call.step, &approval, &question, &url).await?;
        if let Some(to) = to {
            let text = format!(
                "{question}\n\nDecide here, until {}:\n{url}\n\nWhoever has this link can decide, once.\n",
                approval.deadline().strftime("%Y-%m-%d %H:%M UTC")
            );
            let mail = note_to(to, &format!("Approval needed: {question}"), text);
            send(run, &format!("{}.mail", call.step), self.mailer.as_ref(), mail).await?;
        }
        match (run.wait_for_callback(&approval).await?, otherwise) {
            (Some(reply), _) => Ok(json!({
                "approved": reply.decision == Decision::Approve,
                "decision": reply.decision,
                "data": reply.data,
                "by": reply.by,
            })),
            (None, Otherwise::Fail) => {
                Err(Failure::new(Kind::Expired, "nobody decided in time").in_step(call.step).into())
            }
            (None, otherwise) => Ok(json!({
                "approved": matches!(otherwise, Otherwise::Approve),
                "decision": Decision::Expired,
            })),
        }
    }
}

impl RequestApproval {
    fn url_of(&self, run: RunId, approval: &Callback) -> String {
        let base = self.public_url.as_deref().unwrap_or_default();
        format!("{base}/workflow/runs/{run}/callbacks/{}?token={}", approval.name(), approval.token())
    }

    async fn announce(
        &self,
        run: &mut Context,
        step: &str,
        approval: &Callback,
        question: &str,
        url: &str,
    ) -> Result<(), Stop> {
        let event = OutgoingEvent {
            detail_type: "approval_requested".to_owned(),
            detail: json!({
                "run_id": run.id(),
                "name": approval.name(),
                "question": question,
                "token": approval.token(),
                "url": url,
                "deadline": approval.deadline(),
            }),
        };
        run.effect(&format!("{step}.announce"), Semantics::AtLeastOnce, |key| async move {
            self.bus.publish(key.as_str(), &event).await
        })
        .await
    }
}
