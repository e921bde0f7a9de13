// SHA-256 of FIPS 180-4.
import { Bytes, len, ptr } from "../../../sdk/assemblyscript/klamm";

const round = memory.data<u32>([
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
]);
const initial = memory.data<u32>([0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19]);

const h = memory.data(32), w = memory.data(256), last = memory.data(128);

function block(p: usize): void {
	for (let i = 0; i < 64; i += 4) store<u32>(w + i, bswap(load<u32>(p + i)));
	for (let i = 64; i < 256; i += 4) {
		const x = load<u32>(w + i - 60), y = load<u32>(w + i - 8);
		store<u32>(w + i, load<u32>(w + i - 64) + load<u32>(w + i - 28) +
			(rotr(x, 7) ^ rotr(x, 18) ^ x >> 3) + (rotr(y, 17) ^ rotr(y, 19) ^ y >> 10));
	}
	let a = load<u32>(h), b = load<u32>(h, 4), c = load<u32>(h, 8), d = load<u32>(h, 12);
	let e = load<u32>(h, 16), f = load<u32>(h, 20), g = load<u32>(h, 24), j = load<u32>(h, 28);
	for (let i = 0; i < 256; i += 4) {
		const t = j + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) + ((e & f) ^ (~e & g)) + load<u32>(round + i) + load<u32>(w + i);
		const u = (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
		j = g;
		g = f;
		f = e;
		e = d + t;
		d = c;
		c = b;
		b = a;
		a = t + u;
	}
	add(0, a);
	add(4, b);
	add(8, c);
	add(12, d);
	add(16, e);
	add(20, f);
	add(24, g);
	add(28, j);
}

function add(i: u32, v: u32): void { store<u32>(h + i, load<u32>(h + i) + v); }

// sha256 writes 32 bytes to sum.
export function sha256(data: Bytes, sum: usize): void {
	let p = ptr(data), left: u32 = len(data);
	memory.copy(h, initial, 32);
	for (; left >= 64; left -= 64, p += 64) block(p);
	memory.fill(last, 0, 128);
	memory.copy(last, p, left);
	store<u8>(last + left, 0x80);
	const end = left < 56 ? 64 : 128;
	store<u64>(last + end - 8, bswap(<u64>len(data) * 8));
	block(last);
	if (end == 128) block(last + 64);
	for (let i = 0; i < 32; i += 4) store<u32>(sum + i, bswap(load<u32>(h + i)));
}
