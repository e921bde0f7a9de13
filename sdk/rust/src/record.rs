//! What can be read of a record.

use crate::batch::{i32_at, u16_at, u32_at, u64_at, view, Batch, Pulled};
use crate::headers::{Header, Headers};
use crate::imports;
use crate::topic::Topic;

/// A record of the running block. What it lends is valid until the next one.
pub struct Record<'b> {
    pub(crate) b: &'b Batch,
    pub(crate) at: *mut u8,
    pub(crate) verdict: *mut u8,
    pub(crate) i: u32,
}

/// What became of a record.
#[derive(Clone, Copy)]
pub struct Ack {
    /// 0 for delivered, Kafka's error code, or one of Klamm's below 0.
    pub error: i32,
    pub dropped: bool,
    pub retried: bool,
    pub aborted: bool,
    /// An earlier version of the plugin has judged the record.
    pub earlier: bool,
    pub latency_us: u32,
    /// The reason of a drop, and which plugin dropped it.
    pub reason: u32,
    pub plugin: u16,
}

const VALUE_OMITTED: u32 = 1;
const HEADERS_OMITTED: u32 = 2;
const TRANSACTIONAL: u32 = 8;

impl<'b> Record<'b> {
    #[inline]
    fn u32(&self, off: u32) -> u32 {
        // SAFETY: record headers have 64 bytes or more.
        unsafe { u32_at(self.at, off) }
    }

    #[inline]
    fn i64(&self, off: u32) -> i64 {
        // SAFETY: record headers have 64 bytes or more.
        unsafe { u64_at(self.at, off) as i64 }
    }

    /// The block that the record is in.
    pub fn batch(&self) -> &'b Batch {
        self.b
    }

    /// The place in the block, from 0.
    pub fn index(&self) -> usize {
        self.i as usize
    }

    #[inline]
    pub fn key(&self) -> Option<&'b [u8]> {
        // SAFETY: the host lays it out inside of the record, and nothing overwrites it.
        unsafe { view(self.at, self.u32(32), self.u32(36) as i32) }
    }

    /// The length of the value, also of one that was left out; nothing for null.
    #[inline]
    pub fn value_len(&self) -> Option<usize> {
        match self.u32(44) as i32 {
            n if n < 0 => None,
            n => Some(n as usize),
        }
    }

    #[inline]
    pub fn value(&self) -> Option<&[u8]> {
        if self.u32(4) & VALUE_OMITTED != 0 {
            return self.pull_value();
        }
        // SAFETY: the host lays it out inside of the record; set_value, which
        // overwrites it, ends the loan.
        unsafe { view(self.at, self.u32(40), self.u32(44) as i32) }
    }

    /// Whether the value is in the block, so that one of its length can take its
    /// place.
    #[inline]
    pub(crate) fn holds(&self, n: usize) -> bool {
        self.u32(4) & VALUE_OMITTED == 0 && self.u32(44) as i32 == n as i32
    }

    #[inline(never)]
    fn pull_value(&self) -> Option<&[u8]> {
        // SAFETY: what is there is of another record, so that nothing is lent.
        if unsafe { (*self.b.pulled_value.get()).of } != self.i {
            let p = unsafe { &mut *self.b.pulled_value.get() };
            let n = pull(p, self.value_len().unwrap_or(0), |to, cap| unsafe { imports::value(self.i, to, cap) });
            p.null = n < 0;
            p.of = self.i;
        }
        // SAFETY: it stays until the next record.
        let p = unsafe { &*self.b.pulled_value.get() };
        if p.null {
            return None;
        }
        Some(&p.bytes)
    }

    /// All headers, in order.
    #[inline]
    pub fn headers(&self) -> Headers<'_> {
        // SAFETY: record headers have 64 bytes or more.
        let n = unsafe { u16_at(self.at, 52) } as u32;
        if n > 0 && self.u32(4) & HEADERS_OMITTED != 0 {
            return self.pull_headers(n);
        }
        // SAFETY: the host lays them out inside of the record.
        unsafe { Headers::new(self.at, self.at.add(self.u32(48) as usize), n) }
    }

    #[inline(never)]
    fn pull_headers(&self, n: u32) -> Headers<'_> {
        // SAFETY: what is there is of another record, so that nothing is lent.
        if unsafe { (*self.b.pulled_headers.get()).of } != self.i {
            let p = unsafe { &mut *self.b.pulled_headers.get() };
            let size = pull(p, 256, |to, cap| unsafe { imports::headers(self.i, to, cap) });
            assert!(size >= 16 * n as i32);
            p.of = self.i;
        }
        // SAFETY: entries come first, with offsets from them; they stay until the
        // next record.
        let p = unsafe { (*self.b.pulled_headers.get()).bytes.as_ptr() };
        unsafe { Headers::new(p, p, n) }
    }

    /// The last header of that key, as Kafka's lastHeader. Its value may be null.
    #[inline]
    pub fn header(&self, key: impl AsRef<[u8]>) -> Option<Header<'_>> {
        let key = key.as_ref();
        self.headers().rev().find(|h| h.key == key)
    }

    /// Milliseconds since 1970.
    pub fn timestamp_ms(&self) -> i64 {
        self.i64(8)
    }

    /// -1 in on_send and partition.
    pub fn offset(&self) -> i64 {
        self.i64(16)
    }

    /// The explicit partition, or the one that the record has; -1 none.
    pub fn partition(&self) -> i32 {
        self.u32(24) as i32
    }

    pub fn transactional(&self) -> bool {
        self.u32(4) & TRANSACTIONAL != 0
    }

    /// The record's identity: unique in the host's process, the same in every plugin,
    /// call, retry and acknowledgement.
    #[inline]
    pub fn reference(&self) -> u64 {
        self.i64(56) as u64
    }

    #[inline]
    pub fn topic(&self) -> Topic<'b> {
        Topic::of(self.b, self.u32(28))
    }

    /// What became of the record, in on_acknowledgement and on_commit.
    pub fn ack(&self) -> Option<Ack> {
        if self.b.hook.judges() {
            return None;
        }
        // SAFETY: such records end with 32 bytes about it.
        unsafe {
            let p = self.at.add(self.u32(0) as usize - 32);
            let flags = u32_at(p, 4);
            Some(Ack {
                error: i32_at(p, 0),
                dropped: flags & 1 != 0,
                retried: flags & 2 != 0,
                aborted: flags & 4 != 0,
                earlier: flags & 8 != 0,
                latency_us: u32_at(p, 8),
                reason: u32_at(p, 12),
                plugin: u16_at(p, 16),
            })
        }
    }
}

/// Asks the host until what it has fits, and returns its answer, the length. The
/// buffer has exactly as much afterwards.
fn pull(p: &mut Pulled, guess: usize, ask: impl Fn(*mut u8, usize) -> i32) -> i32 {
    p.bytes.clear();
    p.bytes.reserve(guess);
    loop {
        let n = ask(p.bytes.as_mut_ptr(), p.bytes.capacity());
        if n <= p.bytes.capacity() as i32 {
            // SAFETY: the host has written as many.
            unsafe { p.bytes.set_len(n.max(0) as usize) };
            return n;
        }
        p.bytes.reserve(n as usize);
    }
}
