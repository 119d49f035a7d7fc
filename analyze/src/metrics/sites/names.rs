//! Stacks in words: what LuaJIT was doing, and for whom.

use std::collections::{BTreeMap, HashMap};

use schemars::JsonSchema;
use serde::Serialize;
use shared::trace::meta::Vm;
use shared::trace::stacks::{Frame as Place, Module, Place as LuaLine};

use super::calls::Sampled;
use super::operation::{self, is_interface, is_luajit, is_plumbing};
use crate::symbols::{How, Symbols};

/// What kind of code a frame is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// LuaJIT's own, or of the program it is linked into.
    Luajit,
    /// A line of a Lua function.
    Lua,
    /// Of another file.
    Other,
    /// Compiled by LuaJIT.
    Compiled,
    /// Of no file.
    Unknown,
    /// There is more, which was not recorded.
    Cut,
}

/// A frame of a stack, with its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Named {
    /// The function; without a name, the file's and an offset; of Lua, the chunk and its line.
    pub name: String,
    /// What kind of code it is.
    pub code: Code,
    /// The file's path as the recorded process saw it.
    pub module: Option<String>,
    /// As the file itself numbers its addresses.
    pub addr: Option<u64>,
    /// The source file.
    pub file: Option<String>,
    /// Its line.
    pub line: Option<u64>,
    /// The compiler has put it into the function further out.
    pub inlined: bool,
    /// Its name is a function's.
    #[serde(skip)]
    pub is_named: bool,
}

/// A stack in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// What LuaJIT was doing.
    pub operation: String,
    /// That is no more than a place in its code.
    pub is_nameless: bool,
    /// For whom.
    pub site: String,
    /// From the innermost frame on, numbers into [`Names::frames`].
    pub frames: Vec<usize>,
}

/// The frames of a VM's stacks.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Different frames.
    pub frames: Vec<Named>,
    of: HashMap<Place, Vec<usize>>,
}

/// What is done where no name tells it.
const NOT_TOLD: &str = "not told apart";

impl Names {
    /// Puts each of a VM's stacks into words.
    pub(super) fn tell(&mut self, sampled: &Sampled, vm: &Vm, symbols: &mut Symbols) -> Vec<Told> {
        let door = Module { name: vm.module.clone(), build_id: vm.module_build_id.clone() };
        let told = |stack: &Vec<Place>| {
            let frames: Vec<usize> =
                stack.iter().flat_map(|place| self.named(*place, sampled, &door, vm, symbols)).collect();
            let named: Vec<&Named> = frames.iter().map(|frame| &self.frames[*frame]).collect();
            let own = machinery(&named);
            let (operation, is_nameless) = match operation_of(&named[..own]) {
                Some(operation) => (operation, false),
                None => (place_of(&named[..own], &door, symbols), true),
            };
            Told { operation, is_nameless, site: site_of(&named, own), frames }
        };
        sampled.stacks.iter().map(told).collect()
    }

    /// The frames of a place: several where functions are inlined.
    fn named(&mut self, place: Place, sampled: &Sampled, door: &Module, vm: &Vm, symbols: &mut Symbols) -> Vec<usize> {
        if let Some(known) = self.of.get(&place) {
            return known.clone();
        }
        let plain = |name: &str, code| Named {
            name: name.to_owned(),
            code,
            module: None,
            addr: None,
            file: None,
            line: None,
            inlined: false,
            is_named: false,
        };
        let named = match place {
            Place::Unknown => vec![plain("unknown code", Code::Unknown)],
            Place::Jit => vec![plain("compiled code", Code::Compiled)],
            Place::Cut => vec![plain("(more that was not recorded)", Code::Cut)],
            Place::Lua(line) => {
                let line = &sampled.lines[line as usize];
                let at = (line.line > 0).then_some(line.line);
                vec![Named { file: Some(line.chunk.clone()), line: at, ..plain(&lua(line), Code::Lua) }]
            }
            Place::Code { module, addr } => {
                let module = &sampled.modules[module as usize];
                let code = if module == door { Code::Luajit } else { Code::Other };
                let of = |name: String| Named {
                    name,
                    module: Some(module.name.clone()),
                    addr: Some(addr),
                    ..plain("", code)
                };
                let functions = symbols.at(module, addr);
                let is_door = module == door && vm.probe.as_ref().is_some_and(|probe| probe.addr == addr);
                match functions.is_empty() {
                    // The recorder has found it without a name.
                    true if is_door => vec![Named { is_named: true, ..of("lj_alloc_f".to_owned()) }],
                    true => vec![of(format!("{}+0x{addr:x}", file_name(&module.name)))],
                    false => functions
                        .into_iter()
                        .map(|function| Named {
                            file: function.file,
                            line: function.line.map(u64::from),
                            inlined: function.inlined,
                            is_named: true,
                            ..of(function.name)
                        })
                        .collect(),
                }
            }
        };
        let numbers: Vec<usize> = (self.frames.len()..).take(named.len()).collect();
        self.frames.extend(named);
        self.of.insert(place, numbers.clone());
        numbers
    }
}

/// How many of the innermost frames are LuaJIT's own. A program that LuaJIT is linked into has functions of its own in the
/// same file: those are behind LuaJIT's interface to C.
fn machinery(frames: &[&Named]) -> usize {
    let mut interface = false;
    let own = |frame: &&&Named| {
        let program = interface && frame.is_named && !is_luajit(&frame.name);
        interface |= frame.is_named && is_interface(&frame.name);
        frame.code == Code::Luajit && !program
    };
    frames.iter().take_while(own).count()
}

/// What LuaJIT was doing, if a name tells.
fn operation_of(own: &[&Named]) -> Option<String> {
    let known = own.iter().filter(|frame| frame.is_named);
    if let Some(operation) = known.clone().find_map(|frame| operation::of(&frame.name)) {
        return Some(operation.to_owned());
    }
    known.clone().find(|frame| !is_plumbing(&frame.name)).map(|frame| frame.name.clone())
}

/// Where in its code LuaJIT was.
fn place_of(own: &[&Named], door: &Module, symbols: &Symbols) -> String {
    // The innermost is the door, behind it is what every operation goes through, or who frees.
    let nameless = own.iter().skip(1).filter(|frame| !frame.is_named).take(2).filter_map(|frame| frame.addr);
    let places: Vec<String> = nameless.map(|addr| format!("+0x{addr:x}")).collect();
    if places.is_empty() {
        return NOT_TOLD.to_owned();
    }
    let stripped = match symbols.facts_of(door).map(|facts| facts.how) {
        Some(How::DebugInformation | How::SymbolTable) => "",
        Some(How::ExportedNames | How::None) | None => " (stripped)",
    };
    format!("{}{stripped}{}", file_name(&door.name), places.join(" called at "))
}

/// For whom LuaJIT did it: the first frame that is not its own. Behind a function of another file the Lua line that has
/// called it is named, too.
fn site_of(frames: &[&Named], own: usize) -> String {
    let mut compiled = false;
    for (at, frame) in frames.iter().enumerate().skip(own) {
        match frame.code {
            Code::Lua => return frame.name.clone(),
            Code::Compiled => compiled = true,
            Code::Luajit | Code::Other if is_start(frame) => {}
            Code::Luajit | Code::Other if frame.code == Code::Other || frame.is_named && !is_luajit(&frame.name) => {
                let function = function(frame);
                let line = frames[at..].iter().find(|further| further.code == Code::Lua);
                return match line {
                    Some(line) => format!("{function}, from {}", line.name),
                    None if compiled => format!("compiled code, in {function}"),
                    None => function,
                };
            }
            _ => {}
        }
    }
    if compiled { "compiled code" } else { "interpreter" }.to_owned()
}

/// `build_response (app, resp.c:120)`
fn function(frame: &Named) -> String {
    let module = frame.module.as_deref().map(file_name).unwrap_or_default();
    match (&frame.file, frame.line) {
        _ if !frame.is_named => frame.name.clone(),
        (Some(file), Some(line)) => format!("{} ({module}, {}:{line})", frame.name, file_name(file)),
        _ => format!("{} ({module})", frame.name),
    }
}

/// Whether a frame is of what starts a program: that says nothing of who allocates.
fn is_start(frame: &Named) -> bool {
    let name = frame.module.as_deref().map(file_name).unwrap_or_default();
    ["libc.so", "libc-", "libpthread", "ld-linux", "ld-musl"].iter().any(|prefix| name.starts_with(prefix))
        || frame.name == "_start"
}

/// `@/app/handler.lua:33 (function from line 20)`
fn lua(place: &LuaLine) -> String {
    let line = if place.line > 0 { format!(":{}", place.line) } else { String::new() };
    let function = match place.first_line {
        0 => "main chunk".to_owned(),
        first => format!("function from line {first}"),
    };
    format!("{}{line} ({function})", place.chunk)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The numbers of different texts, and the number of each stack's.
pub(super) fn numbered<'a>(texts: impl Iterator<Item = &'a str>) -> (Vec<&'a str>, Vec<usize>) {
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    let mut all = Vec::new();
    let number = |text: &'a str| {
        *known.entry(text).or_insert_with(|| {
            all.push(text);
            all.len() - 1
        })
    };
    let numbers = texts.map(number).collect();
    (all, numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(name: &str, code: Code) -> Named {
        let module = match code {
            Code::Luajit => Some("/usr/sbin/nginx".to_owned()),
            Code::Other => Some(if name.starts_with("__libc") { "/lib/libc.so.6" } else { "/opt/mod.so" }.to_owned()),
            _ => None,
        };
        let is_named = !name.contains('+');
        Named { name: name.to_owned(), code, module, addr: Some(9), file: None, line: None, inlined: false, is_named }
    }

    fn told(stack: &[(&str, Code)]) -> (String, String) {
        let frames: Vec<Named> = stack.iter().map(|(name, code)| frame(name, *code)).collect();
        let frames: Vec<&Named> = frames.iter().collect();
        let own = machinery(&frames);
        let door = Module { name: "/usr/sbin/nginx".into(), build_id: String::new() };
        let operation = operation_of(&frames[..own]);
        (operation.unwrap_or_else(|| place_of(&frames[..own], &door, &Symbols::default())), site_of(&frames, own))
    }

    #[test]
    fn the_first_frame_that_is_not_luajits_is_the_site() {
        use Code::{Compiled, Lua, Luajit, Other};
        let alloc = [("lj_alloc_f", Luajit), ("lj_mem_realloc", Luajit)];
        let line = ("@a.lua:3 (function from line 2)", Lua);
        let of = |stack: &[(&str, Code)]| told(&[&alloc[..], stack].concat());
        let expect = |stack: &[(&str, Code)], operation: &str, site: &str| {
            assert_eq!(of(stack), (operation.to_owned(), site.to_owned()));
        };
        expect(&[("lj_str_new", Luajit), ("lj_BC_CAT", Luajit), line], "string interning", line.0);
        // A program that LuaJIT is linked into, and one of its modules.
        let interned = [("lj_str_new", Luajit), ("lua_pushlstring", Luajit)];
        expect(
            &[&interned[..], &[("headers", Luajit), line]].concat(),
            "string interning",
            &format!("headers (nginx), from {}", line.0),
        );
        expect(&[&interned[..], &[("get", Other)]].concat(), "string interning", "get (mod.so)");
        // Functions of LuaJIT without a prefix are not behind its interface.
        expect(&[("gc_sweep", Luajit), ("lj_gc_step", Luajit), ("lj_BC_TNEW", Luajit)], "collector", "interpreter");
        expect(&[("lj_tab_new", Luajit), ("unknown", Compiled), line], "table creation", line.0);
        expect(&[("lj_tab_new", Luajit), ("unknown", Compiled)], "table creation", "compiled code");
        let started = [("lj_vm_x", Luajit), ("lua_pcall", Luajit), ("__libc_start_main", Other), ("_start", Luajit)];
        expect(&started, "lj_vm_x", "interpreter");
        expect(&[("nginx+0x9", Luajit), ("mod.so+0x9", Other)], "nginx (stripped)+0x9", "mod.so+0x9");
        expect(&[], NOT_TOLD, "interpreter");
    }

    #[test]
    fn lines_of_lua_are_as_lua_says_them() {
        let place = |chunk: &str, first_line, line| lua(&LuaLine { chunk: chunk.into(), first_line, line });
        assert_eq!(place("@/app/handler.lua", 20, 33), "@/app/handler.lua:33 (function from line 20)");
        assert_eq!(place("=init", 0, 0), "=init (main chunk)");
    }
}
