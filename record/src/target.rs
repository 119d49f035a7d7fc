//! A process from outside: its mappings, memory, threads and files. Reads only.

use std::fs;
use std::io::{self, IoSliceMut};
use std::path::PathBuf;

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use procfs::process::{MMPermissions, MMapPath, MemoryMaps, MemoryPageFlags, PageInfo, PageMap, Process};
use shared::Addr;
use shared::heap::layout::PAGE;
use shared::trace::breakdown;

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

    /// Those of these pages, given by their starts, ascending, that are in RAM: to read another brings it there, out of swap
    /// or as a page of zeros. All of them where that is not known.
    fn in_ram(&self, pages: Vec<Addr>) -> Vec<Addr> {
        pages
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
    /// `MAP_SHARED`: what is written there, others see.
    pub shared: bool,
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

/// What tells a process from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Facts {
    /// Its parent's id.
    pub parent: u32,
    /// When it was started, in clock ticks since boot.
    pub started_ticks: u64,
    /// Its id in its own PID namespace, if that is not ours; else 0.
    pub inner_pid: u32,
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

    /// Its mappings with the kernel's figures for each, ascending.
    pub fn smaps(&self) -> io::Result<MemoryMaps> {
        self.process.smaps().map_err(io_error)
    }

    /// Which of its pages are where.
    pub fn page_map(&self) -> io::Result<PageMap> {
        self.process.pagemap().map_err(io_error)
    }

    /// What the kernel says of its memory as a whole; it counts this apart from the mappings.
    pub fn memory(&self) -> io::Result<breakdown::Memory> {
        let status = self.process.status().map_err(io_error)?;
        let bytes = |kib: Option<u64>| kib.unwrap_or_default() * 1024;
        let (mapped, resident, swapped) = (bytes(status.vmsize), bytes(status.vmrss), bytes(status.vmswap));
        Ok(breakdown::Memory { mapped, resident, swapped, pss: 0 })
    }

    /// Its threads.
    pub fn threads(&self) -> io::Result<Vec<Pid>> {
        let tasks = self.process.tasks().map_err(io_error)?;
        Ok(tasks.flatten().map(|task| Pid::from_raw(task.tid)).collect())
    }

    /// What tells it from others; zeros if it is gone.
    pub fn facts(&self) -> Facts {
        let Ok(stat) = self.process.stat() else { return Facts::default() };
        let namespaces = self.process.status().ok().and_then(|status| status.nspid).unwrap_or_default();
        // From our namespace inwards.
        let inner = if namespaces.len() > 1 { namespaces.last().copied().unwrap_or_default() } else { 0 };
        Facts { parent: stat.ppid as u32, started_ticks: stat.starttime, inner_pid: inner as u32 }
    }

    /// The name that the kernel has for it.
    pub fn name(&self) -> String {
        self.process.stat().map(|stat| stat.comm).unwrap_or_default()
    }

    /// Its children's ids, and theirs, nearest first.
    pub fn descendants(&self) -> Vec<Pid> {
        let mut found = Vec::new();
        let mut pending = vec![self.pid.as_raw()];
        while let Some(pid) = pending.pop() {
            // Each thread has the children that it has started itself.
            for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
                let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
                for child in children.split_whitespace().filter_map(|word| word.parse().ok()) {
                    found.push(Pid::from_raw(child));
                    pending.push(child);
                }
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

/// So many entries of the page map are read at a time: 64 KiB of them.
pub const PAGE_MAP_PIECE: usize = 8192;

impl Memory for Target {
    fn in_ram(&self, pages: Vec<Addr>) -> Vec<Addr> {
        let Ok(mut map) = self.page_map() else { return pages };
        let is_present =
            |page: &PageInfo| matches!(page, PageInfo::MemoryPage(flags) if flags.contains(MemoryPageFlags::PRESENT));
        let mut found = Vec::new();
        for run in pages.chunk_by(|before, page| *page == before + PAGE).flat_map(|run| run.chunks(PAGE_MAP_PIECE)) {
            let first = (run[0] / PAGE) as usize;
            match map.get_range_info(first..first + run.len()) {
                Ok(infos) => {
                    found.extend(run.iter().zip(&infos).filter(|(_, info)| is_present(info)).map(|(page, _)| page))
                }
                Err(_) => found.extend(run),
            }
        }
        found
    }

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

/// A process of which all pages count as if they were in RAM.
#[derive(Debug, Clone, Copy)]
pub struct WithSwap<'a>(pub &'a Target);

impl Memory for WithSwap<'_> {
    fn read(&self, addr: Addr, bytes: &mut [u8]) -> io::Result<()> {
        self.0.read(addr, bytes)
    }

    fn read_many(&self, addrs: &[Addr], len: usize, each: impl FnMut(Addr, &[u8])) {
        self.0.read_many(addrs, len, each);
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
        shared: has(MMPermissions::SHARED),
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
