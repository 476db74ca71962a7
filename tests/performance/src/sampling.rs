//! Samples for tests.

use ihelper_workflow::domain::{WorkflowType, run::Usage};
use jiff::Timestamp;

use crate::{
    Analysis, Comparison, Figure, Footprint, Machine, Measurement, Mode, Outcome, Sample, Settings, Versions,
    cost::Cost,
};

/// A run that succeeded.
pub(crate) fn good_sample(number: u32, execution_ms: f64) -> Sample {
    Sample {
        number,
        started_ms: f64::from(number) * 10.0,
        execution_ms,
        outcome: Outcome::Succeeded,
        http_status: Some(200),
        problem: None,
        detail: None,
        throttled: 0,
        run_id: Some("01KDVQKM008G00BTEP6XQ3Q84M".to_owned()),
        attempts: Some(1),
        usage: Some(Usage { api_calls: 2, ..Usage::default() }),
        footprint: Some(Footprint {
            store_calls: Some(9),
            working_ms: Some(12),
            peak_memory_bytes: Some(30 * 1_048_576 + u64::from(number) * 4096),
        }),
        cost: Some(Cost { compute: 0.16, requests: 0.2, store: 6.9, queue: 1.6, models: 0.0 }),
        unread: None,
    }
}

/// A run that failed.
pub(crate) fn bad_sample(number: u32, outcome: Outcome, http_status: Option<u16>, problem: &str) -> Sample {
    Sample { outcome, http_status, problem: Some(problem.to_owned()), ..good_sample(number, 1e6) }
}

/// A measurement with these runs.
pub(crate) fn measurement(samples: Vec<Sample>) -> Measurement {
    Measurement {
        workflow: WorkflowType::EmailProcessing,
        begun_at: Timestamp::UNIX_EPOCH,
        took_ms: 2_000.0,
        settings: Settings {
            mode: Mode::Sync,
            runs: u32::try_from(samples.len()).unwrap(),
            concurrency: 8,
            warmup: 8,
            input: "sample".to_owned(),
            input_hash: "0011223344556677".to_owned(),
            target: "local".to_owned(),
            memory_mib: 1024,
            patience_seconds: 120,
        },
        versions: Versions { analyzer: "0.1.0".to_owned(), source: Some("abc1234+".to_owned()) },
        machine: Machine {
            processor: Some("Some processor".to_owned()),
            processors: 2,
            memory_bytes: Some(8 << 30),
            system: "linux x86_64".to_owned(),
            load_before: Some(0.5),
            load_after: Some(1.5),
        },
        control_ms: Vec::new(),
        samples,
    }
}

/// Good runs whose times go up and down between 20 and 30 ms, some of them much longer.
pub(crate) fn typical(runs: u32, factor: f64) -> Measurement {
    let time = |number: u32| {
        let base = 20.0 + f64::from(number * 7 % 11);
        factor * if number % 25 == 24 { base * 3.0 } else { base }
    };
    measurement((0..runs).map(|number| good_sample(number, time(number))).collect())
}

/// A measurement with what it comes to.
pub(crate) fn analysis(measurement: Measurement, baseline: Option<&Measurement>) -> Analysis {
    let comparison = Comparison::between(baseline, &measurement, 5);
    Analysis { figures: Figure::all(&measurement), comparison, measurement }
}
