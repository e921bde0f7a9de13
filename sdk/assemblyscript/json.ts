// json.ts: find values in JSON documents, in one pass and without a tree.
//
//	const paths = new json.Paths();
//	paths.add(k.lit("properties.net"));           // while the instance starts
//
//	if (paths.scan(r.value())) net = paths.last(0); // in the hook
//
// Paths are names and array indexes: items[0].sku, items.0.sku, items[*].email,
// $.card.number, a\.b for a dot that is part of a name; "$" is the document. It takes
// and refuses the same documents as Go's encoding/json.

import { Buf, Bytes, NULL, bytes, isNull, len, ptr, same } from "./klamm";

export const MAX_PATHS: u32 = 64;
const MAX_DEPTH: u32 = 10000;

@final
class Step {
	key: Bytes = NULL; // null for [3] and [*]
	index: i32 = -1; // -1 when the key is no number
	any: bool = false; // [*]
}

// What a scan finds is 16 bytes: u32 path, start, end, and 1 when a later member of
// the same name took its place.
const MATCH: u32 = 16;

// A frame is an open array or object that paths lead into: 32 bytes.
const F_START = 0; // u32
const F_INDEX = 4; // i32, of the running element
const F_ALIVE = 8; // u64, paths that lead into it
const F_SEEN = 16; // u64, of those, the ones whose name has come up in it
const F_FIRST = 24; // u32
const F_N = 28; // u32; matches first..first+n end where it ends

// ---- text ----

// @ts-ignore: decorator
@inline
function at(d: Bytes, i: u32): u8 { return load<u8>(ptr(d) + i); }
// @ts-ignore: decorator
@inline
function size(d: Bytes): u32 { return <u32>len(d); }

export function space(d: Bytes, i: u32): u32 {
	for (; i < size(d); i++) {
		const c = at(d, i);
		if (c != 32 && c != 10 && c != 13 && c != 9) break;
	}
	return i;
}

// plain returns the first place in a string that could be its end, an escape or a
// control character. It looks at eight bytes at once: a byte of x is zero where the
// top bit of (x - ones) & ~x is set, but for false alarms above the first one.
function plain(d: Bytes, i: u32): u32 {
	const ones: u64 = 0x0101010101010101, tops: u64 = 0x8080808080808080;
	for (; i + 8 <= size(d); i += 8) {
		const w = load<u64>(ptr(d) + i), quote = w ^ 34 * ones, slash = w ^ 92 * ones;
		const found = (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((w - 32 * ones) & ~w)) & tops;
		if (found) return i + <u32>(ctz(found) / 8);
	}
	return i;
}

// hex4 reads \uXXXX, or returns -1.
function hex4(p: usize, n: i32): i32 {
	if (n < 6 || load<u8>(p) != 92 || load<u8>(p, 1) != 117) return -1;
	let r = 0;
	for (let i = 2; i < 6; i++) {
		const c = <i32>load<u8>(p + i), l = c | 0x20;
		if (c >= 48 && c <= 57) r = r << 4 | (c - 48);
		else if (l >= 97 && l <= 102) r = r << 4 | (l - 87);
		else return -1;
	}
	return r;
}

function escapeLen(p: usize, n: i32): u32 {
	if (n < 2) return 0;
	switch (load<u8>(p, 1)) {
		case 34: case 92: case 47: case 98: case 102: case 110: case 114: case 116:
			return 2;
		case 117:
			return hex4(p, n) < 0 ? 0 : 6;
	}
	return 0;
}

function addRune(b: Buf, r: u32): void {
	if (r < 0x80) {
		b.addByte(<u8>r);
		return;
	}
	if (r < 0x800) {
		b.addByte(<u8>(0xc0 | r >> 6));
	} else {
		if (r < 0x10000) {
			b.addByte(<u8>(0xe0 | r >> 12));
		} else {
			b.addByte(<u8>(0xf0 | r >> 18));
			b.addByte(<u8>(0x80 | (r >> 12 & 63)));
		}
		b.addByte(<u8>(0x80 | (r >> 6 & 63)));
	}
	b.addByte(<u8>(0x80 | (r & 63)));
}

// unescape appends what the inside of a checked string stands for. Half a surrogate
// pair becomes U+FFFD.
function unescape(b: Buf, s: Bytes): void {
	for (let i: u32 = 0; i < size(s); i++) {
		if (at(s, i) != 92) {
			b.addByte(at(s, i));
			continue;
		}
		let c = at(s, ++i);
		switch (c) {
			case 98: c = 8; break;
			case 102: c = 12; break;
			case 110: c = 10; break;
			case 114: c = 13; break;
			case 116: c = 9; break;
			case 117: {
				let r = hex4(ptr(s) + i - 1, len(s) - i + 1);
				i += 4;
				if (r >= 0xd800 && r < 0xe000) {
					const low = hex4(ptr(s) + i + 1, len(s) - i - 1);
					if (r < 0xdc00 && low >= 0xdc00 && low < 0xe000) {
						r = 0x10000 + ((r - 0xd800) << 10) + (low - 0xdc00);
						i += 6;
					} else {
						r = 0xfffd;
					}
				}
				addRune(b, r);
				continue;
			}
		}
		b.addByte(c);
	}
}

// text returns what the string raw, a value that was found, stands for, null when raw
// is no string. With escapes in it, it lies in b, behind what was there.
export function text(raw: Bytes, b: Buf): Bytes {
	if (len(raw) < 2 || at(raw, 0) != 34) return NULL;
	const s = bytes(ptr(raw) + 1, len(raw) - 2);
	let escaped = false;
	for (let i: u32 = 0; i < size(s) && !escaped; i++) escaped = at(s, i) == 92;
	if (!escaped) return s;
	const start = b.n;
	unescape(b, s);
	return bytes(b.p + start, b.n - start);
}

// runeLen returns the length of the character at p, 0 when that is no UTF-8.
export function runeLen(p: usize, left: u32): u32 {
	const c = load<u8>(p);
	let low: u8 = 0x80, high: u8 = 0xbf, n: u32;
	if (c >= 0xc2 && c <= 0xdf) {
		n = 2;
	} else if (c >= 0xe0 && c <= 0xef) {
		n = 3;
		if (c == 0xe0) low = 0xa0;
		if (c == 0xed) high = 0x9f;
	} else if (c >= 0xf0 && c <= 0xf4) {
		n = 4;
		if (c == 0xf0) low = 0x90;
		if (c == 0xf4) high = 0x8f;
	} else {
		return c < 0x80 ? 1 : 0;
	}
	if (left < n || load<u8>(p, 1) < low || load<u8>(p, 1) > high) return 0;
	for (let i: u32 = 2; i < n; i++) if ((load<u8>(p + i) & 0xc0) != 0x80) return 0;
	return n;
}

// addJSON appends s as a JSON string. What is no UTF-8 becomes U+FFFD.
export function addJSON(b: Buf, s: Bytes): void {
	b.addByte(34);
	for (let i: u32 = 0; i < size(s);) {
		const c = at(s, i);
		if (c >= 0x80) {
			const n = runeLen(ptr(s) + i, size(s) - i);
			if (n) b.addAt(ptr(s) + i, n);
			else addRune(b, 0xfffd);
			i += max(n, 1);
			continue;
		}
		i++;
		if (c < 32) {
			b.addStr("\\u00");
			b.addHex(ptr(s) + i - 1, 1);
			continue;
		}
		if (c == 34 || c == 92) b.addByte(92);
		b.addByte(c);
	}
	b.addByte(34);
}

function digits(d: Bytes, i: u32): u32 {
	while (i < size(d) && at(d, i) >= 48 && at(d, i) <= 57) i++;
	return i;
}

function arrayIndex(s: Bytes): i32 {
	if (len(s) <= 0 || len(s) > 9 || digits(s, 0) != size(s)) return -1;
	let n = 0;
	for (let i: u32 = 0; i < size(s); i++) n = 10 * n + (at(s, i) - 48);
	return n;
}

// ---- paths ----

// parseStep takes one step from s[i..] and returns where the rest starts, or -1 with
// what is wrong.
let wrong = "";

function parseStep(s: Bytes, i: u32, st: Step): i32 {
	const name = new Buf();
	const start = i;
	if (i < size(s) && at(s, i) == 91) {
		while (i < size(s) && at(s, i) != 93) i++;
		if (i == size(s)) return bad("\"[\" without \"]\"");
		const inside = bytes(ptr(s) + start + 1, i - start - 1);
		st.any = len(inside) == 1 && at(inside, 0) == 42;
		st.index = st.any ? -1 : arrayIndex(inside);
		if (!st.any && st.index < 0) return bad("[" + String.UTF8.decodeUnsafe(ptr(inside), len(inside)) + "] is neither an index nor [*]");
		return i + 1;
	}
	for (; i < size(s) && at(s, i) != 46 && at(s, i) != 91; i++) {
		if (at(s, i) == 93) return bad("\"]\" without \"[\"");
		if (at(s, i) == 92 && ++i == size(s)) return bad("nothing follows \"\\\"");
		name.addByte(at(s, i));
	}
	if (name.n == 0) return bad("a name is missing");
	st.key = name.get();
	st.index = arrayIndex(st.key);
	return i;
}

function bad(what: string): i32 {
	wrong = what;
	return -1;
}

function parsePath(s: Bytes): Step[] | null {
	const steps: Step[] = [];
	let i = 0;
	if (len(s) == 1 && at(s, 0) == 36) return steps;
	if (len(s) > 1 && at(s, 0) == 36 && (at(s, 1) == 46 || at(s, 1) == 91)) i++;
	if (i < len(s) && at(s, i) == 46) i++;
	while (true) {
		const st = new Step();
		i = parseStep(s, i, st);
		if (i < 0) return null;
		steps.push(st);
		if (i == len(s)) return steps;
		if (at(s, i) == 46) {
			i++;
		} else if (at(s, i) != 91) {
			bad("\".\" or \"[\" must follow \"]\"");
			return null;
		}
	}
}

// ---- scanning ----

// Paths is at most 64 paths, and what the last scan found.
@final
export class Paths {
	paths: Step[][] = [];
	levels: u32 = 0;
	ends: usize = 0; // by level, u64: paths that end there
	frames: usize = 0; // by level
	matches: Buf = new Buf(); // by start, an outer value before those inside of it
	kinds: usize = heap.alloc(MAX_DEPTH / 8 + 8); // by depth, a bit: 1 for an object
	name: Buf = new Buf();
	doc: Bytes = NULL;
	errorAt: u32 = 0;
	error: string = ""; // of the last scan
	escaped: bool = false; // the string that stringEnd has passed
	open: bool = false; // valueAt has taken a bracket
	alive: u64 = 0; // of the member that was passed

	// add adds a path and returns "", or what is wrong with it. Add all before the first
	// scan.
	add(path: Bytes): string {
		if (<u32>this.paths.length == MAX_PATHS) return "more than 64 JSON paths";
		const steps = parsePath(path);
		if (steps === null) return wrong;
		this.levels = max(this.levels, steps.length);
		this.paths.push(steps);
		return "";
	}

	ready(): void {
		const n = this.levels + 1;
		this.ends = heap.alloc(8 * n);
		this.frames = heap.alloc(32 * n);
		memory.fill(this.ends, 0, 8 * n);
		for (let i = 0; i < this.paths.length; i++) {
			const e = this.ends + 8 * this.paths[i].length;
			store<u64>(e, load<u64>(e) | <u64>1 << i);
		}
	}

	fail(i: u32, what: string): u32 {
		this.errorAt = i;
		this.error = what;
		return 0;
	}

	// addError appends "not JSON at byte N: WHAT" about the last scan.
	addError(b: Buf): void {
		b.addStr("not JSON at byte ");
		b.addU64(this.errorAt);
		b.addStr(": ");
		b.addStr(this.error);
	}

	// stringEnd returns where the string that opens at i ends, 0 with an error.
	stringEnd(d: Bytes, i: u32): u32 {
		this.escaped = false;
		for (i = plain(d, i + 1); i < size(d); i = plain(d, i + 1)) {
			const c = at(d, i);
			if (c == 34) return i + 1;
			if (c < 32) return this.fail(i, "control character in a string");
			if (c == 92) {
				const n = escapeLen(ptr(d) + i, size(d) - i);
				if (n == 0) return this.fail(i, "bad escape in a string");
				this.escaped = true;
				i += n - 1;
			}
		}
		return this.fail(size(d), "a string does not end");
	}

	numberEnd(d: Bytes, start: u32): u32 {
		const n = size(d);
		let i = start;
		if (i < n && at(d, i) == 45) i++;
		let end = digits(d, i);
		if (end == i || at(d, i) == 48 && end > i + 1) return this.fail(start, "a value expected");
		i = end;
		if (i < n && at(d, i) == 46) {
			end = digits(d, i + 1);
			if (end == i + 1) return this.fail(end, "digits are missing");
			i = end;
		}
		if (i < n && (at(d, i) | 0x20) == 101) {
			i++;
			if (i < n && (at(d, i) == 43 || at(d, i) == 45)) i++;
			end = digits(d, i);
			if (end == i) return this.fail(end, "digits are missing");
			i = end;
		}
		return i;
	}

	word(d: Bytes, i: u32, s: string): u32 {
		for (let n = 0; n < s.length; n++, i++) {
			if (i >= size(d) || at(d, i) != <u8>s.charCodeAt(n)) return this.fail(i - n, "a value expected");
		}
		return i;
	}

	// scalarEnd returns where the string, number or word at i ends, 0 with an error.
	scalarEnd(d: Bytes, i: u32): u32 {
		switch (at(d, i)) {
			case 34: return this.stringEnd(d, i);
			case 116: return this.word(d, i, "true");
			case 102: return this.word(d, i, "false");
			case 110: return this.word(d, i, "null");
		}
		return this.numberEnd(d, i);
	}

	count(): u32 { return this.matches.n / MATCH; }
	path(i: u32): u32 { return load<u32>(this.matches.p + MATCH * i); }
	start(i: u32): u32 { return load<u32>(this.matches.p + MATCH * i, 4); }
	end(i: u32): u32 { return load<u32>(this.matches.p + MATCH * i, 8); }

	isObject(depth: u32): bool { return (load<u8>(this.kinds + depth / 8) >> <u8>(depth % 8) & 1) != 0; }
	closing(depth: u32): u8 { return this.isObject(depth) ? 125 : 93; }

	enter(object: bool, i: u32, depth: u32, alive: u64, first: u32): void {
		const k = this.kinds + depth / 8, bit = <u8>1 << <u8>(depth % 8);
		store<u8>(k, object ? load<u8>(k) | bit : load<u8>(k) & ~bit);
		if (depth > this.levels + 1) return;
		const f = this.frames + 32 * (depth - 1);
		store<u32>(f, i, F_START);
		store<i32>(f, 0, F_INDEX);
		store<u64>(f, depth > this.levels ? 0 : alive, F_ALIVE);
		store<u64>(f, 0, F_SEEN);
		store<u32>(f, first, F_FIRST);
		store<u32>(f, this.count() - first, F_N);
	}

	// leave ends the container of that depth.
	leave(end: u32, depth: u32): u32 {
		if (depth <= this.levels + 1) {
			const f = this.frames + 32 * (depth - 1), first = load<u32>(f, F_FIRST);
			this.endAll(first, first + load<u32>(f, F_N), end);
		}
		return end;
	}

	endAll(first: u32, last: u32, end: u32): void {
		for (let i = first; i < last; i++) store<u32>(this.matches.p + MATCH * i, end, 8);
	}

	// valueAt takes the value at i and returns its end, 0 with an error. Of an array or
	// object it takes the opening bracket only and sets open.
	valueAt(i: u32, depth: u32, alive: u64): u32 {
		const d = this.doc;
		this.open = false;
		if (i >= size(d)) return this.fail(i, "a value is missing");
		const first = this.count();
		if (depth <= this.levels) {
			for (let m = alive & load<u64>(this.ends + 8 * depth); m; m &= m - 1) {
				const e = this.matches.room(MATCH);
				store<u32>(e, <u32>ctz(m));
				store<u32>(e, i, 4);
				store<u64>(e, 0, 8);
				this.matches.n += MATCH;
			}
		}
		const c = at(d, i);
		if (c == 123 || c == 91) {
			this.enter(c == 123, i, depth + 1, alive, first);
			this.open = true;
			return 1;
		}
		const end = this.scalarEnd(d, i);
		this.endAll(first, this.count(), end);
		return end;
	}

	// supersede marks what the paths have found inside of the object that starts at
	// start.
	supersede(paths: u64, start: u32): void {
		for (let n = this.count(); n > 0 && this.start(n - 1) > start; n--) {
			if (paths >> this.path(n - 1) & 1) store<u32>(this.matches.p + MATCH * (n - 1), 1, 12);
		}
	}

	namePaths(f: usize, depth: u32, name: Bytes): u64 {
		let alive: u64 = 0;
		if (this.escaped) {
			this.name.n = 0;
			unescape(this.name, name);
			name = this.name.get();
		}
		for (let m = load<u64>(f, F_ALIVE); m; m &= m - 1) {
			const i = <i32>ctz(m), steps = unchecked(this.paths[i]);
			if (<u32>steps.length < depth) continue;
			const key = unchecked(steps[depth - 1]).key;
			if (!isNull(key) && same(key, name)) alive |= <u64>1 << i;
		}
		const seen = load<u64>(f, F_SEEN);
		if (alive & seen) this.supersede(alive & seen, load<u32>(f, F_START));
		store<u64>(f, seen | alive, F_SEEN);
		return alive;
	}

	elementPaths(f: usize, depth: u32): u64 {
		let alive: u64 = 0;
		for (let m = load<u64>(f, F_ALIVE); m; m &= m - 1) {
			const i = <i32>ctz(m), steps = unchecked(this.paths[i]);
			if (<u32>steps.length < depth) continue;
			const s = unchecked(steps[depth - 1]);
			if (s.any || s.index == load<i32>(f, F_INDEX)) alive |= <u64>1 << i;
		}
		return alive;
	}

	// member takes the name of the next member, or nothing in an array, and returns where
	// its value starts, 0 with an error; alive are the paths that lead into it.
	member(i: u32, depth: u32): u32 {
		const d = this.doc;
		const f: usize = depth <= this.levels ? this.frames + 32 * (depth - 1) : 0;
		this.alive = 0;
		if (!this.isObject(depth)) {
			if (f) this.alive = this.elementPaths(f, depth);
			return i;
		}
		if (i >= size(d) || at(d, i) != 34) return this.fail(i, "a name in quotes is missing");
		const end = this.stringEnd(d, i);
		if (!end) return 0;
		if (f && load<u64>(f, F_ALIVE)) this.alive = this.namePaths(f, depth, bytes(ptr(d) + i + 1, end - i - 2));
		i = space(d, end);
		if (i >= size(d) || at(d, i) != 58) return this.fail(i, "\":\" expected");
		return space(d, i + 1);
	}

	// scan checks that doc is one JSON value and finds what the paths lead to, superseded
	// values among it. After false, error says what is wrong.
	scan(doc: Bytes): bool {
		let alive: u64 = this.paths.length == 64 ? -1 : (<u64>1 << this.paths.length) - 1;
		let depth: u32 = 0, i = space(doc, 0);
		if (!this.frames) this.ready();
		this.doc = doc;
		this.matches.n = 0;
		while (true) {
			let end = this.valueAt(i, depth, alive);
			if (!end) return false;
			if (this.open) {
				if (depth == MAX_DEPTH) return <bool>this.fail(i, "nested deeper than 10000");
				depth++;
				i = space(doc, i + 1);
				if (i >= size(doc) || at(doc, i) != this.closing(depth)) {
					if (!(i = this.member(i, depth))) return false;
					alive = this.alive;
					continue;
				}
				end = this.leave(i + 1, depth--);
			}
			while (true) { // a value ended
				i = space(doc, end);
				if (depth == 0) return i >= size(doc) || <bool>this.fail(i, "something follows the value");
				if (i == size(doc)) return <bool>this.fail(i, "unexpected end");
				if (at(doc, i) == 44) break;
				if (at(doc, i) != this.closing(depth)) return <bool>this.fail(i, "\",\" or a closing bracket expected");
				end = this.leave(i + 1, depth--);
			}
			if (depth <= this.levels) {
				const f = this.frames + 32 * (depth - 1);
				store<i32>(f, load<i32>(f, F_INDEX) + 1, F_INDEX);
			}
			if (!(i = this.member(space(doc, i + 1), depth))) return false;
			alive = this.alive;
		}
	}

	// last returns the value of path number i that counts, strings with their quotes, null
	// when there is none: the last that no later member of the same name has superseded.
	last(i: u32): Bytes {
		for (let n = this.count(); n > 0; n--) {
			const m = this.matches.p + MATCH * (n - 1);
			if (load<u32>(m) == i && !load<u32>(m, 12)) return bytes(ptr(this.doc) + load<u32>(m, 4), load<u32>(m, 8) - load<u32>(m, 4));
		}
		return NULL;
	}
}
