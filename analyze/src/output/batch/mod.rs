//! Many traces: in text and as JSON for those who started it, as rows in the directory. All have the same figures.

mod json;
mod rows;
#[cfg(test)]
pub(crate) mod sample;
mod text;

pub use json::{Document, write as json};
pub use rows::{duplicates, failed, histograms, outliers, summary};
pub use text::write as text;
