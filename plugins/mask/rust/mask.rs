//! mask hides fields of JSON values: see README.md of the folder above, and mask.go,
//! which says more. All other bytes of a value stay as they are.
#![no_std]

use klamm::config::{configure, not_negative, Setting};
use klamm::json::{self, Paths};
use klamm::text::add_hex;
use klamm::{Batch, Buf, Counter, Hook, List, Plugin, Record, Result, Start, Text};

#[path = "../../internal/rust/sha256.rs"]
mod sha256;

klamm::no_std!();
klamm::plugin!(Mask: on_send, on_consume);

enum Mode {
    Null,
    Fixed,
    Hash,
    Partial,
}

struct Mask {
    paths: Paths,
    malformed: Text, // what becomes of a value that is no JSON
    masked_total: Counter,
    malformed_total: Counter,
    cover: Cover,
    out: Buf, // the new value
}

/// How a value is hidden.
struct Cover {
    mode: Mode,
    replacement: Text,
    keep: usize,
    secret: Text,
    one: Buf, // one field's text
}

const NO_SECRET: &str = "the plugin's configuration names no such secret";

fn parse(fields: &List<Text>) -> core::result::Result<Paths, Buf> {
    let mut paths = Paths::new();
    if fields.is_empty() {
        return Err("the list is empty".into());
    }
    if fields.len() > json::MAX_PATHS {
        return Err("more than 64 JSON paths".into());
    }
    for field in fields.iter() {
        if let Err(what) = paths.add(field) {
            return Err(json::wrong(field.as_bytes(), &what));
        }
    }
    Ok(paths)
}

impl Plugin for Mask {
    fn start(s: &mut Start) -> Result<Self> {
        let (masked_total, malformed_total) = (klamm::counter("mask_fields_total"), klamm::counter("mask_malformed_total"));
        let mut fields = Setting::<List<Text>>::new("fields").required().rule(|list| parse(list).err());
        let mut mode = Setting::<Text>::new("mode").default("\"fixed\"").one_of(&["null", "fixed", "hash", "partial"]);
        let mut replacement = Setting::<Text>::new("replacement").default("\"***\"");
        let mut keep = Setting::<i64>::new("keep").default("4").rule(not_negative);
        let mut secret = Setting::<Text>::new("secret");
        let mut malformed =
            Setting::<Text>::new("on_malformed").default("\"fail\"").one_of(&["fail", "pass", "drop", "dead_letter"]);
        configure(s, &mut [&mut fields, &mut mode, &mut replacement, &mut keep, &mut secret, &mut malformed])?;
        let cover = Cover {
            mode: match &*mode.value {
                "null" => Mode::Null,
                "fixed" => Mode::Fixed,
                "hash" => Mode::Hash,
                _ => Mode::Partial,
            },
            replacement: replacement.value,
            keep: keep.value.min(1 << 20) as usize,
            secret: secret.value,
            one: Buf::new(),
        };
        if cover.hash(b"").is_none() {
            let mut wrong = Buf::from("config key \"secret\": ");
            wrong.add(NO_SECRET);
            return Err(wrong.into());
        }
        s.want(Hook::OnSend, klamm::VALUE);
        s.want(Hook::OnConsume, klamm::VALUE);
        let paths = parse(&fields.value)?;
        Ok(Mask { paths, malformed: malformed.value, masked_total, malformed_total, cover, out: Buf::new() })
    }

    fn on_send(&mut self, b: &mut Batch) -> Result {
        self.judge(b)
    }

    fn on_consume(&mut self, b: &mut Batch) -> Result {
        self.judge(b)
    }
}

impl Mask {
    fn judge(&mut self, b: &mut Batch) -> Result {
        while let Some(mut r) = b.next() {
            let doc = match r.value() {
                Some(doc) => doc,
                None => continue, // a tombstone hides nothing
            };
            if let Err(e) = self.paths.scan(doc) {
                self.not_json(&r, e);
                continue;
            }
            if self.paths.matches().is_empty() {
                continue;
            }
            self.rewrite(doc).ok_or(NO_SECRET)?;
            if self.out[..] != *doc {
                r.set_value(Some(&self.out));
            }
        }
        Ok(())
    }

    /// Copies doc to out with every match replaced, also those that a later member of
    /// the same name supersedes: the next reader may take the first.
    fn rewrite(&mut self, doc: &[u8]) -> Option<()> {
        let mut done = 0;
        self.out.clear();
        for m in self.paths.matches() {
            let (start, end) = (m.start as usize, m.end as usize);
            if start < done {
                continue; // inside of a value that is masked as a whole
            }
            self.out.add(&doc[done..start]);
            let raw = &doc[start..end];
            if raw == b"null" {
                self.out.add(raw);
            } else {
                self.masked_total.add(1);
                self.cover.add(&mut self.out, raw)?;
            }
            done = end;
        }
        self.out.add(&doc[done..]);
        Some(())
    }

    fn not_json(&self, r: &Record, e: json::Error) {
        let mut text = Buf::from("value cannot be masked: ");
        e.add_to(&mut text);
        match &*self.malformed {
            "fail" => r.fail(klamm::INVALID, &text),
            "drop" => r.drop(klamm::INVALID, &text),
            "dead_letter" => r.dead_letter(klamm::INVALID, &text),
            _ => {}
        }
        self.malformed_total.add(1);
    }
}

impl Cover {
    fn hash(&self, data: &[u8]) -> Option<[u8; 32]> {
        if self.secret.is_empty() {
            return Some(sha256::sum(data));
        }
        klamm::hmac(&self.secret, data)
    }

    /// Appends what stands in for the JSON value raw; nothing without the secret.
    fn add(&mut self, out: &mut Buf, raw: &[u8]) -> Option<()> {
        match self.mode {
            Mode::Null => out.add("null"),
            Mode::Fixed => json::add_string(out, self.replacement.as_bytes()),
            Mode::Hash => return self.add_hash(out, raw),
            Mode::Partial => self.add_partial(out, raw),
        }
        Some(())
    }

    /// Hashes what a string stands for, so that one text has one hash however it is
    /// escaped, and other values as they are written. It shows 128 bits, which do not
    /// collide by chance.
    fn add_hash(&mut self, out: &mut Buf, raw: &[u8]) -> Option<()> {
        let mut decoded = core::mem::take(&mut self.one);
        let sum = self.hash(json::string(raw, &mut decoded).unwrap_or(raw));
        self.one = decoded;
        out.add("\"h:");
        add_hex(out, &sum?[..16]);
        out.push(b'"');
        Some(())
    }

    /// Shows the last letters and digits of a string or number and stars the others;
    /// what is neither stays, so that the form is kept. A value of which more than half
    /// would show is starred whole.
    fn add_partial(&mut self, out: &mut Buf, raw: &[u8]) {
        let text = match json::string(raw, &mut self.one) {
            Some(text) => text,
            None if matches!(raw[0], b'-' | b'0'..=b'9') => raw,
            // true, false, arrays and objects have no last part
            None => return json::add_string(out, self.replacement.as_bytes()),
        };
        let mut left = text.iter().filter(|&&c| hidden(c)).count();
        let show = if left < 2 * self.keep { 0 } else { self.keep };
        let mut starred = Buf::new();
        for &c in text {
            if c & 0xc0 == 0x80 {
                if left >= show {
                    continue; // of a character that a star stands for
                }
                starred.push(c);
            } else if hidden(c) {
                left -= 1;
                starred.push(if left >= show { b'*' } else { c });
            } else {
                starred.push(c);
            }
        }
        json::add_string(out, &starred);
    }
}

/// Whether a character is to be starred, by its first byte: ASCII letters and
/// digits, and everything beyond ASCII.
fn hidden(c: u8) -> bool {
    c.is_ascii_alphanumeric() || c >= 0xc0
}
