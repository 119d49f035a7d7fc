//! Parts of one recording: read as one, whatever their order, and what is missing is said.

use analyze::replay::state::whole;
use analyze::replay::verdict::{Judgement, Verdict};
use shared::trace::parts::Apart;
use shared::trace::reader::Trace;

use crate::recorder::{Bytes, Recorder, Shape, USUAL, join, plan};

fn verdict(trace: &Bytes) -> Verdict {
    whole(trace, &plan(trace)).verdict
}

/// A recording in three parts, or the same in one. The first goes over at a keyframe, the second between windows.
fn recording(cut: bool) -> Recorder {
    let mut recorder = Recorder::of(11, "a1b2");
    for number in 0..9 {
        recorder.window(Shape { proven: number % 3 == 0, ..USUAL });
        recorder.between(400);
        match number {
            2 if cut => recorder.next_part_at_keyframe(),
            5 if cut => recorder.next_part(),
            _ => {}
        }
        // No mapping calls stand between a keyframe and the window that it opens.
        if number == 5 {
            recorder.between(400);
        }
    }
    recorder
}

#[test]
fn parts_in_any_order_are_the_whole() {
    let whole = verdict(&recording(false).trace());
    let parts = recording(true).parts();
    assert_eq!(parts.len(), 3);
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let trace = join(order.iter().map(|&at| parts[at].clone()).collect());
        let verdict = verdict(&trace);
        assert_eq!(verdict.judgement(), Judgement::Verified, "{verdict:?}");
        assert_eq!((verdict.calls, verdict.calls_replayed), (whole.calls, whole.calls_replayed));
        assert_eq!(verdict.keyframes_compared, whole.keyframes_compared, "none is counted twice");
        assert_eq!((verdict.windows, verdict.cost.map(|c| c.hits)), (whole.windows, whole.cost.map(|c| c.hits)));
        assert_eq!((verdict.keyframes, verdict.followed), (whole.keyframes, whole.followed));
        assert_eq!(plan(&trace).processes.len(), 1);
    }
}

#[test]
fn a_missing_part_makes_it_incomplete() {
    let parts = recording(true).parts();
    let given = |numbers: &[usize]| verdict(&join(numbers.iter().map(|&at| parts[at].clone()).collect()));
    let hole = given(&[0, 2]);
    assert_eq!((hole.judgement(), &*hole.parts_missing, &*hole.parts), (Judgement::Incomplete, &[2][..], &[1, 3][..]));
    assert!(hole.contradictions.is_empty() && hole.differing.is_empty());
    // It may be read from any part on, and nobody knows of later ones.
    for some in [&[1, 2][..], &[2], &[0, 1]] {
        let verdict = given(some);
        assert_eq!((verdict.judgement(), verdict.parts_missing.len()), (Judgement::Verified, 0));
    }
}

#[test]
fn a_truncated_part_makes_it_incomplete() {
    let mut parts = recording(true).parts();
    for cut in [40, 2000, parts[1].len() / 2] {
        let length = parts[1].len() - cut;
        parts[1].truncate(length);
        let verdict = verdict(&join(parts.clone()));
        assert_eq!(verdict.judgement(), Judgement::Incomplete);
        assert!(verdict.parts_broken[0].starts_with("part 2: "), "{:?}", verdict.parts_broken);
        assert!(verdict.contradictions.is_empty() && verdict.differing.is_empty(), "{verdict:?}");
        assert_eq!(verdict.chunks_differing + verdict.direct_differing, 0);
    }
}

#[test]
fn within_a_window_the_next_part_must_go_on_at_the_same_keyframe() {
    let mut recorder = Recorder::of(12, "c3");
    recorder.keyframe();
    recorder.window(USUAL);
    recorder.between(100);
    recorder.next_part_at_keyframe();
    recorder.window(USUAL);
    let parts = recorder.parts();
    let lonely = recording(true).parts().remove(0);
    assert!(verdict(&join(parts.clone())).parts_broken.is_empty());
    // The other recording is no part of this one, whatever it says.
    let traces = [parts[0].clone(), lonely].map(|bytes| Trace::open(std::io::Cursor::new(bytes)).expect("a trace"));
    assert_eq!(Trace::join(traces.into()).err(), Some(Apart::Foreign(0, 1)));
}
