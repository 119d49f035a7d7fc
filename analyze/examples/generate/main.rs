//! Makes traces of any size that verify, for the bench and for trying things out: a program that does not exist calls the
//! model of LuaJIT's allocator, and its calls are written as a recorder would write them. The same arguments make the same
//! bytes.
//!
//! ```text
//! cargo run --release -p analyze --example generate -- --calls 100000000 -o hundred-million.ljt
//! cargo run --release -p analyze --example generate -- --bytes 1GB -o large.ljt
//! cargo run --release -p analyze --example generate -- --traces 1000 --calls 20000 --live 2000 -o many/
//! ```
#![forbid(unsafe_code)]

mod program;
mod write;

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bytesize::ByteSize;
use clap::Parser;

use write::Shape;

/// Makes traces that verify.
#[derive(Debug, Parser)]
struct Arguments {
    /// End behind so many calls
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true, required_unless_present = "bytes")]
    calls: u64,
    /// End at the first keyframe behind so many bytes
    #[arg(long, value_name = "SIZE")]
    bytes: Option<ByteSize>,
    /// Keep about so many blocks alive
    #[arg(long, value_name = "N", default_value_t = 20_000)]
    live: usize,
    /// Calls from one keyframe to the next
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    keyframe_every: u64,
    /// Where chance starts
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Make so many traces, of one seed after the other: -o is a directory then
    #[arg(long, value_name = "N")]
    traces: Option<u64>,
    /// Write to FILE
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let shape = Shape {
        calls: arguments.calls,
        bytes: arguments.bytes.map_or(u64::MAX, |bytes| bytes.0),
        live: arguments.live,
        keyframe_every: arguments.keyframe_every.max(1),
        seed: arguments.seed,
    };
    let Some(traces) = arguments.traces else { return make(&shape, &arguments.output) };
    std::fs::create_dir_all(&arguments.output).with_context(|| arguments.output.display().to_string())?;
    for seed in arguments.seed..arguments.seed + traces {
        make(&Shape { seed, ..shape.clone() }, &arguments.output.join(format!("{seed:05}.ljt")))?;
    }
    Ok(())
}

fn make(shape: &Shape, path: &Path) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let calls = write::write(shape, BufWriter::new(file)).with_context(|| path.display().to_string())?;
    println!("{}: {calls} calls, {} bytes", path.display(), std::fs::metadata(path)?.len());
    Ok(())
}
