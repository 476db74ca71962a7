//! Spans of OpenTelemetry, for who set `TRACES_ENDPOINT`; otherwise none is ever made.
//!
//! A call, a message or an event is a span; below it are the attempt at a run, its steps, the calls to models and those
//! to AWS. Messages carry the trace on, as W3C Trace Context has it (`traceparent`), so that a call, its message and the
//! consumer's work are one trace. Who comes with none, but through X-Ray, goes on with X-Ray's.
//!
//! Spans are kept until the invocation is over and sent then, while the process is not yet frozen. What cannot be sent
//! within two seconds is given up: a trace is worth no late answer.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use ihelper_adapters::otlp::{Endpoint, Exporter, Signer};
use opentelemetry::{
    Context, KeyValue, SpanId, TraceFlags, TraceId,
    propagation::TextMapPropagator as _,
    trace::{SpanContext, TraceContextExt as _, TraceState, TracerProvider as _},
};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider, Span, SpanData, SpanExporter, SpanProcessor},
};
use tracing::{Metadata, level_filters::LevelFilter};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::{Layer, filter::filter_fn, registry::LookupSpan};

/// The most spans of one invocation: a run of ten thousand steps shall not fill the memory with them.
const MOST_SPANS: usize = 4096;

/// Which crates' spans are a trace's: our own, and one for each request of the clients of AWS.
const TOLD: [&str; 12] = [
    "api_process",
    "event_handler",
    "ihelper_adapters",
    "ihelper_runtime",
    "ihelper_workflow",
    "aws_sdk_bedrockruntime",
    "aws_sdk_dynamodb",
    "aws_sdk_eventbridge",
    "aws_sdk_s3",
    "aws_sdk_scheduler",
    "aws_sdk_sesv2",
    "aws_sdk_sqs",
];

/// Where spans go, and how many.
#[derive(Clone, Debug)]
pub struct SpanSettings {
    /// Where.
    pub endpoint: Endpoint,
    /// Who signs, where that is X-Ray.
    pub signer: Signer,
    /// The part of all traces that begin here which is recorded, 0 to 1. Who comes with a trace has decided already.
    pub share: f64,
    /// The function's name.
    pub function: String,
}

/// Where the work at hand stands in a trace that began elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Parent(SpanContext);

impl Parent {
    /// That of a `traceparent`, as HTTP and messages carry it. What is none is nobody's.
    ///
    /// <https://www.w3.org/TR/trace-context/>
    pub fn of_traceparent(text: &str) -> Option<Self> {
        let carrier = std::collections::HashMap::from([("traceparent".to_owned(), text.to_owned())]);
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier);
        let place = context.span().span_context().clone();
        place.is_valid().then_some(Self(place))
    }

    /// That of X-Ray's header: `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1`.
    ///
    /// <https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader>
    pub fn of_xray(text: &str) -> Option<Self> {
        let field = |name: &str| {
            text.split(';')
                .filter_map(|field| field.trim().split_once('='))
                .find(|(key, _)| *key == name)
                .map(|(_, it)| it)
        };
        let (time, random) = field("Root")?.strip_prefix("1-")?.split_once('-')?;
        let trace = TraceId::from_hex(&format!("{time}{random}")).ok()?;
        let span = SpanId::from_hex(field("Parent")?).ok()?;
        let is_sampled = field("Sampled") == Some("1");
        let flags = if is_sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
        let place = SpanContext::new(trace, span, flags, true, TraceState::default());
        (place.is_valid() && time.len() == 8 && random.len() == 24).then_some(Self(place))
    }
}

/// Makes a span go on with a trace, and tells where that is, as `traceparent`: at the span, or where no span is made, at
/// its parent.
pub(super) fn place(span: &tracing::Span, parent: Option<&Parent>) -> Option<String> {
    if let Some(Parent(place)) = parent {
        // It fails where nobody makes spans.
        let _ = span.set_parent(Context::new().with_remote_span_context(place.clone()));
    }
    let context = span.context();
    let here = context.span().span_context().clone();
    let here = if here.is_valid() { here } else { parent?.0.clone() };
    Some(format!("00-{}-{}-{:02x}", here.trace_id(), here.span_id(), here.trace_flags().to_u8()))
}

/// Gives a span that is under way another name: what is asked for is known only once it is read.
pub fn rename(span: &tracing::Span, name: String) {
    span.context().span().update_name(name);
}

/// Makes spans, keeps them and sends them.
pub struct Spans {
    provider: SdkTracerProvider,
    kept: Arc<Kept>,
    exporter: Exporter,
}

impl Spans {
    /// Spans of a function.
    ///
    /// # Errors
    /// This returns an error when the endpoint's address is none.
    pub fn new(settings: &SpanSettings) -> Result<Self, String> {
        let refused = |problem: String| format!("`TRACES_ENDPOINT` {problem}");
        let mut exporter = settings.endpoint.exporter(settings.signer.clone()).map_err(refused)?;
        let resource = Resource::builder_empty()
            .with_service_name(settings.function.clone())
            .with_attributes([
                KeyValue::new("cloud.provider", "aws"),
                KeyValue::new("cloud.platform", "aws_lambda"),
                KeyValue::new("cloud.region", settings.signer.region.clone()),
                KeyValue::new("faas.name", settings.function.clone()),
            ])
            .build();
        exporter.set_resource(&resource);
        let kept = Arc::new(Kept::default());
        let provider = SdkTracerProvider::builder()
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.share))))
            .with_resource(resource)
            .with_span_processor(Keeper(Arc::clone(&kept)))
            .build();
        Ok(Self { provider, kept, exporter })
    }

    /// The part of the subscriber that makes spans of those of `tracing`.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    {
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("ihelper"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(filter_fn(is_told).with_max_level_hint(LevelFilter::DEBUG))
    }

    /// Sends what was kept.
    pub(super) async fn send(&self) {
        let Gathered { spans, dropped } = self.kept.take();
        if dropped > 0 {
            tracing::warn!(traces.dropped = dropped, "an invocation had more spans than are sent");
        }
        if spans.is_empty() {
            return;
        }
        let number = spans.len();
        // The exporter's own time ends before this; it is for what hangs all the same.
        let sent = tokio::time::timeout(Duration::from_secs(3), self.exporter.export(spans)).await;
        if !matches!(sent, Ok(Ok(()))) {
            // What the endpoint says may repeat its address, and a key with it.
            tracing::warn!(traces.lost = number, "the endpoint of traces took no spans");
        }
    }
}

impl fmt::Debug for Spans {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Spans").finish_non_exhaustive()
    }
}

/// Only spans: a line of the log is told there.
fn is_told(metadata: &Metadata<'_>) -> bool {
    let of_crate = metadata.target().split("::").next().unwrap_or_default();
    metadata.is_span() && *metadata.level() <= tracing::Level::DEBUG && TOLD.contains(&of_crate)
}

/// The spans that have ended in this invocation.
#[derive(Debug, Default)]
struct Kept(Mutex<Gathered>);

#[derive(Debug, Default)]
struct Gathered {
    spans: Vec<SpanData>,
    dropped: usize,
}

impl Kept {
    fn take(&self) -> Gathered {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[derive(Debug)]
struct Keeper(Arc<Kept>);

impl SpanProcessor for Keeper {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        let mut gathered = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if gathered.spans.len() < MOST_SPANS {
            gathered.spans.push(span);
        } else {
            gathered.dropped += 1;
        }
    }

    // `send` does, at the end of each invocation.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_that_is_none_is_nobodys() {
        assert!(Parent::of_traceparent(TRACEPARENT).is_some());
        for text in [
            "",
            "00",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\nx: y",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-é1",
            &"0".repeat(100_000),
        ] {
            assert_eq!(Parent::of_traceparent(text), None, "{text}");
        }
        for text in ["", "Root=1-5759e988-bd862e3fe1be46a994272793", "Root=1-5;Parent=5;Sampled=1", "Root=;;=;Parent"] {
            assert_eq!(Parent::of_xray(text), None, "{text}");
        }
    }

    #[test]
    fn without_spans_the_trace_is_passed_on_as_it_came() {
        let parent = Parent::of_traceparent(TRACEPARENT);
        assert_eq!(place(&tracing::Span::none(), parent.as_ref()).as_deref(), Some(TRACEPARENT));
        assert_eq!(place(&tracing::Span::none(), None), None);
        let xray = Parent::of_xray("Self=x;Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1");
        let expected = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01";
        assert_eq!(place(&tracing::Span::none(), xray.as_ref()).as_deref(), Some(expected));
    }
}
