//! Text cut into what the analyses work on: lines, sentences, words, stems, tokens.
//!
//! Invariants: every sentence, line and token is a slice of the text it was cut from, so a quotation can be
//! verbatim; every function is linear in the text's length, whatever the text; nothing panics on any Unicode.
//!
//! Sentences are cut by rules of our own and not by those of Unicode (UAX 29): mail and contracts are
//! hard-wrapped, so a line's end is often not a sentence's, and the standard's look-ahead is quadratic on
//! hostile text. Words follow UAX 29.
//!
//! Deliberately absent: grammar. Stems are rough and made to be compared with each other, never shown.

use std::borrow::Cow;

use super::lists::{List, list};
use unicode_segmentation::UnicodeSegmentation;

/// A sentence longer than this many bytes is cut at the next space, so that a quotation stays readable.
const LONG_SENTENCE: usize = 1200;
/// A sentence this long is cut wherever a character ends.
const LONGEST_SENTENCE: usize = 2400;
/// A line at least this long, in bytes, was probably wrapped by a mail program or a typesetter at 60 to 80
/// columns; a shorter one was ended on purpose.
const WRAPPED_LINE: usize = 45;

/// The sentences of a text, in order, trimmed, each a slice of it; what has no letter and no digit is left out.
pub(super) fn sentences(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut start = 0;
    let mut line_start = 0;
    let mut skip_to = 0;
    for (index, character) in text.char_indices() {
        if index < skip_to {
            continue;
        }
        let after = index + character.len_utf8();
        let length = after - start;
        // Most characters.
        if (character == ' ' || character.is_ascii_alphanumeric()) && length <= LONG_SENTENCE {
            continue;
        }
        let ended_at = if is_line_end(character) {
            let ends = ends_at_line_end(&text[line_start..index], &text[after..]);
            line_start = after;
            ends.then_some(after)
        } else if is_terminator(character) {
            sentence_end(text, start, index, after)
        } else {
            None
        };
        let is_long = length > LONG_SENTENCE && (character.is_whitespace() || length > LONGEST_SENTENCE);
        if let Some(end) = ended_at.or(is_long.then_some(after)) {
            push_sentence(&mut found, &text[start..end]);
            start = end;
            skip_to = end;
        }
    }
    push_sentence(&mut found, &text[start..]);
    found
}

fn push_sentence<'text>(found: &mut Vec<&'text str>, piece: &'text str) {
    let piece = piece.trim();
    if piece.chars().any(char::is_alphanumeric) {
        found.push(piece);
    }
}

fn is_line_end(character: char) -> bool {
    matches!(character, '\n' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

fn ends_at_line_end(line: &str, rest: &str) -> bool {
    // White space between two lines is read once for each of them, so this stays linear.
    let next_line = rest.trim_start_matches([' ', '\t', '\r']);
    match next_line.chars().next() {
        None => true,
        Some(next) if is_line_end(next) => true,
        // A mark stands at the very beginning: no more than that is looked at, again for linearity.
        Some(_) if list_item(beginning(next_line, 12)).is_some() => true,
        Some(next) if next.is_lowercase() => line.trim_end().ends_with(':'),
        Some(_) => line.len() < WRAPPED_LINE,
    }
}

fn is_terminator(character: char) -> bool {
    matches!(character, '.' | '!' | '?' | '…' | '؟' | '۔' | '।' | '።') || is_full_width_terminator(character)
}

// Chinese and Japanese put no space after these.
fn is_full_width_terminator(character: char) -> bool {
    matches!(character, '。' | '！' | '？' | '．')
}

// Where the sentence ends whose terminator stands at `index`, unless it goes on.
fn sentence_end(text: &str, start: usize, index: usize, after: usize) -> Option<usize> {
    // Stops and brackets after the stop belong to the sentence; a bounded number of them keeps this linear.
    let run = text[after..].chars().take(16).take_while(|mark| is_terminator(*mark) || is_closing(*mark));
    let end = after + run.map(char::len_utf8).sum::<usize>();
    let tail = &text[end..];
    let single_stop = end == after && text[index..after] == *".";
    match tail.chars().next() {
        None => return Some(end),
        Some(next) if next.is_whitespace() => {}
        Some(_) => return text[index..end].contains(is_full_width_terminator).then_some(end),
    }
    if single_stop {
        let word = last_word(&text[start..index]);
        let stands_alone = text[start..index].trim_start().len() == word.len();
        // Looking at a bounded number of characters keeps this linear.
        let next = tail.chars().take(8).find(|character| !character.is_whitespace());
        let is_number = !word.is_empty() && word.chars().all(|character| character.is_ascii_digit());
        let is_initial = word.chars().count() == 1 && word.chars().all(char::is_alphabetic);
        let goes_on = next.is_some_and(char::is_lowercase)
            || is_abbreviation(word)
            || is_initial
            || (is_number && (stands_alone || (word.len() <= 2 && starts_with_month(beginning(tail, 24)))));
        if goes_on {
            return None;
        }
    }
    Some(end)
}

fn is_closing(character: char) -> bool {
    matches!(character, '"' | '\'' | '”' | '’' | '“' | '»' | '«' | ')' | ']')
}

// The word that ends the text, without the brackets before it; looks at no more than 16 characters.
fn last_word(text: &str) -> &str {
    let mut from = text.len();
    for (index, character) in text.char_indices().rev().take(16) {
        if character.is_whitespace() || matches!(character, '(' | '"' | '[' | '„' | '“') {
            break;
        }
        from = index;
    }
    &text[from..]
}

fn is_abbreviation(word: &str) -> bool {
    const ABBREVIATIONS: List = list!(
        "abs | approx | art | bzgl | bzw | ca | cf | co | corp | dept | dr | e.g | etc | evtl | fig | frau | fr | gem | ggf | hr | \
        i.e | inc | incl | inkl | jr | lit | ltd | mr | mrs | ms | mwst | no | nr | p | par | pos | prof | s | sec | sr | \
        st | str | tel | u.a | usw | v | vgl | vs | z.b",
    );
    // "no." and "etc." end sentences too, but mostly a number or more of the sentence follows.
    word.len() <= 6 && ABBREVIATIONS.has(&word.to_lowercase())
}

fn starts_with_month(text: &str) -> bool {
    let word: String = text.trim_start().chars().take_while(|character| character.is_alphabetic()).take(12).collect();
    super::dates::month(&word).is_some()
}

/// The text of a line that is an item of a list, with what marks it: `- x`, `• x`, `1. x`, `(2) x`, `a) x`.
pub(super) fn list_item(line: &str) -> Option<ListItem<'_>> {
    let line = line.trim_start();
    let (marker, rest) = if let Some(rest) = line.strip_prefix(['-', '*', '+', '•', '‣', '·', '–', '▪', '☐', '☑', '✓'])
    {
        let done = line.starts_with(['☑', '✓']);
        (if done { Marker::Done } else { Marker::Bullet }, rest)
    } else {
        let inner = line.strip_prefix('(').unwrap_or(line);
        let digits = inner.len() - inner.trim_start_matches(|character: char| character.is_ascii_digit()).len();
        let label = match digits {
            1..=3 => digits,
            0 if inner.starts_with(|character: char| character.is_ascii_lowercase()) => 1,
            _ => return None,
        };
        let after = &inner[label..];
        let closed = match after.strip_prefix(')') {
            Some(rest) => rest,
            // "a. b" is an initial more often than a list.
            None if digits > 0 && inner.len() == line.len() => after.strip_prefix('.')?,
            None => return None,
        };
        (Marker::Number, closed)
    };
    if !rest.starts_with([' ', '\t', '\u{a0}']) {
        return None;
    }
    let rest = rest.trim_start();
    if let Some(open) = rest.strip_prefix("[ ]") {
        return Some(ListItem { marker, text: open.trim() });
    }
    if let Some(done) = rest.strip_prefix("[x]").or_else(|| rest.strip_prefix("[X]")) {
        return Some(ListItem { marker: Marker::Done, text: done.trim() });
    }
    (!rest.trim().is_empty()).then_some(ListItem { marker, text: rest.trim_end() })
}

/// An item of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ListItem<'text> {
    /// What marks it.
    pub(super) marker: Marker,
    /// Its text, trimmed.
    pub(super) text: &'text str,
}

/// What marks an item of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    /// A number or a letter: the order means something.
    Number,
    /// A bullet or an empty box.
    Bullet,
    /// A ticked box.
    Done,
}

/// The words of a text: what holds a letter or a digit between word boundaries.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.unicode_words()
}

/// A word in the form in which words are compared: lower case, without accents, possessive or German sharp s.
pub(super) fn folded(word: &str) -> Cow<'_, str> {
    if word.is_ascii() {
        // Most words: the table of what is lower case is not asked for them.
        let word = word.strip_suffix("'s").or_else(|| word.strip_suffix("'S")).unwrap_or(word);
        let is_lower = !word.bytes().any(|byte| byte.is_ascii_uppercase());
        return if is_lower { Cow::Borrowed(word) } else { Cow::Owned(word.to_ascii_lowercase()) };
    }
    let mut out = String::with_capacity(word.len());
    for character in word.chars().flat_map(char::to_lowercase) {
        match character {
            'ä' | 'à' | 'á' | 'â' | 'ã' | 'å' => out.push('a'),
            'ö' | 'ò' | 'ó' | 'ô' | 'õ' | 'ø' => out.push('o'),
            'ü' | 'ù' | 'ú' | 'û' => out.push('u'),
            'é' | 'è' | 'ê' | 'ë' => out.push('e'),
            'í' | 'ì' | 'î' | 'ï' => out.push('i'),
            'ç' => out.push('c'),
            'ñ' => out.push('n'),
            'ß' => out.push_str("ss"),
            '’' => out.push('\''),
            // Combining marks, so that both forms of an accented letter are the same.
            '\u{300}'..='\u{36f}' => {}
            other => out.push(other),
        }
    }
    if out.ends_with("'s") {
        out.truncate(out.len() - 2);
    }
    Cow::Owned(out)
}

/// A rough stem of a word, English or German: what is left of the [`folded`] word without its endings.
pub(super) fn stem(word: &str) -> String {
    // Longest first. A word keeps at least four letters, so short words stay apart.
    const ENDINGS: &[&str] = &[
        "ications", "ication", "ations", "ation", "ungen", "ments", "ities", "ition", "ungs", "ings", "ment", "able",
        "ible", "ance", "ence", "ions", "lich", "keit", "heit", "ally", "ated", "ates", "ary", "ung", "ing", "ity",
        "ion", "ies", "ate", "ify", "ern", "ed", "ly", "es", "en", "er", "em", "al", "e", "s", "y",
    ];
    let mut stem = folded(word).into_owned();
    if !stem.chars().all(char::is_alphabetic) {
        return stem;
    }
    for _ in 0..3 {
        let Some(kept) = ENDINGS.iter().find_map(|ending| {
            let kept = stem.strip_suffix(ending)?;
            (kept.chars().nth(3).is_some() && !(*ending == "s" && kept.ends_with('s'))).then_some(kept.len())
        }) else {
            break;
        };
        stem.truncate(kept);
    }
    // "planned" and "plan", "kündigt" and "kündigen".
    let bytes = stem.as_bytes();
    if bytes.len() > 4 && bytes[bytes.len() - 1] == bytes[bytes.len() - 2] && bytes[bytes.len() - 1].is_ascii() {
        stem.pop();
    }
    if stem.len() > 5 && stem.ends_with("gt") {
        stem.pop();
    } else if stem.len() > 5 && stem.ends_with("at") {
        stem.truncate(stem.len() - 2);
    }
    stem
}

/// Whether a [`folded`] word says nothing by itself.
pub(super) fn is_stopword(folded: &str) -> bool {
    STOPWORDS.binary_search(&folded).is_ok()
}

// Sorted, for binary search; a test holds it so.
const STOPWORDS: &[&str] = &[
    "a", "aber", "about", "above", "after", "all", "als", "also", "am", "an", "and", "any", "are", "as", "at", "auch",
    "auf", "aus", "be", "because", "been", "before", "bei", "beim", "being", "between", "bis", "both", "but", "by",
    "can", "could", "da", "damit", "das", "dass", "dein", "dem", "den", "der", "des", "did", "die", "dies", "diese",
    "dieser", "dieses", "do", "doch", "does", "doing", "du", "durch", "each", "ein", "eine", "einem", "einen", "einer",
    "eines", "er", "es", "etwas", "for", "from", "fur", "further", "ganz", "gegen", "haben", "had", "has", "hat",
    "have", "having", "he", "her", "here", "hier", "him", "his", "how", "i", "ich", "if", "ihr", "ihre", "ihren",
    "ihrer", "im", "in", "into", "is", "ist", "it", "its", "itself", "ja", "jede", "jeder", "just", "kann", "konnen",
    "man", "may", "me", "mein", "meine", "might", "mit", "more", "most", "muss", "mussen", "must", "my", "nach",
    "nicht", "noch", "not", "nun", "nur", "ob", "oder", "of", "off", "on", "once", "only", "or", "other", "our", "out",
    "over", "own", "per", "same", "schon", "sehr", "sein", "seine", "shall", "she", "should", "sich", "sie", "sind",
    "so", "soll", "sollen", "some", "such", "than", "that", "the", "their", "them", "then", "there", "these", "they",
    "this", "those", "through", "to", "too", "uber", "um", "und", "under", "uns", "unser", "unter", "until", "up",
    "upon", "very", "via", "vom", "von", "vor", "wann", "war", "waren", "was", "we", "werden", "were", "what", "when",
    "where", "whether", "which", "while", "who", "whom", "why", "wie", "will", "wir", "wird", "with", "within", "wo",
    "would", "wurde", "you", "your", "zu", "zum", "zur", "zwischen",
];

/// A piece of a text: a run of digits, a run of letters, or one other character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token<'text> {
    /// What kind of piece.
    pub(super) kind: TokenKind,
    /// The piece.
    pub(super) text: &'text str,
    /// Where it begins, in bytes.
    pub(super) start: usize,
}

impl Token<'_> {
    /// Where it ends, in bytes.
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Whether it is this mark.
    pub(super) fn is_mark(&self, mark: &str) -> bool {
        self.kind == TokenKind::Mark && self.text == mark
    }

    /// Its value, where it is a number that fits.
    pub(super) fn number(&self) -> Option<u64> {
        if self.kind == TokenKind::Number { self.text.parse().ok() } else { None }
    }
}

/// The kinds of [`Token`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// ASCII digits.
    Number,
    /// Letters.
    Word,
    /// Anything else that is not white space.
    Mark,
}

impl TokenKind {
    fn of(character: char) -> Option<Self> {
        if character.is_alphabetic() {
            Some(Self::Word)
        } else if character.is_whitespace() {
            None
        } else if character.is_ascii_digit() {
            Some(Self::Number)
        } else {
            Some(Self::Mark)
        }
    }
}

/// The tokens of a text, in order; white space is left out.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    // A word and the space after it take some five bytes.
    let mut found = Vec::with_capacity(text.len() / 5);
    let mut characters = text.char_indices().peekable();
    while let Some((start, character)) = characters.next() {
        let Some(kind) = TokenKind::of(character) else { continue };
        let mut end = start + character.len_utf8();
        while kind != TokenKind::Mark
            && let Some((at, more)) = characters.next_if(|(_, next)| TokenKind::of(*next) == Some(kind))
        {
            end = at + more.len_utf8();
        }
        found.push(Token { kind, text: &text[start..end], start });
    }
    found
}

/// The text on one line: white space made single spaces; control characters and those that change the
/// direction of writing left out; at most `limit` characters, with an ellipsis where it was cut.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let mut out = String::with_capacity(text.len().min(limit));
    let mut length = 0;
    for word in text.split_whitespace() {
        let mut separator = if length > 0 { " " } else { "" };
        // Most words: nothing in them is left out, and none is cut.
        if word.bytes().all(|byte| byte.is_ascii_graphic()) && length + separator.len() + word.len() <= limit {
            out.push_str(separator);
            out.push_str(word);
            length += separator.len() + word.len();
            continue;
        }
        for character in word.chars().filter(|character| !character.is_control() && !is_invisible(*character)) {
            let needed = separator.len() + 1;
            if length + needed > limit {
                while length >= limit.max(1) {
                    out.pop();
                    length -= 1;
                }
                out.truncate(out.trim_end().len());
                if limit > 0 {
                    out.push('…');
                }
                return out;
            }
            out.push_str(separator);
            out.push(character);
            length += needed;
            separator = "";
        }
    }
    out
}

// Bidirectional controls, byte order marks and zero-width characters that hide text; joiners stay, since emoji
// and several scripts need them.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
    )
}

/// The beginning of a text, at most `limit` characters of it.
pub(super) fn beginning(text: &str, limit: usize) -> &str {
    // No text has more characters than bytes.
    if text.len() <= limit {
        return text;
    }
    text.char_indices().nth(limit).map_or(text, |(index, _)| &text[..index])
}

/// The end of a text, at most `limit` characters of it.
pub(super) fn ending(text: &str, limit: usize) -> &str {
    match limit.checked_sub(1).and_then(|last| text.char_indices().rev().nth(last)) {
        Some((index, _)) => &text[index..],
        None if limit == 0 => "",
        None => text,
    }
}

/// The text on one line as [`one_line`] makes it, with web addresses replaced by `[link]` and mail addresses by
/// `[address]`.
///
/// What a stranger wrote goes back out in a reply only in this form: a reply must not carry somebody's links.
pub(crate) fn harmless_line(text: &str, limit: usize) -> String {
    // Bounded before the work, so that a huge line costs nothing.
    let line = one_line(text, limit.saturating_mul(4));
    // Most lines: no longer than they may be, and nothing to be taken out of them.
    if line.len() <= limit && line.split(' ').all(|piece| address_kind(piece).is_none()) {
        return line;
    }
    let pieces: Vec<&str> = line.split(' ').map(|piece| address_kind(piece).unwrap_or(piece)).collect();
    one_line(&pieces.join(" "), limit)
}

// What stands for a piece of a line that is an address.
fn address_kind(piece: &str) -> Option<&'static str> {
    // Most words. None of these marks is the lower case of another.
    if !piece.bytes().any(|byte| matches!(byte, b'.' | b':' | b'@')) {
        return None;
    }
    let lower = piece.to_lowercase();
    if lower.contains("://") || lower.contains("www.") || lower.contains("mailto:") || looks_like_host(&lower) {
        return Some("[link]");
    }
    piece.char_indices().any(|(at, mark)| mark == '@' && at > 0 && at + 1 < piece.len()).then_some("[address]")
}

// `name.tld/path` and the commonest `name.tld`: what a mail program would make clickable without a scheme.
fn looks_like_host(piece: &str) -> bool {
    const COMMON: List = list!(
        "app | at | biz | ch | cn | co | com | de | dev | eu | fr | info | io | link | me | net | online | org | \
        ru | shop | site | store | top | uk | us | xyz",
    );
    let piece = piece.trim_matches(|mark: char| !mark.is_alphanumeric() && mark != '/');
    let (host, has_path) = piece.split_once('/').map_or((piece, false), |(host, _)| (host, true));
    host.rsplit_once('.').is_some_and(|(name, domain)| {
        let is_domain = (2..=24).contains(&domain.len()) && domain.chars().all(|letter| letter.is_ascii_lowercase());
        !name.is_empty() && is_domain && (has_path || COMMON.has(domain))
    })
}

/// The language of a text as an ISO 639-3 code, where there is enough text to be certain.
pub(super) fn language(text: &str) -> Option<&'static str> {
    // Trigrams of a few thousand characters decide; more only costs.
    let sample = beginning(text, 4000);
    if sample.chars().filter(|character| character.is_alphabetic()).take(24).count() < 24 {
        return None;
    }
    // Which of its seventy languages it is would be a quarter of all that is done with a mail.
    evident_language(sample).or_else(|| {
        let info = whatlang::detect(sample)?;
        info.is_reliable().then(|| info.lang().code())
    })
}

/// English or German, where the small words leave no doubt: a tenth of all words is of those that no other language has,
/// and next to none of the other's.
fn evident_language(sample: &str) -> Option<&'static str> {
    const ENGLISH: List = list!(
        "the | and | you | your | that | this | these | those | they | them | their | there | with | would | could | should | \
        which | what | when | where | from | been | about | are | please",
    );
    const GERMAN: List = list!(
        "und | ich | nicht | ist | das | mit | eine | einen | einem | auf | sie | wir | ihr | ihre | ihnen | bitte | auch | \
        oder | dass | wird | sind | habe | haben | sich | zum | zur",
    );
    const LONGEST: usize = 6;
    let (mut words, mut english, mut german) = (0, 0, 0);
    for word in sample.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()) {
        words += 1;
        if word.len() <= LONGEST {
            english += usize::from(ENGLISH.has_in_any_case(word));
            german += usize::from(GERMAN.has_in_any_case(word));
        }
    }
    let leaves_no_doubt = |own: usize, other: usize| own >= 4 && own * 10 >= words && other * 10 <= own;
    let is_english = leaves_no_doubt(english, german);
    is_english.then_some("eng").or_else(|| leaves_no_doubt(german, english).then_some("deu"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Words and what is hard about them: letters whose lower case is longer, shorter or ASCII, one that has two, what is
    /// not seen, addresses.
    const HARD: &str = "([a-zA-Z]{1,4}|'s|'S|[ΣσİKßẞÉé’\u{300}\u{200b}\u{0}]|[.:@/]|www\\.|://|\\.com|[ \n\t]){0,24}";

    #[test]
    fn no_mark_of_an_address_is_the_lower_case_of_another_character() {
        for character in '\0'..=char::MAX {
            let is_mark = |character| matches!(character, '.' | ':' | '@');
            assert_eq!(is_mark(character), character.to_lowercase().any(is_mark), "{character:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_done_faster_for_most_words_comes_to_the_same(text in HARD, limit in 0_usize..40) {
            // A combining mark is left out, and with it a word goes the way of the others.
            for word in words(&text).filter(|word| word.is_ascii()) {
                let other_way = format!("\u{300}{word}");
                prop_assert_eq!(folded(word), folded(&other_way));
            }

            let shown = |word: &str| word.chars().filter(|one| !one.is_control() && !is_invisible(*one)).collect::<String>();
            let all = text.split_whitespace().map(shown).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
            let line = if all.chars().count() <= limit {
                all
            } else if limit == 0 {
                String::new()
            } else {
                format!("{}…", beginning(&all, limit - 1).trim_end())
            };
            prop_assert_eq!(one_line(&text, limit), line);

            let long = one_line(&text, 4 * limit);
            let pieces: Vec<&str> = long.split(' ').map(|piece| address_kind(piece).unwrap_or(piece)).collect();
            prop_assert_eq!(harmless_line(&text, limit), one_line(&pieces.join(" "), limit));
        }

        #[test]
        fn every_piece_is_a_slice_of_its_text(text in "\\PC{0,400}|[a-z .!?\\n\\r\\t0-9•()-]{0,400}") {
            for sentence in sentences(&text) {
                prop_assert!(text.contains(sentence));
                prop_assert!(sentence.len() <= LONGEST_SENTENCE + 8);
            }
            for token in tokens(&text) {
                prop_assert_eq!(&text[token.start..token.end()], token.text);
            }
            for word in words(&text) {
                stem(word);
            }
            language(&text);
        }

        #[test]
        fn a_line_keeps_its_limit_and_is_one_line(text in "(\\PC|[\\n\\r\\t ]){0,200}", limit in 0_usize..80) {
            for line in [one_line(&text, limit), harmless_line(&text, limit)] {
                prop_assert!(line.chars().count() <= limit, "{line:?} is longer than {limit}");
                prop_assert!(!line.contains(['\n', '\r', '\t']));
            }
        }
    }

    #[test]
    fn hostile_text_is_cut_in_linear_time() {
        let started = std::time::Instant::now();
        for hostile in [")", ".", ". ", "\n", "\n ", "1.", "a.)", "(", "\u{300}", "-\n", "x", "é", "'."] {
            let text = format!("a. {}", hostile.repeat(400_000));
            sentences(&text);
            tokens(&text);
            words(&text).count();
        }
        assert!(started.elapsed().as_secs() < 30, "took {:?}", started.elapsed());
    }

    #[test]
    fn sentences_end_where_a_reader_ends_them() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("!!! 🎉", &[]),
            ("One. Two! Three? Four", &["One.", "Two!", "Three?", "Four"]),
            (
                "Dr. Smith owns 3.5 shares, e.g. of Acme Inc. in Ohio. Yes.",
                &["Dr. Smith owns 3.5 shares, e.g. of Acme Inc. in Ohio.", "Yes."],
            ),
            ("Am 14. März beginnt es. Gut.", &["Am 14. März beginnt es.", "Gut."]),
            ("Hello Anna,\nI have a question.\n\nThanks\nBob", &["Hello Anna,", "I have a question.", "Thanks", "Bob"]),
            (
                "This line is long enough to have been wrapped by a\nmail program. Next.",
                &["This line is long enough to have been wrapped by a\nmail program.", "Next."],
            ),
            ("Do:\n- one thing\n- another", &["Do:", "- one thing", "- another"]),
            ("He said \"stop.\" Then he left.", &["He said \"stop.\"", "Then he left."]),
            ("今日は。元気ですか？はい", &["今日は。", "元気ですか？", "はい"]),
            ("متى يصل الطلب؟ شكرا", &["متى يصل الطلب؟", "شكرا"]),
        ];
        for (text, expected) in cases {
            assert_eq!(sentences(text), *expected, "in {text:?}");
        }
    }

    #[test]
    fn forms_of_a_word_have_one_stem() {
        for family in [
            &["terminate", "terminates", "terminated", "terminating", "termination"][..],
            &["payment", "payments"],
            &["notice", "notices"],
            &["confidential", "confidentiality"],
            &["Kündigung", "kündigen", "Kündigungen", "kündigt"],
            &["Vertrag", "Verträge", "Verträgen"],
            &["renew", "renews", "renewed", "renewal"],
            &["customer", "customers", "customer's"],
            &["delivery", "deliveries"],
            &["limit", "limited", "limits", "limitation"],
        ] {
            let stems: Vec<String> = family.iter().map(|word| stem(word)).collect();
            assert!(stems.windows(2).all(|pair| pair[0] == pair[1]), "{family:?} gave {stems:?}");
        }
    }

    #[test]
    fn stopwords_can_be_searched() {
        assert!(STOPWORDS.is_sorted(), "sort them");
        assert!(is_stopword("the") && is_stopword("und") && !is_stopword("contract"));
    }

    #[test]
    fn items_of_lists_are_known_by_their_marks() {
        for (line, expected) in [
            ("1. Do it", Some((Marker::Number, "Do it"))),
            ("  (2) Do it", Some((Marker::Number, "Do it"))),
            ("a) do it", Some((Marker::Number, "do it"))),
            ("- [ ] do it", Some((Marker::Bullet, "do it"))),
            ("* [x] did it", Some((Marker::Done, "did it"))),
            ("• do it", Some((Marker::Bullet, "do it"))),
            ("-5 degrees", None),
            ("2025 was good", None),
            ("1.5 litres", None),
            ("i. e. this", None),
            ("-", None),
            ("", None),
        ] {
            assert_eq!(list_item(line).map(|item| (item.marker, item.text)), expected, "in {line:?}");
        }
    }

    #[test]
    fn a_strangers_links_and_addresses_do_not_go_back_out() {
        assert_eq!(
            harmless_line("See http://evil.example/x and WWW.evil.example, evil.example/y or a@b.example @anna", 100),
            "See [link] and [link] [link] or [address] @anna"
        );
        assert_eq!(one_line("a\u{202e}b\0c  \n d", 10), "abc d");
        assert_eq!(one_line("abcdef", 4), "abc…");
    }

    #[test]
    fn a_language_is_named_only_where_it_is_certain() {
        assert_eq!(language("ok"), None);
        assert_eq!(
            language("Guten Tag, ich habe eine Frage zu meiner Bestellung und würde mich über eine Antwort freuen."),
            Some("deu")
        );
        assert_eq!(
            language("Good morning, I have a question about the order which I placed with your company last week."),
            Some("eng")
        );
    }

    // One mail, told by people of each language.
    const MAILS: [(&str, &str); 14] = [
        (
            "eng",
            "Hello, I ordered a lamp from you two weeks ago and it has not come yet. Could you please tell me when it \
            will be here? The number of the order is on the invoice that you sent me.",
        ),
        (
            "deu",
            "Hallo, ich habe vor zwei Wochen bei Ihnen eine Lampe bestellt, und sie ist noch nicht da. Können Sie mir \
            bitte sagen, wann sie kommt? Die Nummer steht auf der Rechnung, die Sie mir geschickt haben.",
        ),
        (
            "nld",
            "Hallo, ik heb twee weken geleden een lamp bij jullie besteld en die is er nog niet. Kunnen jullie mij \
            zeggen wanneer hij komt? Het nummer staat op de factuur die jullie mij gestuurd hebben.",
        ),
        (
            "dan",
            "Hej, jeg bestilte en lampe hos jer for to uger siden, og den er ikke kommet endnu. Kan I sige mig, hvornår \
            den kommer? Nummeret står på den faktura, som I har sendt til mig.",
        ),
        (
            "swe",
            "Hej, jag beställde en lampa hos er för två veckor sedan och den har inte kommit än. Kan ni säga mig när \
            den kommer? Numret står på fakturan som ni skickade till mig.",
        ),
        (
            "nob",
            "Hei, jeg bestilte en lampe hos dere for to uker siden, og den har ikke kommet ennå. Kan dere si meg når den \
            kommer? Nummeret står på fakturaen som dere sendte meg.",
        ),
        (
            "afr",
            "Hallo, ek het twee weke gelede 'n lamp by julle bestel en dit het nog nie gekom nie. Kan julle asseblief \
            vir my sê wanneer dit sal kom? Die nommer staan op die faktuur wat julle vir my gestuur het.",
        ),
        (
            "fra",
            "Bonjour, j'ai commandé une lampe chez vous il y a deux semaines et elle n'est pas encore arrivée. Pouvez-vous \
            me dire quand elle sera là ? Le numéro est sur la facture que vous m'avez envoyée.",
        ),
        (
            "spa",
            "Hola, hace dos semanas les pedí una lámpara y todavía no ha llegado. ¿Me pueden decir cuándo va a llegar? El \
            número está en la factura que me enviaron.",
        ),
        (
            "ita",
            "Buongiorno, due settimane fa ho ordinato da voi una lampada e non è ancora arrivata. Potete dirmi quando \
            arriverà? Il numero si trova sulla fattura che mi avete mandato.",
        ),
        (
            "por",
            "Bom dia, há duas semanas encomendei um candeeiro e ele ainda não chegou. Podem dizer-me quando vai chegar? O \
            número está na fatura que me enviaram.",
        ),
        (
            "pol",
            "Dzień dobry, dwa tygodnie temu zamówiłem u państwa lampę i jeszcze nie przyszła. Czy mogą mi państwo \
            powiedzieć, kiedy będzie? Numer jest na fakturze, którą mi państwo wysłali.",
        ),
        (
            "ron",
            "Bună ziua, acum două săptămâni am comandat o lampă și încă nu a ajuns. Îmi puteți spune când va veni? \
            Numărul este pe factura pe care mi-ați trimis-o.",
        ),
        (
            "tur",
            "Merhaba, iki hafta önce sizden bir lamba sipariş ettim ve hâlâ gelmedi. Ne zaman geleceğini bana söyler \
            misiniz? Numara bana gönderdiğiniz faturada yazıyor.",
        ),
    ];

    #[test]
    fn the_small_words_give_english_and_german_away_and_no_other_language() {
        for (code, mail) in MAILS {
            let is_evident = matches!(code, "eng" | "deu");
            assert_eq!(evident_language(mail), is_evident.then_some(code), "{mail}");
            // Where both are certain, they agree.
            let found = whatlang::detect(mail).unwrap();
            assert!(!found.is_reliable() || found.lang().code() == code, "{code}: {found:?}");
            assert!(language(mail).is_none_or(|language| language == code), "{code}");
        }
    }

    #[test]
    fn what_mixes_languages_or_only_names_things_in_one_is_left_to_the_trigrams() {
        let [(_, english), (_, german), (_, dutch), ..] = MAILS;
        assert_eq!(evident_language(&format!("{english} {german}")), None);
        assert_eq!(evident_language(&format!("{dutch} {dutch} {dutch} The lamp is from the shop that you own.")), None);
        assert_eq!(evident_language("The and you"), None, "three words are no text");
        assert_eq!(evident_language(&"nothing of note ".repeat(100)), None);
        assert_eq!(evident_language(""), None);
    }
}
