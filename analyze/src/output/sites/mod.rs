//! A [`SitesReport`], in every form.

mod json;
mod rows;
mod text;
pub mod words;

use std::io::Write;

use anyhow::Result;
use polars::prelude::DataFrame;

use super::{Options, Output, svg};
use crate::metrics::sites::SitesReport;
use crate::report::Origin;

pub use json::Document;

impl Output for SitesReport {
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
        svg::write_sites(self, svg::Reader::Alone, out)
    }

    fn figure(&self, out: &mut dyn Write) -> Result<()> {
        svg::write_sites(self, svg::Reader::Page, out)
    }
}

#[cfg(test)]
pub(super) mod sample;
