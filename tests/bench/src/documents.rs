//! How long reading documents takes, by `measure-documents` of the adapters, which has a table of its own.

use std::process::Command;

use serde::Serialize;

use crate::{Failed, functions::build};

/// A document that was read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// What it was.
    pub name: String,
    /// How large, in MiB.
    pub mebibytes: f64,
    /// How long it took, in milliseconds.
    pub ms: f64,
}

impl Measured {
    /// How long each MiB took, in milliseconds.
    pub fn ms_per_mebibyte(&self) -> f64 {
        self.ms / self.mebibytes
    }
}

/// Reads the documents. Gives the table, and what of it has a size.
///
/// # Errors
/// This returns an error when the program does not compile or says something else than a table.
pub fn measure() -> Result<(String, Vec<Measured>), Failed> {
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--locked", "--profile", "bench-run", "--package", "ihelper-adapters"])
        .args(["--no-default-features", "--features", "extract", "--bin", "measure-documents"])
        .current_dir(build::root())
        .output()?;
    if !output.status.success() {
        return Err(format!("measure-documents: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let measured = rows(&text);
    if measured.is_empty() { Err("measure-documents has no row".into()) } else { Ok((text, measured)) }
}

fn rows(text: &str) -> Vec<Measured> {
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, size, _, _, time, ..] = cells[..] else { return None };
        let mebibytes: f64 = size.parse().ok()?;
        // What is smaller is the start of a process.
        (mebibytes > 0.05).then_some(Measured { name: name.to_owned(), mebibytes, ms: milliseconds(time)? })
    };
    text.lines().filter_map(row).collect()
}

/// A time as Rust writes it.
fn milliseconds(time: &str) -> Option<f64> {
    let figure_of = |unit: &str| time.strip_suffix(unit).and_then(|figure| figure.parse::<f64>().ok());
    figure_of("ms").or_else(|| figure_of("µs").map(|figure| figure / 1e3)).or_else(|| figure_of("s").map(|s| s * 1e3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_and_what_has_no_size_left_out() {
        let text = "# Documents\n\n| document | MiB | asks, MiB | reads, MiB | time | outcome |\n|---|---:|---:|---:|---:|---|\n\
                    | nothing but a line of text | 0.0 | 5 | 6 | 3.1ms | 7 characters |\n\
                    | PDF of 300 pages of text | 0.5 | 9 | 20 | 250.0ms | 1 characters |\n\
                    | text, the largest | 31.9 | 9 | 20 | 1.5s | 1 characters |\n";
        let of = |name: &str, mebibytes, ms| Measured { name: name.to_owned(), mebibytes, ms };
        let read = rows(text);
        assert_eq!(read, [of("PDF of 300 pages of text", 0.5, 250.0), of("text, the largest", 31.9, 1500.0)]);
        assert_eq!(read[0].ms_per_mebibyte(), 500.0);
        assert_eq!(milliseconds("12.5µs"), Some(0.0125));
        assert_eq!(milliseconds("soon"), None);
    }
}
