//! The ring through which the kernel hands over records (`perf_event_mmap_page` and the data pages behind it).

use std::io;
use std::mem::offset_of;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use perf_event_open_sys::bindings::perf_event_mmap_page;
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

use super::PerfEvent;

const PAGE: usize = 4096;
/// `struct perf_event_header`: type u32, misc u16, size u16.
const RECORD_HEADER: usize = 8;

/// A mapped ring. Its event may be closed before it; the records stay readable.
#[derive(Debug)]
pub struct Ring {
    base: NonNull<u8>,
    data_size: usize,
    /// Holds the one record in flight that wraps around the ring's end.
    wrapped: Vec<u8>,
}

// SAFETY: the mapping is this ring's alone, and no thread has a claim on it: whoever has the ring may use and unmap it.
unsafe impl Send for Ring {}

impl Ring {
    /// Maps a ring of `pages` data pages, a power of two, for `event`. `QuotaExceeded` if so much memory may not be
    /// locked.
    pub fn map(event: &PerfEvent, pages: usize) -> io::Result<Ring> {
        let data_size = pages * PAGE;
        let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a fresh mapping at an address of the kernel's choice; nothing else refers to it.
        let mapped = unsafe { mmap(ptr::null_mut(), PAGE + data_size, prot, flags, event, 0) };
        let base = mapped.map_err(|error| match error {
            // perf_mmap() refuses for no other reason with this.
            Errno::PERM => io::Error::from(io::ErrorKind::QuotaExceeded),
            other => other.into(),
        })?;
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Ring { base, data_size, wrapped: Vec::new() })
    }

    fn head(&self) -> &AtomicU64 {
        self.counter(offset_of!(perf_event_mmap_page, data_head))
    }

    fn tail(&self) -> &AtomicU64 {
        self.counter(offset_of!(perf_event_mmap_page, data_tail))
    }

    /// The u64 at `offset` of the first page.
    fn counter(&self, offset: usize) -> &AtomicU64 {
        assert!(offset < PAGE && offset.is_multiple_of(align_of::<AtomicU64>()));
        // SAFETY: the assertion keeps us in the first page, which is mapped.
        let counter = unsafe { self.base.add(offset) };
        // SAFETY: aligned, mapped for as long as `self` lives, and every access, ours and the kernel's, is atomic.
        unsafe { AtomicU64::from_ptr(counter.cast().as_ptr()) }
    }

    /// `len` bytes of the data area from `start`, which must lie in it.
    fn data(&self, start: usize, len: usize) -> &[u8] {
        assert!(start <= self.data_size && len <= self.data_size - start);
        // SAFETY: the data pages follow the first page; the assertion keeps us in them.
        let first = unsafe { self.base.as_ptr().add(PAGE + start) };
        // SAFETY: initialised memory of this mapping. The kernel does not write between tail and head, and callers
        // only ask for bytes there.
        unsafe { std::slice::from_raw_parts(first, len) }
    }

    /// How far the kernel has written, in bytes since the ring was made.
    pub fn position(&self) -> u64 {
        // Acquire pairs with the kernel's store of data_head behind the records (perf_output_put_handle).
        self.head().load(Ordering::Acquire)
    }

    /// Whether nothing is there that was not handed out.
    pub fn is_drained(&self) -> bool {
        self.tail().load(Ordering::Relaxed) == self.position()
    }

    /// Hands out every whole record there is, header included, and leaves all of them in the ring.
    pub fn peek(&mut self, each: impl FnMut(&[u8])) {
        self.read(self.position(), each);
    }

    /// Hands every whole record up to `until` (a [`Ring::position`]; `None` for all there are) to `each`, header
    /// included, and gives the room back to the kernel. Returns the bytes read.
    pub fn drain(&mut self, until: Option<u64>, each: impl FnMut(&[u8])) -> usize {
        let start = self.tail().load(Ordering::Relaxed);
        let tail = self.read(self.position().min(until.unwrap_or(u64::MAX)), each);
        // Release: our reads of the records come before the kernel may overwrite them.
        self.tail().store(tail, Ordering::Release);
        (tail - start) as usize
    }

    /// Hands every whole record from the tail to `head` to `each`. Returns where it came to.
    fn read(&mut self, head: u64, mut each: impl FnMut(&[u8])) -> u64 {
        let mut tail = self.tail().load(Ordering::Relaxed);
        let head = head.max(tail);
        while head - tail >= RECORD_HEADER as u64 {
            let at = (tail % self.data_size as u64) as usize;
            // Records are multiples of 8 bytes, so a header never wraps.
            let header = self.data(at, RECORD_HEADER);
            let size = usize::from(u16::from_ne_bytes([header[6], header[7]]));
            if size < RECORD_HEADER || size as u64 > head - tail {
                // The kernel does not write this; were it to, the rest of the ring could not be told apart.
                tail = head;
                break;
            }
            let to_end = self.data_size - at;
            if size <= to_end {
                each(self.data(at, size));
            } else {
                let mut wrapped = std::mem::take(&mut self.wrapped);
                wrapped.clear();
                wrapped.extend_from_slice(self.data(at, to_end));
                wrapped.extend_from_slice(self.data(0, size - to_end));
                each(&wrapped);
                self.wrapped = wrapped;
            }
            tail += size as u64;
        }
        tail
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: our own mapping, with the length it was made with; no borrow outlives `self`.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), PAGE + self.data_size) };
        debug_assert!(unmapped.is_ok());
    }
}
