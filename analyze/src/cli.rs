//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::{
    batch, breakdown, diff, events, growth, info, lifetimes, map, objects, partial, rates, report, schema, shell,
    sites, stats, timeline, verify,
};
use crate::output::Format;
use crate::report::Asked;

/// Replays traces of LuaJIT's allocator: proves the heap, counts it, draws it
///
/// Every output begins with what was verified, lost and contradicted. Without a command, prints the summary of TRACE.
///
/// Exit status: 0 good; 1 failed; 2 an answer, but the trace is incomplete or contradicted; 3 a condition of `diff
/// --fail-on` holds.
#[derive(Debug, Parser)]
#[command(name = "analyze", version, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct Arguments {
    /// What to do
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The trace, or all parts of one recording; - for standard input
    #[arg(value_name = "TRACE")]
    pub traces: Vec<PathBuf>,

    /// Replay on N threads [default: one a processor]
    #[arg(short = 'j', long, value_name = "N", global = true)]
    pub threads: Option<usize>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Histograms of used and free chunks, segments and direct blocks, at any time
    Stats(stats::Arguments),
    /// What the program asks of its allocator a second, by size, and how long its blocks live
    Rates(rates::Arguments),
    /// How long blocks live, by size; how often the heap is turned over, how blocks grow
    Lifetimes(lifetimes::Arguments),
    /// Which sizes grow, and whether from one collector cycle to the next: leak suspects
    Growth(growth::Arguments),
    /// The address space of the heap: what lies where, and what keeps it mapped
    Map(map::Arguments),
    /// What kind of objects fill the heap, what of tables is used, what grows
    Objects(objects::Arguments),
    /// Who allocates: what LuaJIT was doing and for whom, by the stacks of sampled calls; as a picture, a flame graph
    Sites(sites::Arguments),
    /// How each heap develops: used, free, segments, the collector's cycles, calls and bytes a second
    Timeline(timeline::Arguments),
    /// Where the memory of each process goes: Lua, the system allocator, shared zones, text, stacks
    Breakdown(breakdown::Arguments),
    /// One self-contained HTML page with all of it, for colleagues
    Report(report::Arguments),
    /// Any number of traces at once: one table, their sums, and which VM differs from its peers
    Batch(batch::Arguments),
    /// What traces come to as rows that add up: for Spark, DuckDB and others that can group and sum
    Partial(partial::Arguments),
    /// What differs between two traces, or two times; fails if it is too much
    Diff(diff::Arguments),
    /// Replay everything and compare with every keyframe
    Verify(verify::Arguments),
    /// What is in the file: header, blocks, keyframes, gaps
    Info(info::Arguments),
    /// Every call and mapping call
    Events(events::Arguments),
    /// The JSON Schema of a command's output
    Schema(schema::Arguments),
    /// Completions for a shell
    Completions(shell::Completions),
    /// Manual pages
    Man(shell::Pages),
}

/// What is read
#[derive(Debug, Clone, Default, Args)]
pub struct Input {
    /// The trace, all parts of one recording, or a directory of them; - for standard input
    #[arg(required = true, value_name = "TRACE")]
    pub traces: Vec<PathBuf>,
}

/// Of which VMs
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Of {
    /// One VM, by its number [default: all]
    #[arg(long, value_name = "N")]
    pub vm: Option<u32>,
    /// The VMs of one process, by its id [default: all]
    #[arg(long, value_name = "PID")]
    pub pid: Option<u32>,
}

/// From when to when
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Period {
    /// Where to begin: a time from the start such as 2.5s or 1m30s, or `peak` [default: the start]
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub from: Option<Asked>,
    /// Where to end: a time from the start, `peak` or `end` [default: the end]
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    pub to: Option<Asked>,
}

/// How it is written
#[derive(Debug, Clone, Default, Args)]
pub struct Written {
    /// How to write it; Parquet has the rows of the CSV
    #[arg(long, value_enum, default_value = "text")]
    pub format: Format,
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
pub enum RowFormat {
    /// Comma-separated values with a header line
    Csv,
    /// One JSON object a line
    Jsonl,
    /// Apache Parquet
    Parquet,
}

/// `end`, `peak`, or a duration such as `2.5s`; a bare number is seconds.
pub(crate) fn parse_moment(text: &str) -> Result<Asked, String> {
    match text {
        "end" => Ok(Asked::End),
        "peak" => Ok(Asked::Peak),
        _ => parse_seconds(text).map(Asked::At),
    }
}

/// A duration such as `2.5s`; a bare number is seconds.
pub(crate) fn parse_duration(text: &str) -> Result<u64, String> {
    parse_seconds(text).map_err(|_| format!("`{text}` is no time: say 2.5s, 1m30s or 800ms"))
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
