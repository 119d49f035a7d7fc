//! From when to when something is asked, of each VM: the peak is not the same moment in all of them.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use anyhow::{Result, bail};
use shared::Nanos;
use shared::trace::reader::Trace;

use super::Plan;
use super::state::{Whole, micros, resolve, whole};
use crate::cli;
use crate::report::Asked;

/// From a moment to a later one; calls at both are in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// Its first moment.
    pub from: Nanos,
    /// Its last one.
    pub to: Nanos,
}

impl Period {
    /// Whether a moment lies in it.
    pub fn contains(&self, time: Nanos) -> bool {
        (self.from..=self.to).contains(&time)
    }

    /// How long it is.
    pub fn length(&self) -> u64 {
        self.to.saturating_sub(self.from)
    }
}

/// The period asked for, of each of some VMs. Only for a peak is anything replayed.
///
/// # Errors
/// A moment behind the end of the trace, or an end that is not behind the start.
pub fn periods<R: Read + Seek + Send>(
    trace: &Trace<R>,
    plan: &Plan,
    vms: &[u32],
    asked: &cli::Period,
) -> Result<BTreeMap<u32, Period>> {
    let from = asked.from.unwrap_or(Asked::At(0));
    let to = resolve(asked.to.unwrap_or_default(), trace);
    let known = [from, to].contains(&Asked::Peak).then(|| whole(trace, plan));
    let moment = |vm: u32, asked: Asked| match asked {
        Asked::At(time) if time > plan.end => {
            bail!("the trace ends at {}: ask for an earlier time", humantime::format_duration(micros(plan.end)))
        }
        Asked::At(time) => Ok(time),
        Asked::Peak => Ok(peak(plan, known.as_ref(), vm)),
        Asked::Default | Asked::End => Ok(plan.end),
    };
    let period = |vm: &u32| {
        let period = Period { from: moment(*vm, from)?, to: moment(*vm, to)? };
        if period.length() == 0 && plan.end > 0 {
            let show = |time| humantime::format_duration(micros(time));
            bail!("of VM {vm}, {} is not before {}: --from must be before --to", show(period.from), show(period.to));
        }
        Ok((*vm, period))
    };
    vms.iter().map(period).collect()
}

/// When most bytes of a VM were in use; of equal peaks the first. Nothing known of it, the end.
fn peak(plan: &Plan, whole: Option<&Whole>, vm: u32) -> Nanos {
    let came = whole.into_iter().flat_map(|whole| plan.stretches.iter().zip(&whole.stretches));
    let peaks = came.filter(|(stretch, _)| stretch.vm == vm).map(|(_, came)| came.peak);
    peaks.reduce(|highest, peak| if peak.bytes > highest.bytes { peak } else { highest }).map_or(plan.end, |at| at.time)
}
