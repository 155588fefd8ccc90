/*
 * Where users are: questions of gateways with their answers, and redirects for all gateways. A question is named by its link and the
 * gateway's number, so that an answer finds the link it came by, or nothing when that has gone.
 */
#include "svcproto/client.h"

#include <string.h>
#include <time.h>

#include "svcproto/otherhost.h"
#include "svcproto/redirects.h"

void client_locate(struct client_link *cl, uint32_t request, const char *bare_jid)
{
	struct svcproto *sp = cl->sp;
	const char *at = strchr(bare_jid, '@');

	if (sp->cb->locate != NULL && client_has_domain(sp, at != NULL ? at + 1 : bare_jid, SVCPROTO_CLIENT))
		sp->cb->locate(sp->arg, (uint64_t)cl->serial << 32 | request, bare_jid);
	else
		(void)svc_link_located(cl->engine, &(struct svc_located){ .request = request }); /* full: the gateway gives up waiting */
}

int svcproto_located(struct svcproto *sp, uint64_t request, const char *see_other_host, bool here)
{
	struct svc_located m = { .request = (uint32_t)request, .see_other_host = see_other_host, .here = here };
	struct client_link *cl = TAILQ_FIRST(&sp->links);

	if (see_other_host != NULL && !other_host_ok(see_other_host))
		return SVCPROTO_E_INVALID;
	while (cl != NULL && cl->serial != request >> 32)
		cl = TAILQ_NEXT(cl, all);
	if (cl == NULL)
		return SVCPROTO_E_CLOSED;
	client_kick(sp);
	return svc_link_located(cl->engine, &m);
}

static uint64_t wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
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
