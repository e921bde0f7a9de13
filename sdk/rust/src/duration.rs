//! Numbers, durations and sizes of configurations.

/// Reads a whole number of 64 bits.
pub(crate) fn parse_int(s: &[u8]) -> Option<i64> {
    let (negative, digits) = match s.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, s),
    };
    if digits.is_empty() {
        return None;
    }
    let limit = i64::MAX as u64 + negative as u64;
    let mut n: u64 = 0;
    for c in digits {
        let digit = c.wrapping_sub(b'0') as u64;
        if digit > 9 || n > (limit - digit) / 10 {
            return None;
        }
        n = 10 * n + digit;
    }
    Some(if negative { (n as i64).wrapping_neg() } else { n as i64 })
}

const TOP: u64 = 1 << 63;

/// Takes the unit at the start of s and returns what it is in ns.
fn unit(s: &mut &[u8]) -> Option<u64> {
    let n = s.iter().position(|&c| c == b'.' || c.is_ascii_digit()).unwrap_or(s.len());
    let (unit, rest) = s.split_at(n);
    *s = rest;
    Some(match unit {
        b"ns" => 1,
        b"us" | b"\xc2\xb5s" | b"\xce\xbcs" => 1000,
        b"ms" => 1_000_000,
        b"s" => 1_000_000_000,
        b"m" => 60_000_000_000,
        b"h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// Takes a number with its unit, and returns ns.
fn term(s: &mut &[u8]) -> Option<u64> {
    let (mut whole, mut part, mut scale) = (0u64, 0u64, 1f64);
    let (mut dot, mut digits) = (false, false);
    while let Some((&c, rest)) = s.split_first() {
        if c == b'.' && !dot {
            dot = true;
        } else if !c.is_ascii_digit() {
            break;
        } else {
            digits = true;
            let digit = (c - b'0') as u64;
            if !dot {
                if whole > (TOP - digit) / 10 {
                    return None;
                }
                whole = 10 * whole + digit;
            } else if part < TOP / 10 - 10 {
                part = 10 * part + digit;
                scale *= 10.0;
            }
        }
        *s = rest;
    }
    if !digits {
        return None;
    }
    let unit = unit(s)?;
    if whole > TOP / unit {
        return None;
    }
    let ns = whole * unit + (part as f64 * (unit as f64 / scale)) as u64;
    if ns > TOP {
        return None;
    }
    Some(ns)
}

/// Reads what Go's time.ParseDuration does, in ms, rounded down, so that what is
/// below zero stays so.
pub(crate) fn parse_duration(s: &[u8]) -> Option<i64> {
    let (negative, mut s) = match s.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, s),
    };
    if s == b"0" {
        return Some(0);
    }
    if s.is_empty() {
        return None;
    }
    let mut total: u64 = 0;
    while !s.is_empty() {
        total = total.checked_add(term(&mut s)?)?;
        if total > TOP {
            return None;
        }
    }
    if total > i64::MAX as u64 && !negative {
        return None;
    }
    Some(if negative { -(((total + 999_999) / 1_000_000) as i64) } else { (total / 1_000_000) as i64 })
}

/// Reads "16KiB" and the like.
pub(crate) fn parse_size(s: &[u8]) -> Option<i64> {
    const UNITS: [(&[u8], u32); 5] = [(b"KiB", 10), (b"MiB", 20), (b"GiB", 30), (b"B", 0), (b"", 0)];
    let (number, shift) = UNITS.iter().find_map(|(suffix, shift)| Some((s.strip_suffix(*suffix)?, shift)))?;
    let first = number.iter().position(|&c| c != b' ')?;
    let last = number.iter().rposition(|&c| c != b' ')?;
    let n = parse_int(&number[first..=last])?;
    if n < 0 || n > i64::MAX >> shift {
        return None;
    }
    Some(n << shift)
}
