//! Builds the real `luajit` program three times, stripped as distributions ship it: GC64, the same linked statically,
//! and without GC64 (on x86-64; every other 64-bit target is GC64 whatever one asks for). And the programs in C.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    // The sources come with luajit-src; Cargo runs this again when that crate changes, so this is all there is to
    // watch. Without such lines every edited workload would build LuaJIT anew.
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=programs");

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("Cargo sets OUT_DIR"));
    let build = out.join("luajit-build");
    let program = build.join("src/luajit");

    // Debug builds of LuaJIT assert and keep symbols: neither is what runs in production.
    luajit_src::Build::new().debug(false).build();
    keep(&program, "LUAJIT", &out.join("luajit"));
    compile("threads.c", Some(&build), "THREADS", &out.join("threads"));
    compile("tracer.c", None, "TRACER", &out.join("tracer"));
    compile("alloc.c", None, "ALLOC", &out.join("alloc"));
    compile("glibc.c", None, "GLIBC", &out.join("glibc"));
    // With debug information: tests strip copies.
    for (variable, frames) in [("SITES", "-fomit-frame-pointer"), ("SITES_FRAMES", "-fno-omit-frame-pointer")] {
        let module = out.join(format!("{}.so", variable.to_lowercase()));
        build_c(&["-g", "-fPIC", "-shared", "-Wl,--build-id", frames], "sites.c", None, variable, &module);
    }
    compile_with(&["-static"], "glibc.c", None, "GLIBC_STATIC", &out.join("glibc-static"));

    // The objects are there: only the last link differs.
    fs::remove_file(&program).expect("the program just built can be removed");
    make(&build, &["LDFLAGS=-static"]);
    keep(&program, "LUAJIT_STATIC", &out.join("luajit-static"));

    // luajit-src has no switch for GC64. The flag must reach all of the build, the generated interpreter too.
    make(&build, &["clean"]);
    make(&build, &["XCFLAGS=-DLUAJIT_DISABLE_GC64"]);
    keep(&program, "LUAJIT_NOGC64", &out.join("luajit-nogc64"));
    compile("threads.c", Some(&build), "THREADS_NOGC64", &out.join("threads-nogc64"));
}

/// Runs LuaJIT's own makefile as luajit-src does, in as many jobs as Cargo has to spare.
fn make(build: &Path, words: &[&str]) {
    let mut make = Command::new("make");
    make.current_dir(build.join("src")).args(["BUILDMODE=static", "TARGET_SYS=Linux"]).args(words);
    if let Some(jobserver) = env::var_os("CARGO_MAKEFLAGS") {
        make.env("MAKEFLAGS", jobserver);
    }
    let status = make.status().expect("make runs (scripts/deps installs it)");
    assert!(status.success(), "{make:?}: {status}");
}

/// Puts a program where the next build does not overwrite it and tells `lib.rs` where that is.
fn keep(program: &Path, variable: &str, kept: &Path) {
    fs::copy(program, kept).expect("OUT_DIR is writable");
    println!("cargo::rustc-env={variable}={}", kept.display());
}

/// Builds one of our own programs, stripped, with the LuaJIT built last if it wants one.
fn compile(source: &str, luajit: Option<&Path>, variable: &str, program: &Path) {
    compile_with(&[], source, luajit, variable, program);
}

/// As [`compile`], with these options.
fn compile_with(options: &[&str], source: &str, luajit: Option<&Path>, variable: &str, program: &Path) {
    build_c(&[&["-s"], options].concat(), source, luajit, variable, program);
}

/// The same, with its symbols.
fn build_c(options: &[&str], source: &str, luajit: Option<&Path>, variable: &str, program: &Path) {
    let mut cc = Command::new(env::var_os("CC").unwrap_or_else(|| "cc".into()));
    cc.args(["-O2", "-pthread"]).args(options).arg("-o").arg(program).arg(Path::new("programs").join(source));
    if let Some(luajit) = luajit {
        let src = luajit.join("src");
        cc.arg("-I").arg(&src).arg(src.join("libluajit.a")).args(["-lm", "-ldl"]);
    }
    let status = cc.status().expect("a C compiler runs (scripts/deps installs it)");
    assert!(status.success(), "{cc:?}: {status}");
    println!("cargo::rustc-env={variable}={}", program.display());
}
