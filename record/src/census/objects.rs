//! Looks at one object: its kind, what it owns, and whether its size is its block's.

use shared::Addr;
use shared::trace::census::{Label, ObjectKind};

use super::Walk;
use super::layout::{self, Head, SLOT, gct};
use crate::target::Memory;

impl<M: Memory, L: Memory> Walk<'_, M, L> {
    /// Labels an object and what it owns. The next one of its list; none where the list leaves the heap or comes back.
    pub(super) fn object(&mut self, addr: Addr) -> Option<Addr> {
        let Some(at) = self.blocks.find(addr) else { return self.cdata_inside(addr) };
        if !self.blocks.is_unknown(at) {
            return None;
        }
        let block = self.blocks.block(at);
        let head = self.head(addr, block.room())?;
        let next = head.reference(self.layout, 0);
        if addr == self.global.main_thread {
            self.blocks.set(at, Label { kind: ObjectKind::VmState, garbage: false });
            self.thread(&head, false);
            return Some(next);
        }
        let kind = head.byte(self.layout.reference + 1);
        let garbage = self.is_garbage(head.byte(self.layout.reference));
        let (kind, size) = match kind {
            gct::UPVALUE => (ObjectKind::Upvalue, Some(self.layout.upvalue)),
            gct::THREAD => (ObjectKind::Thread, self.thread_size(&head)),
            gct::PROTO => (ObjectKind::Proto, Some(head.int(self.layout.proto[0]))),
            gct::FUNCTION => (ObjectKind::Function, Some(self.function_size(&head))),
            gct::TRACE => (ObjectKind::Trace, self.trace_size(addr, &head)),
            // Its size is its type's, which stands in the table of types.
            gct::CDATA => (ObjectKind::Cdata, Some(self.layout.cdata).filter(|least| *least <= block.room())),
            gct::TABLE => (ObjectKind::Table, Some(self.table_size(&head))),
            gct::USERDATA => {
                let [len, size] = self.layout.userdata;
                (ObjectKind::Userdata, Some(size as u64 + head.int(len)))
            }
            // One in the making may not have its type yet.
            _ => (ObjectKind::Unknown, None),
        };
        self.found.objects += 1;
        if !size.is_some_and(|size| kind == ObjectKind::Cdata || block.fits(size)) {
            self.found.misfits.insert(at);
            return Some(next);
        }
        self.blocks.set(at, Label { kind, garbage });
        match kind {
            ObjectKind::Thread => self.thread(&head, garbage),
            ObjectKind::Proto => self.found.protos.push((at, head.int(self.layout.proto[1]))),
            ObjectKind::Table => {
                let fill = self.table(addr, &head, garbage);
                self.found.tables.push((at, fill));
            }
            ObjectKind::Userdata => self.string_buffer(addr, &head, garbage),
            _ => {}
        }
        Some(next)
    }

    /// A C value of variable size or alignment, which does not start where its block does.
    fn cdata_inside(&mut self, addr: Addr) -> Option<Addr> {
        // `GCcdataVar`, which stands before it: offset to the block, what is not payload, length of the payload.
        const BEFORE: u64 = 8;
        let head = self.head(addr.checked_sub(BEFORE)?, BEFORE + 16)?;
        let reference = BEFORE as usize + self.layout.reference;
        let (marked, kind) = (head.byte(reference), head.byte(reference + 1));
        let (offset, size) = (head.half(0), head.half(2) + head.int(4));
        let at = self.blocks.find(addr.wrapping_sub(offset))?;
        if kind != gct::CDATA || marked & layout::CDATA_VARIABLE == 0 || !self.blocks.is_unknown(at) {
            return None;
        }
        self.found.objects += 1;
        if self.blocks.block(at).fits(size) {
            let garbage = self.is_garbage(marked);
            self.blocks.set(at, Label { kind: ObjectKind::Cdata, garbage });
        } else {
            self.found.misfits.insert(at);
        }
        Some(head.reference(self.layout, BEFORE as usize))
    }

    /// The global state stands right behind the main thread: so large is a `lua_State`, if this is one of this VM.
    fn thread_size(&self, head: &Head) -> Option<u64> {
        let global = head.reference(self.layout, self.layout.thread[0]);
        (global == self.global.addr).then(|| self.global.addr - self.global.main_thread)
    }

    /// A thread's stack, and the variables on it that closures refer to.
    fn thread(&mut self, head: &Head, garbage: bool) {
        let [_, stack, open, slots] = self.layout.thread;
        let stack = head.reference(self.layout, stack);
        self.label_part(stack, head.int(slots) * SLOT, Label { kind: ObjectKind::Stack, garbage });
        self.chain(head.reference(self.layout, open));
    }

    fn function_size(&self, head: &Head) -> u64 {
        let [ffid, upvalues] = [2, 3].map(|at| head.byte(self.layout.reference + at));
        let [lua, c] = self.layout.function;
        if ffid == layout::LUA_FUNCTION {
            lua + u64::from(upvalues) * self.layout.reference as u64
        } else {
            c + u64::from(upvalues) * SLOT
        }
    }

    /// Its instructions, snapshots and their map follow each other, the map last.
    fn trace_size(&self, addr: Addr, head: &Head) -> Option<u64> {
        let [entries, snapshots, map] = self.layout.trace;
        let count = head.half(self.layout.reference + 2);
        let (snapshots, map) = (head.word(snapshots), head.word(map));
        let follow = snapshots.checked_add(count * layout::SNAPSHOT) == Some(map);
        follow.then(|| map.wrapping_add(head.int(entries) * 4).wrapping_sub(addr))
    }

    /// The text of a string buffer, unless it is another object's.
    fn string_buffer(&mut self, addr: Addr, head: &Head, garbage: bool) {
        if head.byte(self.layout.reference + 2) != layout::STRING_BUFFER {
            return;
        }
        // `SBuf`: write pointer, end, start.
        let words = [8, 16].map(|at| self.memory.word(addr + self.layout.userdata[1] as u64 + at));
        if let [Some(end), Some(start)] = words {
            self.label_part(start, end.wrapping_sub(start), Label { kind: ObjectKind::VmBuffer, garbage });
        }
    }
}
