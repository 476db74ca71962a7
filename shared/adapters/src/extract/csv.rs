//! CSV: rows with their cells between bars, whatever separated them.

use ::csv::ReaderBuilder;
use ihelper_workflow::domain::{Failure, document::Content};

use super::{
    Limits, corrupt,
    text::{Collector, clean_line},
};

/// How many rows one section has: a quotation should name a place that an eye finds.
const SECTION_ROWS: usize = 200;

/// How many rows tell the delimiter.
const SNIFFED_ROWS: usize = 50;

/// Reads a CSV.
///
/// # Errors
/// This returns an error when it has no text.
pub(super) fn read(text: &str, limits: &Limits) -> Result<Content, Failure> {
    let mut collector = Collector::new("csv", limits);
    for (index, row) in rows(text, delimiter_of(text)).enumerate() {
        if collector.is_full() {
            collector.mark_truncated();
            break;
        }
        if index % SECTION_ROWS == 0 {
            collector.begin_section(&format!("rows {}–{}", index + 1, index + SECTION_ROWS));
        }
        let row = row.map_err(|_| corrupt("a row of it cannot be read"))?;
        let cells: Vec<String> = row.iter().map(clean_line).collect();
        if cells.iter().any(|cell| !cell.is_empty()) {
            collector.add_row(index + 1, &cells.join(" | "));
        }
    }
    collector.finish("the document has no text")
}

/// The delimiter that gives most rows the same number of cells, more than one.
fn delimiter_of(text: &str) -> u8 {
    let score = |delimiter: u8| {
        let widths: Vec<usize> =
            rows(text, delimiter).take(SNIFFED_ROWS).map_while(Result::ok).map(|row| row.len()).collect();
        let agreeing = |width: usize| widths.iter().filter(|other| **other == width).count();
        widths.iter().filter(|width| **width > 1).map(|width| (agreeing(*width), *width)).max().unwrap_or((0, 0))
    };
    // The last of equals wins, so the comma stands last.
    b"|\t;,".iter().copied().max_by_key(|delimiter| score(*delimiter)).unwrap_or(b',')
}

fn rows(text: &str, delimiter: u8) -> impl Iterator<Item = ::csv::Result<::csv::StringRecord>> {
    ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .from_reader(text.as_bytes())
        .into_records()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_delimiter_is_told_from_the_rows() {
        for (text, delimiter) in [
            ("name;price\nRent, monthly;1200,50\nHeat;80,10\n", b';'),
            ("a,b\n\"x;y\",2\n", b','),
            ("a\tb\n1\t2\n", b'\t'),
            ("a|b\n1|2\n", b'|'),
            ("one\ntwo\n", b','),
            ("", b','),
        ] {
            assert_eq!(delimiter_of(text) as char, delimiter as char, "{text:?}");
        }
    }

    #[test]
    fn cells_stand_between_bars_and_rows_are_named() {
        let text = format!("item,price\n\"Rent,\nmonthly\",\"1,200\"\n,\n{}", "x,1\n".repeat(300));
        let content = read(&text, &Limits::default()).unwrap();
        assert!(content.sections[0].text.starts_with("item | price\nRent, monthly | 1,200\nx | 1"));
        assert_eq!(content.sections[0].label, "rows 1–200");
        assert_eq!(content.sections[1].label, "rows 201–400");
    }

    #[test]
    fn an_open_quote_and_ragged_rows_are_read_all_the_same() {
        let content = read("a,b\n1\n\"open,2\n3,4", &Limits::default()).unwrap();
        assert!(content.sections[0].text.contains("open,2 3,4"));
    }
}
