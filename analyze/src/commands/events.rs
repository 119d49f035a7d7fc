//! `analyze events`: every call and mapping call, a row each, in the order of each VM's stream.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use polars::prelude::{Column, DataFrame, NamedFrom, Series};
use polars_io::SerWriter;
use polars_io::csv::write::CsvWriter;
use polars_io::parquet::write::ParquetWriter;
use schemars::JsonSchema;
use serde::Serialize;
use shared::call::Event;
use shared::trace::frame::Kind;
use shared::trace::reader::{End, Frame};

use super::with_output;
use crate::cli::{Input, RowFormat};
use crate::source::{FileTrace, Source};

/// `analyze events`
#[derive(Debug, Args)]
pub struct Arguments {
    /// What is read
    #[command(flatten)]
    pub input: Input,
    /// How to write it
    #[arg(long, value_enum, default_value = "csv")]
    pub format: RowFormat,
    /// One VM, by its number [default: all]
    #[arg(long, value_name = "N")]
    pub vm: Option<u32>,
    /// Write to FILE
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// A call, or a mapping call that the allocator made.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Row {
    /// The VM.
    vm: u32,
    /// When, from the start of the recording.
    time_ns: u64,
    /// `alloc`, `resize`, `free`, `mmap`, `munmap` or `mremap`.
    event: &'static str,
    /// The block, or the mapping; 0 of one that is yet to be.
    ptr: u64,
    /// Its size before.
    old_size: u64,
    /// Its size afterwards.
    new_size: u64,
    /// Of a mapping call, what the kernel returned: an address, or a negative error.
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<i64>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let trace = Source::of(&arguments.input)?.open()?;
    let blocks = trace.frames.iter().filter(|frame| frame.head.kind == Kind::Calls);
    let blocks: Vec<Frame> =
        blocks.filter(|frame| arguments.vm.is_none_or(|vm| vm == frame.head.vm)).copied().collect();
    if arguments.format == RowFormat::Parquet && arguments.output.is_none() {
        bail!("Parquet is no text: name a file with -o");
    }
    with_output(arguments.output.as_deref(), |out| match arguments.format {
        RowFormat::Csv => csv(&trace, &blocks, out),
        RowFormat::Jsonl => jsonl(&trace, &blocks, out),
        RowFormat::Parquet => parquet(&trace, &blocks, out),
    })?;
    match &trace.end {
        End::Complete(_) => Ok(ExitCode::SUCCESS),
        End::Truncated { what, .. } => {
            eprintln!("analyze: {what}; the events before it are written");
            Ok(ExitCode::from(2))
        }
    }
}

/// The rows of a block as columns. Signed, because Spark and others know no unsigned 64 bit; addresses are below
/// 2^47, and an error result is the negative number the kernel returned.
fn frame(trace: &FileTrace, frame: &Frame) -> Result<DataFrame> {
    let block = trace.calls(frame)?;
    let events: Vec<Event> = block.events().collect();
    let text = |name: &str, of: fn(&Event) -> &'static str| {
        Column::from(Series::new(name.into(), events.iter().map(of).collect::<Vec<_>>()))
    };
    let number = |name: &str, of: fn(&Event) -> Option<u64>| {
        let values: Vec<Option<i64>> = events.iter().map(|event| of(event).map(|value| value as i64)).collect();
        Column::from(Series::new(name.into(), values))
    };
    let vm = vec![i64::from(frame.head.vm); events.len()];
    Ok(DataFrame::new(
        events.len(),
        vec![
            Column::from(Series::new("vm".into(), vm)),
            number("time_ns", |event| Some(event.time())),
            text("event", |event| match event {
                Event::Call(call) => call.kind().name(),
                Event::Map(map) => map.op.name(),
            }),
            number("ptr", |event| match event {
                Event::Call(call) => Some(call.ptr),
                Event::Map(map) => Some(map.addr),
            }),
            number("old_size", |event| match event {
                Event::Call(call) => Some(call.osize),
                Event::Map(map) => Some(map.len),
            }),
            number("new_size", |event| match event {
                Event::Call(call) => Some(call.nsize),
                Event::Map(map) => Some(map.new_len),
            }),
            number("result", |event| match event {
                Event::Call(_) => None,
                Event::Map(map) => Some(map.result),
            }),
        ],
    )?)
}

fn csv(trace: &FileTrace, blocks: &[Frame], out: &mut dyn Write) -> Result<()> {
    let mut header = true;
    for block in blocks {
        CsvWriter::new(&mut *out).include_header(header).finish(&mut frame(trace, block)?)?;
        header = false;
    }
    if header {
        writeln!(out, "vm,time_ns,event,ptr,old_size,new_size,result")?;
    }
    Ok(())
}

fn jsonl(trace: &FileTrace, blocks: &[Frame], out: &mut dyn Write) -> Result<()> {
    for block in blocks {
        for event in trace.calls(block)?.events() {
            let row = match event {
                Event::Call(call) => Row {
                    vm: block.head.vm,
                    time_ns: call.time,
                    event: call.kind().name(),
                    ptr: call.ptr,
                    old_size: call.osize,
                    new_size: call.nsize,
                    result: None,
                },
                Event::Map(map) => Row {
                    vm: block.head.vm,
                    time_ns: map.time,
                    event: map.op.name(),
                    ptr: map.addr,
                    old_size: map.len,
                    new_size: map.new_len,
                    result: Some(map.result as i64),
                },
            };
            serde_json::to_writer(&mut *out, &row)?;
            writeln!(out)?;
        }
    }
    Ok(())
}

/// One row group a block, so that memory does not grow with the trace.
fn parquet(trace: &FileTrace, blocks: &[Frame], out: &mut dyn Write) -> Result<()> {
    let Some(first) = blocks.first() else { bail!("there are no calls in this trace") };
    let schema = frame(trace, first)?.schema().clone();
    let mut writer = ParquetWriter::new(out).batched(&schema)?;
    for block in blocks {
        writer.write_batch(&frame(trace, block)?)?;
    }
    writer.finish()?;
    Ok(())
}
