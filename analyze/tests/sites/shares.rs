//! What is said of made recordings is true.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use analyze::cli::{Input, Of, Period};
use analyze::commands::sites::{Question, folders, report};
use analyze::metrics::sites::{By, Share, SitesReport};
use analyze::replay::Plan;
use analyze::report::Asked;
use analyze::source::Source;
use analyze::symbols::{How, Symbols};

use crate::made::{Made, Truth, made, symbols};

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../testdata/traces/sites.ljt")
}

/// `BLESS=1 cargo test --release --workspace --test sites` writes it, and its symbols, anew.
#[test]
fn the_fixture_is_what_is_made() {
    let made = made(20_000, 25, 1);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(fixture(), &made.bytes).expect("room");
        let mut beside = fixture().into_os_string();
        beside.push(".symbols");
        symbols(Path::new(&beside));
    }
    assert!(std::fs::read(fixture()).is_ok_and(|bytes| bytes == made.bytes), "{} differs", fixture().display());
}

fn asked(path: &Path, by: By, period: &Period) -> SitesReport {
    let source = Source::of(&Input { traces: vec![path.to_owned()] }).expect("a source");
    let trace = source.open().expect("a trace");
    let plan = Plan::new(&trace).expect("a plan");
    let question = Question { by, of: &Of::default(), period };
    let mut symbols = Symbols::new(folders(&[], &source));
    report("made", &trace, &plan, &question, &mut symbols).expect("a report")
}

/// What is said of a recording in a folder of its own, with symbols beside it.
fn said(made: &Made, by: By, period: &Period) -> SitesReport {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("made.ljt");
    std::fs::write(&path, &made.bytes).expect("room");
    symbols(&folder.path().join("made.ljt.symbols"));
    asked(&path, by, period)
}

/// The truth's part of an operation at a site.
fn true_share(truth: &Truth, at: (&str, &str), weight: usize) -> f64 {
    let sum: u64 = truth.values().map(|weights| weights[weight]).sum();
    let own = truth.iter().find(|(of, _)| **of == at).map_or(0, |(_, weights)| weights[weight]);
    own as f64 / sum as f64
}

#[test]
fn shares_are_those_of_the_program() {
    let (mut right, mut all) = (0, 0);
    for seed in 1..=25 {
        let made = made(8_000, 20, seed);
        for (weight, by) in [By::Calls, By::Bytes, By::Live].into_iter().enumerate() {
            let report = said(&made, by, &Period::default());
            let [vm] = &report.vms[..] else { panic!("{:?}", report.vms) };
            let sum: u64 = made.truth.values().map(|weights| weights[weight]).sum();
            assert_eq!((vm.basis.total, vm.basis.calls, vm.basis.covered), (sum, 8000, 8000), "{by:?}");
            assert_eq!(vm.basis.samples, 400);
            for caller in &vm.callers {
                let truth = true_share(&made.truth, (&caller.operation, &caller.site), weight);
                assert!(truth > 0.0, "{} at {} is none of {:?}", caller.operation, caller.site, made.truth);
                let Share { share, low, high, .. } = caller.share;
                assert!(low <= share && share <= high && high - low < 0.6, "{:?}", caller.share);
                right += u32::from((low..=high).contains(&truth));
                all += 1;
            }
            // All but what is hardly ever seen.
            let large = made.truth.values().filter(|weights| weights[weight] * 50 > sum).count();
            assert!(vm.callers.len() >= large, "{by:?}");
        }
    }
    assert!(f64::from(right) >= 0.93 * f64::from(all), "{right} of {all}");
}

#[test]
fn a_period_restricts_samples_and_sums_alike() {
    let made = made(8_000, 20, 3);
    let (from, to) = (20_000_000, 55_000_000);
    let period = Period { from: Some(Asked::At(from)), to: Some(Asked::At(to)) };
    let inside: Vec<u64> =
        made.calls.iter().filter(|(call, _)| (from..=to).contains(&call.time)).map(|(_, asked)| *asked).collect();
    let report = said(&made, By::Bytes, &period);
    let basis = &report.vms[0].basis;
    assert_eq!(
        (basis.calls, basis.bytes, basis.total),
        (inside.len() as u64, inside.iter().sum(), inside.iter().sum())
    );
    assert!(basis.samples.abs_diff(inside.len() as u64 / 20) < 5 && basis.covered == basis.calls, "{basis:?}");
    // What was made before does not count as being in use, nor what happens later as freeing.
    let live = |period: &Period| said(&made, By::Live, period).vms[0].basis.total;
    assert!(live(&period) < live(&Period { from: None, ..period }));
}

#[test]
fn without_symbols_places_are_offsets_and_lua_is_still_told() {
    let made = made(4_000, 10, 5);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("made.ljt");
    std::fs::write(&path, &made.bytes).expect("room");
    let report = asked(&path, By::Bytes, &Period::default());
    assert!(report.modules.iter().all(|module| module.how == How::None), "{:?}", report.modules);
    let vm = &report.vms[0];
    let is_stripped = |name: &str| name.starts_with("libluajit-5.1.so.2 (stripped)+0x15");
    assert!(vm.operations.iter().all(|row| is_stripped(&row.name)), "{:?}", vm.operations);
    let sites: BTreeMap<&str, u64> = vm.sites.iter().map(|row| (row.name.as_str(), row.share.samples)).collect();
    assert!(sites.contains_key("@/app/handler.lua:33 (function from line 20)"), "{sites:?}");
    assert!(sites.keys().any(|name| name.starts_with("nginx+0x410200, from @/app/handler.lua:21")), "{sites:?}");
    // The door is known without a name.
    assert!(vm.stacks.iter().all(|stack| vm.frames[stack.frames[0]].name == "lj_alloc_f"));
}
