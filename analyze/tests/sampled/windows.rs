//! Windows: where they end as planned nothing is lost, and what lies between is followed by its mapping calls.

use analyze::replay::state::{heap_at, whole};
use analyze::replay::verdict::{Judgement, Verdict, Windows};
use analyze::report::{Asked, Report};
use shared::trace::frame::Kind;

use crate::recorder::{Bytes, Recorder, Shape, USUAL, plan};

fn verdict(trace: &Bytes) -> Verdict {
    whole(trace, &plan(trace)).verdict
}

fn text(verdict: &Verdict) -> String {
    let report = Report {
        source: String::new(),
        header: Default::default(),
        processes: Vec::new(),
        verdict: verdict.clone(),
        vms: Vec::new(),
    };
    let mut bytes = Vec::new();
    analyze::output::text::write(&report, &Default::default(), &mut bytes).expect("memory");
    // Lines are broken anywhere.
    String::from_utf8(bytes).expect("text").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Six windows: the third without a keyframe, every other one proven.
fn usual(seed: u64) -> Recorder {
    let mut recorder = Recorder::new(seed);
    for number in 0..6 {
        recorder.window(Shape { keyframe: number != 2, proven: number % 2 == 1, ..USUAL });
        recorder.between(2000);
    }
    recorder.missed("the heap is too large");
    recorder
}

#[test]
fn windows_are_replayed_and_nothing_is_lost_between_them() {
    for seed in 0..20 {
        let trace = usual(seed).trace();
        let verdict = verdict(&trace);
        assert_eq!(verdict.judgement(), Judgement::Verified, "{seed}: {verdict:?}");
        assert_eq!(verdict.windows, Windows { all: 6, with_keyframe: 5, proven: 3, lossy: 0 });
        assert_eq!((verdict.calls_replayed, verdict.calls_counted, verdict.calls_out_of_reach()), (1500, 300, 0));
        assert_eq!((verdict.keyframes, verdict.keyframes_compared), (8, 3));
        // Not over the window without a keyframe, nor behind the last one.
        assert_eq!((verdict.followed, verdict.followed_differing), (3, 0), "{seed}");
        assert!(verdict.gaps.is_empty() && verdict.missed.len() == 1);
        let text = text(&verdict);
        for part in [
            "300 calls in windows without a keyframe: counted, not replayed",
            "1 keyframe: the heap is too large",
            "6 windows, 5 from a keyframe on, 3 of these up to another one",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

#[test]
fn a_forgotten_mapping_call_shows() {
    let mut recorder = Recorder::new(1);
    recorder.window(USUAL);
    recorder.between(500);
    recorder.window(Shape { proven: true, ..USUAL });
    recorder.between_forgetful();
    recorder.window(USUAL);
    let verdict = verdict(&recorder.trace());
    assert_eq!((verdict.followed, verdict.followed_differing), (2, 1));
    assert_eq!(verdict.judgement(), Judgement::Incomplete);
    assert!(verdict.contradictions.is_empty());
    assert!(text(&verdict).contains("mapped bytes between windows: 1 of 2 stretches differs"));
}

#[test]
fn a_window_may_be_closed_between_a_call_and_its_mapping_call() {
    let mut recorder = Recorder::new(3);
    for _ in 0..4 {
        recorder.window_closed_early(USUAL);
        recorder.between(500);
    }
    recorder.window(USUAL);
    let verdict = verdict(&recorder.trace());
    assert_eq!((verdict.contradictions.len(), verdict.followed, verdict.followed_differing), (0, 4, 0), "{verdict:?}");
    assert_eq!(verdict.judgement(), Judgement::Consistent);
}

#[test]
fn losses_in_a_window_are_gaps() {
    let mut recorder = Recorder::new(4);
    recorder.window(Shape { proven: true, ..USUAL });
    recorder.between(100);
    recorder.lossy_window(USUAL);
    recorder.between(100);
    recorder.window(USUAL);
    let verdict = verdict(&recorder.trace());
    assert_eq!(verdict.judgement(), Judgement::Incomplete);
    assert_eq!((verdict.gaps.len(), verdict.windows.lossy, verdict.calls_counted), (1, 1, 0));
    assert_eq!((verdict.calls_replayed, verdict.calls_out_of_reach()), (900, 300));
}

#[test]
fn without_any_keyframe_it_says_what_is_missing() {
    let mut recorder = Recorder::new(5);
    for _ in 0..3 {
        recorder.missed("the heap of 4.0 GiB is too large");
        recorder.window(Shape { keyframe: false, ..USUAL });
        recorder.between(100);
    }
    let trace = recorder.trace();
    let verdict = verdict(&trace);
    assert_eq!(verdict.judgement(), Judgement::Incomplete);
    assert_eq!((verdict.calls_counted, &*verdict.without_keyframe), (900, &[1][..]));
    let text = text(&verdict);
    for part in [
        "incomplete: no heap is known",
        "900 calls in windows counted",
        "its heap is not known",
        "3 keyframes: the heap of",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(heap_at(&trace, &plan(&trace), 1, 1_000_000).is_err());
}

#[test]
fn between_windows_the_heap_is_the_one_at_the_end_of_the_last() {
    let mut recorder = Recorder::new(6);
    recorder.window(USUAL);
    let (end, heap) = (recorder.world.now, recorder.world.heap());
    recorder.between(2000);
    let middle = recorder.world.now;
    recorder.between(2000);
    recorder.window(Shape { proven: true, ..USUAL });
    let last = recorder.world.heap();
    recorder.between(100);
    let trace = recorder.trace();
    let plan = plan(&trace);
    let (at, moment, _) = heap_at(&trace, &plan, 1, middle).expect("a heap");
    assert!(at == heap && moment.between_windows && moment.is_as_meant());
    let said = moment.short_of.expect("said");
    assert!(said.starts_with("recorded in windows; the last one before that moment ended at "), "{said}");
    let (at, moment, _) = heap_at(&trace, &plan, 1, end).expect("a heap");
    assert!(at == heap && moment.short_of.is_none());
    let whole = whole(&trace, &plan);
    let (at, moment) = analyze::replay::state::heap_after(&trace, &plan, &whole, 1, Asked::End).expect("a heap");
    assert!(at == last && moment.between_windows);
}

#[test]
fn a_keyframe_without_a_window_stands_alone() {
    let mut recorder = Recorder::new(8);
    recorder.keyframe();
    recorder.between(300);
    recorder.keyframe();
    recorder.between(300);
    recorder.window(USUAL);
    recorder.between(300);
    recorder.keyframe();
    let (of, heap) = (recorder.world.now, recorder.world.heap());
    recorder.between(300);
    let later = recorder.world.now - 64_000;
    let trace = recorder.trace();
    let verdict = verdict(&trace);
    assert_eq!((verdict.judgement(), verdict.keyframes_compared), (Judgement::Consistent, 0), "{verdict:?}");
    assert_eq!((verdict.followed, verdict.followed_differing), (3, 0));
    let (at, moment, _) = heap_at(&trace, &plan(&trace), 1, later).expect("a heap");
    assert!(at == heap && moment.time == of && moment.between_windows);
    assert!(moment.short_of.expect("said").contains("the last keyframe up to that moment is of "));
}

#[test]
fn a_stop_may_fall_between_a_call_and_its_being_counted() {
    let mut recorder = Recorder::new(7);
    recorder.window(Shape { proven: true, ..USUAL });
    recorder.between(100);
    recorder.window(Shape { proven: true, ..USUAL });
    let bytes = recorder.parts().remove(0);
    // The keyframe says less than the allocator has given: a call before it, which is in no window.
    for (off, judgement) in [(40, Judgement::Verified), (1 << 30, Judgement::Contradicted)] {
        let trace = shift_gc_total(&bytes, off);
        assert_eq!(verdict(&trace).judgement(), judgement);
    }
}

/// The same trace, but the second window's keyframe has a `gc.total` that is so much less.
fn shift_gc_total(bytes: &[u8], off: u64) -> Bytes {
    use shared::trace::{meta::Trailer, writer::Writer};
    let trace = crate::recorder::join(vec![bytes.to_vec()]);
    let mut out = Vec::new();
    let mut writer = Writer::new(&mut out, &trace.header).expect("memory");
    let mut keyframes = 0;
    for frame in &trace.frames {
        let time = (frame.head.start, frame.head.end);
        match frame.head.kind {
            Kind::Process => writer.process(time.0, &trace.process(frame).expect("it")).expect("memory"),
            Kind::Vm => writer.vm(time.0, 1, &trace.vm(frame).expect("it")).expect("memory"),
            Kind::Gap => writer.gap(1, time, &trace.gap(frame).expect("it")).expect("memory"),
            Kind::Keyframe => {
                let mut keyframe = trace.keyframe(frame).expect("it");
                keyframes += 1;
                if keyframes == 3 {
                    keyframe.heap.gc_total = keyframe.heap.gc_total.wrapping_sub(off);
                }
                writer.keyframe(1, time, &keyframe).expect("memory");
            }
            Kind::Calls => {
                for event in trace.calls(frame).expect("it").events() {
                    match event {
                        shared::call::Event::Call(call) => writer.call(1, &call).expect("memory"),
                        shared::call::Event::Map(map) => writer.map(1, &map).expect("memory"),
                    }
                }
            }
            _ => {}
        }
    }
    writer.finish(0, Trailer::default()).expect("memory");
    crate::recorder::join(vec![out])
}
