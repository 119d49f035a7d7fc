//! A program that takes known amounts of memory, from every allocator there is to be had.

use std::path::{Path, PathBuf};
use std::process::Command;

use shared::trace::breakdown::{Memory, SliceKind};
use testdata::{ALLOC, Program, copy_program, may_record, run, skip, status_field};

use crate::Result;
use crate::look::{Look, PAGE};

const MIB: u64 = 1 << 20;
/// Threads beside the main one.
pub(crate) const THREADS: u64 = 3;
/// As in `programs/alloc.c`, for each thread: blocks, their bytes, and a block of which half is written to.
const SMALL: u64 = 4096;
const SMALL_SIZE: u64 = 1000;
pub(crate) const LARGE_SIZE: u64 = 16 * MIB;

/// Where Debian puts libraries.
fn library(name: &str) -> std::result::Result<PathBuf, String> {
    let path = PathBuf::from(format!("/usr/lib/{}-linux-gnu/{name}", std::env::consts::ARCH));
    path.canonicalize().map_err(|error| format!("{}: {error}; scripts/deps installs it", path.display()))
}

/// `programs/alloc.c` on musl. Built here and not once and for all, because musl may come at any time.
fn on_musl(folder: &Path, linkage: &[&str]) -> std::result::Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("programs/alloc.c");
    let program = folder.join("alloc");
    let mut cc = Command::new("musl-gcc");
    cc.args(["-O2", "-s", "-pthread"]).args(linkage).arg("-o").arg(&program).arg(source);
    let ran = run(&mut cc).map_err(|error| format!("musl-gcc: {error}; scripts/deps installs it"))?;
    if ran.code == 0 { Ok(program) } else { Err(ran.stderr) }
}

/// Starts the program; it stands still then.
pub(crate) fn start(command: &mut Command) -> Result<Program> {
    let mut program = Program::start(command)?;
    program.wait_ready()?;
    assert_eq!(status_field(program.pid(), "Threads")?, (THREADS + 1).to_string());
    Ok(program)
}

/// Looks at the program, whose memory the slices must have that `owned` sums up.
fn look(mut command: Command, name: &str, owned: impl Fn(&Look) -> Memory) -> Result<Look> {
    let program = start(command.arg(THREADS.to_string()))?;
    let look = Look::at(program.pid(), name)?;
    assert!(program.finish()?.success(), "{name}");
    let all = format!("{name}: {:#?}", look.breakdown);
    assert!(look.said.contains("no Lua VM"), "{name}: {}", look.said);
    assert_eq!(look.names(SliceKind::Luajit), [""; 0], "{all}");
    assert_eq!(look.names(SliceKind::Stack), ["main", "thread 1", "thread 2", "thread 3"], "{all}");
    assert!(look.of(SliceKind::Stack).mapped >= THREADS * (128 << 10), "{all}");

    let (owned, small) = (owned(&look), SMALL * SMALL_SIZE);
    let (written, taken) = ((THREADS + 1) * (small + LARGE_SIZE / 2), (THREADS + 1) * (small + LARGE_SIZE));
    // Of 1000 bytes they make 1024 at most; and each thread may have up to 2 MiB more in caches and tables.
    let most = written + (THREADS + 1) * (SMALL * 24 + 2 * MIB);
    assert!((written..=most).contains(&owned.resident), "{written}..{most} {all}");
    assert!(owned.mapped >= taken, "{taken} {all}");
    Ok(look)
}

/// Another allocator has everything, and its name.
fn other_allocator(command: Command, name: &str, label: &str, owned: impl Fn(&Look) -> Memory) -> Result<Look> {
    let look = look(command, name, owned)?;
    assert_eq!(look.names(SliceKind::SystemAllocator), [label], "{name}: {:#?}", look.breakdown);
    assert!(look.of(SliceKind::Other).resident < MIB, "{name}: {:#?}", look.breakdown);
    assert_eq!(look.breakdown.glibc, None, "{name}");
    Ok(look)
}

/// A thread's stack holds little here.
fn stacks_are_small(look: &Look) {
    assert!((1..MIB).contains(&look.of(SliceKind::Stack).resident), "{:#?}", look.breakdown);
}

fn allocated(look: &Look) -> Memory {
    look.of(SliceKind::SystemAllocator)
}

/// A library, preloaded as it is and under a name that says nothing.
fn preloaded(file: &str, label: &str) -> Result<()> {
    let library = match may_record().and_then(|()| library(file)) {
        Ok(library) => library,
        Err(reason) => {
            skip(label, &reason);
            return Ok(());
        }
    };
    let folder = tempfile::tempdir()?;
    let nameless = folder.path().join("fast");
    copy_program(&library, &nameless)?;
    for library in [&library, &nameless] {
        let mut command = Command::new(ALLOC);
        command.env("LD_PRELOAD", library);
        stacks_are_small(&other_allocator(command, &library.display().to_string(), label, allocated)?);
    }
    Ok(())
}

#[test]
fn jemalloc() -> Result<()> {
    preloaded("libjemalloc.so.2", "jemalloc")
}

#[test]
fn tcmalloc() -> Result<()> {
    preloaded("libtcmalloc_minimal.so.4", "tcmalloc")
}

#[test]
fn mimalloc() -> Result<()> {
    preloaded("libmimalloc.so.2.0", "mimalloc")
}

/// musl maps stacks as it does groups of blocks. Where one comes to lie next to the other, the kernel makes one mapping of
/// them, which then is a stack's.
#[test]
fn musl() -> Result<()> {
    let owned = |look: &Look| [allocated(look), look.of(SliceKind::Stack)].into_iter().sum();
    for linkage in [&["-static"][..], &[]] {
        let folder = tempfile::tempdir()?;
        match may_record().and_then(|()| on_musl(folder.path(), linkage)) {
            Ok(program) => {
                other_allocator(Command::new(program), &format!("musl {linkage:?}"), "musl", owned)?;
            }
            Err(reason) => skip("musl", &reason),
        }
    }
    Ok(())
}

#[test]
fn glibc() -> Result<()> {
    if let Err(reason) = may_record() {
        skip("glibc", &reason);
        return Ok(());
    }
    let look = look(Command::new(ALLOC), "glibc", allocated)?;
    stacks_are_small(&look);
    let all = format!("{:#?}", look.breakdown);
    let names = ["glibc arena 1", "glibc arena 2", "glibc arena 3", "glibc main arena", "glibc mapped blocks"];
    assert_eq!(look.names(SliceKind::SystemAllocator), names, "{all}");
    assert!(look.breakdown.missing.is_empty(), "{all}");
    let glibc = look.breakdown.glibc.as_ref().ok_or("no glibc")?;
    // Each large block has a page for its head.
    assert_eq!((glibc.mapped.count, glibc.mapped.bytes), (THREADS + 1, (THREADS + 1) * (LARGE_SIZE + PAGE)), "{all}");
    assert_eq!(glibc.arenas.len() as u64, THREADS + 1, "{all}");
    for arena in &glibc.arenas {
        // A head of 8 bytes each, in steps of 16.
        let small = arena.used_classes.iter().find(|class| class.from == 512).ok_or("no such class")?;
        assert!((SMALL..SMALL + 16).contains(&small.count) && small.bytes >= SMALL * 1008, "{all}");
        let sum = arena.used.bytes + arena.bins.bytes + arena.fastbins.bytes + arena.tcache.bytes;
        assert_eq!(sum + arena.top + arena.overhead, arena.system, "{all}");
    }
    Ok(())
}

#[test]
fn an_allocator_that_nobody_knows_is_told_as_other_memory() -> Result<()> {
    if let Err(reason) = may_record() {
        skip("an_allocator_that_nobody_knows_is_told_as_other_memory", &reason);
        return Ok(());
    }
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$1\" own", ALLOC]);
    let look = look(command, "own", |look| look.of(SliceKind::Other))?;
    stacks_are_small(&look);
    assert!(allocated(&look).resident < MIB, "{:#?}", look.breakdown);
    Ok(())
}
