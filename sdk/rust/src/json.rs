//! Finds values in JSON documents, in one pass and without a tree. It takes and
//! refuses the same documents as Go's encoding/json.
//!
//! ```ignore
//! let mut paths = Paths::new();
//! paths.add("properties.net")?;            // in start
//!
//! if paths.scan(value).is_ok() {           // in the hook
//!     let net = paths.last(value, 0);
//! }
//! ```

use crate::list::{Buf, List};
use crate::path::{self, Step};

pub use crate::path::wrong;

/// The most paths that are looked for at once.
pub const MAX_PATHS: usize = 64;
const MAX_DEPTH: usize = 10000;

/// A value that a path leads to: document[start..end], strings with their quotes.
#[derive(Clone, Copy)]
pub struct Match {
    pub path: u32,
    pub start: u32,
    pub end: u32,
    /// A later member of the same name took its place.
    pub superseded: bool,
}

/// What is wrong with a document.
#[derive(Clone, Copy)]
pub struct Error {
    pub at: usize,
    pub what: &'static str,
}

impl Error {
    /// Appends "not JSON at byte N: WHAT".
    pub fn add_to(&self, text: &mut Buf) {
        text.add("not JSON at byte ");
        crate::text::add_u64(text, self.at as u64);
        text.add(": ");
        text.add(self.what.as_bytes());
    }
}

fn error<T>(at: usize, what: &'static str) -> Result<T, Error> {
    Err(Error { at, what })
}

#[derive(Clone, Copy)]
struct Frame {
    start: u32, // of the array or object
    alive: u64, // paths that lead into it
    seen: u64,  // of those, the ones whose name has come up in it
    index: u32, // of the running element
    first: u32, // matches[first..first + n] end where it ends
    n: u32,
}

/// Paths, at most 64, and what the last scan found.
pub struct Paths {
    paths: List<List<Step>>,
    levels: usize,
    ends: List<u64>, // by level: paths that end there
    frames: List<Frame>,
    matches: List<Match>, // by start, an outer value before those inside of it
    kinds: List<u64>,     // by depth: 1 for an object
    name: Buf,       // a decoded one
}

impl Default for Paths {
    fn default() -> Paths {
        Paths::new()
    }
}

impl Paths {
    pub const fn new() -> Paths {
        Paths {
            paths: List::new(),
            levels: 0,
            ends: List::new(),
            frames: List::new(),
            matches: List::new(),
            kinds: List::new(),
            name: List::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.paths.len()
    }

    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Adds a path and returns its number, which is that of the paths before it, or
    /// what is wrong with it. Add all before the first scan.
    pub fn add(&mut self, text: impl AsRef<[u8]>) -> Result<usize, Buf> {
        if self.paths.len() == MAX_PATHS {
            return Err(Buf::from("more than 64 JSON paths"));
        }
        let steps = path::parse(text.as_ref())?;
        self.levels = self.levels.max(steps.len());
        self.ends.fill(self.levels + 1, 0);
        self.ends[steps.len()] |= 1 << self.paths.len();
        let unused = Frame { start: 0, alive: 0, seen: 0, index: 0, first: 0, n: 0 };
        self.frames.fill(self.levels + 1, unused);
        self.paths.push(steps);
        Ok(self.paths.len() - 1)
    }

    /// What the last scan found, superseded values among it.
    #[inline]
    pub fn matches(&self) -> &[Match] {
        &self.matches
    }

    /// The value of path number i that counts, strings with their quotes: the last
    /// that no later member of the same name has superseded. doc is the one that was
    /// scanned.
    #[inline]
    pub fn last<'d>(&self, doc: &'d [u8], i: usize) -> Option<&'d [u8]> {
        let m = self.matches.iter().rev().find(|m| m.path as usize == i && !m.superseded)?;
        doc.get(m.start as usize..m.end as usize)
    }

    /// Checks that doc is one JSON value and finds what the paths lead to.
    pub fn scan(&mut self, doc: &[u8]) -> Result<(), Error> {
        let mut alive = match self.paths.len() {
            MAX_PATHS => u64::MAX,
            n => (1 << n) - 1,
        };
        self.ends.fill(self.levels + 1, 0);
        self.matches.clear();
        let mut depth = 0;
        let mut at = space(doc, 0);
        loop {
            let mut end = self.value(doc, at, depth, alive)?;
            if end == 0 {
                if depth == MAX_DEPTH {
                    return error(at, "nested deeper than 10000");
                }
                depth += 1;
                at = space(doc, at + 1);
                if doc.get(at) != Some(&self.closing(depth)) {
                    (at, alive) = self.member(doc, at, depth)?;
                    continue;
                }
                end = self.leave(at + 1, depth);
                depth -= 1;
            }
            at = match self.ended(doc, end, &mut depth)? {
                None => return Ok(()),
                Some(comma) => comma,
            };
            if depth <= self.levels {
                self.frames[depth - 1].index += 1;
            }
            (at, alive) = self.member(doc, space(doc, at + 1), depth)?;
        }
    }

    #[inline]
    fn is_object(&self, depth: usize) -> bool {
        self.kinds[depth / 64] >> (depth % 64) & 1 == 1
    }

    #[inline]
    fn closing(&self, depth: usize) -> u8 {
        if self.is_object(depth) {
            b'}'
        } else {
            b']'
        }
    }

    fn enter(&mut self, object: bool, at: usize, depth: usize, alive: u64, first: usize) {
        if depth / 64 >= self.kinds.len() {
            self.kinds.push(0);
        }
        let bit = 1 << (depth % 64);
        let kind = &mut self.kinds[depth / 64];
        *kind = if object { *kind | bit } else { *kind & !bit };
        if depth > self.levels + 1 {
            return;
        }
        self.frames[depth - 1] = Frame {
            start: at as u32,
            alive: if depth > self.levels { 0 } else { alive },
            seen: 0,
            index: 0,
            first: first as u32,
            n: (self.matches.len() - first) as u32,
        };
    }

    #[inline]
    fn leave(&mut self, end: usize, depth: usize) -> usize {
        if depth <= self.levels + 1 {
            let f = self.frames[depth - 1];
            for m in &mut self.matches[f.first as usize..(f.first + f.n) as usize] {
                m.end = end as u32;
            }
        }
        end
    }

    /// Takes the value at at and returns its end. Of an array or object it takes the
    /// opening bracket only and returns 0.
    fn value(&mut self, doc: &[u8], at: usize, depth: usize, alive: u64) -> Result<usize, Error> {
        let first = self.matches.len();
        let c = match doc.get(at) {
            None => return error(at, "a value is missing"),
            Some(&c) => c,
        };
        if depth <= self.levels {
            let mut found = alive & self.ends[depth];
            while found != 0 {
                self.matches.push(Match { path: found.trailing_zeros(), start: at as u32, end: 0, superseded: false });
                found &= found - 1;
            }
        }
        if c == b'{' || c == b'[' {
            self.enter(c == b'{', at, depth + 1, alive, first);
            return Ok(0);
        }
        let end = scalar_end(doc, at)?;
        for m in &mut self.matches[first..] {
            m.end = end as u32;
        }
        Ok(end)
    }

    fn name_paths(&mut self, depth: usize, name: &[u8], escaped: bool) -> u64 {
        self.name.clear();
        if escaped {
            unescape(&mut self.name, name);
        }
        let name = if escaped { &self.name } else { name };
        let f = &mut self.frames[depth - 1];
        let (mut alive, mut left) = (0, f.alive);
        while left != 0 {
            let i = left.trailing_zeros();
            let step = self.paths[i as usize].get(depth - 1);
            if matches!(step, Some(s) if !s.key.is_empty() && s.key[..] == *name) {
                alive |= 1 << i;
            }
            left &= left - 1;
        }
        let again = alive & f.seen;
        f.seen |= alive;
        if again != 0 {
            let start = f.start;
            for m in self.matches.iter_mut().rev().take_while(|m| m.start > start) {
                m.superseded |= again >> m.path & 1 == 1;
            }
        }
        alive
    }

    fn element_paths(&self, depth: usize) -> u64 {
        let f = &self.frames[depth - 1];
        let (mut alive, mut left) = (0, f.alive);
        while left != 0 {
            let i = left.trailing_zeros();
            let step = self.paths[i as usize].get(depth - 1);
            if matches!(step, Some(s) if s.any || s.index == Some(f.index)) {
                alive |= 1 << i;
            }
            left &= left - 1;
        }
        alive
    }

    /// Takes the name of the next member, or nothing in an array, and returns where
    /// its value starts and the paths that lead into it.
    fn member(&mut self, doc: &[u8], at: usize, depth: usize) -> Result<(usize, u64), Error> {
        let looked_at = depth <= self.levels && self.frames[depth - 1].alive != 0;
        if !self.is_object(depth) {
            return Ok((at, if looked_at { self.element_paths(depth) } else { 0 }));
        }
        if doc.get(at) != Some(&b'"') {
            return error(at, "a name in quotes is missing");
        }
        let (end, escaped) = string_end(doc, at)?;
        let alive = if looked_at { self.name_paths(depth, &doc[at + 1..end - 1], escaped) } else { 0 };
        let at = space(doc, end);
        if doc.get(at) != Some(&b':') {
            return error(at, "\":\" expected");
        }
        Ok((space(doc, at + 1), alive))
    }

    /// Closes what ends after a value, up to the next comma, whose place it returns;
    /// nothing at the document's end.
    fn ended(&mut self, doc: &[u8], mut end: usize, depth: &mut usize) -> Result<Option<usize>, Error> {
        loop {
            let at = space(doc, end);
            if *depth == 0 {
                return if at < doc.len() { error(at, "something follows the value") } else { Ok(None) };
            }
            match doc.get(at) {
                None => return error(at, "unexpected end"),
                Some(b',') => return Ok(Some(at)),
                Some(&c) if c == self.closing(*depth) => {
                    end = self.leave(at + 1, *depth);
                    *depth -= 1;
                }
                Some(_) => return error(at, "\",\" or a closing bracket expected"),
            }
        }
    }
}

#[inline]
pub(crate) fn space(d: &[u8], mut at: usize) -> usize {
    while matches!(d.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

/// The first place in a string that could be its end, an escape or a control
/// character. It looks at eight bytes at once: a byte of x is zero where the top bit
/// of (x - ones) & !x is set, but for false alarms above the first one.
#[inline]
fn plain(d: &[u8], mut at: usize) -> usize {
    const ONES: u64 = 0x0101010101010101;
    const TOPS: u64 = 0x8080808080808080;
    while let Some(Ok(word)) = d.get(at..at + 8).map(<[u8; 8]>::try_from) {
        let w = u64::from_le_bytes(word);
        let zero = |x: u64| x.wrapping_sub(ONES) & !x;
        let low = w.wrapping_sub(b' ' as u64 * ONES) & !w;
        let found = (zero(w ^ b'"' as u64 * ONES) | zero(w ^ b'\\' as u64 * ONES) | low) & TOPS;
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at
}

/// Where the string that opens at at ends, and whether escapes are in it.
#[inline(never)]
pub(crate) fn string_end(d: &[u8], at: usize) -> Result<(usize, bool), Error> {
    let mut escaped = false;
    let mut i = plain(d, at + 1);
    while let Some(&c) = d.get(i) {
        match c {
            b'"' => return Ok((i + 1, escaped)),
            0..=0x1f => return error(i, "control character in a string"),
            b'\\' => {
                escaped = true;
                i += match d.get(i + 1) {
                    Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 1,
                    Some(b'u') if hex4(&d[i..]).is_some() => 5,
                    _ => return error(i, "bad escape in a string"),
                };
            }
            _ => {}
        }
        i = plain(d, i + 1);
    }
    error(d.len(), "a string does not end")
}

/// Reads \uXXXX.
fn hex4(s: &[u8]) -> Option<u32> {
    if !s.starts_with(b"\\u") {
        return None;
    }
    s.get(2..6)?.iter().try_fold(0, |n, &c| Some(n << 4 | (c as char).to_digit(16)?))
}

fn add_rune(to: &mut Buf, r: u32) {
    let c = char::from_u32(r).unwrap_or('\u{fffd}');
    to.add(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Appends what the inside of a checked string stands for. Half a surrogate pair
/// becomes U+FFFD.
fn unescape(to: &mut Buf, s: &[u8]) {
    let mut i = 0;
    while let Some(&c) = s.get(i) {
        if c != b'\\' {
            to.push(c);
            i += 1;
            continue;
        }
        if let Some(mut r) = hex4(&s[i..]) {
            i += 6;
            if (0xd800..0xdc00).contains(&r) {
                match s.get(i..).and_then(hex4) {
                    Some(low) if (0xdc00..0xe000).contains(&low) => {
                        r = 0x10000 + ((r - 0xd800) << 10) + (low - 0xdc00);
                        i += 6;
                    }
                    _ => {}
                }
            }
            add_rune(to, r);
            continue;
        }
        to.push(match s.get(i + 1) {
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(&c) => c,
            None => return,
        });
        i += 2;
    }
}

/// What the string raw, a value that was found, stands for; nothing when raw is no
/// string. With escapes in it, it lies in buffer.
pub fn string<'a>(raw: &'a [u8], buffer: &'a mut Buf) -> Option<&'a [u8]> {
    if raw.len() < 2 || raw[0] != b'"' {
        return None;
    }
    let s = &raw[1..raw.len() - 1];
    if !s.contains(&b'\\') {
        return Some(s);
    }
    buffer.clear();
    unescape(buffer, s);
    Some(buffer)
}

/// The length of the character that s starts with, 0 when that is no UTF-8.
pub(crate) fn rune_len(s: &[u8]) -> usize {
    let (n, low, high) = match s.first() {
        Some(0..=0x7f) => return 1,
        Some(0xc2..=0xdf) => (2, 0x80, 0xbf),
        Some(0xe0) => (3, 0xa0, 0xbf),
        Some(0xed) => (3, 0x80, 0x9f),
        Some(0xe1..=0xef) => (3, 0x80, 0xbf),
        Some(0xf0) => (4, 0x90, 0xbf),
        Some(0xf1..=0xf3) => (4, 0x80, 0xbf),
        Some(0xf4) => (4, 0x80, 0x8f),
        _ => return 0,
    };
    match s.get(1..n) {
        Some(rest) if (low..=high).contains(&rest[0]) && rest.iter().all(|c| c & 0xc0 == 0x80) => n,
        _ => 0,
    }
}

/// Appends s as a JSON string. What is no UTF-8 becomes U+FFFD.
#[inline(never)]
pub fn add_string(to: &mut Buf, s: &[u8]) {
    to.push(b'"');
    let mut i = 0;
    while i < s.len() {
        let c = s[i];
        let n = rune_len(&s[i..]);
        match c {
            0..=0x1f => {
                to.add("\\u00");
                crate::text::add_hex(to, &[c]);
            }
            b'"' | b'\\' => to.add(&[b'\\', c]),
            _ if n == 0 => add_rune(to, 0xfffd),
            _ => to.add(&s[i..i + n]),
        }
        i += n.max(1);
    }
    to.push(b'"');
}

fn digits(d: &[u8], mut i: usize) -> usize {
    while matches!(d.get(i), Some(b'0'..=b'9')) {
        i += 1;
    }
    i
}

#[inline(never)]
fn number_end(d: &[u8], at: usize) -> Result<usize, Error> {
    let mut i = at;
    if d.get(i) == Some(&b'-') {
        i += 1;
    }
    let end = digits(d, i);
    if end == i || (d[i] == b'0' && end > i + 1) {
        return error(at, "a value expected");
    }
    i = end;
    if d.get(i) == Some(&b'.') {
        let end = digits(d, i + 1);
        if end == i + 1 {
            return error(end, "digits are missing");
        }
        i = end;
    }
    if matches!(d.get(i), Some(b'e' | b'E')) {
        i += 1;
        if matches!(d.get(i), Some(b'+' | b'-')) {
            i += 1;
        }
        let end = digits(d, i);
        if end == i {
            return error(end, "digits are missing");
        }
        i = end;
    }
    Ok(i)
}

/// Where the string, number or word at at ends.
pub(crate) fn scalar_end(d: &[u8], at: usize) -> Result<usize, Error> {
    let word: &[u8] = match d.get(at) {
        Some(b'"') => return Ok(string_end(d, at)?.0),
        Some(b't') => b"true",
        Some(b'f') => b"false",
        Some(b'n') => b"null",
        _ => return number_end(d, at),
    };
    if !d[at..].starts_with(word) {
        return error(at, "a value expected");
    }
    Ok(at + word.len())
}

/// Where the value at at ends. Arrays and objects end at their bracket; what is in
/// them is not looked at.
pub(crate) fn any_end(d: &[u8], at: usize) -> Result<usize, Error> {
    match d.get(at) {
        None => return error(at, "a value expected"),
        Some(b'{' | b'[') => {}
        Some(_) => return scalar_end(d, at),
    }
    let (mut level, mut i) = (0, at);
    while let Some(&c) = d.get(i) {
        match c {
            b'"' => {
                i = string_end(d, i)?.0;
                continue;
            }
            b'{' | b'[' => level += 1,
            b'}' | b']' => {
                level -= 1;
                if level == 0 {
                    return Ok(i + 1);
                }
            }
            _ => {}
        }
        i += 1;
    }
    error(d.len(), "unexpected end")
}
