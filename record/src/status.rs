//! How it goes, while it goes: a line that renews itself on a terminal, JSON for supervisors, else nothing.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use bytesize::ByteSize;
use nix::unistd::Pid;
use serde_json::json;

use crate::cli::Arguments;
use crate::progress::Figures;
use crate::recording::Recording;
use crate::report::Summary;

/// How often it is renewed.
const EVERY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Quiet,
    Line,
    Json,
}

/// The status on standard error.
#[derive(Debug)]
pub struct Status {
    kind: Kind,
    started: Instant,
    last: Instant,
    /// Whether a line stands on the terminal that is to be written over.
    shown: bool,
}

impl Status {
    /// As the arguments and the terminal want it.
    pub fn new(arguments: &Arguments) -> Status {
        let kind = match (arguments.json_status, std::io::stderr().is_terminal()) {
            (true, _) => Kind::Json,
            (false, true) => Kind::Line,
            (false, false) => Kind::Quiet,
        };
        Status { kind, started: Instant::now(), last: Instant::now(), shown: false }
    }

    /// Says that a process is being recorded.
    pub fn say(&mut self, text: &str) {
        self.clear();
        match self.kind {
            Kind::Json => self.json(&json!({ "event": "recording", "text": text })),
            _ => crate::say!("{text}"),
        }
    }

    /// Says where the trace goes: from now on there is one.
    pub fn writing(&mut self, recording: &Recording) {
        match self.kind {
            Kind::Json => self.json(&json!({ "event": "trace", "trace": recording.output().to_string() })),
            _ => crate::say!("trace: {}", recording.output()),
        }
    }

    /// Says what the recording was.
    pub fn summary(&mut self, summary: &Summary<'_>) {
        self.clear();
        match self.kind {
            Kind::Json => self.json(&json!({
                "event": "summary", "incomplete": summary.is_incomplete(), "text": summary.text(),
                "reason": summary.trailer.reason, "cost": summary.trailer.cost, "bytes": summary.recording.bytes(),
                "calls": summary.recording.calls(),
                "processes": summary.figures.iter().map(process).collect::<Vec<_>>(),
            })),
            _ => crate::say_on!("\n{}", summary.text()),
        }
    }

    /// Says that a process has ended.
    pub fn ended(&mut self, pid: Pid) {
        self.clear();
        match self.kind {
            Kind::Json => self.json(&json!({ "event": "ended", "pid": pid.as_raw() })),
            Kind::Line => crate::say!("process {pid}: ended"),
            Kind::Quiet => {}
        }
    }

    /// Renews it if it is time.
    pub fn tick(&mut self, figures: &[Figures], recording: &Recording) {
        if self.kind == Kind::Quiet || self.last.elapsed() < EVERY {
            return;
        }
        self.last = Instant::now();
        let running: Vec<&Figures> = figures.iter().filter(|one| one.ended.is_none()).collect();
        let sum = |of: fn(&Figures) -> u64| figures.iter().map(of).sum::<u64>();
        let (windows, calls, lost) = (sum(|one| one.windows), sum(|one| one.calls), sum(|one| one.lost));
        let worst = running.iter().map(|one| share(one)).fold(0.0, f64::max);
        let longest = figures.iter().map(|one| one.cost.longest_pause_ns).max().unwrap_or_default();
        match self.kind {
            Kind::Json => {
                let processes: Vec<_> = figures.iter().map(process).collect();
                self.json(&json!({
                    "event": "status", "elapsed_s": self.started.elapsed().as_secs_f64(),
                    "windows": windows, "calls": calls, "lost": lost, "bytes": recording.bytes(),
                    "overhead": worst, "longest_pause_ns": longest, "processes": processes,
                }));
            }
            _ => {
                let elapsed = humantime::format_duration(Duration::from_secs(self.started.elapsed().as_secs()));
                let open = if running.iter().any(|one| one.in_window) { ", one open" } else { "" };
                let lost = if lost > 0 { format!(", {lost} LOST") } else { String::new() };
                crate::say_on!(
                    "\r\x1b[K{elapsed}: {} processes, {windows} windows{open}, {calls} calls{lost}, {:.2} % spent, {}",
                    running.len(),
                    worst * 100.0,
                    ByteSize(recording.bytes()),
                );
                let _ = std::io::stderr().flush();
                self.shown = true;
            }
        }
    }

    fn json(&self, value: &serde_json::Value) {
        crate::say!("{value}");
    }

    /// Removes the line, so that something else can be written.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            crate::say_on!("\r\x1b[K");
        }
    }
}

/// The share of its time that a process has lost so far.
fn share(figures: &Figures) -> f64 {
    let cost = &figures.cost;
    (cost.hits * cost.hit_ns + cost.paused_ns) as f64 / cost.elapsed_ns.max(1) as f64
}

fn process(figures: &Figures) -> serde_json::Value {
    json!({
        "pid": figures.pid, "program": figures.program, "vms": figures.vms, "windows": figures.windows,
        "in_window": figures.in_window, "calls": figures.calls, "lost": figures.lost, "overhead": share(figures),
        "pauses": figures.cost.pauses, "longest_pause_ns": figures.cost.longest_pause_ns,
        "missed_keyframes": figures.missed.all, "ended": figures.ended,
    })
}
