/* SHA-256 of FIPS 180-4. */
#ifndef KLAMM_SHA256_H
#define KLAMM_SHA256_H

#include "klamm.h"

static const uint32_t sha256_round[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t sha256_rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

/* The loops stay loops: unrolled they are many kilobytes. */
__attribute__((noinline)) static void sha256_block(uint32_t h[8], const uint8_t *p) {
	uint32_t w[64], v[8];
#pragma clang loop unroll(disable) vectorize(disable)
	for (int i = 0; i < 16; i++)
		w[i] = __builtin_bswap32(klamm_u32(p + 4 * i));
#pragma clang loop unroll(disable) vectorize(disable)
	for (int i = 16; i < 64; i++) {
		uint32_t x = w[i - 15], y = w[i - 2];
		w[i] = w[i - 16] + w[i - 7] + (sha256_rotate(x, 7) ^ sha256_rotate(x, 18) ^ x >> 3) +
			(sha256_rotate(y, 17) ^ sha256_rotate(y, 19) ^ y >> 10);
	}
	for (int i = 0; i < 8; i++)
		v[i] = h[i];
#pragma clang loop unroll(disable)
	for (int i = 0; i < 64; i++) {
		uint32_t a = v[0], e = v[4];
		uint32_t t = v[7] + (sha256_rotate(e, 6) ^ sha256_rotate(e, 11) ^ sha256_rotate(e, 25)) +
			((e & v[5]) ^ (~e & v[6])) + sha256_round[i] + w[i];
		uint32_t u = (sha256_rotate(a, 2) ^ sha256_rotate(a, 13) ^ sha256_rotate(a, 22)) +
			((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
		v[7] = v[6];
		v[6] = v[5];
		v[5] = e;
		v[4] = v[3] + t;
		v[3] = v[2];
		v[2] = v[1];
		v[1] = a;
		v[0] = t + u;
	}
	for (int i = 0; i < 8; i++)
		h[i] += v[i];
}

KLAMM_COLD void sha256(klamm_bytes data, uint8_t sum[32]) {
	uint32_t h[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
	uint32_t n = data.n, left = n;
	const uint8_t *p = data.p;
	for (; left >= 64; left -= 64, p += 64)
		sha256_block(h, p);
	uint8_t last[128];
	for (uint32_t i = 0; i < sizeof last; i++)
		last[i] = i < left ? p[i] : i == left ? 0x80 : 0;
	uint32_t end = left < 56 ? 64 : 128;
	klamm_put64(last + end - 8, __builtin_bswap64((uint64_t)n * 8));
	for (uint32_t at = 0; at < end; at += 64)
		sha256_block(h, last + at);
	for (int i = 0; i < 8; i++)
		klamm_put32(sum + 4 * i, __builtin_bswap32(h[i]));
}

#endif
