//! Log lines as JSON, one per line, as CloudWatch reads them.

use ihelper_workflow::domain::Kind;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Layer as _, filter::Targets, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use super::Spans;

// At `trace` the Lambda crates write whole events, tokens included.
const WHOLE_EVENTS: [&str; 3] = ["lambda_runtime", "lambda_http", "aws_sdk"];
// What a server says would stand in its lines from `info` on; what failed, our own failures say.
const WORDS_OF_SERVERS: [&str; 1] = ["rmcp"];

/// Starts logging to standard output from this level on, and recording spans, where somebody wants them.
///
/// A second call in one process changes nothing.
pub(super) fn start(level: &str, spans: Option<&Spans>) {
    let filter = filter(level);
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

/// What is written from a level on. By targets alone: what could look into fields as well builds regular expressions at
/// each start.
fn filter(level: &str) -> Targets {
    let level = level.parse().unwrap_or(LevelFilter::INFO);
    // The HTTP stack speaks of each connection at `debug`; that is for its own developers.
    let stack = ["hyper", "hyper_util", "h2", "rustls", "aws_smithy"].map(|target| (target, LevelFilter::WARN));
    Targets::new()
        .with_default(level)
        .with_targets(stack)
        .with_targets(WHOLE_EVENTS.map(|target| (target, LevelFilter::INFO)))
        .with_targets(WORDS_OF_SERVERS.map(|target| (target, LevelFilter::OFF)))
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
    fn no_level_shows_whole_events_or_what_servers_say() {
        use tracing::Level;

        for level in ["error", "warn", "info", "debug", "trace", "off", "no level at all", ""] {
            let filter = filter(level);
            for (target, level) in [
                ("lambda_runtime::layers", Level::DEBUG),
                ("lambda_http", Level::TRACE),
                ("aws_sdk_dynamodb::operation", Level::DEBUG),
                ("aws_smithy_runtime::client", Level::INFO),
                ("rmcp::service", Level::ERROR),
            ] {
                assert!(!filter.would_enable(target, &level), "{target} at {level}");
            }
        }
        assert!(filter("debug").would_enable("ihelper_workflow::engine", &Level::DEBUG));
        assert!(!filter("info").would_enable("ihelper_workflow::engine", &Level::DEBUG));
        assert!(filter("no level at all").would_enable("api_process", &Level::INFO), "what is none is `info`");
        assert!(!filter("off").would_enable("api_process", &Level::ERROR));
    }

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
