//! What the operator reads on standard error: what was found, and what the recording was.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use bytesize::ByteSize;
use shared::trace::meta::{Cost, Trailer};

use crate::progress::Figures;
use crate::recording::Recording;
use crate::session::{Mode, Session};

/// What is recorded of a process, once its first keyframe stands.
pub fn found(session: &Session) -> String {
    let mut text = String::new();
    for (number, vm) in session.vms() {
        let build = if vm.build.is_empty() { "LuaJIT (build not readable)" } else { &vm.build };
        let references = if vm.gc64 { "GC64" } else { "non-GC64" };
        let heap = session.heap_bytes(number).map_or(String::new(), |bytes| format!(", heap {}", ByteSize(bytes)));
        let _ = writeln!(text, "VM {number}: {} in process {}: {build}, {references}{heap}", vm.label, vm.pid);
    }
    let (name, door, confirmed) = session.door();
    let confirmed = match confirmed {
        Some(true) => "confirmed by its symbols",
        Some(false) => "CONTRADICTED by its symbols",
        None => "stripped",
    };
    let probe = session.probe();
    let emulated = if probe.emulated {
        "emulated by the kernel"
    } else {
        "NOT emulated by the kernel: hits cost several times more"
    };
    let file = name.file_name().unwrap_or(name.as_os_str()).to_string_lossy();
    let _ = writeln!(text, "door: lj_alloc_f at {door:#x} of {file} ({confirmed})");
    let _ = write!(text, "probe: {:#x} `{}`, {emulated}", probe.addr, probe.instruction);
    text
}

/// What was recorded, lost and spent.
#[derive(Debug)]
pub struct Summary<'a> {
    /// How the trace ends.
    pub trailer: &'a Trailer,
    /// Each process's figures.
    pub figures: &'a [Figures],
    /// The recording.
    pub recording: &'a Recording,
    /// What went wrong in one process while others went on.
    pub trouble: &'a [String],
    /// How it was recorded.
    pub mode: Mode,
}

impl Summary<'_> {
    fn sum(&self, of: fn(&Figures) -> u64) -> u64 {
        self.figures.iter().map(of).sum()
    }

    /// Why keyframes were not taken, and how often.
    fn missed(&self) -> BTreeMap<&str, u64> {
        let mut missed = BTreeMap::new();
        for (reason, times) in self.figures.iter().flat_map(|one| &one.missed.reasons) {
            *missed.entry(reason.as_str()).or_default() += times;
        }
        missed
    }

    /// Whether something is missing. In mode `sample` a heap too large for a pause is left out by choice, and told; in
    /// the others a keyframe is what was asked for.
    pub fn is_incomplete(&self) -> bool {
        let keyframes = !self.missed().is_empty() && self.mode != Mode::Sample;
        self.sum(|one| one.lost) > 0 || keyframes || !self.trouble.is_empty()
    }

    /// The lines an operator reads.
    pub fn text(&self) -> String {
        let mut lines = Vec::new();
        let Trailer { cost, reason, target_status, .. } = self.trailer;
        let calls = self.recording.calls();
        let status = target_status.as_ref().map_or(String::new(), |status| format!(" ({status})"));
        lines.push(format!("ended: {reason}{status}, after {:.1?}", Duration::from_nanos(cost.elapsed_ns)));
        let (lost, unattributed) = (self.sum(|one| one.lost), self.sum(|one| one.unattributed));
        lines.push(format!("calls: {calls} recorded, {lost} lost, {unattributed} of VMs not known yet"));
        if self.mode == Mode::Sample {
            lines.push(format!("windows: {}", self.sum(|one| one.windows)));
        }
        for (reason, times) in self.missed() {
            let times = if times > 1 { format!(" ({times} times)") } else { String::new() };
            lines.push(format!("missed keyframe: {reason}{times}"));
        }
        let others = self.sum(|one| one.missed.all) - self.missed().values().sum::<u64>();
        if others > 0 {
            lines.push(format!("missed keyframe: for like reasons ({others} times)"));
        }
        lines.extend(self.trouble.iter().map(|what| format!("trouble: {what}")));
        let longest = ms(cost.longest_pause_ns);
        lines.push(format!(
            "pauses: {}, {:.1} ms in all, the longest {longest:.1} ms",
            cost.pauses,
            ms(cost.paused_ns)
        ));
        match self.figures {
            [_] if cost.hit_ns == 0 => {}
            [_] => lines.push(format!("cost to the target: {}", price(cost))),
            several => lines.extend(several.iter().map(|one| {
                let ended = one.ended.as_deref().unwrap_or("goes on");
                format!("process {} ({}): {ended}; cost {}", one.pid, one.program, price(&one.cost))
            })),
        }
        let own = match cost.recorder_cpu_ns.checked_div(calls) {
            Some(ns) if self.mode != Mode::Sample => format!(", {ns} ns a call"),
            _ => {
                format!(", {:.2} % of a processor", cost.recorder_cpu_ns as f64 / cost.elapsed_ns.max(1) as f64 * 100.0)
            }
        };
        lines.push(format!("recorder: {:.0} ms of processor time{own}", ms(cost.recorder_cpu_ns)));
        let bytes = self.recording.bytes();
        let each =
            if calls == 0 { String::new() } else { format!(", {:.2} bytes a call", bytes as f64 / calls as f64) };
        lines.push(format!("trace: {}, {}{each}", self.recording.files(), ByteSize(bytes)));
        if let Some(symbols) = self.recording.symbols() {
            let (kept, missed) = symbols.summary();
            lines.push(format!("symbols: {kept}"));
            lines.extend(missed.iter().map(|what| format!("symbols: not of {what}")));
        }
        lines.into_iter().map(|line| line + "\n").collect()
    }
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// A shorter recording has no minute of which it could be told what it took.
const MINUTE: u64 = 60_000_000_000;

/// What hits and pauses took of a process.
fn price(cost: &Cost) -> String {
    let spent = cost.hits * cost.hit_ns + cost.paused_ns;
    let share = |part: f64| part * 100.0;
    let worst = match cost.worst_minute_ppm {
        ppm if ppm > 0 && cost.elapsed_ns >= MINUTE => format!(", at most {:.2} % of any minute", ppm as f64 / 1e4),
        _ => String::new(),
    };
    format!(
        "about {:.0} ms, {:.2} % of the time{worst} ({} hits of {} ns)",
        ms(spent),
        share(spent as f64 / cost.elapsed_ns.max(1) as f64),
        cost.hits,
        cost.hit_ns
    )
}
