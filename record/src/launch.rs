//! Starts a program and waits for its VM to be born.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::control::Control;
use crate::freeze::Frozen;
use crate::locate;
use crate::target::Target;

/// A program of ours. It is not ended with us: it is the user's.
#[derive(Debug, Clone)]
pub struct Launched {
    pid: Pid,
    child: Arc<Mutex<Child>>,
}

/// What came first.
#[derive(Debug)]
pub enum Birth {
    /// A VM, in this process, which stands still since it was seen.
    Vm(Pid, Frozen),
    /// The program's end.
    Ended(String),
    /// The wish to stop.
    Asked,
}

/// How often to look at first: a VM takes a millisecond to open its libraries.
const EAGER: Duration = Duration::from_micros(300);
/// How often to look after a while.
const PATIENT: Duration = Duration::from_millis(10);
/// How long a program may take to stop once its VM was seen.
const PATIENCE: Duration = Duration::from_millis(200);
/// That while.
const WHILE: Duration = Duration::from_secs(2);

impl Launched {
    /// Starts `sh -c command`. `stdout` is where its standard output goes.
    pub fn shell(command: &str, stdout: Stdio) -> Result<Launched> {
        Self::spawn(Command::new("/bin/sh").args(["-c", command]), stdout, "sh")
    }

    /// Starts a program with its arguments. `stdout` is where its standard output goes.
    pub fn program(words: &[String], stdout: Stdio) -> Result<Launched> {
        let (program, arguments) = words.split_first().context("no program given")?;
        Self::spawn(Command::new(program).args(arguments), stdout, program)
    }

    fn spawn(command: &mut Command, stdout: Stdio, name: &str) -> Result<Launched> {
        let child = command.stdout(stdout).spawn().with_context(|| format!("cannot start {name}"))?;
        Ok(Launched { pid: Pid::from_raw(child.id() as i32), child: Arc::new(Mutex::new(child)) })
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits for a VM in the program or a descendant of it, and stops that process at once, so that little of what it
    /// does is missed.
    pub fn wait_for_vm(&self, control: &Control) -> Result<Birth> {
        let since = Instant::now();
        let root = Target::open(self.pid()).context("the program ended at once")?;
        loop {
            if let Some(status) = self.status()? {
                return Ok(Birth::Ended(status));
            }
            if control.stopped().is_some() {
                return Ok(Birth::Asked);
            }
            let pids = std::iter::once(root.pid).chain(root.descendants());
            for pid in pids.filter(|&pid| has_vm(pid)) {
                // It may have ended or gone on to another program since.
                if let Ok(frozen) = Frozen::stop(pid, PATIENCE)
                    && has_vm(pid)
                {
                    return Ok(Birth::Vm(pid, frozen));
                }
            }
            std::thread::sleep(if since.elapsed() < WHILE { EAGER } else { PATIENT });
        }
    }

    /// `exit N` or `signal N` once it has ended.
    pub fn status(&self) -> Result<Option<String>> {
        // A stop for a keyframe is told to whoever of us waits first, asked for or not, and to nobody else: whoever has
        // made it must learn of it. So it is only looked at whether there is something to be told, and what.
        let Some(id) = rustix::process::Pid::from_raw(self.pid.as_raw()) else { bail!("no process") };
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let told = waitid(WaitId::Pid(id), look);
        if told.is_ok_and(|told| told.is_none_or(|told| !(told.exited() || told.killed() || told.dumped()))) {
            return Ok(None);
        }
        match self.child.lock().unwrap_or_else(PoisonError::into_inner).try_wait() {
            Ok(status) => Ok(status.map(describe)),
            // It ended while we had it stopped, and that wait took its status.
            Err(error) if error.raw_os_error() == Some(nix::libc::ECHILD) => Ok(Some("unknown".into())),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for its end, but no longer than `patience`.
    pub fn wait(&self, patience: Duration) -> Result<Option<String>> {
        let since = Instant::now();
        loop {
            match self.status()? {
                None if since.elapsed() < patience => std::thread::sleep(Duration::from_millis(5)),
                status => return Ok(status),
            }
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (_, Some(signal)) => format!("signal {signal}"),
        _ => status.to_string(),
    }
}

fn has_vm(pid: Pid) -> bool {
    let Ok(target) = Target::open(pid) else { return false };
    let Ok(mappings) = target.mappings() else { return false };
    !locate::vms(&target, &mappings).vms.is_empty()
}
