/*
 * Sessions from OPEN to their end: the resource (RFC 6120 section 7), its conflicts, and who may have one. A session that left its user is
 * invisible; the object lives on until the transport has closed it and all its stanzas in flight have come back.
 */
#include <stdlib.h>

#include "common/err.h"
#include "common/log.h"
#include "services/im/core.h"

enum { SESSION_MAGIC = 0x53455353 };

/* A resource that nobody can guess (RFC 6120 section 7.6). */
static void resource_make(char out[33])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char b[16];
	mem_random(b, sizeof b);
	for (size_t i = 0; i < sizeof b; i++) {
		out[2 * i] = hex[b[i] >> 4];
		out[2 * i + 1] = hex[b[i] & 15];
	}
	out[32] = '\0';
}

static int full_jid(struct jid *full, const struct jid *bare, const char *wanted)
{
	char made[33];
	if (!wanted || !*wanted) {
		resource_make(made);
		wanted = made;
	}
	return jid_make(full, bare->local, bare->domain, slice_str(wanted));
}

static struct im_session *session_refuse(struct im *im, void *link, const char *type, const char *condition)
{
	im->ops->refuse(im->arg, link, type, condition, NULL);
	return NULL;
}

/* The newest wins (RFC 6120 section 7.7.2.2, first choice): the old one is told why. */
static void conflict(struct im *im, const struct jid *full)
{
	struct im_session *old = im_session_find(im, full);
	if (old)
		session_kill(old, "conflict", NULL);
}

static struct im_session *session_new(struct im *im, void *link, const struct jid *full, int64_t user)
{
	struct im_session *s = NEW(struct im_session);
	s->magic = SESSION_MAGIC;
	s->im = im;
	s->link = link;
	s->jid = *full;
	s->user = im_user_ref(im, full->bare, user);
	STAILQ_INIT(&s->queue);
	TAILQ_INIT(&s->sends);
	TAILQ_INSERT_TAIL(&s->user->sessions, s, link_user);
	s->user->nr_sessions++;
	im->nr_sessions++;
	TAILQ_INSERT_TAIL(&im->sessions, s, link_all);
	moving_opened(s);
	behind_opened(s);
	passing_soon(im);
	return s;
}

static struct im_session *session_admit(struct im *im, void *link, struct jid *bare, const char *resource)
{
	struct jid full;
	if (!im_is_local(im, bare->domain) || slice_empty(bare->local))
		return session_refuse(im, link, "cancel", "not-allowed");
	if (full_jid(&full, bare, resource) < 0)
		return session_refuse(im, link, "modify", "bad-request");
	conflict(im, &full);
	struct im_user *u = im_user_find(im, bare->bare);
	int64_t id = u ? u->id : store_user_add(im->store, bare->bare, im->wall_s);
	if (!id || (u && u->nr_sessions >= im->limits.sessions_max)) {
		jid_clear(&full);
		return session_refuse(im, link, "wait", "resource-constraint");
	}
	if (im->ops->accept(im->arg, link, full.full_) < 0) {
		jid_clear(&full);
		return session_refuse(im, link, "wait", "resource-constraint");
	}
	return session_new(im, link, &full, id);
}

struct im_session *im_session_open(struct im *im, void *link, const struct svcproto_open *o)
{
	struct jid bare;
	if (jid_parse(&bare, slice_str(o->bare_jid)) < 0)
		return session_refuse(im, link, "modify", "jid-malformed");
	struct im_session *s = session_admit(im, link, &bare, o->resource);
	jid_clear(&bare);
	if (s)
		log_info("im", 0, "session", "jid=%s mechanism=%s address=%s", log_escape(s->jid.full),
			 o->mechanism ? log_escape(slice_str(o->mechanism)) : "-", o->address ? log_escape(slice_str(o->address)) : "-");
	return s;
}

/* Its messages in flight may come back only when its gateway has answered. By then the user may be here again, or at another instance:
 * there they find them in the store, and here they wait for them. */
static void sends_leave(struct im_session *s, const struct im_user *u)
{
	struct im_send *snd;
	TAILQ_FOREACH(snd, &s->sends, link) {
		struct im_work *w = snd->work;
		if (!w || w->user != u || w->fallback != IM_OFFLINE || snd->limbo)
			continue; /* an error for one's own message shares the work of that, whose user is the other one */
		snd->limbo = true;
		w->user->nr_limbo++;
		work_store(w);
	}
}

void session_leave(struct im_session *s, struct im_work *w)
{
	struct im_user *u = s->user;
	if (!u)
		return;
	presence_gone(s, w);
	send_queue_clear(s);
	TAILQ_REMOVE(&u->sessions, s, link_user);
	u->nr_sessions--;
	s->im->nr_sessions--;
	s->user = NULL;
	sends_leave(s, u);
	im_user_unref(s->im, u);
}

void session_kill(struct im_session *s, const char *condition, const char *text)
{
	if (s->closed || !s->user)
		return;
	session_leave(s, NULL);
	s->im->ops->close(s->im->arg, s->link, condition, text);
}

void session_free(struct im_session *s)
{
	OBJ_CHECK(s, SESSION_MAGIC);
	if (s->nr_sends)
		return;
	for (size_t i = 0; i < s->nr_directed; i++)
		free(s->directed[i]);
	free(s->directed);
	free(s->presence);
	jid_clear(&s->jid);
	free(s);
}

void im_session_closed(struct im_session *s)
{
	OBJ_CHECK(s, SESSION_MAGIC);
	s->closed = true; /* nothing more is sent to it, its own farewell neither */
	session_leave(s, NULL);
	s->link = NULL;
	TAILQ_REMOVE(&s->im->sessions, s, link_all);
	log_info("im", 0, "session-end", "jid=%s", log_escape(s->jid.full));
	session_free(s);
}
