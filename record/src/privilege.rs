//! Turns a refusal of the kernel into what is missing, the present setting and the command that helps.
//!
//! | what for | what it takes |
//! |---|---|
//! | read and stop a process of one's own | nothing, where Yama's `ptrace_scope` is 0 |
//! | read and stop any other | CAP_SYS_PTRACE |
//! | probe | CAP_SYS_ADMIN; CAP_PERFMON alone up to the middle of 2025, see [`PROBES_NEED`] |
//! | reach a file that was replaced or deleted since it was mapped | CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN |
//! | the same of another user's process; files that only their owner may read | CAP_DAC_READ_SEARCH |
//! | lock more memory for rings than perf_event_mlock_kb and RLIMIT_MEMLOCK allow | CAP_IPC_LOCK |

use std::fs;
use std::io;
use std::path::Path;

use anyhow::anyhow;
use nix::unistd::Pid;

use crate::freeze::FreezeError;
use crate::target::Target;

/// Linux 5.8 let CAP_PERFMON open uprobes (c9e0924e5c2b); 6.16 and the stable releases from July 2025 on, 6.1.146 and
/// 5.10.240 among them, took that back (ba677dbe77af): a probe in the middle of an instruction breaks a program.
const PROBES_NEED: &str =
    "CAP_SYS_ADMIN is missing (CAP_PERFMON instead suffices on kernels older than July 2025 only)";

/// What always suffices.
const HELP: &str = "run as root, or once: setcap cap_sys_ptrace,cap_sys_admin=ep $(command -v record)";

fn setting(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| "absent".into(), |text| text.trim().to_owned())
}

/// Bits of `<linux/capability.h>`.
#[derive(Debug, Clone, Copy)]
enum Capability {
    DacReadSearch = 2,
    SysPtrace = 19,
    SysAdmin = 21,
    Perfmon = 38,
}

/// Our effective capabilities as the kernel prints them, in hex.
fn capabilities() -> String {
    let status = setting("/proc/self/status");
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.unwrap_or("unknown").trim().to_owned()
}

fn have(capability: Capability) -> bool {
    u64::from_str_radix(&capabilities(), 16).is_ok_and(|bits| bits & (1 << capability as u32) != 0)
}

/// Why something may be refused to those who have the capability for it.
fn refused_anyway(capability: &str) -> String {
    let map = setting("/proc/self/uid_map");
    if map.split_whitespace().eq(["0", "0", "4294967295"]) {
        format!("{capability} is there, so a seccomp filter or a security module forbids it")
    } else {
        format!("{capability} is there, but counts in a user namespace only: run it outside of that")
    }
}

fn is_refusal(error: &io::Error) -> bool {
    // EPERM and EACCES, also where procfs has already made a kind of them.
    error.kind() == io::ErrorKind::PermissionDenied
}

/// Why a probe could not be opened.
pub fn explain_perf(tid: Pid, error: &io::Error) -> anyhow::Error {
    if is_refusal(error) {
        let missing = match (have(Capability::SysAdmin), have(Capability::Perfmon)) {
            (true, _) => refused_anyway("CAP_SYS_ADMIN"),
            (_, true) => "CAP_PERFMON is there, but this kernel wants CAP_SYS_ADMIN for uprobes".to_owned(),
            _ => PROBES_NEED.to_owned(),
        };
        return anyhow!(
            "no privilege to probe thread {tid} ({error}): {missing}; perf_event_paranoid is {}, our capabilities are \
             {}; {HELP}; or take --mode snapshot, which needs cap_sys_ptrace alone",
            setting("/proc/sys/kernel/perf_event_paranoid"),
            capabilities(),
        );
    }
    if error.kind() == io::ErrorKind::QuotaExceeded {
        return anyhow!(
            "no memory may be locked for what thread {tid} calls: perf_event_mlock_kb is {}, and the limit beyond that \
             is used up (ulimit -l); raise one of them, or add cap_ipc_lock to our capabilities",
            setting("/proc/sys/kernel/perf_event_mlock_kb"),
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
    let scope = setting("/proc/sys/kernel/yama/ptrace_scope");
    let missing = match have(Capability::SysPtrace) {
        // YAMA_SCOPE_NO_ATTACH.
        _ if scope == "3" => "ptrace_scope 3 forbids it to everybody, and stays until the next boot".to_owned(),
        true => refused_anyway("CAP_SYS_PTRACE"),
        false => "CAP_SYS_PTRACE is missing".to_owned(),
    };
    anyhow!(
        "no privilege to look into process {pid} ({error}): {missing}; ptrace_scope is {scope}, our capabilities are \
         {}; {HELP}",
        capabilities(),
    )
}

/// Why a file that a process has mapped could not be read: `name` as the process knows it, `path` as it was tried.
pub fn explain_file(name: &Path, path: &Path, error: &io::Error) -> anyhow::Error {
    let name = name.display();
    if !is_refusal(error) {
        return anyhow!("cannot read {name}: {error}");
    }
    let by_mapping = path.components().any(|part| part.as_os_str() == "map_files");
    let mut missing = Vec::new();
    if by_mapping && !have(Capability::SysAdmin) {
        missing.push("cap_sys_admin or cap_checkpoint_restore");
    }
    if !have(Capability::DacReadSearch) {
        missing.push("cap_dac_read_search");
    }
    let why = if by_mapping {
        "it was replaced or deleted since it was mapped, and what is left of it can be reached by few"
    } else {
        "only its owner may"
    };
    let missing = if missing.is_empty() { "privilege".to_owned() } else { missing.join(", ") };
    anyhow!(
        "cannot read {name} ({error}): {why}; missing is {missing}, our capabilities are {}; run as root",
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
