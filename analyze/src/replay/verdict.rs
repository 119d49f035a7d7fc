//! How far a replay can be trusted: what every output begins with.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::Nanos;
use shared::trace::reader::{End, Trace};

use super::costs::{CostReport, ProcessCost};
use super::follow::Followed;
use super::run::{ContradictionAt, Replayed};
use super::{Plan, WindowAt};

/// What was verified, lost and contradicted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Verdict {
    /// Calls in the trace.
    pub calls: u64,
    /// Calls the model took, without a contradiction.
    pub calls_replayed: u64,
    /// Calls it could not take: before a VM's first keyframe, between a gap or a contradiction and the next
    /// keyframe, or in a damaged block.
    pub calls_not_replayed: u64,
    /// How many of those come before their VM's first keyframe: nothing is missing because of them.
    pub calls_before_first_keyframe: u64,
    /// How many of them are in windows without a keyframe: they were recorded to be counted.
    pub calls_counted: u64,
    /// Hits the kernel dropped; each leads to a gap.
    pub calls_lost: u64,
    /// Hits of VMs the recorder did not know yet.
    pub calls_unattributed: u64,
    /// Keyframes in the trace.
    pub keyframes: u64,
    /// Keyframes that the replay arrived at and was compared with.
    pub keyframes_compared: u64,
    /// Chunks compared, over all those keyframes.
    pub chunks_compared: u64,
    /// Chunks that differed in address, size or use.
    pub chunks_differing: u64,
    /// Direct blocks compared.
    pub direct_compared: u64,
    /// Direct blocks that differed.
    pub direct_differing: u64,
    /// What else differed at a keyframe: the bins' order, `gc.total`, and so on.
    pub differing: Vec<String>,
    /// Calls that contradicted the model, the first of each stretch.
    pub contradictions: Vec<ContradictionAt>,
    /// Where calls are missing.
    pub gaps: Vec<GapAt>,
    /// The windows of a recording that consists of such; calls between them are not recorded.
    pub windows: Windows,
    /// Times between windows over which mapped memory was followed from call to call.
    pub followed: u64,
    /// Those at whose end a keyframe told of other memory.
    pub followed_differing: u64,
    /// Keyframes that were to be taken and were not.
    pub missed: Vec<MissedAt>,
    /// VMs that should have a keyframe and never got one: their heaps are not known.
    pub without_keyframe: Vec<u32>,
    /// Parts of the recording that are there; none if it is not in parts.
    pub parts: Vec<u64>,
    /// Parts of the recording that are not there, between the first and the last one that are.
    pub parts_missing: Vec<u64>,
    /// Parts before the last one that end too early, and places where a part does not go on where the one before ended.
    pub parts_broken: Vec<String>,
    /// Frames that could not be read.
    pub damage: Vec<String>,
    /// What is wrong with the trace's end, if it has no trailer.
    pub truncated: Option<String>,
    /// Which of the two checks for wholly free segments the build has, where a call told.
    pub release_check: Option<String>,
    /// Why the recording ended.
    pub ended: Option<String>,
    /// What it cost.
    pub cost: Option<CostReport>,
    /// What it cost each process, if there are several.
    pub processes: Vec<ProcessCost>,
}

/// The windows of a recording, each counted once for each VM of its process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Windows {
    /// How many.
    pub all: u64,
    /// Those that start at a keyframe, so that they could be replayed.
    pub with_keyframe: u64,
    /// Those that end with one, too, so that the replay could be compared.
    pub proven: u64,
    /// Those in which hits were lost.
    pub lossy: u64,
}

/// A keyframe that is not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct MissedAt {
    /// The process.
    pub pid: u32,
    /// When it was tried.
    pub time_ns: Nanos,
    /// Why it was given up.
    pub reason: String,
    /// How long the process stood still in vain.
    pub stopped_ns: u64,
}

/// A place where calls are missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct GapAt {
    /// The VM.
    pub vm: u32,
    /// When.
    pub time_ns: Nanos,
    /// How many hits are lost, over all VMs.
    pub lost: u64,
    /// Why.
    pub reason: String,
}

/// One word for a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// Everything behind each VM's first keyframe was replayed, nothing was lost, and the replay arrived at the heaps of
    /// later keyframes.
    Verified,
    /// The same, but there is no later keyframe to compare with: only the calls themselves agree with the model.
    Consistent,
    /// What was replayed is right, but something is missing.
    Incomplete,
    /// The replay and the real heap disagree.
    Contradicted,
}

impl Verdict {
    /// What a trace says about itself, before anything is replayed.
    pub fn of_trace<R>(plan: &Plan, trace: &Trace<R>) -> Verdict {
        let gaps = plan.gaps.iter().map(|(vm, time_ns, gap)| GapAt {
            vm: *vm,
            time_ns: *time_ns,
            lost: gap.lost,
            reason: gap.reason.clone(),
        });
        let missed = plan.missed.iter().map(|(time_ns, missed)| MissedAt {
            pid: missed.pid,
            time_ns: *time_ns,
            reason: missed.reason.clone(),
            stopped_ns: missed.stopped_ns,
        });
        let windows = |of: fn(&WindowAt) -> bool| plan.windows.iter().filter(|at| of(at)).count() as u64;
        let mut verdict = Verdict {
            calls: plan.calls,
            calls_not_replayed: plan.early + plan.cut_off + plan.counted,
            calls_before_first_keyframe: plan.early,
            calls_counted: plan.counted,
            keyframes: plan.keyframes,
            gaps: gaps.collect(),
            windows: Windows {
                all: windows(|_| true),
                with_keyframe: windows(|at| at.keyframe),
                proven: windows(|at| at.proven),
                lossy: windows(|at| at.window.lossy),
            },
            missed: missed.collect(),
            damage: plan.damage.clone(),
            without_keyframe: plan.without_keyframe(),
            parts: trace.parts.iter().map(|part| part.header.part).filter(|part| *part > 0).collect(),
            parts_missing: trace.missing_parts(),
            ..Verdict::default()
        };
        verdict.take_parts(plan, trace);
        if plan.processes.len() > 1 {
            verdict.processes = plan.processes.iter().filter_map(ProcessCost::of).collect();
            if let Some(cost) = &mut verdict.cost {
                cost.take(&verdict.processes);
            }
        }
        verdict
    }

    fn take_parts<R>(&mut self, plan: &Plan, trace: &Trace<R>) {
        match &trace.end {
            End::Complete(trailer) => {
                let status = trailer.target_status.as_ref().map_or(String::new(), |status| format!(" ({status})"));
                self.ended = Some(format!("{}{status}", trailer.reason));
            }
            End::Truncated { what, .. } => self.truncated = Some(what.clone()),
        }
        // Each trailer tells of its own part, but for what the recording has cost so far.
        for trailer in trace.trailers() {
            self.calls_lost += trailer.lost;
            self.calls_unattributed += trailer.unattributed;
        }
        let calls = trace.trailers().map(|trailer| trailer.calls).sum();
        let complete = matches!(trace.end, End::Complete(_));
        self.cost = trace.trailers().next_back().filter(|_| complete).map(|last| CostReport::of(&last.cost, calls));
        let before_last = trace.parts.len().saturating_sub(1);
        for part in &trace.parts[..before_last] {
            if let End::Truncated { what, .. } = &part.end {
                self.parts_broken.push(format!("part {}: {what}", part.header.part));
            }
        }
        for (vm, part) in &plan.apart {
            self.parts_broken.push(format!("part {part} does not go on where VM {vm} was in the part before"));
        }
    }

    /// Compares memory that was followed from a window's end with the keyframe it led to.
    pub fn follow(&mut self, followed: Followed, next: &Replayed) {
        // A keyframe that cannot be read is damage enough.
        if next.mapped > 0 {
            self.followed += 1;
            self.followed_differing += u64::from(!followed.arrives_at(next.mapped));
        }
    }

    /// Calls that were to be replayed and could not.
    pub fn calls_out_of_reach(&self) -> u64 {
        self.calls_not_replayed.saturating_sub(self.calls_before_first_keyframe + self.calls_counted)
    }

    /// Adds what became of a stretch.
    pub fn add(&mut self, replayed: &Replayed) {
        self.calls_replayed += replayed.calls;
        self.calls_not_replayed += replayed.skipped;
        self.contradictions.extend(replayed.contradiction.clone());
        self.damage.extend(replayed.damage.clone());
        let variant = replayed.release_check.or(replayed.state.as_ref().and_then(|state| state.variant()));
        self.release_check = variant.map(|variant| variant.to_string()).or(self.release_check.take());
        if let Some(comparison) = &replayed.comparison {
            self.keyframes_compared += 1;
            self.chunks_compared += comparison.chunks;
            self.chunks_differing += comparison.differing_chunks;
            self.direct_compared += comparison.direct;
            self.direct_differing += comparison.differing_direct;
            for name in &comparison.differing {
                self.differing.push(format!("VM {}: {name}", replayed.vm));
            }
        }
    }

    /// A frame could not be read; the replay has seen that, too, if it came by.
    pub fn note_damage(&mut self, damage: String) {
        if !self.damage.contains(&damage) {
            self.damage.push(damage);
        }
    }

    /// The verdict in a word.
    pub fn judgement(&self) -> Judgement {
        let differs = self.chunks_differing + self.direct_differing > 0 || !self.differing.is_empty();
        let parts = !self.parts_missing.is_empty() || !self.parts_broken.is_empty();
        let windows = self.followed_differing > 0 || !self.without_keyframe.is_empty();
        let missing = self.calls_lost > 0
            || !self.gaps.is_empty()
            || !self.damage.is_empty()
            || self.truncated.is_some()
            || parts
            || windows;
        if !self.contradictions.is_empty() || differs {
            Judgement::Contradicted
        } else if missing {
            Judgement::Incomplete
        } else if self.keyframes_compared == 0 {
            Judgement::Consistent
        } else {
            Judgement::Verified
        }
    }
}
