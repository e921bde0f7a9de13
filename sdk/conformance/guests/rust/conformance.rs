//! The conformance plugin in Rust; README.md two folders above says what it must do.
#![no_std]

use klamm::config::{configure, Setting};
use klamm::text::{add_hex, add_i64, add_u64, quote};
use klamm::{log, Batch, Buf, Counter, Histogram, Hook, Level, Plugin, Record, Result, Start, Text, HOOKS};

klamm::no_std!();
klamm::plugin!(Conformance: on_send, on_acknowledgement, on_consume, on_commit, partition);

struct Conformance {
    a: Counter,
    b: Counter,
    histogram: Histogram,
    ttl_ms: i64,
    text: Buf,   // of an answer
    script: Buf, // a copy: steps may overwrite the value
}

impl Plugin for Conformance {
    fn start(s: &mut Start) -> Result<Self> {
        let (a, b) = (klamm::counter("conf_a_total"), klamm::counter("conf_b_total"));
        let histogram = klamm::histogram("conf_h");
        klamm::reason("conf_first");
        klamm::reason("conf_second");
        let mut hooks = Setting::<i64>::new("hooks").default("31");
        let mut fields = Setting::<i64>::new("fields").default("63");
        let mut ttl_ms = Setting::<i64>::new("ttl_ms");
        let mut refuse = Setting::<Text>::new("refuse");
        configure(s, &mut [&mut hooks, &mut fields, &mut ttl_ms, &mut refuse])?;
        log(Level::Info, introduction(s));
        if !refuse.value.is_empty() {
            return Err(Buf::from(&*refuse.value).into());
        }
        for hook in HOOKS {
            if hooks.value >> hook as u8 & 1 == 1 {
                s.want(hook, if hook == Hook::OnCommit { 0 } else { fields.value as u8 });
            }
        }
        Ok(Conformance { a, b, histogram, ttl_ms: ttl_ms.value, text: Buf::new(), script: Buf::new() })
    }

    fn on_send(&mut self, b: &mut Batch) -> Result {
        self.judge(b)
    }

    fn on_consume(&mut self, b: &mut Batch) -> Result {
        self.judge(b)
    }

    fn partition(&mut self, b: &mut Batch) -> Result {
        self.judge(b)
    }

    fn on_acknowledgement(&mut self, b: &mut Batch) -> Result {
        while let Some(r) = b.next() {
            self.a.add(1);
            self.text.clear();
            self.text.add("ack ");
            add_dump(&mut self.text, &r);
            let ack = r.ack().ok_or("no acknowledgement")?;
            field(&mut self.text, " err=", ack.error);
            field(&mut self.text, " dropped=", ack.dropped);
            field(&mut self.text, " retried=", ack.retried);
            field(&mut self.text, " aborted=", ack.aborted);
            field(&mut self.text, " earlier=", ack.earlier);
            field(&mut self.text, " latency=", ack.latency_us);
            field(&mut self.text, " reason=", ack.reason);
            field(&mut self.text, " plugin=", ack.plugin);
            log(Level::Info, &self.text);
        }
        Ok(())
    }

    fn on_commit(&mut self, b: &mut Batch) -> Result {
        while let Some(r) = b.next() {
            self.b.add(1);
            self.text.clear();
            self.text.add("commit ");
            self.text.add(r.topic().name());
            field(&mut self.text, "/", r.partition());
            field(&mut self.text, "@", r.offset());
            log(Level::Info, &self.text);
        }
        Ok(())
    }
}

fn introduction(s: &Start) -> Buf {
    let mut text = Buf::from("init plugin=");
    text.add(s.plugin);
    text.add(" chain=");
    text.add(s.chain);
    text.add(" client=");
    text.add(s.client_id);
    field(&mut text, " lane=", s.lane);
    field(&mut text, "/", s.lanes);
    for (i, topic) in s.topics().enumerate() {
        text.add(if i == 0 { " topics=" } else { "," });
        text.add(topic);
    }
    text
}

// ---- text ----

/// What stands before the first c, and behind it.
fn cut(s: &[u8], c: u8) -> (&[u8], &[u8]) {
    match s.iter().position(|&x| x == c) {
        Some(n) => (&s[..n], &s[n + 1..]),
        None => (s, &[]),
    }
}

fn number(s: &[u8]) -> i64 {
    let (negative, digits) = match s.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, s),
    };
    let n = digits.iter().fold(0i64, |n, c| n.wrapping_mul(10).wrapping_add((c - b'0') as i64));
    if negative {
        n.wrapping_neg()
    } else {
        n
    }
}

fn nullable(s: &[u8]) -> Option<&[u8]> {
    if s == b"~" {
        None
    } else {
        Some(s)
    }
}

fn field(text: &mut Buf, name: &str, v: impl Into<i64>) {
    text.add(name);
    add_i64(text, v.into());
}

fn add_digest(text: &mut Buf, s: Option<&[u8]>) {
    match s {
        None => text.push(b'~'),
        Some(s) => {
            add_u64(text, s.len() as u64);
            text.push(b':');
            let hash = s.iter().fold(2166136261u32, |h, &c| (h ^ c as u32).wrapping_mul(16777619));
            add_hex(text, &hash.to_be_bytes());
        }
    }
}

fn add_headers(text: &mut Buf, r: &Record) {
    let headers = r.headers();
    field(text, " headers=", headers.len() as i64);
    let mut all = Buf::new();
    for h in headers {
        all.add(h.key);
        all.add([0, h.value.is_some() as u8]);
        all.add(h.value.unwrap_or(b""));
        all.push(0);
    }
    text.push(b'/');
    add_digest(text, Some(&all));
}

fn add_dump(text: &mut Buf, r: &Record) {
    text.add("ref=");
    add_u64(text, r.reference());
    text.add(" key=");
    add_digest(text, r.key());
    field(text, " vlen=", r.value_len().map_or(-1, |n| n as i64));
    text.add(" value=");
    add_digest(text, r.value());
    add_headers(text, r);
    field(text, " ts=", r.timestamp_ms());
    field(text, " off=", r.offset());
    field(text, " part=", r.partition());
    field(text, " tx=", r.transactional());
    let t = r.topic();
    text.add(" topic=");
    text.add(t.name());
    field(text, " parts=", t.partitions());
    field(text, " epoch=", t.epoch());
    for p in 0..t.partitions() {
        field(text, " ", t.available(p));
        field(text, ":", t.load(p));
    }
    field(text, " now=", r.batch().now_ms());
}

fn filled(n: i64, with: &[u8]) -> Buf {
    let mut out = Buf::new();
    out.reserve(n as usize * with.len());
    for _ in 0..n {
        out.add(with);
    }
    out
}

// ---- verbs ----

/// The verbs that say what becomes of the record.
fn edit(r: &mut Record, verb: &[u8], rest: &[u8]) -> bool {
    let (first, second) = cut(rest, b' ');
    let reason = || number(first) as u16;
    match verb {
        b"pass" => r.pass(),
        b"drop" => r.drop(reason(), second),
        b"fail" => r.fail(reason(), second),
        b"dead" => r.dead_letter(reason(), second),
        b"route" => r.route(number(first) as i32),
        b"value" => r.set_value(nullable(rest)),
        b"fill" => r.set_value(Some(&filled(number(first), second))),
        b"key" => r.set_key(nullable(rest)),
        b"topic" => r.set_topic(rest),
        b"time" => r.set_timestamp_ms(number(first)),
        b"add" => r.add_header(first, nullable(second)),
        b"addfill" => {
            let (n, with) = cut(second, b' ');
            r.add_header(first, Some(&filled(number(n), with)))
        }
        b"del" => r.remove_headers(rest),
        b"delat" => r.remove_header(number(first) as u32),
        _ => return false,
    }
    true
}

/// The verbs that answer with what can be read of the record.
fn look(text: &mut Buf, r: &Record, verb: &[u8], rest: &[u8]) -> bool {
    let name = match verb {
        b"dump" => {
            add_dump(text, r);
            "dump"
        }
        b"last" => {
            match r.header(rest) {
                Some(h) => add_digest(text, h.value),
                None => text.add("none"),
            }
            "last"
        }
        b"all" => {
            for h in r.headers().filter(|h| h.key == rest) {
                if !text.is_empty() {
                    text.push(b',');
                }
                add_digest(text, h.value);
            }
            "all"
        }
        b"murmur" => {
            add_u64(text, klamm::murmur2(rest) as u64);
            "murmur"
        }
        b"clock" => {
            add_i64(text, r.batch().now_ms());
            "clock"
        }
        _ => return false,
    };
    r.add_header(name, Some(text));
    true
}

impl Conformance {
    /// The verbs that reach the host.
    fn reach(&mut self, r: &Record, verb: &[u8], rest: &[u8]) -> bool {
        let (first, second) = cut(rest, b' ');
        let text = &mut self.text;
        match verb {
            b"claim" => {
                add_u64(text, r.claim(rest, self.ttl_ms) as u64);
                r.add_header("claim", Some(text));
            }
            b"claimkeys" => {
                r.batch().claim_keys(self.ttl_ms);
                r.add_header("fresh", Some(if r.fresh() { b"1" } else { b"0" }));
            }
            b"put" => r.put(first, second, self.ttl_ms),
            b"get" => r.add_header("got", r.get(rest).as_deref()),
            b"hmac" => match klamm::hmac(first, second) {
                None => r.add_header("hmac", None),
                Some(sum) => {
                    add_hex(text, &sum);
                    r.add_header("hmac", Some(text));
                }
            },
            b"random" => {
                let (mut x, mut y) = ([0; 16], [0; 16]);
                klamm::random(&mut x);
                klamm::random(&mut y);
                r.add_header("random", Some(if x == y { b"equal" } else { b"differ" }));
            }
            b"now" => {
                if klamm::now_ns() > 1_704_067_200_000_000_000 {
                    r.add_header("now", Some(b"ok"));
                }
            }
            b"log" => log(level(number(first)), second),
            b"count" => if first == b"a" { self.a } else { self.b }.add(number(second)),
            b"observe" => self.histogram.observe(number(rest) as f64),
            _ => return false,
        }
        true
    }

    fn step(&mut self, r: &mut Record, line: &[u8]) -> Result {
        let (verb, rest) = cut(line, b' ');
        self.text.clear();
        if edit(r, verb, rest) || look(&mut self.text, r, verb, rest) || self.reach(r, verb, rest) {
            return Ok(());
        }
        if verb == b"trap" {
            panic!();
        }
        let mut text = Buf::new();
        if verb == b"error" {
            text.add(rest);
        } else {
            text.add("no verb ");
            quote(&mut text, verb);
        }
        Err(text.into())
    }

    fn judge(&mut self, b: &mut Batch) -> Result {
        const SCRIPT_MAX: usize = 4096;
        while let Some(mut r) = b.next() {
            let script = match r.key() {
                Some([b'!', script @ ..]) => script,
                _ if r.value_len() <= Some(SCRIPT_MAX) => r.value().unwrap_or(b""),
                _ => continue,
            };
            if script.is_empty() {
                continue;
            }
            let mut copy = core::mem::take(&mut self.script);
            copy.clear();
            copy.add(script);
            for line in copy.split(|&c| c == b'\n') {
                self.step(&mut r, line)?;
            }
            self.script = copy;
        }
        Ok(())
    }
}

fn level(n: i64) -> Level {
    match n {
        0 => Level::Debug,
        1 => Level::Info,
        2 => Level::Warn,
        _ => Level::Error,
    }
}
