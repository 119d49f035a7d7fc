//! `analyze info`: what is in the file, without replaying it.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use bytesize::ByteSize;
use clap::Args;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use shared::trace::meta::Process;
use shared::trace::reader::{End, Frame};

use super::with_output;
use crate::cli::{Input, TextOrJson};
use crate::output::{Options, info, json, words};
use crate::replay::costs::ProcessCost;
use crate::replay::state::micros;
use crate::replay::verdict::{MissedAt, Verdict};
use crate::replay::{Life, Plan, WindowAt};
use crate::source::{FileTrace, Source};

/// `analyze info`
#[derive(Debug, Args)]
pub struct Arguments {
    /// What is read
    #[command(flatten)]
    pub input: Input,
    /// How to write it
    #[arg(long, value_enum, default_value = "text")]
    pub format: TextOrJson,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let source = Source::of(&arguments.input)?;
    let trace = source.open()?;
    let plan = Plan::new(&trace)?;
    with_output(None, |out| match arguments.format {
        TextOrJson::Text => {
            let mut lines = Vec::new();
            text(&source, &trace, &plan, &mut lines)?;
            fitted(&String::from_utf8_lossy(&lines), Options::default().width, out)
        }
        TextOrJson::Json => Ok(json::document(&info::Document::of(source.to_string(), &trace, &plan), out)?),
    })?;
    Ok(if matches!(trace.end, End::Complete(_)) { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

/// Writes lines, and breaks those that are wider; what goes on stands two columns further right.
fn fitted(text: &str, width: usize, out: &mut dyn Write) -> Result<()> {
    for line in text.lines() {
        if line.chars().count() <= width {
            writeln!(out, "{line}")?;
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        for (at, piece) in words::wrap(line, width - indent - 2).iter().enumerate() {
            let indent = indent + if at == 0 { 0 } else { 2 };
            writeln!(out, "{:indent$}{piece}", "")?;
        }
    }
    Ok(())
}

/// A process: what it is, when its part of the recording ended and why, and what that cost it.
fn process(process: &Process, life: &Life, out: &mut dyn Write) -> Result<()> {
    let command = if process.command.is_empty() { process.program.clone() } else { process.command.join(" ") };
    write!(out, "process {}: {}", process.pid, words::name(&command, 500))?;
    if process.inner_pid > 0 {
        write!(out, ", {} in its own namespace", process.inner_pid)?;
    }
    if process.parent > 0 {
        write!(out, ", child of {}", process.parent)?;
    }
    writeln!(out)?;
    if let Some(ended) = life.ended {
        let cpu = process.cpu_end_ns.saturating_sub(process.cpu_start_ns);
        writeln!(
            out,
            "  recorded from {} to {}: {}; it ran {}",
            words::time(life.found),
            words::time(ended),
            words::name(&process.ended, 200),
            words::duration(cpu)
        )?;
    }
    if let Some(told) = ProcessCost::of(process) {
        writeln!(out, "  cost {}", words::paid(&told.cost, "its "))?;
    }
    Ok(())
}

/// Windows and what is not there, behind the frames.
fn findings(trace: &FileTrace, plan: &Plan, out: &mut dyn Write) -> Result<()> {
    let verdict = Verdict::of_trace(plan, trace);
    if verdict.windows.all > 0 {
        writeln!(out, "{}", words::windows(&verdict.windows))?;
    }
    for WindowAt { vm, window, keyframe, proven, .. } in &plan.windows {
        let how = match (window.lossy, keyframe, proven) {
            (true, ..) => ", hits lost in it",
            (_, false, _) => ", without a keyframe",
            (.., true) => ", up to a keyframe",
            _ => "",
        };
        writeln!(
            out,
            "window of VM {vm} at {}: {} in {}{how}",
            words::time(window.start),
            words::count(window.calls, "call"),
            words::duration(window.end.saturating_sub(window.start)),
        )?;
    }
    for missed in &verdict.missed {
        let stopped = words::duration(missed.stopped_ns);
        let MissedAt { pid, reason, time_ns, .. } = missed;
        writeln!(
            out,
            "keyframe of process {pid} missed at {}: {} (stopped for {stopped})",
            words::time(*time_ns),
            words::name(reason, 300),
        )?;
    }
    if !plan.breakdowns.is_empty() {
        let processes: BTreeSet<(u32, u64)> = plan.breakdowns.iter().map(|at| (at.pid, at.started_ticks)).collect();
        let looks = words::count(plan.breakdowns.len() as u64, "breakdown");
        let of = if processes.len() == 1 { "1 process".to_owned() } else { format!("{} processes", processes.len()) };
        writeln!(out, "{looks} of the memory of {of}: see `analyze breakdown`")?;
    }
    for damage in &plan.damage {
        writeln!(out, "{}", words::name(damage, 300))?;
    }
    for part in &verdict.parts_missing {
        writeln!(out, "part {part} of the recording is not there")?;
    }
    for broken in &verdict.parts_broken {
        writeln!(out, "{}", words::name(broken, 300))?;
    }
    Ok(())
}

fn text(source: &Source, trace: &FileTrace, plan: &Plan, out: &mut dyn Write) -> Result<()> {
    match &trace.end {
        End::Complete(trailer) => writeln!(out, "complete: {}", words::name(&trailer.reason, 300))?,
        End::Truncated { what, .. } => {
            writeln!(out, "INCOMPLETE: {}; everything before can be used", words::name(what, 300))?;
        }
    }
    let header = &trace.header;
    let started = jiff::Timestamp::from_nanosecond(i128::from(header.started_unix_ns)).unwrap_or_default();
    let source = words::name(&source.to_string(), 300);
    writeln!(out, "\n{source}: {}, {} frames", ByteSize(trace.bytes), trace.frames.len())?;
    let short = |text: &str| words::name(text, 80);
    writeln!(out, "written by {} in mode {}, on {started:.0}", short(&header.writer), short(&header.mode))?;
    writeln!(out, "host {}, Linux {}, {}", short(&header.host), short(&header.kernel), short(&header.arch))?;
    if !header.recording.is_empty() {
        let parts = trace.parts.iter().map(|part| part.header.part.to_string()).collect::<Vec<_>>().join(", ");
        writeln!(out, "part {parts} of recording {}", words::name(&header.recording, 60))?;
    }
    if header.anonymized {
        writeln!(out, "anonymized: names left out, addresses shifted")?;
    }
    for (process, life) in plan.processes.iter().zip(&plan.lives) {
        self::process(process, life, out)?;
    }
    for (number, vm) in &plan.vms {
        let references = if vm.gc64 { "GC64" } else { "non-GC64" };
        writeln!(out, "VM {number}: {} in process {}, {}, {references}", short(&vm.label), vm.pid, short(&vm.build))?;
        let module = words::name(&vm.module, 300);
        writeln!(out, "  lj_alloc_f at {:#x} of {module} {}", vm.door, short(&vm.module_build_id))?;
    }
    writeln!(out)?;
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["offset", "frame", "VM", "count", "bytes", "from", "to"]);
    for Frame { offset, head, .. } in &trace.frames {
        let seconds = |time| format!("{:.3} s", micros(time).as_secs_f64());
        table.add_row([
            offset.to_string(),
            head.kind.name().to_owned(),
            head.vm.to_string(),
            head.count.to_string(),
            head.length.to_string(),
            seconds(head.start),
            seconds(head.end),
        ]);
    }
    for column in [0, 2, 3, 4, 5, 6] {
        table.column_mut(column).into_iter().for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    }
    writeln!(out, "{}", table.trim_fmt())?;
    findings(trace, plan, out)?;
    for (vm, time, gap) in &plan.gaps {
        writeln!(
            out,
            "gap of VM {vm} at {:.3} s: {} ({} hits lost)",
            micros(*time).as_secs_f64(),
            words::name(&gap.reason, 300),
            gap.lost
        )?;
    }
    Ok(())
}
