//! `analyze diff`: two traces, or two times, side by side.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, anyhow, bail};
use clap::Args;

use super::{breakdown, exit_code, objects, rates, stats, write};
use crate::cli::{Input, Of, Written, parse_moment};
use crate::metrics::breakdown::ProcessMemory;
use crate::metrics::breakdown::instance::role;
use crate::metrics::diff::pairs::{Pairs, pair};
use crate::metrics::diff::{Alone, Condition, DiffReport, ProcessPair, Side, VmPair};
use crate::metrics::objects::{Growth, VmObjects};
use crate::metrics::rates::Rates;
use crate::replay::Plan;
use crate::replay::verdict::Judgement;
use crate::report::{Asked, BreakdownReport, RatesReport, Report, VmReport};
use crate::source::Source;

/// `analyze diff`
#[derive(Debug, Args)]
pub struct Arguments {
    /// What is compared with: a trace or a directory of one recording's parts, at a moment if @TIME follows, such as
    /// node.ljt@10s or node.ljt@peak [default: as of `stats`]. A file that has such a name is that file
    #[arg(value_name = "A[@TIME]")]
    pub a: PathBuf,
    /// What is compared: another trace, or the same at another moment
    #[arg(value_name = "B[@TIME]")]
    pub b: PathBuf,
    /// Exit with 3 if this holds from A to B: `used_bytes>+10%`, `used_bytes>+5MiB`, `free_share>+5%` (points),
    /// `calls_per_s<-20%`, `segments_bytes>1GiB` (B itself), `vm2.used_bytes>+10%` (VM 2 of A, not the sum); repeatable
    #[arg(long, value_name = "FIGURE>LIMIT", value_parser = Condition::parse)]
    pub fail_on: Vec<Condition>,
    /// Of which VMs, in both
    #[command(flatten)]
    pub of: Of,
    /// How it is written
    #[command(flatten)]
    pub written: Written,
}

/// The exit status if a condition holds.
const HOLDS: u8 = 3;

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (a, b) = (operand(&arguments.a)?, operand(&arguments.b)?);
    if [&a, &b].iter().all(|(path, _)| path.as_os_str() == "-") {
        bail!("standard input can be read once only");
    }
    let report = report(&a, &b, arguments.of, &arguments.fail_on)?;
    write(&report, &arguments.written)?;
    for outcome in report.outcomes.iter().filter(|outcome| outcome.holds) {
        eprintln!("analyze: {}", crate::output::diff::words::holds(outcome));
    }
    if report.outcomes.iter().any(|outcome| outcome.holds) {
        return Ok(ExitCode::from(HOLDS));
    }
    let exact = report.vms.iter().all(|pair| pair.a.moment.is_as_meant() && pair.b.moment.is_as_meant());
    let good = |side: &Side| matches!(side.verdict.judgement(), Judgement::Verified | Judgement::Consistent);
    Ok(if !good(&report.a) {
        exit_code(&report.a.verdict)
    } else if exact {
        exit_code(&report.b.verdict)
    } else {
        ExitCode::from(2)
    })
}

/// A trace, and the moment asked for.
type Operand = (PathBuf, Asked);

/// `TRACE`, or `TRACE@TIME` if there is no file of that name.
fn operand(path: &Path) -> Result<Operand> {
    let split = if path.exists() { None } else { split(path) };
    let Some((trace, time)) = split else { return Ok((path.to_owned(), Asked::Default)) };
    let wrong = |why| anyhow!("there is no file {}, and behind the @ {why}", path.display());
    Ok((trace, parse_moment(&time).map_err(wrong)?))
}

/// What stands before and behind the last `@`.
fn split(path: &Path) -> Option<(PathBuf, String)> {
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let bytes = path.as_os_str().as_bytes();
        let at = bytes.iter().rposition(|byte| *byte == b'@')?;
        let trace = std::ffi::OsStr::from_bytes(&bytes[..at]);
        Some((trace.into(), String::from_utf8_lossy(&bytes[at + 1..]).into_owned()))
    }
    #[cfg(not(unix))]
    path.to_str()?.rsplit_once('@').map(|(trace, time)| (trace.into(), time.to_owned()))
}

/// What is found of one side.
struct Found {
    side: Side,
    heaps: Result<Report>,
    rates: Result<RatesReport>,
    memory: Result<BreakdownReport>,
    objects: Vec<VmObjects>,
}

/// Compares; a condition whose figure is not known is an error.
pub fn report(a: &Operand, b: &Operand, of: Of, conditions: &[Condition]) -> Result<DiffReport> {
    // Rates are of a whole recording: two moments of one have the same.
    let with_rates = a.0 != b.0;
    let (a, b) = (find(a, of, with_rates)?, find(b, of, with_rates)?);
    let (objects_a, objects_b) = (a.objects, b.objects);
    let mut report = DiffReport {
        vms: Vec::new(),
        processes: Vec::new(),
        alone: Vec::new(),
        left_out: Vec::new(),
        outcomes: Vec::new(),
        a: a.side,
        b: b.side,
    };
    let left_out = &mut report.left_out;
    let heaps = both(a.heaps, b.heaps, "heaps", left_out);
    let memory = both(a.memory, b.memory, "breakdowns", left_out);
    let rates = if with_rates { both(a.rates, b.rates, "rates", left_out) } else { None };
    if heaps.is_none() && memory.is_none() {
        bail!("there is nothing to compare: {}", report.left_out.join("; "));
    }
    if let Some((a, b)) = heaps {
        report.vms(a, b, rates, (&objects_a, &objects_b));
    }
    if let Some((a, b)) = memory {
        report.processes(a, b);
    }
    let tested = conditions.iter().map(|condition| condition.test(&report).map_err(|why| anyhow!(why)));
    report.outcomes = tested.collect::<Result<_>>()?;
    Ok(report)
}

/// What both have; else why not.
fn both<T>(a: Result<T>, b: Result<T>, what: &str, left_out: &mut Vec<String>) -> Option<(T, T)> {
    let mut say = |side: &str, error: anyhow::Error| left_out.push(format!("{what} of {side}: {error:#}"));
    match (a, b) {
        (Ok(a), Ok(b)) => return Some((a, b)),
        (Err(a), Ok(_)) => say("A", a),
        (Ok(_), Err(b)) => say("B", b),
        // What neither has is missed by nobody, unless it is all there is.
        (Err(a), Err(b)) if what == "heaps" => {
            say("A", a);
            say("B", b);
        }
        (Err(_), Err(_)) => {}
    }
    None
}

fn find((path, asked): &Operand, of: Of, with_rates: bool) -> Result<Found> {
    let source = Source::of(&Input { traces: vec![path.clone()] })?;
    let trace = source.open()?;
    let name = source.to_string();
    let heaps = stats::report(&name, &trace, *asked, of.vm, of.pid);
    let at = (*asked != Asked::Default).then_some(*asked);
    let memory = if of.vm.is_none() { breakdown::report(&name, &trace, at, of.pid) } else { Err(anyhow!("one VM")) };
    let rates = if with_rates { rates::report(&name, &trace, of.vm, of.pid) } else { Err(anyhow!("one recording")) };
    let (verdict, processes) = match (&heaps, &memory) {
        (Ok(heaps), _) => (heaps.verdict.clone(), heaps.processes.clone()),
        (Err(_), Ok(memory)) => {
            let processes = memory.processes.iter().filter_map(|one| one.process.clone());
            (memory.verdict.clone(), processes.collect())
        }
        (Err(error), Err(_)) => bail!("{name}: {error:#}"),
    };
    let side = Side { source: name, header: trace.header.clone(), processes, verdict, asked: *asked };
    // Where there is no census, kinds are not compared.
    let objects = match &heaps {
        Ok(heaps) => {
            let vms: Vec<u32> = heaps.vms.iter().map(|vm| vm.number).collect();
            let found =
                objects::found(&side.source, &trace, &Plan::new(&trace)?, &vms, (None, *asked), heaps.verdict.clone());
            found.map(|found| found.vms).unwrap_or_default()
        }
        Err(_) => Vec::new(),
    };
    Ok(Found { side, heaps, rates, memory, objects })
}

impl DiffReport {
    /// In two traces of one recording a VM is itself; else the first HTTP VM of an nginx's workers is compared with the
    /// first one of the other's, and so on.
    fn vms(
        &mut self,
        a: Report,
        b: Report,
        rates: Option<(RatesReport, RatesReport)>,
        (objects_a, objects_b): (&[VmObjects], &[VmObjects]),
    ) {
        let same = self.is_one_recording();
        let key = |report: &Report, vm: &VmReport| {
            if same { [vm.number.to_string(), String::new()] } else { [process(report, vm), vm.vm.label.clone()] }
        };
        let keys = |report: &Report| report.vms.iter().map(|vm| key(report, vm)).collect::<Vec<_>>();
        let Pairs { both, only_a, only_b } = pair(&keys(&a), &keys(&b));
        let title = |report: &Report, at: &usize| report.vms[*at].title(&report.processes);
        self.alone.extend(only_a.iter().map(|at| Alone { in_a: true, what: title(&a, at) }));
        self.alone.extend(only_b.iter().map(|at| Alone { in_a: false, what: title(&b, at) }));
        for (at_a, at_b) in both {
            let (a, b) = (a.vms[at_a].clone(), b.vms[at_b].clone());
            let rates =
                rates.as_ref().and_then(|(all_a, all_b)| rates_of(all_a, a.number).zip(rates_of(all_b, b.number)));
            let of = |objects: &[VmObjects], number| objects.iter().find(|vm| vm.number == number).cloned();
            let kinds = of(objects_a, a.number).zip(of(objects_b, b.number));
            let kinds = kinds.map(|(a, b)| Growth::between((a.time, &a.objects), (b.time, &b.objects)));
            self.vms.push(VmPair { a, b, rates, kinds });
        }
    }

    /// The same of processes: by program and role.
    fn processes(&mut self, a: BreakdownReport, b: BreakdownReport) {
        let same = self.is_one_recording();
        let key = |one: &ProcessMemory| match &one.process {
            _ if same => (one.pid().to_string(), one.breakdown.started_ticks.to_string()),
            Some(process) => (process.program.clone(), role(process).unwrap_or_default().to_string()),
            None => <(String, String)>::default(),
        };
        let keys = |report: &BreakdownReport| report.processes.iter().map(key).collect::<Vec<_>>();
        let Pairs { both, only_a, only_b } = pair(&keys(&a), &keys(&b));
        self.alone.extend(only_a.iter().map(|at| Alone { in_a: true, what: a.processes[*at].title() }));
        self.alone.extend(only_b.iter().map(|at| Alone { in_a: false, what: b.processes[*at].title() }));
        let (a, b) = (a.processes, b.processes);
        self.processes.extend(both.iter().map(|&(x, y)| ProcessPair { a: a[x].clone(), b: b[y].clone() }));
    }

    /// Both have the same start on the same host.
    fn is_one_recording(&self) -> bool {
        let of = |side: &Side| (side.header.started_unix_ns, side.header.host.clone(), side.header.recording.clone());
        of(&self.a) == of(&self.b)
    }
}

/// A VM's process: its program, and of an nginx its role.
fn process(report: &Report, vm: &VmReport) -> String {
    let process = report.processes.iter().find(|process| process.pid == vm.vm.pid);
    process.map(|process| format!("{} {}", process.program, role(process).unwrap_or_default())).unwrap_or_default()
}

/// One VM's rates.
fn rates_of(report: &RatesReport, vm: u32) -> Option<Rates> {
    let of_it = |section: &&crate::report::Section| section.vm.as_ref().is_some_and(|(number, _)| *number == vm);
    report.sections.iter().find(of_it).map(|section| section.rates.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_an_at_that_is_there_is_that_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.ljt@1s");
        assert_eq!(operand(&path).unwrap(), (folder.path().join("node.ljt"), Asked::At(1_000_000_000)));
        std::fs::write(&path, "").unwrap();
        assert_eq!(operand(&path).unwrap(), (path.clone(), Asked::Default));
        assert_eq!(operand(&folder.path().join("node.ljt@1s@peak")).unwrap(), (path, Asked::Peak));
        let said = operand(&folder.path().join("user@host")).unwrap_err().to_string();
        assert!(said.contains("there is no file") && said.contains("`host` is no time"), "{said}");
    }
}
