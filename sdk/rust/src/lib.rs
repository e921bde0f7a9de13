//! Write a Klamm plugin in Rust. Without dependencies and without `std`; the
//! bytes are those of docs/abi.md, version 1.
//!
//! ```ignore
//! #![no_std]
//! use klamm::{Batch, Counter, Hook, Plugin, Result, Start};
//!
//! klamm::no_std!();
//! klamm::plugin!(Keyless: on_send);
//!
//! struct Keyless {
//!     dropped: Counter,
//! }
//!
//! impl Plugin for Keyless {
//!     fn start(s: &mut Start) -> Result<Self> {
//!         s.want(Hook::OnSend, klamm::KEY);
//!         Ok(Keyless { dropped: klamm::counter("keyless_dropped_total") })
//!     }
//!
//!     fn on_send(&mut self, b: &mut Batch) -> Result {
//!         while let Some(r) = b.next() {
//!             if r.key().is_none() {
//!                 r.drop(klamm::MISSING, "");
//!                 self.dropped.add(1);
//!             }
//!         }
//!         Ok(())
//!     }
//! }
//! ```
//!
//! A module has what it uses only: each import stands in it if the plugin calls
//! the function behind it. An instance is called by one thread at a time, and so
//! is everything here: it is for wasm32 alone.
//!
//! [`json`] finds values in JSON, [`config`] reads the configuration.
#![no_std]
#![allow(clippy::missing_safety_doc, clippy::should_implement_trait)]

mod batch;
mod call;
pub mod config;
mod duration;
mod edit;
mod hash;
mod headers;
mod heap;
mod host;
mod imports;
pub mod json;
mod list;
mod local;
mod metrics;
mod path;
mod record;
mod start;
mod state;
pub mod text;
mod topic;

pub use batch::{Batch, MAX_BATCH};
pub use call::{exchange, Error, Instance, Plugin, Result};
pub use hash::murmur2;
pub use headers::{Header, Headers};
pub use heap::Heap;
pub use host::{hmac, log, now_ns, random, Level};
pub use list::{Buf, List, Text};
pub use metrics::{counter, histogram, reason, Counter, Histogram};
pub use record::{Ack, Record};
pub use start::{Hook, Start, HOOKS};
pub use state::Claim;
pub use topic::Topic;

/// What a hook asks to see. What it reads without having asked is slow or missing:
/// values and headers are pulled, a key reads as null, a timestamp as 0.
pub const KEY: u8 = 1;
/// See [`KEY`].
pub const VALUE: u8 = 2;
/// See [`KEY`].
pub const HEADERS: u8 = 4;
/// See [`KEY`].
pub const TIMESTAMP: u8 = 8;
/// See [`KEY`].
pub const TOPIC_FACTS: u8 = 16;
/// See [`KEY`].
pub const LOAD: u8 = 32;

/// Reasons that need no declaration.
pub const OTHER: u16 = 0;
/// See [`OTHER`].
pub const DUPLICATE: u16 = 1;
/// See [`OTHER`].
pub const INVALID: u16 = 2;
/// See [`OTHER`].
pub const FILTERED: u16 = 3;
/// See [`OTHER`].
pub const MISSING: u16 = 4;

/// Exports what the host calls: `klamm::plugin!(Type: on_send, on_acknowledgement,
/// on_consume, on_commit, partition, close)`, of which at least one hook. The
/// host calls the hooks that [`Start::want`] has asked for.
#[macro_export]
macro_rules! plugin {
    ($plugin:ty: $($export:ident),+ $(,)?) => {
        static KLAMM_INSTANCE: $crate::Instance<$plugin> = $crate::Instance::new();
        #[no_mangle]
        pub extern "C" fn klamm_abi_1() {}
        #[no_mangle]
        pub extern "C" fn klamm_alloc(size: usize) -> *mut u8 {
            $crate::exchange(size)
        }
        #[no_mangle]
        pub unsafe extern "C" fn klamm_init(p: *const u8, n: usize) -> u64 {
            KLAMM_INSTANCE.start(p, n)
        }
        $($crate::plugin!(@export $plugin, $export);)+
    };
    (@export $plugin:ty, on_send) => {
        $crate::plugin!(@hook klamm_on_send, OnSend, <$plugin as $crate::Plugin>::on_send);
    };
    (@export $plugin:ty, on_acknowledgement) => {
        $crate::plugin!(@hook klamm_on_ack, OnAcknowledgement, <$plugin as $crate::Plugin>::on_acknowledgement);
    };
    (@export $plugin:ty, on_consume) => {
        $crate::plugin!(@hook klamm_on_consume, OnConsume, <$plugin as $crate::Plugin>::on_consume);
    };
    (@export $plugin:ty, on_commit) => {
        $crate::plugin!(@hook klamm_on_commit, OnCommit, <$plugin as $crate::Plugin>::on_commit);
    };
    (@export $plugin:ty, partition) => {
        $crate::plugin!(@hook klamm_partition, Partition, <$plugin as $crate::Plugin>::partition);
    };
    (@export $plugin:ty, close) => {
        #[no_mangle]
        pub extern "C" fn klamm_close() {
            KLAMM_INSTANCE.close()
        }
    };
    (@hook $name:ident, $hook:ident, $judge:expr) => {
        #[no_mangle]
        pub unsafe extern "C" fn $name(p: *mut u8, n: usize) -> u64 {
            KLAMM_INSTANCE.call($crate::Hook::$hook, p, n, $judge)
        }
    };
}

/// Gives a `#![no_std]` plugin its panics, which trap, and an allocator for `alloc`. A
/// plugin that uses `std` leaves it out.
#[macro_export]
macro_rules! no_std {
    () => {
        #[global_allocator]
        static KLAMM_HEAP: $crate::Heap = $crate::Heap;
        #[panic_handler]
        fn klamm_panic(_: &core::panic::PanicInfo) -> ! {
            core::arch::wasm32::unreachable()
        }
    };
}
