//! An ELF file as the probes need it: its code by address, file offsets, names and build id. The file is decoded, not
//! the memory, because memory shows the breakpoints of whoever probes it.

use std::ops::Range;

use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol, SegmentFlags};
use shared::heap::layout;

/// Longer names are passed over.
const MAX_NAME: usize = 64;

/// A parsed executable or library.
#[derive(Debug)]
pub struct Image {
    bytes: Vec<u8>,
    segments: Vec<Load>,
    /// The build id in hex; empty if there is none.
    pub build_id: String,
    /// Functions by name: dynamic symbols, and the symbol table if the file was not stripped.
    functions: Vec<Function>,
}

/// A named function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Function {
    /// Its name, without a version.
    pub name: String,
    /// Its address in the file.
    pub addr: u64,
    /// Its size in bytes; 0 if the file does not say.
    pub size: u64,
}

/// A loaded segment of the file.
#[derive(Debug, Clone, Copy)]
struct Load {
    addr: u64,
    offset: u64,
    size: u64,
    executable: bool,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// It is no ELF file, or a damaged one.
    #[error("not a usable ELF file: {0}")]
    Elf(#[from] object::read::Error),
    /// It is for another architecture.
    #[error("built for {0:?}; ljscope probes x86-64 programs only")]
    Architecture(object::Architecture),
}

impl Image {
    /// Parses a whole file.
    pub fn parse(bytes: Vec<u8>) -> Result<Image, ImageError> {
        let file = object::File::parse(&*bytes)?;
        if file.architecture() != object::Architecture::X86_64 {
            return Err(ImageError::Architecture(file.architecture()));
        }
        let segments = file
            .segments()
            .map(|segment| {
                let (offset, size) = segment.file_range();
                let executable = matches!(segment.flags(), SegmentFlags::Elf { p_flags, .. }
                    if p_flags.0 & object::elf::PF_X.0 != 0);
                Load { addr: segment.address(), offset, size, executable }
            })
            .collect();
        let build_id = file.build_id().ok().flatten().map(hex).unwrap_or_default();
        let functions = file
            .dynamic_symbols()
            .chain(file.symbols())
            .filter(|symbol| symbol.is_definition() && symbol.kind() == object::SymbolKind::Text)
            .filter_map(|symbol| {
                let name = symbol.name().ok()?.split('@').next()?;
                // The names we look for are short; a file may give a million symbols one long name.
                let name = (name.len() <= MAX_NAME).then(|| name.to_owned())?;
                Some(Function { name, addr: symbol.address(), size: symbol.size() })
            })
            .collect();
        Ok(Image { segments, build_id, functions, bytes })
    }

    /// The code from `addr` to the end of its executable segment; empty if there is none.
    pub fn code(&self, addr: u64) -> &[u8] {
        self.segments
            .iter()
            .filter(|load| load.executable)
            .find_map(|load| {
                let skip = addr.checked_sub(load.addr).filter(|&skip| skip < load.size)?;
                let start = load.offset.checked_add(skip)?;
                let end = load.offset.checked_add(load.size)?.min(self.bytes.len() as u64);
                self.bytes.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
            })
            .unwrap_or_default()
    }

    /// The executable segments as address and code.
    pub fn executable(&self) -> impl Iterator<Item = (u64, &[u8])> {
        self.segments.iter().filter(|load| load.executable).map(|load| (load.addr, self.code(load.addr)))
    }

    /// Where an address stands in the file.
    pub fn offset_of(&self, addr: u64) -> Option<u64> {
        self.segments.iter().find_map(|load| {
            let skip = addr.checked_sub(load.addr).filter(|&skip| skip < load.size)?;
            load.offset.checked_add(skip)
        })
    }

    /// The address of a place in the file, in the segment that is loaded executable. The segment is mapped by whole
    /// pages, so the place may lie before it on its first page.
    pub fn addr_of(&self, offset: u64) -> Option<u64> {
        self.segments.iter().filter(|load| load.executable).find_map(|load| {
            let first_page = load.offset & !(layout::PAGE - 1);
            let mapped = offset >= first_page && offset < load.offset.saturating_add(load.size);
            mapped.then(|| load.addr.wrapping_add(offset).wrapping_sub(load.offset))
        })
    }

    /// A section's addresses and its bytes, unpacked; none if it is not there or empty.
    pub fn section(&self, name: &str) -> Option<(Range<u64>, Vec<u8>)> {
        let file = object::File::parse(&*self.bytes).ok()?;
        let section = file.section_by_name(name)?;
        let bytes = section.uncompressed_data().ok().filter(|bytes| !bytes.is_empty())?.into_owned();
        Some((section.address()..section.address().saturating_add(section.size()), bytes))
    }

    /// The functions called `name`.
    pub fn functions<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Function> {
        self.functions.iter().filter(move |function| function.name == name)
    }

    /// Whether the file's bytes contain `needle`.
    pub fn contains(&self, needle: &[u8]) -> bool {
        self.bytes.windows(needle.len()).any(|window| window == needle)
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
