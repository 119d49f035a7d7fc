//! The heaps of a fleet: what a VM of each service and build has on average, a bar each.

use std::collections::BTreeMap;
use std::io::Write;

use anyhow::Result;

use super::bars::{Bars, Line};
use super::sheet::Item;
use super::{document, palette};
use crate::metrics::partial::fleet::summary::{Sums, sums};
use crate::metrics::partial::fleet::{Fleet, Group, builds};
use crate::output::words;

/// More bars than these would not be read: of each service the newest builds.
const BUILDS: usize = 8;

/// What a bar is made of, and the metric of each part.
const PARTS: [(&str, &str); 3] = [("used", "used_bytes"), ("free", "free_bytes"), ("direct", "direct_bytes")];

/// Writes the picture; nothing if no build has a heap.
pub fn write(fleet: &Fleet, out: &mut dyn Write) -> Result<()> {
    let sums = sums(fleet, |group| Group { day: String::new(), ..group });
    let mut lines = Vec::new();
    let mut described = Vec::new();
    for (service, builds) in builds::in_order(fleet) {
        let bars = builds.iter().filter_map(|build| bar(service, build, &sums));
        let bars: Vec<(Line, String)> = bars.collect();
        if bars.is_empty() {
            continue;
        }
        let service = words::name(service, 60);
        lines.push(Line::Heading(service.clone()));
        for (line, said) in bars.into_iter().rev().take(BUILDS).rev() {
            lines.push(line);
            described.push(format!("{service}, {said}."));
        }
    }
    if lines.is_empty() {
        return Ok(());
    }
    let title = "Memory of a VM on average, by service and build";
    let names = PARTS.map(|(name, _)| (palette::of(name), name.to_owned()));
    let items = vec![Item::Title(title.to_owned()), Item::Names(names.into()), Item::Gap(6), Item::Bars(Bars(lines))];
    document(title, &described.join("\n"), &[items], out)
}

/// A build's bar, and what it says; nothing if it has no heap.
fn bar(service: &str, build: &str, sums: &BTreeMap<Group, Sums>) -> Option<(Line, String)> {
    let group = Group { service: service.to_owned(), build: build.to_owned(), day: String::new() };
    let sums = sums.get(&group)?;
    let mean = |metric| sums.ratio(metric, "heaps", 1).and_then(|mean| u64::try_from(mean).ok());
    let parts = PARTS.map(|(name, metric)| Some((name, mean(metric)?)));
    let parts: Vec<(&str, u64)> = parts.into_iter().collect::<Option<_>>()?;
    let all = parts.iter().fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes));
    let vms = u64::try_from(sums.sum("heaps")).unwrap_or_default();
    let (name, figures) = (words::name(build, 24), format!("{}, {}", words::bytes(all), words::count(vms, "VM")));
    let said: Vec<String> = parts.iter().map(|(name, sum)| format!("{name} {}", words::bytes(*sum))).collect();
    let said = format!("{name}: {figures}: {}", said.join(", "));
    let parts = parts.into_iter().map(|(name, bytes)| (palette::of(name), bytes)).collect();
    Some((Line::Bar { name, parts, outline: 0, figures }, said))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::partial::fleet::sample;

    fn svg(fleet: &Fleet) -> String {
        let mut bytes = Vec::new();
        write(fleet, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn each_build_has_its_bar_and_a_fleet_of_nothing_no_picture() {
        let svg = svg(&sample::fleet(&[("one <1>", &[2048, 4096]), ("two", &[1024])]));
        super::super::tests::assert_well_formed(&svg);
        assert!(svg.contains("shop, one &lt;1&gt;: 3.0 KiB, 2 VMs: used 3.0 KiB, free 0 B, direct 0 B."), "{svg}");
        assert!(svg.contains("shop, two: 1.0 KiB, 1 VM: "));
        assert_eq!(self::svg(&Fleet::default()), "");
    }
}
