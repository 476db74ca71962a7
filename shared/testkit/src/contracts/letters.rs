//! What must be true of all [`DeadLetters`], together with the [`Queue`] that fills them.

use std::collections::BTreeSet;

use ihelper_workflow::{
    domain::{Kind, WorkflowType},
    ports::{DeadLetter, DeadLetters, MOST_LETTERS, Queue},
};

use super::{DOCUMENT, EMAIL, TASK, run_id};

/// Makes a test of every case of the dead letters' contract, each on queues that the expression makes anew.
#[macro_export]
macro_rules! letters_contract {
    ($port:expr) => {
        $crate::contract_tests! { $port, letters:
            a_letter_is_found_as_it_was_put,
            looking_takes_nothing_away,
            as_many_letters_are_shown_as_were_asked_for,
            letters_that_were_sent_back_are_gone,
            letters_that_were_discarded_are_gone,
            unknown_letters_are_not_found,
            a_workflow_has_letters_of_its_own,
            numbers_out_of_range_are_refused,
        }
    };
}

fn letter(number: u128) -> DeadLetter {
    DeadLetter {
        body: format!("{{\"number\": {number}"),
        reason: "the message is not JSON".to_owned(),
        kind: Kind::Validation,
        run: number.is_multiple_of(2).then(|| run_id(0, number)),
    }
}

async fn put(port: &impl Queue, workflow: WorkflowType, number: u128) -> String {
    let letter = letter(number);
    port.dead_letter(workflow, &letter).await.unwrap();
    letter.body
}

async fn bodies(port: &impl DeadLetters, workflow: WorkflowType) -> BTreeSet<String> {
    port.look(workflow, MOST_LETTERS).await.unwrap().into_iter().map(|letter| letter.body).collect()
}

async fn ids(port: &impl DeadLetters, workflow: WorkflowType) -> Vec<String> {
    port.look(workflow, MOST_LETTERS).await.unwrap().into_iter().map(|letter| letter.id).collect()
}

/// Body, reason, kind and run come back.
pub async fn a_letter_is_found_as_it_was_put(port: &(impl Queue + DeadLetters)) {
    assert_eq!(port.look(EMAIL, 10).await.unwrap(), []);
    for number in [1, 2] {
        put(port, EMAIL, number).await;
        let found = port.look(EMAIL, 10).await.unwrap();
        let put = letter(number);
        let found = found.iter().find(|found| found.body == put.body).unwrap();
        assert_eq!(found.reason.as_deref(), Some(put.reason.as_str()));
        assert_eq!(found.kind.as_deref(), Some("validation"));
        assert_eq!(found.run, put.run);
        assert!(!found.id.is_empty());
    }
}

/// Whoever looks next sees the same letters, under the same ids.
pub async fn looking_takes_nothing_away(port: &(impl Queue + DeadLetters)) {
    for number in 0..3 {
        put(port, TASK, number).await;
    }
    let first = port.look(TASK, 10).await.unwrap();
    assert_eq!(first.len(), 3);
    assert_eq!(port.look(TASK, 10).await.unwrap(), first);
    assert_eq!(port.look(TASK, 10).await.unwrap(), first);
}

/// At most that many, the oldest first.
pub async fn as_many_letters_are_shown_as_were_asked_for(port: &(impl Queue + DeadLetters)) {
    let mut put_so_far = BTreeSet::new();
    for number in 0..25 {
        put_so_far.insert(put(port, DOCUMENT, number).await);
    }
    for limit in [1, 9, 25, MOST_LETTERS] {
        let shown = port.look(DOCUMENT, limit).await.unwrap();
        assert_eq!(shown.len(), limit.min(25));
        assert!(shown.is_sorted_by_key(|letter| letter.at));
        assert_eq!(shown.iter().map(|letter| &letter.id).collect::<BTreeSet<_>>().len(), shown.len());
    }
    assert_eq!(bodies(port, DOCUMENT).await, put_so_far);
}

/// They and no others.
pub async fn letters_that_were_sent_back_are_gone(port: &(impl Queue + DeadLetters)) {
    for number in 0..12 {
        put(port, EMAIL, number).await;
    }
    let before = port.look(EMAIL, MOST_LETTERS).await.unwrap();
    let chosen = [before[1].id.clone(), before[10].id.clone(), before[1].id.clone()];
    let sent = port.redrive(EMAIL, &chosen).await.unwrap();
    assert_eq!(sent, [before[1].clone(), before[10].clone()]);
    let left: Vec<String> = before.into_iter().map(|letter| letter.id).filter(|id| !chosen.contains(id)).collect();
    assert_eq!(ids(port, EMAIL).await, left);
    // Again, it finds nothing to do.
    assert_eq!(port.redrive(EMAIL, &chosen).await.unwrap(), []);
    assert_eq!(ids(port, EMAIL).await, left);
}

/// They and no others.
pub async fn letters_that_were_discarded_are_gone(port: &(impl Queue + DeadLetters)) {
    for number in 0..3 {
        put(port, EMAIL, number).await;
    }
    let before = port.look(EMAIL, MOST_LETTERS).await.unwrap();
    let discarded = port.discard(EMAIL, &[before[0].id.clone(), before[2].id.clone()]).await.unwrap();
    assert_eq!(discarded, [before[0].clone(), before[2].clone()]);
    assert_eq!(port.look(EMAIL, MOST_LETTERS).await.unwrap(), before[1..2]);
}

/// Whatever the id looks like, and also among known ones.
pub async fn unknown_letters_are_not_found(port: &(impl Queue + DeadLetters)) {
    put(port, EMAIL, 0).await;
    let known = ids(port, EMAIL).await.remove(0);
    let strange = ["", "absent", "'; --", "\u{0}", "é"].map(str::to_owned);
    assert_eq!(port.redrive(EMAIL, &[]).await.unwrap(), []);
    assert_eq!(port.redrive(EMAIL, &strange).await.unwrap(), []);
    assert_eq!(port.discard(EMAIL, &strange).await.unwrap(), []);
    let found = port.discard(EMAIL, &[strange[0].clone(), known, strange[1].clone()]).await.unwrap();
    assert_eq!(found.len(), 1);
}

/// A letter of one is not found among those of another.
pub async fn a_workflow_has_letters_of_its_own(port: &(impl Queue + DeadLetters)) {
    put(port, EMAIL, 0).await;
    let of_email = ids(port, EMAIL).await;
    assert_eq!(bodies(port, TASK).await, BTreeSet::new());
    assert_eq!(port.redrive(TASK, &of_email).await.unwrap(), []);
    assert_eq!(ids(port, EMAIL).await, of_email);
}

/// No call goes through a queue without end.
pub async fn numbers_out_of_range_are_refused(port: &(impl Queue + DeadLetters)) {
    for limit in [0, MOST_LETTERS + 1, usize::MAX] {
        assert_eq!(port.look(EMAIL, limit).await.unwrap_err().kind, Kind::Validation);
    }
    let many: Vec<String> = (0..=MOST_LETTERS).map(|number| number.to_string()).collect();
    assert_eq!(port.redrive(EMAIL, &many).await.unwrap_err().kind, Kind::Validation);
    assert_eq!(port.discard(EMAIL, &many).await.unwrap_err().kind, Kind::Validation);
}

#[cfg(test)]
mod memory {
    use crate::memory::{MemoryQueue, VirtualClock};

    letters_contract!(async { MemoryQueue::new(VirtualClock::default()) });
}
