//! The start of an instance.

use crate::batch::{i32_at, u32_at, view};

/// The calls that a plugin can ask for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    OnSend,
    OnAcknowledgement,
    OnConsume,
    OnCommit,
    Partition,
}

/// All hooks, in the order of masks.
pub const HOOKS: [Hook; 5] = [Hook::OnSend, Hook::OnAcknowledgement, Hook::OnConsume, Hook::OnCommit, Hook::Partition];

impl Hook {
    #[inline]
    pub(crate) fn judges(self) -> bool {
        !matches!(self, Hook::OnAcknowledgement | Hook::OnCommit)
    }
}

/// Where an instance finds itself, and what it asks for.
pub struct Start<'a> {
    /// Minor version of the ABI that the host speaks.
    pub minor: u32,
    /// Which instance this is, from 0, and of how many.
    pub lane: u32,
    pub lanes: u32,
    /// The plugin's table as JSON. See [`crate::config`].
    pub config: &'a [u8],
    /// The plugin's name in the configuration.
    pub plugin: &'a [u8],
    pub chain: &'a [u8],
    pub client_id: &'a [u8],
    topics: &'a [u8],
    asks: u64,
}

impl<'a> Start<'a> {
    /// n bytes must be at p, as the host lays them out.
    pub(crate) unsafe fn read(p: *const u8, n: usize) -> Option<Start<'a>> {
        if n < 56 {
            return None;
        }
        let part = |at| view(p, u32_at(p, at), i32_at(p, at + 4)).unwrap_or(&[]);
        Some(Start {
            minor: u32_at(p, 0),
            lane: u32_at(p, 8),
            lanes: u32_at(p, 12),
            config: part(16),
            plugin: part(24),
            chain: part(32),
            client_id: part(40),
            topics: part(48),
            asks: 0,
        })
    }

    /// Asks to be called for a hook, which [`crate::plugin`] must export, and to see
    /// those fields of its records: [`crate::KEY`] and so on, with |.
    pub fn want(&mut self, hook: Hook, fields: u8) {
        self.asks |= 1 << (32 + hook as u64) | ((fields & 63) as u64) << (6 * hook as u64);
    }

    pub(crate) fn asks(&self) -> u64 {
        self.asks
    }

    /// The topics of the chain, which may be globs.
    pub fn topics(&self) -> impl Iterator<Item = &'a [u8]> {
        let mut left = self.topics;
        core::iter::from_fn(move || {
            let (len, rest) = (left.get(..4)?, &left[4..]);
            let n = u32::from_le_bytes([len[0], len[1], len[2], len[3]]) as usize;
            left = rest.get(n..)?;
            Some(&rest[..n])
        })
    }
}
