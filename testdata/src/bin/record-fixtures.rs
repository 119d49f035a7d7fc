//! Records the traces of `testdata/traces/` anew: see `scripts/fixtures`. Takes the folder they go to.
//!
//! The programs run from a folder whose name says nothing of this machine, for traces hold the paths of what they
//! recorded.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

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
    for name in ["direct.lua", "mixed.lua", "lib/ready.lua"] {
        fs::copy(testdata::workloads_dir().join(name), place.join(name))?;
    }
    program(&["luajit", "direct.lua", "0.05"], place, &folder.join("gc64.ljt"))?;
    program(&["luajit-nogc64", "mixed.lua", "0.05"], place, &folder.join("nogc64.ljt"))?;
    program(&["threads", "work", "3", "8"], place, &folder.join("threads.ljt"))?;
    nginx(&folder.join("nginx.ljt"))
}

fn attach(pid: u32, keyframe_every: &str, trace: &Path) -> Result<Recorder> {
    let pid = pid.to_string();
    let words = ["--force", "--keyframe-every", keyframe_every, "-p", &pid, "-o"].map(AsRef::as_ref);
    let mut recorder = Recorder::start(words.into_iter().chain([trace.as_os_str()]))?;
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

fn program(words: &[&str], place: &Path, trace: &Path) -> Result<()> {
    let mut program = Program::start(Command::new(place.join(words[0])).args(&words[1..]).current_dir(place))?;
    program.wait_ready()?;
    let recorder = attach(program.pid(), "40ms", trace)?;
    program.go()?;
    program.wait_done()?;
    stop(recorder, trace)?;
    program.finish()?;
    Ok(())
}

fn nginx(trace: &Path) -> Result<()> {
    let nginx = Nginx::start()?;
    let recorder = attach(nginx.worker_pid()?, "100ms", trace)?;
    for path in ["/json", "/cache", "/big", "/gc", "/hello"] {
        for _ in 0..10 {
            nginx.get(path)?;
        }
        // The keyframe between two paths.
        std::thread::sleep(Duration::from_millis(100));
    }
    stop(recorder, trace)
}
