/*
 * The stanza ids that we give (XEP-0359): one for each message to a user of ours, made once, when the first of our instances takes it, and
 * kept with it wherever it waits. So what comes twice, because a process died before it heard that it had arrived, can be told by it. What
 * claims to be ours and is not goes; ids of others stay.
 */
#include "services/im/core.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/log.h"

enum { KEPT_BYTES = 65536 }; /* of the buffer, between messages */

/* A random UUID (RFC 4122 section 4.4); the system is asked for many at a time. */
static void id_make(struct im_sid *sid, char out[37])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char *b;

	if (sid->random_n < 16) {
		mem_random(sid->random, sizeof sid->random);
		sid->random_n = sizeof sid->random;
	}
	sid->random_n -= 16;
	b = sid->random + sid->random_n;
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	for (size_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*out++ = '-';
		*out++ = hex[b[i] >> 4];
		*out++ = hex[b[i] & 15];
	}
	*out = '\0';
}

static bool is_ours(const struct xml_node *n, struct slice bare)
{
	const char *by = xml_node_attr(n, "by");
	struct jid jid;
	bool ours;

	if (!xml_node_is(n, "urn:xmpp:sid:0", "stanza-id") || !by || jid_parse(&jid, slice_str(by)) < 0)
		return false;
	ours = slice_eq(jid.full, bare);
	jid_clear(&jid);
	return ours;
}

/* The stanza without the ids that name us. */
static int write_clean(struct buf *out, struct stanza *st, struct slice bare)
{
	const struct xml_node *root = stanza_root(st);
	const char *p = st->xml.p, *end = p + st->xml.n;
	int err = root ? 0 : -1;

	for (const struct xml_node *n = root ? root->child : NULL; n && err == 0; n = n->next) {
		if (!is_ours(n, bare))
			continue;
		err = buf_add(out, p, (size_t)(n->raw.p - p));
		p = n->raw.p + n->raw.n;
	}
	return err ? err : buf_add(out, p, (size_t)(end - p));
}

static bool ends_name(char c)
{
	return c == '>' || c == ' ' || c == '/' || c == '\t' || c == '\r' || c == '\n';
}

/* A start tag of that name, whatever its prefix: an element's name cannot be written in any other way than with its letters. Tags are few
 * where a stanza is large. */
static bool has_ids(struct slice xml)
{
	static const char name[] = "stanza-id";
	const char *p = xml.p, *end = xml.p + xml.n;

	while ((p = memchr(p, '<', (size_t)(end - p)))) {
		const char *tag = ++p;
		while (p < end && !ends_name(*p))
			p++;
		if ((size_t)(p - tag) >= sizeof name - 1 && memcmp(p - (sizeof name - 1), name, sizeof name - 1) == 0)
			return true;
	}
	return false;
}

static int write_id(struct buf *out, struct im *im, struct slice bare)
{
	struct xml_writer w;
	char id[37];

	id_make(&im->sid, id);
	xml_writer_init(&w, out);
	xml_start(&w, "stanza-id");
	xml_attr_str(&w, "xmlns", "urn:xmpp:sid:0");
	xml_attr_str(&w, "id", id);
	xml_attr(&w, "by", bare);
	xml_end(&w, "stanza-id");
	return xml_writer_done(&w);
}

static void reset(struct buf *b)
{
	if (buf_len(b) > KEPT_BYTES)
		buf_clear(b);
	buf_reset(b);
}

void sid_init(struct im *im)
{
	buf_init(&im->sid.clean, IM_STANZA_MAX);
	buf_init(&im->sid.id, IM_STANZA_MAX);
	buf_init(&im->sid.stamped, IM_STANZA_MAX);
}

void sid_clear(struct im *im)
{
	buf_clear(&im->sid.clean);
	buf_clear(&im->sid.id);
	buf_clear(&im->sid.stamped);
}

/* The last that a stanza has: ours stands behind others. Empty: none. */
static struct slice id_of(struct slice xml)
{
	const char *end = xml.p + xml.n, *p = xml.p, *id = NULL;

	while ((p = memmem(p, (size_t)(end - p), "<stanza-id", 10))) {
		p += 10;
		id = memmem(p, (size_t)(end - p), " id=", 4);
	}
	return id && end - id > 41 ? (struct slice){id + 5, 36} : SLICE_NONE;
}

void sid_log(const char *way, struct slice xml, struct slice whom, int64_t row)
{
	struct slice id;

	if (!log_on(LOG_DEBUG))
		return;
	id = id_of(xml);
	if (id.n)
		log_debug("im", 0, "message", "sid=%s way=%s whom=%s row=%" PRId64, log_escape(id), way, log_escape(whom), row);
}

bool sid_stamp(struct stanza *st)
{
	struct im_sid *sid = &st->im->sid;
	const struct jid *to = jid_empty(&st->to) ? st->from : &st->to;

	if (st->kind != STANZA_MESSAGE || slice_empty(to->local) || !im_is_local(st->im, to->domain))
		return true;
	reset(&sid->clean);
	reset(&sid->id);
	reset(&sid->stamped);
	if (has_ids(st->xml)) {
		if (write_clean(&sid->clean, st, to->bare) < 0)
			return false;
		st->xml = buf_slice(&sid->clean);
	}
	if (write_id(&sid->id, st->im, to->bare) < 0 || stanza_add_child(&sid->stamped, st->xml, buf_slice(&sid->id)) < 0)
		return false;
	st->xml = buf_slice(&sid->stamped);
	return true;
}
