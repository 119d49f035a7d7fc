//! Allocators that a program brings in place of the C library's, or with a C library that is not glibc.
//!
//! They are recognised by the files that are mapped. What they have mapped cannot be told from what the program has mapped
//! itself: they leave no mark at the start of their extents, groups and spans, and the kernel makes one mapping of
//! neighbours. So private anonymous memory that is known to be nobody else's, and the heap, counts as theirs.

use std::collections::BTreeSet;
use std::path::Path;

use crate::door::Module;
use crate::image::Image;
use crate::target::{Mapping, Target};

/// An allocator, those first that take the place of others: a program on musl may bring jemalloc.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Allocator {
    /// jemalloc, also as Rust programs have it.
    Jemalloc,
    /// gperftools' tcmalloc, and Google's newer one.
    Tcmalloc,
    /// mimalloc.
    Mimalloc,
    /// The one of musl, a C library.
    Musl,
}

impl Allocator {
    const ALL: [Allocator; 4] = [Allocator::Jemalloc, Allocator::Tcmalloc, Allocator::Mimalloc, Allocator::Musl];

    /// Its name, as in a slice.
    pub fn name(self) -> &'static str {
        match self {
            Allocator::Jemalloc => "jemalloc",
            Allocator::Tcmalloc => "tcmalloc",
            Allocator::Mimalloc => "mimalloc",
            Allocator::Musl => "musl",
        }
    }

    /// How the name of its library starts.
    fn library(self) -> &'static str {
        match self {
            Allocator::Jemalloc => "libjemalloc",
            Allocator::Tcmalloc => "libtcmalloc",
            Allocator::Mimalloc => "libmimalloc",
            Allocator::Musl => "ld-musl-",
        }
    }

    /// What a program that it is linked into has of it: strings that stripping leaves. Any of them will do.
    fn strings(self) -> &'static [&'static [u8]] {
        match self {
            // How its messages start.
            Allocator::Jemalloc => &[b"<jemalloc>: "],
            // A variable that it looks for, and how the newer one has the kernel name its mappings.
            Allocator::Tcmalloc => &[b"TCMALLOC_RELEASE_RATE", b"tcmalloc_region_"],
            // How its messages start.
            Allocator::Mimalloc => &[b"mimalloc: warning: "],
            // `strerror(0)`: every kind of `printf` draws it in. A longer text that starts like it is another program's.
            Allocator::Musl => &[b"No error information\0"],
        }
    }
}

/// The allocators that a process has beside glibc's; the first is the one that serves `malloc`. Files that cannot be
/// read show nothing. It takes as long as reading the program: for once in a process's life.
pub fn recognise(target: &Target, mappings: &[Mapping]) -> Vec<Allocator> {
    let mut seen = BTreeSet::new();
    let mut found = BTreeSet::new();
    for mapping in mappings.iter().filter(|mapping| mapping.executable && seen.insert(mapping.inode)) {
        let Some(file) = &mapping.file else { continue };
        match by_name(file) {
            Some(allocator) => found.extend([allocator]),
            None if is_of_interest(file) => {
                found.extend(Module::load(target, mapping).iter().flat_map(|module| linked_into(&module.image)));
            }
            None => {}
        }
    }
    found.into_iter().collect()
}

fn name(file: &Path) -> std::borrow::Cow<'_, str> {
    file.file_name().unwrap_or_default().to_string_lossy()
}

fn by_name(file: &Path) -> Option<Allocator> {
    Allocator::ALL.into_iter().find(|allocator| name(file).starts_with(allocator.library()))
}

/// Whether a file may have an allocator linked into it: programs, and a C library by its plain name, as musl's is called
/// where the dynamic linker is a link to it. Devices are not to be read.
fn is_of_interest(file: &Path) -> bool {
    let name = name(file);
    (!name.contains(".so") || name == "libc.so") && !file.starts_with("/dev")
}

fn linked_into(image: &Image) -> impl Iterator<Item = Allocator> {
    Allocator::ALL.into_iter().filter(|allocator| allocator.strings().iter().any(|string| image.contains(string)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::Pid;

    #[test]
    fn libraries_are_told_by_their_names() {
        for (file, expected) in [
            ("/usr/lib/x86_64-linux-gnu/libjemalloc.so.2", Some(Allocator::Jemalloc)),
            ("/opt/lib/libtcmalloc_minimal.so.4.5.10 (deleted)", Some(Allocator::Tcmalloc)),
            ("/usr/lib/x86_64-linux-gnu/libmimalloc.so.2.0", Some(Allocator::Mimalloc)),
            ("/lib/ld-musl-x86_64.so.1", Some(Allocator::Musl)),
            ("/usr/lib/x86_64-linux-gnu/libc.so.6", None),
            ("/srv/libjemalloc/worker", None),
        ] {
            assert_eq!(by_name(Path::new(file)), expected, "{file}");
        }
    }

    #[test]
    fn programs_are_looked_into_and_libraries_are_not() {
        let looked_into = ["/usr/sbin/nginx", "/srv/own (deleted)", "/usr/lib/x86_64-linux-musl/libc.so"];
        assert!(looked_into.iter().all(|file| is_of_interest(Path::new(file))));
        let others = ["/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/ld-linux-x86-64.so.2", "/dev/zero (deleted)"];
        assert!(!others.iter().any(|file| is_of_interest(Path::new(file))));
    }

    /// A real library with nothing of the kind, and with each of the strings behind it.
    #[test]
    fn strings_are_found_and_nothing_else_is() {
        let target = Target::open(Pid::this()).unwrap();
        let mappings = target.mappings().unwrap();
        let is_libc = |mapping: &&Mapping| mapping.file.as_deref().is_some_and(|file| name(file) == "libc.so.6");
        let libc = mappings.iter().find(is_libc).unwrap().file.as_ref().unwrap();
        let bytes = std::fs::read(libc).unwrap();
        assert_eq!(linked_into(&Image::parse(bytes.clone()).unwrap()).count(), 0);
        for allocator in Allocator::ALL {
            for string in allocator.strings() {
                let image = Image::parse([&bytes, *string].concat()).unwrap();
                assert_eq!(linked_into(&image).collect::<Vec<_>>(), [allocator]);
            }
        }
    }
}
