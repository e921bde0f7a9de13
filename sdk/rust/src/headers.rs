//! Headers of a record.

use crate::batch::{i32_at, u32_at, view};
use core::marker::PhantomData;

/// A header. Empty is not null, which is `None`.
#[derive(Clone, Copy)]
pub struct Header<'a> {
    pub key: &'a [u8],
    pub value: Option<&'a [u8]>,
}

/// The headers of a record, in order; iterate from the back for the last of a key.
#[derive(Clone)]
pub struct Headers<'a> {
    base: *const u8,
    table: *const u8,
    first: u32,
    end: u32,
    of: PhantomData<&'a [u8]>,
}

impl<'a> Headers<'a> {
    /// There must be n entries at table, with offsets from base, for as long as 'a.
    pub(crate) unsafe fn new(base: *const u8, table: *const u8, n: u32) -> Headers<'a> {
        Headers { base, table, first: 0, end: n, of: PhantomData }
    }

    #[inline]
    fn at(&self, i: u32) -> Header<'a> {
        // SAFETY: see new.
        unsafe {
            let e = self.table.add(16 * i as usize);
            Header {
                key: view(self.base, u32_at(e, 0), i32_at(e, 4)).unwrap_or(&[]),
                value: view(self.base, u32_at(e, 8), i32_at(e, 12)),
            }
        }
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    #[inline]
    fn next(&mut self) -> Option<Header<'a>> {
        if self.first == self.end {
            return None;
        }
        self.first += 1;
        Some(self.at(self.first - 1))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let n = (self.end - self.first) as usize;
        (n, Some(n))
    }
}

impl<'a> DoubleEndedIterator for Headers<'a> {
    #[inline]
    fn next_back(&mut self) -> Option<Header<'a>> {
        if self.first == self.end {
            return None;
        }
        self.end -= 1;
        Some(self.at(self.end))
    }
}

impl<'a> ExactSizeIterator for Headers<'a> {}
