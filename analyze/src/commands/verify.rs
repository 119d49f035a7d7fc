//! `analyze verify`: replays everything, compares with every keyframe.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use schemars::JsonSchema;
use serde::Serialize;

use super::{exit_code, options, with_output};
use crate::cli::{Input, TextOrJson};
use crate::output::{self, Output, json};
use crate::replay::Plan;
use crate::replay::state::whole;
use crate::replay::verdict::{Judgement, Verdict};
use crate::report::Report;
use crate::source::Source;

/// `analyze verify`
#[derive(Debug, Args)]
pub struct Arguments {
    /// What is read
    #[command(flatten)]
    pub input: Input,
    /// How to write it
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJson,
}

/// How far a trace can be trusted.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Document {
    /// The trace's name.
    source: String,
    /// The verdict in a word.
    judgement: Judgement,
    /// What it is based on.
    verdict: Verdict,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let source = Source::of(&arguments.input)?;
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
        TextOrJson::Text => Ok(output::text::verdict(report.origin(), &options(None), out)?),
        TextOrJson::Json => {
            let (judgement, verdict) = (report.verdict.judgement(), report.verdict.clone());
            Ok(json::document(&Document { source: report.source.clone(), judgement, verdict }, out)?)
        }
    })?;
    Ok(exit_code(&report.verdict))
}
