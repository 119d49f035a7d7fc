//! Who allocates, of real programs that know it themselves: C modules with and without frame pointers, stripped, with
//! separate debug files; Lua, interpreted and compiled; callbacks of the FFI; nginx.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use shared::trace::frame::Kind;
use shared::trace::reader::Trace;
use shared::trace::stacks::{Frame, Stacks};
use testdata::{
    Interpreter, Nginx, SITES, SITES_FRAMES, Verified, analyze, may_record, record, run, signal, skip, verify,
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What `sites.lua` asks for: a part of a site's name, the least and the most bytes. A userdata has a header of 40 or 48
/// bytes (24 without GC64), a string one of 24 (20 or 16) and a zero behind it.
const ASKED: [(&str, u64, u64); 5] = [
    ("small_site", 1003 + 24, 1003 + 48),
    ("large_site", 3011 + 24, 3011 + 48),
    ("inlined_site", 2003 + 24, 2003 + 48),
    ("four", 4000 + 17, 4000 + 48),
    ("seven", 7000 + 17, 7000 + 48),
];

fn may(test: &str) -> bool {
    may_record().map_err(|reason| skip(test, &reason)).is_ok()
}

/// What is there of a recorded program.
struct Recorded {
    folder: tempfile::TempDir,
    trace: PathBuf,
    said: String,
    verified: Verified,
}

/// Records `sites.lua` with a module, every call and the stacks of one of some, and what the other options say.
fn recorded(interpreter: &Interpreter, module: &Path, interpreted: bool, options: &[&str]) -> Result<Recorded> {
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    let mut command = interpreter.command("sites", Some(60.0));
    command.env("SITES", module);
    if interpreted {
        command.env("INTERPRETED", "1");
    }
    let mut program = testdata::Program::start(&mut command)?;
    program.wait_ready()?;
    program.go()?;
    let pid = program.pid().to_string();
    let mut words: Vec<&str> = vec!["--mode=full", "--max-pause=1s", "--names", "-d", "4s", "-p", &pid, "-o"];
    let path = trace.display().to_string();
    words.extend([path.as_str()].iter().chain(options));
    let ran = record(words.iter().map(AsRef::<std::ffi::OsStr>::as_ref))?;
    signal("KILL", program.pid())?;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let verified = verify(&trace, interpreter.name)?;
    Ok(Recorded { folder, trace, said: ran.stderr, verified })
}

fn stacks(trace: &Path) -> Result<Vec<Stacks>> {
    let trace = Trace::open(BufReader::new(File::open(trace)?))?;
    let frames = trace.frames.iter().filter(|frame| frame.head.kind == Kind::Stacks);
    Ok(frames.map(|frame| trace.stacks(frame)).collect::<std::result::Result<_, _>>()?)
}

fn sites(trace: &Path, options: &[&str]) -> Result<Value> {
    let words =
        ["sites", "--format=json"].into_iter().chain(options.iter().copied()).map(AsRef::<std::ffi::OsStr>::as_ref);
    let ran = analyze(words.chain([trace.as_os_str()]))?;
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    Ok(serde_json::from_slice(&ran.stdout)?)
}

/// The bytes that each of [`ASKED`] has asked for, and all that were, counted call by call.
fn asked(trace: &Path) -> Result<(BTreeMap<&'static str, u64>, u64)> {
    let trace = Trace::open(BufReader::new(File::open(trace)?))?;
    let (mut counts, mut all) = (BTreeMap::new(), 0);
    for frame in trace.frames.iter().filter(|frame| frame.head.kind == Kind::Calls) {
        for call in trace.calls(frame)?.calls.iter().filter(|call| call.nsize > call.osize) {
            all += call.nsize - call.osize;
            if let Some((name, ..)) = ASKED.iter().find(|(_, least, most)| (*least..=*most).contains(&call.nsize)) {
                *counts.entry(*name).or_default() += call.nsize - call.osize;
            }
        }
    }
    Ok((counts, all))
}

/// The share of bytes of all rows whose site has this in its name, and half the widest interval.
fn share(sites: &Value, name: &str) -> (f64, f64) {
    let empty = Vec::new();
    let rows = sites["vms"][0]["sites"].as_array().unwrap_or(&empty);
    let found = rows.iter().filter(|row| row["name"].as_str().is_some_and(|site| site.contains(name)));
    let number = |row: &Value, key: &str| row[key].as_f64().unwrap_or(f64::NAN);
    found.fold((0.0, 0.0), |(share, half), row| {
        (share + number(row, "share"), half.max((number(row, "high") - number(row, "low")) / 2.0))
    })
}

/// A copy of the module without its symbols, and with them in a file of their own where that is asked for.
fn stripped(folder: &Path, debug: Option<&Path>) -> Result<PathBuf> {
    let module = folder.join("sites.so");
    if let Some(debug) = debug {
        let made = run(Command::new("objcopy").arg("--only-keep-debug").arg(SITES).arg(debug))?;
        assert_eq!(made.code, 0, "{}", made.stderr);
    }
    let mut strip = Command::new("objcopy");
    strip.arg("--strip-all");
    if let Some(debug) = debug {
        strip.arg(format!("--add-gnu-debuglink={}", debug.display()));
    }
    let made = run(strip.arg(SITES).arg(&module))?;
    assert_eq!(made.code, 0, "{}", made.stderr);
    Ok(module)
}

/// What must hold of all stacks of a program that is one process with a `main`.
fn whole(all: &[Stacks], name: &str) {
    let samples: usize = all.iter().map(|stacks| stacks.samples.len()).sum();
    let lost: u64 = all.iter().map(|stacks| stacks.about.lost).sum();
    let mut ends = BTreeMap::<&str, usize>::new();
    for stacks in all {
        for sample in &stacks.samples {
            let end = match stacks.stacks[sample.stack as usize].last() {
                Some(Frame::Code { .. }) => "start of the program",
                Some(Frame::Cut) => "more than was taken",
                Some(Frame::Jit | Frame::Lua(_)) => "compiled code",
                Some(Frame::Unknown) | None => "nowhere",
            };
            *ends.entry(end).or_default() += 1;
        }
    }
    println!("{name}: {samples} samples, {lost} lost; stacks end at: {ends:?}");
    assert!(samples > 300, "{name}: {samples} samples");
    let whole = ends.get("start of the program").copied().unwrap_or(0);
    assert!(whole * 10 > samples * 9, "{name}: {ends:?}");
}

fn proportions(interpreter: &Interpreter, module: &Path, interpreted: bool) -> Result<Recorded> {
    let recorded = recorded(interpreter, module, interpreted, &["--stacks=1/100", "--collect-symbols"])?;
    let name = format!("{} with {}", interpreter.name, module.display());
    whole(&stacks(&recorded.trace)?, &name);
    let found = sites(&recorded.trace, &["--by=bytes"])?;
    let (counts, all) = asked(&recorded.trace)?;
    assert!(recorded.verified.calls > 10_000, "{name}");
    for (site, ..) in ASKED {
        // Lua functions are known by their lines.
        let lines = fs::read_to_string(testdata::workload("sites"))?;
        let line = lines.lines().position(|line| line.contains(&format!("= {site} ..")));
        let site_name = line.map_or(site.to_owned(), |line| format!("sites.lua:{}", line + 1));
        let truth = counts.get(site).copied().unwrap_or(0) as f64 / all as f64;
        let (estimate, half) = share(&found, &site_name);
        println!("{name}: {site_name} asks for {truth:.4} of the bytes, estimated {estimate:.4} +- {half:.4}");
        assert!(truth > 0.01 && half < 0.1, "{name}: {site_name}: {truth} +- {half}");
        // Compiled code is known by where it begins alone.
        if interpreted || line.is_none() {
            // Twice the interval: one of so many may lie outside of its own.
            assert!((estimate - truth).abs() < 2.0 * half, "{name}: {site_name}: {estimate} +- {half}, not {truth}");
        }
    }
    Ok(recorded)
}

#[test]
fn known_proportions_are_found_on_every_build() -> Result<()> {
    if !may("known_proportions_are_found_on_every_build") {
        return Ok(());
    }
    for interpreter in [Ok(Interpreter::gc64()), Ok(Interpreter::nogc64()), Interpreter::openresty()] {
        match interpreter {
            Ok(interpreter) => drop(proportions(&interpreter, SITES.as_ref(), true)?),
            Err(reason) => skip("known_proportions_are_found_on_every_build", &reason),
        }
    }
    Ok(())
}

#[test]
fn frame_pointers_and_compiled_code_make_no_difference() -> Result<()> {
    if may("frame_pointers_and_compiled_code_make_no_difference") {
        proportions(&Interpreter::gc64(), SITES_FRAMES.as_ref(), false)?;
    }
    Ok(())
}

#[test]
fn inlined_functions_and_lines_are_told_from_debug_information() -> Result<()> {
    if !may("inlined_functions_and_lines_are_told_from_debug_information") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let debug = folder.path().join("sites.debug");
    let module = stripped(folder.path(), Some(&debug))?;
    let recorded = proportions(&Interpreter::gc64(), &module, true)?;
    let found = sites(&recorded.trace, &[])?;
    let frames = found["vms"][0]["frames"].as_array().cloned().unwrap_or_default();
    let frame = |name: &str| frames.iter().find(|frame| frame["name"] == name).cloned().unwrap_or_default();
    assert_eq!(frame("inlined_site")["inlined"], true, "{frames:#?}");
    assert_eq!(frame("outer_site")["inlined"], false);
    let file = frame("small_site")["file"].as_str().unwrap_or_default().to_owned();
    assert!(file.ends_with("sites.c") && frame("small_site")["line"].as_u64() > Some(1), "{file}");
    // Elsewhere, where neither the module nor its debug file are, what was kept beside the trace has no names either; the
    // debug file, named by its build id, has.
    drop(folder);
    let bare = sites(&recorded.trace, &["--by=bytes"])?;
    assert_eq!(share(&bare, "small_site").0, 0.0, "it is stripped");
    assert!(share(&bare, "sites.so+0x").0 > 0.1, "a stripped frame shows its place: {:#}", bare["vms"][0]["sites"]);
    Ok(())
}

#[test]
fn what_was_kept_beside_the_trace_names_its_frames_elsewhere() -> Result<()> {
    if !may("what_was_kept_beside_the_trace_names_its_frames_elsewhere") {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let module = folder.path().join("sites.so");
    fs::copy(SITES, &module)?;
    let recorded = proportions(&Interpreter::gc64(), &module, true)?;
    assert!(recorded.said.contains("symbols: "), "{}", recorded.said);
    drop(folder);
    assert!(share(&sites(&recorded.trace, &["--by=bytes"])?, "small_site").0 > 0.0);
    // The same folder by its name, of a trace that lies elsewhere.
    let moved = tempfile::tempdir()?;
    let trace = moved.path().join("moved.ljt");
    fs::copy(&recorded.trace, &trace)?;
    let kept = recorded.folder.path().join("trace.ljt.symbols").display().to_string();
    assert_eq!(share(&sites(&trace, &["--by=bytes"])?, "small_site").0, 0.0);
    assert!(share(&sites(&trace, &["--by=bytes", "--symbols", &kept])?, "small_site").0 > 0.0);
    Ok(())
}

#[test]
fn stacks_go_through_callbacks() -> Result<()> {
    if !may("stacks_go_through_callbacks") {
        return Ok(());
    }
    let recorded = recorded(&Interpreter::gc64(), SITES.as_ref(), false, &["--stacks=1/20"])?;
    let found = sites(&recorded.trace, &[])?;
    let vm = &found["vms"][0];
    let named = vm["frames"].as_array().into_iter().flatten();
    let names: Vec<&str> = named.map(|at| at["name"].as_str().unwrap_or_default()).collect();
    let through = vm["stacks"].as_array().into_iter().flatten().filter(|stack| {
        let path: Vec<&str> = stack["frames"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|at| names.get(at.as_u64()? as usize).copied())
            .collect();
        let callback = path.iter().position(|name| *name == "callback_site");
        callback
            .is_some_and(|at| at > 2 && path[at..].iter().any(|name| name.contains("main") || name.contains("_start")))
    });
    assert!(through.count() > 0, "{:#}", vm["stacks"]);
    Ok(())
}

#[test]
fn nginx_under_load_tells_who_allocates() -> Result<()> {
    if let Err(reason) = may_record().and_then(|()| Nginx::available()) {
        skip("nginx_under_load_tells_who_allocates", &reason);
        return Ok(());
    }
    let nginx = Nginx::start()?;
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    let pid = nginx.worker_pid()?.to_string();
    let path = trace.display().to_string();
    let ran = std::thread::scope(|scope| {
        let load = scope.spawn(|| nginx.load("/json", Duration::from_secs(12), 4));
        let words = ["--stacks=1/500", "--names", "--max-overhead=20%", "--every=200ms", "--max-pause=1s"];
        let ran = record(words.into_iter().chain(["-d", "10s", "-p", &pid, "-o", &path]));
        drop(load.join());
        ran
    })?;
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    verify(&trace, "nginx")?;
    let all = stacks(&trace)?;
    whole(&all, "nginx");
    let found = sites(&trace, &[])?;
    let lua = share(&found, ".lua:").0;
    assert!(lua > 0.5, "{:#}", found["vms"][0]["sites"]);
    // Debian's LuaJIT is stripped: what its operations are is told by the census behind the first window.
    let operations = found["vms"][0]["operations"].as_array().cloned().unwrap_or_default();
    let by_census =
        operations.iter().filter(|row| row["name"].as_str().is_some_and(|name| name.contains("(by census)")));
    let share: f64 = by_census.filter_map(|row| row["share"].as_f64()).sum();
    assert!(share > 0.2, "{operations:#?}");
    Ok(())
}

#[test]
fn without_names_or_anonymized_no_name_is_in_the_trace() -> Result<()> {
    if !may("without_names_or_anonymized_no_name_is_in_the_trace") {
        return Ok(());
    }
    let recorded = recorded(&Interpreter::gc64(), SITES.as_ref(), true, &["--stacks=1/100", "--anonymize"])?;
    for stacks in stacks(&recorded.trace)? {
        let chunks = stacks.about.places.iter().map(|place| place.chunk.as_str());
        let names = stacks.about.modules.iter().map(|module| module.name.as_str());
        let mut names = names.chain(chunks);
        assert!(names.all(|name| !name.contains('/')), "{:?}", stacks.about);
    }
    Ok(())
}
