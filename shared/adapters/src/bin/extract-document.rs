//! A program that does nothing but read documents as a child: what the tests start in the place of a function.

use std::process::ExitCode;

fn main() -> ExitCode {
    ihelper_adapters::extract::run_if_child();
    // Started by hand, it has no document to read.
    ExitCode::from(2)
}
