//! Results that merge: rows of whole numbers that add up, in any order and however they are grouped. So any engine that
//! can group and sum can put the results of many traces together.

pub mod classes;
pub mod count;
pub mod fleet;
pub mod names;
pub mod places;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

/// No class: of a metric that has none.
pub const NO_CLASS: i64 = -1;

/// What stands for a service, a build or a day that nobody tells: they may name directories, so they are never empty.
pub const UNKNOWN: &str = "unknown";

/// Whose a figure is. What is not known is empty, or 0, or [`UNKNOWN`]; nothing is ever missing.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct Who {
    /// What was asked to be called so, or the program of the trace's first process.
    pub service: String,
    /// The day in UTC on which the recording was started, such as `2026-11-28`.
    pub day: String,
    /// What was asked to be called so, or the host's name.
    pub node: String,
    /// What was asked to be called so, or the build id of the process's executable; where it has none, that of the file
    /// that holds its `lj_alloc_f`.
    pub build: String,
    /// The process's program; of a trace's own rows, that of its first process.
    pub program: String,
    /// `master`, `worker` and so on, as nginx's titles or the places of processes in their tree say.
    pub role: String,
    /// Which generation of its parent's children the process is of, from 1.
    pub generation: i64,
    /// Which of that generation it is, from 1, in the order in which they were started.
    pub worker: i64,
    /// The process; 0 in a trace's own rows.
    pub pid: i64,
    /// The VM's number in the trace; 0 in the rows of a process or a trace.
    pub vm: i64,
    /// `http`, `stream`, or the program's name.
    pub label: String,
    /// The VM's version of LuaJIT.
    pub luajit: String,
    /// `snapshot`, `sample` or `full`.
    pub mode: String,
    /// The trace's name.
    pub trace: String,
    /// The same in all copies of a trace, and in no other.
    pub recording: String,
}

/// What a figure is: rows with the same key add up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// Whose it is.
    pub who: Arc<Who>,
    /// What is counted.
    pub metric: Cow<'static, str>,
    /// Of what: an owner of memory, a reason, a population; empty if the metric says it all.
    pub name: String,
    /// The lower end of the class that is counted; [`NO_CLASS`] of a metric without classes.
    pub bucket: i64,
}

/// A figure, and when it was true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Figure {
    /// The figure. Adds up.
    pub value: i64,
    /// When the earliest trace was started, in nanoseconds since 1970; 0 if one does not tell. The least counts.
    pub first_ns: i64,
    /// When the latest one ended. The most counts.
    pub last_ns: i64,
}

/// Rows that merge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Partial(pub BTreeMap<Key, Figure>);

impl Figure {
    /// Both together. Sums wrap, as other engines' do, so that their order never matters; [`count::MOST`] keeps true ones
    /// far from that.
    fn and(self, other: Figure) -> Figure {
        Figure {
            value: self.value.wrapping_add(other.value),
            first_ns: self.first_ns.min(other.first_ns),
            last_ns: self.last_ns.max(other.last_ns),
        }
    }
}

impl Partial {
    /// Adds a row.
    pub fn add(&mut self, key: Key, figure: Figure) {
        self.0.entry(key).and_modify(|known| *known = known.and(figure)).or_insert(figure);
    }

    /// The rows with less said of whose they are: those that become alike add up.
    pub fn by(&self, whose: impl Fn(&Who) -> Who) -> Partial {
        self.0.iter().map(|(key, figure)| (Key { who: Arc::new(whose(&key.who)), ..key.clone() }, *figure)).collect()
    }

    /// A metric's sum over everything.
    pub fn sum(&self, metric: &str) -> i64 {
        let ours = self.0.iter().filter(|(key, _)| key.metric == metric);
        ours.fold(0, |sum, (_, figure)| sum.wrapping_add(figure.value))
    }
}

impl Extend<(Key, Figure)> for Partial {
    fn extend<T: IntoIterator<Item = (Key, Figure)>>(&mut self, rows: T) {
        rows.into_iter().for_each(|(key, figure)| self.add(key, figure));
    }
}

impl FromIterator<(Key, Figure)> for Partial {
    fn from_iter<T: IntoIterator<Item = (Key, Figure)>>(rows: T) -> Self {
        let mut partial = Partial::default();
        partial.extend(rows);
        partial
    }
}

/// Puts partial results together: groups of rows with the same key are summed. Associative and commutative; nothing
/// changes nothing.
pub fn merge(partials: impl IntoIterator<Item = Partial>) -> Partial {
    let mut all = Partial::default();
    partials.into_iter().for_each(|partial| all.extend(partial.0));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row() -> impl Strategy<Value = (Key, Figure)> {
        let who = (0..3i64, 0..2i64, "[ab]").prop_map(|(pid, vm, node)| Who { pid, vm, node, ..Who::default() });
        let key = (who, "[mn]", "[xy]?", -1..2i64).prop_map(|(who, metric, name, bucket)| Key {
            who: Arc::new(who),
            metric: metric.into(),
            name,
            bucket,
        });
        let value = prop_oneof![any::<i64>(), -5..5i64];
        let figure = (value, any::<i64>(), any::<i64>());
        (key, figure.prop_map(|(value, first_ns, last_ns)| Figure { value, first_ns, last_ns }))
    }

    fn partial() -> impl Strategy<Value = Partial> {
        prop::collection::vec(row(), 0..20).prop_map(|rows| rows.into_iter().collect())
    }

    proptest! {
        #[test]
        fn merging_is_associative_and_commutative_and_nothing_changes_nothing(
            a in partial(), b in partial(), c in partial()
        ) {
            let two = |a: &Partial, b: &Partial| merge([a.clone(), b.clone()]);
            prop_assert_eq!(two(&two(&a, &b), &c), two(&a, &two(&b, &c)));
            prop_assert_eq!(two(&a, &b), two(&b, &a));
            prop_assert_eq!(two(&a, &Partial::default()), a.clone());
            prop_assert_eq!(merge([]), Partial::default());
        }

        #[test]
        fn saying_less_before_merging_or_after_is_the_same(a in partial(), b in partial()) {
            let less = |who: &Who| Who { node: String::new(), ..who.clone() };
            let after = merge([a.clone(), b.clone()]).by(less);
            prop_assert_eq!(merge([a.by(less), b.by(less)]), after.clone());
            prop_assert_eq!(after.sum("m"), a.sum("m").wrapping_add(b.sum("m")));
        }

        /// The naive twin: what a table's rows are grouped and summed to.
        #[test]
        fn merging_sums_each_group(rows in prop::collection::vec(row(), 0..40)) {
            let merged: Partial = rows.iter().cloned().collect();
            for (key, figure) in &merged.0 {
                let ours: Vec<&Figure> = rows.iter().filter(|(other, _)| other == key).map(|(_, one)| one).collect();
                prop_assert_eq!(figure.value, ours.iter().fold(0i64, |sum, one| sum.wrapping_add(one.value)));
                prop_assert_eq!(Some(figure.first_ns), ours.iter().map(|one| one.first_ns).min());
                prop_assert_eq!(Some(figure.last_ns), ours.iter().map(|one| one.last_ns).max());
            }
            prop_assert!(rows.iter().all(|(key, _)| merged.0.contains_key(key)));
        }
    }
}
