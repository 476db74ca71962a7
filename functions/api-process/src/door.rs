//! The door: who calls, whether they call too often, and what each route is to the policies.
//!
//! **Invariants**
//! - A route asks for a token unless its row says otherwise, and a handler gets a [`Principal`] from here alone.
//! - In the cloud a token is checked twice, by API Gateway's authorizer and here, and both must mean the same caller.
//! - That a token cannot be checked is 503, and nobody comes in.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use ihelper_runtime::{settings::AuthMode, telemetry, tokens};
use ihelper_workflow::ports::{Action, Counted, Quota, RequestCounts, What, Who};
use jiff::Timestamp;
use lambda_http::{RequestExt as _, request::RequestContext};

use crate::{Api, Principal, Problem, uploads};

/// Who may knock, and for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Whoever has a token.
    Token(Action),
    /// Everybody.
    Open(Action),
    /// There is none: what is behind tells nothing of anybody and does nothing, so that no policy has a say in it.
    Missing,
}

/// Every route: what it is to the policies. A handler may ask about more, once it knows what the request is about.
pub const ROUTES: &[(&str, &str, Door)] = &[
    ("POST", "/workflow/process", Door::Token(Action::StartRun)),
    ("GET", "/workflow/runs", Door::Token(Action::ListRuns)),
    ("GET", "/workflow/runs/{id}", Door::Token(Action::ViewRun)),
    ("GET", "/workflow/runs/{id}/report", Door::Token(Action::ReadReport)),
    ("POST", "/workflow/runs/{id}/cancel", Door::Token(Action::CancelRun)),
    ("POST", "/workflow/runs/{id}/retry", Door::Token(Action::RetryRun)),
    ("POST", "/workflow/runs/{id}/settle", Door::Token(Action::SettleRun)),
    ("GET", "/workflow/runs/{id}/callbacks/{name}", Door::Open(Action::ShowCallback)),
    ("POST", "/workflow/runs/{id}/callbacks/{name}", Door::Open(Action::AnswerCallback)),
    ("GET", "/workflow/dead-letters", Door::Token(Action::ListDeadLetters)),
    ("POST", "/workflow/dead-letters/redrive", Door::Token(Action::RedriveDeadLetters)),
    ("POST", "/workflow/dead-letters/discard", Door::Token(Action::DiscardDeadLetters)),
    ("GET", "/workflow/usage", Door::Token(Action::ReadUsage)),
    ("POST", uploads::PATH, Door::Token(Action::Upload)),
    ("GET", "/workflow/definitions/{type}", Door::Token(Action::ViewDefinition)),
    ("PUT", "/workflow/definitions/{type}", Door::Token(Action::PutDefinition)),
    ("GET", "/workflow/definitions/{type}/versions", Door::Token(Action::ListDefinitionVersions)),
    ("GET", "/workflow/definitions/{type}/diff", Door::Token(Action::DiffDefinition)),
    ("POST", "/workflow/definitions/{type}/rollback", Door::Token(Action::RollBackDefinition)),
    ("POST", "/workflow/definitions/{type}/canary", Door::Token(Action::CanaryDefinition)),
    ("GET", crate::CONTRACT_PATH, Door::Open(Action::ReadApiDescription)),
    ("GET", "/health", Door::Missing),
];

/// Lets a request in, or not.
pub(crate) async fn enter(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    name(&request);
    // What is no route is answered as such, and no handler without a row gets a principal.
    match door_of(&request) {
        None | Some(Door::Missing) => return next.run(request).await,
        Some(Door::Open(action)) if api.permissions.allows(Who::Anonymous, action, What::Bundle) => {
            return next.run(request).await;
        }
        Some(Door::Open(_)) => {
            return Problem::Forbidden("this is closed to who has no account here").into_response();
        }
        Some(Door::Token(_)) => {}
    }
    let principal = match identify(&api, Credentials::of(&request)).await {
        Ok(principal) => principal,
        Err(problem) => return problem.into_response(),
    };
    let standing = match &api.limit {
        Some(limit) => limit.count(&principal.caller(), api.clock.now()).await,
        None => None,
    };
    let mut response = match standing {
        Some(standing) if standing.remaining.is_none() => Problem::RateLimited(standing.reset_s).into_response(),
        _ => {
            request.extensions_mut().insert(principal);
            next.run(request).await
        }
    };
    if let Some(standing) = standing {
        standing.note(response.headers_mut());
    }
    response
}

/// Names the call's span by its route, which has few names, and not by its path.
fn name(request: &Request) {
    let span = tracing::Span::current();
    if span.is_disabled() {
        return;
    }
    let Some(path) = request.extensions().get::<MatchedPath>() else { return };
    span.record("http.route", path.as_str());
    telemetry::rename(&span, format!("{} {}", request.method(), path.as_str()));
}

fn door_of(request: &Request) -> Option<Door> {
    let path = request.extensions().get::<MatchedPath>()?.as_str();
    // A GET without its body.
    let method = if request.method() == Method::HEAD { "GET" } else { request.method().as_str() };
    let row = ROUTES.iter().find(|(row_method, row_path, ..)| (*row_method, *row_path) == (method, path));
    row.map(|(_, _, door)| *door)
}

/// What a request brings to say who calls.
struct Credentials {
    /// The subject of the token that API Gateway's authorizer has checked.
    subject: String,
    /// The token itself.
    token: String,
}

impl Credentials {
    fn of(request: &Request) -> Option<Self> {
        let Some(RequestContext::ApiGatewayV2(context)) = request.request_context_ref() else { return None };
        let subject = context.authorizer.as_ref()?.jwt.as_ref()?.claims.get("sub")?;
        let mut authorizations = request.headers().get_all(header::AUTHORIZATION).into_iter();
        let (Some(authorization), None) = (authorizations.next(), authorizations.next()) else { return None };
        let token = tokens::of_authorization(authorization.to_str().ok()?)?;
        Some(Self { subject: subject.clone(), token: token.to_owned() })
    }
}

async fn identify(api: &Api, credentials: Option<Credentials>) -> Result<Principal, Problem> {
    if api.auth_mode == AuthMode::Off {
        return Ok(Principal::local());
    }
    let Credentials { subject, token } = credentials.ok_or(Problem::Unauthenticated)?;
    let bearer = api.tokens.verify(&token).await?;
    if bearer.subject != subject {
        tracing::warn!("the authorizer and the token name different subjects");
        return Err(Problem::Unauthenticated);
    }
    Ok(Principal { subject: bearer.subject, groups: bearer.groups })
}

/// How often a caller may call, counted over all instances.
///
/// Where nothing can be counted, the call is let in: the limit is there against cost, and whoever is behind it has shown
/// a token. API Gateway's own limits stand all the same.
pub struct RateLimit {
    counts: Arc<dyn RequestCounts>,
    quota: Quota,
    /// Callers whose quota is used up, until when: a flood of refused calls writes nothing.
    used_up: Mutex<HashMap<String, Timestamp>>,
}

// As many callers as this instance remembers to be over their quota; beyond it, each call of theirs is counted.
const MOST_REMEMBERED: usize = 1000;

impl RateLimit {
    /// So many requests for each caller.
    pub fn new(counts: Arc<dyn RequestCounts>, quota: Quota) -> Self {
        Self { counts, quota, used_up: Mutex::default() }
    }

    /// Counts a request; gives where its caller stands, if that can be told.
    async fn count(&self, caller: &str, now: Timestamp) -> Option<Standing> {
        let end = self.quota.window_end(now);
        let reset_s = u64::try_from(end.as_second().saturating_sub(now.as_second())).unwrap_or(1).max(1);
        let standing = |remaining| Some(Standing { quota: self.quota, remaining, reset_s });
        if self.remembered().get(caller).is_some_and(|until| *until == end) {
            return standing(None);
        }
        match self.counts.count(caller, self.quota, now).await {
            Ok(Counted::Within { remaining }) => standing(Some(remaining)),
            Ok(Counted::UsedUp) => {
                tracing::info!("a caller is over the rate limit");
                let mut used_up = self.remembered();
                used_up.retain(|_, until| *until > now);
                if used_up.len() < MOST_REMEMBERED {
                    used_up.insert(caller.to_owned(), end);
                }
                standing(None)
            }
            Err(failure) => {
                tracing::warn!(error.kind = %failure.kind, error.message = failure.message, "a request was not counted");
                None
            }
        }
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, HashMap<String, Timestamp>> {
        self.used_up.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a caller stands.
#[derive(Clone, Copy, Debug)]
struct Standing {
    quota: Quota,
    /// How many more requests are within the quota; `None` when this one was not.
    remaining: Option<u32>,
    reset_s: u64,
}

impl Standing {
    /// Says so, as the draft `ratelimit-headers` of the HTTPAPI group has it.
    fn note(self, headers: &mut HeaderMap) {
        const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
        const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
        let policy = format!("\"caller\";q={};w={}", self.quota.requests, self.quota.window.as_secs());
        let limit = format!("\"caller\";r={};t={}", self.remaining.unwrap_or(0), self.reset_s);
        for (name, value) in [(POLICY, policy), (LIMIT, limit)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
    }
}
