//! A running workload, led through the protocol of `workloads/lib/ready.lua`.

use crate::LIMIT;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// A workload in its own process. In order: [`wait_ready`](Program::wait_ready), attach, [`go`](Program::go),
/// [`wait_done`](Program::wait_done), look once more, [`finish`](Program::finish).
///
/// Dropped at any moment it is killed and reaped. Should its owner hang elsewhere, it is killed [`LIMIT`] after its
/// start, which ends whatever waits for it.
pub struct Program {
    pid: u32,
    child: Arc<Mutex<Child>>,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    /// A line that was taken and not used.
    ahead: Option<String>,
    started: Instant,
    /// Held only to be dropped: that calls the watchdog off.
    _watchdog: Sender<()>,
}

impl Program {
    /// Starts `command`, which speaks the protocol, with pipes for its stdin and stdout.
    ///
    /// # Errors
    /// The operating system's, when the program cannot be started.
    pub fn start(command: &mut Command) -> io::Result<Program> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let pid = child.id();
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().ok_or_else(|| io::Error::other("no pipe for stdout"))?;
        let child = Arc::new(Mutex::new(child));

        // A read from a pipe cannot be given a time limit, a read from a channel can.
        let (said, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if said.send(line).is_err() {
                    break;
                }
            }
        });

        let (watchdog, dropped) = mpsc::channel();
        let watched = Arc::clone(&child);
        thread::spawn(move || {
            if dropped.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                // Fails only when it is over anyway.
                let _ = lock(&watched).kill();
            }
        });
        Ok(Program { pid, child, stdin, lines, ahead: None, started: Instant::now(), _watchdog: watchdog })
    }

    /// Its process id. It is not used anew for another process before this handle is dropped or finished.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits until the VM and the initial data are up.
    ///
    /// # Errors
    /// When it ends first, says something else, or takes longer than [`LIMIT`].
    pub fn wait_ready(&mut self) -> io::Result<()> {
        self.wait_line("ready").map(drop)
    }

    /// Lets it do its work.
    ///
    /// # Errors
    /// When it no longer reads.
    pub fn go(&mut self) -> io::Result<()> {
        let stdin = self.stdin.as_mut().ok_or_else(|| io::Error::other("stdin is closed"))?;
        stdin.write_all(b"go\n")?;
        stdin.flush()
    }

    /// Waits until the work is over and returns its figures; the heap stays as it is until [`finish`](Program::finish).
    ///
    /// # Errors
    /// When it ends first, says something else, or takes longer than [`LIMIT`].
    pub fn wait_done(&mut self) -> io::Result<String> {
        self.wait_line("done")
    }

    /// Whether its work is over, or it is: [`wait_done`](Program::wait_done) returns at once then.
    pub fn is_done(&mut self) -> bool {
        if self.ahead.is_none() {
            self.ahead = match self.lines.try_recv() {
                Ok(line) => Some(line),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => return true,
            };
        }
        self.ahead.is_some()
    }

    /// Lets it end by itself and waits for that.
    ///
    /// # Errors
    /// When it takes longer than [`LIMIT`]; it is killed then.
    pub fn finish(mut self) -> io::Result<ExitStatus> {
        drop(self.stdin.take());
        wait(&self.child, self.left())?
            .ok_or_else(|| io::Error::new(io::ErrorKind::TimedOut, format!("process {} did not end", self.pid)))
    }

    /// What stands behind `word` on the next line.
    fn wait_line(&mut self, word: &str) -> io::Result<String> {
        let ahead = self.ahead.take().map_or_else(|| self.lines.recv_timeout(self.left()), Ok);
        let line = ahead.map_err(|error| {
            let what = match error {
                RecvTimeoutError::Timeout => format!("took longer than {LIMIT:?}"),
                RecvTimeoutError::Disconnected => "ended".to_string(),
            };
            io::Error::other(format!("process {} {what} before it said {word:?}", self.pid))
        })?;
        match line.strip_prefix(word) {
            Some(rest) => Ok(rest.trim().to_string()),
            None => Err(io::Error::other(format!("process {} should say {word:?}, not {line:?}", self.pid))),
        }
    }

    fn left(&self) -> Duration {
        LIMIT.saturating_sub(self.started.elapsed())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // Both fail only when it is over anyway. A tracer can hold back the end of what it traces, so this wait is
        // bounded as well.
        let _ = lock(&self.child).kill();
        let _ = wait(&self.child, Duration::from_secs(5));
    }
}

/// Waits for the end of `child`, at most for `limit`.
///
/// Asks again and again instead of blocking in `wait`, which would hold the lock that the watchdog needs.
fn wait(child: &Mutex<Child>, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        if let Some(status) = lock(child).try_wait()? {
            return Ok(Some(status));
        }
        if started.elapsed() >= limit {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// A child is never left half changed, so a panic elsewhere does not matter here.
fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}
