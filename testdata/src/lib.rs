//! Real LuaJIT programs to record, and ljscope's own programs to record them with: three builds of `luajit`, those that
//! the system and Debian ship, neovim and nginx, with workloads for them, and a program of many VMs. Tests, demo and
//! bench start them through this crate; `scripts/deps` installs what is not built here.
//!
//! What is started here ends here: every wait is bounded and every process is ended by its id when its handle is dropped.

#![forbid(unsafe_code)]

mod checks;
mod dice;
mod interpreter;
mod load;
mod nginx;
mod process;
mod program;
mod service;
mod tools;

pub use checks::{Verified, info, stats, sums, uncontradicted, verdict, verify};
pub use dice::Dice;
pub use interpreter::Interpreter;
pub use load::Load;
pub use nginx::{Nginx, NginxConfig};
pub use process::{Ran, changed_text, children, copy_program, cpu_ticks, run, signal, state, status_field};
pub use program::Program;
pub use service::Service;
pub use tools::{Recorder, analyze, analyze_stream, may_record, not_allowed, record, skip, tool};

use std::path::{Path, PathBuf};
use std::time::Duration;

/// `luajit` built from the pinned sources, GC64, stripped.
pub const LUAJIT: &str = env!("LUAJIT");

/// [`LUAJIT`] without GC64. Only x86-64 has such builds; elsewhere this is one more GC64 build.
pub const LUAJIT_NOGC64: &str = env!("LUAJIT_NOGC64");

/// [`LUAJIT`] linked statically: `mmap` and its kin are inside the program, there is no libc to look for.
pub const LUAJIT_STATIC: &str = env!("LUAJIT_STATIC");

/// `programs/threads.c` on [`LUAJIT`]: several threads, each with a VM of its own.
pub const THREADS: &str = env!("THREADS");

/// [`THREADS`] without GC64.
pub const THREADS_NOGC64: &str = env!("THREADS_NOGC64");

/// `programs/tracer.c`: a tracer that is in the way.
pub const TRACER: &str = env!("TRACER");

/// `programs/alloc.c`: known amounts of memory in several threads, without any Lua.
pub const ALLOC: &str = env!("ALLOC");

/// `programs/glibc.c`: memory from glibc's malloc in every state there is, and what glibc says of it.
pub const GLIBC: &str = env!("GLIBC");

/// A module for Lua that allocates in known proportions, with debug information.
pub const SITES: &str = env!("SITES");

/// The same, built with frame pointers.
pub const SITES_FRAMES: &str = env!("SITES_FRAMES");

/// [`GLIBC`] linked statically.
pub const GLIBC_STATIC: &str = env!("GLIBC_STATIC");

/// Names of the workloads that run on every [`Interpreter`] and end by themselves within seconds.
pub const WORKLOADS: [&str; 6] = ["churn", "mixed", "direct", "segments", "threads", "leak"];

/// The longest that anything started here may take, over all: a hung program fails its test instead of blocking it.
pub const LIMIT: Duration = Duration::from_secs(120);

/// Where the Lua programs are.
pub fn workloads_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("workloads")
}

/// The Lua program of one workload, by its name without `.lua`.
pub fn workload(name: &str) -> PathBuf {
    workloads_dir().join(format!("{name}.lua"))
}

/// A recorded trace of `traces/`, by its name without `.ljt`; `scripts/fixtures` makes them.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("traces").join(format!("{name}.ljt"))
}

/// Where nginx's configuration template and its Lua handlers are.
pub(crate) fn nginx_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("nginx")
}
