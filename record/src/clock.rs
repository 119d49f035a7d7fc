//! The clocks a recording needs.

use nix::unistd::Pid;
use shared::Nanos;

/// `CLOCK_MONOTONIC` in nanoseconds: the clock of the trace, and of perf's samples.
pub fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Our own processor time so far, user and system.
pub fn own_cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// The processor time that a process has used since its start, all its threads together; none once it is gone.
pub fn cpu_ns(pid: Pid) -> Option<Nanos> {
    let time = nix::time::clock_getcpuclockid(pid).and_then(nix::time::clock_gettime).ok()?;
    Some(time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64)
}
