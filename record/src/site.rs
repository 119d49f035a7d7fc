//! Where to probe: decides from decoded instructions, never from a build's known layout.

use std::collections::BTreeSet;
use std::ops::Range;

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Formatter, GasFormatter, Instruction, InstructionInfoFactory, Mnemonic,
    OpAccess, Register,
};
use shared::trace::meta::Probe;

use crate::image::Image;

/// The arguments of `lj_alloc_f` (System V x86-64); a probe must come before any of them changes.
const ARGUMENTS: [Register; 4] = [Register::RDI, Register::RSI, Register::RDX, Register::RCX];

fn decoder(code: &[u8], addr: u64) -> Decoder<'_> {
    Decoder::with_ip(64, code, addr, DecoderOptions::NONE)
}

/// The instruction as objdump prints it.
fn text(instruction: &Instruction) -> String {
    let mut formatter = GasFormatter::new();
    formatter.options_mut().set_branch_leading_zeros(false);
    formatter.options_mut().set_uppercase_hex(false);
    let mut text = String::new();
    formatter.format(instruction, &mut text);
    text
}

/// Whether the kernel emulates the probed instruction instead of stepping over a copy of it: one exception a hit
/// instead of two. From `arch/x86/kernel/uprobes.c`: relative jumps and calls without an operand-size prefix
/// (`branch_setup_xol_ops`), `push` of a register (`push_setup_xol_ops`) and the one-byte `nop`.
pub fn is_emulated(instruction: &Instruction) -> bool {
    match instruction.flow_control() {
        FlowControl::ConditionalBranch => {
            instruction.is_jcc_short() || matches!(instruction.len(), 6) && is_jcc_near(instruction)
        }
        FlowControl::UnconditionalBranch => {
            matches!(instruction.code(), Code::Jmp_rel8_64 | Code::Jmp_rel32_64)
        }
        FlowControl::Call => instruction.code() == Code::Call_rel32_64,
        _ => match instruction.code() {
            Code::Push_r64 => true,
            Code::Nopd | Code::Nopq => instruction.len() == 1,
            _ => false,
        },
    }
}

fn is_jcc_near(instruction: &Instruction) -> bool {
    instruction.is_jcc_short_or_near() && !instruction.is_jcc_short()
}

/// A function's first block is shorter.
const MAX_ENTRY: usize = 64;

/// The best instruction to probe in the function at `entry`: the first one that the kernel emulates, that every
/// call reaches, and before which no argument register changes; else the first instruction of all.
pub fn choose(code: &[u8], entry: u64) -> Option<Probe> {
    let mut info = InstructionInfoFactory::new();
    let mut first = None;
    for instruction in decoder(code, entry).iter().take(MAX_ENTRY) {
        if instruction.is_invalid() {
            break;
        }
        let probe =
            Probe { addr: instruction.ip(), instruction: text(&instruction), emulated: is_emulated(&instruction) };
        if probe.emulated {
            return Some(probe);
        }
        first.get_or_insert(probe);
        let writes_argument = info.info(&instruction).used_registers().iter().any(|used| {
            ARGUMENTS.contains(&used.register().full_register())
                && !matches!(used.access(), OpAccess::None | OpAccess::Read | OpAccess::CondRead)
        });
        if writes_argument || instruction.flow_control() != FlowControl::Next {
            break;
        }
    }
    first
}

/// Where a thread goes on that has hit the probe at `addr`, if it can be told from the instruction alone: one that the
/// kernel emulates and that changes no memory. (A `push` or `call` writes to the stack only.)
pub fn behind(code: &[u8], addr: u64) -> Vec<u64> {
    let instruction = decoder(code, addr).decode();
    if !is_emulated(&instruction) {
        return Vec::new();
    }
    match instruction.flow_control() {
        FlowControl::ConditionalBranch => vec![instruction.next_ip(), instruction.near_branch_target()],
        FlowControl::UnconditionalBranch | FlowControl::Call => vec![instruction.near_branch_target()],
        _ => vec![instruction.next_ip()],
    }
}

/// More instructions than all of `lj_alloc.c` compiles to, several times over; a walk that finds more has strayed.
const MAX_INSTRUCTIONS: usize = 20_000;

/// The code that runs between `lj_alloc_f`'s first instruction and its return: everything its jumps and direct
/// calls reach, as ranges of addresses. Calls through the PLT leave it.
pub fn reachable(image: &Image, entry: u64) -> Vec<Range<u64>> {
    let mut starts = vec![entry];
    let mut seen = BTreeSet::new();
    let mut ranges: Vec<Range<u64>> = Vec::new();
    while let Some(start) = starts.pop() {
        let mut end = start;
        for instruction in &mut decoder(image.code(start), start) {
            if instruction.is_invalid() || seen.len() > MAX_INSTRUCTIONS || !seen.insert(instruction.ip()) {
                break;
            }
            end = instruction.next_ip();
            match instruction.flow_control() {
                FlowControl::ConditionalBranch | FlowControl::Call => starts.push(instruction.near_branch_target()),
                FlowControl::UnconditionalBranch => {
                    starts.push(instruction.near_branch_target());
                    break;
                }
                FlowControl::Next | FlowControl::IndirectCall => {}
                _ => break,
            }
        }
        if end > start {
            ranges.push(start..end);
        }
    }
    merge(ranges)
}

fn merge(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

/// The system calls that change mappings, by their numbers on x86-64 (`asm/unistd_64.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MapSyscall {
    /// 9
    Mmap,
    /// 11
    Munmap,
    /// 25
    Mremap,
}

impl MapSyscall {
    /// All three.
    pub const ALL: [MapSyscall; 3] = [MapSyscall::Mmap, MapSyscall::Munmap, MapSyscall::Mremap];

    fn from_number(number: u64) -> Option<MapSyscall> {
        match number {
            9 => Some(MapSyscall::Mmap),
            11 => Some(MapSyscall::Munmap),
            25 => Some(MapSyscall::Mremap),
            _ => None,
        }
    }

    /// The C library's function.
    pub fn name(self) -> &'static str {
        match self {
            MapSyscall::Mmap => "mmap",
            MapSyscall::Munmap => "munmap",
            MapSyscall::Mremap => "mremap",
        }
    }
}

/// The instructions right behind the `syscall` of a mapping call. There the kernel has put the result into rax and
/// left the arguments in rdi, rsi and rdx as they were, so that one probe tells both and no return probe is needed.
pub fn behind_syscalls(code: &[u8], addr: u64) -> Vec<(MapSyscall, u64)> {
    /// How far the number may be loaded before the `syscall`.
    const NEAR: usize = 8;
    let mut sites = Vec::new();
    let (mut number, mut age) = (None, 0);
    for instruction in &mut decoder(code, addr) {
        age += 1;
        match instruction.mnemonic() {
            Mnemonic::Mov if instruction.op0_register().full_register() == Register::RAX => {
                number = instruction.try_immediate(1).ok();
                age = 0;
            }
            Mnemonic::Syscall => {
                if let Some(call) = number.filter(|_| age <= NEAR).and_then(MapSyscall::from_number) {
                    sites.push((call, instruction.next_ip()));
                }
                number = None;
            }
            _ => {}
        }
    }
    sites
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jump_behind_the_test_is_probed() {
        // test rcx,rcx; je +0x10; test rsi,rsi: how every LuaJIT seen begins.
        let probe = choose(&[0x48, 0x85, 0xc9, 0x74, 0x10, 0x48, 0x85, 0xf6], 0x1000).unwrap();
        assert_eq!((probe.addr, probe.emulated, &*probe.instruction), (0x1003, true, "je 0x1015"));
    }

    #[test]
    fn a_push_behind_endbr64_is_probed() {
        let probe = choose(&[0xf3, 0x0f, 0x1e, 0xfa, 0x41, 0x54], 0).unwrap();
        assert_eq!((probe.addr, probe.emulated), (4, true));
    }

    #[test]
    fn no_probe_behind_a_changed_argument() {
        // mov rcx,rdx; push rbx
        let probe = choose(&[0x48, 0x89, 0xd1, 0x53], 0).unwrap();
        assert_eq!((probe.addr, probe.emulated), (0, false));
        // mov ecx,5 changes rcx as well; mov eax,5 changes no argument.
        assert!(!choose(&[0xb9, 5, 0, 0, 0, 0x53], 0).unwrap().emulated);
        assert!(choose(&[0xb8, 5, 0, 0, 0, 0x53], 0).unwrap().emulated);
    }

    #[test]
    fn long_nops_and_sixteen_bit_jumps_are_not_emulated() {
        for bytes in [&[0x0f, 0x1f, 0x44, 0, 0][..], &[0x66, 0x90], &[0x66, 0xe9, 0, 0], &[0x68, 0, 0, 0, 0]] {
            let instruction = decoder(bytes, 0).decode();
            assert!(!is_emulated(&instruction), "{instruction}");
        }
        assert!(is_emulated(&decoder(&[0x90], 0).decode()));
        assert!(is_emulated(&decoder(&[0x0f, 0x84, 1, 0, 0, 0], 0).decode()));
    }

    #[test]
    fn a_syscall_is_known_by_its_number() {
        // mov eax,25; syscall; ret - mov eax,1; syscall; ret
        let code = [0xb8, 25, 0, 0, 0, 0x0f, 5, 0xc3, 0xb8, 1, 0, 0, 0, 0x0f, 5, 0xc3];
        assert_eq!(behind_syscalls(&code, 0x100), [(MapSyscall::Mremap, 0x107)]);
    }

    #[test]
    fn a_thread_goes_on_behind_an_emulated_probe_only() {
        assert_eq!(behind(&[0x74, 0x10], 0x1003), [0x1005, 0x1015]);
        assert_eq!(behind(&[0x53], 0x10), [0x11]);
        assert!(behind(&[0x48, 0x85, 0xc9], 0x10).is_empty());
    }

    #[test]
    fn no_bytes_no_site() {
        assert_eq!(choose(&[], 0), None);
    }
}
