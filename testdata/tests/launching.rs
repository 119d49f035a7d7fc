//! Programs that `record` starts itself: their VM is found when it is born, and their end is told.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use record::freeze::Frozen;
use record::launch::Launched;
use serde_json::Value;
use testdata::{
    LIMIT, LUAJIT, Ran, analyze, children, info, may_record, record, run, signal, skip, sums, tool, verify,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Some 100,000 calls, behind a moment in which to be seen.
const WORK: &str = "local start = os.clock() repeat until os.clock() - start > 0.2 \
                    local t = {} for i = 1, 1e5 do t[i % 100] = { i } end";
/// Goes on until it is ended, but not forever.
const LONG: &str = "local t, stop = {}, os.time() + 60 while os.time() < stop do t[#t % 100 + 1] = { #t } end";

/// A folder for one trace, and where it will be; `None` where nothing can be recorded.
fn place(test: &str) -> Result<Option<(tempfile::TempDir, PathBuf)>> {
    if let Err(reason) = may_record() {
        skip(test, &reason);
        return Ok(None);
    }
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    Ok(Some((folder, trace)))
}

/// Records what the other arguments say.
fn record_to(trace: &Path, arguments: &[&str]) -> std::io::Result<Ran> {
    record([&["--mode=full", "--max-pause=2s", "-o", &trace.display().to_string()], arguments].concat())
}

/// The trailer of a trace that must have one.
fn trailer(trace: &Path) -> Result<Value> {
    let (code, document) = info(trace)?;
    assert_eq!((code, &document["end"]["complete"]), (0, &Value::Bool(true)), "{document:#}");
    Ok(document["end"]["trailer"].clone())
}

#[test]
fn a_program_is_recorded_to_its_end() -> Result<()> {
    let Some((_folder, trace)) = place("a_program_is_recorded_to_its_end")? else { return Ok(()) };
    let script = format!("{WORK} print(arg[1], arg[2])");
    let (program, arguments) = (LUAJIT, ["-e", &script, "-", "with space", "--force"]);
    let ran = record_to(&trace, &[&["--", program], &arguments[..]].concat())?;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let trailer = trailer(&trace)?;
    assert_eq!((&trailer["target_ended"], &trailer["target_status"]), (&true.into(), &"exit 0".into()));
    assert!(ran.stderr.contains("(exit 0)"), "{}", ran.stderr);
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "with space\t--force\n", "its arguments are its own");
    assert!(verify(&trace, "program")?.calls > 50_000);
    sums(&trace, &[], "program")?;
    let (_, document) = info(&trace)?;
    assert_eq!(document["processes"][0]["command"][4], "with space");
    Ok(())
}

#[test]
fn the_luajit_inside_a_shell_command_is_found() -> Result<()> {
    let Some((_folder, trace)) = place("the_luajit_inside_a_shell_command_is_found")? else { return Ok(()) };
    let command = format!("sleep 0.1; {LUAJIT} -e '{WORK}'; exit 3");
    let ran = record_to(&trace, &["-c", &command])?;
    assert_eq!(ran.code, 0, "the recording is good whatever became of the program: {}", ran.stderr);
    assert_eq!(trailer(&trace)?["target_status"], "exit 3");
    assert!(ran.stderr.contains("(exit 3)"), "{}", ran.stderr);
    assert!(verify(&trace, "grandchild")?.calls > 50_000);
    Ok(())
}

#[test]
fn a_vm_that_appears_late_is_waited_for() -> Result<()> {
    let Some((_folder, trace)) = place("a_vm_that_appears_late_is_waited_for")? else { return Ok(()) };
    let ran = record_to(&trace, &["--", "sh", "-c", &format!("sleep 0.5; exec {LUAJIT} -e '{WORK}'")])?;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(trailer(&trace)?["target_status"], "exit 0");
    assert!(verify(&trace, "late")?.calls > 50_000);
    Ok(())
}

#[test]
fn a_program_without_a_vm_is_one_line() -> Result<()> {
    let Some((_folder, trace)) = place("a_program_without_a_vm_is_one_line")? else { return Ok(()) };
    for (words, told) in [(vec!["--", "/bin/true"], "exit 0"), (vec!["-c", "exit 7"], "exit 7")] {
        let ran = record_to(&trace, &words)?;
        assert_eq!(ran.code, 1, "{words:?}: {}", ran.stderr);
        assert_eq!(ran.stderr.lines().count(), 1, "{words:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(told) && ran.stderr.contains("LuaJIT"), "{words:?}: {}", ran.stderr);
        assert!(!trace.exists(), "{words:?} left a file");
    }
    let ran = record_to(&trace, &["--", "/nonexistent/program"])?;
    assert_eq!((ran.code, ran.stderr.lines().count()), (1, 1), "{}", ran.stderr);
    assert!(ran.stderr.contains("/nonexistent/program") && !trace.exists(), "{}", ran.stderr);
    Ok(())
}

#[test]
fn a_very_short_program_is_recorded_or_missed() -> Result<()> {
    let Some((_folder, trace)) = place("a_very_short_program_is_recorded_or_missed")? else { return Ok(()) };
    let mut recorded = 0;
    for turn in 1..=20 {
        let ran = record_to(&trace, &["--", LUAJIT, "-e", ""])?;
        if ran.code == 0 {
            recorded += 1;
            verify(&trace, &format!("turn {turn}"))?;
            std::fs::remove_file(&trace)?;
        } else {
            assert_eq!((ran.code, ran.stderr.lines().count()), (1, 1), "turn {turn}: {}", ran.stderr);
            assert!(ran.stderr.contains("ended"), "turn {turn}: {}", ran.stderr);
        }
        assert!(!trace.exists(), "turn {turn} left a file: {}", ran.stderr);
    }
    println!("{recorded} of 20 recorded");
    Ok(())
}

#[test]
fn a_launched_program_that_is_killed_leaves_a_whole_trace() -> Result<()> {
    let Some((_folder, trace)) = place("a_launched_program_that_is_killed_leaves_a_whole_trace")? else {
        return Ok(());
    };
    let mut recorder = testdata::Recorder::start([
        "--mode=full".as_ref(),
        "--max-pause=2s".as_ref(),
        "-o".as_ref(),
        trace.as_os_str(),
        "--".as_ref(),
        LUAJIT.as_ref(),
        "-e".as_ref(),
        LONG.as_ref(),
    ])?;
    recorder.wait_recording()?;
    let program = *children(recorder.pid()).first().ok_or("no child")?;
    std::thread::sleep(Duration::from_millis(200));
    signal("KILL", program)?;
    let (code, said) = recorder.wait()?;
    assert_eq!(code, 0, "{said}");
    let trailer = trailer(&trace)?;
    assert_eq!((&trailer["target_ended"], &trailer["target_status"]), (&true.into(), &"signal 9".into()));
    assert!(verify(&trace, "killed")?.calls > 1000);
    Ok(())
}

#[test]
fn a_launched_program_outlives_its_recording() -> Result<()> {
    let Some((folder, trace)) = place("a_launched_program_outlives_its_recording")? else { return Ok(()) };
    let mark = folder.path().join("mark");
    // It ends by itself once the recording is over, and says so in a file.
    let script = folder.path().join("script.lua");
    let work = "local t = {} for i = 1, 1000 do t[i] = {} end";
    let mark = mark.display().to_string();
    let until = format!("until io.open('{mark}') or os.time() > stop assert(os.rename('{mark}', '{mark}.seen'))");
    std::fs::write(&script, format!("local stop = os.time() + 60 repeat {work} {until}"))?;
    // It does not hold on to our pipes, which end with the recorder.
    let command = format!("exec {LUAJIT} {} >/dev/null 2>&1", script.display());
    let ran = record_to(&trace, &["-d", "200ms", "-c", &command])?;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let trailer = trailer(&trace)?;
    assert_eq!((&trailer["reason"], &trailer["target_ended"]), (&"the time was up".into(), &false.into()));
    std::fs::write(&mark, "")?;
    let (seen, since) = (folder.path().join("mark.seen"), Instant::now());
    while !seen.exists() && since.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(seen.exists(), "the program is the user's and goes on");
    assert!(verify(&trace, "outlived")?.keyframes > 0);
    Ok(())
}

#[test]
fn without_a_name_the_trace_is_called_by_program_and_process() -> Result<()> {
    let Some((folder, _)) = place("without_a_name_the_trace_is_called_by_program_and_process")? else { return Ok(()) };
    let ran = run(Command::new(tool("record")).current_dir(folder.path()).args(["--", LUAJIT, "-e", WORK]))?;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let names: Vec<_> = std::fs::read_dir(folder.path())?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
    let [name] = &names[..] else { return Err(format!("{names:?}").into()) };
    let name = name.to_string_lossy();
    assert!(name.starts_with("luajit-") && name.ends_with(".ljt") && ran.stderr.contains(&*name), "{name}");
    assert!(analyze(["verify".as_ref(), folder.path().join(&*name).as_os_str()])?.status.success());
    Ok(())
}

#[test]
fn asking_for_its_end_takes_no_news_of_its_stops() -> Result<()> {
    if let Err(reason) = may_record() {
        skip("asking_for_its_end_takes_no_news_of_its_stops", &reason);
        return Ok(());
    }
    let launched = Launched::program(&["sleep".into(), "60".into()], std::process::Stdio::null())?;
    let done = std::sync::atomic::AtomicBool::new(false);
    let missed = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(launched.status().ok(), Some(None), "it has not ended");
            }
        });
        let missed = (0..300).filter(|_| Frozen::stop(launched.pid(), Duration::from_secs(2)).is_err()).count();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        missed
    });
    nix::sys::signal::kill(launched.pid(), nix::sys::signal::Signal::SIGKILL)?;
    assert_eq!(launched.wait(LIMIT)?.as_deref(), Some("signal 9"));
    assert_eq!(missed, 0, "stops that were not told to whoever made them");
    Ok(())
}
