/* mask hides fields of JSON values: see README.md of the folder above, and
   mask.go, which says more. All other bytes of a value stay as they are. */
#include "klamm.h"
#include "klamm_config.h"
#include "sha256.h"
#include "source.h"

enum { MODE_NULL, MODE_FIXED, MODE_HASH, MODE_PARTIAL };

static klamm_paths paths;

/* check_fields parses the paths for good. */
static const char *check_fields(const klamm_setting *s) {
	if (s->n == 0)
		return "the list is empty";
	if (s->n > KLAMM_MAX_PATHS)
		return "more than 64 JSON paths";
	for (uint32_t i = 0; i < s->n; i++) {
		const char *wrong = klamm_add_path(&paths, s->list[i]);
		if (wrong)
			return source_path_wrong(s->list[i], wrong);
	}
	return 0;
}

static klamm_setting settings[] = {
	{.name = "fields", .kind = KLAMM_STRINGS, .required = true, .rule = check_fields},
	{.name = "mode", .kind = KLAMM_STRING, .def = "\"fixed\"", .one_of = "null fixed hash partial"},
	{.name = "replacement", .kind = KLAMM_STRING, .def = "\"***\""},
	{.name = "keep", .kind = KLAMM_INT, .def = "4", .rule = klamm_not_negative},
	{.name = "secret", .kind = KLAMM_STRING},
	{.name = "on_malformed", .kind = KLAMM_STRING, .def = "\"fail\"", .one_of = "fail pass drop dead_letter"},
};
enum { FIELDS, MODE, REPLACEMENT, KEEP, SECRET, ON_MALFORMED };

static int masked, malformed;
static uint8_t mode;
static klamm_buf out; /* the new value */
static klamm_buf one; /* one field's text */

static const char no_secret[] = "the plugin's configuration names no such secret";

static bool hash(klamm_bytes data, uint8_t sum[32]) {
	if (settings[SECRET].s.n > 0)
		return klamm_hmac(settings[SECRET].s, data, sum);
	sha256(data, sum);
	return true;
}

static const char *start(klamm_start *s) {
	static const klamm_bytes modes[] = {{(uint8_t *)"null", 4}, {(uint8_t *)"fixed", 5}, {(uint8_t *)"hash", 4}, {(uint8_t *)"partial", 7}};
	uint8_t sum[32];
	masked = klamm_counter("mask_fields_total");
	malformed = klamm_counter("mask_malformed_total");
	if (!KLAMM_CONFIGURE(s, settings))
		return "";
	while (!klamm_same(settings[MODE].s, modes[mode]))
		mode++;
	if (!hash(KLAMM_LIT(""), sum)) {
		klamm_add_str(&one, "config key \"secret\": ");
		klamm_add_str(&one, no_secret);
		return klamm_cstr(&one);
	}
	klamm_want(s, KLAMM_ON_SEND, KLAMM_VALUE);
	klamm_want(s, KLAMM_ON_CONSUME, KLAMM_VALUE);
	return 0;
}

/* append_hash hashes what a string stands for, so that one text has one hash
   however it is escaped, and other values as they are written. It shows 128 bits,
   which do not collide by chance. */
static bool append_hash(klamm_bytes raw) {
	uint8_t sum[32];
	one.n = 0;
	klamm_bytes data = klamm_json_string(raw, &one);
	if (!hash(data.n >= 0 ? data : raw, sum))
		return false;
	klamm_add_str(&out, "\"h:");
	klamm_add_hex(&out, sum, 16);
	klamm_add_byte(&out, '"');
	return true;
}

/* hidden reports whether a character is to be starred, by its first byte: ASCII
   letters and digits, and everything beyond ASCII. */
static bool hidden(uint8_t c) {
	uint8_t l = c | 0x20;
	return (c >= '0' && c <= '9') || (l >= 'a' && l <= 'z') || c >= 0xc0;
}

/* continues reports whether a byte is a later one of a character beyond ASCII. */
static bool continues(uint8_t c) { return (c & 0xc0) == 0x80; }

/* append_partial shows the last letters and digits of a string or number and
   stars the others; what is neither stays, so that the form is kept. A value of
   which more than half would show is starred whole. */
static void append_partial(klamm_bytes raw) {
	one.n = 0;
	klamm_bytes text = klamm_json_string(raw, &one);
	if (text.n < 0) {
		if (raw.p[0] != '-' && (raw.p[0] < '0' || raw.p[0] > '9')) {
			klamm_add_json(&out, settings[REPLACEMENT].s); /* true, false, arrays and objects have no last part */
			return;
		}
		text = raw;
	}
	int64_t total = 0, show = settings[KEEP].i < 1 << 20 ? settings[KEEP].i : 1 << 20;
	for (int32_t i = 0; i < text.n; i++)
		total += hidden(text.p[i]);
	if (total < 2 * show)
		show = 0;
	/* The text may lie in the buffer that it is written to; it only gets shorter. */
	if (text.p == raw.p || text.p == raw.p + 1)
		klamm_room(&one, text.n);
	uint8_t *to = one.p;
	for (int32_t i = 0; i < text.n; i++) {
		uint8_t c = text.p[i];
		if (continues(c)) {
			if (total >= show)
				continue; /* of a character that a star stands for */
		} else if (hidden(c) && --total >= show) {
			c = '*';
		}
		*to++ = c;
	}
	klamm_add_json(&out, (klamm_bytes){one.p, (int32_t)(to - one.p)});
}

/* append_masked appends what stands in for the JSON value raw. Null stays null. */
static bool append_masked(klamm_bytes raw) {
	if (klamm_same(raw, KLAMM_LIT("null"))) {
		klamm_add_bytes(&out, raw);
		return true;
	}
	klamm_count(masked, 1);
	switch (mode) {
	case MODE_NULL:
		klamm_add_str(&out, "null");
		return true;
	case MODE_HASH:
		return append_hash(raw);
	case MODE_PARTIAL:
		append_partial(raw);
		return true;
	}
	klamm_add_json(&out, settings[REPLACEMENT].s);
	return true;
}

/* rewrite copies doc to out with every match replaced, also those that a later
   member of the same name supersedes: the next reader may take the first. */
static bool rewrite(klamm_bytes doc) {
	uint32_t done = 0;
	out.n = 0;
	for (uint32_t i = 0; i < klamm_match_count(&paths); i++) {
		klamm_match m = klamm_matches(&paths)[i];
		if (m.start < done)
			continue; /* inside of a value that is masked as a whole */
		klamm_add(&out, doc.p + done, m.start - done);
		if (!append_masked((klamm_bytes){doc.p + m.start, (int32_t)(m.end - m.start)}))
			return false;
		done = m.end;
	}
	klamm_add(&out, doc.p + done, doc.n - done);
	return true;
}

static void not_json(const klamm_record *r) {
	klamm_bytes what = settings[ON_MALFORMED].s;
	one.n = 0;
	klamm_add_str(&one, "value cannot be masked: ");
	klamm_add_json_error(&one, &paths);
	if (klamm_same(what, KLAMM_LIT("fail")))
		klamm_fail(r, KLAMM_INVALID, klamm_of(&one));
	else if (klamm_same(what, KLAMM_LIT("drop")))
		klamm_drop(r, KLAMM_INVALID, klamm_of(&one));
	else if (klamm_same(what, KLAMM_LIT("dead_letter")))
		klamm_dead_letter(r, KLAMM_INVALID, klamm_of(&one));
	klamm_count(malformed, 1);
}

static const char *judge(klamm_batch *b) {
	KLAMM_EACH(b, r) {
		klamm_bytes doc = klamm_value(&r);
		if (doc.n < 0)
			continue; /* a tombstone hides nothing */
		if (!klamm_scan(&paths, doc)) {
			not_json(&r);
			continue;
		}
		if (klamm_match_count(&paths) == 0)
			continue;
		if (!rewrite(doc))
			return no_secret;
		if (!klamm_same(klamm_of(&out), doc))
			klamm_set_value(&r, klamm_of(&out));
	}
	return 0;
}

KLAMM_PLUGIN(start)
KLAMM_EXPORT_ON_SEND(judge)
KLAMM_EXPORT_ON_CONSUME(judge)
