//! What an event means, told from the event alone.

use ihelper_runtime::message::Credentials;
use ihelper_workflow::{
    domain::{
        RunId, WorkflowType,
        document::ObjectRef,
        input::{self, Invalid},
    },
    mail,
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

/// EventBridge's envelope.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Envelope {
    /// Its id.
    pub id: String,
    /// Who published it.
    pub source: String,
    /// Its type.
    #[serde(rename = "detail-type")]
    pub detail_type: String,
    /// When it happened.
    pub time: Timestamp,
    /// What it says.
    pub detail: Value,
}

/// What an event means.
#[derive(Clone, Debug, PartialEq)]
pub enum Meaning {
    /// Start a run on this data.
    Start {
        /// The workflow.
        workflow: WorkflowType,
        /// Its data, not yet checked.
        data: Value,
        /// Whose event it is and its id there: `source/id`.
        origin: String,
        /// The run that this event is, however often it is delivered.
        run: RunId,
    },
    /// An object arrived.
    Object {
        /// Where it lies.
        object: ObjectRef,
        /// The run that this arrival is.
        run: RunId,
    },
    /// The mail service tells what became of a mail.
    Mail(MailEvent),
    /// None of ours: to be counted and left alone.
    Unknown,
}

/// What became of a mail that a run sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailEvent {
    /// What became of it.
    pub fate: MailFate,
    /// The run that sent it, from its tags.
    pub run: Option<RunId>,
    /// The position of the step that sent it, from its tags, in which a dot is an underscore.
    pub position: Option<String>,
    /// The mail service's id for the message.
    pub message_id: String,
    /// The addresses that must not be written to again.
    pub unreachable: Vec<String>,
}

/// What became of a mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailFate {
    /// It went out: sent, delivered, delayed, bounced, complained about.
    WentOut,
    /// It did not: rejected before it was sent.
    NotSent,
}

// They are kept with the run.
const LONGEST_ORIGIN: usize = 400;
// Runs are told apart by time; one from the future would stand before all others for good.
const CLOCK_SKEW: std::time::Duration = std::time::Duration::from_secs(300);

/// Tells what an event means.
///
/// # Errors
/// This returns an error that names the field when the event is one of ours and not whole.
pub fn read(envelope: &Envelope) -> Result<Meaning, Invalid> {
    match (envelope.source.as_str(), envelope.detail_type.as_str()) {
        ("aws.s3", "Object Created") => object_created(envelope),
        ("aws.ses", _) => mail_event(&envelope.detail),
        _ => start(envelope),
    }
}

/// The token that an event carries beside its `type` and `data`. An event that is named by its detail-type has only
/// data, and no place for one.
///
/// # Errors
/// This returns an error that names the member when it is no token.
pub fn credentials(envelope: &Envelope) -> Result<Option<Credentials>, Invalid> {
    let members = envelope.detail.as_object().filter(|_| WorkflowType::of_event(&envelope.detail_type).is_none());
    let Some(members) = members else { return Ok(None) };
    Credentials::of(members).map_err(|Invalid(mut violations)| {
        for violation in &mut violations {
            violation.field = format!("detail.{}", violation.field);
        }
        Invalid(violations)
    })
}

fn object_created(envelope: &Envelope) -> Result<Meaning, Invalid> {
    #[derive(Deserialize)]
    struct Detail {
        bucket: Bucket,
        object: Object,
    }
    #[derive(Deserialize)]
    struct Bucket {
        name: String,
    }
    #[derive(Deserialize)]
    struct Object {
        key: String,
        #[serde(default)]
        sequencer: String,
    }
    let Detail { bucket, object } = detail(&envelope.detail)?;
    // S3 may announce one upload twice, under different event ids; the sequencer tells uploads apart.
    let run = if object.sequencer.is_empty() {
        RunId::derived(envelope.time, &["event", &envelope.source, &envelope.id])
    } else {
        RunId::derived(envelope.time, &["s3", &bucket.name, &object.key, &object.sequencer])
    };
    Ok(Meaning::Object { object: ObjectRef { bucket: bucket.name, key: object.key }, run })
}

/// The seed's event types as detail-type, `{"type", "data"}`, or a CloudEvent 1.0.
fn start(envelope: &Envelope) -> Result<Meaning, Invalid> {
    #[derive(Deserialize)]
    struct Typed {
        specversion: Option<String>,
        id: Option<String>,
        source: Option<String>,
        time: Option<Timestamp>,
        #[serde(rename = "type")]
        named: String,
        data: Option<Value>,
    }
    if let Some(workflow) = WorkflowType::of_event(&envelope.detail_type) {
        return Ok(of_envelope(envelope, workflow, envelope.detail.clone()));
    }
    let fields = envelope.detail.as_object();
    if !fields.is_some_and(|fields| fields.get("type").is_some_and(Value::is_string)) {
        return Ok(Meaning::Unknown);
    }
    let typed: Typed = detail(&envelope.detail)?;
    let Some(workflow) = WorkflowType::of_event(&typed.named).or_else(|| typed.named.parse().ok()) else {
        return Ok(Meaning::Unknown);
    };
    let Some(data) = typed.data else { return Err(Invalid::one("detail.data", "is missing")) };
    if typed.specversion.is_none() {
        return Ok(of_envelope(envelope, workflow, data));
    }
    // CloudEvents are the same when source and id are (CloudEvents 1.0, section 3.1), whatever the bus says.
    let (Some(source), Some(id)) = (typed.source, typed.id) else {
        return Err(Invalid::one("detail", "is a CloudEvent without `source` or `id`"));
    };
    if source.len() + id.len() > LONGEST_ORIGIN {
        return Err(Invalid::one("detail", "is a CloudEvent whose `source` and `id` are longer than 400 bytes"));
    }
    let time = typed.time.unwrap_or(envelope.time);
    if time > envelope.time.saturating_add(CLOCK_SKEW).unwrap_or(Timestamp::MAX) {
        return Err(Invalid::one("detail.time", "lies more than five minutes in the future"));
    }
    let run = RunId::derived(time, &["cloudevent", &source, &id]);
    Ok(Meaning::Start { workflow, data, origin: format!("{source}/{id}"), run })
}

fn of_envelope(envelope: &Envelope, workflow: WorkflowType, data: Value) -> Meaning {
    Meaning::Start {
        workflow,
        data,
        origin: format!("{}/{}", envelope.source, envelope.id),
        run: RunId::derived(envelope.time, &["event", &envelope.source, &envelope.id]),
    }
}

fn mail_event(value: &Value) -> Result<Meaning, Invalid> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Detail {
        #[serde(alias = "notificationType")]
        event_type: String,
        mail: Mail,
        bounce: Option<Bounce>,
        complaint: Option<Complaint>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Mail {
        message_id: String,
        #[serde(default)]
        tags: std::collections::BTreeMap<String, Vec<String>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Bounce {
        bounce_type: String,
        #[serde(default)]
        bounced_recipients: Vec<Recipient>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Complaint {
        #[serde(default)]
        complained_recipients: Vec<Recipient>,
        complaint_feedback_type: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Recipient {
        email_address: String,
    }
    let Detail { event_type, mail, bounce, complaint } = detail(value)?;
    let fate = match event_type.as_str() {
        "Send" | "Delivery" | "DeliveryDelay" | "Bounce" | "Complaint" => MailFate::WentOut,
        "Reject" | "Rendering Failure" => MailFate::NotSent,
        _ => return Ok(Meaning::Unknown),
    };
    // A full mailbox (a transient bounce) is reachable again later.
    let bounced = bounce.filter(|bounce| bounce.bounce_type == "Permanent").map(|bounce| bounce.bounced_recipients);
    // Who takes a mail out of the spam folder complains about the folder (RFC 5965, section 7.3).
    let complained = complaint
        .filter(|complaint| complaint.complaint_feedback_type.as_deref() != Some("not-spam"))
        .map(|complaint| complaint.complained_recipients);
    let unreachable = [bounced, complained]
        .into_iter()
        .flatten()
        .flatten()
        // It may come as it stood in the mail's `To`.
        .map(|recipient| mail::first_address(&recipient.email_address).unwrap_or(recipient.email_address));
    let tag = |name: &str| mail.tags.get(name).and_then(|values| values.first()).cloned();
    Ok(Meaning::Mail(MailEvent {
        fate,
        run: tag("run_id").and_then(|id| id.parse().ok()),
        position: tag("step"),
        unreachable: unreachable.collect(),
        message_id: mail.message_id,
    }))
}

fn detail<T: serde::de::DeserializeOwned>(value: &Value) -> Result<T, Invalid> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { "detail".to_owned() } else { format!("detail.{path}") };
        Invalid::one(field, input::problem(error.inner()))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn envelope(source: &str, detail_type: &str, detail: Value) -> Envelope {
        let time = "2026-01-02T03:04:05Z".parse().unwrap();
        Envelope { id: "e1".to_owned(), source: source.to_owned(), detail_type: detail_type.to_owned(), time, detail }
    }

    #[test]
    fn the_seeds_event_types_start_their_workflows() {
        for (detail_type, expected) in [
            ("document_created", WorkflowType::DocumentReview),
            ("email_received", WorkflowType::EmailProcessing),
            ("task_assigned", WorkflowType::TaskAutomation),
        ] {
            let meaning = read(&envelope("crm", detail_type, json!({"id": "7"}))).unwrap();
            assert!(matches!(meaning, Meaning::Start { workflow, .. } if workflow == expected));
            let inside = json!({"type": detail_type, "data": {"id": "7"}});
            let meaning = read(&envelope("crm", "anything", inside)).unwrap();
            assert!(matches!(meaning, Meaning::Start { workflow, .. } if workflow == expected));
        }
    }

    #[test]
    fn a_cloud_event_published_twice_is_one_run() {
        let detail = json!({"specversion": "1.0", "id": "42", "source": "/crm", "type": "task_assigned",
            "time": "2026-01-01T00:00:00Z", "data": {"id": "t"}});
        let first = envelope("bridge", "CloudEvent", detail.clone());
        let second = Envelope { id: "other".to_owned(), ..envelope("bridge", "CloudEvent", detail) };
        assert_eq!(read(&first).unwrap(), read(&second).unwrap());
    }

    #[test]
    fn an_unknown_event_is_left_alone_and_a_broken_one_is_named() {
        assert_eq!(read(&envelope("crm", "contact_created", json!({"id": 1}))).unwrap(), Meaning::Unknown);
        assert_eq!(read(&envelope("crm", "x", json!({"type": "contact_created"}))).unwrap(), Meaning::Unknown);
        let problem = |source, kind, detail| read(&envelope(source, kind, detail)).unwrap_err().to_string();
        assert!(problem("crm", "x", json!({"type": "task_assigned"})).contains("`detail.data`"));
        assert!(problem("aws.s3", "Object Created", json!({"bucket": {}})).contains("`detail.bucket"));
        assert!(
            problem("crm", "x", json!({"specversion": "1.0", "type": "task_assigned", "data": {}}))
                .contains("CloudEvent")
        );
    }

    #[test]
    fn only_a_permanent_bounce_makes_an_address_unreachable() {
        let event = |kind: &str| {
            json!({"eventType": "Bounce", "mail": {"messageId": "m", "tags": {"step": ["send_response"]}},
                "bounce": {"bounceType": kind, "bouncedRecipients": [{"emailAddress": "a@b.example"}]}})
        };
        let unreachable = |kind| match read(&envelope("aws.ses", "Email Bounced", event(kind))).unwrap() {
            Meaning::Mail(mail) => mail.unreachable,
            other => panic!("{other:?}"),
        };
        assert_eq!(unreachable("Permanent"), ["a@b.example"]);
        assert!(unreachable("Transient").is_empty());
    }
}
