//! The programs with a LuaJIT inside that run a workload, and how each wants to be called.

use crate::{LUAJIT, LUAJIT_NOGC64, LUAJIT_STATIC, Program, workload};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A program that runs workloads.
#[derive(Clone, Debug)]
pub struct Interpreter {
    /// A short name for test output.
    pub name: &'static str,
    /// The executable itself, never a wrapper: its process is the one to record.
    pub executable: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    is_neovim: bool,
}

impl Interpreter {
    /// [`LUAJIT`]: upstream, GC64.
    pub fn gc64() -> Interpreter {
        Interpreter::plain("gc64", LUAJIT)
    }

    /// [`LUAJIT_NOGC64`]: upstream, without GC64.
    pub fn nogc64() -> Interpreter {
        Interpreter::plain("nogc64", LUAJIT_NOGC64)
    }

    /// [`LUAJIT_STATIC`]: upstream, GC64, without any shared library.
    pub fn static_gc64() -> Interpreter {
        Interpreter::plain("static", LUAJIT_STATIC)
    }

    /// The system's `luajit`, which `scripts/deps` makes OpenResty's fork.
    ///
    /// # Errors
    /// Says what is missing, for a test to report as its reason to skip.
    pub fn openresty() -> Result<Interpreter, String> {
        let executable = present(PathBuf::from("/usr/bin/luajit"))?;
        Ok(Interpreter::plain("openresty", executable))
    }

    /// Debian's own `luajit` with its shared library.
    ///
    /// # Errors
    /// Says what is missing, for a test to report as its reason to skip.
    pub fn debian() -> Result<Interpreter, String> {
        let executable = present(debian_root().join("usr/bin/luajit"))?;
        let environment = vec![("LD_LIBRARY_PATH", present(debian_libraries())?.into())];
        Ok(Interpreter { environment, ..Interpreter::plain("debian", executable) })
    }

    /// Debian's neovim: a large program with a LuaJIT among many other things.
    ///
    /// # Errors
    /// Says what is missing, for a test to report as its reason to skip.
    pub fn neovim() -> Result<Interpreter, String> {
        let executable = present(debian_root().join("usr/bin/nvim"))?;
        let runtime = present(debian_root().join("usr/share/nvim/runtime"))?;
        let environment =
            vec![("LD_LIBRARY_PATH", present(debian_libraries())?.into()), ("VIMRUNTIME", runtime.into())];
        Ok(Interpreter { environment, is_neovim: true, ..Interpreter::plain("neovim", executable) })
    }

    /// All of the above, those that are not installed as the reason why.
    pub fn all() -> Vec<Result<Interpreter, String>> {
        let built = [Interpreter::gc64(), Interpreter::nogc64(), Interpreter::static_gc64()];
        let installed = [Interpreter::openresty(), Interpreter::debian(), Interpreter::neovim()];
        built.into_iter().map(Ok).chain(installed).collect()
    }

    /// The command that runs the workload `name`, with `argument` to scale it (see the head of each workload).
    pub fn command(&self, name: &str, argument: Option<f64>) -> Command {
        let script = workload(name);
        let mut command = Command::new(&self.executable);
        command.envs(self.environment.iter().map(|(variable, value)| (variable, value)));
        command.env_remove("WORKLOAD_ARGUMENT");
        if self.is_neovim {
            // No configuration, no shada file, no swap file; `-l` would be shorter, but Debian 12 has neovim 0.7.
            command.args(["--headless", "-n", "-u", "NONE", "-i", "NONE"]);
            command.args(["-c", &format!("luafile {}", script.display()), "-c", "qall!"]);
            // `luafile` passes no arguments.
            command.envs(argument.map(|argument| ("WORKLOAD_ARGUMENT", argument.to_string())));
        } else {
            command.arg(script).args(argument.map(|argument| argument.to_string()));
        }
        command
    }

    /// Starts [`Interpreter::command`]. The workload goes on when told: see [`Program`].
    ///
    /// # Errors
    /// The operating system's, when the program cannot be started.
    pub fn start(&self, name: &str, argument: Option<f64>) -> io::Result<Program> {
        Program::start(&mut self.command(name, argument))
    }

    /// Starts [`Interpreter::command`] with a copy of its shared LuaJIT in `folder`, to be replaced or deleted there.
    ///
    /// # Errors
    /// The operating system's, or when it has no such library.
    pub fn start_with_library(&self, name: &str, folder: &Path) -> io::Result<Program> {
        const LIBRARY: &str = "libluajit-5.1.so.2";
        let libraries = self.environment.iter().find(|(variable, _)| *variable == "LD_LIBRARY_PATH");
        let Some((variable, libraries)) = libraries else { return Err(io::Error::other("no library of its own")) };
        std::fs::copy(Path::new(libraries).join(LIBRARY), folder.join(LIBRARY))?;
        let mut path = folder.as_os_str().to_owned();
        path.push(":");
        path.push(libraries);
        Program::start(self.command(name, None).env(variable, path))
    }

    fn plain(name: &'static str, executable: impl Into<PathBuf>) -> Interpreter {
        Interpreter { name, executable: executable.into(), environment: Vec::new(), is_neovim: false }
    }
}

/// Where `scripts/deps` unpacks the packages that exclude those installed.
fn debian_root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/debian")
}

fn debian_libraries() -> PathBuf {
    debian_root().join(format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH))
}

fn present(path: PathBuf) -> Result<PathBuf, String> {
    // Without `..`, so that it compares equal to what /proc says of the running program.
    path.canonicalize().map_err(|error| format!("{}: {error}; scripts/deps installs it", path.display()))
}
