//! Log lines as JSON, one per line, as CloudWatch reads them.

use ihelper_workflow::domain::Kind;
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use super::Spans;

// At `trace` the Lambda crates write whole events, tokens included.
const WHOLE_EVENTS: &str = "lambda_runtime=info,lambda_http=info,aws_sdk=info";
// What a server says would stand in its lines from `info` on; what failed, our own failures say.
const WORDS_OF_SERVERS: &str = "rmcp=off";

/// Starts logging to standard output from this level on, and recording spans, where somebody wants them.
///
/// A second call in one process changes nothing.
pub(super) fn start(level: &str, spans: Option<&Spans>) {
    // The HTTP stack speaks of each connection at `debug`; that is for its own developers.
    let filter = EnvFilter::try_new(format!(
        "{level},hyper=warn,hyper_util=warn,h2=warn,rustls=warn,aws_smithy=warn,{WHOLE_EVENTS},\
         {WORDS_OF_SERVERS}"
    ))
    .unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer()
        .json()
        .with_current_span(true)
        .with_span_list(false)
        .with_target(true)
        .flatten_event(true);
    // It fails only when logging was started before, as in tests.
    let _ = match spans {
        // The filter of all: a span that no line shows is never made.
        None => tracing_subscriber::registry().with(lines).with(filter).try_init(),
        Some(spans) => tracing_subscriber::registry().with(lines.with_filter(filter)).with(spans.layer()).try_init(),
    };
}

/// What a log may say of a failure. What is wrong with something that was sent may repeat its words: whoever sent it is told,
/// and its dead letter says it.
pub fn message_of(kind: Kind, message: &str) -> &str {
    if kind == Kind::Validation { "what was sent is not valid" } else { message }
}

/// A name that a producer chose, such as an event's type, where it looks like a name.
pub fn name_of(text: &str) -> &str {
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || "._-/: ".contains(letter);
    if text.len() <= 64 && text.chars().all(is_name) { text } else { "[no name]" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_repeat_the_words_of_others_is_left_out() {
        assert_eq!(message_of(Kind::Validation, "unknown type `Ann`"), "what was sent is not valid");
        assert_eq!(message_of(Kind::Timeout, "no answer in time"), "no answer in time");
        assert_eq!(name_of("order.placed v1"), "order.placed v1");
        for text in ["ann@example.com", "{\"a\": 1}", &"x".repeat(65)] {
            assert_eq!(name_of(text), "[no name]");
        }
    }
}
