//! `record`: see `record --help`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use record::{app, calibrate, cli::Arguments, sys};

fn main() -> ExitCode {
    let first = std::env::args().nth(1);
    if first.as_deref() == Some(sys::UNDERTAKER_ARGUMENT) {
        sys::undertaker();
        return ExitCode::SUCCESS;
    }
    if first.as_deref() == Some(calibrate::CHILD_ARGUMENT) {
        return if calibrate::child().is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let arguments = Arguments::try_parse().unwrap_or_else(|error| {
        let _ = error.print();
        // 2 means an incomplete recording; a wrong command line is a failure.
        std::process::exit(i32::from(error.use_stderr()));
    });
    app::run(&arguments).unwrap_or_else(|error| {
        record::say!("record: {error:#}");
        ExitCode::FAILURE
    })
}
