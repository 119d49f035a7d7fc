//! What a hit costs on this machine, measured on a child of ours, never on the target.

use std::ffi::CString;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use nix::unistd::Pid;

use crate::door::{Module, uprobe_pmu};
use crate::site;
use crate::sys::{PerfEvent, ProbeSpec, Ring};
use crate::target::Target;

/// The hidden argument that makes us the child.
pub const CHILD_ARGUMENT: &str = "__calibrate";
/// Calls a round: 20 ms at a microsecond each.
const CALLS: u32 = 20_000;
/// Rounds with and without the probe; other load can only slow one down.
const ROUNDS: u32 = 5;
/// Data pages of a ring that holds a round's records of 72 bytes.
const RING_PAGES: usize = 512;

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

/// The child: for every line read, a round of calls, answered with its nanoseconds.
pub fn child() -> Result<()> {
    for line in std::io::stdin().lock().lines() {
        line?;
        let start = Instant::now();
        for n in 0..CALLS {
            black_box(door_like(black_box(1), black_box(u64::from(n & 1)), 3, black_box(u64::from(n & 2))));
        }
        println!("{}", start.elapsed().as_nanos());
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

    /// The fastest of some rounds, in nanoseconds; `after` runs behind each.
    fn rounds(&mut self, mut after: impl FnMut()) -> Result<u64> {
        let mut best = u64::MAX;
        for _ in 0..ROUNDS {
            self.stdin.write_all(b"go\n")?;
            let mut line = String::new();
            self.stdout.read_line(&mut line)?;
            best = best.min(line.trim().parse()?);
            after();
        }
        Ok(best)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nanoseconds that a hit adds to a call, at an instruction that the kernel emulates or not.
pub fn hit_cost_ns(emulated: bool) -> Result<u64> {
    let mut helper = Helper::start()?;
    let target = Target::open(Pid::from_raw(helper.child.id() as i32))?;
    // A first answer: the child runs our program by now.
    let bare = helper.rounds(|| {})?;
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
    };
    let event = PerfEvent::open(&spec, target.pid.as_raw())?;
    let mut ring = Ring::map(&event, RING_PAGES)?;
    event.enable()?;
    let probed = helper.rounds(|| {
        ring.drain(None, |_| {});
    })?;
    let hits = event.counts()?.hits;
    ensure!(hits == u64::from(CALLS * ROUNDS), "{hits} hits for {} calls", CALLS * ROUNDS);
    Ok(probed.saturating_sub(bare) / u64::from(CALLS))
}
