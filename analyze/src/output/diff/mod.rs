//! A [`DiffReport`], in every form.

mod json;
mod rows;
mod text;
pub mod words;

use std::io::Write;

use anyhow::Result;
use polars::prelude::DataFrame;

use super::{Options, Output, svg};
use crate::metrics::diff::DiffReport;
use crate::report::Origin;

pub use json::Document;

impl Output for DiffReport {
    /// That of A; each form begins with both.
    fn origin(&self) -> Origin<'_> {
        self.a.origin()
    }

    fn text(&self, options: &Options, out: &mut dyn Write) -> Result<()> {
        Ok(text::write(self, options, out)?)
    }

    fn json(&self, _: &Options, out: &mut dyn Write) -> Result<()> {
        Ok(super::json::document(&Document::of(self), out)?)
    }

    fn rows(&self) -> Result<DataFrame> {
        rows::frame(self)
    }

    fn svg(&self, out: &mut dyn Write) -> Result<()> {
        svg::write_diff(self, out)
    }
}
