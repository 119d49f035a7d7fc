//! The VMs of a session: found at its start, born during it, named once they can be.

use std::time::{Duration, Instant};

use anyhow::Result;
use shared::trace::meta::Vm;

use super::Session;
use crate::anonymize;
use crate::locate::lua::Lua;
use crate::locate::{self, FoundVm};
use crate::snapshot::VmPlace;

/// A VM of the session.
#[derive(Debug)]
pub(super) struct SessionVm {
    pub(super) place: VmPlace,
    pub(super) found: FoundVm,
    since: Instant,
    named: Instant,
}

/// How long after a VM was found its names may change: nginx sets them one after the other.
const CHRISTENING: Duration = Duration::from_secs(5);
/// How often they are read meanwhile.
const NAME_EVERY: Duration = Duration::from_millis(200);

impl Session {
    /// The VMs that are still there.
    pub(super) fn open_vms(&self) -> Vec<VmPlace> {
        let places = self.vms.iter().map(|vm| vm.place);
        places.filter(|place| self.streams.is_open(place.number)).collect()
    }

    /// Starts the streams of those VMs that have none yet.
    pub fn add_vms(&mut self, found: Vec<FoundVm>) -> Result<()> {
        for vm in found {
            // A VM of another copy of LuaJIT in the same process would pass by our probe.
            let same_door = self.vms.first().is_none_or(|first| first.place.global.allocf == vm.global.allocf);
            if same_door && !self.streams.knows(vm.mstate) {
                self.add_vm(vm)?;
            }
        }
        Ok(())
    }

    pub(super) fn add_vm(&mut self, found: FoundVm) -> Result<()> {
        let recording = self.streams.pen.recording();
        let number = recording.number_vm();
        let shift = if recording.anonymized() { anonymize::shift(found.mstate)? } else { 0 };
        let place = VmPlace { number, mstate: found.mstate, global: found.global };
        self.streams.add_vm(number, found.mstate, shift);
        self.streams.write_vm(self.now(), number, self.describe(&found))?;
        let now = Instant::now();
        self.vms.push(SessionVm { place, found, since: now, named: now });
        self.callers.mstates = self.streams.mstates();
        Ok(())
    }

    pub(super) fn describe(&self, found: &FoundVm) -> Vm {
        let module = &self.door.module.name;
        let anonymized = self.streams.pen.recording().anonymized();
        let module = if anonymized { anonymize::file_name(module) } else { module.display().to_string() };
        Vm {
            pid: self.about.pid,
            label: self.label(found),
            build: found.build.clone().unwrap_or_default(),
            gc64: found.global.gc64,
            mstate: found.mstate,
            global: found.global.addr,
            module,
            module_build_id: self.door.module.image.build_id.clone(),
            door: self.door.addr,
            door_confirmed: self.door.confirmed,
            probe: self.plan.as_ref().map(|_| self.door.probe.clone()),
        }
    }

    pub(super) fn label(&self, found: &FoundVm) -> String {
        found.subsystem.clone().unwrap_or_else(|| self.about.program.clone())
    }

    /// A VM caught at its birth has not set its names yet: reads them once they are there.
    pub(super) fn name_vms(&mut self) -> Result<()> {
        for at in 0..self.vms.len() {
            let vm = &mut self.vms[at];
            let complete =
                vm.found.build.is_some() && (vm.found.subsystem.is_some() || vm.since.elapsed() > CHRISTENING);
            if complete || vm.named.elapsed() < NAME_EVERY {
                continue;
            }
            vm.named = Instant::now();
            let global = vm.place.global;
            if let (subsystem, Some(build)) = Lua::new(&self.target, &global).label_and_build(&global)
                && (&subsystem, Some(&build)) != (&vm.found.subsystem, vm.found.build.as_ref())
            {
                let found = FoundVm { subsystem, build: Some(build), ..self.vms[at].found.clone() };
                self.streams.write_vm(self.now(), self.vms[at].place.number, self.describe(&found))?;
                self.vms[at].found = found;
            }
        }
        Ok(())
    }

    /// What the trace says of each VM: its number, itself, and the size of its heap in bytes if one is known.
    pub fn vms(&self) -> Vec<(u32, Vm)> {
        self.vms.iter().map(|vm| (vm.place.number, self.describe(&vm.found))).collect()
    }

    /// Looks through the running process for VMs that are not known yet.
    pub(super) fn look_for_vms(&mut self) -> Result<()> {
        let mappings = self.target.mappings()?;
        self.add_vms(locate::vms(&self.target, &mappings).vms)
    }

    /// Starts the trace's part of this process: what it is, and its VMs.
    pub fn introduce(&mut self, vms: Vec<FoundVm>) -> Result<()> {
        self.write_process(None)?;
        self.add_vms(vms)
    }

    /// Whether a heap was copied: from then on there is something to make a trace of.
    pub fn has_keyframe(&self) -> bool {
        !self.heap_bytes.is_empty()
    }

    /// Bytes in a VM's segments, as of the last keyframe.
    pub fn heap_bytes(&self, number: u32) -> Option<u64> {
        self.heap_bytes.get(&number).copied()
    }
}
