//! `make eval`: plays golden cases on every node that is configured, each by itself, and prints what passed, what it cost
//! and how long it took. It ends with 0 when enough passed, with 1 when not, and with 2 when there was nothing to play.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use ihelper_eval::{Options, evaluate};
use ihelper_runtime::extract;

fn main() -> ExitCode {
    // The process that reads a document is this same binary.
    extract::run_if_child();
    run(&Options::parse())
}

#[tokio::main]
async fn run(options: &Options) -> ExitCode {
    match evaluate(options).await {
        Ok(report) => {
            // Whoever closes the pipe has read enough.
            let _ = writeln!(io::stdout(), "{report}");
            if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::from(2)
        }
    }
}
