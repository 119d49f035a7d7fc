//! Closing a probe so that it cannot fail.
//!
//! The kernel takes the breakpoint out of the target's text when the last descriptor of the event is closed, for which it
//! looks the page up (`uprobe_write_opcode`, `__get_user_pages`); and that it refuses to a thread with a SIGKILL pending.
//! So a recorder that is killed while it closes a probe, which takes 75 ms, would leave the breakpoint in the text, where
//! it costs the target a trap at every call (the kernel's log says "failed to unregister, leaking uprobe").
//!
//! A process that is already ending takes no more signals (`prepare_signal`), and what it closes then is closed for good.
//! So the last descriptor of a probe is always held by a process that does nothing but end.

use std::io::{self, PipeWriter};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

/// The hidden argument that makes us an undertaker.
pub const UNDERTAKER_ARGUMENT: &str = "__close";

/// What an undertaker does: it waits until the descriptor it was given, as its standard output, is nobody else's, and
/// ends.
pub fn undertaker() {
    // It cannot be asked for the reason; whatever it is, to end is right.
    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
}

/// A process of ours that holds a descriptor. When this is dropped, it ends; the descriptor is closed by then.
#[derive(Debug)]
pub struct Undertaker {
    /// Its standard input: closed by us, or by our own end.
    lifeline: Option<PipeWriter>,
    child: Child,
}

impl Undertaker {
    /// Gives it a copy of a descriptor. All others are to be closed before this is dropped.
    pub fn take(fd: &OwnedFd) -> io::Result<Undertaker> {
        let copy = fd.try_clone()?;
        let (waits, lifeline) = io::pipe()?;
        let mut command = Command::new("/proc/self/exe");
        command.arg(UNDERTAKER_ARGUMENT).stdin(waits).stdout(copy).stderr(Stdio::null());
        Ok(Undertaker { lifeline: Some(lifeline), child: command.spawn()? })
    }
}

impl Drop for Undertaker {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        // Fails only if somebody else has waited for it.
        let _ = self.child.wait();
    }
}
