//! What the operator reads on standard error: what was found, and what the recording was.

use std::io::Write;
use std::time::Duration;

use bytesize::ByteSize;
use shared::trace::meta::Trailer;

use crate::output::Output;
use crate::session::Session;

/// What will be recorded, once the first keyframe stands.
pub fn found<W: Write>(session: &Session<W>, output: &Output) {
    for (number, vm) in session.vms() {
        let build = if vm.build.is_empty() { "LuaJIT (build not readable)" } else { &vm.build };
        let references = if vm.gc64 { "GC64" } else { "non-GC64" };
        let heap = session.heap_bytes(number).map_or(String::new(), |bytes| format!(", heap {}", ByteSize(bytes)));
        eprintln!("VM {number}: {} in process {}: {build}, {references}{heap}", vm.label, vm.pid);
    }
    let (name, door, confirmed) = session.door();
    let confirmed = match confirmed {
        Some(true) => "confirmed by its symbols",
        Some(false) => "CONTRADICTED by its symbols",
        None => "stripped",
    };
    let probe = session.probe();
    let emulated = if probe.emulated {
        "emulated by the kernel"
    } else {
        "NOT emulated by the kernel: hits cost several times more"
    };
    let file = name.file_name().unwrap_or(name.as_os_str()).to_string_lossy();
    eprintln!("door: lj_alloc_f at {door:#x} of {file} ({confirmed})");
    eprintln!("probe: {:#x} `{}`, {emulated}", probe.addr, probe.instruction);
    eprintln!("trace: {output}");
}

/// What was recorded, lost and spent.
pub fn summary(trailer: &Trailer, bytes: u64, missed: &[String], output: &Output) {
    let cost = &trailer.cost;
    let ms = |ns: u64| ns as f64 / 1e6;
    let per_call = if trailer.calls == 0 {
        String::new()
    } else {
        format!(", {:.2} bytes a call", bytes as f64 / trailer.calls as f64)
    };
    eprintln!();
    let status = trailer.target_status.as_ref().map_or(String::new(), |status| format!(" ({status})"));
    eprintln!("ended: {}{status}, after {:.1?}", trailer.reason, Duration::from_nanos(cost.elapsed_ns));
    eprintln!(
        "calls: {} recorded, {} lost, {} of VMs not known yet",
        trailer.calls, trailer.lost, trailer.unattributed
    );
    for reason in missed {
        eprintln!("missed keyframe: {reason}");
    }
    eprintln!(
        "pauses: {}, {:.1} ms in all, the longest {:.1} ms",
        cost.pauses,
        ms(cost.paused_ns),
        ms(cost.longest_pause_ns)
    );
    if cost.hit_ns > 0 {
        let spent = trailer.calls * cost.hit_ns + cost.paused_ns;
        let share = spent as f64 / cost.elapsed_ns.max(1) as f64 * 100.0;
        eprintln!(
            "cost to the target: about {:.0} ms, {share:.1} % of the time ({} ns a hit, calibrated)",
            ms(spent),
            cost.hit_ns
        );
    }
    let own = cost.recorder_cpu_ns.checked_div(trailer.calls).map_or(String::new(), |ns| format!(", {ns} ns a call"));
    eprintln!("recorder: {:.0} ms of processor time{own}", ms(cost.recorder_cpu_ns));
    eprintln!("trace: {output}, {}{per_call}", ByteSize(bytes));
}
