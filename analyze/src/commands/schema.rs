//! `analyze schema`: the JSON Schema of a command's output.

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;
use clap::builder::PossibleValuesParser;

use super::with_output;
use crate::output::schema;

/// `analyze schema`
#[derive(Debug, Args)]
pub struct Arguments {
    /// The command whose JSON it describes; of `events` and `partial`, a line of it
    #[arg(value_parser = PossibleValuesParser::new(schema::ALL.map(|(command, _)| command)))]
    pub command: String,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let text = schema::text(&arguments.command).context("this command writes no JSON")?;
    with_output(None, |out| Ok(out.write_all(text.as_bytes())?))?;
    Ok(ExitCode::SUCCESS)
}
