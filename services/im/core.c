/* The core's life, its tables, and its turns: what came in is stored, committed, and only then acknowledged. */
#include "services/im/core.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/err.h"
#include "common/log.h"

const struct im_limits im_limits_default = {
	.wait_ms = 1000,
	.sends_max = 1u << 18,
	.sessions_max = 64,
	.overflow_bytes_max = 1u << 20,
	.offline_max = 1000,
	.offline_bytes_max = 16u << 20,
	.contacts_max = 2000,
	.directed_max = 1000,
	.presence_bytes_max = 65536,
};

enum { LISTEN_MS = 1000 }; /* when nothing else comes, what other instances tell is heard that late */

/* The gateway has checked every stanza; these bounds keep a broken one from hurting. */
const struct xml_limits im_xml_limits = {.element_bytes = IM_STANZA_MAX, .tag_bytes = 65536, .depth_max = 512, .attrs_max = 256};

static bool domains_add(struct im *im, char *const *domains, size_t nr)
{
	im->domain_names = mem_alloc((nr + 1) * sizeof *im->domain_names);
	for (size_t i = 0; i < nr; i++) {
		char *name = jid_prep_domain(slice_str(domains[i]));
		if (!name)
			return false;
		im->domain_names[im->nr_domains++] = name;
		hash_put(im->domains, slice_str(name), name);
	}
	return true;
}

struct im *im_new(const char *database, char *const *domains, size_t nr_domains, const struct im_limits *limits, const struct im_ops *ops,
		  void *arg, char *why, size_t why_size)
{
	struct im *im = NEW(struct im);
	im->ops = ops;
	im->arg = arg;
	im->limits = limits ? *limits : im_limits_default;
	im->domains = hash_new();
	im->users = hash_new();
	im->sends = hash_new();
	im->inflight = hash_new();
	im->stored = hash_new();
	im->peers = hash_new();
	sid_init(im);
	TAILQ_INIT(&im->waiting);
	TAILQ_INIT(&im->dirty);
	TAILQ_INIT(&im->sessions);
	if (!domains_add(im, domains, nr_domains)) {
		snprintf(why, why_size, "not a domain: %s", log_escape(slice_str(domains[im->nr_domains])));
		im_free(im);
		return NULL;
	}
	im->store = store_open(database, why, why_size);
	if (!im->store) {
		im_free(im);
		return NULL;
	}
	passing_init(im);
	return im;
}

/* Sessions with something in flight are freed with the last of it, by send_forget(). */
static void sessions_forget(struct im *im)
{
	struct im_session *s;
	while ((s = TAILQ_FIRST(&im->sessions))) {
		if (s->user) {
			TAILQ_REMOVE(&s->user->sessions, s, link_user);
			im_user_unref(im, s->user);
			s->user = NULL;
		}
		send_queue_clear(s);
		s->closed = true;
		TAILQ_REMOVE(&im->sessions, s, link_all);
		session_free(s);
	}
}

void im_free(struct im *im)
{
	if (!im)
		return;
	sessions_forget(im);
	send_forget(im);
	ASSERT(hash_count(im->users) == 0 && hash_count(im->inflight) == 0 && hash_count(im->peers) == 0);
	passing_clear(im);
	store_close(im->store);
	hash_free(im->domains);
	hash_free(im->users);
	hash_free(im->sends);
	hash_free(im->inflight);
	offline_clear(im);
	hash_free(im->peers);
	for (size_t i = 0; i < im->nr_domains; i++)
		free(im->domain_names[i]);
	free(im->domain_names);
	free(im->acks);
	sid_clear(im);
	free(im);
}

bool im_is_local(const struct im *im, struct slice domain)
{
	return hash_get(im->domains, domain) != NULL;
}

bool im_whose(const struct im *im, struct slice bare, unsigned char instance[16])
{
	char *name;
	bool owns;
	if (!im->ops->is_here)
		return true;
	name = mem_slicedup(bare);
	owns = im->ops->is_here(im->arg, name, instance);
	free(name);
	return owns;
}

bool im_owns(const struct im *im, struct slice bare)
{
	unsigned char instance[16];
	return im_whose(im, bare, instance);
}

bool im_is_here(const struct im *im, const struct jid *jid)
{
	struct im_user *u;
	if (!im_is_local(im, jid->domain))
		return false;
	if (!im->ops->is_here || slice_empty(jid->local) || slice_eq(jid->bare, im->taken))
		return true;
	u = im_user_find(im, jid->bare);
	return (u && u->nr_sessions) || im_owns(im, jid->bare);
}

struct im_user *im_user_find(const struct im *im, struct slice bare)
{
	return hash_get(im->users, bare);
}

struct im_user *im_user_ref(struct im *im, struct slice bare, int64_t id)
{
	struct im_user *u = im_user_find(im, bare);
	if (!u) {
		u = NEW(struct im_user);
		u->id = id;
		TAILQ_INIT(&u->sessions);
		TAILQ_INIT(&u->unstored);
		int err = jid_parse(&u->jid, bare);
		ASSERT(err == 0); /* it came out of a JID */
		hash_put(im->users, u->jid.bare, u);
	}
	u->nr_refs++;
	return u;
}

void im_user_unref(struct im *im, struct im_user *u)
{
	if (--u->nr_refs)
		return;
	if (u->dirty) {
		TAILQ_REMOVE(&im->dirty, u, dirty_link);
		im->nr_dirty--;
	}
	hash_del(im->users, u->jid.bare);
	jid_clear(&u->jid);
	free(u);
}

struct im_session *im_session_find(const struct im *im, const struct jid *full)
{
	struct im_user *u = im_user_find(im, full->bare);
	struct im_session *s;
	if (!u || slice_empty(full->resource))
		return NULL;
	TAILQ_FOREACH(s, &u->sessions, link_user) {
		if (slice_eq(s->jid.resource, full->resource))
			return s;
	}
	return NULL;
}

struct im_session *im_user_best(const struct im_user *u)
{
	struct im_session *s, *best = NULL;
	TAILQ_FOREACH(s, &u->sessions, link_user) {
		if (s->available && s->priority >= 0 && (!best || s->priority > best->priority))
			best = s;
	}
	return best;
}

void im_user_backlog(struct im *im, struct im_user *u)
{
	if (!im_user_best(u))
		return; /* the session that is to get them will look for them */
	u->backlog = true;
	im_user_mark(im, u);
}

void im_user_mark(struct im *im, struct im_user *u)
{
	if (u->dirty)
		return;
	u->dirty = true;
	im->nr_dirty++;
	TAILQ_INSERT_TAIL(&im->dirty, u, dirty_link);
}

void im_turn_begin(struct im *im, uint64_t now_ms, int64_t wall_s)
{
	im->now_ms = now_ms;
	im->wall_s = wall_s;
	offline_listen(im);
	passing_resume(im); /* what somebody left goes before what comes now */
}

/* Sessions that can't take what they must not miss are closed here, where nobody walks over a user's sessions. */
static void kill_overflowed(struct im_user *u)
{
	struct im_session *s = TAILQ_FIRST(&u->sessions);
	while (s) {
		if (!s->overflowed) {
			s = TAILQ_NEXT(s, link_user);
			continue;
		}
		session_kill(s, "resource-constraint", "too much is waiting for this client");
		s = TAILQ_FIRST(&u->sessions); /* the kill may have changed the list */
	}
}

/* True when the user must be looked at again and no answer in flight will remind us. */
static bool user_refresh(struct im_user *u)
{
	struct im_session *s;
	bool again = false;
	kill_overflowed(u);
	TAILQ_FOREACH(s, &u->sessions, link_user) {
		if (!send_drain(s) && s->nr_sends == 0)
			again = true;
	}
	offline_pump(u);
	s = im_user_best(u);
	return again || (u->backlog && !u->nr_limbo && s && s->nr_sends == 0);
}

/* Whoever may have room, or something new to get: one look at each, so that a turn ends. */
static void refresh(struct im *im)
{
	for (size_t n = im->nr_dirty; n && !TAILQ_EMPTY(&im->dirty); n--) {
		struct im_user *u = TAILQ_FIRST(&im->dirty);
		TAILQ_REMOVE(&im->dirty, u, dirty_link);
		im->nr_dirty--;
		u->dirty = false;
		u->nr_refs++;
		if (user_refresh(u))
			im_user_mark(im, u);
		im_user_unref(im, u);
	}
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t next_turn(const struct im *im)
{
	uint64_t next_ms = sooner(works_next_ms(im), moving_next_ms(im));
	if (store_shared(im->store))
		next_ms = sooner(next_ms, im->nr_sessions ? sooner(im->adopt_at_ms, im->now_ms + LISTEN_MS) : im->adopt_at_ms);
	if (im->linked && im->resume.nr)
		next_ms = sooner(next_ms, im->resume.due_ms > im->now_ms ? im->resume.due_ms : im->now_ms);
	return im->nr_dirty ? sooner(next_ms, im->now_ms + 100) : next_ms;
}

int im_turn_end(struct im *im, uint64_t *next_ms)
{
	works_expire(im);
	passing_resume(im);
	moving_run(im);
	refresh(im);
	if (store_dirty(im->store) && store_commit(im->store) < 0)
		return -ERR_IO;
	for (size_t i = 0; i < im->nr_acks; i++)
		im->ops->ack(im->arg, im->acks[i]);
	im->nr_acks = 0;
	passing_adopt(im);
	*next_ms = next_turn(im);
	return 0;
}

const char *im_why(const struct im *im)
{
	return store_why(im->store);
}

void im_linked(struct im *im)
{
	im->linked = true;
}

size_t im_nr_unacknowledged(const struct im *im)
{
	return im->nr_waiting + im->nr_acks;
}

size_t im_nr_in_flight(const struct im *im)
{
	return hash_count(im->sends);
}

size_t im_nr_sessions(const struct im *im)
{
	return im->nr_sessions;
}
