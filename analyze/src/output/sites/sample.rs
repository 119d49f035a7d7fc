//! A made-up report for the tests of outputs: a VM of nginx, with Lua handlers, a C module and compiled code.

use std::collections::BTreeSet;

use shared::trace::meta::Probe;
use shared::trace::stacks::{Frame, Module, Place};

use crate::metrics::sites::{By, Sampled, SitesReport, VmSites};
use crate::output::sample;
use crate::replay::period::Period;
use crate::symbols::Symbols;

/// One VM, none of whose files is there: only the door has a name.
pub(crate) fn report() -> SitesReport {
    let report = sample::report();
    let mut vm = report.vms[0].vm.clone();
    vm.module = "/nowhere/libluajit.so".to_owned();
    vm.probe = Some(Probe { addr: 0x100, ..Probe::default() });
    let module = |name: &str| Module { name: name.to_owned(), build_id: "00".to_owned() };
    vm.module_build_id = "00".to_owned();
    let lines = (1..30).map(|line| Place { chunk: "@/app/handler.lua".to_owned(), first_line: 1, line: line * 7 });
    let code = |module, addr| Frame::Code { module, addr };
    let stack = |at: u32| {
        let outer =
            if at.is_multiple_of(4) { vec![Frame::Jit, Frame::Lua(at)] } else { vec![code(1, 0x900), Frame::Cut] };
        [vec![code(0, 0x100), code(0, 0x200), code(0, 0x300 + u64::from(at % 3))], outer].concat()
    };
    let sampled = Sampled {
        every: BTreeSet::from([1000]),
        lost: 3,
        stacks: (0..29).map(stack).collect(),
        modules: vec![module("/nowhere/libluajit.so"), module("/nowhere/nginx")],
        lines: lines.collect(),
        calls: 600_000,
        covered: 590_000,
        bytes: 80_000_000,
        ..Sampled::default()
    };
    let sample = |at: u64| crate::metrics::sites::Sample {
        which: (0, at * 1000),
        stack: (at * at % 29) as usize,
        bytes: 24 + at % 13 * 16,
    };
    let sampled = Sampled { turns: vec![(0..590).map(sample).collect()], ..sampled };
    let mut symbols = Symbols::default();
    let period = Period { from: 0, to: 10_000_000_000 };
    let mut sites = VmSites::of((1, vm), period, &sampled, (By::Bytes, Default::default()), &[], &mut symbols);
    // As it would be with symbols.
    sites.callers[0].operation = "string interning".to_owned();
    sites.callers[0].site = "@/app/handler.lua:33 (function from line 20)".to_owned();
    SitesReport {
        source: report.source,
        header: report.header,
        processes: report.processes,
        verdict: report.verdict,
        by: By::Bytes,
        vms: vec![sites],
        without: Vec::new(),
        modules: symbols.facts().cloned().collect(),
    }
}
