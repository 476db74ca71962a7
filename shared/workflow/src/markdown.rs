//! Text of others inside Markdown of ours.

/// The text in which characters that mean something in Markdown, in a table or in HTML have lost that meaning:
/// text from outside may not format a report, for it could hide a verdict or link away.
pub(crate) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '\\' | '`' | '*' | '_' | '{' | '}' | '[' | ']' | '#' | '|' | '!' | '~' => {
                out.push('\\');
                out.push(character);
            }
            // Many viewers make a link of a bare address; a word joiner in it stops that without showing.
            ':' if out.ends_with("http") || out.ends_with("https") => out.push_str("\u{2060}:"),
            other if other.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_outside_cannot_format_the_report() {
        assert_eq!(escaped("# **Met** | <b>\n[x](y)"), "\\# \\*\\*Met\\*\\* \\| &lt;b&gt; \\[x\\](y)");
        assert_eq!(escaped("see https://a.example"), "see https\u{2060}://a.example");
    }
}
