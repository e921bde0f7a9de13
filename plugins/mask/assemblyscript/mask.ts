// mask hides fields of JSON values: see README.md of the folder above, and mask.go, which
// says more. All other bytes of a value stay as they are.
import * as k from "../../../sdk/assemblyscript/klamm";
import { Batch, Buf, Bytes, OK, Record, Start, bytes, isNull, len, lit, ptr, same } from "../../../sdk/assemblyscript/klamm";
import { INT, STRING, STRINGS, Setting, Settings, is, notNegative } from "../../../sdk/assemblyscript/config";
import { Paths, addJSON, text as textOf } from "../../../sdk/assemblyscript/json";
import { addPath } from "../../internal/assemblyscript/source";
import { sha256 } from "../../internal/assemblyscript/sha256";
export { klamm_abi_1, klamm_alloc } from "../../../sdk/assemblyscript/klamm";

const paths = new Paths();

// checkFields parses the paths for good.
function checkFields(s: Setting): string {
	if (s.list.length == 0) return "the list is empty";
	if (s.list.length > 64) return "more than 64 JSON paths";
	for (let i = 0; i < s.list.length; i++) {
		const wrong = addPath(paths, s.list[i]);
		if (wrong.length > 0) return wrong;
	}
	return "";
}

const settings = new Settings();
const fields = settings.add("fields", STRINGS).require().check(checkFields);
const modes = settings.add("mode", STRING, "\"fixed\"").oneOf(["null", "fixed", "hash", "partial"]);
const replacement = settings.add("replacement", STRING, "\"***\"");
const keep = settings.add("keep", INT, "4").check(notNegative);
const secret = settings.add("secret", STRING);
const onMalformed = settings.add("on_malformed", STRING, "\"fail\"").oneOf(["fail", "pass", "drop", "dead_letter"]);

const NULLED = 0, FIXED = 1, HASH = 2, PARTIAL = 3;
let mode = FIXED;
let masked = 0, malformed = 0;
const out = new Buf(); // the new value
const one = new Buf(); // one field's text
const sum = memory.data(32);
const null_ = lit("null");
const noSecret = lit("the plugin's configuration names no such secret");

function hash(data: Bytes): bool {
	if (len(secret.s) > 0) return k.hmac(secret.s, data, sum);
	sha256(data, sum);
	return true;
}

function start(s: Start): Bytes {
	masked = k.counter("mask_fields_total");
	malformed = k.counter("mask_malformed_total");
	if (!settings.bind(s)) return bytes(0, 0);
	mode = is(modes.s, "null") ? NULLED : is(modes.s, "hash") ? HASH : is(modes.s, "partial") ? PARTIAL : FIXED;
	if (!hash(bytes(0, 0))) {
		one.addStr("config key \"secret\": ");
		one.add(noSecret);
		return one.get();
	}
	s.want(k.ON_SEND, k.VALUE);
	s.want(k.ON_CONSUME, k.VALUE);
	return OK;
}

// appendHash hashes what a string stands for, so that one text has one hash however it
// is escaped, and other values as they are written. It shows 128 bits, which do not
// collide by chance.
function appendHash(raw: Bytes): bool {
	one.n = 0;
	const data = textOf(raw, one);
	if (!hash(isNull(data) ? raw : data)) return false;
	out.addStr("\"h:");
	out.addHex(sum, 16);
	out.addByte(34);
	return true;
}

// hidden reports whether a character is to be starred, by its first byte: ASCII letters
// and digits, and everything beyond ASCII.
function hidden(c: u8): bool {
	const l = c | 0x20;
	return c >= 48 && c <= 57 || l >= 97 && l <= 122 || c >= 0xc0;
}

// appendPartial shows the last letters and digits of a string or number and stars the
// others; what is neither stays, so that the form is kept. A value of which more than
// half would show is starred whole.
function appendPartial(raw: Bytes): void {
	one.n = 0;
	let text = textOf(raw, one);
	if (isNull(text)) {
		const c = load<u8>(ptr(raw));
		if (c != 45 && (c < 48 || c > 57)) {
			addJSON(out, replacement.s); // true, false, arrays and objects have no last part
			return;
		}
		text = raw;
	}
	let total: i64 = 0, show = min<i64>(keep.i, 1 << 20);
	for (let i = 0; i < len(text); i++) if (hidden(load<u8>(ptr(text) + i))) total++;
	if (total < 2 * show) show = 0;
	const first = one.n; // behind the text, if that lies there
	let moves = ptr(text) == one.p && first > 0;
	one.room(len(text));
	const from = moves ? one.p : ptr(text); // room may have moved it
	for (let i = 0; i < len(text); i++) {
		let c = load<u8>(from + i);
		if ((c & 0xc0) == 0x80) { // a later byte of a character beyond ASCII
			if (total >= show) continue; // a star stands for it
		} else if (hidden(c) && --total >= show) {
			c = 42;
		}
		store<u8>(one.p + one.n, c);
		one.n++;
	}
	addJSON(out, bytes(one.p + first, one.n - first));
}

// appendMasked appends what stands in for the JSON value raw. Null stays null.
function appendMasked(raw: Bytes): bool {
	if (same(raw, null_)) {
		out.add(raw);
		return true;
	}
	k.count(masked, 1);
	if (mode == HASH) return appendHash(raw);
	if (mode == NULLED) out.add(null_);
	else if (mode == PARTIAL) appendPartial(raw);
	else addJSON(out, replacement.s);
	return true;
}

// rewrite copies doc to out with every match replaced, also those that a later member of
// the same name supersedes: the next reader may take the first.
function rewrite(doc: Bytes): bool {
	let done: u32 = 0;
	out.n = 0;
	for (let i: u32 = 0; i < paths.count(); i++) {
		const start = paths.start(i), end = paths.end(i);
		if (start < done) continue; // inside of a value that is masked as a whole
		out.addAt(ptr(doc) + done, start - done);
		if (!appendMasked(bytes(ptr(doc) + start, end - start))) return false;
		done = end;
	}
	out.addAt(ptr(doc) + done, len(doc) - done);
	return true;
}

function notJSON(r: Record): void {
	one.n = 0;
	one.addStr("value cannot be masked: ");
	paths.addError(one);
	if (is(onMalformed.s, "fail")) r.fail(k.INVALID, one.get());
	else if (is(onMalformed.s, "drop")) r.drop(k.INVALID, one.get());
	else if (is(onMalformed.s, "dead_letter")) r.deadLetter(k.INVALID, one.get());
	k.count(malformed, 1);
}

function judge(b: Batch): Bytes {
	for (let r = b.first(); r.more(); r.next()) {
		const doc = r.value();
		if (isNull(doc)) continue; // a tombstone hides nothing
		if (!paths.scan(doc)) {
			notJSON(r);
			continue;
		}
		if (paths.count() == 0) continue;
		if (!rewrite(doc)) return noSecret;
		if (!same(out.get(), doc)) r.setValue(out.get());
	}
	return OK;
}

export function klamm_init(p: usize, n: u32): u64 { return k.initialise(p, n, start); }
export function klamm_on_send(p: usize, n: u32): u64 { return k.call(k.ON_SEND, p, n, judge); }
export function klamm_on_consume(p: usize, n: u32): u64 { return k.call(k.ON_CONSUME, p, n, judge); }
