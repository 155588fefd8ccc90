/*
 * Questions where a user is, and their answers. A question is named by its link and the gateway's number, so that an answer finds the link
 * it came by, or nothing when that has gone.
 */
#include "svcproto/client.h"

#include <string.h>

#include "svcproto/otherhost.h"

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
