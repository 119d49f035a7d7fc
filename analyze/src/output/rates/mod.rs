//! A [`RatesReport`], in every form.

mod csv;
mod json;
mod text;
pub mod words;

use std::io::Write;

use anyhow::Result;
use polars::prelude::DataFrame;

pub(super) use self::text::died_table;
use super::{Options, Output, svg};
use crate::report::{Origin, RatesReport};

pub use json::Document;

impl Output for RatesReport {
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
        svg::write_rates(self, out)
    }
}

#[cfg(test)]
pub(super) mod sample;
