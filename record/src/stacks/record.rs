//! Records of hits that come with the thread's stack, as the kernel writes them. They have a ring of their own: the kernel
//! counts what it drops by ring, and a stack that is dropped is no call that is lost.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use perf_event_open_sys::bindings as raw;

/// The registers that following the stack may need, a bit each: what code keeps for its caller, where the stack and the
/// code are, and the arguments, by which the call is known again.
pub const STACK_REGISTERS: u64 = 1 << raw::PERF_REG_X86_BX
    | 1 << raw::PERF_REG_X86_CX
    | 1 << raw::PERF_REG_X86_DX
    | 1 << raw::PERF_REG_X86_SI
    | 1 << raw::PERF_REG_X86_DI
    | 1 << raw::PERF_REG_X86_BP
    | 1 << raw::PERF_REG_X86_SP
    | 1 << raw::PERF_REG_X86_IP
    | 1 << raw::PERF_REG_X86_R12
    | 1 << raw::PERF_REG_X86_R13
    | 1 << raw::PERF_REG_X86_R14
    | 1 << raw::PERF_REG_X86_R15;
/// Bytes of stack from its top, as many as `perf record --call-graph dwarf` takes.
pub const STACK_BYTES: u32 = 8192;

/// The registers in the order of their bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Registers {
    /// rbx
    pub bx: u64,
    /// rcx
    pub cx: u64,
    /// rdx
    pub dx: u64,
    /// rsi
    pub si: u64,
    /// rdi
    pub di: u64,
    /// rbp
    pub bp: u64,
    /// rsp
    pub sp: u64,
    /// rip
    pub ip: u64,
    /// r12 to r15
    pub kept: [u64; 4],
}

/// A hit with its stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampled<'a> {
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub time: u64,
    /// The registers.
    pub registers: Registers,
    /// The stack from `sp` on.
    pub stack: &'a [u8],
}

/// What stands in the ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// A hit.
    Sampled(Sampled<'a>),
    /// So many are missing: the ring was full, or nothing was to be had.
    Lost(u64),
    /// Something else.
    Other,
}

/// `PERF_RECORD_SAMPLE` with `IDENTIFIER | TIME | REGS_USER | STACK_USER`, behind its header; bytes of stack follow, then how
/// many of them were filled.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Body {
    _id: u64,
    time: u64,
    abi: u64,
    registers: Registers,
    stack_size: u64,
}

impl Record<'_> {
    /// Reads a record, header included.
    pub fn parse(bytes: &[u8]) -> Record<'_> {
        let Some((header, body)) = bytes.split_first_chunk::<8>() else { return Record::Other };
        match u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) {
            raw::PERF_RECORD_SAMPLE => sampled(body).map_or(Record::Lost(1), Record::Sampled),
            // `id`, `lost`.
            raw::PERF_RECORD_LOST => Record::Lost(word(body, 8).unwrap_or_default()),
            _ => Record::Other,
        }
    }
}

fn sampled(body: &[u8]) -> Option<Sampled<'_>> {
    let (Body { time, abi, registers, stack_size, .. }, rest) = Body::read_from_prefix(body).ok()?;
    let stack = rest.get(..usize::try_from(stack_size).ok()?)?;
    let filled = usize::try_from(word(rest, stack.len())?).ok()?;
    (abi == u64::from(raw::PERF_SAMPLE_REGS_ABI_64)).then_some(())?;
    Some(Sampled { time, registers, stack: &stack[..filled.min(stack.len())] })
}

fn word(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|word| u64::from_ne_bytes(*word))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A record with so much stack, of which so much is filled.
    fn sample(stack: u64, filled: u64) -> Vec<u8> {
        let mut words = vec![u64::from(raw::PERF_RECORD_SAMPLE), 7, 1234, u64::from(raw::PERF_SAMPLE_REGS_ABI_64)];
        words.extend(100..112);
        words.push(stack);
        words.extend(vec![0x55; stack as usize / 8]);
        words.push(filled);
        words.iter().flat_map(|word| word.to_ne_bytes()).collect()
    }

    #[test]
    fn a_sample_has_registers_and_as_much_stack_as_was_filled() {
        let bytes = sample(64, 24);
        let Record::Sampled(sampled) = Record::parse(&bytes) else { panic!("a sample") };
        assert_eq!((sampled.time, sampled.stack.len()), (1234, 24));
        let Registers { bx, cx, di, sp, ip, kept, .. } = sampled.registers;
        assert_eq!((bx, cx, di, sp, ip, kept), (100, 101, 104, 106, 107, [108, 109, 110, 111]));
    }

    #[test]
    fn what_is_cut_or_lies_about_itself_is_lost() {
        let whole = sample(64, 64);
        for cut in 9..whole.len() {
            assert_eq!(Record::parse(&whole[..cut]), Record::Lost(1), "{cut}");
        }
        assert!(matches!(Record::parse(&sample(64, u64::MAX)), Record::Sampled(sampled) if sampled.stack.len() == 64));
        let mut lying = whole;
        lying[8 + 15 * 8..][..8].copy_from_slice(&u64::MAX.to_ne_bytes());
        assert_eq!(Record::parse(&lying), Record::Lost(1));
        let lost = [u64::from(raw::PERF_RECORD_LOST), 7, 42].map(u64::to_ne_bytes);
        assert_eq!(Record::parse(lost.as_flattened()), Record::Lost(42));
    }
}
