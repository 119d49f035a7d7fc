//! From registers and a piece of stack to places in code. What the piece holds is looked at here, once, and nowhere else.

use std::sync::Arc;

use framehop::x86_64::{CacheX86_64, Reg, UnwindRegsX86_64};
use framehop::{Error, FrameAddress, Unwinder as _};
use shared::Addr;

use super::modules::{Modules, Place};
use super::record::{Registers, Sampled};
use crate::census::Code;

/// Deeper stacks are cut.
const MOST: usize = 256;
/// `CFRAME_SIZE` of `lj_frame.h` on x64 but for Windows: what the interpreter's frame takes, its return address included.
const INTERPRETER_FRAME: u64 = 80;
/// `CFRAME_SIZE_JIT` there: compiled code runs on the interpreter's frame and this much more.
const COMPILED_EXTRA: u64 = 16;
/// Compiled code takes no more of the stack than this: 256 slots of 4 bytes (`SPS_`, `REF_` in `lj_asm.c`).
const MOST_SPILL: u64 = 1024;
/// `CFRAME_OFS_PC` there: where the interpreter keeps the address of the instruction behind the one it runs.
const SAVED_PC: u64 = 24;
/// The same without GC64, where addresses have 32 bits.
const SAVED_PC_32: u64 = 28;
/// `CFRAME_OFS_L` there: its thread.
const SAVED_THREAD: u64 = 16;
/// The same without GC64.
const SAVED_THREAD_32: u64 = 24;
/// `CFRAME_OFS_PREV` there: the interpreter's frame before; without GC64, too.
const SAVED_FRAME: u64 = 32;
/// A frame of the interpreter is no farther from the next one than a stack is large.
const FAR: u64 = 8 << 20;
/// Addresses of user space are below.
const USER: u64 = 1 << 47;
/// Bytes of an instruction of Lua's bytecode.
const BYTECODE: u64 = 4;

/// A place on a stack, as long as not all that is needed to tell it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Raw {
    /// Neither in a file nor made by LuaJIT.
    Unknown,
    /// Code made at run time, and the address in it.
    Made(Addr),
    /// The rest is not in the piece of stack.
    Cut,
    /// The instruction of Lua's bytecode that the frame before it runs.
    Bytecode(Addr),
    /// Code of a file: its number, and the address in it.
    File(usize, u64),
}

/// What must be known of LuaJIT to follow a stack through it.
#[derive(Clone, Copy)]
pub(super) struct Interpreter<'a> {
    /// An address in the module that it is in.
    pub(super) allocf: Addr,
    /// Whether references have 64 bits.
    pub(super) gc64: bool,
    /// The code of its heaps, as it was at the last census.
    pub(super) code: &'a [Arc<Code>],
}

/// Follows stacks of one process.
pub(super) struct Unwinder {
    /// Its code.
    pub(super) modules: Modules,
    cache: CacheX86_64,
}

impl Unwinder {
    /// For any process, but only for one.
    pub(super) fn new() -> Unwinder {
        Unwinder { modules: Modules::default(), cache: CacheX86_64::new() }
    }

    /// The places from the innermost on.
    pub(super) fn unwind(&mut self, interpreter: Interpreter<'_>, sampled: &Sampled<'_>) -> Vec<Raw> {
        let Sampled { registers, stack, .. } = *sampled;
        let sp = registers.sp;
        let mut read = |addr: Addr| {
            let at = usize::try_from(addr.wrapping_sub(sp)).map_err(drop)?;
            stack.get(at..).and_then(|rest| rest.first_chunk()).map(|word| u64::from_ne_bytes(*word)).ok_or(())
        };
        let luajit = match self.modules.place(interpreter.allocf) {
            Place::File(file, _) => Some(file),
            _ => None,
        };
        let end = sp.saturating_add(stack.len() as u64);
        let mut frames = Vec::new();
        let mut regs = start(registers);
        let mut address = FrameAddress::from_instruction_pointer(registers.ip);
        while frames.len() < MOST {
            let (lookup, sp) = (address.address_for_lookup(), regs.sp());
            let place = self.modules.place(lookup);
            let next = match place {
                Place::File(file, addr) => {
                    frames.push(Raw::File(file, addr));
                    self.modules.unwinder.unwind_frame(address, &mut regs, &mut self.cache, &mut read)
                }
                Place::Made => {
                    frames.push(Raw::Made(lookup));
                    let known = interpreter.code.iter().find_map(|code| code.trace(lookup));
                    let spill = known.map(|trace| u64::from(trace.spill));
                    // Compiled since the census: what it takes is found by what must stand above it.
                    let spill = spill.or_else(|| {
                        (0..MOST_SPILL).step_by(16).find(|spill| self.is_frame(interpreter.gc64, sp, *spill, &mut read))
                    });
                    let Some(spill) = spill else { return frames };
                    leave_compiled(&mut regs, compiled_end(sp, spill), &mut read)
                }
                Place::Nowhere => {
                    frames.push(Raw::Unknown);
                    return frames;
                }
            };
            if let (Ok(Some(_)), Place::File(file, addr), true) = (next, place, address.is_return_address())
                && regs.sp().wrapping_sub(sp) == INTERPRETER_FRAME
                && luajit == Some(file)
                // A C function has been called: the frame does not say from where.
                && !self.modules.known(file).calls_register(addr + 1)
            {
                let saved = if interpreter.gc64 {
                    read(sp + SAVED_PC)
                } else {
                    read(sp + SAVED_PC_32).map(|word| word & 0xffff_ffff)
                };
                frames.extend(saved.map(|pc| Raw::Bytecode(pc.wrapping_sub(BYTECODE))));
            }
            match next {
                Ok(Some(return_address)) => match FrameAddress::from_return_address(return_address) {
                    Some(next) => address = next,
                    None => return frames,
                },
                Ok(None) => return frames,
                Err(Error::CouldNotReadStack(addr)) if addr.saturating_add(8) > end && addr >= sp => break,
                Err(_) => {
                    frames.push(Raw::Unknown);
                    return frames;
                }
            }
        }
        frames.push(Raw::Cut);
        frames
    }

    /// Whether, if compiled code takes so much of the stack, the frame of the interpreter above it is one: a thread, a frame
    /// of the interpreter before it farther up or none, and the address behind a call.
    fn is_frame(&self, gc64: bool, sp: Addr, spill: u64, read: &mut impl FnMut(Addr) -> Result<u64, ()>) -> bool {
        let end = compiled_end(sp, spill);
        let mut word = |at: u64| read(end - INTERPRETER_FRAME + at).unwrap_or(u64::MAX);
        let thread = if gc64 { word(SAVED_THREAD) } else { word(SAVED_THREAD_32) & 0xffff_ffff };
        let (before, return_address) = (word(SAVED_FRAME), word(INTERPRETER_FRAME - 8));
        let near = |addr: Addr| (end..end + FAR).contains(&addr);
        let called = match self.modules.place(return_address.wrapping_sub(1)) {
            Place::File(file, addr) => self.modules.known(file).is_behind_call(addr + 1),
            _ => false,
        };
        called
            && thread != 0
            && thread < USER
            && thread.is_multiple_of(8)
            && !near(thread)
            && (before < 4 || near(before))
    }
}

fn start(registers: Registers) -> UnwindRegsX86_64 {
    let mut regs = UnwindRegsX86_64::new(registers.ip, registers.sp, registers.bp);
    let [r12, r13, r14, r15] = registers.kept;
    let others = [(Reg::RBX, registers.bx), (Reg::R12, r12), (Reg::R13, r13), (Reg::R14, r14), (Reg::R15, r15)];
    others.into_iter().for_each(|(register, value)| regs.set(register, value));
    regs
}

/// Where the interpreter's frame ends that compiled code runs on, with its stack pointer and what it takes for itself.
fn compiled_end(sp: Addr, spill: u64) -> Addr {
    sp.saturating_add(spill + COMPILED_EXTRA + INTERPRETER_FRAME)
}

/// From compiled code to whoever called the interpreter, whose frame it runs on and ends at `end`: what the interpreter
/// keeps for its caller stands there, below the return address.
fn leave_compiled(
    regs: &mut UnwindRegsX86_64,
    end: Addr,
    read: &mut impl FnMut(Addr) -> Result<u64, ()>,
) -> Result<Option<u64>, Error> {
    let mut word = |below: u64| read(end - below).map_err(|()| Error::CouldNotReadStack(end - below));
    let return_address = word(8)?;
    for (register, below) in [(Reg::RBP, 16), (Reg::RBX, 24), (Reg::R15, 32), (Reg::R14, 40)] {
        let value = word(below)?;
        regs.set(register, value);
    }
    regs.set_sp(end);
    regs.set_ip(return_address);
    Ok(Some(return_address))
}
