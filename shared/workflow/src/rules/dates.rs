//! Dates as people write them: in full (`2025-03-14`, `14.03.2025`, `March 14, 2025`, `14. März 2025`), in part
//! (`14 March`) and in words (`next Friday`, `tomorrow`, `end of the month`).
//!
//! Deliberately absent: today. Without a clock "Friday" is no date, so it stays the words it was written in.

use std::borrow::Cow;

use jiff::civil::Date;

use super::lists::{List, list};
use super::text::{Token, TokenKind, folded, tokens};

/// A place in a text that names a day, a month or a time near one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mention<'text> {
    /// The words.
    pub(super) text: &'text str,
    /// Where they begin, in bytes.
    pub(super) start: usize,
    /// The day, where the words say which, whoever reads them whenever.
    pub(super) date: Option<Date>,
    /// Whether they depend on when they are read: `tomorrow`, `Friday`.
    pub(super) relative: bool,
}

impl Mention<'_> {
    /// Where the words end, in bytes.
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// Every mention of a date in a text, in order.
pub(super) fn mentions(text: &str) -> Vec<Mention<'_>> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match match_at(&tokens, at) {
            Some(matched) => {
                let start = tokens[at].start;
                let end = tokens[at + matched.length - 1].end();
                found.push(Mention { text: &text[start..end], start, date: matched.date, relative: matched.relative });
                at += matched.length;
            }
            None => at += 1,
        }
    }
    found
}

/// The month that a word names, in English or German, in full or abbreviated: 1 to 12.
pub(super) fn month(word: &str) -> Option<i8> {
    const MONTHS: [List; 12] = [
        list!("january | jan | januar | janner"),
        list!("february | feb | februar"),
        list!("march | mar | marz"),
        list!("april | apr"),
        list!("may | mai"),
        list!("june | jun | juni"),
        list!("july | jul | juli"),
        list!("august | aug"),
        list!("september | sep | sept"),
        list!("october | oct | oktober | okt"),
        list!("november | nov"),
        list!("december | dec | dezember | dez"),
    ];
    // "may" and "march" are verbs too; a month is written with a capital.
    if word.len() > 12 || !word.starts_with(char::is_uppercase) {
        return None;
    }
    let word = folded(word);
    (1..).zip(&MONTHS).find(|(_, names)| names.iter().any(|name| name == word)).map(|(month, _)| month)
}

struct Match {
    length: usize,
    date: Option<Date>,
    relative: bool,
}

fn match_at(tokens: &[Token<'_>], at: usize) -> Option<Match> {
    match tokens[at].kind {
        // Part of a longer word or number: an order id, a version.
        TokenKind::Number if at > 0 && touches(tokens, at - 1) && !opens(&tokens[at - 1]) => None,
        TokenKind::Number => {
            year_first(tokens, at).or_else(|| in_numbers(tokens, at)).or_else(|| day_and_month(tokens, at))
        }
        TokenKind::Word => month_and_day(tokens, at).or_else(|| in_words(tokens, at)),
        TokenKind::Mark => None,
    }
}

fn opens(token: &Token<'_>) -> bool {
    token.kind == TokenKind::Mark && !matches!(token.text, "-" | "/" | "." | "_" | "#" | "+")
}

// Whether the token and the next one stand together.
fn touches(tokens: &[Token<'_>], at: usize) -> bool {
    tokens.get(at + 1).is_some_and(|next| tokens[at].end() == next.start)
}

fn full(year: u64, month: u64, day: u64) -> Option<Date> {
    Date::new(i16::try_from(year).ok()?, i8::try_from(month).ok()?, i8::try_from(day).ok()?).ok()
}

// Two digits are of this century: contracts and mails rarely speak of the last one.
fn year(token: &Token<'_>) -> Option<u64> {
    match (token.text.len(), token.number()?) {
        (4, year @ 1900..=2199) => Some(year),
        (2, year) => Some(2000 + year),
        _ => None,
    }
}

fn four_digit_year(token: &Token<'_>) -> Option<u64> {
    if token.text.len() == 4 { year(token) } else { None }
}

// 2025-03-14
fn year_first(tokens: &[Token<'_>], at: usize) -> Option<Match> {
    let [year, first, month, second, day] = tokens.get(at..at + 5)? else { return None };
    let is_joined = (at..at + 4).all(|index| touches(tokens, index));
    let is_marked = first.text == second.text && (first.is_mark("-") || first.is_mark("/"));
    let goes_on = touches(tokens, at + 4)
        && (tokens[at + 5].is_mark("-") || tokens[at + 5].kind == TokenKind::Number || tokens[at + 5].is_mark("_"));
    if !is_joined || !is_marked || goes_on || day.text.len() != 2 {
        return None;
    }
    let date = full(four_digit_year(year)?, month.number()?, day.number()?)?;
    Some(Match { length: 5, date: Some(date), relative: false })
}

// 14.03.2025, 14. 3. 2025, 14/03/2025, 03/14/25
fn in_numbers(tokens: &[Token<'_>], at: usize) -> Option<Match> {
    let [first, mark, second, other_mark, last] = tokens.get(at..at + 5)? else { return None };
    if mark.text != other_mark.text || first.text.len() > 2 || second.text.len() > 2 {
        return None;
    }
    // A fourth group makes it an address or a version.
    if touches(tokens, at + 4) && tokens.get(at + 6).is_some_and(|next| next.kind == TokenKind::Number) {
        let joined = tokens[at + 5].text == mark.text && touches(tokens, at + 5);
        if joined {
            return None;
        }
    }
    let (year, first, second) = (year(last)?, first.number()?, second.number()?);
    let date = match mark.text {
        "." => Some(full(year, second, first)?),
        // Who writes 03/04/2025 may mean April or March; only where one reading is no date is the other one sure.
        "/" | "-" if touches(tokens, at + 1) => match (full(year, second, first), full(year, first, second)) {
            (None, None) => return None,
            (Some(date), None) | (None, Some(date)) => Some(date),
            (Some(one), Some(other)) => (one == other).then_some(one),
        },
        _ => return None,
    };
    Some(Match { length: 5, date, relative: false })
}

// 14 March 2025, 14th of March, 14. März 2025
fn day_and_month(tokens: &[Token<'_>], at: usize) -> Option<Match> {
    let day = tokens[at].number().filter(|day| (1..=31).contains(day) && tokens[at].text.len() <= 2)?;
    let mut next = after_ordinal(tokens, at + 1);
    if tokens.get(next).is_some_and(|token| token.is_mark(".")) {
        next += 1;
    }
    if tokens.get(next).is_some_and(|token| token.text == "of") {
        next += 1;
    }
    let month = month(tokens.get(next)?.text)?;
    next += 1;
    Some(with_year(tokens, at, next, month, day))
}

// March 14, 2025; March 14; March 2025
fn month_and_day(tokens: &[Token<'_>], at: usize) -> Option<Match> {
    let month = month(tokens[at].text)?;
    let mut next = at + 1;
    if tokens.get(next).is_some_and(|token| token.is_mark(".")) {
        next += 1;
    }
    let number = tokens.get(next)?;
    if four_digit_year(number).is_some() {
        return Some(Match { length: next + 1 - at, date: None, relative: false });
    }
    let day = number.number().filter(|day| (1..=31).contains(day) && number.text.len() <= 2)?;
    let next = after_ordinal(tokens, next + 1);
    Some(with_year(tokens, at, next, month, day))
}

fn after_ordinal(tokens: &[Token<'_>], at: usize) -> usize {
    let is_ordinal = tokens.get(at).is_some_and(|token| {
        at > 0 && touches(tokens, at - 1) && matches!(token.text.to_lowercase().as_str(), "st" | "nd" | "rd" | "th")
    });
    at + usize::from(is_ordinal)
}

fn with_year(tokens: &[Token<'_>], at: usize, next: usize, month: i8, day: u64) -> Match {
    let year_at = next + usize::from(tokens.get(next).is_some_and(|token| token.is_mark(",") || token.is_mark(".")));
    let year = tokens.get(year_at).and_then(four_digit_year);
    match year.and_then(|year| full(year, u64::try_from(month).unwrap_or_default(), day)) {
        Some(date) => Match { length: year_at + 1 - at, date: Some(date), relative: false },
        None => Match { length: next - at, date: None, relative: false },
    }
}

// next Friday, tomorrow, end of the month
fn in_words(tokens: &[Token<'_>], at: usize) -> Option<Match> {
    const DAYS: List = list!(
        "monday | tuesday | wednesday | thursday | friday | saturday | sunday | montag | dienstag | mittwoch | \
        donnerstag | freitag | samstag | sonnabend | sonntag",
    );
    const ALONE: List = list!("today | tonight | tomorrow | heute | ubermorgen | eod | eow | cob");
    const WHICH: List = list!("next | this | coming | nachste | nachsten | nachster | kommende | kommenden");
    const SPANS: List = list!("week | month | quarter | year | woche | monat | quartal | jahr | weekend | wochenende");
    const ENDS: List =
        list!("day | week | month | quarter | year | business | tages | woche | monats | quartals | jahres");
    // The words after the first are looked at where it says something.
    let word = |index: usize| tokens.get(at + index).map(short_folded).unwrap_or_default();
    let relative = |length| Some(Match { length, date: None, relative: true });
    let first = word(0);
    if DAYS.has(&first) || ALONE.has(&first) {
        return relative(1);
    }
    // "Guten Morgen" greets; only the small "morgen" is tomorrow.
    if tokens[at].text == "morgen" && (at == 0 || short_folded(&tokens[at - 1]) != "guten") {
        return relative(1);
    }
    if WHICH.has(&first) {
        let second = word(1);
        if DAYS.has(&second) || SPANS.has(&second) {
            return relative(2);
        }
    }
    if matches!(first.as_ref(), "end" | "ende") {
        let second = word(1);
        if matches!(second.as_ref(), "of" | "der" | "des") {
            let third = word(2);
            if matches!(third.as_ref(), "the" | "this" | "next") && ENDS.has(&word(3)) {
                return relative(4);
            }
            if ENDS.has(&third) {
                return relative(3);
            }
        }
        if second == "of" && month(tokens.get(at + 2).map_or("", |token| token.text)).is_some() {
            return relative(3);
        }
        if month(tokens.get(at + 1).map_or("", |token| token.text)).is_some() {
            return relative(2);
        }
    }
    None
}

// No word that counts here is longer.
fn short_folded<'text>(token: &Token<'text>) -> Cow<'text, str> {
    if token.text.len() <= 16 { folded(token.text) } else { Cow::Borrowed("") }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(text: &str) -> Vec<(&str, Option<String>)> {
        mentions(text).into_iter().map(|mention| (mention.text, mention.date.map(|date| date.to_string()))).collect()
    }

    proptest! {
        #[test]
        fn a_mention_is_a_slice_of_its_text(text in "\\PC{0,200}|([0-9]{1,5}|[./ -]|March|end of|May|th){0,40}") {
            for mention in mentions(&text) {
                prop_assert_eq!(&text[mention.start..mention.end()], mention.text);
            }
        }
    }

    #[test]
    fn dates_are_read_in_the_forms_in_which_people_write_them() {
        for (text, words, date) in [
            ("on 2025-03-14.", "2025-03-14", Some("2025-03-14")),
            ("am 14.03.2025 um", "14.03.2025", Some("2025-03-14")),
            ("am 14. 3. 2025", "14. 3. 2025", Some("2025-03-14")),
            ("03/14/2025", "03/14/2025", Some("2025-03-14")),
            ("14/03/25", "14/03/25", Some("2025-03-14")),
            ("03/04/2025", "03/04/2025", None),
            ("the 14th of March 2025", "14th of March 2025", Some("2025-03-14")),
            ("March 14, 2025,", "March 14, 2025", Some("2025-03-14")),
            ("am 14. März 2025", "14. März 2025", Some("2025-03-14")),
            ("in Sept. 2025", "Sept. 2025", None),
            ("by 3 May", "3 May", None),
            ("by next Friday!", "next Friday", None),
            ("bis nächsten Montag", "nächsten Montag", None),
            ("by the end of the month", "end of the month", None),
            ("bis Ende des Monats", "Ende des Monats", None),
            ("TOMORROW", "TOMORROW", None),
            ("bis morgen", "morgen", None),
        ] {
            assert_eq!(found(text), [(words, date.map(str::to_owned))], "in {text:?}");
        }
    }

    #[test]
    fn what_only_looks_like_a_date_is_none() {
        for text in [
            "",
            "I may 5",
            "version 1.2.3",
            "192.168.10.25",
            "2025-13-45",
            "31.02.2025",
            "Guten Morgen",
            "ORD-2025-03-14-7",
            "12345678",
            "we march on",
            "99999999999999999999-12-12",
            "1/2",
            "call 555-01-99",
        ] {
            assert_eq!(found(text), [], "in {text:?}");
        }
    }
}
