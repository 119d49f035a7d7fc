//! Writes the seed corpora: `cargo run --manifest-path testdata/fuzz/Cargo.toml --bin seeds`.
//!
//! `seeds --trace FILE` makes a seed of a recorded trace as well: its first calls and keyframe, with every name of the
//! machine and its files replaced. `seeds --pid PID` makes one of a running process's heap: only the words the walk
//! reads, which are headers and links. Inputs that fuzzing found stay in the corpora; this never removes a file.

mod canvas;
mod elf;
mod real;
mod traces;
mod vm;

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    match (arguments.next().as_deref(), arguments.next()) {
        (None, _) => all()?,
        (Some("--trace"), Some(file)) => save("trace", "recorded", &real::trace(Path::new(&file))?)?,
        (Some("--pid"), Some(pid)) => save("heap", "recorded", &real::heap(pid.parse()?)?)?,
        _ => return Err("usage: seeds [--trace FILE | --pid PID]".into()),
    }
    Ok(())
}

fn save(target: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&dir)?;
    fs::write(dir.join(name), bytes)
}

fn all() -> io::Result<()> {
    for (name, bytes) in traces::files() {
        save("trace", name, &bytes)?;
    }
    for (name, bytes) in traces::payloads() {
        save("payload", name, &bytes)?;
    }
    for (gc64, name) in [(true, "gc64"), (false, "no-gc64")] {
        let vm = vm::Vm::draw(gc64);
        save("heap", name, &vm.canvas.describe(vm.mstate))?;
        save("locate", name, &vm.canvas.describe(vm.mstate))?;
        save("locate", &format!("{name}-state"), &vm.canvas.describe(vm.main_thread))?;
    }
    for (name, vm) in vm::Vm::broken() {
        save("heap", name, &vm.canvas.describe(vm.mstate))?;
    }
    save("heap", "nothing", &canvas::Canvas::default().describe(0x1010))?;
    for (name, bytes) in elf::files() {
        save("code", name, &bytes)?;
    }
    for (name, bytes) in records() {
        save("perf", name, &bytes)?;
    }
    Ok(())
}

/// Perf records as the kernel writes them: type, misc, size, body.
fn records() -> Vec<(&'static str, Vec<u8>)> {
    let record = |kind: u32, misc: u16, words: &[u64]| {
        let size = 8 + words.len() as u16 * 8;
        let header = [&kind.to_le_bytes()[..], &misc.to_le_bytes(), &size.to_le_bytes()].concat();
        [&header[..], words.iter().copied().map(u64::to_le_bytes).collect::<Vec<_>>().as_flattened()].concat()
    };
    let ids = |low: u64, high: u64| low | high << 32;
    vec![
        ("sample", record(9, 2, &[77, 1_000_000_123, 2, 0, 40, 0, 0x7f00_0000_1010, 0x7f00_0000_0010])),
        ("sample-32-bit", record(9, 2, &[77, 1_000_000_123, 1, 0, 40, 0, 0x4000_1010, 0x4000_0010])),
        ("sample-no-registers", record(9, 2, &[77, 1_000_000_456, 0])),
        ("sample-short", record(9, 2, &[77, 1_000_000_456, 2, 1, 2, 3, 4])),
        ("lost", record(2, 0, &[77, 1234])),
        ("fork", record(7, 0, &[ids(100, 1), ids(101, 100), 1_000_000_789])),
        ("throttle", record(5, 0, &[1, 2, 3])),
    ]
}
