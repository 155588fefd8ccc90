/*
 * Stanzas that were acknowledged while their next hop had not answered, and whose process then ended: an earlier one
 * of ours, or another instance on the same database. They go out again (they may arrive twice, never not at all); a message to a
 * user who is ours by now goes to offline storage; what else was for a client of ours bounces, since its session ended with that process.
 */
#include "services/im/core.h"

enum {
	RESUME_MAX = 1000, /* in one turn */
	ADOPT_MS = 5000,
	ADOPT_SOON_MS = 200,
};

/* Sends what has a row. SVCPROTO_E_FULL: not now, the row stays; any other failure bounces it. */
static int send_row(struct im *im, int64_t row, const struct jid *from, const struct jid *to, struct slice xml)
{
	struct im_work *w = work_new(im, NULL);
	w->row = row;
	work_keep(w, IM_PASSING, NULL, xml);
	int err = send_remote(im, from, to, xml, w);
	if (err == SVCPROTO_E_FULL)
		w->fallback = IM_DROP;
	else if (err < 0)
		error_bounce(im, xml, "remote-server-not-found", w);
	work_release(w);
	return err;
}

void passing_send(struct im *im, const struct jid *from, const struct jid *to, struct slice xml)
{
	int64_t row = store_passing_add(im->store, im->wall_s, xml);
	if (row && send_row(im, row, from, to, xml) == SVCPROTO_E_FULL) {
		store_passing_del(im->store, row);
		error_bounce(im, xml, "resource-constraint", NULL);
	}
}

/* Presence of a session that ended with its process says nothing any more; a subscription stays one. */
static bool is_stale(const struct xml_element *e)
{
	struct slice type = xml_attr_get(&e->head, "type");
	return stanza_kind(e, NS_CLIENT) == STANZA_PRESENCE && !presence_is_subscription(type);
}

struct resume {
	struct im *im;
	int64_t row, at_s;
	struct slice xml;
	int err;
};

/* Who has just started does not know yet who belongs to whom: stored as ours, it would wait for a client that is at another instance. */
static bool is_nobodys_yet(const struct im *im, const struct jid *to)
{
	static const unsigned char nobody[16];
	unsigned char instance[16];
	struct im_user *u = im_user_find(im, to->bare);
	if (!im->ops->is_here || slice_empty(to->local) || !im_is_local(im, to->domain) || (u && u->nr_sessions))
		return false;
	return im_whose(im, to->bare, instance) && memcmp(instance, nobody, sizeof instance) == 0;
}

static void resume_to(struct resume *r, const struct xml_element *e, const struct jid *from, const struct jid *to)
{
	if (is_nobodys_yet(r->im, to)) {
		r->err = SVCPROTO_E_FULL;
		return;
	}
	if (!im_is_here(r->im, to) && !is_stale(e)) {
		r->err = send_row(r->im, r->row, from, to, r->xml);
		return;
	}
	if (stanza_kind(e, NS_CLIENT) == STANZA_MESSAGE)
		route_stored(r->im, r->xml, r->at_s, NULL);
	else if (!is_stale(e))
		error_bounce(r->im, r->xml, "service-unavailable", NULL);
	store_passing_del(r->im->store, r->row);
}

static void resume_element(void *arg, const struct xml_element *e)
{
	struct resume *r = arg;
	struct jid from, to;
	if (jid_parse(&from, xml_attr_get(&e->head, "from")) < 0)
		return;
	if (jid_parse(&to, xml_attr_get(&e->head, "to")) == 0) {
		resume_to(r, e, &from, &to);
		jid_clear(&to);
	}
	jid_clear(&from);
}

void passing_resume(struct im *im)
{
	struct buf xml;
	if (!im->linked || im->resume_row >= im->resume_last)
		return;
	buf_init(&xml, IM_STANZA_MAX);
	for (size_t n = 0; n < RESUME_MAX && im->resume_row < im->resume_last; n++) {
		struct resume r = {.im = im};
		r.row = store_passing_next(im->store, im->resume_row, &xml, &r.at_s);
		if (!r.row || r.row > im->resume_last) {
			im->resume_row = im->resume_last;
			break;
		}
		r.xml = buf_slice(&xml);
		if (stanza_parse(r.xml, &im_xml_limits, resume_element, &r) < 0)
			store_passing_del(im->store, r.row); /* not ours, or of a version that wrote something else */
		if (r.err == SVCPROTO_E_FULL)
			break;
		im->resume_row = r.row;
	}
	buf_clear(&xml);
}

void passing_adopt(struct im *im)
{
	int64_t last;

	if (!store_shared(im->store) || !im->linked || im->resume_row < im->resume_last || im->now_ms < im->adopt_at_ms)
		return;
	im->adopt_at_ms = im->now_ms + ADOPT_MS;
	last = store_passing_last(im->store);
	if (!store_passing_adopt(im->store))
		return;
	im->resume_row = last;
	im->resume_last = store_passing_last(im->store);
}

/* Before the session's first stanza comes, what its user said at the other instance and was acknowledged there should be on its way. */
void passing_soon(struct im *im)
{
	uint64_t last_ms = im->adopt_at_ms > ADOPT_MS ? im->adopt_at_ms - ADOPT_MS : 0;

	if (im->adopt_at_ms > last_ms + ADOPT_SOON_MS)
		im->adopt_at_ms = last_ms + ADOPT_SOON_MS;
}
