//! Looks at one object: its kind, what it owns, and whether its size is its block's.

use shared::Addr;
use shared::trace::census::{Label, ObjectKind};

use super::Walk;
use super::layout::{self, Head, SLOT, gct};
use crate::target::Memory;

impl<L: Memory> Walk<'_, L> {
    /// Labels an object and what it owns. The next one of its list; none where the list leaves the heap or comes back.
    pub(super) fn object(&mut self, addr: Addr) -> Option<Addr> {
        let Some(block) = self.blocks.find(addr) else { return self.cdata_inside(addr) };
        if !self.blocks.is_unknown(&block) {
            return None;
        }
        let head = Head(block.bytes);
        let next = head.reference(self.layout, 0);
        if addr == self.global.main_thread {
            self.blocks.set(&block, Label { kind: ObjectKind::VmState, garbage: false });
            self.thread(head, false);
            return Some(next);
        }
        let garbage = self.is_garbage(head.byte(self.layout.reference));
        let (kind, size) = match head.byte(self.layout.reference + 1) {
            gct::UPVALUE => (ObjectKind::Upvalue, Some(self.layout.upvalue)),
            gct::THREAD => (ObjectKind::Thread, self.thread_size(head)),
            gct::PROTO => (ObjectKind::Proto, Some(head.int(self.layout.proto[0]))),
            gct::FUNCTION => (ObjectKind::Function, Some(self.function_size(head))),
            gct::TRACE => (ObjectKind::Trace, self.trace_size(addr, head)),
            // Its size is its type's, which stands in the table of types.
            gct::CDATA => (ObjectKind::Cdata, Some(self.layout.cdata).filter(|least| *least < block.size)),
            gct::TABLE => (ObjectKind::Table, Some(self.table_size(head))),
            gct::USERDATA => {
                let [len, size] = self.layout.userdata;
                (ObjectKind::Userdata, Some(size as u64 + head.int(len)))
            }
            // One in the making may not have its type yet.
            _ => (ObjectKind::Unknown, None),
        };
        self.objects += 1;
        if !size.is_some_and(|size| kind == ObjectKind::Cdata || block.fits(size)) {
            // It gets no label by which a list that comes back would be known.
            return self.misfits.insert(addr).then_some(next);
        }
        self.blocks.set(&block, Label { kind, garbage });
        match kind {
            ObjectKind::Thread => self.thread(head, garbage),
            ObjectKind::Table => self.label_parts(head, garbage),
            ObjectKind::Userdata => self.string_buffer(head, garbage),
            _ => {}
        }
        Some(next)
    }

    /// A C value of variable size or alignment, which does not start where its block does.
    fn cdata_inside(&mut self, addr: Addr) -> Option<Addr> {
        // `GCcdataVar`, which stands before it: offset to the block, what is not payload, length of the payload.
        const BEFORE: usize = 8;
        let before = addr.checked_sub(BEFORE as u64)?;
        let offset = Head(self.blocks.read(before, BEFORE).or_else(|| self.direct_head(before))?).half(0);
        let block = self.blocks.find(addr.wrapping_sub(offset))?;
        let head = Head(block.bytes.get(usize::try_from(offset).ok()?.checked_sub(BEFORE)?..)?);
        let reference = BEFORE + self.layout.reference;
        let (marked, kind) = (head.byte(reference), head.byte(reference + 1));
        if kind != gct::CDATA || marked & layout::CDATA_VARIABLE == 0 || !self.blocks.is_unknown(&block) {
            return None;
        }
        self.objects += 1;
        let next = head.reference(self.layout, BEFORE);
        if !block.fits(head.half(2) + head.int(4)) {
            return self.misfits.insert(block.start).then_some(next);
        }
        let garbage = self.is_garbage(marked);
        self.blocks.set(&block, Label { kind: ObjectKind::Cdata, garbage });
        Some(next)
    }

    /// What stands at an address near the start of a direct block.
    fn direct_head(&self, addr: Addr) -> Option<&[u8]> {
        let page = addr & !(shared::heap::layout::PAGE - 1);
        let block = self.blocks.find(page + shared::heap::layout::HEADER)?;
        block.bytes.get(usize::try_from(addr.checked_sub(block.start)?).ok()?..)
    }

    /// The global state stands right behind the main thread: so large is a `lua_State`, if this is one of this VM.
    fn thread_size(&self, head: Head<'_>) -> Option<u64> {
        let global = head.reference(self.layout, self.layout.thread[0]);
        (global == self.global.addr).then(|| self.global.addr - self.global.main_thread)
    }

    /// A thread's stack, and the variables on it that closures refer to.
    fn thread(&mut self, head: Head<'_>, garbage: bool) {
        let [_, stack, open, slots] = self.layout.thread;
        let stack = head.reference(self.layout, stack);
        self.label_part(stack, head.int(slots) * SLOT, Label { kind: ObjectKind::Stack, garbage });
        self.chain(head.reference(self.layout, open));
    }

    fn function_size(&self, head: Head<'_>) -> u64 {
        let [ffid, upvalues] = [2, 3].map(|at| head.byte(self.layout.reference + at));
        let [lua, c] = self.layout.function;
        if ffid == layout::LUA_FUNCTION {
            lua + u64::from(upvalues) * self.layout.reference as u64
        } else {
            c + u64::from(upvalues) * SLOT
        }
    }

    /// Its instructions, snapshots and their map follow each other, the map last.
    fn trace_size(&self, addr: Addr, head: Head<'_>) -> Option<u64> {
        let [entries, snapshots, map] = self.layout.trace;
        let count = head.half(self.layout.reference + 2);
        let (snapshots, map) = (head.word(snapshots), head.word(map));
        let follow = snapshots.checked_add(count * layout::SNAPSHOT) == Some(map);
        follow.then(|| map.wrapping_add(head.int(entries) * 4).wrapping_sub(addr))
    }

    /// The text of a string buffer, unless it is another object's.
    fn string_buffer(&mut self, head: Head<'_>, garbage: bool) {
        if head.byte(self.layout.reference + 2) != layout::STRING_BUFFER {
            return;
        }
        // `SBuf`: write pointer, end, start.
        let [end, start] = [8, 16].map(|at| head.word(self.layout.userdata[1] + at));
        self.label_part(start, end.wrapping_sub(start), Label { kind: ObjectKind::VmBuffer, garbage });
    }
}
