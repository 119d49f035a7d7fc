//! What a census tells of code is what the program says of its own: each instruction's line, and where each trace's machine
//! code is and what it was compiled from.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use record::census::{Code, Wanted};
use record::locate;
use record::snapshot::{self, VmPlace};
use record::target::{Memory, Target};
use testdata::{Interpreter, may_record, skip};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The code of the one VM of a process that waits.
fn code(target: &Target) -> Result<(Code, bool)> {
    let found = locate::vms(target, &target.mappings()?);
    let [vm] = &found.vms[..] else { return Err(format!("{found:?}").into()) };
    let place = VmPlace { number: 1, mstate: vm.mstate, global: vm.global };
    let pages = snapshot::maybe_direct(target, &snapshot::data_pages(&target.mappings()?));
    let deadline = Instant::now() + Duration::from_secs(10);
    let snapshot = snapshot::take(target, &[place], &pages, Vec::new(), deadline).map_err(|_| "it takes too long")?;
    let censuses =
        snapshot.censuses(&snapshot.heaps(), Some(target), Wanted { code: true, names: true }, &AtomicBool::new(false));
    let [(1, taken)] = &censuses[..] else { return Err("no census".into()) };
    assert_eq!(taken.census.findings.problem, None);
    Ok((taken.code.clone().ok_or("it was asked for")?, vm.global.gc64))
}

/// What a program says of a function: `address:first line:line,line,...:chunk`. The lines of one without any are 0.
fn check_function(code: &Code, target: &Target, gc64: bool, said: &str, name: &str) -> Result<()> {
    let [addr, first, lines, chunk] = said.splitn(4, ':').collect::<Vec<_>>()[..] else { return Err(said.into()) };
    let addr = u64::from_str_radix(addr.trim_start_matches("0x"), 16)?;
    // `GCfunc`'s `pc`.
    let word = |addr| target.word(addr).ok_or("its memory can be read");
    let bytecode = if gc64 { word(addr + 32)? } else { word(addr + 16)? & 0xffff_ffff };
    let mut pc = bytecode;
    for line in lines.split(',') {
        let place = code.place(pc).ok_or_else(|| format!("{name}: nothing at {pc:#x} of {said}"))?;
        // The program is told that a function without lines starts at 0, too.
        let line = Some(line.parse()?).filter(|line| *line != 0);
        assert_eq!((place.chunk, place.line), (chunk, line), "{name}: {said}");
        assert!(line.is_none() || place.first_line == first.parse::<u32>()?, "{name}: {said}");
        pc += 4;
    }
    let beyond = [bytecode - 1, pc].map(|addr| code.place(addr));
    // Another function's bytecode cannot be this near: headers lie between.
    assert_eq!(beyond, [None, None], "{name}: {said}");
    Ok(())
}

/// What it says of a trace: `number:address:bytes:line:chunk`. Whether it moves the stack pointer.
fn check_trace(code: &Code, target: &Target, said: &str, name: &str) -> Result<bool> {
    let [number, addr, bytes, line, chunk] = said.splitn(5, ':').collect::<Vec<_>>()[..] else {
        return Err(said.into());
    };
    let (addr, bytes): (u64, u64) = (addr.parse()?, bytes.parse()?);
    for at in [addr, addr + bytes / 2, addr + bytes - 1] {
        let trace = code.trace(at).ok_or_else(|| format!("{name}: nothing at {at:#x} of {said}"))?;
        assert_eq!((u64::from(trace.number), trace.start, trace.size), (number.parse()?, addr, bytes), "{name}");
        let place = code.place(trace.starts_at).ok_or_else(|| format!("{name}: {said} starts nowhere"))?;
        assert_eq!((place.chunk, place.line), (chunk, Some(line.parse()?)), "{name}: {said}");
    }
    let others = |at| code.trace(at).is_none_or(|trace| trace.start != addr);
    assert!(others(addr - 1) && others(addr + bytes), "{name}: {said}");
    // `add rsp, -spill`, with which a trace starts that needs room on the stack.
    let mut head = [0; 4];
    target.read(addr, &mut head)?;
    let moved = if head[..3] == [0x48, 0x83, 0xc4] { u16::from((head[3] as i8).unsigned_abs()) } else { 0 };
    let spill = code.trace(addr).map(|trace| trace.spill).unwrap_or_default();
    // A side trace takes its parent's room over.
    assert!(moved == 0 || moved == spill, "{name}: {said} moves by {moved}, not {spill}");
    Ok(moved > 0)
}

#[test]
fn code_is_where_the_program_says_it_is() -> Result<()> {
    const TEST: &str = "code_is_where_the_program_says_it_is";
    if let Err(reason) = may_record() {
        skip(TEST, &reason);
        return Ok(());
    }
    for interpreter in Interpreter::all() {
        let interpreter = match interpreter {
            Ok(interpreter) => interpreter,
            Err(reason) => {
                skip(TEST, &reason);
                continue;
            }
        };
        let name = interpreter.name;
        let mut program = interpreter.start("places", None)?;
        program.wait_ready()?;
        program.go()?;
        let figures = program.wait_done()?;
        let target = Target::open(Pid::from_raw(program.pid() as i32))?;
        let (code, gc64) = code(&target)?;
        let (mut kinds, mut moved) = (BTreeSet::new(), false);
        for word in figures.split(' ') {
            match word.split_once('=') {
                Some(("function", said)) => check_function(&code, &target, gc64, said, name)?,
                Some(("trace", said)) => moved |= check_trace(&code, &target, said, name)?,
                _ => continue,
            }
            kinds.insert(word.split('=').next());
        }
        assert_eq!(
            (kinds.len(), moved),
            (2, true),
            "{name}: functions and traces, one with room on the stack: {figures}"
        );
    }
    Ok(())
}
