//! All looks at a process, each slice's name kept once.

use std::collections::BTreeMap;

use shared::Nanos;
use shared::trace::breakdown::{Breakdown, Memory, Slice, SliceKind};
use shared::trace::meta::Vm;

use super::owners::{Owner, owner};

/// What a slice is of, without its bytes.
pub type Name = (SliceKind, String, u32);

/// The looks at a process, in order of time.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The slices there have been.
    pub names: Vec<Name>,
    /// The looks.
    pub looks: Vec<Look>,
    numbers: BTreeMap<Name, usize>,
}

/// A look at a process.
#[derive(Debug, Clone)]
pub struct Look {
    /// When it was begun.
    pub time: Nanos,
    /// The kernel's totals.
    pub total: Memory,
    /// What each slice had, by the place of its name.
    pub slices: Vec<(usize, Memory)>,
}

impl History {
    /// Adds a later look.
    pub fn push(&mut self, time: Nanos, breakdown: &Breakdown) {
        let slices = breakdown.slices.iter().map(|slice| (self.number(slice), slice.memory)).collect();
        self.looks.push(Look { time, total: breakdown.total, slices });
    }

    fn number(&mut self, slice: &Slice) -> usize {
        let name = (slice.kind, slice.name.clone(), slice.vm);
        *self.numbers.entry(name).or_insert_with_key(|name| {
            self.names.push(name.clone());
            self.names.len() - 1
        })
    }

    /// The owners there have been, and what each had at every look: as many rows as owners, as long as there are looks.
    pub fn by_owner(&self, vms: &BTreeMap<u32, Vm>) -> Vec<(Owner, Vec<Memory>)> {
        let slice = |(kind, name, vm): &Name| Slice { kind: *kind, name: name.clone(), vm: *vm, ..Slice::default() };
        let owners: Vec<Owner> = self.names.iter().map(|name| owner(&slice(name), vms)).collect();
        let mut rows: BTreeMap<&Owner, Vec<Memory>> = BTreeMap::new();
        for (at, look) in self.looks.iter().enumerate() {
            for (number, memory) in &look.slices {
                let row = rows.entry(&owners[*number]).or_insert_with(|| vec![Memory::default(); self.looks.len()]);
                row[at] += *memory;
            }
        }
        rows.into_iter().map(|(owner, row)| (owner.clone(), row)).collect()
    }
}

/// At most so many looks, evenly over time: of those that fall together the one with the most resident bytes.
pub fn thin(looks: &[Look], most: usize) -> Vec<usize> {
    let (Some(first), Some(last)) = (looks.first(), looks.last()) else { return Vec::new() };
    if looks.len() <= most.max(2) {
        return (0..looks.len()).collect();
    }
    let span = u128::from(last.time.saturating_sub(first.time)) + 1;
    let place = |look: &Look| u128::from(look.time.saturating_sub(first.time)) * most.max(2) as u128 / span;
    let mut kept: Vec<usize> = Vec::new();
    for (at, look) in looks.iter().enumerate() {
        match kept.last_mut().filter(|kept| place(&looks[**kept]) == place(look)) {
            Some(kept) if looks[*kept].total.resident >= look.total.resident => {}
            Some(kept) => *kept = at,
            None => kept.push(at),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breakdown(named: &[(&str, u64)]) -> Breakdown {
        let slice = |(name, resident): &(&str, u64)| Slice {
            kind: SliceKind::FileData,
            name: (*name).into(),
            vm: 0,
            memory: Memory { resident: *resident, ..Memory::default() },
        };
        let slices: Vec<Slice> = named.iter().map(slice).collect();
        Breakdown { total: slices.iter().map(|slice| slice.memory).sum(), slices, ..Breakdown::default() }
    }

    #[test]
    fn names_are_kept_once_and_missing_slices_are_nothing() {
        let mut history = History::default();
        history.push(1, &breakdown(&[("a", 1), ("b", 2)]));
        history.push(2, &breakdown(&[("b", 4)]));
        history.push(3, &breakdown(&[("c", 8), ("a", 1)]));
        assert_eq!(history.names.len(), 3);
        let rows = history.by_owner(&BTreeMap::new());
        let [(owner, row)] = &rows[..] else { panic!("one owner") };
        assert_eq!(owner.label, "File Data");
        assert_eq!(row.iter().map(|memory| memory.resident).collect::<Vec<_>>(), [3, 4, 9]);
    }

    #[test]
    fn peaks_survive_thinning() {
        let look = |time, resident| Look { time, total: Memory { resident, ..Memory::default() }, slices: Vec::new() };
        let looks: Vec<Look> = (0..1000).map(|time| look(time, if time == 777 { 9 } else { 5 })).collect();
        let kept = thin(&looks, 50);
        assert!(kept.len() <= 50 && kept.contains(&777) && kept.is_sorted());
        assert_eq!(thin(&looks[..50], 50).len(), 50);
        assert_eq!(thin(&[look(u64::MAX, 1), look(0, 1), look(5, 1)], 2).len(), 1);
        assert!(thin(&[], 50).is_empty());
    }
}
