//! One file with code, or with what debuggers want to know of it. It may be damaged: then it is an error, with as much
//! memory as the file's length allows.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use object::read::{Object, ObjectSection, ObjectSymbol, ReadCache};
use object::{CompressionFormat, ObjectKind, SectionKind, SymbolKind};
use shared::Crc32;

/// Which functions a file has names for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    None,
    /// `.dynsym`
    Exported,
    /// `.symtab`
    Full,
}

/// What is of interest in a file.
#[derive(Debug)]
pub(super) struct Elf {
    /// In hex; empty if it has none.
    pub(super) build_id: String,
    pub(super) table: Table,
    /// It has DWARF.
    pub(super) has_debug: bool,
    /// Name and checksum of the file that has it.
    pub(super) link: Option<(String, u32)>,
    /// Name and build id of a file with what several have in common.
    pub(super) shared: Option<(String, String)>,
    /// By address.
    functions: Vec<Function>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Function {
    addr: u64,
    size: u64,
    name: String,
}

/// Bytes of names, or of sections when unpacked, that a small file may have; a large one may have some times its length.
const SMALL: u64 = 256 << 20;
const TIMES: u64 = 16;

impl Elf {
    /// Reads what is of interest; nothing if there is no such file, or it is none.
    pub(super) fn open(path: &Path) -> Result<Option<Elf>, String> {
        // Of a FIFO or a device the first read might never end.
        let Some(length) = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file).map(|meta| meta.len())
        else {
            return Ok(None);
        };
        let file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened.map_err(|error| error.to_string())?,
        };
        let cache = ReadCache::new(file);
        Elf::read(&cache, length.saturating_mul(TIMES).max(SMALL)).map(Some).map_err(|error| error.to_string())
    }

    fn read(cache: &ReadCache<File>, limit: u64) -> Result<Elf, Wrong> {
        let file = object::File::parse(cache)?;
        if !matches!(file.kind(), ObjectKind::Executable | ObjectKind::Dynamic) {
            return Err(Wrong::Kind);
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let mut unpacked = 0u64;
        let mut has_debug = false;
        for section in file.sections() {
            let name = section.name_bytes()?;
            if !name.starts_with(b".debug") && !name.starts_with(b".zdebug") {
                continue;
            }
            let range = section.compressed_file_range()?;
            if range.format != CompressionFormat::None {
                unpacked = unpacked.saturating_add(range.uncompressed_size);
            }
            has_debug |= name.ends_with(b"debug_info") && range.uncompressed_size > 0;
        }
        if unpacked > limit {
            return Err(Wrong::Large(unpacked));
        }
        let all = functions(&file, file.symbols(), limit)?;
        let (table, functions) = match all.is_empty() {
            false => (Table::Full, all),
            true => (Table::Exported, self::functions(&file, file.dynamic_symbols(), limit)?),
        };
        Ok(Elf {
            build_id: file.build_id()?.map(hex).unwrap_or_default(),
            table: if functions.is_empty() { Table::None } else { table },
            has_debug,
            link: file.gnu_debuglink()?.map(|(name, crc)| (text(name), crc)),
            shared: file.gnu_debugaltlink()?.map(|(name, id)| (text(name), hex(id))),
            functions,
        })
    }

    /// The function that an address lies in.
    pub(super) fn function(&self, addr: u64) -> Option<&str> {
        let behind = self.functions.partition_point(|function| function.addr <= addr);
        let nearest = self.functions[..behind].last()?.addr;
        // Functions may lie in functions; one without a size reaches to the next one.
        let before = self.functions[..behind].iter().rev().take(NESTED);
        let covers = |function: &&Function| match function.size {
            0 => function.addr == nearest,
            size => addr - function.addr < size,
        };
        before.filter(covers).map(|function| function.name.as_str()).next()
    }
}

/// So many functions that begin before an address are looked at.
const NESTED: usize = 16;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
enum Wrong {
    #[error("{0}")]
    Damaged(#[from] object::Error),
    #[error("neither a program nor a library")]
    Kind,
    #[error("its debug information would take {0} bytes when unpacked")]
    Large(u64),
    #[error("its symbols have {0} bytes of names and more")]
    Names(u64),
}

/// A table's functions, by address.
fn functions<'data, S: ObjectSymbol<'data>>(
    file: &object::File<'data, &'data ReadCache<File>>,
    symbols: impl Iterator<Item = S>,
    limit: u64,
) -> Result<Vec<Function>, Wrong> {
    let mut functions = Vec::new();
    let mut bytes = 0;
    // Assembler's labels have no type.
    let is_code = |symbol: &S| match symbol.kind() {
        SymbolKind::Text => true,
        SymbolKind::Unknown | SymbolKind::Label => {
            let section = symbol.section_index().and_then(|section| file.section_by_index(section).ok());
            section.is_some_and(|section| section.kind() == SectionKind::Text)
        }
        _ => false,
    };
    for symbol in symbols {
        if symbol.is_undefined() || symbol.address() == 0 || !is_code(&symbol) {
            continue;
        }
        let name = String::from_utf8_lossy(symbol.name_bytes()?).into_owned();
        bytes += name.len() as u64;
        if bytes > limit {
            return Err(Wrong::Names(bytes));
        }
        if !name.is_empty() {
            functions.push(Function { addr: symbol.address(), size: symbol.size(), name });
        }
    }
    functions.sort_unstable();
    Ok(functions)
}

/// The checksum that `.gnu_debuglink` has of a file; none if it cannot be read.
pub(super) fn checksum(path: &Path) -> Option<u32> {
    let is_file = std::fs::metadata(path).is_ok_and(|meta| meta.is_file());
    let mut file = is_file.then(|| File::open(path).ok()).flatten()?;
    let (mut sum, mut buffer) = (Crc32::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(sum.finalize()),
            read => sum.update(&buffer[..read]),
        }
    }
}
