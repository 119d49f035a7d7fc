//! Where a heap's protos and functions were written, label by label, by the code that was collected with them.

use shared::Addr;
use shared::trace::census::ObjectKind;
use shared::trace::names::{Names, ProtoPlace};

use super::Walk;
use super::blocks::Block;
use super::code::Code;
use super::layout::{Head, LUA_FUNCTION};
use crate::target::Memory;

/// Which bytecode protos have and functions run, in the order of their labels.
#[derive(Debug, Default)]
pub(super) struct Uses {
    protos: Vec<Addr>,
    /// 0 of one in C.
    functions: Vec<Addr>,
}

impl Uses {
    /// Takes a proto or function up; all labels are known.
    pub(super) fn take<L: Memory>(&mut self, walk: &Walk<'_, L>, block: &Block<'_>) {
        let (layout, head) = (walk.layout, Head(block.bytes));
        match walk.blocks.label(block).kind {
            ObjectKind::Proto => self.protos.push(block.start + layout.proto_code[4] as u64),
            ObjectKind::Function => {
                let is_lua = head.byte(layout.reference + 2) == LUA_FUNCTION;
                self.functions.push(if is_lua { head.reference(layout, layout.function_pc) } else { 0 });
            }
            _ => {}
        }
    }

    /// The names of those that the code knows.
    pub(super) fn names(self, code: &Code) -> Names {
        let place = |bytecode: &Addr| {
            let (chunk, first_line) = code.starts_at(*bytecode)?;
            Some(ProtoPlace { chunk: u64::from(chunk), first_line: u64::from(first_line) })
        };
        let mut numbers: Vec<(Addr, u64)> = self.protos.iter().copied().zip(0..).collect();
        numbers.sort_unstable();
        let number = |bytecode: Addr| {
            let at = numbers.binary_search_by_key(&bytecode, |(start, _)| *start).ok()?;
            Some(numbers[at].1)
        };
        Names {
            chunks: code.chunks().to_vec(),
            protos: self.protos.iter().map(place).collect(),
            functions: self.functions.into_iter().map(number).collect(),
        }
    }
}
