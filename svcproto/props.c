/*
 * Property lists. The writer never exceeds its buffer and remembers that it would have; the reader takes a list only whole: each name once,
 * each value of its kind and length. Values are borrowed from the input.
 */
#include "svcproto/props.h"

#include <string.h>

enum value_kind { TEXT, U32, U64, ID, BOOL };

static const struct prop_rule {
	const char *name;
	uint8_t name_n;
	uint8_t kind;
	uint16_t max;
} rules[PROP_COUNT] = {
#define PROP(name, wire, value, max) [PROP_##name] = { (wire), sizeof(wire) - 1, (value), (max) },
#include "svcproto/frames.def"
};

_Static_assert(PROP_COUNT <= 64, "a set of properties is a 64-bit mask");

void props_write(struct props_writer *w, const char *name, const void *value, size_t n)
{
	size_t name_n = strlen(name), all = 1 + name_n + 4 + n;

	if (w->overflow || name_n > 255 || n > UINT32_MAX || all > w->max - w->n) {
		w->overflow = true;
		return;
	}
	w->p[w->n] = (uint8_t)name_n;
	memcpy(w->p + w->n + 1, name, name_n);
	wire_put_u32(w->p + w->n + 1 + name_n, (uint32_t)n);
	if (n > 0)
		memcpy(w->p + w->n + 1 + name_n + 4, value, n);
	w->n += all;
}

void props_put_text(struct props_writer *w, enum prop_name name, const char *text)
{
	if (text != NULL)
		props_write(w, rules[name].name, text, strlen(text));
}

void props_put_u32(struct props_writer *w, enum prop_name name, uint32_t v)
{
	uint8_t b[4];

	wire_put_u32(b, v);
	props_write(w, rules[name].name, b, sizeof(b));
}

void props_put_bool(struct props_writer *w, enum prop_name name, bool v)
{
	uint8_t b = 1;

	if (v)
		props_write(w, rules[name].name, &b, sizeof(b));
}

void props_put_u64(struct props_writer *w, enum prop_name name, uint64_t v)
{
	uint8_t b[8];

	wire_put_u64(b, v);
	props_write(w, rules[name].name, b, sizeof(b));
}

void props_put_id(struct props_writer *w, enum prop_name name, const struct svc_id *id)
{
	props_write(w, rules[name].name, id->b, sizeof(id->b));
}

/* The length of the well-formed sequence at p (RFC 3629), 0 if there is none. */
static size_t utf8_one(const uint8_t *p, size_t n)
{
	size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

	if (len == 0 || len > n || p[0] == 0)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || /* overlong, surrogates */
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

bool props_utf8_ok(const uint8_t *p, size_t n)
{
	while (n > 0) {
		size_t one = utf8_one(p, n);

		if (one == 0)
			return false;
		p += one;
		n -= one;
	}
	return true;
}

bool props_text_fits(enum prop_name name, const char *text)
{
	size_t n;

	if (text == NULL)
		return true;
	n = strlen(text);
	return n <= rules[name].max && props_utf8_ok((const uint8_t *)text, n);
}

static bool name_ok(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!((p[i] >= 'a' && p[i] <= 'z') || (p[i] >= '0' && p[i] <= '9') || p[i] == '-' || (i == 0 && p[i] == '!')))
			return false;
	return n > 0;
}

int props_next(const uint8_t **p, size_t *n, struct props_value *name, struct props_value *value)
{
	const uint8_t *q = *p;
	size_t left = *n;

	if (left == 0)
		return 0;
	name->n = q[0];
	name->p = q + 1;
	if (left - 1 < (size_t)name->n + 4)
		return WIRE_E_SHORT;
	if (!name_ok(name->p, name->n))
		return WIRE_E_NAME;
	q += 1 + name->n;
	left -= 1 + (size_t)name->n + 4;
	value->n = wire_get_u32(q);
	value->p = q + 4;
	if (value->n > left)
		return WIRE_E_SHORT;
	*p = value->p + value->n;
	*n = left - value->n;
	return 1;
}

static bool value_ok(const struct prop_rule *r, const struct props_value *v)
{
	switch (r->kind) {
	case U32:
		return v->n == 4;
	case U64:
		return v->n == 8;
	case ID:
		return v->n == sizeof(struct svc_id);
	case BOOL:
		return v->n == 1 && v->p[0] <= 1;
	default:
		return v->n <= r->max && props_utf8_ok(v->p, v->n);
	}
}

static int prop_find(const struct props_value *name, uint64_t allowed)
{
	for (uint64_t left = allowed; left != 0; left &= left - 1) {
		int i = __builtin_ctzll(left);

		if (rules[i].name_n == name->n && memcmp(rules[i].name, name->p, name->n) == 0)
			return i;
	}
	return -1;
}

int props_parse(const uint8_t *p, size_t n, uint64_t required, uint64_t allowed, struct props_value v[PROP_COUNT])
{
	struct props_value name, value;
	uint64_t seen = 0;
	int rc;

	memset(v, 0, PROP_COUNT * sizeof(*v));
	while ((rc = props_next(&p, &n, &name, &value)) > 0) {
		int i = prop_find(&name, allowed);

		if (i < 0 && name.p[0] == '!')
			return WIRE_E_CRITICAL;
		if (i < 0)
			continue;
		if ((seen & PROP_BIT(i)) != 0)
			return WIRE_E_TWICE;
		if (!value_ok(&rules[i], &value))
			return WIRE_E_VALUE;
		seen |= PROP_BIT(i);
		v[i] = value;
	}
	if (rc < 0)
		return rc;
	return (required & ~seen) == 0 ? WIRE_OK : WIRE_E_MISSING;
}

uint32_t props_u32(const struct props_value *v)
{
	return wire_get_u32(v->p);
}

uint64_t props_u64(const struct props_value *v)
{
	return wire_get_u64(v->p);
}
