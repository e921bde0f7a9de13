/*
 * A plugin written from docs/abi.md alone: no SDK, no other header. It uses what
 * the short example there does not: every hook, edits, texts, a full area, claims,
 * state, what was omitted, metrics, the init block.
 *
 *	clang --target=wasm32 -O2 -nostdlib -Wl,--no-entry -Wl,-s -o raw.wasm raw.c
 *
 * on_send, on_consume: without a key the record is dead-lettered; with one that was
 * claimed before it is dropped; a value that starts with "bad" fails it; any other
 * record gets a header with its name and its value twice over. partition: by the
 * length of the key.
 */
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name)))
#define IMPORT(name) __attribute__((import_module("klamm"), import_name(name)))

IMPORT("log") void host_log(int32_t level, const void *p, uint32_t n);
IMPORT("metric_def") int32_t metric_def(int32_t kind, const void *p, uint32_t n);
IMPORT("metric_add") void metric_add(int32_t id, int64_t delta);
IMPORT("metric_observe") void metric_observe(int32_t id, double v);
IMPORT("reason_def") void reason_def(int32_t code, const void *p, uint32_t n);
IMPORT("claim") int32_t claim(uint32_t index, const void *k, uint32_t klen, int64_t ttl_ms);
IMPORT("state_get") int32_t state_get(const void *k, uint32_t klen, void *v, uint32_t cap);
IMPORT("state_put") int32_t state_put(const void *k, uint32_t klen, const void *v, uint32_t vlen, int64_t ttl_ms);
IMPORT("value") int32_t pull_value(uint32_t index, void *p, uint32_t cap);

typedef uint8_t *bytes;

static uint32_t u32(const uint8_t *p, uint32_t off) { return *(const uint32_t *)(p + off); }
static void put32(uint8_t *p, uint32_t off, uint32_t v) { *(uint32_t *)(p + off) = v; }
static void copy(uint8_t *to, const uint8_t *from, uint32_t n) {
	while (n--)
		*to++ = *from++;
}

static uint8_t block[6 << 20] __attribute__((aligned(8)));
static uint8_t pulled[2 << 20];
static uint8_t name[64]; /* this plugin's */
static uint32_t name_len;
static int32_t failed_total, committed_total, latency;

enum { REASON_BAD = 16 };

EXPORT("klamm_abi_1") void marker(void) {}

EXPORT("klamm_alloc") bytes alloc(uint32_t size) { return size <= sizeof block ? block : 0; }

EXPORT("klamm_init") uint64_t init(bytes p, uint32_t n) {
	name_len = u32(p, 28);
	if (n < 56 || name_len > sizeof name) {
		host_log(3, "the plugin's name is too long", 29);
		return 1ull << 48;
	}
	copy(name, p + u32(p, 24), name_len);
	failed_total = metric_def(0, "raw_failed_total", 16);
	committed_total = metric_def(0, "raw_committed_total", 19);
	latency = metric_def(1, "raw_latency_us", 14);
	reason_def(REASON_BAD, "raw_bad", 7);
	return 31ull << 32                    /* all five hooks */
		| 3 | 3 << 12                     /* on_send, on_consume: key, value */
		| (uint64_t)(1 | 16) << 24;       /* partition: key, topic facts */
}

/* An answer as it grows in the modification area. */
static struct {
	bytes at;
	uint32_t off, used, cap;
} area;

/* room takes n bytes, 8-aligned; their offset in the block, 0 when it is full. */
static uint32_t room(uint32_t n) {
	n = (n + 7) & ~7u;
	if (n > area.cap - area.used)
		return 0;
	area.used += n;
	return area.off + area.used - n;
}

static uint64_t verdict(uint32_t code, uint32_t reason, uint32_t argument) { return code | reason << 16 | (uint64_t)argument << 32; }

/* with_text is the verdict with a text, 0 when there is no room. */
static uint64_t with_text(uint32_t code, uint32_t reason, const char *text, uint32_t n) {
	uint32_t off = room(4 + n);
	if (!off)
		return 0;
	put32(area.at, off, n);
	copy(area.at + off + 4, (const uint8_t *)text, n);
	return verdict(code, reason, off);
}

static void entry(bytes e, uint32_t op, int32_t klen, int32_t vlen, uint32_t total) {
	put32(e, 0, op);
	put32(e, 4, (uint32_t)klen);
	put32(e, 8, (uint32_t)vlen);
	put32(e, 12, total);
}

/* edited adds header "by" and doubles the value; 0 when there is no room. */
static uint64_t edited(const uint8_t *value, int32_t n) {
	uint32_t doubled = n < 0 ? 0 : 2 * (uint32_t)n;
	uint32_t first = 16 + ((2 + name_len + 7) & ~7u), second = 16 + ((doubled + 7) & ~7u);
	uint32_t off = room(8 + first + second);
	if (!off)
		return 0;
	bytes e = area.at + off;
	put32(e, 0, 2);
	put32(e, 4, first + second);
	entry(e + 8, 1, 2, (int32_t)name_len, first);
	copy(e + 24, (const uint8_t *)"by", 2);
	copy(e + 26, name, name_len);
	e += 8 + first;
	entry(e, 4, -1, n < 0 ? -1 : (int32_t)doubled, second);
	if (n > 0) {
		copy(e + 16, value, (uint32_t)n);
		copy(e + 16 + n, value, (uint32_t)n);
	}
	return verdict(4, 0, off);
}

/* judged is the verdict on a record, 0 when there is no room. */
static uint64_t judged(bytes r, uint32_t i) {
	const uint8_t *key = r + u32(r, 32), *value = r + u32(r, 40);
	int32_t klen = (int32_t)u32(r, 36), vlen = (int32_t)u32(r, 44);
	if (klen < 0)
		return with_text(5, 4, "no key", 6);
	if (claim(i, key, (uint32_t)klen, 60000) != 1)
		return verdict(1, 1, 0);
	if (u32(r, 4) & 1) { /* omitted */
		value = pulled;
		if (pull_value(i, pulled, sizeof pulled) > (int32_t)sizeof pulled)
			__builtin_trap();
	}
	if (vlen >= 3 && value[0] == 'b' && value[1] == 'a' && value[2] == 'd')
		return with_text(6, REASON_BAD, "a bad value", 11);
	return edited(value, vlen);
}

static uint64_t judge(bytes b) {
	uint32_t count = u32(b, 8), i = 0;
	bytes r = b + u32(b, 16);
	uint64_t *verdicts = (uint64_t *)(b + u32(b, 20));
	area.at = b;
	area.off = u32(b, 24);
	area.cap = u32(b, 28);
	area.used = 0;
	for (; i < count; i++, r += u32(r, 0)) {
		uint64_t v = judged(r, i);
		if (v == 0) { /* full: the rest comes again */
			put32(b, 60, i);
			return area.used | 1ull << 48;
		}
		verdicts[i] = v;
		if ((uint8_t)v == 4)
			state_put("last", 4, r + u32(r, 32), u32(r, 36), 0);
	}
	return area.used;
}

EXPORT("klamm_on_send") uint64_t on_send(bytes b, uint32_t n) { return judge(b); }
EXPORT("klamm_on_consume") uint64_t on_consume(bytes b, uint32_t n) { return judge(b); }

EXPORT("klamm_partition") uint64_t partition(bytes b, uint32_t n) {
	bytes r = b + u32(b, 16);
	uint64_t *v = (uint64_t *)(b + u32(b, 20));
	for (uint32_t left = u32(b, 8); left > 0; left--, v++, r += u32(r, 0)) {
		uint32_t partitions = u32(b, u32(b, 32) + 24 * u32(r, 28) + 8);
		if ((int32_t)u32(r, 36) >= 0)
			*v = verdict(2, 0, u32(r, 36) % partitions);
	}
	return 0;
}

EXPORT("klamm_on_ack") uint64_t on_ack(bytes b, uint32_t n) {
	bytes r = b + u32(b, 16);
	for (uint32_t left = u32(b, 8); left > 0; left--, r += u32(r, 0)) {
		bytes ack = r + u32(r, 0) - 32;
		if ((int32_t)u32(ack, 0) != 0)
			metric_add(failed_total, 1);
		metric_observe(latency, u32(ack, 8));
	}
	return 0;
}

EXPORT("klamm_on_commit") uint64_t on_commit(bytes b, uint32_t n) {
	metric_add(committed_total, u32(b, 8));
	return 0;
}
