//! Leaks in real programs: a service that never cuts its log is suspected of what it logs, programs that only churn are
//! suspected of nothing. And growth is what `stats` says at both times, to the byte.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use testdata::{Interpreter, Nginx, Recorder, analyze, fixture, may_record, skip, stats, verify};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// What grows in a trace.
fn growth(trace: &Path) -> Result<Value> {
    let output = analyze(["growth".as_ref(), "--format=json".as_ref(), trace.as_os_str()])?;
    assert!(output.status.success(), "{}: {}", trace.display(), String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// A recording of every call of a process while it works: what grows in it.
fn recorded(name: &str, pid: u32, work: impl FnOnce() -> Result<()>) -> Result<Value> {
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    let pid = pid.to_string();
    let words = ["--mode=full", "--max-pause=2s", "-p", &pid, "-o"].map(AsRef::as_ref);
    let mut recorder = Recorder::start(words.into_iter().chain([trace.as_os_str()]))?;
    recorder.wait_recording()?;
    work()?;
    let (code, said) = recorder.stop()?;
    assert_eq!(code, 0, "{name}: {said}");
    verify(&trace, name)?;
    let vm = growth(&trace)?["vms"][0].take();
    println!(
        "{name}: {} points, {} B more; suspects {:?}, swings {:?}, levelled {:?}",
        vm["points"],
        vm["all"]["net_bytes"],
        found(&vm, "suspect"),
        found(&vm, "swings"),
        found(&vm, "levelled"),
    );
    assert_eq!(vm["basis"], "cycle_ends", "{name}");
    assert!(vm["points"].as_u64() >= Some(8), "{name}: {vm:#}");
    Ok(vm)
}

/// The same of a workload, from `ready` to `done`.
fn workload(name: &str, argument: f64) -> Result<Value> {
    let mut program = Interpreter::gc64().start(name, Some(argument))?;
    program.wait_ready()?;
    let pid = program.pid();
    let vm = recorded(name, pid, || {
        program.go()?;
        program.wait_done()?;
        Ok(())
    })?;
    assert!(program.finish()?.success(), "{name}");
    Ok(vm)
}

/// The classes with a finding, and what they grew by.
fn found(vm: &Value, finding: &str) -> BTreeMap<u64, i64> {
    let classes = vm["classes"].as_array().into_iter().flatten().filter(|class| class["finding"] == finding);
    classes.filter_map(|class| Some((class["size_from"].as_u64()?, class["net_bytes"].as_i64()?))).collect()
}

#[test]
fn a_service_that_leaks_is_suspected() -> Result<()> {
    if let Err(reason) = may_record() {
        skip("a_service_that_leaks_is_suspected", &reason);
        return Ok(());
    }
    let vm = workload("leak", 8.0)?;
    let suspects = found(&vm, "suspect");
    // What is logged: tables with their slots, and strings of paths and headers.
    assert!([32, 64, 128].iter().all(|size| suspects.contains_key(size)), "{vm:#}");
    let grown: i64 = suspects.values().sum();
    let all = vm["all"]["net_bytes"].as_i64().ok_or("no growth")?;
    assert!(grown * 2 > all, "the suspects are most of what grew: {grown} of {all}");
    // Bodies and their parts come and go.
    assert!(!found(&vm, "steady").is_empty(), "{vm:#}");
    Ok(())
}

#[test]
fn programs_that_churn_are_not() -> Result<()> {
    if let Err(reason) = may_record() {
        skip("programs_that_churn_are_not", &reason);
        return Ok(());
    }
    // Not churn: its strings have a number in front, which gets longer, so it does grow a little. Direct blocks (0) of
    // `mixed` are a few large buffers, which come in steps and end higher than they began: now and then they are accused.
    for (name, argument, doubtful) in [("paced", 0.6, None), ("mixed", 1.0, Some(0))] {
        let vm = workload(name, argument)?;
        let mut suspects = found(&vm, "suspect");
        suspects.retain(|size, _| Some(*size) != doubtful);
        assert!(suspects.is_empty(), "{name}: {vm:#}");
    }
    Ok(())
}

#[test]
fn a_server_that_answers_is_not() -> Result<()> {
    if let Err(reason) = Nginx::available().and_then(|()| may_record()) {
        skip("a_server_that_answers_is_not", &reason);
        return Ok(());
    }
    let nginx = Nginx::start()?;
    let serve = |millis| {
        let load = nginx.load("/json", Duration::from_millis(millis), 4);
        assert!(load.requests > 0 && load.errors == 0, "{load:?}");
    };
    // Connections and code are made first.
    serve(1000);
    let vm = recorded("nginx", nginx.worker_pid()?, || {
        serve(3000);
        Ok(())
    })?;
    assert!(found(&vm, "suspect").is_empty(), "{vm:#}");
    Ok(())
}

#[test]
fn growth_is_what_stats_says_at_both_times() -> Result<()> {
    for name in ["gc64", "nogc64", "threads", "nginx", "sampled"] {
        let trace = fixture(name);
        let document = growth(&trace)?;
        for vm in document["vms"].as_array().ok_or("no VMs")? {
            let number = vm["vm"]["number"].to_string();
            // By population and size: the second heap's figures less the first one's.
            let mut expected: BTreeMap<(String, u64), (i64, i64)> = BTreeMap::new();
            for (moment, sign) in [("from", -1), ("to", 1)] {
                let time = match vm[moment]["asked"].as_str() {
                    Some("at") => format!("{}ns", vm[moment]["asked_time_ns"]),
                    asked => asked.ok_or("no moment")?.to_owned(),
                };
                let (_, vms) = stats(&trace, &["--vm", &number, "--at", &time])?;
                for (population, facts) in vms[0]["ljscope"]["populations"].as_object().ok_or("no populations")? {
                    for bucket in facts["buckets"].as_array().into_iter().flatten() {
                        let figure = |key: &str| bucket[key].as_i64().unwrap_or(i64::MAX) * sign;
                        let size = if population == "direct" { 0 } else { bucket["size_from"].as_u64().unwrap_or(0) };
                        if ["used", "direct"].contains(&population.as_str()) {
                            let sum = expected.entry((population.clone(), size)).or_default();
                            *sum = (sum.0 + figure("count"), sum.1 + figure("bytes"));
                        }
                    }
                }
            }
            let net = |of: &Value| Some((of["net_count"].as_i64()?, of["net_bytes"].as_i64()?));
            let mut classes = BTreeMap::new();
            for class in vm["classes"].as_array().ok_or("no classes")? {
                let key = (class["population"].as_str().ok_or("no population")?, class["size_from"].as_u64());
                classes.insert((key.0.to_owned(), key.1.ok_or("no size")?), net(class).ok_or("no growth")?);
            }
            let sum = expected.values().fold((0, 0), |sum, net| (sum.0 + net.0, sum.1 + net.1));
            assert_eq!(Some(sum), net(&vm["all"]), "{name}");
            // A class that was only between the two has no growth, and is nothing to stats.
            classes.retain(|key, net| expected.contains_key(key) || *net != (0, 0));
            assert_eq!(classes, expected, "{name}");
        }
    }
    Ok(())
}
