//! glibc's allocator from outside, in stripped programs, against what glibc itself says inside: equal to the byte.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::unistd::Pid;
use record::breakdown::glibc::{ArenaPlace, Glibc, Walk, mapped_blocks};
use record::freeze::Frozen;
use record::snapshot::Copy;
use record::target::Target;
use shared::trace::breakdown::{self, Amount, Arena, Class};
use testdata::{GLIBC, GLIBC_STATIC, Interpreter, Nginx, Program, may_record, skip};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How long anything here may stand still.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is said where no allocator was found.
const NONE: &str = "no main arena";

/// What is said where a thread stood between a change of the address space and its book-keeping.
const AMIDST: &str = "an arena's end is not where it says";

/// A process's arenas and blocks at a standstill.
struct Look {
    found: breakdown::Glibc,
    missing: Vec<String>,
    unsettled: bool,
    places: Vec<ArenaPlace>,
    blocks: Vec<Range<u64>>,
}

fn look(pid: u32) -> Result<Look> {
    let pid = Pid::from_raw(pid as i32);
    let target = Target::open(pid)?;
    let glibc = Glibc::find(&target, &target.mappings()?).ok_or(NONE)?;
    let frozen = Frozen::stop(pid, PATIENCE)?;
    let (copy, whole) = Copy::of(&target, &glibc.to_copy(&target), Vec::new(), Instant::now() + PATIENCE);
    let (places, mappings) = (glibc.places(&target), target.mappings()?);
    frozen.release();
    if !whole {
        return Err(AMIDST.into());
    }
    let Walk { found, missing, unsettled } = glibc.walk(&copy);
    let claimed: Vec<_> = places.iter().flat_map(|place| place.used.iter().chain(&place.reserved)).collect();
    let anonymous = mappings.iter().filter(|mapping| mapping.is_anonymous_data());
    let unclaimed: Vec<_> = anonymous.flat_map(|mapping| gaps(mapping.start..mapping.end, &claimed)).collect();
    let blocks = mapped_blocks(&target, &unclaimed);
    for arena in &found.arenas {
        adds_up(arena);
        let place = places.iter().find(|place| place.number == arena.number).ok_or("an arena without a place")?;
        assert_eq!(place.used.iter().map(|range| range.end - range.start).sum::<u64>(), arena.system, "{place:?}");
        let is_mapped = |range: &Range<u64>, data: bool| {
            let mut inside = mappings.iter().filter(|mapping| mapping.start < range.end && range.start < mapping.end);
            inside.all(|mapping| mapping.data == data)
        };
        assert!(place.used.iter().all(|range| is_mapped(range, true)), "{place:?}");
        let kept: u64 = place.reserved.iter().map(|range| range.end - range.start).sum();
        assert_eq!(kept, if arena.number == 0 { 0 } else { (arena.heaps << 26) - arena.system }, "{place:?}");
    }
    Ok(Look { found, missing, unsettled, places, blocks })
}

/// What of a range is in none of the others.
fn gaps(range: Range<u64>, claimed: &[&Range<u64>]) -> Vec<Range<u64>> {
    let mut inside: Vec<_> = claimed.iter().filter(|one| one.start < range.end && range.start < one.end).collect();
    inside.sort_by_key(|one| one.start);
    let mut gaps = Vec::new();
    let mut at = range.start;
    for one in inside {
        gaps.push(at..one.start.max(at));
        at = one.end;
    }
    gaps.push(at..range.end.max(at));
    gaps.retain(|gap| !gap.is_empty());
    gaps
}

fn adds_up(arena: &Arena) {
    let free = [arena.bins, arena.fastbins, arena.tcache];
    let bytes = arena.used.bytes + free.iter().map(|amount| amount.bytes).sum::<u64>();
    assert_eq!(bytes + arena.top + arena.overhead, arena.system, "{arena:?}");
    let sum = |classes: &[Class]| Amount {
        count: classes.iter().map(|class| class.count).sum(),
        bytes: classes.iter().map(|class| class.bytes).sum(),
    };
    assert_eq!(sum(&arena.used_classes), arena.used, "{arena:?}");
    let free = (free.iter().map(|amount| amount.count).sum(), free.iter().map(|amount| amount.bytes).sum());
    assert_eq!(sum(&arena.free_classes), Amount { count: free.0, bytes: free.1 }, "{arena:?}");
    let classes = || arena.used_classes.iter().chain(&arena.free_classes);
    assert!(classes().all(|class| (class.from * class.count..2 * class.from * class.count).contains(&class.bytes)));
    assert!(arena.largest_free <= arena.bins.bytes && arena.overhead < 4096 * arena.heaps, "{arena:?}");
}

/// Figures that the program printed: `name=value` before the XML, and of each arena the XML's.
struct Said {
    figures: BTreeMap<String, u64>,
    arenas: Vec<String>,
}

impl Said {
    fn parse(line: &str) -> Result<Said> {
        let (figures, xml) = line.split_once('<').ok_or("no XML")?;
        let figures = figures.split_whitespace().filter_map(|pair| pair.split_once('='));
        let figures = figures.map(|(name, value)| Ok((name.to_owned(), value.parse()?))).collect::<Result<_>>()?;
        let arenas = xml.split("<heap nr=").skip(1).map(|arena| arena.split("</heap>").next().unwrap_or("").to_owned());
        Ok(Said { figures, arenas: arenas.collect() })
    }

    fn figure(&self, name: &str) -> Result<u64> {
        self.figures.get(name).copied().ok_or_else(|| format!("no {name}").into())
    }

    /// An attribute of an arena's element `<total type="fast" ...>` or the like.
    fn attribute(&self, arena: usize, element: &str, attribute: &str) -> Result<u64> {
        let xml = self.arenas.get(arena).ok_or("no such arena")?;
        let (_, rest) = xml.split_once(&format!("<{element} ")).ok_or("no such element")?;
        let (_, rest) = rest.split_once(&format!("{attribute}=\"")).ok_or("no such attribute")?;
        Ok(rest.split('"').next().unwrap_or("").parse()?)
    }
}

/// Runs the program until it has said its figures. The loader of static programs takes memory from malloc for every
/// folder that libraries are looked for in: that is not the program's own, and not of the same size everywhere.
fn run(program: impl AsRef<OsStr>, words: &[&str], environment: Option<(&str, &str)>) -> Result<(Program, Said)> {
    let mut program =
        Program::start(Command::new(program).args(words).env_remove("LD_LIBRARY_PATH").envs(environment))?;
    program.wait_ready()?;
    program.go()?;
    let said = Said::parse(&program.wait_done()?)?;
    Ok((program, said))
}

fn sum(arenas: &[Arena], amount: impl Fn(&Arena) -> u64) -> u64 {
    arenas.iter().map(amount).sum()
}

/// Compares everything that glibc counts.
fn equals(look: &Look, said: &Said, what: &str) -> Result<()> {
    let arenas = &look.found.arenas;
    assert!(look.missing.is_empty(), "{what}: {:?}", look.missing);
    assert_eq!(arenas.len(), said.arenas.len(), "{what}");
    for (number, arena) in arenas.iter().enumerate() {
        let what = format!("{what}, arena {number}: {arena:?}");
        let xml = |element: &str, attribute: &str| said.attribute(number, element, attribute);
        assert_eq!(arena.number as usize, number, "{what}");
        assert_eq!(arena.system, xml("system type=\"current\"", "size")?, "{what}");
        let fast = "total type=\"fast\"";
        assert_eq!(arena.fastbins.count, xml(fast, "count")?, "{what}");
        assert_eq!(arena.fastbins.bytes, xml(fast, "size")?, "{what}");
        // Of chunks in bins it adds up the size fields, whose lowest bit says that the chunk before is in use.
        let rest = "total type=\"rest\"";
        assert_eq!(arena.bins.count + 1, xml(rest, "count")?, "{what}");
        assert_eq!(arena.bins.bytes + arena.bins.count + arena.top, xml(rest, "size")?, "{what}");
        if number > 0 {
            assert_eq!(arena.heaps, xml("aspace type=\"subheaps\"", "size")?, "{what}");
        }
    }
    let figure = |name: &str| said.figure(name);
    assert_eq!(sum(arenas, |arena| arena.system), figure("arena")?, "{what}");
    let taken = sum(arenas, |arena| arena.used.bytes + arena.tcache.bytes + arena.overhead);
    assert_eq!(taken, figure("uordblks")?, "{what}");
    let free = sum(arenas, |arena| arena.bins.bytes + arena.fastbins.bytes + arena.top);
    assert_eq!(free, figure("fordblks")?, "{what}");
    assert_eq!(sum(arenas, |arena| arena.fastbins.bytes), figure("fsmblks")?, "{what}");
    assert_eq!(sum(arenas, |arena| arena.fastbins.count), figure("smblks")?, "{what}");
    assert_eq!(sum(arenas, |arena| arena.bins.count + 1), figure("ordblks")?, "{what}");
    assert_eq!(arenas[0].top, figure("keepcost")?, "{what}");
    let blocks = (look.blocks.len() as u64, look.blocks.iter().map(|block| block.end - block.start).sum::<u64>());
    assert_eq!(blocks, (figure("hblks")?, figure("hblkhd")?), "{what}");
    // glibc takes what threads keep for used. The program knows what it has itself; a little more is libc's own: the
    // caches, streams, and what threads need.
    let own = |taken: u64, held: u64| taken.checked_sub(held).ok_or(format!("{what}: {taken} < {held}"));
    let threads = arenas.len() as u64;
    let count = own(sum(arenas, |arena| arena.used.count), figure("live")?)?;
    let bytes = own(sum(arenas, |arena| arena.used.bytes), figure("live_bytes")?)?;
    assert!(count < 10 + 5 * threads && bytes < 4096 + 4096 * threads, "{what}: {count} chunks, {bytes} bytes more");
    Ok(())
}

fn may(test: &str) -> bool {
    may_record().map_err(|reason| skip(test, &reason)).is_ok()
}

#[test]
fn main_and_thread_arenas_are_as_glibc_says() -> Result<()> {
    if !may("main_and_thread_arenas_are_as_glibc_says") {
        return Ok(());
    }
    for (name, program) in [("dynamic", GLIBC), ("static", GLIBC_STATIC)] {
        for threads in ["0", "1", "6"] {
            let what = format!("{name}, {threads} threads");
            let (program, said) = run(program, &["fill", threads], None)?;
            let look = look(program.pid())?;
            equals(&look, &said, &what)?;
            let arenas = &look.found.arenas;
            // The test would prove little if a kind of list were empty.
            let lists = [|arena: &Arena| arena.bins, |arena: &Arena| arena.fastbins, |arena: &Arena| arena.tcache];
            assert!(lists.iter().all(|list| list(&arenas[0]).count > 20), "{what}: {arenas:?}");
            assert_eq!(arenas.iter().any(|arena| arena.heaps > 1), threads != "0", "{what}: {arenas:?}");
            assert_eq!(look.blocks.len(), 4, "{what}");
            assert!(program.finish()?.success());
        }
    }
    Ok(())
}

/// Stopped anywhere, also inside malloc: what is counted adds up, and what does not is told to be unsettled.
#[test]
fn threads_that_are_at_work_leave_arenas_out_but_never_wrong() -> Result<()> {
    if !may("threads_that_are_at_work_leave_arenas_out_but_never_wrong") {
        return Ok(());
    }
    let mut program = Program::start(Command::new(GLIBC).args(["fill", "4", "500000"]))?;
    program.wait_ready()?;
    program.go()?;
    let mut looks = 0;
    while !program.is_done() && looks < 200 {
        // Before anything was allocated there is nothing to find; later it may have been at work each time.
        let look = match look(program.pid()) {
            Err(error) if [NONE, AMIDST].contains(&error.to_string().as_str()) => continue,
            look => look?,
        };
        looks += 1;
        assert_eq!(look.unsettled, !look.missing.is_empty(), "{:?}", look.missing);
    }
    assert!(looks > 0, "it was at work for a while");
    let said = Said::parse(&program.wait_done()?)?;
    equals(&look(program.pid())?, &said, "after all")?;
    assert!(program.finish()?.success());
    Ok(())
}

#[test]
fn caches_of_other_lengths_and_none_are_counted() -> Result<()> {
    if !may("caches_of_other_lengths_and_none_are_counted") {
        return Ok(());
    }
    let mut cached = Vec::new();
    for length in [0, 1, 7, 300] {
        let tunable = format!("glibc.malloc.tcache_count={length}");
        let (program, said) = run(GLIBC, &["fill", "2"], Some(("GLIBC_TUNABLES", &tunable)))?;
        let look = look(program.pid())?;
        equals(&look, &said, &tunable)?;
        cached.push(sum(&look.found.arenas, |arena| arena.tcache.count));
        assert!(program.finish()?.success());
    }
    assert_eq!(cached[0], 0);
    assert!(cached.is_sorted_by(|less, more| less < more), "{cached:?}");
    Ok(())
}

#[test]
fn a_main_arena_that_is_not_one_stretch_is_named_and_not_guessed() -> Result<()> {
    if !may("a_main_arena_that_is_not_one_stretch_is_named_and_not_guessed") {
        return Ok(());
    }
    for (mode, words) in [("foreign", "memory that is not its own"), ("scattered", "scattered over mappings")] {
        let (program, said) = run(GLIBC, &[mode], None)?;
        let look = look(program.pid())?;
        assert_eq!(look.found.arenas, [], "{mode}");
        assert!(!look.unsettled, "{mode}: it stays so");
        assert!(look.missing.iter().any(|what| what.contains(words)), "{mode}: {:?}", look.missing);
        let used: Vec<u64> = look.places[0].used.iter().map(|range| range.end - range.start).collect();
        let expected = if mode == "foreign" { vec![said.figure("arena")?] } else { Vec::new() };
        assert_eq!(used, expected, "{mode}");
        assert!(program.finish()?.success());
    }
    Ok(())
}

/// Checks a program that somebody else wrote: nothing is missing, and the main arena lies in the heap.
fn is_sound(pid: u32, what: &str) -> Result<()> {
    // A thread may just be at work.
    let looks = (0..20).map(|_| look(pid)).collect::<Result<Vec<_>>>()?;
    let look =
        looks.iter().find(|look| look.missing.is_empty()).ok_or_else(|| format!("{what}: {}", looks[0].missing[0]))?;
    let main = look.found.arenas.first().ok_or("no arena")?;
    assert!(main.number == 0 && main.used.count > 10, "{what}: {main:?}");
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    // In a child of fork what was there and what came later are mappings of their own.
    let heap = maps.lines().filter(|line| line.ends_with("[heap]"));
    let ends = heap.filter_map(|line| line.split(' ').next()?.split_once('-')).collect::<Vec<_>>();
    let (Some((start, _)), Some((_, end))) = (ends.first(), ends.last()) else { return Err("no heap".into()) };
    let range = &look.places[0].used[0];
    assert_eq!((format!("{:x}", range.start).as_str(), format!("{:x}", range.end).as_str()), (*start, *end), "{what}");
    Ok(())
}

#[test]
fn nginx_and_neovim_add_up() -> Result<()> {
    if !may("nginx_and_neovim_add_up") {
        return Ok(());
    }
    match Nginx::available() {
        Ok(()) => {
            let nginx = Nginx::start()?;
            is_sound(nginx.master_pid(), "master")?;
            is_sound(nginx.worker_pid()?, "worker")?;
        }
        Err(reason) => skip("nginx_and_neovim_add_up, nginx", &reason),
    }
    match Interpreter::neovim() {
        Ok(neovim) => {
            let mut program = neovim.start("mixed", None)?;
            program.wait_ready()?;
            is_sound(program.pid(), "neovim")?;
            program.go()?;
            program.wait_done()?;
            is_sound(program.pid(), "neovim, done")?;
        }
        Err(reason) => skip("nginx_and_neovim_add_up, neovim", &reason),
    }
    Ok(())
}

/// The program on the C library of the Debian before, or why it is not to be had.
fn on_older_library(folder: &Path) -> Result<std::result::Result<PathBuf, String>> {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let older = crate_folder.join("../target/debian-older/lib/x86_64-linux-gnu");
    let Ok(older) = older.canonicalize() else {
        return Ok(Err(format!("no {}; scripts/deps makes it", older.display())));
    };
    // The compiler knows its own library only. What starts a program has not changed in between.
    let started_by = |name: &str| {
        let path = Command::new("cc").arg(format!("-print-file-name={name}")).output()?.stdout;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&path).trim().to_owned())
    };
    let program = folder.join("older");
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-s", "-w", "-pthread", "-no-pie", "-nostdlib", "-DMALLINFO=mallinfo", "-o"]).arg(&program);
    cc.arg(started_by("crt1.o")?).arg(started_by("crti.o")?).arg(crate_folder.join("programs/glibc.c"));
    cc.arg(older.join("libpthread-2.31.so")).arg(older.join("libc-2.31.so")).arg("-lgcc").arg(started_by("crtn.o")?);
    cc.arg(format!("-Wl,-rpath,{0},-dynamic-linker,{0}/ld-2.31.so", older.display()));
    let ran = testdata::run(&mut cc)?;
    if ran.code == 0 { Ok(Ok(program)) } else { Err(ran.stderr.into()) }
}

/// 2.31 has other heads of heaps, links as they are, and keys that are addresses.
#[test]
fn the_library_of_the_debian_before_is_known_too() -> Result<()> {
    let test = "the_library_of_the_debian_before_is_known_too";
    if !may(test) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let program = match on_older_library(folder.path())? {
        Ok(program) => program,
        Err(reason) => {
            skip(test, &reason);
            return Ok(());
        }
    };
    let (program, said) = run(&program, &["fill", "3"], None)?;
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", program.pid()))?;
    assert!(maps.contains("/libc-2.31.so"), "{maps}");
    let look = look(program.pid())?;
    equals(&look, &said, "2.31")?;
    // Every thread but the one that has ended keeps some hundred.
    assert!(sum(&look.found.arenas, |arena| arena.tcache.count) > 400, "{:?}", look.found.arenas);
    assert!(program.finish()?.success());
    Ok(())
}
