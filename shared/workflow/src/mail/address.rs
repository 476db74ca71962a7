//! What counts as an address that mail may be sent to.
//!
//! The check is narrower than RFC 5322: no spaces, comments, routes, literals or characters that mean
//! something in a header. An address that passes stands in a `To` field as it is and cannot become two.

/// The longest address, in bytes: 64 for the local part, 255 for the domain and the `@` (RFC 5321, section
/// 4.5.3.1).
const MAX_BYTES: usize = 320;

/// Whether mail may be sent to this address.
///
/// Names beyond ASCII are accepted on both sides (RFC 6531).
pub fn is_valid(address: &str) -> bool {
    if address.len() > MAX_BYTES {
        return false;
    }
    // The last one: a quoted local part may hold others.
    let Some((local, domain)) = address.rsplit_once('@') else { return false };
    is_valid_local(local) && is_valid_domain(domain)
}

/// Whether two addresses are the same mailbox: letters of either case, and what follows a `+` in the local
/// part does not count.
pub(super) fn same_mailbox(one: &str, other: &str) -> bool {
    match (mailbox(one), mailbox(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

/// The local part in lower case, without what follows a `+`.
pub(super) fn bare_local(address: &str) -> Option<String> {
    mailbox(address).map(|(local, _)| local)
}

/// Local part and domain of the mailbox that an address leads to, in lower case and without what follows a `+`.
pub(crate) fn mailbox(address: &str) -> Option<(String, String)> {
    let (local, domain) = address.rsplit_once('@')?;
    let bare = match local.split_once('+') {
        Some((bare, _)) if !bare.is_empty() => bare,
        _ => local,
    };
    Some((bare.to_lowercase(), domain.trim_end_matches('.').to_lowercase()))
}

fn is_valid_local(local: &str) -> bool {
    if local.is_empty() || local.len() > 64 {
        return false;
    }
    let quoted = local.strip_prefix('"').and_then(|inner| inner.strip_suffix('"'));
    match quoted {
        Some(inner) => !inner.is_empty() && inner.chars().all(|character| is_atom(character) || character == '@'),
        None => local.chars().all(is_atom),
    }
}

// RFC 5322's atext and dots, anywhere: some providers give out addresses with two in a row.
fn is_atom(character: char) -> bool {
    character.is_ascii_alphanumeric() || ".!#$%&'*+-/=?^_`{|}~".contains(character) || is_foreign(character)
}

fn is_valid_domain(domain: &str) -> bool {
    domain.len() <= 255
        && domain.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.chars().all(|character| {
                    character.is_ascii_alphanumeric() || "-_".contains(character) || is_foreign(character)
                })
        })
}

// A letter or digit of any script, or a mark that belongs to one; neither spaces nor invisible characters,
// which would make two addresses look alike.
fn is_foreign(character: char) -> bool {
    let is_mark = matches!(character, '\u{300}'..='\u{36f}' | '\u{900}'..='\u{d7f}' | '\u{e31}'..='\u{e4e}');
    !character.is_ascii() && (character.is_alphanumeric() || is_mark) && !character.is_control()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_break_a_header_is_no_address() {
        let long_local = format!("{}@b.example", "a".repeat(65));
        let long = format!("{}@{}", "a".repeat(60), "b.".repeat(160));
        let cases = [
            "",
            "@",
            "a",
            "a@",
            "@b.example",
            "a@b@c.example",
            "a@b.example\r\nBcc: c@d.example",
            "a\n@b.example",
            "a@b.example\0",
            "a @b.example",
            "a@b .example",
            "a,b@c.example",
            "a@b.example,c@d.example",
            "a@b.example;c",
            "<a@b.example>",
            "a@[192.0.2.1]",
            "a@b..example",
            "a@-b.example",
            "a@b-.example",
            "a@b.example.",
            "a(comment)@b.example",
            "\"a b\"@c.example",
            "\"a\\\"b\"@c.example",
            "\"\"@c.example",
            "a\u{a0}@b.example",
            "a\u{200b}@b.example",
            "a\u{202e}@b.example",
            "a\u{2028}@b.example",
            &long_local,
            &long,
        ];
        for address in cases {
            assert!(!is_valid(address), "{address:?} was accepted");
        }
    }

    #[test]
    fn addresses_that_people_have_are_accepted() {
        let cases = [
            "a@b.example",
            "first.last+tag@mail.example.co.uk",
            "o'neil@b.example",
            "double..dot.@b.example",
            "x=y/z@b.example",
            "root@localhost",
            "jörg@müller.example",
            "用户@例子.example",
            "उपयोगकर्ता@उदाहरण.example",
            "a@xn--mller-kva.example",
            "\"a@b\"@c.example",
        ];
        for address in cases {
            assert!(is_valid(address), "{address:?} was refused");
        }
    }

    #[test]
    fn a_tag_and_the_case_of_letters_make_no_other_mailbox() {
        assert!(same_mailbox("Help+x@Example.com", "help@example.COM"));
        assert!(!same_mailbox("help@example.com", "help@example.org"));
        assert!(!same_mailbox("", ""));
    }
}
