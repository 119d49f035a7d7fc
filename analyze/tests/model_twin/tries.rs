//! The bitwise tries of large free chunks, as the original has them.

use shared::Addr;
use std::collections::HashMap;

#[derive(Clone, Copy)]
pub(crate) struct Node {
    size: u64,
    children: [Option<Addr>; 2],
    /// Whether it stands in the trie itself, or only in the ring of one that does.
    in_trie: bool,
    fd: Addr,
    bk: Addr,
}

#[derive(Default)]
pub(crate) struct Tries {
    roots: [Option<Addr>; 32],
    nodes: HashMap<Addr, Node>,
}

impl Tries {
    fn bin(size: u64) -> usize {
        match size >> 8 {
            0 => 0,
            0x10000.. => 31,
            x => (2 * x.ilog2() + (size >> (x.ilog2() + 7) & 1) as u32) as usize,
        }
    }

    /// The size's bits in the order a bin's trie branches on them, first one on top.
    fn path(size: u64) -> u64 {
        match Self::bin(size) {
            31 => size,
            bin => size << (57 - bin / 2),
        }
    }

    pub(crate) fn insert(&mut self, addr: Addr, size: u64) {
        let mut node = Node { size, children: [None; 2], in_trie: true, fd: addr, bk: addr };
        let (mut path, mut at) = (Self::path(size), self.roots[Self::bin(size)]);
        if at.is_none() {
            self.roots[Self::bin(size)] = Some(addr);
        }
        while let Some(t) = at {
            if self.nodes[&t].size == size {
                let fd = self.nodes[&t].fd;
                (node.in_trie, node.fd, node.bk) = (false, fd, t);
                self.node(t).fd = addr;
                self.node(fd).bk = addr;
                break;
            }
            let child = &mut self.node(t).children[(path >> 63) as usize];
            path <<= 1;
            at = *child;
            child.get_or_insert(addr);
        }
        self.nodes.insert(addr, node);
    }

    pub(crate) fn remove(&mut self, addr: Addr) {
        let parent = self.parent(addr);
        let mut node = self.nodes.remove(&addr).unwrap();
        let mut heir = None;
        if node.bk != addr {
            heir = Some(node.bk);
            self.node(node.fd).bk = node.bk;
            self.node(node.bk).fd = node.fd;
        } else if let Some(mut leaf) = node.children[1].or(node.children[0]) {
            let mut above = None;
            while let Some(lower) = self.nodes[&leaf].children[1].or(self.nodes[&leaf].children[0]) {
                above = Some(leaf);
                leaf = lower;
            }
            let above = above.map_or(&mut node, |above| self.node(above));
            above.children.iter_mut().filter(|c| **c == Some(leaf)).for_each(|c| *c = None);
            heir = Some(leaf);
        }
        if node.in_trie {
            self.adopt(addr, parent, node, heir);
        }
    }

    /// Puts `heir` where the removed `node` stood in the trie.
    fn adopt(&mut self, addr: Addr, parent: Option<Addr>, node: Node, heir: Option<Addr>) {
        match parent {
            Some(parent) => self.node(parent).children.iter_mut().filter(|c| **c == Some(addr)).for_each(|c| *c = heir),
            None => self.roots[Self::bin(node.size)] = heir,
        }
        if let Some(heir) = heir {
            self.node(heir).children = node.children;
            self.node(heir).in_trie = true;
        }
    }

    fn parent(&self, addr: Addr) -> Option<Addr> {
        self.nodes.iter().find(|(_, n)| n.children.contains(&Some(addr))).map(|(&parent, _)| parent)
    }

    /// Best fit for a large request, the way the original searches.
    pub(crate) fn best_fit(&self, nb: u64) -> Option<Addr> {
        let (mut best, mut path) = (None::<(u64, Addr)>, Self::path(nb));
        let mut at = self.roots[Self::bin(nb)];
        let mut untaken = None;
        while let Some(t) = at {
            let node = self.nodes[&t];
            if node.size >= nb && best.is_none_or(|(size, _)| node.size < size) {
                best = Some((node.size, t));
                if node.size == nb {
                    return Some(t);
                }
            }
            at = node.children[(path >> 63) as usize];
            path <<= 1;
            if node.children[1].is_some() && node.children[1] != at {
                untaken = node.children[1];
            }
        }
        at = untaken;
        if at.is_none() && best.is_none() {
            at = self.roots[Self::bin(nb) + 1..].iter().flatten().next().copied();
        }
        self.leftmost(at, best)
    }

    /// The smallest chunk.
    pub(crate) fn smallest(&self) -> Option<Addr> {
        self.leftmost(self.roots.iter().flatten().next().copied(), None)
    }

    fn leftmost(&self, mut at: Option<Addr>, mut best: Option<(u64, Addr)>) -> Option<Addr> {
        while let Some(t) = at {
            let node = self.nodes[&t];
            if best.is_none_or(|(size, _)| node.size < size) {
                best = Some((node.size, t));
            }
            at = node.children[0].or(node.children[1]);
        }
        best.map(|(_, t)| t)
    }

    pub(crate) fn in_order(&self) -> Vec<Addr> {
        let mut heads: Vec<_> = self.nodes.iter().filter(|(_, n)| n.in_trie).map(|(&a, n)| (n.size, a)).collect();
        heads.sort();
        let next = |a: &Addr| Some(self.nodes[a].fd);
        heads
            .iter()
            .flat_map(|&(_, h)| {
                std::iter::once(h).chain(std::iter::successors(next(&h), next).take_while(move |&a| a != h))
            })
            .collect()
    }

    fn node(&mut self, addr: Addr) -> &mut Node {
        self.nodes.get_mut(&addr).unwrap()
    }
}
