//! How outputs say who allocates.

use crate::metrics::sites::{Basis, By, Caller, Share, VmSites};
use crate::output::words;
use crate::symbols::{How, ModuleFacts};

/// The word for what calls weigh, as in rows and JSON.
pub fn by(by: By) -> &'static str {
    match by {
        By::Bytes => "bytes",
        By::Calls => "calls",
        By::Live => "live",
    }
}

/// What shares are of: `of the bytes asked for`.
pub fn of(by: By) -> &'static str {
    match by {
        By::Bytes => "of the bytes asked for",
        By::Calls => "of the calls",
        By::Live => "of the bytes still in use",
    }
}

/// An amount in the unit of what is weighed: `1.2 MiB`, `1,234`.
pub fn amount(by: By, amount: f64) -> String {
    let amount = amount.round() as u64;
    if by == By::Calls { words::thousands(amount) } else { words::bytes(amount) }
}

/// `47.1 %`
pub fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// Both ends of an interval: `44.0 - 50.2 %`.
pub fn interval(share: &Share) -> String {
    format!("{:.1} - {}", share.low * 100.0, percent(share.high))
}

/// `47.1 % (44.0 - 50.2 %) of the bytes asked for: string interning, from @/app/handler.lua:33 (function from line 20)`
pub fn sentence(by: By, caller: &Caller) -> String {
    let (share, of) = (&caller.share, of(by));
    format!("{} ({}) {of}: {}, from {}", percent(share.share), interval(share), caller.operation, caller.site)
}

/// What shares rest on: `by 4,321 samples, one of 1,000 calls, taken over 96.0 % of 4,500,000 recorded calls; 12 lost;
/// 812.3 MiB asked for`.
pub fn basis(by: By, basis: &Basis) -> String {
    let every: Vec<String> = basis.every.iter().map(|every| words::thousands(*every)).collect();
    let one_of = match &every[..] {
        [one] => format!("one of {one} calls"),
        [first, .., last] => format!("one of {first} to {last} calls"),
        [] => "none".to_owned(),
    };
    let lost = if basis.lost > 0 { format!(", {} more are lost", words::thousands(basis.lost)) } else { String::new() };
    let total = amount(by, basis.total as f64);
    let total = match by {
        By::Bytes => format!("; {total} asked for"),
        By::Live => format!("; {total} still in use"),
        By::Calls => String::new(),
    };
    format!(
        "{}, {one_of}{lost}, while {} of {} were recorded{total}",
        words::count(basis.samples, "sample"),
        words::share(basis.covered, basis.calls),
        words::count(basis.calls, "call"),
    )
}

/// What speaks against all shares of a VM.
pub fn doubt(vm: &VmSites) -> Option<String> {
    let Basis { samples, groups, .. } = vm.basis;
    match (samples, groups) {
        (0, _) => Some("no sample is of this period, so nothing is known".to_owned()),
        (1..100, _) => Some("so few samples tell the largest shares at most".to_owned()),
        _ => None,
    }
}

/// Where a module's names come from: `libluajit-5.1.so.2: symbol table of /usr/lib/…; 3 of 40 places without a name`.
pub fn module(module: &ModuleFacts) -> String {
    let name = module.name.rsplit('/').next().unwrap_or(&module.name);
    let how = match module.how {
        How::DebugInformation => "debug information",
        How::SymbolTable => "symbol table",
        How::ExportedNames => "exported names only",
        How::None => "no names",
    };
    let files = match &module.files[..] {
        [] => match &module.others[..] {
            [] => ": no file of it was found".to_owned(),
            [other, ..] => format!(": {other} is another build"),
        },
        files => format!(", {}", files.join(" and ")),
    };
    let by_path = if module.by_path { ", taken for it by its path: there is no build id" } else { "" };
    let (places, unnamed) = (words::count(module.places, "place"), words::thousands(module.unnamed));
    format!("{name}: {how}{files}{by_path}; {unnamed} of {places} without a name")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_a_sentence() {
        let share = Share { samples: 9, share: 0.471, low: 0.44, high: 0.502, ..Share::default() };
        let (operation, site) = ("string interning".to_owned(), "@/app/handler.lua:33 (main chunk)".to_owned());
        let said = sentence(By::Bytes, &Caller { operation, site, share });
        let expected =
            "47.1 % (44.0 - 50.2 %) of the bytes asked for: string interning, from @/app/handler.lua:33 (main chunk)";
        assert_eq!(said, expected);
    }

    #[test]
    fn the_basis_says_what_was_sampled() {
        let basis = Basis {
            samples: 43,
            every: vec![100, 1000],
            lost: 2,
            calls: 10_000,
            covered: 5000,
            bytes: 9,
            total: 2048,
            groups: 9,
        };
        assert_eq!(
            super::basis(By::Bytes, &basis),
            "43 samples, one of 100 to 1,000 calls, 2 more are lost, while 50.0 % of 10,000 calls were recorded; 2.0 KiB asked for"
        );
    }
}
