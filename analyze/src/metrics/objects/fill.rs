//! What of tables and strings is used: slots against those allocated, text against blocks.

use schemars::JsonSchema;
use serde::Serialize;
use shared::trace::census::{Census, ObjectKind, TableFill};

use super::Objects;

/// So many of the largest are listed.
const LISTED: usize = 10;
/// Bytes of an array slot, and of a hash slot: value, key and links.
const ARRAY_SLOT: u64 = 8;
const HASH_SLOT: u64 = 24;

/// How far tables are filled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Tables {
    /// Array parts, those inside headers too. Slot 0, which few programs use, is among the slots.
    pub array: Slots,
    /// Hash parts.
    pub hash: Slots,
}

/// The slots of one kind of parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Slots {
    /// All there are.
    pub slots: u64,
    /// Those with a value other than nil.
    pub used: u64,
    /// Those of which nothing is known: the part could not be read.
    pub not_looked_at: u64,
    /// Bytes of all others.
    pub unused_bytes: u64,
}

/// What of strings is text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Strings {
    /// The lengths of all strings.
    pub text_bytes: u64,
    /// What their blocks take beside: headers, chunk heads, rounding.
    pub overhead_bytes: u64,
}

/// A large table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Large {
    /// Bytes of its header's block, and of its parts without their chunk heads.
    pub bytes: u64,
    /// Slots of its array part.
    pub array_slots: u64,
    /// Those with a value other than nil, if that is known.
    pub array_used: Option<u64>,
    /// Slots of its hash part.
    pub hash_slots: u64,
    /// Those with a value other than nil, if that is known.
    pub hash_used: Option<u64>,
}

impl Slots {
    fn add(&mut self, slots: u64, used: Option<u64>, bytes: u64) {
        self.slots = self.slots.saturating_add(slots);
        match used {
            Some(used) => {
                self.used = self.used.saturating_add(used);
                let unused = slots.saturating_sub(used).saturating_mul(bytes);
                self.unused_bytes = self.unused_bytes.saturating_add(unused);
            }
            None => self.not_looked_at = self.not_looked_at.saturating_add(slots),
        }
    }
}

/// Counts tables and strings; `blocks` are the sizes that belong to the labels.
pub(super) fn count(objects: &mut Objects, census: &Census, blocks: &[(u64, bool)]) {
    let of_kind = |kind| {
        let labelled = census.labels.iter().zip(blocks).filter(move |(label, _)| label.kind == kind);
        labelled.map(|(_, (size, _))| *size)
    };
    let mut large = Vec::new();
    for (header, fill) in of_kind(ObjectKind::Table).zip(&census.tables) {
        let Tables { array, hash } = &mut objects.tables;
        array.add(fill.array, fill.array_used, ARRAY_SLOT);
        // What was left behind in the header, or is no longer part of the array.
        let idle = if fill.apart { fill.inside } else { fill.inside.saturating_sub(fill.array) };
        array.add(idle, Some(0), ARRAY_SLOT);
        hash.add(fill.hash, fill.hash_used, HASH_SLOT);
        large.push(table(header, fill));
    }
    objects.largest_tables = largest(large, |large| large.bytes);
    let text = census.strings.iter().fold(0u64, |sum, length| sum.saturating_add(*length));
    let strings = of_kind(ObjectKind::String).fold(0u64, u64::saturating_add);
    objects.strings = Strings { text_bytes: text, overhead_bytes: strings.saturating_sub(text) };
    objects.longest_strings = largest(census.strings.clone(), |length| *length);
}

fn table(header: u64, fill: &TableFill) -> Large {
    let array = if fill.apart { fill.array.saturating_mul(ARRAY_SLOT) } else { 0 };
    Large {
        bytes: header.saturating_add(array).saturating_add(fill.hash.saturating_mul(HASH_SLOT)),
        array_slots: fill.array,
        array_used: fill.array_used,
        hash_slots: fill.hash,
        hash_used: fill.hash_used,
    }
}

/// The largest first.
fn largest<T>(mut all: Vec<T>, size: impl Fn(&T) -> u64) -> Vec<T> {
    all.sort_by_key(|one| std::cmp::Reverse(size(one)));
    all.truncate(LISTED);
    all
}
