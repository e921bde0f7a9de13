/*
 * klamm_json.h: find values in JSON documents, in one pass and without a tree.
 *
 *	static klamm_paths paths;
 *
 *	klamm_add_path(&paths, KLAMM_LIT("properties.net"));     // in the start function
 *
 *	if (klamm_scan(&paths, klamm_value(&r)))                 // in the hook
 *		net = klamm_last(&paths, 0);
 *
 * Paths are names and array indexes: items[0].sku, items.0.sku, items[*].email,
 * $.card.number, a\.b for a dot that is part of a name; "$" is the document. It
 * takes and refuses the same documents as Go's encoding/json.
 */
#ifndef KLAMM_JSON_H
#define KLAMM_JSON_H

#include "klamm.h"

enum { KLAMM_MAX_PATHS = 64, KLAMM_MAX_DEPTH = 10000 };

/* klamm_step is one name or index of a path. */
typedef struct {
	klamm_bytes key; /* null for [3] and [*] */
	int32_t index;   /* -1 when the key is no number */
	bool any;        /* [*] */
} klamm_step;

/* klamm_match is a value that a path leads to: n bytes of the document. */
typedef struct {
	uint32_t path, start, end;
	bool superseded; /* a later member of the same name took its place */
} klamm_match;

typedef struct {
	uint32_t start; /* of the array or object */
	uint64_t alive; /* paths that lead into it */
	uint64_t seen;  /* of those, the ones whose name has come up in it */
	int32_t index;  /* of the running element */
	uint32_t first, n; /* matches[first..first+n) end where it ends */
} klamm_frame;

/* klamm_paths is paths, and what the last scan found. */
typedef struct {
	uint32_t count, levels;
	struct {
		klamm_buf steps; /* klamm_step each */
		uint32_t n;
	} path[KLAMM_MAX_PATHS];
	uint64_t *ends;      /* by level: paths that end there */
	klamm_frame *frames; /* by level */
	klamm_buf matches;   /* klamm_match each, by start, an outer value before those inside of it */
	uint64_t kinds[KLAMM_MAX_DEPTH / 64 + 1]; /* by depth: 1 for an object */
	klamm_buf name;      /* a decoded one */
	klamm_bytes doc;
	uint32_t error_at;
	const char *error; /* of the last scan, 0 for none */
} klamm_paths;

/* ---- text ---- */

static inline uint32_t klamm_space(klamm_bytes d, uint32_t at) {
	while (at < (uint32_t)d.n && (d.p[at] == ' ' || d.p[at] == '\n' || d.p[at] == '\r' || d.p[at] == '\t'))
		at++;
	return at;
}

/* klamm_json_error notes what is wrong at a byte, and returns 0. */
KLAMM_COLD uint32_t klamm_json_error(klamm_paths *p, uint32_t at, const char *what) {
	p->error_at = at;
	p->error = what;
	return 0;
}

/* klamm_plain returns the first place in a string that could be its end, an
   escape or a control character. It looks at eight bytes at once: a byte of x is
   zero where the top bit of (x - ones) & ~x is set, but for false alarms above the
   first one. */
static inline uint32_t klamm_plain(klamm_bytes d, uint32_t at) {
	const uint64_t ones = 0x0101010101010101, tops = 0x8080808080808080;
	for (; at + 8 <= (uint32_t)d.n; at += 8) {
		uint64_t w = klamm_u64(d.p + at), quote = w ^ '"' * ones, slash = w ^ '\\' * ones;
		uint64_t found = (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((w - ' ' * ones) & ~w)) & tops;
		if (found)
			return at + __builtin_ctzll(found) / 8;
	}
	return at;
}

/* klamm_hex4 reads \uXXXX, or returns -1. */
KLAMM_COLD int32_t klamm_hex4(const uint8_t *s, uint32_t n) {
	if (n < 6 || s[0] != '\\' || s[1] != 'u')
		return -1;
	int32_t r = 0;
	for (int i = 2; i < 6; i++) {
		uint8_t c = s[i], l = c | 0x20;
		if (c >= '0' && c <= '9')
			r = r << 4 | (c - '0');
		else if (l >= 'a' && l <= 'f')
			r = r << 4 | (l - 'a' + 10);
		else
			return -1;
	}
	return r;
}

static uint32_t klamm_escape_len(const uint8_t *s, uint32_t n) {
	if (n < 2)
		return 0;
	switch (s[1]) {
	case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
		return 2;
	case 'u':
		return klamm_hex4(s, n) < 0 ? 0 : 6;
	}
	return 0;
}

/* klamm_string_end returns where the string that opens at at ends, 0 with an
   error. */
__attribute__((noinline)) static uint32_t klamm_string_end(klamm_paths *p, klamm_bytes d, uint32_t at, bool *escaped) {
	*escaped = false;
	for (uint32_t i = klamm_plain(d, at + 1); i < (uint32_t)d.n; i = klamm_plain(d, i + 1)) {
		uint8_t c = d.p[i];
		if (c == '"')
			return i + 1;
		if (c < ' ')
			return klamm_json_error(p, i, "control character in a string");
		if (c == '\\') {
			uint32_t n = klamm_escape_len(d.p + i, d.n - i);
			if (n == 0)
				return klamm_json_error(p, i, "bad escape in a string");
			*escaped = true;
			i += n - 1;
		}
	}
	return klamm_json_error(p, d.n, "a string does not end");
}

KLAMM_COLD void klamm_add_rune(klamm_buf *b, uint32_t r) {
	if (r < 0x80) {
		klamm_add_byte(b, r);
		return;
	}
	if (r < 0x800) {
		klamm_add_byte(b, 0xc0 | r >> 6);
	} else {
		if (r < 0x10000) {
			klamm_add_byte(b, 0xe0 | r >> 12);
		} else {
			klamm_add_byte(b, 0xf0 | r >> 18);
			klamm_add_byte(b, 0x80 | (r >> 12 & 63));
		}
		klamm_add_byte(b, 0x80 | (r >> 6 & 63));
	}
	klamm_add_byte(b, 0x80 | (r & 63));
}

/* klamm_unescape appends what the inside of a checked string stands for. Half a
   surrogate pair becomes U+FFFD. */
KLAMM_COLD void klamm_unescape(klamm_buf *b, klamm_bytes s) {
	for (int32_t i = 0; i < s.n; i++) {
		if (s.p[i] != '\\') {
			klamm_add_byte(b, s.p[i]);
			continue;
		}
		uint8_t c = s.p[++i];
		switch (c) {
		case 'b': c = '\b'; break;
		case 'f': c = '\f'; break;
		case 'n': c = '\n'; break;
		case 'r': c = '\r'; break;
		case 't': c = '\t'; break;
		case 'u': {
			int32_t r = klamm_hex4(s.p + i - 1, s.n - i + 1), low;
			i += 4;
			if (r >= 0xd800 && r < 0xe000) {
				if (r < 0xdc00 && (low = klamm_hex4(s.p + i + 1, s.n - i - 1)) >= 0xdc00 && low < 0xe000) {
					r = 0x10000 + ((r - 0xd800) << 10) + (low - 0xdc00);
					i += 6;
				} else {
					r = 0xfffd;
				}
			}
			klamm_add_rune(b, r);
			continue;
		}
		}
		klamm_add_byte(b, c);
	}
}

/* klamm_json_string returns what the string raw, a value that was found, stands
   for, null when raw is no string. With escapes in it, it lies in b, behind what was
   there. */
static klamm_bytes klamm_json_string(klamm_bytes raw, klamm_buf *b) {
	if (raw.n < 2 || raw.p[0] != '"')
		return KLAMM_NULL;
	klamm_bytes s = {raw.p + 1, raw.n - 2};
	bool escaped = false;
	for (int32_t i = 0; i < s.n && !escaped; i++)
		escaped = s.p[i] == '\\';
	if (!escaped)
		return s;
	uint32_t at = b->n;
	klamm_unescape(b, s);
	return (klamm_bytes){b->p + at, (int32_t)(b->n - at)};
}

/* klamm_rune_len returns the length of the character that s starts with, 0 when
   that is no UTF-8. */
static uint32_t klamm_rune_len(const uint8_t *s, uint32_t left) {
	uint8_t c = s[0], low = 0x80, high = 0xbf;
	uint32_t n;
	if (c >= 0xc2 && c <= 0xdf) {
		n = 2;
	} else if (c >= 0xe0 && c <= 0xef) {
		n = 3;
		low = c == 0xe0 ? 0xa0 : 0x80;
		high = c == 0xed ? 0x9f : 0xbf;
	} else if (c >= 0xf0 && c <= 0xf4) {
		n = 4;
		low = c == 0xf0 ? 0x90 : 0x80;
		high = c == 0xf4 ? 0x8f : 0xbf;
	} else {
		return c < 0x80;
	}
	if (left < n || s[1] < low || s[1] > high)
		return 0;
	for (uint32_t i = 2; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

/* klamm_add_json appends s as a JSON string. What is no UTF-8 becomes U+FFFD. */
static void klamm_add_json(klamm_buf *b, klamm_bytes s) {
	klamm_add_byte(b, '"');
	for (int32_t i = 0; i < s.n;) {
		uint8_t c = s.p[i];
		if (c >= 0x80) {
			uint32_t n = klamm_rune_len(s.p + i, s.n - i);
			if (n)
				klamm_add(b, s.p + i, n);
			else
				klamm_add_rune(b, 0xfffd);
			i += n ? n : 1;
			continue;
		}
		i++;
		if (c < ' ') {
			klamm_add(b, "\\u00", 4);
			klamm_add_hex(b, &c, 1);
			continue;
		}
		if (c == '"' || c == '\\')
			klamm_add_byte(b, '\\');
		klamm_add_byte(b, c);
	}
	klamm_add_byte(b, '"');
}

static inline uint32_t klamm_digits(klamm_bytes d, uint32_t i) {
	while (i < (uint32_t)d.n && d.p[i] >= '0' && d.p[i] <= '9')
		i++;
	return i;
}

__attribute__((noinline)) static uint32_t klamm_number_end(klamm_paths *p, klamm_bytes d, uint32_t at) {
	uint32_t n = d.n, i = at, end;
	if (i < n && d.p[i] == '-')
		i++;
	end = klamm_digits(d, i);
	if (end == i || (d.p[i] == '0' && end > i + 1))
		return klamm_json_error(p, at, "a value expected");
	i = end;
	if (i < n && d.p[i] == '.') {
		end = klamm_digits(d, i + 1);
		if (end == i + 1)
			return klamm_json_error(p, end, "digits are missing");
		i = end;
	}
	if (i < n && (d.p[i] | 0x20) == 'e') {
		i++;
		if (i < n && (d.p[i] == '+' || d.p[i] == '-'))
			i++;
		end = klamm_digits(d, i);
		if (end == i)
			return klamm_json_error(p, end, "digits are missing");
		i = end;
	}
	return i;
}

/* klamm_scalar_end returns where the string, number or word at at ends, 0 with an
   error. */
static uint32_t klamm_scalar_end(klamm_paths *p, klamm_bytes d, uint32_t at) {
	bool escaped;
	const char *word;
	switch (d.p[at]) {
	case '"':
		return klamm_string_end(p, d, at, &escaped);
	case 't': word = "true"; break;
	case 'f': word = "false"; break;
	case 'n': word = "null"; break;
	default:
		return klamm_number_end(p, d, at);
	}
	uint32_t i = 0;
	for (; word[i]; i++)
		if (at + i >= (uint32_t)d.n || d.p[at + i] != word[i])
			return klamm_json_error(p, at, "a value expected");
	return at + i;
}

/* ---- paths ---- */

KLAMM_COLD int32_t klamm_array_index(klamm_bytes s) {
	int32_t n = 0;
	if (s.n <= 0 || s.n > 9)
		return -1;
	for (int32_t i = 0; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return -1;
		n = 10 * n + (s.p[i] - '0');
	}
	return n;
}

/* klamm_bad_bracket is the text about a bracket that is neither index nor [*]. */
KLAMM_COLD const char *klamm_bad_bracket(klamm_bytes inside) {
	static klamm_buf text;
	text.n = 0;
	klamm_add_byte(&text, '[');
	klamm_add_bytes(&text, inside);
	klamm_add_str(&text, "] is neither an index nor [*]");
	return klamm_cstr(&text);
}

/* klamm_parse_step takes one step from the front of s, or returns what is wrong. */
KLAMM_COLD const char *klamm_parse_step(klamm_bytes *s, klamm_step *st) {
	int32_t i = 0;
	*st = (klamm_step){KLAMM_NULL, -1, false};
	if (s->n > 0 && s->p[0] == '[') {
		while (i < s->n && s->p[i] != ']')
			i++;
		if (i == s->n)
			return "\"[\" without \"]\"";
		klamm_bytes inside = {s->p + 1, i - 1};
		st->any = inside.n == 1 && inside.p[0] == '*';
		st->index = st->any ? -1 : klamm_array_index(inside);
		if (!st->any && st->index < 0)
			return klamm_bad_bracket(inside);
		i++;
	} else {
		klamm_buf name = {0};
		klamm_room(&name, s->n + 1);
		for (; i < s->n && s->p[i] != '.' && s->p[i] != '['; i++) {
			if (s->p[i] == ']')
				return "\"]\" without \"[\"";
			if (s->p[i] == '\\' && ++i == s->n)
				return "nothing follows \"\\\"";
			klamm_add_byte(&name, s->p[i]);
		}
		if (name.n == 0)
			return "a name is missing";
		st->key = klamm_of(&name);
		st->index = klamm_array_index(st->key);
	}
	s->p += i;
	s->n -= i;
	return 0;
}

/* klamm_parse_path appends the steps of a path, or returns what is wrong. */
KLAMM_COLD const char *klamm_parse_path(klamm_buf *steps, klamm_bytes s) {
	if (s.n == 1 && s.p[0] == '$')
		return 0;
	if (s.n > 1 && s.p[0] == '$' && (s.p[1] == '.' || s.p[1] == '[')) {
		s.p++;
		s.n--;
	}
	if (s.n > 0 && s.p[0] == '.') { /* "$." says nothing, and so does a dot at the start */
		s.p++;
		s.n--;
	}
	for (;;) {
		klamm_step st;
		const char *wrong = klamm_parse_step(&s, &st);
		if (wrong)
			return wrong;
		klamm_add(steps, &st, sizeof st);
		if (s.n == 0)
			return 0;
		if (s.p[0] == '.') {
			s.p++;
			s.n--;
		} else if (s.p[0] != '[') {
			return "\".\" or \"[\" must follow \"]\"";
		}
	}
}

/* klamm_add_path adds a path and returns 0, or what is wrong with it. Its number
   is that of the paths before it. Add all before the first scan. */
KLAMM_COLD const char *klamm_add_path(klamm_paths *p, klamm_bytes text) {
	if (p->count == KLAMM_MAX_PATHS)
		return "more than 64 JSON paths";
	klamm_buf *steps = &p->path[p->count].steps;
	steps->n = 0;
	const char *wrong = klamm_parse_path(steps, text);
	if (wrong)
		return wrong;
	uint32_t n = p->path[p->count].n = steps->n / sizeof(klamm_step);
	if (n > p->levels)
		p->levels = n;
	p->count++;
	return 0;
}

/* klamm_paths_ready lays out what depends on all paths. The scan calls it. */
KLAMM_COLD void klamm_paths_ready(klamm_paths *p) {
	uint32_t n = p->levels + 1;
	p->ends = klamm_malloc(n * sizeof *p->ends);
	p->frames = klamm_malloc(n * sizeof *p->frames);
	if (!p->ends || !p->frames)
		__builtin_trap();
	for (uint32_t i = 0; i < n; i++)
		p->ends[i] = 0;
	for (uint32_t i = 0; i < p->count; i++)
		p->ends[p->path[i].n] |= 1ull << i;
}

/* ---- scanning ---- */

static inline klamm_match *klamm_matches(const klamm_paths *p) { return (klamm_match *)p->matches.p; }
static inline uint32_t klamm_match_count(const klamm_paths *p) { return p->matches.n / sizeof(klamm_match); }

static inline bool klamm_is_object(const klamm_paths *p, uint32_t depth) { return p->kinds[depth / 64] >> (depth % 64) & 1; }
static inline uint8_t klamm_closing(const klamm_paths *p, uint32_t depth) { return klamm_is_object(p, depth) ? '}' : ']'; }

static inline const klamm_step *klamm_step_of(const klamm_paths *p, uint32_t path, uint32_t depth) {
	return p->path[path].n < depth ? 0 : (const klamm_step *)p->path[path].steps.p + depth - 1;
}

static void klamm_enter(klamm_paths *p, bool object, uint32_t at, uint32_t depth, uint64_t alive, uint32_t first) {
	uint64_t bit = 1ull << (depth % 64);
	p->kinds[depth / 64] = object ? p->kinds[depth / 64] | bit : p->kinds[depth / 64] & ~bit;
	if (depth > p->levels + 1)
		return;
	p->frames[depth - 1] = (klamm_frame){at, depth > p->levels ? 0 : alive, 0, 0, first, klamm_match_count(p) - first};
}

static inline uint32_t klamm_leave(klamm_paths *p, uint32_t end, uint32_t depth) {
	if (depth <= p->levels + 1) {
		const klamm_frame *f = &p->frames[depth - 1];
		for (uint32_t i = f->first; i < f->first + f->n; i++)
			klamm_matches(p)[i].end = end;
	}
	return end;
}

/* klamm_value_at takes the value at at and returns its end, 0 with an error. Of an
   array or object it takes the opening bracket only and says that it is open. */
static uint32_t klamm_value_at(klamm_paths *p, uint32_t at, uint32_t depth, uint64_t alive, bool *open) {
	klamm_bytes d = p->doc;
	*open = false;
	if (at >= (uint32_t)d.n)
		return klamm_json_error(p, at, "a value is missing");
	uint32_t first = klamm_match_count(p);
	if (depth <= p->levels) {
		for (uint64_t m = alive & p->ends[depth]; m; m &= m - 1) {
			klamm_match found = {__builtin_ctzll(m), at, 0, false};
			klamm_add(&p->matches, &found, sizeof found);
		}
	}
	if (d.p[at] == '{' || d.p[at] == '[') {
		klamm_enter(p, d.p[at] == '{', at, depth + 1, alive, first);
		*open = true;
		return 1;
	}
	uint32_t end = klamm_scalar_end(p, d, at);
	for (uint32_t i = first, n = klamm_match_count(p); i < n; i++)
		klamm_matches(p)[i].end = end;
	return end;
}

/* klamm_supersede marks what the paths have found inside of the object that
   starts at start. */
KLAMM_COLD void klamm_supersede(klamm_paths *p, uint64_t paths, uint32_t start) {
	klamm_match *m = klamm_matches(p);
	for (uint32_t n = klamm_match_count(p); n > 0 && m[n - 1].start > start; n--)
		if (paths >> m[n - 1].path & 1)
			m[n - 1].superseded = true;
}

static uint64_t klamm_name_paths(klamm_paths *p, klamm_frame *f, uint32_t depth, klamm_bytes name, bool escaped) {
	uint64_t alive = 0;
	if (escaped) {
		p->name.n = 0;
		klamm_unescape(&p->name, name);
		name = klamm_of(&p->name);
	}
	for (uint64_t m = f->alive; m; m &= m - 1) {
		uint32_t i = __builtin_ctzll(m);
		const klamm_step *s = klamm_step_of(p, i, depth);
		if (s && s->key.n > 0 && klamm_same(s->key, name))
			alive |= 1ull << i;
	}
	if (alive & f->seen)
		klamm_supersede(p, alive & f->seen, f->start);
	f->seen |= alive;
	return alive;
}

static uint64_t klamm_element_paths(klamm_paths *p, klamm_frame *f, uint32_t depth) {
	uint64_t alive = 0;
	for (uint64_t m = f->alive; m; m &= m - 1) {
		uint32_t i = __builtin_ctzll(m);
		const klamm_step *s = klamm_step_of(p, i, depth);
		if (s && (s->any || s->index == f->index))
			alive |= 1ull << i;
	}
	return alive;
}

/* klamm_member takes the name of the next member, or nothing in an array, and
   returns where its value starts, 0 with an error, and the paths that lead into
   it. */
static uint32_t klamm_member(klamm_paths *p, uint32_t at, uint32_t depth, uint64_t *alive) {
	klamm_bytes d = p->doc;
	klamm_frame *f = depth <= p->levels ? &p->frames[depth - 1] : 0;
	bool escaped;
	*alive = 0;
	if (!klamm_is_object(p, depth)) {
		if (f)
			*alive = klamm_element_paths(p, f, depth);
		return at;
	}
	if (at >= (uint32_t)d.n || d.p[at] != '"')
		return klamm_json_error(p, at, "a name in quotes is missing");
	uint32_t end = klamm_string_end(p, d, at, &escaped);
	if (!end)
		return 0;
	if (f && f->alive)
		*alive = klamm_name_paths(p, f, depth, (klamm_bytes){d.p + at + 1, (int32_t)(end - at - 2)}, escaped);
	at = klamm_space(d, end);
	if (at >= (uint32_t)d.n || d.p[at] != ':')
		return klamm_json_error(p, at, "\":\" expected");
	return klamm_space(d, at + 1);
}

/* klamm_ended closes what ends after a value, up to the next comma, whose place
   it returns; 0 at the document's end or with an error. */
static uint32_t klamm_ended(klamm_paths *p, uint32_t end, uint32_t *depth) {
	klamm_bytes d = p->doc;
	for (;;) {
		uint32_t at = klamm_space(d, end);
		if (*depth == 0)
			return at < (uint32_t)d.n ? klamm_json_error(p, at, "something follows the value") : 0;
		if (at == (uint32_t)d.n)
			return klamm_json_error(p, at, "unexpected end");
		if (d.p[at] == ',')
			return at;
		if (d.p[at] != klamm_closing(p, *depth))
			return klamm_json_error(p, at, "\",\" or a closing bracket expected");
		end = klamm_leave(p, at + 1, (*depth)--);
	}
}

/* klamm_scan checks that doc is one JSON value and finds what the paths lead to,
   superseded values among it. Without true, error says what is wrong. */
static bool klamm_scan(klamm_paths *p, klamm_bytes doc) {
	uint64_t alive = p->count == 64 ? ~0ull : (1ull << p->count) - 1;
	uint32_t depth = 0, at = klamm_space(doc, 0);
	bool open;
	if (!p->frames)
		klamm_paths_ready(p);
	p->doc = doc;
	p->matches.n = 0;
	p->error = 0;
	for (;;) {
		uint32_t end = klamm_value_at(p, at, depth, alive, &open);
		if (!end)
			return false;
		if (open) {
			if (depth == KLAMM_MAX_DEPTH) {
				klamm_json_error(p, at, "nested deeper than 10000");
				return false;
			}
			depth++;
			at = klamm_space(doc, at + 1);
			if (at >= (uint32_t)doc.n || doc.p[at] != klamm_closing(p, depth)) {
				if (!(at = klamm_member(p, at, depth, &alive)))
					return false;
				continue;
			}
			end = klamm_leave(p, at + 1, depth--);
		}
		if (!(at = klamm_ended(p, end, &depth)))
			return !p->error;
		if (depth <= p->levels)
			p->frames[depth - 1].index++;
		if (!(at = klamm_member(p, klamm_space(doc, at + 1), depth, &alive)))
			return false;
	}
}

/* klamm_last returns the value of path number i that counts, strings with their
   quotes, null when there is none: the last that no later member of the same name
   has superseded. */
static klamm_bytes klamm_last(const klamm_paths *p, uint32_t i) {
	const klamm_match *m = klamm_matches(p);
	for (uint32_t n = klamm_match_count(p); n > 0; n--)
		if (m[n - 1].path == i && !m[n - 1].superseded)
			return (klamm_bytes){p->doc.p + m[n - 1].start, (int32_t)(m[n - 1].end - m[n - 1].start)};
	return KLAMM_NULL;
}

/* klamm_add_json_error appends "not JSON at byte N: WHAT" about the last scan. */
KLAMM_COLD void klamm_add_json_error(klamm_buf *b, const klamm_paths *p) {
	klamm_add_str(b, "not JSON at byte ");
	klamm_add_u64(b, p->error_at);
	klamm_add_str(b, ": ");
	klamm_add_str(b, p->error);
}

#endif
