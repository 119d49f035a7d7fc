//! Who allocates: sampled calls' stacks in words, with how much of all calls each stands for.

mod calls;
mod kinds;
mod live;
mod names;
pub mod operation;
mod shares;

use clap::ValueEnum;
use schemars::JsonSchema;
use serde::Serialize;
use shared::trace::census::ObjectKind;
use shared::trace::meta::{Header, Process, Vm};

use self::names::{Names, numbered};
use crate::replay::period::Period;
use crate::replay::verdict::Verdict;
use crate::report::title;
use crate::symbols::{ModuleFacts, Symbols};

pub use calls::{Sample, Sampled, asked};
pub use live::Lasting;
pub use names::{Code, Named, Told};
pub use shares::{Share, Weighed};

/// What a call weighs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The bytes that it asks for; of a resize, those by which the block grows
    #[default]
    Bytes,
    /// 1, frees included
    Calls,
    /// The bytes of the block that it made, if that is in use at the end: of its window, of a full recording, or --to
    Live,
}

/// Who allocates.
#[derive(Debug, Clone)]
pub struct SitesReport {
    /// The trace's name.
    pub source: String,
    /// What the trace says of itself.
    pub header: Header,
    /// The recorded processes.
    pub processes: Vec<Process>,
    /// How far the replay can be trusted.
    pub verdict: Verdict,
    /// What calls weigh.
    pub by: By,
    /// The VMs asked for that have stacks.
    pub vms: Vec<VmSites>,
    /// The numbers of those that have none.
    pub without: Vec<u32>,
    /// The files that stacks lead through.
    pub modules: Vec<ModuleFacts>,
}

/// Who allocates in a VM.
#[derive(Debug, Clone)]
pub struct VmSites {
    /// Its number in the trace.
    pub number: u32,
    /// What it is.
    pub vm: Vm,
    /// From when to when.
    pub period: Period,
    /// What the shares rest on.
    pub basis: Basis,
    /// What LuaJIT was doing, the largest share first.
    pub operations: Vec<Row>,
    /// For whom, the largest share first.
    pub sites: Vec<Row>,
    /// Both, the largest share first.
    pub callers: Vec<Caller>,
    /// Different frames of the stacks.
    pub frames: Vec<Named>,
    /// The stacks, the largest share first.
    pub stacks: Vec<Stack>,
}

/// What shares rest on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct Basis {
    /// Samples.
    pub samples: u64,
    /// Of so many calls of each thread one was sampled, as it was in the trace, in ascending order.
    pub every: Vec<u64>,
    /// Samples that are missing: dropped by the kernel, or of a call that is not in the trace.
    pub lost: u64,
    /// Recorded calls.
    pub calls: u64,
    /// Those made while samples were taken.
    pub covered: u64,
    /// Bytes that all recorded calls asked for.
    pub bytes: u64,
    /// What all recorded calls weigh together: what shares are of.
    pub total: u64,
    /// Groups of samples that follow one another, by which intervals are told.
    pub groups: u64,
}

/// The share of an operation, or of a site.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// How much.
    #[serde(flatten)]
    pub share: Share,
}

/// The share of an operation at a site.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Caller {
    /// What LuaJIT was doing.
    pub operation: String,
    /// For whom.
    pub site: String,
    /// How much.
    #[serde(flatten)]
    pub share: Share,
}

/// The share of a stack.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Stack {
    /// From the innermost frame on, numbers into `frames`.
    pub frames: Vec<usize>,
    /// How much.
    #[serde(flatten)]
    pub share: Share,
}

impl VmSites {
    /// Puts a VM's samples into words, weighs and counts them. `lasting` is what each of them made that is still in use, and
    /// the sum over all calls; `kinds` what kind of object some of their blocks were found to be.
    pub fn of(
        (number, vm): (u32, Vm),
        period: Period,
        sampled: &Sampled,
        (by, lasting): (By, (Vec<Option<u64>>, u64)),
        kinds: &[(usize, ObjectKind)],
        symbols: &mut Symbols,
    ) -> VmSites {
        let mut names = Names::default();
        let told = names.tell(sampled, &vm, symbols);
        let stack_of: Vec<usize> = sampled.samples().map(|sample| sample.stack).collect();
        let made = kinds.iter().map(|(sample, kind)| (&told[stack_of[*sample]], *kind));
        let nameless = made.filter(|(told, _)| told.is_nameless);
        let by_census = kinds::names(nameless.map(|(told, kind)| (told.operation.as_str(), kind)));
        let operations = told.iter().map(|told| match by_census.get(told.operation.as_str()) {
            Some(name) if told.is_nameless => name.as_str(),
            _ => told.operation.as_str(),
        });
        let (of_live, live) = lasting;
        let (mut turns, mut stacks) = (Vec::new(), Vec::new());
        let mut samples = 0;
        for turn in &sampled.turns {
            let mut weights = Vec::new();
            for sample in turn {
                let weight = match by {
                    By::Bytes => Some(sample.bytes),
                    By::Calls => Some(1),
                    By::Live => of_live.get(samples).copied().flatten(),
                };
                samples += 1;
                if let Some(weight) = weight {
                    weights.push(weight as f64);
                    stacks.push(sample.stack);
                }
            }
            turns.push(weights);
        }
        let total = match by {
            By::Bytes => sampled.bytes,
            By::Calls => sampled.calls,
            By::Live => live,
        };
        let weighed = Weighed::new(&turns, total);
        let (operations, operation_of) = numbered(operations);
        let (sites, site_of) = numbered(told.iter().map(|told| told.site.as_str()));
        let rows = |names: &[&str], of: &[usize]| {
            let shares = weighed.shares(&stacks.iter().map(|stack| of[*stack]).collect::<Vec<usize>>());
            let rows = shares.into_iter().map(|(name, share)| Row { name: names[name].to_owned(), share }).collect();
            largest_first(rows, |row: &Row| (row.share, row.name.clone()))
        };
        let both: Vec<(usize, usize)> = stacks.iter().map(|stack| (operation_of[*stack], site_of[*stack])).collect();
        let caller = |((operation, site), share): ((usize, usize), Share)| Caller {
            operation: operations[operation].to_owned(),
            site: sites[site].to_owned(),
            share,
        };
        let callers = weighed.shares(&both).into_iter().map(caller).collect();
        let whole = weighed.shares(&stacks).into_iter();
        let whole = whole.map(|(stack, share)| Stack { frames: told[stack].frames.clone(), share }).collect();
        let basis = Basis {
            samples: weighed.samples() as u64,
            every: sampled.every.iter().copied().collect(),
            lost: sampled.lost,
            calls: sampled.calls,
            covered: sampled.covered,
            bytes: sampled.bytes,
            total,
            groups: weighed.groups() as u64,
        };
        VmSites {
            number,
            vm,
            period,
            basis,
            operations: rows(&operations, &operation_of),
            sites: rows(&sites, &site_of),
            callers: largest_first(callers, |row: &Caller| (row.share, format!("{} {}", row.operation, row.site))),
            stacks: largest_first(whole, |row: &Stack| (row.share, format!("{:?}", row.frames))),
            frames: names.frames,
        }
    }

    /// `VM 1: http VM of nginx (pid 123)`
    pub fn title(&self, processes: &[Process]) -> String {
        format!("VM {}: {}", self.number, title(&self.vm, processes))
    }
}

/// Rows in the order of their shares; equal ones by name.
fn largest_first<T>(mut rows: Vec<T>, of: impl Fn(&T) -> (Share, String)) -> Vec<T> {
    rows.sort_by_cached_key(|row| {
        let (share, name) = of(row);
        // Shares are from 0 to 1: their bits order as they do.
        (std::cmp::Reverse(share.share.to_bits()), name)
    });
    rows
}

#[cfg(test)]
mod tests;
