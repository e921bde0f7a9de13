/* The benchmark's plugin for Klamm in C, on the ABI alone (docs/abi.md). The
   configuration says what it does: {"op":"route"} and so on. */
#include "../../ops.h"

enum { FIELD_KEY = 1, FIELD_VALUE = 2, ON_SEND = 1, PARTIAL = 1, DUPLICATE = 1, OP_SET_VALUE = 4 };

IMPORT("klamm", "claim_batch") int32_t claim_batch(uint8_t *mask, int64_t ttl_ms);

static uint8_t block[6 << 20] __attribute__((aligned(8)));
static uint8_t fresh[512 / 8];
static uint8_t op; /* its first letter; 'e' for rewrite */

EXPORT("klamm_abi_1") void klamm_abi_1(void) {}

EXPORT("klamm_alloc") uint8_t *klamm_alloc(uint32_t size) { return size <= sizeof block ? block : 0; }

EXPORT("klamm_init") uint64_t klamm_init(const uint8_t *init, uint32_t len) {
	const uint8_t *config = init + u32(init + 16); /* {"op":"...."} */
	op = u32(init + 20) >= 10 ? config[7] : 0;
	if (op == 'r' && config[8] == 'e')
		op = 'e';
	uint64_t fields;
	switch (op) {
	case 'p':
		fields = FIELD_KEY | FIELD_VALUE;
		break;
	case 'r':
	case 'd':
		fields = FIELD_KEY;
		break;
	case 'e':
	case 'm':
		fields = FIELD_VALUE;
		break;
	default:
		return 1ull << 48;
	}
	return (uint64_t)ON_SEND << 32 | fields;
}

struct area {
	uint8_t *b;
	uint32_t off, used, cap;
};

/* Answers with a new value. Returns 0 when the area has no room for it. */
static uint64_t replace(struct area *a, const uint8_t *value, uint32_t n) {
	if ((uint64_t)a->used + 8 + 16 + n + REWRITE_GROWS + 8 > a->cap)
		return 0;
	uint8_t *list = a->b + a->off + a->used, *entry = list + 8;
	uint32_t len = op == 'e' ? rewrite_value(entry + 16, value, n) : mask_value(entry + 16, value, n);
	if (len == 0)
		return 1ull << 63; /* nothing to replace */
	uint32_t total = 16 + ((len + 7) & ~7u);
	put32(list, 1);
	put32(list + 4, total);
	put32(entry, OP_SET_VALUE);
	put32(entry + 4, (uint32_t)-1);
	put32(entry + 8, len);
	put32(entry + 12, total);
	uint64_t verdict = (uint64_t)(a->off + a->used) << 32 | REPLACED;
	a->used += 8 + total;
	return verdict;
}

static uint64_t edit(uint8_t *b) {
	uint8_t *record = b + u32(b + 16);
	uint64_t *verdict = (uint64_t *)(b + u32(b + 20));
	struct area a = {b, u32(b + 24), 0, u32(b + 28)};
	for (uint32_t i = 0, n = u32(b + 8); i < n; i++, record += u32(record)) {
		uint64_t v = replace(&a, record + u32(record + 40), u32(record + 44));
		if (v == 0) {
			put32(b + 60, i);
			return (uint64_t)PARTIAL << 48 | a.used;
		}
		if (v != 1ull << 63)
			verdict[i] = v;
	}
	return a.used;
}

static uint64_t route(uint8_t *b) {
	uint8_t *record = b + u32(b + 16);
	uint64_t *verdict = (uint64_t *)(b + u32(b + 20));
	for (uint32_t n = u32(b + 8); n > 0; n--, record += u32(record))
		*verdict++ = (uint64_t)partition_of(record + u32(record + 32), u32(record + 36)) << 32 | ROUTED;
	return 0;
}

static uint64_t dedup(uint8_t *b) {
	uint64_t *verdict = (uint64_t *)(b + u32(b + 20));
	uint32_t n = u32(b + 8);
	if (claim_batch(fresh, 600000) < 0)
		return 1ull << 32;
	for (uint32_t i = 0; i < n; i++)
		if (!(fresh[i / 8] >> i % 8 & 1))
			verdict[i] = DUPLICATE << 16 | DROPPED;
	return 0;
}

EXPORT("klamm_on_send") uint64_t klamm_on_send(uint8_t *b, uint32_t len) {
	switch (op) {
	case 'r':
		return route(b);
	case 'd':
		return dedup(b);
	case 'e':
	case 'm':
		return edit(b);
	}
	return 0;
}
