#ifndef SVCPROTO_WIRE_H
#define SVCPROTO_WIRE_H

/* Bytes <-> batch and frame headers (PROTOCOL.md sections 2 and 4). No sockets, no allocation; what is decoded is borrowed from the input.
 */

#include "svcproto/link.h"

#define WIRE_VERSION_MIN 1u
#define WIRE_VERSION_MAX 1u
#define WIRE_BATCH_HEADER 16u
#define WIRE_FRAME_HEADER 16u
#define WIRE_PROPS_MAX 8192u /* the body of a frame that is a property list */
#define WIRE_REJECT_MAX 256u /* the prefix of a rejected stanza, with its two length bytes */

/* Flags: an unknown one of the low four breaks the protocol, the high four are ignored where unknown. */
#define WIRE_CRITICAL_FLAGS 0x0fu
#define WIRE_FIRST 0x01u
#define WIRE_LAST 0x02u
#define WIRE_REJECT 0x04u
#define WIRE_REPEATED 0x08u
#define WIRE_AWAITED 0x10u /* DATA, not critical */
#define WIRE_ANSWER 0x01u /* PING */
#define WIRE_MORE 0x01u   /* ADMIN_REPLY */
/* Types from here up may be ignored by who does not know them; below they break the protocol. */
#define WIRE_OPTIONAL_TYPES 0x80u

enum wire_type {
#define FRAME(code, name, by, on, sequence, flags, body, required, optional) WIRE_##name = (code),
#include "svcproto/frames.def"
};

enum wire_by { BY_GATEWAY = 1, BY_SERVICE = 2, BY_BOTH = 3 };
enum wire_on { ON_LINK, ON_STREAM };
enum wire_sequence { SEQ_ZERO, SEQ_STANZA, SEQ_BYTES, SEQ_REQUEST };
enum wire_body { BODY_NONE, BODY_PROPS, BODY_CHUNK };

struct wire_rule {
	const char *name; /* NULL: no such frame */
	uint8_t by, on, sequence, flags, body;
	uint64_t required, allowed; /* properties, PROP_BIT */
};

struct wire_batch {
	uint8_t version, flags;
	uint32_t epoch;
	uint64_t number;
};

struct wire_frame {
	uint8_t type, flags;
	uint32_t stream, sequence;
	uint32_t length;
	const uint8_t *body;
};

enum wire_error {
	WIRE_OK = 0,
	WIRE_E_SHORT = -1,
	WIRE_E_LONG = -2,
	WIRE_E_RESERVED = -3,
	WIRE_E_VERSION = -4,
	WIRE_E_TYPE = -5,
	WIRE_E_FLAGS = -6,
	WIRE_E_SENDER = -7,
	WIRE_E_STREAM = -8,
	WIRE_E_SEQUENCE = -9,
	WIRE_E_BODY = -10,
	WIRE_E_NAME = -11,
	WIRE_E_VALUE = -12,
	WIRE_E_TWICE = -13,
	WIRE_E_MISSING = -14,
	WIRE_E_CRITICAL = -15,
};
const char *wire_strerror(int error);

void wire_put_u16(uint8_t *p, uint16_t v);
void wire_put_u32(uint8_t *p, uint32_t v);
void wire_put_u64(uint8_t *p, uint64_t v);
uint16_t wire_get_u16(const uint8_t *p);
uint32_t wire_get_u32(const uint8_t *p);
uint64_t wire_get_u64(const uint8_t *p);

void wire_put_batch(uint8_t p[WIRE_BATCH_HEADER], const struct wire_batch *b);
/* The header of a whole message of n bytes. Any version but 0 is taken: HELLO is the same in all of them. */
int wire_get_batch(const uint8_t *p, size_t n, struct wire_batch *b);

/* The header only; the body is the caller's. */
void wire_put_frame(uint8_t p[WIRE_FRAME_HEADER], const struct wire_frame *f);
/* The frame at p; *used is its length with the header. Not yet checked. */
int wire_get_frame(const uint8_t *p, size_t n, struct wire_frame *f, size_t *used);
/* Against the table: known, allowed for this sender, sound header fields. 1: unknown but to be ignored. */
int wire_check_frame(const struct wire_frame *f, enum svc_side sender);
const struct wire_rule *wire_rule(uint8_t type);

#endif
