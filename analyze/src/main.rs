//! `analyze`: see `analyze --help`.
#![forbid(unsafe_code)]

use std::io;
use std::process::ExitCode;

use analyze::cli::Arguments;
use analyze::commands;
use clap::Parser;

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| {
        let _ = error.print();
        // 2 means an incomplete answer; a wrong command line is a failure.
        std::process::exit(i32::from(error.use_stderr()));
    });
    commands::run(arguments).unwrap_or_else(|error| {
        let gone = |cause: &(dyn std::error::Error + 'static)| {
            let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
            let json = || cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind);
            kind.or_else(json) == Some(io::ErrorKind::BrokenPipe)
        };
        // Whoever read our output has had enough.
        if error.chain().any(gone) {
            return ExitCode::SUCCESS;
        }
        eprintln!("analyze: {error:#}");
        ExitCode::FAILURE
    })
}
