//! Reads the plugin's table of the configuration.
//!
//! ```ignore
//! let mut window = Setting::<Millis>::new("window").default(r#""10m""#).rule(|w| {
//!     if w.0 < 0 { Some("must not be negative".into()) } else { None }
//! });
//! let mut mode = Setting::<Text>::new("mode").default(r#""fixed""#).one_of(&["null", "fixed"]);
//! let mut fields = Setting::<List<Text>>::new("fields").required();
//! configure(s, &mut [&mut window, &mut mode, &mut fields])?;
//! let window_ms = window.value.0;
//! ```
//!
//! Defaults are JSON as well. Each problem is a log line; with any of them the
//! plugin is not loaded.

use crate::call::{Error, Result};
use crate::duration::{parse_duration, parse_int, parse_size};
use crate::host::{log, Level};
use crate::json::{self, any_end, space, string_end};
use crate::list::{Buf, List, Text};
use crate::start::Start;
use crate::text::quote;

/// A duration in ms: "10m", "1h30m", or a number of milliseconds.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Millis(pub i64);

/// A number of bytes: "16KiB", or a number.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub i64);

/// What a setting can be: Text, `List<Text>` (a list; one string is a list of
/// one), i64, bool, Millis, Size, or a type of your own.
pub trait Kind: Default {
    /// Follows "is not" in errors.
    const WHAT: &'static str;
    /// Reads the value from its JSON.
    fn parse(raw: &[u8]) -> Option<Self>;
    /// What the value that parse has refused is not, if not [`Kind::WHAT`].
    fn why(_raw: &[u8]) -> &'static str {
        Self::WHAT
    }
}

impl Kind for Text {
    const WHAT: &'static str = "a string";
    fn parse(raw: &[u8]) -> Option<Text> {
        let mut buffer = List::new();
        Text::new(json::string(raw, &mut buffer)?)
    }
}

impl Kind for List<Text> {
    const WHAT: &'static str = "a list of strings";
    fn parse(raw: &[u8]) -> Option<List<Text>> {
        let mut list = List::new();
        if let Some(one) = Text::parse(raw) {
            list.push(one);
            return Some(list);
        }
        if raw.first() != Some(&b'[') {
            return None;
        }
        let mut at = space(raw, 1);
        let mut more = raw.get(at) != Some(&b']');
        while more {
            let end = any_end(raw, at).ok()?;
            list.push(Text::parse(&raw[at..end])?);
            at = space(raw, end);
            more = match raw.get(at)? {
                b',' => true,
                b']' => false,
                _ => return None,
            };
            at = space(raw, at + 1);
        }
        Some(list)
    }
}

impl Kind for i64 {
    const WHAT: &'static str = "a whole number";
    fn parse(raw: &[u8]) -> Option<i64> {
        parse_int(raw)
    }
}

impl Kind for bool {
    const WHAT: &'static str = "true or false";
    fn parse(raw: &[u8]) -> Option<bool> {
        match raw {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }
}

impl Kind for Millis {
    const WHAT: &'static str = "a duration, as \"500ms\", \"10m\" or \"24h\"";
    fn parse(raw: &[u8]) -> Option<Millis> {
        const MOST: i64 = i64::MAX / 1_000_000;
        if let Some(n) = parse_int(raw) {
            return if (-MOST..=MOST).contains(&n) { Some(Millis(n)) } else { None };
        }
        let mut buffer = List::new();
        parse_duration(json::string(raw, &mut buffer)?).map(Millis)
    }
    fn why(raw: &[u8]) -> &'static str {
        match parse_int(raw) {
            Some(_) => "a duration of less than 292 years",
            None => Self::WHAT,
        }
    }
}

impl Kind for Size {
    const WHAT: &'static str = "a size, as \"16KiB\" or \"1MiB\"";
    fn parse(raw: &[u8]) -> Option<Size> {
        let mut buffer = List::new();
        parse_size(json::string(raw, &mut buffer).unwrap_or(raw)).map(Size)
    }
}

/// A key of the table.
pub struct Setting<T> {
    /// What was configured, else the default.
    pub value: T,
    /// The configuration has it.
    pub set: bool,
    name: &'static str,
    required: bool,
    one_of: &'static [&'static str],
    rule: Option<fn(&T) -> Option<Buf>>,
}

impl<T: Kind> Setting<T> {
    pub fn new(name: &'static str) -> Setting<T> {
        Setting { value: T::default(), set: false, name, required: false, one_of: &[], rule: None }
    }

    /// Without it the value is empty, 0 or false. It must be JSON of the kind.
    pub fn default(mut self, raw: &'static str) -> Setting<T> {
        self.value = T::parse(raw.as_bytes()).expect("default");
        self
    }

    pub fn required(mut self) -> Setting<T> {
        self.required = true;
        self
    }

    /// The rule returns what is wrong with a value.
    pub fn rule(mut self, rule: fn(&T) -> Option<Buf>) -> Setting<T> {
        self.rule = Some(rule);
        self
    }
}

impl Setting<Text> {
    /// The values that a string can have.
    pub fn one_of(mut self, words: &'static [&'static str]) -> Setting<Text> {
        self.one_of = words;
        self
    }
}

/// A rule for numbers.
pub fn positive(n: &i64) -> Option<Buf> {
    if *n > 0 {
        return None;
    }
    Some("must be above 0".into())
}

/// A rule for numbers.
pub fn not_negative(n: &i64) -> Option<Buf> {
    if *n >= 0 {
        return None;
    }
    Some("must not be negative".into())
}

/// What [`configure`] takes: a setting of any kind.
pub trait Key {
    fn name(&self) -> &'static str;
    /// Takes the value from its JSON, or returns what it is not.
    fn take(&mut self, raw: &[u8]) -> core::result::Result<(), &'static str>;
    /// What is wrong, behind the key's name.
    fn check(&self) -> Option<Buf>;
}

impl<T: Kind + Word> Key for Setting<T> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn take(&mut self, raw: &[u8]) -> core::result::Result<(), &'static str> {
        self.set = true;
        self.value = T::parse(raw).ok_or_else(|| T::why(raw))?;
        Ok(())
    }

    fn check(&self) -> Option<Buf> {
        if self.required && !self.set {
            return Some("is required".into());
        }
        if let Some(wrong) = self.rule.and_then(|rule| rule(&self.value)) {
            return Some(wrong);
        }
        if self.one_of.is_empty() {
            return None;
        }
        none_of(self.value.word(), self.one_of)
    }
}

/// What [`Setting::one_of`] compares.
pub trait Word {
    fn word(&self) -> &str {
        ""
    }
}

impl Word for Text {
    fn word(&self) -> &str {
        self
    }
}

impl Word for List<Text> {}
impl Word for i64 {}
impl Word for bool {}
impl Word for Millis {}
impl Word for Size {}

fn none_of(word: &str, words: &[&str]) -> Option<Buf> {
    if words.contains(&word) {
        return None;
    }
    let mut text = List::new();
    quote(&mut text, word.as_bytes());
    list(&mut text, " is none of ", words.iter().copied());
    did_you_mean(&mut text, word, words.iter().copied());
    Some(text)
}

fn list<'a>(text: &mut Buf, before: &str, words: impl Iterator<Item = &'a str>) {
    let mut before = before;
    for w in words {
        text.add(before);
        text.add(w);
        before = ", ";
    }
}

/// Counts the insertions, deletions, replacements and swaps of neighbours that make
/// a into b.
#[inline(never)]
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut rows: [List<usize>; 3] = Default::default();
    for j in 0..=b.len() {
        rows[0].push(j);
    }
    for i in 1..=a.len() {
        let mut row = core::mem::take(&mut rows[i % 3]);
        let (last, before) = (&rows[(i + 2) % 3], &rows[(i + 1) % 3]);
        row.clear();
        row.push(i);
        for j in 1..=b.len() {
            let mut d = last[j - 1] + (a[i - 1] != b[j - 1]) as usize;
            d = d.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                d = d.min(before[j - 2] + 1);
            }
            row.push(d);
        }
        rows[i % 3] = row;
    }
    rows[a.len() % 3][b.len()]
}

/// Appends the word that is near enough, if one is.
fn did_you_mean<'a>(text: &mut Buf, word: &str, words: impl Iterator<Item = &'a str>) -> bool {
    let mut least = if word.len() < 4 { 2 } else { 3 };
    let mut best = None;
    for w in words {
        if w.len().abs_diff(word.len()) >= least {
            continue;
        }
        let d = distance(word.as_bytes(), w.as_bytes());
        if d < least {
            best = Some(w);
            least = d;
        }
    }
    match best {
        None => false,
        Some(best) => {
            text.add("; did you mean ");
            quote(text, best.as_bytes());
            text.push(b'?');
            true
        }
    }
}

struct Table<'t, 'k> {
    keys: &'t mut [&'k mut dyn Key],
    /// By key: it got a value that it cannot take.
    wrong: List<bool>,
    problems: u32,
}

/// Gives the settings their values. Return what it returns.
pub fn configure(s: &Start, keys: &mut [&mut dyn Key]) -> Result {
    let mut wrong = List::new();
    wrong.fill(keys.len(), false);
    let mut t = Table { keys, wrong, problems: 0 };
    let table = if space(s.config, 0) == s.config.len() { b"{}" } else { s.config };
    match t.members(table) {
        Ok(()) => t.check(),
        Err(e) => {
            let mut text = Buf::from("configuration table: ");
            e.add_to(&mut text);
            t.problem(&text);
        }
    }
    if t.problems > 0 {
        return Err(Error::config());
    }
    Ok(())
}

impl<'t, 'k> Table<'t, 'k> {
    #[inline(never)]
    fn problem(&mut self, text: &[u8]) {
        log(Level::Error, text);
        self.problems += 1;
    }

    fn about(name: &[u8]) -> Buf {
        let mut text = Buf::from("config key ");
        quote(&mut text, name);
        text.add(": ");
        text
    }

    /// Walks over the table's members.
    fn members(&mut self, d: &[u8]) -> core::result::Result<(), json::Error> {
        let error = |at, what| Err(json::Error { at, what });
        let mut at = space(d, 0);
        if d.get(at) != Some(&b'{') {
            return error(at, "\"{\" expected");
        }
        at = space(d, at + 1);
        let mut more = d.get(at) != Some(&b'}');
        while more {
            if d.get(at) != Some(&b'"') {
                return error(at, "a name in quotes is missing");
            }
            let end = string_end(d, at)?.0;
            let mut buffer = List::new();
            let name = json::string(&d[at..end], &mut buffer).unwrap_or(&[]);
            at = space(d, end);
            if d.get(at) != Some(&b':') {
                return error(at, "\":\" expected");
            }
            at = space(d, at + 1);
            let end = any_end(d, at)?;
            self.bind(name, &d[at..end]);
            at = space(d, end);
            more = match d.get(at) {
                Some(b',') => true,
                Some(b'}') => false,
                _ => return error(at, "\",\" or a closing bracket expected"),
            };
            if more {
                at = space(d, at + 1);
            }
        }
        at = space(d, at + 1);
        if at < d.len() {
            return error(at, "something follows the value");
        }
        Ok(())
    }

    fn bind(&mut self, name: &[u8], raw: &[u8]) {
        let i = match self.keys.iter().position(|k| k.name().as_bytes() == name) {
            Some(i) => i,
            None => return self.unknown(name),
        };
        let what = match self.keys[i].take(raw) {
            Ok(()) => return,
            Err(what) => what,
        };
        self.wrong[i] = true;
        let mut n = raw.len().min(60);
        while n > 0 && n < raw.len() && raw[n] & 0xc0 == 0x80 {
            n -= 1;
        }
        let mut text = Self::about(name);
        text.add(&raw[..n]);
        text.add(" is not ");
        text.add(what);
        self.problem(&text)
    }

    fn unknown(&mut self, name: &[u8]) {
        let mut text = Buf::from("unknown config key ");
        quote(&mut text, name);
        let word = core::str::from_utf8(name).unwrap_or("");
        let names = self.names();
        if !did_you_mean(&mut text, word, names.iter().copied()) {
            if self.keys.is_empty() {
                text.add("; this plugin has none");
            }
            list(&mut text, "; known are ", names.iter().copied());
        }
        self.problem(&text)
    }

    /// The names in order. There are few.
    fn names(&self) -> List<&'static str> {
        let mut names: List<&'static str> = List::new();
        let last = |names: &List<&'static str>| names.last().copied().unwrap_or("");
        while let Some(next) = self.keys.iter().map(|k| k.name()).filter(|&n| n > last(&names)).min() {
            names.push(next);
        }
        names
    }

    fn check(&mut self) {
        for i in 0..self.keys.len() {
            if self.wrong[i] {
                continue;
            }
            if let Some(wrong) = self.keys[i].check() {
                let mut text = Self::about(self.keys[i].name().as_bytes());
                text.add(&wrong);
                self.problem(&text);
            }
        }
    }
}
