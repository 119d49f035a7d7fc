//! A [`BreakdownReport`], in every form.

mod csv;
mod json;
mod tables;
mod text;
pub mod words;

use std::io::Write;

use anyhow::Result;
use polars::prelude::DataFrame;

use super::{Options, Output, svg};
use crate::report::{BreakdownReport, Origin};

pub use json::Document;

impl Output for BreakdownReport {
    fn origin(&self) -> Origin<'_> {
        Origin { source: &self.source, header: &self.header, verdict: &self.verdict }
    }

    fn text(&self, options: &Options, out: &mut dyn Write) -> Result<()> {
        Ok(text::write(self, options, out)?)
    }

    fn json(&self, _: &Options, out: &mut dyn Write) -> Result<()> {
        Ok(json::write(self, out)?)
    }

    fn rows(&self) -> Result<DataFrame> {
        csv::frame(self)
    }

    fn svg(&self, out: &mut dyn Write) -> Result<()> {
        svg::write_breakdown(self, out)
    }
}
