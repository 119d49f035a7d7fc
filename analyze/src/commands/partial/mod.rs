//! `analyze partial`: what many traces come to, as rows that any engine can put together.

mod one;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use clap::Args;
use rayon::prelude::*;

use super::batch::find::{Found, find};
use super::with_output;
use crate::cli::RowFormat;
use crate::metrics::batch::{Duplicate, Failed};
use crate::metrics::partial::{Partial, merge};
use crate::output::partial as output;
use crate::output::{rows, words};
use crate::source::Source;
use one::{failed, one};

/// `analyze partial`
#[derive(Debug, Args)]
pub struct Arguments {
    /// Traces, and directories to search for .ljt files, however deep. Parts of one recording are joined, copies left out.
    /// - alone is one trace from standard input
    #[arg(required = true, value_name = "TRACE")]
    pub traces: Vec<PathBuf>,
    /// What a trace from standard input is called
    #[arg(long, value_name = "NAME")]
    pub input_name: Option<String>,
    /// Whose the rows are
    #[command(flatten)]
    pub labels: Labels,
    /// How to write them
    #[arg(long, value_enum, default_value = "csv")]
    pub format: RowFormat,
    /// Write to FILE; - is standard output, for Parquet too
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Whose rows are, where somebody knows better than the trace
#[derive(Debug, Clone, Default, Args)]
pub struct Labels {
    /// The service [default: the program of the trace's first process]
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// The node [default: the host's name in the trace]
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// The build, such as a release's name [default: the build id of the process's executable]
    #[arg(long, value_name = "NAME")]
    pub build: Option<String>,
}

/// The rows of traces.
#[derive(Debug, Default)]
struct Gathered {
    partial: Partial,
    traces: usize,
    /// Those of them that could not be read, are incomplete, or contradicted.
    not_whole: usize,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.format == RowFormat::Parquet && arguments.output.is_none() {
        bail!("Parquet is no text: name a file with -o, or - for standard output");
    }
    let is_stream = |path: &PathBuf| path.as_os_str() == "-";
    let gathered = match &arguments.traces[..] {
        [one] if is_stream(one) => of_stream(arguments),
        several if several.iter().any(is_stream) => bail!("- is one trace: name it alone"),
        _ if arguments.input_name.is_some() => bail!("--input-name is for a trace from standard input, which is -"),
        paths => of_files(paths, &arguments.labels)?,
    };
    let Gathered { partial, traces, not_whole } = gathered;
    with_output(arguments.output.as_deref(), |out| match arguments.format {
        RowFormat::Csv => rows::csv(output::frame(&partial)?, out),
        RowFormat::Jsonl => output::jsonl(&partial, out),
        RowFormat::Parquet => rows::parquet(output::frame(&partial)?, out),
    })?;
    if not_whole == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let traces = words::count(traces as u64, "trace");
    eprintln!("analyze: {not_whole} of {traces} could not be read or not whole; the rows say why");
    Ok(ExitCode::from(2))
}

/// The rows of a trace from standard input.
fn of_stream(arguments: &Arguments) -> Gathered {
    let name = arguments.input_name.clone().unwrap_or_else(|| "standard input".to_owned());
    gather(vec![rows_of(&Source(vec![PathBuf::from("-")]), name, &arguments.labels)], Vec::new(), &arguments.labels)
}

/// The rows of all recordings in files and directories, as `analyze batch` finds them.
fn of_files(paths: &[PathBuf], labels: &Labels) -> Result<Gathered> {
    let Found { recordings, duplicates, failed } = find(paths);
    if recordings.is_empty() && failed.is_empty() {
        bail!("there is no .ljt file in what was named: name traces, or directories of them");
    }
    for Duplicate { path, of } in duplicates {
        eprintln!("analyze: {path} is left out: it is {of} again");
    }
    let all = recordings.par_iter().map(|recording| rows_of(&recording.source(), recording.name(), labels));
    Ok(gather(all.collect(), failed, labels))
}

/// The rows of a trace, and whether it is whole.
fn rows_of(source: &Source, name: String, labels: &Labels) -> Result<(Partial, bool), Failed> {
    // A mistake of ours in one must not cost the others.
    let caught = catch_unwind(AssertUnwindSafe(|| one(source, name.clone(), labels)));
    let rows = caught.unwrap_or_else(|_| Err(anyhow!("analyze panicked over it: this is a bug of ljscope")));
    rows.map_err(|error| Failed { path: name, reason: format!("{error:#}") })
}

/// All rows together; what could not be read has one.
fn gather(read: Vec<Result<(Partial, bool), Failed>>, unreadable: Vec<Failed>, labels: &Labels) -> Gathered {
    let traces = read.len() + unreadable.len();
    let mut not_whole = 0;
    let rows = read.into_iter().chain(unreadable.into_iter().map(Err)).map(|rows| {
        let (partial, is_whole) = rows.unwrap_or_else(|why| (failed(&why, labels), false));
        not_whole += usize::from(!is_whole);
        partial
    });
    Gathered { partial: merge(rows), traces, not_whole }
}
