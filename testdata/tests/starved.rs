//! A recorder that does not get to run in time: what is lost is told and placed, what is there is right, and what it cost
//! is told as it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use testdata::{
    Dice, LUAJIT, Program, Recorder, changed_text, info, may_record, signal, skip, status_field, uncontradicted,
    verdict,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// One test at a time: each wants the processors for itself, or takes them from another on purpose.
static ALONE: Mutex<()> = Mutex::new(());

/// Calls the allocator as fast as it can, for longer than any test here takes.
const WORK: &str = "print('ready') io.stdout:flush() local t, stop = {}, os.time() + 110 \
                    while os.time() < stop do for i = 1, 1000 do t[i % 30000] = { i, tostring(i) } end end";
/// Takes a whole processor.
const HOG: &str = "print('ready') io.stdout:flush() local stop = os.time() + 110 while os.time() < stop do end";
/// What the tests let the recorder spend, in millionths: its default.
const BUDGET_PPM: u64 = 10_000;

fn started(script: &str) -> Result<Program> {
    let mut program = Program::start(Command::new(LUAJIT).args(["-e", script]))?;
    program.wait_ready()?;
    Ok(program)
}

fn attach(program: &Program, trace: &Path, options: &[&str]) -> Result<Recorder> {
    let pid = program.pid().to_string();
    let words = options.iter().copied().chain(["--mode=sample", "-p", &pid, "-o"]).map(AsRef::as_ref);
    Ok(Recorder::start(words.chain([trace.as_os_str()]))?)
}

fn may(test: &str) -> bool {
    may_record().map_err(|reason| skip(test, &reason)).is_ok()
}

/// Checks a finished recording: consistent in itself, losses counted, placed and told. Returns its trailer.
fn check(trace: &Path, program: &Program, code: i32, said: &str) -> Result<Value> {
    let (_, document) = info(trace)?;
    assert_eq!(document["end"]["complete"], true, "{said}");
    let trailer = document["end"]["trailer"].clone();
    let lost = trailer["lost"].as_u64().ok_or("no count")?;
    assert_eq!(code, if lost > 0 || said.contains("trouble") { 2 } else { 0 }, "{said}");
    assert!(said.contains(&format!(" {lost} lost")), "{said}");
    uncontradicted(trace, "starved")?;
    let (_, document) = verdict(trace)?;
    let gaps = document["verdict"]["gaps"].as_array().cloned().unwrap_or_default();
    assert_eq!(gaps.iter().filter_map(|gap| gap["lost"].as_u64()).sum::<u64>(), lost, "{document:#}");
    let windows = &document["verdict"]["windows"];
    let number = |of: &Value| of.as_u64().unwrap_or(u64::MAX);
    assert!(lost == 0 || (1..u64::MAX).contains(&number(&windows["lossy"])), "{document:#}");
    // What it says of its cost follows from what it counted.
    let cost = |key: &str| number(&trailer["cost"][key]);
    let spent = cost("hits") * cost("hit_ns") + cost("paused_ns");
    assert!(u128::from(cost("worst_minute_ppm")) * u128::from(cost("elapsed_ns")) / 1_000_000 >= u128::from(spent) / 2);
    assert_eq!(changed_text(program.pid())?, [0; 0]);
    assert_eq!(status_field(program.pid(), "TracerPid")?, "0");
    println!("{windows}, {lost} lost, {:#}", trailer["cost"]);
    Ok(trailer)
}

/// Whether the most of any minute was within the budget, and a fifth.
fn kept(trailer: &Value) -> bool {
    let cost = |key: &str| trailer["cost"][key].as_u64().unwrap_or(u64::MAX);
    // Of a recording shorter than a minute the figure is the share of its own length.
    let of_minute = u128::from(cost("worst_minute_ppm")) * u128::from(cost("elapsed_ns").min(60_000_000_000));
    of_minute <= u128::from(BUDGET_PPM) * 60_000_000_000 * 12 / 10
}

#[test]
fn a_niced_recorder_beside_busy_loops_keeps_its_budget() -> Result<()> {
    if !may("a_niced_recorder_beside_busy_loops_keeps_its_budget") {
        return Ok(());
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    let program = started(WORK)?;
    let processors = std::thread::available_parallelism()?.get();
    let hogs = (0..processors).map(|_| started(HOG)).collect::<Result<Vec<_>>>()?;
    let recorder = attach(&program, &trace, &["--every=200ms", "-d", "62s"])?;
    let niced = Command::new("renice").args(["-n", "19", "-p", &recorder.pid().to_string()]).output()?;
    assert!(niced.status.success(), "{niced:?}");
    let (code, said) = recorder.wait()?;
    drop(hogs);
    let trailer = check(&trace, &program, code, &said)?;
    let lost = trailer["lost"].as_u64();
    assert!(kept(&trailer) || lost > Some(0), "{said}");
    Ok(())
}

/// A control group that lets its processes have a twentieth of one processor.
struct Limited(PathBuf);

impl Limited {
    fn new() -> std::result::Result<Limited, String> {
        let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
        let mut why = "no control groups are mounted".to_owned();
        for line in mounts.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [_, folder, kind, options, ..] = words[..] else { continue };
            let own = Path::new(folder).join(format!("ljscope-{}", std::process::id()));
            // Version 2, where it has the processors; else version 1.
            let (file, limit) = match kind {
                "cgroup2" => ("cpu.max", "5000 100000"),
                "cgroup" if options.split(',').any(|option| option == "cpu") => ("cpu.cfs_quota_us", "5000"),
                _ => continue,
            };
            if kind == "cgroup2" {
                // Fails where version 1 has them.
                let _ = fs::write(Path::new(folder).join("cgroup.subtree_control"), "+cpu");
            }
            let made = fs::create_dir(&own).map(|()| Limited(own.clone()));
            match made.and_then(|made| fs::write(own.join(file), limit).map(|()| made)) {
                Ok(made) => return Ok(made),
                Err(error) => why = format!("{}: {error}", own.join(file).display()),
            }
        }
        Err(why)
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn a_recorder_with_a_twentieth_of_a_processor_tells_the_truth() -> Result<()> {
    let test = "a_recorder_with_a_twentieth_of_a_processor_tells_the_truth";
    if !may(test) {
        return Ok(());
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let limited = match Limited::new() {
        Ok(limited) => limited,
        Err(reason) => {
            skip(test, &reason);
            return Ok(());
        }
    };
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    let program = started(WORK)?;
    let recorder = attach(&program, &trace, &["--every=200ms", "-d", "25s"])?;
    fs::write(limited.0.join("cgroup.procs"), recorder.pid().to_string())?;
    let (code, said) = recorder.wait()?;
    let trailer = check(&trace, &program, code, &said)?;
    assert!(kept(&trailer) || trailer["lost"].as_u64() > Some(0), "{said}");
    Ok(())
}

#[test]
fn losses_in_a_window_are_repaired_by_a_later_one() -> Result<()> {
    if !may("losses_in_a_window_are_repaired_by_a_later_one") {
        return Ok(());
    }
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    let program = started(WORK)?;
    let mut recorder = attach(&program, &trace, &["--every=20ms", "--window=300ms", "--max-overhead=50%"])?;
    recorder.wait_recording()?;
    // It stands still with a window open, longer than a ring lasts, three times.
    let (mut fewest, mut stood_still) = (usize::MAX, 0);
    for turn in 0..300 {
        Dice::new(0x7374_6172, turn).nap(100);
        signal("STOP", recorder.pid())?;
        // What is probed all the time, and in a window one instruction more.
        let armed = changed_text(program.pid())?.len();
        fewest = fewest.min(armed);
        if armed > fewest && status_field(program.pid(), "TracerPid")? == "0" {
            std::thread::sleep(Duration::from_secs(1));
            stood_still += 1;
        }
        signal("CONT", recorder.pid())?;
        if stood_still == 3 {
            break;
        }
    }
    assert_eq!(stood_still, 3, "no window was met open in 300 tries");
    std::thread::sleep(Duration::from_secs(2));
    let (code, said) = recorder.stop()?;
    let trailer = check(&trace, &program, code, &said)?;
    assert!(trailer["lost"].as_u64() > Some(0), "no ring overflowed: {said}");
    let (_, document) = verdict(&trace)?;
    let windows = &document["verdict"]["windows"];
    let number = |key: &str| windows[key].as_u64().unwrap_or_default();
    assert!(number("lossy") > 0 && number("with_keyframe") > number("lossy"), "{document:#}");
    // Behind the last loss there are whole windows again, each from a keyframe on.
    let (_, document) = info(&trace)?;
    let frames: Vec<(&str, u64)> = document["frames"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|frame| Some((frame["kind"].as_str()?, frame["end_ns"].as_u64()?)))
        .collect();
    let last_loss = verdict(&trace)?.1["verdict"]["gaps"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|gap| gap["time_ns"].as_u64())
        .max()
        .ok_or("no gap has a time")?;
    assert!(frames.iter().any(|(kind, end)| *kind == "keyframe" && *end > last_loss), "{last_loss}: {frames:?}");
    Ok(())
}
