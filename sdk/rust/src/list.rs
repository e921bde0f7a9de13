//! Memory that grows. Rust before 1.68 has `alloc` only with `std`, so this is our
//! own.

use crate::heap;
use core::ops::{Deref, DerefMut};
use core::{mem, ptr, slice};

/// Values in a row, as `Vec` has them. It keeps its memory: clear it to use it anew.
pub struct List<T> {
    p: *mut T,
    len: usize,
    cap: usize,
}

/// Bytes that grow.
pub type Buf = List<u8>;

impl<T> List<T> {
    pub const fn new() -> List<T> {
        List { p: ptr::NonNull::dangling().as_ptr(), len: 0, cap: 0 }
    }

    pub fn capacity(&self) -> usize {
        self.cap
    }

    /// Makes room for n more. Without memory it traps.
    #[inline]
    pub fn reserve(&mut self, n: usize) {
        if self.cap - self.len < n {
            self.grow(n);
        }
    }

    #[inline(never)]
    fn grow(&mut self, n: usize) {
        let size = mem::size_of::<T>();
        let least = self.len.checked_add(n).unwrap_or(usize::MAX);
        let some = least.saturating_add(self.cap).max(64 / size.max(1));
        // SAFETY: what is moved fits, and the old memory was got like the new.
        unsafe {
            for cap in [some, least] {
                let p = match cap.checked_mul(size) {
                    Some(bytes) => heap::take(bytes) as *mut T,
                    None => ptr::null_mut(),
                };
                if !p.is_null() {
                    ptr::copy_nonoverlapping(self.p, p, self.len);
                    self.release();
                    (self.p, self.cap) = (p, cap);
                    return;
                }
            }
        }
        heap::trap()
    }

    unsafe fn release(&mut self) {
        if self.cap > 0 {
            heap::give(self.p as *mut u8);
        }
    }

    #[inline]
    pub fn push(&mut self, v: T) {
        self.reserve(1);
        // SAFETY: there is room.
        unsafe { self.p.add(self.len).write(v) };
        self.len += 1;
    }

    pub fn clear(&mut self) {
        let all: *mut [T] = &mut **self;
        self.len = 0;
        // SAFETY: they were ours, and nothing leads to them any more.
        unsafe { ptr::drop_in_place(all) }
    }

    /// The first n values must have been written.
    pub(crate) unsafe fn set_len(&mut self, n: usize) {
        self.len = n;
    }
}

impl<T: Copy> List<T> {
    /// Appends copies.
    #[inline]
    pub fn add(&mut self, values: impl AsRef<[T]>) {
        self.append(values.as_ref())
    }

    #[inline(never)]
    fn append(&mut self, values: &[T]) {
        self.reserve(values.len());
        // SAFETY: there is room, and what is borrowed is not ours.
        unsafe { ptr::copy_nonoverlapping(values.as_ptr(), self.p.add(self.len), values.len()) };
        self.len += values.len();
    }

    /// Appends v until there are n.
    pub fn fill(&mut self, n: usize, v: T) {
        while self.len < n {
            self.push(v);
        }
    }
}

impl<T: Copy> From<&[T]> for List<T> {
    fn from(values: &[T]) -> List<T> {
        let mut l = List::new();
        l.add(values);
        l
    }
}

impl From<&str> for Buf {
    fn from(s: &str) -> Buf {
        s.as_bytes().into()
    }
}

impl<T: Copy> Clone for List<T> {
    fn clone(&self) -> List<T> {
        self[..].into()
    }
}

impl<T> Default for List<T> {
    fn default() -> List<T> {
        List::new()
    }
}

impl<T> Drop for List<T> {
    fn drop(&mut self) {
        self.clear();
        // SAFETY: nothing is in it any more.
        unsafe { self.release() }
    }
}

impl<T> Deref for List<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: len values are there.
        unsafe { slice::from_raw_parts(self.p, self.len) }
    }
}

impl<T> DerefMut for List<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: len values are there.
        unsafe { slice::from_raw_parts_mut(self.p, self.len) }
    }
}

impl<T> AsRef<[T]> for List<T> {
    #[inline]
    fn as_ref(&self) -> &[T] {
        self
    }
}

/// A string that was read, as `String`.
#[derive(Clone, Default)]
pub struct Text(Buf);

impl Text {
    /// Nothing when it is no UTF-8.
    pub fn new(s: &[u8]) -> Option<Text> {
        core::str::from_utf8(s).ok()?;
        Some(Text(s.into()))
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        // SAFETY: new has looked at it.
        unsafe { core::str::from_utf8_unchecked(&self.0) }
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
