//! Every golden case of the embedded definitions comes out as it says, and every golden journal is written again.

mod journals;

use ihelper_testkit::WorkflowTester;
use ihelper_workflow::embedded;

#[tokio::test]
async fn every_golden_case_gives_what_its_definition_expects() {
    let mut wrong = Vec::new();
    let mut cases = 0;
    for definition in embedded::definitions().unwrap() {
        for case in &definition.golden_cases {
            cases += 1;
            let tester = WorkflowTester::new();
            let result = match tester.execute_workflow(definition.workflow.name(), case.data.clone()).await {
                Ok(result) => result,
                Err(failure) => {
                    wrong.push(format!("{} / {}: {failure}", definition.workflow, case.name));
                    continue;
                }
            };
            for (pointer, expected) in &case.expect {
                let found = result.pointer(pointer);
                if found != Some(expected) {
                    let found = found.map_or("nothing".to_owned(), ToString::to_string);
                    wrong.push(format!(
                        "{} / {}: at {pointer} expected {expected}, found {found}",
                        definition.workflow, case.name
                    ));
                }
            }
        }
    }
    assert!(cases >= 12, "only {cases} golden cases were found");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
