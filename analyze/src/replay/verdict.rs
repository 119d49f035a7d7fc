//! How far a replay can be trusted: what every output begins with.

use serde::Serialize;
use shared::Nanos;
use shared::trace::meta::{Cost, Trailer};
use shared::trace::reader::End;

use super::Plan;
use super::run::{ContradictionAt, Replayed};

/// What was verified, lost and contradicted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
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
}

/// A place where calls are missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
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

/// What a recording cost, as its recorder measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CostReport {
    /// Wall time of the recording.
    pub elapsed_ns: u64,
    /// How often the target stood still.
    pub pauses: u64,
    /// How long in all.
    pub paused_ns: u64,
    /// The longest.
    pub longest_pause_ns: u64,
    /// What one hit costs the target; 0 if not measured.
    pub hit_ns: u64,
    /// What hits and pauses cost the target together.
    pub target_ns: u64,
    /// The recorder's own processor time.
    pub recorder_cpu_ns: u64,
}

/// One word for a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
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
    pub fn of_trace(plan: &Plan, end: &End) -> Verdict {
        let gaps = plan.gaps.iter().map(|(vm, time_ns, gap)| GapAt {
            vm: *vm,
            time_ns: *time_ns,
            lost: gap.lost,
            reason: gap.reason.clone(),
        });
        let mut verdict = Verdict {
            calls: plan.calls,
            calls_not_replayed: plan.early + plan.cut_off,
            calls_before_first_keyframe: plan.early,
            keyframes: plan.keyframes,
            gaps: gaps.collect(),
            ..Verdict::default()
        };
        match end {
            End::Complete(trailer) => verdict.take_trailer(trailer),
            End::Truncated { what, .. } => verdict.truncated = Some(what.clone()),
        }
        verdict
    }

    fn take_trailer(&mut self, trailer: &Trailer) {
        self.calls_lost = trailer.lost;
        self.calls_unattributed = trailer.unattributed;
        let status = trailer.target_status.as_ref().map_or(String::new(), |status| format!(" ({status})"));
        self.ended = Some(format!("{}{status}", trailer.reason));
        let Cost { elapsed_ns, recorder_cpu_ns, pauses, paused_ns, longest_pause_ns, hit_ns } = trailer.cost;
        let target_ns = trailer.calls.saturating_mul(hit_ns).saturating_add(paused_ns);
        self.cost =
            Some(CostReport { elapsed_ns, pauses, paused_ns, longest_pause_ns, hit_ns, target_ns, recorder_cpu_ns });
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

    /// The verdict in a word.
    pub fn judgement(&self) -> Judgement {
        let differs = self.chunks_differing + self.direct_differing > 0 || !self.differing.is_empty();
        let missing =
            self.calls_lost > 0 || !self.gaps.is_empty() || !self.damage.is_empty() || self.truncated.is_some();
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
