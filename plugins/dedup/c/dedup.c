/* dedup drops records whose id has been seen within a window of time: see
   README.md of the folder above, and dedup.go, which says more. */
#include "source.h"

static const char *check_id(const klamm_setting *s) {
	static sources tried;
	return sources_parse(&tried, s->list, s->n);
}

static const char *check_window(const klamm_setting *s) {
	return s->i < 0 ? "must not be negative; \"0s\" keeps ids until the state is full" : 0;
}

static klamm_setting settings[] = {
	{.name = "id", .kind = KLAMM_STRINGS, .def = "\"key\"", .rule = check_id},
	{.name = "window", .kind = KLAMM_DURATION, .def = "\"10m\"", .rule = check_window},
	{.name = "on_missing", .kind = KLAMM_STRING, .def = "\"fail\"", .one_of = "fail pass dead_letter drop"},
};
enum { ID, WINDOW, ON_MISSING };

static int dropped, missing;
static sources id;
static klamm_buf parts; /* the id that is being put together */
static klamm_buf text;

static const char *start(klamm_start *s) {
	dropped = klamm_counter("dedup_dropped_total");
	missing = klamm_counter("dedup_missing_total");
	if (!KLAMM_CONFIGURE(s, settings))
		return "";
	const char *wrong = sources_parse(&id, settings[ID].list, settings[ID].n);
	if (wrong)
		return wrong;
	klamm_want(s, KLAMM_ON_SEND, sources_fields(&id));
	klamm_want(s, KLAMM_ON_CONSUME, sources_fields(&id));
	return 0;
}

static void drop(const klamm_record *r) {
	klamm_drop(r, KLAMM_DUPLICATE, KLAMM_NULL);
	klamm_count(dropped, 1);
}

/* without judges a record that has no id; text says why. */
static void without(const klamm_record *r, uint16_t why) {
	klamm_bytes mode = settings[ON_MISSING].s;
	if (klamm_same(mode, KLAMM_LIT("fail")))
		klamm_fail(r, why, klamm_of(&text));
	else if (klamm_same(mode, KLAMM_LIT("dead_letter")))
		klamm_dead_letter(r, why, klamm_of(&text));
	else if (klamm_same(mode, KLAMM_LIT("drop")))
		klamm_drop(r, why, klamm_of(&text));
	klamm_count(missing, 1);
}

static void say(const char *what) {
	text.n = 0;
	klamm_add_str(&text, "no id: ");
	klamm_add_str(&text, what);
}

/* judge_keys is for ids that are the key alone: the whole batch takes one call of
   the host. */
static const char *judge_keys(klamm_batch *b) {
	klamm_claim_keys(b, settings[WINDOW].i);
	KLAMM_EACH(b, r) {
		if (klamm_fresh(&r))
			continue;
		if (klamm_key(&r).n >= 0) {
			drop(&r);
		} else {
			say("the key is null");
			without(&r, KLAMM_MISSING);
		}
	}
	return 0;
}

/* id_of puts the id together, or returns null and the source that is absent. Of
   several parts each is preceded by its length, so that "a","bc" and "ab","c" are
   two ids. A zero byte keeps the number 1 and the string "1" apart. */
static klamm_bytes id_of(const klamm_record *r, uint32_t *absent) {
	parts.n = 0;
	for (uint32_t i = 0; i < id.n; i++) {
		bool is_text;
		klamm_bytes v = source_get(&id, r, i, &is_text);
		if (v.n < 0) {
			*absent = i;
			return KLAMM_NULL;
		}
		if (is_text && id.n == 1)
			return v;
		if (id.n > 1)
			klamm_add(&parts, &v.n, 4);
		if (!is_text)
			klamm_add_byte(&parts, 0);
		klamm_add_bytes(&parts, v);
	}
	return klamm_of(&parts);
}

static const char *judge(klamm_batch *b) {
	if (sources_key_only(&id))
		return judge_keys(b);
	KLAMM_EACH(b, r) {
		if (!sources_open(&id, &r)) {
			say("the value is ");
			klamm_add_json_error(&text, &id.paths);
			without(&r, KLAMM_INVALID);
			continue;
		}
		uint32_t absent;
		klamm_bytes v = id_of(&r, &absent);
		if (v.n < 0) {
			say("");
			klamm_add_bytes(&text, id.list[absent].text);
			klamm_add_str(&text, " is missing or null");
			without(&r, KLAMM_MISSING);
		} else if (klamm_claim(&r, v, settings[WINDOW].i) != KLAMM_CLAIM_NEW) {
			drop(&r);
		}
	}
	return 0;
}

KLAMM_PLUGIN(start)
KLAMM_EXPORT_ON_SEND(judge)
KLAMM_EXPORT_ON_CONSUME(judge)
