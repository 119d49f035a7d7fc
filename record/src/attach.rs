//! From a process id to what can be recorded of it, or why nothing can. Reads only.

use std::time::Duration;

use anyhow::{Result, bail};
use nix::unistd::Pid;
use shared::trace::meta::Process;

use crate::door::{Door, Module};
use crate::locate::{self, FoundVm};
use crate::target::{Mapping, Target, WithSwap};
use crate::{anonymize, image, privilege};

/// A process with a Lua VM.
#[derive(Debug)]
pub struct Found {
    /// It.
    pub target: Target,
    /// What the trace says of it.
    pub about: Process,
    /// The door its VMs share.
    pub door: Door,
    /// Its VMs.
    pub vms: Vec<FoundVm>,
}

/// Opens a process that may be looked into.
pub fn open(pid: Pid) -> Result<Target> {
    let target = Target::open(pid).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            anyhow::anyhow!("no process {pid}: is it still running? (pgrep nginx lists ids)")
        }
        _ => privilege::explain_access(pid, &error),
    })?;
    privilege::check_access(&target)?;
    Ok(target)
}

/// How often to look where an allocator was found at work: it may have lost its processor right there.
const LOOKS: usize = 10;
/// How often to look where nothing was found. The kernel's list of mappings is read while they change, and the one that
/// holds the allocator may be missing in it: one look in some hundreds at a busy process found nothing.
const LOOKS_AT_NOTHING: usize = 3;
/// How long to wait between two looks.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

/// The VMs of a process; `None` if it has none that can be recorded.
pub fn find(target: Target, anonymized: bool) -> Result<Option<Found>> {
    let explain = |error| privilege::explain_access(target.pid, &error);
    let mut mappings = target.mappings().map_err(explain)?;
    let mut found = locate::vms(&target, &mappings);
    for look in 1..LOOKS {
        if !found.vms.is_empty() || look >= LOOKS_AT_NOTHING && found.unsettled == 0 {
            break;
        }
        std::thread::sleep(BETWEEN_LOOKS);
        mappings = target.mappings().map_err(explain)?;
        found = locate::vms(&target, &mappings);
    }
    // To look into a page that is in swap brings it back, for nothing in most processes without a VM.
    let has_swap = || target.memory().is_ok_and(|memory| memory.swapped > 0);
    if found.vms.is_empty() && has_swap() && mentions_luajit(&target, &mappings) {
        found = locate::vms(&WithSwap(&target), &mappings);
    }
    let vms = found.vms;
    let Some(first) = vms.first() else { return Ok(None) };
    let door = Door::find(&target, &mappings, first.global.allocf)?;
    let about = describe(&target, anonymized);
    Ok(Some(Found { target, about, door, vms }))
}

/// Why a process has nothing to record.
pub fn explain_none(target: &Target) -> Result<()> {
    let pid = target.pid;
    let mappings = target.mappings().map_err(|error| privilege::explain_access(pid, &error))?;
    let found = locate::vms(target, &mappings);
    if !target.is_alive() {
        bail!("process {pid} ended while it was being looked at");
    }
    if found.custom > 0 || mentions_luajit(target, &mappings) {
        bail!(
            "process {pid} has LuaJIT in it, but no VM on LuaJIT's own allocator: it was built with \
             LUAJIT_USE_SYSMALLOC, brings an allocator of its own, or has not started its VM yet"
        );
    }
    bail!(
        "process {pid} ({}) is not a LuaJIT program: no VM in its memory, no LuaJIT in its files; --mode snapshot \
         shows where its memory goes",
        target.exe().display()
    )
}

/// Whether any mapped file carries LuaJIT's version string.
fn mentions_luajit(target: &Target, mappings: &[Mapping]) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    let files = mappings.iter().filter(|mapping| mapping.executable && mapping.file.is_some());
    files
        .filter(|mapping| seen.insert(mapping.inode))
        .filter_map(|mapping| Module::load(target, mapping).ok())
        .any(|module| module.image.contains(b"LuaJIT 2."))
}

/// What the trace says of a process.
pub fn describe(target: &Target, anonymized: bool) -> Process {
    let exe = target.exe();
    let own = format!("/proc/{}/exe", target.pid);
    let image = std::fs::read(own).ok().and_then(|bytes| image::Image::parse(bytes).ok());
    let facts = target.facts();
    Process {
        pid: target.pid.as_raw() as u32,
        program: program(target),
        command: if anonymized { Vec::new() } else { target.command() },
        exe: if anonymized { anonymize::file_name(&exe) } else { exe.display().to_string() },
        build_id: image.map(|image| image.build_id).unwrap_or_default(),
        parent: facts.parent,
        started_ticks: facts.started_ticks,
        inner_pid: facts.inner_pid,
        ..Process::default()
    }
}

/// The name of a process's program.
pub fn program(target: &Target) -> String {
    target.exe().file_name().map_or_else(|| "unknown".into(), |name| name.to_string_lossy().into_owned())
}

/// The process `pid` as it must be for a user who named it.
pub fn require(pid: Pid, anonymized: bool) -> Result<Found> {
    let target = open(pid)?;
    match find(target, anonymized)? {
        Some(found) => Ok(found),
        None => {
            explain_none(&open(pid)?)?;
            bail!("process {pid} has only just started its VM: try again")
        }
    }
}
