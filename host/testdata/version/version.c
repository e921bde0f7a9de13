/* version says of every record which version of it has judged the record: in the
   text of a drop, or in a header if the key begins with "p". Tests write other
   numbers into the module. build.sh beside it makes the module. */
#include "klamm.h"

static char name[] = "version 0000";

static const char *judge(klamm_batch *b) {
	klamm_bytes text = {(const uint8_t *)name, sizeof name - 1};
	KLAMM_EACH(b, r) {
		klamm_bytes key = klamm_key(&r);
		if (key.n > 0 && key.p[0] == 'p')
			klamm_add_header(&r, KLAMM_LIT("judged"), text);
		else
			klamm_drop(&r, KLAMM_FILTERED, text);
	}
	return 0;
}

static const char *start(klamm_start *s) {
	klamm_want(s, KLAMM_ON_SEND, KLAMM_KEY);
	return 0;
}

KLAMM_PLUGIN(start)
KLAMM_EXPORT_ON_SEND(judge)
