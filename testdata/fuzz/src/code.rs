//! An ELF file, and the decisions about where to probe its code. Bytes that are no ELF file are wrapped as the code
//! of one, so that both the container and the instructions are explored.

use record::image::Image;
use record::site;

/// Where wrapped code is loaded.
const LOAD: u64 = 0x40_1000;
/// Functions looked at, the segments' first bytes aside.
const MAX_FUNCTIONS: usize = 4;
/// The names the recorder asks for.
const NAMES: [&str; 4] = ["lj_alloc_f", "mmap", "munmap", "mremap"];

/// Parses the file and studies its code.
pub fn run(bytes: &[u8]) {
    if bytes.starts_with(b"\x7fELF") { study(bytes) } else { study(&wrap(bytes)) }
}

fn study(file: &[u8]) {
    let Ok(image) = Image::parse(file.to_vec()) else { return };
    assert!(image.build_id.len() <= 2 * file.len());
    let named = NAMES.iter().flat_map(|name| image.functions(name)).map(|function| function.addr);
    let mut entries: Vec<u64> = image.executable().map(|(addr, _)| addr).take(MAX_FUNCTIONS).collect();
    entries.extend(named.take(MAX_FUNCTIONS));
    for entry in entries {
        study_function(&image, entry, file.len());
    }
}

fn study_function(image: &Image, entry: u64, file_bytes: usize) {
    let code = image.code(entry);
    assert!(code.len() <= file_bytes);
    let end = entry.wrapping_add(code.len() as u64);
    let inside = |addr: u64| addr.wrapping_sub(entry) < code.len() as u64;
    match site::choose(code, entry) {
        Some(probe) => {
            assert!(inside(probe.addr) && !probe.instruction.is_empty());
            if let Some(offset) = image.offset_of(probe.addr) {
                // Segments may overlap in a file like this; where they do not, the way back leads to the same place.
                assert!(image.addr_of(offset).is_none_or(|addr| image.offset_of(addr).is_some()));
            }
        }
        None => assert!(code.is_empty() || code.len() < 16 || site::choose(&code[..15], entry).is_none()),
    }
    let ranges = site::reachable(image, entry);
    assert!(ranges.iter().all(|range| range.start < range.end));
    assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start), "merged ranges do not touch");
    for (_, addr) in site::behind_syscalls(code, entry) {
        let at = addr.wrapping_sub(entry) as usize;
        assert!(addr == end || inside(addr));
        assert_eq!(&code[at - 2..at], [0x0f, 0x05], "the site is right behind a syscall");
    }
}

/// A minimal x86-64 program whose only segment is this code.
fn wrap(code: &[u8]) -> Vec<u8> {
    const HEADERS: u64 = 64 + 56;
    let mut file = Vec::with_capacity(HEADERS as usize + code.len());
    // ELF64, little endian, version 1.
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    // ET_EXEC, EM_X86_64.
    file.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    // Entry, program headers right behind, no sections.
    file.extend([LOAD, 64, 0].map(u64::to_le_bytes).as_flattened());
    // Flags; sizes: ELF header 64, program header 56, one of it; section header 64, none, none.
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, 0, 0, 0, 0]);
    // PT_LOAD, readable and executable.
    file.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    let bytes = code.len() as u64;
    file.extend([HEADERS, LOAD, LOAD, bytes, bytes, 0x1000].map(u64::to_le_bytes).as_flattened());
    file.extend(code);
    file
}
