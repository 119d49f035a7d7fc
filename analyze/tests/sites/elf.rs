//! Small ELF files with nothing but a build id and names of functions.

/// A function: name, address, size.
pub(crate) type Function = (&'static str, u64, u64);

const SECTION: usize = 64;

/// A library with these functions in its `.symtab`.
pub(crate) fn library(build_id: &[u8], functions: &[Function]) -> Vec<u8> {
    let mut names = vec![0];
    let mut symbols = vec![0; 24];
    for (name, addr, size) in functions {
        symbols.extend((names.len() as u32).to_le_bytes());
        // A global function in section 1.
        symbols.extend([0x12, 0, 1, 0]);
        symbols.extend(addr.to_le_bytes());
        symbols.extend(size.to_le_bytes());
        names.extend(name.bytes().chain([0]));
    }
    let mut note = Vec::new();
    for word in [4u32, build_id.len() as u32, 3] {
        note.extend(word.to_le_bytes());
    }
    note.extend(b"GNU\0");
    note.extend(build_id);
    let sections = b"\0.text\0.note.gnu.build-id\0.symtab\0.strtab\0.shstrtab\0".to_vec();

    let mut file = vec![0; 64];
    let mut heads = vec![0; SECTION];
    // Name, type, flags, address, length without bytes in the file, bytes, link, info, size of an entry.
    let mut section =
        |name: u32, kind: u32, flags: u64, (addr, empty): (u64, u64), bytes: &[u8], link: u32, entry: u64| {
            file.resize(file.len().next_multiple_of(8), 0);
            let length = if empty > 0 { empty } else { bytes.len() as u64 };
            for word in [name, kind] {
                heads.extend(word.to_le_bytes());
            }
            for word in [flags, addr, file.len() as u64, length] {
                heads.extend(word.to_le_bytes());
            }
            for word in [link, u32::from(kind == 2)] {
                heads.extend(word.to_le_bytes());
            }
            for word in [8, entry] {
                heads.extend(u64::to_le_bytes(word));
            }
            file.extend(bytes);
        };
    section(1, 8, 6, (0x1000, 0x10_0000), &[], 0, 0);
    section(7, 7, 2, (0x200, 0), &note, 0, 0);
    section(26, 2, 0, (0, 0), &symbols, 4, 24);
    section(34, 3, 0, (0, 0), &names, 0, 0);
    section(42, 3, 0, (0, 0), &sections, 0, 0);
    let at = file.len().next_multiple_of(8);
    file.resize(at, 0);
    file.extend(&heads);

    // A shared library for x86-64.
    file[..20].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0\x3e\0");
    file[20] = 1;
    file[40..48].copy_from_slice(&(at as u64).to_le_bytes());
    let count = (heads.len() / SECTION) as u8;
    file[52..64].copy_from_slice(&[64, 0, 0, 0, 0, 0, SECTION as u8, 0, count, 0, count - 1, 0]);
    file
}
