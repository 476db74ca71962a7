//! What the router adds to a call: on models that answer at once, beside the same calls without it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{StreamExt as _, stream};
use ihelper_testkit::memory::ScriptedModel;
use ihelper_workflow::{
    domain::configuration::{DEFAULT_GROUP, NodeSettings},
    models::{Node, Router},
    ports::{AnswerSchema, Model as _, ModelAnswer, ModelRequest, Speaker, Tokens, Turn},
};
use serde::Serialize;
use serde_json::json;

use crate::stage::RealClock;

/// The most that the router may add to one call of a hundred.
pub const LIMIT: Duration = Duration::from_micros(500);

/// Calls at a time.
pub const AT_ONCE: [usize; 2] = [1, 64];

/// What calls took, in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Measured {
    /// Calls at a time.
    pub at_once: usize,
    /// Calls in all, of each kind.
    pub calls: usize,
    /// Half of the calls without a router took less.
    pub direct_p50: f64,
    /// 99 of a hundred calls without a router took less.
    pub direct_p99: f64,
    /// Half of the calls through the router took less.
    pub routed_p50: f64,
    /// 99 of a hundred calls through the router took less.
    pub routed_p99: f64,
}

impl Measured {
    /// What the router adds at the 99th of a hundred, in microseconds.
    pub fn added(&self) -> f64 {
        self.routed_p99 - self.direct_p99
    }

    /// Whether it adds less than it may.
    pub fn holds(&self) -> bool {
        self.added() < LIMIT.as_secs_f64() * 1e6
    }
}

/// Measures so many calls of each kind, `at_once` at a time, the two kinds in turns so that the machine's moods fall on
/// both.
pub async fn measure(calls: usize, at_once: usize) -> Measured {
    const ROUNDS: usize = 10;
    let model = ScriptedModel::new(|_, _| async {
        tokio::task::yield_now().await;
        Ok(ModelAnswer { text: "{}".to_owned(), tokens: Tokens { input: 100, cached: 0, output: 10 } })
    });
    let nodes = ["a", "b", "c"].map(|name| Node { settings: settings(name), model: Arc::new(model.clone()) });
    let router = Router::new(nodes.into(), Arc::new(RealClock), None);
    let request = request();
    let (mut direct, mut routed) = (Vec::with_capacity(calls), Vec::with_capacity(calls));
    for _ in 0..ROUNDS {
        let part = calls.div_ceil(ROUNDS);
        direct.extend(timed(part, at_once, || async { model.complete(&request).await.is_ok() }).await);
        routed.extend(timed(part, at_once, || async { router.complete(DEFAULT_GROUP, &request).await.is_ok() }).await);
    }
    let ([direct_p50, direct_p99], [routed_p50, routed_p99]) = (quantiles(direct), quantiles(routed));
    Measured { at_once, calls, direct_p50, direct_p99, routed_p50, routed_p99 }
}

async fn timed<Call: Future<Output = bool>>(calls: usize, at_once: usize, call: impl Fn() -> Call) -> Vec<f64> {
    let timed = stream::iter(0..calls).map(|_| async {
        let began = Instant::now();
        assert!(call().await, "a model that always answers did not");
        began.elapsed().as_secs_f64() * 1e6
    });
    timed.buffer_unordered(at_once).collect().await
}

/// The median and the 99th of a hundred.
pub fn quantiles(mut times: Vec<f64>) -> [f64; 2] {
    times.sort_by(f64::total_cmp);
    [times.len() / 2, times.len() * 99 / 100].map(|index| times.get(index).copied().unwrap_or_default())
}

fn settings(name: &str) -> NodeSettings {
    let settings = json!({ "name": name, "provider": "bedrock", "model": "m", "concurrency": 1000 });
    serde_json::from_value(settings).expect("these are the settings of a node")
}

fn request() -> ModelRequest {
    ModelRequest {
        system: "You hold documents against criteria.".to_owned(),
        turns: vec![Turn { speaker: Speaker::User, stable: String::new(), text: "well?".to_owned() }],
        schema: Arc::new(AnswerSchema::new("answer", json!({ "type": "object" }))),
        temperature: None,
        max_output_tokens: 100,
        timeout: Duration::from_secs(60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn calls_are_measured_with_the_router_and_without() {
        for at_once in AT_ONCE {
            let measured = measure(200, at_once).await;
            assert!(measured.direct_p50 > 0.0 && measured.direct_p50 <= measured.direct_p99, "{measured:?}");
            assert!(measured.routed_p50 > 0.0 && measured.routed_p50 <= measured.routed_p99, "{measured:?}");
        }
    }

    #[test]
    fn quantiles_are_of_sorted_times() {
        assert_eq!(quantiles((0..100).rev().map(f64::from).collect()), [50.0, 99.0]);
        assert_eq!(quantiles(Vec::new()), [0.0, 0.0]);
    }
}
