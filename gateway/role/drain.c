#include "role/drain.h"

#include <stdlib.h>

#include "common/log.h"
#include "role/drain_pace.h"
#include "role/edge.h"
#include "role/s2s_pair.h"
#include "svcproto/otherhost.h"

/*
 * Paced (role/drain_pace.h), since every client that is sent away logs in elsewhere: what left at once would arrive at once. Clients that
 * have no TLS yet can be sent nowhere; they and other servers' streams are among those who stay to the end.
 *
 * Our streams to other servers leave soon, and all at once, since nobody logs in for them: but services are to know that we drain, and hold
 * back what would cross the end of their streams and so be repeated. They do as soon as the registries have told them.
 */

#define TICK_MS 100
#define TOLD_MS 500   /* time for the registries to tell services */

struct drain {
	struct role_env *env;
	void (*changed)(void *arg, bool draining);
	void *arg;
	struct loop_timer timer;
	uint64_t until_ms, pairs_at_ms;      /* pairs leave at: UINT64_MAX: they have */
	bool over;
	struct svc_id id;
	struct drain_pace pace;
	uint64_t ticked_at_ms;
	uint32_t turn;                       /* counts those that were sent */
	char own[OTHER_HOST_MAX + 1];
	char host[OTHER_HOST_MAX + 1];
};

/* --- where to ------------------------------------------------------------ */

struct search {
	const struct drain *d;
	struct drain_others others;
	uint64_t weight, wanted;             /* of those seen so far, and the place among them that is looked for */
	char *out;                           /* takes the wanted one; NULL: they are only counted */
};

bool drain_is_over(const struct drain *d)
{
	return d->over;
}

bool drain_is_here(const struct drain *d, const char *host)
{
	return other_host_same(d->own, host);
}

static int consider(void *arg, const struct directory_gateway *g)
{
	struct search *q = arg;
	char host[OTHER_HOST_MAX + 1];

	q->others.nr_draining += g->draining;
	if (g->draining || g->client_port == 0 || !other_host_make(host, sizeof host, g->public_host, g->client_port) ||
	    drain_is_here(q->d, host))
		return 0;
	q->others.nr++;
	q->others.room += g->has_room ? g->room : 0;
	q->weight += drain_weight(g->has_room, g->room);
	if (q->out == NULL || q->weight <= q->wanted)
		return 0;
	memcpy(q->out, host, strlen(host) + 1);
	return 1;
}

static struct search look_around(const struct drain *d)
{
	struct search q = {.d = d};

	(void)directory_each_gateway(d->env->directory, consider, &q);
	return q;
}

const char *drain_elsewhere(struct drain *d)
{
	uint64_t weight = look_around(d).weight;
	struct search q = {.d = d, .wanted = weight > 0 ? drain_place(d->turn++, weight) : 0, .out = d->host};

	return directory_each_gateway(d->env->directory, consider, &q) != 0 ? d->host : NULL;
}

static int is_other(void *arg, const struct directory_gateway *g)
{
	const struct drain *d = arg;

	return !g->draining && memcmp(&g->owner, &d->id, sizeof g->owner) != 0;
}

/* --- the drain ------------------------------------------------------------ */

/* Are pairs still on their way? */
static bool pairs_leave(struct drain *d, uint64_t now)
{
	if (now >= d->pairs_at_ms) {
		d->pairs_at_ms = UINT64_MAX;
		s2s_pairs_leave(d->env);
	}
	return d->pairs_at_ms != UINT64_MAX || d->env->nr_leaving > 0;
}

static void close_all(struct drain *d)
{
	struct edge_walk walk;
	struct edge *e;

	d->over = d->env->leaving;
	s2s_pairs_leave(d->env);
	edge_walk_begin(d->env, &walk);
	while ((e = edge_walk_next(&walk)) != NULL)
		edge_close(e, CLOSE_SHUTDOWN);
	edge_walk_end(&walk);
}

static bool can_move(const struct edge *e)
{
	return e->ops->move != NULL && !e->ended && !e->waits && e->stream != NULL && stream_secure(e->stream) &&
	       stream_state(e->stream) < STREAM_CLOSING;
}

static size_t count_movable(const struct role_env *env)
{
	size_t n = 0;

	for (const struct edge *e = env->edges; e != NULL; e = e->next)
		n += can_move(e);
	return n;
}

/* Sends some away; those that could be sent nowhere stay. */
static void move_some(struct drain *d, size_t some)
{
	struct edge_walk walk;
	const char *host;
	struct edge *e;

	edge_walk_begin(d->env, &walk);
	while (some > 0 && (e = edge_walk_next(&walk)) != NULL) {
		if (!can_move(e))
			continue;
		host = drain_elsewhere(d);
		if (host == NULL)
			break;
		e->ops->move(e, host);
		some--;
	}
	edge_walk_end(&walk);
}

static void on_tick(void *arg)
{
	struct drain *d = arg;
	uint64_t now = loop_now_ms(d->env->loop), passed = now - d->ticked_at_ms;
	struct drain_others others = look_around(d).others;
	size_t left = count_movable(d->env);
	bool pairs = pairs_leave(d, now);

	if (now >= d->until_ms || (!pairs && (left == 0 || others.nr == 0))) {
		log_info("worker", 0, "drain-closes", "left=%zu", d->env->nr_edges);
		close_all(d);
		return;
	}
	d->ticked_at_ms = now;
	move_some(d, drain_pace(&d->pace, &others, left, passed, d->until_ms - now, TICK_MS));
	loop_timer_set(&d->timer, TICK_MS);
}

void drain_begin(struct drain *d, unsigned window_ms)
{
	log_info("worker", 0, "drain", "connections=%zu seconds=%u", d->env->nr_edges, window_ms / 1000);
	d->ticked_at_ms = loop_now_ms(d->env->loop);
	d->until_ms = d->ticked_at_ms + window_ms;
	if (!d->env->draining) {
		d->pairs_at_ms = directory_each_gateway(d->env->directory, is_other, d) ? loop_now_ms(d->env->loop) + TOLD_MS : UINT64_MAX;
		d->env->draining = true;
		d->changed(d->arg, true);
	}
	on_tick(d);
}

void drain_end(struct drain *d)
{
	if (!d->env->draining || d->env->leaving)
		return;
	loop_timer_cancel(&d->timer);
	d->pairs_at_ms = UINT64_MAX;
	log_info("worker", 0, "undrain", "connections=%zu", d->env->nr_edges);
	d->env->draining = false;
	d->changed(d->arg, false);
}

struct drain *drain_new(const struct drain_options *o)
{
	struct drain *d = NEW(struct drain);

	d->env = o->env;
	d->id = o->id;
	d->pairs_at_ms = UINT64_MAX;
	d->changed = o->changed;
	d->arg = o->arg;
	if (!other_host_make(d->own, sizeof d->own, o->public_host, o->client_port))
		d->own[0] = '\0';
	mem_random(&d->turn, sizeof d->turn);
	loop_timer_init(d->env->loop, &d->timer, on_tick, d);
	return d;
}

void drain_free(struct drain *d)
{
	if (d == NULL)
		return;
	loop_timer_cancel(&d->timer);
	free(d);
}
