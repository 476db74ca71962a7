//! The typical input of each workflow: one as many send it, not the smallest that works.

use ihelper_workflow::{
    domain::{
        WorkflowType,
        definition::Definition,
        input::{self, Input},
    },
    embedded,
};
use serde_json::{Value, json};

/// An email that asks two things, of some 700 characters.
pub const MAIL: &str = include_str!("../workloads/mail.txt");

/// A contract of some 4,000 characters.
pub const AGREEMENT: &str = include_str!("../workloads/agreement.txt");

/// A definition of `task_automation` whose plan has four steps, one after the other.
const TASK_PLAN: &str = include_str!("../workloads/task_plan.yaml");

const TASK: &str = "Nordfjell Logistics signed on Friday and starts on 7 December. They ordered forty seats, the document \
                    review package and telephone support on working days. Their team lead is Ingrid Solheim. The first \
                    training session is on 9 December, and the first invoice goes out in January.";

/// The data of a typical run, as a producer sends it.
pub fn data(workflow: WorkflowType) -> Value {
    match workflow {
        WorkflowType::EmailProcessing => json!({
            "id": "b81f5c02-7d4e-4b8e-9d3a-5f0d2c6a9e11",
            "from": "marta.lindqvist@customer.example",
            "subject": "Re: Your order 48213: when does the replacement arrive?",
            "content": MAIL,
        }),
        WorkflowType::DocumentReview => json!({
            "id": "havenrock-services-agreement-2026-11",
            "file": { "name": "services-agreement.txt", "text": AGREEMENT },
            "review_criteria": [
                "The agreement states how either party can terminate it and with what notice period.",
                "Files are encrypted at rest.",
                "Personal data is processed under a data processing agreement.",
                "Invoices are payable within thirty days.",
                "The provider carries cyber insurance.",
            ],
        }),
        WorkflowType::TaskAutomation => json!({
            "id": "onboarding-2026-0117",
            "title": "Onboarding of Nordfjell Logistics",
            "description": TASK,
        }),
    }
}

/// The same, read.
///
/// # Panics
/// Never: a test reads each.
pub fn input(workflow: WorkflowType) -> Input {
    input::parse(workflow, data(workflow)).expect("the typical input is valid")
}

/// The embedded definitions of mail and documents, and the one of tasks with its plan.
///
/// # Panics
/// Never: a test reads each.
pub fn definitions() -> Vec<Definition> {
    let embedded = embedded::definitions().expect("the embedded definitions are valid");
    let tasks = Definition::parse(TASK_PLAN).expect("the plan is valid");
    embedded.into_iter().filter(|definition| definition.workflow != tasks.workflow).chain([tasks.clone()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_typical_inputs_are_of_the_size_that_they_are_said_to_be() {
        assert!((650..=750).contains(&MAIL.chars().count()), "{}", MAIL.chars().count());
        assert!((3_800..=4_500).contains(&AGREEMENT.len()), "{}", AGREEMENT.len());
        for workflow in WorkflowType::ALL {
            assert_eq!(input(workflow).workflow(), workflow);
        }
        let plans = definitions().into_iter().filter_map(|definition| definition.plan);
        assert_eq!(plans.map(|plan| plan.steps.len()).collect::<Vec<_>>(), [4]);
    }
}
