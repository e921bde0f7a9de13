//! The facts of topics.

use crate::batch::{i32_at, u32_at, view, Batch};

/// The facts of a record's topic: the name always, the others if asked for.
#[derive(Clone, Copy)]
pub struct Topic<'a> {
    b: &'a Batch,
    entry: *const u8,
}

impl<'a> Topic<'a> {
    pub(crate) fn of(b: &'a Batch, i: u32) -> Topic<'a> {
        assert!(i < b.topics);
        // SAFETY: topics entries of 24 bytes are in the block.
        Topic { b, entry: unsafe { b.base.add((b.topics_off + 24 * i) as usize) } }
    }

    pub fn name(&self) -> &'a [u8] {
        // SAFETY: the host lays it out inside of the block.
        unsafe { view(self.b.base, u32_at(self.entry, 0), i32_at(self.entry, 4)).unwrap_or(&[]) }
    }

    /// At least 1 in a partitioner, 0 when unknown or not asked for.
    #[inline]
    pub fn partitions(&self) -> u32 {
        // SAFETY: inside of the entry.
        unsafe { u32_at(self.entry, 8) }
    }

    /// Rises when the host learns of a change.
    pub fn epoch(&self) -> u32 {
        // SAFETY: inside of the entry.
        unsafe { u32_at(self.entry, 20) }
    }

    /// Whether partition p has a leader. All have when the host does not know.
    #[inline]
    pub fn available(&self, p: u32) -> bool {
        // SAFETY: the bitmap has a bit for each partition.
        unsafe {
            let bits = u32_at(self.entry, 12);
            if bits == 0 || p >= self.partitions() {
                return p < self.partitions();
            }
            *self.b.base.add((bits + p / 8) as usize) >> (p % 8) & 1 == 1
        }
    }

    /// The bytes that wait to be sent to partition p.
    #[inline]
    pub fn load(&self, p: u32) -> u32 {
        // SAFETY: the list has a number for each partition.
        unsafe {
            let loads = u32_at(self.entry, 16);
            if loads == 0 || p >= self.partitions() {
                return 0;
            }
            u32_at(self.b.base, loads + 4 * p)
        }
    }
}
