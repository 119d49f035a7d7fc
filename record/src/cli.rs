//! The command line.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{ArgGroup, Parser, ValueEnum};

use crate::governor::Limits;
use crate::recording::Rotate;
use crate::session::Mode;
use crate::stacks::Rate;

/// How to record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ModeName {
    /// One exact heap snapshot, no probe
    Snapshot,
    /// Windows of recorded calls, each from a heap snapshot on, within --max-overhead
    Sample,
    /// Every call from start to end, whatever it costs
    Full,
}

impl ModeName {
    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            ModeName::Snapshot => "snapshot",
            ModeName::Sample => "sample",
            ModeName::Full => "full",
        }
    }
}

/// Records what running LuaJIT processes ask of their allocator, with exact heap snapshots, into a trace for `analyze`
///
/// Needs no symbols, headers or restart. Nothing of the memory's content is recorded: addresses, sizes and times only.
/// Nothing stays behind in the process, however this program ends.
///
/// Exit status: 0 recorded; 1 failed, no trace; 2 recorded, but incomplete.
#[derive(Debug, Clone, Parser)]
#[command(name = "record", version, max_term_width = 100)]
#[command(group(ArgGroup::new("target").required(true).args(["pid", "name", "command", "program"])))]
pub struct Arguments {
    /// Attach to the processes PID, all they have started, and all they start later; of an nginx its master
    #[arg(short, long, value_delimiter = ',')]
    pub pid: Vec<i32>,

    /// Attach to all processes whose program is called NAME, and those started later
    #[arg(long)]
    pub name: Option<String>,

    /// Start a shell command and record the LuaJIT processes in it
    #[arg(short, long, value_name = "SHELL CMD")]
    pub command: Option<String>,

    /// Start a program and record it
    #[arg(last = true, value_name = "CMD")]
    pub program: Vec<String>,

    /// What to record
    #[arg(long, value_enum, default_value = "sample")]
    pub mode: ModeName,

    /// Stop after DURATION, such as 30s or 5m
    #[arg(short, long, value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,

    /// Sample: the share of its time that each process may lose, over any 60 seconds
    #[arg(long, value_name = "SHARE", default_value = "1%", value_parser = parse_share)]
    pub max_overhead: f64,

    /// The longest that a process may be stopped for a snapshot; a heap that cannot be copied in that time is not
    #[arg(long, value_name = "DURATION", default_value = "50ms", value_parser = humantime::parse_duration)]
    pub max_pause: Duration,

    /// Sample: the longest window
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub window: Duration,

    /// Sample: the shortest time from the start of one window to the next
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = humantime::parse_duration)]
    pub every: Duration,

    /// Full: the time between two snapshots
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub keyframe_every: Duration,

    /// The time between two looks at where the whole memory of each process goes
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    pub breakdown_every: Duration,

    /// Write the trace to FILE; - for standard output [default: PROGRAM-PID.ljt]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Overwrite FILE
    #[arg(long)]
    pub force: bool,

    /// End before the trace is larger than SIZE, such as 500MiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub max_size: Option<u64>,

    /// Begin a new part, a trace of its own in FILE.001.ljt, FILE.002.ljt and so on, after SIZE or TIME
    #[arg(long, value_name = "SIZE|TIME", value_parser = parse_rotate)]
    pub rotate: Option<Rotate>,

    /// Also record who calls: the stack of one call of N, or, with auto, of as many as add at most 3 % to what a call costs;
    /// places in code only, nothing of what is on the stack
    #[arg(long, value_name = "1/N|auto", value_parser = str::parse::<Rate>)]
    pub stacks: Option<Rate>,

    /// With --stacks: keep the files that stacks lead through beside the trace, in FILE.symbols, for names to be looked up
    /// in elsewhere
    #[arg(long, requires = "stacks")]
    pub collect_symbols: bool,

    /// Leave out host, command lines and folders, and move each heap by a random distance; replays stay exact
    #[arg(long)]
    pub anonymize: bool,

    /// Also record where functions were written: names of source files or chunks and line numbers, nothing of their text
    #[arg(long)]
    pub names: bool,

    /// Say how it goes as JSON on standard error, a line a second, and a line for each event
    #[arg(long)]
    pub json_status: bool,
}

impl Arguments {
    /// Refuses what does not go together.
    pub fn check(&self) -> Result<()> {
        let stdout = self.output.as_ref().is_some_and(|path| path.as_os_str() == "-");
        if stdout && self.collect_symbols {
            bail!("a stream has no place for files beside it: give --collect-symbols a file with -o FILE");
        }
        if stdout && self.rotate.is_some() {
            bail!("a stream has no parts: give --rotate a file with -o FILE");
        }
        if self.stacks.is_some() && self.mode == ModeName::Snapshot {
            bail!("a snapshot sees no calls: --stacks goes with --mode sample or full");
        }
        if self.max_pause < Duration::from_millis(1) {
            bail!("--max-pause {:?} is too short to stop a process at all: at least 1ms", self.max_pause);
        }
        if self.breakdown_every < Duration::from_millis(100) {
            bail!("--breakdown-every {:?} is too often: at least 100ms", self.breakdown_every);
        }
        if self.window < Duration::from_millis(1) || self.every < Duration::from_millis(10) {
            bail!("--window takes at least 1ms, --every at least 10ms");
        }
        Ok(())
    }

    /// The number of the first part: 1 if there may be others, else 0.
    pub fn first_part(&self) -> u64 {
        u64::from(self.rotate.is_some())
    }

    /// How to record.
    pub fn mode(&self) -> Mode {
        match self.mode {
            ModeName::Snapshot => Mode::Snapshot,
            ModeName::Sample => Mode::Sample,
            ModeName::Full => Mode::Full { keyframe_every: self.keyframe_every },
        }
    }

    /// What the user allows.
    pub fn limits(&self) -> Limits {
        let ns = |duration: Duration| duration.as_nanos() as u64;
        Limits {
            share: self.max_overhead,
            window: ns(self.window),
            every: ns(self.every),
            max_pause: ns(self.max_pause),
        }
    }

    /// The options that shape the trace, for its header.
    pub fn options(&self) -> BTreeMap<String, String> {
        let ns = |duration: Duration| duration.as_nanos().to_string();
        let mut options = BTreeMap::from([("max_pause_ns".to_owned(), ns(self.max_pause))]);
        options.extend(self.names.then(|| ("names".to_owned(), true.to_string())));
        match self.mode {
            ModeName::Snapshot => return options,
            ModeName::Full => {
                options.insert("keyframe_every_ns".into(), ns(self.keyframe_every));
            }
            ModeName::Sample => {
                options.insert("max_overhead_ppm".into(), ((self.max_overhead * 1e6).round() as u64).to_string());
                options.insert("window_ns".into(), ns(self.window));
                options.insert("every_ns".into(), ns(self.every));
            }
        }
        if let Some(rate) = self.stacks {
            options.insert("stacks".into(), rate.to_string());
        }
        options.insert("breakdown_every_ns".into(), ns(self.breakdown_every));
        options
    }
}

/// `1%`, `0.5%`, or a plain share such as `0.01`.
fn parse_share(text: &str) -> Result<f64> {
    let wrong = || anyhow::anyhow!("`{text}` is no share: say 1% or 0.5%");
    let share = match text.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map_err(|_| wrong())? / 100.0,
        None => text.parse().map_err(|_| wrong())?,
    };
    if (0.0001..=0.5).contains(&share) { Ok(share) } else { bail!("{text}: from 0.01% to 50%") }
}

/// What a size means on the command line: bytes, or with a unit such as `100MiB`.
fn parse_size(text: &str) -> Result<u64> {
    match text.parse::<bytesize::ByteSize>() {
        Ok(size) if size.as_u64() >= 1 << 20 => Ok(size.as_u64()),
        Ok(size) => bail!("{size} is too little for a trace: at least 1MiB"),
        Err(error) => bail!("`{text}` is no size: {error}; say 100MiB or 2G"),
    }
}

/// A size or a time on the command line.
fn parse_rotate(text: &str) -> Result<Rotate> {
    match humantime::parse_duration(text) {
        Ok(time) if time >= Duration::from_secs(1) => Ok(Rotate::Time(time)),
        Ok(_) => bail!("`{text}` is too short for a part: at least 1s"),
        Err(_) => match parse_size(text) {
            Ok(bytes) => Ok(Rotate::Bytes(bytes)),
            Err(_) => bail!("`{text}` is neither a size such as 100MiB nor a time such as 1h"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_percent_or_plain() {
        assert_eq!(parse_share("1%").unwrap(), 0.01);
        assert_eq!(parse_share("0.05").unwrap(), 0.05);
        for wrong in ["", "%", "one", "100%", "0%", "nan", "-1%"] {
            assert!(parse_share(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }
}
