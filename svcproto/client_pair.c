/*
 * Stanzas to other domains: one ordered stream for each pair of domains, opened over the gateway that the pair falls to. A stanza leaves
 * the queue when the gateway acknowledged it or the service has heard that it cannot be delivered, exactly once. A stream that breaks is
 * opened anew, elsewhere if need be, and what was not acknowledged goes first, marked as possibly repeated; nothing waits without a stream
 * longer than WAIT_MS, counted anew when what was before it is acknowledged. While its gateway drains a pair sends nothing more, so that
 * nothing crosses the gateway's CLOSE and is repeated; a gateway that comes moves no pair that has a stream.
 */
#include "svcproto/client.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "svcproto/choose.h"
#include "svcproto/keyset.h"

#define PAIRS_MAX 50000u
#define WAIT_MS 60000u
#define IDLE_MS 60000u
#define SWEEP_MS 500u
#define RETRY_MIN_MS 500u
#define RETRY_MAX_MS 8000u
#define RETRY_USER_MAX_MS 1000u   /* of ours: who moves meanwhile may overtake what waits here */
#define WORK_BUDGET 1000u
#define HOLD_MS 15000u   /* for a gateway that drains to end a stream; longer than one with a slow remote server needs */

static struct pair **bucket_of(struct svcproto *sp, const char *from, const char *to)
{
	uint32_t h = 2166136261u;

	for (; *from != '\0'; from++)
		h = (h ^ (uint8_t)*from) * 16777619u;
	h *= 16777619u;
	for (; *to != '\0'; to++)
		h = (h ^ (uint8_t)*to) * 16777619u;
	return &sp->pairs[(h ^ h >> 16) % CLIENT_PAIR_BUCKETS];
}

static void want_work(struct svcproto *sp, struct pair *p)
{
	if (!p->in_work)
		TAILQ_INSERT_TAIL(&sp->work_pairs, p, work);
	p->in_work = true;
}

static void no_work(struct svcproto *sp, struct pair *p)
{
	if (p->in_work)
		TAILQ_REMOVE(&sp->work_pairs, p, work);
	p->in_work = false;
}

static struct pair *pair_get(struct svcproto *sp, const char *from, const char *to)
{
	struct pair **bucket = bucket_of(sp, from, to), *p = *bucket;

	while (p != NULL && (strcmp(p->from, from) != 0 || strcmp(p->to, to) != 0))
		p = p->chain;
	if (p != NULL || sp->nr_pairs >= PAIRS_MAX || (p = calloc(1, sizeof(*p))) == NULL)
		return p;
	p->from = strdup(from);
	p->to = strdup(to);
	if (p->from == NULL || p->to == NULL) {
		free(p->from);
		free(p->to);
		free(p);
		return NULL;
	}
	STAILQ_INIT(&p->queue);
	p->retry_delay_ms = RETRY_MIN_MS;
	p->used_at_ms = sp->now_ms;
	p->chain = *bucket;
	*bucket = p;
	TAILQ_INSERT_TAIL(&sp->all_pairs, p, all);
	sp->nr_pairs++;
	return p;
}

static void take(struct svcproto *sp, struct pair *p, struct queued *q)
{
	p->unsent = p->unsent == q ? STAILQ_NEXT(q, all) : p->unsent;
	STAILQ_REMOVE(&p->queue, q, queued, all);
	p->nr--;
	p->bytes -= q->n;
	sp->pair_bytes -= q->n;
}

static struct queued *take_first(struct svcproto *sp, struct pair *p)
{
	struct queued *q = STAILQ_FIRST(&p->queue);

	take(sp, p, q);
	return q;
}

static void pair_free(struct svcproto *sp, struct pair *p)
{
	struct pair **chain = bucket_of(sp, p->from, p->to);

	while (*chain != p)
		chain = &(*chain)->chain;
	*chain = p->chain;
	TAILQ_REMOVE(&sp->all_pairs, p, all);
	no_work(sp, p);
	sp->nr_pairs--;
	while (STAILQ_FIRST(&p->queue) != NULL)
		free(take_first(sp, p));
	free(p->from);
	free(p->to);
	free(p);
}

void client_pairs_free(struct svcproto *sp)
{
	struct pair *p;

	while ((p = TAILQ_FIRST(&sp->all_pairs)) != NULL)
		pair_free(sp, p);
}

static void bounce_first(struct svcproto *sp, struct pair *p, const char *type, const char *condition)
{
	struct queued *q = take_first(sp, p);

	if (q->repeated || q->sent)
		p->has_id = false; /* positions would count it, and nobody may have taken it */
	client_give_back(sp, q->cookie, type, condition, q->xml, q->n);
	free(q);
}

/* What is there now, not what the callbacks add. */
static void bounce_all(struct svcproto *sp, struct pair *p, const char *type, const char *condition)
{
	for (size_t nr = p->nr; nr > 0; nr--)
		bounce_first(sp, p, type, condition);
}

/* Of another instance of ours. */
static bool to_user(const struct pair *p)
{
	return strchr(p->to, '@') != NULL;
}

/* ---- the engine's events ---- */

void client_pair_acked(struct svcproto *sp, struct svc_stream *s, uint32_t seq)
{
	struct pair *p = svc_stream_data(s);
	struct queued *q;

	while (p != NULL && (q = STAILQ_FIRST(&p->queue)) != NULL && q->sent && (int32_t)(q->seq - seq) <= 0) {
		(void)take_first(sp, p);
		if (p->nr > 0)
			STAILQ_FIRST(&p->queue)->since_ms = sp->now_ms;
		p->acked++;
		p->retry_delay_ms = RETRY_MIN_MS;
		if (q->cookie != 0 && sp->cb->delivered != NULL)
			sp->cb->delivered(sp->arg, q->cookie);
		free(q);
	}
	if (p != NULL && (p->nr > 0 || p->held_until_ms != 0))
		want_work(sp, p);
}

/* Only now it is known how large a stanza may be. */
void client_pair_accepted(struct svcproto *sp, struct svc_stream *s)
{
	struct pair *p = svc_stream_data(s);

	if (p == NULL)
		return;
	p->accepted = true;
	want_work(sp, p);
}

void client_pair_writable(struct svcproto *sp, struct svc_stream *s)
{
	struct pair *p = svc_stream_data(s);

	if (p != NULL)
		want_work(sp, p);
}

/* The stream has gone: nothing of the queue is in an engine any more. */
static void unsend(struct svcproto *sp, struct pair *p)
{
	struct queued *q;

	p->stream = NULL;
	p->closing = p->accepted = false;
	p->held_until_ms = 0;
	STAILQ_FOREACH(q, &p->queue, all) {
		q->repeated = q->repeated || q->sent;
		q->sent = false;
	}
	p->unsent = STAILQ_FIRST(&p->queue);
	if (p->nr > 0)
		want_work(sp, p);
}

static size_t nr_repeated(const struct pair *p)
{
	const struct queued *q;
	size_t nr = 0;

	STAILQ_FOREACH(q, &p->queue, all)
		nr += q->repeated;
	return nr;
}

/* Ever more slowly. */
static void retry_later(struct svcproto *sp, struct pair *p)
{
	uint32_t most = to_user(p) ? RETRY_USER_MAX_MS : RETRY_MAX_MS;

	p->retry_at_ms = sp->now_ms + p->retry_delay_ms;
	p->retry_delay_ms = p->retry_delay_ms * 2 > most ? most : p->retry_delay_ms * 2;
}

void client_pair_refused(struct svcproto *sp, struct svc_stream *s, const struct svc_refusal *r)
{
	struct pair *p = svc_stream_data(s);

	if (p == NULL)
		return;
	unsend(sp, p);
	/* The gateway chose among those that it has links to, and the user's instance is alive: its link there is about to come back. */
	if (to_user(p) && !svcproto_is_here(sp, p->to)) {
		retry_later(sp, p);
		return;
	}
	if (r->condition != NULL && !r->stream_error)
		bounce_all(sp, p, r->type, r->condition);
	else
		bounce_all(sp, p, "wait", "remote-server-timeout");
}

/* A stanza whose addresses are not the pair's, or that is no stanza, or too large after all: sent again it would end the next stream. Which
 * one, nobody says. What its sender is told, or NULL. */
static const char *our_fault(const char *condition)
{
	if (condition == NULL)
		return NULL;
	return strcmp(condition, "invalid-from") == 0 ? "forbidden" : strcmp(condition, "policy-violation") == 0 ? condition : NULL;
}

/* A gateway that leaves takes nothing anew if it can help it, and others may be there. */
static bool is_leaving(const char *condition)
{
	return condition != NULL && strcmp(condition, "system-shutdown") == 0;
}

static bool has_other(struct svcproto *sp, const struct client_link *but)
{
	struct client_link *cl;

	TAILQ_FOREACH(cl, &sp->links, all)
		if (cl != but && cl->up && !cl->gone && !cl->surplus && !cl->draining)
			return true;
	return false;
}

void client_pair_closed(struct svcproto *sp, struct svc_stream *s, const char *condition, bool link_lost)
{
	struct pair *p = svc_stream_data(s);
	bool ours = p != NULL && p->closing;

	if (p == NULL)
		return;
	unsend(sp, p);
	if (p->nr == 0 || ours)
		return;
	if (our_fault(condition) != NULL) {
		client_log(sp, SVCPROTO_LOG_WARN,
			   "the gateway found a stanza on the stream %s to %s that does not belong there: %zu come back", p->from, p->to,
			   p->nr);
		bounce_all(sp, p, NULL, our_fault(condition));
		return;
	}
	if (condition != NULL && strcmp(condition, "connection-timeout") == 0) { /* for which the gateway has waited */
		client_log(sp, SVCPROTO_LOG_INFO, "%s takes nothing from %s: %zu stanzas come back", p->to, p->from, p->nr);
		bounce_all(sp, p, "wait", "remote-server-timeout");
		return;
	}
	client_log(sp, SVCPROTO_LOG_INFO, "stream %s to %s ended with %zu stanzas on the way (%s): opening it anew",
		   p->from, p->to, nr_repeated(p), condition != NULL ? condition : "no reason");
	/* Over another gateway, or to another instance, at once; where the other server itself closes, ever more slowly. */
	if (link_lost || (is_leaving(condition) && has_other(sp, NULL)))
		return;
	if (condition != NULL && to_user(p) && strcmp(condition, "remote-connection-failed") == 0)
		return;
	retry_later(sp, p);
}

/* ---- the turn's work ---- */

/* Of those that are up the one with the best score; one that drains only if there is no other. NULL: none is up. */
static struct client_link *link_for(struct svcproto *sp, const char *from, const char *to)
{
	struct client_link *cl, *best = NULL;
	uint64_t best_score = 0, score;

	TAILQ_FOREACH(cl, &sp->links, all) {
		if (!cl->up || cl->gone || cl->surplus)
			continue;
		score = choose_gateway_score(cl->instance.b, from, to);
		if (best == NULL || best->draining > cl->draining || (best->draining == cl->draining && score > best_score)) {
			best = cl;
			best_score = score;
		}
	}
	return best;
}

static bool make_id(struct svc_id *id)
{
	return getrandom(id, sizeof(*id), 0) == (ssize_t)sizeof(*id);
}

/* From here on the far end knows what comes again. */
static bool begin_row(struct pair *p)
{
	p->acked = 0;
	p->has_id = make_id(&p->id);
	return p->has_id;
}

static void open_stream(struct svcproto *sp, struct pair *p)
{
	struct svc_open o = { .kind = SVC_KIND_SERVER_OUT, .from_domain = p->from, .to_domain = p->to,
			      .certificates_only = client_certificates_only(sp, p->from) };
	struct client_link *cl;

	if (p->retry_at_ms > sp->now_ms || !make_id(&o.stream_id) || (to_user(p) && !p->has_id && !begin_row(p)))
		return;
	if (to_user(p)) {
		o.kind = SVC_KIND_PEER;
		o.bare_jid = p->to;
		o.to_domain = p->from;
		o.origin = p->id;
		o.last_acked = p->acked;
	}
	cl = link_for(sp, p->from, p->to);
	if (cl != NULL)
		p->stream = svc_stream_open(cl->engine, &o, p);
	if (p->stream == NULL)
		p->retry_at_ms = cl != NULL ? sp->now_ms + RETRY_MIN_MS : 0; /* without any link: as soon as there is one */
}

/* Gives the engine what it takes. */
static void feed(struct svcproto *sp, struct pair *p)
{
	struct queued *q;
	int rc = 0;

	while ((q = p->unsent) != NULL && rc == 0) {
		rc = svc_stream_send(p->stream, q->xml, q->n, q->repeated ? SVC_REPEATED : 0, &q->seq);
		q->sent = rc == 0;
		if (rc == 0)
			p->unsent = STAILQ_NEXT(q, all);
		if (rc == SVCPROTO_E_INVALID) { /* larger than the gateway, or the server behind it, takes */
			take(sp, p, q);
			client_give_back(sp, q->cookie, "modify", "policy-violation", q->xml, q->n);
			free(q);
			want_work(sp, p);
			return;
		}
	}
	p->used_at_ms = sp->now_ms;
}

/*
 * The gateway ends the stream when the remote server has read what was sent before. Where an acknowledgement comes from a service of the
 * cluster nobody needs to wait for that; nor for ever.
 */
static void hold(struct svcproto *sp, struct pair *p)
{
	bool on_the_way = p->nr > 0 && STAILQ_FIRST(&p->queue)->sent,
	     passed_on = to_user(p) || directory_is_local(sp->directory, p->to);

	if ((passed_on && !on_the_way) || p->held_until_ms <= sp->now_ms)
		p->closing = svc_stream_close(p->stream, NULL, NULL) == 0;
}

static void pair_work(struct svcproto *sp, struct pair *p)
{
	if (p->held_until_ms != 0 && p->stream != NULL && !p->closing) {
		hold(sp, p);
		return;
	}
	if (p->nr == 0 || p->closing)
		return;
	if (p->stream == NULL)
		open_stream(sp, p);
	/* What is given to a stream that waits for its link would count as sent, and be marked if the stream ends there. */
	if (p->stream != NULL && p->accepted && svc_stream_link(p->stream) != NULL)
		feed(sp, p);
}

void client_pairs_linked(struct svcproto *sp)
{
	struct pair *p;

	TAILQ_FOREACH(p, &sp->all_pairs, all) {
		if (p->stream != NULL || p->nr == 0)
			continue;
		p->retry_at_ms = 0;
		want_work(sp, p);
	}
}

void client_pairs_draining(struct svcproto *sp, const struct client_link *cl)
{
	bool held = cl->draining && has_other(sp, cl);
	struct pair *p;

	TAILQ_FOREACH(p, &sp->all_pairs, all) {
		if (p->stream == NULL || svc_stream_link(p->stream) != cl->engine)
			continue;
		p->held_until_ms = held ? sp->now_ms + HOLD_MS : 0;
		want_work(sp, p);
	}
}

/* Now and then: what waits too long, is due again, or has been idle. */
static void sweep(struct svcproto *sp)
{
	struct pair *p, *next;

	for (p = TAILQ_FIRST(&sp->all_pairs); p != NULL; p = next) {
		next = TAILQ_NEXT(p, all);
		for (size_t nr = p->nr; nr > 0 && p->stream == NULL && STAILQ_FIRST(&p->queue)->since_ms + WAIT_MS <= sp->now_ms; nr--)
			bounce_first(sp, p, "wait", "remote-server-timeout");
		if (p->held_until_ms != 0 || (p->nr > 0 && (p->stream != NULL || p->retry_at_ms <= sp->now_ms)))
			want_work(sp, p);
		if (p->nr > 0 || p->used_at_ms + IDLE_MS > sp->now_ms)
			continue;
		if (p->stream == NULL)
			pair_free(sp, p);
		else if (!p->closing)
			p->closing = svc_stream_close(p->stream, NULL, NULL) == 0;
	}
}

void client_pairs_run(struct svcproto *sp)
{
	struct pair *p;

	if (sp->now_ms >= sp->swept_at_ms + SWEEP_MS) {
		sp->swept_at_ms = sp->now_ms;
		sweep(sp);
	}
	for (unsigned i = 0; i < WORK_BUDGET && (p = TAILQ_FIRST(&sp->work_pairs)) != NULL; i++) {
		no_work(sp, p);
		pair_work(sp, p);
	}
}

/* ---- the public face ---- */

int client_pair_send(struct svcproto *sp, const char *from, const char *to, const char *xml, size_t length, uint64_t cookie)
{
	struct queued *q;
	struct pair *p;

	if (length == 0 || length > SVC_STANZA_BYTES * 4u)
		return SVCPROTO_E_INVALID;
	p = pair_get(sp, from, to);
	if (p == NULL || !client_pair_has_room(sp, p, length))
		return SVCPROTO_E_FULL;
	q = malloc(sizeof(*q) + length);
	if (q == NULL)
		return SVCPROTO_E_NOMEM;
	*q = (struct queued){ .cookie = cookie, .since_ms = sp->now_ms, .n = length };
	memcpy(q->xml, xml, length);
	STAILQ_INSERT_TAIL(&p->queue, q, all);
	p->unsent = p->unsent == NULL ? q : p->unsent;
	p->nr++;
	p->bytes += length;
	sp->pair_bytes += length;
	want_work(sp, p);
	client_kick(sp);
	return 0;
}

int svcproto_send_server(struct svcproto *sp, const char *from_domain, const char *to_domain, const char *xml, size_t length,
			 uint64_t cookie)
{
	if (!client_has_domain(sp, from_domain, SVCPROTO_SERVER))
		return SVCPROTO_E_DENIED;
	if (!keyset_domain_ok(to_domain, strlen(to_domain)))
		return SVCPROTO_E_INVALID;
	return client_pair_send(sp, from_domain, to_domain, xml, length, cookie);
}
