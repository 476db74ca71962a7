//! The second form of a plain text, for mail programs that show HTML.
//!
//! Invariants: the page says what the text says and nothing else; every character of the text that means something in
//! HTML is written as a reference, so no text can add an element, an attribute or a link.

/// The text as a page: paragraphs and line breaks kept, everything else as it is.
pub fn as_html(text: &str) -> String {
    let mut page = String::with_capacity(text.len() + text.len() / 8 + 256);
    page.push_str(
        "<!doctype html>\n<html>\n<head><meta charset=\"utf-8\"></head>\n\
         <body style=\"font-family:sans-serif;line-height:1.5\">\n",
    );
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut is_open = false;
    for line in text.split('\n') {
        if line.trim().is_empty() {
            if is_open {
                page.push_str("</p>\n");
            }
            is_open = false;
            continue;
        }
        page.push_str(if is_open { "<br>\n" } else { "<p>" });
        is_open = true;
        escape(line.trim_end(), &mut page);
    }
    if is_open {
        page.push_str("</p>\n");
    }
    page.push_str("</body>\n</html>\n");
    page
}

fn escape(line: &str, page: &mut String) {
    let indented = line.len() - line.trim_start().len();
    for (at, character) in line.char_indices() {
        match character {
            '&' => page.push_str("&amp;"),
            '<' => page.push_str("&lt;"),
            '>' => page.push_str("&gt;"),
            '"' => page.push_str("&quot;"),
            '\'' => page.push_str("&#39;"),
            // A list keeps its shape.
            ' ' | '\t' if at < indented => page.push_str("&nbsp;"),
            '\t' => page.push(' '),
            _ if character.is_control() => {}
            _ => page.push(character),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body(text: &str) -> String {
        let page = as_html(text);
        let (_, rest) = page.split_once("1.5\">\n").unwrap();
        rest.strip_suffix("</body>\n</html>\n").unwrap().to_owned()
    }

    #[test]
    fn paragraphs_and_lines_are_kept() {
        let cases = [
            ("Hello,\n\nyes.\nBye\n", "<p>Hello,</p>\n<p>yes.<br>\nBye</p>\n"),
            ("one\r\ntwo\rthree", "<p>one<br>\ntwo<br>\nthree</p>\n"),
            ("a:\n  - b", "<p>a:<br>\n&nbsp;&nbsp;- b</p>\n"),
            ("", ""),
            ("\n \n\n", ""),
        ];
        for (text, expected) in cases {
            assert_eq!(body(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_text_stays_a_text() {
        let text = "<script>alert(1)</script> & \"x\" <a href='https://evil.example'>click</a>\0\u{1b}";
        assert_eq!(
            body(text),
            "<p>&lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;x&quot; \
             &lt;a href=&#39;https://evil.example&#39;&gt;click&lt;/a&gt;</p>\n"
        );
    }

    proptest! {
        #[test]
        fn no_text_adds_an_element(text in "(?s).{0,200}") {
            let page = body(&text).replace("<p>", "").replace("</p>", "").replace("<br>", "");
            prop_assert!(!page.contains(['<', '>', '"', '\'']), "{page}");
        }
    }
}
