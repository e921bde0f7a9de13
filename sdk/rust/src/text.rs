//! Puts text together without `core::fmt`, which is large.

use crate::json::rune_len;
use crate::list::Buf;

/// Appends a number in decimal.
#[inline(never)]
pub fn add_u64(to: &mut Buf, mut v: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (v % 10) as u8;
        v /= 10;
        if v == 0 {
            break;
        }
    }
    to.add(&digits[at..]);
}

/// See [`add_u64`].
pub fn add_i64(to: &mut Buf, v: i64) {
    if v < 0 {
        to.push(b'-');
    }
    add_u64(to, v.unsigned_abs());
}

/// Appends two digits for each byte.
pub fn add_hex(to: &mut Buf, bytes: &[u8]) {
    for b in bytes {
        to.push(b"0123456789abcdef"[(b >> 4) as usize]);
        to.push(b"0123456789abcdef"[(b & 15) as usize]);
    }
}

/// Appends s in quotes, what cannot be shown escaped.
#[inline(never)]
pub fn quote(to: &mut Buf, s: &[u8]) {
    to.push(b'"');
    let mut i = 0;
    while i < s.len() {
        let n = match s[i] {
            c @ (b'"' | b'\\') => {
                to.add(&[b'\\', c]);
                1
            }
            b'\n' => {
                to.add("\\n");
                1
            }
            b'\t' => {
                to.add("\\t");
                1
            }
            c if c < b' ' || c == 0x7f || rune_len(&s[i..]) == 0 => {
                to.add("\\x");
                add_hex(to, &[c]);
                1
            }
            _ => {
                let n = rune_len(&s[i..]);
                to.add(&s[i..i + n]);
                n
            }
        };
        i += n;
    }
    to.push(b'"');
}
