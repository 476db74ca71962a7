//! A font's table from codes to Unicode: a small program in PostScript, of which only the tables are read.

/// How many bytes a code has at most.
const MAX_CODE_BYTES: usize = 4;

/// What codes mean. Ranges stay ranges: a table of one line may name four billion codes.
#[derive(Debug, Default)]
pub(super) struct Table {
    ranges: Vec<Range>,
    /// First and last code of a length: what tells codes of one byte from codes of two.
    spaces: Vec<(Code, Code)>,
}

#[derive(Debug)]
struct Range {
    first: u32,
    last: u32,
    meaning: Meaning,
}

#[derive(Debug)]
enum Meaning {
    /// UTF-16 of the first code; the last unit counts up.
    Counting(Vec<u16>),
    /// UTF-16 of each code.
    Listed(Vec<Vec<u16>>),
}

/// A code, and how many bytes it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) value: u32,
    pub(super) bytes: usize,
}

impl Table {
    /// Reads a table. Lines that are not understood are skipped, because programs write this in many ways.
    pub(super) fn read(program: &[u8]) -> Self {
        let mut table = Self::default();
        let mut section = Section::None;
        let mut operands: Vec<Vec<u8>> = Vec::new();
        let mut list: Option<Vec<Vec<u16>>> = None;
        for token in Tokens(program) {
            match token {
                Token::Word(word) => {
                    section = match word {
                        b"begincodespacerange" => Section::Spaces,
                        b"beginbfchar" => Section::Characters,
                        b"beginbfrange" => Section::Ranges,
                        _ => Section::None,
                    };
                    operands.clear();
                    list = None;
                }
                Token::Open => list = Some(Vec::new()),
                Token::Close => {
                    if let (Section::Ranges, [first, last], Some(list)) = (section, operands.as_slice(), list.take()) {
                        table.add(first, last, Meaning::Listed(list));
                    }
                    operands.clear();
                }
                Token::Hexadecimal(bytes) => {
                    if let Some(list) = &mut list {
                        list.push(units_of(&bytes));
                        continue;
                    }
                    operands.push(bytes);
                    match (section, operands.as_slice()) {
                        (Section::Spaces, [first, last]) => {
                            table.spaces.extend(Code::of(first).zip(Code::of(last)));
                        }
                        (Section::Characters, [code, text]) => table.add(code, code, Meaning::Counting(units_of(text))),
                        (Section::Ranges, [first, last, text]) => {
                            table.add(first, last, Meaning::Counting(units_of(text)));
                        }
                        (Section::None, _) => {}
                        _ => continue,
                    }
                    operands.clear();
                }
            }
        }
        table.ranges.sort_by_key(|range| range.first);
        table
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Splits a text into its codes: by the table's own ranges, else of `usual_bytes` each.
    pub(super) fn codes(&self, text: &[u8], usual_bytes: usize) -> impl Iterator<Item = Code> {
        let mut rest = text;
        std::iter::from_fn(move || {
            let of_bytes = |bytes: usize| Code::of(rest.get(..bytes)?);
            let spaced = (1..=MAX_CODE_BYTES)
                .filter_map(of_bytes)
                .find(|code| self.spaces.iter().any(|(first, last)| code.lies_between(*first, *last)));
            let code = spaced.or_else(|| of_bytes(usual_bytes.min(rest.len())))?;
            rest = &rest[code.bytes..];
            Some(code)
        })
    }

    /// What a code means.
    pub(super) fn text(&self, code: u32) -> Option<String> {
        let after = self.ranges.partition_point(|range| range.first <= code);
        let range = self.ranges[..after].last().filter(|range| code <= range.last)?;
        let steps = code - range.first;
        let units = match &range.meaning {
            Meaning::Counting(units) => {
                let mut units = units.clone();
                let last = units.last_mut()?;
                // What counts past the end of a unit means nothing; it must not stop.
                *last = last.wrapping_add(steps as u16);
                units
            }
            Meaning::Listed(list) => list.get(steps as usize)?.clone(),
        };
        (!units.is_empty()).then(|| String::from_utf16_lossy(&units))
    }

    fn add(&mut self, first: &[u8], last: &[u8], meaning: Meaning) {
        if let (Some(first), Some(last)) = (Code::of(first), Code::of(last))
            && first.value <= last.value
        {
            self.ranges.push(Range { first: first.value, last: last.value, meaning });
        }
    }
}

impl Code {
    fn of(bytes: &[u8]) -> Option<Self> {
        (1..=MAX_CODE_BYTES).contains(&bytes.len()).then(|| Self {
            value: bytes.iter().fold(0, |value, byte| value << 8 | u32::from(*byte)),
            bytes: bytes.len(),
        })
    }

    /// Each byte lies between those of the ends, as the standard wants it.
    fn lies_between(self, first: Self, last: Self) -> bool {
        let bytes = |code: Self| code.value.to_be_bytes();
        first.bytes == self.bytes
            && last.bytes == self.bytes
            && bytes(self)
                .iter()
                .zip(bytes(first).iter().zip(bytes(last)))
                .all(|(byte, (low, high))| (*low..=high).contains(byte))
    }
}

#[derive(Clone, Copy)]
enum Section {
    None,
    Spaces,
    Characters,
    Ranges,
}

enum Token<'p> {
    Hexadecimal(Vec<u8>),
    Open,
    Close,
    Word(&'p [u8]),
}

struct Tokens<'p>(&'p [u8]);

impl<'p> Iterator for Tokens<'p> {
    type Item = Token<'p>;

    fn next(&mut self) -> Option<Token<'p>> {
        loop {
            let (first, rest) = self.0.split_first()?;
            match first {
                b'%' => {
                    let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
                    self.0 = &rest[end..];
                }
                b'<' if rest.first() == Some(&b'<') => self.0 = &rest[1..],
                b'<' => {
                    let end = rest.iter().position(|byte| *byte == b'>')?;
                    self.0 = &rest[end + 1..];
                    return Some(Token::Hexadecimal(bytes_of(&rest[..end])));
                }
                b'[' | b']' => {
                    self.0 = rest;
                    return Some(if *first == b'[' { Token::Open } else { Token::Close });
                }
                byte if byte.is_ascii_alphabetic() => {
                    let end = self.0.iter().position(|byte| !byte.is_ascii_alphabetic()).unwrap_or(self.0.len());
                    let (word, rest) = self.0.split_at(end);
                    self.0 = rest;
                    return Some(Token::Word(word));
                }
                _ => self.0 = rest,
            }
        }
    }
}

/// Two digits a byte; a last one alone has a zero behind it.
fn bytes_of(digits: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> =
        digits.iter().filter_map(|digit| char::from(*digit).to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair.get(1).unwrap_or(&0)).collect()
}

/// UTF-16, big end first. One byte alone is a character of its own, as some programs write.
fn units_of(bytes: &[u8]) -> Vec<u16> {
    match bytes {
        [byte] => vec![u16::from(*byte)],
        bytes => bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &[u8] = b"/CIDInit /ProcSet findresource begin 12 dict begin begincmap % a comment <0001>\n\
        /CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def\n\
        2 begincodespacerange <00> <80> <8140> <9ffc> endcodespacerange\n\
        2 beginbfchar <01> <0041> <8141><D83DDE00> endbfchar\n\
        3 beginbfrange <20> <22> <0061> <30><31>[<00660069> <0062>]\n<8200> <82FF> <4E00> endbfrange\n\
        endcmap CMapName currentdict /CMap defineresource pop end end";

    #[test]
    fn codes_of_different_lengths_are_told_apart_and_mean_what_the_table_says() {
        let table = Table::read(PROGRAM);
        let text: String = table
            .codes(b"\x01\x81\x41\x20\x22\x30\x31\x82\x05\x7f", 2)
            .map(|code| table.text(code.value).unwrap_or_else(|| "?".to_owned()))
            .collect();
        assert_eq!(text, "A😀acfib\u{4e05}?");
    }

    #[test]
    fn a_line_that_names_four_billion_codes_costs_one_line() {
        let table = Table::read(b"beginbfrange <00000000> <FFFFFFFF> <0041> <05> <01> <0042> endbfrange");
        assert_eq!(table.text(1).as_deref(), Some("B"));
        assert!(table.text(u32::MAX).is_some());
    }

    #[test]
    fn cut_and_strange_tables_are_read_as_far_as_they_go() {
        for end in 0..PROGRAM.len() {
            let table = Table::read(&PROGRAM[..end]);
            let _: Vec<_> = table.codes(b"\x01\x81", 2).map(|code| table.text(code.value)).collect();
        }
        for program in [
            &b"beginbfchar <> <> <1> <> <0102030405> <41> <02> <4"[..],
            b"[ ] < >",
            b"beginbfrange <01> <02> [ <41> beginbfrange <01> ]",
        ] {
            let table = Table::read(program);
            assert_eq!(table.codes(b"\xff\xff\xff", 2).count(), 2);
            assert_eq!(table.codes(b"", 2).count(), 0);
        }
    }
}
