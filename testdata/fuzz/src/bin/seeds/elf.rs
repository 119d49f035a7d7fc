//! A small ELF library with the functions the recorder looks for, and code without a file around it.

/// Loaded here, at file offset 0.
const BASE: u64 = 0x1000;
const CODE: usize = 64 + 56;

/// `lj_alloc_f` as compilers begin it, then pieces of what follows: jumps, calls, a return.
const ALLOC: &[u8] = &[
    0xf3, 0x0f, 0x1e, 0xfa, // endbr64
    0x48, 0x85, 0xc9, // test rcx,rcx
    0x74, 0x08, // je +8
    0x48, 0x85, 0xf6, // test rsi,rsi
    0x0f, 0x84, 0x06, 0, 0, 0, // je +6
    0xe8, 0x08, 0, 0, 0,    // call +8
    0xc3, // ret
    0x41, 0x54, // push r12
    0x48, 0x89, 0xf5, // mov rbp,rsi
    0xeb, 0xe4, // jmp back
    0xc3, // ret
];

/// `mmap` as the C library has it, but for what it checks.
const MMAP: &[u8] = &[
    0xf3, 0x0f, 0x1e, 0xfa, // endbr64
    0x41, 0x89, 0xca, // mov r10d,ecx
    0xb8, 9, 0, 0, 0, // mov eax,9
    0x0f, 0x05, // syscall
    0x48, 0x3d, 0x01, 0xf0, 0xff, 0xff, // cmp rax,-4095
    0x73, 0x01, // jae +1
    0xc3, // ret
    0xf4, // hlt
];

const MREMAP: &[u8] = &[0xb8, 25, 0, 0, 0, 0x0f, 0x05, 0xc3];

/// The seeds.
pub(crate) fn files() -> Vec<(&'static str, Vec<u8>)> {
    let library = library();
    let half = library[..library.len() / 2].to_vec();
    let loops = [&[0x90; 40][..], &[0xe2, 0xd6, 0xff, 0xd0, 0xff, 0x25, 0, 0, 0, 0]].concat();
    vec![
        ("library", library),
        ("library-half", half),
        ("alloc", ALLOC.to_vec()),
        ("mmap", MMAP.to_vec()),
        ("mremap", MREMAP.to_vec()),
        ("loop", loops),
        ("argument-changed", vec![0x48, 0x89, 0xd1, 0x53, 0xc3]),
        ("sixteen-bit-jump", vec![0x66, 0xe9, 0, 0, 0x66, 0x90, 0x0f, 0x1f, 0x44, 0, 0]),
    ]
}

/// Headers, code, names, symbols, build id, sections.
fn library() -> Vec<u8> {
    let functions: [(&str, &[u8]); 3] = [("lj_alloc_f", ALLOC), ("mmap", MMAP), ("mremap", MREMAP)];
    let mut file = vec![0; CODE];
    let mut names = vec![0];
    let mut symbols = vec![0; 24];
    for (name, code) in functions {
        let addr = BASE + file.len() as u64;
        symbols.extend((names.len() as u32).to_le_bytes());
        // STB_GLOBAL | STT_FUNC, default visibility, section 1.
        symbols.extend([0x12, 0, 1, 0]);
        symbols.extend([addr, code.len() as u64].map(u64::to_le_bytes).as_flattened());
        names.extend(name.bytes().chain([0]));
        file.extend(code);
    }
    let code = CODE as u64..file.len() as u64;
    // Name size 4, descriptor size 8, NT_GNU_BUILD_ID.
    let mut note = [4u32, 8, 3].map(u32::to_le_bytes).as_flattened().to_vec();
    note.extend(b"GNU\0\x01\x23\x45\x67\x89\xab\xcd\xef");
    let mut place = |bytes: &[u8]| {
        file.resize(file.len().next_multiple_of(8), 0);
        file.extend(bytes);
        ((file.len() - bytes.len()) as u64, bytes.len() as u64)
    };
    let (names, symbols, note) = (place(&names), place(&symbols), place(&note));
    // Each: type, flags, address, (offset, size), link, entry size.
    let sections = [
        (0, 0, 0, (0, 0), 0, 0),
        (1, 6, BASE + code.start, (code.start, code.end - code.start), 0, 0),
        (3, 0, 0, names, 0, 0),
        (11, 2, 0, symbols, 2, 24),
        (7, 2, 0, note, 0, 0),
    ];
    file.resize(file.len().next_multiple_of(8), 0);
    let section_headers = file.len() as u64;
    for (kind, flags, addr, (offset, size), link, entry) in sections {
        file.extend([0u32, kind].map(u32::to_le_bytes).as_flattened());
        file.extend([flags, addr, offset, size].map(u64::to_le_bytes).as_flattened());
        file.extend([link, 1].map(u32::to_le_bytes).as_flattened());
        file.extend([8, entry].map(u64::to_le_bytes).as_flattened());
    }
    let mut head = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    head.extend([3, 0, 62, 0, 1, 0, 0, 0]);
    head.extend([0, 64, section_headers].map(u64::to_le_bytes).as_flattened());
    head.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 64, 0, sections.len() as u8, 0, 2, 0]);
    head.extend([1u32, 5].map(u32::to_le_bytes).as_flattened());
    head.extend([0, BASE, BASE, code.end, code.end, 0x1000].map(u64::to_le_bytes).as_flattened());
    file[..CODE].copy_from_slice(&head);
    file
}
