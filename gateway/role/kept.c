#include "role/kept.h"

#include <stdlib.h>

/*
 * It waits as policy left it, stamped, so that what it is and whose cannot change any more. Never more than one, and never overtaken: that
 * nothing is read behind it is the owner's to see to, and so is what it costs (kept_bytes).
 */

struct kept {
	const char *type, *condition;    /* of the REJECT as which it goes, or NULL */
	size_t n;
	char xml[];
};

static int give(struct links *ls, struct link_end *end, const char *type, const char *condition, struct slice xml)
{
	int err = type == NULL ? links_send(ls, end, xml) : svc_stream_send_reject(end->stream, xml.p, xml.n, type, condition, NULL);

	links_touch(ls);
	return err;
}

int kept_pass(struct kept **k, struct links *ls, struct link_end *end, const struct policy_result *r, struct slice xml)
{
	bool rejected = r->verdict == POLICY_REJECT;
	int err = give(ls, end, rejected ? r->type : NULL, r->condition, xml);

	ASSERT(*k == NULL);
	if (err != SVCPROTO_E_FULL)
		return err;
	*k = mem_alloc(sizeof **k + xml.n);
	(*k)->type = rejected ? r->type : NULL;
	(*k)->condition = r->condition;
	(*k)->n = xml.n;
	memcpy((*k)->xml, xml.p, xml.n);
	return SVCPROTO_E_FULL;
}

int kept_again(struct kept **k, struct links *ls, struct link_end *end)
{
	int err;

	if (*k == NULL)
		return 0;
	err = end->stream == NULL ? SVCPROTO_E_CLOSED : give(ls, end, (*k)->type, (*k)->condition, (struct slice){(*k)->xml, (*k)->n});
	if (err != SVCPROTO_E_FULL)
		kept_drop(k);
	return err;
}

bool kept_is_full(const struct link_end *end)
{
	return svc_stream_has_unacked(end->stream) && !svc_stream_can_send(end->stream);
}

size_t kept_bytes(const struct kept *k)
{
	return k != NULL ? sizeof *k + k->n : 0;
}

void kept_drop(struct kept **k)
{
	free(*k);
	*k = NULL;
}
