//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Parser, ValueEnum};

/// How to record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// One exact heap snapshot, no probe
    Snapshot,
    /// Every call from start to end
    Full,
}

impl Mode {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Snapshot => "snapshot",
            Mode::Full => "full",
        }
    }
}

/// Records what a running LuaJIT process asks of its allocator, with exact heap snapshots, into a trace for `analyze`
///
/// Needs no symbols, headers or restart. Nothing of the memory's content is recorded: addresses, sizes and times only.
/// Nothing stays behind in the process, however this program ends.
///
/// Exit status: 0 recorded; 1 failed, no trace; 2 recorded, but incomplete.
#[derive(Debug, Parser)]
#[command(name = "record", version, max_term_width = 100)]
#[command(group(ArgGroup::new("target").required(true).args(["pid", "command", "program"])))]
pub struct Arguments {
    /// Write the trace to FILE; - for standard output [default: PROGRAM-PID.ljt]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Overwrite FILE
    #[arg(long)]
    pub force: bool,

    /// What to record
    #[arg(long, value_enum, default_value = "full")]
    pub mode: Mode,

    /// Stop after DURATION, such as 30s or 5m
    #[arg(short, long, value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,

    /// Time between two heap snapshots; each stops the target for some milliseconds
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub keyframe_every: Duration,

    /// Attach to the process PID
    #[arg(short, long)]
    pub pid: Option<i32>,

    /// Start a shell command and record the first LuaJIT process in it
    #[arg(short, long, value_name = "SHELL CMD")]
    pub command: Option<String>,

    /// Start a program and record it
    #[arg(last = true, value_name = "CMD")]
    pub program: Vec<String>,
}
