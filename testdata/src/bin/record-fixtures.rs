//! Records the traces of `testdata/traces/` anew: see `scripts/fixtures`. Takes the folder they go to.
//!
//! The programs run from a folder whose name says nothing of this machine, for traces hold the paths of what they
//! recorded.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use testdata::{LUAJIT, LUAJIT_NOGC64, Nginx, Program, Recorder, THREADS};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let folder: PathBuf = std::env::args_os().nth(1).ok_or("which folder do the traces go to?")?.into();
    fs::create_dir_all(&folder)?;
    let place = Path::new("/tmp/ljscope-fixtures");
    fs::create_dir(place)?;
    let recorded = record_all(&folder, place);
    fs::remove_dir_all(place)?;
    recorded
}

fn record_all(folder: &Path, place: &Path) -> Result<()> {
    for (from, to) in [(LUAJIT, "luajit"), (LUAJIT_NOGC64, "luajit-nogc64"), (THREADS, "threads")] {
        fs::copy(from, place.join(to))?;
    }
    fs::create_dir(place.join("lib"))?;
    for name in ["direct.lua", "mixed.lua", "objects.lua", "lib/ready.lua"] {
        fs::copy(testdata::workloads_dir().join(name), place.join(name))?;
    }
    program(&["luajit", "direct.lua", "0.05"], place, &[], &folder.join("gc64.ljt"))?;
    program(&["luajit-nogc64", "mixed.lua", "0.05"], place, &[], &folder.join("nogc64.ljt"))?;
    program(&["threads", "work", "3", "8"], place, &[], &folder.join("threads.ljt"))?;
    program(&["luajit", "objects.lua", "0.1"], place, &["--names"], &folder.join("objects.ljt"))?;
    nginx(&folder.join("nginx.ljt"))?;
    sampled(&folder.join("sampled.ljt"))?;
    snapshot(&folder.join("snapshot.ljt"))
}

fn attach(pid: u32, keyframe_every: &str, how: &[&str], trace: &Path) -> Result<Recorder> {
    start(&[&["--mode=full", "--keyframe-every", keyframe_every], how].concat(), pid, trace)
}

fn start(how: &[&str], pid: u32, trace: &Path) -> Result<Recorder> {
    let pid = pid.to_string();
    let words = [&["--force", "--max-pause=2s"], how, &["-p", &pid, "-o"]].concat();
    let mut recorder = Recorder::start(words.into_iter().map(AsRef::as_ref).chain([trace.as_os_str()]))?;
    recorder.wait_recording()?;
    Ok(recorder)
}

fn stop(recorder: Recorder, trace: &Path) -> Result<()> {
    let (code, said) = recorder.stop()?;
    if code != 0 {
        return Err(format!("{}: exit {code}: {said}", trace.display()).into());
    }
    let verified = testdata::verify(trace, &trace.display().to_string())?;
    println!("{}: {} bytes, {verified:?}", trace.display(), fs::metadata(trace)?.len());
    Ok(())
}

fn program(words: &[&str], place: &Path, how: &[&str], trace: &Path) -> Result<()> {
    let mut program = Program::start(Command::new(place.join(words[0])).args(&words[1..]).current_dir(place))?;
    program.wait_ready()?;
    let recorder = attach(program.pid(), "40ms", how, trace)?;
    program.go()?;
    program.wait_done()?;
    stop(recorder, trace)?;
    program.finish()?;
    Ok(())
}

fn nginx(trace: &Path) -> Result<()> {
    let nginx = Nginx::start()?;
    let recorder = attach(nginx.worker_pid()?, "100ms", &[], trace)?;
    for path in ["/json", "/cache", "/big", "/gc", "/hello"] {
        for _ in 0..10 {
            nginx.get(path)?;
        }
        // The keyframe between two paths.
        std::thread::sleep(Duration::from_millis(100));
    }
    stop(recorder, trace)
}

/// A master and its worker in windows, with breakdowns.
fn sampled(trace: &Path) -> Result<()> {
    let nginx = Nginx::start()?;
    let how = ["--max-overhead=20%", "--window=80ms", "--every=400ms", "--breakdown-every=1s"];
    let recorder = start(&how, nginx.master_pid(), trace)?;
    let since = Instant::now();
    while since.elapsed() < Duration::from_secs(3) {
        for path in ["/json", "/cache", "/hello"] {
            nginx.get(path)?;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    stop(recorder, trace)
}

/// A worker's heap and memory at one moment, and no calls.
fn snapshot(trace: &Path) -> Result<()> {
    let nginx = Nginx::start()?;
    for _ in 0..20 {
        nginx.get("/cache")?;
    }
    let (code, said) = start(&["--mode=snapshot"], nginx.worker_pid()?, trace)?.wait()?;
    if code != 0 {
        return Err(format!("{}: exit {code}: {said}", trace.display()).into());
    }
    println!("{}: {} bytes", trace.display(), fs::metadata(trace)?.len());
    Ok(())
}
