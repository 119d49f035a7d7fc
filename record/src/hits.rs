//! Perf records, as the kernel writes them for the one layout we ask for. Bytes in, values out.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use perf_event_open_sys::bindings as raw;

/// The registers sampled at every hit, a bit each (`enum perf_event_x86_regs`).
pub const SAMPLED_REGISTERS: u64 = 1 << raw::PERF_REG_X86_AX
    | 1 << raw::PERF_REG_X86_CX
    | 1 << raw::PERF_REG_X86_DX
    | 1 << raw::PERF_REG_X86_SI
    | 1 << raw::PERF_REG_X86_DI;

/// A hit's record in the ring: header, number, time, their ABI, registers.
pub const HIT_BYTES: usize = 72;

/// The registers sampled where the caller is of interest, too: also those that a function keeps for its caller.
pub const CALLER_REGISTERS: u64 = SAMPLED_REGISTERS
    | 1 << raw::PERF_REG_X86_BX
    | 1 << raw::PERF_REG_X86_BP
    | 1 << raw::PERF_REG_X86_R12
    | 1 << raw::PERF_REG_X86_R13
    | 1 << raw::PERF_REG_X86_R14
    | 1 << raw::PERF_REG_X86_R15;
/// Bytes of stack that come with them: the frames of `lj_alloc.c` and of the C library's mmap are smaller.
pub const CALLER_STACK: u32 = 384;

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
pub enum Record<'a> {
    /// A probe was hit.
    Hit(Hit),
    /// A probe was hit that tells of its caller.
    Called(Hit, Caller<'a>),
    /// The ring was full: this many hits before the next record are gone.
    Lost(u64),
    /// A thread or process started.
    Fork {
        /// The process it belongs to.
        pid: u32,
        /// Itself.
        tid: u32,
    },
    /// The process goes on as another program.
    Exec,
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

/// The same with [`CALLER_REGISTERS`] and `STACK_USER`.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct CalledBody {
    id: u64,
    time: u64,
    abi: u64,
    ax: u64,
    bx: u64,
    cx: u64,
    dx: u64,
    si: u64,
    di: u64,
    bp: u64,
    kept: [u64; 4],
    stack_size: u64,
    stack: [u8; CALLER_STACK as usize],
    stack_filled: u64,
}

/// What may tell who called: words, of which some are return addresses and arguments kept for later. They are looked at
/// once and go nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caller<'a> {
    registers: [u64; 6],
    stack: &'a [u8],
}

impl Caller<'_> {
    /// All words, the registers first, then the stack from its top.
    pub fn words(&self) -> impl Iterator<Item = u64> + '_ {
        let stack = self.stack.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_ne_bytes));
        self.registers.into_iter().chain(stack)
    }
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

impl Record<'_> {
    /// Reads a record, header included. What is too short for its type is [`Record::Other`]. The two kinds of samples
    /// differ in length.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Record<'_> {
        let Some((header, body)) = bytes.split_first_chunk::<8>() else { return Record::Other };
        let kind = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
        match kind {
            raw::PERF_RECORD_SAMPLE if body.len() > size_of::<SampleBody>() => called(body),
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
            raw::PERF_RECORD_COMM if misc(header) & raw::PERF_RECORD_MISC_COMM_EXEC as u16 != 0 => Record::Exec,
            _ => Record::Other,
        }
    }
}

/// The flags in a record's header, behind its type.
fn misc(header: &[u8; 8]) -> u16 {
    u16::from_ne_bytes([header[4], header[5]])
}

fn called(body: &[u8]) -> Record<'_> {
    let Ok((called, _)) = CalledBody::ref_from_prefix(body) else { return Record::Lost(1) };
    if called.abi == u64::from(raw::PERF_SAMPLE_REGS_ABI_NONE) || called.stack_size != u64::from(CALLER_STACK) {
        return Record::Lost(1);
    }
    let CalledBody { id, time, ax, bx, cx, dx, si, di, bp, kept, ref stack, stack_filled, .. } = *called;
    let hit = Hit { id, time, registers: Registers { ax, cx, dx, si, di } };
    let filled = stack.len().min(stack_filled as usize);
    Record::Called(hit, Caller { registers: [bx, bp, kept[0], kept[1], kept[2], kept[3]], stack: &stack[..filled] })
}
