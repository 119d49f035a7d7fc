//! Opening uprobes through the `uprobe` PMU.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use perf_event_open_sys as perf;
use perf_event_open_sys::bindings as raw;

use crate::hits::SAMPLED_REGISTERS;

/// What to probe, and how much to say about each hit.
#[derive(Debug, Clone)]
pub struct ProbeSpec {
    /// The `uprobe` PMU's type, from `/sys/bus/event_source/devices/uprobe/type`.
    pub pmu: u32,
    /// The file that holds the instruction, as the recorder can open it.
    pub path: CString,
    /// The instruction's offset in the file.
    pub offset: u64,
    /// Bytes in the ring after which a poll wakes up; `None` only counts hits and writes no records.
    pub watermark: Option<u32>,
    /// Whether threads and children that start or end write records too.
    pub follow_tasks: bool,
}

/// A probe on one thread. Closing it takes the breakpoint out, whoever closes it: the kernel does if we die.
#[derive(Debug)]
pub struct PerfEvent(OwnedFd);

/// What the kernel counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Hits, written or not.
    pub hits: u64,
    /// Hits for which the ring had no room; always 0 before Linux 6.0.
    pub lost: u64,
}

impl PerfEvent {
    /// Opens the probe on thread `tid`, disabled. The breakpoint is in the text from here on.
    pub fn open(spec: &ProbeSpec, tid: i32) -> io::Result<PerfEvent> {
        let mut attr = raw::perf_event_attr {
            type_: spec.pmu,
            size: size_of::<raw::perf_event_attr>() as u32,
            read_format: u64::from(raw::PERF_FORMAT_LOST),
            ..Default::default()
        };
        attr.__bindgen_anon_3.uprobe_path = spec.path.as_ptr() as u64;
        attr.__bindgen_anon_4.probe_offset = spec.offset;
        attr.set_disabled(1);
        attr.set_exclude_kernel(1);
        attr.set_exclude_hv(1);
        if let Some(watermark) = spec.watermark {
            attr.__bindgen_anon_1.sample_period = 1;
            attr.sample_type =
                u64::from(raw::PERF_SAMPLE_IDENTIFIER | raw::PERF_SAMPLE_TIME | raw::PERF_SAMPLE_REGS_USER);
            attr.sample_regs_user = SAMPLED_REGISTERS;
            attr.set_use_clockid(1);
            attr.clockid = CLOCK_MONOTONIC;
            attr.set_watermark(1);
            attr.__bindgen_anon_2.wakeup_watermark = watermark;
            attr.set_task(u64::from(spec.follow_tasks));
        }
        match Self::open_raw(&mut attr, tid) {
            // Before Linux 6.0 the kernel does not know PERF_FORMAT_LOST.
            Err(e) if e.raw_os_error() == Some(rustix::io::Errno::INVAL.raw_os_error()) => {
                attr.read_format = 0;
                Self::open_raw(&mut attr, tid)
            }
            other => other,
        }
    }

    fn open_raw(attr: &mut raw::perf_event_attr, tid: i32) -> io::Result<PerfEvent> {
        let any_cpu = -1;
        let no_group = -1;
        let flags = u64::from(raw::PERF_FLAG_FD_CLOEXEC);
        // SAFETY: `attr` is a whole `perf_event_attr` that says its own size; the path it points to lives in the
        // caller's `ProbeSpec` until the call returns.
        let fd = unsafe { perf::perf_event_open(attr, tid, any_cpu, no_group, flags) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given us this descriptor, and nobody else has it.
        Ok(PerfEvent(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sends the records into another event's ring.
    pub fn redirect_to(&self, owner: &PerfEvent) -> io::Result<()> {
        // SAFETY: both descriptors are open perf events; the argument is passed by value.
        check(unsafe { perf::ioctls::SET_OUTPUT(self.0.as_raw_fd(), owner.0.as_raw_fd()) })
    }

    /// Starts counting and recording.
    pub fn enable(&self) -> io::Result<()> {
        // SAFETY: the descriptor is an open perf event; the argument is a flag word.
        check(unsafe { perf::ioctls::ENABLE(self.0.as_raw_fd(), 0) })
    }

    /// The number that this event's records carry.
    pub fn id(&self) -> io::Result<u64> {
        let mut id = 0u64;
        // SAFETY: the kernel writes one u64 through the pointer.
        check(unsafe { perf::ioctls::ID(self.0.as_raw_fd(), &mut id) })?;
        Ok(id)
    }

    /// Hits and losses so far.
    pub fn counts(&self) -> io::Result<Counts> {
        let mut bytes = [0; 16];
        let read = rustix::io::read(&self.0, &mut bytes)?;
        let word = |at: usize| u64::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]));
        Ok(Counts { hits: word(0), lost: if read == 16 { word(8) } else { 0 } })
    }
}

impl AsFd for PerfEvent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// `CLOCK_MONOTONIC` of `<linux/time.h>`.
const CLOCK_MONOTONIC: i32 = 1;

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
