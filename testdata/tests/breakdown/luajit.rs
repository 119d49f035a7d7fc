//! Programs with a Lua VM, and nginx with and without.

use std::collections::BTreeSet;
use std::time::Duration;

use shared::trace::breakdown::SliceKind;
use testdata::{Interpreter, Nginx, NginxConfig, may_record, skip, stats};

use crate::Result;
use crate::look::{Look, PAGE, breakdowns};

/// What the replay of a trace's keyframe says that its one VM has mapped.
fn mapped_by_vm(trace: &std::path::Path) -> Result<u64> {
    let (_, vms) = stats(trace, &[])?;
    let [vm] = &vms[..] else { return Err(format!("{} VMs", vms.len()).into()) };
    let bytes = |value: &serde_json::Value| value.as_u64().ok_or_else(|| format!("no number in {vm:#}"));
    Ok(bytes(&vm["segments"]["sum"])? + bytes(&vm["ljscope"]["populations"]["direct"]["bytes"])?)
}

/// Each program with its heap filled and its machine code made.
#[test]
fn interpreters() -> Result<()> {
    for found in Interpreter::all() {
        let interpreter = match found.and_then(|found| may_record().map(|()| found)) {
            Ok(interpreter) => interpreter,
            Err(reason) => {
                skip("interpreters", &reason);
                continue;
            }
        };
        let folder = tempfile::tempdir()?;
        let trace = folder.path().join("trace.ljt");
        let name = interpreter.name;
        let mut program = interpreter.start("direct", None)?;
        program.wait_ready()?;
        program.go()?;
        program.wait_done()?;
        let look = Look::into(program.pid(), name, &trace)?;
        assert!(program.finish()?.success(), "{name}");
        let all = format!("{name}: {:#?}", look.breakdown);
        let luajit = look.of(SliceKind::Luajit);
        assert_eq!(luajit.mapped, mapped_by_vm(&trace)?, "{all}");
        assert!(luajit.resident > 1 << 20, "{all}");
        assert!(look.of(SliceKind::JitCode).resident > 0, "{all}");
        assert!(look.names(SliceKind::Stack).contains(&"main"), "{all}");
        assert!(look.names(SliceKind::Text).iter().any(|file| interpreter.executable.ends_with(file)), "{all}");
    }
    Ok(())
}

#[test]
fn nginx_with_lua() -> Result<()> {
    if let Err(reason) = Nginx::available().and_then(|()| may_record()) {
        skip("nginx_with_lua", &reason);
        return Ok(());
    }
    let nginx = Nginx::start()?;
    assert_eq!(nginx.load("/json", Duration::from_millis(300), 2).errors, 0);
    let look = Look::at(nginx.worker_pid()?, "nginx")?;
    let all = format!("{:#?}", look.breakdown);
    assert_eq!(look.names(SliceKind::Luajit), ["http"], "{all}");
    assert!(look.of(SliceKind::JitCode).resident > 0, "{all}");
    assert_eq!(look.names(SliceKind::SharedZone), ["counters", "pages"], "{all}");
    assert_eq!(look.of(SliceKind::SharedZone).mapped, 9 << 20, "{all}");
    assert!(look.names(SliceKind::SystemAllocator).contains(&"glibc main arena"), "{all}");
    assert_eq!(look.names(SliceKind::Stack), ["main"], "{all}");
    assert!(nginx.load("/json", Duration::from_millis(100), 1).errors == 0, "it is as well as before");
    Ok(())
}

#[test]
fn nginx_without_lua() -> Result<()> {
    if let Err(reason) = Nginx::available_plain().and_then(|()| may_record()) {
        skip("nginx_without_lua", &reason);
        return Ok(());
    }
    let nginx = Nginx::start_as(NginxConfig::Plain, 1)?;
    let look = Look::at(nginx.worker_pid()?, "plain nginx")?;
    let all = format!("{:#?}", look.breakdown);
    assert!(look.said.contains("no Lua VM"), "{}", look.said);
    assert_eq!(look.names(SliceKind::Luajit), [""; 0], "{all}");
    assert_eq!(look.of(SliceKind::JitCode).mapped, 0, "{all}");
    assert_eq!(look.names(SliceKind::Stack).len(), 1 + Nginx::POOL_THREADS, "{all}");
    assert!(!look.breakdown.zones.is_empty(), "{all}");
    let sizes: u64 = look.breakdown.zones.iter().map(|zone| zone.size.next_multiple_of(PAGE)).sum();
    assert_eq!(look.of(SliceKind::SharedZone).mapped, sizes, "{all}");
    assert!(look.names(SliceKind::SystemAllocator).contains(&"glibc main arena"), "{all}");
    assert_eq!(nginx.get("/hello")?.0, 200, "it is as well as before");
    Ok(())
}

/// As an operator asks for it: by the master.
#[test]
fn a_whole_nginx_without_lua() -> Result<()> {
    if let Err(reason) = Nginx::available_plain().and_then(|()| may_record()) {
        skip("a_whole_nginx_without_lua", &reason);
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    let nginx = Nginx::start_as(NginxConfig::Plain, 2)?;
    Look::into(nginx.master_pid(), "master", &trace)?;
    let seen: BTreeSet<u32> = breakdowns(&trace)?.iter().map(|breakdown| breakdown.pid).collect();
    let expected = [nginx.master_pid()].into_iter().chain(nginx.workers());
    assert!(expected.clone().all(|pid| seen.contains(&pid)), "{seen:?} of {:?}", expected.collect::<Vec<_>>());
    Ok(())
}
