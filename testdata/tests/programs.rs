//! The programs that other tests build on do what they promise.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::time::Duration;
use testdata::{Interpreter, Nginx, WORKLOADS};

/// Reports what is not installed, by name, so that a run without it does not look complete.
fn installed(name: &str) -> Vec<Interpreter> {
    let (found, missing): (Vec<_>, Vec<_>) = Interpreter::all().into_iter().partition(Result::is_ok);
    for reason in missing.into_iter().filter_map(Result::err) {
        testdata::skip(name, &reason);
    }
    found.into_iter().flatten().collect()
}

/// Leads one program through the protocol and returns its figures without the heap's size, which differs by build.
fn run(interpreter: &Interpreter, workload: &str, argument: Option<f64>) -> io::Result<String> {
    let mut program = interpreter.start(workload, argument)?;
    program.wait_ready()?;
    let running = std::fs::read_link(format!("/proc/{}/exe", program.pid()))?;
    assert_eq!(running, interpreter.executable.canonicalize()?, "a wrapper runs instead of the program itself");
    program.go()?;
    let figures = program.wait_done()?;
    assert!(Path::new(&format!("/proc/{}/maps", program.pid())).exists(), "it must live until its end is asked for");
    let status = program.finish()?;
    assert!(status.success(), "{workload} on {}: {status}", interpreter.name);
    let (figures, heap) = figures.split_once(" heap_kib=").ok_or_else(|| io::Error::other(figures.clone()))?;
    assert!(heap.parse::<u32>().is_ok_and(|kib| kib > 100), "{workload}: {heap}");
    Ok(figures.to_string())
}

#[test]
fn workloads_do_the_same_on_every_interpreter() -> io::Result<()> {
    let interpreters = installed("workloads");
    for workload in WORKLOADS {
        // All at full size but the slow ones, which are the bench's and the demo's.
        let argument = match workload {
            "churn" => Some(0.25),
            "leak" => Some(0.3),
            _ => None,
        };
        let mut figures = BTreeSet::new();
        for interpreter in &interpreters {
            figures.insert(run(interpreter, workload, argument)?);
        }
        assert_eq!(figures.len(), 1, "{workload} differs: {figures:?}");
    }
    Ok(())
}

#[test]
fn programs_end_when_dropped() -> io::Result<()> {
    let mut program = Interpreter::gc64().start("leak", Some(60.0))?;
    program.wait_ready()?;
    program.go()?;
    let process = format!("/proc/{}", program.pid());
    drop(program);
    assert!(!Path::new(&process).exists(), "{process} outlived its handle");
    Ok(())
}

#[test]
fn programs_that_do_not_speak_the_protocol_are_errors() -> io::Result<()> {
    let mut command = std::process::Command::new(testdata::LUAJIT);
    let mut program = testdata::Program::start(command.args(["-e", "print('hello')"]))?;
    let error = program.wait_ready().expect_err("it said hello, not ready").to_string();
    assert!(error.contains("\"ready\", not \"hello\""), "{error}");
    let error = program.wait_done().expect_err("it is over").to_string();
    assert!(error.contains("ended"), "{error}");
    Ok(())
}

#[test]
fn nginx_answers_and_ends() -> io::Result<()> {
    if let Err(reason) = Nginx::available() {
        testdata::skip("nginx", &reason);
        return Ok(());
    }
    let nginx = Nginx::start()?;
    let worker = nginx.worker_pid()?;
    assert_ne!(worker, nginx.master_pid());

    let (status, body) = nginx.get("/json")?;
    assert_eq!(status, 200);
    let document: serde_json::Value = serde_json::from_slice(&body)?;
    assert_eq!(document["items"][19]["tags"][1], "a \"quoted\" tag");
    assert!(nginx.get("/big")?.1.len() > 100 * 1024);
    assert_eq!(nginx.get("/nothing")?.0, 404);

    for path in ["/hello", "/json", "/cache", "/big", "/gc"] {
        let load = nginx.load(path, Duration::from_millis(200), 4);
        assert_eq!(load.errors, 0, "{path}: {load:?}");
        assert!(load.requests > 0 && load.body_bytes > 0, "{path}: {load:?}");
    }
    assert_eq!(nginx.worker_pid()?, worker, "the worker crashed and was replaced");

    let process = format!("/proc/{worker}");
    drop(nginx);
    assert!(!Path::new(&process).exists(), "the worker outlived its master");
    Ok(())
}
