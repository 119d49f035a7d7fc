//! Letting a traced thread go with any signal; the crate we use elsewhere knows no real-time signals.

use std::io;
use std::ptr;

use nix::libc;

/// `PTRACE_DETACH`, delivering `signal` (0 for none). The thread must be in a ptrace stop.
pub fn detach(tid: i32, signal: i32) -> io::Result<()> {
    let nothing = ptr::null_mut::<libc::c_void>();
    // SAFETY: the kernel ignores the address and takes the signal as a number; no memory of ours is involved.
    let result = unsafe { libc::ptrace(libc::PTRACE_DETACH, tid, nothing, signal as libc::c_long) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
