//! Where a thread's stack is, while it runs on.

use nix::unistd::Pid;
use procfs::process::{Process, Syscall};
use shared::Addr;

/// The stack pointer of a thread that waits in the kernel; nothing while it runs.
pub(super) fn pointer(tid: Pid) -> Option<Addr> {
    match Process::new(tid.as_raw()).ok()?.syscall().ok()? {
        Syscall::Blocked { stack_pointer, .. } => Some(stack_pointer),
        _ => None,
    }
}
