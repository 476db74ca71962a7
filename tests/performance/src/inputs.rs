use std::{fs, path::Path};

use ihelper_bench::workloads;
use ihelper_workflow::domain::{WorkflowType, input};
use serde_json::Value;

/// The name of what is worked on when nobody says otherwise.
const SAMPLE: &str = "sample";

/// What the runs of a measurement work on.
#[derive(Clone, Debug, PartialEq)]
pub struct Input {
    /// `sample`, or the name of its file.
    pub name: String,
    /// The same by its content.
    pub hash: String,
    workflow: WorkflowType,
    data: Value,
}

impl Input {
    /// The typical input of a workflow, the one that its costs are measured with.
    pub fn sample(workflow: WorkflowType) -> Self {
        Self::new(SAMPLE.to_owned(), workflow, workloads::data(workflow))
    }

    /// What a file says.
    ///
    /// # Errors
    /// This returns an error that names the option and the file when that cannot be read, or is no data of the workflow.
    pub fn read(workflow: WorkflowType, path: &Path) -> Result<Self, String> {
        let named = |problem: String| format!("INPUT (--input): {}: {problem}", path.display());
        let text = fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
        let data: Value = serde_json::from_str(&text).map_err(|error| named(format!("is no JSON: {error}")))?;
        if !data.is_object() {
            return Err(named("is no object of JSON: it is the `data` of a run".to_owned()));
        }
        let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.display().to_string());
        let input = Self::new(name, workflow, data);
        input::parse(workflow, input.of_run("check", 0)).map_err(|invalid| named(invalid.to_string()))?;
        Ok(input)
    }

    fn new(name: String, workflow: WorkflowType, data: Value) -> Self {
        let hash = blake3::hash(data.to_string().as_bytes()).to_hex()[..16].to_owned();
        Self { name, hash, workflow, data }
    }

    /// Whether it is the one that costs are measured with.
    pub fn is_typical(&self) -> bool {
        self.hash == Self::sample(self.workflow).hash
    }

    /// The data of one run: with an id of its own, so that no stored result answers it, and an email with a sender of its
    /// own, since one sender is answered once. What a raw message or a stored one says of its sender stays.
    pub fn of_run(&self, measurement: &str, number: u32) -> Value {
        let mut data = self.data.clone();
        data["id"] = Value::String(format!("perf-{measurement}-{number}"));
        if self.workflow == WorkflowType::EmailProcessing
            && let Some(Value::String(from)) = data.get_mut("from")
        {
            *from = own_sender(from, &format!("{measurement}-{number}"));
        }
        data
    }
}

/// An address at the same domain that nobody else writes from. What stands behind a `+` is no difference to a mailbox, so
/// it goes.
fn own_sender(from: &str, mark: &str) -> String {
    let Some((before, domain)) = from.rsplit_once('@') else { return from.to_owned() };
    let begin = before.rfind([' ', '<', '"']).map_or(0, |place| place + 1);
    let (display, local) = before.split_at(begin);
    let bare = local.split_once('+').map_or(local, |(bare, _)| bare);
    // A local part has 64 characters at most.
    let kept: String = bare.chars().take(24).collect();
    format!("{display}{kept}-{mark}@{domain}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_run_has_an_id_and_a_sender_of_its_own_and_is_else_the_same() {
        for workflow in WorkflowType::ALL {
            let input = Input::sample(workflow);
            let runs: Vec<Value> = (0..100).map(|number| input.of_run("m", number)).collect();
            let ids: BTreeSet<&str> = runs.iter().filter_map(|data| data["id"].as_str()).collect();
            assert_eq!(ids.len(), 100);
            if workflow == WorkflowType::EmailProcessing {
                let senders: BTreeSet<&str> = runs.iter().filter_map(|data| data["from"].as_str()).collect();
                assert_eq!(senders.len(), 100);
                assert!(senders.iter().all(|sender| sender.ends_with("@customer.example")), "{senders:?}");
            }
            for mut data in runs {
                input::parse(workflow, data.clone()).unwrap();
                for (name, value) in workloads::data(workflow).as_object().unwrap() {
                    if name == "id" || name == "from" {
                        data[name] = value.clone();
                    }
                }
                assert_eq!(data, workloads::data(workflow));
            }
            assert!(input.is_typical());
        }
    }

    #[test]
    fn a_sender_is_another_mailbox_at_the_same_domain_under_the_same_name() {
        assert_eq!(own_sender("ada@one.example", "m-1"), "ada-m-1@one.example");
        assert_eq!(own_sender("ada+list@one.example", "m-1"), "ada-m-1@one.example");
        assert_eq!(own_sender("Ada L. <ada@one.example>", "m-1"), "Ada L. <ada-m-1@one.example>");
        assert_eq!(own_sender("nobody", "m-1"), "nobody");
        let long = own_sender(&format!("{}@one.example", "a".repeat(64)), "6566a1b2c3d4e-100000");
        assert!(long.split_once('@').unwrap().0.len() <= 64, "{long}");
    }
}
