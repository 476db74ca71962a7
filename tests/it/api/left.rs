//! Runs that a call leaves to the consumer, whatever happens at each of the writes by which it does.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use ihelper_testkit::{
    WorkflowTester,
    faults::{JournalLayer, Layered},
};
use ihelper_workflow::{
    domain::{Failure, Kind, Run, RunId, Status, WorkflowType, input::Input},
    ports::{Clock as _, Created, DeadLetter, Journal, Queue},
};

use super::{Front, repeats::question, task};
use crate::consumer::{Bench, bench_on};

const TASK: WorkflowType = WorkflowType::TaskAutomation;
const A_MOMENT: Duration = Duration::from_millis(10);
/// The timeout of the function.
const LONGEST_CALL: Duration = Duration::from_secs(29);

/// What happens at a write.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// It fails.
    Refused,
    /// It is done, and who did it is told that it failed.
    AnswerLost,
    /// Whoever would do it dies.
    DiesBefore,
    /// Whoever did it dies before the answer comes.
    DiesAfter,
    /// It takes as long as a call may last.
    Late,
}

const FAULTS: [Option<Fault>; 6] = [
    None,
    Some(Fault::Refused),
    Some(Fault::AnswerLost),
    Some(Fault::DiesBefore),
    Some(Fault::DiesAfter),
    Some(Fault::Late),
];

/// The queue and the journal of a call, with a fault at each write that one is planned for.
struct Faulty {
    tester: Arc<WorkflowTester>,
    plan: Mutex<VecDeque<Option<Fault>>>,
}

impl Faulty {
    async fn write<T>(&self, write: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        let fault = self.plan.lock().unwrap().pop_front().flatten();
        match fault {
            None => write.await,
            Some(Fault::Refused) => Err(Failure::new(Kind::Connection, "nobody answers")),
            Some(Fault::AnswerLost) => {
                write.await?;
                Err(Failure::new(Kind::Connection, "the answer was lost"))
            }
            Some(Fault::DiesBefore) => std::future::pending().await,
            Some(Fault::DiesAfter) => {
                write.await?;
                std::future::pending().await
            }
            Some(Fault::Late) => {
                self.tester.clock.sleep(LONGEST_CALL - Duration::from_secs(1)).await;
                write.await
            }
        }
    }
}

#[async_trait]
impl JournalLayer for Faulty {
    fn below(&self) -> &dyn Journal {
        &self.tester.journal
    }

    async fn create(&self, run: &Run) -> Result<Created, Failure> {
        self.write(self.tester.journal.create(run)).await
    }
}

struct FaultyQueue(Arc<Layered<Faulty>>);

#[async_trait]
impl Queue for FaultyQueue {
    async fn resume(&self, workflow: WorkflowType, run: RunId, delay: Duration) -> Result<(), Failure> {
        let faulty = &self.0.0;
        faulty.write(faulty.tester.queue.resume(workflow, run, delay)).await
    }

    async fn start(&self, _: &Input, run: RunId, _: &str) -> Result<(), Failure> {
        unreachable!("a call does not leave the beginning of {run} to others")
    }

    async fn fetch(&self, place: &str) -> Result<Vec<u8>, Failure> {
        unreachable!("a call fetches nothing, so not {place}")
    }

    async fn dead_letter(&self, _: WorkflowType, letter: &DeadLetter) -> Result<(), Failure> {
        unreachable!("a call writes no letter, so not {letter:?}")
    }
}

/// Delivers each message that is due until it is deleted, as long as there is one or somebody may send one.
async fn deliver_what_is_due(consumer: &Bench, may_come: &AtomicBool) {
    loop {
        if let Some(message) = consumer.tester.queue.take(TASK) {
            consumer.deliver_until_deleted(message.body.run_id(), message.due_at).await;
        } else if may_come.load(Ordering::Relaxed) {
            consumer.tester.clock.sleep(A_MOMENT).await;
        } else {
            return;
        }
    }
}

/// A call, a fault at each of its writes, the consumer beside it; and, where it was not accepted, the caller once more.
async fn survives(plan: [Option<Fault>; 3]) {
    let tester = Arc::new(question());
    let consumer = bench_on(TASK, Arc::clone(&tester));
    let faulty = Arc::new(Layered(Faulty { tester: Arc::clone(&tester), plan: Mutex::new(plan.into()) }));
    let mut ports = tester.ports().clone();
    ports.journal = faulty.clone();
    let broken = Front::changed(Arc::clone(&tester), |api| {
        api.worker = tester.worker_of(&ports);
        api.queue = Arc::new(FaultyQueue(faulty));
    });

    let (body, is_under_way) = (task(), AtomicBool::new(true));
    let call = async {
        let served = tokio::select! {
            served = broken.keyed_async("k", &body) => Some(served.status.as_u16()),
            () = tester.clock.sleep(LONGEST_CALL) => None,
        };
        is_under_way.store(false, Ordering::Relaxed);
        served
    };
    let (served, ()) = tokio::join!(call, deliver_what_is_due(&consumer, &is_under_way));
    assert!(matches!(served, None | Some(202 | 503)), "{plan:?}: {served:?}");

    if served != Some(202) {
        let front = Front::changed(Arc::clone(&tester), |_| {});
        tester.clock.advance(tester.worker().lease() + Duration::from_secs(2));
        let again = front.keyed_async("k", &task()).await;
        assert!(matches!(again.status.as_u16(), 200 | 202), "{plan:?}: {}", again.text);
        deliver_what_is_due(&consumer, &AtomicBool::new(false)).await;
    }
    let runs = tester.journal.runs();
    assert_eq!((runs.len(), runs[0].status), (1, Status::Succeeded), "{plan:?} after {served:?}");
    assert_eq!(tester.assistant.calls(), ["ask", "generate_report"], "{plan:?}");
    assert!(tester.queue.dead_letters(TASK).is_empty(), "{plan:?}");
}

#[tokio::test]
async fn a_run_that_was_accepted_is_done_and_one_that_was_not_is_when_the_caller_asks_again() {
    for first in FAULTS {
        for second in FAULTS {
            for third in FAULTS {
                survives([first, second, third]).await;
            }
        }
    }
}
