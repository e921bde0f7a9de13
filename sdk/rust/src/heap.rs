//! Memory for lists, the exchange block, and plugins without `std`.

use crate::local::Local;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr;

/// Serves allocations from a first-fit list of free chunks in order of their
/// addresses, and grows the memory when nothing fits. See [`crate::no_std`], which
/// makes it the plugin's allocator, for those that use `alloc`.
pub struct Heap;

const PAGE: usize = 64 << 10;
/// What every chunk is a multiple of, and its header's size.
const UNIT: usize = 16;

struct Chunk {
    size: usize, // with this header
    next: *mut Chunk,
}

struct Free {
    first: *mut Chunk,
    top: usize, // what lies behind was never handed out
    end: usize, // of the pages that are ours
}

static FREE: Local<Free> = Local::new(Free { first: ptr::null_mut(), top: 0, end: 0 });

impl Free {
    /// Takes fresh memory. Pages are ours as we have grown the memory by them; those
    /// that it starts with belong to the stack and to statics.
    unsafe fn extend(&mut self, size: usize) -> *mut Chunk {
        if self.end - self.top < size {
            let pages = (size + PAGE - 1) / PAGE;
            let grown = memory_grow(pages);
            if grown == usize::MAX {
                return ptr::null_mut();
            }
            if grown * PAGE != self.end {
                self.top = grown * PAGE; // something else has grown it
            }
            self.end = (grown + pages) * PAGE;
        }
        let c = self.top as *mut Chunk;
        self.top += size;
        (*c).size = size;
        c
    }

    unsafe fn take(&mut self, size: usize) -> *mut Chunk {
        let mut at: *mut *mut Chunk = &mut self.first;
        while !(*at).is_null() {
            let c = *at;
            if (*c).size >= size {
                let left = (*c).size - size;
                if left < 4 * UNIT {
                    *at = (*c).next;
                    return c;
                }
                let rest = (c as usize + size) as *mut Chunk;
                *rest = Chunk { size: left, next: (*c).next };
                (*c).size = size;
                *at = rest;
                return c;
            }
            at = &mut (*c).next;
        }
        self.extend(size)
    }

    unsafe fn give(&mut self, c: *mut Chunk) {
        let mut before: *mut Chunk = ptr::null_mut();
        let mut next = self.first;
        while !next.is_null() && next < c {
            before = next;
            next = (*next).next;
        }
        (*c).next = next;
        if !next.is_null() && c as usize + (*c).size == next as usize {
            (*c).size += (*next).size;
            (*c).next = (*next).next;
        }
        if before.is_null() {
            self.first = c;
        } else if before as usize + (*before).size == c as usize {
            (*before).size += (*c).size;
            (*before).next = (*c).next;
        } else {
            (*before).next = c;
        }
    }
}

#[cfg(target_arch = "wasm32")]
fn memory_grow(pages: usize) -> usize {
    core::arch::wasm32::memory_grow(0, pages)
}

/// For tools that look at the crate without compiling it for wasm32.
#[cfg(not(target_arch = "wasm32"))]
fn memory_grow(_: usize) -> usize {
    usize::MAX
}

/// Ends the call.
#[cold]
#[inline(never)]
pub(crate) fn trap() -> ! {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    panic!()
}

/// Returns n bytes, 16-aligned, or null when there is no memory left.
#[inline(never)]
pub(crate) fn take(n: usize) -> *mut u8 {
    if n > 1 << 30 {
        return ptr::null_mut();
    }
    let size = (n + 2 * UNIT - 1) & !(UNIT - 1);
    // SAFETY: the list is used by one thread.
    unsafe {
        let c = FREE.with(|f| f.take(size));
        if c.is_null() {
            return ptr::null_mut();
        }
        (c as *mut u8).add(UNIT)
    }
}

/// Takes back what take has returned.
#[inline(never)]
pub(crate) unsafe fn give(p: *mut u8) {
    FREE.with(|f| f.give(p.sub(UNIT) as *mut Chunk))
}

// SAFETY: chunks do not overlap.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > UNIT {
            return ptr::null_mut();
        }
        take(layout.size())
    }

    unsafe fn dealloc(&self, p: *mut u8, _: Layout) {
        give(p)
    }
}
