/*
 * Every length is checked against the packet, and a name's pointers only ever lead backwards, so that no packet makes a reader run in
 * circles. Names that could not be a host's are refused here, before anybody prints or looks them up.
 */
#include "net/dns_answer.h"

enum { HEADER = 12, CLASS_IN = 1, LABEL_MAX = 63, TEXT_MAX = 253 /* 255 on the wire, RFC 1035 section 2.3.4 */ };

static unsigned char byte(struct slice p, size_t at)
{
	return (unsigned char)p.p[at];
}

static unsigned u16(struct slice p, size_t at)
{
	return (unsigned)byte(p, at) << 8 | byte(p, at + 1);
}

int dns_answer_rcode(struct slice packet)
{
	return packet.n < HEADER ? -1 : byte(packet, 3) & 15;
}

/* Past the name at `at`, a pointer being its end; 0 when the packet ends before. */
static size_t skip_name(struct slice p, size_t at)
{
	while (at < p.n) {
		unsigned label = byte(p, at);

		if (label == 0)
			return at + 1;
		if (label >= 0xc0)
			return at + 2 <= p.n ? at + 2 : 0;
		if (label > LABEL_MAX)
			return 0;
		at += label + 1u;
	}
	return 0;
}

static bool copy_label(struct slice label, char *out, size_t *len)
{
	if (*len + 1 + label.n > TEXT_MAX)
		return false;
	if (*len > 0)
		out[(*len)++] = '.';
	for (size_t i = 0; i < label.n; i++) {
		char c = label.p[i];

		c = c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A') : c;
		if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
			return false;
		out[(*len)++] = c;
	}
	return true;
}

static bool read_name(struct slice p, size_t at, char out[DNS_NAME_MAX])
{
	size_t len = 0, lowest = at;

	while (at < p.n) {
		unsigned label = byte(p, at);

		if (label == 0) {
			out[len] = '\0';
			return true;
		}
		if (label >= 0xc0) {
			if (at + 2 > p.n)
				return false;
			at = u16(p, at) & 0x3fff;
			if (at >= lowest)
				return false;
			lowest = at;
			continue;
		}
		if (label > LABEL_MAX || label + 1u > p.n - at || !copy_label((struct slice){p.p + at + 1, label}, out, &len))
			return false;
		at += label + 1u;
	}
	return false;
}

/* Past the questions; 0 when the packet ends before. */
static size_t skip_questions(struct slice p)
{
	size_t at = HEADER;

	for (unsigned i = u16(p, 4); i > 0; i--) {
		at = skip_name(p, at);
		if (at == 0 || p.n - at < 4)
			return 0;
		at += 4;
	}
	return at;
}

bool dns_answer_each(struct slice packet, unsigned type, void (*fn)(void *arg, struct slice packet, size_t at, size_t n), void *arg)
{
	size_t at = packet.n < HEADER ? 0 : skip_questions(packet);

	if (at == 0)
		return false;
	for (unsigned i = u16(packet, 6); i > 0; i--) {
		at = skip_name(packet, at);
		if (at == 0 || packet.n - at < 10)
			return false;
		unsigned is_type = u16(packet, at), is_class = u16(packet, at + 2), n = u16(packet, at + 8);
		at += 10;
		if (packet.n - at < n)
			return false;
		if (is_type == type && is_class == CLASS_IN)
			fn(arg, packet, at, n);
		at += n;
	}
	return true;
}

bool dns_answer_srv(struct slice packet, size_t at, size_t n, struct dns_srv *out)
{
	if (n < 7)
		return false;
	out->priority = (uint16_t)u16(packet, at);
	out->weight = (uint16_t)u16(packet, at + 2);
	out->port = (uint16_t)u16(packet, at + 4);
	/* a compressed target is forbidden (RFC 2782) and met all the same */
	return skip_name(packet, at + 6) == at + n && read_name(packet, at + 6, out->host);
}
