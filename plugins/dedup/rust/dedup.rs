//! dedup drops records whose id has been seen within a window of time: see README.md
//! of the folder above, and dedup.go, which says more.
#![no_std]

use klamm::config::{configure, Millis, Setting};
use klamm::{Batch, Buf, Claim, Counter, Hook, List, Plugin, Record, Result, Start, Text};
use source::Sources;

#[path = "../../internal/rust/source.rs"]
mod source;

klamm::no_std!();
klamm::plugin!(Dedup: on_send, on_consume);

enum Missing {
    Fail,
    Pass,
    DeadLetter,
    Drop,
}

struct Dedup {
    id: Sources,
    names: List<Text>, // of the sources
    window_ms: i64,
    on_missing: Missing,
    dropped: Counter,
    missing: Counter,
    parts: Buf, // the id that is being put together
    text: Buf,
}

impl Plugin for Dedup {
    fn start(s: &mut Start) -> Result<Self> {
        let (dropped, missing) = (klamm::counter("dedup_dropped_total"), klamm::counter("dedup_missing_total"));
        let mut id = Setting::<List<Text>>::new("id").default("\"key\"").rule(|list| Sources::parse(list).err());
        let mut window = Setting::<Millis>::new("window").default("\"10m\"").rule(|w| {
            if w.0 >= 0 {
                return None;
            }
            Some("must not be negative; \"0s\" keeps ids until the state is full".into())
        });
        let mut on_missing =
            Setting::<Text>::new("on_missing").default("\"fail\"").one_of(&["fail", "pass", "dead_letter", "drop"]);
        configure(s, &mut [&mut id, &mut window, &mut on_missing])?;
        let sources = Sources::parse(&id.value)?;
        s.want(Hook::OnSend, sources.fields());
        s.want(Hook::OnConsume, sources.fields());
        Ok(Dedup {
            id: sources,
            names: id.value,
            window_ms: window.value.0,
            on_missing: match &*on_missing.value {
                "fail" => Missing::Fail,
                "pass" => Missing::Pass,
                "drop" => Missing::Drop,
                _ => Missing::DeadLetter,
            },
            dropped,
            missing,
            parts: Buf::new(),
            text: Buf::new(),
        })
    }

    fn on_send(&mut self, b: &mut Batch) -> Result {
        self.judge(b)
    }

    fn on_consume(&mut self, b: &mut Batch) -> Result {
        self.judge(b)
    }
}

impl Dedup {
    fn judge(&mut self, b: &mut Batch) -> Result {
        if self.id.key_only() {
            return self.judge_keys(b);
        }
        while let Some(r) = b.next() {
            if let Err(e) = self.id.open(&r) {
                self.say("the value is ");
                e.add_to(&mut self.text);
                self.without(&r, klamm::INVALID);
                continue;
            }
            match self.claim(&r) {
                Ok(Claim::New) => {}
                Ok(_) => self.drop(&r),
                Err(absent) => {
                    self.say(&self.names[absent].clone());
                    self.text.add(" is missing or null");
                    self.without(&r, klamm::MISSING);
                }
            }
        }
        Ok(())
    }

    /// For ids that are the key alone: the whole batch takes one call of the host.
    fn judge_keys(&mut self, b: &mut Batch) -> Result {
        b.claim_keys(self.window_ms);
        while let Some(r) = b.next() {
            if r.fresh() {
                continue;
            }
            if r.key().is_some() {
                self.drop(&r);
            } else {
                self.say("the key is null");
                self.without(&r, klamm::MISSING);
            }
        }
        Ok(())
    }

    /// Claims the record's id, or returns the source that is absent. Of several parts
    /// each is preceded by its length, so that "a","bc" and "ab","c" are two ids. A
    /// zero byte keeps the number 1 and the string "1" apart.
    #[inline]
    fn claim(&mut self, r: &Record) -> core::result::Result<Claim, usize> {
        let several = self.id.len() > 1;
        self.parts.clear();
        for i in 0..self.id.len() {
            let part = self.id.get(r, i).ok_or(i)?;
            if part.text && !several {
                return Ok(r.claim(part.bytes, self.window_ms));
            }
            if several {
                self.parts.add((part.bytes.len() as u32).to_le_bytes());
            }
            if !part.text {
                self.parts.push(0);
            }
            self.parts.add(part.bytes);
        }
        Ok(r.claim(&self.parts, self.window_ms))
    }

    fn drop(&self, r: &Record) {
        r.drop(klamm::DUPLICATE, "");
        self.dropped.add(1);
    }

    fn say(&mut self, what: &str) {
        self.text.clear();
        self.text.add("no id: ");
        self.text.add(what);
    }

    /// Judges a record that has no id; text says why.
    fn without(&self, r: &Record, why: u16) {
        match self.on_missing {
            Missing::Fail => r.fail(why, &self.text),
            Missing::DeadLetter => r.dead_letter(why, &self.text),
            Missing::Drop => r.drop(why, &self.text),
            Missing::Pass => {}
        }
        self.missing.add(1);
    }
}
