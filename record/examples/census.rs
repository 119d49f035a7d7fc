//! How long a census of a process's heaps takes, beside their copy: for `scripts/bench`. The process must be waiting.
//!
//!     census PID ROUNDS
//!
//! Prints a JSON object for each round: bytes copied, blocks labelled, and nanoseconds of the copy, the walk of the heaps
//! and the census.

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use nix::unistd::Pid;
use record::census::Wanted;
use record::locate;
use record::snapshot::{self, VmPlace};
use record::target::Target;

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1).map(|word| word.parse::<i32>());
    let mut number = || words.next().context("census PID ROUNDS")?.context("no number");
    let (pid, rounds) = (number()?, number()?);
    let target = Target::open(Pid::from_raw(pid))?;
    let found = locate::vms(&target, &target.mappings()?);
    let place = |(number, vm): (u32, &locate::FoundVm)| VmPlace { number, mstate: vm.mstate, global: vm.global };
    let vms: Vec<VmPlace> = (1..).zip(&found.vms).map(place).collect();
    let direct = snapshot::maybe_direct(&target, &snapshot::data_pages(&target.mappings()?));
    let mut arena = Vec::new();
    for _ in 0..rounds {
        snapshot::prepare(snapshot::heap_bytes(&target, &vms), &mut arena);
        let deadline = Instant::now() + Duration::from_secs(60);
        let (taken, copy_ns) = timed(|| snapshot::take(&target, &vms, &direct, std::mem::take(&mut arena), deadline));
        let snapshot = taken.map_err(|_| anyhow!("it takes too long"))?;
        let (heaps, walk_ns) = timed(|| snapshot.heaps());
        let (censuses, census_ns) =
            timed(|| snapshot.censuses(&heaps, Some(&target), Wanted::default(), &AtomicBool::new(false)));
        let blocks: usize = censuses.iter().map(|(_, taken)| taken.census.labels.len()).sum();
        let bytes = snapshot.memory.len();
        let figures = serde_json::json!({
            "bytes": bytes, "blocks": blocks, "copy_ns": copy_ns, "walk_ns": walk_ns, "census_ns": census_ns,
        });
        println!("{figures}");
        arena = snapshot.into_arena();
    }
    Ok(())
}

/// What something comes to, and the nanoseconds it takes.
fn timed<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let since = Instant::now();
    let done = work();
    (done, since.elapsed().as_nanos() as u64)
}
