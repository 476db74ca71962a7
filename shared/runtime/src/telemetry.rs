//! Log lines as JSON, one per line, as CloudWatch reads them.

use tracing_subscriber::EnvFilter;

// At `trace` the Lambda crates write whole events, tokens included.
const WHOLE_EVENTS: &str = "lambda_runtime=info,lambda_http=info,aws_sdk=info";
// What a server says would stand in its lines from `info` on; what failed, our own failures say.
const WORDS_OF_SERVERS: &str = "rmcp=off";

/// Starts logging to standard output, from the level in `LOG_LEVEL` (`info` unless set).
///
/// A function calls this once, first thing. A second call changes nothing.
pub fn start() {
    let level = std::env::var("LOG_LEVEL").unwrap_or_default();
    let level = if level.is_empty() { "info".to_owned() } else { level };
    // The HTTP stack speaks of each connection at `debug`; that is for its own developers.
    let filter = EnvFilter::try_new(format!(
        "{level},hyper=warn,hyper_util=warn,h2=warn,rustls=warn,aws_smithy=warn,{WHOLE_EVENTS},\
         {WORDS_OF_SERVERS}"
    ))
    .unwrap_or_else(|_| EnvFilter::new("info"));
    // It fails only when logging was started before, as in tests.
    let _ = tracing_subscriber::fmt()
        .json()
        .with_env_filter(filter)
        .with_current_span(true)
        .with_span_list(false)
        .with_target(true)
        .flatten_event(true)
        .try_init();
}
