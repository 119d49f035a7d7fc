//! Prints where the `luajit` built with this workspace is, for scripts: `luajit-path [gc64|nogc64|static]`.
#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let path = match std::env::args().nth(1).as_deref() {
        None | Some("gc64") => testdata::LUAJIT,
        Some("nogc64") => testdata::LUAJIT_NOGC64,
        Some("static") => testdata::LUAJIT_STATIC,
        Some(other) => {
            eprintln!("luajit-path: {other} is none of gc64, nogc64, static");
            return ExitCode::FAILURE;
        }
    };
    println!("{path}");
    ExitCode::SUCCESS
}
