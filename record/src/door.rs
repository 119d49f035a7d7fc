//! The allocator's one door in a running process: the module that holds `lj_alloc_f`, where to probe it, and which
//! code runs behind it.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result, bail};
use shared::Addr;
use shared::trace::meta::Probe;

use crate::image::Image;
use crate::privilege;
use crate::site::{self, MapSyscall};
use crate::target::{Mapping, Memory, Target};

/// A file mapped by the target.
#[derive(Debug)]
pub struct Module {
    /// Its contents.
    pub image: Image,
    /// Its path as the target sees it.
    pub name: PathBuf,
    /// A path by which we and the kernel can open it.
    pub path: PathBuf,
    /// What to add to an address in the file to get the one in memory.
    bias: u64,
}

impl Module {
    /// Reads the file behind an executable mapping.
    pub fn load(target: &Target, mapping: &Mapping) -> Result<Module> {
        let name = mapping.file.clone().context("code outside of any file")?;
        let path = openable(target, mapping, &name);
        let bytes = fs::read(&path).map_err(|error| privilege::explain_file(&name, &path, &error))?;
        let image = Image::parse(bytes).with_context(|| name.display().to_string())?;
        let addr = image.addr_of(mapping.offset).context("a mapping that is no segment of its file")?;
        Ok(Module { image, name, path, bias: mapping.start.wrapping_sub(addr) })
    }

    /// The address in the file of an address in memory.
    pub fn addr_of(&self, in_memory: Addr) -> u64 {
        in_memory.wrapping_sub(self.bias)
    }

    fn in_memory(&self, range: &Range<u64>) -> Range<Addr> {
        range.start.wrapping_add(self.bias)..range.end.wrapping_add(self.bias)
    }
}

/// A path that still leads to the mapped file: through the target's root, as it is named (a target may have changed its
/// root since), or the target's link to its program. Else the mapping's own link, which works for replaced and deleted
/// files too but is for few, see [`crate::privilege`].
fn openable(target: &Target, mapping: &Mapping, name: &Path) -> PathBuf {
    let pid = target.pid;
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    // Mappings are named from the root of the mount namespace on, and so is what this link says after a `chroot`.
    let inner = fs::read_link(&root).ok().and_then(|link| name.strip_prefix(link).ok()).unwrap_or(name);
    let through_root = root.join(inner.strip_prefix("/").unwrap_or(inner));
    let paths = [through_root, name.to_owned(), PathBuf::from(format!("/proc/{pid}/exe"))];
    let link = target.openable(mapping);
    let has_inode = |path: &&PathBuf| fs::metadata(path).is_ok_and(|meta| same_inode(mapping, &meta));
    if let Some(path) = paths.iter().find(has_inode) {
        return path.clone();
    }
    if fs::metadata(&link).is_ok() {
        return link;
    }
    // On overlayfs and btrfs, `stat` and the list of mappings disagree about the device.
    paths.iter().find(|path| holds(path, target, mapping)).cloned().unwrap_or(link)
}

fn same_inode(mapping: &Mapping, meta: &fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    let device = meta.dev();
    let (major, minor) = (rustix::fs::major(device) as i32, rustix::fs::minor(device) as i32);
    mapping.inode == ((major, minor), meta.ino())
}

/// Whether a file has the bytes that the target has mapped, breakpoints aside.
fn holds(path: &Path, target: &Target, mapping: &Mapping) -> bool {
    let Ok(bytes) = fs::read(path) else { return false };
    let Some(kept) = usize::try_from(mapping.offset).ok().and_then(|offset| bytes.get(offset..)) else { return false };
    let kept = &kept[..kept.len().min((mapping.end - mapping.start) as usize)];
    let mut real = vec![0; kept.len()];
    let same = |(real, kept): (&u8, &u8)| real == kept || *real == BREAKPOINT;
    !kept.is_empty() && target.read(mapping.start, &mut real).is_ok() && real.iter().zip(kept).all(same)
}

/// `int3`, which any probe puts in place of an instruction's first byte.
const BREAKPOINT: u8 = 0xcc;

/// Everything to be probed for one `lj_alloc_f`.
#[derive(Debug)]
pub struct Door {
    /// The module that holds it.
    pub module: Module,
    /// `lj_alloc_f`, as an address in the module.
    pub addr: u64,
    /// The instruction to probe.
    pub probe: Probe,
    /// Whether symbols, if there are any for this address or name, say the same.
    pub confirmed: Option<bool>,
    /// Where mapping calls come back from the kernel.
    pub map_sites: Vec<MapSite>,
    /// Where a thread stands that has come through the probe and done nothing yet.
    behind_probe: Vec<Addr>,
    /// Where a thread stands that is about to hit the probe.
    before_probe: Range<Addr>,
    /// The allocator's own code.
    allocator: Vec<Range<Addr>>,
    /// Code that runs only inside the allocator, or that it shares with other callers of mmap, munmap and mremap.
    inside: Vec<Range<Addr>>,
}

/// Where a stopped thread is, as seen from the allocator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Not in it, or about to enter: the heap is in order, and all hits of the thread have had their effect.
    Outside,
    /// Just entered: the heap is in order, but the thread's last hit has not had its effect.
    AtDoor,
    /// In the middle: the heap may be in any state.
    Inside,
}

/// A probe behind a `syscall` instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MapSite {
    /// Which call returns there.
    pub syscall: MapSyscall,
    /// The file, as we and the kernel can open it.
    pub path: PathBuf,
    /// Offset of the instruction in the file.
    pub offset: u64,
}

impl Door {
    /// Studies the code at `allocf` in the target.
    pub fn find(target: &Target, mappings: &[Mapping], allocf: Addr) -> Result<Door> {
        let mapping = mappings.iter().find(|m| m.executable && m.contains(allocf)).context("lj_alloc_f is unmapped")?;
        let module = Module::load(target, mapping)?;
        let addr = module.addr_of(allocf);
        let probe = site::choose(module.image.code(addr), addr)
            .with_context(|| format!("no code at {addr:#x} of {}", module.name.display()))?;
        let confirmed = module.image.functions("lj_alloc_f").next().map(|function| function.addr == addr);
        let allocator: Vec<_> =
            site::reachable(&module.image, addr).iter().map(|range| module.in_memory(range)).collect();
        let mut inside = allocator.clone();
        let map_sites = map_sites(target, mappings, &module, &mut inside)?;
        let behind_probe = site::behind(module.image.code(probe.addr), probe.addr);
        let behind_probe = behind_probe.into_iter().map(|addr| addr.wrapping_add(module.bias)).collect();
        let before_probe = module.in_memory(&(addr..probe.addr + 1));
        Ok(Door { module, addr, probe, confirmed, map_sites, behind_probe, before_probe, allocator, inside })
    }

    /// The allocator's own code, in memory.
    pub fn allocator(&self) -> &[Range<Addr>] {
        &self.allocator
    }

    /// Where in the file the probe goes.
    pub fn probe_offset(&self) -> Result<u64> {
        self.module.image.offset_of(self.probe.addr).context("the probe site is not in the file")
    }

    /// Where a thread is that stands at `ip`, with `return_address` on top of its stack. The allocator calls out to
    /// nothing but mapping calls, whose code counts as inside whoever calls it, and `memcpy`, which keeps no frame:
    /// there the return address tells.
    ///
    /// Most stops of a busy thread find it right behind the probe, where it comes out of the kernel.
    pub fn place(&self, ip: Addr, return_address: Addr) -> Place {
        let holds = |addr: Addr| self.inside.iter().any(|range| range.contains(&addr));
        if self.behind_probe.contains(&ip) {
            Place::AtDoor
        } else if self.before_probe.contains(&ip) || !holds(ip) && !holds(return_address) {
            Place::Outside
        } else {
            Place::Inside
        }
    }
}

/// Finds the returns of mmap, munmap and mremap: in the C library's functions of these names, or, in a program that
/// has no such library, anywhere in its code.
fn map_sites(
    target: &Target,
    mappings: &[Mapping],
    own: &Module,
    inside: &mut Vec<Range<Addr>>,
) -> Result<Vec<MapSite>> {
    let mut files = std::collections::BTreeSet::new();
    let mut sites = Vec::new();
    let executable = mappings.iter().filter(|m| m.executable && m.file.is_some());
    for mapping in executable.filter(|m| files.insert(m.inode)) {
        if !may_be_libc(mapping) {
            continue;
        }
        let module = Module::load(target, mapping)?;
        for syscall in MapSyscall::ALL {
            for function in module.image.functions(syscall.name()) {
                let code = module.image.code(function.addr);
                let code = &code[..code.len().min(function.size as usize)];
                let found = site::behind_syscalls(code, function.addr);
                inside.push(module.in_memory(&(function.addr..function.addr.saturating_add(function.size))));
                sites.extend(found.into_iter().filter(|&(found, _)| found == syscall).filter_map(|(syscall, addr)| {
                    Some(MapSite { syscall, path: module.path.clone(), offset: module.image.offset_of(addr)? })
                }));
            }
        }
    }
    if sites.is_empty() {
        let everywhere = own.image.executable().flat_map(|(addr, code)| site::behind_syscalls(code, addr));
        sites.extend(everywhere.filter_map(|(syscall, addr)| {
            Some(MapSite { syscall, path: own.path.clone(), offset: own.image.offset_of(addr)? })
        }));
    }
    sites.sort_by_key(|site| (site.syscall, site.offset));
    sites.dedup();
    for syscall in [MapSyscall::Mmap, MapSyscall::Munmap] {
        if !sites.iter().any(|site| site.syscall == syscall) {
            bail!("{} is not to be found, neither in a C library nor in the program itself", syscall.name());
        }
    }
    Ok(sites)
}

/// glibc is `libc.so.6` or `libc-2.xx.so`, musl `libc.musl-x86_64.so.1` or `ld-musl-x86_64.so.1`.
fn may_be_libc(mapping: &Mapping) -> bool {
    let name = mapping.file.as_deref().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap_or_default();
    ["libc.", "libc-", "ld-musl"].iter().any(|prefix| name.starts_with(prefix))
}

/// The `uprobe` PMU's type.
pub fn uprobe_pmu() -> io::Result<u32> {
    let text = fs::read_to_string("/sys/bus/event_source/devices/uprobe/type")?;
    text.trim().parse().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::Pid;

    #[test]
    fn a_file_is_known_by_what_is_mapped_of_it() {
        let own = Target::open(Pid::this()).unwrap();
        let here = a_file_is_known_by_what_is_mapped_of_it as *const () as usize as u64;
        let mappings = own.mappings().unwrap();
        let mapping = mappings.iter().find(|mapping| mapping.contains(here)).unwrap();
        let program = std::env::current_exe().unwrap();
        assert!(holds(&program, &own, mapping));
        assert!(!holds(Path::new("/proc/self/maps"), &own, mapping));
        assert!(!holds(Path::new("/nonexistent"), &own, mapping));
        // One byte off, as another build may be.
        let folder = std::env::temp_dir().join(format!("ljscope-door-{}", Pid::this()));
        fs::create_dir_all(&folder).unwrap();
        let mut bytes = fs::read(&program).unwrap();
        bytes[mapping.offset as usize + 1] ^= 1;
        let changed = folder.join("changed");
        fs::write(&changed, &bytes).unwrap();
        let is_held = holds(&changed, &own, mapping);
        fs::remove_dir_all(&folder).unwrap();
        assert!(!is_held);
        // Other numbers than `stat` has, as on overlayfs.
        let elsewhere = Mapping { inode: ((0, 99), 1), ..mapping.clone() };
        let path = openable(&own, &elsewhere, &program);
        assert_eq!(fs::read(path).unwrap().len(), bytes.len());
    }
}
