//! Paths into JSON documents.

use crate::list::{Buf, List};
use crate::text::quote;

/// One name or index of a path.
pub(crate) struct Step {
    /// Empty for [3] and [*].
    pub key: Buf,
    /// Nothing when the key is no number.
    pub index: Option<u32>,
    pub any: bool,
}

fn index_of(s: &[u8]) -> Option<u32> {
    if s.is_empty() || s.len() > 9 {
        return None;
    }
    s.iter().try_fold(0, |n, &c| if c.is_ascii_digit() { Some(10 * n + (c - b'0') as u32) } else { None })
}

/// Takes one step from the front of s, or returns what is wrong.
fn step(s: &mut &[u8]) -> Result<Step, Buf> {
    if s.first() == Some(&b'[') {
        let end = s.iter().position(|&c| c == b']').ok_or(&b"\"[\" without \"]\""[..])?;
        let inside = &s[1..end];
        *s = &s[end + 1..];
        let any = inside == b"*";
        let index = index_of(inside);
        if !any && index.is_none() {
            let mut wrong = Buf::from("[");
            wrong.add(inside);
            wrong.add("] is neither an index nor [*]");
            return Err(wrong);
        }
        return Ok(Step { key: List::new(), index, any });
    }
    let mut key = List::new();
    while let Some((&c, rest)) = s.split_first() {
        match c {
            b'.' | b'[' => break,
            b']' => return Err(Buf::from("\"]\" without \"[\"")),
            b'\\' => {
                let (&escaped, rest) = rest.split_first().ok_or(&b"nothing follows \"\\\""[..])?;
                key.push(escaped);
                *s = rest;
            }
            c => {
                key.push(c);
                *s = rest;
            }
        }
    }
    if key.is_empty() {
        return Err(Buf::from("a name is missing"));
    }
    let index = index_of(&key);
    Ok(Step { key, index, any: false })
}

/// Reads a path: items[0].sku, items.0.sku, items[*].email, $.card.number, a\.b for
/// a dot that is part of a name; "$" is the document.
pub(crate) fn parse(text: &[u8]) -> Result<List<Step>, Buf> {
    let mut steps = List::new();
    let mut s = text;
    if s == b"$" {
        return Ok(steps);
    }
    if s.starts_with(b"$.") || s.starts_with(b"$[") {
        s = &s[1..];
    }
    if s.first() == Some(&b'.') {
        s = &s[1..]; // "$." says nothing, and so does a dot at the start
    }
    loop {
        steps.push(step(&mut s)?);
        match s.first() {
            None => return Ok(steps),
            Some(b'.') => s = &s[1..],
            Some(b'[') => {}
            Some(_) => return Err(Buf::from("\".\" or \"[\" must follow \"]\"")),
        }
    }
}

/// What is wrong with a path, as in: path "a..b": a name is missing.
pub fn wrong(path: &[u8], what: &[u8]) -> Buf {
    let mut text = Buf::from("path ");
    quote(&mut text, path);
    text.add(": ");
    text.add(what);
    text
}
