/*
 * Between instances of one domain: which of them has a user, and what comes from the others. What an instance sends to another is
 * numbered over all streams of one origin, by position; a stream says how many positions are acknowledged, and goes on from there
 * (peer_row.h).
 */
#include "svcproto/client.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "svcproto/choose.h"
#include "svcproto/redirects.h"

#define PEERS_MAX 50000u
#define BUCKETS 16384u
#define KEEP_MS 90000u   /* longer than anybody waits to send again */

/* ---- who has a user ---- */

struct search {
	const struct svcproto *sp;
	const char *key;
	size_t n;
	double best;
	struct svc_id best_id;
	bool any, by_hash, ours;
};

static int consider(void *arg, const struct directory_registration *r)
{
	struct search *q = arg;
	double score;
	int order;

	q->by_hash = strcmp(r->policy, "hash") == 0;
	if (r->draining || !q->by_hash)
		return !q->by_hash;
	q->ours = q->ours || memcmp(&r->instance, &q->sp->hello.instance, sizeof(r->instance)) == 0;
	score = choose_score(r->instance.b, r->weight != 0 ? r->weight : 1, q->key, q->n);
	order = score > q->best ? 1 : score < q->best ? -1 : memcmp(&r->instance, &q->best_id, sizeof(r->instance));
	if (!q->any || order > 0) {
		q->best = score;
		q->best_id = r->instance;
	}
	q->any = true;
	return 0;
}

bool svcproto_is_here(const struct svcproto *sp, const char *bare_jid)
{
	unsigned char instance[16];

	return svcproto_whose(sp, bare_jid, instance);
}

bool svcproto_whose(const struct svcproto *sp, const char *bare_jid, unsigned char instance[16])
{
	struct search q = { .sp = sp, .key = bare_jid, .n = strlen(bare_jid) };
	const char *at = strchr(bare_jid, '@');

	(void)directory_each_registration(sp->directory, at != NULL ? at + 1 : bare_jid, SVCPROTO_CLIENT, consider, &q);
	memset(instance, 0, sizeof(q.best_id.b));
	if (q.ours)
		memcpy(instance, q.best_id.b, sizeof(q.best_id.b));
	/* Before our own registration is known there, gateways don't choose us for anything that we would miss. */
	return !q.any || !q.by_hash || !q.ours || memcmp(&q.best_id, &sp->hello.instance, sizeof(q.best_id)) == 0;
}

/* ---- what leaves ---- */

int svcproto_send_peer(struct svcproto *sp, const char *bare_jid, const char *xml, size_t length, uint64_t cookie)
{
	const char *at = strchr(bare_jid, '@');

	if (at == NULL || at == bare_jid || strlen(bare_jid) > REDIRECT_NAME_MAX || !redirect_name_ok(bare_jid))
		return SVCPROTO_E_INVALID;
	if (!client_has_domain(sp, at + 1, SVCPROTO_CLIENT))
		return SVCPROTO_E_DENIED;
	return client_pair_send(sp, at + 1, bare_jid, xml, length, cookie);
}

/* ---- what comes ---- */

/* The place of this origin, or of the end of its chain. */
static struct peer_in **place(struct svcproto *sp, const struct svc_id *id)
{
	uint64_t x = sp->peer_seed, half;
	struct peer_in **p;

	for (size_t i = 0; i < sizeof(*id); i += sizeof(half)) {
		memcpy(&half, id->b + i, sizeof(half));
		x = (x ^ half) * UINT64_C(0x9e3779b97f4a7c15);
		x = (x ^ x >> 32) * UINT64_C(0xd6e8feb86659fd93);
	}
	for (p = &sp->peer_buckets[(x >> 32) % BUCKETS]; *p != NULL && memcmp(&(*p)->id, id, sizeof(*id)) != 0; p = &(*p)->chain)
		;
	return p;
}

static struct peer_in *find(struct svcproto *sp, const struct svc_id *id)
{
	return sp->peer_buckets != NULL ? *place(sp, id) : NULL;
}

static bool make_buckets(struct svcproto *sp)
{
	if (sp->peer_buckets != NULL)
		return true;
	if (getrandom(&sp->peer_seed, sizeof(sp->peer_seed), GRND_NONBLOCK) != (ssize_t)sizeof(sp->peer_seed))
		sp->peer_seed = (uint64_t)(uintptr_t)sp;
	sp->peer_buckets = calloc(BUCKETS, sizeof(*sp->peer_buckets));
	return sp->peer_buckets != NULL;
}

static void drop_buckets(struct svcproto *sp)
{
	if (sp->nr_peers > 0)
		return;
	free(sp->peer_buckets);
	sp->peer_buckets = NULL;
}

void client_peer_free(struct svcproto *sp, struct peer_in *p)
{
	*place(sp, &p->id) = p->chain;
	TAILQ_REMOVE(&sp->peers, p, all);
	sp->nr_peers--;
	drop_buckets(sp);
	peer_row_clear(&p->row);
	free(p->domain);
	free(p);
}

static void drop(struct svcproto *sp, struct peer_in *p)
{
	if (p->in.stream != NULL) {
		svc_stream_set_data(p->in.stream, NULL);
		(void)svc_stream_close(p->in.stream, "conflict", NULL);
	}
	client_inbound_remove(sp, &p->in);
	client_peer_free(sp, p);
}

static struct peer_in *peer_new(struct svcproto *sp, const struct svc_open *o)
{
	struct peer_in *p = sp->nr_peers < PEERS_MAX && make_buckets(sp) ? calloc(1, sizeof(*p)) : NULL;

	if (p == NULL) {
		drop_buckets(sp);
		return NULL;
	}
	p->in.kind = INBOUND_PEER;
	p->id = o->origin;
	p->domain = strdup(o->to_domain);
	if (p->domain == NULL || !client_inbound_add(sp, &p->in)) {
		free(p->domain);
		free(p);
		drop_buckets(sp);
		return NULL;
	}
	*place(sp, &p->id) = p;
	TAILQ_INSERT_HEAD(&sp->peers, p, all);
	sp->nr_peers++;
	return p;
}

void client_peer_open(struct client_link *cl, struct svc_stream *s, const struct svc_open *o)
{
	struct svc_refusal no = { .type = "cancel", .condition = "service-unavailable" };
	struct svcproto *sp = cl->sp;
	struct peer_in *p = NULL;

	if (client_has_domain(sp, o->to_domain, SVCPROTO_CLIENT)) {
		no.type = "wait";
		no.condition = "resource-constraint";
		p = find(sp, &o->origin);
		p = p != NULL ? p : peer_new(sp, o);
	}
	if (p == NULL || svc_stream_accept(s, NULL) != 0) {
		(void)svc_stream_refuse(s, &no); /* fails only if the stream has gone */
		return;
	}
	if (p->in.stream != NULL) {
		svc_stream_set_data(p->in.stream, NULL);
		(void)svc_stream_close(p->in.stream, "conflict", NULL);
	}
	p->in.stream = s;
	if (peer_row_begin(&p->row, o->last_acked))
		p->in.last_seq = o->last_acked;
	svc_stream_set_data(s, &p->in);
}

/* The row, as far as this stream has come. */
static void tell_row(struct peer_in *p)
{
	uint32_t n = peer_row_acked(&p->row);

	if (p->in.stream != NULL && n > 0)
		(void)svc_stream_ack_through(p->in.stream, n);
}

void client_peer_stanza(struct svcproto *sp, struct peer_in *p, uint32_t seq, const char *xml, size_t n)
{
	struct svcproto_stanza st = { .xml = xml, .length = n, .remote_domain = p->domain, .local_domain = p->domain, .peer = true };
	uint32_t position;

	if (!peer_row_take(&p->row, seq, &position)) {
		tell_row(p); /* it came before */
		return;
	}
	p->in.last_seq = position;
	st.ticket = client_ticket(&p->in, position);
	if (sp->cb->stanza != NULL)
		sp->cb->stanza(sp->arg, NULL, &st);
	else
		client_peer_ack(p, position);
}

void client_peer_ack(struct peer_in *p, uint32_t position)
{
	if (peer_row_ack(&p->row, position))
		tell_row(p);
}

void client_peer_closed(struct svcproto *sp, struct peer_in *p)
{
	p->in.stream = NULL;
	p->gone_at_ms = sp->now_ms;
}

void client_peers_run(struct svcproto *sp)
{
	struct peer_in *p, *next;

	if (sp->now_ms < sp->peers_at_ms + 1000)
		return;
	sp->peers_at_ms = sp->now_ms;
	for (p = TAILQ_FIRST(&sp->peers); p != NULL; p = next) {
		next = TAILQ_NEXT(p, all);
		if (p->in.stream == NULL && p->gone_at_ms + KEEP_MS <= sp->now_ms)
			drop(sp, p);
	}
}
