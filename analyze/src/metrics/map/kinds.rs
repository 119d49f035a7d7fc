//! What blocks are to the program, by a census: bytes of each kind of object.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};
use shared::trace::census::ObjectKind;

/// By what the bytes of a map are told apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// By what they are to the allocator: used or free, and where
    #[default]
    Allocator,
    /// Used ones also by the kind of object, at the last census until each moment
    Kind,
}

/// Bytes by kind of object. In JSON, kinds without a byte are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Kinds([u64; ObjectKind::ALL.len()]);

impl Kinds {
    /// The bytes of a kind.
    pub fn of(&self, kind: ObjectKind) -> u64 {
        self.0[kind as usize]
    }

    /// Adds bytes of a kind.
    pub fn count(&mut self, kind: ObjectKind, bytes: u64) {
        let sum = &mut self.0[kind as usize];
        *sum = sum.saturating_add(bytes);
    }

    /// Adds other bytes.
    pub(super) fn add(&mut self, other: &Kinds) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, bytes)| *sum = sum.saturating_add(bytes));
    }

    /// The kinds that have a byte, the largest first.
    pub fn largest(&self) -> Vec<(ObjectKind, u64)> {
        let mut kinds: Vec<(ObjectKind, u64)> = ObjectKind::ALL.into_iter().zip(self.0).collect();
        kinds.retain(|(_, bytes)| *bytes > 0);
        kinds.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
        kinds
    }

    /// Whether no byte is known to be of a kind.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|bytes| *bytes == 0)
    }
}

impl Serialize for Kinds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.largest().into_iter().map(|(kind, bytes)| (kind.name(), bytes)))
    }
}

impl JsonSchema for Kinds {
    fn schema_name() -> Cow<'static, str> {
        "Kinds".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BTreeMap::<String, u64>::json_schema(generator)
    }
}

/// Kinds that are shown as one, where there is no room for all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// What they are called together.
    pub name: &'static str,
    /// A letter for them.
    pub letter: char,
    /// The kinds.
    pub kinds: &'static [ObjectKind],
}

/// All kinds but the allocator's own, in groups.
pub const GROUPS: [Group; 7] = [
    Group { name: "string", letter: 's', kinds: &[ObjectKind::String] },
    Group {
        name: "table and its parts",
        letter: 't',
        kinds: &[ObjectKind::Table, ObjectKind::TableArray, ObjectKind::TableHash],
    },
    Group {
        name: "function, proto, upvalue",
        letter: 'f',
        kinds: &[ObjectKind::Function, ObjectKind::Proto, ObjectKind::Upvalue],
    },
    Group { name: "thread, stack", letter: 'c', kinds: &[ObjectKind::Thread, ObjectKind::Stack] },
    Group { name: "cdata, userdata", letter: 'd', kinds: &[ObjectKind::Cdata, ObjectKind::Userdata] },
    Group {
        name: "the VM's own",
        letter: 'm',
        kinds: &[ObjectKind::Trace, ObjectKind::StringTable, ObjectKind::VmState, ObjectKind::VmBuffer],
    },
    Group { name: "unknown", letter: '?', kinds: &[ObjectKind::Unknown] },
];

impl Group {
    /// The bytes of its kinds.
    pub fn of(&self, kinds: &Kinds) -> u64 {
        self.kinds.iter().map(|kind| kinds.of(*kind)).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_but_the_allocators_own_is_in_one_group() {
        let mut kinds: Vec<ObjectKind> = GROUPS.iter().flat_map(|group| group.kinds).copied().collect();
        kinds.push(ObjectKind::Allocator);
        kinds.sort_unstable();
        assert_eq!(kinds, ObjectKind::ALL);
        let letters: std::collections::BTreeSet<char> = GROUPS.iter().map(|group| group.letter).collect();
        assert_eq!(letters.len(), GROUPS.len());
    }
}
