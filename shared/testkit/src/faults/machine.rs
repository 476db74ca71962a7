//! Machines that workers run on, each call of which can meet a fault.

use std::{
    collections::VecDeque,
    convert::Infallible,
    future::{Future, pending},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use ihelper_workflow::{
    domain::{Failure, Kind},
    ports::{Clock as _, Entropy as _},
};
use serde_json::Value;
use tokio::{sync::Notify, task::yield_now};

use super::{
    play::{Call, Message},
    schedule::{Fault, Schedule},
    world::World,
};
use crate::memory::{SeededEntropy, VirtualClock};

/// What all machines of a play share.
pub(super) struct Stage {
    schedule: Schedule,
    pub(super) clock: VirtualClock,
    lease: Duration,
    /// Who goes first, and how long things take.
    chance: SeededEntropy,
    state: Mutex<State>,
    /// There is a second delivery to be made, or the play has run away.
    pub(super) signal: Notify,
    pub(super) world: World,
}

#[derive(Default)]
struct State {
    calls: Vec<Call>,
    machines: usize,
    second_deliveries: VecDeque<Message>,
    performed: Vec<Performed>,
}

/// Something that was done to the world outside.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Performed {
    /// By which port.
    pub(super) port: &'static str,
    /// What makes it the same thing when it is done again.
    pub(super) key: String,
    /// What was done.
    pub(super) content: Value,
}

/// So many calls, and the play will not come to an end by itself.
const MOST_CALLS: usize = 20_000;

impl Stage {
    pub(super) fn new(schedule: Schedule, clock: VirtualClock, lease: Duration, world: World) -> Arc<Self> {
        let chance = SeededEntropy::new(schedule.seed ^ 0x5eed);
        Arc::new(Self { schedule, clock, lease, chance, state: Mutex::default(), signal: Notify::new(), world })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Another machine. It works on this message, unless it belongs to the world.
    pub(super) fn machine(self: &Arc<Self>, message: Option<Message>) -> Arc<Machine> {
        let number = {
            let mut state = self.state();
            state.machines += 1;
            state.machines - 1
        };
        Arc::new(Machine {
            stage: Arc::clone(self),
            number,
            message,
            calls: AtomicUsize::new(0),
            is_dead: AtomicBool::new(false),
            death: Notify::new(),
            is_frozen: AtomicBool::new(false),
        })
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    pub(super) fn performed(&self) -> Vec<Performed> {
        self.state().performed.clone()
    }

    pub(super) fn second_delivery(&self) -> Option<Message> {
        self.state().second_deliveries.pop_front()
    }

    pub(super) fn has_run_away(&self) -> bool {
        self.state().calls.len() >= MOST_CALLS
    }

    fn below(&self, bound: u64) -> u64 {
        (self.chance.random() % u128::from(bound.max(1))) as u64
    }

    /// Whoever else is ready may go first.
    async fn dawdle(&self) {
        for _ in 0..self.below(3) {
            yield_now().await;
        }
    }
}

/// A machine on which one worker works on one message, or one person sees to a run.
pub(super) struct Machine {
    stage: Arc<Stage>,
    number: usize,
    message: Option<Message>,
    calls: AtomicUsize,
    is_dead: AtomicBool,
    death: Notify,
    is_frozen: AtomicBool,
}

impl Machine {
    /// Notes that something was done to the world outside.
    pub(super) fn performed(&self, port: &'static str, key: String, content: Value) {
        self.stage.state().performed.push(Performed { port, key, content });
    }

    /// Waits until the machine dies.
    pub(super) async fn death(&self) {
        // A permit is kept for who comes late: there is one death and one who waits for it.
        self.death.notified().await;
    }

    /// A call to a port: one of the points where a fault may strike.
    pub(super) async fn call<T>(
        &self,
        name: &'static str,
        work: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<T, Failure> {
        self.can_go_on().await;
        let fault = self.number(name);
        self.stage.dawdle().await;
        self.can_go_on().await;
        let result = match fault {
            None => work.await,
            Some(fault) => self.strike(fault, work).await,
        };
        self.can_go_on().await;
        self.stage.dawdle().await;
        self.can_go_on().await;
        result
    }

    fn number(&self, name: &'static str) -> Option<Fault> {
        let mut state = self.stage.state();
        let fault = self.stage.schedule.fault_at(state.calls.len());
        state.calls.push(Call { name, machine: self.number, fault });
        self.calls.fetch_add(1, Ordering::Relaxed);
        if state.calls.len() >= MOST_CALLS {
            self.stage.signal.notify_one();
        }
        fault
    }

    async fn strike<T>(
        &self,
        fault: Fault,
        work: impl Future<Output = Result<T, Failure>> + Send,
    ) -> Result<T, Failure> {
        match fault {
            Fault::FailBefore => return Err(Failure::new(Kind::Connection, "the line was cut before the call")),
            Fault::FailAfter => {
                work.await?;
                return Err(Failure::new(Kind::Timeout, "the line was cut before the answer"));
            }
            Fault::Throttle => return Err(Failure::new(Kind::Throttled, "too many calls")),
            Fault::ThrottleWithWait => {
                let failure = Failure::new(Kind::Throttled, "too many calls for now");
                return Err(failure.retry_after(Duration::from_secs(90)));
            }
            Fault::CrashBefore => match self.die().await {},
            Fault::CrashAfter => {
                // Nobody hears the answer.
                drop(work.await);
                match self.die().await {}
            }
            Fault::DeliverTwice => self.deliver_again(),
            Fault::LeaseExpires => {
                self.stage.clock.advance(self.stage.lease + Duration::from_secs(1));
                self.deliver_again();
                self.freeze().await;
            }
            Fault::Delay => {
                let seconds = [1, 50, 400][self.stage.below(3) as usize];
                self.stage.clock.sleep(Duration::from_secs(seconds)).await;
            }
            Fault::WorldActs => self.stage.world.act_at_once().await,
            Fault::Cancel => self.stage.world.cancel().await,
        }
        self.can_go_on().await;
        work.await
    }

    /// A machine of the world has no message: whoever sits there asks a second time by itself.
    fn deliver_again(&self) {
        if let Some(message) = &self.message {
            self.stage.state().second_deliveries.push_back(message.clone());
            self.stage.signal.notify_one();
        }
    }

    async fn die(&self) -> Infallible {
        self.is_dead.store(true, Ordering::Relaxed);
        self.death.notify_one();
        pending().await
    }

    /// Stands still until others have made some calls.
    async fn freeze(&self) {
        // Enough turns for a second worker to come in, few enough for time to stand still meanwhile.
        const LONGEST: usize = 50;
        self.is_frozen.store(true, Ordering::Relaxed);
        let _thaw = Thaw(&self.is_frozen);
        let until = self.calls_of_others() + 1 + self.stage.below(12) as usize;
        for _ in 0..LONGEST {
            if self.calls_of_others() >= until {
                break;
            }
            yield_now().await;
        }
    }

    fn calls_of_others(&self) -> usize {
        self.stage.state().calls.len() - self.calls.load(Ordering::Relaxed)
    }

    /// Nothing happens any more on a dead machine, and nothing for now on a frozen one.
    async fn can_go_on(&self) {
        if self.is_dead.load(Ordering::Relaxed) {
            pending::<()>().await;
        }
        while self.is_frozen.load(Ordering::Relaxed) {
            yield_now().await;
        }
    }
}

/// Lets a machine go on, also when the call in which it stood still is broken off.
struct Thaw<'a>(&'a AtomicBool);

impl Drop for Thaw<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
