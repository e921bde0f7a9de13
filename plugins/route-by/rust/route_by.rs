//! route-by keeps each tenant on its share of the partitions: see README.md of the
//! folder above, and routeby.go, which says more.
#![no_std]

use klamm::config::{configure, positive, Setting, Size};
use klamm::{murmur2, Batch, Buf, Counter, Hook, Plugin, Record, Result, Start, Text, Topic};
use source::Sources;

#[path = "../../internal/rust/source.rs"]
mod source;

klamm::no_std!();
klamm::plugin!(RouteBy: partition);

struct RouteBy {
    tenant: Sources,
    by: Text,
    spread: u32,
    hot: i64,
    fail_missing: bool,
    moved: Counter,
    missing: Counter,
}

impl Plugin for RouteBy {
    fn start(s: &mut Start) -> Result<Self> {
        let (moved, missing) = (klamm::counter("route_by_moved_total"), klamm::counter("route_by_missing_total"));
        let mut by = Setting::<Text>::new("by").required().rule(|by| Sources::parse(core::slice::from_ref(by)).err());
        let mut spread = Setting::<i64>::new("spread").default("1").rule(positive);
        let mut on_missing = Setting::<Text>::new("on_missing").default("\"default\"").one_of(&["default", "fail"]);
        let mut hot = Setting::<Size>::new("hot").default("0");
        configure(s, &mut [&mut by, &mut spread, &mut on_missing, &mut hot])?;
        let tenant = Sources::parse(core::slice::from_ref(&by.value))?;
        if spread.value > 1 << 20 {
            return Err("config key \"spread\": more than any topic has partitions".into());
        }
        let load = if hot.value.0 > 0 { klamm::LOAD } else { 0 };
        s.want(Hook::Partition, tenant.fields() | klamm::KEY | klamm::TOPIC_FACTS | load);
        Ok(RouteBy {
            tenant,
            by: by.value,
            spread: spread.value as u32,
            hot: hot.value.0,
            fail_missing: &*on_missing.value == "fail",
            moved,
            missing,
        })
    }

    fn partition(&mut self, b: &mut Batch) -> Result {
        while let Some(r) = b.next() {
            if let Err(e) = self.tenant.open(&r) {
                let mut text = Buf::from("no tenant: the value is ");
                e.add_to(&mut text);
                self.without(&r, klamm::INVALID, &text);
                continue;
            }
            let t = r.topic();
            match self.tenant.get(&r, 0).map(|who| murmur2(who.bytes)) {
                None => {
                    let mut text = Buf::from("no tenant: ");
                    text.add(&*self.by);
                    text.add(" is missing or null");
                    self.without(&r, klamm::MISSING, &text);
                }
                Some(_) if t.partitions() == 0 => {}
                Some(who) => r.route(self.place(&r, t, who) as i32),
            }
        }
        Ok(())
    }
}

/// Spreads records by the host's number for them, which stays the same when a batch
/// is cut or judged again.
fn number(r: &Record) -> u32 {
    (r.reference().wrapping_mul(0x9e3779b97f4a7c15) >> 33) as u32
}

/// Partition p is available and at most half as loaded as the hot one.
fn cool(t: Topic, p: u32, half: u32) -> bool {
    t.available(p) && t.load(p) <= half
}

impl RouteBy {
    /// Chooses one of the topic's partitions.
    #[inline]
    fn place(&self, r: &Record, t: Topic, who: u32) -> u32 {
        let n = t.partitions();
        let share = self.spread.min(n);
        let home = who % n;
        let slot = match r.key() {
            _ if share == 1 => 0,
            Some(key) => murmur2(key) % share,
            None => number(r) % share,
        };
        let chosen = (home + slot) % n;
        if self.hot > 0 && t.load(chosen) as i64 > self.hot {
            return self.cooler(r, t, chosen, (0..share).map(|i| (home + i) % n));
        }
        chosen
    }

    /// The partition for a record whose own one, chosen, is hot: one of the share that
    /// is cool. Records spread over those by their number, so that they do not all rush
    /// to the coolest.
    #[inline(never)]
    fn cooler(&self, r: &Record, t: Topic, chosen: u32, share: impl Iterator<Item = u32> + Clone) -> u32 {
        let half = t.load(chosen) / 2;
        let mut cools = share.filter(|&p| cool(t, p, half));
        let count = cools.clone().count();
        if count == 0 {
            return chosen;
        }
        self.moved.add(1);
        cools.nth(number(r) as usize % count).unwrap_or(chosen)
    }

    /// Judges a record that has no tenant; text says why.
    fn without(&self, r: &Record, why: u16, text: &Buf) {
        if self.fail_missing {
            r.fail(why, text);
        }
        self.missing.add(1);
    }
}
