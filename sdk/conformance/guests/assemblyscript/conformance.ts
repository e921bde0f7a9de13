// The conformance plugin in AssemblyScript; README.md two folders above says what it
// must do.
import * as k from "../../../assemblyscript/klamm";
import { Buf, Bytes, Batch, Record, Start, NULL, OK, bytes, isNull, len, lit, ptr, same } from "../../../assemblyscript/klamm";
import { INT, STRING, Settings, is, number, quote } from "../../../assemblyscript/config";
export { klamm_abi_1, klamm_alloc } from "../../../assemblyscript/klamm";

const settings = new Settings();
const hooks = settings.add("hooks", INT, "31");
const fields = settings.add("fields", INT, "63");
const ttl = settings.add("ttl_ms", INT);
const refuse = settings.add("refuse", STRING);

let counterA = 0, counterB = 0, histogram = 0;

const text = new Buf(); // of an answer
const filled = new Buf(); // of fill, addfill and the digest of headers

function start(s: Start): Bytes {
	counterA = k.counter("conf_a_total");
	counterB = k.counter("conf_b_total");
	histogram = k.histogram("conf_h");
	k.reason("conf_first");
	k.reason("conf_second");
	if (!settings.bind(s)) return bytes(0, 0);
	text.addStr("init plugin=");
	text.add(s.plugin());
	text.addStr(" chain=");
	text.add(s.chain());
	text.addStr(" client=");
	text.add(s.clientID());
	field(" lane=", s.lane());
	field("/", s.lanes());
	const topics = s.topics();
	for (let at: u32 = 0; at < <u32>len(topics);) {
		const n = load<u32>(ptr(topics) + at);
		text.addStr(at == 0 ? " topics=" : ",");
		text.add(bytes(ptr(topics) + at + 4, n));
		at += 4 + n;
	}
	k.log(k.INFO, text.get());
	if (len(refuse.s) > 0) return refuse.s;
	for (let h = 0; h < k.HOOKS; h++) {
		if (hooks.i >> h & 1) s.want(h, h == k.ON_COMMIT ? 0 : <u8>fields.i);
	}
	return OK;
}

// ---- text ----

// cut is how many bytes stand before the first c, all without one.
function cut(s: Bytes, c: u8): i32 {
	let n = 0;
	while (n < len(s) && load<u8>(ptr(s) + n) != c) n++;
	return n;
}

function before(s: Bytes, n: i32): Bytes { return bytes(ptr(s), n); }

function after(s: Bytes, n: i32): Bytes {
	n = min(n + 1, len(s));
	return bytes(ptr(s) + n, len(s) - n);
}

function nullable(s: Bytes): Bytes { return is(s, "~") ? NULL : s; }

function addDigest(b: Buf, s: Bytes): void {
	if (isNull(s)) {
		b.addByte(126);
		return;
	}
	let h: u32 = 2166136261;
	for (let i = 0; i < len(s); i++) h = (h ^ <u32>load<u8>(ptr(s) + i)) * 16777619;
	b.addU64(len(s));
	b.addByte(58);
	store<u32>(word, bswap(h));
	b.addHex(word, 4);
}

const word = memory.data(4);

function field(name: string, v: i64): void {
	text.addStr(name);
	text.addI64(v);
}

function addHeaders(r: Record): void {
	filled.n = 0;
	for (let i: u32 = 0; i < r.headerCount(); i++) {
		const value = r.headerValue(i);
		filled.add(r.headerKey(i));
		filled.addByte(0);
		filled.addByte(isNull(value) ? 0 : 1);
		filled.add(value);
		filled.addByte(0);
	}
	field(" headers=", r.headerCount());
	text.addByte(47);
	addDigest(text, filled.get());
}

function addDump(r: Record): void {
	text.addStr("ref=");
	text.addU64(r.ref());
	text.addStr(" key=");
	addDigest(text, r.key());
	field(" vlen=", r.valueLen());
	text.addStr(" value=");
	addDigest(text, r.value());
	addHeaders(r);
	field(" ts=", r.timestampMS());
	field(" off=", r.offset());
	field(" part=", r.partition());
	field(" tx=", r.transactional() ? 1 : 0);
	text.addStr(" topic=");
	text.add(r.topicName());
	field(" parts=", r.partitions());
	field(" epoch=", r.epoch());
	for (let p: u32 = 0; p < r.partitions(); p++) {
		field(" ", r.available(p) ? 1 : 0);
		field(":", r.load(p));
	}
	field(" now=", r.b.nowMS());
}

// ---- verbs ----

function fill(n: u32, what: Bytes): Bytes {
	const size = n * len(what);
	filled.n = 0;
	const p = filled.room(size);
	memory.repeat(p, ptr(what), len(what), n);
	filled.n = size;
	return filled.get();
}

function answer(r: Record, header: string): void { r.addHeader(lit(header), text.get()); }

// edit does the verbs that say what becomes of the record.
function edit(r: Record, verb: Bytes, rest: Bytes): bool {
	const c = cut(rest, 32), first = before(rest, c), second = after(rest, c), n = number(first);
	if (is(verb, "pass")) r.pass();
	else if (is(verb, "drop")) r.drop(<u16>n, second);
	else if (is(verb, "fail")) r.fail(<u16>n, second);
	else if (is(verb, "dead")) r.deadLetter(<u16>n, second);
	else if (is(verb, "route")) r.route(<i32>n);
	else if (is(verb, "value")) r.setValue(nullable(rest));
	else if (is(verb, "fill")) r.setValue(fill(<u32>n, second));
	else if (is(verb, "key")) r.setKey(nullable(rest));
	else if (is(verb, "topic")) r.setTopic(rest);
	else if (is(verb, "time")) r.setTimestampMS(n);
	else if (is(verb, "add")) r.addHeader(first, nullable(second));
	else if (is(verb, "addfill")) {
		const d = cut(second, 32);
		r.addHeader(first, fill(<u32>number(before(second, d)), after(second, d)));
	} else if (is(verb, "del")) r.removeHeaders(rest);
	else if (is(verb, "delat")) r.removeHeader(<u32>n);
	else return false;
	return true;
}

// look does the verbs that answer with what can be read of the record.
function look(r: Record, verb: Bytes, rest: Bytes): bool {
	text.n = 0;
	if (is(verb, "dump")) {
		addDump(r);
		answer(r, "dump");
	} else if (is(verb, "last")) {
		const i = r.header(rest);
		if (i >= 0) addDigest(text, r.headerValue(i));
		else text.addStr("none");
		answer(r, "last");
	} else if (is(verb, "all")) {
		for (let i: u32 = 0; i < r.headerCount(); i++) {
			if (!same(r.headerKey(i), rest)) continue;
			if (text.n > 0) text.addByte(44);
			addDigest(text, r.headerValue(i));
		}
		answer(r, "all");
	} else if (is(verb, "murmur")) {
		text.addU64(k.murmur2(rest));
		answer(r, "murmur");
	} else if (is(verb, "clock")) {
		text.addI64(r.b.nowMS());
		answer(r, "clock");
	} else {
		return false;
	}
	return true;
}

const drawn = memory.data(32);

// reach does the verbs that reach the host.
function reach(r: Record, verb: Bytes, rest: Bytes): bool {
	const c = cut(rest, 32), first = before(rest, c), second = after(rest, c);
	text.n = 0;
	if (is(verb, "claim")) {
		text.addU64(r.claim(rest, ttl.i));
		answer(r, "claim");
	} else if (is(verb, "claimkeys")) {
		r.b.claimKeys(ttl.i);
		text.addU64(r.fresh() ? 1 : 0);
		answer(r, "fresh");
	} else if (is(verb, "put")) {
		k.statePut(first, second, ttl.i);
	} else if (is(verb, "get")) {
		r.addHeader(lit("got"), k.stateGet(rest));
	} else if (is(verb, "hmac")) {
		const found = k.hmac(first, second, drawn);
		if (found) text.addHex(drawn, 32);
		r.addHeader(lit("hmac"), found ? text.get() : NULL);
	} else if (is(verb, "random")) {
		k.random(drawn, 16);
		k.random(drawn + 16, 16);
		text.addStr(same(bytes(drawn, 16), bytes(drawn + 16, 16)) ? "equal" : "differ");
		answer(r, "random");
	} else if (is(verb, "now")) {
		text.addStr("ok");
		if (k.nowNS() > 1704067200000000000) answer(r, "now");
	} else if (is(verb, "log")) {
		k.log(<i32>number(first), second);
	} else if (is(verb, "count")) {
		k.count(is(first, "a") ? counterA : counterB, number(second));
	} else if (is(verb, "observe")) {
		k.observe(histogram, <f64>number(rest));
	} else {
		return false;
	}
	return true;
}

function step(r: Record, line: Bytes): Bytes {
	const c = cut(line, 32), verb = before(line, c), rest = after(line, c);
	if (edit(r, verb, rest) || look(r, verb, rest) || reach(r, verb, rest)) return OK;
	if (is(verb, "trap")) unreachable();
	text.n = 0;
	if (is(verb, "error")) {
		text.add(rest);
	} else {
		text.addStr("no verb ");
		quote(text, verb);
	}
	return text.get();
}

const SCRIPT_MAX = 4096;
const copy = new Buf(); // of the script: steps may overwrite the value

function judge(b: Batch): Bytes {
	for (let r = b.first(); r.more(); r.next()) {
		let script = r.key();
		if (len(script) > 0 && load<u8>(ptr(script)) == 33) script = after(script, 0);
		else if (r.valueLen() <= SCRIPT_MAX) script = r.value();
		else continue;
		if (len(script) <= 0) continue;
		copy.n = 0;
		copy.add(script);
		script = copy.get();
		for (let more = true; more;) {
			const c = cut(script, 10);
			more = c < len(script);
			const error = step(r, before(script, c));
			if (!isNull(error)) return error;
			script = after(script, c);
		}
	}
	return OK;
}

function acknowledged(b: Batch): Bytes {
	for (let r = b.first(); r.more(); r.next()) {
		const flags = r.ackFlags();
		k.count(counterA, 1);
		text.n = 0;
		text.addStr("ack ");
		addDump(r);
		field(" err=", r.ackError());
		field(" dropped=", flags & k.ACK_DROPPED ? 1 : 0);
		field(" retried=", flags & k.ACK_RETRIED ? 1 : 0);
		field(" aborted=", flags & k.ACK_ABORTED ? 1 : 0);
		field(" earlier=", flags & k.ACK_EARLIER ? 1 : 0);
		field(" latency=", r.ackLatencyUS());
		field(" reason=", r.ackReason());
		field(" plugin=", r.ackPlugin());
		k.log(k.INFO, text.get());
	}
	return OK;
}

function committed(b: Batch): Bytes {
	for (let r = b.first(); r.more(); r.next()) {
		k.count(counterB, 1);
		text.n = 0;
		text.addStr("commit ");
		text.add(r.topicName());
		field("/", r.partition());
		field("@", r.offset());
		k.log(k.INFO, text.get());
	}
	return OK;
}

export function klamm_init(p: usize, n: u32): u64 { return k.initialise(p, n, start); }
export function klamm_on_send(p: usize, n: u32): u64 { return k.call(k.ON_SEND, p, n, judge); }
export function klamm_on_consume(p: usize, n: u32): u64 { return k.call(k.ON_CONSUME, p, n, judge); }
export function klamm_partition(p: usize, n: u32): u64 { return k.call(k.PARTITION, p, n, judge); }
export function klamm_on_ack(p: usize, n: u32): u64 { return k.call(k.ON_ACK, p, n, acknowledged); }
export function klamm_on_commit(p: usize, n: u32): u64 { return k.call(k.ON_COMMIT, p, n, committed); }
