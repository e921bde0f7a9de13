// The benchmark's plugin on Klamm's AssemblyScript SDK. The configuration,
// {"op":"route"} and so on, says what it does to records; ../../ops.h does the same.
import * as k from "../../../../sdk/assemblyscript/klamm";
import { Batch, Buf, Bytes, OK, Start, bytes, len, lit, ptr, same } from "../../../../sdk/assemblyscript/klamm";
export { klamm_abi_1, klamm_alloc } from "../../../../sdk/assemblyscript/klamm";

const PARTITIONS: u32 = 12;
const out = new Buf();
let run: (b: Batch) => Bytes = pass;

function pass(b: Batch): Bytes { return OK; }

function partitionOf(key: Bytes): i32 {
	const m: u32 = 0x5bd1e995;
	let p = ptr(key), n = <u32>len(key);
	let h: u32 = 0x9747b28c ^ n;
	for (; n >= 4; p += 4, n -= 4) {
		let w = load<u32>(p) * m;
		w ^= w >> 24;
		h = h * m ^ w * m;
	}
	if (n >= 3) h ^= <u32>load<u8>(p, 2) << 16;
	if (n >= 2) h ^= <u32>load<u8>(p, 1) << 8;
	if (n >= 1) h = (h ^ load<u8>(p)) * m;
	h = (h ^ h >> 13) * m;
	h ^= h >> 15;
	return <i32>((h & 0x7fffffff) % PARTITIONS);
}

function route(b: Batch): Bytes {
	for (let r = b.first(); r.more(); r.next()) r.route(partitionOf(r.key()));
	return OK;
}

function dedup(b: Batch): Bytes {
	b.claimKeys(600000);
	for (let r = b.first(); r.more(); r.next()) if (!r.fresh()) r.drop(k.DUPLICATE);
	return OK;
}

const inserted = lit("{\"seen\":true,");

function rewrite(b: Batch): Bytes {
	for (let r = b.first(); r.more(); r.next()) {
		const v = r.value();
		out.n = 0;
		out.add(inserted);
		out.addAt(ptr(v) + 1, <u32>len(v) - 1);
		r.setValue(out.get());
	}
	return OK;
}

// at returns byte i of the document at p.
// @ts-ignore: decorator
@inline
function at(p: usize, i: u32): u8 { return load<u8>(p + i); }

function stringEnd(p: usize, n: u32, i: u32): u32 {
	for (; i < n && at(p, i) != 0x22; i++) if (at(p, i) == 0x5c) i++;
	return i;
}

function skipSpace(p: usize, n: u32, i: u32): u32 {
	while (i < n && at(p, i) <= 0x20) i++;
	return i;
}

function valueEnd(p: usize, n: u32, i: u32): u32 {
	for (let depth = 0; i < n; i++) {
		switch (at(p, i)) {
			case 0x22: i = stringEnd(p, n, i + 1); break;
			case 0x7b: case 0x5b: depth++; break;
			case 0x7d: case 0x5d:
				if (depth == 0) return i;
				depth--;
				break;
			case 0x2c: if (depth == 0) return i;
		}
	}
	return min(i, n);
}

const secret = lit("email");
let start: u32 = 0, end: u32 = 0;

// findSecret sets start and end to the value of the top-level member "email".
function findSecret(p: usize, n: u32): bool {
	let depth = 0;
	for (let i: u32 = 0; i < n; i++) {
		switch (at(p, i)) {
			case 0x7b: case 0x5b: depth++; break;
			case 0x7d: case 0x5d: depth--; break;
			case 0x22: {
				const from = i + 1;
				i = stringEnd(p, n, from);
				if (depth != 1 || !same(bytes(p + from, i - from), secret)) break;
				const v = skipSpace(p, n, i + 1);
				if (v >= n || at(p, v) != 0x3a) break;
				start = skipSpace(p, n, v + 1);
				end = valueEnd(p, n, start);
				return true;
			}
		}
	}
	return false;
}

const covered = lit("\"***\"");

function mask(b: Batch): Bytes {
	for (let r = b.first(); r.more(); r.next()) {
		const v = r.value(), p = ptr(v), n = <u32>len(v);
		if (!findSecret(p, n)) continue;
		out.n = 0;
		out.addAt(p, start);
		out.add(covered);
		out.addAt(p + end, n - end);
		r.setValue(out.get());
	}
	return OK;
}

function choose(s: Start): Bytes {
	const config = s.config();
	if (same(config, lit("{\"op\":\"pass\"}"))) { run = pass; s.want(k.ON_SEND, k.KEY | k.VALUE); }
	else if (same(config, lit("{\"op\":\"route\"}"))) { run = route; s.want(k.ON_SEND, k.KEY); }
	else if (same(config, lit("{\"op\":\"dedup\"}"))) { run = dedup; s.want(k.ON_SEND, k.KEY); }
	else if (same(config, lit("{\"op\":\"rewrite\"}"))) { run = rewrite; s.want(k.ON_SEND, k.VALUE); }
	else if (same(config, lit("{\"op\":\"mask\"}"))) { run = mask; s.want(k.ON_SEND, k.VALUE); }
	else return lit("unknown op");
	return OK;
}

export function klamm_init(p: usize, n: u32): u64 { return k.initialise(p, n, choose); }
export function klamm_on_send(p: usize, n: u32): u64 { return k.call(k.ON_SEND, p, n, run); }
