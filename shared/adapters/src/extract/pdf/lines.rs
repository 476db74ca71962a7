//! Lines out of pieces of text that stand somewhere on a page.

use std::mem;

use super::direction;

/// A gap between letters wider than this is a space, in widths of the font's em: letters are set apart by less
/// than 0.1, words by 0.2 and more.
const SPACE_EMS: f64 = 0.15;

/// Text that stands higher or lower than this is on another line, in ems: raised numbers stand 0.3 to 0.4.
const LINE_EMS: f64 = 0.5;

/// Lines further apart than this are different paragraphs, in ems: a line and a half and a little.
const PARAGRAPH_EMS: f64 = 1.9;

/// Text that goes back further than this on its line is another line, in ems: accents and corrections go back
/// less than one.
const BACK_EMS: f64 = 2.0;

/// Text painted again this near to where it stood is bold, not said twice, in ems.
const OVERPRINT_EMS: f64 = 0.1;

/// A transformation of the plane, as PDF writes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Matrix([f64; 6]);

impl Matrix {
    pub(super) const IDENTITY: Self = Self([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);

    /// Six numbers, as written.
    pub(super) fn of(numbers: Vec<f64>) -> Option<Self> {
        numbers.try_into().ok().map(Self)
    }

    pub(super) fn translation(x: f64, y: f64) -> Self {
        Self([1.0, 0.0, 0.0, 1.0, x, y])
    }

    /// This, and then the other.
    pub(super) fn then(&self, other: &Self) -> Self {
        let [a, b, c, d, e, f] = self.0;
        let [oa, ob, oc, od, oe, of] = other.0;
        Self([
            a * oa + b * oc,
            a * ob + b * od,
            c * oa + d * oc,
            c * ob + d * od,
            e * oa + f * oc + oe,
            e * ob + f * od + of,
        ])
    }

    pub(super) fn origin(&self) -> (f64, f64) {
        (self.0[4], self.0[5])
    }

    /// How high one unit becomes.
    pub(super) fn height(&self) -> f64 {
        self.0[2].hypot(self.0[3])
    }

    /// Where one unit to the right points.
    fn direction(&self) -> (f64, f64) {
        (self.0[0], self.0[1])
    }
}

/// Where a piece of text stands.
pub(super) struct Placed {
    /// From the text's own units to the page's.
    pub(super) matrix: Matrix,
    /// How high the font's em is on the page, in points.
    pub(super) size: f64,
    /// How far the text goes, in its own units.
    pub(super) width: f64,
}

/// The lines of a page, as they grow.
#[derive(Default)]
pub(super) struct Lines {
    done: Vec<String>,
    open: String,
    /// Where the open line begins.
    begin: Option<(f64, f64)>,
    last: Option<Last>,
}

struct Last {
    start: (f64, f64),
    end: (f64, f64),
    size: f64,
    text: String,
}

impl Lines {
    /// Adds a piece of text where it stands.
    pub(super) fn add(&mut self, placed: &Placed, text: &str) {
        let start = placed.matrix.origin();
        let (across, up) = placed.matrix.direction();
        let end = (start.0 + across * placed.width, start.1 + up * placed.width);
        if ![start.0, start.1, end.0, end.1, placed.size].into_iter().all(f64::is_finite) {
            return;
        }
        if let Some(last) = &self.last {
            let length = across.hypot(up);
            let (across, up) = if length > 0.0 { (across / length, up / length) } else { (1.0, 0.0) };
            // Along the line of writing, and square to it.
            let along = |from: (f64, f64)| (start.0 - from.0) * across + (start.1 - from.1) * up;
            let aside = ((start.1 - last.end.1) * across - (start.0 - last.end.0) * up).abs();
            let size = placed.size.max(last.size);
            let gap = along(last.end);
            if aside <= LINE_EMS * size
                && [self.open.as_str(), text].into_iter().any(|text| text.contains(direction::is_from_right))
                && let Some(begin) = self.begin
                // The piece ends where the line began, so the line goes on to the left.
                && let space = (begin.0 - end.0) * across + (begin.1 - end.1) * up
                && (-SPACE_EMS * size..BACK_EMS * size).contains(&space)
            {
                if space > SPACE_EMS * size {
                    self.open.insert(0, ' ');
                }
                self.open.insert_str(0, text);
                self.begin = Some(start);
                return;
            }
            if last.text == text && along(last.start).abs() < OVERPRINT_EMS * size && aside < OVERPRINT_EMS * size {
                return;
            }
            if aside > LINE_EMS * size || gap < -BACK_EMS * size {
                // Some programs paint a line's spaces before its words.
                if text.trim().is_empty() {
                    return;
                }
                self.end_line();
                if aside > PARAGRAPH_EMS * size {
                    self.end_line();
                }
            } else if gap > SPACE_EMS * size {
                self.open.push(' ');
            }
        }
        if self.open.is_empty() {
            self.begin = Some(start);
        }
        self.open.push_str(text);
        self.last = Some(Last { start, end, size: placed.size, text: text.to_owned() });
    }

    /// The text, with the words that were divided at the end of a line put together again.
    pub(super) fn finish(mut self) -> String {
        self.end_line();
        let mut text = String::new();
        for line in &self.done {
            let line = line.trim();
            if let Some(start) = without_hyphen(&text)
                && begins_with_small_letters(line)
            {
                text.truncate(start);
                text.push_str(line);
                continue;
            }
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(line);
        }
        text
    }

    fn end_line(&mut self) {
        self.done.push(direction::in_reading_order(&mem::take(&mut self.open)));
    }
}

/// Where the hyphen stands that divides the last word of a text, if it is one that divides: two small letters
/// before it. `A-`, `3-` and a dash keep theirs.
fn without_hyphen(text: &str) -> Option<usize> {
    let before = text.strip_suffix(['-', '\u{2010}', '\u{ad}'])?;
    let mut letters = before.chars().rev().take(2);
    (letters.next()?.is_lowercase() && letters.next()?.is_lowercase()).then_some(before.len())
}

fn begins_with_small_letters(line: &str) -> bool {
    let mut letters = line.chars().take(2);
    letters.next().is_some_and(char::is_lowercase) && letters.next().is_some_and(char::is_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(pieces: &[(f64, f64, &str)]) -> String {
        let mut lines = Lines::default();
        for (x, y, text) in pieces {
            // Each letter is five points wide and ten high.
            let width = text.chars().count() as f64 * 5.0;
            lines.add(&Placed { matrix: Matrix::translation(*x, *y), size: 10.0, width }, text);
        }
        lines.finish()
    }

    #[test]
    fn gaps_are_spaces_and_heights_are_lines() {
        let pieces = [
            (0.0, 100.0, "Mon"),
            (15.2, 100.0, "thly"),
            (40.0, 100.0, "rent"),
            (0.0, 88.0, "is due"),
            (0.0, 50.0, "on time"),
        ];
        assert_eq!(page(&pieces), "Monthly rent\nis due\n\non time");
    }

    #[test]
    fn words_divided_at_a_line_end_are_whole_again_and_compounds_are_not_touched() {
        let pieces = [
            (0.0, 100.0, "the pay-"),
            (0.0, 88.0, "ment of A-"),
            (0.0, 76.0, "rated 3-"),
            (0.0, 64.0, "year bonds -"),
            (0.0, 52.0, "see EU-"),
            (0.0, 40.0, "Poland"),
        ];
        assert_eq!(page(&pieces), "the payment of A-\nrated 3-\nyear bonds -\nsee EU-\nPoland");
    }

    #[test]
    fn raised_text_stays_on_its_line_and_overprinted_text_is_said_once() {
        assert_eq!(
            page(&[(0.0, 100.0, "rent"), (20.0, 103.5, "1"), (0.0, 80.0, "bold"), (0.3, 80.0, "bold")]),
            "rent1\n\nbold"
        );
    }

    #[test]
    fn a_second_column_is_another_line() {
        assert_eq!(page(&[(100.0, 100.0, "right"), (0.0, 100.0, "left")]), "right\nleft");
    }

    #[test]
    fn places_without_a_number_are_left_out() {
        let mut lines = Lines::default();
        let matrix = Matrix([f64::NAN, 0.0, 0.0, 1.0, f64::INFINITY, 0.0]);
        lines.add(&Placed { matrix, size: 10.0, width: 1.0 }, "x");
        lines.add(&Placed { matrix: Matrix([0.0; 6]), size: 0.0, width: 1.0 }, "y");
        lines.add(&Placed { matrix: Matrix([0.0; 6]), size: 0.0, width: 1.0 }, "z");
        assert_eq!(lines.finish(), "yz");
    }
}
