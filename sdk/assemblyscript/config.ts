// config.ts: read the plugin's table of the configuration.
//
//	const settings = new config.Settings();
//	const window = settings.add("window", config.DURATION, "\"10m\"");
//	const mode = settings.add("mode", config.STRING, "\"fixed\"").oneOf(["null", "fixed", "hash"]);
//	const fields = settings.add("fields", config.STRINGS).require();
//
//	function start(s: k.Start): k.Bytes {
//		if (!settings.bind(s)) return k.bytes(0, 0); // each problem has been logged
//		windowMS = window.i;
//
// Defaults are JSON as well. What is read stays for the instance's life.

import { Buf, Bytes, ERROR, ERR_CONFIG, ERR_PLUGIN, NULL, Start, bytes, isNull, keep, len, lit, log, ptr, same } from "./klamm";
import { Paths, runeLen, space, text } from "./json";

export const STRING = 0;
export const STRINGS = 1; // a list; one string is a list of one
export const INT = 2;
export const BOOL = 3;
export const DURATION = 4; // "10m", "1h30m", or a number of milliseconds; i is in ms
export const SIZE = 5; // "16KiB", or a number of bytes

const kinds: string[] = [
	"a string", "a list of strings", "a whole number", "true or false",
	"a duration, as \"500ms\", \"10m\" or \"24h\"", "a size, as \"16KiB\" or \"1MiB\"",
];

@final
export class Setting {
	required: bool = false;
	values: string[] | null = null;
	rule: ((s: Setting) => string) | null = null;
	isSet: bool = false;
	wrong: bool = false;
	i: i64 = 0; // numbers, 0 and 1, ms, bytes
	s: Bytes = bytes(0, 0);
	list: Bytes[] = [];

	constructor(public name: string, public kind: i32, public def: string) {}

	require(): Setting {
		this.required = true;
		return this;
	}

	// oneOf lists the values that a string may have.
	oneOf(values: string[]): Setting {
		this.values = values;
		return this;
	}

	// check sets a rule, which returns "" or what is wrong with the value.
	check(rule: (s: Setting) => string): Setting {
		this.rule = rule;
		return this;
	}
}

// Rules for numbers.
export function positive(s: Setting): string { return s.i > 0 ? "" : "must be above 0"; }
export function notNegative(s: Setting): string { return s.i >= 0 ? "" : "must not be negative"; }

// quote appends s in quotes.
export function quote(b: Buf, s: Bytes): void {
	b.addByte(34);
	for (let i = 0; i < len(s); i++) {
		const p = ptr(s) + i, c = load<u8>(p), n = runeLen(p, len(s) - i);
		if (c == 34 || c == 92) {
			b.addByte(92);
			b.addByte(c);
		} else if (c == 10) {
			b.addStr("\\n");
		} else if (c == 9) {
			b.addStr("\\t");
		} else if (c < 32 || c == 127 || n == 0) {
			b.addStr("\\x");
			b.addHex(p, 1);
		} else {
			b.addAt(p, n);
			i += n - 1;
		}
	}
	b.addByte(34);
}

// distance counts the insertions, deletions, replacements and swaps of neighbours that
// make a into b; names of more than 63 bytes are far from all.
function distance(a: Bytes, b: Bytes): i32 {
	const n = len(a), m = len(b), w = m + 1;
	if (n > 63 || m > 63) return 64;
	const d = new StaticArray<i32>((n + 1) * w);
	for (let i = 0; i <= n; i++) {
		for (let j = 0; j <= m; j++) {
			if (i == 0 || j == 0) {
				d[i * w + j] = i + j;
				continue;
			}
			const p = ptr(a) + i - 1, q = ptr(b) + j - 1;
			let best = d[(i - 1) * w + j - 1] + (load<u8>(p) == load<u8>(q) ? 0 : 1);
			best = min(best, min(d[(i - 1) * w + j], d[i * w + j - 1]) + 1);
			if (i > 1 && j > 1 && load<u8>(p) == load<u8>(q - 1) && load<u8>(p - 1) == load<u8>(q)) best = min(best, d[(i - 2) * w + j - 2] + 1);
			d[i * w + j] = best;
		}
	}
	return d[n * w + m];
}

// didYouMean appends a hint when one of the words is near.
function didYouMean(b: Buf, word: Bytes, known: string[]): bool {
	let best = NULL, least = len(word) < 4 ? 2 : 3;
	for (let i = 0; i < known.length; i++) {
		const w = lit(known[i]), d = distance(word, w);
		if (d < least) {
			best = w;
			least = d;
		}
	}
	if (isNull(best)) return false;
	b.addStr("; did you mean ");
	quote(b, best);
	b.addByte(63);
	return true;
}

// parseInt reads a whole number of 64 bits into parsed.
let parsed: i64 = 0;

export function number(s: Bytes): i64 { return parseInt64(s) ? parsed : 0; }

function parseInt64(s: Bytes): bool {
	const sign: u8 = len(s) > 0 ? load<u8>(ptr(s)) : 0;
	let i = sign == 45 || sign == 43 ? 1 : 0, n: u64 = 0;
	const limit = <u64>i64.MAX_VALUE + (sign == 45 ? 1 : 0);
	if (i >= len(s)) return false;
	for (; i < len(s); i++) {
		const digit = <u64>load<u8>(ptr(s) + i) - 48;
		if (digit > 9 || n > (limit - digit) / 10) return false;
		n = 10 * n + digit;
	}
	parsed = sign == 45 ? -<i64>n : <i64>n;
	return true;
}

function unitNS(s: Bytes): u64 {
	if (is(s, "ns")) return 1;
	if (is(s, "us") || is(s, "\u00b5s") || is(s, "\u03bcs")) return 1000;
	if (is(s, "ms")) return 1000000;
	if (is(s, "s")) return 1000000000;
	if (is(s, "m")) return 60000000000;
	return is(s, "h") ? 3600000000000 : 0;
}

const scratch = new Buf();

// is compares with a string.
export function is(s: Bytes, word: string): bool {
	scratch.n = 0;
	scratch.addStr(word);
	return same(s, scratch.get());
}

function rest(s: Bytes, n: u32): Bytes { return bytes(ptr(s) + n, len(s) - n); }

// parseDuration reads what Go's time.ParseDuration does into parsed, in ms.
function parseDuration(s: Bytes): bool {
	const limit = <u64>1 << 63;
	let total: u64 = 0;
	const sign: u8 = len(s) > 0 ? load<u8>(ptr(s)) : 0;
	if (sign == 45 || sign == 43) s = rest(s, 1);
	parsed = 0;
	if (is(s, "0")) return true;
	if (len(s) <= 0) return false;
	while (len(s) > 0) {
		let whole: u64 = 0, part: u64 = 0, scale: f64 = 1, dot = false, digits = 0, i: u32 = 0;
		for (; i < <u32>len(s); i++) {
			const c = load<u8>(ptr(s) + i), digit = <u64>c - 48;
			if (c == 46 && !dot) {
				dot = true;
				continue;
			}
			if (digit > 9) break;
			digits++;
			if (!dot) {
				if (whole > (limit - digit) / 10) return false;
				whole = 10 * whole + digit;
			} else if (part < limit / 10 - 10) {
				part = 10 * part + digit;
				scale *= 10;
			}
		}
		s = rest(s, i);
		for (i = 0; i < <u32>len(s) && load<u8>(ptr(s) + i) != 46 && <u8>(load<u8>(ptr(s) + i) - 48) > 9;) i++;
		const unit = digits ? unitNS(bytes(ptr(s), i)) : 0;
		s = rest(s, i);
		if (!unit || whole > limit / unit) return false;
		const ns = whole * unit + <u64>(<f64>part * (<f64>unit / scale));
		if (ns > limit) return false;
		total += ns;
		if (total > limit) return false;
	}
	if (total == limit && sign != 45) return false;
	// Rounded down, so that what is below zero stays so.
	parsed = sign == 45 ? -<i64>((total + 999999) / 1000000) : <i64>(total / 1000000);
	return true;
}

const suffixes: string[] = ["KiB", "MiB", "GiB", "B", ""];
const shifts: i32[] = [10, 20, 30, 0, 0];

function parseSize(s: Bytes): bool {
	for (let u = 0; u < 5; u++) {
		const suffix = suffixes[u], n = len(s) - suffix.length;
		if (n < 0 || !is(bytes(ptr(s) + n, suffix.length), suffix)) continue;
		let from = 0, to = n;
		while (to > 0 && load<u8>(ptr(s) + to - 1) == 32) to--;
		while (from < to && load<u8>(ptr(s) + from) == 32) from++;
		const shift = shifts[u];
		if (!parseInt64(bytes(ptr(s) + from, to - from)) || parsed < 0 || parsed > i64.MAX_VALUE >> shift) return false;
		parsed <<= shift;
		return true;
	}
	return false;
}

@final
export class Settings {
	all: Setting[] = [];
	doc: Paths = new Paths(); // for its errors
	text: Buf = new Buf(); // of the problem in hand
	string: Buf = new Buf();
	problems: i32 = 0;

	add(name: string, kind: i32, def: string = ""): Setting {
		const s = new Setting(name, kind, def);
		this.all.push(s);
		return s;
	}

	// bind gives the settings their values. Each problem is a log line; with any it
	// returns false and sets the start's error code.
	bind(start: Start): bool {
		start.code = ERR_CONFIG;
		for (let i = 0; i < this.all.length; i++) {
			const s = this.all[i];
			if (s.def.length > 0 && !this.parse(s, lit(s.def))) unreachable();
		}
		let table = start.config();
		if (space(table, 0) >= <u32>len(table)) table = lit("{}");
		if (!this.bindAll(table)) {
			this.text.addStr("configuration table: ");
			this.doc.addError(this.text);
			this.problem();
			return false;
		}
		for (let i = 0; i < this.all.length; i++) if (!this.all[i].wrong) this.check(this.all[i]);
		if (this.problems > 0) return false;
		start.code = ERR_PLUGIN;
		return true;
	}

	problem(): void {
		log(ERROR, this.text.get());
		this.text.n = 0;
		this.problems++;
	}

	about(name: Bytes): void {
		this.text.addStr("config key ");
		quote(this.text, name);
		this.text.addStr(": ");
	}

	unknownKey(name: Bytes): void {
		const names: string[] = [];
		for (let i = 0; i < this.all.length; i++) names.push(this.all[i].name);
		names.sort((a, b) => a < b ? -1 : 1);
		this.text.addStr("unknown config key ");
		quote(this.text, name);
		if (!didYouMean(this.text, name, names)) {
			this.text.addStr(names.length > 0 ? "; known are " + names.join(", ") : "; this plugin has none");
		}
		this.problem();
	}

	containerEnd(d: Bytes, i: u32): u32 {
		let level = 0;
		for (; i < <u32>len(d); i++) {
			const c = load<u8>(ptr(d) + i);
			if (c == 34) {
				const end = this.doc.stringEnd(d, i);
				if (!end) return 0;
				i = end - 1;
			} else if (c == 123 || c == 91) {
				level++;
			} else if ((c == 125 || c == 93) && --level == 0) {
				return i + 1;
			}
		}
		return this.doc.fail(len(d), "unexpected end");
	}

	valueEnd(d: Bytes, i: u32): u32 {
		if (i >= <u32>len(d)) return this.doc.fail(i, "a value expected");
		const c = load<u8>(ptr(d) + i);
		return c == 123 || c == 91 ? this.containerEnd(d, i) : this.doc.scalarEnd(d, i);
	}

	// textOf returns what a string stands for, kept; null for anything else.
	textOf(raw: Bytes): Bytes {
		this.string.n = 0;
		return keep(text(raw, this.string));
	}

	parseList(s: Setting, raw: Bytes): bool {
		s.list = [];
		let one = this.textOf(raw);
		if (!isNull(one)) {
			s.list.push(one);
			return true;
		}
		if (load<u8>(ptr(raw)) != 91) return false;
		let i = space(raw, 1), more = load<u8>(ptr(raw) + i) != 93;
		while (more) {
			const end = this.valueEnd(raw, i);
			if (!end) return false;
			one = this.textOf(bytes(ptr(raw) + i, end - i));
			if (isNull(one)) return false;
			s.list.push(one);
			i = space(raw, end);
			const c: u8 = i < <u32>len(raw) ? load<u8>(ptr(raw) + i) : 0;
			if (c != 44 && c != 93) return false;
			more = c == 44;
			i = space(raw, i + 1);
		}
		return true;
	}

	// parse gives a setting its value; false when raw is not of its kind.
	parse(s: Setting, raw: Bytes): bool {
		let t: Bytes, ok = false;
		switch (s.kind) {
			case STRING:
				s.s = this.textOf(raw);
				return !isNull(s.s);
			case STRINGS:
				return this.parseList(s, raw);
			case INT:
				ok = parseInt64(raw);
				break;
			case BOOL:
				s.i = is(raw, "true") ? 1 : 0;
				return s.i != 0 || is(raw, "false");
			case DURATION:
				if (parseInt64(raw)) {
					ok = parsed <= i64.MAX_VALUE / 1000000 && parsed >= i64.MIN_VALUE / 1000000;
				} else {
					t = this.textOf(raw);
					ok = !isNull(t) && parseDuration(t);
				}
				break;
			case SIZE:
				t = this.textOf(raw);
				ok = parseSize(isNull(t) ? raw : t);
				break;
		}
		if (ok) s.i = parsed;
		return ok;
	}

	bindOne(name: Bytes, raw: Bytes): void {
		for (let i = 0; i < this.all.length; i++) {
			const s = this.all[i];
			if (!is(name, s.name)) continue;
			s.isSet = true;
			if (this.parse(s, raw)) return;
			s.wrong = true;
			this.about(name);
			let n = len(raw);
			if (n > 60) for (n = 60; n > 0 && (load<u8>(ptr(raw) + n) & 0xc0) == 0x80;) n--;
			this.text.add(bytes(ptr(raw), n));
			this.text.addStr(" is not ");
			this.text.addStr(s.kind == DURATION && parseInt64(raw) ? "a duration of less than 292 years" : kinds[s.kind]);
			this.problem();
			return;
		}
		this.unknownKey(name);
	}

	// bindAll walks over the table's members; false when it is no object.
	bindAll(d: Bytes): bool {
		const doc = this.doc;
		let i = space(d, 0), end: u32;
		if (byteAt(d, i) != 123) return <bool>doc.fail(i, "\"{\" expected");
		i = space(d, i + 1);
		let more = byteAt(d, i) != 125;
		while (more) {
			if (byteAt(d, i) != 34) return <bool>doc.fail(i, "a name in quotes is missing");
			if (!(end = doc.stringEnd(d, i))) return false;
			const name = this.textOf(bytes(ptr(d) + i, end - i));
			i = space(d, end);
			if (byteAt(d, i) != 58) return <bool>doc.fail(i, "\":\" expected");
			i = space(d, i + 1);
			if (!(end = this.valueEnd(d, i))) return false;
			this.bindOne(name, bytes(ptr(d) + i, end - i));
			i = space(d, end);
			const c = byteAt(d, i);
			if (c != 44 && c != 125) return <bool>doc.fail(i, "\",\" or a closing bracket expected");
			more = c == 44;
			if (more) i = space(d, i + 1);
		}
		i = space(d, i + 1);
		return i >= <u32>len(d) || <bool>doc.fail(i, "something follows the value");
	}

	check(s: Setting): void {
		const rule = s.rule, values = s.values;
		let wrong = "";
		if (s.required && !s.isSet) wrong = "is required";
		else if (rule !== null) wrong = rule(s);
		if (wrong.length > 0) {
			this.about(lit(s.name));
			this.text.addStr(wrong);
			this.problem();
		} else if (values !== null) {
			for (let i = 0; i < values.length; i++) if (is(s.s, values[i])) return;
			this.about(lit(s.name));
			quote(this.text, s.s);
			this.text.addStr(" is none of " + values.join(", "));
			didYouMean(this.text, s.s, values);
			this.problem();
		}
	}
}

function byteAt(d: Bytes, i: u32): u8 { return i < <u32>len(d) ? load<u8>(ptr(d) + i) : 0; }
