/*
 * The eight tables of RFC 6121 appendix A.2 and A.3 as two masks each: a stanza passes when the state has none of the bits `unless` and, if
 * `when` is not 0, one of the bits of `when`; then the bits of `drop` leave the state and those of `add` come.
 */
#include "services/im/subscription_table.h"

#include "services/im/store.h"

struct rule {
	unsigned when, unless;
	unsigned drop, add;
	bool always;     /* passes in every state; when and unless decide only about the change */
};

enum { OUT = SUB_PENDING_OUT, IN = SUB_PENDING_IN };

static const struct rule rules[2][SUB_TYPE_MAX_] = {
	[SUB_OUTBOUND] = {
		[SUB_SUBSCRIBE] = {.unless = SUB_TO, .add = OUT, .always = true},     /* A.2.1 */
		[SUB_UNSUBSCRIBE] = {.drop = SUB_TO | OUT, .always = true},           /* A.2.2 */
		[SUB_SUBSCRIBED] = {.when = IN, .drop = IN, .add = SUB_FROM},         /* A.2.3 */
		[SUB_UNSUBSCRIBED] = {.when = SUB_FROM | IN, .drop = SUB_FROM | IN},  /* A.2.4 */
	},
	[SUB_INBOUND] = {
		[SUB_SUBSCRIBE] = {.unless = SUB_FROM | IN, .add = IN},               /* A.3.1 */
		[SUB_UNSUBSCRIBE] = {.when = SUB_FROM | IN, .drop = SUB_FROM | IN},   /* A.3.2 */
		[SUB_SUBSCRIBED] = {.when = OUT, .drop = OUT, .add = SUB_TO},         /* A.3.3 */
		[SUB_UNSUBSCRIBED] = {.when = SUB_TO | OUT, .drop = SUB_TO | OUT},    /* A.3.4 */
	},
};

static const char *const names[SUB_TYPE_MAX_] = {
	[SUB_SUBSCRIBE] = "subscribe",
	[SUB_UNSUBSCRIBE] = "unsubscribe",
	[SUB_SUBSCRIBED] = "subscribed",
	[SUB_UNSUBSCRIBED] = "unsubscribed",
};

bool sub_type_parse(struct slice name, enum sub_type *out)
{
	for (unsigned i = 0; i < SUB_TYPE_MAX_; i++) {
		if (slice_is(name, names[i])) {
			*out = (enum sub_type)i;
			return true;
		}
	}
	return false;
}

const char *sub_type_name(enum sub_type type)
{
	return names[type];
}

struct sub_step sub_step(enum sub_direction d, enum sub_type type, unsigned state)
{
	const struct rule *r = &rules[d][type];
	bool applies = !(state & r->unless) && (!r->when || (state & r->when));
	return (struct sub_step){applies || r->always, applies ? (state & ~r->drop) | r->add : state};
}
