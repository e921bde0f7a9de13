/* The conformance plugin in C; README.md two folders above says what it must do. */
#include "klamm.h"
#include "klamm_config.h"

static klamm_setting settings[] = {
	{.name = "hooks", .kind = KLAMM_INT, .def = "31"},
	{.name = "fields", .kind = KLAMM_INT, .def = "63"},
	{.name = "ttl_ms", .kind = KLAMM_INT},
	{.name = "refuse", .kind = KLAMM_STRING},
};
enum { HOOKS, FIELDS, TTL_MS, REFUSE };

static int counter_a, counter_b, histogram;

static klamm_buf text;   /* of an answer */
static klamm_buf filled; /* of fill and addfill */

static const char *start(klamm_start *s) {
	counter_a = klamm_counter("conf_a_total");
	counter_b = klamm_counter("conf_b_total");
	histogram = klamm_histogram("conf_h");
	klamm_reason("conf_first");
	klamm_reason("conf_second");
	if (!KLAMM_CONFIGURE(s, settings))
		return "";
	klamm_add_str(&text, "init plugin=");
	klamm_add_bytes(&text, s->plugin);
	klamm_add_str(&text, " chain=");
	klamm_add_bytes(&text, s->chain);
	klamm_add_str(&text, " client=");
	klamm_add_bytes(&text, s->client_id);
	klamm_add_str(&text, " lane=");
	klamm_add_u64(&text, s->lane);
	klamm_add_byte(&text, '/');
	klamm_add_u64(&text, s->lanes);
	klamm_bytes topics = s->topics, topic;
	for (const char *before = " topics="; klamm_next_topic(&topics, &topic); before = ",") {
		klamm_add_str(&text, before);
		klamm_add_bytes(&text, topic);
	}
	klamm_log(KLAMM_INFO, klamm_of(&text));
	if (settings[REFUSE].s.n > 0) {
		text.n = 0;
		klamm_add_bytes(&text, settings[REFUSE].s);
		return klamm_cstr(&text);
	}
	for (int h = 0; h < KLAMM_HOOKS; h++)
		if (settings[HOOKS].i >> h & 1)
			klamm_want(s, h, h == KLAMM_ON_COMMIT ? 0 : settings[FIELDS].i);
	return 0;
}

/* ---- text ---- */

/* cut takes what stands before the next c, or all. */
static klamm_bytes cut(klamm_bytes *s, uint8_t c) {
	int32_t n = 0;
	while (n < s->n && s->p[n] != c)
		n++;
	klamm_bytes before = {s->p, n};
	int32_t gone = n < s->n ? n + 1 : n;
	*s = (klamm_bytes){s->p + gone, s->n - gone};
	return before;
}

static int64_t number(klamm_bytes s) {
	int64_t v = 0;
	klamm_parse_int(s, &v);
	return v;
}

static klamm_bytes nullable(klamm_bytes s) { return klamm_same(s, KLAMM_LIT("~")) ? KLAMM_NULL : s; }

static bool is(klamm_bytes s, const char *word) { return klamm_same(s, klamm_str(word)); }

static void add_digest(klamm_bytes s) {
	if (s.n < 0) {
		klamm_add_byte(&text, '~');
		return;
	}
	uint32_t h = 2166136261;
	for (int32_t i = 0; i < s.n; i++)
		h = (h ^ s.p[i]) * 16777619;
	klamm_add_u64(&text, s.n);
	klamm_add_byte(&text, ':');
	uint8_t big[4] = {h >> 24, h >> 16, h >> 8, h};
	klamm_add_hex(&text, big, 4);
}

static void field(const char *name, int64_t v) {
	klamm_add_str(&text, name);
	klamm_add_i64(&text, v);
}

static void add_headers(const klamm_record *r) {
	klamm_headers h = klamm_headers_of(r);
	filled.n = 0;
	for (uint32_t i = 0; i < h.n; i++) {
		klamm_bytes value = klamm_header_value(&h, i);
		klamm_add_bytes(&filled, klamm_header_key(&h, i));
		klamm_add_byte(&filled, 0);
		klamm_add_byte(&filled, value.n >= 0);
		klamm_add_bytes(&filled, value);
		klamm_add_byte(&filled, 0);
	}
	field(" headers=", h.n);
	klamm_add_byte(&text, '/');
	add_digest(klamm_of(&filled));
}

static void add_dump(const klamm_record *r) {
	klamm_add_str(&text, "ref=");
	klamm_add_u64(&text, klamm_ref(r));
	klamm_add_str(&text, " key=");
	add_digest(klamm_key(r));
	field(" vlen=", klamm_value_len(r));
	klamm_add_str(&text, " value=");
	add_digest(klamm_value(r));
	add_headers(r);
	field(" ts=", klamm_timestamp_ms(r));
	field(" off=", klamm_offset(r));
	field(" part=", klamm_partition_of(r));
	field(" tx=", klamm_transactional(r));
	klamm_topic t = klamm_topic_of(r);
	klamm_add_str(&text, " topic=");
	klamm_add_bytes(&text, klamm_topic_name(t));
	field(" parts=", klamm_partitions(t));
	field(" epoch=", klamm_epoch(t));
	for (uint32_t p = 0; p < klamm_partitions(t); p++) {
		field(" ", klamm_available(t, p));
		field(":", klamm_load(t, p));
	}
	field(" now=", klamm_now_ms(r->b));
}

/* ---- verbs ---- */

static klamm_bytes fill(int64_t n, klamm_bytes with) {
	uint32_t size = n * with.n;
	filled.n = 0;
	klamm_room(&filled, size);
	klamm_add_bytes(&filled, with);
	while (filled.n < size)
		klamm_add(&filled, filled.p, filled.n < size - filled.n ? filled.n : size - filled.n);
	filled.n = size;
	return klamm_of(&filled);
}

static void answer(const klamm_record *r, const char *header) { klamm_add_header(r, klamm_str(header), klamm_of(&text)); }

/* edit does the verbs that say what becomes of the record. */
static bool edit(const klamm_record *r, klamm_bytes verb, klamm_bytes rest) {
	klamm_bytes second = rest, first = cut(&second, ' ');
	int64_t n = number(first);
	if (is(verb, "pass"))
		klamm_pass(r);
	else if (is(verb, "drop"))
		klamm_drop(r, n, second);
	else if (is(verb, "fail"))
		klamm_fail(r, n, second);
	else if (is(verb, "dead"))
		klamm_dead_letter(r, n, second);
	else if (is(verb, "route"))
		klamm_route(r, n);
	else if (is(verb, "value"))
		klamm_set_value(r, nullable(rest));
	else if (is(verb, "fill"))
		klamm_set_value(r, fill(n, second));
	else if (is(verb, "key"))
		klamm_set_key(r, nullable(rest));
	else if (is(verb, "topic"))
		klamm_set_topic(r, rest);
	else if (is(verb, "time"))
		klamm_set_timestamp_ms(r, n);
	else if (is(verb, "add"))
		klamm_add_header(r, first, nullable(second));
	else if (is(verb, "addfill")) {
		n = number(cut(&second, ' '));
		klamm_add_header(r, first, fill(n, second));
	} else if (is(verb, "del"))
		klamm_remove_headers(r, rest);
	else if (is(verb, "delat"))
		klamm_remove_header(r, n);
	else
		return false;
	return true;
}

/* look does the verbs that answer with what can be read of the record. */
static bool look(const klamm_record *r, klamm_bytes verb, klamm_bytes rest) {
	text.n = 0;
	if (is(verb, "dump")) {
		add_dump(r);
		answer(r, "dump");
	} else if (is(verb, "last")) {
		klamm_bytes value;
		if (klamm_header(r, rest, &value))
			add_digest(value);
		else
			klamm_add_str(&text, "none");
		answer(r, "last");
	} else if (is(verb, "all")) {
		klamm_headers h = klamm_headers_of(r);
		for (uint32_t i = 0; i < h.n; i++) {
			if (!klamm_same(klamm_header_key(&h, i), rest))
				continue;
			if (text.n > 0)
				klamm_add_byte(&text, ',');
			add_digest(klamm_header_value(&h, i));
		}
		answer(r, "all");
	} else if (is(verb, "murmur")) {
		klamm_add_u64(&text, klamm_murmur2(rest));
		answer(r, "murmur");
	} else if (is(verb, "clock")) {
		klamm_add_i64(&text, klamm_now_ms(r->b));
		answer(r, "clock");
	} else {
		return false;
	}
	return true;
}

static void draw(const klamm_record *r) {
	uint8_t x[16], y[16];
	klamm_random(x, 16);
	klamm_random(y, 16);
	klamm_add_str(&text, klamm_same((klamm_bytes){x, 16}, (klamm_bytes){y, 16}) ? "equal" : "differ");
	answer(r, "random");
}

static void mac(const klamm_record *r, klamm_bytes secret, klamm_bytes data) {
	uint8_t out[32];
	if (!klamm_hmac(secret, data, out)) {
		klamm_add_header(r, KLAMM_LIT("hmac"), KLAMM_NULL);
		return;
	}
	klamm_add_hex(&text, out, 32);
	answer(r, "hmac");
}

/* reach does the verbs that reach the host. */
static bool reach(const klamm_record *r, klamm_bytes verb, klamm_bytes rest) {
	klamm_bytes second = rest, first = cut(&second, ' ');
	int64_t ttl = settings[TTL_MS].i;
	text.n = 0;
	if (is(verb, "claim")) {
		klamm_add_u64(&text, klamm_claim(r, rest, ttl));
		answer(r, "claim");
	} else if (is(verb, "claimkeys")) {
		klamm_claim_keys(r->b, ttl);
		klamm_add_u64(&text, klamm_fresh(r));
		answer(r, "fresh");
	} else if (is(verb, "put")) {
		klamm_state_put(first, second, ttl);
	} else if (is(verb, "get")) {
		klamm_add_header(r, KLAMM_LIT("got"), klamm_state_get(rest));
	} else if (is(verb, "hmac")) {
		mac(r, first, second);
	} else if (is(verb, "random")) {
		draw(r);
	} else if (is(verb, "now")) {
		if (klamm_now_ns() > 1704067200000000000)
			klamm_add_header(r, KLAMM_LIT("now"), KLAMM_LIT("ok"));
	} else if (is(verb, "log")) {
		klamm_log(number(first), second);
	} else if (is(verb, "count")) {
		klamm_count(is(first, "a") ? counter_a : counter_b, number(second));
	} else if (is(verb, "observe")) {
		klamm_observe(histogram, number(rest));
	} else {
		return false;
	}
	return true;
}

static const char *step(const klamm_record *r, klamm_bytes line) {
	klamm_bytes rest = line, verb = cut(&rest, ' ');
	if (edit(r, verb, rest) || look(r, verb, rest) || reach(r, verb, rest))
		return 0;
	if (is(verb, "trap"))
		__builtin_trap();
	text.n = 0;
	if (is(verb, "error")) {
		klamm_add_bytes(&text, rest);
	} else {
		klamm_add_str(&text, "no verb ");
		klamm_quote(&text, verb);
	}
	return klamm_cstr(&text);
}

enum { SCRIPT_MAX = 4096 };

static const char *judge(klamm_batch *b) {
	static klamm_buf copy; /* steps may overwrite the value */
	KLAMM_EACH(b, r) {
		klamm_bytes script = klamm_key(&r);
		if (script.n > 0 && script.p[0] == '!')
			cut(&script, '!');
		else if (klamm_value_len(&r) <= SCRIPT_MAX)
			script = klamm_value(&r);
		else
			continue;
		if (script.n <= 0)
			continue;
		copy.n = 0;
		klamm_add_bytes(&copy, script);
		script = klamm_of(&copy);
		bool more = true;
		while (more) {
			klamm_bytes line = cut(&script, '\n');
			more = line.p + line.n < copy.p + copy.n;
			const char *error = step(&r, line);
			if (error)
				return error;
		}
	}
	return 0;
}

static const char *acknowledged(klamm_batch *b) {
	KLAMM_EACH(b, r) {
		uint32_t flags = klamm_ack_flags(&r);
		klamm_count(counter_a, 1);
		text.n = 0;
		klamm_add_str(&text, "ack ");
		add_dump(&r);
		field(" err=", klamm_ack_error(&r));
		field(" dropped=", !!(flags & KLAMM_ACK_DROPPED));
		field(" retried=", !!(flags & KLAMM_ACK_RETRIED));
		field(" aborted=", !!(flags & KLAMM_ACK_ABORTED));
		field(" earlier=", !!(flags & KLAMM_ACK_EARLIER));
		field(" latency=", klamm_ack_latency_us(&r));
		field(" reason=", klamm_ack_reason(&r));
		field(" plugin=", klamm_ack_plugin(&r));
		klamm_log(KLAMM_INFO, klamm_of(&text));
	}
	return 0;
}

static const char *committed(klamm_batch *b) {
	KLAMM_EACH(b, r) {
		klamm_count(counter_b, 1);
		text.n = 0;
		klamm_add_str(&text, "commit ");
		klamm_add_bytes(&text, klamm_topic_name(klamm_topic_of(&r)));
		field("/", klamm_partition_of(&r));
		field("@", klamm_offset(&r));
		klamm_log(KLAMM_INFO, klamm_of(&text));
	}
	return 0;
}

KLAMM_PLUGIN(start)
KLAMM_EXPORT_ON_SEND(judge)
KLAMM_EXPORT_ON_CONSUME(judge)
KLAMM_EXPORT_PARTITION(judge)
KLAMM_EXPORT_ON_ACK(acknowledged)
KLAMM_EXPORT_ON_COMMIT(committed)
