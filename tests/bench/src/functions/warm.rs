//! Warm invocations, beside functions that do nothing.

use std::path::Path;

use ihelper_testkit::memory::MemoryIssuer;
use serde::Serialize;
use serde_json::Value;

use crate::{
    Failed,
    functions::{
        Door, Environment, FUNCTIONS,
        build::{self, BARE, ECHO, MEMORY_API},
        cores::Apart,
        emulator::Emulator,
        service::Service,
    },
    router::quantiles,
    speed::median,
};

/// How much longer than the echo a run of the API on ports in memory may take at the 99th of a hundred, in
/// milliseconds.
pub const LIMIT_MS: f64 = 1.0;

/// Rounds of each kind: a machine that is held up for a while spoils some of them, and a median of theirs is none of those.
/// What a function itself does in less than half of them is not in it either; the figure over all of them stands beside.
pub const ROUNDS: usize = 15;

/// Invocations of each kind in a round.
pub const INVOCATIONS: usize = 200;

/// The first of each kind, which do not count: they start the function.
const STARTING: usize = 50;

/// What invocations took, in milliseconds: medians of the rounds' own figures, where nothing else is said.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    /// What was invoked.
    pub name: String,
    /// Half of its invocations took less.
    pub p50: f64,
    /// 99 of a hundred of its invocations took less.
    pub p99: f64,
    /// The function beside it.
    pub beside: &'static str,
    /// Half of that one's invocations took less.
    pub beside_p50: f64,
    /// 99 of a hundred of that one's invocations took less.
    pub beside_p99: f64,
    /// What it took beyond the function beside it, at the 99th of a hundred of the same round.
    pub added_ms: f64,
    /// It divided by the function beside it, at the 99th of a hundred of the same round.
    pub ratio: f64,
    /// What it took beyond the function beside it, at the 99th of a hundred of all invocations, whatever their round.
    pub added_over_all_ms: f64,
    /// Whether the functions had a core of their own.
    pub is_apart: bool,
    /// Whether a limit stands for it.
    pub is_claimed: bool,
}

impl Measured {
    /// Whether it keeps its limit.
    pub fn holds(&self) -> bool {
        self.added_ms <= LIMIT_MS
    }
}

/// Measures every function with nothing to do, and the API with runs on ports in memory.
///
/// # Errors
/// This returns an error when a function does not compile, or does not answer as it should.
pub async fn measure() -> Result<Vec<Measured>, Failed> {
    let service = Service::start().await?;
    let environment = service.environment();
    let mut all = vec![api_in_memory(&environment).await?];
    for function in FUNCTIONS {
        let (beside, event) = match function.door {
            Door::Api => (ECHO, function.idle()),
            Door::Bus | Door::Queue(_) => (BARE, function.idle()),
        };
        let binary = build::function(function.name)?;
        let turns = in_turns(&binary, |_| event.clone(), beside, &environment, |_| None).await?;
        all.push(turns.measured(format!("`{}` with nothing to do", function.name), false));
    }
    Ok(all)
}

async fn api_in_memory(environment: &Environment) -> Result<Measured, Failed> {
    let [api, ..] = FUNCTIONS;
    let binary = build::peer(MEMORY_API)?;
    let runs = |number| api.work(number, MemoryIssuer::NAME);
    let turns = in_turns(&binary, runs, ECHO, environment, |answer| api.complaint(answer)).await?;
    Ok(turns.measured("a run of mail by the API, ports in memory".to_owned(), true))
}

/// What the invocations of a function and of the one beside it took, in milliseconds and in order.
struct Turns {
    own: Vec<f64>,
    beside: &'static str,
    other: Vec<f64>,
    is_apart: bool,
}

/// Both get the same events, so that what it takes to pass one on is on either side.
async fn in_turns(
    binary: &Path,
    event: impl Fn(usize) -> Value,
    beside: &'static str,
    environment: &Environment,
    complaint: impl Fn(&Value) -> Option<String>,
) -> Result<Turns, Failed> {
    let apart = Apart::begin()?;
    let mut own = Emulator::start(binary, environment).await?;
    let mut other = Emulator::start(&build::peer(beside)?, environment).await?;
    let mut turns = Turns { own: Vec::new(), beside, other: Vec::new(), is_apart: apart.is_some() };
    for number in 0..STARTING + ROUNDS * INVOCATIONS {
        let counts = number >= STARTING;
        let event = event(number);
        let (answer, took) = own.invoke(&event).await?;
        if let Some(complaint) = complaint(&answer) {
            return Err(format!("{}: {complaint}", binary.display()).into());
        }
        turns.own.extend(counts.then_some(took.as_secs_f64() * 1e3));
        let (_, took) = other.invoke(&event).await?;
        turns.other.extend(counts.then_some(took.as_secs_f64() * 1e3));
        if let (0, Some(apart)) = (number, &apart) {
            // The emulator has started them by now.
            apart.give_core_to(own.function()?)?;
            apart.give_core_to(other.function()?)?;
        }
    }
    Ok(turns)
}

impl Turns {
    fn measured(self, name: String, is_claimed: bool) -> Measured {
        let rounds = |all: &[f64]| all.chunks(INVOCATIONS).map(|round| quantiles(round.to_vec())).collect::<Vec<_>>();
        let (own, other) = (rounds(&self.own), rounds(&self.other));
        let median_of = |figure: &dyn Fn([f64; 2], [f64; 2]) -> f64| {
            median(own.iter().zip(&other).map(|(own, other)| figure(*own, *other)).collect())
        };
        let ([_, own_p99], [_, other_p99]) = (quantiles(self.own), quantiles(self.other));
        Measured {
            name,
            p50: median_of(&|[p50, _], _| p50),
            p99: median_of(&|[_, p99], _| p99),
            beside: self.beside,
            beside_p50: median_of(&|_, [p50, _]| p50),
            beside_p99: median_of(&|_, [_, p99]| p99),
            added_ms: median_of(&|[_, own], [_, other]| own - other),
            ratio: median_of(&|[_, own], [_, other]| own / other),
            added_over_all_ms: own_p99 - other_p99,
            is_apart: self.is_apart,
            is_claimed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_that_the_machine_spoils_does_not_count_but_over_all() {
        let round = |usual: f64, slowest: f64| {
            let slow = INVOCATIONS / 50;
            [vec![usual; INVOCATIONS - slow], vec![slowest; slow]].concat()
        };
        let turns = |own: [Vec<f64>; 3], other: [Vec<f64>; 3]| {
            let (own, other) = (own.concat(), other.concat());
            Turns { own, beside: ECHO, other, is_apart: true }.measured("own".to_owned(), true)
        };
        let measured = turns(
            [round(2.0, 3.0), round(2.0, 30.0), round(2.0, 3.5)],
            [round(1.0, 2.0), round(1.0, 20.0), round(1.0, 2.8)],
        );
        assert_eq!((measured.p50, measured.p99, measured.beside_p50, measured.beside_p99), (2.0, 3.5, 1.0, 2.8));
        assert_eq!((measured.added_ms, measured.ratio, measured.holds()), (1.0, 1.5, true));
        assert_eq!(measured.added_over_all_ms, 3.5 - 2.8);
        let measured = turns([round(2.0, 9.0), round(2.0, 9.0), round(2.0, 2.0)], [(); 3].map(|()| round(1.0, 7.0)));
        assert_eq!((measured.added_ms, measured.holds()), (2.0, false));
    }
}
