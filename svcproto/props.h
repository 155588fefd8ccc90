#ifndef SVCPROTO_PROPS_H
#define SVCPROTO_PROPS_H

/* Property lists: name length u8, name, value length u32, value, as ZMTP metadata (PROTOCOL.md section 3). The registry's messages use them
 * too. */

#include "svcproto/wire.h"

enum prop_name {
#define PROP(name, wire, value, max) PROP_##name,
#include "svcproto/frames.def"
	PROP_COUNT
};
#define PROP_BIT(p) (UINT64_C(1) << (p))

struct props_writer {
	uint8_t *p;
	size_t n, max;
	bool overflow; /* something did not fit: the list is of no use */
};

void props_write(struct props_writer *w, const char *name, const void *value, size_t n);
/* By the table. A NULL text writes nothing. */
void props_put_text(struct props_writer *w, enum prop_name name, const char *text);
void props_put_u32(struct props_writer *w, enum prop_name name, uint32_t v);
void props_put_bool(struct props_writer *w, enum prop_name name, bool v); /* false writes nothing */
void props_put_u64(struct props_writer *w, enum prop_name name, uint64_t v);
void props_put_id(struct props_writer *w, enum prop_name name, const struct svc_id *id);
bool props_text_fits(enum prop_name name, const char *text); /* its length, UTF-8 and no NUL: what the peer will take */

struct props_value {
	const uint8_t *p; /* NULL: absent */
	uint32_t n;
};

/* One property off the front of *p; names are checked for their alphabet. 1: there was one, 0: the end, else WIRE_E_*. */
int props_next(const uint8_t **p, size_t *n, struct props_value *name, struct props_value *value);
/* A whole list against the frame's row of the table: v[PROP_COUNT] is filled; unknown properties are passed over unless critical ("!"). */
int props_parse(const uint8_t *p, size_t n, uint64_t required, uint64_t allowed, struct props_value v[PROP_COUNT]);
uint32_t props_u32(const struct props_value *v);
uint64_t props_u64(const struct props_value *v);

bool props_utf8_ok(const uint8_t *p, size_t n); /* well-formed UTF-8 without NUL */

#endif
