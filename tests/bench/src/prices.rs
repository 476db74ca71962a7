//! What a million runs cost, from counted requests and public unit prices, beside what two services of AWS would cost
//! for the same steps.
//!
//! Where a service's way of counting leaves a choice, the choice that is cheaper for it is taken.
//!
//! Left out on all sides: Lambda's own requests and compute, API Gateway, the model, SES, EventBridge, logs, free
//! tiers, and the producer's SendMessage.

use ihelper_workflow::{
    domain::{
        WorkflowType,
        run::{StepRecord, StepState},
    },
    ports::Journal as _,
};
use serde::Serialize;

use crate::{
    costs::{Cost, POLLER_REQUESTS},
    stage::{Pace, Stage, succeeded},
};

/// A price as it is published, for us-east-1, in US dollars, without free tiers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct UnitPrice {
    /// What is priced.
    pub of: &'static str,
    /// The price of `per` of them, in dollars.
    pub dollars: f64,
    /// How many that price is for.
    pub per: f64,
    /// Where the price is published.
    pub source: &'static str,
    /// How it was confirmed, and when.
    pub confirmed: &'static str,
}

const MILLION: f64 = 1e6;

/// A unit written to the table.
pub const WRITE: UnitPrice = UnitPrice {
    of: "DynamoDB write request unit, on demand",
    dollars: 0.625,
    per: MILLION,
    source: "https://aws.amazon.com/dynamodb/pricing/on-demand/",
    confirmed: "2026-11-24, by https://airbyte.com/data-engineering-resources/dynamodb-pricing",
};
/// A unit read from it.
pub const READ: UnitPrice = UnitPrice {
    of: "DynamoDB read request unit, on demand",
    dollars: 0.125,
    per: MILLION,
    source: "https://aws.amazon.com/dynamodb/pricing/on-demand/",
    confirmed: "2026-11-24, by https://airbyte.com/data-engineering-resources/dynamodb-pricing",
};
const STORAGE: UnitPrice = UnitPrice {
    of: "DynamoDB storage, GB and month",
    dollars: 0.25,
    per: 1.0,
    source: "https://aws.amazon.com/dynamodb/pricing/on-demand/",
    confirmed: "2026-11-24, by a stored copy of https://aws.amazon.com/dynamodb/pricing/",
};
const RECOVERY: UnitPrice = UnitPrice {
    of: "DynamoDB point-in-time recovery, GB and month",
    dollars: 0.20,
    per: 1.0,
    source: "https://aws.amazon.com/dynamodb/pricing/on-demand/",
    confirmed: "as published, not verified here",
};
/// A request to a queue.
pub const SQS: UnitPrice = UnitPrice {
    of: "SQS request, standard queue",
    dollars: 0.40,
    per: MILLION,
    source: "https://aws.amazon.com/sqs/pricing/",
    confirmed: "2026-11-24, by https://cloudburn.io/blog/amazon-sqs-pricing (March 2026)",
};
const DURABLE_OPERATION: UnitPrice = UnitPrice {
    of: "Lambda durable functions, operation",
    dollars: 8.00,
    per: MILLION,
    source: "https://aws.amazon.com/lambda/pricing/",
    confirmed: "2026-11-24, by a transcript of that page (github.com/api-evangelist/aws-lambda, read 2026-09-20)",
};
const DURABLE_WRITTEN: UnitPrice = UnitPrice {
    of: "Lambda durable functions, GB written",
    dollars: 0.25,
    per: 1.0,
    source: "https://aws.amazon.com/lambda/pricing/",
    confirmed: "as published, not verified here",
};
const DURABLE_RETAINED: UnitPrice = UnitPrice {
    of: "Lambda durable functions, GB and month retained",
    dollars: 0.15,
    per: 1.0,
    source: "https://aws.amazon.com/lambda/pricing/",
    confirmed: "as published, not verified here",
};
const STATE_TRANSITION: UnitPrice = UnitPrice {
    of: "Step Functions Standard, state transition",
    dollars: 0.025,
    per: 1000.0,
    source: "https://aws.amazon.com/step-functions/pricing/",
    confirmed: "2026-11-24, by a stored copy of that page",
};

/// Compute of a function on arm64: memory times time. It is on no bill here, where nobody's compute is.
pub const LAMBDA_COMPUTE: UnitPrice = UnitPrice {
    of: "Lambda compute on arm64, GB-second",
    dollars: 0.0000133334,
    per: 1.0,
    source: "https://aws.amazon.com/lambda/pricing/",
    confirmed: "2026-11-26, by https://cloudchipr.com/blog/aws-lambda-pricing",
};
/// A request to a function.
pub const LAMBDA_REQUEST: UnitPrice = UnitPrice {
    of: "Lambda request",
    dollars: 0.20,
    per: MILLION,
    source: "https://aws.amazon.com/lambda/pricing/",
    confirmed: "2026-11-26, by a transcript of that page (github.com/api-evangelist/aws-lambda, read 2026-09-20), which tells \
                it of managed instances",
};

/// Every unit price that is used.
pub const UNIT_PRICES: [UnitPrice; 11] = [
    WRITE,
    READ,
    STORAGE,
    RECOVERY,
    SQS,
    DURABLE_OPERATION,
    DURABLE_WRITTEN,
    DURABLE_RETAINED,
    STATE_TRANSITION,
    LAMBDA_COMPUTE,
    LAMBDA_REQUEST,
];

/// How long runs are kept, on all sides: the 90 days that the table keeps them, and the longest that durable functions
/// and Step Functions do.
const MONTHS_KEPT: f64 = 3.0;

/// How many runs a bill is for.
pub const RUNS: f64 = MILLION;

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// What a service that keeps the steps itself would be asked to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// Steps, effects included.
    pub steps: u32,
    /// Bytes of the input, of each step's result and of the run's, as JSON.
    pub payload_bytes: usize,
}

impl Facts {
    /// Those of a workflow's typical run, by running it.
    ///
    /// # Errors
    /// This returns an error when the run does not succeed.
    pub async fn of(workflow: WorkflowType) -> Result<Self, String> {
        let stage = Stage::new(Pace::default());
        let worker = stage.worker(stage.workflow(workflow));
        let (id, outcome) = stage.start(&worker, workflow).await.map_err(|failure| failure.to_string())?;
        let run = succeeded(outcome)?;
        let found = stage.memory.find(id).await.map_err(|failure| failure.to_string())?;
        let steps: Vec<StepRecord> = found.map(|(_, steps)| steps).unwrap_or_default();
        let done = steps.iter().filter(|step| step.state == StepState::Done);
        let payloads = [&run.input].into_iter().chain(&run.result).chain(done.clone().map(|step| &step.output));
        Ok(Self {
            steps: u32::try_from(done.clone().count()).map_err(|error| error.to_string())?,
            payload_bytes: payloads.map(|payload| payload.to_string().len()).sum(),
        })
    }
}

/// A line of a bill.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Line {
    /// What is counted, and why so many.
    pub what: String,
    /// How many of the price's units one run takes.
    pub per_run: f64,
    /// What they are priced by.
    pub price: UnitPrice,
}

impl Line {
    /// Dollars for a million runs.
    pub fn dollars(&self) -> f64 {
        self.per_run * RUNS / self.price.per * self.price.dollars
    }
}

/// What a million runs of one workflow cost on one side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Bill {
    /// The side.
    pub side: &'static str,
    /// Its lines.
    pub lines: Vec<Line>,
}

impl Bill {
    /// Dollars for a million runs.
    pub fn dollars(&self) -> f64 {
        self.lines.iter().map(Line::dollars).sum()
    }
}

fn line(what: impl Into<String>, per_run: f64, price: UnitPrice) -> Line {
    Line { what: what.into(), per_run, price }
}

/// What the steps' own requests cost: the same on all sides, since they would make them wherever they ran.
fn own_requests(cost: &Cost) -> [Line; 2] {
    [
        line("the steps' own writes: who was answered, what was tracked", cost.steps.write, WRITE),
        line("the steps' own reads", cost.steps.read, READ),
    ]
}

/// The bill of this engine.
pub fn ours(side: &'static str, cost: &Cost) -> Bill {
    let kept = cost.stored_kib as f64 * 1024.0 / GIB * MONTHS_KEPT;
    let mut lines = vec![
        line("writes of the run and its journal", cost.engine.write, WRITE),
        line("reads of the run and its journal", cost.engine.read, READ),
    ];
    lines.extend(own_requests(cost));
    lines.push(line("queue: Lambda's poller and the engine", cost.sqs_requests as f64, SQS));
    lines.push(line("all of it kept for 90 days", kept, STORAGE));
    lines.push(line("and recoverable", kept, RECOVERY));
    without_nothing(side, lines)
}

/// The bill of Lambda durable functions behind the same queue.
///
/// An operation is the start of an execution and each step; the context of each parallel branch, which is one too, is
/// not counted.
pub fn durable_functions(facts: &Facts, cost: &Cost) -> Bill {
    let written = facts.payload_bytes as f64 / GIB;
    let operations = f64::from(facts.steps + 1);
    let mut lines = vec![
        line(format!("operations: 1 start + {} steps", facts.steps), operations, DURABLE_OPERATION),
        line("data written: input, results of steps, result", written, DURABLE_WRITTEN),
        line("the same retained for 90 days", written * MONTHS_KEPT, DURABLE_RETAINED),
    ];
    lines.extend(own_requests(cost));
    lines.push(line("queue: Lambda's poller", POLLER_REQUESTS as f64, SQS));
    without_nothing("Lambda durable functions", lines)
}

/// The bill of Step Functions Standard, started directly.
///
/// A step is one state. Choices, the map of parallel branches and the end, which are transitions too, are not counted;
/// histories are kept for 90 days at no charge.
pub fn step_functions(facts: &Facts, cost: &Cost) -> Bill {
    let steps = facts.steps;
    let mut lines = vec![line(format!("state transitions: {steps} steps"), f64::from(steps), STATE_TRANSITION)];
    lines.extend(own_requests(cost));
    without_nothing("Step Functions Standard", lines)
}

fn without_nothing(side: &'static str, mut lines: Vec<Line>) -> Bill {
    lines.retain(|line| line.per_run > 0.0);
    Bill { side, lines }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::costs::Units;

    fn cost() -> Cost {
        Cost {
            engine: Units { write: 6.0, read: 0.0 },
            steps: Units { write: 2.0, read: 1.0 },
            sqs_requests: 3,
            stored_kib: 4,
        }
    }

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-9
    }

    #[test]
    fn our_bill_is_units_times_prices() {
        let bill = ours("ours", &cost());
        let gigabyte_months = 4.0 / 1024.0 / 1024.0 * 1e6 * 3.0;
        let expected = 6.0 * 0.625 + 2.0 * 0.625 + 0.125 + 3.0 * 0.40 + gigabyte_months * 0.45;
        assert!(close(bill.dollars(), expected), "{} is not {expected}", bill.dollars());
        assert_eq!(bill.lines.len(), 6, "what nothing is taken of is no line");
    }

    #[test]
    fn durable_functions_are_billed_by_operation_and_byte() {
        let facts = Facts { steps: 5, payload_bytes: 1024 * 1024 };
        let bill = durable_functions(&facts, &cost());
        let gigabytes = 1e6 / 1024.0;
        let expected = 6.0 * 8.0 + gigabytes * 0.25 + gigabytes * 3.0 * 0.15 + 2.0 * 0.625 + 0.125 + 2.0 * 0.40;
        assert!(close(bill.dollars(), expected), "{} is not {expected}", bill.dollars());
    }

    #[test]
    fn step_functions_are_billed_by_transition() {
        let bill = step_functions(&Facts { steps: 5, payload_bytes: 9_999 }, &cost());
        let expected = 5.0 * 25.0 + 2.0 * 0.625 + 0.125;
        assert!(close(bill.dollars(), expected), "{} is not {expected}", bill.dollars());
    }

    #[test]
    fn every_price_names_its_source_and_is_listed_once() {
        for (index, price) in UNIT_PRICES.iter().enumerate() {
            assert!(price.source.starts_with("https://") && !price.confirmed.is_empty(), "{}", price.of);
            assert!(UNIT_PRICES[..index].iter().all(|other| other.of != price.of), "{}", price.of);
        }
        let facts = Facts { steps: 1, payload_bytes: 1 };
        let bills = [ours("ours", &cost()), durable_functions(&facts, &cost()), step_functions(&facts, &cost())];
        let mut used = bills.iter().flat_map(|bill| &bill.lines);
        assert!(used.all(|line| UNIT_PRICES.contains(&line.price)));
    }

    #[tokio::test]
    async fn the_typical_runs_have_the_steps_that_they_are_compared_by() {
        let mut steps = Vec::new();
        for workflow in WorkflowType::ALL {
            let facts = Facts::of(workflow).await.unwrap();
            assert!(facts.payload_bytes > 1_000, "{workflow}: {facts:?}");
            steps.push(facts.steps);
        }
        assert_eq!(steps, [4, 7, 6]);
    }
}
