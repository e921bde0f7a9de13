//! The benchmark's plugin on Klamm's Rust SDK. The configuration, {"op":"route"} and
//! so on, says what it does to records; ../../ops.h does the same.
#![no_std]

use klamm::{Batch, Buf, Hook, Plugin, Result, Start};

klamm::no_std!();
klamm::plugin!(Bench: on_send);

const PARTITIONS: u32 = 12;

struct Bench {
    run: fn(&mut Batch, &mut Buf),
    out: Buf,
}

impl Plugin for Bench {
    fn start(s: &mut Start) -> Result<Self> {
        let (run, fields): (fn(&mut Batch, &mut Buf), u8) = match s.config {
            b"{\"op\":\"pass\"}" => (pass, klamm::KEY | klamm::VALUE),
            b"{\"op\":\"route\"}" => (route, klamm::KEY),
            b"{\"op\":\"dedup\"}" => (dedup, klamm::KEY),
            b"{\"op\":\"rewrite\"}" => (rewrite, klamm::VALUE),
            b"{\"op\":\"mask\"}" => (mask, klamm::VALUE),
            _ => return Err("unknown op".into()),
        };
        s.want(Hook::OnSend, fields);
        Ok(Bench { run, out: Buf::new() })
    }

    fn on_send(&mut self, b: &mut Batch) -> Result {
        (self.run)(b, &mut self.out);
        Ok(())
    }
}

fn pass(_: &mut Batch, _: &mut Buf) {}

fn route(b: &mut Batch, _: &mut Buf) {
    while let Some(r) = b.next() {
        r.route(partition_of(r.key().unwrap_or_default()));
    }
}

fn dedup(b: &mut Batch, _: &mut Buf) {
    b.claim_keys(600_000);
    while let Some(r) = b.next() {
        if !r.fresh() {
            r.drop(klamm::DUPLICATE, "");
        }
    }
}

fn rewrite(b: &mut Batch, out: &mut Buf) {
    while let Some(mut r) = b.next() {
        out.clear();
        out.add("{\"seen\":true,");
        out.add(&r.value().unwrap_or_default()[1..]);
        r.set_value(Some(out));
    }
}

fn mask(b: &mut Batch, out: &mut Buf) {
    while let Some(mut r) = b.next() {
        let doc = r.value().unwrap_or_default();
        if let Some((start, end)) = find_secret(doc) {
            out.clear();
            out.add(&doc[..start]);
            out.add("\"***\"");
            out.add(&doc[end..]);
            r.set_value(Some(out));
        }
    }
}

fn partition_of(key: &[u8]) -> i32 {
    const M: u32 = 0x5bd1e995;
    let mut h = 0x9747b28c ^ key.len() as u32;
    let mut words = key.chunks_exact(4);
    for w in &mut words {
        let mut k = u32::from_le_bytes([w[0], w[1], w[2], w[3]]).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    for (i, &c) in rest.iter().enumerate() {
        h ^= (c as u32) << (8 * i);
    }
    if !rest.is_empty() {
        h = h.wrapping_mul(M);
    }
    h = (h ^ h >> 13).wrapping_mul(M);
    h ^= h >> 15;
    ((h & 0x7fffffff) % PARTITIONS) as i32
}

fn string_end(doc: &[u8], mut i: usize) -> usize {
    while i < doc.len() && doc[i] != b'"' {
        i += if doc[i] == b'\\' { 2 } else { 1 };
    }
    i
}

fn skip_space(doc: &[u8], mut i: usize) -> usize {
    while i < doc.len() && doc[i] <= b' ' {
        i += 1;
    }
    i
}

fn value_end(doc: &[u8], mut i: usize) -> usize {
    let mut depth = 0;
    while i < doc.len() {
        match doc[i] {
            b'"' => i = string_end(doc, i + 1),
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' if depth == 0 => return i,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        i += 1;
    }
    doc.len()
}

/// Finds the value of the top-level member "email".
fn find_secret(doc: &[u8]) -> Option<(usize, usize)> {
    let (mut depth, mut i) = (0, 0);
    while i < doc.len() {
        match doc[i] {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            b'"' => {
                let from = i + 1;
                i = string_end(doc, from);
                if depth == 1 && doc.get(from..i) == Some(b"email") {
                    let colon = skip_space(doc, i + 1);
                    if doc.get(colon) == Some(&b':') {
                        let start = skip_space(doc, colon + 1);
                        return Some((start, value_end(doc, start)));
                    }
                }
            }
            _ => {}
        }
        i += 1;
    }
    None
}
