/*
 * A table is encoded once for all who asked before that, and for those after while nothing has changed: a member must not get one that is
 * older than its request, since its subscription may be younger. Images live as long as somebody is sent them.
 */
#include "registry/snapshots.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "svcproto/wire.h"

#define TURN_MESSAGES 8u /* to each active member */
#define NUMBER_AT 8u     /* in the batch header */
#define NEVER UINT64_MAX

struct piece {
	uint8_t *b;
	size_t n;
};

struct image {
	unsigned refs;
	uint64_t number;   /* of the table */
	uint64_t made_at;  /* by the count of requests */
	struct piece *pieces;
	size_t nr, cap;
};

struct job {
	TAILQ_ENTRY(job) all;
	uint8_t route[SNAPSHOTS_ROUTE_MAX];
	size_t route_n;
	uint64_t number;
	uint64_t asked_at;   /* by the count of requests */
	uint64_t moved_ms;   /* when the last message left */
	struct image *image; /* NULL: it waits */
	size_t next;         /* piece */
};

TAILQ_HEAD(jobs, job);

struct snapshots {
	const struct snapshots_ops *ops;
	void *arg;
	struct jobs jobs;      /* the active ones come first */
	size_t nr, nr_active;
	uint64_t requests;
	struct image *newest;  /* held by its jobs */
	struct reg_message message;
};

struct snapshots *snapshots_new(const struct snapshots_ops *ops, void *arg)
{
	struct snapshots *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->ops = ops;
	s->arg = arg;
	TAILQ_INIT(&s->jobs);
	return s;
}

static void image_free(struct image *image)
{
	for (size_t i = 0; i < image->nr; i++)
		free(image->pieces[i].b);
	free(image->pieces);
	free(image);
}

static void image_let_go(struct snapshots *s, struct job *j)
{
	struct image *image = j->image;

	if (image == NULL)
		return;
	j->image = NULL;
	s->nr_active--;
	if (--image->refs > 0)
		return;
	if (s->newest == image)
		s->newest = NULL;
	image_free(image);
}

static void job_end(struct snapshots *s, struct job *j)
{
	image_let_go(s, j);
	TAILQ_REMOVE(&s->jobs, j, all);
	s->nr--;
	free(j);
}

void snapshots_clear(struct snapshots *s)
{
	struct job *j;

	while ((j = TAILQ_FIRST(&s->jobs)) != NULL)
		job_end(s, j);
}

void snapshots_free(struct snapshots *s)
{
	if (s == NULL)
		return;
	snapshots_clear(s);
	free(s);
}

static struct job *job_find(struct snapshots *s, const void *route, size_t route_n)
{
	struct job *j;

	TAILQ_FOREACH(j, &s->jobs, all)
		if (j->route_n == route_n && memcmp(j->route, route, route_n) == 0)
			return j;
	return NULL;
}

static struct job *job_new(struct snapshots *s, const void *route, size_t route_n)
{
	struct job *j = route_n <= SNAPSHOTS_ROUTE_MAX && s->nr < SNAPSHOTS_WAITING ? calloc(1, sizeof(*j)) : NULL;

	if (j == NULL)
		return NULL;
	memcpy(j->route, route, route_n);
	j->route_n = route_n;
	TAILQ_INSERT_TAIL(&s->jobs, j, all);
	s->nr++;
	return j;
}

/* One that was being sent begins anew, before all that wait. */
static void job_restart(struct snapshots *s, struct job *j)
{
	if (j->image == NULL)
		return;
	image_let_go(s, j);
	TAILQ_REMOVE(&s->jobs, j, all);
	TAILQ_INSERT_HEAD(&s->jobs, j, all);
}

void snapshots_ask(struct snapshots *s, const void *route, size_t route_n, uint64_t number, uint64_t now_ms)
{
	struct job *j = job_find(s, route, route_n);

	if (j != NULL)
		job_restart(s, j);
	else
		j = job_new(s, route, route_n);
	if (j == NULL)
		return;
	j->number = number;
	j->asked_at = ++s->requests;
	j->moved_ms = now_ms;
}

static bool add_piece(void *to, const struct reg_message *m)
{
	struct image *image = to;
	size_t cap = image->cap == 0 ? 16 : image->cap * 2;
	uint8_t *b = malloc(m->n);
	struct piece *more = image->nr < image->cap || b == NULL ? image->pieces : realloc(image->pieces, cap * sizeof(*more));

	if (b == NULL || more == NULL) {
		free(b);
		return false;
	}
	if (image->nr == image->cap)
		image->cap = cap;
	memcpy(b, m->b, m->n);
	image->pieces = more;
	image->pieces[image->nr++] = (struct piece){ b, m->n };
	return true;
}

/* The newest image if it will do, else a new one; NULL: no memory. */
static struct image *image_for(struct snapshots *s, const struct job *j)
{
	uint64_t number = s->ops->number(s->arg);
	struct image *image = s->newest;

	if (image != NULL && (image->number == number || image->made_at >= j->asked_at))
		return image;
	image = calloc(1, sizeof(*image));
	if (image == NULL)
		return NULL;
	image->number = number;
	image->made_at = s->requests;
	if (s->ops->build(s->arg, add_piece, image) && image->nr > 0) {
		s->newest = image;
		return image;
	}
	image_free(image);
	return NULL;
}

/* The next one that waits is sent to from now on; false: nobody, or not now. */
static bool activate(struct snapshots *s, uint64_t now_ms)
{
	struct job *j;

	TAILQ_FOREACH(j, &s->jobs, all)
		if (j->image == NULL)
			break;
	if (j == NULL || s->nr_active >= SNAPSHOTS_ACTIVE)
		return false;
	j->image = image_for(s, j);
	if (j->image == NULL) {
		job_end(s, j);
		return true;
	}
	j->image->refs++;
	j->next = 0;
	j->moved_ms = now_ms;
	s->nr_active++;
	TAILQ_REMOVE(&s->jobs, j, all);
	TAILQ_INSERT_HEAD(&s->jobs, j, all);
	return true;
}

static enum snapshots_sent send_piece(struct snapshots *s, const struct job *j)
{
	const struct piece *p = &j->image->pieces[j->next];

	memcpy(s->message.b, p->b, p->n);
	s->message.n = p->n;
	wire_put_u64(s->message.b + NUMBER_AT, j->number);
	return s->ops->send(s->arg, j->route, j->route_n, &s->message);
}

/* True: it would take more at once. */
static bool job_advance(struct snapshots *s, struct job *j, uint64_t now_ms)
{
	enum snapshots_sent sent = SNAPSHOTS_SENT;

	for (unsigned i = 0; i < TURN_MESSAGES && j->next < j->image->nr && (sent = send_piece(s, j)) == SNAPSHOTS_SENT; i++) {
		j->next++;
		j->moved_ms = now_ms;
	}
	if (sent == SNAPSHOTS_SENT && j->next < j->image->nr)
		return true;
	if (sent != SNAPSHOTS_FULL || now_ms >= j->moved_ms + SNAPSHOTS_STALL_MS)
		job_end(s, j);
	return false;
}

uint64_t snapshots_advance(struct snapshots *s, uint64_t now_ms)
{
	struct job *j, *next;
	bool more = false;

	while (activate(s, now_ms))
		;
	for (j = TAILQ_FIRST(&s->jobs); j != NULL && j->image != NULL; j = next) {
		next = TAILQ_NEXT(j, all);
		more = job_advance(s, j, now_ms) || more;
	}
	if (s->nr == 0)
		return NEVER;
	return more || (s->nr_active < SNAPSHOTS_ACTIVE && s->nr > s->nr_active) ? now_ms : now_ms + SNAPSHOTS_RETRY_MS;
}
