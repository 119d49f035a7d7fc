//! What the blocks of a keyframe's heap are: one label for each, and numbers of some objects. No content, no addresses:
//! labels stand in the keyframe's own order.

use serde::{Deserialize, Serialize};

use super::BadPayload;
use super::meta;
use super::pack::{pack, unpack};
use super::varint::{Cursor, put};

/// What a block is to the VM. The number is the one in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum ObjectKind {
    /// Nothing that the walk knows refers to it, or what refers to it does not fit it.
    #[default]
    Unknown,
    /// A string: header and text.
    String,
    /// A table's header, with a small array part inside.
    Table,
    /// A table's array part, where it has a block of its own.
    TableArray,
    /// A table's hash part.
    TableHash,
    /// A closure, of Lua or C.
    Function,
    /// The bytecode and constants that closures share.
    Proto,
    /// A variable that closures share.
    Upvalue,
    /// A coroutine's state.
    Thread,
    /// A coroutine's stack, or the main thread's.
    Stack,
    /// A C value made by the FFI.
    Cdata,
    /// Userdata: header and payload.
    Userdata,
    /// A compiled trace without its machine code, which is in no heap.
    Trace,
    /// The table of all strings.
    StringTable,
    /// The VM itself: main thread, global and compiler state.
    VmState,
    /// Memory the VM keeps for its own work: the compiler's, C types, text being made.
    VmBuffer,
    /// The allocator's own: its state, segment records, fenceposts.
    Allocator,
}

impl ObjectKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [ObjectKind; 17] = [
        ObjectKind::Unknown,
        ObjectKind::String,
        ObjectKind::Table,
        ObjectKind::TableArray,
        ObjectKind::TableHash,
        ObjectKind::Function,
        ObjectKind::Proto,
        ObjectKind::Upvalue,
        ObjectKind::Thread,
        ObjectKind::Stack,
        ObjectKind::Cdata,
        ObjectKind::Userdata,
        ObjectKind::Trace,
        ObjectKind::StringTable,
        ObjectKind::VmState,
        ObjectKind::VmBuffer,
        ObjectKind::Allocator,
    ];

    /// The word used in outputs.
    pub fn name(self) -> &'static str {
        match self {
            ObjectKind::Unknown => "unknown",
            ObjectKind::String => "string",
            ObjectKind::Table => "table",
            ObjectKind::TableArray => "table array",
            ObjectKind::TableHash => "table hash",
            ObjectKind::Function => "function",
            ObjectKind::Proto => "proto",
            ObjectKind::Upvalue => "upvalue",
            ObjectKind::Thread => "thread",
            ObjectKind::Stack => "stack",
            ObjectKind::Cdata => "cdata",
            ObjectKind::Userdata => "userdata",
            ObjectKind::Trace => "trace",
            ObjectKind::StringTable => "string table",
            ObjectKind::VmState => "vm state",
            ObjectKind::VmBuffer => "vm buffer",
            ObjectKind::Allocator => "allocator",
        }
    }
}

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Label {
    /// Its kind.
    pub kind: ObjectKind,
    /// The collector has found it, or what it belongs to, to be garbage, and has not freed it yet.
    pub garbage: bool,
}

/// The bit of a label's byte that says garbage.
const GARBAGE: u8 = 0x80;

impl Label {
    fn to_byte(self) -> u8 {
        self.kind as u8 | if self.garbage { GARBAGE } else { 0 }
    }

    /// A kind that this reader does not know is unknown.
    fn from_byte(byte: u8) -> Label {
        let kind = ObjectKind::ALL.get(usize::from(byte & !GARBAGE)).copied().unwrap_or_default();
        Label { kind, garbage: byte & GARBAGE != 0 }
    }
}

/// How far a table's parts are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TableFill {
    /// Array slots inside the header's block; they stay there unused once the array part has a block of its own.
    pub inside: u64,
    /// Slots of the array part.
    pub array: u64,
    /// Those of them that are not nil; none if they could not be looked at.
    pub array_used: Option<u64>,
    /// Slots of the hash part.
    pub hash: u64,
    /// Those of them that are not nil; none if they could not be looked at.
    pub hash_used: Option<u64>,
    /// Whether the array part has a block of its own.
    pub apart: bool,
}

/// What was found out about a VM as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Findings {
    /// What the collector was doing: `pause`, `propagate`, `atomic`, `sweepstring`, `sweep`, `finalize`. Garbage is known
    /// from `sweepstring` on, as far as it is not freed yet.
    pub collector: String,
    /// Strings that the VM counts; there may be one more or less when it was stopped between making and counting one.
    pub strings: u64,
    /// Why nothing, or not all, could be labelled: the VM's objects are not laid out as any known build's are.
    pub problem: Option<String>,
}

/// The objects of a keyframe's heap. It belongs to the keyframe of the same VM before it in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Census {
    /// About the VM.
    pub findings: Findings,
    /// One for each chunk in use, in the keyframe's order, then one for each direct block.
    pub labels: Vec<Label>,
    /// The length of each string, in the order of the labels.
    pub strings: Vec<u64>,
    /// The fill of each table, in the order of the labels.
    pub tables: Vec<TableFill>,
    /// The source lines of each proto, in the order of the labels.
    pub protos: Vec<u64>,
}

/// The columns behind the findings: labels, string lengths, five of tables, protos.
const COLUMNS: usize = 8;

/// A number that may be missing.
fn optional(value: Option<u64>) -> u64 {
    value.map_or(0, |value| value.saturating_add(1))
}

impl Census {
    /// The payload. The frame's `count` is the number of labels.
    pub fn encode(&self) -> Vec<u8> {
        let mut columns: [Vec<u8>; COLUMNS] = Default::default();
        columns[0] = self.labels.iter().map(|label| label.to_byte()).collect();
        self.strings.iter().for_each(|length| put(&mut columns[1], *length));
        for table in &self.tables {
            put(&mut columns[2], table.inside << 1 | u64::from(table.apart));
            put(&mut columns[3], table.array);
            put(&mut columns[4], optional(table.array_used));
            put(&mut columns[5], table.hash);
            put(&mut columns[6], optional(table.hash_used));
        }
        self.protos.iter().for_each(|lines| put(&mut columns[7], *lines));
        let mut out = meta::encode(&self.findings);
        columns.iter().for_each(|column| pack(&mut out, column));
        out
    }

    /// Reads a payload. Whether it fits a keyframe is the reader's to check.
    pub fn decode(payload: &[u8]) -> Result<Census, BadPayload> {
        let mut cursor = Cursor::new(payload, "census");
        let findings = serde_json::from_slice(&unpack(&mut cursor)?).map_err(|e| BadPayload(e.to_string()))?;
        let labels: Vec<Label> = unpack(&mut cursor)?.iter().map(|byte| Label::from_byte(*byte)).collect();
        let strings = numbers(&unpack(&mut cursor)?)?;
        let parts = [(); 5].map(|()| unpack(&mut cursor).and_then(|bytes| numbers(&bytes)));
        let [heads, arrays, arrays_used, hashes, hashes_used] = parts;
        let (heads, arrays, arrays_used) = (heads?, arrays?, arrays_used?);
        let (hashes, hashes_used) = (hashes?, hashes_used?);
        let protos = numbers(&unpack(&mut cursor)?)?;
        cursor.end()?;
        let count = |kind| labels.iter().filter(|label| label.kind == kind).count();
        let counted = [
            (ObjectKind::String, strings.len()),
            (ObjectKind::Table, heads.len()),
            (ObjectKind::Table, arrays.len()),
            (ObjectKind::Table, arrays_used.len()),
            (ObjectKind::Table, hashes.len()),
            (ObjectKind::Table, hashes_used.len()),
            (ObjectKind::Proto, protos.len()),
        ];
        for (kind, numbers) in counted {
            let labels = count(kind);
            if labels != numbers {
                return Err(BadPayload(format!("census: {numbers} numbers for {labels} of kind {}", kind.name())));
            }
        }
        let tables = (0..heads.len()).map(|at| TableFill {
            inside: heads[at] >> 1,
            array: arrays[at],
            array_used: arrays_used[at].checked_sub(1),
            hash: hashes[at],
            hash_used: hashes_used[at].checked_sub(1),
            apart: heads[at] & 1 != 0,
        });
        Ok(Census { findings, tables: tables.collect(), labels, strings, protos })
    }
}

/// A column of varints.
fn numbers(bytes: &[u8]) -> Result<Vec<u64>, BadPayload> {
    let mut cursor = Cursor::new(bytes, "census");
    let mut numbers = Vec::new();
    while cursor.left() > 0 {
        numbers.push(cursor.get()?);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// A census with these labels, and numbers made of their places.
    fn census(bytes: &[u8]) -> Census {
        let labels: Vec<Label> = bytes.iter().map(|byte| Label::from_byte(*byte)).collect();
        let places = |kind| {
            let of_kind = move |(_, label): &(usize, &Label)| label.kind == kind;
            labels.iter().enumerate().filter(of_kind).map(|(at, _)| at as u64).collect::<Vec<_>>()
        };
        let fill = |at: u64| TableFill {
            inside: at % 17,
            array: at * 3,
            array_used: at.is_multiple_of(2).then_some(at),
            hash: at << 20,
            hash_used: at.is_multiple_of(3).then_some(at * 2),
            apart: at.is_multiple_of(5),
        };
        Census {
            findings: Findings { collector: "sweep".into(), strings: 3, problem: None },
            strings: places(ObjectKind::String),
            tables: places(ObjectKind::Table).into_iter().map(fill).collect(),
            protos: places(ObjectKind::Proto),
            labels,
        }
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(bytes in vec(any::<u8>(), 0..300)) {
            let census = census(&bytes);
            prop_assert_eq!(Census::decode(&census.encode()), Ok(census));
        }

        #[test]
        fn any_bytes_decode_or_fail(payload: Vec<u8>) {
            let _ = Census::decode(&payload);
        }
    }

    #[test]
    fn kinds_are_numbered_in_their_order() {
        for (number, kind) in ObjectKind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
        }
        assert_eq!(Label::from_byte(0xff), Label { kind: ObjectKind::Unknown, garbage: true });
    }

    #[test]
    fn numbers_that_do_not_fit_the_labels_are_refused() {
        let mut census = census(&[1, 2, 6]);
        census.strings.push(7);
        let refused = Census::decode(&census.encode());
        assert!(refused.is_err_and(|BadPayload(what)| what.contains("2 numbers for 1 of kind string")));
    }
}
