//! State that the host keeps.

use crate::batch::SETTLE;
use crate::imports;
use crate::list::{Buf, List};
use crate::local::Local;
use crate::record::Record;

/// The answer to a claim. A record whose id is not new can be dropped for either
/// other one: if the record on its way fails, its duplicates fail with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// A record with that id was delivered within its ttl.
    Confirmed,
    New,
    /// A record with that id is on its way.
    Pending,
}

struct Put {
    key: Buf,
    value: Buf,
    ttl_ms: i64,
}

/// What the running record has put.
static PUTS: Local<List<Put>> = Local::new(List::new());

fn settle(counts: bool) {
    PUTS.with(|puts| {
        for p in puts.iter() {
            // SAFETY: the host reads both.
            let put = || unsafe { imports::state_put(p.key.as_ptr(), p.key.len(), p.value.as_ptr(), p.value.len(), p.ttl_ms) };
            if counts && put() < 0 {
                SETTLE.refused.set(true);
            }
        }
        puts.clear();
    })
}

impl<'b> Record<'b> {
    /// Claims id for the record; the record's outcome confirms or releases it. A ttl
    /// of 0 or less keeps it until the state is full. When the host refuses, the
    /// answer is new and the call ends with an error.
    #[inline]
    pub fn claim(&self, id: impl AsRef<[u8]>, ttl_ms: i64) -> Claim {
        let id = id.as_ref();
        // SAFETY: the host reads the id.
        match unsafe { imports::claim(self.i, id.as_ptr(), id.len(), ttl_ms) } {
            0 => Claim::Confirmed,
            2 => Claim::Pending,
            n => {
                if n < 0 {
                    SETTLE.refused.set(true);
                }
                Claim::New
            }
        }
    }

    /// Whether [`crate::Batch::claim_keys`] found the record's key new. A record
    /// without a key is not.
    #[inline]
    pub fn fresh(&self) -> bool {
        self.b.fresh[(self.i / 64) as usize].get() >> (self.i % 64) & 1 == 1
    }

    /// Remembers value under key once the record's verdict counts; [`Record::get`]
    /// sees it at once.
    pub fn put(&self, key: &[u8], value: &[u8], ttl_ms: i64) {
        SETTLE.puts.set(Some(settle));
        SETTLE.dirty.set(true);
        PUTS.with(|puts| puts.push(Put { key: key.into(), value: value.into(), ttl_ms }))
    }

    /// What was put under key.
    pub fn get(&self, key: &[u8]) -> Option<Buf> {
        let found = PUTS.with(|puts| puts.iter().rev().find(|p| p.key[..] == *key).map(|p| p.value.clone()));
        if found.is_some() {
            return found;
        }
        let mut v = Buf::new();
        v.reserve(256);
        loop {
            // SAFETY: the host reads the key and writes as many bytes as there are.
            let n = unsafe { imports::state_get(key.as_ptr(), key.len(), v.as_mut_ptr(), v.capacity()) };
            match n {
                -2 => v.reserve(2 * v.capacity()),
                n if n < 0 => return None,
                n => {
                    // SAFETY: the host has written n bytes.
                    unsafe { v.set_len(n as usize) };
                    return Some(v);
                }
            }
        }
    }
}
