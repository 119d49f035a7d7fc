use std::io;

use proptest::prelude::*;
use shared::heap::layout::{HEADER, request_to_chunk};
use shared::heap::{Chunk, Segment};

use super::layout::{GC64, NO_GC64, gct};
use super::*;
use shared::trace::census::TableFill;

const BASE: Addr = 0x10_0000;
const SIZE: usize = 0x3000;

/// A heap of one segment, made block by block.
struct Made {
    bytes: Vec<u8>,
    heap: Heap,
    layout: &'static Layout,
    global: Global,
    kinds: Vec<ObjectKind>,
}

impl Memory for Made {
    fn read(&self, addr: Addr, bytes: &mut [u8]) -> io::Result<()> {
        bytes.copy_from_slice(Image::bytes(self, addr, bytes.len()).ok_or(io::ErrorKind::AddrNotAvailable)?);
        Ok(())
    }
}

impl Image for Made {
    fn bytes(&self, addr: Addr, len: usize) -> Option<&[u8]> {
        let start = usize::try_from(addr.checked_sub(BASE)?).ok()?;
        self.bytes.get(start..start.checked_add(len)?)
    }
}

/// A list of one object of each of these kinds, the main thread among them.
const LIST: [u8; 8] =
    [gct::TABLE, gct::UPVALUE, gct::FUNCTION, gct::PROTO, gct::TRACE, gct::THREAD, gct::CDATA, gct::USERDATA];
/// The machine code of the trace.
const MACHINE_CODE: Addr = 0x7000_0000;

impl Made {
    fn new(gc64: bool) -> Made {
        let layout = if gc64 { &GC64 } else { &NO_GC64 };
        let segment = Segment { base: BASE, size: SIZE as u64, record: BASE + 800 };
        let heap = Heap { segments: vec![segment], ..Heap::default() };
        let (state, main_thread) = (if gc64 { 96 } else { 64 }, BASE + HEADER);
        let addr = main_thread + state;
        let global = Global { main_thread, addr, alloc: addr, allocf: 0, gc64 };
        let mut made = Made { bytes: vec![0; SIZE], heap, layout, global, kinds: Vec::new() };
        made.block(3000, ObjectKind::VmState);
        made.list();
        made.strings();
        made
    }

    /// A new block for so many bytes.
    fn block(&mut self, bytes: u64, kind: ObjectKind) -> Addr {
        let addr = self.heap.chunks.last().map_or(BASE, |chunk| chunk.addr + chunk.size);
        self.heap.chunks.push(Chunk { addr, size: request_to_chunk(bytes), used: true });
        self.kinds.push(kind);
        self.put(addr + 8, request_to_chunk(bytes) | 3, 8);
        addr + HEADER
    }

    fn put(&mut self, addr: Addr, value: u64, bytes: usize) {
        let at = (addr - BASE) as usize;
        self.bytes[at..at + bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
    }

    fn refer(&mut self, addr: Addr, to: Addr) {
        self.put(addr, to, self.layout.reference);
    }

    /// Heads an object: the next of its list, its colour, its type.
    fn object(&mut self, addr: Addr, next: Addr, marked: u8, kind: u8) {
        let reference = self.layout.reference as u64;
        self.refer(addr, next);
        self.put(addr + reference, u64::from(marked) | u64::from(kind) << 8, 2);
    }

    /// Where the collector's list starts.
    fn root(&self) -> Addr {
        self.global.alloc + 16 + 3 * 8 - if self.global.gc64 { 0 } else { 8 }
    }

    fn list(&mut self) {
        let (reference, main) = (self.layout.reference as u64, self.global.main_thread);
        self.put(self.root() - 8, 0x401, 2);
        let mut next = 0;
        for kind in LIST.into_iter().rev() {
            let (size, named) = match kind {
                gct::TABLE => (self.layout.table[4] as u64 + 3 * 8, ObjectKind::Table),
                gct::UPVALUE => (self.layout.upvalue, ObjectKind::Upvalue),
                gct::FUNCTION => (self.layout.function[1] + 2 * 8, ObjectKind::Function),
                gct::PROTO => (200, ObjectKind::Proto),
                gct::TRACE => (300, ObjectKind::Trace),
                gct::THREAD => (self.global.addr - main, ObjectKind::Thread),
                gct::CDATA => (self.layout.cdata + 8, ObjectKind::Cdata),
                _ => (self.layout.userdata[1] as u64 + 40, ObjectKind::Userdata),
            };
            let addr = self.block(size, named);
            // What the collector has found dead has the other white.
            self.object(addr, next, if kind == gct::CDATA { 2 } else { 1 }, kind);
            match kind {
                gct::TABLE => self.table(addr),
                gct::FUNCTION => self.put(addr + reference + 2, 0x0201, 2),
                gct::PROTO => {
                    self.put(addr + self.layout.proto[0] as u64, 200, 4);
                    self.put(addr + self.layout.proto[1] as u64, 17, 4);
                }
                gct::TRACE => self.trace(addr),
                gct::THREAD => self.thread(addr),
                gct::USERDATA => {
                    self.put(addr + self.layout.userdata[0] as u64, 40, 4);
                    self.object(main, addr, 1, gct::THREAD);
                    self.thread(main);
                    next = main;
                    continue;
                }
                _ => {}
            }
            next = addr;
        }
        self.refer(self.root(), next);
    }

    /// A table with three slots inside its header that has outgrown them: 20 slots apart, 12 in use; 4 hash slots, 1 in use.
    fn table(&mut self, addr: Addr) {
        let [array, node, asize, hmask, _] = self.layout.table.map(|at| addr + at as u64);
        self.put(addr + self.layout.reference as u64 + 3, 0x83, 1);
        let slots = self.block(20 * 8, ObjectKind::TableArray);
        let nodes = self.block(4 * 24, ObjectKind::TableHash);
        (0..20).for_each(|at| self.put(slots + at * 8, if at < 12 { at } else { u64::MAX }, 8));
        (0..4).for_each(|at| self.put(nodes + at * 24, if at == 2 { at } else { u64::MAX }, 8));
        self.refer(array, slots);
        self.refer(node, nodes);
        self.put(asize, 20, 4);
        self.put(hmask, 3, 4);
    }

    /// A trace of two snapshots and a map of ten entries, 77 bytes of machine code with 32 bytes of spilled values.
    fn trace(&mut self, addr: Addr) {
        let map = addr + 300 - 10 * 4;
        self.put(addr + self.layout.reference as u64 + 2, 2, 2);
        let [entries, snapshots, place] = self.layout.trace.map(|at| addr + at as u64);
        self.put(entries, 10, 4);
        self.put(snapshots, map - 2 * 12, 8);
        self.put(place, map, 8);
        let [_, size, start, spill, number] = self.layout.trace_code.map(|at| addr + at as u64);
        self.put(size, 77, 4);
        self.put(start, MACHINE_CODE, 8);
        self.put(spill, 32, 2);
        self.put(number, 5, 2);
    }

    /// The first block that was made as this.
    fn first(&self, kind: ObjectKind) -> Addr {
        let at = self.kinds.iter().position(|made| *made == kind).expect("one");
        self.heap.chunks[at].addr + HEADER
    }

    /// Gives the proto, which starts at line 40, ten instructions on lines 40, 41, 42..., of so many lines as it has, and
    /// the name of one of the strings. The address of its bytecode.
    fn write_code(&mut self, lines: u64, width: u64, name: &[u8; 9]) -> Addr {
        let (proto, trace) = (self.first(ObjectKind::Proto), self.first(ObjectKind::Trace));
        let [size_bc, chunk, first_line, line_info, size] = self.layout.proto_code.map(|at| at as u64);
        let at = self.kinds.iter().rposition(|kind| *kind == ObjectKind::String).expect("five") - 1;
        let string = self.heap.chunks[at].addr + HEADER;
        let text = string + self.layout.strings[0][1] as u64;
        (0..).zip(name).for_each(|(at, byte)| self.put(text + at, u64::from(*byte), 1));
        let (bytecode, info) = (proto + size, proto + size + 10 * 4);
        self.put(proto + size_bc, 10, 4);
        self.refer(proto + chunk, string);
        self.put(proto + first_line, 40, 4);
        self.put(proto + self.layout.proto[1] as u64, lines, 4);
        self.refer(proto + line_info, info);
        (0..9).for_each(|at| self.put(info + at * width, at + 1, width as usize));
        self.refer(trace + self.layout.trace_code[0] as u64, bytecode + 3 * 4);
        bytecode
    }

    fn thread(&mut self, addr: Addr) {
        let [global, stack, _, slots] = self.layout.thread.map(|at| addr + at as u64);
        let block = self.block(40 * 8, ObjectKind::Stack);
        self.refer(global, self.global.addr);
        self.refer(stack, block);
        self.put(slots, 40, 4);
    }

    /// Five strings of both sizes that a chunk can have, and their table.
    fn strings(&mut self) {
        let [len, size] = self.layout.strings[0].map(|at| at as u64);
        for length in [1, 7, 8, 9, 33] {
            let addr = self.block(size + length + 1, ObjectKind::String);
            self.object(addr, 0, 1, gct::STRING);
            self.put(addr + len, length, 4);
            (0..length).for_each(|at| self.put(addr + size + at, 0x61, 1));
        }
        let table = self.block(8 * self.layout.reference as u64, ObjectKind::StringTable);
        let place = self.global.alloc + 200;
        self.put(place, table, 8);
        self.put(place + 8, 7 | 5 << 32, 8);
    }

    fn taken(&self) -> Taken {
        take(&self.global, &self.heap, self, Some(self), Wanted { code: true, names: true }, &AtomicBool::new(false))
            .expect("nobody stops it")
    }

    fn census(&self) -> Census {
        self.taken().census
    }
}

#[test]
fn every_block_is_what_it_was_made_as() {
    for gc64 in [true, false] {
        let made = Made::new(gc64);
        let census = made.census();
        assert_eq!(census.findings, Findings { collector: "sweep".into(), strings: 5, problem: None });
        let kinds: Vec<ObjectKind> = census.labels.iter().map(|label| label.kind).collect();
        assert_eq!(kinds, made.kinds, "gc64 {gc64}");
        let garbage = census.labels.iter().filter(|label| label.garbage).map(|label| label.kind);
        assert_eq!(garbage.collect::<Vec<_>>(), [ObjectKind::Cdata]);
        assert_eq!((census.strings, census.protos), (vec![1, 7, 8, 9, 33], vec![17]));
        let fill = TableFill { inside: 3, array: 20, array_used: Some(12), hash: 4, hash_used: Some(1), apart: true };
        assert_eq!(census.tables, [fill]);
    }
}

#[test]
fn one_that_is_stopped_says_nothing() {
    let made = Made::new(true);
    assert_eq!(take(&made.global, &made.heap, &made, Some(&made), Wanted::default(), &AtomicBool::new(true)), None);
}

#[test]
fn code_is_told_by_its_address() {
    for (gc64, (lines, width)) in [true, false]
        .into_iter()
        .flat_map(|gc64| [(100, 1), (255, 1), (256, 2), (65535, 2), (65536, 4)].into_iter().map(move |of| (gc64, of)))
    {
        let mut made = Made::new(gc64);
        let bytecode = made.write_code(lines, width, b"@file.lua");
        let code = made.taken().code.expect("it was asked for");
        let place = |line| Some(Place { chunk: "@file.lua", first_line: 40, line: Some(line) });
        for instruction in 0..10 {
            let pc = bytecode + u64::from(instruction) * 4;
            assert_eq!(code.place(pc), place(40 + instruction), "gc64 {gc64}, {lines} lines");
        }
        assert_eq!((code.place(bytecode - 1), code.place(bytecode + 40)), (None, None));
        let trace = TraceCode { number: 5, start: MACHINE_CODE, size: 77, spill: 32, starts_at: bytecode + 12 };
        let found = [0, 76].map(|at| code.trace(MACHINE_CODE + at));
        assert_eq!((found, code.place(trace.starts_at)), ([Some(&trace); 2], place(43)));
        assert_eq!((code.trace(MACHINE_CODE - 1), code.trace(MACHINE_CODE + 77)), (None, None));
    }
}

#[test]
fn code_that_does_not_fit_is_left_out_and_a_text_is_no_name() {
    for gc64 in [true, false] {
        let chunk = |name, change: &dyn Fn(&mut Made, Addr, Addr)| {
            let mut made = Made::new(gc64);
            let bytecode = made.write_code(100, 1, name);
            let (proto, trace) = (made.first(ObjectKind::Proto), made.first(ObjectKind::Trace));
            change(&mut made, proto, trace);
            let code = made.taken().code.expect("it was asked for");
            let place = code.place(bytecode + 4).map(|place| (place.chunk.to_owned(), place.line));
            (place, code.trace(MACHINE_CODE).is_some())
        };
        let named = |name: &str, line| (Some((name.to_owned(), line)), true);
        let unchanged = |_: &mut Made, _: Addr, _: Addr| {};
        assert_eq!(chunk(b"=(string)", &unchanged), named("=(string)", Some(41)));
        assert_eq!(chunk(b"secret()\n", &unchanged), named(TEXT, Some(41)));
        assert_eq!(chunk(b"@two\nline", &unchanged), named(TEXT, Some(41)));

        let layout = Made::new(gc64).layout;
        let [size_bc, name, first_line, lines, _] = layout.proto_code.map(|at| at as u64);
        let stripped = chunk(b"=stripped", &|made, proto, _| made.refer(proto + lines, 0));
        assert_eq!(stripped, named("=stripped", None));
        // A function of the VM's own libraries; and what claims to be one.
        let builtin: &dyn Fn(&mut Made, Addr, Addr) = &|made, proto, _| {
            made.put(proto + first_line, 0xffff_ffff, 4);
            made.refer(proto + lines, 0);
        };
        assert_eq!(chunk(b"for_each1", builtin), named("=[builtin:for_each1]", None));
        assert_eq!(chunk(b"for each1", builtin), named(TEXT, None));
        for (field, value) in [(size_bc, 0), (size_bc, 60), (first_line, 0xffff_fffe), (name, 1), (lines, 1)] {
            let (place, _) = chunk(b"@file.lua", &|made, proto, _| made.put(proto + field, value, 4));
            assert_eq!(place, None, "gc64 {gc64}: {value} at {field}");
        }
        let [_, size, start, _, number] = layout.trace_code.map(|at| at as u64);
        for (field, bytes) in [(size, 4), (start, 8), (number, 2)] {
            assert!(!chunk(b"@file.lua", &|made, _, trace| made.put(trace + field, 0, bytes)).1);
        }
        assert!(!chunk(b"@file.lua", &|made, _, trace| made.put(trace + size, u64::MAX, 4)).1);
    }
}

/// How many blocks have a label.
fn known(census: &Census) -> usize {
    census.labels.iter().filter(|label| label.kind != ObjectKind::Unknown).count()
}

#[test]
fn what_does_not_fit_is_unknown_and_told() {
    for gc64 in [true, false] {
        // One object whose size is not its block's may be in the making.
        let mut made = Made::new(gc64);
        let userdata = made.first(ObjectKind::Userdata);
        made.put(userdata + made.layout.userdata[0] as u64, 4000, 4);
        let census = made.census();
        assert_eq!((census.findings.problem.as_deref(), known(&census)), (None, made.kinds.len() - 1));

        // Another count of strings than there are.
        let mut made = Made::new(gc64);
        made.put(made.global.alloc + 212, 50, 4);
        let census = made.census();
        assert!(census.findings.problem.is_some_and(|problem| problem.contains("5 strings")));
        assert!(!census.labels.iter().any(|label| label.kind == ObjectKind::String) && census.strings.is_empty());

        // A list that does not come to the main thread.
        let mut made = Made::new(gc64);
        made.refer(made.root(), 0);
        let census = made.census();
        assert_eq!(known(&census), 0);
        assert!(census.findings.problem.is_some_and(|problem| problem.contains("no list of all objects")));
    }
}

proptest! {
    #[test]
    fn any_memory_has_a_census(gc64: bool, changes in proptest::collection::vec((0..SIZE - 8, any::<u64>()), 1..60)) {
        let mut made = Made::new(gc64);
        for (at, value) in changes {
            made.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        let census = made.census();
        prop_assert_eq!(census.labels.len(), made.kinds.len());
        prop_assert_eq!(Census::decode(&census.encode()), Ok(census));
    }
}
