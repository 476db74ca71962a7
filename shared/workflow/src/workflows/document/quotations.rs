//! Quotations found again in the document that they were taken from.
//!
//! An assistant quotes in its own typing: other spaces and line ends, straight quotes for curly ones, a word put
//! together again that the page divides. Both sides are brought to one spelling for the search, and what is found is
//! given back as the document has it, at its place there.
//!
//! Invariants: a quotation that is found stands in the document letter by letter, but for the differences above and
//! quotation marks around it that are the assistant's own; it begins and ends with whole words and whole numbers, so
//! `EUR 100` is not found in `EUR 100,000`; a quotation that goes on from one page to the next is found, one that goes
//! on from one sheet, note or chapter to the next is not.
//!
//! Deliberately absent: other letter case, left-out words (`…`) and any likeness short of that.

use crate::domain::document::{Content, Quotation, Section};

/// The text of a document made ready for the search, once for all quotations.
pub(super) struct Searched<'c> {
    content: &'c Content,
    /// How far into each section of the whole document this text of it begins, in characters.
    starts: &'c [usize],
    spellings: Option<[Spelling; 2]>,
}

impl<'c> Searched<'c> {
    /// A text to search; each section begins so many characters into that of the whole document.
    pub(super) fn new(content: &'c Content, starts: &'c [usize]) -> Self {
        Self { content, starts, spellings: None }
    }

    /// Where the words stand. Rows are not looked up: this text may be a part, whose lines begin elsewhere.
    pub(super) fn find(&mut self, quoted: &str) -> Option<Quotation> {
        let quoted = quoted.trim();
        let bare = quoted.trim_matches(is_quotation_mark).trim();
        self.find_exactly(quoted)
            .or_else(|| self.find_respelled(quoted))
            .or_else(|| (bare.len() < quoted.len()).then(|| self.find_respelled(bare)).flatten())
    }

    fn find_exactly(&self, quoted: &str) -> Option<Quotation> {
        if !quoted.contains(char::is_alphanumeric) {
            return None;
        }
        self.content.sections.iter().enumerate().find_map(|(index, section)| {
            let (byte, _) = section
                .text
                .match_indices(quoted)
                .find(|(byte, found)| stands_alone(&section.text, *byte, byte + found.len()))?;
            Some(self.quotation(index, byte, quoted.to_owned()))
        })
    }

    fn find_respelled(&mut self, quoted: &str) -> Option<Quotation> {
        if !quoted.contains(char::is_alphanumeric) {
            return None;
        }
        let content = self.content;
        let spellings =
            self.spellings.get_or_insert_with(|| Hyphens::BOTH.map(|hyphens| Spelling::of(content, hyphens)));
        let found = spellings.iter().find_map(|spelling| {
            let wanted = respelled(quoted, spelling.hyphens);
            let (start, _) = spelling
                .text
                .match_indices(&wanted)
                .find(|(start, found)| stands_alone(&spelling.text, *start, start + found.len()))?;
            Some((spelling.place_of(start), spelling.place_of(start + wanted.len() - 1)))
        });
        let (first, last) = found?;
        let mut text = String::new();
        for index in first.section..=last.section {
            let section = &content.sections[index].text;
            let start = if index == first.section { first.byte } else { 0 };
            let end = if index == last.section { end_of_character(section, last.byte) } else { section.len() };
            if index > first.section {
                text.push('\n');
            }
            text.push_str(&section[start..end]);
        }
        Some(self.quotation(first.section, first.byte, text))
    }

    fn quotation(&self, section: usize, byte: usize, text: String) -> Quotation {
        let Section { label, text: whole, .. } = &self.content.sections[section];
        let offset = whole[..byte].chars().count() + self.starts.get(section).copied().unwrap_or(0);
        Quotation { text, section: label.clone(), offset, row: None }
    }
}

/// What becomes of a hyphen at the end of a line: nobody can tell `pay-ment` from `well-known`, so both are tried.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hyphens {
    Stay,
    Join,
}

impl Hyphens {
    const BOTH: [Self; 2] = [Self::Stay, Self::Join];
}

/// The sections in one spelling, with where each character of it comes from.
struct Spelling {
    hyphens: Hyphens,
    text: String,
    /// By ascending place in `text`.
    places: Vec<(usize, Place)>,
}

#[derive(Clone, Copy)]
struct Place {
    section: usize,
    byte: usize,
}

impl Spelling {
    fn of(content: &Content, hyphens: Hyphens) -> Self {
        let mut spelling = Self { hyphens, text: String::new(), places: Vec::new() };
        let goes_on = content.format == "pdf";
        for (section, Section { text, .. }) in content.sections.iter().enumerate() {
            if section > 0 {
                // No quotation has a null in it, so none is found across one.
                let (between, place) = (if goes_on { ' ' } else { '\0' }, Place { section, byte: 0 });
                spelling.push(between, place);
            }
            respell(text, hyphens, |character, byte| spelling.push(character, Place { section, byte }));
        }
        spelling
    }

    fn push(&mut self, character: char, place: Place) {
        if character == ' ' && (self.text.is_empty() || self.text.ends_with([' ', '\0'])) {
            return;
        }
        self.places.push((self.text.len(), place));
        self.text.push(character);
    }

    fn place_of(&self, byte: usize) -> Place {
        let after = self.places.partition_point(|(start, _)| *start <= byte);
        self.places[after.saturating_sub(1)].1
    }
}

fn respelled(text: &str, hyphens: Hyphens) -> String {
    let mut spelled = String::with_capacity(text.len());
    respell(text, hyphens, |character, _| {
        if character != ' ' || !spelled.is_empty() && !spelled.ends_with(' ') {
            spelled.push(character);
        }
    });
    spelled.truncate(spelled.trim_end().len());
    spelled
}

/// Gives each character of a text in the one spelling, and the byte that it comes from.
fn respell(text: &str, hyphens: Hyphens, mut give: impl FnMut(char, usize)) {
    let mut before: Option<char> = None;
    // Whether a word or number has just been left with a hyphen.
    let mut is_open = false;
    let mut characters = text.char_indices().peekable();
    while let Some((byte, character)) = characters.next() {
        if is_mark_of_nothing(character) {
            continue;
        }
        if character.is_whitespace() {
            let mut ends_line = matches!(character, '\n' | '\r');
            while let Some((_, space)) =
                characters.next_if(|(_, next)| next.is_whitespace() || is_mark_of_nothing(*next))
            {
                ends_line |= matches!(space, '\n' | '\r');
            }
            let after = characters.peek().map(|(_, next)| *next);
            // Scripts without spaces, and Korean, break their lines anywhere.
            let is_within = |near: Option<char>| near.is_some_and(has_no_spaces);
            let is_divided = ends_line && is_open && after.is_some_and(char::is_alphanumeric);
            is_open = false;
            if !is_divided && !is_within(before) && !is_within(after) {
                give(' ', byte);
                before = Some(' ');
            }
            continue;
        }
        if is_hyphen(character) {
            let word_before = before.is_some_and(char::is_alphabetic);
            let divides = hyphens == Hyphens::Join && word_before && {
                let mut rest = text[byte + character.len_utf8()..].chars().filter(|next| !is_mark_of_nothing(*next));
                let mut ends_line = false;
                let after = rest.find(|next| {
                    ends_line |= matches!(next, '\n' | '\r');
                    !next.is_whitespace()
                });
                ends_line && after.is_some_and(char::is_alphabetic)
            };
            if !divides {
                give('-', byte);
            }
            is_open = before.is_some_and(char::is_alphanumeric);
            before = Some('-');
            continue;
        }
        for spelled in spelling_of(character) {
            give(spelled, byte);
        }
        before = Some(character);
        is_open = false;
    }
}

/// The characters that one is spelled with.
fn spelling_of(character: char) -> impl Iterator<Item = char> {
    let plain: &[char] = match character {
        '\u{2018}'..='\u{201b}' | '\u{2032}' | '\u{b4}' | '`' | '\u{2bc}' => &['\''],
        '\u{201c}'..='\u{201f}' | '\u{2033}' | '\u{ab}' | '\u{bb}' => &['"'],
        '\u{2026}' => &['.', '.', '.'],
        '\u{fb00}' => &['f', 'f'],
        '\u{fb01}' => &['f', 'i'],
        '\u{fb02}' => &['f', 'l'],
        '\u{fb03}' => &['f', 'f', 'i'],
        '\u{fb04}' => &['f', 'f', 'l'],
        '\u{fb05}' | '\u{fb06}' => &['s', 't'],
        _ => &[],
    };
    // The wide forms of ASCII that Chinese and Japanese set.
    let narrow = match character {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character),
        other => other,
    };
    plain.iter().copied().chain(plain.is_empty().then_some(narrow))
}

fn is_hyphen(character: char) -> bool {
    matches!(character, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

fn is_quotation_mark(character: char) -> bool {
    matches!(character, '"' | '\'' | '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}' | '\u{300c}'..='\u{300f}')
}

/// Characters that are not seen: soft hyphens, marks of direction, spaces of no width, the stretching stroke of Arabic.
fn is_mark_of_nothing(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{640}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

/// Letters of scripts that set no spaces between words, or break their lines within them.
fn has_no_spaces(character: char) -> bool {
    matches!(
        character,
        '\u{e00}'..='\u{eff}' | '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7af}' | '\u{1780}'..='\u{17ff}' | '\u{3000}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ffef}' | '\u{20000}'..='\u{3ffff}'
    )
}

/// Whether no word or number is cut at either end of a piece of text.
fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    let piece = &text[start..end];
    let (Some(first), Some(last)) = (piece.chars().next(), piece.chars().next_back()) else { return false };
    let before = text[..start].chars().next_back();
    let mut rest = text[end..].chars();
    let (after, behind) = (rest.next(), rest.next());
    let mut earlier = text[..start].chars().rev().skip(1);
    let is_word = |character: char| character.is_alphanumeric() && !has_no_spaces(character);
    let cuts_word = |inside: char, outside: Option<char>| is_word(inside) && outside.is_some_and(is_word);
    // `100` is not all of `100,000`, nor `5` of `2.5`.
    let cuts_number = |inside: char, point: Option<char>, beyond: Option<char>| {
        inside.is_ascii_digit()
            && matches!(point, Some('.' | ','))
            && beyond.is_some_and(|beyond| beyond.is_ascii_digit())
    };
    !cuts_word(first, before)
        && !cuts_word(last, after)
        && !cuts_number(last, after, behind)
        && !cuts_number(first, before, earlier.next())
}

fn end_of_character(text: &str, byte: usize) -> usize {
    byte + text[byte..].chars().next().map_or(0, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn content(format: &str, sections: &[&str]) -> Content {
        let section = |(index, text): (usize, &&str)| Section {
            label: format!("page {}", index + 1),
            text: (*text).to_owned(),
            ..Section::default()
        };
        let sections = sections.iter().enumerate().map(section).collect();
        Content { format: format.to_owned(), sections, ..Content::default() }
    }

    fn find(text: &str, quoted: &str) -> Option<(usize, String)> {
        let content = content("pdf", &[text]);
        Searched::new(&content, &[0]).find(quoted).map(|found| (found.offset, found.text))
    }

    #[test]
    fn a_quotation_is_found_whatever_the_spaces_quotes_hyphens_and_ligatures() {
        for (text, quoted, offset, found) in [
            ("The rent\nis due  today.", "rent is due", 4, "rent\nis due"),
            ("żółć: the pay-\nment is due", "the payment is due", 6, "the pay-\nment is due"),
            ("a well-\nknown rule", "well-known rule", 2, "well-\nknown rule"),
            (
                "the tenant\u{2019}s \u{201c}deposit\u{201d}",
                "tenant's \"deposit\"",
                4,
                "tenant\u{2019}s \u{201c}deposit\u{201d}",
            ),
            ("within 30\u{2013}40 days", "30-40 days", 7, "30\u{2013}40 days"),
            ("the \u{fb01}rst o\u{fb03}ce", "first office", 4, "\u{fb01}rst o\u{fb03}ce"),
            ("the office", "o\u{fb03}ce", 4, "office"),
            ("the agree\u{ad}ment", "agreement", 4, "agree\u{ad}ment"),
            ("The rent is due", "\u{201c}rent is due\u{201d}", 4, "rent is due"),
            ("任何一方均可提前三个月\n书面通知终止", "提前三个月书面通知", 6, "提前三个月\n书面通知"),
            ("金额为１２００元", "1200元", 3, "１２００元"),
            ("당사자든 3\n개월 전에", "든 3 개월 전에", 3, "든 3\n개월 전에"),
            ("and so on\u{2026} then", "so on... then", 4, "so on\u{2026} then"),
            ("EUR\u{a0}4,500.00 a month", "EUR 4,500.00", 0, "EUR\u{a0}4,500.00"),
        ] {
            assert_eq!(find(text, quoted), Some((offset, found.to_owned())), "{quoted:?} in {text:?}");
        }
    }

    #[test]
    fn what_does_not_stand_there_is_not_found() {
        for (text, quoted) in [
            ("limited to EUR 100,000 a year", "limited to EUR 100"),
            ("interest of 2.5 percent", "5 percent"),
            ("the unlimited liability", "limited liability"),
            ("the therapist", "the rapist"),
            ("the re-signed contract", "resigned contract"),
            ("a recover y", "recovery"),
            ("The rent is not due", "The rent is due"),
            ("The rent is due", "the rent is due"),
            ("The rent is due", ""),
            ("The rent \u{2026} is due", "\u{2026}"),
            ("The rent is due", "\"\""),
        ] {
            assert_eq!(find(text, quoted), None, "{quoted:?} in {text:?}");
        }
    }

    #[test]
    fn a_later_place_is_found_where_an_earlier_one_cuts_a_number() {
        assert_eq!(find("EUR 100,000 or EUR 100 each", "EUR 100").map(|(offset, _)| offset), Some(15));
    }

    #[test]
    fn a_sentence_goes_on_on_the_next_page_but_not_in_the_next_chapter() {
        let pages = ["first page\nthe rent is", "due today\nsecond page"];
        let of = |format| {
            let content = content(format, &pages);
            Searched::new(&content, &[0, 7]).find("rent is due today")
        };
        let found = of("pdf").unwrap();
        assert_eq!((found.section.as_str(), found.offset, found.text.as_str()), ("page 1", 15, "rent is\ndue today"));
        assert_eq!(of("html"), None);
        let content = content("html", &pages);
        assert_eq!(Searched::new(&content, &[0, 7]).find("due today").unwrap().offset, 7);
    }

    proptest! {
        #[test]
        fn what_is_found_is_there(
            words in prop::collection::vec("[a-zé0-9]{1,6}[.,’-]?|\u{fb01}x|契約|\u{ad}", 1..30),
            ends in prop::collection::vec("[ \n]{1,2}", 30),
            quoted in prop::collection::vec("[a-z0-9]{1,3}[.,'-]?|fix|契約", 1..4),
        ) {
            let text: String = words.iter().zip(&ends).flat_map(|(word, end)| [word.as_str(), end.as_str()]).collect();
            let quoted = quoted.join(" ");
            if let Some((offset, found)) = find(&text, &quoted) {
                let there: String = text.chars().skip(offset).take(found.chars().count()).collect();
                prop_assert_eq!(&there, &found);
                let bare = quoted.trim_matches(is_quotation_mark).trim();
                let is_same = |hyphens| {
                    let found = respelled(&found, hyphens);
                    found == respelled(&quoted, hyphens) || found == respelled(bare, hyphens)
                };
                prop_assert!(Hyphens::BOTH.into_iter().any(is_same), "{:?} for {:?}", found, quoted);
            }
        }

        #[test]
        fn words_that_follow_one_another_are_found(
            words in prop::collection::vec("[a-zé]{1,6}’?[a-z]|\u{fb01}x", 1..30),
            ends in prop::collection::vec("[ \n]{1,2}", 30),
            from in 0_usize..30,
            count in 1_usize..8,
        ) {
            let text: String = words.iter().zip(&ends).flat_map(|(word, end)| [word.as_str(), end.as_str()]).collect();
            let from = from % words.len();
            let quoted = words[from..(from + count).min(words.len())].join(" ").replace('’', "'").replace('\u{fb01}', "fi");
            prop_assert!(find(&text, &quoted).is_some(), "{:?} in {:?}", quoted, text);
        }
    }
}
