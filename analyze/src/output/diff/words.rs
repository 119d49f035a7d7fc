//! How outputs say changes.

use crate::metrics::diff::{Amount, DiffReport, Figure, Outcome, ProcessPair, Side, Unit, VmPair};
use crate::metrics::objects::Growth;
use crate::output::rates::words as rate_words;
use crate::output::words;
use crate::report::{Asked, Moment};

/// `9,792,208`, `51.2 %`, `1,234`, `3.4 MiB`
pub fn amount(unit: Unit, amount: Amount) -> String {
    match (unit, amount) {
        (Unit::Count | Unit::Bytes, Amount::Whole(number)) => words::thousands(number.max(0).unsigned_abs()),
        (Unit::Share, amount) => format!("{:.1} %", amount.value() * 100.0),
        (Unit::BytesPerSecond | Unit::Bytes, amount) => rate_words::bytes(amount.value()),
        (Unit::PerSecond | Unit::Count, amount) => rate_words::number(amount.value()),
    }
}

/// `+4,596`, `-1.2` (points), `0`
pub fn change(figure: &Figure) -> String {
    let change = figure.change();
    let sign = if change.value() < 0.0 { "-" } else { "+" };
    match change {
        Amount::Whole(0) => "0".to_owned(),
        Amount::Whole(number) => format!("{sign}{}", words::thousands(number.unsigned_abs())),
        Amount::Real(number) if figure.unit == Unit::Share => format!("{:+.1}", number * 100.0),
        Amount::Real(0.0) => "0".to_owned(),
        Amount::Real(number) => format!("{sign}{}", amount(figure.unit, Amount::Real(number.abs()))),
    }
}

/// A change of bytes, rounded, and as a part of what was: `+1.2 MiB`, `+4.4 %`.
pub fn bytes_change(a: u64, b: u64) -> [String; 2] {
    let change = match (a < b, a.abs_diff(b)) {
        (_, 0) => return ["0".to_owned(), "-".to_owned()],
        (true, more) => format!("+{}", words::bytes(more)),
        (false, less) => format!("-{}", words::bytes(less)),
    };
    [change, if a == 0 { "new".to_owned() } else { percent((b as f64 - a as f64) / a as f64) }]
}

/// `+4.4 %`; `points` of a share, `new` where there was nothing.
pub fn relative(figure: &Figure) -> String {
    match (figure.unit, figure.relative()) {
        (Unit::Share, _) => "points".to_owned(),
        (_, None) => "new".to_owned(),
        (_, Some(0.0)) => "-".to_owned(),
        (_, Some(part)) => percent(part),
    }
}

/// `+4.4 %`, `+1,234 %`
fn percent(part: f64) -> String {
    let percent = part * 100.0;
    if percent.abs() < 1000.0 {
        format!("{percent:+.1} %")
    } else {
        let sign = if percent < 0.0 { "-" } else { "+" };
        format!("{sign}{} %", words::thousands(percent.abs().round() as u64))
    }
}

/// `by kind of object, in the last censuses until then: A at 1.000 s, B at 4.000 s`
pub fn kinds(kinds: &Growth) -> String {
    let [a, b] = [kinds.from_ns, kinds.to_ns].map(words::time);
    format!("by kind of object, in the last censuses until then: A at {a}, B at {b}")
}

/// What a figure is called in a table: `used bytes`, `calls/s`.
pub fn name(figure: &Figure) -> String {
    match figure.name {
        "gc_total" => "gc.total".to_owned(),
        name => name.replace("_per_s", "/s").replace('_', " "),
    }
}

/// That a condition holds: `used_bytes>+10% holds: 9,792,208 in A, 11,792,208 in B, +20.4 %`.
pub fn holds(outcome: &Outcome) -> String {
    let Outcome { text, holds, figure } = outcome;
    let verb = if *holds { "holds" } else { "does not hold" };
    let both = [figure.a, figure.b].map(|value| amount(figure.unit, value));
    format!("{text} {verb}: {} in A, {} in B, {} ({})", both[0], both[1], change(figure), relative(figure))
}

/// A side: `B: node.ljt at the peak`.
pub fn side(name: &str, side: &Side) -> String {
    let at = match side.asked {
        Asked::Default => String::new(),
        Asked::End => " at the end".to_owned(),
        Asked::Peak => " at the peak".to_owned(),
        Asked::At(time) => format!(" at {}", words::time(time)),
    };
    format!("{name}: {}{at}", words::name(&side.source, 200))
}

/// What is compared: `VM 1: luajit (pid 5)`, once if both are called the same, else `… with …`.
pub fn title(report: &DiffReport, pair: &VmPair) -> String {
    both(pair.a.title(&report.a.processes), pair.b.title(&report.b.processes))
}

/// The same of processes.
pub fn process_title(pair: &ProcessPair) -> String {
    both(pair.a.title(), pair.b.title())
}

fn both(a: String, b: String) -> String {
    if a == b { a } else { format!("{a} in A, {b} in B") }
}

/// Whether a moment is short of the one asked for, and why.
pub fn short_of(name: &str, moment: &Moment) -> Option<String> {
    words::short_of(moment).map(|why| format!("{name}: {why}"))
}

/// What only one side has: `only in B: VM 2: http VM of nginx (pid 7)`.
pub fn alone(report: &DiffReport) -> Vec<String> {
    let line = |one: &crate::metrics::diff::Alone| {
        format!("only in {}: {}", if one.in_a { "A" } else { "B" }, words::name(&one.what, 120))
    };
    report.alone.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_have_a_sign() {
        let figure = |unit, a, b| Figure { name: "used_bytes", unit, a, b, apart: None };
        let whole = |a, b| figure(Unit::Bytes, Amount::Whole(a), Amount::Whole(b));
        let said = |figure: Figure| (change(&figure), relative(&figure));
        assert_eq!(said(whole(1000, 3500)), ("+2,500".into(), "+250.0 %".into()));
        assert_eq!(said(whole(2000, 1000)), ("-1,000".into(), "-50.0 %".into()));
        assert_eq!(said(whole(0, 1000)), ("+1,000".into(), "new".into()));
        assert_eq!(said(whole(7, 7)), ("0".into(), "-".into()));
        assert_eq!(said(whole(1, 100)), ("+99".into(), "+9,900 %".into()));
        let share = figure(Unit::Share, Amount::Real(0.5), Amount::Real(0.45));
        assert_eq!(said(share), ("-5.0".into(), "points".into()));
        let rate = figure(Unit::BytesPerSecond, Amount::Real(2048.0), Amount::Real(1024.0));
        assert_eq!(said(rate), ("-1.0 KiB".into(), "-50.0 %".into()));
        assert_eq!(bytes_change(1024, 3072), ["+2.0 KiB", "+200.0 %"]);
        assert_eq!(
            [bytes_change(5, 5), bytes_change(0, 5)],
            [["0", "-"], ["+5 B", "new"]].map(|row| row.map(String::from))
        );
    }
}
