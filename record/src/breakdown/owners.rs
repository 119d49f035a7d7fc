//! Whose a mapping is by its name and permissions, where nobody claims it.

use procfs::process::{MMPermissions, MMapPath};
use shared::trace::breakdown::SliceKind;

use super::allocators::Allocator;
use super::areas::Area;

/// Who memory belongs to: a slice's identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The kind of slice.
    pub kind: SliceKind,
    /// Whose, among slices of the kind.
    pub name: String,
    /// The VM's number; 0 if none.
    pub vm: u32,
}

impl Owner {
    /// An owner that is no VM.
    pub fn new(kind: SliceKind, name: &str) -> Owner {
        Owner { kind, name: name.to_owned(), vm: 0 }
    }
}

/// The owner of each area. Anonymous memory that nobody claims is the system allocator's if one is known that leaves no
/// bookkeeping which could tell.
pub fn of(areas: &[Area], allocators: &[Allocator]) -> Vec<Owner> {
    let mut owners: Vec<Owner> = Vec::with_capacity(areas.len());
    for (at, area) in areas.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| (&areas[before], &owners[before]));
        let owner = match before {
            Some((before, owner)) if is_continued(before, area) && owner.kind == SliceKind::FileData => owner.clone(),
            _ => by_name(area, allocators),
        };
        owners.push(owner);
    }
    owners
}

/// Whether a mapping is the zero pages that go on behind a file's data.
fn is_continued(data: &Area, area: &Area) -> bool {
    let is_data = matches!(data.path, MMapPath::Path(_)) && data.may(MMPermissions::WRITE | MMPermissions::PRIVATE);
    is_data && data.range.end == area.range.start && area.is_anonymous_data()
}

fn by_name(area: &Area, allocators: &[Allocator]) -> Owner {
    match &area.path {
        MMapPath::Path(path) => {
            let name = path.to_string_lossy();
            let name = name.strip_suffix(" (deleted)").unwrap_or(&name);
            let is_memory = ["/dev/", "/memfd:", "/anon_hugepage", "[aio]"].iter().any(|start| name.starts_with(start));
            let kind = match is_memory {
                true => SliceKind::Other,
                false if area.may(MMPermissions::EXECUTE) => SliceKind::Text,
                false => SliceKind::FileData,
            };
            Owner::new(kind, if name == "/dev/zero" { "shared memory" } else { name })
        }
        MMapPath::Stack | MMapPath::TStack(_) => Owner::new(SliceKind::Stack, "main"),
        MMapPath::Vdso => Owner::new(SliceKind::Kernel, "vdso"),
        MMapPath::Vvar => Owner::new(SliceKind::Kernel, "vvar"),
        MMapPath::Other(name) if name.starts_with("vvar") || name.contains("uprobes") => {
            Owner::new(SliceKind::Kernel, name)
        }
        MMapPath::Vsys(_) => Owner::new(SliceKind::Other, "System V shared memory"),
        MMapPath::Anonymous if area.is_shut() => Owner::new(SliceKind::Reserved, "no access"),
        MMapPath::Anonymous if area.may(MMPermissions::EXECUTE) => Owner::new(SliceKind::JitCode, "machine code"),
        MMapPath::Heap => match allocators.first() {
            Some(allocator) => Owner::new(SliceKind::SystemAllocator, allocator.name()),
            None => Owner::new(SliceKind::Other, "heap"),
        },
        _ if area.is_anonymous_data() => match allocators.first() {
            Some(allocator) => Owner::new(SliceKind::SystemAllocator, allocator.name()),
            None => Owner::new(SliceKind::Other, "anonymous"),
        },
        MMapPath::Other(name) => Owner::new(SliceKind::Other, name),
        _ => Owner::new(SliceKind::Other, "anonymous"),
    }
}
