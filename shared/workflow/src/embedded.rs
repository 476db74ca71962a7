//! What is built into every function: `infra/workflow_config.yaml` and version 1 of each definition.

use crate::{
    domain::{configuration::Configuration, definition::Definition},
    engine::Definitions,
};

// The build makes JSON of the YAML: it is read at each start of each function.
const CONFIGURATION: &str = include_str!(concat!(env!("OUT_DIR"), "/workflow_config.json"));
const DEFINITIONS: [&str; 3] = [
    include_str!(concat!(env!("OUT_DIR"), "/email_processing.json")),
    include_str!(concat!(env!("OUT_DIR"), "/document_review.json")),
    include_str!(concat!(env!("OUT_DIR"), "/task_automation.json")),
];

/// The configuration.
///
/// # Errors
/// This returns an error that lists every mistake in the file. A test holds the committed file to none.
pub fn configuration() -> Result<Configuration, crate::domain::configuration::Invalid> {
    Configuration::parse_json(CONFIGURATION)
}

/// The definitions.
///
/// # Errors
/// This returns an error that names the place of a mistake. A test holds the committed files to none.
pub fn definitions() -> Result<Vec<Definition>, crate::domain::Failure> {
    DEFINITIONS.into_iter().map(Definition::parse_json).collect()
}

/// The definitions, ready for a worker.
///
/// # Errors
/// As [`definitions`].
pub fn known_definitions() -> Result<Definitions, crate::domain::Failure> {
    Ok(Definitions::new(definitions()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::WorkflowType;

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
        }
    }
}
