/* What internal/ops does, in C, for guests without a C library. */
#ifndef BENCH_OPS_H
#define BENCH_OPS_H

#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(name)))
#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))

enum { PASSED = 0, DROPPED = 1, ROUTED = 2, REPLACED = 4 };
enum { PARTITIONS = 12 };

static uint32_t u32(const uint8_t *p) {
	uint32_t v;
	__builtin_memcpy(&v, p, 4);
	return v;
}

static void put32(uint8_t *p, uint32_t v) { __builtin_memcpy(p, &v, 4); }

static uint32_t partition_of(const uint8_t *key, uint32_t n) {
	const uint32_t m = 0x5bd1e995;
	uint32_t h = 0x9747b28c ^ n;
	for (; n >= 4; key += 4, n -= 4) {
		uint32_t k = u32(key) * m;
		k ^= k >> 24;
		h = h * m ^ k * m;
	}
	switch (n) {
	case 3:
		h ^= (uint32_t)key[2] << 16; /* fall through */
	case 2:
		h ^= (uint32_t)key[1] << 8; /* fall through */
	case 1:
		h = (h ^ key[0]) * m;
	}
	h = (h ^ h >> 13) * m;
	h ^= h >> 15;
	return (h & 0x7fffffff) % PARTITIONS;
}

/* A rewritten value is longer than the value by this. */
enum { REWRITE_GROWS = 12 };

/* Writes the rewritten value and returns its length. */
static uint32_t rewrite_value(uint8_t *out, const uint8_t *doc, uint32_t n) {
	__builtin_memcpy(out, "{\"seen\":true,", 13);
	__builtin_memcpy(out + 13, doc + 1, n - 1);
	return n + REWRITE_GROWS;
}

static uint32_t string_end(const uint8_t *doc, uint32_t n, uint32_t i) {
	for (; i < n && doc[i] != '"'; i++)
		if (doc[i] == '\\')
			i++;
	return i;
}

static uint32_t skip_space(const uint8_t *doc, uint32_t n, uint32_t i) {
	while (i < n && doc[i] <= ' ')
		i++;
	return i;
}

static uint32_t value_end(const uint8_t *doc, uint32_t n, uint32_t i) {
	for (uint32_t depth = 0; i < n; i++) {
		switch (doc[i]) {
		case '"':
			i = string_end(doc, n, i + 1);
			break;
		case '{':
		case '[':
			depth++;
			break;
		case '}':
		case ']':
			if (depth == 0)
				return i;
			depth--;
			break;
		case ',':
			if (depth == 0)
				return i;
		}
	}
	return i < n ? i : n;
}

static int is_secret(const uint8_t *name) {
	return name[0] == 'e' && name[1] == 'm' && name[2] == 'a' && name[3] == 'i' && name[4] == 'l';
}

/* Finds the value of the top-level member "email". */
static int find_secret(const uint8_t *doc, uint32_t n, uint32_t *start, uint32_t *end) {
	int32_t depth = 0;
	for (uint32_t i = 0; i < n; i++) {
		switch (doc[i]) {
		case '{':
		case '[':
			depth++;
			break;
		case '}':
		case ']':
			depth--;
			break;
		case '"': {
			uint32_t from = i + 1;
			i = string_end(doc, n, from);
			if (depth != 1 || i - from != 5 || !is_secret(doc + from))
				break;
			uint32_t v = skip_space(doc, n, i + 1);
			if (v >= n || doc[v] != ':')
				break;
			*start = skip_space(doc, n, v + 1);
			*end = value_end(doc, n, *start);
			return 1;
		}
		}
	}
	return 0;
}

/* A masked value is longer than the value by at most this. */
enum { MASK_GROWS = 5 };

/* Writes the masked value and returns its length, or 0 when nothing is secret. */
static uint32_t mask_value(uint8_t *out, const uint8_t *doc, uint32_t n) {
	uint32_t start, end;
	if (!find_secret(doc, n, &start, &end))
		return 0;
	__builtin_memcpy(out, doc, start);
	__builtin_memcpy(out + start, "\"***\"", 5);
	__builtin_memcpy(out + start + 5, doc + end, n - end);
	return n - (end - start) + 5;
}

#endif
