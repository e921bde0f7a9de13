// klamm.ts: write a Klamm plugin in AssemblyScript. The bytes are those of
// docs/abi.md, version 1.
//
//	import * as k from "../sdk/assemblyscript/klamm";
//	export { klamm_abi_1, klamm_alloc } from "../sdk/assemblyscript/klamm";
//
//	let dropped = 0;
//
//	function start(s: k.Start): k.Bytes {
//		dropped = k.counter("keyless_dropped_total");
//		s.want(k.ON_SEND, k.KEY);
//		return k.OK;
//	}
//
//	function judge(b: k.Batch): k.Bytes {
//		for (let r = b.first(); r.more(); r.next()) {
//			if (!k.isNull(r.key())) continue;
//			r.drop(k.MISSING);
//			k.count(dropped, 1);
//		}
//		return k.OK;
//	}
//
//	export function klamm_init(p: usize, n: u32): u64 { return k.initialise(p, n, start); }
//	export function klamm_on_send(p: usize, n: u32): u64 { return k.call(k.ON_SEND, p, n, judge); }
//
//	asc keyless.ts -O3 --runtime minimal --use abort= -o keyless.wasm
//
// A module has what it uses only: each import stands in it if the plugin calls
// the function behind it. Bytes that functions return are views of the block,
// valid until the hook returns, unless they say otherwise. Hooks can allocate as
// they like; what they leave behind is collected between calls.
//
// json.ts finds values in JSON, config.ts reads the configuration.

// ---- bytes ----

// Bytes are n bytes at p, in one word; null when n is below 0. Empty is not null.
export type Bytes = u64;

export const NULL: Bytes = 0xffffffff00000000;
// OK is what start and hooks return when there is no error.
export const OK: Bytes = NULL;

// @ts-ignore: decorator
@inline
export function bytes(p: usize, n: i32): Bytes { return <u64>p | (<u64>(<u32>n)) << 32; }
// @ts-ignore: decorator
@inline
export function ptr(b: Bytes): usize { return <usize>b; }
// @ts-ignore: decorator
@inline
export function len(b: Bytes): i32 { return <i32>(b >> 32); }
// @ts-ignore: decorator
@inline
export function isNull(b: Bytes): bool { return <i64>b < 0; }
// @ts-ignore: decorator
@inline
export function align8(n: u32): u32 { return (n + 7) & ~7; }

// same compares eight bytes at once; null equals null alone.
export function same(a: Bytes, b: Bytes): bool {
	const n = len(a);
	if (n != len(b)) return false;
	let p = ptr(a), q = ptr(b), i = 0;
	for (; i + 8 <= n; i += 8) if (load<u64>(p + i) != load<u64>(q + i)) return false;
	for (; i < n; i++) if (load<u8>(p + i) != load<u8>(q + i)) return false;
	return true;
}

// Buf is bytes that grow. It keeps its memory: set n to 0 to use it anew.
@final
export class Buf {
	p: usize = 0;
	n: u32 = 0;
	cap: u32 = 0;

	// room makes room for n more bytes and returns where they go.
	room(n: u32): usize {
		if (this.cap - this.n < n) this.grow(n);
		return this.p + this.n;
	}

	grow(n: u32): void {
		const want = max(this.n + n + this.cap, 64);
		if (this.n == 0 && this.p != 0) {
			heap.free(this.p);
			this.p = 0;
		}
		const p = heap.alloc(want);
		memory.copy(p, this.p, this.n);
		if (this.p != 0) heap.free(this.p);
		this.p = p;
		this.cap = want;
	}

	addAt(p: usize, n: u32): void {
		let to = this.room(n);
		this.n += n;
		if (n > 64) {
			memory.copy(to, p, n);
			return;
		}
		for (; n >= 8; n -= 8, to += 8, p += 8) store<u64>(to, load<u64>(p));
		for (; n > 0; n--, to++, p++) store<u8>(to, load<u8>(p));
	}

	add(b: Bytes): void {
		if (!isNull(b)) this.addAt(ptr(b), len(b));
	}

	addByte(c: u8): void {
		store<u8>(this.room(1), c);
		this.n++;
	}

	addStr(s: string): void {
		const to = this.room(3 * s.length);
		this.n += <u32>String.UTF8.encodeUnsafe(changetype<usize>(s), s.length, to);
	}

	// addU64 and addI64 append a number in decimal.
	addU64(v: u64): void {
		let digits = 1;
		for (let w = v; w >= 10; w /= 10) digits++;
		let to = this.room(digits) + digits;
		this.n += digits;
		do {
			to--;
			store<u8>(to, <u8>(48 + v % 10));
			v /= 10;
		} while (v != 0);
	}

	addI64(v: i64): void {
		if (v < 0) this.addByte(45);
		this.addU64(<u64>(v < 0 ? -v : v));
	}

	// addHex appends two digits for each byte.
	addHex(p: usize, n: u32): void {
		for (let i: u32 = 0; i < n; i++) {
			const c = load<u8>(p + i);
			this.addByte(hexDigit(c >> 4));
			this.addByte(hexDigit(c & 15));
		}
	}

	get(): Bytes { return bytes(this.p, this.n); }
}

function hexDigit(v: u8): u8 { return v < 10 ? 48 + v : 87 + v; }

// keep copies bytes to memory that stays.
export function keep(b: Bytes): Bytes {
	if (isNull(b)) return b;
	const p = heap.alloc(max(len(b), 1));
	memory.copy(p, ptr(b), len(b));
	return bytes(p, len(b));
}

// lit returns a string's bytes, kept: call it while the instance starts.
export function lit(s: string): Bytes {
	const b = new Buf();
	b.addStr(s);
	return keep(b.get());
}

// ---- imports ----

// @ts-ignore: decorator
@external("klamm", "log")
declare function importLog(level: i32, p: usize, n: u32): void;
// @ts-ignore: decorator
@external("klamm", "metric_def")
declare function importMetricDef(kind: i32, p: usize, n: u32): i32;
// @ts-ignore: decorator
@external("klamm", "reason_def")
declare function importReasonDef(code: i32, p: usize, n: u32): void;
// @ts-ignore: decorator
@external("klamm", "metric_add")
declare function importMetricAdd(id: i32, delta: i64): void;
// @ts-ignore: decorator
@external("klamm", "metric_observe")
declare function importMetricObserve(id: i32, v: f64): void;
// @ts-ignore: decorator
@external("klamm", "claim")
declare function importClaim(i: u32, k: usize, klen: u32, ttlMS: i64): i32;
// @ts-ignore: decorator
@external("klamm", "claim_batch")
declare function importClaimBatch(mask: usize, ttlMS: i64): i32;
// @ts-ignore: decorator
@external("klamm", "state_get")
declare function importStateGet(k: usize, klen: u32, v: usize, cap: u32): i32;
// @ts-ignore: decorator
@external("klamm", "state_put")
declare function importStatePut(k: usize, klen: u32, v: usize, vlen: u32, ttlMS: i64): i32;
// @ts-ignore: decorator
@external("klamm", "now_ns")
declare function importNowNS(): i64;
// @ts-ignore: decorator
@external("klamm", "random")
declare function importRandom(p: usize, n: u32): void;
// @ts-ignore: decorator
@external("klamm", "hmac")
declare function importHMAC(name: usize, nlen: u32, p: usize, n: u32, out: usize): i32;
// @ts-ignore: decorator
@external("klamm", "value")
declare function importValue(i: u32, p: usize, cap: u32): i32;
// @ts-ignore: decorator
@external("klamm", "headers")
declare function importHeaders(i: u32, p: usize, cap: u32): i32;

// Levels of log. Lines are cut at 1 KiB. Do not log payloads.
export const DEBUG = 0, INFO = 1, WARN = 2, ERROR = 3;

export function log(level: i32, line: Bytes): void { importLog(level, ptr(line), max(len(line), 0)); }

// nowNS is the host's clock; prefer Batch.nowMS, which is the same for a call that
// is repeated.
export function nowNS(): i64 { return importNowNS(); }

// random fills n bytes at p that nobody can guess.
export function random(p: usize, n: u32): void { importRandom(p, n); }

// hmac writes the 32 bytes of HMAC-SHA-256 under a secret of the configuration to
// out, or reports that there is no such secret.
export function hmac(secret: Bytes, data: Bytes, out: usize): bool {
	return importHMAC(ptr(secret), len(secret), ptr(data), len(data), out) >= 0;
}

// ---- hooks, fields, reasons ----

export const ON_SEND = 0, ON_ACK = 1, ON_CONSUME = 2, ON_COMMIT = 3, PARTITION = 4, HOOKS = 5;

// What a hook asks to see. What it reads without having asked is slow or missing:
// values and headers are pulled, a key reads as null, a timestamp as 0.
export const KEY: u8 = 1, VALUE: u8 = 2, HEADERS: u8 = 4, TIMESTAMP: u8 = 8, TOPIC_FACTS: u8 = 16, LOAD: u8 = 32;

// Reasons that need no declaration.
export const OTHER: u16 = 0, DUPLICATE: u16 = 1, INVALID: u16 = 2, FILTERED: u16 = 3, MISSING: u16 = 4;

// Error codes of klamm_init and of hooks.
export const ERR_PLUGIN: u16 = 1, ERR_BLOCK: u16 = 2, ERR_HOOK: u16 = 3, ERR_REFUSED: u16 = 4, ERR_CONFIG: u16 = 5;

const BATCH_MAX: u32 = 512, TEXT_MAX = 1024, DECLARED_MAX = 64;

// ---- what belongs to a record ----

// Counts, observations and puts of a record take place when its verdict counts.
let dirty = false;
let settleMetrics: ((counts: bool) => void) | null = null;
let settlePuts: ((counts: bool) => void) | null = null;
let flushCounters: ((counts: bool) => void) | null = null;

function settle(counts: bool): void {
	dirty = false;
	const m = settleMetrics, p = settlePuts;
	if (m !== null) m(counts);
	if (p !== null) p(counts);
}

// ---- the running block ----

@final
export class Batch {
	base: usize = 0;
	hook: u32 = 0;
	count: u32 = 0;
	records: usize = 0;
	verdicts: usize = 0;
	topicsOff: u32 = 0;
	topics: u32 = 0;
	modOff: u32 = 0;
	modCap: u32 = 0;
	modUsed: u32 = 0;
	full: u32 = 0; // first record whose verdict found no room; count when none
	refused: bool = false;
	fresh: usize = heap.alloc(BATCH_MAX / 8);
	record: Record = new Record();

	// first returns the first record, for a loop over all of them: see the top of
	// this file. The loop ends early when the modification area is full: the host
	// calls again. There is one Record, which moves.
	first(): Record {
		const r = this.record;
		r.b = this;
		r.at = this.records;
		r.verdict = this.verdicts;
		r.i = 0;
		return r;
	}

	// nowMS is the clock that claims use, the same for the whole call.
	nowMS(): i64 { return load<i64>(this.base, 40); }

	open(hook: u32, p: usize, n: u32): bool {
		const magic: u32 = hook == ON_ACK || hook == ON_COMMIT ? 0x31414c4b : 0x31424c4b;
		if (n < 64 || load<u32>(p) != magic || load<u32>(p, 8) > BATCH_MAX || load<u16>(p, 6) < 64) return false;
		this.base = p;
		this.hook = hook;
		this.count = this.full = load<u32>(p, 8);
		this.records = p + load<u32>(p, 16);
		this.verdicts = p + load<u32>(p, 20);
		this.modOff = load<u32>(p, 24);
		this.modCap = load<u32>(p, 28);
		this.topicsOff = load<u32>(p, 32);
		this.topics = load<u32>(p, 36);
		this.modUsed = 0;
		this.refused = false;
		dirty = false;
		pulledValueOf = pulledHeadersOf = -1;
		return true;
	}

	// take takes n bytes, rounded up to 8, from the modification area, and returns
	// their offset, 0 when it is full.
	take(n: u64): u32 {
		n = (n + 7) & ~7;
		if (<u64>this.modUsed + n > this.modCap) return 0;
		const off = this.modOff + this.modUsed;
		this.modUsed += <u32>n;
		return off;
	}

	newList(): u32 {
		const list = this.take(8);
		if (list) store<u64>(this.base + list, 0);
		return list;
	}

	append(list: u32, op: u32, key: Bytes, value: Bytes): bool {
		const klen: u32 = max(len(key), 0), vlen: u32 = max(len(value), 0);
		const total = 16 + ((<u64>klen + vlen + 7) & ~7);
		const off = this.take(total);
		if (!off) return false;
		const e = this.base + off;
		store<u64>(e + <u32>total - 8, 0); // the padding; of an entry without bytes its total, written below
		store<u32>(e, op);
		store<i32>(e, len(key), 4);
		store<i32>(e, len(value), 8);
		store<u32>(e, <u32>total, 12);
		memory.copy(e + 16, ptr(key), klen);
		memory.copy(e + 16 + klen, ptr(value), vlen);
		const head = this.base + list;
		store<u32>(head, load<u32>(head) + 1);
		store<u32>(head, load<u32>(head, 4) + <u32>total, 4);
		return true;
	}

	// claimKeys claims the key of every record in one call of the host; ask
	// Record.fresh for the answers. The hook must ask for KEY.
	claimKeys(ttlMS: i64): void {
		memory.fill(this.fresh, 0, BATCH_MAX / 8);
		if (importClaimBatch(this.fresh, ttlMS) < 0) this.refused = true;
	}
}

const V_PASS: u8 = 0, V_DROP: u8 = 1, V_ROUTE: u8 = 2, V_IN_PLACE: u8 = 3, V_EDIT: u8 = 4, V_DEAD_LETTER: u8 = 5, V_FAIL: u8 = 6;
const OP_ADD_HEADER = 1, OP_REMOVE_HEADERS = 2, OP_KEY = 3, OP_VALUE = 4, OP_TOPIC = 5, OP_TIMESTAMP = 6, OP_PARTITION = 7, OP_REMOVE_HEADER = 8;

export const ACK_DROPPED = 1, ACK_RETRIED = 2, ACK_ABORTED = 4, ACK_EARLIER = 8;

// Answers of Record.claim. A record whose id is not new can be dropped for either:
// if the one on its way fails, its duplicates fail with it.
export const CLAIM_CONFIRMED = 0, CLAIM_NEW = 1, CLAIM_PENDING = 2;

const word = memory.data(8);
const pulledValue = new Buf(), pulledHeaders = new Buf();
let pulledValueOf: u32 = -1, pulledHeadersOf: u32 = -1;

@final
export class Record {
	b: Batch = changetype<Batch>(0);
	at: usize = 0;
	verdict: usize = 0;
	i: u32 = 0;

	more(): bool { return this.i < this.b.full; }

	next(): void {
		if (dirty) settle(this.i < this.b.full);
		this.at += load<u32>(this.at);
		this.verdict += 8;
		this.i++;
	}

	// ---- reading ----

	flags(): u32 { return load<u32>(this.at, 4); }
	timestampMS(): i64 { return load<i64>(this.at, 8); }
	offset(): i64 { return load<i64>(this.at, 16); }
	partition(): i32 { return load<i32>(this.at, 24); }
	transactional(): bool { return (this.flags() & 8) != 0; }
	// ref is the record's identity, the same in all calls and the acknowledgement.
	ref(): u64 { return load<u64>(this.at, 56); }
	key(): Bytes { return bytes(this.at + load<u32>(this.at, 32), load<i32>(this.at, 36)); }
	// valueLen is -1 for null, and the true length of an omitted value.
	valueLen(): i32 { return load<i32>(this.at, 44); }

	// value returns the value. One that was left out of the block is fetched from the
	// host, valid until that of another record is.
	value(): Bytes {
		if (this.flags() & 1) return this.pullValue();
		return bytes(this.at + load<u32>(this.at, 40), this.valueLen());
	}

	pullValue(): Bytes {
		const n = this.valueLen();
		if (n < 0) return NULL;
		if (pulledValueOf != this.i) {
			pulledValueOf = -1;
			pulledValue.n = 0;
			pulledValue.room(n);
			if (importValue(this.i, pulledValue.p, n) != n) unreachable(); // the host does not hand out what it left out
			pulledValue.n = n;
			pulledValueOf = this.i;
		}
		return pulledValue.get();
	}

	headerCount(): u32 { return load<u16>(this.at, 52); }

	// headers is where offsets of header entries count from; entries is the table.
	headers(): usize {
		if (this.flags() & 2 && this.headerCount() > 0) {
			this.pullHeaders();
			return pulledHeaders.p;
		}
		return this.at;
	}

	entries(): usize { return this.flags() & 2 ? this.headers() : this.at + load<u32>(this.at, 48); }

	pullHeaders(): void {
		if (pulledHeadersOf == this.i) return;
		pulledHeadersOf = -1;
		pulledHeaders.n = 0;
		pulledHeaders.room(4096);
		let size: i32;
		while ((size = importHeaders(this.i, pulledHeaders.p, pulledHeaders.cap)) > <i32>pulledHeaders.cap) pulledHeaders.room(size);
		if (size < <i32>(this.headerCount() * 16)) unreachable();
		pulledHeadersOf = this.i;
	}

	headerKey(i: u32): Bytes {
		const e = this.entries() + 16 * i;
		return bytes(this.headers() + load<u32>(e), load<i32>(e, 4));
	}

	headerValue(i: u32): Bytes {
		const e = this.entries() + 16 * i;
		return bytes(this.headers() + load<u32>(e, 8), load<i32>(e, 12));
	}

	// header returns the index of the last header of that key, as Kafka's lastHeader
	// does, -1 when there is none.
	header(key: Bytes): i32 {
		const base = this.headers(), table = this.entries();
		for (let i = <i32>this.headerCount() - 1; i >= 0; i--) {
			const e = table + 16 * i;
			if (same(bytes(base + load<u32>(e), load<i32>(e, 4)), key)) return i;
		}
		return -1;
	}

	// ---- the topic: its name always, other facts if asked for ----

	topic(): usize {
		const i = load<u32>(this.at, 28);
		if (i >= this.b.topics) unreachable();
		return this.b.base + this.b.topicsOff + 24 * i;
	}

	topicName(): Bytes {
		const t = this.topic();
		return bytes(this.b.base + load<u32>(t), load<i32>(t, 4));
	}

	// partitions is at least 1 in a partitioner, 0 when unknown or not asked for.
	partitions(): u32 { return load<u32>(this.topic(), 8); }
	epoch(): u32 { return load<u32>(this.topic(), 20); }

	// available reports whether partition p has a leader. All have when the host does
	// not know.
	available(p: u32): bool {
		const t = this.topic(), bits = load<u32>(t, 12), n = load<u32>(t, 8);
		if (bits == 0 || p >= n) return p < n;
		return (load<u8>(this.b.base + bits + p / 8) >> <u8>(p % 8) & 1) != 0;
	}

	// load is the bytes that wait to be sent to partition p.
	load(p: u32): u32 {
		const t = this.topic(), loads = load<u32>(t, 16);
		return loads == 0 || p >= load<u32>(t, 8) ? 0 : load<u32>(this.b.base + loads + 4 * p);
	}

	// ---- acknowledgements ----

	ack(): usize { return this.at + load<u32>(this.at) - 32; }
	// ackError is 0 for delivered, Kafka's error code, or one of Klamm's below 0.
	ackError(): i32 { return load<i32>(this.ack()); }
	ackFlags(): u32 { return load<u32>(this.ack(), 4); }
	ackLatencyUS(): u32 { return load<u32>(this.ack(), 8); }
	ackReason(): u32 { return load<u32>(this.ack(), 12); }
	ackPlugin(): u32 { return load<u16>(this.ack(), 16); }

	// ---- verdicts ----

	code(): u8 { return load<u8>(this.verdict); }

	write(code: u8, reason: u16, arg: u32): void {
		store<u64>(this.verdict, <u64>code | <u64>reason << 16 | <u64>arg << 32);
	}

	// counts: a verdict counts unless the area was full before.
	counts(): bool { return this.i < this.b.full; }

	open(): bool {
		const c = this.code();
		return this.counts() && c != V_DROP && c != V_FAIL && c != V_DEAD_LETTER;
	}

	// pass takes back what was said about the record.
	pass(): void {
		if (this.counts()) this.write(V_PASS, 0, 0);
	}

	// drop, fail and deadLetter end a record: what was edited before is forgotten,
	// edits after them are ignored, and the last of them counts. The text, for people,
	// is cut at 1 KiB.
	drop(reason: u16, text: Bytes = NULL): void { this.end(V_DROP, reason, text); }
	fail(reason: u16, text: Bytes = NULL): void { this.end(V_FAIL, reason, text); }
	deadLetter(reason: u16, text: Bytes = NULL): void { this.end(V_DEAD_LETTER, reason, text); }

	end(code: u8, reason: u16, text: Bytes): void {
		if (!this.counts()) return;
		let off: u32 = 0;
		if (len(text) > 0) {
			let n = len(text);
			if (n > TEXT_MAX) for (n = TEXT_MAX; n > 0 && (load<u8>(ptr(text) + n) & 0xc0) == 0x80;) n--;
			off = this.b.take(4 + <u64>n);
			if (!off) {
				this.b.full = this.i;
				return;
			}
			store<u32>(this.b.base + off, n);
			memory.copy(this.b.base + off + 4, ptr(text), n);
		}
		this.write(code, reason, off);
	}

	// list returns the offset of the record's edit list, 0 when the area is full. What
	// was routed or written in place before becomes its first entry; a list that is not
	// the last thing in the area moves there.
	list(): u32 {
		const b = this.b, arg = load<u32>(this.verdict, 4);
		let list: u32;
		switch (this.code()) {
			case V_EDIT: {
				const size = 8 + load<u32>(b.base + arg, 4);
				if (arg + size == b.modOff + b.modUsed) return arg;
				list = b.take(size);
				if (list) memory.copy(b.base + list, b.base + arg, size);
				return list;
			}
			case V_ROUTE:
				list = b.newList();
				return list && b.append(list, OP_PARTITION, NULL, bytes(this.verdict + 4, 4)) ? list : 0;
			case V_IN_PLACE:
				list = b.newList();
				return list && b.append(list, OP_VALUE, NULL, this.value()) ? list : 0;
		}
		return b.newList();
	}

	edit(op: u32, key: Bytes, value: Bytes): void {
		if (!this.open()) return;
		const list = this.list();
		if (list && this.b.append(list, op, key, value)) this.write(V_EDIT, 0, list);
		else this.b.full = this.i;
	}

	// route sends the record to a partition, in on_send and partitioners; -1 takes an
	// explicit one away.
	route(partition: i32): void {
		const c = this.code();
		if (c == V_PASS || c == V_ROUTE) {
			if (this.counts()) this.write(V_ROUTE, 0, partition);
			return;
		}
		store<i32>(word, partition);
		this.edit(OP_PARTITION, NULL, bytes(word, 4));
	}

	// setValue replaces the value; one of the same length is written in place, which is
	// the cheap way, so that value returns it from then on.
	setValue(v: Bytes): void {
		const c = this.code();
		if ((c == V_PASS || c == V_IN_PLACE) && len(v) >= 0 && len(v) == this.valueLen() && !(this.flags() & 1)) {
			if (!this.counts()) return;
			memory.copy(this.at + load<u32>(this.at, 40), ptr(v), len(v));
			this.write(V_IN_PLACE, 0, 0);
			return;
		}
		this.edit(OP_VALUE, NULL, v);
	}

	setKey(v: Bytes): void { this.edit(OP_KEY, NULL, v); }
	// setTopic: the configuration must allow the topic.
	setTopic(name: Bytes): void { this.edit(OP_TOPIC, NULL, name); }

	setTimestampMS(ms: i64): void {
		store<i64>(word, ms);
		this.edit(OP_TIMESTAMP, NULL, bytes(word, 8));
	}

	// addHeader adds a header after those that are there.
	addHeader(key: Bytes, value: Bytes): void { this.edit(OP_ADD_HEADER, key, value); }
	// removeHeaders removes all of that key.
	removeHeaders(key: Bytes): void { this.edit(OP_REMOVE_HEADERS, key, NULL); }

	// removeHeader removes the i-th, as the edits before have left them.
	removeHeader(i: u32): void {
		store<u32>(word, i);
		this.edit(OP_REMOVE_HEADER, NULL, bytes(word, 4));
	}

	// ---- state ----

	// claim claims id for the record; the record's outcome confirms or releases it. A
	// ttl of 0 or less keeps it until the state is full. When the host refuses, the
	// answer is new and the call ends with an error.
	claim(id: Bytes, ttlMS: i64): i32 {
		const a = importClaim(this.i, ptr(id), len(id), ttlMS);
		if (a >= 0) return a;
		this.b.refused = true;
		return CLAIM_NEW;
	}

	// fresh reports whether claimKeys found the record's key new. A record without a
	// key is not.
	fresh(): bool { return (load<u8>(this.b.fresh + this.i / 8) >> <u8>(this.i % 8) & 1) != 0; }
}

// ---- puts and gets ----

const puts = new Buf(), got = new Buf(); // a put is {u32 klen, u32 vlen, i64 ttl} and the bytes, 8-aligned

function putsSettled(counts: bool): void {
	for (let at: u32 = 0; at < puts.n;) {
		const e = puts.p + at, klen = load<u32>(e), vlen = load<u32>(e, 4);
		if (counts && importStatePut(e + 16, klen, e + 16 + klen, vlen, load<i64>(e, 8)) < 0) running.refused = true;
		at += 16 + align8(klen + vlen);
	}
	puts.n = 0;
}

// statePut remembers value under key once the running record's verdict counts;
// stateGet sees it at once.
export function statePut(key: Bytes, value: Bytes, ttlMS: i64): void {
	const klen = len(key), vlen = len(value), size = 16 + align8(klen + vlen);
	const e = puts.room(size);
	settlePuts = putsSettled;
	dirty = true;
	store<u32>(e, klen);
	store<u32>(e, vlen, 4);
	store<i64>(e, ttlMS, 8);
	memory.copy(e + 16, ptr(key), klen);
	memory.copy(e + 16 + klen, ptr(value), vlen);
	puts.n += size;
}

// stateGet returns what was put under key, valid until the next get or put, null
// when there is nothing.
export function stateGet(key: Bytes): Bytes {
	let found = NULL;
	for (let at: u32 = 0; at < puts.n;) {
		const e = puts.p + at, klen = load<u32>(e), vlen = load<u32>(e, 4);
		if (same(bytes(e + 16, klen), key)) found = bytes(e + 16 + klen, vlen);
		at += 16 + align8(klen + vlen);
	}
	if (!isNull(found)) return found;
	got.n = 0;
	got.room(256);
	let n: i32;
	while ((n = importStateGet(ptr(key), len(key), got.p, got.cap)) == -2) got.room(2 * got.cap);
	return bytes(got.p, n < 0 ? -1 : n);
}

// ---- metrics and reasons ----

const metrics = memory.data(20 * DECLARED_MAX); // id, pending, sum: read them unaligned
let metricsCount = 0;
const observed = new Buf(); // u64 metric, f64

function countersSettled(counts: bool): void {
	for (let i = 0, m = metrics; i < metricsCount; i++, m += 20) {
		if (counts) store<i64>(m, load<i64>(m, 12) + load<i64>(m, 4), 12);
		store<i64>(m, 0, 4);
	}
}

function metricsSettled(counts: bool): void {
	countersSettled(counts);
	for (let at: u32 = 0; counts && at < observed.n; at += 16) {
		importMetricObserve(load<i32>(metrics + 20 * load<u32>(observed.p + at)), load<f64>(observed.p + at, 8));
	}
	observed.n = 0;
}

function countersFlushed(counts: bool): void {
	for (let i = 0, m = metrics; i < metricsCount; i++, m += 20) {
		const sum = load<i64>(m, 12);
		if (counts && sum != 0) importMetricAdd(load<i32>(m), sum);
		store<i64>(m, 0, 12);
	}
}

function metric(kind: i32, name: string): i32 {
	const s = lit(name);
	if (metricsCount == DECLARED_MAX) unreachable();
	store<i32>(metrics + 20 * metricsCount, importMetricDef(kind, ptr(s), len(s)));
	return metricsCount++;
}

// counter and histogram declare a metric, while the instance starts only, at most
// 64.
export function counter(name: string): i32 {
	if (settleMetrics === null) settleMetrics = countersSettled;
	flushCounters = countersFlushed;
	return metric(0, name);
}

export function histogram(name: string): i32 {
	settleMetrics = metricsSettled;
	return metric(1, name);
}

// count adds to a counter, observe to a histogram, once the running record's
// verdict counts.
export function count(counter: i32, delta: i64): void {
	const m = metrics + 20 * counter;
	store<i64>(m, load<i64>(m, 4) + delta, 4);
	dirty = true;
}

export function observe(histogram: i32, v: f64): void {
	const e = observed.room(16);
	store<u64>(e, histogram);
	store<f64>(e, v, 8);
	observed.n += 16;
	dirty = true;
}

let nextReason: u16 = 16;

// reason declares a reason, while the instance starts only, at most 64, and returns
// its code.
export function reason(name: string): u16 {
	const s = lit(name);
	importReasonDef(nextReason, ptr(s), len(s));
	return nextReason++;
}

// ---- start and calls ----

// Start is where an instance finds itself. Its bytes are the init block's: use keep
// for what shall stay.
@final
export class Start {
	hooks: u32 = 0;
	fields: u64 = 0;
	code: u16 = ERR_PLUGIN; // of the error, if there is one

	constructor(private p: usize) {}

	private pair(at: usize): Bytes { return bytes(this.p + load<u32>(this.p + at), load<i32>(this.p + at, 4)); }

	minor(): u32 { return load<u32>(this.p); }
	lane(): u32 { return load<u32>(this.p, 8); }
	lanes(): u32 { return load<u32>(this.p, 12); }
	config(): Bytes { return this.pair(16); } // the plugin's table as JSON
	plugin(): Bytes { return this.pair(24); }
	chain(): Bytes { return this.pair(32); }
	clientID(): Bytes { return this.pair(40); }
	topics(): Bytes { return this.pair(48); } // for each a u32 length and the bytes

	// want asks to be called for a hook, which the module must export.
	want(hook: u32, fields: u8): void {
		this.hooks |= 1 << hook;
		this.fields |= <u64>(fields & 63) << (6 * hook);
	}
}

export function initialise(p: usize, n: u32, start: (s: Start) => Bytes): u64 {
	if (n < 56) {
		logStr("the host's init block is malformed");
		return <u64>ERR_BLOCK << 48;
	}
	const s = new Start(p);
	const error = start(s);
	if (isNull(error)) return <u64>s.hooks << 32 | s.fields;
	if (len(error) > 0) log(ERROR, error);
	return <u64>s.code << 48;
}

function logStr(s: string): void { log(ERROR, lit(s)); }

const running = new Batch();

function failed(code: u16): u64 {
	settle(false);
	const f = flushCounters;
	if (f !== null) f(false);
	return <u64>code << 32;
}

let calls = 0;

// collect frees now and then what the calls before have left behind: none runs, so
// that everything in use hangs on a global.
function collect(): void {
	if (++calls < 32) return;
	calls = 0;
	__collect();
}

// call runs a hook. It returns OK, or an error, which voids the whole call.
export function call(hook: u32, p: usize, n: u32, judge: (b: Batch) => Bytes): u64 {
	const b = running;
	collect();
	if (!b.open(hook, p, n)) {
		logStr("the host's block is malformed");
		return failed(ERR_BLOCK);
	}
	const error = judge(b);
	if (!isNull(error)) {
		const code = failed(ERR_PLUGIN);
		if (len(error) > 0) log(ERROR, error);
		return code;
	}
	if (dirty) settle(b.full == b.count); // the hook has left its loop on its own
	if (b.refused) {
		logStr("the host refused a claim or a put: set state = \"NAME\" in this plugin's table, or the state is full");
		return failed(ERR_REFUSED);
	}
	const f = flushCounters;
	if (f !== null) f(true);
	if (b.full == b.count) return b.modUsed;
	store<u32>(p, b.full, 60);
	return <u64>b.modUsed | 1 << 48;
}

let exchange: usize = 0;

export function klamm_abi_1(): void {}

export function klamm_alloc(size: u32): usize {
	if (exchange) heap.free(exchange);
	exchange = heap.alloc(size);
	return exchange;
}

// ---- hashes ----

// murmur2 is Kafka's, with the sign bit cleared: modulo the number of partitions it
// is the default partitioner's choice.
export function murmur2(key: Bytes): u32 {
	const m: u32 = 0x5bd1e995;
	let n: u32 = max(len(key), 0), p = ptr(key), h: u32 = 0x9747b28c ^ n;
	for (; n >= 4; n -= 4, p += 4) {
		let k = load<u32>(p) * m;
		k ^= k >> 24;
		h = h * m ^ k * m;
	}
	if (n == 3) h ^= <u32>load<u8>(p, 2) << 16;
	if (n >= 2) h ^= <u32>load<u8>(p, 1) << 8;
	if (n >= 1) h = (h ^ <u32>load<u8>(p)) * m;
	h = (h ^ h >> 13) * m;
	return (h ^ h >> 15) & 0x7fffffff;
}
