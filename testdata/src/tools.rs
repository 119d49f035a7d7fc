//! ljscope's own two programs, as a user runs them.

use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::process::signal;
use crate::{LIMIT, Ran, run};

/// The program `name` of this workspace, built by the same `cargo test --workspace` or `cargo build`.
///
/// # Panics
/// If it was not built: tests of this crate alone do not build it.
pub fn tool(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    let found = own.ancestors().map(|folder| folder.join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not built beside {}: cargo build --release --workspace", own.display()))
}

/// Whether recording is possible here, or why not: it takes the rights of root.
///
/// # Errors
/// What is missing, for a test to report as its reason to skip.
pub fn may_record() -> Result<(), String> {
    let pmu = "/sys/bus/event_source/devices/uprobe/type";
    if !Path::new(pmu).exists() {
        return Err(format!("no {pmu}: the kernel has no uprobes"));
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or("0");
    let bits = u64::from_str_radix(capabilities.trim(), 16).unwrap_or(0);
    // CAP_SYS_PTRACE and CAP_SYS_ADMIN of <linux/capability.h>.
    if bits >> 19 & 1 == 1 && bits >> 21 & 1 == 1 { Ok(()) } else { Err("recording needs root".into()) }
}

/// Reports that a test, or a part of one, did not run, where `scripts/test` counts it.
pub fn skip(test: &str, reason: &str) {
    use std::io::Write;
    // Not a print macro, whose text the test harness would keep to itself.
    let _ = writeln!(io::stderr().lock(), "SKIPPED {test}: {reason}");
}

/// Reports that a test did not run because the machine does not allow it, whatever is installed: `scripts/test` tells it
/// and does not count it.
pub fn not_allowed(test: &str, reason: &str) {
    use std::io::Write;
    let _ = writeln!(io::stderr().lock(), "NOT ALLOWED HERE {test}: {reason}");
}

/// A running `record`. Dropped, it is killed: what it records must not mind.
#[derive(Debug)]
pub struct Recorder {
    child: Child,
    lines: Receiver<String>,
    said: String,
}

impl Recorder {
    /// Starts `record` with these arguments.
    ///
    /// # Errors
    /// The operating system's.
    pub fn start<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> io::Result<Recorder> {
        Recorder::spawn(Command::new(tool("record")).args(arguments))
    }

    /// Starts a command that becomes `record`: as another user, or in another root directory.
    ///
    /// # Errors
    /// The operating system's.
    pub fn spawn(command: &mut Command) -> io::Result<Recorder> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
        let stderr = child.stderr.take().ok_or_else(|| io::Error::other("no pipe for stderr"))?;
        let (said, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if said.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Recorder { child, lines, said: String::new() })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it records: its first keyframe is taken and its probes are open.
    ///
    /// # Errors
    /// What it said, if it ended first or took longer than [`LIMIT`].
    pub fn wait_recording(&mut self) -> io::Result<()> {
        let started = Instant::now();
        while let Ok(line) = self.lines.recv_timeout(LIMIT.saturating_sub(started.elapsed())) {
            self.said += &format!("{line}\n");
            if line.starts_with("trace: ") {
                return Ok(());
            }
        }
        Err(io::Error::other(format!("record never got to recording: {}", self.said)))
    }

    /// Asks it to stop as Ctrl-C does and waits for its end. Returns its exit code and all it said.
    ///
    /// # Errors
    /// The operating system's.
    pub fn stop(self) -> io::Result<(i32, String)> {
        signal("INT", self.pid())?;
        self.wait()
    }

    /// Waits for its end. Returns its exit code and all it said.
    ///
    /// # Errors
    /// When it takes longer than [`LIMIT`].
    pub fn wait(mut self) -> io::Result<(i32, String)> {
        let started = Instant::now();
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if started.elapsed() > LIMIT => return Err(io::ErrorKind::TimedOut.into()),
                None => std::thread::sleep(Duration::from_millis(5)),
            }
        };
        // Its stderr is closed by now, so this ends.
        self.said.extend(self.lines.iter().map(|line| line + "\n"));
        Ok((status.code().unwrap_or(-1), std::mem::take(&mut self.said)))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `record` with these arguments to its end.
///
/// # Errors
/// The operating system's, or when it takes longer than [`LIMIT`].
pub fn record<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> io::Result<Ran> {
    run(Command::new(tool("record")).args(arguments))
}

/// Runs `analyze` with these arguments to its end.
///
/// # Errors
/// The operating system's.
pub fn analyze<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> io::Result<Output> {
    Command::new(tool("analyze")).args(arguments).stdin(Stdio::null()).output()
}

/// Runs `analyze` with a trace on its standard input.
///
/// # Errors
/// The operating system's.
pub fn analyze_stream<S: AsRef<std::ffi::OsStr>>(
    arguments: impl IntoIterator<Item = S>,
    mut trace: impl Read + Send,
) -> io::Result<Output> {
    let mut child = Command::new(tool("analyze"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let stdin = child.stdin.take();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.map(|mut stdin| io::copy(&mut trace, &mut stdin)));
        child.wait_with_output()
    })
}
