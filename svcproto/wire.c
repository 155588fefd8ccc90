/*
 * Bytes <-> batch and frame headers. What a frame may look like is in frames.def alone. Every read is bounded by what the caller says is
 * there; nothing allocates.
 */
#include "svcproto/wire.h"

#include <string.h>

#include "svcproto/props.h"

#define P(name) PROP_BIT(PROP_##name)

static const struct wire_rule rules[WIRE_OPTIONAL_TYPES] = {
#define FRAME(code, name, by, on, sequence, flags, body, required, optional)                                     \
	[code] = { #name, (by), (on), (sequence), (flags), (body), (required), (required) | (optional) },
#include "svcproto/frames.def"
};

static const char *const errors[] = {
	[-WIRE_OK] = "no error",
	[-WIRE_E_SHORT] = "cut short",
	[-WIRE_E_LONG] = "longer than allowed",
	[-WIRE_E_RESERVED] = "a reserved field is not zero",
	[-WIRE_E_VERSION] = "another version than was agreed",
	[-WIRE_E_TYPE] = "an unknown frame",
	[-WIRE_E_FLAGS] = "a flag that this frame does not have",
	[-WIRE_E_SENDER] = "a frame that only the other side may send",
	[-WIRE_E_STREAM] = "a wrong stream handle",
	[-WIRE_E_SEQUENCE] = "a wrong sequence field",
	[-WIRE_E_BODY] = "a body of wrong length",
	[-WIRE_E_NAME] = "a malformed property name",
	[-WIRE_E_VALUE] = "a malformed property value",
	[-WIRE_E_TWICE] = "a property given twice",
	[-WIRE_E_MISSING] = "a required property is missing",
	[-WIRE_E_CRITICAL] = "an unknown critical property",
};

const char *wire_strerror(int error)
{
	size_t i = error < 0 ? (size_t)-(int64_t)error : 0;

	return i < sizeof(errors) / sizeof(errors[0]) && errors[i] != NULL ? errors[i] : "unknown error";
}

void wire_put_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

void wire_put_u32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)(v >> 24);
	p[1] = (uint8_t)(v >> 16);
	p[2] = (uint8_t)(v >> 8);
	p[3] = (uint8_t)v;
}

void wire_put_u64(uint8_t *p, uint64_t v)
{
	wire_put_u32(p, (uint32_t)(v >> 32));
	wire_put_u32(p + 4, (uint32_t)v);
}

uint16_t wire_get_u16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

uint32_t wire_get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

uint64_t wire_get_u64(const uint8_t *p)
{
	return (uint64_t)wire_get_u32(p) << 32 | wire_get_u32(p + 4);
}

void wire_put_batch(uint8_t p[WIRE_BATCH_HEADER], const struct wire_batch *b)
{
	p[0] = b->version;
	p[1] = b->flags;
	wire_put_u16(p + 2, 0);
	wire_put_u32(p + 4, b->epoch);
	wire_put_u64(p + 8, b->number);
}

int wire_get_batch(const uint8_t *p, size_t n, struct wire_batch *b)
{
	if (n < WIRE_BATCH_HEADER)
		return WIRE_E_SHORT;
	if (n > SVC_BATCH_MAX)
		return WIRE_E_LONG;
	b->version = p[0];
	b->flags = p[1];
	b->epoch = wire_get_u32(p + 4);
	b->number = wire_get_u64(p + 8);
	if (b->version == 0)
		return WIRE_E_VERSION;
	if ((b->flags & WIRE_CRITICAL_FLAGS) != 0)
		return WIRE_E_FLAGS;
	return wire_get_u16(p + 2) == 0 ? WIRE_OK : WIRE_E_RESERVED;
}

void wire_put_frame(uint8_t p[WIRE_FRAME_HEADER], const struct wire_frame *f)
{
	p[0] = f->type;
	p[1] = f->flags;
	wire_put_u16(p + 2, 0);
	wire_put_u32(p + 4, f->length);
	wire_put_u32(p + 8, f->stream);
	wire_put_u32(p + 12, f->sequence);
}

int wire_get_frame(const uint8_t *p, size_t n, struct wire_frame *f, size_t *used)
{
	if (n < WIRE_FRAME_HEADER)
		return WIRE_E_SHORT;
	f->type = p[0];
	f->flags = p[1];
	f->length = wire_get_u32(p + 4);
	f->stream = wire_get_u32(p + 8);
	f->sequence = wire_get_u32(p + 12);
	f->body = p + WIRE_FRAME_HEADER;
	if (wire_get_u16(p + 2) != 0)
		return WIRE_E_RESERVED;
	if (f->length > SVC_CHUNK_MAX)
		return WIRE_E_LONG;
	if (f->length > n - WIRE_FRAME_HEADER)
		return WIRE_E_SHORT;
	*used = WIRE_FRAME_HEADER + f->length;
	return WIRE_OK;
}

const struct wire_rule *wire_rule(uint8_t type)
{
	return type < WIRE_OPTIONAL_TYPES && rules[type].name != NULL ? &rules[type] : NULL;
}

static int check_length(const struct wire_frame *f, const struct wire_rule *r)
{
	switch (r->body) {
	case BODY_NONE:
		return f->length == 0 ? WIRE_OK : WIRE_E_BODY;
	case BODY_PROPS:
		return f->length <= WIRE_PROPS_MAX ? WIRE_OK : WIRE_E_LONG;
	default:
		return f->length > 0 ? WIRE_OK : WIRE_E_BODY;
	}
}

int wire_check_frame(const struct wire_frame *f, enum svc_side sender)
{
	const struct wire_rule *r = wire_rule(f->type);

	if (r == NULL)
		return f->type >= WIRE_OPTIONAL_TYPES ? 1 : WIRE_E_TYPE;
	if ((r->by & (sender == SVC_GATEWAY ? BY_GATEWAY : BY_SERVICE)) == 0)
		return WIRE_E_SENDER;
	if ((f->flags & WIRE_CRITICAL_FLAGS & (unsigned)~r->flags) != 0)
		return WIRE_E_FLAGS;
	if ((r->on == ON_LINK) != (f->stream == 0))
		return WIRE_E_STREAM;
	if ((r->sequence == SEQ_ZERO && f->sequence != 0) || ((r->sequence == SEQ_BYTES || r->sequence == SEQ_REQUEST) && f->sequence == 0))
		return WIRE_E_SEQUENCE;
	return check_length(f, r);
}
