//! Opening uprobes through the `uprobe` PMU.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use perf_event_open_sys as perf;
use perf_event_open_sys::bindings as raw;

use super::Undertaker;
use crate::hits::{CALLER_REGISTERS, CALLER_STACK, SAMPLED_REGISTERS};
use crate::stacks::record::{STACK_BYTES, STACK_REGISTERS};

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
    /// Whether threads and children that start or end, and programs that take over, write records too.
    pub follow_tasks: bool,
    /// What a record tells.
    pub tells: Tells,
}

/// What a record tells beside its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tells {
    /// The arguments of the call.
    Arguments,
    /// Enough to see whether the allocator called: more registers, and the top of the stack.
    Caller,
    /// Enough to follow the stack; of every so many hits only.
    Stack {
        /// One of so many hits writes a record.
        every: u64,
    },
}

/// A probe on one thread. Closing it takes the breakpoint out, whoever closes it: the kernel does if we die.
#[derive(Debug)]
pub struct PerfEvent {
    fd: OwnedFd,
    /// None until it is dropped. Behind `fd`, because fields are dropped in their order: its is the last word.
    undertaker: Option<Undertaker>,
}

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
            attr.__bindgen_anon_1.sample_period = if let Tells::Stack { every } = spec.tells { every } else { 1 };
            attr.sample_type =
                u64::from(raw::PERF_SAMPLE_IDENTIFIER | raw::PERF_SAMPLE_TIME | raw::PERF_SAMPLE_REGS_USER);
            let (registers, stack) = match spec.tells {
                Tells::Arguments => (SAMPLED_REGISTERS, 0),
                Tells::Caller => (CALLER_REGISTERS, CALLER_STACK),
                Tells::Stack { .. } => (STACK_REGISTERS, STACK_BYTES),
            };
            (attr.sample_regs_user, attr.sample_stack_user) = (registers, stack);
            if stack > 0 {
                attr.sample_type |= u64::from(raw::PERF_SAMPLE_STACK_USER);
            }
            attr.set_use_clockid(1);
            attr.clockid = CLOCK_MONOTONIC;
            attr.set_watermark(1);
            attr.__bindgen_anon_2.wakeup_watermark = watermark;
            attr.set_task(u64::from(spec.follow_tasks));
            // A new name for the process: of interest is the one that a new program brings.
            attr.set_comm(u64::from(spec.follow_tasks));
            attr.set_comm_exec(u64::from(spec.follow_tasks));
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
        Ok(PerfEvent { fd: unsafe { OwnedFd::from_raw_fd(fd) }, undertaker: None })
    }

    /// Sends the records into another event's ring.
    pub fn redirect_to(&self, owner: &PerfEvent) -> io::Result<()> {
        // SAFETY: both descriptors are open perf events; the argument is passed by value.
        check(unsafe { perf::ioctls::SET_OUTPUT(self.fd.as_raw_fd(), owner.fd.as_raw_fd()) })
    }

    /// Starts counting and recording.
    pub fn enable(&self) -> io::Result<()> {
        // SAFETY: the descriptor is an open perf event; the argument is a flag word.
        check(unsafe { perf::ioctls::ENABLE(self.fd.as_raw_fd(), 0) })
    }

    /// The number that this event's records carry.
    pub fn id(&self) -> io::Result<u64> {
        let mut id = 0u64;
        // SAFETY: the kernel writes one u64 through the pointer.
        check(unsafe { perf::ioctls::ID(self.fd.as_raw_fd(), &mut id) })?;
        Ok(id)
    }

    /// Hits and losses so far.
    pub fn counts(&self) -> io::Result<Counts> {
        let mut bytes = [0; 16];
        let read = rustix::io::read(&self.fd, &mut bytes)?;
        let word = |at: usize| u64::from_ne_bytes(std::array::from_fn(|i| bytes[at + i]));
        Ok(Counts { hits: word(0), lost: if read == 16 { word(8) } else { 0 } })
    }
}

impl Drop for PerfEvent {
    fn drop(&mut self) {
        self.undertaker = Undertaker::take(&self.fd).ok();
    }
}

impl AsFd for PerfEvent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `CLOCK_MONOTONIC` of `<linux/time.h>`.
const CLOCK_MONOTONIC: i32 = 1;

fn check(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
