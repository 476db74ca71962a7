//! What a run costs, by estimate: what its models cost by its record, and what AWS costs by arithmetic.
//!
//! - Lambda: the time that the function worked, on all of its memory, and a request; where the bundle does not tell that
//!   time, what the caller waited. A run that goes through its queue takes a second request.
//! - DynamoDB and SQS: the units and requests of `tests/costs.json`, which are measured with the same typical input. For
//!   another input each round trip to the store counts as [`UNITS_OF_A_ROUND_TRIP`] units written, unless the typical
//!   input takes more.
//!
//! Left out: API Gateway, SES, S3, EventBridge, logs and traces, storage, cold starts, the queue's polling while it is
//! empty, free tiers and discounts. Prices are those of us-east-1, compute on arm64.

use ihelper_bench::{
    costs::Costs,
    prices::{LAMBDA_COMPUTE, LAMBDA_REQUEST, READ, SQS, UnitPrice, WRITE},
};
use ihelper_workflow::domain::WorkflowType;
use serde::{Deserialize, Serialize};

use crate::{Mode, Sample};

/// What the estimate leaves out, as reports say it.
pub const LEFT_OUT: &str = "Left out: API Gateway, SES, S3, EventBridge, logs and traces, storage, cold starts, polling of \
                            empty queues, free tiers. Prices of us-east-1, compute on arm64.";

/// What a round trip to the store is taken for, when nothing better is known: a write of a record of one unit, and of its
/// entry in an index.
pub const UNITS_OF_A_ROUND_TRIP: f64 = 2.0;

/// The functions' memory in the template, in MiB.
const API_MEMORY: u32 = 1024;
const DOCUMENT_MEMORY: u32 = 1024;
const OTHER_MEMORY: u32 = 512;

/// What a run costs, in millionths of a dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Models, by the run's record.
    pub models: f64,
    /// Lambda's compute.
    pub compute: f64,
    /// Lambda's requests.
    pub requests: f64,
    /// DynamoDB's request units.
    pub store: f64,
    /// SQS's requests.
    pub queue: f64,
}

impl Cost {
    /// All of it.
    pub fn microdollars(&self) -> f64 {
        self.models + self.compute + self.requests + self.store + self.queue
    }
}

/// How costs are estimated.
#[derive(Clone, Copy, Debug)]
pub struct Estimate {
    /// The workflow.
    pub workflow: WorkflowType,
    /// How its runs are started.
    pub mode: Mode,
    /// The memory of the function that works, in MiB.
    pub memory_mib: u32,
    /// Whether the input is the one that `tests/costs.json` was measured with.
    pub is_typical_input: bool,
}

/// The memory that the template gives to the function that works, in MiB.
pub const fn memory_of(workflow: WorkflowType, mode: Mode) -> u32 {
    match (mode, workflow) {
        (Mode::Sync, _) => API_MEMORY,
        (Mode::Async, WorkflowType::DocumentReview) => DOCUMENT_MEMORY,
        (Mode::Async, WorkflowType::EmailProcessing | WorkflowType::TaskAutomation) => OTHER_MEMORY,
    }
}

impl Estimate {
    /// What a run costs; nothing where its record was not read.
    pub fn of(&self, costs: &Costs, sample: &Sample) -> Option<Cost> {
        let usage = sample.usage?;
        let footprint = sample.footprint.unwrap_or_default();
        let working_ms = footprint.working_ms.map_or(sample.execution_ms, |milliseconds| milliseconds as f64);
        // Lambda counts milliseconds that have begun, and one at least.
        let seconds = working_ms.ceil().max(1.0) / 1000.0;
        let requests = match self.mode {
            Mode::Sync => 1.0,
            Mode::Async => 2.0,
        };
        let typical = costs.of(self.workflow).map(|doors| doors.api).unwrap_or_default();
        let mut written = typical.table().write;
        if let (false, Some(calls)) = (self.is_typical_input, footprint.store_calls) {
            written = written.max(calls as f64 * UNITS_OF_A_ROUND_TRIP);
        }
        Some(Cost {
            models: usage.cost_microdollars as f64,
            compute: price(LAMBDA_COMPUTE, seconds * f64::from(self.memory_mib) / 1024.0),
            requests: price(LAMBDA_REQUEST, requests),
            store: price(WRITE, written) + price(READ, typical.table().read),
            queue: price(SQS, typical.sqs_requests as f64),
        })
    }
}

/// The price of so many, in millionths of a dollar.
fn price(of: UnitPrice, units: f64) -> f64 {
    units / of.per * of.dollars * 1e6
}

#[cfg(test)]
mod tests {
    use ihelper_workflow::domain::run::Usage;
    use serde_json::Value;

    use super::*;
    use crate::{Footprint, sampling::good_sample};

    fn estimate(is_typical_input: bool) -> Estimate {
        Estimate { workflow: WorkflowType::EmailProcessing, mode: Mode::Sync, memory_mib: 1024, is_typical_input }
    }

    fn sample(working_ms: Option<u64>, store_calls: Option<u64>) -> Sample {
        Sample {
            usage: Some(Usage { cost_microdollars: 700, ..Usage::default() }),
            footprint: Some(Footprint { store_calls, working_ms, peak_memory_bytes: None }),
            ..good_sample(0, 50.0)
        }
    }

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-9
    }

    #[test]
    fn a_run_costs_its_models_its_time_on_the_memory_and_its_requests() {
        let costs = Costs::committed().unwrap();
        let units = costs.of(WorkflowType::EmailProcessing).unwrap().api;
        let cost = estimate(true).of(&costs, &sample(Some(12), None)).unwrap();
        assert!(close(cost.models, 700.0));
        assert!(close(cost.compute, 0.012 * 13.3334), "{}", cost.compute);
        assert!(close(cost.requests, 0.2));
        assert!(close(cost.store, units.table().write * 0.625 + units.table().read * 0.125), "{}", cost.store);
        assert!(close(cost.queue, units.sqs_requests as f64 * 0.4));
        let sum = cost.models + cost.compute + cost.requests + cost.store + cost.queue;
        assert!(close(cost.microdollars(), sum));
    }

    #[test]
    fn where_no_working_time_is_told_the_callers_counts() {
        let costs = Costs::default();
        assert!(close(estimate(true).of(&costs, &sample(None, None)).unwrap().compute, 0.050 * 13.3334));
        let unread = Sample { usage: None, ..good_sample(0, 50.0) };
        assert_eq!(estimate(true).of(&costs, &unread), None);
    }

    #[test]
    fn another_input_is_counted_by_its_round_trips_unless_the_typical_one_takes_more() {
        let costs = Costs::committed().unwrap();
        let of = |is_typical, calls| estimate(is_typical).of(&costs, &sample(Some(1), Some(calls))).unwrap().store;
        assert!(close(of(true, 1_000), of(true, 1)));
        assert!(close(of(false, 1), of(true, 1)));
        let read = costs.of(WorkflowType::EmailProcessing).unwrap().api.table().read * 0.125;
        assert!(close(of(false, 1_000), 2_000.0 * 0.625 + read), "{}", of(false, 1_000));
    }

    #[test]
    fn the_memory_of_functions_is_that_of_the_template() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../template.yaml");
        let template: Value = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let memory = |function: &str| {
            let own = template.pointer(&format!("/Resources/{function}/Properties/MemorySize"));
            let shared = template.pointer("/Globals/Function/MemorySize");
            own.or(shared).and_then(Value::as_u64).unwrap_or_else(|| panic!("{function} has no memory"))
        };
        for workflow in WorkflowType::ALL {
            assert_eq!(u64::from(memory_of(workflow, Mode::Sync)), memory("ApiProcessFunction"));
            let consumer = match workflow {
                WorkflowType::EmailProcessing => "EmailConsumerFunction",
                WorkflowType::DocumentReview => "DocumentConsumerFunction",
                WorkflowType::TaskAutomation => "TaskConsumerFunction",
            };
            assert_eq!(u64::from(memory_of(workflow, Mode::Async)), memory(consumer), "{workflow}");
        }
    }
}
