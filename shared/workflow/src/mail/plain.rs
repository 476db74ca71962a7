//! Text as it comes, made fit to be read: one kind of line break, no control characters, nothing invisible.
//!
//! Invisible characters are left out because a model reads what no person sees: tag characters spell whole
//! sentences, zero-width ones fill the hidden previews of newsletters, direction overrides turn words around.
//! Joiners stay, for scripts and emoji need them.

/// The text on one line of at most `limit` characters, spaces collapsed.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let mut line = String::new();
    let mut characters = 0;
    for word in text.split(|character: char| character.is_whitespace() || character.is_control()) {
        let word: String = word.chars().filter(|character| !is_invisible(*character)).collect();
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
            characters += 1;
        }
        for character in word.chars() {
            if characters >= limit {
                line.truncate(line.trim_end().len());
                return line;
            }
            line.push(character);
            characters += 1;
        }
    }
    line
}

/// The text with `\n` between its lines and no character that does not show, at most `limit` characters.
/// Spaces at a line's end stay: `-- ` and flowed text need them.
pub(crate) fn clean(text: &str, limit: usize) -> String {
    let mut cleaned = String::with_capacity(text.len().min(limit.saturating_mul(4)));
    let mut rest = text;
    let mut count = 0;
    loop {
        // Most of a text, and each byte of it a character.
        let plain = rest.bytes().position(|byte| !matches!(byte, b'\n' | b'\t' | b' '..=b'~')).unwrap_or(rest.len());
        let taken = plain.min(limit - count);
        cleaned.push_str(&rest[..taken]);
        count += taken;
        let mut characters = rest[taken..].chars();
        let Some(character) = characters.next() else { break };
        rest = characters.as_str();
        let shown = match character {
            '\r' => {
                rest = rest.strip_prefix('\n').unwrap_or(rest);
                '\n'
            }
            '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}' => '\n',
            '\u{a0}' => ' ',
            _ if character.is_control() && !matches!(character, '\n' | '\t') || is_invisible(character) => continue,
            _ => character,
        };
        if count == limit {
            break;
        }
        cleaned.push(shown);
        count += 1;
    }
    cleaned
}

/// The text without spaces at line ends, without more than one empty line in a row, and none around it.
pub(super) fn tidy(text: &str) -> String {
    let mut tidied = String::with_capacity(text.len());
    let mut empty_lines = 0;
    for line in text.lines().map(str::trim_end) {
        if line.is_empty() {
            empty_lines += 1;
            continue;
        }
        if !tidied.is_empty() {
            tidied.push_str(if empty_lines > 0 { "\n\n" } else { "\n" });
        }
        empty_lines = 0;
        tidied.push_str(line);
    }
    tidied
}

/// Joins the lines of flowed text (RFC 3676, section 4.2) into paragraphs; `delete_space` is its `DelSp`.
pub(super) fn unflow(text: &str, delete_space: bool) -> String {
    let mut joined = String::with_capacity(text.len());
    // The depth of the quotation in which the last line wants to go on.
    let mut open: Option<usize> = None;
    for (index, line) in text.lines().enumerate() {
        let depth = line.bytes().take_while(|byte| *byte == b'>').count();
        let content = &line[depth..];
        let content = content.strip_prefix(' ').unwrap_or(content);
        let is_delimiter = content == "-- ";
        if open != Some(depth) || is_delimiter {
            if index > 0 {
                joined.push('\n');
            }
            if depth > 0 {
                joined.extend(std::iter::repeat_n('>', depth));
                joined.push(' ');
            }
        }
        let wants_more = content.ends_with(' ') && !is_delimiter;
        open = wants_more.then_some(depth);
        joined.push_str(if wants_more && delete_space { &content[..content.len() - 1] } else { content });
    }
    joined
}

/// The beginning of a text, at most `limit` bytes, whole characters only.
pub(super) fn cut_bytes(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
            | '\u{feff}' | '\u{e0000}'..='\u{e007f}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_cleaned_shows_and_is_the_beginning_of_what_a_higher_limit_keeps(
            text in "(\\PC|[a-z \r\n\t\0\u{85}\u{a0}\u{200b}\u{2028}é’]){0,60}",
            limit in 0_usize..70,
        ) {
            let whole = clean(&text, usize::MAX);
            prop_assert_eq!(clean(&text, limit), whole.chars().take(limit).collect::<String>());
            let shows = |one: char| !is_invisible(one) && (!one.is_control() || matches!(one, '\n' | '\t'));
            prop_assert!(whole.chars().all(shows));
            // Characters by themselves are what they are beside others, but that two can be one line break.
            let one_by_one: String = text.replace("\r\n", "\n").chars().map(|one| clean(&one.to_string(), 1)).collect();
            prop_assert_eq!(whole, one_by_one);
        }
    }

    #[test]
    fn one_line_has_no_control_character_and_no_more_than_it_may() {
        let cases = [
            ("a\r\nBcc: b@c.example", "a Bcc: b@c.example"),
            ("a\0b\u{7f}c\u{85}d\u{2028}e", "a b c d e"),
            ("  much \t space  ", "much space"),
            ("turned \u{202e}around", "turned around"),
            ("hidden\u{e0041}\u{e0042}", "hidden"),
            ("", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(one_line(text, 100), expected, "{text:?}");
        }
        assert_eq!(one_line("äöü äöü", 4), "äöü");
        assert_eq!(one_line("äöü äöü", 5), "äöü ä");
    }

    #[test]
    fn cleaning_knows_every_line_break_and_cuts_whole_characters() {
        assert_eq!(clean("a\r\nb\rc\nd\u{2028}e\0\u{feff}", 100), "a\nb\nc\nd\ne");
        assert_eq!(clean("日本語", 2), "日本");
        assert_eq!(tidy("\n\n a  \n\n\n\nb\n\n"), " a\n\nb");
    }

    #[test]
    fn flowed_lines_become_paragraphs_and_quotations_stay_apart() {
        let flowed = "One line \nthat goes on.\n\nNext.\n> quoted \n> on\n>> deeper \n back\n-- \nsignature";
        assert_eq!(
            unflow(flowed, false),
            "One line that goes on.\n\nNext.\n> quoted on\n>> deeper \nback\n-- \nsignature"
        );
        assert_eq!(unflow("foo \nbar", true), "foobar");
    }
}
