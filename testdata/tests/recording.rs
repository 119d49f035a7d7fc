//! Real programs, recorded and replayed: the model must arrive at the real heap, to the chunk and to the byte.

use std::time::Duration;

use testdata::{Interpreter, Nginx, Recorder, Verified, may_record, skip, sums, verify};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Records one workload from `ready` to `done`.
fn workload(interpreter: &Interpreter, workload: &str, argument: Option<f64>) -> Result<Verified> {
    let name = format!("{workload} on {}", interpreter.name);
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    let mut program = interpreter.start(workload, argument)?;
    program.wait_ready()?;
    let pid = program.pid().to_string();
    let mut recorder = Recorder::start([
        "--mode=full".as_ref(),
        "--max-pause=2s".as_ref(),
        "-o".as_ref(),
        trace.as_os_str(),
        "-p".as_ref(),
        pid.as_ref(),
    ])?;
    recorder.wait_recording()?;
    program.go()?;
    program.wait_done()?;
    let (code, said) = recorder.stop()?;
    assert_eq!(code, 0, "{name}: {said}");
    assert!(program.finish()?.success(), "{name}");
    let verified = verify(&trace, &name)?;
    assert!(verified.keyframes > 0 && verified.chunks > 0, "{name}: nothing was compared: {verified:?}");
    sums(&trace, &[], &name)?;
    println!(
        "{name}: {} calls, {} chunks and {} direct blocks compared",
        verified.calls, verified.chunks, verified.direct
    );
    Ok(verified)
}

/// Every workload on one interpreter.
fn interpreter(found: std::result::Result<Interpreter, String>, test: &str) -> Result<()> {
    let interpreter = match found.and_then(|found| may_record().map(|()| found)) {
        Ok(interpreter) => interpreter,
        Err(reason) => {
            skip(test, &reason);
            return Ok(());
        }
    };
    for (name, argument) in [("mixed", None), ("segments", None), ("threads", None), ("churn", Some(0.3))] {
        let verified = workload(&interpreter, name, argument)?;
        assert!(verified.calls > 50_000, "{name}: only {} calls", verified.calls);
    }
    let direct = workload(&interpreter, "direct", None)?;
    assert!(direct.direct > 0, "direct blocks must be among what is compared");
    Ok(())
}

#[test]
fn upstream_gc64() -> Result<()> {
    interpreter(Ok(Interpreter::gc64()), "upstream_gc64")
}

#[test]
fn upstream_without_gc64() -> Result<()> {
    interpreter(Ok(Interpreter::nogc64()), "upstream_without_gc64")
}

#[test]
fn static_program() -> Result<()> {
    interpreter(Ok(Interpreter::static_gc64()), "static_program")
}

#[test]
fn openresty() -> Result<()> {
    interpreter(Interpreter::openresty(), "openresty")
}

#[test]
fn debian() -> Result<()> {
    interpreter(Interpreter::debian(), "debian")
}

#[test]
fn neovim() -> Result<()> {
    interpreter(Interpreter::neovim(), "neovim")
}

#[test]
fn nginx_under_load() -> Result<()> {
    if let Err(reason) = Nginx::available().and_then(|()| may_record()) {
        skip("nginx_under_load", &reason);
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    let nginx = Nginx::start()?;
    let pid = nginx.worker_pid()?.to_string();
    let arguments = [
        "--mode=full".as_ref(),
        "--max-pause=2s".as_ref(),
        "--keyframe-every".as_ref(),
        "1s".as_ref(),
        "-o".as_ref(),
        trace.as_os_str(),
        "-p".as_ref(),
        pid.as_ref(),
    ];
    let mut recorder = Recorder::start(arguments)?;
    recorder.wait_recording()?;
    for path in ["/json", "/same", "/cache", "/big", "/gc", "/hello"] {
        let load = nginx.load(path, Duration::from_millis(800), 4);
        assert!(load.requests > 0 && load.errors == 0, "{path}: {load:?}");
    }
    let (code, said) = recorder.stop()?;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("VM 1: http"), "the VM is labelled by its subsystem: {said}");
    // The worker is as well as before.
    assert!(nginx.load("/json", Duration::from_millis(100), 1).errors == 0);
    let verified = verify(&trace, "nginx")?;
    assert!(verified.calls > 50_000 && verified.keyframes > 0 && verified.chunks > 0, "nginx: {verified:?}");
    sums(&trace, &[], "nginx")?;
    Ok(())
}
