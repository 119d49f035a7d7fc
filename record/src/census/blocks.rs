//! The blocks of a heap, found by the address that was handed out, each with its label.

use shared::Addr;
use shared::heap::layout::{self, DIRECT_FOOT, HEADER, MIN_CHUNK, request_to_chunk};
use shared::heap::{Heap, Segment};
use shared::trace::census::{Label, ObjectKind};

/// A direct block that has shrunk keeps up to half a unit of mapping, and pages are whole.
const DIRECT_SLACK: u64 = layout::GRANULARITY / 2 + 2 * layout::PAGE;
/// Segments are divided into pieces of `1 << PIECE` bytes, so that a block is found by a few steps.
const PIECE: u32 = 8;

/// A block in use.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    /// The address handed out.
    pub(super) start: Addr,
    /// Bytes of the chunk, or mapped.
    pub(super) size: u64,
    /// Whether it is mapped on its own.
    pub(super) direct: bool,
}

impl Block {
    /// Bytes that its owner may use.
    pub(super) fn room(&self) -> u64 {
        self.size.saturating_sub(if self.direct { HEADER + DIRECT_FOOT } else { layout::CHUNK_OVERHEAD })
    }

    /// Whether a request for so many bytes may have been given this block.
    pub(super) fn fits(&self, bytes: u64) -> bool {
        if self.direct {
            bytes <= self.room() && self.room() - bytes < DIRECT_SLACK
        } else {
            let least = request_to_chunk(bytes);
            least <= self.size && self.size - least < MIN_CHUNK
        }
    }
}

/// All blocks in use: chunks as the heap has them, then the direct blocks.
#[derive(Debug)]
pub(super) struct Blocks {
    all: Vec<Block>,
    labels: Vec<Label>,
    /// Where the direct blocks begin in `all`.
    direct: usize,
    /// Ascending; with each the first block that starts in each of its pieces or behind.
    segments: Vec<(Segment, Vec<u32>)>,
}

impl Blocks {
    /// The blocks of a heap. Only the allocator's own have a label yet.
    pub(super) fn of(heap: &Heap) -> Blocks {
        let used = heap.chunks.iter().filter(|chunk| chunk.used);
        let block = |start, size, direct| Block { start, size, direct };
        let mut all: Vec<Block> = used.map(|chunk| block(chunk.addr + HEADER, chunk.size, false)).collect();
        let direct = all.len();
        let mut segments = heap.segments.clone();
        segments.sort_by_key(|segment| segment.base);
        let mut first = 0;
        let pieces = segments.into_iter().map(|segment| {
            let starts = (segment.base..segment.end()).step_by(1 << PIECE);
            let firsts = starts.map(|start| {
                first += all[first..].partition_point(|block| block.start < start);
                first as u32
            });
            let firsts = firsts.collect();
            (segment, firsts)
        });
        let segments = pieces.collect();
        all.extend(heap.direct.iter().map(|direct| block(direct.base + HEADER, direct.size, true)));
        let mut blocks = Blocks { labels: vec![Label::default(); all.len()], all, direct, segments };
        blocks.label_own(heap);
        blocks
    }

    fn label_own(&mut self, heap: &Heap) {
        let records = heap.segments.iter().map(|segment| segment.record).chain([heap.mstate]);
        let own: Vec<usize> = records.filter_map(|record| self.find(record)).collect();
        let fenceposts = (0..self.direct).filter(|at| self.all[*at].size == layout::FENCEPOST);
        for at in own.into_iter().chain(fenceposts.collect::<Vec<_>>()) {
            self.labels[at].kind = ObjectKind::Allocator;
        }
    }

    /// The number of the block that was handed out as this address.
    pub(super) fn find(&self, addr: Addr) -> Option<usize> {
        let segment = self.segments.partition_point(|(segment, _)| segment.base <= addr).checked_sub(1);
        let at = match segment.map(|at| &self.segments[at]).filter(|(segment, _)| segment.contains(addr)) {
            Some((segment, firsts)) => {
                let first = firsts[((addr - segment.base) >> PIECE) as usize] as usize;
                let before = self.all[first..self.direct].iter().take_while(|block| block.start < addr).count();
                first + before
            }
            None => self.direct + self.all[self.direct..].partition_point(|block| block.start < addr),
        };
        self.all.get(at).filter(|block| block.start == addr).map(|_| at)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// A block by its number.
    pub(super) fn block(&self, at: usize) -> Block {
        self.all[at]
    }

    /// Its label.
    pub(super) fn label(&self, at: usize) -> Label {
        self.labels[at]
    }

    /// Whether nothing is known of it yet.
    pub(super) fn is_unknown(&self, at: usize) -> bool {
        self.labels[at].kind == ObjectKind::Unknown
    }

    /// Says what it is.
    pub(super) fn set(&mut self, at: usize, label: Label) {
        self.labels[at] = label;
    }

    /// Forgets all labels but those of the allocator's own.
    pub(super) fn forget(&mut self) {
        let foreign = self.labels.iter_mut().filter(|label| label.kind != ObjectKind::Allocator);
        foreign.for_each(|label| *label = Label::default());
    }

    /// The labels, in the order of the blocks.
    pub(super) fn into_labels(self) -> Vec<Label> {
        self.labels
    }
}
