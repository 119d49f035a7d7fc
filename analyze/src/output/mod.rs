//! Writes a [`Report`] in the form that was asked for. A format is one file or folder here and one line in [`write`].
//!
//! Parquet is not among them: it is a tree of files, not a stream.

pub mod csv;
pub mod json;
pub mod svg;
pub mod text;
pub mod words;

use std::io::Write;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::report::Report;

/// How a report is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a terminal: the verdict, tables and bars.
    #[default]
    Text,
    /// As lj-alloc-stats prints it, with more under the key `ljscope`.
    Json,
    /// One row for each VM, population and bucket.
    Csv,
    /// A picture: one sheet for each VM.
    Svg,
}

/// What shapes an output apart from its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// JSON without the key `ljscope`.
    pub compat: bool,
    /// Colours in text: set it if a terminal reads it and `NO_COLOR` is unset.
    pub color: bool,
    /// Columns that text may fill.
    pub width: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { compat: false, color: false, width: 80 }
    }
}

/// Writes a report.
pub fn write(report: &Report, format: Format, options: &Options, out: &mut dyn Write) -> Result<()> {
    match format {
        Format::Text => text::write(report, options, out).context("cannot write the text")?,
        Format::Json => json::write(report, options.compat, out).context("cannot write the JSON")?,
        Format::Csv => csv::write(report, out).context("cannot write the CSV")?,
        Format::Svg => svg::write(report, out).context("cannot write the SVG")?,
    }
    out.flush().context("cannot write the output")
}

#[cfg(test)]
mod sample;
