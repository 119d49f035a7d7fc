//! `analyze batch`: any number of traces at once.

pub(super) mod find;
pub(super) mod one;
mod place;
mod work;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::{options, with_output};
use crate::cli::TextOrJson;
use crate::metrics::batch::outliers::outliers;
use crate::metrics::batch::{BatchReport, Failed};
use crate::output::batch as output;
use crate::replay::verdict::Judgement;
use crate::source::shown;
use find::{Found, find};
use one::Done;
use place::Place;
use work::{Became, Work};

/// `analyze batch`
#[derive(Debug, Args)]
pub struct Arguments {
    /// Traces, and directories to search for .ljt files, however deep. Parts of one recording are joined
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// The directory to write to: a new or an empty one, or that of an earlier batch. What is in it already and has not
    /// changed is not replayed again
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Replay also what has not changed since an earlier batch
    #[arg(long)]
    pub again: bool,
    /// Also draw each trace, as `stats --format svg` does
    #[arg(long, alias = "svg")]
    pub pictures: bool,
    /// How to say what was found
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJson,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let stop = Arc::new(AtomicUsize::new(0));
    catch(&stop).context("cannot catch signals")?;
    let report = report(arguments, &stop)?;
    with_output(None, |out| match arguments.format {
        TextOrJson::Text => Ok(output::text(&report, &options(None), out)?),
        TextOrJson::Json => Ok(output::json(&report, out)?),
    })?;
    let signal = stop.load(Ordering::Relaxed);
    if report.left > 0 && signal != 0 {
        eprintln!("analyze: stopped; what is finished is in {}, run it again to go on", report.folder);
        return Ok(ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX)));
    }
    Ok(match report.judgement() {
        _ if report.traces.is_empty() => ExitCode::FAILURE,
        Judgement::Verified | Judgement::Consistent => ExitCode::SUCCESS,
        Judgement::Incomplete | Judgement::Contradicted => ExitCode::from(2),
    })
}

/// Goes through all traces and writes the tables. `stop` becomes a signal's number when it is to end early: what is
/// finished by then is in the tables.
pub fn report(arguments: &Arguments, stop: &Arc<AtomicUsize>) -> Result<BatchReport> {
    let Found { recordings, duplicates, failed } = find(&arguments.paths);
    if recordings.is_empty() && failed.is_empty() {
        bail!("there is no .ljt file in what was named: name traces, or directories of them");
    }
    let place = Place::take(&arguments.output)?;
    let bytes = recordings.iter().map(find::Recording::bytes).fold(0, u64::saturating_add);
    let progress = Progress::new(recordings.len(), bytes);
    let work = Arc::new(Work {
        recordings,
        place: place.clone(),
        pictures: arguments.pictures,
        again: arguments.again,
        stop: Arc::clone(stop),
    });
    let mut report = BatchReport { folder: shown(&place.folder), failed, duplicates, ..BatchReport::default() };
    let mut results = BTreeMap::new();
    let mut bad = BTreeMap::new();
    work::all(Arc::clone(&work), |at, became| {
        progress.finished(work.recordings[at].bytes());
        report.kept += u64::from(matches!(became, Became::Kept(_)));
        match became {
            Became::Done(Done { result, heaps }) | Became::Kept(Done { result, heaps }) => {
                report.heaps.merge(&heaps);
                results.insert(at, result);
            }
            Became::Failed(error) => {
                let path = work.recordings[at].name();
                bad.insert(at, Failed { path, reason: format!("{error:#}") });
            }
        }
    })?;
    progress.end();
    report.left = (work.recordings.len() - results.len() - bad.len()) as u64;
    report.traces = results.into_values().collect();
    report.failed.extend(bad.into_values());
    report.outliers = outliers(&report.traces);
    place.table("summary", output::summary(&report)?)?;
    place.table("histograms", output::histograms(&report)?)?;
    place.csv("outliers", output::outliers(&report)?)?;
    place.csv("failed", output::failed(&report)?)?;
    place.csv("duplicates", output::duplicates(&report)?)?;
    Ok(report)
}

/// Ctrl-C ends it early; a second one at once.
fn catch(stop: &Arc<AtomicUsize>) -> std::io::Result<()> {
    for signal in [SIGINT, SIGTERM] {
        let again = Arc::new(std::sync::atomic::AtomicBool::new(false));
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&again))?;
        flag::register(signal, again)?;
        flag::register_usize(signal, Arc::clone(stop), signal as usize)?;
    }
    Ok(())
}

/// How far it is, on a terminal only.
struct Progress(ProgressBar);

impl Progress {
    fn new(files: usize, bytes: u64) -> Progress {
        // indicatif writes to standard error, and nothing if that is no terminal.
        // With all of its words before it is first drawn.
        let bar = ProgressBar::new(bytes).with_prefix(format!(" of {files} traces")).with_message("0");
        let template = "{msg}{prefix} {wide_bar} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(std::time::Duration::from_millis(200));
        Progress(bar)
    }

    fn finished(&self, bytes: u64) {
        self.0.inc(bytes);
        let done = self.0.message().parse::<u64>().unwrap_or(0) + 1;
        self.0.set_message(done.to_string());
    }

    fn end(&self) {
        self.0.finish_and_clear();
    }
}
