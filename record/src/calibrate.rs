//! What a hit costs on this machine, measured on a child of ours, never on the target.

use std::ffi::CString;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;

use crate::clock::own_cpu_ns;
use crate::door::{Module, uprobe_pmu};
use crate::hits::{HIT_BYTES, Record};
use crate::site;
use crate::stacks::probe::{SAMPLE_BYTES, StackProbe};
use crate::stacks::{Pace, StackPrice};
use crate::sys::{PerfEvent, ProbeSpec, Ring, Tells};
use crate::target::Target;

/// The hidden argument that makes us the child.
pub const CHILD_ARGUMENT: &str = "__calibrate";
/// Calls a round, if the ring is as large as wished: 20 ms at a microsecond each.
const CALLS: u32 = 20_000;
/// Rounds with and without the probe; other load can only slow one down.
const ROUNDS: u32 = 5;
/// Twice what machines seen take.
const GUESS: (u64, u64) = (4000, 4000);
/// Data pages of a ring that holds a round's records; fewer, and shorter rounds, where no more memory may be locked.
const RING_PAGES: usize = 512;
const PAGE: usize = 4096;

/// Decides by its last argument first, as `lj_alloc_f` does, so that it begins like it.
#[inline(never)]
extern "C" fn door_like(state: u64, ptr: u64, osize: u64, nsize: u64) -> u64 {
    if nsize == 0 {
        black_box(state ^ ptr)
    } else if ptr == 0 {
        black_box(state ^ nsize)
    } else {
        black_box(osize ^ nsize)
    }
}

/// The child: for every number read, a round of so many calls, answered with the nanoseconds of processor
/// time it took. (By the clock on the wall a busy machine would make hits look dear.)
pub fn child() -> Result<()> {
    for line in std::io::stdin().lock().lines() {
        let calls: u32 = line?.parse()?;
        let start = own_cpu_ns();
        for n in 0..calls {
            black_box(door_like(black_box(1), black_box(u64::from(n & 1)), 3, black_box(u64::from(n & 2))));
        }
        println!("{}", own_cpu_ns() - start);
    }
    Ok(())
}

struct Helper {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Helper {
    fn start() -> Result<Helper> {
        let mut child = Command::new("/proc/self/exe")
            .arg(CHILD_ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the calibration child")?;
        let stdin = child.stdin.take().context("no pipe to the calibration child")?;
        let stdout = child.stdout.take().context("no pipe from the calibration child")?;
        Ok(Helper { child, stdin, stdout: BufReader::new(stdout) })
    }

    /// Some rounds of so many calls, in nanoseconds, ascending; `after` runs behind each.
    fn rounds(&mut self, calls: u32, mut after: impl FnMut()) -> Result<Vec<u64>> {
        let mut all = Vec::new();
        for _ in 0..ROUNDS {
            writeln!(self.stdin, "{calls}")?;
            let mut line = String::new();
            self.stdout.read_line(&mut line)?;
            all.push(line.trim().parse()?);
            after();
        }
        all.sort_unstable();
        Ok(all)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The cost of a hit at an instruction that the kernel emulates, and how far the measurements lie apart. Where it cannot
/// be measured, which is said, a high guess.
pub fn hit_cost_ns_or_guess() -> (u64, u64) {
    hit_cost_ns(true).unwrap_or_else(|error| {
        let cause = error.downcast_ref::<std::io::Error>();
        // Where we may not probe our own child, we may not probe the target either, and that is said then.
        if cause.is_some_and(|cause| cause.kind() == std::io::ErrorKind::PermissionDenied) {
            return GUESS;
        }
        crate::say!("record: the cost of a hit could not be measured, {GUESS:?} ns is assumed: {error:#}");
        GUESS
    })
}

/// A child that calls, and what to probe in it.
struct Bench {
    helper: Helper,
    spec: ProbeSpec,
}

impl Bench {
    fn set_up(emulated: bool) -> Result<Bench> {
        let helper = Helper::start()?;
        let addr = door_like as *const () as usize as u64;
        let own = Target::open(Pid::this())?;
        let mappings = own.mappings()?;
        let mapping = mappings.iter().find(|mapping| mapping.contains(addr)).context("our own code is unmapped")?;
        let module = Module::load(&own, mapping)?;
        let entry = module.addr_of(addr);
        let mut probe = site::choose(module.image.code(entry), entry).context("our own code cannot be decoded")?;
        if !emulated && probe.emulated {
            probe = shared::trace::meta::Probe { addr: entry, emulated: false, ..probe };
        }
        ensure!(probe.emulated == emulated, "our own code has no emulated instruction to measure at");
        let spec = ProbeSpec {
            pmu: uprobe_pmu()?,
            path: CString::new(module.path.as_os_str().as_bytes())?,
            offset: module.image.offset_of(probe.addr).context("our own code is not in our file")?,
            watermark: Some(u32::MAX),
            follow_tasks: false,
            tells: Tells::Arguments,
        };
        Ok(Bench { helper, spec })
    }

    fn pid(&self) -> i32 {
        self.helper.child.id() as i32
    }
}

/// Nanoseconds that a hit adds to a call, at an instruction that the kernel emulates or not: the middle of the rounds,
/// and how far they lie apart.
pub fn hit_cost_ns(emulated: bool) -> Result<(u64, u64)> {
    let mut bench = Bench::set_up(emulated)?;
    // A first answer: the child runs our program by now.
    let bare = bench.helper.rounds(CALLS, || {})?;
    let event = PerfEvent::open(&bench.spec, bench.pid())?;
    let (mut ring, pages) = largest_ring(&event)?;
    let calls = CALLS.min((pages * PAGE / HIT_BYTES) as u32);
    event.enable()?;
    let probed = bench.helper.rounds(calls, || empty(&mut ring))?;
    let hits = event.counts()?.hits;
    ensure!(hits == u64::from(calls * ROUNDS), "{hits} hits for {} calls", calls * ROUNDS);
    let bare = bare[0] * u64::from(calls) / u64::from(CALLS);
    let per_call = |round: u64| round.saturating_sub(bare) / u64::from(calls);
    let (least, middle, most) = (probed[0], probed[probed.len() / 2], probed[probed.len() - 1]);
    Ok((per_call(middle), per_call(most) - per_call(least)))
}

/// Of one hit of so many a stack is taken to learn what that costs.
const STACK_EVERY: u64 = 10;
/// With fewer stacks that can be told which call they are of, something is wrong.
const ENOUGH_TOLD: u64 = 20;

/// What taking stacks costs: rounds with one probe, with a second one that never writes, and with one that often does. Other
/// load can only slow one down, so the fastest of each count.
pub fn stack_price() -> Result<StackPrice> {
    let mut bench = Bench::set_up(true)?;
    bench.helper.rounds(CALLS, || {})?;
    let pid = bench.pid();
    let event = PerfEvent::open(&bench.spec, pid)?;
    let (mut ring, pages) = largest_ring(&event)?;
    let calls = CALLS.min((pages * PAGE / HIT_BYTES) as u32);
    event.enable()?;
    let alone = bench.helper.rounds(calls, || empty(&mut ring))?[0];
    let bytes = (u64::from(calls) / STACK_EVERY) as usize * SAMPLE_BYTES;
    let never = StackProbe::open(&bench.spec, pid, Pace::steady(u64::from(u32::MAX)), SAMPLE_BYTES)?;
    never.start()?;
    let beside = bench.helper.rounds(calls, || empty(&mut ring))?[0];
    drop(never);
    let mut often = StackProbe::open(&bench.spec, pid, Pace::steady(STACK_EVERY), bytes)?;
    often.start()?;
    let (mut told, mut lost) = (0, 0);
    let sampling = bench.helper.rounds(calls, || {
        often.read(|_| 0);
        ring.drain(None, |bytes| {
            if let Record::Hit(hit) = Record::parse(bytes) {
                often.hit(&hit, |_| told += 1);
            }
        });
        often.rest(|_| told += 1);
        lost += often.take_lost();
    })?[0];
    ensure!(told >= ENOUGH_TOLD, "of {calls} calls only {told} stacks came that could be told, and {lost} others");
    let more = |slow: u64, fast: u64| slow.saturating_sub(fast) as f64 / f64::from(calls);
    Ok(StackPrice {
        probe_ns: more(beside, alone).ceil() as u64,
        stack_ns: (more(sampling, beside) * STACK_EVERY as f64).ceil() as u64,
    })
}

fn empty(ring: &mut Ring) {
    ring.drain(None, |_| {});
}

/// The largest ring that we may have, and its data pages.
fn largest_ring(event: &PerfEvent) -> Result<(Ring, usize)> {
    let mut pages = RING_PAGES;
    loop {
        match Ring::map(event, pages) {
            Err(error) if error.kind() == std::io::ErrorKind::QuotaExceeded && pages > 1 => pages /= 2,
            mapped => return Ok((mapped?, pages)),
        }
    }
}
