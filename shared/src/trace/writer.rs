//! Writes a trace front to back, to anything that takes bytes.

use std::collections::BTreeMap;
use std::io::Write;

use super::TraceError;
use super::breakdown::Breakdown;
use super::calls::{Encoder, Sealed};
use super::census::Census;
use super::frame::{self, Head, Kind};
use super::keyframe::Keyframe;
use super::meta::{self, Gap, Header, IndexEntry, Missed, Process, Trailer, Vm};
use super::names::Names;
use super::stacks::Stacks;
use crate::Nanos;
use crate::call::{Call, MapCall};

/// Writes frames in order, collects calls into blocks, and keeps the index. Memory: one open block a VM, and 40
/// bytes a frame.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    offset: u64,
    open: BTreeMap<u32, Encoder>,
    index: Vec<IndexEntry>,
    calls: u64,
    maps: u64,
}

impl<W: Write> Writer<W> {
    /// Starts a trace.
    pub fn new(mut out: W, header: &Header) -> Result<Self, TraceError> {
        out.write_all(&frame::file_header())?;
        let mut writer = Writer {
            out,
            offset: frame::FILE_HEADER as u64,
            open: BTreeMap::new(),
            index: Vec::new(),
            calls: 0,
            maps: 0,
        };
        writer.frame(Kind::Header, 0, 0, (0, 0), &meta::encode(header))?;
        Ok(writer)
    }

    fn frame(
        &mut self,
        kind: Kind,
        vm: u32,
        count: u32,
        (start, end): (Nanos, Nanos),
        payload: &[u8],
    ) -> Result<(), TraceError> {
        let head = Head::seal(kind, vm, count, (start, end), payload);
        self.out.write_all(&head.to_bytes())?;
        self.out.write_all(payload)?;
        self.index.push(IndexEntry { offset: self.offset, kind: kind.code(), vm, count, start, end });
        self.offset += (frame::FRAME_HEAD + payload.len()) as u64;
        Ok(())
    }

    /// Introduces a process.
    pub fn process(&mut self, time: Nanos, process: &Process) -> Result<(), TraceError> {
        self.frame(Kind::Process, 0, 0, (time, time), &meta::encode(process))
    }

    /// Introduces VM number `number`, counted from 1, before anything of it.
    pub fn vm(&mut self, time: Nanos, number: u32, vm: &Vm) -> Result<(), TraceError> {
        self.frame(Kind::Vm, number, 0, (time, time), &meta::encode(vm))
    }

    /// Appends a call of a VM.
    #[inline]
    pub fn call(&mut self, vm: u32, call: &Call) -> Result<(), TraceError> {
        let open = self.open.entry(vm).or_default();
        open.push_call(call);
        if open.is_full() { self.flush_vm(vm) } else { Ok(()) }
    }

    /// Appends a mapping call made after the VM's last call.
    pub fn map(&mut self, vm: u32, map: &MapCall) -> Result<(), TraceError> {
        let open = self.open.entry(vm).or_default();
        open.push_map(map);
        if open.is_full() { self.flush_vm(vm) } else { Ok(()) }
    }

    /// Appends a keyframe, taken from `time.0` to `time.1`, after all that was pushed for the VM.
    pub fn keyframe(&mut self, vm: u32, time: (Nanos, Nanos), keyframe: &Keyframe) -> Result<(), TraceError> {
        self.flush_vm(vm)?;
        self.frame(Kind::Keyframe, vm, keyframe.heap.chunks.len() as u32, time, &keyframe.encode())
    }

    /// Appends what the blocks of a VM's last keyframe are; `time` is that keyframe's.
    pub fn census(&mut self, vm: u32, time: (Nanos, Nanos), census: &Census) -> Result<(), TraceError> {
        self.frame(Kind::Census, vm, census.labels.len() as u32, time, &census.encode())
    }

    /// Appends who made some of a VM's calls, from `time.0` to `time.1`; all of these were pushed.
    pub fn stacks(&mut self, vm: u32, time: (Nanos, Nanos), stacks: &Stacks) -> Result<(), TraceError> {
        self.frame(Kind::Stacks, vm, stacks.samples.len() as u32, time, &stacks.encode())
    }

    /// Appends where the functions of a VM's last census were written; `time` is that census's.
    pub fn names(&mut self, vm: u32, time: (Nanos, Nanos), names: &Names) -> Result<(), TraceError> {
        self.frame(Kind::Names, vm, names.protos.len() as u32, time, &names.encode())
    }

    /// Appends a gap after all that was pushed for the VM.
    pub fn gap(&mut self, vm: u32, time: (Nanos, Nanos), gap: &Gap) -> Result<(), TraceError> {
        self.flush_vm(vm)?;
        self.frame(Kind::Gap, vm, 0, time, &meta::encode(gap))
    }

    /// Appends a keyframe that should have been and is not.
    pub fn missed(&mut self, time: (Nanos, Nanos), missed: &Missed) -> Result<(), TraceError> {
        self.frame(Kind::Missed, 0, 0, time, &meta::encode(missed))
    }

    /// Appends where a process's memory went, as looked at from `time.0` to `time.1`.
    pub fn breakdown(&mut self, time: (Nanos, Nanos), breakdown: &Breakdown) -> Result<(), TraceError> {
        self.frame(Kind::Breakdown, 0, breakdown.slices.len() as u32, time, &meta::encode(breakdown))
    }

    /// Appends a block that was made elsewhere: all of a VM's calls then are.
    pub fn block(&mut self, vm: u32, block: &Sealed) -> Result<(), TraceError> {
        self.calls += u64::from(block.calls);
        self.maps += u64::from(block.maps);
        self.frame(Kind::Calls, vm, block.calls, block.time, &block.payload)
    }

    fn flush_vm(&mut self, vm: u32) -> Result<(), TraceError> {
        let Some(open) = self.open.get_mut(&vm).filter(|open| !open.is_empty()) else { return Ok(()) };
        let block = open.seal();
        self.block(vm, &block)
    }

    /// Writes out the open blocks, so that what was pushed so far can be read whatever happens next.
    pub fn flush(&mut self) -> Result<(), TraceError> {
        for vm in self.open.keys().copied().collect::<Vec<_>>() {
            self.flush_vm(vm)?;
        }
        Ok(self.out.flush()?)
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.offset
    }

    /// Calls written so far.
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Ends the trace. The trailer's totals and index are filled in here. Returns its
    /// length in bytes.
    pub fn finish(mut self, time: Nanos, mut trailer: Trailer) -> Result<u64, TraceError> {
        self.flush()?;
        trailer.calls = self.calls;
        trailer.maps = self.maps;
        trailer.index = std::mem::take(&mut self.index);
        let offset = self.offset;
        self.frame(Kind::Trailer, 0, 0, (0, time), &meta::encode(&trailer))?;
        self.out.write_all(&frame::footer(offset))?;
        self.out.flush()?;
        Ok(self.offset + frame::FOOTER as u64)
    }
}
