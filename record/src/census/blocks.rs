//! The blocks of a heap, found by the address that was handed out, each with its label. All of the walk's time goes into
//! finding them: so a block takes one look into a small table, and its size stands before it in the copy.

use shared::Addr;
use shared::heap::layout::{self, DIRECT_FOOT, HEADER, INUSE, MIN_CHUNK, request_to_chunk};
use shared::heap::{Chunk, Heap, Segment};
use shared::trace::census::{Label, ObjectKind};

use super::{DIRECT_HEAD, Image};

/// A direct block that has shrunk keeps up to half a unit of mapping, and pages are whole.
const DIRECT_SLACK: u64 = layout::GRANULARITY / 2 + 2 * layout::PAGE;
/// Of each `1 << CELL` bytes there is a cell: half a smallest chunk.
const CELL: u32 = 4;
/// In a cell: no block starts here; else its kind, whether it starts in the second half, and whether it is garbage.
const NOTHING: u8 = 0xff;
const KIND: u8 = 0x1f;
const SECOND: u8 = 0x40;
const GARBAGE: u8 = 0x80;

/// A block in use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a> {
    /// The address handed out.
    pub(super) start: Addr,
    /// Bytes of the chunk, or mapped.
    pub(super) size: u64,
    /// Whether it is mapped on its own.
    pub(super) direct: bool,
    /// What its owner may use; of a direct block the first of it.
    pub(super) bytes: &'a [u8],
    place: Place,
}

/// Where a block's label is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    direct: bool,
    /// Its piece, or its number among the direct blocks.
    at: u32,
    cell: u32,
}

impl Block<'_> {
    /// Where its label is kept: less to remember than the block.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Whether a request for so many bytes may have been given this block.
    pub(super) fn fits(&self, bytes: u64) -> bool {
        if self.direct {
            let room = self.size.saturating_sub(HEADER + DIRECT_FOOT);
            bytes <= room && room - bytes < DIRECT_SLACK
        } else {
            let least = request_to_chunk(bytes);
            least <= self.size && self.size - least < MIN_CHUNK
        }
    }
}

/// A segment with its copy.
#[derive(Debug)]
struct Piece<'a> {
    segment: Segment,
    bytes: &'a [u8],
    cells: Vec<u8>,
}

/// All blocks in use: chunks as the heap has them, then the direct blocks.
#[derive(Debug)]
pub(super) struct Blocks<'a> {
    heap: &'a Heap,
    /// Ascending.
    pieces: Vec<Piece<'a>>,
    direct: Vec<(&'a [u8], Label)>,
}

impl<'a> Blocks<'a> {
    /// The blocks of a heap, each of which is unknown; nothing if the copy is not of this heap.
    pub(super) fn of(heap: &'a Heap, image: &'a impl Image) -> Option<Blocks<'a>> {
        let mut segments = heap.segments.clone();
        segments.sort_by_key(|segment| segment.base);
        let piece = |segment: Segment| {
            let bytes = image.bytes(segment.base, usize::try_from(segment.size).ok()?)?;
            Some(Piece { segment, bytes, cells: vec![NOTHING; (bytes.len() >> CELL) + 1] })
        };
        let pieces = segments.into_iter().map(piece).collect::<Option<Vec<_>>>()?;
        let head = |base| image.bytes(base + HEADER, DIRECT_HEAD - HEADER as usize).unwrap_or_default();
        let direct = heap.direct.iter().map(|direct| (head(direct.base), Label::default())).collect();
        let mut blocks = Blocks { heap, pieces, direct };
        let mut at = 0;
        for chunk in heap.chunks.iter().filter(|chunk| chunk.used && chunk.size > layout::FENCEPOST) {
            // Both ascend.
            while !blocks.pieces.get(at)?.segment.contains(chunk.addr) {
                at += 1;
            }
            let piece = &mut blocks.pieces[at];
            let offset = (chunk.addr + HEADER - piece.segment.base) as usize;
            *piece.cells.get_mut(offset >> CELL)? = if offset & 8 == 0 { 0 } else { SECOND };
        }
        Some(blocks)
    }

    /// The piece that holds an address, and how far in.
    fn place(&self, addr: Addr) -> Option<(usize, usize)> {
        let at = self.pieces.partition_point(|piece| piece.segment.base <= addr).checked_sub(1)?;
        let piece = &self.pieces[at];
        piece.segment.contains(addr).then(|| (at, (addr - piece.segment.base) as usize))
    }

    /// The block that was handed out as this address.
    pub(super) fn find(&self, addr: Addr) -> Option<Block<'a>> {
        let Some((at, offset)) = self.place(addr) else { return self.find_direct(addr) };
        let piece = &self.pieces[at];
        let cell = piece.cells[offset >> CELL];
        if cell == NOTHING || !addr.is_multiple_of(8) || (cell & SECOND != 0) != (offset & 8 != 0) {
            return None;
        }
        let head = piece.bytes.get(offset - 8..offset)?;
        let size = u64::from_le_bytes(head.try_into().ok()?) & !INUSE;
        let room = usize::try_from(size.checked_sub(layout::CHUNK_OVERHEAD)?).ok()?;
        let bytes = piece.bytes.get(offset..offset.checked_add(room)?)?;
        Some(Block { start: addr, size, direct: false, bytes, place: in_piece(at, offset) })
    }

    /// The block of a chunk in use, which is in this piece or in a later one.
    fn of_chunk(&self, at: &mut usize, chunk: &Chunk) -> Option<Block<'a>> {
        while !self.pieces.get(*at)?.segment.contains(chunk.addr) {
            *at += 1;
        }
        let (piece, start) = (&self.pieces[*at], chunk.addr + HEADER);
        let offset = (start - piece.segment.base) as usize;
        let room = usize::try_from(chunk.size.checked_sub(layout::CHUNK_OVERHEAD)?).ok()?;
        let bytes = piece.bytes.get(offset..offset.checked_add(room)?)?;
        Some(Block { start, size: chunk.size, direct: false, bytes, place: in_piece(*at, offset) })
    }

    fn find_direct(&self, addr: Addr) -> Option<Block<'a>> {
        let base = addr.checked_sub(HEADER)?;
        let at = self.heap.direct.binary_search_by_key(&base, |direct| direct.base).ok()?;
        let (bytes, size) = (self.direct[at].0, self.heap.direct[at].size);
        let place = Place { direct: true, at: at as u32, cell: 0 };
        Some(Block { start: addr, size, direct: true, bytes, place })
    }

    /// What was copied at an address, as far as it is there.
    pub(super) fn read(&self, addr: Addr, len: usize) -> Option<&'a [u8]> {
        let (at, offset) = self.place(addr)?;
        let bytes: &'a [u8] = self.pieces[at].bytes;
        bytes.get(offset..offset.checked_add(len)?)
    }

    /// A block's label.
    pub(super) fn label(&self, block: &Block<'_>) -> Label {
        let Place { direct, at, cell } = block.place;
        if direct { self.direct[at as usize].1 } else { label(self.pieces[at as usize].cells[cell as usize]) }
    }

    /// Whether nothing is known of it yet.
    pub(super) fn is_unknown(&self, block: &Block<'_>) -> bool {
        self.label(block).kind == ObjectKind::Unknown
    }

    /// Says what it is.
    pub(super) fn set(&mut self, block: &Block<'_>, label: Label) {
        self.set_at(block.place, label);
    }

    /// Says what the block is whose label is kept there.
    pub(super) fn set_at(&mut self, Place { direct, at, cell }: Place, label: Label) {
        if direct {
            self.direct[at as usize].1 = label;
        } else {
            let cell = &mut self.pieces[at as usize].cells[cell as usize];
            *cell = *cell & SECOND | label.kind as u8 | if label.garbage { GARBAGE } else { 0 };
        }
    }

    /// Forgets all labels.
    pub(super) fn forget(&mut self) {
        let cells = self.pieces.iter_mut().flat_map(|piece| &mut piece.cells);
        cells.filter(|cell| **cell != NOTHING).for_each(|cell| *cell &= SECOND);
        self.direct.iter_mut().for_each(|(_, label)| *label = Label::default());
    }

    /// The blocks in the order of a census; of what nobody was handed, its label.
    pub(super) fn in_order(&self) -> impl Iterator<Item = Result<Block<'a>, Label>> + use<'_, 'a> {
        let heap = self.heap;
        let used = heap.chunks.iter().filter(|chunk| chunk.used);
        // Chunks ascend, and so do pieces: the next one is not looked for.
        let mut at = 0;
        let chunks = used.map(move |chunk| match chunk.size {
            layout::FENCEPOST => Err(Label { kind: ObjectKind::Allocator, garbage: false }),
            _ => self.of_chunk(&mut at, chunk).ok_or_else(Label::default),
        });
        let direct = heap.direct.iter().map(|direct| self.find_direct(direct.base + HEADER).ok_or_else(Label::default));
        chunks.chain(direct)
    }

    /// Labels what is the allocator's own.
    pub(super) fn label_own(&mut self) {
        let heap = self.heap;
        for record in heap.segments.iter().map(|segment| segment.record).chain([heap.mstate]) {
            if let Some(block) = self.find(record) {
                self.set(&block, Label { kind: ObjectKind::Allocator, garbage: false });
            }
        }
    }
}

/// A place so far into a piece. Segments and their number are far below 2^32.
fn in_piece(at: usize, offset: usize) -> Place {
    Place { direct: false, at: at as u32, cell: (offset >> CELL) as u32 }
}

fn label(cell: u8) -> Label {
    let kind = ObjectKind::ALL.get(usize::from(cell & KIND)).copied().unwrap_or_default();
    Label { kind, garbage: cell & GARBAGE != 0 }
}
