//! Seeds out of the real thing.

use std::cell::RefCell;
use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use nix::unistd::Pid;
use record::locate;
use record::target::{Memory, Target};
use shared::call::Event;
use shared::heap::walk::{self, Unreadable};
use shared::trace::frame::Kind;
use shared::trace::meta::{Header, Process, Trailer, Vm};
use shared::trace::reader::Trace;
use shared::trace::writer::Writer;

use crate::canvas::Canvas;

/// So many of a recorded trace's calls make a seed.
const CALLS: usize = 300;

/// The beginning of a recorded trace without the machine's names.
pub(crate) fn trace(path: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let trace = Trace::open(BufReader::new(File::open(path)?))?;
    let mut bytes = Vec::new();
    let names = Header { host: "host".into(), kernel: "kernel".into(), ..trace.header.clone() };
    let mut writer = Writer::new(&mut bytes, &names)?;
    let mut left = CALLS;
    for frame in &trace.frames {
        let (vm, time) = (frame.head.vm, (frame.head.start, frame.head.end));
        match frame.head.kind {
            Kind::Process => {
                let process = trace.process(frame)?;
                let command = vec![process.program.clone()];
                writer.process(time.0, &Process { command, exe: "/program".into(), ..process })?;
            }
            Kind::Vm => writer.vm(time.0, vm, &Vm { module: "/program".into(), ..trace.vm(frame)? })?,
            Kind::Gap => writer.gap(vm, time, &trace.gap(frame)?)?,
            Kind::Keyframe => writer.keyframe(vm, time, &trace.keyframe(frame)?)?,
            Kind::Calls => {
                for event in trace.calls(frame)?.events().take(left) {
                    left -= 1;
                    match event {
                        Event::Call(call) => writer.call(vm, &call)?,
                        Event::Map(map) => writer.map(vm, &map)?,
                    }
                }
            }
            Kind::Header
            | Kind::Trailer
            | Kind::Missed
            | Kind::Breakdown
            | Kind::Census
            | Kind::Names
            | Kind::Stacks
            | Kind::Unknown(_) => {}
        }
        if left == 0 {
            break;
        }
    }
    writer.finish(0, Trailer { reason: "cut".into(), ..Trailer::default() })?;
    Ok(bytes)
}

/// The words that the walk reads of a process's first VM. The process should sleep.
pub(crate) fn heap(pid: i32) -> Result<Vec<u8>, Box<dyn Error>> {
    let target = Target::open(Pid::from_raw(pid))?;
    let found = locate::vms(&target, &target.mappings()?);
    let mstate = found.vms.first().ok_or("no VM in it")?.mstate;
    let canvas = RefCell::new(Canvas::default());
    let memory = |addr, bytes: &mut [u8]| {
        target.read(addr, bytes).map_err(|_| Unreadable)?;
        canvas.borrow_mut().bytes(addr, bytes);
        Ok(())
    };
    walk::walk(mstate, &memory)?;
    Ok(canvas.into_inner().describe(mstate))
}
