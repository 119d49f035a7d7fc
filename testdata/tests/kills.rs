//! `kill -9` on the recorder at any moment: the target goes on as if nothing had been, and what was written is right.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use testdata::{
    Dice, LUAJIT_STATIC, Program, Recorder, changed_text, children, copy_program, info, may_record, signal, skip,
    state, status_field, uncontradicted, workload,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Throws all the moments; a turn's number and this repeat a turn.
const SEED: u64 = 0x6b69_6c6c;
const TURNS: u64 = 200;
/// Side by side: a turn mostly waits for the kernel to open and close probes.
const WORKERS: u64 = 3;
/// How long the kernel may take to close a dead recorder's probes, one after the other, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the recorder is at when it is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Calibrating, attaching, opening probes.
    Starting,
    /// Recording: windows open and close, keyframes are taken.
    Recording,
    /// The target stands still.
    Freezing,
    /// Taking the last keyframe, closing probes, writing the end.
    Closing,
}

const PHASES: [Phase; 4] = [Phase::Starting, Phase::Recording, Phase::Freezing, Phase::Closing];

/// Waits until `holds`, for a while.
fn wait_until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let since = Instant::now();
    while !holds()? {
        if since.elapsed() > PATIENCE {
            return Err(format!("not within {PATIENCE:?}: {what}").into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(())
}

/// Starts the work, in an executable that nobody else runs: whoever closes a probe in a file puts all right that others
/// may have left behind there.
fn started(executable: &Path) -> Result<Program> {
    let mut program = Program::start(Command::new(executable).arg(workload("checksum")))?;
    program.wait_ready()?;
    program.go()?;
    Ok(program)
}

/// The checksum, which does not depend on where the kernel puts the heap.
fn checksum(mut program: Program) -> Result<String> {
    let figures = program.wait_done()?;
    assert!(program.finish()?.success());
    Ok(figures.split(" heap_kib=").next().unwrap_or_default().to_owned())
}

/// Starts a recorder, brings it into a phase, kills it there. Returns whether the target stood still just before.
fn kill_one(pid: u32, trace: &Path, phase: Phase, full: bool, dice: &mut Dice) -> Result<bool> {
    let pid_text = pid.to_string();
    let mode: &[&str] = if full {
        &["--mode=full", "--keyframe-every=20ms"]
    } else {
        &["--mode=sample", "--every=100ms", "--window=50ms", "--max-overhead=50%"]
    };
    let words = mode.iter().copied().chain(["-p", &pid_text, "-o"]).map(AsRef::as_ref);
    let mut recorder = Recorder::start(words.chain([trace.as_os_str()]))?;
    let stands_still = || state(pid) == Some('t');
    match phase {
        Phase::Starting => dice.nap(600),
        Phase::Recording => {
            recorder.wait_recording()?;
            dice.nap(300);
        }
        Phase::Freezing => {
            recorder.wait_recording()?;
            dice.nap(100);
            let since = Instant::now();
            while !stands_still() && since.elapsed() < Duration::from_millis(500) {
                std::hint::spin_loop();
            }
        }
        Phase::Closing => {
            recorder.wait_recording()?;
            dice.nap(100);
            signal("INT", recorder.pid())?;
            dice.nap(800);
        }
    }
    let stood_still = stands_still();
    let helpers = children(recorder.pid());
    // Kills it outright and waits until it is gone.
    drop(recorder);
    for helper in helpers {
        wait_until("the recorder's own child ends with it", || Ok(matches!(state(helper), None | Some('Z'))))?;
    }
    Ok(stood_still)
}

/// The target runs, untraced, with the code of its files.
fn is_as_before(program: &Program) -> Result<()> {
    let pid = program.pid();
    wait_until("nobody traces the target", || Ok(status_field(pid, "TracerPid")? == "0"))?;
    wait_until("the target runs", || Ok(matches!(state(pid), Some('R' | 'S' | 'D'))))?;
    wait_until("no breakpoint is left", || Ok(changed_text(pid)?.is_empty()))
}

#[test]
fn two_hundred_recorders_killed_at_any_moment_leave_nothing_behind() -> Result<()> {
    if let Err(reason) = may_record() {
        skip("two_hundred_recorders_killed_at_any_moment_leave_nothing_behind", &reason);
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let expected = checksum(started(Path::new(LUAJIT_STATIC))?)?;
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let work = |worker: u64| -> Result<[u64; 4]> {
        let [mut still, mut empty, mut whole, mut targets] = [0; 4];
        let executable = folder.path().join(format!("luajit-{worker}"));
        copy_program(LUAJIT_STATIC, &executable)?;
        let mut program = started(&executable)?;
        loop {
            let turn = next.fetch_add(1, Ordering::Relaxed);
            if turn >= TURNS || failed.load(Ordering::Relaxed) {
                break;
            }
            let mut dice = Dice::new(SEED, turn);
            let (full, phase) = (turn % 2 == 1, PHASES[(turn / 2 % 4) as usize]);
            let name = format!("turn {turn}, {phase:?}, {}", if full { "full" } else { "sample" });
            let trace = folder.path().join(format!("{turn}.ljt"));
            let told = |error| format!("{name}: {error}");
            still += u64::from(kill_one(program.pid(), &trace, phase, full, &mut dice).map_err(told)?);
            is_as_before(&program).map_err(told)?;
            if trace.exists() {
                match uncontradicted(&trace, &name)? {
                    Some(_) => whole += u64::from(info(&trace)?.1["end"]["complete"] == true),
                    None => empty += 1,
                }
                std::fs::remove_file(&trace)?;
            }
            if program.is_done() {
                assert_eq!(checksum(program)?, expected, "{name}: the work must come out the same");
                (program, targets) = (started(&executable)?, targets + 1);
            }
        }
        assert_eq!(checksum(program)?, expected, "the work must come out the same");
        Ok([still, empty, whole, targets + 1])
    };
    let sums = std::thread::scope(|scope| {
        let (work, failed) = (&work, &failed);
        let work = |worker| {
            let done = work(worker);
            failed.fetch_or(done.is_err(), Ordering::Relaxed);
            done
        };
        let workers: Vec<_> = (0..WORKERS).map(|worker| scope.spawn(move || work(worker))).collect();
        workers.into_iter().try_fold([0; 4], |sum: [u64; 4], worker| {
            let one = worker.join().map_err(|_| "a worker failed, see above")??;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(std::array::from_fn(|at| sum[at] + one[at]))
        })
    })?;
    let [still, empty, whole, targets] = sums;
    println!(
        "{TURNS} recorders killed: {still} while the target stood still, {empty} before anything was written, {whole} \
         after the end was; {targets} targets came out right"
    );
    assert!(still >= TURNS / 20, "too few of the moments fell into a stop");
    Ok(())
}
