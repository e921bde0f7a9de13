/*
 * klamm.h: write a Klamm plugin in C. Freestanding, one header, no libc; the
 * bytes are those of docs/abi.md, version 1.
 *
 *	#include "klamm.h"
 *
 *	static int dropped;
 *
 *	static const char *start(klamm_start *s) {
 *		dropped = klamm_counter("keyless_dropped_total");
 *		klamm_want(s, KLAMM_ON_SEND, KLAMM_KEY);
 *		return 0;
 *	}
 *
 *	static const char *judge(klamm_batch *b) {
 *		KLAMM_EACH(b, r) {
 *			if (klamm_key(&r).n >= 0)
 *				continue;
 *			klamm_drop(&r, KLAMM_MISSING, KLAMM_NULL);
 *			klamm_count(dropped, 1);
 *		}
 *		return 0;
 *	}
 *
 *	KLAMM_PLUGIN(start)
 *	KLAMM_EXPORT_ON_SEND(judge)
 *
 *	clang --target=wasm32 -O2 -mbulk-memory -msign-ext -nostdlib -Wl,--no-entry -Wl,-s -o keyless.wasm keyless.c
 *
 * Include it in one file. A module has what it uses only: each import stands in
 * it if the plugin calls the function behind it. Bytes that functions return are
 * views of the block, valid until the hook returns, unless they say otherwise.
 *
 * klamm_json.h finds values in JSON, klamm_config.h reads the configuration.
 */
#ifndef KLAMM_H
#define KLAMM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is not on the way of every record is made small. */
#define KLAMM_COLD __attribute__((noinline, minsize)) static

/* ---- bytes ---- */

/* klamm_bytes are n bytes at p; null when n is below 0. Empty is not null. */
typedef struct {
	const uint8_t *p;
	int32_t n;
} klamm_bytes;

#define KLAMM_NULL ((klamm_bytes){0, -1})
/* KLAMM_LIT is a string literal's bytes. */
#define KLAMM_LIT(s) ((klamm_bytes){(const uint8_t *)(s), sizeof(s) - 1})

static inline klamm_bytes klamm_str(const char *s) {
	int32_t n = 0;
	while (s[n])
		n++;
	return (klamm_bytes){(const uint8_t *)s, n};
}

static inline uint16_t klamm_u16(const uint8_t *p) {
	uint16_t v;
	__builtin_memcpy(&v, p, 2);
	return v;
}

static inline uint32_t klamm_u32(const uint8_t *p) {
	uint32_t v;
	__builtin_memcpy(&v, p, 4);
	return v;
}

static inline uint64_t klamm_u64(const uint8_t *p) {
	uint64_t v;
	__builtin_memcpy(&v, p, 8);
	return v;
}

static inline void klamm_put16(uint8_t *p, uint16_t v) { __builtin_memcpy(p, &v, 2); }
static inline void klamm_put32(uint8_t *p, uint32_t v) { __builtin_memcpy(p, &v, 4); }
static inline void klamm_put64(uint8_t *p, uint64_t v) { __builtin_memcpy(p, &v, 8); }

/* klamm_move copies n bytes, which may overlap. */
static inline void klamm_move(void *to, const void *from, uint32_t n) { __builtin_memmove(to, from, n); }

/* klamm_same compares eight bytes at once; null equals null alone. */
static inline bool klamm_same(klamm_bytes a, klamm_bytes b) {
	if (a.n != b.n)
		return false;
	int32_t i = 0;
	for (; i + 8 <= a.n; i += 8)
		if (klamm_u64(a.p + i) != klamm_u64(b.p + i))
			return false;
	for (; i < a.n; i++)
		if (a.p[i] != b.p[i])
			return false;
	return true;
}

static inline uint32_t klamm_align8(uint32_t n) { return (n + 7) & ~7u; }

/* ---- memory ---- */

/*
 * A first-fit list of free chunks in order of their addresses, which grows the
 * memory when nothing fits. It serves the exchange block, buffers, and plugins.
 */
typedef struct klamm_chunk {
	uint32_t size; /* with this header; a multiple of 8 */
	struct klamm_chunk *next;
} klamm_chunk;

extern uint8_t __heap_base;
static klamm_chunk *klamm_chunks;
static uint8_t *klamm_top; /* what lies behind was never handed out */

KLAMM_COLD uint8_t *klamm_extend(uint32_t size) {
	if (!klamm_top)
		klamm_top = (uint8_t *)klamm_align8((uint32_t)&__heap_base);
	uint64_t end = (uint64_t)(uint32_t)klamm_top + size;
	uint64_t have = (uint64_t)__builtin_wasm_memory_size(0) << 16;
	if (end > have && (end > 1ull << 32 || __builtin_wasm_memory_grow(0, (end - have + 0xffff) >> 16) == (size_t)-1))
		return 0;
	uint8_t *p = klamm_top;
	klamm_top += size;
	return p;
}

/* klamm_malloc returns n bytes, 8-aligned, or 0 when there is no memory left. */
KLAMM_COLD void *klamm_malloc(uint32_t n) {
	if (n > 1u << 30)
		return 0;
	uint32_t size = klamm_align8(n) + sizeof(klamm_chunk);
	for (klamm_chunk **at = &klamm_chunks; *at; at = &(*at)->next) {
		klamm_chunk *c = *at;
		if (c->size < size)
			continue;
		if (c->size - size >= 64) {
			klamm_chunk *rest = (klamm_chunk *)((uint8_t *)c + size);
			rest->size = c->size - size;
			rest->next = c->next;
			c->size = size;
			*at = rest;
		} else {
			*at = c->next;
		}
		return c + 1;
	}
	klamm_chunk *c = (klamm_chunk *)klamm_extend(size);
	if (!c)
		return 0;
	c->size = size;
	return c + 1;
}

KLAMM_COLD void klamm_free(void *p) {
	if (!p)
		return;
	klamm_chunk *c = (klamm_chunk *)p - 1, *before = 0, **at = &klamm_chunks;
	while (*at && *at < c) {
		before = *at;
		at = &before->next;
	}
	c->next = *at;
	*at = c;
	if (c->next && (uint8_t *)c + c->size == (uint8_t *)c->next) {
		c->size += c->next->size;
		c->next = c->next->next;
	}
	if (before && (uint8_t *)before + before->size == (uint8_t *)c) {
		before->size += c->size;
		before->next = c->next;
	}
}

/* klamm_buf is bytes that grow. It keeps its memory: set n to 0 to use it anew. */
typedef struct {
	uint8_t *p;
	uint32_t n, cap;
} klamm_buf;

/* klamm_room makes room for n more bytes and returns where they go. Without
   memory it traps. */
KLAMM_COLD uint8_t *klamm_room(klamm_buf *b, uint32_t n) {
	if (b->cap - b->n >= n)
		return b->p + b->n;
	uint64_t want = (uint64_t)b->n + n + b->cap;
	if (want < 64)
		want = 64;
	if (b->n == 0) { /* nothing to copy */
		klamm_free(b->p);
		b->p = 0;
		b->cap = 0;
	}
	uint8_t *p = want < 1u << 30 ? klamm_malloc((uint32_t)want) : 0;
	if (!p) {
		want = (uint64_t)b->n + n; /* without any to spare */
		p = want < 1u << 30 ? klamm_malloc((uint32_t)want) : 0;
	}
	if (!p)
		__builtin_trap();
	klamm_move(p, b->p, b->n);
	klamm_free(b->p);
	b->p = p;
	b->cap = (uint32_t)want;
	return p + b->n;
}

__attribute__((noinline)) static void klamm_add(klamm_buf *b, const void *p, uint32_t n) {
	uint8_t *to = klamm_room(b, n);
	const uint8_t *from = p;
	b->n += n;
	if (n > 64) {
		__builtin_memcpy(to, from, n);
		return;
	}
	for (; n >= 8; n -= 8, to += 8, from += 8)
		klamm_put64(to, klamm_u64(from));
	for (; n > 0; n--)
		*to++ = *from++;
}

static inline void klamm_add_byte(klamm_buf *b, uint8_t c) {
	*klamm_room(b, 1) = c;
	b->n++;
}

static inline void klamm_add_bytes(klamm_buf *b, klamm_bytes s) {
	if (s.n > 0)
		klamm_add(b, s.p, s.n);
}

KLAMM_COLD void klamm_add_str(klamm_buf *b, const char *s) { klamm_add_bytes(b, klamm_str(s)); }

/* klamm_add_u64 and klamm_add_i64 append a number in decimal. */
KLAMM_COLD void klamm_add_u64(klamm_buf *b, uint64_t v) {
	uint8_t text[20];
	uint32_t at = sizeof text;
	do
		text[--at] = '0' + v % 10;
	while (v /= 10);
	klamm_add(b, text + at, sizeof text - at);
}

KLAMM_COLD void klamm_add_i64(klamm_buf *b, int64_t v) {
	if (v < 0)
		klamm_add_byte(b, '-');
	klamm_add_u64(b, v < 0 ? -(uint64_t)v : (uint64_t)v);
}

/* klamm_add_hex appends two digits for each byte. */
KLAMM_COLD void klamm_add_hex(klamm_buf *b, const uint8_t *p, uint32_t n) {
	for (uint32_t i = 0; i < n; i++) {
		klamm_add_byte(b, "0123456789abcdef"[p[i] >> 4]);
		klamm_add_byte(b, "0123456789abcdef"[p[i] & 15]);
	}
}

static inline klamm_bytes klamm_of(const klamm_buf *b) {
	return (klamm_bytes){b->p ? b->p : (const uint8_t *)"", (int32_t)b->n};
}

/* klamm_cstr ends b with a zero byte, which does not count, and returns it. */
static inline const char *klamm_cstr(klamm_buf *b) {
	*klamm_room(b, 1) = 0;
	return (const char *)b->p;
}

/* klamm_keep copies bytes to memory that stays. */
KLAMM_COLD klamm_bytes klamm_keep(klamm_bytes s) {
	if (s.n < 0)
		return s;
	uint8_t *p = klamm_malloc(s.n + 1);
	if (!p)
		__builtin_trap();
	klamm_move(p, s.p, s.n);
	return (klamm_bytes){p, s.n};
}

/* ---- imports ---- */

#define KLAMM_IMPORT(name) __attribute__((import_module("klamm"), import_name(#name)))

KLAMM_IMPORT(log) void klamm_import_log(int32_t level, const void *p, uint32_t n);
KLAMM_IMPORT(metric_def) int32_t klamm_import_metric_def(int32_t kind, const void *p, uint32_t n);
KLAMM_IMPORT(reason_def) void klamm_import_reason_def(int32_t code, const void *p, uint32_t n);
KLAMM_IMPORT(metric_add) void klamm_import_metric_add(int32_t id, int64_t delta);
KLAMM_IMPORT(metric_observe) void klamm_import_metric_observe(int32_t id, double v);
KLAMM_IMPORT(claim) int32_t klamm_import_claim(uint32_t i, const void *k, uint32_t klen, int64_t ttl_ms);
KLAMM_IMPORT(claim_batch) int32_t klamm_import_claim_batch(void *mask, int64_t ttl_ms);
KLAMM_IMPORT(state_get) int32_t klamm_import_state_get(const void *k, uint32_t klen, void *v, uint32_t cap);
KLAMM_IMPORT(state_put) int32_t klamm_import_state_put(const void *k, uint32_t klen, const void *v, uint32_t vlen, int64_t ttl_ms);
KLAMM_IMPORT(now_ns) int64_t klamm_now_ns(void); /* prefer klamm_now_ms: it is the same for a call that is repeated */
KLAMM_IMPORT(random) void klamm_random(void *p, uint32_t n);
KLAMM_IMPORT(hmac) int32_t klamm_import_hmac(const void *name, uint32_t nlen, const void *p, uint32_t n, void *out);
KLAMM_IMPORT(value) int32_t klamm_import_value(uint32_t i, void *p, uint32_t cap);
KLAMM_IMPORT(headers) int32_t klamm_import_headers(uint32_t i, void *p, uint32_t cap);

/* Levels of klamm_log. Lines are cut at 1 KiB. Do not log payloads. */
enum { KLAMM_DEBUG, KLAMM_INFO, KLAMM_WARN, KLAMM_ERROR };

static inline void klamm_log(int32_t level, klamm_bytes line) { klamm_import_log(level, line.p, line.n > 0 ? line.n : 0); }

/* klamm_hmac writes the 32 bytes of HMAC-SHA-256 under a secret of the
   configuration to out, or reports that there is no such secret. */
static inline bool klamm_hmac(klamm_bytes secret, klamm_bytes data, uint8_t out[32]) {
	return klamm_import_hmac(secret.p, secret.n, data.p, data.n, out) >= 0;
}

/* ---- hooks, fields, reasons ---- */

enum { KLAMM_ON_SEND, KLAMM_ON_ACK, KLAMM_ON_CONSUME, KLAMM_ON_COMMIT, KLAMM_PARTITION, KLAMM_HOOKS };

/* What a hook asks to see. What it reads without having asked is slow or missing:
   values and headers are pulled, a key reads as null, a timestamp as 0. */
enum { KLAMM_KEY = 1, KLAMM_VALUE = 2, KLAMM_HEADERS = 4, KLAMM_TIMESTAMP = 8, KLAMM_TOPIC_FACTS = 16, KLAMM_LOAD = 32 };

/* Reasons that need no declaration. */
enum { KLAMM_OTHER, KLAMM_DUPLICATE, KLAMM_INVALID, KLAMM_FILTERED, KLAMM_MISSING, KLAMM_FIRST_REASON = 16 };

/* Error codes of klamm_init and of hooks. */
enum { KLAMM_ERR_PLUGIN = 1, KLAMM_ERR_BLOCK, KLAMM_ERR_HOOK, KLAMM_ERR_REFUSED, KLAMM_ERR_CONFIG };

enum { KLAMM_MAX_BATCH = 512, KLAMM_MAX_TEXT = 1024, KLAMM_MAX_DECLARED = 64 };

/* ---- the running block ---- */

typedef struct {
	uint8_t *base;
	uint32_t count;
	uint32_t hook;
	uint8_t *records;
	uint8_t *verdicts;
	uint32_t topics_off, topics;
	uint32_t mod_off, mod_cap, mod_used;
	uint32_t full; /* first record whose verdict found no room; count when none */
	bool refused;
	bool dirty; /* the running record has counts, observations or puts */
	uint64_t fresh[KLAMM_MAX_BATCH / 64];
} klamm_batch;

/* klamm_record is a record of the running block. */
typedef struct {
	klamm_batch *b;
	uint8_t *at;
	uint8_t *verdict;
	uint32_t i;
} klamm_record;

static klamm_batch klamm_running;
static void (*klamm_settle_metrics)(bool counts);
static void (*klamm_settle_puts)(bool counts);
static void (*klamm_flush_counters)(bool counts);

/* klamm_settle ends what belongs to the record before i: it counts if the
   record's verdict does. */
static void klamm_settle(klamm_batch *b, bool counts) {
	b->dirty = false;
	if (klamm_settle_metrics)
		klamm_settle_metrics(counts);
	if (klamm_settle_puts)
		klamm_settle_puts(counts);
}

/* KLAMM_EACH runs over the records of a block, acknowledgement or commit in r.
   It ends early when the modification area is full: the host calls again. */
#define KLAMM_EACH(b, r) for (klamm_record r = klamm_first(b); klamm_more(&r); klamm_next(&r))

static inline klamm_record klamm_first(klamm_batch *b) { return (klamm_record){b, b->records, b->verdicts, 0}; }

static inline bool klamm_more(const klamm_record *r) { return r->i < r->b->full; }

static inline void klamm_next(klamm_record *r) {
	if (r->b->dirty)
		klamm_settle(r->b, r->i < r->b->full);
	r->at += klamm_u32(r->at);
	r->verdict += 8;
	r->i++;
}

/* klamm_now_ms is the clock that claims use, the same for the whole call. */
static inline int64_t klamm_now_ms(const klamm_batch *b) { return (int64_t)klamm_u64(b->base + 40); }

/* ---- reading a record ---- */

static inline uint32_t klamm_flags(const klamm_record *r) { return klamm_u32(r->at + 4); }
static inline int64_t klamm_timestamp_ms(const klamm_record *r) { return (int64_t)klamm_u64(r->at + 8); }
static inline int64_t klamm_offset(const klamm_record *r) { return (int64_t)klamm_u64(r->at + 16); }
static inline int32_t klamm_partition_of(const klamm_record *r) { return (int32_t)klamm_u32(r->at + 24); }
static inline bool klamm_transactional(const klamm_record *r) { return klamm_flags(r) & 8; }
/* klamm_ref is the record's identity, the same in all calls and the acknowledgement. */
static inline uint64_t klamm_ref(const klamm_record *r) { return klamm_u64(r->at + 56); }

static inline klamm_bytes klamm_key(const klamm_record *r) {
	return (klamm_bytes){r->at + klamm_u32(r->at + 32), (int32_t)klamm_u32(r->at + 36)};
}

/* klamm_value_len is -1 for null, and the true length of an omitted value. */
static inline int32_t klamm_value_len(const klamm_record *r) { return (int32_t)klamm_u32(r->at + 44); }

static klamm_buf klamm_pulled_value, klamm_pulled_headers;
static uint32_t klamm_pulled_value_of = -1u, klamm_pulled_headers_of = -1u;

KLAMM_COLD klamm_bytes klamm_pull_value(const klamm_record *r) {
	int32_t n = klamm_value_len(r);
	if (n < 0)
		return KLAMM_NULL;
	klamm_buf *b = &klamm_pulled_value;
	if (klamm_pulled_value_of != r->i) {
		klamm_pulled_value_of = -1u;
		b->n = 0;
		klamm_room(b, n);
		if (klamm_import_value(r->i, b->p, n) != n)
			__builtin_trap(); /* the host does not hand out what it left out */
		b->n = n;
		klamm_pulled_value_of = r->i;
	}
	return klamm_of(b);
}

/* klamm_value returns the value. One that was left out of the block is fetched
   from the host, valid until that of another record is. */
static inline klamm_bytes klamm_value(const klamm_record *r) {
	if (klamm_flags(r) & 1)
		return klamm_pull_value(r);
	return (klamm_bytes){r->at + klamm_u32(r->at + 40), klamm_value_len(r)};
}

/* klamm_headers is the headers of a record. */
typedef struct {
	const uint8_t *base, *table;
	uint32_t n;
} klamm_headers;

KLAMM_COLD klamm_headers klamm_pull_headers(const klamm_record *r, uint32_t n) {
	klamm_buf *b = &klamm_pulled_headers;
	if (klamm_pulled_headers_of != r->i) {
		klamm_pulled_headers_of = -1u;
		b->n = 0;
		klamm_room(b, 4096);
		int32_t size;
		while ((size = klamm_import_headers(r->i, b->p, b->cap)) > (int32_t)b->cap)
			klamm_room(b, size);
		if (size < (int32_t)(n * 16))
			__builtin_trap();
		klamm_pulled_headers_of = r->i;
	}
	return (klamm_headers){b->p, b->p, n};
}

static inline klamm_headers klamm_headers_of(const klamm_record *r) {
	uint32_t n = klamm_u16(r->at + 52);
	if (n > 0 && klamm_flags(r) & 2)
		return klamm_pull_headers(r, n);
	return (klamm_headers){r->at, r->at + klamm_u32(r->at + 48), n};
}

static inline klamm_bytes klamm_header_key(const klamm_headers *h, uint32_t i) {
	const uint8_t *e = h->table + 16 * i;
	return (klamm_bytes){h->base + klamm_u32(e), (int32_t)klamm_u32(e + 4)};
}

static inline klamm_bytes klamm_header_value(const klamm_headers *h, uint32_t i) {
	const uint8_t *e = h->table + 16 * i;
	return (klamm_bytes){h->base + klamm_u32(e + 8), (int32_t)klamm_u32(e + 12)};
}

/* klamm_header finds the last header of that key, as Kafka's lastHeader does.
   Its value may be null. */
static inline bool klamm_header(const klamm_record *r, klamm_bytes key, klamm_bytes *value) {
	klamm_headers h = klamm_headers_of(r);
	for (uint32_t i = h.n; i-- > 0;) {
		if (klamm_same(klamm_header_key(&h, i), key)) {
			*value = klamm_header_value(&h, i);
			return true;
		}
	}
	return false;
}

/* ---- topics ---- */

/* klamm_topic is the facts of a record's topic: the name always, the others if
   asked for. */
typedef struct {
	const uint8_t *base, *entry;
} klamm_topic;

static inline klamm_topic klamm_topic_of(const klamm_record *r) {
	uint32_t i = klamm_u32(r->at + 28);
	if (i >= r->b->topics)
		__builtin_trap();
	return (klamm_topic){r->b->base, r->b->base + r->b->topics_off + 24 * i};
}

static inline klamm_bytes klamm_topic_name(klamm_topic t) {
	return (klamm_bytes){t.base + klamm_u32(t.entry), (int32_t)klamm_u32(t.entry + 4)};
}

/* klamm_partitions is at least 1 in a partitioner, 0 when unknown or not asked for. */
static inline uint32_t klamm_partitions(klamm_topic t) { return klamm_u32(t.entry + 8); }
static inline uint32_t klamm_epoch(klamm_topic t) { return klamm_u32(t.entry + 20); }

/* klamm_available reports whether partition p has a leader. All have when the
   host does not know. */
static inline bool klamm_available(klamm_topic t, uint32_t p) {
	uint32_t bits = klamm_u32(t.entry + 12);
	if (bits == 0 || p >= klamm_partitions(t))
		return p < klamm_partitions(t);
	return t.base[bits + p / 8] >> (p % 8) & 1;
}

/* klamm_load is the bytes that wait to be sent to partition p. */
static inline uint32_t klamm_load(klamm_topic t, uint32_t p) {
	uint32_t loads = klamm_u32(t.entry + 16);
	return loads == 0 || p >= klamm_partitions(t) ? 0 : klamm_u32(t.base + loads + 4 * p);
}

/* ---- acknowledgements ---- */

static inline const uint8_t *klamm_ack(const klamm_record *r) { return r->at + klamm_u32(r->at) - 32; }

/* klamm_ack_error is 0 for delivered, Kafka's error code, or one of Klamm's
   below 0. */
static inline int32_t klamm_ack_error(const klamm_record *r) { return (int32_t)klamm_u32(klamm_ack(r)); }
enum { KLAMM_ACK_DROPPED = 1, KLAMM_ACK_RETRIED = 2, KLAMM_ACK_ABORTED = 4, KLAMM_ACK_EARLIER = 8 };
static inline uint32_t klamm_ack_flags(const klamm_record *r) { return klamm_u32(klamm_ack(r) + 4); }
static inline uint32_t klamm_ack_latency_us(const klamm_record *r) { return klamm_u32(klamm_ack(r) + 8); }
static inline uint32_t klamm_ack_reason(const klamm_record *r) { return klamm_u32(klamm_ack(r) + 12); }
static inline uint32_t klamm_ack_plugin(const klamm_record *r) { return klamm_u16(klamm_ack(r) + 16); }

/* ---- verdicts ---- */

enum { KLAMM_V_PASS, KLAMM_V_DROP, KLAMM_V_ROUTE, KLAMM_V_IN_PLACE, KLAMM_V_EDIT, KLAMM_V_DEAD_LETTER, KLAMM_V_FAIL };
enum { KLAMM_OP_ADD_HEADER = 1, KLAMM_OP_REMOVE_HEADERS, KLAMM_OP_KEY, KLAMM_OP_VALUE, KLAMM_OP_TOPIC, KLAMM_OP_TIMESTAMP, KLAMM_OP_PARTITION, KLAMM_OP_REMOVE_HEADER };

static inline uint8_t klamm_code(const klamm_record *r) { return *r->verdict; }

static inline void klamm_write(const klamm_record *r, uint8_t code, uint16_t reason, uint32_t arg) {
	klamm_put64(r->verdict, code | (uint64_t)reason << 16 | (uint64_t)arg << 32);
}

/* klamm_counts: a verdict counts unless the area was full before. */
static inline bool klamm_counts(const klamm_record *r) { return r->i < r->b->full; }

/* klamm_open reports whether r can still be edited. */
static inline bool klamm_open(const klamm_record *r) {
	uint8_t c = klamm_code(r);
	return klamm_counts(r) && c != KLAMM_V_DROP && c != KLAMM_V_FAIL && c != KLAMM_V_DEAD_LETTER;
}

/* klamm_take takes n bytes, rounded up to 8, from the modification area, and
   returns their offset, 0 when it is full. */
static inline uint32_t klamm_take(klamm_batch *b, uint64_t n) {
	n = (n + 7) & ~7ull;
	if (b->mod_used + n > b->mod_cap)
		return 0;
	uint32_t off = b->mod_off + b->mod_used;
	b->mod_used += n;
	return off;
}

KLAMM_COLD void klamm_end_text(const klamm_record *r, uint8_t code, uint16_t reason, klamm_bytes text) {
	klamm_batch *b = r->b;
	int32_t n = text.n;
	if (n > KLAMM_MAX_TEXT) {
		n = KLAMM_MAX_TEXT;
		while (n > 0 && (text.p[n] & 0xc0) == 0x80)
			n--;
	}
	uint32_t off = klamm_take(b, 4 + (uint64_t)n);
	if (!off) {
		b->full = r->i;
		return;
	}
	klamm_put32(b->base + off, n);
	klamm_move(b->base + off + 4, text.p, n);
	klamm_write(r, code, reason, off);
}

static inline void klamm_end(const klamm_record *r, uint8_t code, uint16_t reason, klamm_bytes text) {
	if (!klamm_counts(r))
		return;
	if (text.n > 0)
		klamm_end_text(r, code, reason, text);
	else
		klamm_write(r, code, reason, 0);
}

/* klamm_pass takes back what was said about the record. */
static inline void klamm_pass(const klamm_record *r) {
	if (klamm_counts(r))
		klamm_write(r, KLAMM_V_PASS, 0, 0);
}

/* klamm_drop, klamm_fail and klamm_dead_letter end a record: what was edited
   before is forgotten, edits after them are ignored, and the last of them counts.
   The text, for people, is cut at 1 KiB; it may be null. */
static inline void klamm_drop(const klamm_record *r, uint16_t reason, klamm_bytes text) { klamm_end(r, KLAMM_V_DROP, reason, text); }
static inline void klamm_fail(const klamm_record *r, uint16_t reason, klamm_bytes text) { klamm_end(r, KLAMM_V_FAIL, reason, text); }
static inline void klamm_dead_letter(const klamm_record *r, uint16_t reason, klamm_bytes text) { klamm_end(r, KLAMM_V_DEAD_LETTER, reason, text); }

__attribute__((noinline)) static bool klamm_append(klamm_batch *b, uint32_t list, uint16_t op, klamm_bytes key, klamm_bytes value) {
	uint32_t klen = key.n > 0 ? key.n : 0, vlen = value.n > 0 ? value.n : 0;
	uint64_t total = 16 + (((uint64_t)klen + vlen + 7) & ~7ull);
	uint32_t off = klamm_take(b, total);
	if (!off)
		return false;
	uint8_t *e = b->base + off;
	klamm_put64(e + total - 8, 0); /* the padding; of an empty entry its total, written below */
	klamm_put32(e, op);
	klamm_put32(e + 4, key.n);
	klamm_put32(e + 8, value.n);
	klamm_put32(e + 12, (uint32_t)total);
	klamm_move(e + 16, key.p, klen);
	klamm_move(e + 16 + klen, value.p, vlen);
	uint8_t *head = b->base + list;
	klamm_put32(head, klamm_u32(head) + 1);
	klamm_put32(head + 4, klamm_u32(head + 4) + (uint32_t)total);
	return true;
}

static uint32_t klamm_new_list(klamm_batch *b) {
	uint32_t list = klamm_take(b, 8);
	if (list)
		klamm_put64(b->base + list, 0);
	return list;
}

/* klamm_list returns the offset of the record's edit list, 0 when the area is
   full. What was routed or written in place before becomes its first entry; a list
   that is not the last thing in the area moves there. */
__attribute__((noinline)) static uint32_t klamm_list(const klamm_record *r) {
	klamm_batch *b = r->b;
	uint32_t arg = klamm_u32(r->verdict + 4), list;
	switch (klamm_code(r)) {
	case KLAMM_V_EDIT: {
		uint32_t size = 8 + klamm_u32(b->base + arg + 4);
		if (arg + size == b->mod_off + b->mod_used)
			return arg;
		if ((list = klamm_take(b, size)))
			klamm_move(b->base + list, b->base + arg, size);
		return list;
	}
	case KLAMM_V_ROUTE:
		list = klamm_new_list(b);
		return list && klamm_append(b, list, KLAMM_OP_PARTITION, KLAMM_NULL, (klamm_bytes){(uint8_t *)&arg, 4}) ? list : 0;
	case KLAMM_V_IN_PLACE:
		list = klamm_new_list(b);
		return list && klamm_append(b, list, KLAMM_OP_VALUE, KLAMM_NULL, klamm_value(r)) ? list : 0;
	}
	return klamm_new_list(b);
}

__attribute__((noinline)) static void klamm_edit(const klamm_record *r, uint16_t op, klamm_bytes key, klamm_bytes value) {
	if (!klamm_open(r))
		return;
	uint32_t list = klamm_list(r);
	if (list && klamm_append(r->b, list, op, key, value))
		klamm_write(r, KLAMM_V_EDIT, 0, list);
	else
		r->b->full = r->i;
}

/* klamm_route sends the record to a partition, in on_send and partitioners; -1
   takes an explicit one away. */
static inline void klamm_route(const klamm_record *r, int32_t partition) {
	uint8_t c = klamm_code(r);
	if (c == KLAMM_V_PASS || c == KLAMM_V_ROUTE) {
		if (klamm_counts(r))
			klamm_write(r, KLAMM_V_ROUTE, 0, (uint32_t)partition);
		return;
	}
	klamm_edit(r, KLAMM_OP_PARTITION, KLAMM_NULL, (klamm_bytes){(uint8_t *)&partition, 4});
}

/* klamm_set_value replaces the value; one of the same length is written in
   place, which is the cheap way, so that klamm_value returns it from then on. */
static inline void klamm_set_value(const klamm_record *r, klamm_bytes v) {
	uint8_t c = klamm_code(r);
	if ((c == KLAMM_V_PASS || c == KLAMM_V_IN_PLACE) && v.n >= 0 && v.n == klamm_value_len(r) && !(klamm_flags(r) & 1)) {
		if (!klamm_counts(r))
			return;
		klamm_move(r->at + klamm_u32(r->at + 40), v.p, v.n);
		klamm_write(r, KLAMM_V_IN_PLACE, 0, 0);
		return;
	}
	klamm_edit(r, KLAMM_OP_VALUE, KLAMM_NULL, v);
}

static inline void klamm_set_key(const klamm_record *r, klamm_bytes v) { klamm_edit(r, KLAMM_OP_KEY, KLAMM_NULL, v); }
/* klamm_set_topic: the configuration must allow the topic. */
static inline void klamm_set_topic(const klamm_record *r, klamm_bytes name) { klamm_edit(r, KLAMM_OP_TOPIC, KLAMM_NULL, name); }

static inline void klamm_set_timestamp_ms(const klamm_record *r, int64_t ms) {
	klamm_edit(r, KLAMM_OP_TIMESTAMP, KLAMM_NULL, (klamm_bytes){(uint8_t *)&ms, 8});
}

/* klamm_add_header adds a header after those that are there. */
static inline void klamm_add_header(const klamm_record *r, klamm_bytes key, klamm_bytes value) { klamm_edit(r, KLAMM_OP_ADD_HEADER, key, value); }
/* klamm_remove_headers removes all of that key. */
static inline void klamm_remove_headers(const klamm_record *r, klamm_bytes key) { klamm_edit(r, KLAMM_OP_REMOVE_HEADERS, key, KLAMM_NULL); }

/* klamm_remove_header removes the i-th, as the edits before have left them. */
static inline void klamm_remove_header(const klamm_record *r, uint32_t i) {
	klamm_edit(r, KLAMM_OP_REMOVE_HEADER, KLAMM_NULL, (klamm_bytes){(uint8_t *)&i, 4});
}

/* ---- state ---- */

/* Answers of klamm_claim. A record whose id is not new can be dropped for either:
   if the one on its way fails, its duplicates fail with it. */
enum { KLAMM_CLAIM_CONFIRMED, KLAMM_CLAIM_NEW, KLAMM_CLAIM_PENDING };

/* klamm_claim claims id for the record; the record's outcome confirms or releases
   it. A ttl of 0 or less keeps it until the state is full. When the host refuses,
   the answer is new and the call ends with an error. */
static inline int32_t klamm_claim(const klamm_record *r, klamm_bytes id, int64_t ttl_ms) {
	int32_t a = klamm_import_claim(r->i, id.p, id.n, ttl_ms);
	if (a >= 0)
		return a;
	r->b->refused = true;
	return KLAMM_CLAIM_NEW;
}

/* klamm_claim_keys claims the key of every record in one call of the host; ask
   klamm_fresh for the answers. The hook must ask for KLAMM_KEY. */
static inline void klamm_claim_keys(klamm_batch *b, int64_t ttl_ms) {
	for (uint32_t i = 0; i < KLAMM_MAX_BATCH / 64; i++)
		b->fresh[i] = 0;
	if (klamm_import_claim_batch(b->fresh, ttl_ms) < 0)
		b->refused = true;
}

/* klamm_fresh reports whether klamm_claim_keys found the record's key new. A
   record without a key is not. */
static inline bool klamm_fresh(const klamm_record *r) { return r->b->fresh[r->i / 64] >> (r->i % 64) & 1; }

static klamm_buf klamm_puts; /* {u32 klen, u32 vlen, i64 ttl} and the bytes, 8-aligned */
static klamm_buf klamm_got;

KLAMM_COLD void klamm_put_settled(bool counts) {
	for (uint32_t at = 0; at < klamm_puts.n;) {
		const uint8_t *e = klamm_puts.p + at;
		uint32_t klen = klamm_u32(e), vlen = klamm_u32(e + 4);
		if (counts && klamm_import_state_put(e + 16, klen, e + 16 + klen, vlen, (int64_t)klamm_u64(e + 8)) < 0)
			klamm_running.refused = true;
		at += 16 + klamm_align8(klen + vlen);
	}
	klamm_puts.n = 0;
}

/* klamm_state_put remembers value under key once the running record's verdict
   counts; klamm_state_get sees it at once. */
KLAMM_COLD void klamm_state_put(klamm_bytes key, klamm_bytes value, int64_t ttl_ms) {
	uint32_t size = 16 + klamm_align8(key.n + value.n);
	uint8_t *e = klamm_room(&klamm_puts, size);
	klamm_settle_puts = klamm_put_settled;
	klamm_running.dirty = true;
	klamm_put32(e, key.n);
	klamm_put32(e + 4, value.n);
	klamm_put64(e + 8, (uint64_t)ttl_ms);
	klamm_move(e + 16, key.p, key.n);
	klamm_move(e + 16 + key.n, value.p, value.n);
	klamm_puts.n += size;
}

/* klamm_state_get returns what was put under key, valid until the next get or
   put, null when there is nothing. */
KLAMM_COLD klamm_bytes klamm_state_get(klamm_bytes key) {
	klamm_bytes found = KLAMM_NULL;
	for (uint32_t at = 0; at < klamm_puts.n;) {
		const uint8_t *e = klamm_puts.p + at;
		uint32_t klen = klamm_u32(e), vlen = klamm_u32(e + 4);
		if (klamm_same((klamm_bytes){e + 16, (int32_t)klen}, key))
			found = (klamm_bytes){e + 16 + klen, (int32_t)vlen};
		at += 16 + klamm_align8(klen + vlen);
	}
	if (found.n >= 0)
		return found;
	klamm_got.n = 0;
	for (klamm_room(&klamm_got, 256);; klamm_room(&klamm_got, 2 * klamm_got.cap)) {
		int32_t n = klamm_import_state_get(key.p, key.n, klamm_got.p, klamm_got.cap);
		if (n != -2)
			return (klamm_bytes){klamm_got.p, n < 0 ? -1 : n};
	}
}

/* ---- metrics and reasons ---- */

static struct {
	int32_t id;
	int64_t pending, sum;
} klamm_metrics[KLAMM_MAX_DECLARED];
static int klamm_metrics_count;
static klamm_buf klamm_observed; /* {u64 metric, f64} */

KLAMM_COLD void klamm_metrics_settled(bool counts) {
	for (int i = 0; i < klamm_metrics_count; i++) {
		if (counts)
			klamm_metrics[i].sum += klamm_metrics[i].pending;
		klamm_metrics[i].pending = 0;
	}
	for (uint32_t at = 0; counts && at < klamm_observed.n; at += 16) {
		double v;
		__builtin_memcpy(&v, klamm_observed.p + at + 8, 8);
		klamm_import_metric_observe(klamm_metrics[klamm_u32(klamm_observed.p + at)].id, v);
	}
	klamm_observed.n = 0;
}

static void klamm_counters_settled(bool counts) {
	for (int i = 0; i < klamm_metrics_count; i++) {
		if (counts)
			klamm_metrics[i].sum += klamm_metrics[i].pending;
		klamm_metrics[i].pending = 0;
	}
}

static void klamm_counters_flushed(bool counts) {
	for (int i = 0; i < klamm_metrics_count; i++) {
		if (counts && klamm_metrics[i].sum)
			klamm_import_metric_add(klamm_metrics[i].id, klamm_metrics[i].sum);
		klamm_metrics[i].sum = 0;
	}
}

KLAMM_COLD int klamm_metric(int32_t kind, const char *name) {
	klamm_bytes s = klamm_str(name);
	if (klamm_metrics_count == KLAMM_MAX_DECLARED)
		__builtin_trap();
	klamm_metrics[klamm_metrics_count].id = klamm_import_metric_def(kind, s.p, s.n);
	return klamm_metrics_count++;
}

/* klamm_counter and klamm_histogram declare a metric, in the start function
   only, at most 64. */
static inline int klamm_counter(const char *name) {
	if (!klamm_settle_metrics)
		klamm_settle_metrics = klamm_counters_settled;
	klamm_flush_counters = klamm_counters_flushed;
	return klamm_metric(0, name);
}

static inline int klamm_histogram(const char *name) {
	klamm_settle_metrics = klamm_metrics_settled;
	return klamm_metric(1, name);
}

/* klamm_count adds to a counter, klamm_observe to a histogram, once the running
   record's verdict counts. */
static inline void klamm_count(int counter, int64_t delta) {
	klamm_metrics[counter].pending += delta;
	klamm_running.dirty = true;
}

static inline void klamm_observe(int histogram, double v) {
	uint8_t *e = klamm_room(&klamm_observed, 16);
	klamm_put64(e, histogram);
	__builtin_memcpy(e + 8, &v, 8);
	klamm_observed.n += 16;
	klamm_running.dirty = true;
}

/* klamm_reason declares a reason, in the start function only, at most 64, and
   returns its code. */
KLAMM_COLD uint16_t klamm_reason(const char *name) {
	static uint16_t next = KLAMM_FIRST_REASON;
	klamm_bytes s = klamm_str(name);
	klamm_import_reason_def(next, s.p, s.n);
	return next++;
}

/* ---- start and calls ---- */

/* klamm_start is where an instance finds itself. Its bytes are the init block's:
   use klamm_keep for what shall stay. */
typedef struct {
	uint32_t minor, lane, lanes;
	klamm_bytes config; /* the plugin's table as JSON */
	klamm_bytes plugin, chain, client_id;
	klamm_bytes topics; /* for each a u32 length and the bytes: see klamm_next_topic */
	uint16_t hooks;
	uint8_t fields[KLAMM_HOOKS];
	uint16_t code; /* with an error: KLAMM_ERR_PLUGIN unless set */
} klamm_start;

/* klamm_want asks to be called for a hook, which the module must export. */
static inline void klamm_want(klamm_start *s, uint32_t hook, uint8_t fields) {
	s->hooks |= 1 << hook;
	s->fields[hook] = fields;
}

/* klamm_next_topic takes the next name off the list; false when it is empty. */
static inline bool klamm_next_topic(klamm_bytes *topics, klamm_bytes *name) {
	if (topics->n < 4)
		return false;
	*name = (klamm_bytes){topics->p + 4, (int32_t)klamm_u32(topics->p)};
	topics->p += 4 + name->n;
	topics->n -= 4 + name->n;
	return true;
}

static inline void klamm_log_error(const char *text) {
	if (*text)
		klamm_log(KLAMM_ERROR, klamm_str(text));
}

KLAMM_COLD klamm_bytes klamm_pair(const uint8_t *p, uint32_t at) {
	return (klamm_bytes){p + klamm_u32(p + at), (int32_t)klamm_u32(p + at + 4)};
}

static inline uint64_t klamm_initialise(const uint8_t *p, uint32_t n, const char *(*start)(klamm_start *)) {
	if (n < 56) {
		klamm_log_error("the host's init block is malformed");
		return (uint64_t)KLAMM_ERR_BLOCK << 48;
	}
	klamm_start s = {
		.minor = klamm_u32(p), .lane = klamm_u32(p + 8), .lanes = klamm_u32(p + 12), .config = klamm_pair(p, 16),
		.plugin = klamm_pair(p, 24), .chain = klamm_pair(p, 32), .client_id = klamm_pair(p, 40), .topics = klamm_pair(p, 48),
		.code = KLAMM_ERR_PLUGIN,
	};
	const char *error = start(&s);
	if (error) {
		klamm_log_error(error);
		return (uint64_t)s.code << 48;
	}
	uint64_t answer = (uint64_t)s.hooks << 32;
	for (int h = 0; h < KLAMM_HOOKS; h++)
		answer |= (uint64_t)(s.fields[h] & 63) << (6 * h);
	return answer;
}

static inline bool klamm_read(klamm_batch *b, uint32_t hook, uint8_t *p, uint32_t n) {
	uint32_t magic = hook == KLAMM_ON_ACK || hook == KLAMM_ON_COMMIT ? 0x31414c4b : 0x31424c4b;
	if (n < 64 || klamm_u32(p) != magic || klamm_u32(p + 8) > KLAMM_MAX_BATCH || klamm_u16(p + 6) < 64)
		return false;
	b->base = p;
	b->hook = hook;
	b->count = b->full = klamm_u32(p + 8);
	b->records = p + klamm_u32(p + 16);
	b->verdicts = p + klamm_u32(p + 20);
	b->mod_off = klamm_u32(p + 24);
	b->mod_cap = klamm_u32(p + 28);
	b->topics_off = klamm_u32(p + 32);
	b->topics = klamm_u32(p + 36);
	b->mod_used = 0;
	b->refused = b->dirty = false;
	klamm_pulled_value_of = klamm_pulled_headers_of = -1u;
	return true;
}

KLAMM_COLD uint64_t klamm_failed(klamm_batch *b, const char *error, uint64_t code) {
	klamm_settle(b, false);
	if (klamm_flush_counters)
		klamm_flush_counters(false);
	klamm_log_error(error);
	return code << 32;
}

static inline uint64_t klamm_call(uint32_t hook, uint8_t *p, uint32_t n, const char *(*judge)(klamm_batch *)) {
	klamm_batch *b = &klamm_running;
	if (!klamm_read(b, hook, p, n))
		return klamm_failed(b, "the host's block is malformed", KLAMM_ERR_BLOCK);
	const char *error = judge(b);
	if (error)
		return klamm_failed(b, error, KLAMM_ERR_PLUGIN);
	if (b->dirty) /* the hook has left its loop on its own */
		klamm_settle(b, b->full == b->count);
	if (b->refused)
		return klamm_failed(b, "the host refused a claim or a put: set state = \"NAME\" in this plugin's table, or the state is full", KLAMM_ERR_REFUSED);
	if (klamm_flush_counters)
		klamm_flush_counters(true);
	if (b->full == b->count)
		return b->mod_used;
	klamm_put32(p + 60, b->full);
	return b->mod_used | 1ull << 48;
}

static uint8_t *klamm_exchange;

#define KLAMM_EXPORT(name) __attribute__((export_name(#name)))

/* KLAMM_PLUGIN exports what every plugin needs. start runs once for an instance:
   it declares metrics and reasons and says which hooks it wants. An error that it
   returns, zero-terminated, keeps the plugin from being loaded. */
#define KLAMM_PLUGIN(start)                                                    \
	KLAMM_EXPORT(klamm_abi_1) void klamm_export_marker(void) {}                \
	KLAMM_EXPORT(klamm_alloc) uint8_t *klamm_export_alloc(uint32_t size) {     \
		klamm_free(klamm_exchange);                                            \
		return klamm_exchange = klamm_malloc(size);                            \
	}                                                                          \
	KLAMM_EXPORT(klamm_init) uint64_t klamm_export_init(uint8_t *p, uint32_t n) { return klamm_initialise(p, n, start); }

/* Hooks return 0, or an error, zero-terminated, which voids the whole call. */
#define KLAMM_EXPORT_ON_SEND(judge) \
	KLAMM_EXPORT(klamm_on_send) uint64_t klamm_export_on_send(uint8_t *p, uint32_t n) { return klamm_call(KLAMM_ON_SEND, p, n, judge); }
#define KLAMM_EXPORT_ON_ACK(judge) \
	KLAMM_EXPORT(klamm_on_ack) uint64_t klamm_export_on_ack(uint8_t *p, uint32_t n) { return klamm_call(KLAMM_ON_ACK, p, n, judge); }
#define KLAMM_EXPORT_ON_CONSUME(judge) \
	KLAMM_EXPORT(klamm_on_consume) uint64_t klamm_export_on_consume(uint8_t *p, uint32_t n) { return klamm_call(KLAMM_ON_CONSUME, p, n, judge); }
#define KLAMM_EXPORT_ON_COMMIT(judge) \
	KLAMM_EXPORT(klamm_on_commit) uint64_t klamm_export_on_commit(uint8_t *p, uint32_t n) { return klamm_call(KLAMM_ON_COMMIT, p, n, judge); }
#define KLAMM_EXPORT_PARTITION(judge) \
	KLAMM_EXPORT(klamm_partition) uint64_t klamm_export_partition(uint8_t *p, uint32_t n) { return klamm_call(KLAMM_PARTITION, p, n, judge); }
/* KLAMM_EXPORT_CLOSE: void close(void) runs before unloading, not after a fault. */
#define KLAMM_EXPORT_CLOSE(close) \
	KLAMM_EXPORT(klamm_close) void klamm_export_close(void) { close(); }

/* ---- hashes ---- */

/* klamm_murmur2 is Kafka's, with the sign bit cleared: modulo the number of
   partitions it is the default partitioner's choice. */
static inline uint32_t klamm_murmur2(klamm_bytes key) {
	const uint32_t m = 0x5bd1e995;
	uint32_t n = key.n > 0 ? key.n : 0, h = 0x9747b28c ^ n;
	const uint8_t *p = key.p;
	for (; n >= 4; n -= 4, p += 4) {
		uint32_t k = klamm_u32(p) * m;
		k ^= k >> 24;
		h = h * m ^ k * m;
	}
	if (n == 3)
		h ^= (uint32_t)p[2] << 16;
	if (n >= 2)
		h ^= (uint32_t)p[1] << 8;
	if (n >= 1)
		h = (h ^ p[0]) * m;
	h = (h ^ h >> 13) * m;
	return (h ^ h >> 15) & 0x7fffffff;
}

#endif
