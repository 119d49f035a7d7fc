//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::output::Format;
use crate::report::Asked;

/// Replays traces of LuaJIT's allocator: proves the heap, counts it, draws it
///
/// Every output begins with what was verified, lost and contradicted. Without a command, prints the summary of TRACE.
///
/// Exit status: 0 good; 1 failed; 2 an answer, but the trace is incomplete or contradicted.
#[derive(Debug, Parser)]
#[command(name = "analyze", version, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct Arguments {
    /// What to do
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The trace; - for standard input
    pub trace: Option<PathBuf>,

    /// Replay on N threads [default: one a processor]
    #[arg(short = 'j', long, value_name = "N", global = true)]
    pub threads: Option<usize>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Histograms of used and free chunks, segments and direct blocks, at any time
    Stats(StatsArguments),
    /// Replay everything and compare with every keyframe
    Verify(VerifyArguments),
    /// What is in the file: header, blocks, keyframes, gaps
    Info(InfoArguments),
    /// Every call and mapping call
    Events(EventsArguments),
}

/// `analyze stats`
#[derive(Debug, Args)]
pub struct StatsArguments {
    /// The trace; - for standard input
    pub trace: PathBuf,
    /// The moment: a time from the start such as 2.5s or 1m30s, `peak` (most bytes in use) or `end`
    /// [default: end; peak if the program ended before]
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub at: Option<Asked>,
    /// One VM, by its number [default: all]
    #[arg(long, value_name = "N")]
    pub vm: Option<u32>,
    /// How to write it
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
    /// JSON: only what lj-alloc-stats has, without our own key
    #[arg(long)]
    pub compat: bool,
    /// Write to FILE
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// `analyze verify`
#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// The trace; - for standard input
    pub trace: PathBuf,
    /// How to write it
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJson,
}

/// `analyze info`
#[derive(Debug, Args)]
pub struct InfoArguments {
    /// The trace; - for standard input
    pub trace: PathBuf,
    /// How to write it
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJson,
}

/// `analyze events`
#[derive(Debug, Args)]
pub struct EventsArguments {
    /// The trace; - for standard input
    pub trace: PathBuf,
    /// How to write it
    #[arg(long, value_enum, default_value = "csv")]
    pub format: EventsFormat,
    /// One VM, by its number [default: all]
    #[arg(long, value_name = "N")]
    pub vm: Option<u32>,
    /// Write to FILE
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// The formats of what is prose or a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TextOrJson {
    /// For people
    Text,
    /// For programs
    Json,
}

/// The formats of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EventsFormat {
    /// Comma-separated values with a header line
    Csv,
    /// One JSON object a line
    Jsonl,
    /// Apache Parquet
    Parquet,
}

/// `end`, `peak`, or a duration such as `2.5s`; a bare number is seconds.
fn parse_moment(text: &str) -> Result<Asked, String> {
    match text {
        "end" => Ok(Asked::End),
        "peak" => Ok(Asked::Peak),
        _ => parse_seconds(text).map(Asked::At),
    }
}

/// Nanoseconds of a duration. humantime takes whole numbers only, so a decimal fraction is turned into the next
/// smaller unit first.
fn parse_seconds(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no time: say 2.5s, 1m30s, 800ms, peak or end");
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.');
    let number = &text[..text.len() - unit.len()];
    let scale = match unit {
        "" | "s" => 1e9,
        "ms" => 1e6,
        "us" => 1e3,
        "m" | "min" => 60e9,
        "h" => 3600e9,
        _ => return humantime::parse_duration(text).map(|d| d.as_nanos() as u64).map_err(|_| wrong()),
    };
    number.parse::<f64>().map(|n| (n * scale).round() as u64).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_written() {
        for (text, ns) in
            [("2.5s", 2_500_000_000), ("3", 3_000_000_000), ("800ms", 800_000_000), ("1m30s", 90_000_000_000)]
        {
            assert_eq!(parse_moment(text), Ok(Asked::At(ns)), "{text}");
        }
        assert_eq!(parse_moment("peak"), Ok(Asked::Peak));
        assert!(parse_moment("soon").is_err());
        assert!(parse_moment("").is_err());
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
