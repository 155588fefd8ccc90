/*
 * Offline messages (RFC 6121 section 8.5.2.2, XEP-0160): kept with the time at which they came (XEP-0203), sent in order to the session
 * that gets the user's messages, deleted when it has them.
 */
#include <stdlib.h>
#include <time.h>

#include "services/im/core.h"

enum {
	PUMP_MAX = 64,      /* rows in one turn: the rest follows when some are answered */
	REMEMBER_MS = 1000, /* how much is stored for whom: counting it takes as long as there are rows */
};

static int write_delay(struct buf *out, const struct jid *from, int64_t at_s)
{
	time_t t = (time_t)at_s;
	struct tm tm;
	char stamp[32];
	gmtime_r(&t, &tm);
	strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &tm);
	struct xml_writer w;
	xml_writer_init(&w, out);
	xml_start(&w, "delay");
	xml_attr_str(&w, "xmlns", "urn:xmpp:delay");
	xml_attr(&w, "from", from->domain);
	xml_attr_str(&w, "stamp", stamp);
	xml_end(&w, "delay");
	return xml_writer_done(&w);
}

/* Where the last tag begins: of "<message …/>" itself, or its end tag. */
static size_t last_tag(struct slice xml)
{
	size_t at = xml.n;
	while (at && xml.p[at - 1] != '<')
		at--;
	return at ? at - 1 : 0;
}

int stanza_add_child(struct buf *out, struct slice xml, struct slice child)
{
	size_t end = last_tag(xml), name = 1;
	if (end) {
		(void)buf_reserve(out, xml.n + child.n); /* at once, where there is so much room */
		int err = buf_add(out, xml.p, end);
		if (err == 0)
			err = buf_add_slice(out, child);
		return err ? err : buf_add(out, xml.p + end, xml.n - end);
	}
	while (name < xml.n && !strchr(" \t\r\n/>", xml.p[name]))
		name++;
	int err = xml.n < 4 || xml.p[xml.n - 2] != '/' ? -1 : buf_add(out, xml.p, xml.n - 2);
	if (err == 0)
		err = buf_add_str(out, ">");
	if (err == 0)
		err = buf_add_slice(out, child);
	return err ? err : buf_printf(out, "</%.*s>", (int)(name - 1), xml.p + 1);
}

/* The stanza with a delay stamp. */
static int write_stored(struct buf *out, struct slice xml, const struct jid *user, int64_t at_s)
{
	struct buf delay;
	buf_init(&delay, IM_STANZA_MAX);
	int err = write_delay(&delay, user, at_s);
	if (err == 0)
		err = stanza_add_child(out, xml, buf_slice(&delay));
	buf_clear(&delay);
	return err;
}

/* The names of elements are written with their letters alone: most stanzas hold none of these, and need not be looked into. */
static bool may_be_refused(struct slice xml)
{
	static const char *const names[] = {"no-store", "active", "composing", "gone", "paused"}; /* "inactive" holds one of them */
	for (size_t i = 0; i < ARRAY_LEN(names); i++) {
		if (memmem(xml.p, xml.n, names[i], strlen(names[i])))
			return true;
	}
	return false;
}

/* XEP-0160: what somebody was typing (XEP-0085) is no news later; and a sender may say so of anything (XEP-0334). */
bool offline_wants(struct slice xml)
{
	if (!may_be_refused(xml))
		return true;
	struct xml_tree *t = xml_tree_parse(xml, &im_xml_limits, NULL, 0);
	struct xml_node *root = t ? xml_tree_root(t) : NULL;
	bool states = false, others = false, refused = false;
	for (struct xml_node *n = root ? root->child : NULL; n; n = n->next) {
		bool state = strcmp(n->ns, "http://jabber.org/protocol/chatstates") == 0;
		states |= state;
		others |= !state && !xml_node_is(n, NS_CLIENT, "thread") && !xml_node_is(n, "urn:xmpp:sid:0", NULL);
		refused |= xml_node_is(n, "urn:xmpp:hints", "no-store");
	}
	xml_tree_free(t);
	return !refused && (!states || others);
}

static bool is_within(const struct im_limits *l, size_t nr, size_t bytes)
{
	return nr < l->offline_max && bytes <= l->offline_bytes_max;
}

static struct slice user_key(const int64_t *user)
{
	return (struct slice){(const char *)user, sizeof *user};
}

static int forget(void *arg, struct slice user, void *stored)
{
	hash_del(arg, user);
	free(stored);
	return 0;
}

/* How much it was; that it was too much lasts. */
static int forget_size(void *arg, struct slice user, void *stored)
{
	struct im_stored *s = stored;
	if (!s->overfull)
		return forget(arg, user, s);
	*s = (struct im_stored){.nr = SIZE_MAX, .shrunk = true, .overfull = true};
	return 0;
}

void offline_clear(struct im *im)
{
	hash_each(im->stored, forget, im->stored);
	hash_free(im->stored);
}

static struct im_stored *stored_for(struct im *im, int64_t user)
{
	struct im_stored *s;
	if (im->now_ms >= im->stored_until_ms) {
		hash_each(im->stored, forget_size, im->stored);
		im->stored_until_ms = im->now_ms + REMEMBER_MS;
	}
	s = hash_get(im->stored, user_key(&user));
	if (!s) {
		s = NEW(struct im_stored);
		*s = (struct im_stored){.nr = SIZE_MAX, .shrunk = true};
		hash_put(im->stored, user_key(&user), s);
	}
	return s;
}

static bool has_room(struct im *im, int64_t user, struct im_stored *s, size_t bytes)
{
	if (s->shrunk && !is_within(&im->limits, s->nr, s->bytes + bytes)) {
		store_offline_size(im->store, user, &s->nr, &s->bytes);
		s->shrunk = false;
	}
	return is_within(&im->limits, s->nr, s->bytes + bytes);
}

bool offline_has_room(struct im *im, int64_t user, size_t bytes)
{
	struct im_stored *s = stored_for(im, user);
	bool room = has_room(im, user, s, bytes);
	if (room)
		s->overfull = false;
	return room;
}

void offline_del(struct im *im, int64_t user, int64_t row)
{
	struct im_stored *s = hash_get(im->stored, user_key(&user));
	store_offline_del(im->store, row);
	if (s)
		s->shrunk = true;
}

/* One more, before it is stored. */
static void count_stored(struct im *im, int64_t user, size_t bytes)
{
	struct im_stored *s = stored_for(im, user);
	if (!has_room(im, user, s, bytes))
		s->overfull = true;
	s->nr++;
	s->bytes += bytes;
}

/* Whatever was sent must find room when it takes long: while a client may have it, it can't be sent back. So as much again as is stored may
 * be on its way, and is stored though storage be full. Once: for who does not take it, or comes and goes, nothing more is sent then until
 * storage has room. */
bool offline_may_send(struct im *im, const struct im_user *u, size_t bytes)
{
	const struct im_stored *s = hash_get(im->stored, user_key(&u->id));
	if (s && s->overfull && !offline_has_room(im, u->id, bytes))
		return false;
	return is_within(&im->limits, u->nr_unstored, u->unstored_bytes + bytes);
}

void offline_tell(struct im *im, const struct jid *jid, int64_t row)
{
	struct im_user *u = im_user_find(im, jid->bare);
	if (row && store_shared(im->store) && !(u && im_user_best(u)))
		store_tell(im->store, jid->bare, row);
}

void offline_left(struct im *im, const struct im_user *u)
{
	if (u->backlog)
		offline_tell(im, &u->jid, u->pumped + 1);
}

void offline_listen(struct im *im)
{
	struct im_user *u;
	struct buf bare;
	int64_t row;
	if (!store_shared(im->store))
		return;
	buf_init(&bare, IM_STANZA_MAX);
	while (store_told(im->store, &bare, &row)) {
		u = im_user_find(im, buf_slice(&bare));
		if (u && u->pumped >= row)
			u->pumped = row - 1; /* numbers are drawn before a transaction is committed */
		if (u)
			im_user_backlog(im, u);
	}
	buf_clear(&bare);
}

int64_t offline_store(struct im *im, int64_t user, const struct jid *jid, int64_t at_s, struct slice xml)
{
	struct buf out;
	int64_t row = 0;
	buf_init(&out, IM_STANZA_MAX);
	if (write_stored(&out, xml, jid, at_s) == 0) {
		count_stored(im, user, buf_len(&out));
		row = store_offline_add(im->store, user, at_s, buf_slice(&out));
	}
	buf_clear(&out);
	sid_log("offline", xml, jid->bare, row);
	return row;
}

/* One row on its way; it stays in the store until the client has it. One that no client could ever get goes back, lest it block the rest.
 */
static int pump_row(struct im_user *u, struct im_session *s, int64_t row, struct slice xml)
{
	struct im *im = s->im;
	struct im_work *w = work_new(im, NULL);
	w->row = row;
	work_keep(w, IM_OFFLINE, u, xml);
	hash_put(im->inflight, (struct slice){(const char *)&w->row, sizeof w->row}, w);
	int err = send_session(s, xml, w);
	if (err == SVCPROTO_E_INVALID) {
		error_bounce(im, xml, "not-acceptable", w);
		w->delivered = true; /* as far as the row is concerned */
		err = 0;
	}
	work_release(w);
	return err;
}

static bool is_busy(const struct im *im, int64_t row)
{
	return hash_get(im->inflight, (struct slice){(const char *)&row, sizeof row}) != NULL;
}

bool offline_waits(struct im_user *u)
{
	struct im_session *s = im_user_best(u);
	struct buf xml;
	int64_t row;
	if (!s)
		return false;
	buf_init(&xml, IM_STANZA_MAX);
	while ((row = store_offline_next(s->im->store, u->id, u->pumped, &xml)) && is_busy(s->im, row))
		u->pumped = row;
	buf_clear(&xml);
	return row != 0;
}

void offline_pump(struct im_user *u)
{
	struct im_session *s = im_user_best(u);
	struct buf xml;
	int64_t row = 0;
	if (!u->backlog || u->nr_limbo || !s || !STAILQ_EMPTY(&s->queue))
		return;
	buf_init(&xml, IM_STANZA_MAX);
	for (size_t n = 0; n < PUMP_MAX; n++) {
		row = store_offline_next(s->im->store, u->id, u->pumped, &xml);
		if (!row)
			break;
		if (!is_busy(s->im, row) && pump_row(u, s, row, buf_slice(&xml)) < 0)
			break;
		u->pumped = row;
	}
	u->backlog = row != 0;
	buf_clear(&xml);
}
