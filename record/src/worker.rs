//! A session's thread, and what all of them share.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use shared::trace::meta::{Cost, Process};

use crate::attach::{self, Found};
use crate::breakdown::Survey;
use crate::cli::Arguments;
use crate::control::{Control, Stopped};
use crate::freeze::Frozen;
use crate::governor::Pauses;
use crate::group::Event;
use crate::output::is_io;
use crate::progress::Progress;
use crate::recording::Recording;
use crate::report;
use crate::session::{Session, Settings};
use crate::target::Target;
use crate::{anonymize, priority};

/// What all sessions share.
#[derive(Debug)]
pub struct Shared {
    /// How to record.
    pub settings: Settings,
    /// When to stop.
    pub control: Arc<Control>,
    /// Whether names are left out.
    pub anonymized: bool,
    recording: Mutex<Option<Arc<Recording>>>,
    /// Makes it, once it is known what the first process is.
    make: fn(&Process, &Arguments) -> Result<Recording>,
    arguments: Arguments,
}

impl Shared {
    /// With `make` to make the recording when the first process to record is known.
    pub fn new(
        settings: Settings,
        control: Arc<Control>,
        arguments: Arguments,
        make: fn(&Process, &Arguments) -> Result<Recording>,
    ) -> Shared {
        Shared { settings, control, anonymized: arguments.anonymize, recording: Mutex::default(), make, arguments }
    }

    /// The recording, if there is one yet.
    pub fn recording(&self) -> Option<Arc<Recording>> {
        self.recording.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The recording, which a first process begins.
    fn begin(&self, first: &Process) -> Result<Arc<Recording>> {
        let mut recording = self.recording.lock().unwrap_or_else(PoisonError::into_inner);
        match &*recording {
            Some(recording) => Ok(Arc::clone(recording)),
            None => Ok(Arc::clone(recording.insert(Arc::new((self.make)(first, &self.arguments)?)))),
        }
    }
}

/// A session's thread: from attaching to the end of its part.
pub(crate) fn record(
    shared: &Shared,
    progress: &Arc<Progress>,
    attach: impl FnOnce() -> Result<(Found, Option<Frozen>)>,
    sender: &Sender<Event>,
    begun: &mut bool,
) -> Result<Stopped> {
    priority::raise();
    let (found, held) = attach()?;
    let pid = found.target.pid;
    progress.update(|figures| (figures.pid, figures.program) = (pid.as_raw() as u32, found.about.program.clone()));
    let recording = shared.begin(&found.about)?;
    let Found { target, about, door, vms } = found;
    let mut session = Session::new(target, about, door, shared.settings, recording.join()?, Arc::clone(progress))?;
    session.introduce(vms)?;
    let recorded = session.begin(held).and_then(|alive| {
        *begun = alive || session.has_keyframe();
        if !*begun {
            return Err(anyhow!("process {pid} ended while it was being attached to"));
        }
        let _ = sender.send(Event::Began { pid, text: report::found(&session) });
        session.run(&shared.control)
    });
    match recorded {
        Ok(stopped) => {
            session.close(stopped)?;
            Ok(stopped)
        }
        // Whatever failed because the process is gone, is its end; the trace says so, if it is to stay.
        Err(error) if !session.is_alive() && !is_io(&error) => {
            session.close(Stopped::TargetEnded)?;
            if *begun { Ok(Stopped::TargetEnded) } else { Err(error) }
        }
        Err(error) => Err(error),
    }
}

/// A thread for a process without a Lua VM, in mode `snapshot`: where its memory goes, once.
pub(crate) fn look(
    shared: &Shared,
    progress: &Progress,
    target: &Target,
    sender: &Sender<Event>,
    begun: &mut bool,
) -> Result<Stopped> {
    priority::raise();
    let pid = target.pid;
    let about = attach::describe(target, shared.anonymized);
    progress.update(|figures| (figures.pid, figures.program) = (about.pid, about.program.clone()));
    let recording = shared.begin(&about)?;
    let (pen, start) = (recording.join()?, recording.now());
    let longest = Duration::from_nanos(shared.settings.limits.max_pause);
    let mut pauses = Pauses::default();
    let allow = |bytes| pauses.fits(bytes, shared.settings.limits.max_pause).then_some(longest);
    let mut stops = Vec::new();
    let taken = Survey::default().take(target, &[], allow, &mut stops);
    let breakdown = taken.with_context(|| format!("process {pid} ended while it was being looked at"))?;
    let cost = stops.iter().map(|stop| stop.stopped.as_nanos() as u64).fold(Cost::default(), |cost, ns| Cost {
        pauses: cost.pauses + 1,
        paused_ns: cost.paused_ns + ns,
        longest_pause_ns: cost.longest_pause_ns.max(ns),
        ..cost
    });
    let now = recording.now();
    let cost = Cost { elapsed_ns: now - start, ..cost };
    progress.update(|figures| figures.cost = cost);
    let breakdown = if shared.anonymized { anonymize::breakdown(breakdown) } else { breakdown };
    let ended = Process { ended: Stopped::Snapshot.reason().to_owned(), cost, ..about };
    pen.write(true, |writer| writer.process(start, &ended))?;
    pen.write(true, |writer| writer.breakdown((start, now), &breakdown))?;
    *begun = true;
    let text = format!("process {pid} ({}): no Lua VM; where its memory goes is recorded", ended.program);
    let _ = sender.send(Event::Began { pid, text });
    Ok(Stopped::Snapshot)
}
