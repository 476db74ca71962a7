//! Lists of words and phrases, written so that they can be read: one text, its entries set apart by `|`. The compiler cuts
//! it up.
//!
//! Entries are in lower case; so must the texts be that are held against them. An entry is found only as whole
//! words: "order" is not in "border".

/// A list of words or phrases; [`list!`] makes one.
pub(super) struct List {
    entries: &'static [&'static str],
    /// What they begin with. Most words begin otherwise, and are held against no entry then.
    beginnings: Beginnings,
}

/// Some of the pairs of bytes that a text can begin with; of a text of one byte, that one and zero.
struct Beginnings([u64; Self::WORDS]);

impl Beginnings {
    const WORDS: usize = 8;

    const fn of(entries: &[&str]) -> Self {
        let (mut bits, mut at) = ([0; Self::WORDS], 0);
        while at < entries.len() {
            let entry = entries[at].as_bytes();
            let (word, bit) = Self::place(entry[0], if entry.len() > 1 { entry[1] } else { 0 });
            bits[word] |= bit;
            at += 1;
        }
        Self(bits)
    }

    /// Several pairs share a place, letters of either case among them, so that all fit into 64 bytes: nothing that is one
    /// of them is missed.
    const fn place(first: u8, second: u8) -> (usize, u64) {
        const CASE: u8 = b'a' ^ b'A';
        let place = ((first | CASE) as usize * 29 + (second | CASE) as usize) % (Self::WORDS * 64);
        (place / 64, 1 << (place % 64))
    }

    fn has(&self, first: u8, second: u8) -> bool {
        let (word, bit) = Self::place(first, second);
        self.0[word] & bit != 0
    }

    /// Whether an entry may begin with these two bytes, or be the first of them alone.
    fn may_begin(&self, [first, second]: [u8; 2]) -> bool {
        self.has(first, second) || self.has(first, 0)
    }
}

/// The two bytes that a text begins with, zero where it has none.
fn first_bytes(text: &str) -> [u8; 2] {
    match text.as_bytes() {
        [first, second, ..] => [*first, *second],
        [only] => [*only, 0],
        [] => [0, 0],
    }
}

/// A [`List`] of a text.
macro_rules! list {
    ($text:expr $(,)?) => {{
        const TEXT: &str = $text;
        const ENTRIES: [&str; $crate::rules::lists::count(TEXT)] = $crate::rules::lists::entries(TEXT);
        const LIST: $crate::rules::lists::List = $crate::rules::lists::List::of(&ENTRIES);
        LIST
    }};
}
pub(super) use list;

/// How many entries a text has.
pub(super) const fn count(text: &str) -> usize {
    let (mut count, mut at) = (1, 0);
    while at < text.len() {
        if text.as_bytes()[at] == b'|' {
            count += 1;
        }
        at += 1;
    }
    count
}

/// The entries of a text.
pub(super) const fn entries<const COUNT: usize>(text: &'static str) -> [&'static str; COUNT] {
    let mut entries = [""; COUNT];
    let (mut rest, mut number) = (text, 0);
    while number < COUNT {
        let mut end = 0;
        while end < rest.len() && rest.as_bytes()[end] != b'|' {
            end += 1;
        }
        let (entry, others) = rest.split_at(end);
        entries[number] = entry.trim_ascii();
        rest = if others.is_empty() { others } else { others.split_at(1).1 };
        number += 1;
    }
    entries
}

impl List {
    /// A list of these. One with an entry that is empty does not compile.
    pub(super) const fn of(entries: &'static [&'static str]) -> Self {
        Self { entries, beginnings: Beginnings::of(entries) }
    }

    /// Its entries in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.entries.iter().copied()
    }

    /// Whether the word or phrase is one of them.
    pub(super) fn has(&self, entry: &str) -> bool {
        self.beginnings.may_begin(first_bytes(entry)) && self.entries.contains(&entry)
    }

    /// Whether the word is one of them, but for the case of its ASCII letters.
    pub(super) fn has_in_any_case(&self, word: &str) -> bool {
        self.may_have(word) && self.entries.iter().any(|own| own.eq_ignore_ascii_case(word))
    }

    /// Whether it is worth while to put a word into the form of the list: `false` only where none of them begins as it does.
    pub(super) fn may_have(&self, word: &str) -> bool {
        let [first, second] = first_bytes(word);
        !(first | second).is_ascii() || self.beginnings.may_begin([first, second])
    }

    /// Whether the text begins with one of them.
    pub(super) fn begins(&self, text: &str) -> bool {
        let [first, second] = first_bytes(text);
        self.beginnings.may_begin([first, second])
            && self.iter().any(|own| {
                own.as_bytes()[0] == first
                    && text.strip_prefix(own).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
            })
    }

    /// Whether one of them stands anywhere in the text.
    pub(super) fn is_in(&self, text: &str) -> bool {
        let mut follows_word = false;
        let mut rest = text.chars();
        loop {
            let from = rest.as_str();
            if !follows_word && self.begins(from) {
                return true;
            }
            let Some(character) = rest.next() else { return false };
            follows_word = character.is_alphanumeric();
        }
    }
}

/// Whether no letter or digit stands right before or after a place in a text.
pub(super) fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    !text[..start].ends_with(char::is_alphanumeric) && !text[end..].starts_with(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIST: List = list!("order | on time | größe | % off | p | ab");

    proptest! {
        #[test]
        fn an_entry_is_in_a_text_where_one_stands_alone(
            text in "(order|on|time|on time|größe|% off|p|ab|[ ,.é1-]){0,8}",
        ) {
            let stands = LIST.iter().any(|own| {
                text.match_indices(own).any(|(at, _)| stands_alone(&text, at, at + own.len()))
            });
            prop_assert_eq!(LIST.is_in(&text), stands);
        }

        #[test]
        fn a_word_that_is_on_the_list_in_some_case_is_held_against_it(
            entry in prop::sample::select(LIST.entries),
            capitals in prop::collection::vec(any::<bool>(), 10),
            other in "(order|on|time|on time|größe|% off|p|ab|[a-z% ]){0,2}",
        ) {
            let word: String = entry
                .chars()
                .zip(capitals)
                .map(|(letter, is_capital)| if is_capital { letter.to_ascii_uppercase() } else { letter })
                .collect();
            prop_assert!(LIST.may_have(&word) && LIST.has_in_any_case(&word));
            let phrase = format!("{entry} {other}");
            prop_assert!(LIST.has(entry) && LIST.begins(&phrase));
            prop_assert_eq!(LIST.has(&other), LIST.iter().any(|own| own == other));
            let begins = |own: &str| other.strip_prefix(own).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric));
            prop_assert_eq!(LIST.begins(&other), LIST.iter().any(begins));
        }
    }

    #[test]
    fn a_text_is_cut_into_its_entries() {
        const OVER_LINES: List = list!(
            "one | two words | \
            ß"
        );
        assert_eq!(OVER_LINES.iter().collect::<Vec<_>>(), ["one", "two words", "ß"]);
        assert_eq!(list!("one").iter().collect::<Vec<_>>(), ["one"]);
    }

    #[test]
    fn an_entry_is_found_as_whole_words_only() {
        assert!(LIST.has("on time") && !LIST.has("on"));
        assert!(LIST.is_in("an order!") && LIST.is_in("border order") && !LIST.is_in("borders") && !LIST.is_in(""));
        assert!(LIST.begins("größe 5") && !LIST.begins("größen") && !LIST.begins("an order"));
        assert!(LIST.has_in_any_case("ORDER") && !LIST.has_in_any_case("ord") && !LIST.has_in_any_case("ÖRDER"));
        assert!(LIST.may_have("Order") && LIST.may_have("Ölpreis") && !LIST.may_have("border") && !LIST.may_have(""));
    }
}
