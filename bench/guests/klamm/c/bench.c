/* The benchmark's plugin on Klamm's C SDK. The configuration, {"op":"route"} and
   so on, says what it does to records. */
#include "klamm.h"
#include "../../ops.h"

static const char *(*run)(klamm_batch *b);
static klamm_buf out;

static const char *pass(klamm_batch *b) {
	(void)b;
	return 0;
}

static const char *route(klamm_batch *b) {
	KLAMM_EACH(b, r) {
		klamm_bytes key = klamm_key(&r);
		klamm_route(&r, partition_of(key.p, key.n));
	}
	return 0;
}

static const char *dedup(klamm_batch *b) {
	klamm_claim_keys(b, 600000);
	KLAMM_EACH(b, r)
		if (!klamm_fresh(&r))
			klamm_drop(&r, KLAMM_DUPLICATE, KLAMM_NULL);
	return 0;
}

static const char *rewrite(klamm_batch *b) {
	KLAMM_EACH(b, r) {
		klamm_bytes v = klamm_value(&r);
		out.n = 0;
		out.n = rewrite_value(klamm_room(&out, v.n + REWRITE_GROWS), v.p, v.n);
		klamm_set_value(&r, klamm_of(&out));
	}
	return 0;
}

static const char *mask(klamm_batch *b) {
	KLAMM_EACH(b, r) {
		klamm_bytes v = klamm_value(&r);
		out.n = 0;
		out.n = mask_value(klamm_room(&out, v.n + MASK_GROWS), v.p, v.n);
		if (out.n)
			klamm_set_value(&r, klamm_of(&out));
	}
	return 0;
}

static const char *judge(klamm_batch *b) { return run(b); }

static const char *start(klamm_start *s) {
	static const struct {
		const char *config;
		const char *(*run)(klamm_batch *b);
		uint8_t fields;
	} ops[] = {
		{"{\"op\":\"pass\"}", pass, KLAMM_KEY | KLAMM_VALUE},
		{"{\"op\":\"route\"}", route, KLAMM_KEY},
		{"{\"op\":\"dedup\"}", dedup, KLAMM_KEY},
		{"{\"op\":\"rewrite\"}", rewrite, KLAMM_VALUE},
		{"{\"op\":\"mask\"}", mask, KLAMM_VALUE},
	};
	for (uint32_t i = 0; i < sizeof ops / sizeof *ops; i++)
		if (klamm_same(s->config, klamm_str(ops[i].config))) {
			run = ops[i].run;
			klamm_want(s, KLAMM_ON_SEND, ops[i].fields);
			return 0;
		}
	return "unknown op";
}

KLAMM_PLUGIN(start)
KLAMM_EXPORT_ON_SEND(judge)
