#include "link/admin.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/log.h"
#include "link/link.h"

/*
 * Every request is an object here from ADMIN to the last part of its answer, so that an answer which comes later finds it, or finds that it
 * is gone. Answers leave before stanzas do on a link, so that little of one is given to it at a time; the rest waits here for a flush.
 */

#define OPEN_MAX 64u            /* for each link */
#define QUEUED_MAX 16384u
#define WAITING_MAX (64u << 20)      /* for each worker */

struct admin {
	struct loop *loop;
	struct directory *directory;
	const struct admin_ops *ops;
	void *arg;
	struct admin_request *open;
	struct loop_task run;
	uint64_t next_id;
	size_t waiting_bytes;   /* of all requests */
};

static void forget(struct admin *a, struct admin_request *q)
{
	struct admin_request **p = &a->open;

	while (*p != q)
		p = &(*p)->next;
	*p = q->next;
	a->waiting_bytes -= buf_len(&q->waiting);
	buf_clear(&q->waiting);
	free(q);
}

static bool has_room(const struct admin_request *q)
{
	return svc_link_queued_bytes(q->link->engine) < QUEUED_MAX;
}

/* A part that the link does not take any more is lost with the link, which is about to end. */
static void send_part(struct admin_request *q, bool more, const char *error, const struct svcproto_property *v, size_t nr)
{
	int err = svc_link_admin_reply(q->link->engine, q->number, more, error, v, nr);

	if (err != 0 && err != SVCPROTO_E_CLOSED)
		log_warn("admin", q->link->id, "reply", "why=\"%s\"", svcproto_strerror(err));
	links_touch(q->link->set);
}

/* --- parts that wait: how many texts (one byte), then the texts, each with its NUL ------------------------------------------ */

static bool keep_text(struct admin_request *q, const char *text)
{
	return buf_add(&q->waiting, text, strlen(text) + 1) == 0;
}

static void keep_row(struct admin_request *q, const struct svcproto_property *v, size_t nr)
{
	struct admin *a = links_admin(q->link->set);
	size_t before = buf_len(&q->waiting);
	char count = (char)nr;
	bool kept = buf_add(&q->waiting, &count, 1) == 0;

	for (size_t i = 0; i < nr && kept; i++)
		kept = keep_text(q, v[i].name) && keep_text(q, v[i].value);
	kept = kept && a->waiting_bytes + buf_len(&q->waiting) - before <= WAITING_MAX;
	if (!kept)
		buf_truncate(&q->waiting, before);
	a->waiting_bytes += buf_len(&q->waiting) - before;
	q->too_long = q->too_long || !kept;
}

static const char *next_text(const char **p)
{
	const char *text = *p;

	*p += strlen(text) + 1;
	return text;
}

/* The oldest part that waits. */
static void send_waiting(struct admin_request *q)
{
	struct svcproto_property v[SVC_ADMIN_PROPS_MAX];
	struct slice all = buf_slice(&q->waiting);
	size_t nr = (unsigned char)all.p[0];
	const char *p = all.p + 1;
	bool last;

	for (size_t i = 0; i < nr; i++) {
		v[i].name = next_text(&p);
		v[i].value = next_text(&p);
	}
	last = q->ended && (size_t)(p - all.p) == all.n;
	if (last && q->too_long)
		send_part(q, false, "the list is too long; ask for less of it", NULL, 0);
	else
		send_part(q, !last, NULL, v, nr);
	links_admin(q->link->set)->waiting_bytes -= (size_t)(p - all.p);
	buf_drain(&q->waiting, (size_t)(p - all.p));
}

/* --- the owner's side ---------------------------------------------------- */

void admin_row(struct admin_request *q, const struct svcproto_property *v, size_t nr)
{
	ASSERT(nr <= SVC_ADMIN_PROPS_MAX);
	if (buf_len(&q->waiting) == 0 && has_room(q))
		send_part(q, true, NULL, v, nr);
	else
		keep_row(q, v, nr);
}

void admin_done(struct admin_request *q, const struct svcproto_property *v, size_t nr)
{
	ASSERT(nr <= SVC_ADMIN_PROPS_MAX);
	if (buf_len(&q->waiting) == 0 || q->too_long) {
		if (q->too_long)
			send_part(q, false, "the list is too long; ask for less of it", NULL, 0);
		else
			send_part(q, false, NULL, v, nr);
		forget(links_admin(q->link->set), q);
		return;
	}
	keep_row(q, v, nr);
	q->ended = true;
	q->step = NULL;
}

void admin_fail(struct admin_request *q, const char *fmt, ...)
{
	char why[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof why, fmt, ap);
	va_end(ap);
	send_part(q, false, why, NULL, 0);
	forget(links_admin(q->link->set), q);
}

const char *admin_arg(const struct admin_args *a, const char *name)
{
	for (size_t i = 0; i < a->nr; i++) {
		if (strcmp(a->v[i].name, name) == 0)
			return a->v[i].value;
	}
	return NULL;
}

struct admin_request *admin_find(struct admin *a, uint64_t id)
{
	struct admin_request *q = a->open;

	while (q != NULL && q->id != id)
		q = q->next;
	return q;
}

static bool wants_run(const struct admin_request *q)
{
	return (q->step != NULL || buf_len(&q->waiting) > 0) && has_room(q);
}

/* What waits leaves first. True when there may be more to do. */
static bool run(struct admin *a, struct admin_request *q)
{
	while (buf_len(&q->waiting) > 0 && has_room(q))
		send_waiting(q);
	if (buf_len(&q->waiting) > 0)
		return false;
	if (q->ended)
		forget(a, q);
	else if (q->step != NULL && has_room(q))
		return !q->step(q);
	return false;
}

static void on_run(void *arg)
{
	struct admin *a = arg;
	bool again = false;

	for (struct admin_request *q = a->open, *next; q != NULL; q = next) {
		next = q->next;
		again = (wants_run(q) && run(a, q)) || again;
	}
	if (again)
		loop_task_queue_next(a->loop, &a->run);
}

void admin_list(struct admin *a, struct admin_request *q, bool (*step)(struct admin_request *q))
{
	q->step = step;
	loop_task_queue_next(a->loop, &a->run);
}

void admin_flushed(struct admin *a)
{
	for (struct admin_request *q = a->open; q != NULL; q = q->next) {
		if (wants_run(q))
			loop_task_queue_next(a->loop, &a->run);
	}
}

static unsigned nr_open(const struct admin *a, const struct link *k)
{
	unsigned n = 0;

	for (const struct admin_request *q = a->open; q != NULL; q = q->next)
		n += q->link == k;
	return n;
}

static void refuse(struct link *k, uint32_t number, const char *command, const char *why)
{
	log_warn("admin", k->id, "refused", "command=%s key=%s why=\"%s\"", log_escape(slice_str(command)), log_escape(slice_str(k->key)),
		 why);
	(void)svc_link_admin_reply(k->engine, number, false, why, NULL, 0);
	links_touch(k->set);
}

void admin_asked(struct admin *a, struct link *k, uint32_t number, const char *command, const struct admin_args *args)
{
	struct admin_request *q;

	if (directory_role(a->directory, k->key) != DIR_ROLE_ADMIN) {
		refuse(k, number, command, "the key does not have the role admin");
		return;
	}
	if (nr_open(a, k) >= OPEN_MAX) {
		refuse(k, number, command, "too many requests are open; wait for answers");
		return;
	}
	log_info("admin", k->id, "asked", "command=%s by=%s", log_escape(slice_str(command)), log_escape(slice_str(k->peer.name)));
	q = NEW(struct admin_request);
	q->id = ++a->next_id;
	q->link = k;
	q->number = number;
	buf_init(&q->waiting, WAITING_MAX);
	q->next = a->open;
	a->open = q;
	a->ops->ask(a->arg, q, command, args);
}

static void end_all_of(struct admin *a, const struct link *k)
{
	for (struct admin_request *q = a->open, *next; q != NULL; q = next) {
		next = q->next;
		if (k == NULL || q->link == k) {
			a->ops->gone(a->arg, q);
			forget(a, q);
		}
	}
}

void admin_link_down(struct admin *a, const struct link *k)
{
	end_all_of(a, k);
}

struct admin *admin_new(struct loop *loop, struct directory *directory, const struct admin_ops *ops, void *arg)
{
	struct admin *a = NEW(struct admin);

	a->loop = loop;
	a->directory = directory;
	a->ops = ops;
	a->arg = arg;
	loop_task_init(&a->run, on_run, a);
	return a;
}

void admin_free(struct admin *a)
{
	if (a == NULL)
		return;
	end_all_of(a, NULL);
	loop_task_cancel(a->loop, &a->run);
	free(a);
}
