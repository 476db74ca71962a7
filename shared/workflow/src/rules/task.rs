//! Splits a task into steps and gives each the tool that can honestly do it.
//!
//! Rules cannot do the work itself. What they can: answer from the task's own text (`ask_assistant`), tell other
//! systems (`publish_event`), wait for a time that the task names (`wait`), ask for approval and do what depends on it
//! only then (`request_approval`), and keep a checklist entry with everything known about the step for the person who
//! does it (`set_record`).
//!
//! Invariants: at least one step and at most [`MAX_PLAN_STEPS`]; only tools that exist; a step depends only on
//! earlier ones; every text that came with the task is put into arguments as a literal, so template syntax in it
//! is never interpreted; what orders nothing stays with the first step as its context. Deliberately absent: mail, HTTP and workflows started from a task's words, because a
//! task's text is never a source of addresses.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    dates::{Mention, mentions},
    lists::{List, list},
    text::{Marker, list_item, one_line, sentences},
};
use crate::domain::{
    Failure,
    task::{MAX_PLAN_STEPS, Plan, PlanStep, TaskInput},
};
use crate::engine::LONGEST_WAIT;
use crate::templates::literal;

/// How much of a step's words goes on; with every brace escaped they stay far below the fuel of a template.
const LONGEST_STEP: usize = 2000;
const LONGEST_TITLE: usize = 120;
/// The type of the event that asks others to do a step.
const EVENT_TYPE: &str = "task_step_requested";

/// Plans a task with the tools that exist.
///
/// # Errors
/// This returns an error of kind `Validation` when none of `set_record`, `publish_event` and `ask_assistant` exists.
pub(super) fn plan(task: &TaskInput, tools: &[(&str, &str)]) -> Result<Plan, Failure> {
    let mut steps: Vec<PlanStep> = split(task)
        .into_iter()
        .enumerate()
        .map(|(index, step)| to_plan_step(task, index, &step, tools))
        .collect::<Result<_, _>>()?;
    let approvals: Vec<String> =
        steps.iter().filter(|step| step.tool == "request_approval").map(|step| step.id.clone()).collect();
    for step in &mut steps {
        let conditions: Vec<String> = step
            .depends_on
            .iter()
            .filter(|id| approvals.contains(id))
            .map(|id| format!("results.{id}.approved"))
            .collect();
        if !conditions.is_empty() {
            step.when = Some(conditions.join(" and "));
        }
    }
    Ok(Plan { steps, ..Plan::default() })
}

/// A step as the task's words describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Step {
    /// Its words, on one line.
    pub(super) text: String,
    /// When it is due: an ISO date, or the words.
    pub(super) due: Option<String>,
    /// Who does it, in the task's words.
    pub(super) assignee: Option<String>,
    /// How much it presses.
    pub(super) priority: Priority,
    /// Who is mentioned with `@`.
    pub(super) mentions: Vec<String>,
    /// The earlier steps that come first, by index.
    pub(super) after: Vec<usize>,
    /// What the task says besides its orders, on one line; the first step alone has it.
    pub(super) context: Option<String>,
}

impl Step {
    /// What to call it.
    pub(super) fn title(&self) -> String {
        one_line(&self.text, LONGEST_TITLE)
    }
}

/// How much a step presses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Priority {
    /// It can wait.
    Low,
    /// As usual.
    Normal,
    /// Before others.
    High,
}

impl Priority {
    /// The name in records.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
        }
    }
}

/// The id of the step at an index.
pub(super) fn id_of(index: usize) -> String {
    format!("step_{}", index + 1)
}

/// The steps of a task: the items of its lists and the orders in its sentences; one step when it has neither.
pub(super) fn split(task: &TaskInput) -> Vec<Step> {
    let (mut pieces, mut background) = pieces(&task.description);
    if pieces.is_empty() {
        let text = [task.title.as_deref().unwrap_or_default(), &task.description]
            .into_iter()
            .map(|text| one_line(text, LONGEST_STEP))
            .find(|text| !text.is_empty())
            .unwrap_or_else(|| "Do the task".to_owned());
        // A title that stands for the task leaves the description to be said; without one it is said already.
        if task.title.as_deref().is_none_or(|title| title.trim().is_empty()) {
            background.clear();
        }
        pieces.push(Piece { text, order: Order::None, in_list: false });
    }
    let rest = pieces.len().saturating_sub(MAX_PLAN_STEPS);
    if rest > 0 {
        // Nothing gets lost without a word: the last step says how much is not in the plan.
        pieces.truncate(MAX_PLAN_STEPS - 1);
        let text = format!("{} more steps of the task's description", rest + 1);
        pieces.push(Piece { text, order: Order::None, in_list: false });
    }
    let overall = Overall::of(task);
    let mut context = Some(one_line(&background, LONGEST_STEP)).filter(|context| !context.is_empty());
    let mut steps: Vec<Step> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let after = match piece.order {
            Order::AfterPrevious => steps.len().checked_sub(1).into_iter().collect(),
            Order::AfterAll => leaves(&steps),
            Order::BesidePrevious => steps.last().map(|previous| previous.after.clone()).unwrap_or_default(),
            Order::None => Vec::new(),
        };
        let (assignee, mentions) = people(&piece.text);
        steps.push(Step {
            due: due(&piece.text).or_else(|| overall.due.clone()),
            assignee: assignee.or_else(|| overall.assignee.clone()),
            priority: priority(&piece.text).or(overall.priority).unwrap_or(Priority::Normal),
            mentions,
            after,
            context: context.take(),
            text: piece.text,
        });
    }
    steps
}

// The steps that no other comes after yet.
fn leaves(steps: &[Step]) -> Vec<usize> {
    let mut is_leaf = vec![true; steps.len()];
    for step in steps {
        for before in &step.after {
            is_leaf[*before] = false;
        }
    }
    is_leaf.iter().enumerate().filter(|(_, leaf)| **leaf).map(|(index, _)| index).collect()
}

fn to_plan_step(task: &TaskInput, index: usize, step: &Step, tools: &[(&str, &str)]) -> Result<PlanStep, Failure> {
    let exists = |tool: &str| tools.iter().any(|(name, _)| *name == tool);
    let wanted = match action(&step.text) {
        Action::Wait(_) => ["wait", "set_record", "publish_event"],
        Action::Approval => ["request_approval", "set_record", "publish_event"],
        Action::Answer => ["ask_assistant", "set_record", "publish_event"],
        Action::Announce => ["publish_event", "set_record", "ask_assistant"],
        Action::Other => ["set_record", "publish_event", "ask_assistant"],
    };
    let tool = wanted.into_iter().find(|tool| exists(tool)).ok_or_else(|| {
        Failure::validation("none of the tools `set_record`, `publish_event` and `ask_assistant` is there to plan with")
    })?;
    let id = id_of(index);
    let optional = |text: &Option<String>| text.as_deref().map_or(Value::Null, |text| json!(literal(text)));
    let mut arguments = match tool {
        "ask_assistant" => json!({ "instruction": literal(&step.text), "text": "{{ task.description }}" }),
        "wait" => json!({ "seconds": waited_for(&step.text) }),
        "request_approval" => json!({
            "question": literal(&step.text),
            "details": { "task_id": literal(&task.id), "title": optional(&task.title), "due": optional(&step.due) },
        }),
        "publish_event" => json!({
            "type": EVENT_TYPE,
            "detail": {
                "task_id": literal(&task.id),
                "step": id,
                "text": literal(&step.text),
                "due": optional(&step.due),
                "assignee": optional(&step.assignee),
                "priority": step.priority.name(),
            },
        }),
        _ => json!({
            "name": id,
            "value": {
                "title": literal(&step.title()),
                "text": literal(&step.text),
                "due": optional(&step.due),
                "assignee": optional(&step.assignee),
                "priority": step.priority.name(),
                "mentions": step.mentions.iter().map(|name| literal(name)).collect::<Vec<_>>(),
            },
        }),
    };
    // An answer is taken from the whole description, which has the context.
    if let Some(context) = &step.context
        && let Some(Value::Object(known)) = ["/detail", "/value"].iter().find_map(|at| arguments.pointer(at))
    {
        let mut known = known.clone();
        known.insert("context".to_owned(), json!(literal(context)));
        let name = if tool == "publish_event" { "detail" } else { "value" };
        arguments[name] = Value::Object(known);
    }
    let arguments: BTreeMap<String, Value> = match arguments {
        Value::Object(fields) => fields.into_iter().collect(),
        _ => BTreeMap::new(),
    };
    Ok(PlanStep {
        id,
        title: step.title(),
        tool: tool.to_owned(),
        arguments,
        depends_on: step.after.iter().map(|before| id_of(*before)).collect(),
        ..PlanStep::default()
    })
}

/// A piece of the description that is a step.
struct Piece {
    text: String,
    order: Order,
    in_list: bool,
}

/// When a step may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    /// At once.
    None,
    /// When the step before it is through.
    AfterPrevious,
    /// When everything before it is through.
    AfterAll,
    /// When the step before it may.
    BesidePrevious,
}

// The steps' pieces in order, and what of the description is none of them.
fn pieces(description: &str) -> (Vec<Piece>, String) {
    let mut found: Vec<Piece> = Vec::new();
    let mut background = String::new();
    let mut prose = String::new();
    let mut is_material = false;
    // The indentation of the item that is open: deeper lines belong to it.
    let mut open_item: Option<usize> = None;
    let mut is_done_item = false;
    for line in description.lines() {
        if is_material {
            break;
        }
        let indent = line.len() - line.trim_start().len();
        let belongs = open_item.is_some_and(|item| indent > item);
        match list_item(line) {
            Some(item) if !belongs => {
                is_material = prose_pieces(&std::mem::take(&mut prose), &mut found, &mut background);
                if is_material {
                    break;
                }
                open_item = Some(indent);
                is_done_item = item.marker == Marker::Done;
                if !is_done_item {
                    let order = item_order(item.text, item.marker, found.is_empty());
                    found.push(Piece { text: one_line(without_cue(item.text).0, LONGEST_STEP), order, in_list: true });
                }
            }
            Some(item) if !is_done_item => append(&mut found, item.text),
            None if belongs && !line.trim().is_empty() => {
                if !is_done_item {
                    append(&mut found, line);
                }
            }
            None if line.trim().is_empty() => prose.push('\n'),
            None => {
                open_item = None;
                prose.push_str(line);
                prose.push('\n');
            }
            Some(_) => {}
        }
        // More than the plan can hold is only counted, and not kept in full.
        if found.len() > 10 * MAX_PLAN_STEPS {
            break;
        }
    }
    if !is_material {
        prose_pieces(&prose, &mut found, &mut background);
    }
    found.retain(|piece| piece.text.chars().any(char::is_alphanumeric));
    (found, background)
}

// Keeps what orders nothing; more than one line of it can hold is only counted as more.
fn keep(background: &mut String, text: &str) {
    if background.len() <= 4 * LONGEST_STEP {
        background.push_str(text.trim());
        background.push(' ');
    }
}

fn append(found: &mut [Piece], line: &str) {
    if let Some(last) = found.last_mut() {
        let separator = if last.text.ends_with([':', ';', ',', '.']) { " " } else { "; " };
        last.text = one_line(&format!("{}{separator}{}", last.text, line.trim()), LONGEST_STEP);
    }
}

fn item_order(text: &str, marker: Marker, is_first: bool) -> Order {
    match (without_cue(text).1, marker) {
        (Some(order), _) => order,
        (None, Marker::Number) if !is_first => Order::AfterPrevious,
        (None, _) => Order::None,
    }
}

// The orders in sentences, each with its place in the sequence. Whether what follows is no more of the task, but the
// text that it is about ("Summarize the following: …").
fn prose_pieces(prose: &str, found: &mut Vec<Piece>, background: &mut String) -> bool {
    const ENDS: List = list!(
        "when done | once done | when finished | once finished | when it is done | when all is done | \
        when everything is done | when complete | wenn alles erledigt ist | wenn fertig",
    );
    let all = sentences(prose);
    // Who goes on with "then" and "finally" gives orders to the end, and not a text to work on.
    let last_in_sequence = all.iter().rposition(|sentence| {
        let (bare, cue) = without_cue(sentence);
        matches!(cue, Some(Order::AfterPrevious | Order::AfterAll)) && is_order(bare)
    });
    for (place, whole) in all.into_iter().enumerate() {
        let sentence = whole.strip_suffix(':').unwrap_or(whole);
        let is_announcement = sentence.len() < whole.len();
        // What ends in a colon announces the list below it, unless it says what to do with the text below.
        if is_announcement && !answers_from_below(without_cue(sentence).0) {
            keep(background, whole);
            continue;
        }
        let goes_on = last_in_sequence.is_some_and(|last| last > place);
        for (index, clause) in clauses(sentence).into_iter().enumerate() {
            let (bare, cue) = without_cue(clause.text);
            if !is_order(bare) {
                keep(background, clause.text);
                continue;
            }
            if let Some(instruction) = about_what_follows(bare, goes_on, cue.is_some()) {
                let order = cue.unwrap_or(if clause.joined { Order::AfterPrevious } else { Order::None });
                found.push(Piece { text: one_line(trimmed(instruction), LONGEST_STEP), order, in_list: false });
                if instruction.len() < bare.len() || !(sentence.contains(": ") || is_announcement) {
                    return true;
                }
                continue;
            }
            // "Do this and that": one after the other; without a word about it, sentences stand beside each other.
            let order = match (cue, index, clause.joined) {
                // After a list of things that stand beside each other comes after all of them.
                (Some(Order::AfterPrevious), 0, _) if found.last().is_some_and(|last| last.in_list) => Order::AfterAll,
                (Some(order), _, _) => order,
                (None, _, _) if ENDS.iter().any(|end| bare.to_lowercase().trim_end_matches('.').ends_with(end)) => {
                    Order::AfterAll
                }
                (None, 1.., true) => Order::AfterPrevious,
                _ => Order::None,
            };
            found.push(Piece { text: one_line(trimmed(bare), LONGEST_STEP), order, in_list: false });
        }
        if is_announcement {
            return true;
        }
    }
    false
}

const FOLLOWS: List = list!("following | below | folgenden | folgende | unten");

// "Summarize:", "List all dates in the following text:"
fn answers_from_below(announcement: &str) -> bool {
    let lower = announcement.to_lowercase();
    action(announcement) == Action::Answer && (EXTRACTS.begins(without_name(&lower)) || FOLLOWS.is_in(&lower))
}

// The instruction in a clause that can be followed from the task's own text, where that text comes next: it says so,
// or a colon is followed by a sentence of its own. A colon in the middle of a sentence ("what they ordered: forty
// seats") announces only the rest of that sentence.
fn about_what_follows(clause: &str, goes_on: bool, is_in_sequence: bool) -> Option<&str> {
    let (instruction, rest) = clause.split_once(": ").unwrap_or((clause, ""));
    if action(instruction) != Action::Answer {
        return None;
    }
    let is_about = if points_below(instruction) {
        !(goes_on && is_in_sequence)
    } else {
        !goes_on && rest.trim_start_matches(['"', '“', '„', '«', '\'']).starts_with(char::is_uppercase)
    };
    is_about.then_some(instruction)
}

/// Whether an instruction says that the text it is about comes after it.
pub(super) fn points_below(instruction: &str) -> bool {
    FOLLOWS.is_in(&instruction.to_lowercase())
}

/// Whether a sentence gives an order, after words of sequence or not.
pub(super) fn gives_order(sentence: &str) -> bool {
    is_order(without_cue(sentence).0)
}

fn trimmed(text: &str) -> &str {
    text.trim().trim_end_matches(['.', ';', ',']).trim_end()
}

/// A part of a sentence that gives an order of its own.
struct Clause<'text> {
    text: &'text str,
    /// Whether "and" or a semicolon joins it to the one before.
    joined: bool,
}

// Cut before "and", "then" and the like, where an order follows.
fn clauses(sentence: &str) -> Vec<Clause<'_>> {
    // Longer ones first: of ", and then " all counts.
    const JOINTS: &[&str] = &[
        ", and then ",
        ", und dann ",
        " and then ",
        " und dann ",
        ", then ",
        ", dann ",
        " while ",
        " then ",
        ", and ",
        ", und ",
        " and ",
        " und ",
        "; ",
        ", ",
    ];
    let mut found = Vec::new();
    let mut start = 0;
    let mut joined = false;
    let mut skip_to = 0;
    for (at, _) in sentence.match_indices([' ', ',', ';']) {
        if at < skip_to {
            continue;
        }
        let begins = |joint: &&&str| {
            sentence.as_bytes()[at..].get(..joint.len()).is_some_and(|head| head.eq_ignore_ascii_case(joint.as_bytes()))
        };
        // "Desks etc. Finally, pay": an abbreviation that ended the sentence after all, as the word of sequence says.
        let after_stop = sentence[..at].ends_with('.').then_some(&" ");
        let Some(joint) = JOINTS.iter().find(begins).or(after_stop) else { continue };
        let next = at + joint.len();
        let (bare, cue) = without_cue(&sentence[next..]);
        if *joint == " " {
            if cue.is_some() && begins_with_order(bare) {
                found.push(Clause { text: &sentence[start..at], joined });
                (start, joined) = (next, false);
            }
            continue;
        }
        skip_to = next;
        if begins_with_order(bare) && (*joint != ", " || cue.is_some() || is_order(&sentence[start..at])) {
            found.push(Clause { text: &sentence[start..at], joined });
            // The joint's own "then" is the cue of what follows.
            start = at + joint.find("then").or_else(|| joint.find("dann")).unwrap_or(joint.len());
            joined = *joint != " while ";
        }
    }
    found.push(Clause { text: &sentence[start..], joined });
    found
}

// The text without the words of sequence at its beginning, and what they say.
fn without_cue(text: &str) -> (&str, Option<Order>) {
    const CUES: &[(Order, List)] = &[
        (
            Order::BesidePrevious,
            list!(
                "in parallel | at the same time | meanwhile | simultaneously | also | parallel dazu | gleichzeitig | \
                außerdem",
            ),
        ),
        (
            Order::AfterPrevious,
            list!(
                "after that | afterwards | once that is done | once this is done | once done | when done | next | \
                and then | then | danach | anschließend | dann",
            ),
        ),
        (
            Order::AfterAll,
            list!(
                "and finally | finally | lastly | at the end | when everything is done | zum schluss | schließlich | \
                abschließend | zuletzt",
            ),
        ),
        (Order::None, list!("firstly | first | zuerst | als erstes")),
    ];
    let length_of = |text: &str, list: &List| {
        list.iter().find_map(|cue| {
            let head = text.get(..cue.len())?;
            let is_cue = head.to_lowercase() == cue && text[cue.len()..].starts_with([' ', ',', ':']);
            is_cue.then_some(cue.len())
        })
    };
    let mut rest = text.trim_start();
    let mut said = None;
    // "And then, finally": two or three cues in a row say something, more are no sentence.
    for _ in 0..3 {
        let Some((order, length)) = CUES.iter().find_map(|(order, list)| Some((*order, length_of(rest, list)?))) else {
            break;
        };
        rest = rest[length..].trim_start_matches([' ', ',', ':']);
        if order != Order::None || said.is_none() {
            said = Some(order);
        }
    }
    (rest, said)
}

// Whether a clause tells someone to do something.
fn is_order(clause: &str) -> bool {
    const TELLS: List = list!(
        "please | could you | can you | would you | könnten sie | können sie | kannst du | we need to | we have to | \
        you need to | you have to | you should | we should | we must | you must | needs to | need to be | has to | \
        have to be | must be | should be | make sure | remember to | don't forget to | bitte | wir müssen | \
        du musst | sie müssen | muss | müssen | soll | sollte | nicht vergessen",
    );
    let lower = clause.to_lowercase();
    // "Do this: call them"
    let is_announced = || clause.split_once(": ").is_some_and(|(_, order)| begins_with_order(order));
    begins_with_order(clause) || TELLS.is_in(&lower) || named_order(clause) || is_announced()
}

// "Anna: call them", "@ben call them", "Anna should call them"
fn named_order(clause: &str) -> bool {
    let (name, _) = people(clause);
    name.is_some_and(|name| {
        let rest = clause.trim_start_matches('@').trim_start();
        rest.starts_with(&name)
    })
}

/// Whether a text begins with a verb as orders do, after "please" and the like.
pub(super) fn begins_with_order(clause: &str) -> bool {
    const FINITE: List =
        list!("is | are | was | were | has | have | will | can | must | should | of | would | ist | sind | wird | war");
    const VERBS: List = list!(
        "accept | add | adjust | agree | align | analyse | analyze | announce | answer | apply | approve | \
        archive | arrange | ask | assemble | assign | attach | audit | back | backup | block | book | brief | \
        bring | broadcast | build | buy | calculate | call | cancel | categorize | change | check | clarify | \
        clean | close | collect | compare | compile | complete | configure | confirm | connect | contact | \
        convert | coordinate | copy | correct | count | create | cut | decide | define | delete | deliver | \
        deploy | describe | design | determine | develop | disable | discuss | distribute | document | download | \
        draft | draw | edit | email | enable | ensure | enter | escalate | estimate | evaluate | examine | export | \
        extract | file | fill | find | finish | fix | follow | format | forward | gather | generate | get | give | \
        grant | hand | hire | identify | implement | import | improve | inform | inspect | install | interview | \
        investigate | invite | invoice | issue | join | label | launch | let | list | load | log | look | mail | \
        make | mark | measure | meet | merge | message | migrate | monitor | move | negotiate | note | notify | \
        obtain | onboard | open | order | organise | organize | pack | pay | phone | pick | plan | post | prepare | \
        present | print | prioritise | prioritize | process | provide | publish | purchase | push | put | rank | \
        read | receive | record | refund | register | release | remind | remove | rename | renew | repair | \
        replace | reply | report | request | research | reserve | reset | resolve | respond | restart | restore | \
        return | review | revoke | run | save | scan | schedule | select | sell | send | set | share | ship | \
        show | sign | sort | start | stop | store | submit | summarise | summarize | switch | sync | take | talk | \
        tell | test | track | train | transfer | translate | turn | uninstall | update | upgrade | upload | \
        validate | verify | visit | wait | warn | write | aktualisiere | aktualisieren | analysiere | antworte | \
        archiviere | bereite | beauftrage | bestelle | benachrichtige | buche | erstelle | fasse | finde | frage | \
        informiere | installiere | kaufe | kläre | kontaktiere | kündige | lade | lege | lies | lösche | mache | \
        melde | notiere | öffne | organisiere | plane | prüfe | reserviere | rufe | ruf | sammle | schicke | \
        schick | schreibe | schreib | sende | sortiere | starte | stelle | stoppe | storniere | teile | teste | \
        trage | überprüfe | übersetze | überweise | vereinbare | veröffentliche | verschicke | verschiebe | warte | \
        zahle",
    );
    let mut words = clause
        .split(|character: char| !character.is_alphanumeric() && character != '\'' && character != '-')
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .skip_while(|word| matches!(word.as_str(), "please" | "bitte" | "kindly" | "now" | "just" | "and" | "to"));
    let Some(first) = words.next() else { return false };
    // "Report is attached", "Order 7 was late": a noun at the beginning, followed by its verb.
    let following: Vec<String> = words.take(2).collect();
    let is_noun = match following.as_slice() {
        [second, ..] if FINITE.has(second) => true,
        [second, third] => FINITE.has(third) && second.starts_with(|first: char| first.is_ascii_digit()),
        _ => false,
    };
    !is_noun && VERBS.has(&first)
}

/// What a step asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// Waiting, for so many seconds.
    Wait(u64),
    /// A person's yes or no.
    Approval,
    /// Something that can be taken from the task's own text.
    Answer,
    /// Telling others.
    Announce,
    /// Work in the world.
    Other,
}

const EXTRACTS: List = list!("summarize | summarise | extract | fasse");

fn action(text: &str) -> Action {
    const ANNOUNCES: List = list!(
        "notify | announce | publish | inform | broadcast | alert | send a notification | send out a notice | \
        tell | benachrichtige | benachrichtigen | informiere | informieren | veröffentliche | veröffentlichen | \
        melde",
    );
    const LETS: List = list!("let");
    const WRITES: List =
        list!("write | draft | create | generate | prepare | give | make | list | answer | schreibe | erstelle");
    const LISTS: List = list!(
        "list the | list all | list every | list each | list which | list what | list who | list any | \
        liste alle | liste die",
    );
    const OWN_TEXT: List = list!(
        "summary | of the following | from the following | the text | this text | of the text | from the text | \
        the following text | in the description | from the description | the notes | these notes | the text below | \
        questions below | question below | from below | mentioned below | mentioned above | all dates | \
        all amounts | all names | key points | zusammenfassung | dem text | den text | des textes",
    );
    const ASKS_FOR_APPROVAL: List = list!(
        "ask for approval | ask for permission | request approval | request permission | get approval | \
        get permission | get sign-off | obtain approval | wait for approval | seek approval | freigabe einholen | \
        genehmigung einholen | hole die freigabe | hole die genehmigung",
    );
    let lower = text.to_lowercase();
    let bare = without_name(&lower);
    let bare = bare.trim_start_matches("please ").trim_start_matches("bitte ");
    if let Some(seconds) = waited_for(bare) {
        Action::Wait(seconds)
    } else if ASKS_FOR_APPROVAL.begins(bare) {
        Action::Approval
    } else if ANNOUNCES.begins(bare) || (LETS.begins(bare) && lower.contains(" know")) {
        Action::Announce
    } else if EXTRACTS.begins(bare)
        || LISTS.begins(bare)
        || (WRITES.begins(bare) && OWN_TEXT.is_in(&lower))
        || is_draft(bare)
    {
        Action::Answer
    } else {
        Action::Other
    }
}

/// For how many seconds an order says to wait, when it says nothing else: "wait for 2 hours", but not "wait for Ben".
fn waited_for(order: &str) -> Option<u64> {
    let lower = order.to_lowercase();
    let mut words = lower.trim_end_matches(['.', '!']).split_whitespace().peekable();
    words.next_if(|word| ["please", "bitte"].contains(word));
    words.next().filter(|verb| ["wait", "pause", "warte"].contains(verb))?;
    words.next_if_eq(&"for");
    let number: u64 = words.next()?.parse().ok()?;
    let unit = match words.next()? {
        "second" | "seconds" | "sekunde" | "sekunden" => 1,
        "minute" | "minutes" | "minuten" => 60,
        "hour" | "hours" | "stunde" | "stunden" => 3600,
        "day" | "days" | "tag" | "tage" => 86_400,
        "week" | "weeks" | "woche" | "wochen" => 604_800,
        _ => return None,
    };
    let says_more = words.next().is_some();
    number.checked_mul(unit).filter(|seconds| !says_more && *seconds <= LONGEST_WAIT.as_secs())
}

/// Whether an order asks to write a text for someone, which the assistant drafts.
pub(super) fn is_draft(order: &str) -> bool {
    const DRAFTS: List = list!("write | draft | compose | schreibe | entwirf | verfasse");
    const DRAFTED: List = list!(
        "note | letter | message | reply | response | email | e-mail | mail | invitation | announcement | \
        paragraph | text | article | report | memo | description | introduction | nachricht | brief | antwort | \
        einladung | bericht | begrüßung",
    );
    let lower = order.to_lowercase();
    let bare = without_name(&lower).trim_start_matches("please ").trim_start_matches("bitte ");
    DRAFTS.begins(bare) && DRAFTED.is_in(&object(bare))
}

// The few words after the verb, up to the first that only says to whom, about what or how: in "write to the author
// of the report" no report is written.
fn object(order: &str) -> String {
    const ENDS: List = list!("to | for | about | of | on | in | with | that | which | from | für | über | von | auf");
    let words = order.split([' ', ',', ';', ':', '.']).filter(|word| !word.is_empty()).skip(1).take(7);
    words.take_while(|word| !ENDS.has(word)).collect::<Vec<_>>().join(" ")
}

// What follows "anna: " or "@anna ".
fn without_name(text: &str) -> &str {
    let text = text.trim_start();
    if let Some(rest) = text.strip_prefix('@') {
        return rest.split_once([' ', ':', ',']).map_or(text, |(_, rest)| rest.trim_start_matches([' ', ':', ',']));
    }
    match text.split_once(':') {
        Some((name, rest)) if name.split(' ').count() <= 2 => rest.trim_start(),
        _ => text,
    }
}

/// What holds for all steps unless they say otherwise.
struct Overall {
    due: Option<String>,
    assignee: Option<String>,
    priority: Option<Priority>,
}

impl Overall {
    fn of(task: &TaskInput) -> Self {
        let field = |names: &[&str]| {
            names.iter().find_map(|name| match task.fields.get(*name) {
                Some(Value::String(text)) if !text.trim().is_empty() => Some(one_line(text, 100)),
                _ => None,
            })
        };
        // Sentences that order nothing may still say when everything is due.
        let remark = sentences(super::text::beginning(&task.description, 20_000)).into_iter().find_map(|sentence| {
            let lower = sentence.to_lowercase();
            let is_remark = lower.starts_with("deadline") || lower.starts_with("due") || lower.starts_with("fällig");
            is_remark.then(|| due(sentence)).flatten()
        });
        let level = field(&["priority", "urgency"]).or_else(|| {
            let line = task.description.lines().take(200).find_map(|line| {
                let lower = line.trim().to_lowercase();
                lower.strip_prefix("priority:").or_else(|| lower.strip_prefix("priorität:")).map(str::to_owned)
            })?;
            Some(one_line(&line, 40))
        });
        let priority =
            level.and_then(|level| named_priority(&level)).or_else(|| task.title.as_deref().and_then(priority));
        Self {
            due: field(&["due", "due_date", "deadline"]).or(remark),
            assignee: field(&["assignee", "owner"]),
            priority,
        }
    }
}

fn named_priority(level: &str) -> Option<Priority> {
    match level.trim().to_lowercase().as_str() {
        "high" | "urgent" | "critical" | "highest" | "p0" | "p1" | "1" | "hoch" => Some(Priority::High),
        "normal" | "medium" | "p2" | "2" | "mittel" => Some(Priority::Normal),
        "low" | "lowest" | "p3" | "p4" | "3" | "niedrig" => Some(Priority::Low),
        _ => None,
    }
}

fn priority(text: &str) -> Option<Priority> {
    const HIGH: List = list!(
        "urgent | asap | immediately | high priority | top priority | critical | right away | dringend | sofort | \
        umgehend | hohe priorität | p0 | p1",
    );
    const LOW: List = list!(
        "low priority | not urgent | no rush | when you have time | nice to have | optional | nicht dringend | \
        niedrige priorität | keine eile | p3",
    );
    let lower = text.to_lowercase();
    if LOW.is_in(&lower) {
        Some(Priority::Low)
    } else if HIGH.is_in(&lower) || lower.contains("!!") {
        Some(Priority::High)
    } else {
        None
    }
}

// When a step is due: a date as ISO, anything else in the words of the task.
fn due(text: &str) -> Option<String> {
    const AT: List = list!("by | until | till | due | deadline | on | than | am | bis | spätestens | fällig");
    const BEFORE: List = list!("before | vor");
    // Whether a word shortly before the mention makes it a due date, and whether it says "before".
    let cued = |mention: &Mention<'_>| {
        let before = text[..mention.start].to_lowercase();
        before
            .split(|character: char| !character.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .rev()
            .take(3)
            .find_map(|word| BEFORE.has(word).then_some(true).or_else(|| AT.has(word).then_some(false)))
    };
    let all = mentions(text);
    let mention =
        all.iter().find(|mention| cued(mention).is_some()).or_else(|| all.iter().find(|mention| mention.relative))?;
    Some(match (mention.date, cued(mention)) {
        // "Before the 14th" is not the 14th.
        (Some(date), Some(true)) => format!("before {date}"),
        (Some(date), _) => date.to_string(),
        (None, _) => in_words(text, mention),
    })
}

// The mention with the word that says how it is meant: "by Friday" is not "before Friday".
fn in_words(text: &str, mention: &Mention<'_>) -> String {
    let before = text[..mention.start].trim_end();
    let cue_at =
        before.rfind(char::is_whitespace).map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
    let cue = before[cue_at..].to_lowercase();
    let is_cue = matches!(cue.as_str(), "by" | "until" | "till" | "before" | "on" | "am" | "bis" | "vor");
    let start = if is_cue { cue_at } else { mention.start };
    one_line(&text[start..mention.end()], 60)
}

// Who does it, and everyone mentioned with "@".
fn people(text: &str) -> (Option<String>, Vec<String>) {
    let mut mentioned: Vec<String> = Vec::new();
    for (at, _) in text.match_indices('@').take(100) {
        // In the middle of a word it is a mail address.
        if text[..at].ends_with(|before: char| before.is_alphanumeric() || matches!(before, '.' | '_' | '-' | '+')) {
            continue;
        }
        let name: String = text[at + 1..]
            .chars()
            .take_while(|character| character.is_alphanumeric() || matches!(character, '_' | '-' | '.'))
            .take(64)
            .collect();
        let name = name.trim_end_matches(['.', '-', '_']).to_owned();
        if !name.is_empty() && !mentioned.contains(&name) && mentioned.len() < 20 {
            mentioned.push(name);
        }
    }
    let assignee = mentioned.first().cloned().or_else(|| labelled_name(text)).or_else(|| told_name(text));
    (assignee, mentioned)
}

// "Anna: …", "Anna Lee: …"
fn labelled_name(text: &str) -> Option<String> {
    const NO_NAMES: List = list!(
        "note | notes | todo | step | task | tasks | deadline | due | priority | important | goal | context | \
        background | subject | date | example | warning | hint | remember | optional | urgent | steps | details | \
        text | hinweis | aufgabe | wichtig | ziel | frist | schritt | priorität | betreff | datum | first | \
        finally | then | next | also | re | fwd",
    );
    let (label, rest) = text.trim_start().split_once(':')?;
    let is_name = |word: &str| {
        word.starts_with(char::is_uppercase)
            && word.chars().all(|letter| letter.is_alphabetic() || letter == '-' || letter == '\'')
            && word.chars().nth(1).is_some_and(char::is_lowercase)
    };
    let words: Vec<&str> = label.split(' ').collect();
    let is_label = words.len() <= 2
        && label.len() <= 60
        && words.iter().all(|word| is_name(word))
        && !NO_NAMES.has(&words[0].to_lowercase())
        && !begins_with_order(label)
        && rest.starts_with(' ');
    is_label.then(|| label.to_owned())
}

// "Anna should call", "assigned to Anna"
fn told_name(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().take(200).collect();
    let name = |word: &str| {
        let word = word.trim_matches(|mark: char| !mark.is_alphanumeric());
        let is_name = word.starts_with(char::is_uppercase)
            && word.chars().all(|letter| letter.is_alphabetic() || letter == '-')
            && (2..=40).contains(&word.len())
            && !matches!(
                word,
                "We" | "You"
                    | "They"
                    | "He"
                    | "She"
                    | "It"
                    | "This"
                    | "That"
                    | "These"
                    | "Those"
                    | "There"
                    | "Someone"
                    | "Everyone"
                    | "Everybody"
                    | "Somebody"
                    | "Nobody"
                    | "Who"
                    | "What"
                    | "All"
                    | "Wir"
                    | "Sie"
                    | "Es"
                    | "Das"
                    | "Die"
                    | "Der"
                    | "Man"
                    | "Er"
                    | "Alle"
            );
        is_name.then(|| word.to_owned())
    };
    if let [first, second, ..] = words.as_slice()
        && matches!(second.to_lowercase().as_str(), "should" | "must" | "shall" | "soll" | "sollte" | "muss")
    {
        return name(first);
    }
    words.windows(3).find_map(|window| {
        let is_assigned =
            matches!(window[0].to_lowercase().as_str(), "assigned" | "assign") && window[1].eq_ignore_ascii_case("to");
        if is_assigned { name(window[2]) } else { None }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::Kind;
    use crate::templates::render;

    const TOOLS: &[(&str, &str)] = &[
        ("ask_assistant", ""),
        ("http_request", ""),
        ("publish_event", ""),
        ("request_approval", ""),
        ("send_email", ""),
        ("set_record", ""),
        ("start_workflow", ""),
        ("wait", ""),
    ];

    fn task(description: &str) -> TaskInput {
        serde_json::from_value(json!({"id": "t1", "description": description})).unwrap()
    }

    // Text, and the numbers of the steps before it.
    fn shape(description: &str) -> Vec<(String, Vec<usize>)> {
        split(&task(description))
            .into_iter()
            .map(|step| (step.text, step.after.into_iter().map(|before| before + 1).collect()))
            .collect()
    }

    fn check(description: &str, expected: &[(&str, &[usize])]) {
        let expected: Vec<(String, Vec<usize>)> =
            expected.iter().map(|(text, after)| ((*text).to_owned(), after.to_vec())).collect();
        assert_eq!(shape(description), expected, "of {description:?}");
    }

    #[test]
    fn a_huge_or_empty_task_has_between_one_and_the_most_steps() {
        for description in ["", " \n ", "🎉", "...", "- ", "1.", "[x] done", "- [x] all done"] {
            assert_eq!(split(&task(description)).len(), 1, "of {description:?}");
        }
        let many = "1. Call Bob\n".repeat(5000);
        let steps = split(&task(&many));
        assert_eq!(steps.len(), MAX_PLAN_STEPS);
        assert!(steps[MAX_PLAN_STEPS - 1].text.contains("more steps"), "{}", steps[MAX_PLAN_STEPS - 1].text);
        let started = std::time::Instant::now();
        for piece in ["call and ", "- a\n  - b\n", "then ", "x ", "@a ", "call, ", "by Friday "] {
            plan(&task(&piece.repeat(100_000 / piece.len())), TOOLS).unwrap();
        }
        assert!(started.elapsed().as_secs() < 20, "took {:?}", started.elapsed());
    }

    #[test]
    fn lists_and_sentences_become_steps_in_their_order() {
        check("Improve the onboarding", &[("Improve the onboarding", &[])]);
        check("The printer on floor 2 is empty", &[("The printer on floor 2 is empty", &[])]);
        check(
            "1. Order paper\n2. Fill the printer\n3. Also clean it",
            &[("Order paper", &[]), ("Fill the printer", &[1]), ("clean it", &[1])],
        );
        check(
            "Please do this:\n- Order paper\n- [x] Pay\n- [ ] Fill the printer",
            &[("Order paper", &[]), ("Fill the printer", &[])],
        );
        check(
            "- Plan the party\n  - cake\n  - music\n- Invite everyone",
            &[("Plan the party; cake; music", &[]), ("Invite everyone", &[])],
        );
        check(
            "Book a room and send the invitation, then prepare the slides. Finally, notify the team.",
            &[
                ("Book a room", &[]),
                ("send the invitation", &[1]),
                ("prepare the slides", &[2]),
                ("notify the team", &[3]),
            ],
        );
        check(
            "- Order paper\n- Buy ink\n\nAfter that fill the printer. Tell the team when done.",
            &[("Order paper", &[]), ("Buy ink", &[]), ("fill the printer", &[1, 2]), ("Tell the team when done", &[3])],
        );
        check(
            "Summarize the following notes and list all dates: We met on 3 May. Call Bob. Anna should pay.",
            &[("Summarize the following notes", &[]), ("list all dates", &[1])],
        );
        check("Hi, could you update the website? Thanks", &[("Hi, could you update the website?", &[])]);
        check(
            "Call the bank. In parallel, order the cards. After that, update the list.",
            &[("Call the bank", &[]), ("order the cards", &[]), ("update the list", &[2])],
        );
        check(
            "We had a bad week. Please call Mr. Smith of Acme Inc. about the order. It was late.",
            &[("Please call Mr. Smith of Acme Inc. about the order", &[])],
        );
        check(
            "Check the numbers. Write them down. Lastly publish them.",
            &[("Check the numbers", &[]), ("Write them down", &[]), ("publish them", &[1, 2])],
        );
        check(
            "Erstelle eine Liste und schicke sie an Anna. Danach informiere das Team.",
            &[("Erstelle eine Liste", &[]), ("schicke sie an Anna", &[1]), ("informiere das Team", &[2])],
        );
        check("Buy milk and bread", &[("Buy milk and bread", &[])]);
        check("Order 7 was late. Report is attached. Call Bob.", &[("Call Bob", &[])]);
        check(
            "We need to renew the domain; check the price; pay the invoice.",
            &[("We need to renew the domain", &[]), ("check the price", &[1]), ("pay the invoice", &[2])],
        );
    }

    #[test]
    fn the_sample_task_becomes_a_step_for_each_of_its_orders() {
        let sample: Value = serde_json::from_str(include_str!("../../../../infra/local/samples/task.json")).unwrap();
        let mut task = task(sample["description"].as_str().unwrap());
        task.title = sample["title"].as_str().map(str::to_owned);
        let plan = plan(&task, TOOLS).unwrap();
        let steps: Vec<(&str, &str, Vec<&str>)> = plan
            .steps
            .iter()
            .map(|step| {
                let start = step.title.split(' ').take(2).map(str::len).sum::<usize>() + 1;
                (&step.title[..start], step.tool.as_str(), step.depends_on.iter().map(String::as_str).collect())
            })
            .collect();
        assert_eq!(
            steps,
            [
                ("summarize what", "ask_assistant", vec![]),
                ("write a", "ask_assistant", vec!["step_1"]),
                ("list the", "ask_assistant", vec!["step_2"]),
                ("record the", "set_record", vec!["step_3"]),
                ("publish an", "publish_event", vec!["step_4"]),
            ]
        );
        for step in plan.steps.iter().filter(|step| step.tool == "ask_assistant") {
            assert_eq!(step.arguments["text"], "{{ task.description }}");
        }
        let answer = |index: usize| {
            let instruction = rendered(&plan.steps[index].arguments["instruction"]);
            super::super::answer::answer(instruction.as_str().unwrap(), &task.description)
        };
        assert_eq!(answer(0), "forty seats, the document review package and telephone support on working days");
        assert_eq!(answer(1), "Nordfjell Logistics signed on Friday and starts on 7 December.");
    }

    #[test]
    fn a_colon_announces_a_list_or_a_text_only_where_one_follows() {
        check(
            "Check two things: the price and the date. Then call Bob.",
            &[("Check two things: the price and the date", &[]), ("call Bob", &[1])],
        );
        check(
            "We signed. Summarize what they want: seats, e.g. forty, from Acme Ltd. Then call Bob.",
            &[("Summarize what they want: seats, e.g. forty, from Acme Ltd", &[]), ("call Bob", &[1])],
        );
        check(
            "Order chairs, desks etc. Finally, pay approx. 40 bills.",
            &[("Order chairs, desks etc", &[]), ("pay approx. 40 bills", &[1])],
        );
        check(
            "Call Acme Ltd. and order chairs etc. Then pay.",
            &[("Call Acme Ltd", &[]), ("order chairs etc", &[1]), ("pay", &[2])],
        );
        check(
            "First, summarize the following order: forty seats. Then call Bob.",
            &[("summarize the following order: forty seats", &[]), ("call Bob", &[1])],
        );
        check("Do this: call Bob and pay the bill.", &[("Do this: call Bob", &[]), ("pay the bill", &[1])]);
        check("Summarize this: We met in May. Call Bob. Anna should pay.", &[("Summarize this", &[])]);
        check("Summarize:\nWe met in May. Call Bob.", &[("Summarize", &[])]);
        check(
            "Before the move, do the following:\n- Call Bob\n- Pay the bill: all of it",
            &[("Call Bob", &[]), ("Pay the bill: all of it", &[])],
        );
    }

    #[test]
    fn what_orders_nothing_stays_with_the_first_step() {
        for (description, context) in [
            ("We had a bad week. Please call Bob. It was late.", json!("We had a bad week. It was late.")),
            ("For the move to Leeds:\n- Call Bob\n- Pay", json!("For the move to Leeds:")),
            ("Everything for {{ task.id }} is late. Notify the team.", json!("Everything for {{ task.id }} is late.")),
            ("Call Bob. Pay the bill.", Value::Null),
        ] {
            let plan = plan(&task(description), TOOLS).unwrap();
            let first = rendered(&json!(plan.steps[0].arguments));
            let found = first.pointer("/value/context").or_else(|| first.pointer("/detail/context"));
            assert_eq!(found.unwrap_or(&Value::Null), &context, "of {description:?}");
            let others = json!(plan.steps[1..]).to_string();
            assert!(!others.contains("context"), "of {description:?}");
        }
    }

    #[test]
    fn who_when_and_how_urgent_is_taken_from_the_words() {
        for (text, due, assignee, priority) in [
            ("Call the bank by 2025-03-14", Some("2025-03-14"), None, Priority::Normal),
            ("Call the bank by 14 March 2025", Some("2025-03-14"), None, Priority::Normal),
            ("Call the bank before 14.03.2025", Some("before 2025-03-14"), None, Priority::Normal),
            ("Call the bank by Friday", Some("by Friday"), None, Priority::Normal),
            ("Call the bank tomorrow, urgent", Some("tomorrow"), None, Priority::High),
            ("Ruf die Bank bis nächsten Montag an", Some("bis nächsten Montag"), None, Priority::Normal),
            ("Check the numbers of 14 March 2024", None, None, Priority::Normal),
            ("@anna call the bank (P1)", None, Some("anna"), Priority::High),
            ("Anna: call the bank, low priority", None, Some("Anna"), Priority::Low),
            ("Anna Lee: call the bank", None, Some("Anna Lee"), Priority::Normal),
            ("Anna should call the bank", None, Some("Anna"), Priority::Normal),
            ("Call the bank, assigned to Ben", None, Some("Ben"), Priority::Normal),
            ("Note: call the bank", None, None, Priority::Normal),
            ("We should call the bank", None, None, Priority::Normal),
            ("Write to anna@firm.example", None, None, Priority::Normal),
        ] {
            let step = &split(&task(&format!("- {text}")))[0];
            assert_eq!(
                (step.due.as_deref(), step.assignee.as_deref(), step.priority),
                (due, assignee, priority),
                "of {text:?}"
            );
        }
        let step = &split(&task("- Ask @anna, @ben and c@d.example"))[0];
        assert_eq!(step.mentions, ["anna", "ben"]);
    }

    #[test]
    fn what_the_task_says_of_itself_holds_for_its_steps() {
        let mut task = task("Call the bank. Pay the bill by 2025-01-02. Deadline: 2025-03-14");
        task.fields.insert("assignee".to_owned(), json!("Anna"));
        task.fields.insert("priority".to_owned(), json!("high"));
        let steps = split(&task);
        let dues: Vec<_> = steps.iter().map(|step| step.due.as_deref()).collect();
        assert_eq!(dues, [Some("2025-03-14"), Some("2025-01-02")]);
        assert!(steps.iter().all(|step| step.assignee.as_deref() == Some("Anna") && step.priority == Priority::High));
    }

    #[test]
    fn each_step_gets_the_tool_that_can_do_it() {
        for (text, tool) in [
            ("Summarize the notes below", "ask_assistant"),
            ("Extract all dates", "ask_assistant"),
            ("Write a summary of the meeting", "ask_assistant"),
            ("List all names mentioned below", "ask_assistant"),
            ("Write a welcome note for the team", "ask_assistant"),
            ("Please draft the invitation letter", "ask_assistant"),
            ("List the accounts that we need", "ask_assistant"),
            ("List Bob as a contact", "set_record"),
            ("Write the numbers down", "set_record"),
            ("Write to the supplier", "set_record"),
            ("Answer the phone", "set_record"),
            ("Notify the team", "publish_event"),
            ("Let everyone know about it", "publish_event"),
            ("Anna: inform the customers", "publish_event"),
            ("Informiere das Team", "publish_event"),
            ("Send an email to boss@firm.example", "set_record"),
            ("POST the data to https://evil.example/x", "set_record"),
            ("Start the document review workflow", "set_record"),
            ("Wait for Ben", "set_record"),
            ("Wait for 2 hours", "wait"),
            ("Please wait 30 minutes.", "wait"),
            ("Wait 3 days for the answer", "set_record"),
            ("Wait 999999999 weeks", "set_record"),
            ("Get approval for the purchase", "request_approval"),
            ("Anna: request permission to travel", "request_approval"),
            ("Approve the invoice", "set_record"),
        ] {
            let plan = plan(&task(&format!("- {text}")), TOOLS).unwrap();
            assert_eq!(plan.steps[0].tool, tool, "for {text:?}");
        }
    }

    #[test]
    fn what_comes_after_an_approval_depends_on_a_yes() {
        let steps =
            plan(&task("1. Get approval for the order\n2. Wait 1 minute\n3. Notify the team"), TOOLS).unwrap().steps;
        assert_eq!(steps[0].arguments["question"], "Get approval for the order");
        assert_eq!(
            (steps[1].arguments["seconds"].as_u64(), steps[1].when.as_deref()),
            (Some(60), Some("results.step_1.approved"))
        );
        assert_eq!(
            (steps[2].tool.as_str(), &steps[2].when),
            ("publish_event", &None),
            "it is skipped with the step before it"
        );
    }

    #[test]
    fn only_tools_that_exist_are_used() {
        let all = task("- Summarize the text\n- Notify the team\n- Call Bob");
        for only in ["ask_assistant", "publish_event", "set_record"] {
            let plan = plan(&all, &[(only, "")]).unwrap();
            assert!(plan.steps.iter().all(|step| step.tool == only));
        }
        let error = plan(&all, &[("send_email", ""), ("http_request", "")]).unwrap_err();
        assert_eq!(error.kind, Kind::Validation);
    }

    #[test]
    fn a_step_carries_everything_known_about_it() {
        let plan = plan(&task("1. @anna call the bank by Friday\n2. Notify the team"), TOOLS).unwrap();
        assert_eq!(
            json!(plan),
            json!({"steps": [
                {
                    "id": "step_1",
                    "title": "@anna call the bank by Friday",
                    "tool": "set_record",
                    "arguments": {"name": "step_1", "value": {
                        "title": "@anna call the bank by Friday", "text": "@anna call the bank by Friday",
                        "due": "by Friday", "assignee": "anna", "priority": "normal", "mentions": ["anna"],
                    }},
                },
                {
                    "id": "step_2",
                    "title": "Notify the team",
                    "tool": "publish_event",
                    "arguments": {"type": "task_step_requested", "detail": {
                        "task_id": "t1", "step": "step_2", "text": "Notify the team",
                        "due": null, "assignee": null, "priority": "normal",
                    }},
                    "depends_on": ["step_1"],
                },
            ]})
        );
    }

    fn rendered(value: &Value) -> Value {
        match value {
            Value::String(text) if text == "{{ task.description }}" => value.clone(),
            Value::String(text) => Value::String(render("argument", text, &BTreeMap::new()).unwrap()),
            Value::Array(items) => items.iter().map(rendered).collect(),
            Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), rendered(value))).collect(),
            other => other.clone(),
        }
    }

    #[test]
    fn template_syntax_in_a_task_is_never_interpreted() {
        let nasty = "Notify {{ task.id }} {% for x in range(9) %}{# c #}{% raw %} @{{x}} by {{ 7 * 7 }}";
        let mut task = task(&format!("- {nasty}\n- Call {{{{ results }}}}\n- Summarize {{% endraw %}} the text"));
        task.id = "{{ 1 }}".to_owned();
        task.fields.insert("assignee".to_owned(), json!("{{ evil }}"));
        let plan = plan(&task, TOOLS).unwrap();
        let arguments: Vec<Value> = plan.steps.iter().map(|step| rendered(&json!(step.arguments))).collect();
        assert_eq!(arguments[0]["detail"]["text"], nasty);
        assert_eq!(arguments[0]["detail"]["task_id"], "{{ 1 }}");
        assert_eq!(arguments[1]["value"]["text"], "Call {{ results }}");
        assert_eq!(arguments[1]["value"]["assignee"], "{{ evil }}");
        assert_eq!(arguments[2]["instruction"], "Summarize {% endraw %} the text");
    }

    proptest! {
        #[test]
        fn any_task_becomes_a_plan_that_can_be_carried_out(
            description in
                "([{}%#]|- |1\\. |\\n|  |call |and |then |finally |also |notify |@a|: |Anna|\\. |\\PC{0,6}){1,60}",
        ) {
            let plan = plan(&task(&description), TOOLS).unwrap();
            prop_assert!((1..=MAX_PLAN_STEPS).contains(&plan.steps.len()));
            for (index, step) in plan.steps.iter().enumerate() {
                prop_assert_eq!(&step.id, &id_of(index));
                prop_assert!(TOOLS.iter().any(|(name, _)| *name == step.tool));
                prop_assert!(step.depends_on.iter().all(|before| (0..index).any(|earlier| id_of(earlier) == *before)));
                let arguments = rendered(&json!(step.arguments)).to_string();
                prop_assert!(!arguments.contains("{{ '"), "an escape is left in {}", arguments);
            }
        }
    }
}
