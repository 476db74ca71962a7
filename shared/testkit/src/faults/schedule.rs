use std::{collections::BTreeMap, fmt, str::FromStr};

use ihelper_workflow::ports::Entropy as _;

use crate::memory::SeededEntropy;

/// What can happen at a call to a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// The call does not go through, and the caller knows.
    FailBefore,
    /// The call goes through, and its answer is lost: the caller is told of a timeout.
    FailAfter,
    /// The other side asks to slow down.
    Throttle,
    /// The other side asks to come back in 90 seconds.
    ThrottleWithWait,
    /// The worker dies before the call goes through. Its message comes back when its lease is over.
    CrashBefore,
    /// The worker dies when the call has gone through.
    CrashAfter,
    /// The message is delivered a second time, and a second worker takes it up beside the first.
    DeliverTwice,
    /// The worker stands still until its lease is over and a second worker has begun; then it goes on.
    LeaseExpires,
    /// The call takes a second, most of a lease, or longer than an invocation has.
    Delay,
    /// Before the call goes through, the world acts: who was asked for an approval answers, and delivery events about
    /// the mails that were sent come in.
    WorldActs,
    /// Before the call goes through, somebody cancels the run.
    Cancel,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::FailBefore,
        Self::FailAfter,
        Self::Throttle,
        Self::ThrottleWithWait,
        Self::CrashBefore,
        Self::CrashAfter,
        Self::DeliverTwice,
        Self::LeaseExpires,
        Self::Delay,
        Self::WorldActs,
        Self::Cancel,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::FailBefore => "fail_before",
            Self::FailAfter => "fail_after",
            Self::Throttle => "throttle",
            Self::ThrottleWithWait => "throttle_with_wait",
            Self::CrashBefore => "crash_before",
            Self::CrashAfter => "crash_after",
            Self::DeliverTwice => "deliver_twice",
            Self::LeaseExpires => "lease_expires",
            Self::Delay => "delay",
            Self::WorldActs => "world_acts",
            Self::Cancel => "cancel",
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A fault at a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// At which call of the run's whole life, from 0.
    pub call: usize,
    /// What happens.
    pub fault: Fault,
}

/// What happens to a run, and the seed of all that is left to chance: jitter, leases, and who goes first.
///
/// Its text is `<seed>/<call>:<fault>,<call>:<fault>…`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// The seed.
    pub seed: u64,
    /// The faults.
    pub faults: Vec<Planned>,
}

/// One in so many faults drawn at random is a cancellation: it ends a run, and what comes after it shows little.
const RARELY: u128 = 16;

impl Schedule {
    /// One to four faults drawn at random, at calls below `calls`.
    pub fn random(seed: u64, calls: usize) -> Self {
        let chance = SeededEntropy::new(seed);
        let below = |bound: u128| chance.random() % bound.max(1);
        let count = 1 + below(4);
        let mut drawn = BTreeMap::new();
        for _ in 0..count {
            let call = below(calls as u128) as usize;
            let others = Fault::ALL.len() as u128 - 1;
            let fault = if below(RARELY) == 0 { Fault::Cancel } else { Fault::ALL[below(others) as usize] };
            drawn.insert(call, Planned { call, fault });
        }
        Self { seed, faults: drawn.into_values().collect() }
    }

    pub(super) fn fault_at(&self, call: usize) -> Option<Fault> {
        self.faults.iter().find(|planned| planned.call == call).map(|planned| planned.fault)
    }

    pub(super) fn cancels(&self) -> bool {
        self.faults.iter().any(|planned| planned.fault == Fault::Cancel)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: Vec<String> =
            self.faults.iter().map(|planned| format!("{}:{}", planned.call, planned.fault)).collect();
        write!(formatter, "{}/{}", self.seed, faults.join(","))
    }
}

impl FromStr for Schedule {
    type Err = String;

    /// # Errors
    /// This returns an error that says which part is not of the form.
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |part: &str| format!("`{part}` is not of the form `<seed>/<call>:<fault>,…`");
        let (seed, faults) = text.split_once('/').ok_or_else(|| wrong(text))?;
        let seed = seed.parse().map_err(|_| wrong(seed))?;
        let faults = faults.split(',').filter(|part| !part.is_empty()).map(|part| {
            let (call, name) = part.split_once(':').ok_or_else(|| wrong(part))?;
            let call = call.parse().map_err(|_| wrong(part))?;
            let fault = Fault::ALL.into_iter().find(|fault| fault.name() == name).ok_or_else(|| wrong(part))?;
            Ok(Planned { call, fault })
        });
        Ok(Self { seed, faults: faults.collect::<Result<_, String>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schedule_is_read_back_as_it_was_printed() {
        for seed in 0..100 {
            let schedule = Schedule::random(seed, 50);
            assert!((1..=4).contains(&schedule.faults.len()));
            assert_eq!(schedule.to_string().parse(), Ok(schedule));
        }
        assert_eq!("7/".parse(), Ok(Schedule { seed: 7, faults: Vec::new() }));
        assert!("7/3:trip".parse::<Schedule>().unwrap_err().contains("`3:trip`"));
    }
}
