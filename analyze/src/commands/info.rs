//! `analyze info`: what is in the file, without replaying it.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use bytesize::ByteSize;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};
use serde_json::{Value, json};
use shared::trace::reader::{End, Frame};

use super::with_output;
use crate::cli::{InfoArguments, TextOrJson};
use crate::replay::Plan;
use crate::replay::state::micros;
use crate::source::{FileTrace, Source};

/// Runs the command.
pub fn run(arguments: &InfoArguments) -> Result<ExitCode> {
    let source = Source(arguments.trace.clone());
    let trace = source.open()?;
    let plan = Plan::new(&trace)?;
    with_output(None, |out| match arguments.format {
        TextOrJson::Text => text(&source, &trace, &plan, out),
        TextOrJson::Json => {
            serde_json::to_writer_pretty(&mut *out, &document(&source, &trace, &plan))?;
            Ok(writeln!(out)?)
        }
    })?;
    Ok(if matches!(trace.end, End::Complete(_)) { ExitCode::SUCCESS } else { ExitCode::from(2) })
}

fn document(source: &Source, trace: &FileTrace, plan: &Plan) -> Value {
    let end = match &trace.end {
        End::Complete(trailer) => json!({ "complete": true, "trailer": trailer }),
        End::Truncated { at, what } => json!({ "complete": false, "at": at, "what": what }),
    };
    let frame = |Frame { offset, head }: &Frame| {
        json!({
            "offset": offset, "kind": head.kind.name(), "bytes": head.length, "vm": head.vm, "count": head.count,
            "start_ns": head.start, "end_ns": head.end,
        })
    };
    json!({
        "source": source.to_string(),
        "bytes": trace.bytes,
        "end": end,
        "header": trace.header,
        "processes": plan.processes,
        "vms": plan.vms,
        "frames": trace.frames.iter().map(frame).collect::<Vec<_>>(),
    })
}

fn text(source: &Source, trace: &FileTrace, plan: &Plan, out: &mut dyn Write) -> Result<()> {
    match &trace.end {
        End::Complete(trailer) => writeln!(out, "complete: {}", trailer.reason)?,
        End::Truncated { what, .. } => writeln!(out, "INCOMPLETE: {what}; everything before can be used")?,
    }
    let header = &trace.header;
    let started = jiff::Timestamp::from_nanosecond(i128::from(header.started_unix_ns)).unwrap_or_default();
    writeln!(out, "\n{source}: {}, {} frames", ByteSize(trace.bytes), trace.frames.len())?;
    writeln!(out, "written by {} in mode {}, on {started:.0}", header.writer, header.mode)?;
    writeln!(out, "host {}, Linux {}, {}", header.host, header.kernel, header.arch)?;
    for process in &plan.processes {
        writeln!(out, "process {}: {}", process.pid, process.command.join(" "))?;
    }
    for (number, vm) in &plan.vms {
        let references = if vm.gc64 { "GC64" } else { "non-GC64" };
        writeln!(out, "VM {number}: {} in process {}, {}, {references}", vm.label, vm.pid, vm.build)?;
        writeln!(out, "  lj_alloc_f at {:#x} of {} {}", vm.door, vm.module, vm.module_build_id)?;
    }
    writeln!(out)?;
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["offset", "frame", "VM", "count", "bytes", "from", "to"]);
    for Frame { offset, head } in &trace.frames {
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
    for (vm, time, gap) in &plan.gaps {
        writeln!(
            out,
            "gap of VM {vm} at {:.3} s: {} ({} hits lost)",
            micros(*time).as_secs_f64(),
            gap.reason,
            gap.lost
        )?;
    }
    Ok(())
}
