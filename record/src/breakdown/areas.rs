//! The kernel's figures, mapping by mapping.

use std::io;
use std::ops::Range;

use procfs::process::{MMPermissions, MMapPath, MemoryMap};
use shared::Addr;
use shared::trace::breakdown::Memory;

use crate::target::Target;

/// A mapping and what of it is where.
#[derive(Debug, Clone, PartialEq)]
pub struct Area {
    /// Its addresses.
    pub range: Range<Addr>,
    /// The kernel's name for it.
    pub path: MMapPath,
    /// What may be done with it.
    pub permissions: MMPermissions,
    /// How much of it is where.
    pub memory: Memory,
}

impl Area {
    /// Whether it may be read, written, and executed.
    pub fn may(&self, permission: MMPermissions) -> bool {
        self.permissions.contains(permission)
    }

    /// Whether nothing may be done with it.
    pub fn is_shut(&self) -> bool {
        !self.permissions.intersects(MMPermissions::READ | MMPermissions::WRITE | MMPermissions::EXECUTE)
    }

    /// Private memory without a file that may be written to: the kind that allocators and stacks are made of. The kernel
    /// names some of it after what a program calls it.
    pub fn is_anonymous_data(&self) -> bool {
        let nameless = match &self.path {
            MMapPath::Anonymous => true,
            MMapPath::Other(name) => name.starts_with("anon:"),
            _ => false,
        };
        nameless && self.may(MMPermissions::WRITE | MMPermissions::PRIVATE) && !self.may(MMPermissions::EXECUTE)
    }
}

/// All mappings of a process, ascending; without `[vsyscall]`, which is the kernel's and in no process's size.
///
/// # Errors
/// When they cannot be read.
pub fn read(target: &Target) -> io::Result<Vec<Area>> {
    let maps = target.smaps()?;
    Ok(maps.into_iter().filter(|map| map.pathname != MMapPath::Vsyscall).map(area).collect())
}

fn area(map: MemoryMap) -> Area {
    let figure = |name: &str| map.extension.map.get(name).copied().unwrap_or_default();
    let memory = Memory {
        mapped: map.address.1 - map.address.0,
        resident: figure("Rss"),
        swapped: figure("Swap"),
        pss: figure("Pss"),
    };
    Area { range: map.address.0..map.address.1, memory, permissions: map.perms, path: map.pathname }
}
