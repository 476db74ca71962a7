//! `make perf`: runs a workflow many times over HTTP, and tells what that took and what became slower. It ends with 0, with
//! 1 when no run of a workflow was good, with 2 when a time became slower and that is to fail, and with 3 when there was
//! nothing to measure.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use ihelper_performance::{Options, Report, analyse, table};

const NOTHING_MEASURED: u8 = 3;
const SLOWER: u8 = 2;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let options = match Options::try_parse() {
        Ok(options) => options,
        Err(problem) => {
            // Whoever closes the pipe has read enough.
            let _ = problem.print();
            return if problem.use_stderr() { ExitCode::from(NOTHING_MEASURED) } else { ExitCode::SUCCESS };
        }
    };
    match analyse(&options).await {
        Ok(report) => {
            let _ = io::stdout().write_all(summary(&report).as_bytes());
            if report.has_only_failures() {
                ExitCode::FAILURE
            } else if options.fail_on_slower && report.is_slower() {
                ExitCode::from(SLOWER)
            } else {
                ExitCode::SUCCESS
            }
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(NOTHING_MEASURED)
        }
    }
}

fn summary(report: &Report) -> String {
    let mut text = String::new();
    for analysis in &report.record.analyses {
        text += &table(analysis);
        text.push('\n');
    }
    for path in &report.accepted {
        text += &format!("accepted: {}\n", path.display());
    }
    for note in &report.notes {
        text += &format!("{note}\n");
    }
    text + &format!("page: {}\nJSON: {}\n", report.page.display(), report.json.display())
}
