//! The HTTP API: runs by `POST /workflow/process`, what became of them, and how people reach them.

mod accept;
mod answer;
mod body;
mod call;
mod callbacks;
mod contract;
mod control;
mod definitions;
mod door;
mod json;
mod letters;
mod limits;
mod page;
mod principal;
mod problem;
mod process;
mod repeats;
mod report;
mod runs;
mod shield;
mod uploads;
mod usage;

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::DefaultBodyLimit,
    middleware::{from_fn, from_fn_with_state, map_response},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use http::HeaderValue;
use ihelper_runtime::{
    settings::AuthMode,
    telemetry::{self, Parent, TRACEPARENT},
    tokens::Tokens,
};
use ihelper_workflow::{
    domain::Status,
    engine::{Control, Worker},
    ports::{Clock, DeadLetters, Entropy, Journal, Permissions, Queue, Requests, Uploads, UsageLedger},
    versions::Versions,
};
use lambda_http::RequestExt as _;
use serde::Serialize;
use serde_json::Value;
use tower::ServiceExt as _;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::field::Empty;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use contract::{told, told_on_pages};

pub use answer::MAX_ANSWER_BYTES;
pub use door::{Door, ROUTES, RateLimit};
pub use json::DEEPEST_JSON;
pub use limits::{LONGEST_ADDRESS, MOST_HEADER_BYTES, MOST_HEADERS};
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
    /// The origins whose pages may call.
    pub origins: Vec<HeaderValue>,
    /// Tells who stands behind a token.
    pub tokens: Arc<Tokens>,
    /// Tells who may do what.
    pub permissions: Arc<dyn Permissions>,
    /// Whether this process reads documents out of files. Otherwise their runs are left to the consumer, and a call waits
    /// for them as long as for others.
    pub reads_files: bool,
    /// How often a caller may call; as often as they like without it.
    pub limit: Option<RateLimit>,
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

/// Answers one call, as work that belongs to the caller's trace, or else to that of the invocation.
///
/// # Errors
/// This never returns one: what fails is an answer too.
pub async fn call(router: Router, request: lambda_http::Request) -> Result<Response, Infallible> {
    let span = tracing::debug_span!(
        "call",
        otel.name = request.method().as_str(),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = request.method().as_str(),
        http.route = Empty,
        http.response.status_code = Empty,
    );
    let of_caller = request.headers().get(TRACEPARENT).and_then(|value| Parent::of_traceparent(value.to_str().ok()?));
    let context = request.lambda_context_ref();
    let of_xray = || Parent::of_xray(context?.xray_trace_id.as_deref()?);
    let parent = of_caller.or_else(of_xray);
    telemetry::at_work(span.clone(), parent, async move {
        let answer = router.oneshot(request).await?;
        span.record("http.response.status_code", answer.status().as_u16());
        if answer.status().is_server_error() {
            span.record("otel.status_code", "ERROR");
        }
        Ok(answer)
    })
    .await
}

/// The API.
pub fn router(api: Arc<Api>) -> Router {
    let router = served()
        .fallback(|| async { Problem::NotFound("there is no such path".to_owned()) })
        .method_not_allowed_fallback(|| async { Problem::MethodNotAllowed })
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(from_fn_with_state(Arc::clone(&api), door::enter))
        .with_state(Arc::clone(&api));
    // What looks at no route stands around all of them: a layer is made for each route that it is laid on.
    let covered = Router::new()
        .fallback_service(router)
        .layer(from_fn(limits::check))
        .layer(CatchPanicLayer::custom(shield::panicked))
        .layer(map_response(shield::cover));
    if api.origins.is_empty() { covered } else { covered.layer(shield::cross_origin(&api.origins)) }
}

/// The contract, as the routes and the types have it. `GET /openapi.json` gives what is committed, which is the same.
pub fn contract() -> Value {
    contract::document(&routes().into_openapi())
}

/// Where the contract is.
pub const CONTRACT_PATH: &str = "/openapi.json";

/// Every route. A test holds it to the operations of [`routes`].
fn served() -> Router<Arc<Api>> {
    let texts = || DefaultBodyLimit::max(definitions::MAX_BODY_BYTES);
    // Anybody may come to a callback, so nobody may bring much.
    let little = || DefaultBodyLimit::max(callbacks::MAX_BODY_BYTES);
    Router::new()
        .route("/workflow/process", post(process::process))
        .route("/workflow/runs", get(runs::list))
        .route("/workflow/runs/{id}", get(runs::show))
        .route("/workflow/runs/{id}/report", get(report::show))
        .route("/workflow/runs/{id}/cancel", post(control::cancel))
        .route("/workflow/runs/{id}/retry", post(control::retry))
        .route("/workflow/runs/{id}/settle", post(control::settle))
        .route("/workflow/runs/{id}/callbacks/{name}", get(callbacks::show).post(callbacks::answer).layer(little()))
        .route("/workflow/dead-letters", get(letters::list))
        .route("/workflow/dead-letters/redrive", post(letters::redrive))
        .route("/workflow/dead-letters/discard", post(letters::discard))
        .route("/workflow/definitions/{type}", get(definitions::show).put(definitions::put).layer(texts()))
        .route("/workflow/definitions/{type}/versions", get(definitions::versions))
        .route("/workflow/definitions/{type}/diff", get(definitions::diff))
        .route("/workflow/definitions/{type}/rollback", post(definitions::rollback))
        .route("/workflow/definitions/{type}/canary", post(definitions::canary))
        .route("/workflow/usage", get(usage::show))
        .route(uploads::PATH, post(uploads::offer))
        .route("/health", get(health))
        .route(CONTRACT_PATH, get(contract::show))
}

/// The operation of every route, with what can go wrong there beside what can anywhere.
fn routes() -> OpenApiRouter<Arc<Api>> {
    use Problem::{Ended, InFlight, KeyReused, Malformed, NotEnded, NothingOpen, TooLate, WouldRepeat};
    let run = contract::example_run();
    let no_run = Problem::no_such_run;
    let body = |upload| {
        let limit = MAX_BODY_BYTES as u64;
        [
            Malformed("the body is not JSON: expected value at line 1 column 9".to_owned()),
            Problem::TooLarge { limit, upload },
            Problem::UnsupportedMediaType(body::JSON),
        ]
    };
    let body_of = |others: &[Problem]| [&body(None)[..], others].concat();
    let invalid = Problem::invalid;
    let parameter = [Malformed("parameter `type`: unknown workflow type `mail`".to_owned())];
    let process = [
        &body(Some(uploads::PATH))[..],
        &[
            Problem::Forbidden("only operators start runs on stored objects; send the content itself"),
            InFlight(run),
            Problem::RunCancelled(run),
            invalid("data.from", "is needed with `content`"),
            KeyReused,
        ],
        &contract::failed_runs(),
    ]
    .concat();
    let retry = [
        no_run(),
        NotEnded(run, Status::Running),
        WouldRepeat(run, vec!["send_response".to_owned()]),
        invalid("from_step", "the run has no such step; it has `analyze_email`"),
    ];
    let settle = [no_run(), NothingOpen(run), invalid("outcome", "is not `happened` or `not_happened`")];
    let letters = [invalid("ids", "has not 1 to 100 ids")];
    let unknown = || Problem::NotFound("there is no such callback, or the token is not its own".to_owned());
    let token_twice = Malformed("parameter `token`: is there twice".to_owned());
    let answer = [unknown(), contract::answered_otherwise(), TooLate, invalid("data", "is missing")];

    let no_workflow = [
        Problem::NotFound("there is no such workflow".to_owned()),
        Malformed("parameter `limit`: is there twice".to_owned()),
        invalid("limit", "is not a number"),
    ];
    let no_version = [
        no_workflow[0].clone(),
        Malformed("parameter `version`: is there twice".to_owned()),
        Problem::NotFound("there is no version 9 that runs ever got".to_owned()),
        invalid("version", "is not a number"),
    ];
    let changed = [
        Problem::OnTrial("a version is on trial: promote or abort it first"),
        Problem::PreconditionFailed,
        Problem::PreconditionRequired,
    ];
    let change = [&no_version[..], &changed].concat();
    let update = [
        &change[..],
        &[
            Malformed("the body is not UTF-8".to_owned()),
            Problem::TooLarge { limit: definitions::MAX_BODY_BYTES as u64, upload: None },
            Problem::UnsupportedMediaType(definitions::ACCEPTED),
            invalid("golden_cases[0]", "`result.status` is `failed` and not `success`"),
        ],
    ]
    .concat();
    let usage = [parameter[0].clone(), invalid("since", "is after 2026-01-31")];
    OpenApiRouter::with_openapi(contract::description())
        .routes(told(routes!(process::process), &process))
        .routes(told(routes!(runs::list), &parameter))
        .routes(told(routes!(runs::show), &[no_run()]))
        .routes(told(routes!(report::show), &[no_run(), NotEnded(run, Status::Running)]))
        .routes(told(routes!(control::cancel), &[no_run(), Ended(run, Status::Succeeded)]))
        .routes(told(routes!(control::retry), &body_of(&retry)))
        .routes(told(routes!(control::settle), &body_of(&settle)))
        .routes(told_on_pages(routes!(callbacks::show), &[unknown(), token_twice]))
        .routes(told_on_pages(routes!(callbacks::answer), &body_of(&answer)))
        .routes(told(routes!(letters::list), &parameter))
        .routes(told(routes!(letters::redrive), &body_of(&letters)))
        .routes(told(routes!(letters::discard), &body_of(&letters)))
        .routes(told(routes!(definitions::show), &no_version))
        .routes(told(routes!(definitions::put), &update))
        .routes(told(routes!(definitions::versions), &no_workflow))
        .routes(told(routes!(definitions::diff), &no_version))
        .routes(told(routes!(definitions::rollback), &body_of(&change)))
        .routes(told(routes!(definitions::canary), &body_of(&change)))
        .routes(told(routes!(usage::show), &usage))
        .routes(told(routes!(uploads::offer), &body_of(&[invalid("bytes", "is missing")])))
        .routes(told(routes!(health), &[]))
}

/// That the function answers, and of which version it is.
#[derive(Serialize, ToSchema)]
struct Health {
    /// Always `ok`.
    #[schema(pattern = "^ok$")]
    status: &'static str,
    /// The bundle's version.
    version: &'static str,
}

/// The function answers. What it depends on shows in its alarms.
#[utoipa::path(
    get,
    path = "/health",
    tag = "service",
    operation_id = "health",
    responses((status = 200, description = "It answers.", body = Health)),
)]
async fn health() -> Response {
    Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") }).into_response()
}
