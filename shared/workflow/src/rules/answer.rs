//! Answers an instruction about a text by quoting from it.
//!
//! Invariant: the answer holds nothing that was not found in the text, apart from saying that nothing was found.
//! Deliberately absent: writing. An instruction to draft something gets the sentences that a draft would rest on.

use std::{borrow::Cow, collections::HashMap};

use super::{
    dates::mentions,
    figures::{Measure, figures, references},
    lists::{List, list},
    relevance::{Query, Reading},
    task,
    text::{beginning, folded, is_stopword, one_line, sentences, stem, words},
};

/// How much of a text is read; more than a task's description may have.
const READ: usize = 200_000;
const LONGEST_ANSWER: usize = 4000;
const MOST_ITEMS: usize = 50;
/// Begins the answer where nothing was found.
const NOTHING: &str = "The text says nothing about";

/// Answers the instruction from the text.
pub(super) fn answer(instruction: &str, text: &str) -> String {
    let whole = beginning(text, READ);
    let instruction = beginning(instruction, 2000);
    let text = without_instruction(whole, instruction);
    if !text.chars().any(char::is_alphanumeric) {
        return "There is no text to answer from.".to_owned();
    }
    let asked: Vec<Cow<'_, str>> = words(instruction).map(folded).collect();
    let has = |list: &[&str]| asked.iter().any(|word| list.contains(&word.as_ref()));
    let is_summary = asked.iter().any(|word| {
        ["summar", "zusammenfass"].iter().any(|start| word.starts_with(start))
            || matches!(
                word.as_ref(),
                "overview" | "gist" | "abstract" | "uberblick" | "tldr" | "fasse" | "kurzfassung"
            )
    }) || instruction.to_lowercase().contains("key points");
    if is_summary {
        if let Some(own) = own_text(whole, instruction) {
            return summary(own, wanted_count(&asked).unwrap_or(3));
        }
        return summary(text, wanted_count(&asked).unwrap_or(3));
    }
    // A note that names the date is no list of dates.
    let found = if task::is_draft(instruction) {
        None
    } else if has(&["date", "dates", "deadline", "deadlines", "datum", "daten", "termine", "fristen"]) {
        Some(("dates", unique(mentions(text).into_iter().map(|mention| mention.text))))
    } else if has(&["amount", "amounts", "price", "prices", "sum", "sums", "costs", "betrage", "betrag", "preise"]) {
        let money = figures(text).into_iter().filter(|figure| matches!(figure.measure, Measure::Money(_)));
        Some(("amounts of money", unique(money.map(|figure| figure.text))))
    } else if has(&["percentage", "percentages", "prozente"]) {
        let shares = figures(text).into_iter().filter(|figure| figure.measure == Measure::Percentage);
        Some(("percentages", unique(shares.map(|figure| figure.text))))
    } else if has(&["question", "questions", "fragen"]) {
        let questions = sentences(text).into_iter().filter(|sentence| sentence.ends_with(['?', '？', '؟']));
        Some(("questions", unique(questions)))
    } else if has(&["name", "names", "people", "persons", "namen", "personen"]) {
        Some(("names", names(text)))
    } else if has(&["reference", "references", "ids", "nummern"]) {
        Some(("references", references(text, MOST_ITEMS)))
    } else {
        None
    };
    match found {
        Some((kind, items)) if items.is_empty() => format!("The text has no {kind}."),
        Some((_, items)) => {
            let lines: Vec<String> = items.iter().map(|item| format!("- {}", one_line(item, 300))).collect();
            beginning(&lines.join("\n"), LONGEST_ANSWER).to_owned()
        }
        None => amid_orders(&asked, instruction, whole).unwrap_or_else(|| relevant(&asked, instruction, text)),
    }
}

// A task's description holds the instruction as well as the text that it is about; an answer must not quote the
// instruction itself.
fn without_instruction<'text>(text: &'text str, instruction: &str) -> &'text str {
    let instruction = instruction.trim();
    if instruction.is_empty() {
        return text;
    }
    let Some(at) = text.find(instruction) else { return text };
    let rest = &text[at + instruction.len()..];
    // Up to the end of the clause that it stands in; an instruction at the end is about what stands before it.
    let end = [": ", ":\n", ". ", ".\n", "\n"].into_iter().filter_map(|end| Some(rest.find(end)? + end.len())).min();
    let after = end.map_or("", |end| rest[end..].trim());
    if after.chars().any(char::is_alphanumeric) { after } else { text[..at].trim_end() }
}

// What an instruction that stands in the text says after its colon: "summarize what they ordered: forty seats".
fn own_text<'text>(text: &str, instruction: &'text str) -> Option<&'text str> {
    let (_, own) = instruction.split_once(": ")?;
    let is_telling = own.chars().any(char::is_alphanumeric);
    let stands_there = || one_line(text, usize::MAX).contains(&one_line(instruction, usize::MAX));
    (is_telling && stands_there()).then_some(own)
}

// The answer to an order that stands among others in a task's description: what the rest says, and not what else is
// ordered. Nothing where the instruction is about a text of its own, or the rest does not say it.
fn amid_orders(asked: &[Cow<'_, str>], instruction: &str, text: &str) -> Option<String> {
    let after = &text[text.find(instruction.trim())? + instruction.trim().len()..];
    if instruction.trim().is_empty() || after.starts_with(':') || task::points_below(instruction) {
        return None;
    }
    let all = sentences(text);
    let told: Vec<&str> = all.iter().copied().filter(|sentence| !task::gives_order(sentence)).collect();
    if told.is_empty() || told.len() + 1 >= all.len() {
        return None;
    }
    let answer = relevant(asked, instruction, &told.join("\n\n"));
    (!answer.starts_with(NOTHING)).then_some(answer)
}

// "in two sentences", "5 key points"
fn wanted_count(asked: &[Cow<'_, str>]) -> Option<usize> {
    asked
        .windows(2)
        .find_map(|pair| {
            let is_counted = pair[1].starts_with("sentence")
                || pair[1].starts_with("point")
                || pair[1].starts_with("bullet")
                || pair[1] == "key"
                || pair[1].starts_with("satz")
                || pair[1].starts_with("punkt");
            let count = match pair[0].as_ref() {
                "one" | "a" | "single" | "einem" => 1,
                "two" | "zwei" => 2,
                "three" | "drei" => 3,
                "four" | "vier" => 4,
                "five" | "funf" => 5,
                digits => digits.parse().ok()?,
            };
            is_counted.then_some(count)
        })
        .map(|count| count.clamp(1, 10))
}

// The sentences that share most words with the rest, in their order; the first sentence is favoured, since texts
// begin with what they are about.
fn summary(text: &str, count: usize) -> String {
    let all = sentences(text);
    let stems: Vec<Vec<String>> = all
        .iter()
        .map(|sentence| words(sentence).filter(|word| !is_stopword(&folded(word))).map(stem).collect())
        .collect();
    let mut frequencies: HashMap<&str, u32> = HashMap::new();
    for stem in stems.iter().flatten() {
        *frequencies.entry(stem).or_default() += 1;
    }
    let mut ranked: Vec<(usize, f64)> = stems
        .iter()
        .enumerate()
        .map(|(index, stems)| {
            let weight: f64 = stems.iter().map(|stem| f64::from(frequencies[stem.as_str()] - 1)).sum();
            // Short sentences would win by one frequent word, long ones by their length alone.
            let score = weight / (stems.len() as f64 + 3.0) + if index == 0 { 0.3 } else { 0.0 };
            (index, if stems.len() < 3 { score * 0.2 } else { score })
        })
        .collect();
    ranked.sort_by(|left, right| right.1.total_cmp(&left.1).then(left.0.cmp(&right.0)));
    in_order(&all, ranked.into_iter().map(|(index, _)| index), count)
}

fn in_order(all: &[&str], best: impl Iterator<Item = usize>, count: usize) -> String {
    let mut chosen: Vec<usize> = best.take(count).collect();
    chosen.sort_unstable();
    let text: Vec<String> = chosen.into_iter().map(|index| one_line(all[index], 1500)).collect();
    beginning(&text.join(" "), LONGEST_ANSWER).to_owned()
}

fn relevant(asked: &[Cow<'_, str>], instruction: &str, text: &str) -> String {
    // Words of the order itself are not what the text is searched for.
    const ORDERS: List = list!(
        "write | draft | answer | extract | find | list | give | tell | explain | describe | show | text | \
        following | please | based | using | reply | respond | prepare | create | generate | make | information | \
        below | above | description | notes | note | schreibe | liste | finde | erklare | beantworte | bitte | \
        folgenden | folgende",
    );
    let telling: Vec<&str> =
        words(instruction).zip(asked).filter(|(_, folded)| !ORDERS.has(folded)).map(|(word, _)| word).collect();
    let query = Query::new(telling);
    if query.terms().is_empty() {
        return summary(text, 3);
    }
    // A task's description holds the instruction as well; it would be its own best answer.
    let asked_line = one_line(instruction, 2000).to_lowercase();
    let reading = Reading::new([text], &query);
    let all: Vec<&str> = reading.passages.iter().map(|passage| passage.text).collect();
    let best = reading.best(12).into_iter().map(|(index, _)| index).filter(|index| {
        let line = one_line(all[*index], 2000).to_lowercase();
        let is_instruction = line.contains(&asked_line) || (line.len() > 8 && asked_line.contains(&line));
        !is_instruction
    });
    let found = in_order(&all, best, 3);
    if found.is_empty() {
        format!("{NOTHING} `{}`.", query.terms().iter().take(8).cloned().collect::<Vec<_>>().join("`, `"))
    } else {
        found
    }
}

fn unique<'text>(items: impl Iterator<Item = &'text str>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for item in items {
        let item = one_line(item, 300);
        if !item.is_empty() && !found.contains(&item) {
            found.push(item);
            if found.len() >= MOST_ITEMS {
                break;
            }
        }
    }
    found
}

// Two or more capitalized words in a row, not counting one that only begins a sentence.
fn names(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for sentence in sentences(text) {
        let mut run: Vec<&str> = Vec::new();
        for piece in sentence.split_whitespace().chain(std::iter::once("")) {
            let word = piece.trim_matches(|mark: char| !mark.is_alphanumeric());
            // "March (Anna": a mark before a word ends the name before it.
            if !piece.starts_with(char::is_alphanumeric) && !run.is_empty() {
                found.extend(name_of(&run, sentence));
                run.clear();
            }
            let is_capital = word.starts_with(char::is_uppercase)
                && word.chars().all(|letter| letter.is_alphabetic() || matches!(letter, '-' | '\'' | '’'))
                && word.chars().any(char::is_lowercase)
                && !is_stopword(&folded(word));
            if is_capital {
                run.push(word);
            }
            if !is_capital || piece.ends_with([',', '.', ';', ':', ')', '!', '?']) {
                found.extend(name_of(&run, sentence));
                run.clear();
            }
        }
    }
    unique(found.iter().map(String::as_str))
}

fn name_of(run: &[&str], sentence: &str) -> Option<String> {
    // "Contact Ben Okafor": what a sentence begins with may be its verb.
    let is_verb_first = run.len() > 2 && sentence.starts_with(run[0]) && task::begins_with_order(run[0]);
    let run = if is_verb_first { &run[1..] } else { run };
    (2..=4).contains(&run.len()).then(|| run.join(" "))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOTES: &str = "The launch of the new portal is planned for 14 March 2025. Anna Weber leads the launch. \
        The budget of the portal launch is EUR 25,000 and may grow by 10 percent. Lunch was good. \
        Who pays for the hosting of the portal? Contact Ben Okafor (ben@firm.example) about invoice INV-2025-7.";

    #[test]
    fn an_answer_is_taken_from_the_text() {
        for (instruction, expected) in [
            ("List all dates", "- 14 March 2025"),
            ("Extract the amounts", "- EUR 25,000"),
            ("Which percentages are named?", "- 10 percent"),
            ("List the open questions", "- Who pays for the hosting of the portal?"),
            ("Extract the names of all people", "- Anna Weber\n- Ben Okafor"),
            ("List the references", "- INV-2025-7"),
            ("Summarize this in one sentence", "The launch of the new portal is planned for 14 March 2025."),
            ("What is the budget?", "The budget of the portal launch is EUR 25,000 and may grow by 10 percent."),
            ("Explain the weather", "The text says nothing about `weather`."),
        ] {
            let answer = answer(instruction, NOTES);
            assert_eq!(answer, expected, "to {instruction:?}");
        }
    }

    #[test]
    fn nothing_found_is_said() {
        assert_eq!(answer("List all dates", "No such thing here."), "The text has no dates.");
        assert_eq!(answer("Summarize", " !!! "), "There is no text to answer from.");
    }

    proptest! {
        #[test]
        fn every_sentence_of_an_answer_stands_in_the_text(
            instruction in "(summarize|list dates|what about|portal|names|\\PC{0,9}| ){0,5}",
            text in "([A-Z][a-z]{1,6} |portal |\\. |\\PC{0,9}|14 March ){0,30}",
        ) {
            let answer = answer(&instruction, &text);
            if !answer.starts_with("The text ") && !answer.starts_with("There is no text") {
                let all = one_line(&text, usize::MAX);
                for line in answer.lines() {
                    let line = line.trim_start_matches("- ");
                    let holds = all.contains(line)
                        || sentences(&text).iter().any(|sentence| line.contains(&one_line(sentence, 1500)));
                    prop_assert!(holds || line.contains('…'), "{:?} is not in {:?}", line, text);
                }
            }
        }
    }
}
