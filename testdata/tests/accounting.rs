//! What a recording says that it cost is what it did cost: every stop of a process is in the trace.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use shared::trace::frame::Kind;
use shared::trace::meta::{Cost, Process};
use shared::trace::reader::{End, Trace};
use testdata::{Interpreter, Program, Recorder, THREADS, may_record, skip};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Stops and nanoseconds of stops that the frames of one process tell of.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Told {
    stops: u64,
    stopped_ns: u64,
}

/// Reads what a trace tells of each process, frame by frame, and checks it against what its end says.
fn check(path: &Path, name: &str) -> Result<BTreeMap<u32, Cost>> {
    let mut trace = Trace::open(BufReader::new(File::open(path)?))?;
    let mut told: BTreeMap<u32, Told> = BTreeMap::new();
    let mut processes: BTreeMap<u32, Process> = BTreeMap::new();
    let (mut pid_of, mut seen) = (BTreeMap::new(), BTreeMap::new());
    for frame in std::mem::take(&mut trace.frames) {
        let head = frame.head;
        match head.kind {
            Kind::Vm => {
                pid_of.insert(head.vm, trace.vm(&frame)?.pid);
            }
            Kind::Process => {
                let process = trace.process(&frame)?;
                processes.insert(process.pid, process);
            }
            // One stop serves all VMs of a process, and each has its keyframe.
            Kind::Keyframe => {
                let pause = trace.keyframe(&frame)?.pause;
                let pid = pid_of[&head.vm];
                if let Some(other) = seen.insert((pid, head.start), pause) {
                    assert_eq!(other, pause, "{name}: two keyframes of one stop");
                } else {
                    let told = told.entry(pid).or_default();
                    told.stops += pause.stops;
                    told.stopped_ns += pause.stopped_ns;
                }
            }
            Kind::Missed => {
                let missed = trace.missed(&frame)?;
                let told = told.entry(missed.pid).or_default();
                told.stops += missed.stops;
                told.stopped_ns += missed.stopped_ns;
            }
            Kind::Breakdown => {
                let breakdown = trace.breakdown(&frame)?;
                let told = told.entry(breakdown.pid).or_default();
                told.stops += breakdown.stops;
                told.stopped_ns += breakdown.stopped_ns;
            }
            _ => {}
        }
    }
    let End::Complete(trailer) = &trace.end else { return Err(format!("{name}: no end").into()) };
    assert!(!processes.is_empty(), "{name}");
    for (pid, process) in &processes {
        let told = told.get(pid).copied().unwrap_or_default();
        let cost = process.cost;
        assert!(!process.ended.is_empty(), "{name}: {process:?}");
        assert_eq!(told.stopped_ns, cost.paused_ns, "{name}: {told:?}, {cost:?}");
        // A thread that would not stop is a pause for the others, and no stop.
        assert!(told.stops <= cost.pauses && cost.longest_pause_ns <= cost.paused_ns, "{name}: {told:?}, {cost:?}");
        let spent = cost.hits * cost.hit_ns + cost.paused_ns;
        let average_ppm = (u128::from(spent) * 1_000_000 / u128::from(cost.elapsed_ns.max(1))) as u64;
        assert!(cost.worst_minute_ppm >= average_ppm, "{name}: {average_ppm} ppm, {cost:?}");
        println!("{name}: {told:?}; worst minute {} ppm, all together {average_ppm} ppm", cost.worst_minute_ppm);
    }
    let sum = |of: fn(&Cost) -> u64| processes.values().map(|process| of(&process.cost)).sum::<u64>();
    assert_eq!(sum(|cost| cost.paused_ns), trailer.cost.paused_ns, "{name}");
    assert_eq!(sum(|cost| cost.pauses), trailer.cost.pauses, "{name}");
    assert_eq!(sum(|cost| cost.hits), trailer.cost.hits, "{name}");
    Ok(processes.into_iter().map(|(pid, process)| (pid, process.cost)).collect())
}

/// Records a program while it works, to its end or for a while.
fn record(mut program: Program, options: &[&str], kill: bool, name: &str) -> Result<Cost> {
    program.wait_ready()?;
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    let pid = program.pid().to_string();
    let words = options.iter().copied().chain(["-p", &pid, "-o"]).map(AsRef::as_ref);
    let mut recorder = Recorder::start(words.chain([trace.as_os_str()]))?;
    recorder.wait_recording()?;
    program.go()?;
    std::thread::sleep(Duration::from_secs(2));
    let (code, said) = if kill {
        drop(program);
        recorder.wait()?
    } else {
        recorder.stop()?
    };
    assert!(code == 0 || code == 2, "{name}: {said}");
    let costs = check(&trace, name)?;
    Ok(*costs.values().next().ok_or("no process")?)
}

fn may(test: &str) -> bool {
    may_record().map_err(|reason| skip(test, &reason)).is_ok()
}

#[test]
fn every_stop_is_in_the_trace() -> Result<()> {
    if !may("every_stop_is_in_the_trace") {
        return Ok(());
    }
    let sample = ["--mode=sample", "--every=50ms", "--window=20ms", "--max-overhead=50%"];
    let full = ["--mode=full", "--keyframe-every=50ms", "--max-pause=1s"];
    // So short that some keyframes work out and others do not.
    let tight = ["--mode=full", "--keyframe-every=20ms", "--max-pause=20ms"];
    for (name, options) in [("sample", &sample[..]), ("full", &full), ("tight", &tight)] {
        for kill in [false, true] {
            let what = format!("{name}, {}", if kill { "killed" } else { "stopped" });
            let cost = record(Interpreter::gc64().start("churn", Some(30.0))?, options, kill, &what)?;
            assert!(cost.pauses > 0 || name == "tight", "{what}: {cost:?}");
        }
        let program = || Program::start(Command::new(THREADS).args(["work", "3", "100000"]));
        record(program()?, options, false, &format!("{name}, several VMs"))?;
        record(program()?, options, true, &format!("{name}, several VMs, killed"))?;
    }
    Ok(())
}

#[test]
fn a_process_that_cannot_be_stopped_in_time_has_paid_all_the_same() -> Result<()> {
    if !may("a_process_that_cannot_be_stopped_in_time_has_paid_all_the_same") {
        return Ok(());
    }
    let program = Program::start(Command::new(THREADS).arg("stuck"))?;
    record(program, &["--mode=full", "--keyframe-every=50ms", "--max-pause=100ms"], false, "stuck")?;
    Ok(())
}
