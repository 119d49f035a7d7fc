//! Names for places in the files that stacks lead through, found offline: functions, inlined ones too, and their lines.
//!
//! [`find`] says which files may be a module's, [`elf`] reads one. A file is a module's if its build id is; where neither
//! has one, only its path can speak for it, which is told. Nothing that such a file holds is trusted: it may be damaged, or
//! made to do harm.

mod elf;
mod find;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use addr2line::{Loader, demangle_auto};
use schemars::JsonSchema;
use serde::Serialize;
use shared::trace::stacks::Module;

use self::elf::{Elf, Table};
use crate::source::shown;

/// Where the names of a module's functions come from, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// DWARF: functions, inlined ones, files and lines.
    DebugInformation,
    /// `.symtab`: every function's name.
    SymbolTable,
    /// `.dynsym`: names of exported functions only.
    ExportedNames,
    /// No file of it has names, or there is none.
    None,
}

/// A function at a place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Function {
    /// Its name, demangled.
    pub name: String,
    /// Its source file, if that is known.
    pub file: Option<String>,
    /// The line.
    pub line: Option<u32>,
    /// The compiler has put it into the function that follows it.
    pub inlined: bool,
}

/// What became of a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ModuleFacts {
    /// Its path, as the recorded process saw it.
    pub name: String,
    /// Its build id, in hex; empty if it has none.
    pub build_id: String,
    /// Where names come from.
    pub how: How,
    /// The files that they were read from.
    pub files: Vec<String>,
    /// Neither the module nor its file has a build id: that they are the same is told by the path alone.
    pub by_path: bool,
    /// Different places in it that stacks lead through.
    pub places: u64,
    /// Those that got no name.
    pub unnamed: u64,
    /// Files that were passed over because their build id is another one.
    pub others: Vec<String>,
    /// Files that could not be read, and why.
    pub problems: Vec<String>,
}

/// Finds names.
#[derive(Default)]
pub struct Symbols {
    folders: Vec<PathBuf>,
    modules: BTreeMap<Module, Named>,
}

/// A module's names.
struct Named {
    facts: ModuleFacts,
    debug: Option<Loader>,
    table: Option<Elf>,
}

impl Symbols {
    /// Looks for files in these folders before anywhere else.
    pub fn new(folders: Vec<PathBuf>) -> Symbols {
        Symbols { folders, modules: BTreeMap::new() }
    }

    /// The functions at a place, the innermost first: inlined ones, then the one they are in; none if nothing is known.
    pub fn at(&mut self, module: &Module, addr: u64) -> Vec<Function> {
        let folders = &self.folders;
        let named = self.modules.entry(module.clone()).or_insert_with(|| Named::load(module, folders));
        let found = named.at(addr);
        named.facts.places += 1;
        named.facts.unnamed += u64::from(found.is_empty());
        found
    }

    /// How each module that was asked for got its names.
    pub fn facts(&self) -> impl Iterator<Item = &ModuleFacts> {
        self.modules.values().map(|named| &named.facts)
    }

    /// How a module got its names, if it was asked for.
    pub fn facts_of(&self, module: &Module) -> Option<&ModuleFacts> {
        self.modules.get(module).map(|named| &named.facts)
    }
}

impl Named {
    /// Looks at the files that may be a module's until one has debug information.
    fn load(module: &Module, folders: &[PathBuf]) -> Named {
        let facts = ModuleFacts {
            name: module.name.clone(),
            build_id: module.build_id.clone(),
            how: How::None,
            files: Vec::new(),
            by_path: false,
            places: 0,
            unnamed: 0,
            others: Vec::new(),
            problems: Vec::new(),
        };
        let mut named = Named { facts, debug: None, table: None };
        for path in find::of_module(module, folders) {
            let Some(elf) = named.open(&path) else { continue };
            if elf.build_id != module.build_id {
                named.facts.others.push(shown(&path));
                continue;
            }
            let linked = find::linked(&elf, &path, folders);
            named.take(elf, &path, module, folders);
            for path in linked {
                if named.debug.is_none()
                    && let Some(elf) = named.open(&path)
                {
                    if elf.build_id == module.build_id {
                        named.take(elf, &path, module, folders);
                    } else {
                        named.facts.others.push(shown(&path));
                    }
                }
            }
            if named.debug.is_some() {
                break;
            }
        }
        named
    }

    /// A file that is there; what is wrong with it is noted.
    fn open(&mut self, path: &Path) -> Option<Elf> {
        match Elf::open(path) {
            Ok(elf) => elf,
            Err(why) => {
                self.facts.problems.push(format!("{}: {why}", shown(path)));
                None
            }
        }
    }

    /// Takes what names a file has.
    fn take(&mut self, elf: Elf, path: &Path, module: &Module, folders: &[PathBuf]) {
        let mut used = false;
        if elf.has_debug && self.debug.is_none() {
            let rest = find::shared_debug(&elf, path, folders);
            match Loader::new_with_sup(path, rest) {
                Ok(loader) => {
                    self.debug = Some(loader);
                    self.facts.how = How::DebugInformation;
                    used = true;
                }
                Err(error) => self.facts.problems.push(format!("{}: its debug information: {error}", shown(path))),
            }
        }
        let better = self.table.as_ref().is_none_or(|table| elf.table > table.table);
        if elf.table > Table::None && better {
            let how = if elf.table == Table::Full { How::SymbolTable } else { How::ExportedNames };
            self.facts.how = self.facts.how.min(how);
            self.table = Some(elf);
            used = true;
        }
        if used {
            self.facts.by_path |= module.build_id.is_empty();
            self.facts.files.push(shown(path));
        }
    }

    fn at(&self, addr: u64) -> Vec<Function> {
        let symbol = self.table.as_ref().and_then(|table| table.function(addr));
        let symbol = symbol.map(demangled);
        let mut found = self.debug.as_ref().map_or_else(Vec::new, |debug| functions(debug, addr));
        let last = found.len().saturating_sub(1);
        found.iter_mut().take(last).for_each(|function| function.inlined = true);
        match (found.last_mut(), symbol) {
            // Debug information may have no name for a function, or nothing of it, as of one in assembler.
            (Some(outermost), Some(symbol)) if outermost.name.is_empty() => outermost.name = symbol,
            (None, Some(name)) => found.push(Function { name, ..Function::default() }),
            _ => {}
        }
        found.retain(|function| !function.name.is_empty());
        found
    }
}

/// A symbol's name as it was written. What is not mangled stays: `f` would else be a C++ type, `float`.
fn demangled(symbol: &str) -> String {
    let is_mangled = ["_Z", "__Z", "_R"].iter().any(|start| symbol.starts_with(start));
    if is_mangled { demangle_auto(Cow::Borrowed(symbol), None).into_owned() } else { symbol.to_owned() }
}

/// More functions inlined into one another than these are no program's.
const INLINED: usize = 100;

/// What debug information says of a place; nothing where it is damaged.
fn functions(debug: &Loader, addr: u64) -> Vec<Function> {
    let mut functions = Vec::new();
    let Ok(mut frames) = debug.find_frames(addr) else { return functions };
    while let Ok(Some(frame)) = frames.next() {
        let name = frame.function.as_ref().and_then(|name| name.demangle().ok().map(Cow::into_owned));
        let location = frame.location.as_ref();
        functions.push(Function {
            name: name.unwrap_or_default(),
            file: location.and_then(|location| location.file).map(str::to_owned),
            line: location.and_then(|location| location.line),
            inlined: false,
        });
        if functions.len() == INLINED {
            break;
        }
    }
    functions
}
