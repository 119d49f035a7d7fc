//! Several processes as one: a master and its workers, by generation.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use shared::trace::breakdown::Memory;
use shared::trace::meta::{Header, Process};

use super::{ProcessMemory, Share};
use crate::shapes;

/// Clock ticks a second in `/proc/PID/stat`: `USER_HZ`, which is 100 on x86-64 whatever the kernel's own (proc(5)).
const TICKS: u64 = 100;

/// nginx starts all processes of a generation in a row. Those that start further apart than this, in clock ticks, are
/// of different ones.
const APART: u64 = TICKS;

/// Processes of one tree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Instance {
    /// The process that the others descend from.
    pub root: u32,
    /// Its program.
    pub program: String,
    /// The root, then its descendants by generation and id.
    pub members: Vec<Member>,
    /// All of them together: `pss` counts a page that they share once, `resident` once for each that has it.
    #[schemars(with = "shapes::Memory")]
    pub memory: Memory,
    /// How far their looks lie apart, in nanoseconds.
    pub apart_ns: u64,
}

/// A process of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Member {
    /// Its id.
    pub pid: u32,
    /// `master`, `worker`, ... as its title says; empty if it says nothing.
    pub role: String,
    /// Its generation, from 1; 0 for the root.
    pub generation: u64,
    /// When it was started, in milliseconds from the start of the recording; negative before.
    pub started_ms: i64,
    /// What the slices of its look sum to.
    #[schemars(with = "shapes::Memory")]
    pub memory: Memory,
    /// Its owners.
    #[serde(skip)]
    pub shares: Vec<Share>,
}

impl Instance {
    /// The number of generations that are still there.
    pub fn generations(&self) -> u64 {
        self.members.iter().map(|member| member.generation).max().unwrap_or(0)
    }

    /// The members of a generation.
    pub fn of(&self, generation: u64) -> impl Iterator<Item = &Member> + Clone {
        self.members.iter().filter(move |member| member.generation == generation)
    }
}

/// The trees among the processes that are there at the moment; one alone is none.
pub fn instances(processes: &[ProcessMemory], header: &Header) -> Vec<Instance> {
    let there: Vec<&ProcessMemory> = processes.iter().filter(|process| process.ended.is_none()).collect();
    let parent_of: BTreeMap<u32, u32> =
        there.iter().map(|one| (one.pid(), one.process.as_ref().map_or(0, |process| process.parent))).collect();
    let mut trees: BTreeMap<u32, Vec<&ProcessMemory>> = BTreeMap::new();
    for one in &there {
        trees.entry(root(one.pid(), &parent_of)).or_default().push(one);
    }
    let trees = trees.into_iter().filter(|(_, members)| members.len() > 1);
    trees.map(|(root, members)| instance(root, members, header)).collect()
}

/// The ancestor furthest up that is there itself.
fn root(pid: u32, parent_of: &BTreeMap<u32, u32>) -> u32 {
    let mut at = pid;
    // A trace may claim a circle.
    for _ in 0..parent_of.len() {
        match parent_of.get(&at) {
            Some(parent) if parent_of.contains_key(parent) => at = *parent,
            _ => break,
        }
    }
    at
}

fn instance(root: u32, mut members: Vec<&ProcessMemory>, header: &Header) -> Instance {
    members.sort_by_key(|one| (one.pid() != root, one.breakdown.started_ticks, one.pid()));
    let descendants = members.iter().map(|one| one.breakdown.started_ticks).skip(1);
    let generations = [0].into_iter().chain(generations(descendants));
    let mut rows = Vec::new();
    for (one, generation) in members.iter().zip(generations) {
        let started = one.breakdown.started_ticks;
        rows.push(Member {
            pid: one.pid(),
            role: one.process.as_ref().and_then(role).unwrap_or_default().to_owned(),
            generation,
            started_ms: started_ms(started, header),
            memory: one.breakdown.slices.iter().map(|slice| slice.memory).sum(),
            shares: one.shares.clone(),
        });
    }
    rows.sort_by_key(|member| (member.generation, member.pid));
    let times = members.iter().map(|one| one.time);
    let program = members.first().and_then(|one| one.process.as_ref()).map(|process| process.program.clone());
    Instance {
        root,
        program: program.unwrap_or_default(),
        memory: rows.iter().map(|member| member.memory).sum(),
        members: rows,
        apart_ns: times.clone().max().unwrap_or(0).saturating_sub(times.min().unwrap_or(0)),
    }
}

/// The generation of each of some processes, from 1, by when they were started, in clock ticks, earliest first.
pub fn generations(started: impl IntoIterator<Item = u64>) -> impl Iterator<Item = u64> {
    started.into_iter().scan((0, None), |(generation, last), started: u64| {
        let apart = last.is_none_or(|last| started.saturating_sub(last) > APART);
        *generation += u64::from(apart);
        *last = Some(started);
        Some(*generation)
    })
}

/// Milliseconds from the start of the recording. Ticks count from boot as the recorder's clock does, but for time the
/// machine has slept.
fn started_ms(ticks: u64, header: &Header) -> i64 {
    let started = i128::from(ticks) * i128::from(1000 / TICKS);
    let start = i128::from(header.clock_start_ns / 1_000_000);
    i64::try_from(started - start).unwrap_or(i64::MAX)
}

/// What nginx calls a process in its title: `master`, `worker`, `worker, shutting down`, `cache manager` ...
pub fn role(process: &Process) -> Option<&'static str> {
    // nginx writes its title over its arguments, so it may be one word or several.
    let title = process.command.join(" ");
    let title = title.strip_prefix("nginx: ")?;
    let known = [
        ("worker process is shutting down", "worker, shutting down"),
        ("worker process", "worker"),
        ("master process", "master"),
        ("cache manager process", "cache manager"),
        ("cache loader process", "cache loader"),
        ("privileged agent process", "privileged agent"),
    ];
    known.into_iter().find(|(words, _)| title.starts_with(words)).map(|(_, role)| role)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::breakdown::History;
    use shared::trace::breakdown::{Breakdown, Slice};

    fn process(pid: u32, parent: u32, started_ticks: u64, title: &str, pss: u64) -> ProcessMemory {
        let memory = Memory { pss, resident: 3 * pss, ..Memory::default() };
        ProcessMemory {
            process: Some(Process {
                pid,
                parent,
                started_ticks,
                program: "nginx".into(),
                command: vec![format!("nginx: {title}")],
                ..Process::default()
            }),
            ended: None,
            time: u64::from(pid),
            took_ns: 0,
            looks: 1,
            breakdown: Breakdown {
                pid,
                started_ticks,
                slices: vec![Slice { memory, ..Slice::default() }],
                ..Breakdown::default()
            },
            vms: Vec::new(),
            shares: Vec::new(),
            history: History::default(),
        }
    }

    #[test]
    fn generations_are_told_by_their_start() {
        let mut processes = vec![
            process(12, 10, 5050, "worker process", 7),
            process(10, 1, 100, "master process nginx -c x", 1),
            process(9, 10, 110, "worker process is shutting down", 3),
            process(11, 10, 5000, "worker process", 5),
            process(20, 1, 100, "master process", 100),
        ];
        let header = Header { clock_start_ns: 60_000_000_000, ..Header::default() };
        let [instance] = &instances(&processes, &header)[..] else { panic!("one instance") };
        let rows: Vec<(u32, &str, u64)> =
            instance.members.iter().map(|member| (member.pid, member.role.as_str(), member.generation)).collect();
        let expected = [(10, "master", 0), (9, "worker, shutting down", 1), (11, "worker", 2), (12, "worker", 2)];
        assert_eq!(rows, expected);
        assert_eq!((instance.memory.pss, instance.memory.resident, instance.apart_ns), (16, 48, 3));
        assert_eq!((instance.members[1].started_ms, instance.generations()), (1100 - 60_000, 2));
        processes[2].ended = Some(1);
        assert_eq!(instances(&processes, &header)[0].generations(), 1);
    }

    #[test]
    fn a_circle_of_parents_ends() {
        let processes = [process(1, 2, 0, "worker process", 1), process(2, 1, 0, "worker process", 1)];
        let count: usize = instances(&processes, &Header::default()).iter().map(|tree| tree.members.len()).sum();
        assert!(count == 0 || count == 2, "{count}");
    }
}
