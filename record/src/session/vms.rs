//! The VMs of a session: found at its start, born during it, named once they can be.

use std::io::Write;

use anyhow::Result;
use shared::trace::meta::Vm;

use super::Session;
use crate::locate::FoundVm;
use crate::locate::lua::Lua;
use crate::snapshot::VmPlace;

/// A VM of the session.
#[derive(Debug)]
pub(super) struct SessionVm {
    pub(super) place: VmPlace,
    pub(super) found: FoundVm,
}

impl<W: Write> Session<W> {
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
        let number = self.vms.len() as u32 + 1;
        let place = VmPlace { number, mstate: found.mstate, global: found.global };
        self.streams.add_vm(number, found.mstate);
        self.streams.writer.vm(self.now(), number, &self.describe(&found))?;
        self.vms.push(SessionVm { place, found });
        Ok(())
    }

    pub(super) fn describe(&self, found: &FoundVm) -> Vm {
        let program = self.target.exe().file_name().map(|name| name.to_string_lossy().into_owned());
        Vm {
            pid: self.target.pid.as_raw() as u32,
            label: found.subsystem.clone().or(program).unwrap_or_default(),
            build: found.build.clone().unwrap_or_default(),
            gc64: found.global.gc64,
            mstate: found.mstate,
            global: found.global.addr,
            module: self.door.module.name.display().to_string(),
            module_build_id: self.door.module.image.build_id.clone(),
            door: self.door.addr,
            door_confirmed: self.door.confirmed,
            probe: self.plan.as_ref().map(|_| self.door.probe.clone()),
        }
    }

    /// A VM caught at its birth has not set its names yet: reads them once they are there.
    pub(super) fn name_vms(&mut self) -> Result<()> {
        for at in 0..self.vms.len() {
            let global = self.vms[at].place.global;
            if self.vms[at].found.build.is_none()
                && let (subsystem, Some(build)) = Lua::new(&self.target, &global).label_and_build(&global)
            {
                let found = FoundVm { subsystem, build: Some(build), ..self.vms[at].found.clone() };
                self.streams.writer.vm(self.now(), self.vms[at].place.number, &self.describe(&found))?;
                self.vms[at].found = found;
            }
        }
        Ok(())
    }

    /// What the trace says of each VM: its number, itself, and the size of its heap in bytes if one is known.
    pub fn vms(&self) -> Vec<(u32, Vm)> {
        self.vms.iter().map(|vm| (vm.place.number, self.describe(&vm.found))).collect()
    }

    /// Whether a heap was copied: from then on there is something to make a trace of.
    pub fn begun(&self) -> bool {
        !self.heap_bytes.is_empty()
    }

    /// Bytes in a VM's segments, as of the last keyframe.
    pub fn heap_bytes(&self, number: u32) -> Option<u64> {
        self.heap_bytes.get(&number).copied()
    }
}
