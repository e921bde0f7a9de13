//! What any plugin may ask of the host.

use crate::imports;

/// Levels of [`log`].
#[derive(Clone, Copy)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

/// Logs a line. It is cut at 1 KiB. Do not log payloads.
pub fn log(level: Level, line: impl AsRef<[u8]>) {
    let line = line.as_ref();
    // SAFETY: the host reads the line.
    unsafe { imports::log(level as i32, line.as_ptr(), line.len()) }
}

/// HMAC-SHA-256 under a secret of the configuration; `None` when it has none of
/// that name.
pub fn hmac(secret: impl AsRef<[u8]>, data: impl AsRef<[u8]>) -> Option<[u8; 32]> {
    let (secret, data) = (secret.as_ref(), data.as_ref());
    let mut out = [0; 32];
    // SAFETY: the host reads both and writes 32 bytes.
    let answer = unsafe { imports::hmac(secret.as_ptr(), secret.len(), data.as_ptr(), data.len(), out.as_mut_ptr()) };
    if answer < 0 {
        return None;
    }
    Some(out)
}

/// Fills out with random bytes.
pub fn random(out: &mut [u8]) {
    // SAFETY: the host writes as many bytes.
    unsafe { imports::random(out.as_mut_ptr(), out.len()) }
}

/// Nanoseconds since 1970. Prefer [`crate::Batch::now_ms`], which is the same for
/// a call that is repeated.
pub fn now_ns() -> i64 {
    // SAFETY: nothing is passed.
    unsafe { imports::now_ns() }
}
