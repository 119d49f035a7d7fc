//! Reads two strings out of a VM's global table: which nginx subsystem it serves, and which build it is. They are
//! names of code, not users' data, and the only strings ljscope ever reads.

use shared::Addr;

use super::global::Global;
use crate::target::Memory;

/// No string we look for is longer.
const MAX_STRING: usize = 64;
/// No table we look into has more hash slots.
const MAX_SLOTS: u32 = 1 << 16;
/// A hash node: value, key, and the chain's next.
const NODE: u64 = 24;
/// `lua_State` is no larger; the reference to the global table is in it.
const STATE: u64 = 128;

/// `~LJ_TSTR` and `~LJ_TTAB` of `lj_obj.h`, as the `gct` byte of an object and the complement of a value's tag.
const STRING: u32 = 4;
const TABLE: u32 = 11;

/// A VM's objects, by its reference size.
pub struct Lua<'a, M> {
    memory: &'a M,
    gc64: bool,
}

/// A reference to an object, with its type.
#[derive(Clone, Copy)]
struct Value {
    addr: Addr,
    tag: u32,
}

impl<'a, M: Memory> Lua<'a, M> {
    /// The VM behind `global`.
    pub fn new(memory: &'a M, global: &Global) -> Self {
        Lua { memory, gc64: global.gc64 }
    }

    /// `_G.ngx.config.subsystem` and `_G.jit.version`, as far as they exist.
    pub fn label_and_build(&self, global: &Global) -> (Option<String>, Option<String>) {
        let Some(globals) = self.globals(global.main_thread) else { return (None, None) };
        let text = |path: &[&str]| {
            let value =
                path.iter().try_fold(Value { addr: globals, tag: TABLE }, |table, key| self.field(table, key))?;
            self.string(value)
        };
        (text(&["ngx", "config", "subsystem"]), text(&["jit", "version"]))
    }

    /// A reference stored at `addr`.
    fn reference(&self, addr: Addr) -> Option<Addr> {
        let word = self.memory.word(addr)?;
        Some(if self.gc64 { word } else { word & 0xffff_ffff })
    }

    /// The value stored at `addr`, if it is an object.
    fn value(&self, addr: Addr) -> Option<Value> {
        let word = self.memory.word(addr)?;
        let (addr, tag) = if self.gc64 {
            // The upper 17 bits are the tag (LJ_GC64's TValue).
            (word & ((1 << 47) - 1), !((word as i64 >> 47) as u32))
        } else {
            (word & 0xffff_ffff, !((word >> 32) as u32))
        };
        Some(Value { addr, tag })
    }

    /// The global table: the one reference in the main thread's state to a table that has a field `_G`.
    fn globals(&self, main_thread: Addr) -> Option<Addr> {
        let step = if self.gc64 { 8 } else { 4 };
        (0..STATE).step_by(step).find_map(|offset| {
            let addr = self.reference(main_thread.wrapping_add(offset))?;
            let table = Value { addr, tag: TABLE };
            (addr % 8 == 0 && self.gct(addr)? == TABLE && self.field(table, "_G").is_some()).then_some(addr)
        })
    }

    /// An object's type, behind `nextgc` and `marked`.
    fn gct(&self, addr: Addr) -> Option<u32> {
        let mut byte = [0];
        self.memory.read(addr.checked_add(if self.gc64 { 9 } else { 5 })?, &mut byte).ok()?;
        Some(u32::from(byte[0]))
    }

    /// `table[key]`, if it is an object.
    fn field(&self, table: Value, key: &str) -> Option<Value> {
        if table.tag != TABLE {
            return None;
        }
        // GCtab: `node` and `hmask`.
        let (node, hmask) = if self.gc64 { (40, 52) } else { (20, 28) };
        let node = self.reference(table.addr.checked_add(node)?)?;
        let slots = (self.memory.word(table.addr.checked_add(hmask)?)? as u32).checked_add(1)?;
        (0..slots.min(MAX_SLOTS)).map(|slot| node.wrapping_add(u64::from(slot) * NODE)).find_map(|node| {
            let found = self.value(node.wrapping_add(8)).filter(|found| found.tag == STRING)?;
            (self.string(found)? == key).then(|| self.value(node))?
        })
    }

    /// A short string. Its length stands right before its text, or one word earlier where the header is padded.
    fn string(&self, value: Value) -> Option<String> {
        if value.tag != STRING {
            return None;
        }
        let mut head = [0; 24];
        self.memory.read(value.addr, &mut head).ok()?;
        let length = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| head[at + i])) as usize;
        // (offset of len, offset of text): with `sid` since 2020, and before.
        let layouts = if self.gc64 { [(20, 24), (16, 24)] } else { [(16, 20), (12, 16)] };
        layouts.into_iter().find_map(|(len, text)| {
            let len = length(len);
            let mut bytes = vec![0; (len < MAX_STRING).then_some(len + 1)?];
            self.memory.read(value.addr + text, &mut bytes).ok()?;
            let well_formed =
                bytes.pop() == Some(0) && !bytes.is_empty() && bytes.iter().all(|b| (b' '..=b'~').contains(b));
            String::from_utf8(bytes).ok().filter(|_| well_formed)
        })
    }
}
