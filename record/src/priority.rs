//! Who may have the processor first. While a process stands still, or pays for every call, it waits for its session: a
//! session that waits for a processor itself, because the recorder was niced or others are busy, would make that long.
//! Stops of 300 ms instead of 1 ms were seen under `nice -n 19` beside two busy loops.

use std::sync::OnceLock;

/// The highest there is without real time.
const FIRST: i32 = -20;

/// What the recorder was started with.
static OWN: OnceLock<i32> = OnceLock::new();

/// Lets this thread, and those it starts, come first; where that is not allowed (CAP_SYS_NICE), all stays as it is.
pub fn raise() {
    if let Ok(own) = rustix::process::getpriority_process(None) {
        OWN.get_or_init(|| own);
        let _ = rustix::process::setpriority_process(None, FIRST);
    }
}

/// Lets this thread wait like any other: for work that no process waits for.
pub fn lower() {
    if let Some(&own) = OWN.get() {
        let _ = rustix::process::setpriority_process(None, own);
    }
}
