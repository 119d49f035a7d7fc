//! Debian's nginx, with its Lua module or without: a master and its workers, in a directory and on a port of their own.

use crate::load::{self, Load};
use crate::nginx_dir;
use crate::process::{children, signal};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, fs, io, process, thread};

/// What nginx is configured to do; every one of them serves `/hello`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NginxConfig {
    /// Lua at work: `/json`, `/cache`, `/big` and `/gc`; see `nginx/handlers.lua`.
    Lua,
    /// Lua with shared zones of many kinds, `/fill` and `/space`, and a pool of threads; see `nginx/zones.lua`.
    Zones,
    /// No Lua; shared zones of nginx's own modules, and a pool of threads.
    Plain,
}

impl NginxConfig {
    fn template(self) -> &'static str {
        match self {
            NginxConfig::Lua => "nginx.conf.in",
            NginxConfig::Zones => "zones.conf.in",
            NginxConfig::Plain => "plain.conf.in",
        }
    }
}

/// A running nginx.
///
/// Dropped, it is stopped and its directory removed.
pub struct Nginx {
    master: Child,
    prefix: PathBuf,
    port: u16,
}

/// How long it may take to answer first, and to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where distributions put nginx's loadable modules.
const MODULES: [&str; 3] = ["/usr/lib/nginx/modules", "/usr/share/nginx/modules", "/usr/lib64/nginx/modules"];

impl Nginx {
    /// Threads in the pool of each worker, beside its own; not with [`NginxConfig::Lua`].
    pub const POOL_THREADS: usize = 5;

    /// Whether nginx and its Lua module are here.
    ///
    /// # Errors
    /// Says what is missing, for a test to report as its reason to skip.
    pub fn available() -> Result<(), String> {
        modules()?;
        Nginx::available_plain()
    }

    /// Whether nginx is here.
    ///
    /// # Errors
    /// As [`Nginx::available`].
    pub fn available_plain() -> Result<(), String> {
        match Command::new("nginx").arg("-v").stderr(Stdio::null()).status() {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("nginx: {error}; scripts/deps installs it")),
        }
    }

    /// Starts it with one worker and waits until it answers.
    ///
    /// # Errors
    /// When it is not [`available`](Nginx::available), or does not answer; with its own log.
    pub fn start() -> io::Result<Nginx> {
        Nginx::start_with(1)
    }

    /// Starts it with so many workers and waits until it answers.
    ///
    /// # Errors
    /// As [`Nginx::start`].
    pub fn start_with(workers: usize) -> io::Result<Nginx> {
        Nginx::start_as(NginxConfig::Lua, workers)
    }

    /// Starts it with a configuration and so many workers, and waits until it answers.
    ///
    /// # Errors
    /// As [`Nginx::start`]; plain it needs no Lua module.
    pub fn start_as(config: NginxConfig, workers: usize) -> io::Result<Nginx> {
        let modules = if config == NginxConfig::Plain { "" } else { modules().map_err(io::Error::other)? };
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let serial = STARTED.fetch_add(1, Ordering::Relaxed);
        let prefix = env::temp_dir().join(format!("ljscope-nginx-{}-{serial}", process::id()));
        fs::create_dir_all(&prefix)?;

        // Free when looked at; should somebody else take it before nginx does, nginx ends and says so.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let config = fs::read_to_string(nginx_dir().join(config.template()))?
            .replace("@MODULES@", modules)
            .replace("@PREFIX@", &prefix.display().to_string())
            .replace("@TEMPLATES@", &nginx_dir().display().to_string())
            .replace("@WORKERS@", &workers.to_string())
            .replace("@THREADS@", &Nginx::POOL_THREADS.to_string())
            .replace("@PORT@", &port.to_string());
        fs::write(prefix.join("nginx.conf"), config)?;

        let log = fs::File::create(prefix.join("stderr.log"))?;
        let mut command = Command::new("nginx");
        command.arg("-p").arg(&prefix).arg("-c").arg(prefix.join("nginx.conf"));
        let master = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn()?;
        let mut nginx = Nginx { master, prefix, port };
        nginx.wait_for_answer(workers)?;
        Ok(nginx)
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The master's process id.
    pub fn master_pid(&self) -> u32 {
        self.master.id()
    }

    /// The process ids of the workers there are now.
    pub fn workers(&self) -> Vec<u32> {
        // A process calls itself so before it serves; the cache's manager and loader have other titles.
        let title = |pid: u32| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        children(self.master.id()).into_iter().filter(|&pid| title(pid).starts_with(b"nginx: worker")).collect()
    }

    /// Has the master read its configuration again: new workers come, the old ones end once they are idle.
    ///
    /// # Errors
    /// When the master is gone.
    pub fn reload(&self) -> io::Result<()> {
        signal("HUP", self.master.id())
    }

    /// Changes its configuration, for the next [`reload`](Nginx::reload).
    ///
    /// # Errors
    /// When `from` is not in it, or it cannot be written.
    pub fn change_config(&self, from: &str, to: &str) -> io::Result<()> {
        let path = self.prefix.join("nginx.conf");
        let config = fs::read_to_string(&path)?;
        if !config.contains(from) {
            return Err(io::Error::other(format!("no {from} in {}", path.display())));
        }
        fs::write(path, config.replace(from, to))
    }

    /// The process id of the worker, which does all the work.
    ///
    /// # Errors
    /// When there is none.
    pub fn worker_pid(&self) -> io::Result<u32> {
        self.workers()
            .first()
            .copied()
            .ok_or_else(|| io::Error::other(format!("nginx {} has no worker", self.master.id())))
    }

    /// The address of `path`, for another client such as wrk.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Asks for `path` once: the status and the body.
    ///
    /// # Errors
    /// When no full answer comes within ten seconds.
    pub fn get(&self, path: &str) -> io::Result<(u16, Vec<u8>)> {
        load::get(self.port, path)
    }

    /// Asks for `path` again and again on some connections at once, for a time.
    pub fn load(&self, path: &str, duration: Duration, connections: usize) -> Load {
        load::run(self.port, path, duration, connections)
    }

    fn wait_for_answer(&mut self, workers: usize) -> io::Result<()> {
        let started = Instant::now();
        loop {
            let answer = self.get("/hello");
            if matches!(answer, Ok((200, _))) && self.workers().len() == workers {
                return Ok(());
            }
            if self.master.try_wait()?.is_some() || started.elapsed() > PATIENCE {
                let log = |name| fs::read_to_string(self.prefix.join(name)).unwrap_or_default();
                return Err(io::Error::other(format!(
                    "nginx on port {} does not answer ({answer:?}): {}{}",
                    self.port,
                    log("stderr.log"),
                    log("error.log")
                )));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master ends its worker when asked; killed outright it would leave it behind.
        let workers = children(self.master.id());
        // Fails only when the process is over anyway, here and below.
        let _ = signal("TERM", self.master.id());
        let started = Instant::now();
        while matches!(self.master.try_wait(), Ok(None)) {
            if started.elapsed() > PATIENCE {
                for worker in workers {
                    let _ = signal("KILL", worker);
                }
                let _ = self.master.kill();
                let _ = self.master.wait();
                break;
            }
            thread::sleep(Duration::from_millis(5));
        }
        // What is left in the temporary directory harms nobody.
        let _ = fs::remove_dir_all(&self.prefix);
    }
}

fn modules() -> Result<&'static str, String> {
    let has_lua = |directory: &&&str| Path::new(directory).join("ngx_http_lua_module.so").exists();
    let found = MODULES.iter().find(has_lua).copied();
    found.ok_or_else(|| format!("no ngx_http_lua_module.so in {MODULES:?}; scripts/deps installs it"))
}
