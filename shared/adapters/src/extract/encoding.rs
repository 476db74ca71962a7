//! Bytes of unknown encoding read as text.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// How much of a text is looked at where it has no byte order mark, in bytes: enough for a first page.
const SAMPLE_BYTES: usize = 4096;

/// Reads bytes as text: by their byte order mark, as UTF-16 where every other byte is zero, as UTF-8 where they
/// are valid, else in the declared encoding, else as windows-1252, in which every byte has a meaning.
pub(super) fn decode(bytes: &[u8], declared: Option<&'static Encoding>) -> String {
    if let Some((encoding, mark_bytes)) = Encoding::for_bom(bytes) {
        return encoding.decode_without_bom_handling(&bytes[mark_bytes..]).0.into_owned();
    }
    if let Some(encoding) = utf_16_without_mark(bytes) {
        return encoding.decode_without_bom_handling(bytes).0.into_owned();
    }
    if let Ok(text) = str::from_utf8(bytes) {
        return text.to_owned();
    }
    // A declaration of UTF-8 is refuted by now.
    let encoding = declared.filter(|encoding| *encoding != UTF_8).unwrap_or(WINDOWS_1252);
    encoding.decode_without_bom_handling(bytes).0.into_owned()
}

/// The encoding that a page of HTML declares in its first kilobyte, where the standard wants it.
pub(super) fn declared_in_html(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(1024)]).to_ascii_lowercase();
    let value = head.split_once("charset=")?.1.trim_start_matches(['"', '\'', ' ']);
    let label = value.split(['"', '\'', ' ', ';', '>', '/']).next()?;
    // A page that can declare its encoding in ASCII is not in UTF-16, whatever it says.
    Encoding::for_label(label.as_bytes()).filter(|encoding| ![UTF_16LE, UTF_16BE].contains(encoding))
}

fn utf_16_without_mark(bytes: &[u8]) -> Option<&'static Encoding> {
    let sample = &bytes[..bytes.len().min(SAMPLE_BYTES) & !1];
    let units = sample.len() / 2;
    let zeros = |offset| sample.iter().skip(offset).step_by(2).filter(|byte| **byte == 0).count();
    let (first, second) = (zeros(0), zeros(1));
    // Text of Western letters has a zero in nearly each unit; one of binary data has them on both sides.
    if units < 2 || bytes.len() % 2 == 1 {
        None
    } else if second * 10 >= units * 4 && first * 20 <= units {
        Some(UTF_16LE)
    } else if first * 10 >= units * 4 && second * 20 <= units {
        Some(UTF_16BE)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_encoding_is_told_by_its_bytes() {
        let polish = "Umowa najmu: czynsz wynosi 1200 zł";
        let utf_16le: Vec<u8> = polish.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let utf_16be: Vec<u8> = polish.encode_utf16().flat_map(u16::to_be_bytes).collect();
        for bytes in [
            polish.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", polish.as_bytes()].concat(),
            [b"\xff\xfe", utf_16le.as_slice()].concat(),
            [b"\xfe\xff", utf_16be.as_slice()].concat(),
            utf_16le,
            utf_16be,
        ] {
            assert_eq!(decode(&bytes, None), polish);
        }
        assert_eq!(decode(b"Caf\xe9 \x80 5", None), "Café € 5");
    }

    #[test]
    fn a_page_of_html_is_read_in_the_encoding_that_it_declares() {
        let page = b"<html><head><meta charset=\"iso-8859-2\"></head><body>z\xb3oty</body></html>";
        assert!(decode(page, declared_in_html(page)).contains("złoty"));
        assert_eq!(declared_in_html(b"<html>"), None);
        assert_eq!(declared_in_html(b"<meta charset="), None);
        assert_eq!(declared_in_html(b"<meta charset=utf-16>"), None);
    }

    #[test]
    fn wrong_and_cut_encodings_become_text_all_the_same() {
        for bytes in [&b"\xff\xfe\x00"[..], b"\xef\xbb\xbf\xff\xff", b"\x00\xd8\x00\xd8", b"\xc3"] {
            let _ = decode(bytes, None);
        }
    }
}
