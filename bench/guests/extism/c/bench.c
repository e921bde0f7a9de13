/* The benchmark's plugin for Extism in C, on Extism's ABI. As its development
   kit does, it loads and stores eight bytes a call of the host. */
#include "../../ops.h"

#define ENV(name) IMPORT("extism:host/env", name)
ENV("input_length") uint64_t input_length(void);
ENV("input_offset") uint64_t input_offset(void);
ENV("input_load_u64") uint64_t input_load_u64(uint64_t off);
ENV("input_load_u8") uint32_t input_load_u8(uint64_t off);
ENV("alloc") uint64_t alloc(uint64_t n);
ENV("store_u64") void store_u64(uint64_t off, uint64_t v);
ENV("store_u8") void store_u8(uint64_t off, uint32_t v);
ENV("output_set") void output_set(uint64_t off, uint64_t n);
IMPORT("extism:host/user", "claim") uint64_t claim(uint64_t off, uint64_t n);

static uint8_t in[6 << 20] __attribute__((aligned(8)));
static uint8_t out[6 << 20] __attribute__((aligned(8)));

static void input(void) {
	uint64_t n = input_length(), i = 0;
	for (; i + 8 <= n; i += 8)
		*(uint64_t *)(in + i) = input_load_u64(i);
	for (; i < n; i++)
		in[i] = input_load_u8(i);
}

static void output(uint32_t n) {
	uint64_t at = alloc(n);
	uint32_t i = 0;
	for (; i + 8 <= n; i += 8)
		store_u64(at + i, *(uint64_t *)(out + i));
	for (; i < n; i++)
		store_u8(at + i, out[i]);
	output_set(at, n);
}

static uint32_t run(char op) {
	input();
	uint64_t base = op == 'd' ? input_offset() : 0;
	const uint8_t *r = in + 4;
	uint8_t *o = out;
	for (uint32_t left = u32(in); left > 0; left--) {
		uint32_t k = u32(r), v = u32(r + 4), code = PASSED, arg = 0, n = 0;
		const uint8_t *key = r + 8, *value = key + k;
		switch (op) {
		case 'r':
			code = ROUTED;
			arg = partition_of(key, k);
			break;
		case 'd':
			if (!claim(base + (uint64_t)(key - in), k))
				code = DROPPED;
			break;
		case 'e':
			code = REPLACED;
			arg = n = rewrite_value(o + 8, value, v);
			break;
		case 'm':
			arg = n = mask_value(o + 8, value, v);
			code = n ? REPLACED : PASSED;
			break;
		}
		put32(o, code);
		put32(o + 4, arg);
		o += 8 + n;
		r = value + v;
	}
	output(o - out);
	return 0;
}

EXPORT("pass") uint32_t pass(void) { return run('p'); }
EXPORT("route") uint32_t route(void) { return run('r'); }
EXPORT("dedup") uint32_t dedup(void) { return run('d'); }
EXPORT("rewrite") uint32_t rewrite(void) { return run('e'); }
EXPORT("mask") uint32_t mask(void) { return run('m'); }
