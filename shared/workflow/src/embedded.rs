//! What is built into every function: `infra/workflow_config.yaml` and version 1 of each definition.

use crate::{
    domain::{configuration::Configuration, definition::Definition},
    engine::Definitions,
};

const CONFIGURATION: &str = include_str!("../../../infra/workflow_config.yaml");
const DEFINITIONS: [&str; 3] = [
    include_str!("../../../infra/definitions/email_processing.yaml"),
    include_str!("../../../infra/definitions/document_review.yaml"),
    include_str!("../../../infra/definitions/task_automation.yaml"),
];

/// The configuration.
///
/// # Errors
/// This returns an error that lists every mistake in the file. A test holds the committed file to none.
pub fn configuration() -> Result<Configuration, crate::domain::configuration::Invalid> {
    Configuration::parse(CONFIGURATION)
}

/// The definitions.
///
/// # Errors
/// This returns an error that names the place of a mistake. A test holds the committed files to none.
pub fn definitions() -> Result<Vec<Definition>, crate::domain::Failure> {
    DEFINITIONS.into_iter().map(Definition::parse).collect()
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
}
