use std::{collections::BTreeMap, time::Duration};

use jiff::{SignedDuration, Timestamp};

use crate::{domain::configuration::NodeSettings, ports::ModelFault};

// The first pause of a node that failed and asked for none; it doubles with each failure that follows.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
// A spent quota or a wrong key does not pass in a second.
const FIRST_LONG_PAUSE: Duration = Duration::from_secs(60);
// Growing beyond this would keep a node out for long after it is well again.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
// What a service may ask for: beyond an hour, asking once more costs less than believing a mistake.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

/// How the nodes stand.
#[derive(Debug)]
pub(super) struct Balance {
    nodes: Vec<Standing>,
    health: Vec<Health>,
}

#[derive(Debug)]
struct Standing {
    weight: i64,
    /// Smooth weighted round-robin: grows by the weight each time others are chosen, and pays for being chosen.
    credit: i64,
    limit: u32,
    in_flight: u32,
    /// Its own health, and that of its quota.
    health: [usize; 2],
}

#[derive(Debug, Default)]
struct Health {
    cools_until: Option<Timestamp>,
    failures: u32,
}

/// Who is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// This one; it has one call more in flight now.
    Node(usize),
    /// Whoever could be called has as many calls as it may have.
    Busy,
    /// All cool down; the first of them until then.
    Cooling(Timestamp),
    /// There is nobody.
    Nobody,
}

impl Balance {
    pub(super) fn new<'a>(settings: impl IntoIterator<Item = &'a NodeSettings>) -> Self {
        let settings: Vec<&NodeSettings> = settings.into_iter().collect();
        let mut quotas: BTreeMap<&str, usize> = BTreeMap::new();
        let mut nodes = Vec::with_capacity(settings.len());
        for (index, node) in settings.iter().enumerate() {
            let next = settings.len() + quotas.len();
            let quota = node.quota_group.as_deref().map_or(index, |name| *quotas.entry(name).or_insert(next));
            nodes.push(Standing {
                weight: node.weight.max(1).into(),
                credit: 0,
                limit: node.concurrency.max(1),
                in_flight: 0,
                health: [index, quota],
            });
        }
        let health = (0..nodes.len() + quotas.len()).map(|_| Health::default()).collect();
        Self { nodes, health }
    }

    /// Chooses among those that qualify.
    pub(super) fn choose(&mut self, qualifies: impl Fn(usize) -> bool, now: Timestamp) -> Choice {
        let mut earliest: Option<Timestamp> = None;
        let mut is_busy = false;
        let mut total = 0;
        let mut best: Option<usize> = None;
        for index in (0..self.nodes.len()).filter(|index| qualifies(*index)) {
            if let Some(until) = self.cools_until(index, now) {
                earliest = Some(earliest.map_or(until, |other| other.min(until)));
                continue;
            }
            let node = &mut self.nodes[index];
            if node.in_flight >= node.limit {
                is_busy = true;
                continue;
            }
            node.credit += node.weight;
            total += node.weight;
            if best.is_none_or(|best| self.nodes[index].credit > self.nodes[best].credit) {
                best = Some(index);
            }
        }
        match (best, is_busy, earliest) {
            (Some(index), ..) => {
                let node = &mut self.nodes[index];
                node.credit -= total;
                node.in_flight += 1;
                Choice::Node(index)
            }
            (None, true, _) => Choice::Busy,
            (None, false, Some(until)) => Choice::Cooling(until),
            (None, false, None) => Choice::Nobody,
        }
    }

    /// When the first of those that qualify may be called again; nothing where one of them may be now.
    pub(super) fn cool_until(&self, qualifies: impl Fn(usize) -> bool, now: Timestamp) -> Option<Timestamp> {
        let pauses = (0..self.nodes.len()).filter(|index| qualifies(*index)).map(|index| self.cools_until(index, now));
        // Nothing is less than any time.
        pauses.min().flatten()
    }

    /// A call has ended, however.
    pub(super) fn leave(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        node.in_flight = node.in_flight.saturating_sub(1);
    }

    /// A node answered.
    pub(super) fn answered(&mut self, index: usize, now: Timestamp) {
        for at in self.nodes[index].health {
            // An answer that was on its way when the service began to ask for time says nothing about that.
            if self.health[at].is_cool(now) {
                self.health[at] = Health::default();
            }
        }
    }

    /// A node failed. A service that asks for time asks all nodes of its quota.
    pub(super) fn failed(&mut self, index: usize, fault: ModelFault, asked: Option<Duration>, now: Timestamp) {
        let [own, quota] = self.nodes[index].health;
        let is_of_the_quota = matches!(fault, ModelFault::Throttled | ModelFault::Quota);
        let health = &mut self.health[if is_of_the_quota { quota } else { own }];
        // Calls that were under way together and failed together are one failure.
        if health.is_cool(now) {
            health.failures = health.failures.saturating_add(1);
        }
        let first = match fault {
            ModelFault::Quota | ModelFault::Misconfigured => FIRST_LONG_PAUSE,
            _ => FIRST_PAUSE,
        };
        let grown = first.saturating_mul(1 << health.failures.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
        let pause = asked.map_or(grown, |asked| asked.min(LONGEST_ASKED));
        let until = SignedDuration::try_from(pause).ok().and_then(|pause| now.checked_add(pause).ok());
        health.cools_until = health.cools_until.max(until);
    }

    /// Until when a node cools down, if it does.
    fn cools_until(&self, index: usize, now: Timestamp) -> Option<Timestamp> {
        let [own, quota] = self.nodes[index].health;
        [own, quota]
            .into_iter()
            .filter(|at| !self.health[*at].is_cool(now))
            .filter_map(|at| self.health[at].cools_until)
            .max()
    }
}

impl Health {
    /// Whether nothing has to be waited for. What lies further ahead than anybody may ask for is the trace of a clock
    /// that was set back.
    fn is_cool(&self, now: Timestamp) -> bool {
        self.cools_until.is_none_or(|until| {
            let left = until.duration_since(now);
            left <= SignedDuration::ZERO || left > SignedDuration::from_secs(LONGEST_ASKED.as_secs() as i64)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_750_000_000 + seconds).unwrap()
    }

    fn balance(yaml: &str) -> Balance {
        let nodes: Vec<NodeSettings> = serde_saphyr::from_str(yaml).unwrap();
        Balance::new(&nodes)
    }

    fn three() -> Balance {
        balance("[{name: a, provider: bedrock, weight: 5}, {name: b, provider: bedrock}, {name: c, provider: bedrock}]")
    }

    fn chosen(balance: &mut Balance, now: Timestamp) -> Option<usize> {
        match balance.choose(|_| true, now) {
            Choice::Node(index) => {
                balance.leave(index);
                Some(index)
            }
            _ => None,
        }
    }

    #[test]
    fn shares_follow_the_weights_and_are_spread_evenly() {
        let mut balance = three();
        let order: Vec<usize> = (0..14).filter_map(|_| chosen(&mut balance, at(0))).collect();
        assert_eq!(order, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
    }

    #[test]
    fn a_pause_doubles_with_each_failure_until_an_answer_comes() {
        let mut balance = balance("[{name: a, provider: bedrock}]");
        let mut now = 0;
        for pause in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            balance.failed(0, ModelFault::Timeout, None, at(now));
            balance.failed(0, ModelFault::Timeout, None, at(now));
            assert_eq!(balance.choose(|_| true, at(now)), Choice::Cooling(at(now + pause)));
            assert_eq!(balance.choose(|_| true, at(now + pause - 1)), Choice::Cooling(at(now + pause)));
            now += pause;
            assert_eq!(chosen(&mut balance, at(now)), Some(0));
        }
        balance.answered(0, at(now));
        balance.failed(0, ModelFault::Overloaded, None, at(now));
        assert_eq!(balance.choose(|_| true, at(now)), Choice::Cooling(at(now + 1)));
    }

    #[test]
    fn all_cool_down_until_the_first_of_them_may_be_called() {
        let mut balance = three();
        for (index, seconds) in [9, 4, 6].into_iter().enumerate() {
            assert_eq!(balance.cool_until(|_| true, at(0)), None);
            balance.failed(index, ModelFault::Throttled, Some(Duration::from_secs(seconds)), at(0));
        }
        assert_eq!(balance.cool_until(|_| true, at(0)), Some(at(4)));
        assert_eq!(balance.cool_until(|index| index != 1, at(0)), Some(at(6)));
        assert_eq!(balance.cool_until(|_| true, at(4)), None);
        assert_eq!(balance.cool_until(|_| false, at(0)), None);
    }

    #[test]
    fn what_the_service_asks_for_comes_first_and_is_bounded() {
        let mut balance = balance("[{name: a, provider: bedrock}]");
        balance.failed(0, ModelFault::Throttled, Some(Duration::from_secs(7)), at(0));
        assert_eq!(balance.choose(|_| true, at(0)), Choice::Cooling(at(7)));
        balance.answered(0, at(1));
        assert_eq!(balance.choose(|_| true, at(1)), Choice::Cooling(at(7)), "it was on its way before");
        balance.failed(0, ModelFault::Throttled, Some(Duration::MAX), at(8));
        assert_eq!(balance.choose(|_| true, at(8)), Choice::Cooling(at(8 + 3600)));
        balance.failed(0, ModelFault::Throttled, Some(Duration::ZERO), at(8));
        assert_eq!(balance.choose(|_| true, at(8)), Choice::Cooling(at(8 + 3600)), "the longer one stands");
    }

    #[test]
    fn nodes_of_one_quota_cool_down_together_and_only_for_their_quota() {
        let mut balance = balance(
            "[{name: a, provider: bedrock, quota_group: q}, {name: b, provider: bedrock, quota_group: q}, \
              {name: c, provider: bedrock}]",
        );
        balance.failed(0, ModelFault::Timeout, None, at(0));
        assert_eq!(balance.choose(|index| index == 1, at(0)), Choice::Node(1), "the timeout is the node's own");
        balance.failed(1, ModelFault::Throttled, Some(Duration::from_secs(9)), at(0));
        assert_eq!(balance.choose(|index| index == 0, at(5)), Choice::Cooling(at(9)));
        assert_eq!(balance.choose(|index| index == 1, at(5)), Choice::Cooling(at(9)));
        assert_eq!(balance.choose(|index| index == 2, at(5)), Choice::Node(2));
    }

    #[test]
    fn a_node_at_its_limit_is_passed_over() {
        let mut balance = balance(
            "[{name: a, provider: bedrock, concurrency: 1, weight: 9}, {name: b, provider: bedrock, concurrency: 1}]",
        );
        assert_eq!(balance.choose(|_| true, at(0)), Choice::Node(0));
        assert_eq!(balance.choose(|_| true, at(0)), Choice::Node(1));
        assert_eq!(balance.choose(|_| true, at(0)), Choice::Busy);
        balance.leave(1);
        assert_eq!(balance.choose(|_| true, at(0)), Choice::Node(1));
        assert_eq!(balance.choose(|_| false, at(0)), Choice::Nobody);
    }

    #[test]
    fn after_a_thaw_and_after_a_clock_set_back_nobody_cools_for_what_is_long_over() {
        let mut balance = three();
        (0..3).for_each(|index| balance.failed(index, ModelFault::Timeout, Some(Duration::from_secs(60)), at(0)));
        assert_eq!(balance.choose(|_| true, at(59)), Choice::Cooling(at(60)));
        assert!(chosen(&mut balance, at(86_400)).is_some());
        assert!(chosen(&mut balance, at(-86_400)).is_some());
    }
}
