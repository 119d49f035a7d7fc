//! Names from real files, with and without debug information, and from damaged ones.

use std::path::{Path, PathBuf};
use std::process::Command;

use analyze::symbols::{Function, How, Symbols};
use object::{Object, ObjectSymbol};
use shared::trace::stacks::Module;

use crate::elf;

/// Leaves a library with debug information in a folder; `None` where there is no compiler, which is said.
fn compiled(folder: &Path) -> Option<PathBuf> {
    let source = folder.join("some where.c");
    let code = "static inline __attribute__((always_inline)) int leaf(int x) { return x * 3 + 1; }\n\
                __attribute__((noinline)) static int hidden(volatile int *p) { *p = leaf(*p); return *p; }\n\
                int visible(volatile int *p) { *p += 7; return hidden(p) + 1; }\n";
    std::fs::write(&source, code).expect("room");
    let library = folder.join("lib.so");
    let mut cc = Command::new("cc");
    cc.args(["-g", "-O2", "-shared", "-fPIC", "-Wl,--build-id=sha1", "-o"]).arg(&library).arg(&source);
    match cc.status() {
        Ok(status) if status.success() => Some(library),
        other => {
            eprintln!("SKIPPED: cc: {other:?}");
            None
        }
    }
}

fn tool(name: &str, words: &[&std::ffi::OsStr]) {
    let output = Command::new(name).args(words).output().expect("binutils are there");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A file's build id, and where functions in it begin and end.
struct Known {
    id: String,
    hidden: (u64, u64),
    visible: (u64, u64),
}

fn known(library: &Path) -> Known {
    let bytes = std::fs::read(library).expect("a library");
    let file = object::File::parse(&*bytes).expect("an ELF file");
    let place = |name: &str| {
        let symbol = file.symbols().find(|symbol| symbol.name() == Ok(name)).expect("a function");
        (symbol.address(), symbol.address() + symbol.size())
    };
    let id = file.build_id().expect("notes").expect("a build id").iter().map(|byte| format!("{byte:02x}")).collect();
    Known { id, hidden: place("hidden"), visible: place("visible") }
}

fn module(path: &Path, id: &str) -> Module {
    Module { name: path.display().to_string(), build_id: id.to_owned() }
}

/// The functions at each address of a range, and how the module got names.
fn named(folders: &[PathBuf], module: &Module, (from, to): (u64, u64)) -> (Vec<Vec<Function>>, How) {
    let mut symbols = Symbols::new(folders.to_vec());
    let found = (from..to).map(|addr| symbols.at(module, addr)).collect();
    (found, symbols.facts_of(module).expect("it was asked for").how)
}

fn names(found: &[Vec<Function>]) -> std::collections::BTreeSet<&str> {
    found.iter().flatten().map(|function| function.name.as_str()).collect()
}

#[test]
fn debug_information_tells_inlined_functions_and_lines() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(library) = compiled(folder.path()) else { return };
    let Known { id, hidden, visible } = known(&library);
    let (found, how) = named(&[], &module(&library, &id), hidden);
    assert_eq!(how, How::DebugInformation);
    let inlined = found.iter().find(|functions| functions.len() == 2).expect("some of it is inlined");
    assert_eq!((inlined[0].name.as_str(), inlined[0].line, inlined[0].inlined), ("leaf", Some(1), true));
    assert_eq!((inlined[1].name.as_str(), inlined[1].line, inlined[1].inlined), ("hidden", Some(2), false));
    assert!(inlined[1].file.as_ref().is_some_and(|file| file.ends_with("some where.c")));
    let (found, _) = named(&[], &module(&library, &id), visible);
    assert!(names(&found).contains("visible"));
}

#[test]
fn separate_files_are_found_by_build_id_and_by_link() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(library) = compiled(folder.path()) else { return };
    let Known { id, hidden, visible } = known(&library);
    let debug = folder.path().join("lib.so.debug");
    tool("objcopy", &["--only-keep-debug".as_ref(), library.as_os_str(), debug.as_os_str()]);
    tool("strip", &["--strip-all".as_ref(), library.as_os_str()]);
    let of = |folders: &[PathBuf], range| {
        let (found, how) = named(folders, &module(&library, &id), range);
        (names(&found).into_iter().map(str::to_owned).collect::<Vec<_>>(), how)
    };
    // What is exported has a name, what is not has none, not the one before it either.
    assert_eq!(of(&[], visible), (vec!["visible".to_owned()], How::ExportedNames));
    assert_eq!(of(&[], hidden), (vec![], How::ExportedNames));

    let collected = folder.path().join("collected");
    let place = collected.join(".build-id").join(&id[..2]);
    std::fs::create_dir_all(&place).expect("room");
    std::fs::copy(&debug, place.join(format!("{}.debug", &id[2..]))).expect("room");
    assert_eq!(of(&[collected], hidden), (vec!["hidden".to_owned(), "leaf".to_owned()], How::DebugInformation));

    let link = format!("--add-gnu-debuglink={}", debug.display());
    tool("objcopy", &[link.as_ref(), library.as_os_str()]);
    assert_eq!(of(&[], hidden).1, How::DebugInformation);
    // One byte more, and the checksum is another.
    let mut bytes = std::fs::read(&debug).expect("the file");
    bytes.push(0);
    std::fs::write(&debug, bytes).expect("room");
    assert_eq!(of(&[], hidden).1, How::ExportedNames);
}

#[test]
fn a_file_with_another_build_id_is_never_used() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lib.so");
    std::fs::write(&path, elf::library(&[1, 2, 3], &[("f", 0x1000, 16)])).expect("room");
    let root = folder.path().join("root");
    let inside = root.join(path.strip_prefix("/").expect("an absolute path"));
    std::fs::create_dir_all(inside.parent().expect("a folder")).expect("room");
    std::fs::write(&inside, elf::library(&[1, 2, 4], &[("g", 0x1000, 16)])).expect("room");
    for (id, expected) in [("010203", "f"), ("010204", "g"), ("010205", ""), ("", "")] {
        let mut symbols = Symbols::new(vec![root.clone()]);
        let found = symbols.at(&module(&path, id), 0x1008);
        assert_eq!(found.first().map_or("", |function| &function.name), expected, "{id}");
        let facts = symbols.facts().next().expect("one module");
        assert!(!facts.others.is_empty(), "{facts:?}");
        assert_eq!((facts.places, facts.unnamed), (1, u64::from(expected.is_empty())));
        assert!(facts.problems.is_empty() && !facts.by_path, "{facts:?}");
    }
}

#[test]
fn names_are_demangled_and_end_where_their_function_does() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("lib.so");
    let functions =
        [("_ZN3foo3barEi", 0x1000, 16), ("_RNvC6_123foo3bar", 0x1010, 16), ("label", 0x1040, 0), ("inner", 0x1018, 2)];
    std::fs::write(&path, elf::library(&[9, 9], &functions)).expect("room");
    let module = module(&path, "0909");
    let mut symbols = Symbols::default();
    let mut at = |addr| symbols.at(&module, addr).first().map(|function| function.name.clone()).unwrap_or_default();
    let found = [0xfff, 0x1000, 0x100f, 0x1011, 0x1019, 0x101b, 0x1020, 0x1050].map(&mut at);
    assert_eq!(found, ["", "foo::bar(int)", "foo::bar(int)", "123foo::bar", "inner", "123foo::bar", "", "label"]);
}

#[test]
fn damaged_files_are_told_and_nothing_else_happens() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut whole = vec![elf::library(&[1, 2, 3], &[("f", 0x1000, 16), ("g", 0x1010, 16)])];
    if let Some(library) = compiled(folder.path()) {
        tool("objcopy", &["--compress-debug-sections".as_ref(), library.as_os_str()]);
        whole.push(std::fs::read(library).expect("the library"));
    }
    let path = folder.path().join("damaged.so");
    let mut told = 0;
    for whole in whole {
        let id = object::File::parse(&*whole).ok().and_then(|file| file.build_id().ok().flatten().map(<[u8]>::to_vec));
        let id: String = id.expect("a build id").iter().map(|byte| format!("{byte:02x}")).collect();
        let mut look = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("room");
            let mut symbols = Symbols::default();
            for addr in (0x1000..0x1200).step_by(16) {
                symbols.at(&module(&path, &id), addr);
            }
            let facts = symbols.facts().next().expect("one module").clone();
            assert!(facts.problems.iter().all(|problem| problem.contains("damaged.so: ")), "{facts:?}");
            told += facts.problems.len();
        };
        for part in 0..60 {
            look(&whole[..whole.len() * part / 60]);
        }
        for at in (0..whole.len()).step_by(whole.len() / 500 + 1) {
            for value in [0xff, 0x7f, 0x00] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                look(&bytes);
            }
        }
        // The heads of sections, where sizes and offsets are.
        let heads = whole.len().saturating_sub(800);
        for at in heads..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            look(&bytes);
        }
    }
    assert!(told > 60, "{told}");
}
