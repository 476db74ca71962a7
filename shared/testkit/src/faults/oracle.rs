//! What must be true of a run whatever happened to it.

use std::collections::{BTreeMap, BTreeSet};

use ihelper_workflow::{
    domain::{
        Kind, Run, Status,
        run::{Entry, History, Segment, StepKind, StepRecord, StepState, Usage},
    },
    ports::Claim,
};
use serde_json::Value;

use super::{
    assistant::ScriptedAssistant,
    play::Played,
    ports::{LETTER, MAIL},
    scenario::Scenario,
    schedule::{Fault, Schedule},
    world::intended,
};

/// What came of the run that nothing happened to.
pub(super) struct Undisturbed {
    result: Option<Value>,
    /// What was done to the world, by port and key.
    effects: BTreeSet<(&'static str, String)>,
}

impl Undisturbed {
    pub(super) fn of(played: &Played) -> Self {
        Self { result: played.result().map(comparable), effects: effects(played) }
    }
}

fn effects(played: &Played) -> BTreeSet<(&'static str, String)> {
    played.performed.iter().map(|done| (done.port, done.key.clone())).collect()
}

/// The promises that a play broke, those included that were found broken on the way.
pub(super) fn violations(
    scenario: &Scenario,
    schedule: &Schedule,
    played: &Played,
    undisturbed: &Undisturbed,
) -> Vec<String> {
    let mut found = played.violations.clone();
    let Some(run) = &played.run else {
        found.push("the run was lost: there is none".to_owned());
        return found;
    };
    standing(scenario, run, played, &mut found);
    outcome(scenario, schedule, run, played, undisturbed, &mut found);
    world(played, &mut found);
    letters(schedule, run, played, &mut found);
    journal(played, &mut found);
    if let Some(begun) = &played.begun_when_cancelled {
        cancelled(run, begun, played, &mut found);
    }
    found
}

/// The run has ended, or rests where somebody can set it going again.
fn standing(scenario: &Scenario, run: &Run, played: &Played, found: &mut Vec<String>) {
    let resumable = match run.status {
        Status::Succeeded | Status::Failed | Status::Cancelled => true,
        // Without anything unsettled, nobody would know what to look up.
        Status::Attention => !scenario.settles && !intended(&played.steps).is_empty(),
        // Every message about it was delivered by now.
        Status::Waiting | Status::Queued | Status::Running => false,
    };
    if !resumable {
        found.push(format!("the run is {} and nobody will go on with it", run.status));
    }
}

/// A run that succeeded came to what it would have come to anyway; one that did not says why, and had reason.
fn outcome(
    scenario: &Scenario,
    schedule: &Schedule,
    run: &Run,
    played: &Played,
    undisturbed: &Undisturbed,
    found: &mut Vec<String>,
) {
    match run.status {
        Status::Succeeded => {
            if run.result.as_ref().map(comparable) != undisturbed.result {
                found.push(format!("the result is another one: {:?}, not {:?}", run.result, undisturbed.result));
            }
            let marks = run.result.as_ref().map(ScriptedAssistant::marks).unwrap_or_default();
            let known = marks_of(&played.steps);
            if let Some(unknown) = marks.difference(&known).next() {
                found.push(format!("the result rests on the answer ⟨{unknown}⟩, which no journal has"));
            }
            if effects(played) != undisturbed.effects {
                let (did, should) = (effects(played), &undisturbed.effects);
                found.push(format!("other things were done than should have been: {did:?}, not {should:?}"));
            }
            let mut usage = Usage::default();
            played.steps.iter().for_each(|step| usage += step.usage);
            if run.usage != usage {
                found.push(format!("the run counts {:?} and its steps {usage:?}", run.usage));
            }
        }
        Status::Failed => {
            let most = scenario.configuration.of(run.workflow).retry.max_attempts;
            // No fault costs a run more than one attempt.
            let struck = played.calls.iter().filter(|call| call.fault.is_some()).count();
            match &run.error {
                None => found.push("the run failed and nobody knows why".to_owned()),
                Some(error) if !error.kind.retryable() || error.message.is_empty() => {
                    found.push(format!("the run failed for good although every fault would have passed: {error:?}"));
                }
                Some(_) if run.failed_attempts < most || struck < most as usize => {
                    found.push(format!("the run failed after {struck} faults and {} attempts", run.failed_attempts));
                }
                Some(_) => {}
            }
        }
        Status::Cancelled => {
            if !schedule.cancels() {
                found.push("the run was cancelled by nobody".to_owned());
            }
            if run.error.as_ref().is_none_or(|error| error.kind != Kind::Cancelled) {
                found.push(format!("the run was cancelled and says otherwise: {:?}", run.error));
            }
        }
        Status::Queued | Status::Running | Status::Waiting | Status::Attention => {}
    }
}

/// No mail twice; everything else, if twice, the same.
fn world(played: &Played, found: &mut Vec<String>) {
    let mut contents: BTreeMap<(&str, &str), Vec<&Value>> = BTreeMap::new();
    for done in &played.performed {
        contents.entry((done.port, &done.key)).or_default().push(&done.content);
    }
    for ((port, key), contents) in contents {
        if port == MAIL && contents.len() > 1 {
            found.push(format!("the mail {key} was sent {} times", contents.len()));
        }
        if contents.iter().any(|content| *content != contents[0]) {
            found.push(format!("{port} {key} was done with different contents: {contents:?}"));
        }
    }
    match played.claim_of_another {
        None | Some(Claim::AnsweredAlready) => {}
        Some(other) => found.push(format!("a sender was answered and another run would be told {other:?}")),
    }
}

/// A failed run has its dead letter, once unless somebody could not know that it was sent; another run has none.
fn letters(schedule: &Schedule, run: &Run, played: &Played, found: &mut Vec<String>) {
    let letters = played.performed.iter().filter(|done| done.port == LETTER).count();
    // One that was sent and could not be noted is no debt to anybody.
    if run.owes_letter && letters == 0 {
        found.push("a dead letter is owed and nobody will send it".to_owned());
    }
    // The answer to one of the two calls was lost, or two workers saw the run end at once.
    let excuses = schedule.faults.iter().any(|planned| {
        let call = played.calls.get(planned.call).map(|call| call.name);
        matches!(call, Some("queue.dead_letter" | "journal.letter_sent"))
            || matches!(planned.fault, Fault::DeliverTwice | Fault::LeaseExpires)
    });
    let right = match run.status {
        Status::Failed => letters == 1 || (letters > 1 && excuses),
        _ => letters == 0,
    };
    if !right {
        found.push(format!("the run is {} and led to {letters} dead letters", run.status));
    }
}

/// The journal has no gaps, and each entry may follow those before it.
fn journal(played: &Played, found: &mut Vec<String>) {
    let mut history = History::default();
    for (number, segment) in (0..).zip(&played.segments) {
        if segment.number != number {
            found.push(format!("segment {number} is missing"));
            return;
        }
        if segment.entries.is_empty() {
            found.push(format!("segment {number} is empty"));
        }
        for entry in &segment.entries {
            if let Entry::Step(step) = entry
                && let Some(problem) = problem(&history, step)
            {
                found.push(format!("segment {number}: {problem}"));
            }
            history.apply(Segment { number, entries: vec![entry.clone()] });
        }
    }
}

fn problem(history: &History, step: &StepRecord) -> Option<String> {
    let standing = history.at(&step.position);
    if let Some(other) = standing.filter(|other| other.name != step.name || other.kind != step.kind) {
        return Some(format!("`{}` has the position {} of `{}`", step.name, step.position, other.name));
    }
    let follows = match standing.map(|standing| standing.state) {
        None | Some(StepState::Released) => true,
        Some(StepState::Intended) => matches!(step.state, StepState::Done | StepState::Released),
        Some(StepState::Waiting) => step.state == StepState::Done,
        Some(StepState::Done) => false,
    };
    if !follows {
        return Some(format!("`{}` is {:?} after {:?}", step.name, step.state, standing.map(|other| other.state)));
    }
    let may_follow_a_cancellation =
        step.kind == StepKind::Effect && matches!(step.state, StepState::Done | StepState::Released);
    if history.is_cancelled() && !may_follow_a_cancellation {
        return Some(format!("`{}` is {:?} after the run was cancelled", step.name, step.state));
    }
    None
}

/// After a cancellation no mail was begun; the run ended so, or had all but ended.
fn cancelled(run: &Run, begun: &BTreeSet<String>, played: &Played, found: &mut Vec<String>) {
    if run.status != Status::Cancelled {
        found.push(format!("the run was cancelled and is {}", run.status));
    }
    let mails = played.performed.iter().filter(|done| done.port == MAIL);
    for position in mails.filter_map(|mail| mail.key.split_once('/')).map(|(_, position)| position) {
        if !begun.contains(position) {
            found.push(format!("the mail at {position} was begun after the run was cancelled"));
        }
    }
}

/// Everything that the assistant said and the journal kept.
fn marks_of(steps: &[StepRecord]) -> BTreeSet<String> {
    steps.iter().flat_map(|step| ScriptedAssistant::marks(&step.output)).collect()
}

/// A result without what differs from play to play: marks, and the ids that a mail service gives.
fn comparable(result: &Value) -> Value {
    fn without_ids(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(without_ids),
            Value::Object(fields) => {
                for (name, field) in fields {
                    if name == "message_id" {
                        *field = Value::Null;
                    }
                    without_ids(field);
                }
            }
            _ => {}
        }
    }
    let mut result = ScriptedAssistant::unmarked(result);
    without_ids(&mut result);
    result
}
