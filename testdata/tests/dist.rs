//! The recorder as it is given away: one static executable that runs where nothing else is, and says where it cannot.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use testdata::{Program, Ran, Recorder, Service, changed_text, copy_program, may_record, run, skip, tool, verify};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Compiling everything anew, with link-time optimization, on a small machine.
const BUILD_LIMIT: Duration = Duration::from_secs(900);

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `out/record`, built if it is older than the recorder that the other tests use.
fn static_record() -> Result<PathBuf> {
    static BUILT: OnceLock<std::result::Result<(), String>> = OnceLock::new();
    let path = workspace().join("out/record");
    BUILT.get_or_init(|| build_if_old(&path).map_err(|error| error.to_string())).clone()?;
    Ok(path.canonicalize()?)
}

fn build_if_old(path: &Path) -> Result<()> {
    let modified = |path: &Path| std::fs::metadata(path).and_then(|meta| meta.modified());
    if modified(path).is_ok_and(|built| modified(&tool("record")).is_ok_and(|other| built > other)) {
        return Ok(());
    }
    let mut dist = Command::new(workspace().join("scripts/dist")).stdin(Stdio::null()).spawn()?;
    let since = Instant::now();
    while since.elapsed() < BUILD_LIMIT {
        if let Some(status) = dist.try_wait()? {
            return if status.success() { Ok(()) } else { Err(format!("scripts/dist: {status}").into()) };
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    dist.kill()?;
    dist.wait()?;
    Err("scripts/dist does not come to an end".into())
}

/// A command that becomes a program in the root directory `root`, where the machine's `/proc` and `/sys` are and
/// nothing else that is not in `root` already. The mounts go with it.
fn in_root(root: &Path, program: &str) -> Result<Command> {
    for folder in ["proc", "sys"] {
        std::fs::create_dir_all(root.join(folder))?;
    }
    let script = "mount --rbind /proc \"$1/proc\" && mount --rbind /sys \"$1/sys\" && exec chroot \"$@\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(root).arg(program);
    Ok(command)
}

fn recorded(ran: &Ran, trace: &Path, mode: &str, program: &Program) -> Result<()> {
    assert_eq!(ran.code, 0, "{mode}: {}", ran.stderr);
    assert!(!ran.stderr.contains("could not be measured"), "{mode}: {}", ran.stderr);
    assert_eq!(changed_text(program.pid())?, [0; 0], "{mode}");
    let verified = verify(trace, mode)?;
    assert!(mode == "snapshot" || verified.calls > 1000 && verified.keyframes > 0, "{mode}: {verified:?}");
    Ok(())
}

#[test]
fn in_an_empty_root_directory() -> Result<()> {
    if let Err(reason) = may_record() {
        skip("in_an_empty_root_directory", &reason);
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("root");
    std::fs::create_dir(&root)?;
    copy_program(static_record()?, root.join("record"))?;
    let service = Service::install(&folder.path().join("service"))?;
    for mode in ["snapshot", "sample", "full"] {
        let name = format!("{mode}.ljt");
        let mut program = service.start(&mut Command::new("env"))?;
        let pid = program.pid();
        let inside = Path::new("/").join(&name);
        let ran = Recorder::through(&mut in_root(&root, "/record")?, mode, &inside, pid, &mut program)?;
        recorded(&ran, &root.join(&name), mode, &program)?;
    }
    // The one that is built as usual has no chance there, so the root is as empty as it should be.
    copy_program(tool("record"), root.join("dynamic"))?;
    let ran = run(in_root(&root, "/dynamic")?.arg("--version"))?;
    assert_eq!(ran.code, 127, "{}", ran.stderr);
    Ok(())
}

#[test]
fn beside_an_older_c_library() -> Result<()> {
    let older = workspace().join("target/debian-older");
    let there = older.join("usr/bin/luajit").exists();
    let there = if there { Ok(()) } else { Err(format!("no {}; scripts/deps installs it", older.display())) };
    if let Err(reason) = may_record().and(there) {
        skip("beside_an_older_c_library", &reason);
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let root = folder.path().join("root");
    let copied = run(Command::new("cp").args(["-a"]).arg(&older).arg(&root))?;
    assert_eq!(copied.code, 0, "{}", copied.stderr);
    copy_program(static_record()?, root.join("record"))?;
    Service::install(&root.join("service"))?;
    // glibc 2.31 knows less than the machine's own.
    copy_program(tool("record"), root.join("dynamic"))?;
    let ran = run(in_root(&root, "/dynamic")?.arg("--version"))?;
    assert!(ran.code == 1 && ran.stderr.contains("GLIBC_"), "{}", ran.stderr);
    for mode in ["snapshot", "sample", "full"] {
        let name = format!("{mode}.ljt");
        let mut luajit = in_root(&root, "/usr/bin/luajit")?;
        let mut program = Program::start(luajit.args(["/service/leak.lua", "2"]))?;
        program.wait_ready()?;
        let pid = program.pid();
        let inside = Path::new("/").join(&name);
        let ran = Recorder::through(&mut in_root(&root, "/record")?, mode, &inside, pid, &mut program)?;
        recorded(&ran, &root.join(&name), mode, &program)?;
    }
    Ok(())
}

#[test]
fn where_it_cannot_record_it_says_so() -> Result<()> {
    let record = static_record()?;
    let folder = tempfile::tempdir()?;
    let trace = folder.path().join("trace.ljt");
    // All that these do is to make uname() tell of another kernel or machine.
    let cases: [(&[&str], &[&str]); 3] = [
        (&["x86_64", "--uname-2.6"], &["Linux 2.6", "5.8 or newer"]),
        (&["i686"], &["machine is i686", "x86_64 only"]),
        (&["linux32", "--uname-2.6"], &["machine is i686", "x86_64 only"]),
    ];
    for (arguments, words) in cases {
        let mut command = Command::new("setarch");
        command.args(arguments).arg(&record).args(["-p", "1", "-o"]).arg(&trace);
        let ran = run(&mut command)?;
        assert_eq!((ran.code, ran.stderr.lines().count()), (1, 1), "{arguments:?}: {}", ran.stderr);
        for word in words {
            assert!(ran.stderr.starts_with("record: ") && ran.stderr.contains(word), "{arguments:?}: {}", ran.stderr);
        }
        assert!(!trace.exists());
    }
    Ok(())
}
