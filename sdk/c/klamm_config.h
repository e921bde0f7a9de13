/*
 * klamm_config.h: read the plugin's table of the configuration.
 *
 *	static klamm_setting settings[] = {
 *		{.name = "window", .kind = KLAMM_DURATION, .def = "\"10m\""},
 *		{.name = "mode", .kind = KLAMM_STRING, .def = "\"fixed\"", .one_of = "null fixed hash"},
 *		{.name = "fields", .kind = KLAMM_STRINGS, .required = true},
 *	};
 *
 *	static const char *start(klamm_start *s) {
 *		if (!KLAMM_CONFIGURE(s, settings))
 *			return "";                       // each problem has been logged
 *		window_ms = settings[0].i;
 *
 * Defaults are JSON as well. What is read stays for the instance's life.
 */
#ifndef KLAMM_CONFIG_H
#define KLAMM_CONFIG_H

#include "klamm_json.h"

enum {
	KLAMM_STRING,
	KLAMM_STRINGS,  /* a list; one string is a list of one */
	KLAMM_INT,
	KLAMM_BOOL,
	KLAMM_DURATION, /* "10m", "1h30m", or a number of milliseconds; i is in ms */
	KLAMM_SIZE,     /* "16KiB", or a number of bytes */
};

typedef struct klamm_setting {
	const char *name;
	uint8_t kind;
	bool required;
	const char *def;    /* JSON; 0 for empty or 0 */
	const char *one_of; /* of a string: its values, separated by spaces */
	/* rule returns 0, or what is wrong with the value. */
	const char *(*rule)(const struct klamm_setting *s);

	bool set;           /* the configuration has it */
	int64_t i;          /* numbers, 0 and 1, ms, bytes */
	klamm_bytes s;
	klamm_bytes *list;  /* of KLAMM_STRINGS */
	uint32_t n;
} klamm_setting;

/* Rules for numbers. */
static inline const char *klamm_positive(const klamm_setting *s) { return s->i > 0 ? 0 : "must be above 0"; }
static inline const char *klamm_not_negative(const klamm_setting *s) { return s->i >= 0 ? 0 : "must not be negative"; }

/* klamm_config is the running configuration. */
typedef struct {
	klamm_setting *settings;
	uint32_t n;
	klamm_paths doc; /* for its errors */
	klamm_buf text;  /* of the problem in hand */
	klamm_buf strings[2];
	uint32_t problems;
} klamm_config;

/* klamm_quote appends s in quotes. */
KLAMM_COLD void klamm_quote(klamm_buf *b, klamm_bytes s) {
	klamm_add_byte(b, '"');
	for (int32_t i = 0; i < s.n; i++) {
		uint8_t c = s.p[i];
		if (c == '"' || c == '\\') {
			klamm_add_byte(b, '\\');
			klamm_add_byte(b, c);
		} else if (c == '\n') {
			klamm_add_str(b, "\\n");
		} else if (c == '\t') {
			klamm_add_str(b, "\\t");
		} else if (c < ' ' || c == 0x7f || (c >= 0x80 && !klamm_rune_len(s.p + i, s.n - i))) {
			klamm_add_str(b, "\\x");
			klamm_add_hex(b, &c, 1);
		} else {
			uint32_t n = klamm_rune_len(s.p + i, s.n - i);
			klamm_add(b, s.p + i, n);
			i += n - 1;
		}
	}
	klamm_add_byte(b, '"');
}

/* klamm_distance counts the insertions, deletions, replacements and swaps of
   neighbours that make a into b; names of more than 63 bytes are far from all. */
KLAMM_COLD uint32_t klamm_distance(klamm_bytes a, klamm_bytes b) {
	uint8_t rows[3][64];
	if (a.n > 63 || b.n > 63)
		return 64;
	for (int32_t j = 0; j <= b.n; j++)
		rows[0][j] = j;
	for (int32_t i = 1; i <= a.n; i++) {
		uint8_t *row = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
		row[0] = i;
		for (int32_t j = 1; j <= b.n; j++) {
			uint8_t d = last[j - 1] + (a.p[i - 1] != b.p[j - 1]);
			if (last[j] + 1 < d)
				d = last[j] + 1;
			if (row[j - 1] + 1 < d)
				d = row[j - 1] + 1;
			if (i > 1 && j > 1 && a.p[i - 1] == b.p[j - 2] && a.p[i - 2] == b.p[j - 1] && before[j - 2] + 1 < d)
				d = before[j - 2] + 1;
			row[j] = d;
		}
	}
	return rows[a.n % 3][b.n];
}

/* klamm_near keeps k as best when it is nearer to word than what was there. */
KLAMM_COLD void klamm_near(klamm_bytes word, klamm_bytes k, klamm_bytes *best, uint32_t *least) {
	uint32_t d = klamm_distance(word, k);
	if (d < *least) {
		*best = k;
		*least = d;
	}
}

static inline uint32_t klamm_near_enough(klamm_bytes word) { return word.n < 4 ? 2 : 3; }

KLAMM_COLD bool klamm_did_you_mean(klamm_buf *b, klamm_bytes best) {
	if (best.n < 0)
		return false;
	klamm_add_str(b, "; did you mean ");
	klamm_quote(b, best);
	klamm_add_byte(b, '?');
	return true;
}

/* klamm_word takes the next of some words that spaces keep apart. */
KLAMM_COLD bool klamm_word(klamm_bytes *words, klamm_bytes *w) {
	if (words->n <= 0)
		return false;
	int32_t n = 0;
	while (n < words->n && words->p[n] != ' ')
		n++;
	*w = (klamm_bytes){words->p, n};
	words->p += n + 1;
	words->n -= n + 1;
	return true;
}

/* ---- problems ---- */

KLAMM_COLD void klamm_problem(klamm_config *c) {
	klamm_log(KLAMM_ERROR, klamm_of(&c->text));
	c->text.n = 0;
	c->problems++;
}

KLAMM_COLD void klamm_about(klamm_config *c, klamm_bytes name) {
	klamm_add_str(&c->text, "config key ");
	klamm_quote(&c->text, name);
	klamm_add_str(&c->text, ": ");
}

KLAMM_COLD bool klamm_less(klamm_bytes a, klamm_bytes b) {
	for (int32_t i = 0; i < a.n && i < b.n; i++)
		if (a.p[i] != b.p[i])
			return a.p[i] < b.p[i];
	return a.n < b.n;
}

/* klamm_next_name returns the least name above after. */
KLAMM_COLD klamm_bytes klamm_next_name(const klamm_config *c, klamm_bytes after) {
	klamm_bytes least = KLAMM_NULL;
	for (uint32_t i = 0; i < c->n; i++) {
		klamm_bytes name = klamm_str(c->settings[i].name);
		if ((after.n < 0 || klamm_less(after, name)) && (least.n < 0 || klamm_less(name, least)))
			least = name;
	}
	return least;
}

KLAMM_COLD void klamm_unknown_key(klamm_config *c, klamm_bytes name) {
	klamm_bytes best = KLAMM_NULL;
	uint32_t least = klamm_near_enough(name);
	klamm_add_str(&c->text, "unknown config key ");
	klamm_quote(&c->text, name);
	for (klamm_bytes k = klamm_next_name(c, KLAMM_NULL); k.n >= 0; k = klamm_next_name(c, k))
		klamm_near(name, k, &best, &least);
	if (!klamm_did_you_mean(&c->text, best)) {
		const char *before = "; known are ";
		for (klamm_bytes k = klamm_next_name(c, KLAMM_NULL); k.n >= 0; k = klamm_next_name(c, k)) {
			klamm_add_str(&c->text, before);
			klamm_add_bytes(&c->text, k);
			before = ", ";
		}
		if (c->n == 0)
			klamm_add_str(&c->text, "; this plugin has none");
	}
	klamm_problem(c);
}

/* ---- values ---- */

static const char *const klamm_kinds[] = {
	"a string", "a list of strings", "a whole number", "true or false",
	"a duration, as \"500ms\", \"10m\" or \"24h\"", "a size, as \"16KiB\" or \"1MiB\"",
};

/* klamm_parse_int reads a whole number of 64 bits. */
KLAMM_COLD bool klamm_parse_int(klamm_bytes s, int64_t *v) {
	int32_t i = s.n > 0 && (s.p[0] == '-' || s.p[0] == '+');
	uint64_t n = 0, limit = (uint64_t)INT64_MAX + (i && s.p[0] == '-');
	if (i >= s.n)
		return false;
	for (; i < s.n; i++) {
		uint64_t digit = s.p[i] - '0';
		if (digit > 9 || n > (limit - digit) / 10)
			return false;
		n = 10 * n + digit;
	}
	*v = s.p[0] == '-' ? (int64_t)-n : (int64_t)n;
	return true;
}

static const struct {
	char text[4];
	uint64_t ns;
} klamm_units[] = {
	{"ns", 1}, {"us", 1000}, {"\xc2\xb5s", 1000}, {"\xce\xbcs", 1000}, {"ms", 1000000},
	{"s", 1000000000}, {"m", 60000000000}, {"h", 3600000000000},
};

/* klamm_parse_unit returns what the unit at the start of s is in ns, 0 for none. */
KLAMM_COLD uint64_t klamm_parse_unit(klamm_bytes *s) {
	int32_t n = 0;
	while (n < s->n && s->p[n] != '.' && (s->p[n] < '0' || s->p[n] > '9'))
		n++;
	klamm_bytes unit = {s->p, n};
	s->p += n;
	s->n -= n;
	for (uint32_t i = 0; i < sizeof klamm_units / sizeof *klamm_units; i++)
		if (klamm_same(unit, klamm_str(klamm_units[i].text)))
			return klamm_units[i].ns;
	return 0;
}

/* klamm_parse_duration reads what Go's time.ParseDuration does, in ms. */
KLAMM_COLD bool klamm_parse_duration(klamm_bytes s, int64_t *ms) {
	bool negative = s.n > 0 && s.p[0] == '-';
	uint64_t total = 0;
	if (s.n > 0 && (s.p[0] == '-' || s.p[0] == '+')) {
		s.p++;
		s.n--;
	}
	*ms = 0;
	if (s.n == 1 && s.p[0] == '0')
		return true;
	if (s.n <= 0)
		return false;
	while (s.n > 0) {
		uint64_t whole = 0, part = 0;
		double scale = 1;
		int32_t i = 0, dot = -1, digits = 0;
		for (; i < s.n && ((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] == '.' && dot < 0)); i++) {
			uint64_t digit = s.p[i] - '0';
			if (s.p[i] == '.') {
				dot = i;
				continue;
			}
			digits++;
			if (dot < 0) {
				if (whole > ((1ull << 63) - digit) / 10)
					return false;
				whole = 10 * whole + digit;
			} else if (part < (1ull << 63) / 10 - 10) {
				part = 10 * part + digit;
				scale *= 10;
			}
		}
		s.p += i;
		s.n -= i;
		uint64_t unit = digits ? klamm_parse_unit(&s) : 0;
		if (!unit || whole > (1ull << 63) / unit)
			return false;
		uint64_t ns = whole * unit + (uint64_t)((double)part * ((double)unit / scale));
		if (ns > 1ull << 63 || (total += ns) > 1ull << 63)
			return false;
	}
	if (total > (uint64_t)INT64_MAX && !negative)
		return false;
	/* rounded down, so that what is below zero stays so */
	*ms = negative ? -(int64_t)((total + 999999) / 1000000) : (int64_t)(total / 1000000);
	return true;
}

KLAMM_COLD bool klamm_parse_size(klamm_bytes s, int64_t *bytes) {
	static const char *const suffixes[] = {"KiB", "MiB", "GiB", "B", ""};
	static const uint8_t shifts[] = {10, 20, 30, 0, 0};
	for (uint32_t u = 0; u < 5; u++) {
		klamm_bytes suffix = klamm_str(suffixes[u]);
		if (s.n < suffix.n || !klamm_same((klamm_bytes){s.p + s.n - suffix.n, suffix.n}, suffix))
			continue;
		klamm_bytes number = {s.p, s.n - suffix.n};
		while (number.n > 0 && number.p[number.n - 1] == ' ')
			number.n--;
		while (number.n > 0 && number.p[0] == ' ') {
			number.p++;
			number.n--;
		}
		if (!klamm_parse_int(number, bytes) || *bytes < 0 || *bytes > INT64_MAX >> shifts[u])
			return false;
		*bytes <<= shifts[u];
		return true;
	}
	return false;
}

/* klamm_container_end returns where the array or object at at ends, 0 with an
   error. */
KLAMM_COLD uint32_t klamm_container_end(klamm_config *c, klamm_bytes d, uint32_t at) {
	uint32_t level = 0;
	bool escaped;
	for (uint32_t i = at; i < (uint32_t)d.n; i++) {
		switch (d.p[i]) {
		case '"': {
			uint32_t end = klamm_string_end(&c->doc, d, i, &escaped);
			if (!end)
				return 0;
			i = end - 1;
			break;
		}
		case '{': case '[':
			level++;
			break;
		case '}': case ']':
			if (--level == 0)
				return i + 1;
		}
	}
	return klamm_json_error(&c->doc, d.n, "unexpected end");
}

KLAMM_COLD uint32_t klamm_any_end(klamm_config *c, klamm_bytes d, uint32_t at) {
	if (at >= (uint32_t)d.n)
		return klamm_json_error(&c->doc, at, "a value expected");
	if (d.p[at] == '{' || d.p[at] == '[')
		return klamm_container_end(c, d, at);
	return klamm_scalar_end(&c->doc, d, at);
}

static inline klamm_bytes klamm_slice(klamm_bytes d, uint32_t from, uint32_t to) { return (klamm_bytes){d.p + from, (int32_t)(to - from)}; }

/* klamm_text_of returns what a string stands for, kept; null for anything else. */
KLAMM_COLD klamm_bytes klamm_text_of(klamm_config *c, klamm_bytes raw) {
	klamm_buf *b = &c->strings[0];
	b->n = 0;
	return klamm_keep(klamm_json_string(raw, b));
}

/* klamm_parse_list reads a list of strings. */
KLAMM_COLD bool klamm_parse_list(klamm_config *c, klamm_setting *s, klamm_bytes raw) {
	klamm_buf *list = &c->strings[1];
	list->n = 0;
	klamm_bytes one = klamm_text_of(c, raw);
	if (one.n >= 0) {
		klamm_add(list, &one, sizeof one);
	} else {
		uint32_t at = klamm_space(raw, 1);
		if (raw.p[0] != '[')
			return false;
		bool more = raw.p[at] != ']';
		while (more) {
			uint32_t end = klamm_any_end(c, raw, at);
			if (!end || (one = klamm_text_of(c, klamm_slice(raw, at, end))).n < 0)
				return false;
			klamm_add(list, &one, sizeof one);
			at = klamm_space(raw, end);
			if (at >= (uint32_t)raw.n || (raw.p[at] != ',' && raw.p[at] != ']'))
				return false;
			more = raw.p[at] == ',';
			at = klamm_space(raw, at + 1);
		}
	}
	s->n = list->n / sizeof one;
	s->list = (klamm_bytes *)klamm_keep(klamm_of(list)).p;
	return true;
}

/* klamm_parse gives a setting its value; false when raw is not of its kind. */
KLAMM_COLD bool klamm_parse(klamm_config *c, klamm_setting *s, klamm_bytes raw) {
	klamm_bytes text;
	switch (s->kind) {
	case KLAMM_STRING:
		return (s->s = klamm_text_of(c, raw)).n >= 0;
	case KLAMM_STRINGS:
		return klamm_parse_list(c, s, raw);
	case KLAMM_INT:
		return klamm_parse_int(raw, &s->i);
	case KLAMM_BOOL:
		s->i = klamm_same(raw, KLAMM_LIT("true"));
		return s->i || klamm_same(raw, KLAMM_LIT("false"));
	case KLAMM_DURATION:
		if (klamm_parse_int(raw, &s->i))
			return s->i <= INT64_MAX / 1000000 && s->i >= INT64_MIN / 1000000;
		text = klamm_text_of(c, raw);
		return text.n >= 0 && klamm_parse_duration(text, &s->i);
	case KLAMM_SIZE:
		text = klamm_text_of(c, raw);
		return klamm_parse_size(text.n >= 0 ? text : raw, &s->i);
	}
	return false;
}

/* ---- the table ---- */

/* klamm_bind_one handles one member; wrong has a bit for each setting that got a
   value which it cannot take. */
KLAMM_COLD void klamm_bind_one(klamm_config *c, klamm_bytes name, klamm_bytes raw, uint64_t *wrong) {
	for (uint32_t i = 0; i < c->n; i++) {
		klamm_setting *s = &c->settings[i];
		if (!klamm_same(name, klamm_str(s->name)))
			continue;
		s->set = true;
		if (klamm_parse(c, s, raw))
			return;
		*wrong |= 1ull << i;
		klamm_about(c, name);
		while (raw.n > 60 || (raw.n > 0 && raw.n == 60 && (raw.p[60] & 0xc0) == 0x80))
			raw.n = raw.n > 60 ? 60 : raw.n - 1;
		klamm_add_bytes(&c->text, raw);
		bool long_one = s->kind == KLAMM_DURATION && klamm_parse_int(raw, &s->i);
		klamm_add_str(&c->text, " is not ");
		klamm_add_str(&c->text, long_one ? "a duration of less than 292 years" : klamm_kinds[s->kind]);
		klamm_problem(c);
		return;
	}
	klamm_unknown_key(c, name);
}

/* klamm_bind_all walks over the table's members; false when it is no object. */
KLAMM_COLD bool klamm_bind_all(klamm_config *c, klamm_bytes d, uint64_t *wrong) {
	uint32_t at = klamm_space(d, 0), end;
	bool escaped;
	if (at >= (uint32_t)d.n || d.p[at] != '{')
		return klamm_json_error(&c->doc, at, "\"{\" expected");
	at = klamm_space(d, at + 1);
	bool more = at >= (uint32_t)d.n || d.p[at] != '}';
	while (more) {
		if (at >= (uint32_t)d.n || d.p[at] != '"')
			return klamm_json_error(&c->doc, at, "a name in quotes is missing");
		if (!(end = klamm_string_end(&c->doc, d, at, &escaped)))
			return false;
		klamm_bytes name = klamm_text_of(c, klamm_slice(d, at, end));
		at = klamm_space(d, end);
		if (at >= (uint32_t)d.n || d.p[at] != ':')
			return klamm_json_error(&c->doc, at, "\":\" expected");
		at = klamm_space(d, at + 1);
		if (!(end = klamm_any_end(c, d, at)))
			return false;
		klamm_bind_one(c, name, klamm_slice(d, at, end), wrong);
		at = klamm_space(d, end);
		if (at >= (uint32_t)d.n || (d.p[at] != ',' && d.p[at] != '}'))
			return klamm_json_error(&c->doc, at, "\",\" or a closing bracket expected");
		more = d.p[at] == ',';
		if (more)
			at = klamm_space(d, at + 1);
	}
	at = klamm_space(d, at + 1);
	return at >= (uint32_t)d.n || klamm_json_error(&c->doc, at, "something follows the value");
}

KLAMM_COLD void klamm_check_one_of(klamm_config *c, const klamm_setting *s) {
	klamm_bytes words = klamm_str(s->one_of), w, best = KLAMM_NULL;
	uint32_t least = klamm_near_enough(s->s);
	while (klamm_word(&words, &w)) {
		if (klamm_same(w, s->s))
			return;
		klamm_near(s->s, w, &best, &least);
	}
	klamm_about(c, klamm_str(s->name));
	klamm_quote(&c->text, s->s);
	const char *before = " is none of ";
	for (words = klamm_str(s->one_of); klamm_word(&words, &w); before = ", ") {
		klamm_add_str(&c->text, before);
		klamm_add_bytes(&c->text, w);
	}
	klamm_did_you_mean(&c->text, best);
	klamm_problem(c);
}

KLAMM_COLD void klamm_check(klamm_config *c, const klamm_setting *s) {
	const char *wrong = s->required && !s->set ? "is required" : s->rule ? s->rule(s) : 0;
	if (wrong) {
		klamm_about(c, klamm_str(s->name));
		klamm_add_str(&c->text, wrong);
		klamm_problem(c);
	} else if (s->one_of) {
		klamm_check_one_of(c, s);
	}
}

/* klamm_configure gives the settings, at most 64, their values. Each problem is a
   log line; with any it returns false and sets the start's error code. */
KLAMM_COLD bool klamm_configure(klamm_start *start, klamm_setting *settings, uint32_t n) {
	static klamm_config c;
	uint64_t wrong = 0;
	c.settings = settings;
	c.n = n;
	start->code = KLAMM_ERR_CONFIG;
	for (uint32_t i = 0; i < n; i++) {
		settings[i].s = KLAMM_LIT("");
		if (settings[i].def && !klamm_parse(&c, &settings[i], klamm_str(settings[i].def)))
			__builtin_trap();
	}
	klamm_bytes table = start->config;
	if (klamm_space(table, 0) == (uint32_t)table.n)
		table = KLAMM_LIT("{}");
	if (!klamm_bind_all(&c, table, &wrong)) {
		klamm_add_str(&c.text, "configuration table: ");
		klamm_add_json_error(&c.text, &c.doc);
		klamm_problem(&c);
		return false;
	}
	for (uint32_t i = 0; i < n; i++)
		if (!(wrong >> i & 1))
			klamm_check(&c, &settings[i]);
	if (c.problems)
		return false;
	start->code = KLAMM_ERR_PLUGIN;
	return true;
}

#define KLAMM_CONFIGURE(start, settings) klamm_configure(start, settings, sizeof settings / sizeof *settings)

#endif
