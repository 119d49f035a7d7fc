//! Perf records, as the kernel writes them for the one layout we ask for. Bytes in, values out.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use perf_event_open_sys::bindings as raw;

/// The registers sampled at every hit, a bit each (`enum perf_event_x86_regs`).
pub const SAMPLED_REGISTERS: u64 = 1 << raw::PERF_REG_X86_AX
    | 1 << raw::PERF_REG_X86_CX
    | 1 << raw::PERF_REG_X86_DX
    | 1 << raw::PERF_REG_X86_SI
    | 1 << raw::PERF_REG_X86_DI;

/// Registers at a hit; the kernel writes them in the order of their bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Registers {
    /// rax
    pub ax: u64,
    /// rcx
    pub cx: u64,
    /// rdx
    pub dx: u64,
    /// rsi
    pub si: u64,
    /// rdi
    pub di: u64,
}

/// One hit of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hit {
    /// Which event ([`crate::sys::PerfEvent::id`]).
    pub id: u64,
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub time: u64,
    /// The registers.
    pub registers: Registers,
}

/// A record of the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// A probe was hit.
    Hit(Hit),
    /// The ring was full: this many hits before the next record are gone.
    Lost(u64),
    /// A thread or process started.
    Fork {
        /// The process it belongs to.
        pid: u32,
        /// Itself.
        tid: u32,
    },
    /// Something that does not concern us.
    Other,
}

/// `PERF_RECORD_SAMPLE` with `IDENTIFIER | TIME | REGS_USER`, behind its header.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct SampleBody {
    id: u64,
    time: u64,
    abi: u64,
    registers: Registers,
}

/// `PERF_RECORD_LOST`, behind its header.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct LostBody {
    _id: u64,
    lost: u64,
}

/// `PERF_RECORD_FORK`, behind its header.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct ForkBody {
    pid: u32,
    _ppid: u32,
    tid: u32,
    _ptid: u32,
    _time: u64,
}

impl Record {
    /// Reads a record, header included. What is too short for its type is [`Record::Other`].
    #[inline]
    pub fn parse(bytes: &[u8]) -> Record {
        let Some((header, body)) = bytes.split_first_chunk::<8>() else { return Record::Other };
        let kind = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
        match kind {
            raw::PERF_RECORD_SAMPLE => match SampleBody::read_from_prefix(body) {
                // PERF_SAMPLE_REGS_ABI_NONE: the kernel had no user registers to give.
                Ok((sample, _)) if sample.abi != u64::from(raw::PERF_SAMPLE_REGS_ABI_NONE) => {
                    Record::Hit(Hit { id: sample.id, time: sample.time, registers: sample.registers })
                }
                _ => Record::Lost(1),
            },
            raw::PERF_RECORD_LOST => match LostBody::read_from_prefix(body) {
                Ok((lost, _)) => Record::Lost(lost.lost),
                Err(_) => Record::Other,
            },
            raw::PERF_RECORD_FORK => match ForkBody::read_from_prefix(body) {
                Ok((fork, _)) => Record::Fork { pid: fork.pid, tid: fork.tid },
                Err(_) => Record::Other,
            },
            _ => Record::Other,
        }
    }
}
