//! Long documents in parts, and what the parts' reviews come to together.
//!
//! Invariants: every character of the document is in a part; a sentence at the end of one part stands whole in the
//! next, as long as the overlap is longer; a document that fits one part is that part. What reviews of parts say is
//! merged by a pure function, the same whatever the order in which they came.

use crate::domain::document::{Content, Criterion, Finding, Quotation, RowMark, Section, Verdict};

/// How many quotations a merged finding keeps: those of one part, and a few beside.
const MAX_QUOTATIONS: usize = 10;

/// How much surer one part must be than another for its verdict to stand against the other's.
const CLEAR_LEAD: f64 = 0.2;

/// A part of a document.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) content: Content,
    /// How far into each section of the document this part's text of it begins, in characters.
    pub(super) starts: Vec<usize>,
}

/// Cuts a document into parts of at most `part_characters`, each of which says again the last `overlap_characters`
/// of the one before. It is cut between paragraphs, sentences or words where there are any.
pub(super) fn parts_of(content: &Content, part_characters: usize, overlap_characters: usize) -> Vec<Part> {
    let part_characters = part_characters.max(1);
    let overlap_characters = overlap_characters.min(part_characters / 2);
    let mut cutter =
        Cutter { content, part_characters, parts: Vec::new(), open: Part::empty(content), room: part_characters };
    for section in &content.sections {
        cutter.add(section, overlap_characters);
    }
    let mut parts = cutter.finish();
    if let Some(last) = parts.last_mut() {
        // What is missing is missing behind the end; silence before it is meant.
        last.content.truncated = content.truncated;
        last.content.without_text.clone_from(&content.without_text);
    }
    parts
}

impl Part {
    fn empty(content: &Content) -> Self {
        Self { content: Content { format: content.format.clone(), ..Content::default() }, starts: Vec::new() }
    }
}

struct Cutter<'c> {
    content: &'c Content,
    part_characters: usize,
    parts: Vec<Part>,
    open: Part,
    /// How many characters the open part still takes.
    room: usize,
}

impl Cutter<'_> {
    fn add(&mut self, section: &Section, overlap_characters: usize) {
        let mut rest = section.text.as_str();
        let mut start = 0;
        loop {
            let length = rest.chars().count();
            if length <= self.room {
                self.take(&section.label, rest, start);
                self.room -= length;
                return;
            }
            let mut end = cut_before(rest, self.room);
            if !self.open.starts.is_empty() && rest[..end].chars().count() <= overlap_characters {
                // So little of a section is said whole in the next part.
                end = 0;
            }
            if end > 0 {
                self.take(&section.label, &rest[..end], start);
            }
            self.close();
            let back = back_to_word(&rest[..end], overlap_characters);
            let characters = rest[..end].chars().count();
            let again = rest[end - back..end].chars().count();
            start += characters - again;
            rest = &rest[end - back..];
        }
    }

    fn take(&mut self, label: &str, text: &str, start: usize) {
        if !text.trim().is_empty() {
            let section = Section { label: label.to_owned(), text: text.to_owned(), rows: Vec::<RowMark>::new() };
            self.open.content.sections.push(section);
            self.open.starts.push(start);
        }
    }

    fn close(&mut self) {
        let closed = std::mem::replace(&mut self.open, Part::empty(self.content));
        self.room = self.part_characters;
        if !closed.starts.is_empty() {
            self.parts.push(closed);
        }
    }

    fn finish(mut self) -> Vec<Part> {
        self.close();
        self.parts
    }
}

/// Where to cut a text so that at most so many characters stand before, in bytes: behind the last paragraph, else
/// line or sentence, else word, of the second half; in the middle of a word where there is none.
fn cut_before(text: &str, characters: usize) -> usize {
    let Some((limit, _)) = text.char_indices().nth(characters) else { return text.len() };
    let half = text.floor_char_boundary(limit / 2);
    let late = &text[half..limit];
    for end in ["\n\n", "\n", ". ", "\u{3002}", " "] {
        if let Some(found) = late.rfind(end) {
            return half + found + end.len();
        }
    }
    limit
}

/// How many bytes from the end on the last so many characters are, from the beginning of a word on.
fn back_to_word(text: &str, characters: usize) -> usize {
    let Some((start, _)) = characters.checked_sub(1).and_then(|last| text.char_indices().rev().nth(last)) else {
        return 0;
    };
    if start == 0 {
        // All of it again would be a part that does not go on.
        return 0;
    }
    let is_within_word = !text[..start].ends_with(char::is_whitespace);
    let space = is_within_word.then(|| text[start..].find(char::is_whitespace)).flatten();
    text.len() - text.ceil_char_boundary(space.map_or(start, |space| start + space + 1))
}

/// What the reviews of all parts of a document say of one criterion together. There is at least one.
///
/// Words of the document weigh more than silence: a part that quotes decides against those that do not. Where parts
/// quote for and against, the clearly surer one decides, and else the finding is unclear. Silence is what all parts
/// have in common, or unclear.
pub(super) fn merged(criterion: Criterion, mut findings: Vec<Finding>) -> Finding {
    if findings.len() == 1
        && let Some(finding) = findings.pop()
    {
        return finding;
    }
    let struck_quotations = findings.iter().map(|finding| finding.struck_quotations).sum();
    let quoting: Vec<&Finding> = findings.iter().filter(|finding| !finding.quotations.is_empty()).collect();
    let surest = |of: &[&Finding], verdict: Verdict| -> Option<Finding> {
        let those = of.iter().filter(|finding| finding.verdict == verdict);
        // The first of equals: the document's own order.
        those.rev().max_by(|one, other| one.confidence.total_cmp(&other.confidence)).map(|finding| (*finding).clone())
    };
    let verdict_of = |finding: Finding| {
        let quotations = quotations_of(&quoting, &[finding.verdict]);
        Finding { quotations, ..finding }
    };
    let met = surest(&quoting, Verdict::Met);
    let not_met = surest(&quoting, Verdict::NotMet);
    let quoted = match (met, not_met) {
        (Some(met), Some(not_met)) if (met.confidence - not_met.confidence).abs() < CLEAR_LEAD => Some(Finding {
            verdict: Verdict::Unclear,
            confidence: met.confidence.min(not_met.confidence),
            explanation: format!("Parts of the document disagree. {} {}", met.explanation, not_met.explanation),
            quotations: quotations_of(&quoting, &[Verdict::Met, Verdict::NotMet]),
            ..met
        }),
        (Some(met), Some(not_met)) => Some(verdict_of(if met.confidence > not_met.confidence { met } else { not_met })),
        (Some(met), None) => Some(verdict_of(met)),
        (None, not_met) => surest(&quoting, Verdict::PartlyMet)
            .or(not_met)
            .or_else(|| surest(&quoting, Verdict::Unclear))
            .map(verdict_of),
    };
    let merged = quoted.or_else(|| silence(&findings));
    match merged {
        Some(merged) => Finding { criterion, struck_quotations, ..merged },
        None => Finding {
            criterion,
            verdict: Verdict::Unclear,
            confidence: 0.0,
            explanation: "The document has no part to review.".to_owned(),
            quotations: Vec::new(),
            struck_quotations,
        },
    }
}

/// No part quotes anything: what all agree on stands, as surely as the least sure says it.
fn silence(findings: &[Finding]) -> Option<Finding> {
    let least = findings.iter().min_by(|one, other| one.confidence.total_cmp(&other.confidence))?.clone();
    if findings.iter().all(|finding| finding.verdict == least.verdict) {
        return Some(least);
    }
    // The one that is unclear says why.
    let unclear = findings.iter().find(|finding| finding.verdict == Verdict::Unclear);
    Some(unclear.cloned().unwrap_or_else(|| Finding {
        verdict: Verdict::Unclear,
        explanation: format!("Parts of the document disagree and quote nothing. {}", least.explanation),
        ..least
    }))
}

/// The quotations that speak for these verdicts, in the order of the document. Overlapping parts quote the same
/// place; of two that share words, the longer stays.
fn quotations_of(findings: &[&Finding], verdicts: &[Verdict]) -> Vec<Quotation> {
    let mut quotations: Vec<Quotation> = Vec::new();
    for quotation in
        findings.iter().filter(|finding| verdicts.contains(&finding.verdict)).flat_map(|finding| &finding.quotations)
    {
        match quotations.iter().position(|kept| overlap(kept, quotation)) {
            Some(kept) if quotations[kept].text.len() < quotation.text.len() => quotations[kept] = quotation.clone(),
            Some(_) => {}
            None if quotations.len() < MAX_QUOTATIONS => quotations.push(quotation.clone()),
            None => {}
        }
    }
    quotations
}

fn overlap(one: &Quotation, other: &Quotation) -> bool {
    let end = |quotation: &Quotation| quotation.offset + quotation.text.chars().count();
    one.section == other.section && one.offset < end(other) && other.offset < end(one)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn content(texts: &[&str]) -> Content {
        let section = |(index, text): (usize, &&str)| Section {
            label: format!("page {}", index + 1),
            text: (*text).to_owned(),
            ..Section::default()
        };
        Content { sections: texts.iter().enumerate().map(section).collect(), ..Content::default() }
    }

    fn criterion() -> Criterion {
        Criterion { id: "c1".to_owned(), text: "The rent is stated".to_owned(), weight: 1.0, required: false }
    }

    fn finding(verdict: Verdict, confidence: f64, quotations: &[(usize, &str)]) -> Finding {
        let quotation = |(offset, text): &(usize, &str)| Quotation {
            text: (*text).to_owned(),
            section: "page 1".to_owned(),
            offset: *offset,
            row: None,
        };
        Finding {
            criterion: criterion(),
            verdict,
            confidence,
            explanation: format!("{verdict:?} {confidence}."),
            quotations: quotations.iter().map(quotation).collect(),
            struck_quotations: 1,
        }
    }

    #[test]
    fn a_document_that_fits_is_one_part_and_the_same() {
        let content = content(&["one. two.", "three"]);
        let parts = parts_of(&content, 14, 5);
        assert_eq!(parts.len(), 1);
        assert_eq!((&parts[0].content, &parts[0].starts[..]), (&content, &[0, 0][..]));
    }

    #[test]
    fn parts_end_between_sentences_and_say_the_end_of_the_one_before_again() {
        let mut content = content(&["The rent is due. It is 900. It never rises.", "Signed."]);
        content.truncated = true;
        let parts = parts_of(&content, 30, 8);
        let texts: Vec<(&str, usize)> = parts
            .iter()
            .flat_map(|part| part.content.sections.iter().zip(&part.starts))
            .map(|(section, start)| (section.text.as_str(), *start))
            .collect();
        assert_eq!(texts, [("The rent is due. It is 900. ", 0), ("is 900. It never rises.", 20), ("Signed.", 0)]);
        assert_eq!(parts.iter().map(|part| part.content.truncated).collect::<Vec<_>>(), [false, true]);
    }

    proptest! {
        #[test]
        fn every_character_is_in_a_part_at_its_place(
            texts in prop::collection::vec("([a-zé]{1,9}|[.] |\n\n|契約|[a-z]{40}| ){1,40}", 1..6),
            part_characters in 1_usize..60,
            overlap in 0_usize..40,
        ) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let content = content(&texts);
            let mut seen: Vec<Vec<bool>> = texts.iter().map(|text| vec![false; text.chars().count()]).collect();
            for part in parts_of(&content, part_characters, overlap) {
                prop_assert!(part.content.characters() <= part_characters);
                for (section, start) in part.content.sections.iter().zip(&part.starts) {
                    let index: usize = section.label.trim_start_matches("page ").parse::<usize>().unwrap() - 1;
                    let there: String = texts[index].chars().skip(*start).take(section.text.chars().count()).collect();
                    prop_assert_eq!(&there, &section.text);
                    seen[index][*start..*start + section.text.chars().count()].fill(true);
                }
            }
            for (text, seen) in texts.iter().zip(&seen) {
                for (character, seen) in text.chars().zip(seen) {
                    prop_assert!(*seen || character.is_whitespace());
                }
            }
        }

        #[test]
        fn what_parts_come_to_quotes_only_what_they_quote(
            given in prop::collection::vec((0_u8..4, 0.0_f64..1.0, 0_usize..3), 1..8),
        ) {
            let findings: Vec<Finding> = given.iter().map(|(verdict, confidence, quoted)| {
                let verdict = [Verdict::Met, Verdict::PartlyMet, Verdict::NotMet, Verdict::Unclear][usize::from(*verdict)];
                finding(verdict, *confidence, &[(0, "rent"), (20, "due"), (40, "now")][..*quoted])
            }).collect();
            let merged = merged(criterion(), findings.clone());
            prop_assert!(merged.quotations.len() <= 3, "no place is quoted twice");
            prop_assert_eq!(merged.struck_quotations, findings.len());
            prop_assert!((0.0..=1.0).contains(&merged.confidence));
            prop_assert!(merged.verdict == Verdict::Unclear || findings.iter().any(|finding| finding.verdict == merged.verdict));
        }
    }

    #[test]
    fn words_outweigh_silence_and_agreeing_silence_stands() {
        use Verdict::*;
        for (findings, verdict, quotations) in [
            (vec![finding(NotMet, 0.9, &[]), finding(Met, 0.6, &[(4, "rent")])], Met, 1),
            (vec![finding(Met, 0.9, &[]), finding(NotMet, 0.6, &[(4, "rent")])], NotMet, 1),
            (vec![finding(PartlyMet, 0.6, &[(4, "rent")]), finding(Met, 0.6, &[(40, "rent")])], Met, 1),
            (vec![finding(PartlyMet, 0.6, &[(4, "rent")]), finding(NotMet, 0.6, &[])], PartlyMet, 1),
            (vec![finding(NotMet, 0.6, &[]), finding(NotMet, 0.7, &[])], NotMet, 0),
            (vec![finding(NotMet, 0.6, &[]), finding(Unclear, 0.7, &[])], Unclear, 0),
            (vec![finding(NotMet, 0.6, &[]), finding(Met, 0.7, &[])], Unclear, 0),
            (vec![finding(Met, 0.7, &[(4, "rent")]), finding(NotMet, 0.6, &[(40, "rent")])], Unclear, 2),
            (vec![finding(Met, 0.9, &[(4, "rent")]), finding(NotMet, 0.6, &[(40, "rent")])], Met, 1),
            (vec![finding(Met, 0.5, &[(4, "rent")]), finding(NotMet, 0.8, &[(40, "rent")])], NotMet, 1),
        ] {
            let shown = format!("{findings:?}");
            let merged = merged(criterion(), findings);
            assert_eq!((merged.verdict, merged.quotations.len()), (verdict, quotations), "{shown}");
        }
    }

    #[test]
    fn what_two_parts_quote_of_their_overlap_is_quoted_once() {
        let findings = vec![
            finding(Verdict::Met, 0.6, &[(4, "rent"), (90, "due")]),
            finding(Verdict::Met, 0.8, &[(0, "the rent")]),
        ];
        let merged = merged(criterion(), findings);
        let texts: Vec<&str> = merged.quotations.iter().map(|quotation| quotation.text.as_str()).collect();
        assert_eq!((texts, merged.confidence), (vec!["the rent", "due"], 0.8));
    }
}
