//! What a heap has of code: where bytecode and machine code stand and what they were made from, so that an address seen on
//! a stack can be told. Names and line numbers are of code, not data; of code that was given as a text, which is its own
//! name then, nothing is kept.

use std::collections::HashMap;

use shared::Addr;
use shared::trace::census::ObjectKind;

use super::Walk;
use super::blocks::Block;
use super::layout::Head;
use crate::target::Memory;

/// The name of a chunk whose own is no name but its text.
pub const TEXT: &str = "(text)";
/// `sizeof(BCIns)`.
const INSTRUCTION: u64 = 4;
/// A name that is longer is none: as long as a path may be, and the letter before it.
const LONGEST_NAME: usize = 4096;
/// The first line, of all functions' that the VM's libraries have in bytecode: their chunk's name is the function's.
const BUILTIN: u64 = 0xffff_ffff;
/// No trace's machine code is as large: jumps in it reach 2 GiB, and its area has 2 MiB unless it is told otherwise.
const LARGEST_TRACE: u64 = 64 << 20;

/// All code of a heap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Code {
    /// Names, each once.
    chunks: Vec<String>,
    /// Ascending by their bytecode.
    protos: Vec<Proto>,
    /// Ascending by their machine code.
    traces: Vec<TraceCode>,
    /// The line of each instruction but the first, by 1, 2 or 4 bytes above its proto's first line.
    lines: Vec<u8>,
}

/// Where a function was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The chunk's name as Lua has it: `@` and a file's name, or `=` and another; [`TEXT`] if it has none. `=[builtin:next]`
    /// of a function of the VM's own libraries.
    pub chunk: &'a str,
    /// The line the function starts at; 0 for a chunk as a whole.
    pub first_line: u32,
    /// The line of the instruction; nothing if the function's lines were stripped, or were not copied with its block.
    pub line: Option<u32>,
}

/// A trace's machine code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceCode {
    /// Its number, from 1.
    pub number: u16,
    /// Where its machine code is.
    pub start: Addr,
    /// Bytes of machine code.
    pub size: u64,
    /// By how many bytes it moves the stack pointer down, below the interpreter's frame.
    pub spill: u16,
    /// The instruction at which it starts: [`Code::place`] knows where that was written.
    pub starts_at: Addr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Proto {
    bytecode: Addr,
    instructions: u64,
    chunk: u32,
    first_line: u32,
    line_count: u32,
    /// Where in [`Code::lines`] its own are.
    lines: Option<usize>,
}

impl Proto {
    fn end(&self) -> Addr {
        self.bytecode.saturating_add(self.instructions * INSTRUCTION)
    }

    /// Bytes of a line's number.
    fn width(&self) -> usize {
        match self.line_count {
            0..256 => 1,
            256..65536 => 2,
            _ => 4,
        }
    }
}

impl Code {
    /// Where the instruction of bytecode at an address was written.
    pub fn place(&self, pc: Addr) -> Option<Place<'_>> {
        let at = self.protos.partition_point(|proto| proto.bytecode <= pc).checked_sub(1)?;
        let proto = self.protos.get(at).filter(|proto| pc < proto.end())?;
        let line = self.line(proto, ((pc - proto.bytecode) / INSTRUCTION) as usize);
        Some(Place { chunk: &self.chunks[proto.chunk as usize], first_line: proto.first_line, line })
    }

    /// The names of chunks, each once.
    pub(super) fn chunks(&self) -> &[String] {
        &self.chunks
    }

    /// The number of the chunk, and the first line, of the function whose bytecode starts at an address.
    pub(super) fn starts_at(&self, bytecode: Addr) -> Option<(u32, u32)> {
        let at = self.protos.binary_search_by_key(&bytecode, |proto| proto.bytecode).ok()?;
        Some((self.protos[at].chunk, self.protos[at].first_line))
    }

    /// The trace whose machine code an address is in.
    pub fn trace(&self, addr: Addr) -> Option<&TraceCode> {
        let at = self.traces.partition_point(|trace| trace.start <= addr).checked_sub(1)?;
        self.traces.get(at).filter(|trace| addr - trace.start < trace.size)
    }

    fn line(&self, proto: &Proto, instruction: usize) -> Option<u32> {
        let lines = proto.lines?;
        // The first one enters the function.
        let Some(at) = instruction.checked_sub(1) else { return Some(proto.first_line) };
        let width = proto.width();
        let bytes = self.lines.get(lines + at * width..lines + (at + 1) * width)?;
        let above = bytes.iter().rev().fold(0, |above, byte| above << 8 | u32::from(*byte));
        (above <= proto.line_count).then_some(proto.first_line.saturating_add(above))
    }
}

/// Code while it is collected.
#[derive(Debug, Default)]
pub(super) struct Collector {
    code: Code,
    /// Numbers of the names by their strings, and by whether that is a function's of the VM's own.
    names: HashMap<(Addr, bool), u32>,
    /// The number of [`TEXT`].
    text: Option<u32>,
}

impl Collector {
    /// Takes a proto or trace up, if it is one that fits; all labels are known.
    pub(super) fn take<L: Memory>(&mut self, walk: &Walk<'_, L>, block: &Block<'_>) {
        let label = walk.blocks.label(block);
        match label.kind {
            ObjectKind::Proto => drop(self.proto(walk, block)),
            // What is dead has no machine code any more.
            ObjectKind::Trace if !label.garbage => self.code.traces.extend(trace(walk, block)),
            _ => {}
        }
    }

    /// What was collected, in order.
    pub(super) fn finish(self) -> Code {
        let mut code = self.code;
        code.protos.sort_unstable_by_key(|proto| proto.bytecode);
        code.traces.sort_unstable_by_key(|trace| trace.start);
        // Where two claim the same bytes one of them is not what it seems.
        let traces = &code.traces;
        let apart = |at: &usize| {
            let ends = |trace: &TraceCode| trace.start.saturating_add(trace.size);
            let before = at.checked_sub(1).is_none_or(|before| ends(&traces[before]) <= traces[*at].start);
            before && traces.get(at + 1).is_none_or(|next| ends(&traces[*at]) <= next.start)
        };
        code.traces = (0..traces.len()).filter(apart).map(|at| traces[at]).collect();
        code
    }

    fn proto<L: Memory>(&mut self, walk: &Walk<'_, L>, block: &Block<'_>) -> Option<()> {
        let [size_bc, chunk, first_line, line_info, size] = walk.layout.proto_code;
        let head = Head(block.bytes);
        let (instructions, line_count) = (head.int(size_bc), head.int(walk.layout.proto[1]));
        let (bytecode, lines) = (block.start + size as u64, head.reference(walk.layout, line_info));
        let bytecode_end = size as u64 + instructions * INSTRUCTION;
        let is_builtin = head.int(first_line) == BUILTIN;
        let first_line = if is_builtin { 0 } else { i32::try_from(head.int(first_line)).ok()? as u32 };
        let mut proto = Proto {
            bytecode,
            instructions,
            chunk: 0,
            first_line,
            line_count: i32::try_from(line_count).ok()? as u32,
            lines: None,
        };
        if instructions == 0 || bytecode_end > head.int(walk.layout.proto[0]) {
            return None;
        }
        if lines != 0 {
            let at = lines.checked_sub(block.start).filter(|at| *at >= bytecode_end)?;
            let len = (instructions - 1) * proto.width() as u64;
            if at + len > head.int(walk.layout.proto[0]) {
                return None;
            }
            // Of a direct block only the first bytes were copied.
            if let Some(bytes) = block.bytes.get(at as usize..(at + len) as usize) {
                proto.lines = Some(self.code.lines.len());
                self.code.lines.extend_from_slice(bytes);
            }
        }
        proto.chunk = self.name(walk, head.reference(walk.layout, chunk), is_builtin)?;
        self.code.protos.push(proto);
        Some(())
    }

    /// The number of a chunk's name, which is a string.
    fn name<L: Memory>(&mut self, walk: &Walk<'_, L>, string: Addr, is_builtin: bool) -> Option<u32> {
        if let Some(number) = self.names.get(&(string, is_builtin)) {
            return Some(*number);
        }
        let block = walk.blocks.find(string).filter(|block| walk.blocks.label(block).kind == ObjectKind::String)?;
        let [len, size] = walk.string;
        let name = Head(block.bytes).int(len).checked_add(size as u64);
        let name = name.and_then(|end| block.bytes.get(size..usize::try_from(end).ok()?)).unwrap_or_default();
        let number = if is_builtin && is_word(name) {
            self.add_name(format!("=[builtin:{}]", String::from_utf8_lossy(name)))
        } else if is_name(name) {
            self.add_name(String::from_utf8_lossy(name).into_owned())
        } else {
            let text = self.text.unwrap_or_else(|| self.add_name(TEXT.to_owned()));
            *self.text.insert(text)
        };
        self.names.insert((string, is_builtin), number);
        Some(number)
    }

    fn add_name(&mut self, name: String) -> u32 {
        self.code.chunks.push(name);
        self.code.chunks.len() as u32 - 1
    }
}

/// Whether what Lua takes for a chunk's name is one, and not its text.
fn is_name(name: &[u8]) -> bool {
    let named = matches!(name.first(), Some(b'@' | b'='));
    named && name.len() <= LONGEST_NAME && !name.iter().any(u8::is_ascii_control)
}

/// Whether it may be what a function of a library is called.
fn is_word(name: &[u8]) -> bool {
    (1..64).contains(&name.len()) && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

fn trace<L: Memory>(walk: &Walk<'_, L>, block: &Block<'_>) -> Option<TraceCode> {
    let [start_pc, size, start, spill, number] = walk.layout.trace_code;
    let head = Head(block.bytes);
    let trace = TraceCode {
        // 0 once it is given up, its machine code with it.
        number: u16::try_from(head.half(number)).ok().filter(|number| *number != 0)?,
        start: head.word(start),
        size: head.int(size),
        spill: u16::try_from(head.half(spill)).ok()?,
        starts_at: head.reference(walk.layout, start_pc),
    };
    (trace.start != 0 && (1..LARGEST_TRACE).contains(&trace.size)).then_some(trace)
}
