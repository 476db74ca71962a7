//! The spans of a run: what a trace shows of it, and that no words of the run are in it.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use ihelper_runtime::telemetry::{self, Parent};
use ihelper_testkit::memory::MemoryBudgets;
use ihelper_workflow::domain::configuration::BudgetSettings;
use serde_json::json;
use tracing::{
    Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id},
};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt as _},
    registry::LookupSpan,
};

use super::assistant::{assistant_on, sensible};

/// Spans, each as the way to it from the outermost, and all that was said in them.
#[derive(Clone, Default)]
struct Noted(Arc<Mutex<(Vec<String>, String)>>);

struct Words<'a>(&'a mut String);

impl Visit for Words<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push_str(&format!("{field}={value:?}\n"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Noted {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut noted = self.0.lock().unwrap();
        attributes.record(&mut Words(&mut noted.1));
        let scope = context.span_scope(id).unwrap().from_root().map(|span| span.name()).collect::<Vec<_>>();
        noted.0.push(scope.join("/"));
    }
}

#[tokio::test]
async fn a_call_to_a_model_is_within_its_step_within_its_attempt_within_what_asked_for_it() {
    let noted = Noted::default();
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(noted.clone()));
    let clock = ihelper_testkit::memory::VirtualClock::default();
    let assistant = assistant_on(&clock, sensible(), &MemoryBudgets::new(), BudgetSettings::default());
    let definitions = ihelper_workflow::embedded::definitions().unwrap();
    let tester = ihelper_testkit::WorkflowTester::on_clock(clock, definitions, Arc::new(assistant));
    let data = json!({"id": "e1", "from": "ada@customer.example", "subject": "Hours", "content": "When are you open?"});

    let parent = Parent::of_traceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
    let work = tester.execute_workflow("email_processing", data);
    telemetry::at_work(tracing::debug_span!("message"), parent, work).await.unwrap();

    let (spans, words) = noted.0.lock().unwrap().clone();
    let models = spans.iter().filter(|way| way.ends_with("message/attempt/step/model")).count();
    assert_eq!(models, 2, "{spans:#?}");
    for name in ["analyze_email", "generate_response", "send_response", "update_email_tracking", "chat "] {
        assert!(words.contains(name), "{name}: {words}");
    }
    for word in ["ada@", "Hours", "open"] {
        assert!(!words.contains(word), "{words}");
    }
}
