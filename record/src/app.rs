//! The program: from arguments to a trace and a summary.

use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;
use shared::trace::meta::{Header, Process, Trailer};

use crate::cli::{Arguments, ModeName};
use crate::clock::{monotonic_ns, own_cpu_ns};
use crate::control::{Control, Stopped};
use crate::group::{Event, Group, Who};
use crate::launch::Launched;
use crate::output::Output;
use crate::progress::{self, Figures};
use crate::recording::Recording;
use crate::session::Settings;
use crate::stacks::Sampling;
use crate::status::Status;
use crate::worker::Shared;
use crate::{calibrate, platform, report};

/// How often to look for new processes, at the size of the trace and at the clock.
const TICK: Duration = Duration::from_millis(100);
/// How long to wait for a child's status once its VM is gone.
const CHILD_PATIENCE: Duration = Duration::from_secs(5);

/// Runs the program.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    platform::check()?;
    arguments.check()?;
    if let Some(path) = &arguments.output {
        output_of(arguments, path.clone()).check(arguments.first_part())?;
    }
    let control = Arc::new(Control::default());
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&control.signal)).context("cannot catch signals")?;
    }
    // Ctrl-Z is caught and does nothing: suspended, we could leave a process standing still, or paying for every call. It
    // is caught, not ignored, because a program that we start would inherit that.
    signal_hook::flag::register(signal_hook::consts::SIGTSTP, Arc::default()).context("cannot catch signals")?;
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, unlimited_files());
    let hit_ns = if arguments.mode == ModeName::Snapshot { (0, 0) } else { calibrate::hit_cost_ns_or_guess() };
    let stacks = match arguments.stacks {
        Some(rate) => Some(Sampling::new(rate, hit_ns.0, calibrate::stack_price()?)),
        None => None,
    };
    let settings = Settings {
        mode: arguments.mode(),
        limits: arguments.limits(),
        hit_ns: (hit_ns.0 + stacks.map_or(0, |stacks| stacks.adds_ns()), hit_ns.1),
        breakdown_every: arguments.breakdown_every,
        stacks,
        names: arguments.names,
    };
    let shared = Arc::new(Shared::new(settings, Arc::clone(&control), arguments.clone(), recording));
    let mut run = Run { shared, control, status: Status::new(arguments), began: 0, trouble: Vec::new() };
    let ended = run.record(arguments);
    run.status.clear();
    ended
}

/// Every thread takes half a dozen descriptors.
fn unlimited_files() -> rustix::process::Rlimit {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum }
}

fn output_of(arguments: &Arguments, path: std::path::PathBuf) -> Output {
    if path.as_os_str() == "-" { Output::Stdout } else { Output::File { path, force: arguments.force } }
}

/// The recording, once the first process is known: it may name the trace.
fn recording(first: &Process, arguments: &Arguments) -> Result<Recording> {
    let default = || format!("{}-{}.ljt", first.program, first.pid).into();
    let output = output_of(arguments, arguments.output.clone().unwrap_or_else(default));
    output.check(arguments.first_part())?;
    let recording = Recording::new(output, header(arguments)?, arguments.rotate, arguments.max_size);
    Ok(if arguments.collect_symbols { recording.with_symbols() } else { recording })
}

fn header(arguments: &Arguments) -> Result<Header> {
    let uname = rustix::system::uname();
    let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
    let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut id = [0; 16];
    rustix::rand::getrandom(&mut id[..], rustix::rand::GetRandomFlags::empty()).context("no random numbers")?;
    Ok(Header {
        writer: format!("ljscope record {}", env!("CARGO_PKG_VERSION")),
        started_unix_ns: started.as_nanos() as u64,
        clock: "CLOCK_MONOTONIC".into(),
        clock_start_ns: monotonic_ns(),
        host: if arguments.anonymize { String::new() } else { text(uname.nodename()) },
        kernel: text(uname.release()),
        arch: text(uname.machine()),
        mode: arguments.mode.name().into(),
        options: arguments.options(),
        recording: if arguments.rotate.is_some() { format!("{:032x}", u128::from_ne_bytes(id)) } else { String::new() },
        anonymized: arguments.anonymize,
        part: 0,
    })
}

/// A recording on its way.
struct Run {
    shared: Arc<Shared>,
    control: Arc<Control>,
    status: Status,
    /// How many sessions have begun.
    began: usize,
    /// What went wrong in some session, while others went on.
    trouble: Vec<String>,
}

impl Run {
    fn record(&mut self, arguments: &Arguments) -> Result<ExitCode> {
        // What the program prints must not get in between the trace.
        let is_stdout = arguments.output.as_ref().is_some_and(|path| path.as_os_str() == "-");
        let stdout = if is_stdout { Stdio::from(std::io::stderr()) } else { Stdio::inherit() };
        let launched = match (&arguments.command, &*arguments.program) {
            (Some(command), _) => Some(Launched::shell(command, stdout)?),
            (None, []) => None,
            (None, words) => Some(Launched::program(words, stdout)?),
        };
        let who = match (&launched, &arguments.name) {
            (Some(launched), _) => Who::Pids(vec![launched.pid()]),
            (None, Some(name)) => Who::Name(name.clone()),
            (None, None) => Who::Pids(arguments.pid.iter().map(|pid| Pid::from_raw(*pid)).collect()),
        };
        let mut group = Group::new(who, Arc::clone(&self.shared));
        match &launched {
            Some(launched) => group.launch(launched.clone()),
            None => group.start()?,
        }
        if let Err(error) = self.first(&mut group) {
            // Nothing is recorded, so nothing is left behind.
            self.control.stop(Stopped::Failed);
            while group.running() > 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            return match self.shared.recording() {
                Some(recording) => recording.output().give_up(false, error),
                None => Err(error),
            };
        }
        if let Some(duration) = arguments.duration {
            self.control.set_until(Instant::now() + duration);
        }
        let Some(recording) = self.shared.recording() else { bail!("nothing was recorded") };
        self.status.writing(&recording);
        let failed = self.go_on(&mut group, &recording, arguments, launched.as_ref());
        self.finish(&mut group, &recording, launched.as_ref(), failed)
    }

    /// Waits until all sessions that were started have begun, or failed.
    fn first(&mut self, group: &mut Group) -> Result<()> {
        let mut left = group.started();
        let mut error = None;
        while left > 0 {
            match group.events.recv() {
                Ok(Event::Began { pid, text }) => {
                    self.began += 1;
                    left -= 1;
                    group.adopt(pid);
                    self.status.say(&text);
                }
                Ok(Event::Ended { result: Err(why), begun: false, .. }) => {
                    left -= 1;
                    error.get_or_insert(why);
                }
                Ok(Event::Ended { pid, result: Err(why), .. }) => self.trouble.push(format!("process {pid}: {why:#}")),
                Ok(Event::Ended { .. }) => {}
                Err(_) => break,
            }
        }
        match error {
            Some(error) if self.began == 0 => Err(error),
            Some(error) => {
                self.trouble.push(format!("{error:#}"));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Until it is time to stop: new processes, the size of the trace, the status. Returns what ended it by force.
    fn go_on(
        &mut self,
        group: &mut Group,
        recording: &Arc<Recording>,
        arguments: &Arguments,
        launched: Option<&Launched>,
    ) -> Option<anyhow::Error> {
        loop {
            match group.events.recv_timeout(TICK) {
                Ok(Event::Began { pid, text }) => {
                    self.began += 1;
                    group.adopt(pid);
                    self.status.say(&text);
                }
                Ok(Event::Ended { pid, result, begun }) => match result {
                    Ok(()) => self.status.ended(pid),
                    Err(error) if crate::output::is_io(&error) => {
                        self.control.stop(Stopped::Failed);
                        return Some(error);
                    }
                    // One that was found by looking may be gone before it could be attached to.
                    Err(error) if begun => self.trouble.push(format!("process {pid}: {error:#}")),
                    Err(_) => {}
                },
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            let figures = group.figures();
            recording.set_cost(total(&figures, recording));
            if let Err(error) = recording.rotate_if_due() {
                self.control.stop(Stopped::Failed);
                return Some(error);
            }
            if recording.is_full() {
                self.control.stop(Stopped::Size);
            }
            self.status.tick(&figures, recording);
            if self.control.stopped().is_some() {
                return None;
            }
            if arguments.mode == ModeName::Snapshot {
                if group.running() == 0 {
                    return None;
                }
                continue;
            }
            group.look();
            let child_ended = launched.is_none_or(|launched| !matches!(launched.status(), Ok(None)));
            if child_ended && group.is_over() {
                return None;
            }
        }
    }

    /// Waits for all sessions' ends and ends the trace.
    fn finish(
        &mut self,
        group: &mut Group,
        recording: &Arc<Recording>,
        launched: Option<&Launched>,
        mut failed: Option<anyhow::Error>,
    ) -> Result<ExitCode> {
        while group.running() > 0 || !self.is_drained(group, &mut failed) {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.status.clear();
        let figures = group.figures();
        let stopped = self.control.stopped();
        let ended = match stopped {
            None if self.shared.settings.mode == crate::session::Mode::Snapshot => Stopped::Snapshot,
            None => Stopped::TargetEnded,
            Some(stopped) => stopped,
        };
        let all = |why: &Stopped| figures.iter().all(|one| one.ended.as_deref() == Some(why.reason()));
        let ended = [Stopped::TargetEnded, Stopped::Replaced].into_iter().find(all).unwrap_or(ended);
        let status = match launched {
            Some(launched) if ended == Stopped::TargetEnded => launched.wait(CHILD_PATIENCE)?,
            Some(launched) => launched.status()?,
            None => None,
        };
        recording.set_cost(total(&figures, recording));
        let trailer = Trailer {
            reason: ended.reason().to_owned(),
            target_ended: ended == Stopped::TargetEnded,
            target_status: status,
            ..Trailer::default()
        };
        if let Some(error) = failed {
            return recording.output().give_up(true, error);
        }
        let trailer = match recording.finish(trailer) {
            Ok(Some(trailer)) => trailer,
            Ok(None) => bail!("nothing was recorded"),
            Err(error) => return recording.output().give_up(true, error.into()),
        };
        let summary = report::Summary {
            trailer: &trailer,
            figures: &figures,
            recording,
            trouble: &self.trouble,
            mode: self.shared.settings.mode,
        };
        self.status.summary(&summary);
        Ok(if summary.is_incomplete() { ExitCode::from(2) } else { ExitCode::SUCCESS })
    }

    /// Takes what sessions told at their end.
    fn is_drained(&mut self, group: &Group, failed: &mut Option<anyhow::Error>) -> bool {
        while let Ok(event) = group.events.try_recv() {
            if let Event::Ended { pid, result: Err(error), begun } = event {
                if crate::output::is_io(&error) {
                    failed.get_or_insert(error);
                } else if begun {
                    self.trouble.push(format!("process {pid}: {error:#}"));
                }
            }
        }
        true
    }
}

/// What all sessions together have cost.
fn total(figures: &[Figures], recording: &Recording) -> shared::trace::meta::Cost {
    let cost = progress::total(figures);
    shared::trace::meta::Cost { elapsed_ns: recording.now(), recorder_cpu_ns: own_cpu_ns(), ..cost }
}
