//! Metrics and reasons.

use crate::batch::SETTLE;
use crate::imports;
use crate::list::List;
use crate::local::Local;

/// A counter. See [`counter`].
#[derive(Clone, Copy)]
pub struct Counter(usize);

/// A histogram. See [`histogram`].
#[derive(Clone, Copy)]
pub struct Histogram(i32);

struct Count {
    id: i32,
    pending: i64,
    sum: i64,
}

static COUNTS: Local<List<Count>> = Local::new(List::new());
static OBSERVED: Local<List<(i32, f64)>> = Local::new(List::new());

fn settle_counts(counts: bool) {
    COUNTS.with(|all| {
        for c in all.iter_mut() {
            if counts {
                c.sum += c.pending;
            }
            c.pending = 0;
        }
    })
}

fn settle_all(counts: bool) {
    settle_counts(counts);
    OBSERVED.with(|all| {
        for &(id, v) in all.iter() {
            if counts {
                // SAFETY: numbers.
                unsafe { imports::metric_observe(id, v) }
            }
        }
        all.clear();
    })
}

fn flush(counts: bool) {
    COUNTS.with(|all| {
        for c in all.iter_mut() {
            if counts && c.sum != 0 {
                // SAFETY: numbers.
                unsafe { imports::metric_add(c.id, c.sum) }
            }
            c.sum = 0;
        }
    })
}

fn define(kind: i32, name: &str) -> i32 {
    // SAFETY: the host reads the name.
    unsafe { imports::metric_def(kind, name.as_ptr(), name.len()) }
}

/// Declares a counter, in [`crate::Plugin::start`] only. A plugin has at most 64
/// metrics.
pub fn counter(name: &str) -> Counter {
    if SETTLE.metrics.get().is_none() {
        SETTLE.metrics.set(Some(settle_counts));
    }
    SETTLE.flush.set(Some(flush));
    let id = define(0, name);
    COUNTS.with(|all| {
        all.push(Count { id, pending: 0, sum: 0 });
        Counter(all.len() - 1)
    })
}

/// Declares a histogram. See [`counter`].
pub fn histogram(name: &str) -> Histogram {
    SETTLE.metrics.set(Some(settle_all));
    Histogram(define(1, name))
}

impl Counter {
    /// Adds, once the running record's verdict counts.
    #[inline]
    pub fn add(&self, delta: i64) {
        COUNTS.with(|all| all[self.0].pending += delta);
        SETTLE.dirty.set(true);
    }
}

impl Histogram {
    /// Observes v, once the running record's verdict counts.
    pub fn observe(&self, v: f64) {
        OBSERVED.with(|all| all.push((self.0, v)));
        SETTLE.dirty.set(true);
    }
}

/// Declares a reason, in [`crate::Plugin::start`] only, at most 64, and returns its
/// code.
pub fn reason(name: &str) -> u16 {
    static NEXT: Local<u16> = Local::new(16);
    let code = NEXT.get();
    NEXT.set(code + 1);
    // SAFETY: the host reads the name.
    unsafe { imports::reason_def(code as i32, name.as_ptr(), name.len()) };
    code
}
