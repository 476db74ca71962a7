//! The letters of fonts that TeX draws itself. Their glyphs are named by their codes, `a65`, which says nothing; but the
//! codes are those of TeX's own encodings (OT1 and T1, called Cork).

/// Letters of T1 from 128 on that are not those of Latin 1.
const ACCENTED: &str = "ĂĄĆČĎĚĘĞĹĽŁŃŇŊŐŔŘŚŠŞŤŢŰŮŸŹŽŻĲİđ§ăąćčďěęğĺľłńňŋőŕřśšşťţűůÿźžżĳ¡¿£";

/// Whether a glyph's name only says its code.
pub(super) fn is_code(name: &[u8], code: u8) -> bool {
    name.strip_prefix(b"a").is_some_and(|digits| digits == code.to_string().as_bytes())
}

/// What a code shows, where that is not what ASCII or Latin 1 says.
pub(super) fn letter(code: u8) -> Option<String> {
    let ligatures = ["ff", "fi", "fl", "ffi", "ffl"];
    let text = match code {
        11..=15 => ligatures[usize::from(code - 11)],
        27..=31 => ligatures[usize::from(code - 27)],
        16 => "“",
        17 => "”",
        18 => "„",
        19 => "«",
        20 => "»",
        21 => "–",
        22 => "—",
        39 => "’",
        96 => "‘",
        127 => "-",
        128..=191 => return ACCENTED.chars().nth(usize::from(code - 128)).map(String::from),
        215 => "Œ",
        223 => "SS",
        247 => "œ",
        255 => "ß",
        192.. => return Some(char::from(code).to_string()),
        _ => return None,
    };
    Some(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_tex_are_letters() {
        let shown = |codes: &[u8]| codes.iter().filter_map(|code| letter(*code)).collect::<String>();
        assert_eq!(shown(&[28, 30, 170, 187, 243, 255, 21]), "fiffiłżóß–");
        assert_eq!(ACCENTED.chars().count(), 64);
        assert_eq!(letter(b'a'), None);
    }

    #[test]
    fn only_a_name_that_is_the_code_says_nothing() {
        assert!(is_code(b"a65", 65) && !is_code(b"a65", 66) && !is_code(b"A", 65) && !is_code(b"a", 97));
    }
}
