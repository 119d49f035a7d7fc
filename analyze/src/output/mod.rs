//! Writes what a command found in the form that was asked for: one [`Output`] for each command, one folder here for each
//! of its forms or for each command that has several files of its own.

pub mod batch;
pub mod breakdown;
pub mod csv;
pub mod diff;
pub mod growth;
pub mod html;
pub mod info;
pub mod json;
pub mod lifetimes;
pub mod map;
pub mod objects;
pub mod partial;
pub mod rates;
pub mod rows;
pub mod schema;
pub mod sites;
pub mod svg;
pub mod text;
pub mod timeline;
pub mod words;

use std::io::Write;

use anyhow::{Context, Result};
use clap::ValueEnum;
use polars::prelude::DataFrame;

use crate::report::{Origin, Report};

/// How a report is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For a terminal: the verdict, tables and bars.
    #[default]
    Text,
    /// As lj-alloc-stats prints it, with more under the key `ljscope`.
    Json,
    /// Rows, a header line first.
    Csv,
    /// A picture.
    Svg,
    /// The same rows, for programs that read tables; needs -o.
    Parquet,
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

/// What a command found, in every form it is written in. All forms have the same figures.
pub trait Output {
    /// What each form begins with.
    fn origin(&self) -> Origin<'_>;
    /// For a terminal, in [`Options::width`] columns.
    fn text(&self, options: &Options, out: &mut dyn Write) -> Result<()>;
    /// One document, its verdict first.
    fn json(&self, options: &Options, out: &mut dyn Write) -> Result<()>;
    /// Rows, for CSV and Parquet. Amounts are `i64`.
    fn rows(&self) -> Result<DataFrame>;
    /// A picture without fonts; only a flame graph has a script, to look closer at a part.
    fn svg(&self, out: &mut dyn Write) -> Result<()>;
    /// The picture as a part of a page, without any script.
    fn figure(&self, out: &mut dyn Write) -> Result<()> {
        self.svg(out)
    }
}

/// Writes what was found.
pub fn write(found: &dyn Output, format: Format, options: &Options, out: &mut dyn Write) -> Result<()> {
    match format {
        Format::Text => found.text(options, out).context("cannot write the text")?,
        Format::Json => found.json(options, out).context("cannot write the JSON")?,
        Format::Csv => rows::csv(found.rows()?, out).context("cannot write the CSV")?,
        Format::Svg => found.svg(out).context("cannot write the SVG")?,
        Format::Parquet => rows::parquet(found.rows()?, out).context("cannot write the Parquet")?,
    }
    out.flush().context("cannot write the output")
}

impl Output for Report {
    fn origin(&self) -> Origin<'_> {
        Origin { source: &self.source, header: &self.header, verdict: &self.verdict }
    }

    fn text(&self, options: &Options, out: &mut dyn Write) -> Result<()> {
        Ok(text::write(self, options, out)?)
    }

    fn json(&self, options: &Options, out: &mut dyn Write) -> Result<()> {
        Ok(json::write(self, options.compat, out)?)
    }

    fn rows(&self) -> Result<DataFrame> {
        csv::frame(self)
    }

    fn svg(&self, out: &mut dyn Write) -> Result<()> {
        svg::write(self, out)
    }
}

#[cfg(test)]
mod sample;
