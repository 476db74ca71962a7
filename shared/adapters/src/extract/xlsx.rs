//! XLSX: the visible sheets, row by row, as a reader of the workbook sees their values.

use std::io::Cursor;

use calamine::{DataRef, ExcelDateTime, Reader, SheetType, SheetVisible, Xlsx};
use ihelper_workflow::domain::{Failure, document::Content};

use super::{
    Limits,
    archive::Package,
    corrupt,
    text::{Collector, clean_line},
};

/// How many empty cells between two full ones are shown; a column far to the right is no reason for a line of
/// sixteen thousand bars.
const MAX_SHOWN_GAP: u32 = 32;

/// Reads an XLSX.
///
/// # Errors
/// This returns an error when it is damaged, unpacks to too much, or has no text in a visible sheet.
pub(super) fn read(mut package: Package<'_>, bytes: &[u8], limits: &Limits) -> Result<Content, Failure> {
    // The reader of workbooks unpacks without counting, so it gets only what has been counted.
    package.check_sizes()?;
    drop(package);
    let mut workbook: Xlsx<_> =
        Xlsx::new(Cursor::new(bytes)).map_err(|_| corrupt("its workbook is damaged or cut short"))?;
    let sheets: Vec<String> = workbook
        .sheets_metadata()
        .iter()
        .filter(|sheet| sheet.typ == SheetType::WorkSheet && sheet.visible == SheetVisible::Visible)
        .map(|sheet| sheet.name.clone())
        .collect();
    let mut collector = Collector::new("xlsx", limits);
    for sheet in sheets {
        if collector.is_full() {
            collector.mark_truncated();
            break;
        }
        collector.begin_section(&format!("sheet {sheet}"));
        read_sheet(&mut workbook, &sheet, &mut collector)?;
    }
    collector.finish("the workbook has no text in a visible sheet")
}

/// Reads the cells as they come: the size that a sheet says it has is never allocated.
fn read_sheet(workbook: &mut Xlsx<Cursor<&[u8]>>, sheet: &str, collector: &mut Collector) -> Result<(), Failure> {
    let damaged = || corrupt("a sheet of it is damaged or cut short");
    let mut cells = workbook.worksheet_cells_reader(sheet).map_err(|_| damaged())?;
    let mut row = Row::default();
    while let Some(cell) = cells.next_cell().map_err(|_| damaged())? {
        if collector.is_full() {
            collector.mark_truncated();
            return Ok(());
        }
        let (number, column) = cell.get_position();
        if number != row.number {
            row.end(collector);
            row = Row { number, ..Row::default() };
        }
        row.push(column, &clean_line(&shown(cell.get_value())));
    }
    row.end(collector);
    Ok(())
}

#[derive(Default)]
struct Row {
    number: u32,
    text: String,
    last_column: Option<u32>,
}

impl Row {
    fn push(&mut self, column: u32, value: &str) {
        if value.is_empty() {
            return;
        }
        if let Some(last) = self.last_column {
            for _ in 0..column.saturating_sub(last).clamp(1, MAX_SHOWN_GAP) {
                self.text.push_str(" | ");
            }
        }
        self.text.push_str(value);
        self.last_column = Some(column);
    }

    fn end(&self, collector: &mut Collector) {
        if !self.text.is_empty() {
            collector.add_row(self.number as usize + 1, &self.text);
        }
    }
}

fn shown(value: &DataRef<'_>) -> String {
    match value {
        DataRef::Int(number) => number.to_string(),
        DataRef::Float(number) => shown_number(*number),
        DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => text.clone(),
        DataRef::SharedString(text) => (*text).to_owned(),
        DataRef::Bool(truth) => if *truth { "TRUE" } else { "FALSE" }.to_owned(),
        DataRef::DateTime(moment) => shown_moment(moment),
        DataRef::Error(error) => error.to_string(),
        DataRef::Empty => String::new(),
    }
}

/// Fifteen digits, as a spreadsheet shows: the sixteenth would say 0.30000000000000004.
fn shown_number(number: f64) -> String {
    let rounded = format!("{number:.14e}").parse().unwrap_or(number);
    if rounded == 0.0 || (1e-9..1e15).contains(&f64::abs(rounded)) {
        format!("{rounded}")
    } else {
        format!("{rounded:e}")
    }
}

fn shown_moment(moment: &ExcelDateTime) -> String {
    if moment.is_duration() {
        let seconds = (moment.as_f64() * 86_400.0).round();
        let sign = if seconds < 0.0 { "-" } else { "" };
        let seconds = seconds.abs();
        return format!(
            "{sign}{}:{:02}:{:02}",
            (seconds / 3600.0).floor(),
            (seconds / 60.0).floor() % 60.0,
            seconds % 60.0
        );
    }
    let (year, month, day, hour, minute, second, _) = moment.to_ymd_hms_milli();
    let time = format!("{hour:02}:{minute:02}:{second:02}");
    match (moment.as_f64() < 1.0, (hour, minute, second) == (0, 0, 0)) {
        // Less than a day since the epoch is a time of day.
        (true, _) => time,
        (false, true) => format!("{year:04}-{month:02}-{day:02}"),
        (false, false) => format!("{year:04}-{month:02}-{day:02} {time}"),
    }
}

#[cfg(test)]
mod tests {
    use calamine::ExcelDateTimeType;

    use super::*;

    #[test]
    fn numbers_are_shown_as_a_spreadsheet_shows_them() {
        for (number, text) in
            [(0.1 + 0.2, "0.3"), (1200.0, "1200"), (-0.0, "0"), (1e300, "1e300"), (12.5, "12.5"), (f64::NAN, "NaN")]
        {
            assert_eq!(shown_number(number).trim_start_matches('-'), text);
        }
    }

    #[test]
    fn moments_are_shown_as_dates_times_and_durations() {
        let moment = |value, kind| shown_moment(&ExcelDateTime::new(value, kind, false));
        assert_eq!(moment(45_943.0, ExcelDateTimeType::DateTime), "2025-10-13");
        assert_eq!(moment(45_943.5, ExcelDateTimeType::DateTime), "2025-10-13 12:00:00");
        assert_eq!(moment(0.25, ExcelDateTimeType::DateTime), "06:00:00");
        assert_eq!(moment(1.5, ExcelDateTimeType::TimeDelta), "36:00:00");
        let _ = moment(f64::INFINITY, ExcelDateTimeType::TimeDelta);
        let _ = moment(f64::NAN, ExcelDateTimeType::DateTime);
    }

    #[test]
    fn a_far_column_makes_no_long_line() {
        let mut row = Row::default();
        row.push(0, "a");
        row.push(2, "b");
        row.push(16_383, "c");
        assert_eq!(row.text.matches('|').count(), 2 + MAX_SHOWN_GAP as usize);
        assert!(row.text.starts_with("a |  | b"));
    }
}
