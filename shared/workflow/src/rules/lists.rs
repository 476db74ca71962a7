//! Lists of words and phrases, written so that they can be read: one text, its entries set apart by `|`. The compiler cuts
//! it up.
//!
//! Entries are in lower case; so must the texts be that are held against them. An entry is found only as whole
//! words: "order" is not in "border".

/// A list of words or phrases; [`list!`] makes one.
pub(super) struct List {
    entries: &'static [&'static str],
    /// A bit for each byte that one of them begins with. Most words begin with none, and are held against no entry then.
    firsts: [u64; 4],
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
    /// A list of these. One that is empty does not compile.
    pub(super) const fn of(entries: &'static [&'static str]) -> Self {
        let (mut firsts, mut at) = ([0; 4], 0);
        while at < entries.len() {
            let first = entries[at].as_bytes()[0];
            firsts[first as usize / 64] |= 1 << (first % 64);
            at += 1;
        }
        Self { entries, firsts }
    }

    /// Its entries in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.entries.iter().copied()
    }

    /// Whether the word or phrase is one of them.
    pub(super) fn has(&self, entry: &str) -> bool {
        self.one_begins_as(entry) && self.entries.contains(&entry)
    }

    /// Whether it is worth while to put a word into the form of the list: `false` only where none of them begins as it does.
    pub(super) fn may_have(&self, word: &str) -> bool {
        let first = word.bytes().next().unwrap_or_default();
        !first.is_ascii() || self.has_first(first.to_ascii_lowercase())
    }

    /// Whether the text begins with one of them.
    pub(super) fn begins(&self, text: &str) -> bool {
        self.one_begins_as(text)
            && self
                .iter()
                .any(|own| text.strip_prefix(own).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric)))
    }

    fn one_begins_as(&self, text: &str) -> bool {
        text.bytes().next().is_some_and(|first| self.has_first(first))
    }

    fn has_first(&self, first: u8) -> bool {
        self.firsts[usize::from(first / 64)] & (1 << (first % 64)) != 0
    }

    /// Whether one of them stands anywhere in the text.
    pub(super) fn is_in(&self, text: &str) -> bool {
        let mut follows_word = false;
        text.char_indices().any(|(at, character)| {
            let may_begin = !follows_word;
            follows_word = character.is_alphanumeric();
            may_begin && self.begins(&text[at..])
        })
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

    const LIST: List = list!("order | on time | größe | % off");

    proptest! {
        #[test]
        fn an_entry_is_in_a_text_where_one_stands_alone(
            text in "(order|on|time|on time|größe|% off|[ ,.é1-]){0,8}",
        ) {
            let stands = LIST.iter().any(|own| {
                text.match_indices(own).any(|(at, _)| stands_alone(&text, at, at + own.len()))
            });
            prop_assert_eq!(LIST.is_in(&text), stands);
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
        assert!(LIST.may_have("Order") && LIST.may_have("Ölpreis") && !LIST.may_have("border") && !LIST.may_have(""));
    }
}
