//! The running block.

use crate::imports;
use crate::list::{Buf, List};
use crate::local::Local;
use crate::record::Record;
use crate::start::Hook;
use core::cell::{Cell, UnsafeCell};
use core::{ptr, slice};

/// The most records in a block.
pub const MAX_BATCH: usize = 512;

/// The records of a call. Later minor versions lengthen headers: everything is
/// found by the sizes and offsets that the block gives.
pub struct Batch {
    pub(crate) base: *mut u8,
    pub(crate) hook: Hook,
    pub(crate) count: u32,
    pub(crate) topics_off: u32,
    pub(crate) topics: u32,
    pub(crate) mod_off: u32,
    pub(crate) mod_cap: u32,
    pub(crate) mod_used: Cell<u32>,
    /// The first record whose verdict found no room; count when none.
    pub(crate) full: Cell<u32>,
    pub(crate) fresh: [Cell<u64>; MAX_BATCH / 64],
    pub(crate) pulled_value: UnsafeCell<Pulled>,
    pub(crate) pulled_headers: UnsafeCell<Pulled>,
    next: u32,
    at: *mut u8,
    verdicts: *mut u8,
}

/// What was pulled last, of the record that is running.
pub(crate) struct Pulled {
    pub of: u32,
    pub bytes: Buf,
    pub null: bool,
}

/// What ends with the running record: it counts if the record's verdict does. The
/// functions are there if the plugin uses what is behind them.
pub(crate) struct Settle {
    pub dirty: Local<bool>,
    pub refused: Local<bool>,
    pub metrics: Local<Option<fn(bool)>>,
    pub puts: Local<Option<fn(bool)>>,
    pub flush: Local<Option<fn(bool)>>,
}

pub(crate) static SETTLE: Settle = Settle {
    dirty: Local::new(false),
    refused: Local::new(false),
    metrics: Local::new(None),
    puts: Local::new(None),
    flush: Local::new(None),
};

impl Settle {
    pub fn end(&self, counts: bool) {
        self.dirty.set(false);
        for f in [self.metrics.get(), self.puts.get()].into_iter().flatten() {
            f(counts);
        }
    }
}

#[inline]
pub(crate) unsafe fn u16_at(p: *const u8, off: u32) -> u16 {
    ptr::read_unaligned(p.add(off as usize) as *const u16)
}

#[inline]
pub(crate) unsafe fn u32_at(p: *const u8, off: u32) -> u32 {
    ptr::read_unaligned(p.add(off as usize) as *const u32)
}

#[inline]
pub(crate) unsafe fn i32_at(p: *const u8, off: u32) -> i32 {
    u32_at(p, off) as i32
}

#[inline]
pub(crate) unsafe fn u64_at(p: *const u8, off: u32) -> u64 {
    ptr::read_unaligned(p.add(off as usize) as *const u64)
}

#[inline]
pub(crate) unsafe fn put32(p: *mut u8, off: u32, v: u32) {
    ptr::write_unaligned(p.add(off as usize) as *mut u32, v)
}

#[inline]
pub(crate) unsafe fn put64(p: *mut u8, off: u32, v: u64) {
    ptr::write_unaligned(p.add(off as usize) as *mut u64, v)
}

/// The n bytes at base + off, null when n is below 0.
#[inline]
pub(crate) unsafe fn view<'a>(base: *const u8, off: u32, n: i32) -> Option<&'a [u8]> {
    if n < 0 {
        return None;
    }
    Some(slice::from_raw_parts(base.add(off as usize), n as usize))
}

impl Batch {
    /// Takes the host's block; nothing when it is malformed.
    #[inline]
    pub(crate) unsafe fn read(hook: Hook, p: *mut u8, n: usize) -> Option<Batch> {
        let magic = if hook.judges() { *b"KLB1" } else { *b"KLA1" };
        if n < 64 || u32_at(p, 0) != u32::from_le_bytes(magic) || u32_at(p, 8) > MAX_BATCH as u32 || u16_at(p, 6) < 64 {
            return None;
        }
        const WORD: Cell<u64> = Cell::new(0);
        const NONE: Pulled = Pulled { of: u32::MAX, bytes: List::new(), null: false };
        Some(Batch {
            base: p,
            hook,
            count: u32_at(p, 8),
            topics_off: u32_at(p, 32),
            topics: u32_at(p, 36),
            mod_off: u32_at(p, 24),
            mod_cap: u32_at(p, 28),
            mod_used: Cell::new(0),
            full: Cell::new(u32_at(p, 8)),
            fresh: [WORD; MAX_BATCH / 64],
            pulled_value: UnsafeCell::new(NONE),
            pulled_headers: UnsafeCell::new(NONE),
            next: 0,
            at: p.add(u32_at(p, 16) as usize),
            verdicts: p.add(u32_at(p, 20) as usize),
        })
    }

    /// The next record. It ends early when the modification area is full: the host
    /// calls again with the rest.
    #[inline]
    pub fn next(&mut self) -> Option<Record<'_>> {
        if SETTLE.dirty.get() {
            SETTLE.end(self.next <= self.full.get());
        }
        let i = self.next;
        if i >= self.full.get() {
            return None;
        }
        let at = self.at;
        self.next += 1;
        // SAFETY: there are count records, each with its size, and as many verdicts.
        unsafe {
            self.at = at.add(u32_at(at, 0) as usize);
            Some(Record { b: self, at, verdict: self.verdicts.add(8 * i as usize), i })
        }
    }

    /// How many records there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The clock that claims use, the same for the whole call.
    pub fn now_ms(&self) -> i64 {
        // SAFETY: inside of the header.
        unsafe { u64_at(self.base, 40) as i64 }
    }

    /// Claims the key of every record in one call of the host; [`Record::fresh`] has
    /// the answers. The hook must ask for [`crate::KEY`]. A ttl of 0 or less keeps
    /// ids until the state is full.
    pub fn claim_keys(&self, ttl_ms: i64) {
        for word in &self.fresh {
            word.set(0);
        }
        // SAFETY: a bit for each record; cells may be written to.
        if unsafe { imports::claim_batch(self.fresh.as_ptr() as *mut u64, ttl_ms) } < 0 {
            SETTLE.refused.set(true);
        }
    }
}
