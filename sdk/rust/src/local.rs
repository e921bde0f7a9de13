//! Variables of the instance.

use core::cell::UnsafeCell;

/// A variable that the instance's one thread uses.
pub(crate) struct Local<T>(UnsafeCell<T>);

// SAFETY: a module has one thread, and guard refuses those with shared memory.
unsafe impl<T> Sync for Local<T> {}

impl<T> Local<T> {
    pub const fn new(v: T) -> Local<T> {
        Local(UnsafeCell::new(v))
    }

    /// f must not come to this variable again.
    #[inline]
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: one thread, and see above.
        f(unsafe { &mut *self.0.get() })
    }
}

impl<T: Copy> Local<T> {
    #[inline]
    pub fn get(&self) -> T {
        self.with(|v| *v)
    }

    #[inline]
    pub fn set(&self, to: T) {
        self.with(|v| *v = to)
    }
}
