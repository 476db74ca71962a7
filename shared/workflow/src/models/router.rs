use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use tokio::sync::Notify;
use tracing::Instrument as _;

use super::balance::{Balance, Choice};
use crate::{
    domain::{configuration::NodeSettings, run::Usage},
    ports::{Clock, Model, ModelAnswer, ModelFailure, ModelFault, ModelRequest, Monitor, Seen, Tokens, Unwatched},
};

/// A model with its settings.
#[derive(Clone)]
pub struct Node {
    /// Its settings.
    pub settings: NodeSettings,
    /// The model.
    pub model: Arc<dyn Model>,
}

/// Spreads calls over nodes.
pub struct Router {
    nodes: Vec<Node>,
    balance: Mutex<Balance>,
    /// Told each time a call ends.
    freed: Notify,
    clock: Arc<dyn Clock>,
    hedge_after: Option<Duration>,
    monitor: Arc<dyn Monitor>,
}

/// An answer, and what it took to get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routed {
    /// The node that answered.
    pub node: String,
    /// The answer.
    pub answer: ModelAnswer,
    /// What all calls for it took.
    pub usage: Usage,
}

/// Why there is no answer, and what was asked for it all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// The last failure.
    pub failure: ModelFailure,
    /// What all calls took.
    pub usage: Usage,
}

impl Router {
    /// A router over these nodes. A second node is asked when the first has not answered after `hedge_after`.
    pub fn new(nodes: Vec<Node>, clock: Arc<dyn Clock>, hedge_after: Option<Duration>) -> Self {
        let balance = Mutex::new(Balance::new(nodes.iter().map(|node| &node.settings)));
        Self { nodes, balance, freed: Notify::new(), clock, hedge_after, monitor: Arc::new(Unwatched) }
    }

    /// The same router, watched.
    #[must_use]
    pub fn watched_by(mut self, monitor: Arc<dyn Monitor>) -> Self {
        self.monitor = monitor;
        self
    }

    /// Who watches.
    pub fn monitor(&self) -> &dyn Monitor {
        self.monitor.as_ref()
    }

    /// The most that one answer of a group can cost, in millionths of a dollar: no text makes more tokens than it has
    /// bytes, and a node that fails is not paid.
    pub fn most(&self, group: &str, request: &ModelRequest) -> u64 {
        let tokens = Tokens { input: request.bytes(), cached: 0, output: request.max_output_tokens.into() };
        // A hedge pays two nodes.
        let calls = if self.hedge_after.is_some() { 2 } else { 1 };
        let in_group = self.nodes.iter().filter(|node| node.settings.is_in(group));
        in_group.map(|node| node.settings.prices.cost(tokens)).max().unwrap_or_default().saturating_mul(calls)
    }

    /// Asks a node of the group; one that fails is followed by the next.
    ///
    /// # Errors
    /// This returns the last node's failure when none is left to be asked, and the first one that is not the node's
    /// own. Where all nodes cool down, none is called, and the failure says how long that lasts.
    pub async fn complete(&self, group: &str, request: &ModelRequest) -> Result<Routed, Unanswered> {
        let mut asked = Asked { tried: vec![false; self.nodes.len()], usage: Usage::default(), last: None };
        loop {
            let permit = match self.choose(group, request, &asked).await {
                Ok(permit) => permit,
                Err(failure) => {
                    let failure = self.with_wait(asked.last.take().unwrap_or(failure), group);
                    return Err(Unanswered { failure, usage: asked.usage });
                }
            };
            match self.ask(permit, group, request, &mut asked).await {
                Ok((index, answer)) => {
                    let node = self.nodes[index].settings.name.clone();
                    return Ok(Routed { node, answer, usage: asked.usage });
                }
                Err(failure) if failure.fault.is_of_the_node() => asked.last = Some(failure),
                Err(failure) => return Err(Unanswered { failure, usage: asked.usage }),
            }
        }
    }

    /// The next node, as soon as it may have one call more.
    async fn choose(&self, group: &str, request: &ModelRequest, asked: &Asked) -> Result<Permit<'_>, ModelFailure> {
        let mut patience = None;
        loop {
            let freed = self.freed.notified();
            tokio::pin!(freed);
            // Registered before the look at the nodes, so that no end of a call between the two is missed.
            freed.as_mut().enable();
            let now = self.clock.now();
            match self.choose_now(group, asked, now) {
                Choice::Node(index) => return Ok(Permit { router: self, index }),
                Choice::Nobody => {
                    let message = format!("no node is in the group `{group}`");
                    return Err(ModelFailure::new(ModelFault::Invalid, message));
                }
                Choice::Cooling(until) => {
                    let failure = ModelFailure::new(ModelFault::Throttled, "every node cools down");
                    return Err(failure.retry_after(Some(wait_until(until, now))));
                }
                Choice::Busy => {}
            }
            let patience = patience.get_or_insert_with(|| self.clock.sleep(request.timeout));
            tokio::select! {
                () = freed => {}
                () = patience => {
                    let message = "every node has as many calls as it may have";
                    return Err(ModelFailure::new(ModelFault::Overloaded, message));
                }
            }
        }
    }

    /// Whoever asks again while all nodes cool down asks in vain: the failure says when the first of them is there again,
    /// whatever the last one asked for.
    fn with_wait(&self, failure: ModelFailure, group: &str) -> ModelFailure {
        let now = self.clock.now();
        match self.balance().cool_until(|index| self.nodes[index].settings.is_in(group), now) {
            Some(until) => failure.retry_after(Some(wait_until(until, now))),
            None => failure,
        }
    }

    fn choose_now(&self, group: &str, asked: &Asked, now: Timestamp) -> Choice {
        let qualifies = |index: usize| !asked.tried[index] && self.nodes[index].settings.is_in(group);
        self.balance().choose(qualifies, now)
    }

    /// Asks one node, and a second one when the first takes long.
    async fn ask(
        &self,
        permit: Permit<'_>,
        group: &str,
        request: &ModelRequest,
        asked: &mut Asked,
    ) -> Result<(usize, ModelAnswer), ModelFailure> {
        asked.tried[permit.index] = true;
        let Some(hedge_after) = self.hedge_after else {
            let outcome = self.call(permit, request).await;
            return self.counted(outcome, asked);
        };
        let mut calls = FuturesUnordered::new();
        calls.push(self.call(permit, request));
        let hedge = self.clock.sleep(hedge_after);
        tokio::pin!(hedge);
        let mut may_hedge = true;
        loop {
            tokio::select! {
                biased;
                Some(outcome) = calls.next() => match outcome {
                    // While another is asked, a node that fails decides nothing.
                    Err((index, failure)) if failure.fault.is_of_the_node() && !calls.is_empty() => {
                        asked.usage += self.usage(index, failure.tokens);
                    }
                    outcome => return self.counted(outcome, asked),
                },
                () = &mut hedge, if may_hedge => {
                    may_hedge = false;
                    if let Choice::Node(index) = self.choose_now(group, asked, self.clock.now()) {
                        asked.tried[index] = true;
                        calls.push(self.call(Permit { router: self, index }, request));
                    }
                }
            }
        }
    }

    /// One call to one node, within its time.
    async fn call(
        &self,
        permit: Permit<'_>,
        request: &ModelRequest,
    ) -> Result<(usize, ModelAnswer), (usize, ModelFailure)> {
        let index = permit.index;
        let Node { settings, model } = &self.nodes[index];
        let began = self.clock.now();
        let span = tracing::debug_span!(
            "model",
            otel.name = format_args!("chat {}", settings.model),
            otel.kind = "client",
            gen_ai.operation.name = "chat",
            gen_ai.request.model = settings.model,
            model.node = settings.name,
        );
        let outcome = tokio::select! {
            biased;
            outcome = model.complete(request).instrument(span) => outcome,
            () = self.clock.sleep(request.timeout.min(settings.timeout())) => {
                Err(ModelFailure::new(ModelFault::Timeout, "no answer in time"))
            }
        };
        let now = self.clock.now();
        self.monitor.note(&Seen::ModelCall {
            node: &settings.name,
            took: Duration::try_from(now.duration_since(began)).unwrap_or_default(),
            fault: outcome.as_ref().err().map(|failure| failure.fault),
            usage: self.usage(
                index,
                match &outcome {
                    Ok(answer) => answer.tokens,
                    Err(failure) => failure.tokens,
                },
            ),
        });
        match outcome {
            Err(failure) if failure.fault.is_of_the_node() => {
                self.balance().failed(index, failure.fault, failure.retry_after, now);
                tracing::warn!(
                    model.node = settings.name,
                    model.fault = failure.fault.name(),
                    error.message = failure.message,
                    "a node failed"
                );
                Err((index, failure))
            }
            outcome => {
                self.balance().answered(index, now);
                outcome.map(|answer| (index, answer)).map_err(|failure| (index, failure))
            }
        }
    }

    /// The outcome of a call, after what it took was counted.
    fn counted(
        &self,
        outcome: Result<(usize, ModelAnswer), (usize, ModelFailure)>,
        asked: &mut Asked,
    ) -> Result<(usize, ModelAnswer), ModelFailure> {
        match outcome {
            Ok((index, answer)) => {
                let usage = self.usage(index, answer.tokens);
                // A service that tells no tokens has answered all the same.
                asked.usage += Usage { api_calls: 1, ..usage };
                Ok((index, answer))
            }
            Err((index, failure)) => {
                asked.usage += self.usage(index, failure.tokens);
                Err(failure)
            }
        }
    }

    fn usage(&self, index: usize, tokens: Tokens) -> Usage {
        Usage {
            // Who is asked and does not answer is not paid, and is counted nowhere but in the log.
            api_calls: u64::from(tokens != Tokens::default()),
            input_tokens: tokens.input,
            output_tokens: tokens.output,
            cached_tokens: tokens.cached,
            cost_microdollars: self.nodes[index].settings.prices.cost(tokens),
            degraded_calls: 0,
        }
    }

    fn balance(&self) -> MutexGuard<'_, Balance> {
        self.balance.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.nodes.iter().map(|node| node.settings.name.as_str()).collect();
        formatter.debug_struct("Router").field("nodes", &names).finish_non_exhaustive()
    }
}

fn wait_until(until: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(until.duration_since(now)).unwrap_or_default()
}

/// What was asked for one answer so far.
struct Asked {
    tried: Vec<bool>,
    usage: Usage,
    last: Option<ModelFailure>,
}

/// One call more of a node; given back when it is dropped, however the call ended.
struct Permit<'a> {
    router: &'a Router,
    index: usize,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.router.balance().leave(self.index);
        self.router.freed.notify_waiters();
    }
}
