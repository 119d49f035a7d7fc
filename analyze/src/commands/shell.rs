//! `analyze completions` and `analyze man`: the command line, for shells and for `man`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::with_output;

/// `analyze completions`
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell, whose script goes to standard output: `analyze completions bash
    /// >/etc/bash_completion.d/analyze`
    #[arg(value_enum)]
    pub shell: Shell,
}

/// `analyze man`
#[derive(Debug, Args)]
pub struct Pages {
    /// Write a page for each command to DIR [default: the first one to standard output]
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// Writes a shell's completions.
pub fn completions(arguments: &Completions) -> Result<ExitCode> {
    let mut command = crate::cli::Arguments::command();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "analyze", &mut script);
    with_output(None, |out| Ok(out.write_all(&script)?))?;
    Ok(ExitCode::SUCCESS)
}

/// Writes the manual: `analyze.1`, `analyze-stats.1` and so on.
pub fn man(arguments: &Pages) -> Result<ExitCode> {
    let command = crate::cli::Arguments::command();
    let Some(folder) = &arguments.output else {
        with_output(None, |out| Ok(Man::new(command).render(&mut &mut *out)?))?;
        return Ok(ExitCode::SUCCESS);
    };
    std::fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    clap_mangen::generate_to(command, folder).with_context(|| format!("cannot write to {}", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}
