// dedup drops records whose id has been seen within a window of time: see README.md of
// the folder above, and dedup.go, which says more.
import * as k from "../../../sdk/assemblyscript/klamm";
import { Batch, Buf, Bytes, NULL, OK, Record, Start, bytes, isNull, len } from "../../../sdk/assemblyscript/klamm";
import { DURATION, STRING, STRINGS, Setting, Settings, is } from "../../../sdk/assemblyscript/config";
import { Sources } from "../../internal/assemblyscript/source";
export { klamm_abi_1, klamm_alloc } from "../../../sdk/assemblyscript/klamm";

const id = new Sources();

const settings = new Settings();
const ids = settings.add("id", STRINGS, "\"key\"").check((s: Setting) => id.parse(s.list));
const window = settings.add("window", DURATION, "\"10m\"")
	.check((s: Setting) => s.i < 0 ? "must not be negative; \"0s\" keeps ids until the state is full" : "");
const onMissing = settings.add("on_missing", STRING, "\"fail\"").oneOf(["fail", "pass", "dead_letter", "drop"]);

const FAIL = 0, PASS = 1, DEAD_LETTER = 2, DROP = 3;
let mode = FAIL;

let dropped = 0, missing = 0;
const parts = new Buf(); // the id that is being put together
const text = new Buf();
let absent = 0; // the source that a record lacks

function start(s: Start): Bytes {
	dropped = k.counter("dedup_dropped_total");
	missing = k.counter("dedup_missing_total");
	if (!settings.bind(s)) return bytes(0, 0);
	mode = is(onMissing.s, "pass") ? PASS : is(onMissing.s, "dead_letter") ? DEAD_LETTER : is(onMissing.s, "drop") ? DROP : FAIL;
	s.want(k.ON_SEND, id.fields());
	s.want(k.ON_CONSUME, id.fields());
	return OK;
}

function drop(r: Record): void {
	r.drop(k.DUPLICATE);
	k.count(dropped, 1);
}

// without judges a record that has no id; text says why.
function without(r: Record, why: u16): void {
	if (mode == FAIL) r.fail(why, text.get());
	else if (mode == DEAD_LETTER) r.deadLetter(why, text.get());
	else if (mode == DROP) r.drop(why, text.get());
	k.count(missing, 1);
}

function say(what: string): void {
	text.n = 0;
	text.addStr("no id: ");
	text.addStr(what);
}

// judgeKeys is for ids that are the key alone: the whole batch takes one call of the
// host.
function judgeKeys(b: Batch): Bytes {
	b.claimKeys(window.i);
	for (let r = b.first(); r.more(); r.next()) {
		if (r.fresh()) continue;
		if (!isNull(r.key())) {
			drop(r);
		} else {
			say("the key is null");
			without(r, k.MISSING);
		}
	}
	return OK;
}

// idOf puts the id together, or returns null and sets absent. Of several parts each is
// preceded by its length, so that "a","bc" and "ab","c" are two ids. A zero byte keeps
// the number 1 and the string "1" apart.
function idOf(r: Record): Bytes {
	const n = id.list.length;
	parts.n = 0;
	for (let i = 0; i < n; i++) {
		const v = id.get(r, i);
		if (isNull(v)) {
			absent = i;
			return NULL;
		}
		if (id.isText && n == 1) return v;
		if (n > 1) {
			store<u32>(parts.room(4), len(v));
			parts.n += 4;
		}
		if (!id.isText) parts.addByte(0);
		parts.add(v);
	}
	return parts.get();
}

function judge(b: Batch): Bytes {
	if (id.keyOnly()) return judgeKeys(b);
	for (let r = b.first(); r.more(); r.next()) {
		if (!id.open(r)) {
			say("the value is ");
			id.paths.addError(text);
			without(r, k.INVALID);
			continue;
		}
		const v = idOf(r);
		if (isNull(v)) {
			say("");
			text.add(id.list[absent].text);
			text.addStr(" is missing or null");
			without(r, k.MISSING);
		} else if (r.claim(v, window.i) != k.CLAIM_NEW) {
			drop(r);
		}
	}
	return OK;
}

export function klamm_init(p: usize, n: u32): u64 { return k.initialise(p, n, start); }
export function klamm_on_send(p: usize, n: u32): u64 { return k.call(k.ON_SEND, p, n, judge); }
export function klamm_on_consume(p: usize, n: u32): u64 { return k.call(k.ON_CONSUME, p, n, judge); }
