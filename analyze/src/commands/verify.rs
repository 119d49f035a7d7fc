//! `analyze verify`: replays everything, compares with every keyframe.

use std::process::ExitCode;

use anyhow::Result;

use super::{exit_code, options, with_output};
use crate::cli::{TextOrJson, VerifyArguments};
use crate::output;
use crate::replay::Plan;
use crate::replay::state::whole;
use crate::report::Report;
use crate::source::Source;

/// Runs the command.
pub fn run(arguments: &VerifyArguments) -> Result<ExitCode> {
    let source = Source(arguments.trace.clone());
    let trace = source.open()?;
    let plan = Plan::new(&trace)?;
    let report = Report {
        source: source.to_string(),
        header: trace.header.clone(),
        verdict: whole(&trace, &plan).verdict,
        processes: plan.processes,
        vms: Vec::new(),
    };
    with_output(None, |out| match arguments.format {
        TextOrJson::Text => Ok(output::text::verdict(&report, &options(None), out)?),
        TextOrJson::Json => {
            let document = serde_json::json!({
                "source": report.source,
                "judgement": report.verdict.judgement(),
                "verdict": report.verdict,
            });
            serde_json::to_writer_pretty(&mut *out, &document)?;
            Ok(writeln!(out)?)
        }
    })?;
    Ok(exit_code(&report.verdict))
}
