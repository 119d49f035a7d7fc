//! What must not have happened from A to B: `used_bytes>+10%`.

use super::DiffReport;
use super::figures::{Figure, KNOWN, Unit};

/// A figure, and what it is held against.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    /// As it was written.
    pub text: String,
    /// A VM, by its number in A; else the sum of all.
    pub vm: Option<u32>,
    /// One of [`KNOWN`].
    pub figure: &'static str,
    /// It holds above the limit; else below.
    pub above: bool,
    /// What it is held against.
    pub limit: Limit,
}

/// What a figure is held against.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Limit {
    /// The change, in the figure's unit.
    Change(f64),
    /// The change as a part of A.
    Relative(f64),
    /// B itself.
    Value(f64),
}

/// A condition that was tested.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// As it was written.
    pub text: String,
    /// Whether it holds.
    pub holds: bool,
    /// What was tested.
    pub figure: Figure,
}

/// Units of amounts.
const UNITS: [(&str, f64); 10] = [
    ("", 1.0),
    ("B", 1.0),
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
];

impl Condition {
    /// Reads `FIGURE>LIMIT` or `FIGURE<LIMIT`; of one VM, `vm1.FIGURE`. With a sign the limit is for the change, in per
    /// cent or in the figure's unit, without one for B itself. Of a share, per cent are points of it.
    ///
    /// # Errors
    /// A line that says what is wrong and what may stand there.
    pub fn parse(text: &str) -> Result<Condition, String> {
        let at = text.find(['<', '>']).ok_or_else(|| format!("`{text}`: say FIGURE>LIMIT, such as used_bytes>+10%"))?;
        let (name, limit) = (text[..at].trim(), text[at + 1..].trim());
        let (vm, name) = match name.split_once('.') {
            Some((vm, name)) => (Some(vm), name),
            None => (None, name),
        };
        let number = |vm: &str| vm.strip_prefix("vm").and_then(|number| number.parse().ok());
        let wrong = |vm: &str| format!("`{text}`: `{vm}` is no VM: say vm1.{name} for VM 1 of A");
        let vm = vm.map(|vm| number(vm).ok_or_else(|| wrong(vm))).transpose()?;
        let known = || KNOWN.map(|(name, _)| name).join(", ");
        let (figure, unit) = KNOWN
            .into_iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| format!("`{text}`: there is no figure `{name}`; there are {}", known()))?;
        let limit = self::limit(limit, unit).map_err(|why| format!("`{text}`: {why}"))?;
        Ok(Condition { text: text.to_owned(), vm, figure, above: text[at..].starts_with('>'), limit })
    }

    /// Tests it.
    ///
    /// # Errors
    /// If there is no such VM, or its figure is not known.
    pub fn test(&self, report: &DiffReport) -> Result<Outcome, String> {
        let figures = match self.vm {
            None => report.totals(),
            Some(vm) => match report.vms.iter().find(|pair| pair.a.number == vm) {
                Some(pair) => pair.figures(),
                None => return Err(format!("`{}`: VM {vm} of A is not among the VMs compared", self.text)),
            },
        };
        let found = figures.into_iter().find(|figure| figure.name == self.figure);
        let figure = found.ok_or_else(|| format!("`{}`: {} is not known of both", self.text, self.figure))?;
        Ok(Outcome { text: self.text.clone(), holds: self.holds(&figure), figure })
    }

    fn holds(&self, figure: &Figure) -> bool {
        let (is, limit) = match self.limit {
            Limit::Value(limit) => (figure.b.value(), limit),
            Limit::Change(limit) => (figure.change().value(), limit),
            // From nothing to something is more than any part.
            Limit::Relative(limit) => (figure.relative().unwrap_or(f64::INFINITY), limit),
        };
        if self.above { is > limit } else { is < limit }
    }
}

fn limit(text: &str, unit: Unit) -> Result<Limit, String> {
    let wrong = || format!("`{text}` is no limit: say +10%, +5MiB, -1000, or an amount without a sign for B itself");
    let signed = text.starts_with(['+', '-']);
    let end = text.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | '+' | '-')).unwrap_or(text.len());
    let number: f64 = text[..end].parse().map_err(|_| wrong())?;
    let suffix = text[end..].trim();
    match (suffix, signed) {
        ("%", true) if unit == Unit::Share => Ok(Limit::Change(number / 100.0)),
        ("%", false) if unit == Unit::Share => Ok(Limit::Value(number / 100.0)),
        ("%", true) => Ok(Limit::Relative(number / 100.0)),
        ("%", false) => Err(format!("per cent of what? say +{text} or -{text} for a change")),
        _ => {
            let is_bytes = matches!(unit, Unit::Bytes | Unit::BytesPerSecond);
            let (_, scale) = UNITS.into_iter().find(|(name, _)| *name == suffix).ok_or_else(wrong)?;
            if !suffix.is_empty() && !is_bytes {
                return Err(format!("{suffix} is for bytes, and this figure counts none"));
            }
            Ok(if signed { Limit::Change(number * scale) } else { Limit::Value(number * scale) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::diff::figures::Amount;

    fn holds(text: &str, a: f64, b: f64) -> bool {
        let condition = Condition::parse(text).unwrap();
        let (name, unit) = KNOWN.into_iter().find(|(name, _)| *name == condition.figure).unwrap();
        condition.holds(&Figure { name, unit, a: Amount::Real(a), b: Amount::Real(b), apart: None })
    }

    #[test]
    fn limits_mean_what_they_say() {
        assert!(holds("used_bytes>+10%", 100.0, 111.0) && !holds("used_bytes>+10%", 100.0, 110.0));
        assert!(holds("used_bytes<-10%", 100.0, 89.0) && !holds("used_bytes<-10%", 100.0, 95.0));
        assert!(holds("gc_total > +5MiB", 0.0, 5_242_881.0) && !holds("gc_total > +5MiB", 1.0, 5_242_881.0));
        assert!(holds("used_bytes>1.5KiB", 9999.0, 1537.0) && !holds("used_bytes>1.5KiB", 9999.0, 1536.0));
        assert!(holds("free_share>+5%", 0.10, 0.151) && !holds("free_share>+5%", 0.10, 0.149));
        assert!(holds("free_share>40%", 0.9, 0.41) && holds("calls_per_s<-1000", 5000.0, 3999.0));
        assert!(holds("direct_bytes>+900%", 0.0, 1.0) && !holds("direct_bytes>+0%", 0.0, 0.0));
    }

    #[test]
    fn what_is_wrong_is_said_in_a_line() {
        let wrong = [
            ("used_bytes", "FIGURE>LIMIT"),
            ("used_byte>+1%", "there is no figure `used_byte`; there are used_count, used_bytes,"),
            ("used_bytes>", "no limit"),
            ("used_bytes>+ten%", "no limit"),
            ("used_bytes>10%", "per cent of what"),
            ("used_count>+5MiB", "is for bytes"),
            ("used_bytes>+5XB", "no limit"),
            ("one.used_bytes>+5%", "say vm1.used_bytes"),
        ];
        for (text, what) in wrong {
            let said = Condition::parse(text).unwrap_err();
            assert!(said.contains(what) && said.lines().count() == 1, "{said}");
        }
        let one = Condition::parse("vm3.free_bytes<2").unwrap();
        assert_eq!((one.vm, one.above, one.limit), (Some(3), false, Limit::Value(2.0)));
    }
}
