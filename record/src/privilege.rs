//! Turns a refusal of the kernel into the present setting and the command that helps.

use std::fs;
use std::io;

use anyhow::anyhow;
use nix::unistd::Pid;

use crate::freeze::FreezeError;
use crate::target::Target;

fn setting(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "absent".into(), |text| text.trim().to_owned())
}

/// Our effective capabilities as the kernel prints them, in hex.
fn capabilities() -> String {
    let status = setting("/proc/self/status");
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.unwrap_or("unknown").trim().to_owned()
}

fn is_refusal(error: &io::Error) -> bool {
    // EPERM and EACCES, also where procfs has already made a kind of them.
    error.kind() == io::ErrorKind::PermissionDenied
}

/// Why a probe could not be opened.
pub fn explain_perf(tid: Pid, error: &io::Error) -> anyhow::Error {
    if is_refusal(error) {
        return anyhow!(
            "no privilege to probe thread {tid} ({error}): perf_event_paranoid is {}, our capabilities are {}; run as \
             root, or once: setcap cap_perfmon,cap_sys_ptrace,cap_sys_admin=ep $(command -v record)",
            setting("/proc/sys/kernel/perf_event_paranoid"),
            capabilities(),
        );
    }
    match error.raw_os_error() {
        Some(nix::libc::EMFILE) => {
            anyhow!("too many open files for all threads' probes: raise it with ulimit -n 65536")
        }
        Some(nix::libc::ESRCH) => anyhow!("thread {tid} ended while it was being probed"),
        _ => anyhow!("cannot probe thread {tid}: {error}"),
    }
}

/// Why a process could not be stopped or read.
pub fn explain_ptrace(pid: Pid, error: FreezeError) -> anyhow::Error {
    match error {
        FreezeError::Refused { error, .. } if is_refusal(&error) => match tracer(pid) {
            Some(tracer) => anyhow!("process {pid} is being traced by process {tracer} already: end that first"),
            None => explain_access(pid, &error),
        },
        other => anyhow!("process {pid}: {other}"),
    }
}

/// Why a process's memory could not be read.
pub fn explain_access(pid: Pid, error: &io::Error) -> anyhow::Error {
    if !is_refusal(error) {
        return anyhow!("process {pid}: {error}");
    }
    anyhow!(
        "no privilege to look into process {pid} ({error}): ptrace_scope is {}, our capabilities are {}; run as root, \
         or once: setcap cap_perfmon,cap_sys_ptrace,cap_sys_admin=ep $(command -v record)",
        setting("/proc/sys/kernel/yama/ptrace_scope"),
        capabilities(),
    )
}

/// The process that traces `pid`, if any.
fn tracer(pid: Pid) -> Option<i32> {
    let status = setting(&format!("/proc/{pid}/status"));
    let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?;
    line.trim().parse().ok().filter(|&tracer| tracer != 0)
}

/// Whether reading the target's memory is allowed: `Ok`, or why not.
pub fn check_access(target: &Target) -> anyhow::Result<()> {
    let mappings = target.mappings().map_err(|error| explain_access(target.pid, &error))?;
    let Some(first) = mappings.iter().find(|mapping| mapping.executable) else {
        return Err(anyhow!("process {} has no program in it: a kernel thread or a zombie", target.pid));
    };
    let mut byte = [0];
    crate::target::Memory::read(target, first.start, &mut byte).map_err(|error| explain_access(target.pid, &error))
}
