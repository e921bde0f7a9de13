/* faulty is a plugin that does what the first byte of a record's key says. Tests
   of recovery and of stacks run it; what is marked "here" they look for.
   build.sh beside it makes the module. */
#include "klamm.h"

__attribute__((import_module("wasi_snapshot_preview1"), import_name("proc_exit"))) void leave(int code);

static uint32_t seen;             /* records, since the start */
static uint8_t scratch[4 << 10]; /* what was seen, byte by byte */
static uint8_t *volatile nowhere = (uint8_t *)0xfffffff0;

__attribute__((noinline)) static void give_up(void) {
	__builtin_trap(); /* here: give_up */
}

__attribute__((noinline)) static uint32_t nest(volatile uint32_t *n) {
	volatile uint32_t here = *n + 1;
	return nest(&here) + here;
}

__attribute__((noinline)) static void act(const klamm_record *r, uint8_t what) {
	switch (what) {
	case 't':
		give_up(); /* here: act */
		break;
	case 'w':
		*nowhere = 1; /* here: nowhere */
		break;
	case 'n':
		seen += nest(&seen);
		break;
	case 's':
		for (volatile int i = 0;; i++)
			;
	case 'x':
		leave(3);
		break;
	case 'g':
		__builtin_wasm_memory_grow(0, 1);
		__builtin_trap();
	}
}

static const char *judge(klamm_batch *b) {
	KLAMM_EACH(b, r) {
		klamm_bytes key = klamm_key(&r);
		uint8_t what = key.n > 0 ? key.p[0] : 0;
		scratch[seen++ % sizeof scratch] = what;
		act(&r, what); /* here: judge */
		uint32_t sum = 0;
		for (uint32_t i = 0; i < sizeof scratch; i++)
			sum += scratch[i];
		klamm_write(&r, what == 'b' ? 99 : KLAMM_V_DROP, (uint16_t)(seen * 256 + sum % 256), 0);
	}
	return 0;
}

static const char *start(klamm_start *s) {
	klamm_want(s, KLAMM_ON_SEND, KLAMM_KEY);
	return 0;
}

KLAMM_PLUGIN(start)
KLAMM_EXPORT_ON_SEND(judge)
