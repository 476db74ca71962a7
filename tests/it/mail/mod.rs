//! Mail as a company gets it: forged, hostile, from machines, with files, and with people who look at what is answered.

mod answers;
mod attachments;
mod injection;
mod loops;
mod review;
mod verdicts;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ihelper_testkit::WorkflowTester;
use ihelper_workflow::{
    domain::{WorkflowType, definition::Definition},
    embedded,
};
use serde_json::{Value, json};

/// The data of a run on a whole message.
fn raw(id: &str, message: impl AsRef<[u8]>) -> Value {
    json!({"id": id, "raw": STANDARD.encode(message)})
}

/// The embedded definitions, with this in the one of `email_processing`.
fn definitions_with(change: impl FnOnce(&mut Definition)) -> Vec<Definition> {
    let mut definitions = embedded::definitions().unwrap();
    let of_mail = definitions.iter_mut().find(|definition| definition.workflow == WorkflowType::EmailProcessing);
    change(of_mail.unwrap());
    definitions
}

/// A tester whose definition of `email_processing` has these settings (`review`, `attachments`, `verdicts`).
fn tester_with(settings: &str) -> WorkflowTester {
    let parsed = Definition::parse(&format!("workflow: email_processing\nversion: 1\n{settings}")).unwrap();
    WorkflowTester::with_definitions(definitions_with(|definition| {
        definition.review = parsed.review;
        definition.attachments = parsed.attachments;
        definition.verdicts = parsed.verdicts;
    }))
}

async fn processed(tester: &WorkflowTester, data: Value) -> Value {
    tester.execute_workflow("email_processing", data).await.unwrap()
}
