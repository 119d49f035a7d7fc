//! One process looked at by the recorder, and beside it by the test itself: both must come to the same sums.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use shared::trace::breakdown::{Breakdown, Memory, Slice, SliceKind};
use shared::trace::frame::Kind;
use shared::trace::reader::{End, Trace};
use testdata::{changed_text, record, state, status_field};

use crate::Result;

/// Bytes of a page.
pub(crate) const PAGE: u64 = 4096;

/// What the recorder found in a process, and what it said.
pub(crate) struct Look {
    /// Where the process's memory goes.
    pub(crate) breakdown: Breakdown,
    /// The recorder's words.
    pub(crate) said: String,
}

impl Look {
    /// Takes a snapshot of a process that stands still, and checks that the sums hold and that nothing was done to it.
    pub(crate) fn at(pid: u32, name: &str) -> Result<Look> {
        let folder = tempfile::tempdir()?;
        let trace = folder.path().join("trace.ljt");
        Look::into(pid, name, &trace)
    }

    /// The same with the trace kept.
    pub(crate) fn into(pid: u32, name: &str, trace: &Path) -> Result<Look> {
        // It may have said that it is ready and not have gone to sleep yet.
        let since = Instant::now();
        while state(pid) != Some('S') && since.elapsed() < Duration::from_secs(5) {
            std::thread::sleep(Duration::from_millis(1));
        }
        let before = by_mapping(pid)?;
        let words =
            ["--mode=snapshot".as_ref(), "--max-pause=2s".as_ref(), "-o".as_ref(), trace.as_os_str(), "-p".as_ref()];
        let ran = record(words.into_iter().chain([pid.to_string().as_ref()]))?;
        let after = by_mapping(pid)?;
        assert_eq!(ran.code, 0, "{name}: {}", ran.stderr);
        assert_eq!(changed_text(pid)?, [0; 0], "{name}: its code is as it was");
        assert_eq!(status_field(pid, "TracerPid")?, "0", "{name}");
        assert!(matches!(state(pid), Some('S' | 'R')), "{name}: it goes on: {:?}", state(pid));

        let mut found = breakdowns(trace)?.into_iter().filter(|breakdown| breakdown.pid == pid);
        let breakdown = found.next_back().ok_or_else(|| format!("{name}: no breakdown: {}", ran.stderr))?;
        let look = Look { breakdown, said: ran.stderr };
        look.check_sums(name, pid, before, after)?;
        Ok(look)
    }

    /// The slices must sum to what the kernel's list of mappings says, to the byte, and to its totals as far as those are
    /// exact. A look may itself bring a page into memory, so it lies between what was seen before and after.
    fn check_sums(&self, name: &str, pid: u32, before: Memory, after: Memory) -> Result<()> {
        let (sum, total) = (self.sum(|_| true), self.breakdown.total);
        let name = format!("{name}: {:#?}, before {before:?}, after {after:?}", self.breakdown);
        assert_eq!((before.mapped, sum.mapped, total.mapped), (after.mapped, after.mapped, after.mapped), "{name}");
        let between =
            |of: fn(&Memory) -> u64| (of(&before).min(of(&after))..=of(&before).max(of(&after))).contains(&of(&sum));
        assert!(between(|memory| memory.resident) && between(|memory| memory.swapped), "{sum:?} {name}");
        // Resident are file, anonymous and shared pages; swapped is one more count.
        let lag = lag(pid)?;
        assert!(sum.resident.abs_diff(total.resident) <= 3 * lag, "{sum:?} {name}");
        assert!(sum.swapped.abs_diff(total.swapped) <= lag, "{sum:?} {name}");

        let names: BTreeSet<_> = self.breakdown.slices.iter().map(|one| (one.kind, &one.name, one.vm)).collect();
        assert_eq!(names.len(), self.breakdown.slices.len(), "a slice twice: {name}");
        for Slice { memory, .. } in &self.breakdown.slices {
            assert!(memory.resident + memory.swapped <= memory.mapped, "{name}");
            assert!(memory.pss <= memory.resident, "{name}");
        }
        Ok(())
    }

    /// The memory of some slices together.
    pub(crate) fn sum(&self, which: impl Fn(&Slice) -> bool) -> Memory {
        self.breakdown.slices.iter().filter(|slice| which(slice)).map(|slice| slice.memory).sum()
    }

    /// The memory of all slices of a kind.
    pub(crate) fn of(&self, kind: SliceKind) -> Memory {
        self.sum(|slice| slice.kind == kind)
    }

    /// The names of the slices of a kind.
    pub(crate) fn names(&self, kind: SliceKind) -> Vec<&str> {
        self.breakdown.slices.iter().filter(|slice| slice.kind == kind).map(|slice| &*slice.name).collect()
    }
}

/// All breakdowns of a trace, which must be whole.
pub(crate) fn breakdowns(trace: &Path) -> Result<Vec<Breakdown>> {
    let trace = Trace::open(File::open(trace)?)?;
    assert!(matches!(trace.end, End::Complete(_)), "{:?}", trace.end);
    let frames = trace.frames.iter().filter(|frame| frame.head.kind == Kind::Breakdown);
    Ok(frames.map(|frame| trace.breakdown(frame)).collect::<std::result::Result<_, _>>()?)
}

/// The sums over a process's `smaps`; without `[vsyscall]`, which is in no process's size.
fn by_mapping(pid: u32) -> Result<Memory> {
    let (mut sum, mut counts) = (Memory::default(), true);
    for line in fs::read_to_string(format!("/proc/{pid}/smaps"))?.lines() {
        let mut words = line.split_whitespace();
        let of = match words.next() {
            Some("Size:") => &mut sum.mapped,
            Some("Rss:") => &mut sum.resident,
            Some("Swap:") => &mut sum.swapped,
            Some(word) if !word.ends_with(':') => {
                counts = !line.ends_with("[vsyscall]");
                continue;
            }
            _ => continue,
        };
        let kib: u64 = words.next().ok_or("no number")?.parse()?;
        *of += if counts { kib << 10 } else { 0 };
    }
    Ok(sum)
}

/// By how many bytes one of the counts in `status` may be behind the page tables. Up to Linux 6.1 each thread keeps up to
/// 64 page faults to itself (`TASK_RSS_EVENTS_THRESH`); since then (f1a7941243c1) each processor keeps fewer than
/// `percpu_counter_batch` pages, which is 32 or twice the number of processors. Newer kernels add these up for `status`.
fn lag(pid: u32) -> Result<u64> {
    let threads: u64 = status_field(pid, "Threads")?.parse()?;
    let list = fs::read_to_string("/proc/cpuinfo")?;
    let processors = list.lines().filter(|line| line.starts_with("processor")).count() as u64;
    Ok((64 * threads).max(processors * 32.max(2 * processors)) * PAGE)
}
