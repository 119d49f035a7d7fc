//! A service to record wherever it may be: in a folder that everybody may look into, a container, another root.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::{LUAJIT, Program, Ran, Recorder, copy_program, run, workload, workloads_dir};

/// `leak.lua` with a `luajit`, in a folder of its own.
#[derive(Clone, Debug)]
pub struct Service {
    folder: PathBuf,
}

/// How long it serves, in seconds: some windows.
const SECONDS: &str = "2";

impl Service {
    /// Copies it into `folder`, which is opened to everybody.
    ///
    /// # Errors
    /// The operating system's.
    pub fn install(folder: &Path) -> io::Result<Service> {
        fs::create_dir_all(folder.join("lib"))?;
        copy_program(LUAJIT, folder.join("luajit"))?;
        fs::copy(workload("leak"), folder.join("leak.lua"))?;
        fs::copy(workloads_dir().join("lib/ready.lua"), folder.join("lib/ready.lua"))?;
        // As in /tmp: whoever it is may leave a trace here.
        fs::set_permissions(folder, Permissions::from_mode(0o777))?;
        fs::set_permissions(folder.join("lib"), Permissions::from_mode(0o755))?;
        fs::set_permissions(folder.join("luajit"), Permissions::from_mode(0o755))?;
        Ok(Service { folder: folder.to_owned() })
    }

    /// Its `luajit`.
    pub fn luajit(&self) -> PathBuf {
        self.folder.join("luajit")
    }

    /// What `luajit` is to be called with.
    pub fn words(&self) -> [String; 2] {
        [self.folder.join("leak.lua").display().to_string(), SECONDS.into()]
    }

    /// Starts it by a command that becomes it, to which its own words are added.
    ///
    /// # Errors
    /// The operating system's, or when it does not come up.
    pub fn start(&self, command: &mut Command) -> io::Result<Program> {
        let mut program = Program::start(command.arg(self.luajit()).args(self.words()))?;
        program.wait_ready()?;
        Ok(program)
    }
}

impl Recorder {
    /// Records process `pid`, which is `program` or in it, while that does its work, by a command that becomes `record`.
    /// In mode `snapshot` it has nothing to do. Returns how the recorder ended and what it said.
    ///
    /// # Errors
    /// The operating system's, or when either does not come to its end.
    pub fn through(
        command: &mut Command,
        mode: &str,
        trace: &Path,
        pid: u32,
        program: &mut Program,
    ) -> io::Result<Ran> {
        command.args(["--mode", mode, "--max-pause=2s", "--every=200ms", "--max-overhead=20%"]);
        command.args(["-p", &pid.to_string(), "-o"]).arg(trace);
        if mode == "snapshot" {
            return run(command);
        }
        let mut recorder = Recorder::spawn(command)?;
        recorder.wait_recording()?;
        program.go()?;
        program.wait_done()?;
        let (code, stderr) = recorder.stop()?;
        Ok(Ran { code, stdout: Vec::new(), stderr })
    }
}
