//! Where processes stand in their tree: a master, the workers of a generation.

use std::collections::BTreeMap;

use shared::trace::meta::Process;

use crate::metrics::breakdown::instance::{generations, role};

/// Where a process stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    /// What nginx's title says; without one `master` of a process that has children in the trace, `worker` of such a child.
    pub role: &'static str,
    /// Which generation of its parent's children it is of, from 1; 0 if its parent is not in the trace.
    pub generation: u64,
    /// Which of that generation, from 1.
    pub worker: u64,
}

/// The places of a trace's processes.
pub fn places(processes: &[Process]) -> Vec<Place> {
    let is_there = |pid: u32| pid != 0 && processes.iter().any(|process| process.pid == pid);
    let mut places = vec![Place::default(); processes.len()];
    let mut children: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (at, process) in processes.iter().enumerate() {
        if is_there(process.parent) && process.parent != process.pid {
            children.entry(process.parent).or_default().push(at);
        }
    }
    for siblings in children.values_mut() {
        siblings.sort_by_key(|at| (processes[*at].started_ticks, processes[*at].pid));
        let (mut generation, mut worker) = (0, 0);
        for (at, of) in siblings.iter().zip(generations(siblings.iter().map(|at| processes[*at].started_ticks))) {
            worker = if of == generation { worker + 1 } else { 1 };
            generation = of;
            places[*at] = Place { role: "worker", generation, worker };
        }
    }
    for (process, place) in processes.iter().zip(&mut places) {
        let parent = if children.contains_key(&process.pid) { "master" } else { place.role };
        place.role = role(process).unwrap_or(parent);
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, parent: u32, started_ticks: u64, title: &str) -> Process {
        Process { pid, parent, started_ticks, command: vec![title.to_owned()], ..Process::default() }
    }

    #[test]
    fn workers_are_told_by_generation_and_start() {
        let processes = [
            process(13, 10, 5051, "nginx: worker process"),
            process(10, 1, 100, "nginx: master process"),
            process(9, 10, 110, "nginx: worker process is shutting down"),
            process(12, 10, 5050, ""),
        ];
        let places: Vec<_> = places(&processes).into_iter().map(|at| (at.role, at.generation, at.worker)).collect();
        assert_eq!(places, [("worker", 2, 2), ("master", 0, 0), ("worker, shutting down", 1, 1), ("worker", 2, 1)]);
    }

    #[test]
    fn one_alone_has_no_place_and_a_circle_ends() {
        assert_eq!(places(&[process(7, 3, 0, "luajit")]), [Place::default()]);
        assert_eq!(places(&[process(7, 7, 0, "luajit")]), [Place::default()]);
        let circle = places(&[process(1, 2, 0, ""), process(2, 1, 0, "")]);
        assert!(circle.iter().all(|place| place.role == "master" && place.generation == 1), "{circle:?}");
        // Without a title the tree tells.
        let tree = places(&[process(1, 0, 0, ""), process(2, 1, 0, "")]);
        assert_eq!((tree[0].role, tree[1].role), ("master", "worker"));
    }
}
