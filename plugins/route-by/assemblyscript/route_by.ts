// route-by keeps each tenant on its share of the partitions: see README.md of the folder
// above, and routeby.go, which says more.
import * as k from "../../../sdk/assemblyscript/klamm";
import { Batch, Buf, Bytes, OK, Record, Start, bytes, isNull, lit } from "../../../sdk/assemblyscript/klamm";
import { INT, SIZE, STRING, Setting, Settings, is, positive } from "../../../sdk/assemblyscript/config";
import { Sources } from "../../internal/assemblyscript/source";
export { klamm_abi_1, klamm_alloc } from "../../../sdk/assemblyscript/klamm";

const tenant = new Sources();

const settings = new Settings();
const by = settings.add("by", STRING).require().check((s: Setting) => tenant.parse([s.s]));
const spreads = settings.add("spread", INT, "1").check(positive);
const onMissing = settings.add("on_missing", STRING, "\"default\"").oneOf(["default", "fail"]);
const hots = settings.add("hot", SIZE);

let moved = 0, missing = 0;
let failMissing = false;
let spread: u32 = 1;
let hot: i64 = 0;
const text = new Buf();

function start(s: Start): Bytes {
	moved = k.counter("route_by_moved_total");
	missing = k.counter("route_by_missing_total");
	if (!settings.bind(s)) return bytes(0, 0);
	if (spreads.i > 1 << 20) return lit("config key \"spread\": more than any topic has partitions");
	spread = <u32>spreads.i;
	hot = hots.i;
	failMissing = is(onMissing.s, "fail");
	s.want(k.PARTITION, tenant.fields() | k.KEY | k.TOPIC_FACTS | (hot > 0 ? k.LOAD : 0));
	return OK;
}

// number spreads records by the host's number for them, which stays the same when a
// batch is cut or judged again.
function number(r: Record): u32 { return <u32>(r.ref() * 0x9e3779b97f4a7c15 >> 33); }

// cool: partition p is available and at most half as loaded as the hot one.
function cool(r: Record, p: u32, half: u32): bool { return r.available(p) && r.load(p) <= half; }

// cooler returns the partition for a record whose own one, chosen, is hot: one of the
// share that is cool. Records spread over those by their number, so that they do not
// all rush to the coolest.
function cooler(r: Record, chosen: u32, home: u32, share: u32, n: u32): u32 {
	const half = r.load(chosen) / 2;
	let count: u32 = 0;
	for (let i: u32 = 0; i < share; i++) if (cool(r, (home + i) % n, half)) count++;
	if (count == 0) return chosen;
	let nth = number(r) % count;
	for (let i: u32 = 0; i < share; i++) {
		const p = (home + i) % n;
		if (!cool(r, p, half)) continue;
		if (nth-- == 0) {
			k.count(moved, 1);
			return p;
		}
	}
	return chosen;
}

// place chooses one of the n partitions.
function place(r: Record, who: Bytes, n: u32): u32 {
	const key = r.key(), share = min(spread, n), home = k.murmur2(who) % n;
	const slot = share == 1 ? 0 : (isNull(key) ? number(r) : k.murmur2(key)) % share;
	const chosen = (home + slot) % n;
	return hot > 0 && <i64>r.load(chosen) > hot ? cooler(r, chosen, home, share, n) : chosen;
}

// without judges a record that has no tenant; text says why.
function without(r: Record, why: u16): void {
	if (failMissing) r.fail(why, text.get());
	k.count(missing, 1);
}

function judge(b: Batch): Bytes {
	for (let r = b.first(); r.more(); r.next()) {
		if (!tenant.open(r)) {
			text.n = 0;
			text.addStr("no tenant: the value is ");
			tenant.paths.addError(text);
			without(r, k.INVALID);
			continue;
		}
		const who = tenant.get(r, 0);
		if (isNull(who)) {
			text.n = 0;
			text.addStr("no tenant: ");
			text.add(by.s);
			text.addStr(" is missing or null");
			without(r, k.MISSING);
			continue;
		}
		const n = r.partitions();
		if (n > 0) r.route(place(r, who, n));
	}
	return OK;
}

export function klamm_init(p: usize, n: u32): u64 { return k.initialise(p, n, start); }
export function klamm_partition(p: usize, n: u32): u64 { return k.call(k.PARTITION, p, n, judge); }
