//! Processes from outside: run to their end, signalled, and looked at through /proc.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use crate::LIMIT;

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; -1 if a signal ended it.
    pub code: i32,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it said.
    pub stderr: String,
}

/// Runs a command without any input to its end, and kills it should that take longer than [`LIMIT`].
///
/// # Errors
/// The operating system's, or when it takes longer than [`LIMIT`].
pub fn run(command: &mut Command) -> io::Result<Ran> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (stdout, stderr) = (collect(child.stdout.take()), collect(child.stderr.take()));
    let started = Instant::now();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if started.elapsed() > LIMIT => {
                child.kill()?;
                child.wait()?;
                return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{command:?} took longer than {LIMIT:?}")));
            }
            None => thread::sleep(Duration::from_millis(2)),
        }
    };
    // What it has started may still hold its pipes.
    let rest = |pipe: Receiver<Vec<u8>>| pipe.recv_timeout(LIMIT).map_err(io::Error::other);
    let (stdout, stderr) = (rest(stdout)?, rest(stderr)?);
    Ok(Ran { code: status.code().unwrap_or(-1), stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() })
}

/// Copies an executable, to be run at once. `cp` does it: a file that this process had open for writing would stay open in
/// a child that another thread starts just then, and nobody can run a file that anybody writes to.
///
/// # Errors
/// The operating system's, or what `cp` said.
pub fn copy_program(from: impl AsRef<Path>, to: impl AsRef<Path>) -> io::Result<()> {
    let ran = run(Command::new("cp").arg("--").arg(from.as_ref()).arg(to.as_ref()))?;
    if ran.code == 0 { Ok(()) } else { Err(io::Error::other(ran.stderr)) }
}

fn collect(pipe: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (done, all) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error counts.
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut bytes));
        done.send(bytes)
    });
    all
}

/// Sends a signal, named without SIG, to a process of ours. The standard library itself can only kill, hence the shell's
/// built-in.
///
/// # Errors
/// When there is no such process any more.
pub fn signal(name: &str, pid: u32) -> io::Result<()> {
    let ran = Command::new("sh").args(["-c", &format!("kill -s {name} {pid}")]).output()?;
    if ran.status.success() { Ok(()) } else { Err(io::Error::other(String::from_utf8_lossy(&ran.stderr).into_owned())) }
}

/// The processes started by the main thread of `pid`.
pub fn children(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// A field of `/proc/PID/status`, such as `TracerPid`.
///
/// # Errors
/// When there is no such process or field.
pub fn status_field(pid: u32, field: &str) -> io::Result<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.map(|value| value.trim().to_string()).ok_or_else(|| io::Error::other(format!("no {field} in {status}")))
}

/// The letter that the kernel has for what a process does: `R`, `S`, `D`; `T` and `t` when it is stopped; `Z` when it is
/// over. None when it is gone.
pub fn state(pid: u32) -> Option<char> {
    status_field(pid, "State").ok()?.chars().next()
}

/// Processor time of a process so far, user and system, in the kernel's ticks of 10 ms.
///
/// # Errors
/// When there is no such process.
pub fn cpu_ticks(pid: u32) -> io::Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The program's name may hold blanks and brackets; utime and stime are fields 14 and 15, counted from 1.
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    Ok(behind_name.split_whitespace().skip(11).take(2).filter_map(|word| word.parse::<u64>().ok()).sum())
}

/// Where the code in a process's memory is not what its files hold: armed breakpoints, for one. Addresses, ascending.
///
/// # Errors
/// When the process is gone or a file cannot be read.
pub fn changed_text(pid: u32) -> io::Result<Vec<u64>> {
    let memory = File::open(format!("/proc/{pid}/mem"))?;
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let mut changed = Vec::new();
    let mut seen = 0;
    for line in maps.lines() {
        // A path may have blanks in it, and " (deleted)" behind it.
        let words: Vec<&str> = line.split_whitespace().take(6).collect();
        let [range, "r-xp", offset, _, _, path] = *words else { continue };
        let Some((start, end)) = range.split_once('-').filter(|_| path.starts_with('/')) else { continue };
        let number = |text: &str| u64::from_str_radix(text, 16).map_err(io::Error::other);
        let (start, end, offset) = (number(start)?, number(end)?, number(offset)?);
        let mut real = vec![0; (end - start) as usize];
        memory.read_exact_at(&mut real, start)?;
        // The path would lead elsewhere where the process has another root, and nowhere once the file is deleted.
        let file = fs::read(format!("/proc/{pid}/map_files/{start:x}-{end:x}"))?;
        // The last page goes on behind the file's end.
        let kept = file.get(offset as usize..).unwrap_or_default();
        let differs = real.iter().zip(kept).enumerate().filter(|(_, (real, kept))| real != kept);
        changed.extend(differs.map(|(at, _)| start + at as u64));
        seen += 1;
    }
    if seen == 0 { Err(io::Error::other(format!("no code in process {pid}"))) } else { Ok(changed) }
}
