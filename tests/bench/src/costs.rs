//! What one run takes of the services that bill by request: the figures of `tests/costs.json`.

use std::{collections::BTreeMap, ops::Add};

use ihelper_workflow::domain::WorkflowType;
use serde::{Deserialize, Serialize};

/// The committed figures.
const COMMITTED: &str = include_str!("../../costs.json");

/// What Lambda's poller asks of a queue for a batch of one message: a ReceiveMessage and a DeleteMessage. It also asks
/// queues that are empty, whatever runs there are; that is not counted here.
pub const POLLER_REQUESTS: u64 = 2;

/// Every workflow's figures, by its name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Costs(pub BTreeMap<String, Doors>);

/// What a typical run of one workflow takes, by the door it came through.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Doors {
    /// A message of its queue.
    pub queue: Cost,
    /// A call of the API that waits for the result, with what follows from it: the insurance message comes and finds
    /// the run ended.
    pub api: Cost,
}

/// What one run takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// The run's record, its journal, and by the API the request that led to it.
    pub engine: Units,
    /// What the workflow's own steps keep: who was answered, what was tracked.
    pub steps: Units,
    /// Requests to SQS, those of Lambda's poller included; the producer's SendMessage is not.
    pub sqs_requests: u64,
    /// What is left in the table, in KiB rounded up: items and index entries, 100 bytes for each besides its own.
    pub stored_kib: u64,
}

impl Cost {
    /// All units of the table.
    pub fn table(&self) -> Units {
        self.engine + self.steps
    }
}

/// Request units of DynamoDB, those of indexes included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Units {
    /// Write request units.
    pub write: f64,
    /// Read request units.
    pub read: f64,
}

impl Add for Units {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { write: self.write + other.write, read: self.read + other.read }
    }
}

impl Costs {
    /// The committed figures.
    ///
    /// # Errors
    /// This returns an error when the file is not of this form.
    pub fn committed() -> Result<Self, serde_json::Error> {
        serde_json::from_str(COMMITTED)
    }

    /// The figures of a workflow.
    pub fn of(&self, workflow: WorkflowType) -> Option<&Doors> {
        self.0.get(workflow.name())
    }

    /// Each figure by its place, `email_processing/queue/engine/write`.
    ///
    /// # Panics
    /// Never: figures are numbers.
    pub fn figures(&self) -> BTreeMap<String, f64> {
        let mut figures = BTreeMap::new();
        let tree = serde_json::to_value(self).expect("figures are numbers");
        collect("", &tree, &mut figures);
        figures
    }
}

fn collect(place: &str, value: &serde_json::Value, figures: &mut BTreeMap<String, f64>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (name, field) in fields {
                let place = if place.is_empty() { name.clone() } else { format!("{place}/{name}") };
                collect(&place, field, figures);
            }
        }
        _ => drop(figures.insert(place.to_owned(), value.as_f64().unwrap_or_default())),
    }
}

/// Where two sets of figures differ, a line each; nothing when they are the same.
pub fn differences(committed: &Costs, measured: &Costs) -> Vec<String> {
    let (committed, measured) = (committed.figures(), measured.figures());
    let places: std::collections::BTreeSet<&String> = committed.keys().chain(measured.keys()).collect();
    let shown = |figure: Option<&f64>| figure.map_or("nothing".to_owned(), f64::to_string);
    places
        .into_iter()
        .filter(|place| committed.get(*place) != measured.get(*place))
        .map(|place| {
            let (committed, measured) = (committed.get(place), measured.get(place));
            let change = match (committed, measured) {
                (Some(committed), Some(measured)) => format!(" ({:+})", measured - committed),
                _ => String::new(),
            };
            format!("{place}: committed {}, measured {}{change}", shown(committed), shown(measured))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(write: f64) -> Costs {
        let cost = Cost { engine: Units { write, read: 0.5 }, ..Cost::default() };
        Costs(BTreeMap::from([("email_processing".to_owned(), Doors { queue: cost, api: cost })]))
    }

    #[test]
    fn units_of_the_engine_and_of_the_steps_add_up() {
        let cost =
            Cost { engine: Units { write: 6.0, read: 0.5 }, steps: Units { write: 2.0, read: 1.0 }, ..Cost::default() };
        assert_eq!(cost.table(), Units { write: 8.0, read: 1.5 });
    }

    #[test]
    fn a_figure_that_changed_is_told_by_its_place_and_by_how_much() {
        assert_eq!(differences(&costs(6.0), &costs(6.0)), Vec::<String>::new());
        assert_eq!(
            differences(&costs(6.0), &costs(7.0)),
            [
                "email_processing/api/engine/write: committed 6, measured 7 (+1)",
                "email_processing/queue/engine/write: committed 6, measured 7 (+1)",
            ]
        );
        let told = differences(&costs(6.0), &Costs::default());
        assert!(told[0].ends_with("committed 0.5, measured nothing"), "{told:?}");
    }

    #[test]
    fn the_committed_figures_are_those_of_every_workflow() {
        let committed = Costs::committed().unwrap();
        assert!(WorkflowType::ALL.into_iter().all(|workflow| committed.of(workflow).is_some()));
        assert_eq!(committed.0.len(), WorkflowType::ALL.len());
    }
}
