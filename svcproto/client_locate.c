/*
 * Where users are: questions of gateways with their answers, and redirects for all gateways. A question is named by its link and the
 * gateway's number, so that an answer finds the link it came by, or nothing when that has gone. A host, in answer to a question or to a
 * session, becomes a redirect, so that no gateway asks again while it lasts; but never in the place of one that somebody has set.
 */
#include "svcproto/client.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "svcproto/otherhost.h"
#include "svcproto/redirects.h"

#define QUESTIONS_MAX 1024u   /* not answered yet; what answers an older one serves its asker alone */
#define PUBLISHING_MAX 10000u /* on their way to a registry: more wait for none */
#define ANSWER_SECONDS 300u   /* how long an answer holds that does not say it */

static uint64_t wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* ---- questions ---- */

static void question_free(struct svcproto *sp, struct question *q)
{
	TAILQ_REMOVE(&sp->questions, q, all);
	sp->nr_questions--;
	free(q);
}

void client_locate_free(struct svcproto *sp)
{
	while (!TAILQ_EMPTY(&sp->questions))
		question_free(sp, TAILQ_FIRST(&sp->questions));
}

/* Without memory the answer serves its asker alone. */
static void remember(struct svcproto *sp, uint64_t request, const char *bare_jid)
{
	size_t n = strlen(bare_jid) + 1;
	struct question *q;

	if (sp->nr_questions == QUESTIONS_MAX)
		question_free(sp, TAILQ_FIRST(&sp->questions));
	q = malloc(sizeof(*q) + n);
	if (q == NULL)
		return;
	q->request = request;
	memcpy(q->bare_jid, bare_jid, n);
	TAILQ_INSERT_TAIL(&sp->questions, q, all);
	sp->nr_questions++;
}

void client_locate(struct client_link *cl, uint32_t request, const char *bare_jid)
{
	struct svcproto *sp = cl->sp;
	const char *at = strchr(bare_jid, '@');
	uint64_t named = (uint64_t)cl->serial << 32 | request;

	if (sp->cb->locate == NULL || !client_has_domain(sp, at != NULL ? at + 1 : bare_jid, SVCPROTO_CLIENT)) {
		(void)svc_link_located(cl->engine, &(struct svc_located){ .request = request }); /* full: the gateway gives up waiting */
		return;
	}
	remember(sp, named, bare_jid);
	sp->cb->locate(sp->arg, named, bare_jid);
}

void client_publish_host(struct svcproto *sp, const char *bare_jid, const char *host, uint32_t seconds)
{
	int rc;

	if (directory_redirect(sp->directory, bare_jid, sp->now_ms) != NULL || announcer_nr_redirects(sp->announcer) >= PUBLISHING_MAX)
		return;
	seconds = seconds != 0 ? seconds : ANSWER_SECONDS;
	rc = announcer_offer_redirect(sp->announcer, bare_jid, host, seconds * 1000, wall_ms(), sp->now_ms);
	if (rc != 0)
		client_log(sp, SVCPROTO_LOG_DEBUG, "an answer serves its asker alone: %s", svcproto_strerror(rc));
}

static void settle(struct svcproto *sp, const struct svc_located *m, uint64_t request, uint32_t seconds)
{
	struct question *q = TAILQ_FIRST(&sp->questions);

	while (q != NULL && q->request != request)
		q = TAILQ_NEXT(q, all);
	if (q == NULL)
		return;
	if (m->see_other_host != NULL && !m->here)
		client_publish_host(sp, q->bare_jid, m->see_other_host, seconds);
	question_free(sp, q);
}

int svcproto_located(struct svcproto *sp, uint64_t request, const char *see_other_host, uint32_t seconds, bool here)
{
	struct svc_located m = { .request = (uint32_t)request, .see_other_host = see_other_host, .here = here };
	struct client_link *cl = TAILQ_FIRST(&sp->links);

	if ((see_other_host != NULL && !other_host_ok(see_other_host)) || seconds > REDIRECT_MAX_MS / 1000)
		return SVCPROTO_E_INVALID;
	client_kick(sp);
	settle(sp, &m, request, seconds);
	while (cl != NULL && cl->serial != request >> 32)
		cl = TAILQ_NEXT(cl, all);
	if (cl == NULL)
		return SVCPROTO_E_CLOSED;
	return svc_link_located(cl->engine, &m);
}

int svcproto_set_redirect(struct svcproto *sp, const char *who, const char *host, uint32_t seconds)
{
	if (who == NULL || seconds == 0 || seconds > REDIRECT_MAX_MS / 1000)
		return SVCPROTO_E_INVALID;
	client_kick(sp);
	return announcer_set_redirect(sp->announcer, who, host, seconds * 1000, wall_ms(), sp->now_ms);
}

int svcproto_remove_redirect(struct svcproto *sp, const char *who)
{
	client_kick(sp);
	return who != NULL ? announcer_remove_redirect(sp->announcer, who, wall_ms(), sp->now_ms) : SVCPROTO_E_INVALID;
}

size_t svcproto_nr_redirects_pending(const struct svcproto *sp)
{
	return announcer_nr_redirects(sp->announcer);
}

size_t svcproto_nr_redirects_unheard(const struct svcproto *sp)
{
	return announcer_nr_redirects_unheard(sp->announcer);
}

struct each_redirect {
	void (*fn)(void *arg, const struct svcproto_redirect *r);
	void *arg;
	int nr;
};

static int give(void *arg, const struct directory_redirect *r)
{
	struct each_redirect *q = arg;
	struct svcproto_redirect out = { .who = r->name, .host = r->host, .seconds = r->left_ms / 1000 };

	q->nr++;
	if (q->fn != NULL)
		q->fn(q->arg, &out);
	return 0;
}

int svcproto_each_redirect(struct svcproto *sp, void (*fn)(void *arg, const struct svcproto_redirect *r), void *arg)
{
	struct each_redirect q = { fn, arg, 0 };

	if (!directory_has_keys(sp->directory))
		return SVCPROTO_E_NOREGISTRY;
	(void)directory_each_redirect(sp->directory, sp->now_ms, give, &q);
	return q.nr;
}
