/* The benchmark's plugin in the shape of Redpanda Connect's wasm processor, in
   C: see ../go. */
#include "../../ops.h"

#define HOST(name) IMPORT("benthos_wasm", name)
HOST("v0_msg_as_bytes") uint64_t msg_as_bytes(void);
HOST("v0_msg_set_bytes") void msg_set_bytes(const uint8_t *p, uint32_t n);
HOST("v0_msg_get_meta") uint64_t msg_get_meta(const char *key, uint32_t n);
HOST("v0_msg_set_meta") void msg_set_meta(const char *key, uint32_t n, const uint8_t *value, uint32_t value_len);
HOST("v0_claim") uint32_t claim_key(const uint8_t *key, uint32_t n);
HOST("v0_msg_delete") void msg_delete(void);

static uint8_t arena[1 << 20] __attribute__((aligned(8)));
static uint8_t out[1 << 20];
static uint32_t used, live;

EXPORT("malloc") uint8_t *bench_malloc(uint32_t n) {
	if (live == 0)
		used = 0;
	uint8_t *p = arena + used;
	used += (n + 7) & ~7u;
	live++;
	return p;
}

EXPORT("free") void bench_free(const uint8_t *p) {
	(void)p;
	live--;
}

struct bytes {
	const uint8_t *p;
	uint32_t n;
};

static struct bytes view(uint64_t v) {
	return (struct bytes){(const uint8_t *)(uintptr_t)(uint32_t)(v >> 32), (uint32_t)v};
}

static struct bytes key(void) { return view(msg_get_meta("key", 3)); }
static struct bytes value(void) { return view(msg_as_bytes()); }

EXPORT("pass") void pass(void) {
	key();
	value();
}

EXPORT("route") void route(void) {
	static uint8_t number[4];
	struct bytes k = key();
	put32(number, partition_of(k.p, k.n));
	msg_set_meta("partition", 9, number, 4);
}

EXPORT("dedup") void dedup(void) {
	struct bytes k = key();
	if (!claim_key(k.p, k.n))
		msg_delete();
}

EXPORT("rewrite") void rewrite(void) {
	struct bytes v = value();
	msg_set_bytes(out, rewrite_value(out, v.p, v.n));
}

EXPORT("mask") void mask(void) {
	struct bytes v = value();
	uint32_t n = mask_value(out, v.p, v.n);
	if (n)
		msg_set_bytes(out, n);
}
