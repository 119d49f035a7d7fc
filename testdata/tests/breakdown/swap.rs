//! Memory that is in swap.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use shared::trace::breakdown::SliceKind;
use testdata::{ALLOC, LUAJIT, Program, may_record, not_allowed, run, skip, status_field, workload};

use crate::Result;
use crate::allocators::{LARGE_SIZE, THREADS, start};
use crate::look::{Look, PAGE};

/// A swap file of the test's own, if there is no swap yet, for one test at a time. Dropped, it is switched off and removed.
struct Swap {
    file: Option<PathBuf>,
    _turn: MutexGuard<'static, ()>,
}

impl Swap {
    /// Somewhere to swap to, or why there is none.
    fn on(folder: &Path) -> std::result::Result<Swap, String> {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        // One line is the table's head.
        if fs::read_to_string("/proc/swaps").is_ok_and(|table| table.lines().count() > 1) {
            return Ok(Swap { file: None, _turn: turn });
        }
        let file = folder.join("swap");
        let script = "fallocate -l 256M \"$0\" && chmod 600 \"$0\" && mkswap -q \"$0\" && exec swapon \"$0\"";
        match run(Command::new("sh").args(["-c", script]).arg(&file)) {
            Ok(ran) if ran.code == 0 => Ok(Swap { file: Some(file), _turn: turn }),
            Ok(ran) => Err(format!("no swap: {}", ran.stderr.trim())),
            Err(error) => Err(format!("no swap: {error}")),
        }
    }
}

impl Drop for Swap {
    fn drop(&mut self) {
        let Some(file) = &self.file else { return };
        let switched_off = run(Command::new("swapoff").arg(file));
        let _ = fs::remove_file(file);
        if !matches!(&switched_off, Ok(ran) if ran.code == 0) {
            eprintln!("swapoff {}: {switched_off:?}", file.display());
        }
    }
}

/// A control group of the test's own. Dropped, it is removed; what was in it must have ended.
struct Group {
    path: PathBuf,
    /// What makes the kernel take back what it can, and what to write there.
    reclaim: (&'static str, &'static str),
}

impl Group {
    /// An empty group with account of its memory, or why there is none.
    fn new() -> std::result::Result<Group, String> {
        let roots =
            [("/sys/fs/cgroup", ("memory.reclaim", "1G")), ("/sys/fs/cgroup/memory", ("memory.force_empty", "0"))];
        for (root, reclaim) in roots {
            let path = Path::new(root).join(format!("ljscope-{}", std::process::id()));
            if fs::create_dir(&path).is_err() {
                continue;
            }
            let group = Group { path, reclaim };
            // Any folder can be made on a tmpfs; only a group has files.
            if group.path.join(reclaim.0).exists() && group.path.join("cgroup.procs").exists() {
                return Ok(group);
            }
        }
        Err("no control group for memory".into())
    }

    /// A command in it.
    fn command(&self, program: &str, argument: &str) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-ec", "echo $$ > \"$0\"; exec \"$@\""])
            .arg(self.path.join("cgroup.procs"))
            .args([program, argument]);
        command
    }

    /// Memory runs short. The kernel says it has failed where it could not take as much as was asked for.
    fn press(&self) {
        for _ in 0..3 {
            let _ = fs::write(self.path.join(self.reclaim.0), self.reclaim.1);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.path) {
            eprintln!("rmdir {}: {error}", self.path.display());
        }
    }
}

fn swapped(pid: u32) -> Result<u64> {
    let field = status_field(pid, "VmSwap")?;
    Ok(field.split_whitespace().next().ok_or("no VmSwap")?.parse::<u64>()? << 10)
}

/// The program has the kernel write its large blocks to swap.
#[test]
fn what_is_in_swap_is_found_in_its_slice_and_stays_there() -> Result<()> {
    if let Err(reason) = may_record() {
        skip("what_is_in_swap_is_found_in_its_slice_and_stays_there", &reason);
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let swap = match Swap::on(folder.path()) {
        Ok(swap) => swap,
        Err(reason) => {
            not_allowed("what_is_in_swap_is_found_in_its_slice_and_stays_there", &reason);
            return Ok(());
        }
    };
    let mut program = start(Command::new(ALLOC).arg(THREADS.to_string()))?;
    program.go()?;
    program.wait_done()?;
    let written = (THREADS + 1) * LARGE_SIZE / 2;
    let before = swapped(program.pid())?;
    // Pages that a processor has not yet handed to the kernel's lists are passed over.
    assert!((written / 2..=written).contains(&before), "{before} of {written} bytes are in swap");

    let look = Look::at(program.pid(), "swapped")?;
    let all = format!("{:#?}", look.breakdown);
    let blocks = look.sum(|slice| slice.name == "glibc mapped blocks");
    // Finding the blocks takes reading the start of each, which brings that page back.
    let looked_at = (THREADS + 1) * PAGE;
    assert!(blocks.swapped + looked_at >= before, "{before} {all}");
    assert!(blocks.resident <= written - before + 2 * looked_at, "{before} {all}");
    assert!(swapped(program.pid())? + looked_at >= before, "a look must not bring it all back");
    assert!(program.finish()?.success());
    drop(swap);
    Ok(())
}

/// Memory runs short while the process waits: all that it does not use then goes, the allocator's state too.
#[test]
fn a_process_that_memory_ran_short_for() -> Result<()> {
    if let Err(reason) = may_record() {
        skip("a_process_that_memory_ran_short_for", &reason);
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let ready = Swap::on(folder.path()).and_then(|swap| Ok((swap, Group::new()?)));
    let (swap, group) = match ready {
        Ok(ready) => ready,
        Err(reason) => {
            not_allowed("a_process_that_memory_ran_short_for", &reason);
            return Ok(());
        }
    };
    let mut program = start(&mut group.command(ALLOC, &THREADS.to_string()))?;
    group.press();
    let before = swapped(program.pid())?;
    let written = (THREADS + 1) * LARGE_SIZE / 2;
    assert!(before >= written, "{before} of more than {written} bytes are in swap");
    let look = Look::at(program.pid(), "without Lua")?;
    let blocks = look.sum(|slice| slice.name == "glibc mapped blocks");
    assert!(blocks.swapped + (THREADS + 1) * PAGE >= written, "{:#?}", look.breakdown);
    assert!(program.finish()?.success());

    let script = workload("direct");
    program = Program::start(&mut group.command(LUAJIT, &script.display().to_string()))?;
    program.wait_ready()?;
    program.go()?;
    let expected = program.wait_done()?;
    group.press();
    assert!(swapped(program.pid())? > 1 << 20, "{:?}", status_field(program.pid(), "VmSwap"));
    let look = Look::at(program.pid(), "LuaJIT")?;
    let luajit = look.of(SliceKind::Luajit);
    assert!(luajit.resident + luajit.swapped > 1 << 20, "{expected}: {:#?}", look.breakdown);
    assert!(program.finish()?.success());
    drop((group, swap));
    Ok(())
}
