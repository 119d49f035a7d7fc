//! What was found in a trace: the one thing every output writes.

use shared::Nanos;
use shared::trace::meta::{Header, Process, Vm};

use crate::metrics::population::Populations;
use crate::replay::verdict::Verdict;

/// Everything an output may need.
#[derive(Debug, Clone)]
pub struct Report {
    /// The trace's name.
    pub source: String,
    /// What the trace says of itself.
    pub header: Header,
    /// The recorded processes.
    pub processes: Vec<Process>,
    /// How far the rest can be trusted.
    pub verdict: Verdict,
    /// The VMs asked for.
    pub vms: Vec<VmReport>,
}

/// A VM at a moment.
#[derive(Debug, Clone)]
pub struct VmReport {
    /// Its number in the trace.
    pub number: u32,
    /// What it is.
    pub vm: Vm,
    /// The moment, and how its heap is known.
    pub moment: Moment,
    /// Its heap in numbers.
    pub populations: Populations,
}

/// A moment at which a heap is known exactly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// The time of the last call before it, or of the keyframe.
    pub time: Nanos,
    /// The time that was asked for.
    pub asked: Asked,
    /// Calls replayed from the keyframe before; 0 if this is the keyframe itself.
    pub calls_since_keyframe: u64,
    /// Why this is not the moment that was asked for, if it is not.
    pub short_of: Option<String>,
}

/// The moment asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Asked {
    /// The end of the trace; where the target had ended, the peak.
    #[default]
    Default,
    /// The end of the trace.
    End,
    /// The most bytes in use.
    Peak,
    /// This time, from the start of the recording.
    At(Nanos),
}

impl VmReport {
    /// `http of nginx (pid 123)`
    pub fn title(&self, processes: &[Process]) -> String {
        let process = processes.iter().find(|process| process.pid == self.vm.pid);
        let program = process.map_or("?", |process| &process.program);
        if self.vm.label == program || self.vm.label.is_empty() {
            format!("{program} (pid {})", self.vm.pid)
        } else {
            format!("{} VM of {program} (pid {})", self.vm.label, self.vm.pid)
        }
    }
}
