//! Real programs, recorded and replayed: the model must arrive at the real heap, to the chunk and to the byte.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use testdata::{Interpreter, Nginx, Recorder, analyze, may_record, skip};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What `analyze verify` says, once it must be spotless.
struct Verified {
    calls: u64,
    chunks: u64,
    direct: u64,
}

/// Checks a trace: nothing contradicted, nothing different, bins and `gc.total` included, nothing lost.
fn verify(trace: &Path, name: &str) -> Result<Verified> {
    let output = analyze(["verify".as_ref(), "--format".as_ref(), "json".as_ref(), trace.as_os_str()])?;
    let said = String::from_utf8_lossy(&output.stderr);
    let document: Value = serde_json::from_slice(&output.stdout).map_err(|error| format!("{name}: {error}: {said}"))?;
    let verdict = &document["verdict"];
    let number = |key: &str| verdict[key].as_u64().unwrap_or(u64::MAX);
    assert_eq!(document["judgement"], "verified", "{name}: {document:#}");
    assert_eq!(output.status.code(), Some(0), "{name}: {said}");
    for key in ["chunks_differing", "direct_differing", "calls_lost"] {
        assert_eq!(number(key), 0, "{name}: {key}");
    }
    for key in ["contradictions", "differing", "gaps", "damage"] {
        assert_eq!(verdict[key].as_array().map(Vec::len), Some(0), "{name}: {key}");
    }
    assert!(number("keyframes_compared") > 0, "{name}: no keyframe was compared");
    assert!(number("chunks_compared") > 0, "{name}: no chunk was compared");
    assert_eq!(number("calls_replayed") + number("calls_not_replayed"), number("calls"), "{name}");
    Ok(Verified {
        calls: number("calls_replayed"),
        chunks: number("chunks_compared"),
        direct: number("direct_compared"),
    })
}

/// Checks what `analyze stats` counts in a trace: everything adds up to the byte.
fn sums(trace: &Path, name: &str) -> Result<()> {
    let output = analyze(["stats".as_ref(), "--format".as_ref(), "json".as_ref(), trace.as_os_str()])?;
    let document: Value = serde_json::from_slice(&output.stdout)?;
    let vms = match document {
        Value::Array(vms) => vms,
        one => vec![one],
    };
    assert!(!vms.is_empty(), "{name}");
    for vm in vms {
        let sum = |key: &str| vm[key]["sum"].as_u64().unwrap_or(u64::MAX);
        let overhead = vm["ljscope"]["overhead_bytes"].as_u64().ok_or("no overhead")?;
        assert_eq!(sum("used") + sum("free") + overhead, sum("segments"), "{name}: {vm:#}");
        for population in ["used", "free", "segments"] {
            let buckets = vm["distributions"][population].as_array().ok_or("no distribution")?;
            let counted: u64 = buckets.iter().filter_map(|bucket| bucket["count"].as_u64()).sum();
            assert_eq!(Some(counted), vm[population]["count"].as_u64(), "{name}: {population}");
        }
    }
    Ok(())
}

/// Records one workload from `ready` to `done`.
fn workload(interpreter: &Interpreter, workload: &str, argument: Option<f64>) -> Result<Verified> {
    let name = format!("{workload} on {}", interpreter.name);
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    let mut program = interpreter.start(workload, argument)?;
    program.wait_ready()?;
    let pid = program.pid().to_string();
    let mut recorder = Recorder::start(["-o".as_ref(), trace.as_os_str(), "-p".as_ref(), pid.as_ref()])?;
    recorder.wait_recording()?;
    program.go()?;
    program.wait_done()?;
    let (code, said) = recorder.stop()?;
    assert_eq!(code, 0, "{name}: {said}");
    assert!(program.finish()?.success(), "{name}");
    let verified = verify(&trace, &name)?;
    sums(&trace, &name)?;
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
    let arguments =
        ["--keyframe-every".as_ref(), "1s".as_ref(), "-o".as_ref(), trace.as_os_str(), "-p".as_ref(), pid.as_ref()];
    let mut recorder = Recorder::start(arguments)?;
    recorder.wait_recording()?;
    for path in ["/json", "/cache", "/big", "/gc", "/hello"] {
        let load = nginx.load(path, Duration::from_millis(800), 4);
        assert!(load.requests > 0 && load.errors == 0, "{path}: {load:?}");
    }
    let (code, said) = recorder.stop()?;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("VM 1: http"), "the VM is labelled by its subsystem: {said}");
    // The worker is as well as before.
    assert!(nginx.load("/json", Duration::from_millis(100), 1).errors == 0);
    let verified = verify(&trace, "nginx")?;
    assert!(verified.calls > 50_000, "only {} calls", verified.calls);
    sums(&trace, "nginx")
}
