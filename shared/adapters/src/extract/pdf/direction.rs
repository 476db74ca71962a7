//! Lines of Arabic and Hebrew brought from the order in which they are painted into that in which they are read.
//!
//! Programs paint the glyphs of a line from left to right whatever its script, so words from right to left come
//! backwards, with numbers and foreign words among them the right way round.
//!
//! Deliberately absent: the whole bidirectional algorithm. It goes the other way, and from what is painted alone the
//! direction of a line can only be told by its letters.

/// The line in reading order. Lines without letters from right to left are not touched.
pub(super) fn in_reading_order(line: &str) -> String {
    let painted: Vec<char> = line.chars().collect();
    let from_right = painted.iter().filter(|character| is_from_right(**character)).count();
    if from_right == 0 {
        return line.to_owned();
    }
    let others = painted.iter().filter(|character| character.is_alphabetic() && !is_from_right(**character)).count();
    if from_right >= others {
        return turned(&painted).into_iter().collect();
    }
    // Words from right to left in a line from left to right: each run of them is turned where it stands.
    let mut read = Vec::with_capacity(painted.len());
    let mut rest = painted.as_slice();
    while let Some(start) = rest.iter().position(|character| is_from_right(*character)) {
        let after_letters =
            rest[start..].iter().position(|character| character.is_alphabetic() && !is_from_right(*character));
        let reach = after_letters.map_or(rest.len(), |end| start + end);
        let end = rest[..reach].iter().rposition(|character| is_from_right(*character)).map_or(reach, |last| last + 1);
        read.extend_from_slice(&rest[..start]);
        read.extend(turned(&rest[start..end]));
        rest = &rest[end..];
    }
    read.extend_from_slice(rest);
    read.into_iter().collect()
}

/// What one glyph shows, as it must stand in a line that is painted: a glyph of several letters says them in the order
/// of reading.
pub(super) fn as_painted(shown: &str) -> Option<String> {
    let mut characters = shown.chars();
    let is_one = characters.next().is_none() || characters.next().is_none();
    (!is_one && shown.chars().any(is_from_right)).then(|| shown.chars().rev().collect())
}

/// A run turned round, but for the numbers and foreign words in it.
fn turned(painted: &[char]) -> Vec<char> {
    let mut read: Vec<char> = painted.iter().rev().map(|character| mirrored(*character)).collect();
    let mut start = 0;
    while start < read.len() {
        if !is_from_left(read[start]) {
            start += 1;
            continue;
        }
        let mut end = start + 1;
        for (index, character) in read.iter().enumerate().skip(start + 1) {
            if is_from_left(*character) {
                end = index + 1;
            } else if is_from_right(*character) || character.is_whitespace() && read[end - 1].is_numeric() {
                break;
            }
        }
        read[start..end].reverse();
        for character in &mut read[start..end] {
            *character = mirrored(*character);
        }
        start = end;
    }
    read
}

pub(super) fn is_from_right(character: char) -> bool {
    matches!(
        character,
        '\u{590}'..='\u{65f}' | '\u{66a}'..='\u{6ef}' | '\u{6fa}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{fefc}'
    )
}

fn is_from_left(character: char) -> bool {
    character.is_alphanumeric() && !is_from_right(character)
}

/// Brackets are painted the other way round from right to left.
fn mirrored(character: char) -> char {
    match character {
        '(' => ')',
        ')' => '(',
        '[' => ']',
        ']' => '[',
        '{' => '}',
        '}' => '{',
        '<' => '>',
        '>' => '<',
        '«' => '»',
        '»' => '«',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_from_right_to_left_is_turned_and_its_numbers_are_not() {
        for (painted, read) in [
            ("שדוח לכב וריא 1200 ךסב", "בסך 1200 אירו בכל חודש"),
            (".שארמ םימי 90", "90 ימים מראש."),
            ("12.5 ריחמ", "מחיר 12.5"),
            ("(בא) PDF a ץבוק", "קובץ PDF a (אב)"),
            ("2025-03-01 ךיראת", "תאריך 2025-03-01"),
            ("English with הלימ תרבע inside", "English with עברת מילה inside"),
            ("nothing (of) this 12", "nothing (of) this 12"),
            ("", ""),
        ] {
            assert_eq!(in_reading_order(painted), read);
        }
    }

    #[test]
    fn a_glyph_of_two_letters_survives_the_turn() {
        assert_eq!(as_painted("لا").map(|painted| in_reading_order(&painted)).as_deref(), Some("لا"));
        assert_eq!(as_painted("ffi"), None);
        assert_eq!(as_painted("ا"), None);
    }
}
