//! Figures that contracts and mails speak of: spans of time, amounts of money, percentages; and the references
//! by which companies know their invoices, orders and tickets.
//!
//! A figure is read only where it is certain; "1.500 EUR" is fifteen hundred, because nobody writes an amount
//! with three decimals. Months and years are ranges of days, since nobody says which month.

use std::borrow::Cow;

use super::lists::{List, list, stands_alone};
use super::text::{Token, TokenKind, folded, tokens};

/// A figure in a text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure<'text> {
    /// Its words.
    pub(super) text: &'text str,
    /// Where they begin, in bytes.
    pub(super) start: usize,
    /// What it measures.
    pub(super) measure: Measure,
    /// The least it can be, in days, units of the currency or percent.
    pub(super) low: f64,
    /// The most it can be.
    pub(super) high: f64,
    /// What the words before it make of it.
    pub(super) bound: Bound,
}

/// What a figure measures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Measure {
    /// A span of time.
    Duration,
    /// Money, in this currency (`EUR`, `USD` …).
    Money(&'static str),
    /// A share of a hundred.
    Percentage,
}

/// What the words before a figure make of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// That much.
    Exact,
    /// That much or less.
    AtMost,
    /// Less.
    Below,
    /// That much or more.
    AtLeast,
    /// More.
    Above,
}

/// Every figure in a text, in order.
pub(super) fn figures(text: &str) -> Vec<Figure<'_>> {
    let tokens = tokens(text);
    let mut found: Vec<Figure<'_>> = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match figure_at(&tokens, at) {
            Some((next, measure, low, high)) => {
                let start = tokens[at].start;
                let end = tokens[next - 1].end();
                let bound = bound_before(&tokens[at.saturating_sub(6)..at]);
                found.push(Figure { text: &text[start..end], start, measure, low, high, bound });
                at = next;
            }
            None => at += 1,
        }
    }
    found
}

/// The references in a text: what stands after words like "invoice no.", and what is written like one
/// (`INV-2025-001`, `#4711`); each once, at most `limit`.
pub(super) fn references(text: &str, limit: usize) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut expecting = false;
    for piece in text.split_whitespace() {
        if found.len() >= limit {
            break;
        }
        // Most pieces hold no reference, for want of a digit, and no label set off from what it labels.
        if !piece.bytes().any(|byte| byte.is_ascii_digit() || byte == b':') {
            expecting = is_label(piece) || (expecting && goes_on(trimmed(piece)));
            continue;
        }
        let (label, value) = match piece.split_once(':') {
            Some((label, value)) if !value.is_empty() && is_label(label) => (label, value),
            _ => ("", piece),
        };
        let expected = expecting || !label.is_empty();
        let trimmed = trimmed(value);
        let bare = trimmed.trim_start_matches('#');
        let is_hash = trimmed.starts_with('#') && bare.len() >= 2 && bare.chars().all(|digit| digit.is_ascii_digit());
        if is_hash || is_structured(bare) || (expected && is_identifier(bare)) {
            if !found.iter().any(|known| known == bare) {
                found.push(bare.to_owned());
            }
            expecting = false;
        } else {
            expecting = is_label(trimmed) || (expecting && goes_on(trimmed));
        }
    }
    found
}

fn trimmed(piece: &str) -> &str {
    piece.trim_matches(|mark: char| !mark.is_alphanumeric() && mark != '#')
}

// Whether a label goes on with it: "invoice no. 7".
fn goes_on(piece: &str) -> bool {
    let word = folded(super::text::beginning(piece, 24));
    matches!(word.as_ref(), "no" | "nr" | "number" | "nummer" | "id" | "is" | "ist" | "")
}

fn is_label(piece: &str) -> bool {
    const LABELS: List = list!(
        "invoice | order | ticket | case | reference | ref | po | customer | account | booking | quote | contract | \
        tracking | rechnung | rechnungsnummer | rechnungsnr | bestellung | bestellnummer | bestellnr | auftrag | \
        auftragsnummer | kundennummer | kundennr | vorgang | vorgangsnummer | vertrag | vertragsnummer | \
        aktenzeichen | sendungsnummer | angebot",
    );
    // Most pieces: a word, and none of these.
    if piece.starts_with(|first: char| first.is_ascii_alphanumeric()) && !LABELS.may_have(piece) {
        return false;
    }
    let word = piece.trim_matches(|mark: char| !mark.is_alphanumeric());
    word.len() <= 24 && LABELS.may_have(word) && LABELS.has(&folded(word))
}

// After a label: anything short with a digit that is no date and no amount.
fn is_identifier(piece: &str) -> bool {
    (2..=32).contains(&piece.len())
        && piece.chars().any(|character| character.is_ascii_digit())
        && piece.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '/'))
        && super::dates::mentions(piece).is_empty()
}

// Letters, a dash, digits: INV-2025-001, TCK-88, RE-7.
fn is_structured(piece: &str) -> bool {
    let Some((letters, rest)) = piece.split_once('-') else { return false };
    (2..=8).contains(&letters.len())
        && letters.chars().all(|letter| letter.is_ascii_uppercase())
        && !matches!(letters, "COVID" | "ISO" | "UTF" | "SHA")
        && is_identifier(rest)
}

type Matched = (usize, Measure, f64, f64);

fn figure_at(tokens: &[Token<'_>], at: usize) -> Option<Matched> {
    // "€ 500", "EUR 500"
    if let Some(currency) = currency(&tokens[at]) {
        let (value, next) = number(tokens, at + 1)?;
        let (value, next) = multiplied(tokens, next, value);
        return Some((next, Measure::Money(currency), value, value));
    }
    let (value, next) = number(tokens, at).or_else(|| number_word(tokens, at))?;
    let next = skip_repetition(tokens, next);
    let (multiple, after) = multiplied(tokens, next, value);
    if let Some(currency) = tokens.get(after).and_then(currency) {
        return Some((after + 1, Measure::Money(currency), multiple, multiple));
    }
    if tokens.get(next).is_some_and(|token| token.is_mark("%")) {
        return Some((next + 1, Measure::Percentage, value, value));
    }
    let first = word_at(tokens, next);
    if matches!(first.as_ref(), "percent" | "prozent" | "pct") {
        return Some((next + 1, Measure::Percentage, value, value));
    }
    if first == "per" && word_at(tokens, next + 1) == "cent" {
        return Some((next + 2, Measure::Percentage, value, value));
    }
    duration_unit(tokens, next).map(|(next, low, high)| (next, Measure::Duration, value * low, value * high))
}

// thirty (30)
fn skip_repetition(tokens: &[Token<'_>], at: usize) -> usize {
    let is_repeated = tokens.get(at).is_some_and(|token| token.is_mark("("))
        && tokens.get(at + 1).is_some_and(|token| token.kind == TokenKind::Number)
        && tokens.get(at + 2).is_some_and(|token| token.is_mark(")"));
    if is_repeated { at + 3 } else { at }
}

fn word_at<'text>(tokens: &[Token<'text>], at: usize) -> Cow<'text, str> {
    tokens
        .get(at)
        .filter(|token| token.kind == TokenKind::Word && token.text.len() <= 24)
        .map(|token| folded(token.text))
        .unwrap_or_default()
}

fn currency(token: &Token<'_>) -> Option<&'static str> {
    match token.kind {
        TokenKind::Number => None,
        TokenKind::Mark => match token.text {
            "€" => Some("EUR"),
            "$" => Some("USD"),
            "£" => Some("GBP"),
            "¥" => Some("JPY"),
            _ => None,
        },
        TokenKind::Word if token.text.len() > 8 => None,
        TokenKind::Word => match folded(token.text).as_ref() {
            "eur" | "euro" | "euros" => Some("EUR"),
            "usd" | "dollar" | "dollars" => Some("USD"),
            "gbp" | "pound" | "pounds" => Some("GBP"),
            "chf" | "franken" => Some("CHF"),
            "jpy" | "yen" => Some("JPY"),
            _ => None,
        },
    }
}

fn multiplied(tokens: &[Token<'_>], at: usize, value: f64) -> (f64, usize) {
    match word_at(tokens, at).as_ref() {
        "thousand" | "tausend" | "tsd" | "k" => (value * 1e3, at + 1),
        "million" | "millions" | "millionen" | "mio" | "m" => (value * 1e6, at + 1),
        "billion" | "milliarden" | "milliarde" | "mrd" => (value * 1e9, at + 1),
        _ => (value, at),
    }
}

// 30, 1,000.50, 1.000,50, 1'000
fn number(tokens: &[Token<'_>], at: usize) -> Option<(f64, usize)> {
    let first = tokens.get(at)?;
    // The tail of a longer number is no number of its own.
    if first.kind != TokenKind::Number || is_joined_before(tokens, at) {
        return None;
    }
    let mut groups = vec![first.text];
    let mut marks: Vec<&str> = Vec::new();
    let mut next = at + 1;
    while let (Some(mark), Some(group)) = (tokens.get(next), tokens.get(next + 1)) {
        let is_joined = mark.start == tokens[next - 1].end() && group.start == mark.end();
        if !is_joined || group.kind != TokenKind::Number || !matches!(mark.text, "." | "," | "'" | "’") {
            break;
        }
        marks.push(mark.text);
        groups.push(group.text);
        next += 2;
        if groups.len() > 8 {
            return None;
        }
    }
    value_of(&groups, &marks).map(|value| (value, next))
}

fn is_joined_before(tokens: &[Token<'_>], at: usize) -> bool {
    at > 0
        && tokens[at - 1].end() == tokens[at].start
        && (tokens[at - 1].kind == TokenKind::Word && currency(&tokens[at - 1]).is_none()
            || matches!(tokens[at - 1].text, "." | "," | "-" | "/" | "_" | "#")
                && at > 1
                && tokens[at - 2].end() == tokens[at - 1].start)
}

fn value_of(groups: &[&str], marks: &[&str]) -> Option<f64> {
    let (whole, decimals) = match marks {
        [] => (groups, None),
        [.., last] => {
            let is_mixed = marks.iter().any(|mark| mark != last);
            let tail = groups.last()?;
            let is_decimal = is_mixed || (marks.len() == 1 && tail.len() != 3) || groups[0] == "0";
            if is_decimal { (&groups[..groups.len() - 1], Some(*tail)) } else { (groups, None) }
        }
    };
    // Thousands come in threes; anything else is a version or a section.
    if whole.len() > 1 && (whole[0].len() > 3 || whole[1..].iter().any(|group| group.len() != 3)) {
        return None;
    }
    let text = format!("{}.{}", whole.concat(), decimals.unwrap_or("0"));
    (text.len() <= 24).then(|| text.parse().ok()).flatten()
}

fn number_word(tokens: &[Token<'_>], at: usize) -> Option<(f64, usize)> {
    const NUMBERS: &[(f64, List)] = &[
        (1.0, list!("one | ein | eine | einem | einen | einer")),
        (2.0, list!("two | zwei")),
        (3.0, list!("three | drei")),
        (4.0, list!("four | vier")),
        (5.0, list!("five | funf")),
        (6.0, list!("six | sechs")),
        (7.0, list!("seven | sieben")),
        (8.0, list!("eight | acht")),
        (9.0, list!("nine | neun")),
        (10.0, list!("ten | zehn")),
        (11.0, list!("eleven | elf")),
        (12.0, list!("twelve | zwolf")),
        (14.0, list!("fourteen | vierzehn")),
        (15.0, list!("fifteen | funfzehn")),
        (18.0, list!("eighteen | achtzehn")),
        (20.0, list!("twenty | zwanzig")),
        (30.0, list!("thirty | dreissig")),
        (40.0, list!("forty | vierzig")),
        (50.0, list!("fifty | funfzig")),
        (60.0, list!("sixty | sechzig")),
        (70.0, list!("seventy | siebzig")),
        (80.0, list!("eighty | achtzig")),
        (90.0, list!("ninety | neunzig")),
    ];
    let named = |at| {
        let word = word_at(tokens, at);
        NUMBERS.iter().find(|(_, names)| names.has(&word)).map(|(value, _)| *value)
    };
    let value = named(at)?;
    // forty-five
    if value >= 20.0
        && tokens.get(at + 1).is_some_and(|token| token.is_mark("-"))
        && let Some(ones) = named(at + 2).filter(|ones| *ones < 10.0)
    {
        return Some((value + ones, at + 3));
    }
    Some((value, at + 1))
}

fn duration_unit(tokens: &[Token<'_>], at: usize) -> Option<(usize, f64, f64)> {
    const KINDS_OF_DAY: &[&str] =
        &["business", "calendar", "working", "consecutive", "full", "whole", "volle", "vollen"];
    let mut at = at;
    if tokens.get(at).is_some_and(|token| token.is_mark("-")) {
        at += 1;
    }
    if KINDS_OF_DAY.contains(&word_at(tokens, at).as_ref()) {
        at += 1;
    }
    let word = word_at(tokens, at);
    let (low, high) = match word.as_ref() {
        "hour" | "hours" | "stunde" | "stunden" => (1.0 / 24.0, 1.0 / 24.0),
        "day" | "days" | "tag" | "tage" | "tagen" | "werktage" | "werktagen" | "kalendertage" | "kalendertagen"
        | "arbeitstage" | "arbeitstagen" => (1.0, 1.0),
        "week" | "weeks" | "woche" | "wochen" => (7.0, 7.0),
        "month" | "months" | "monat" | "monate" | "monaten" | "monats" => (28.0, 31.0),
        "quarter" | "quarters" | "quartal" | "quartale" | "quartalen" => (90.0, 92.0),
        "year" | "years" | "jahr" | "jahre" | "jahren" | "jahres" => (365.0, 366.0),
        other if other.starts_with("tagig") => (1.0, 1.0),
        other if other.starts_with("wochig") => (7.0, 7.0),
        other if other.starts_with("monatig") => (28.0, 31.0),
        other if other.starts_with("jahrig") => (365.0, 366.0),
        _ => return None,
    };
    Some((at + 1, low, high))
}

// The nearest bound among the words just before the figure.
fn bound_before(before: &[Token<'_>]) -> Bound {
    let words: Vec<Cow<'_, str>> =
        before.iter().filter(|token| token.kind == TokenKind::Word).map(|token| folded(token.text)).collect();
    // Only what stands right before, apart from small words, belongs to this figure.
    let tail = words[words.len().saturating_sub(4)..].join(" ");
    // Denied ones first: "not more than" holds "more than".
    const BOUNDS: &[(Bound, List)] = &[
        (
            Bound::AtMost,
            list!(
                "no more than | not more than | no later than | not later than | no longer than | not longer than | \
                not exceed | not exceeding | without exceeding | nicht mehr als | nicht langer als",
            ),
        ),
        (
            Bound::AtLeast,
            list!(
                "no less than | not less than | no fewer than | not fewer than | no shorter than | \
                nicht weniger als",
            ),
        ),
        (
            Bound::AtMost,
            list!(
                "at most | at the most | up to | maximum | max | limited to | capped at | within | hochstens | \
                maximal | bis zu | innerhalb | binnen",
            ),
        ),
        (Bound::AtLeast, list!("at least | minimum | mindestens | wenigstens")),
        (Bound::Below, list!("less than | fewer than | shorter than | under | below | weniger als | unter")),
        (
            Bound::Above,
            list!(
                "more than | longer than | greater than | exceeding | exceeds | exceed | over | above | mehr als | \
                langer als | uber",
            ),
        ),
    ];
    const SMALL: &[&str] = &["", "a", "an", "the", "of", "by", "einer", "einem", "eine", "von"];
    let ends_with = |phrase: &str| {
        tail.rfind(phrase).is_some_and(|at| {
            stands_alone(&tail, at, at + phrase.len())
                && tail[at + phrase.len()..].split(' ').all(|word| SMALL.contains(&word))
        })
    };
    BOUNDS.iter().find(|(_, phrases)| phrases.iter().any(ends_with)).map_or(Bound::Exact, |(bound, _)| *bound)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_figure_is_a_slice_of_its_text(
            text in "\\PC{0,200}|([0-9]{1,4}|[.,' ()%€$-]|days|EUR|thirty|per cent){0,40}",
        ) {
            for figure in figures(&text) {
                prop_assert!(text[figure.start..].starts_with(figure.text));
                prop_assert!(figure.low <= figure.high);
            }
            references(&text, 20);
        }
    }

    #[test]
    fn figures_are_read_with_their_measure_and_bound() {
        use Bound::*;
        use Measure::*;
        for (text, measure, low, high, bound) in [
            ("thirty (30) days' notice", Duration, 30.0, 30.0, Exact),
            ("within 30 days", Duration, 30.0, 30.0, AtMost),
            ("no later than 14 business days after", Duration, 14.0, 14.0, AtMost),
            ("a period of 3 months", Duration, 84.0, 93.0, Exact),
            ("at least two weeks", Duration, 14.0, 14.0, AtLeast),
            ("eine Frist von sechs Wochen", Duration, 42.0, 42.0, Exact),
            ("mit 14-tägiger Frist", Duration, 14.0, 14.0, Exact),
            ("forty-five days", Duration, 45.0, 45.0, Exact),
            ("höchstens 10 Tage", Duration, 10.0, 10.0, AtMost),
            ("shall not exceed EUR 1,000,000.50", Money("EUR"), 1_000_000.5, 1_000_000.5, AtMost),
            ("more than 1.500 €", Money("EUR"), 1500.0, 1500.0, Above),
            ("$2.5 million", Money("USD"), 2_500_000.0, 2_500_000.0, Exact),
            ("1.234,56 Euro", Money("EUR"), 1234.56, 1234.56, Exact),
            ("CHF 1'200", Money("CHF"), 1200.0, 1200.0, Exact),
            ("under 5 % of", Percentage, 5.0, 5.0, Below),
            ("nine per cent", Percentage, 9.0, 9.0, Exact),
            ("1,5 Prozent", Percentage, 1.5, 1.5, Exact),
        ] {
            let found = figures(text);
            assert_eq!(found.len(), 1, "in {text:?}: {found:?}");
            let figure = &found[0];
            assert_eq!((&figure.measure, figure.bound), (&measure, bound), "in {text:?}");
            assert!((figure.low - low).abs() < 0.001 && (figure.high - high).abs() < 0.001, "in {text:?}: {figure:?}");
        }
    }

    #[test]
    fn what_only_looks_like_a_figure_is_none() {
        for text in [
            "",
            "section 4.2.1",
            "30",
            "room 12",
            "days",
            "A4-30 dayz",
            "€",
            "EUR",
            "%",
            "99999999999999999999999999 days",
        ] {
            assert_eq!(figures(text), [], "in {text:?}");
        }
    }

    #[test]
    fn references_are_found_by_their_labels_and_by_their_form() {
        for (text, expected) in [
            ("Invoice no. 2025-117 and order #4711", &["2025-117", "4711"][..]),
            ("INV-2025-001 is late, INV-2025-001!", &["INV-2025-001"]),
            ("Ihre Rechnungsnr: 88/12 und Kundennummer K123", &["88/12", "K123"]),
            ("my order number is 998877.", &["998877"]),
            ("Order by 2025-03-14 in March, call 0171", &[]),
            ("in order to get 20 of them", &[]),
            ("", &[]),
        ] {
            assert_eq!(references(text, 20), expected, "in {text:?}");
        }
    }
}
