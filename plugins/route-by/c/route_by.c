/* route-by keeps each tenant on its share of the partitions: see README.md of the
   folder above, and routeby.go, which says more. */
#include "source.h"

static const char *check_by(const klamm_setting *s) {
	static sources tried;
	return sources_parse(&tried, &s->s, 1);
}

static klamm_setting settings[] = {
	{.name = "by", .kind = KLAMM_STRING, .required = true, .rule = check_by},
	{.name = "spread", .kind = KLAMM_INT, .def = "1", .rule = klamm_positive},
	{.name = "on_missing", .kind = KLAMM_STRING, .def = "\"default\"", .one_of = "default fail"},
	{.name = "hot", .kind = KLAMM_SIZE, .def = "0"},
};
enum { BY, SPREAD, ON_MISSING, HOT };

static int moved, missing;
static sources tenant;
static klamm_buf text;
static bool fail_missing;
static uint32_t spread;
static int64_t hot;

static const char *start(klamm_start *s) {
	moved = klamm_counter("route_by_moved_total");
	missing = klamm_counter("route_by_missing_total");
	if (!KLAMM_CONFIGURE(s, settings))
		return "";
	const char *wrong = sources_parse(&tenant, &settings[BY].s, 1);
	if (wrong)
		return wrong;
	if (settings[SPREAD].i > 1 << 20)
		return "config key \"spread\": more than any topic has partitions";
	spread = settings[SPREAD].i;
	hot = settings[HOT].i;
	fail_missing = klamm_same(settings[ON_MISSING].s, KLAMM_LIT("fail"));
	klamm_want(s, KLAMM_PARTITION, sources_fields(&tenant) | KLAMM_KEY | KLAMM_TOPIC_FACTS | (hot > 0 ? KLAMM_LOAD : 0));
	return 0;
}

/* number spreads records by the host's number for them, which stays the same when
   a batch is cut or judged again. */
static inline uint32_t number(const klamm_record *r) { return (uint32_t)(klamm_ref(r) * 0x9e3779b97f4a7c15 >> 33); }

/* cool: partition p is available and at most half as loaded as the hot one. */
static bool cool(klamm_topic t, uint32_t p, uint32_t half) { return klamm_available(t, p) && klamm_load(t, p) <= half; }

/* cooler returns the partition for a record whose own one, chosen, is hot: one of
   the share that is cool. Records spread over those by their number, so that they
   do not all rush to the coolest. */
__attribute__((noinline)) static uint32_t cooler(const klamm_record *r, klamm_topic t, uint32_t chosen, uint32_t home, uint32_t share, uint32_t n) {
	uint32_t half = klamm_load(t, chosen) / 2, count = 0;
	for (uint32_t i = 0; i < share; i++)
		count += cool(t, (home + i) % n, half);
	if (count == 0)
		return chosen;
	uint32_t nth = number(r) % count;
	for (uint32_t i = 0; i < share; i++) {
		uint32_t p = (home + i) % n;
		if (cool(t, p, half) && nth-- == 0) {
			klamm_count(moved, 1);
			return p;
		}
	}
	return chosen;
}

/* place chooses one of the n partitions. */
static inline uint32_t place(const klamm_record *r, klamm_topic t, klamm_bytes who, uint32_t n) {
	klamm_bytes key = klamm_key(r);
	uint32_t share = spread < n ? spread : n;
	uint32_t home = klamm_murmur2(who) % n;
	uint32_t slot = share == 1 ? 0 : (key.n >= 0 ? klamm_murmur2(key) : number(r)) % share;
	uint32_t chosen = (home + slot) % n;
	return hot > 0 && klamm_load(t, chosen) > hot ? cooler(r, t, chosen, home, share, n) : chosen;
}

/* without judges a record that has no tenant; text says why. */
static void without(const klamm_record *r, uint16_t why) {
	if (fail_missing)
		klamm_fail(r, why, klamm_of(&text));
	klamm_count(missing, 1);
}

static const char *judge(klamm_batch *b) {
	KLAMM_EACH(b, r) {
		bool is_text;
		if (!sources_open(&tenant, &r)) {
			text.n = 0;
			klamm_add_str(&text, "no tenant: the value is ");
			klamm_add_json_error(&text, &tenant.paths);
			without(&r, KLAMM_INVALID);
			continue;
		}
		klamm_bytes who = source_get(&tenant, &r, 0, &is_text);
		if (who.n < 0) {
			text.n = 0;
			klamm_add_str(&text, "no tenant: ");
			klamm_add_bytes(&text, settings[BY].s);
			klamm_add_str(&text, " is missing or null");
			without(&r, KLAMM_MISSING);
			continue;
		}
		klamm_topic t = klamm_topic_of(&r);
		uint32_t n = klamm_partitions(t);
		if (n > 0)
			klamm_route(&r, place(&r, t, who, n));
	}
	return 0;
}

KLAMM_PLUGIN(start)
KLAMM_EXPORT_PARTITION(judge)
