/* Reads the parts of a record that plugins name in their configuration: "key",
   "header:NAME" and "json:PATH". */
#ifndef KLAMM_SOURCE_H
#define KLAMM_SOURCE_H

#include "klamm.h"
#include "klamm_config.h"

enum { SOURCE_KEY, SOURCE_HEADER, SOURCE_JSON };

typedef struct {
	klamm_bytes text; /* as it was configured */
	uint8_t kind;
	klamm_bytes header;
	uint32_t path;
} source;

/* sources are those of one plugin, read together: the value is scanned once. */
typedef struct {
	source *list;
	uint32_t n;
	klamm_paths paths;
	klamm_buf decoded; /* JSON strings with escapes */
	bool found;        /* the record has a value that was scanned */
} sources;

static klamm_buf source_wrong;

KLAMM_COLD bool source_prefix(klamm_bytes text, klamm_bytes prefix, klamm_bytes *rest) {
	if (text.n <= prefix.n || !klamm_same((klamm_bytes){text.p, prefix.n}, prefix))
		return false;
	*rest = (klamm_bytes){text.p + prefix.n, text.n - prefix.n};
	return true;
}

/* source_path_wrong is what is wrong with a path: path "a..b": a name is missing. */
KLAMM_COLD const char *source_path_wrong(klamm_bytes path, const char *wrong) {
	source_wrong.n = 0;
	klamm_add_str(&source_wrong, "path ");
	klamm_quote(&source_wrong, path);
	klamm_add_str(&source_wrong, ": ");
	klamm_add_str(&source_wrong, wrong);
	return klamm_cstr(&source_wrong);
}

KLAMM_COLD const char *source_parse_one(sources *s, source *one, klamm_bytes text) {
	klamm_bytes rest;
	*one = (source){.text = text, .kind = SOURCE_KEY};
	if (klamm_same(text, KLAMM_LIT("key")))
		return 0;
	if (source_prefix(text, KLAMM_LIT("header:"), &rest)) {
		one->kind = SOURCE_HEADER;
		one->header = rest;
		return 0;
	}
	if (source_prefix(text, KLAMM_LIT("json:"), &rest)) {
		if (s->paths.count == KLAMM_MAX_PATHS)
			return "more than 64 JSON paths";
		one->kind = SOURCE_JSON;
		one->path = s->paths.count;
		const char *wrong = klamm_add_path(&s->paths, rest);
		return wrong ? source_path_wrong(rest, wrong) : 0;
	}
	source_wrong.n = 0;
	klamm_quote(&source_wrong, text);
	klamm_add_str(&source_wrong, " is none of \"key\", \"header:NAME\", \"json:PATH\"");
	return klamm_cstr(&source_wrong);
}

/* sources_parse reads a list of sources, or returns what is wrong. */
KLAMM_COLD const char *sources_parse(sources *s, const klamm_bytes *list, uint32_t n) {
	if (n == 0)
		return "the list is empty; it takes \"key\", \"header:NAME\" and \"json:PATH\"";
	s->list = klamm_malloc(n * sizeof *s->list);
	if (!s->list)
		__builtin_trap();
	for (s->n = 0; s->n < n; s->n++) {
		const char *wrong = source_parse_one(s, &s->list[s->n], list[s->n]);
		if (wrong)
			return wrong;
	}
	return 0;
}

/* sources_fields is what the sources need to see of a record. */
KLAMM_COLD uint8_t sources_fields(const sources *s) {
	static const uint8_t of[] = {KLAMM_KEY, KLAMM_HEADERS, KLAMM_VALUE};
	uint8_t f = 0;
	for (uint32_t i = 0; i < s->n; i++)
		f |= of[s->list[i].kind];
	return f;
}

/* sources_key_only reports whether the key is the one and only source. */
static inline bool sources_key_only(const sources *s) { return s->n == 1 && s->list[0].kind == SOURCE_KEY; }

/* sources_open makes r the record that source_get reads; false when its value is
   no JSON where JSON is needed. A null value has no fields and is no error. */
static inline bool sources_open(sources *s, const klamm_record *r) {
	if (s->paths.count == 0)
		return true;
	klamm_bytes doc = klamm_value(r);
	s->decoded.n = 0;
	s->found = doc.n >= 0;
	return !s->found || klamm_scan(&s->paths, doc);
}

/* source_get returns source i of the record, null when it is missing or null. A
   JSON string comes decoded; another JSON value as it is written, with text
   false. */
static inline klamm_bytes source_get(sources *s, const klamm_record *r, uint32_t i, bool *text) {
	const source *one = &s->list[i];
	klamm_bytes value = KLAMM_NULL, raw;
	*text = true;
	switch (one->kind) {
	case SOURCE_KEY:
		return klamm_key(r);
	case SOURCE_HEADER:
		klamm_header(r, one->header, &value);
		return value;
	}
	raw = s->found ? klamm_last(&s->paths, one->path) : KLAMM_NULL;
	if (raw.n < 0 || klamm_same(raw, KLAMM_LIT("null")))
		return KLAMM_NULL;
	value = klamm_json_string(raw, &s->decoded);
	if (value.n >= 0)
		return value;
	*text = false;
	return raw;
}

#endif
