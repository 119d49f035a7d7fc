//! A program's calls as a trace, as a recorder in mode `full` would write it.

use std::io::Write;

use shared::trace::TraceError;
use shared::trace::meta::{Cost, Header, Process, Trailer, Vm};
use shared::trace::writer::Writer;

use crate::program::Program;

/// What a trace is to be.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// It ends behind so many calls.
    pub(crate) calls: u64,
    /// Or when it has so many bytes.
    pub(crate) bytes: u64,
    /// Live blocks.
    pub(crate) live: usize,
    /// Calls from one keyframe to the next.
    pub(crate) keyframe_every: u64,
    /// Where its chance starts; also makes it a recording, a host and a process of its own.
    pub(crate) seed: u64,
}

/// Writes the trace, and returns how many calls are in it.
pub(crate) fn write(shape: &Shape, out: impl Write) -> Result<u64, TraceError> {
    let header = Header {
        writer: "generate".into(),
        // The second of 2026-01-01 that the seed says.
        started_unix_ns: (1_767_225_600 + shape.seed) * 1_000_000_000,
        clock: "CLOCK_MONOTONIC".into(),
        host: format!("host-{}", shape.seed / 8),
        kernel: "6.1.0".into(),
        arch: "x86_64".into(),
        mode: "full".into(),
        ..Header::default()
    };
    let pid = 1000 + shape.seed as u32 % 8;
    let process = Process { pid, program: "generated".into(), ..Process::default() };
    let vm = Vm { pid, label: "generated".into(), build: "LuaJIT 2.1".into(), gc64: true, ..Vm::default() };
    let mut program = Program::new(shape.seed, shape.live);
    let mut writer = Writer::new(out, &header)?;
    writer.process(0, &process)?;
    writer.vm(0, 1, &vm)?;
    writer.keyframe(1, (0, 0), &program.keyframe())?;
    let (mut calls, mut keyframes) = (0, 1);
    while calls < shape.calls && writer.bytes() < shape.bytes {
        for _ in 0..shape.keyframe_every.min(shape.calls - calls) {
            let (call, maps) = program.step();
            writer.call(1, &call)?;
            for map in maps {
                writer.map(1, map)?;
            }
            calls += 1;
        }
        writer.keyframe(1, (program.now, program.now), &program.keyframe())?;
        keyframes += 1;
    }
    let cost = Cost {
        elapsed_ns: program.now,
        pauses: keyframes,
        paused_ns: keyframes * 1_000,
        longest_pause_ns: 1_000,
        hits: calls,
        ..Cost::default()
    };
    writer.finish(program.now, Trailer { reason: "all calls were made".into(), cost, ..Trailer::default() })?;
    Ok(calls)
}
