//! Lists of words and phrases, written so that they can be read: one text, its entries set apart by `|`.
//!
//! Entries are in lower case; so must the texts be that are held against them. An entry is found only as whole
//! words: "order" is not in "border".

/// A list of words or phrases.
pub(super) struct List(pub(super) &'static str);

impl List {
    /// Its entries in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'static str> + use<> {
        self.0.split('|').map(str::trim)
    }

    /// Whether the word or phrase is one of them.
    pub(super) fn has(&self, entry: &str) -> bool {
        self.iter().any(|own| own == entry)
    }

    /// Whether the text begins with one of them.
    pub(super) fn begins(&self, text: &str) -> bool {
        self.iter().any(|own| text.strip_prefix(own).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric)))
    }

    /// Whether one of them stands anywhere in the text.
    pub(super) fn is_in(&self, text: &str) -> bool {
        self.iter().any(|own| text.match_indices(own).any(|(at, _)| stands_alone(text, at, at + own.len())))
    }
}

/// Whether no letter or digit stands right before or after a place in a text.
pub(super) fn stands_alone(text: &str, start: usize, end: usize) -> bool {
    !text[..start].ends_with(char::is_alphanumeric) && !text[end..].starts_with(char::is_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_found_as_whole_words_only() {
        const LIST: List = List("order | on time | größe");
        assert!(LIST.has("on time") && !LIST.has("on"));
        assert!(LIST.is_in("an order!") && LIST.is_in("border order") && !LIST.is_in("borders") && !LIST.is_in(""));
        assert!(LIST.begins("größe 5") && !LIST.begins("größen") && !LIST.begins("an order"));
    }
}
