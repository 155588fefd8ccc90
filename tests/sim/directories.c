/*
 * What gateways hear of registries: the real directory, fed with snapshots, and with news that arrives, late or not at all. It says which
 * instance a client is given to, and which one has died. Nothing that lives goes from it without cause, and nothing withdrawn comes back.
 */
#include "tests/sim/control.h"

#include <string.h>

#include "gateway/link/choose.h"
#include "svcproto/directory_keep.h"

enum { LIVES = 8, KEPT_MAX = 16384 };

static struct {
	uint8_t p[KEPT_MAX];
	size_t n;
} kept[GATEWAYS];

/* ---- what gateways hear ---- */

static bool holds(const struct registry *r, const struct svc_id *id)
{
	const struct entry *e = NULL;

	while (r->t != NULL && (e = registry_table_next(r->t, e)) != NULL)
		if (memcmp(&e->owner, id, sizeof(*id)) == 0)
			return true;
	return false;
}

/* An instance that lives and did not withdraw may go only where a registry went without it for a lease, or could know that it is not
 * there: by its age in the life that the gateway heard, and has not yet found to be over (a snapshot of the next one, or silence). */
static void check_gone(const struct gateway *g, const struct svc_id *id)
{
	const struct service *s = alive(id);
	bool known = false;

	if (s == NULL || truth[s->nr].withdrawn != 0)
		return;
	HOLDS(gateway_link(g, id) == NULL);
	for (int i = 0; i < REGISTRIES; i++) {
		const struct ear *ear = &ears[g->nr][i];
		const struct registry *r = &registries[i];

		known = known || (ear->synced && now >= ear->started_ms + REG_LEASE_MAX_MS);
		/* Nor where one that is heard still has it. */
		HOLDS(!ear->synced || ear->missed || ear->head != ear->tail || ear->life != r->life || !holds(r, id));
	}
	HOLDS(truth[s->nr].expired || known);
}

static int is_of(void *arg, const struct directory_registration *r)
{
	return memcmp(arg, &r->instance, sizeof(r->instance)) == 0;
}

bool gateway_knows(struct gateway *g, const struct svc_id *id)
{
	struct svc_id copy = *id;

	return gateway_link(g, id) != NULL || !g->heard || directory_every_registration(g->directory, is_of, &copy) != 0;
}

static void on_registration(void *arg, const struct directory_registration *r, bool gone)
{
	struct gateway *g = arg;
	struct svc_id id = r->instance;

	if (!gone)
		return;
	check_gone(g, &id);
	if (directory_every_registration(g->directory, is_of, &id) != 0)
		return;
	tally.gone++;
	svc_hub_forget(g->hub, r->key, &id);
}

static void feed(struct gateway *g, unsigned source, const struct entry *e)
{
	const struct service *s = alive(&e->owner);

	tally.withdrawn += e->gone && !e->expired;
	if (e->gone && !e->expired && s != NULL && e->version > truth[s->nr].told[g->nr])
		truth[s->nr].told[g->nr] = e->version;
	HOLDS(directory_feed_entry(g->directory, source, e, now) == 0);
}

static void take_snapshot(struct gateway *g, unsigned source)
{
	struct ear *ear = &ears[g->nr][source];
	struct registry *r = &registries[source];
	struct reg_frame f = { .type = REG_KEYS, .serial = 1, .parts = 1, .keys = keys_text, .keys_n = strlen(keys_text) };
	const struct entry *e = NULL;

	HOLDS(directory_feed_keys(g->directory, source, &f) == 0);
	directory_feed_begin(g->directory, source);
	while ((e = registry_table_next(r->t, e)) != NULL)
		feed(g, source, e);
	ear->life = r->life;
	ear->started_ms = r->started_ms;
	ear->head = ear->tail;
	ear->missed = false;
	ear->synced = true;
	g->heard = true;
	directory_feed_end(g->directory, source, now - r->started_ms, now);
}

static void listen(struct gateway *g, unsigned source)
{
	struct ear *ear = &ears[g->nr][source];
	struct registry *r = &registries[source];

	if (ear->apart || r->t == NULL) {
		if (ear->synced && now >= ear->heard_ms + REG_SILENCE_MS) {
			ear->synced = false;
			directory_feed_lost(g->directory, source);
		}
		return;
	}
	ear->heard_ms = now;
	while (ear->synced && !ear->missed && ear->life == r->life && ear->head != ear->tail && rnd(8) != 0)
		feed(g, source, &ear->news[ear->head++ % NEWS]);
	if (!ear->synced || ear->missed || ear->life != r->life)
		take_snapshot(g, source);
}

void directory_start(struct gateway *g)
{
	static const struct directory_ops ops = { .registration = on_registration };

	for (int i = 0; i < REGISTRIES; i++)
		ears[g->nr][i] = (struct ear){ .apart = ears[g->nr][i].apart };
	for (int s = 0; s < SERVICES; s++)
		truth[s].told[g->nr] = 0;
	g->heard = false;
	g->directory = directory_new(&ops, g);
	if (kept[g->nr].n > 0)
		HOLDS(directory_keep_read(g->directory, kept[g->nr].p, kept[g->nr].n, now) == 0);
}

static bool put(void *arg, const void *p, size_t n)
{
	uint32_t g = (uint32_t)((struct gateway *)arg)->nr;

	if (kept[g].n + n > KEPT_MAX)
		return false;
	memcpy(kept[g].p + kept[g].n, p, n);
	kept[g].n += n;
	return true;
}

/* What it kept on its disk, or not. */
void directory_crash(struct gateway *g)
{
	kept[g->nr].n = 0;
	if (rnd(2) == 0 && directory_has_keys(g->directory))
		HOLDS(directory_keep_write(g->directory, put, g));
	directory_free(g->directory);
	g->directory = NULL;
}

void directory_linked(struct gateway *g, const struct svc_id *id)
{
	HOLDS(directory_set_linked(g->directory, SERVICE_KEY, id, gateway_link(g, id) != NULL) == 0);
}

/* ---- the choice ---- */

/* Registered, as far as was told here; and what was withdrawn is not given back by who missed that. */
static int check_shown(void *arg, const struct directory_registration *r)
{
	const struct gateway *g = arg;
	const struct service *s = alive(&r->instance);

	HOLDS(s == NULL || truth[s->nr].registered || truth[s->nr].told[g->nr] < truth[s->nr].withdrawn);
	return 0;
}

struct search {
	struct gateway *g;
	struct choose_candidate v[LIVES];
	size_t nr;
};

static int consider(void *arg, const struct directory_registration *r)
{
	struct search *q = arg;

	if (q->nr == LIVES || r->draining || gateway_link(q->g, &r->instance) == NULL)
		return 0;
	memcpy(q->v[q->nr].instance, &r->instance, sizeof(r->instance));
	q->v[q->nr].weight = r->weight;
	q->v[q->nr++].reopens = r->reopens;
	return 0;
}

bool gateway_choose(struct gateway *g, uint8_t client, struct svc_id *instance, bool *reopens)
{
	struct search q = { .g = g };
	char jid[] = "0@" DOMAIN;
	size_t i;

	jid[0] = (char)('0' + client);
	(void)directory_each_registration(g->directory, DOMAIN, SVCPROTO_CLIENT, consider, &q);
	i = choose_hash(q.v, q.nr, (struct slice){ jid, strlen(jid) });
	if (i == q.nr)
		return false;
	memcpy(instance, q.v[i].instance, sizeof(*instance));
	*reopens = q.v[i].reopens;
	return true;
}

/* ---- now and then ---- */

void directory_step(struct gateway *g)
{
	for (unsigned i = 0; i < REGISTRIES; i++)
		if (rnd(4) != 0)
			listen(g, i);
	(void)directory_feed_tick(g->directory, now);
	(void)directory_every_registration(g->directory, check_shown, g);
}

void directories_clear(void)
{
	memset(kept, 0, sizeof(kept));
}
