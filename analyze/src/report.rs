//! What was found in a trace: the one thing every output writes.

use std::collections::BTreeMap;

use shared::Nanos;
use shared::trace::meta::{Header, Process, Vm};

use crate::metrics::advice::Advice;
use crate::metrics::breakdown::ProcessMemory;
use crate::metrics::breakdown::instance::Instance;
use crate::metrics::lifetimes::Lifetimes;
use crate::metrics::map::grid::Grid;
use crate::metrics::map::{By, Map};
use crate::metrics::population::Populations;
use crate::metrics::rates::Rates;
use crate::metrics::timeline::{Lane, Scale};
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

/// What an output begins with.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The trace's name.
    pub source: &'a str,
    /// What the trace says of itself.
    pub header: &'a Header,
    /// How far the rest can be trusted.
    pub verdict: &'a Verdict,
}

/// What programs ask of their allocators.
#[derive(Debug, Clone)]
pub struct RatesReport {
    /// The trace's name.
    pub source: String,
    /// What the trace says of itself.
    pub header: Header,
    /// The recorded processes.
    pub processes: Vec<Process>,
    /// How far the rest can be trusted.
    pub verdict: Verdict,
    /// Each process of several VMs as a whole, and each VM.
    pub sections: Vec<Section>,
}

/// How heaps develop.
#[derive(Debug, Clone)]
pub struct TimelineReport {
    /// The trace's name.
    pub source: String,
    /// What the trace says of itself.
    pub header: Header,
    /// The recorded processes.
    pub processes: Vec<Process>,
    /// How far the rest can be trusted.
    pub verdict: Verdict,
    /// The points in time.
    pub scale: Scale,
    /// Each process of several VMs as a whole, and each VM.
    pub lanes: Vec<Lane>,
}

/// Where the memory of processes goes.
#[derive(Debug, Clone)]
pub struct BreakdownReport {
    /// The trace's name.
    pub source: String,
    /// What the trace says of itself.
    pub header: Header,
    /// How far the replay of its heaps can be trusted.
    pub verdict: Verdict,
    /// The moment that was asked for; nothing if that is the end.
    pub asked: Option<Nanos>,
    /// That moment was asked for by its being the peak.
    pub peak: bool,
    /// Looks at other moments are not asked for.
    pub only_moment: bool,
    /// The VMs of the trace by number.
    pub vms: BTreeMap<u32, Vm>,
    /// The processes asked for.
    pub processes: Vec<ProcessMemory>,
    /// What is to be said of each of them, in the same order.
    pub advice: Vec<Vec<Advice>>,
    /// Several of them that are of one tree.
    pub instances: Vec<Instance>,
}

/// Where things lie in the heaps of VMs.
#[derive(Debug, Clone)]
pub struct MapReport {
    /// The trace's name.
    pub source: String,
    /// What the trace says of itself.
    pub header: Header,
    /// The recorded processes.
    pub processes: Vec<Process>,
    /// How far the rest can be trusted.
    pub verdict: Verdict,
    /// By what bytes are told apart.
    pub by: By,
    /// The VMs asked for.
    pub vms: Vec<VmMaps>,
}

/// The address space of a VM's heap, at one moment or several.
#[derive(Debug, Clone)]
pub struct VmMaps {
    /// Its number in the trace.
    pub number: u32,
    /// What it is.
    pub vm: Vm,
    /// How its maps are laid out, all alike.
    pub grid: Grid,
    /// The maps, in the order they were asked for, and in the grid's cells.
    pub maps: Vec<(Moment, Map)>,
    /// Moments that have no map of their own, and why.
    pub without: Vec<Without>,
}

/// A moment that has no map of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Without {
    /// The moment that was asked for.
    pub asked: Asked,
    /// Why there is none.
    pub why: String,
}

/// The rates of a process, or of a VM.
#[derive(Debug, Clone)]
pub struct Section {
    /// The process.
    pub pid: u32,
    /// The VM, by its number; none of a process as a whole.
    pub vm: Option<(u32, Vm)>,
    /// How many VMs it is about.
    pub vms: u64,
    /// The rates.
    pub rates: Rates,
    /// What a hit costs; 0 if the trace does not say. Estimates rest on it.
    pub hit_ns: u64,
    /// How long blocks live.
    pub lifetimes: Lifetimes,
    /// Windows without a keyframe: no block's birth is known in them.
    pub windows_without_lifetimes: u64,
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
    /// That is so by design: calls between windows are not recorded.
    pub between_windows: bool,
}

impl Moment {
    /// Whether it is as near to the moment asked for as the recording was to be.
    pub fn is_as_meant(&self) -> bool {
        self.short_of.is_none() || self.between_windows
    }
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
    /// `VM 1: http VM of nginx (pid 123)`
    pub fn title(&self, processes: &[Process]) -> String {
        format!("VM {}: {}", self.number, title(&self.vm, processes))
    }
}

impl VmMaps {
    /// Lays out the maps of a VM.
    pub fn new(number: u32, vm: Vm, maps: Vec<(Moment, Map)>, without: Vec<Without>) -> VmMaps {
        let grid = Grid::of(maps.iter().map(|(_, map)| map));
        let maps = maps.into_iter().map(|(moment, map)| (moment, map.coarsened(grid.cell))).collect();
        VmMaps { number, vm, grid, maps, without }
    }

    /// `VM 1: http VM of nginx (pid 123)`
    pub fn title(&self, processes: &[Process]) -> String {
        format!("VM {}: {}", self.number, title(&self.vm, processes))
    }
}

impl Section {
    /// `VM 1: http VM of nginx (pid 123)`, `nginx (pid 123), 2 VMs`
    pub fn title(&self, processes: &[Process]) -> String {
        one_or_all(self.vm.as_ref(), (self.pid, self.vms), processes)
    }
}

impl Lane {
    /// `VM 1: http VM of nginx (pid 123)`, `nginx (pid 123), 2 VMs`
    pub fn title(&self, processes: &[Process]) -> String {
        one_or_all(self.vm.as_ref(), (self.pid, self.vms), processes)
    }
}

/// A VM, or a process of so many.
fn one_or_all(vm: Option<&(u32, Vm)>, (pid, vms): (u32, u64), processes: &[Process]) -> String {
    match vm {
        Some((number, vm)) => format!("VM {number}: {}", title(vm, processes)),
        None => format!("{} (pid {pid}), {vms} VMs", program(pid, processes)),
    }
}

/// `http VM of nginx (pid 123)`
pub fn title(vm: &Vm, processes: &[Process]) -> String {
    let program = program(vm.pid, processes);
    if vm.label == program || vm.label.is_empty() {
        format!("{program} (pid {})", vm.pid)
    } else {
        format!("{} VM of {program} (pid {})", vm.label, vm.pid)
    }
}

fn program(pid: u32, processes: &[Process]) -> &str {
    processes.iter().find(|process| process.pid == pid).map_or("?", |process| &process.program)
}
