//! A process from outside: its mappings, memory, threads and files. Reads only.

use std::fs;
use std::io::{self, IoSliceMut};
use std::path::PathBuf;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use procfs::process::{MMPermissions, MMapPath, Process};
use shared::Addr;

/// Something with readable memory: a process, or a copy of one.
pub trait Memory {
    /// Fills `bytes` from `addr`, or fails as a whole.
    fn read(&self, addr: Addr, bytes: &mut [u8]) -> io::Result<()>;

    /// The word at `addr`.
    fn word(&self, addr: Addr) -> Option<u64> {
        let mut bytes = [0; 8];
        self.read(addr, &mut bytes).ok()?;
        Some(u64::from_le_bytes(bytes))
    }

    /// Reads `len` bytes at each of `addrs` and hands those that can be read to `each`.
    fn read_many(&self, addrs: &[Addr], len: usize, mut each: impl FnMut(Addr, &[u8]))
    where
        Self: Sized,
    {
        let mut bytes = vec![0; len];
        for &addr in addrs {
            if self.read(addr, &mut bytes).is_ok() {
                each(addr, &bytes);
            }
        }
    }
}

/// A stretch of a process's address space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// First byte.
    pub start: Addr,
    /// First byte behind it.
    pub end: Addr,
    /// Offset in the file.
    pub offset: u64,
    /// Whether code in it can run.
    pub executable: bool,
    /// Readable, writable, not executable, private.
    pub data: bool,
    /// The file behind it, as the target names it.
    pub file: Option<PathBuf>,
    /// No file and no name: neither heap, stack, nor one of the kernel's own.
    pub anonymous: bool,
    /// Device (major, minor) and inode of the file.
    pub inode: ((i32, i32), u64),
    /// Where the kernel keeps instructions it steps over for probes.
    pub uprobes: bool,
}

impl Mapping {
    /// Whether `addr` lies in it.
    pub fn contains(&self, addr: Addr) -> bool {
        (self.start..self.end).contains(&addr)
    }

    /// Whether an allocator may have mapped it for data.
    pub fn is_anonymous_data(&self) -> bool {
        self.anonymous && self.data
    }
}

/// A running process.
#[derive(Debug)]
pub struct Target {
    /// Its id.
    pub pid: Pid,
    process: Process,
}

/// `IOV_MAX`: so many pieces fit one `process_vm_readv`.
const IOV_MAX: usize = 1024;

impl Target {
    /// Opens the process; fails if there is none.
    pub fn open(pid: Pid) -> io::Result<Target> {
        let process = Process::new(pid.as_raw()).map_err(io_error)?;
        Ok(Target { pid, process })
    }

    /// Whether it is still there and no zombie.
    pub fn is_alive(&self) -> bool {
        self.process.stat().is_ok_and(|stat| !matches!(stat.state, 'Z' | 'X'))
    }

    /// Its mappings, ascending.
    pub fn mappings(&self) -> io::Result<Vec<Mapping>> {
        let maps = self.process.maps().map_err(io_error)?;
        Ok(maps.into_iter().map(mapping).collect())
    }

    /// Its threads.
    pub fn threads(&self) -> io::Result<Vec<Pid>> {
        let tasks = self.process.tasks().map_err(io_error)?;
        Ok(tasks.flatten().map(|task| Pid::from_raw(task.tid)).collect())
    }

    /// Its children's ids, and theirs, nearest first.
    pub fn descendants(&self) -> Vec<Pid> {
        let mut found = Vec::new();
        let mut pending = vec![self.pid.as_raw()];
        while let Some(pid) = pending.pop() {
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            for child in children.split_whitespace().filter_map(|word| word.parse().ok()) {
                found.push(Pid::from_raw(child));
                pending.push(child);
            }
        }
        found
    }

    /// The path of its executable, as it sees it.
    pub fn exe(&self) -> PathBuf {
        self.process.exe().unwrap_or_default()
    }

    /// Its command line.
    pub fn command(&self) -> Vec<String> {
        self.process.cmdline().unwrap_or_default()
    }

    /// A path by which we can open the file behind a mapping, whatever the target's mount namespace is, and even if
    /// the file was replaced or deleted.
    pub fn openable(&self, mapping: &Mapping) -> PathBuf {
        format!("/proc/{}/map_files/{:x}-{:x}", self.pid, mapping.start, mapping.end).into()
    }
}

impl Memory for Target {
    fn read(&self, addr: Addr, bytes: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            let rest = &mut bytes[done..];
            let remote = RemoteIoVec { base: addr as usize + done, len: rest.len() };
            match process_vm_readv(self.pid, &mut [IoSliceMut::new(rest)], &[remote])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => done += read,
            }
        }
        Ok(())
    }

    fn read_many(&self, addrs: &[Addr], len: usize, mut each: impl FnMut(Addr, &[u8])) {
        let mut bytes = vec![0; len * IOV_MAX];
        let mut rest = addrs;
        while !rest.is_empty() {
            let batch = &rest[..rest.len().min(IOV_MAX)];
            let remote: Vec<_> = batch.iter().map(|&addr| RemoteIoVec { base: addr as usize, len }).collect();
            let local = &mut bytes[..batch.len() * len];
            let read = process_vm_readv(self.pid, &mut [IoSliceMut::new(local)], &remote).unwrap_or(0);
            // A piece that cannot be read ends the call before it; go on behind it.
            let whole = read / len;
            for (addr, piece) in batch.iter().zip(bytes.chunks_exact(len)).take(whole) {
                each(*addr, piece);
            }
            rest = &rest[if whole < batch.len() { whole + 1 } else { whole }..];
        }
    }
}

fn mapping(map: procfs::process::MemoryMap) -> Mapping {
    let has = |permission| map.perms.contains(permission);
    let executable = has(MMPermissions::EXECUTE);
    let data = has(MMPermissions::READ) && has(MMPermissions::WRITE) && has(MMPermissions::PRIVATE) && !executable;
    let uprobes = matches!(&map.pathname, MMapPath::Other(name) if name.contains("uprobes"));
    let file = match &map.pathname {
        MMapPath::Path(path) => Some(path.clone()),
        _ => None,
    };
    Mapping {
        start: map.address.0,
        end: map.address.1,
        offset: map.offset,
        executable,
        data,
        file,
        anonymous: map.pathname == MMapPath::Anonymous,
        inode: (map.dev, map.inode),
        uprobes,
    }
}

fn io_error(error: procfs::ProcError) -> io::Error {
    match error {
        procfs::ProcError::PermissionDenied(_) => io::ErrorKind::PermissionDenied.into(),
        procfs::ProcError::NotFound(_) => io::ErrorKind::NotFound.into(),
        procfs::ProcError::Io(error, _) => error,
        other => io::Error::other(other),
    }
}
