//! The HTTP API: runs by `POST /workflow/process`, what became of them, and how people reach them.

mod accept;
mod answer;
mod body;
mod call;
mod callbacks;
mod control;
mod definitions;
mod letters;
mod page;
mod principal;
mod problem;
mod process;
mod repeats;
mod report;
mod runs;
mod uploads;
mod usage;

use std::{sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use ihelper_runtime::settings::AuthMode;
use ihelper_workflow::{
    engine::{Control, Worker},
    ports::{Clock, DeadLetters, Entropy, Journal, Queue, Requests, Uploads, UsageLedger},
    versions::Versions,
};
use serde_json::json;

pub use answer::MAX_ANSWER_BYTES;
pub use principal::Principal;
pub use problem::Problem;
pub use uploads::PATH as UPLOADS_PATH;

/// What the API works with.
pub struct Api {
    /// Gives runs their attempts.
    pub worker: Worker,
    /// Cancels, retries, answers and settles runs.
    pub control: Control,
    /// Holds runs.
    pub journal: Arc<dyn Journal>,
    /// Takes over what takes longer.
    pub queue: Arc<dyn Queue>,
    /// Knows which requests led to which runs.
    pub requests: Arc<dyn Requests>,
    /// Holds what could not be worked on.
    pub letters: Arc<dyn DeadLetters>,
    /// Takes what is too large for a request, and gives what is too large for an answer.
    pub uploads: Arc<dyn Uploads>,
    /// Knows what models took.
    pub usage: Arc<dyn UsageLedger>,
    /// Changes definitions.
    pub versions: Versions,
    /// Tells when.
    pub clock: Arc<dyn Clock>,
    /// Makes ids.
    pub entropy: Arc<dyn Entropy>,
    /// Who checks tokens.
    pub auth_mode: AuthMode,
}

/// The largest body, in bytes. Lambda takes 6 MB in all; the rest is for headers and the event's own JSON,
/// in which each quote of the body is escaped.
pub const MAX_BODY_BYTES: usize = 5 * 1024 * 1024;

/// How long a call waits for its run unless it says otherwise: HTTP APIs end at 30 s and the function at 29;
/// the rest is for handing over.
pub const LONGEST_WAIT: Duration = Duration::from_secs(24);

/// How long after a call began an effect may be begun: what remains of the function's 29 s suffices to do it and
/// to write down that it was done.
pub const LAST_EFFECT: Duration = Duration::from_secs(14);

/// The routes.
pub fn router(api: Arc<Api>) -> Router {
    // Anybody may come here, so nobody may bring much.
    let callback = get(callbacks::show).post(callbacks::answer).layer(DefaultBodyLimit::max(callbacks::MAX_BODY_BYTES));
    let definition =
        get(definitions::show).put(definitions::put).layer(DefaultBodyLimit::max(definitions::MAX_BODY_BYTES));
    Router::new()
        .route("/workflow/process", post(process::process))
        .route("/workflow/runs", get(runs::list))
        .route("/workflow/runs/{id}", get(runs::show))
        .route("/workflow/runs/{id}/report", get(report::show))
        .route("/workflow/runs/{id}/cancel", post(control::cancel))
        .route("/workflow/runs/{id}/retry", post(control::retry))
        .route("/workflow/runs/{id}/settle", post(control::settle))
        .route("/workflow/runs/{id}/callbacks/{name}", callback)
        .route("/workflow/dead-letters", get(letters::list))
        .route("/workflow/dead-letters/redrive", post(letters::redrive))
        .route("/workflow/dead-letters/discard", post(letters::discard))
        .route("/workflow/definitions/{type}", definition)
        .route("/workflow/definitions/{type}/versions", get(definitions::versions))
        .route("/workflow/definitions/{type}/diff", get(definitions::diff))
        .route("/workflow/definitions/{type}/rollback", post(definitions::rollback))
        .route("/workflow/definitions/{type}/canary", post(definitions::canary))
        .route(uploads::PATH, post(uploads::offer))
        .route("/workflow/usage", get(usage::show))
        .route("/health", get(health))
        .fallback(|| async { Problem::NotFound("there is no such path".to_owned()) })
        .method_not_allowed_fallback(|| async { Problem::MethodNotAllowed })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(api)
}

/// `GET /health`: the function answers. What it depends on shows in its alarms.
async fn health() -> Response {
    Json(json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") })).into_response()
}
