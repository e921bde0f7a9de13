//! Verdicts and edits.

use crate::batch::{put32, put64, u32_at, Batch};
use crate::record::Record;
use core::ptr;

const PASS: u8 = 0;
const DROP: u8 = 1;
const ROUTE: u8 = 2;
const IN_PLACE: u8 = 3;
const EDIT: u8 = 4;
const DEAD_LETTER: u8 = 5;
const FAIL: u8 = 6;

const ADD_HEADER: u16 = 1;
const REMOVE_HEADERS: u16 = 2;
const KEY: u16 = 3;
const VALUE: u16 = 4;
const TOPIC: u16 = 5;
const TIMESTAMP: u16 = 6;
const PARTITION: u16 = 7;
const REMOVE_HEADER: u16 = 8;

const MAX_TEXT: usize = 1024;

impl Batch {
    /// Takes n bytes, rounded up to 8, from the modification area, and returns their
    /// offset; nothing when it is full.
    fn take(&self, n: u64) -> Option<u32> {
        let used = self.mod_used.get();
        let n = (n + 7) & !7;
        if used as u64 + n > self.mod_cap as u64 {
            return None;
        }
        self.mod_used.set(used + n as u32);
        Some(self.mod_off + used)
    }

    fn new_list(&self) -> Option<u32> {
        let list = self.take(8)?;
        // SAFETY: it was taken.
        unsafe { put64(self.base, list, 0) };
        Some(list)
    }

    #[inline(never)]
    fn append(&self, list: u32, op: u16, key: Option<&[u8]>, value: Option<&[u8]>) -> Option<u32> {
        let (k, v) = (key.unwrap_or(&[]), value.unwrap_or(&[]));
        let total = 16 + ((k.len() as u64 + v.len() as u64 + 7) & !7);
        let off = self.take(total)?;
        let len = |s: Option<&[u8]>| s.map_or(-1, |s| s.len() as i32) as u32;
        // SAFETY: total bytes were taken, and the list's head before.
        unsafe {
            let e = self.base.add(off as usize);
            put64(e, total as u32 - 8, 0); // the padding; of an empty entry its total
            put32(e, 0, op as u32);
            put32(e, 4, len(key));
            put32(e, 8, len(value));
            put32(e, 12, total as u32);
            ptr::copy_nonoverlapping(k.as_ptr(), e.add(16), k.len());
            ptr::copy_nonoverlapping(v.as_ptr(), e.add(16 + k.len()), v.len());
            let head = self.base.add(list as usize);
            put32(head, 0, u32_at(head, 0) + 1);
            put32(head, 4, u32_at(head, 4) + total as u32);
        }
        Some(list)
    }
}

impl<'b> Record<'b> {
    #[inline]
    fn code(&self) -> u8 {
        // SAFETY: the record's verdict; blocks without verdicts have none.
        if self.b.hook.judges() {
            unsafe { *self.verdict }
        } else {
            PASS
        }
    }

    /// A verdict counts unless the area was full before.
    #[inline]
    fn counts(&self) -> bool {
        self.b.hook.judges() && self.i < self.b.full.get()
    }

    #[inline]
    fn write(&self, code: u8, reason: u16, argument: u32) {
        // SAFETY: callers have asked whether it counts.
        unsafe { put64(self.verdict, 0, code as u64 | (reason as u64) << 16 | (argument as u64) << 32) }
    }

    #[inline]
    fn end(&self, code: u8, reason: u16, text: &[u8]) {
        if !self.counts() {
            return;
        }
        if text.is_empty() {
            self.write(code, reason, 0);
        } else {
            self.end_text(code, reason, text);
        }
    }

    #[inline(never)]
    fn end_text(&self, code: u8, reason: u16, text: &[u8]) {
        let mut n = text.len();
        if n > MAX_TEXT {
            n = MAX_TEXT;
            while n > 0 && text[n] & 0xc0 == 0x80 {
                n -= 1;
            }
        }
        match self.b.take(4 + n as u64) {
            None => self.b.full.set(self.i),
            // SAFETY: as many bytes were taken.
            Some(off) => unsafe {
                put32(self.b.base, off, n as u32);
                ptr::copy_nonoverlapping(text.as_ptr(), self.b.base.add(off as usize + 4), n);
                self.write(code, reason, off);
            },
        }
    }

    /// Takes back what was said about the record.
    pub fn pass(&self) {
        if self.counts() {
            self.write(PASS, 0, 0);
        }
    }

    /// Drops the record. Drop, fail and dead_letter end it: what was edited before is
    /// forgotten, edits after them are ignored, and the last of them counts. The text,
    /// for people, is cut at 1 KiB; it may be empty.
    #[inline]
    pub fn drop(&self, reason: u16, text: impl AsRef<[u8]>) {
        self.end(DROP, reason, text.as_ref())
    }

    /// Lets the record fail. See [`Record::drop`].
    #[inline]
    pub fn fail(&self, reason: u16, text: impl AsRef<[u8]>) {
        self.end(FAIL, reason, text.as_ref())
    }

    /// Sends the record, as it was before this plugin, to the dead-letter topic. See
    /// [`Record::drop`].
    #[inline]
    pub fn dead_letter(&self, reason: u16, text: impl AsRef<[u8]>) {
        self.end(DEAD_LETTER, reason, text.as_ref())
    }

    /// Sends the record to a partition, in on_send and partitioners; -1 takes an
    /// explicit one away.
    #[inline]
    pub fn route(&self, partition: i32) {
        match self.code() {
            PASS | ROUTE => {
                if self.counts() {
                    self.write(ROUTE, 0, partition as u32)
                }
            }
            _ => self.edit(PARTITION, None, Some(&partition.to_le_bytes())),
        }
    }

    /// Replaces the value; one of the same length is written in place, which is the
    /// cheap way, so that [`Record::value`] returns it from then on.
    #[inline]
    pub fn set_value(&mut self, value: Option<&[u8]>) {
        if let (Some(v), PASS | IN_PLACE) = (value, self.code()) {
            if self.holds(v.len()) {
                if self.counts() {
                    // SAFETY: as many bytes are there, and no loan of them is left.
                    unsafe { ptr::copy(v.as_ptr(), self.at.add(u32_at(self.at, 40) as usize), v.len()) };
                    self.write(IN_PLACE, 0, 0);
                }
                return;
            }
        }
        self.edit(VALUE, None, value)
    }

    pub fn set_key(&self, key: Option<&[u8]>) {
        self.edit(KEY, None, key)
    }

    /// The configuration must allow the topic.
    pub fn set_topic(&self, name: impl AsRef<[u8]>) {
        self.edit(TOPIC, None, Some(name.as_ref()))
    }

    pub fn set_timestamp_ms(&self, ms: i64) {
        self.edit(TIMESTAMP, None, Some(&ms.to_le_bytes()))
    }

    /// Adds a header after those that are there.
    pub fn add_header(&self, key: impl AsRef<[u8]>, value: Option<&[u8]>) {
        self.edit(ADD_HEADER, Some(key.as_ref()), value)
    }

    /// Removes all headers of that key.
    pub fn remove_headers(&self, key: impl AsRef<[u8]>) {
        self.edit(REMOVE_HEADERS, Some(key.as_ref()), None)
    }

    /// Removes the i-th header, as the edits before have left them.
    pub fn remove_header(&self, i: u32) {
        self.edit(REMOVE_HEADER, None, Some(&i.to_le_bytes()))
    }

    #[inline(never)]
    fn edit(&self, op: u16, key: Option<&[u8]>, value: Option<&[u8]>) {
        if !self.counts() || matches!(self.code(), DROP | FAIL | DEAD_LETTER) {
            return;
        }
        match self.list().and_then(|list| self.b.append(list, op, key, value)) {
            Some(list) => self.write(EDIT, 0, list),
            None => self.b.full.set(self.i),
        }
    }

    /// The offset of the record's edit list; nothing when the area is full. What was
    /// routed or written in place before becomes its first entry; a list that is not
    /// the last thing in the area moves there.
    fn list(&self) -> Option<u32> {
        let b = self.b;
        // SAFETY: the verdict is ours, and so is the list that it leads to.
        unsafe {
            let argument = u32_at(self.verdict, 4);
            match self.code() {
                EDIT => {
                    let size = 8 + u32_at(b.base, argument + 4);
                    if argument + size == b.mod_off + b.mod_used.get() {
                        return Some(argument);
                    }
                    let list = b.take(size as u64)?;
                    ptr::copy_nonoverlapping(b.base.add(argument as usize), b.base.add(list as usize), size as usize);
                    Some(list)
                }
                ROUTE => b.append(b.new_list()?, PARTITION, None, Some(&argument.to_le_bytes())),
                IN_PLACE => b.append(b.new_list()?, VALUE, None, self.value()),
                _ => b.new_list(),
            }
        }
    }
}
