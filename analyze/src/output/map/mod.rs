//! A [`MapReport`], in every form.

mod json;
mod rows;
mod text;
pub mod words;

use std::io::Write;

use anyhow::Result;
use polars::prelude::DataFrame;

use super::{Options, Output, svg};
use crate::report::{MapReport, Origin};

pub use json::Document;

/// Segments that stand out are told one by one, in text and pictures, up to this many of all moments.
pub const TOLD: usize = 12;

impl Output for MapReport {
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
        rows::frame(self)
    }

    fn svg(&self, out: &mut dyn Write) -> Result<()> {
        svg::write_map(self, out)
    }
}
