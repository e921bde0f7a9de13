//! The host's calls.

use crate::batch::{put32, Batch, SETTLE};
use crate::heap;
use crate::host::{log, Level};
use crate::list::Buf;
use crate::local::Local;
use crate::start::{Hook, Start};
use core::ptr;

/// Why the plugin is not loaded, or the whole call is void. It is logged, unless
/// empty.
pub struct Error {
    text: Reason,
    code: u64,
}

enum Reason {
    Fixed(&'static str),
    Made(Buf),
}

const PLUGIN: u64 = 1;
const BLOCK: u64 = 2;
const REFUSED: u64 = 4;
const CONFIG: u64 = 5;

impl Error {
    /// Each problem with the configuration has been logged.
    pub(crate) fn config() -> Error {
        Error { text: Reason::Fixed(""), code: CONFIG }
    }

    fn text(&self) -> &[u8] {
        match &self.text {
            Reason::Fixed(s) => s.as_bytes(),
            Reason::Made(b) => b,
        }
    }
}

impl From<&'static str> for Error {
    fn from(text: &'static str) -> Error {
        Error { text: Reason::Fixed(text), code: PLUGIN }
    }
}

impl From<Buf> for Error {
    fn from(text: Buf) -> Error {
        Error { text: Reason::Made(text), code: PLUGIN }
    }
}

/// What starts and hooks return.
pub type Result<T = ()> = core::result::Result<T, Error>;

/// A plugin. Each lane has an instance of its own, with a value of this type. The
/// hooks that [`crate::plugin`] exports are the ones to implement.
pub trait Plugin: Sized {
    /// Runs once: it reads the configuration, declares metrics and reasons and says
    /// which hooks it wants.
    fn start(s: &mut Start) -> Result<Self>;

    /// Judges records on their way to the broker.
    fn on_send(&mut self, _: &mut Batch) -> Result {
        Ok(())
    }

    /// Is told what became of records: [`crate::Record::ack`].
    fn on_acknowledgement(&mut self, _: &mut Batch) -> Result {
        Ok(())
    }

    /// Judges records that were fetched.
    fn on_consume(&mut self, _: &mut Batch) -> Result {
        Ok(())
    }

    /// Is told which offsets were committed: topic, partition and offset.
    fn on_commit(&mut self, _: &mut Batch) -> Result {
        Ok(())
    }

    /// Routes records; those that it does not are left to the default partitioner.
    fn partition(&mut self, _: &mut Batch) -> Result {
        Ok(())
    }

    /// Runs before unloading, not after a fault.
    fn close(&mut self) {}
}

/// The running plugin. [`crate::plugin`] makes one.
pub struct Instance<P>(Local<Option<P>>);

impl<P: Plugin> Instance<P> {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Instance<P> {
        Instance(Local::new(None))
    }

    /// The host's init block must be at p.
    pub unsafe fn start(&self, p: *const u8, n: usize) -> u64 {
        let mut s = match Start::read(p, n) {
            Some(s) => s,
            None => {
                log(Level::Error, "the host's init block is malformed");
                return BLOCK << 48;
            }
        };
        match P::start(&mut s) {
            Ok(plugin) => self.0.with(|at| *at = Some(plugin)),
            Err(e) => {
                log_error(e.text());
                return e.code << 48;
            }
        }
        s.asks()
    }

    /// The host's block must be at p.
    #[inline]
    pub unsafe fn call(&self, hook: Hook, p: *mut u8, n: usize, judge: fn(&mut P, &mut Batch) -> Result) -> u64 {
        SETTLE.refused.set(false);
        let mut b = match Batch::read(hook, p, n) {
            Some(b) => b,
            None => return failed(b"the host's block is malformed", BLOCK),
        };
        let judged = self.0.with(|plugin| match plugin {
            Some(plugin) => judge(plugin, &mut b),
            None => Err("the host calls a plugin that it has not started".into()),
        });
        if let Err(e) = judged {
            return failed(e.text(), e.code);
        }
        let full = b.full.get();
        if SETTLE.dirty.get() {
            SETTLE.end(full == b.count); // the hook has left its loop on its own
        }
        if SETTLE.refused.get() {
            return failed(b"the host refused a claim or a put: set state = \"NAME\" in this plugin's table, or the state is full", REFUSED);
        }
        if let Some(flush) = SETTLE.flush.get() {
            flush(true);
        }
        if full == b.count {
            return b.mod_used.get() as u64;
        }
        put32(p, 60, full);
        b.mod_used.get() as u64 | 1 << 48
    }

    pub fn close(&self) {
        self.0.with(|plugin| {
            if let Some(plugin) = plugin {
                plugin.close();
            }
        })
    }
}

#[inline(never)]
fn failed(text: &[u8], code: u64) -> u64 {
    SETTLE.end(false);
    if let Some(flush) = SETTLE.flush.get() {
        flush(false);
    }
    log_error(text);
    code << 32
}

fn log_error(text: &[u8]) {
    if !text.is_empty() {
        log(Level::Error, text);
    }
}

/// The block that the host writes into, pinned until it asks for another.
static EXCHANGE: Local<*mut u8> = Local::new(ptr::null_mut());

/// Serves klamm_alloc.
pub fn exchange(size: usize) -> *mut u8 {
    let old = EXCHANGE.get();
    if !old.is_null() {
        // SAFETY: it was taken here, and the host has given it up.
        unsafe { heap::give(old) };
    }
    EXCHANGE.set(heap::take(size));
    EXCHANGE.get()
}
