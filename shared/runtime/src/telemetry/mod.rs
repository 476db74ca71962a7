//! What a function tells about itself: lines, metrics and traces.
//!
//! - `lines`: log lines as JSON.
//! - `metrics`: what the monitor saw, as metrics of CloudWatch, in the log too.
//! - `traces`: spans of OpenTelemetry, where somebody wants them.
//!
//! Nothing here fails the work that it tells of, and none of it holds a body, an address, a prompt or a token.

mod embedded;
mod lines;
mod metrics;
mod traces;

use std::{future::Future, io::Write as _, sync::Arc, time::Instant};

use ihelper_adapters::work::Work;
use ihelper_workflow::ports::{Clock as _, Monitor};
use lambda_runtime::Error;
use tracing::{Instrument as _, Span};

use crate::settings::Observation;

pub use ihelper_adapters::work::TRACEPARENT;
pub use lines::{message_of, name_of};
pub use metrics::Metrics;
pub use traces::{Parent, SpanSettings, Spans, rename};

/// What one function tells about itself.
#[derive(Clone)]
pub struct Telemetry {
    metrics: Option<Arc<Metrics>>,
    spans: Option<Arc<Spans>>,
}

/// Starts telling, by the environment: `LOG_LEVEL`, `METRICS` and `TRACES_…`.
///
/// A function calls this once, first thing.
///
/// # Errors
/// This returns an error that lists what of it is wrong in the environment.
pub fn start() -> Result<Telemetry, Error> {
    let born = Instant::now();
    let observation = Observation::from_environment()?;
    let spans = observation.spans.as_ref().map(Spans::new).transpose()?.map(Arc::new);
    lines::start(&observation.log_level, spans.as_deref());
    let metrics = observation.metrics.map(|namespace| Arc::new(Metrics::new(namespace, observation.function, born)));
    Ok(Telemetry { metrics, spans })
}

impl Telemetry {
    /// Who watches the function's runs.
    pub fn monitor(&self) -> Arc<dyn Monitor> {
        match &self.metrics {
            Some(metrics) => Arc::clone(metrics) as Arc<dyn Monitor>,
            None => Arc::new(metrics::Unmeasured),
        }
    }

    /// Does the work of one invocation, and then tells what was seen: Lambda freezes the process right after it.
    pub async fn invocation<T>(&self, work: impl Future<Output = T>) -> T {
        if let Some(metrics) = &self.metrics {
            metrics.invoked();
        }
        let result = work.await;
        if let Some(metrics) = &self.metrics {
            let lines = metrics.take(ihelper_adapters::system::SystemClock.now());
            // Without anybody to read it there is nothing to be done about it.
            let _ = std::io::stdout().lock().write_all(&lines);
        }
        if let Some(spans) = &self.spans {
            spans.send().await;
        }
        result
    }
}

/// Does one call, one message or one event, under a span that goes on with the trace of who asked for it.
///
/// Without traces, whatever this work asks of others still names the trace that it came with.
pub async fn at_work<T>(span: Span, parent: Option<Parent>, work: impl Future<Output = T>) -> T {
    let here = traces::place(&span, parent.as_ref());
    Work::of(here).scope(work.instrument(span)).await
}
