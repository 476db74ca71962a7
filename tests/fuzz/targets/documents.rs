//! Documents of every kind but PDF: its crate is known to overflow the stack in its own process, which is why documents
//! are read in a child with limits (see `shared/adapters/tests/extract/hostile.rs`).

#![no_main]

use ihelper_adapters::extract::{Limits, extract};
use libfuzzer_sys::fuzz_target;

const NAMES: [Option<&str>; 6] =
    [None, Some("a.csv"), Some("a.md"), Some("a.html"), Some("a.docx"), Some("a.xlsx")];

fuzz_target!(|data: &[u8]| {
    let Some((name, bytes)) = data.split_first() else { return };
    if bytes.windows(5).any(|window| window == b"%PDF-") {
        return;
    }
    let limits = Limits { max_decompressed_bytes: 16 << 20, max_text_characters: 100_000, ..Limits::default() };
    if let Ok(content) = extract(NAMES[usize::from(*name) % NAMES.len()], bytes, &limits) {
        assert!(content.characters() <= limits.max_text_characters);
    }
});
