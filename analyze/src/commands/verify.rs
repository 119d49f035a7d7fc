//! `analyze verify`: replays everything, compares with every keyframe.

use std::process::ExitCode;

use anyhow::Result;

use super::{exit_code, with_output};
use crate::cli::{TextOrJson, VerifyArguments};
use crate::output;
use crate::replay::Plan;
use crate::replay::state::whole;
use crate::source::Source;

/// Runs the command.
pub fn run(arguments: &VerifyArguments) -> Result<ExitCode> {
    let source = Source(arguments.trace.clone());
    let trace = source.open()?;
    let plan = Plan::new(&trace)?;
    let verdict = whole(&trace, &plan).verdict;
    with_output(None, |out| match arguments.format {
        TextOrJson::Text => output::text::verdict(&source.to_string(), &verdict, out),
        TextOrJson::Json => {
            let document = serde_json::json!({
                "source": source.to_string(),
                "judgement": verdict.judgement(),
                "verdict": verdict,
            });
            serde_json::to_writer_pretty(&mut *out, &document)?;
            Ok(writeln!(out)?)
        }
    })?;
    Ok(exit_code(&verdict))
}
