//! What is built into every function: `infra/workflow_config.yaml` and version 1 of each definition.

use std::sync::{Arc, LazyLock};

use crate::{
    domain::{Failure, WorkflowType, configuration::Configuration, definition::Definition},
    engine::Definitions,
};

// The build makes JSON of the YAML: it is read at each start of each function.
const CONFIGURATION: &str = include_str!(concat!(env!("OUT_DIR"), "/workflow_config.json"));
const EMAIL_PROCESSING: &str = include_str!(concat!(env!("OUT_DIR"), "/email_processing.json"));
const DOCUMENT_REVIEW: &str = include_str!(concat!(env!("OUT_DIR"), "/document_review.json"));
const TASK_AUTOMATION: &str = include_str!(concat!(env!("OUT_DIR"), "/task_automation.json"));

/// The configuration.
///
/// # Errors
/// This returns an error that lists every mistake in the file. A test holds the committed file to none.
pub fn configuration() -> Result<Configuration, crate::domain::configuration::Invalid> {
    Configuration::parse_json(CONFIGURATION)
}

/// The definition of a workflow. It is read and checked when first asked for: a function that starts needs one at the most.
///
/// # Errors
/// This returns an error that names the place of a mistake. A test holds the committed files to none.
pub fn definition(workflow: WorkflowType) -> Result<Arc<Definition>, Failure> {
    static EMAIL: Read = Read::new(|| read(EMAIL_PROCESSING));
    static DOCUMENT: Read = Read::new(|| read(DOCUMENT_REVIEW));
    static TASK: Read = Read::new(|| read(TASK_AUTOMATION));
    let definition = match workflow {
        WorkflowType::EmailProcessing => &EMAIL,
        WorkflowType::DocumentReview => &DOCUMENT,
        WorkflowType::TaskAutomation => &TASK,
    };
    LazyLock::force(definition).clone()
}

/// The number of that definition. Whoever only names it need not read it.
pub const fn version(workflow: WorkflowType) -> u32 {
    match workflow {
        WorkflowType::EmailProcessing => include!(concat!(env!("OUT_DIR"), "/email_processing.version")),
        WorkflowType::DocumentReview => include!(concat!(env!("OUT_DIR"), "/document_review.version")),
        WorkflowType::TaskAutomation => include!(concat!(env!("OUT_DIR"), "/task_automation.version")),
    }
}

type Read = LazyLock<Result<Arc<Definition>, Failure>>;

fn read(json: &str) -> Result<Arc<Definition>, Failure> {
    Ok(Arc::new(Definition::parse_json(json)?))
}

/// Every definition, in the order of [`WorkflowType::ALL`].
///
/// # Errors
/// As [`definition`].
pub fn definitions() -> Result<Vec<Definition>, Failure> {
    WorkflowType::ALL.into_iter().map(|workflow| Ok(Definition::clone(&*definition(workflow)?))).collect()
}

/// The definitions, ready for a worker.
pub const fn known_definitions() -> Definitions {
    Definitions::read_by(definition, version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_configuration_and_definitions_are_valid() {
        configuration().unwrap();
        let workflows: Vec<WorkflowType> =
            definitions().unwrap().into_iter().map(|definition| definition.workflow).collect();
        assert_eq!(workflows, WorkflowType::ALL);
    }

    #[test]
    fn what_is_embedded_says_what_the_files_say() {
        let file = |name: &str| {
            std::fs::read_to_string(format!("{}/../../infra/{name}.yaml", env!("CARGO_MANIFEST_DIR"))).unwrap()
        };
        let read = Configuration::parse(&file("workflow_config")).unwrap();
        assert_eq!(format!("{:?}", configuration().unwrap()), format!("{read:?}"));
        for definition in definitions().unwrap() {
            let name = format!("definitions/{}", definition.workflow.name());
            assert_eq!(definition, Definition::parse(&file(&name)).unwrap());
            assert_eq!(version(definition.workflow), definition.version, "{name}");
        }
    }
}
