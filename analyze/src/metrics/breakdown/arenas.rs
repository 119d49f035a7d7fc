//! glibc's chunks by size, over all arenas.

use shared::trace::breakdown::{Arena, Class, Glibc};

use crate::metrics::population::{Population, Tally};

/// The used and the free chunks, those that threads keep among the free. The trace has size classes only, so the smallest
/// and the largest size are not known: they are 0.
pub fn populations(glibc: &Glibc) -> [(&'static str, Population); 2] {
    let of = |classes: fn(&Arena) -> &Vec<Class>| {
        let mut population = Population::default();
        for Class { from, count, bytes } in glibc.arenas.iter().flat_map(classes) {
            for tally in [&mut population.all, population.buckets.entry(*from).or_default()] {
                add(tally, *count, *bytes);
            }
        }
        population
    };
    [("glibc used", of(|arena| &arena.used_classes)), ("glibc free", of(|arena| &arena.free_classes))]
}

fn add(tally: &mut Tally, count: u64, bytes: u64) {
    tally.count = tally.count.saturating_add(count);
    tally.bytes = tally.bytes.saturating_add(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_of_all_arenas_are_summed() {
        let class = |from, count| Class { from, count, bytes: from * count };
        let arena = |used_classes, free_classes| Arena { used_classes, free_classes, ..Arena::default() };
        let arenas =
            vec![arena(vec![class(32, 2), class(64, 1)], vec![class(128, 1)]), arena(vec![class(64, 3)], vec![])];
        let [(_, used), (_, free)] = populations(&Glibc { arenas, ..Glibc::default() });
        assert_eq!((used.all.count, used.all.bytes), (6, 64 + 4 * 64));
        assert_eq!(used.buckets[&64], Tally { count: 4, bytes: 256 });
        assert_eq!((free.all.count, free.buckets.len()), (1, 1));
    }
}
