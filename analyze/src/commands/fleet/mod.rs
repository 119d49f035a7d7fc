//! `analyze report --from-partials`: the page of a fleet, from the rows of `analyze partial`.

mod dataset;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};

use super::with_output;
use crate::metrics::partial::fleet::Fleet;
use crate::output::html::fleet::{self, Page};
use crate::source::shown;

/// Draws the page of a data set: a Parquet file, or a directory of them, however deep.
pub(super) fn run(path: &Path, output: Option<&Path>) -> Result<ExitCode> {
    let files = dataset::files(path)?;
    if files.is_empty() {
        bail!("{} has no Parquet file in it: name what `analyze partial` rows were written to", shown(path));
    }
    let mut fleet = Fleet::default();
    for file in &files {
        dataset::read(file, |key, figure| fleet.observe(key, figure))?;
    }
    if fleet.rows == 0 {
        bail!("{} has no rows: no trace was analysed", shown(path));
    }
    let page = Page { source: shown(path), files: files.len() as u64, fleet: &fleet };
    with_output(output, |out| fleet::write(&page, out))?;
    Ok(if fleet.troubles.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(2) })
}
