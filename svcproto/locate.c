/*
 * LOCATE and LOCATED (PROTOCOL.md section 5): a question of the link, not of a stream. Nothing is remembered here: the asker tells the
 * answers apart by their numbers, and an epoch that ends takes its questions with it.
 */
#include "svcproto/engine.h"

void message_put_locate(struct props_writer *w, const char *bare_jid)
{
	props_put_text(w, PROP_BARE_JID, bare_jid);
}

int message_get_locate(const struct wire_frame *f, struct message_text *t, const char **bare_jid)
{
	struct props_value v[PROP_COUNT];
	int rc = message_parse(f, v);

	if (rc != WIRE_OK)
		return rc;
	t->n = 0;
	*bare_jid = message_text(t, &v[PROP_BARE_JID]);
	return WIRE_OK;
}

void message_put_located(struct props_writer *w, const struct svc_located *m)
{
	props_put_text(w, PROP_SEE_OTHER_HOST, m->see_other_host);
	props_put_bool(w, PROP_HERE, m->here);
}

int message_get_located(const struct wire_frame *f, struct message_text *t, struct svc_located *m)
{
	struct props_value v[PROP_COUNT];
	int rc = message_parse(f, v);

	if (rc != WIRE_OK)
		return rc;
	t->n = 0;
	m->request = f->sequence;
	m->see_other_host = message_text(t, &v[PROP_SEE_OTHER_HOST]);
	m->here = message_flag(&v[PROP_HERE]);
	return WIRE_OK;
}

/* ---- the engine's side ---- */

static int put_props(struct svc_link *l, uint8_t type, uint32_t request, const struct props_writer *w)
{
	struct wire_frame f = { .type = type, .sequence = request, .body = w->p, .length = (uint32_t)w->n };

	if (l->state != LINK_UP)
		return SVCPROTO_E_CLOSED;
	return w->overflow ? SVCPROTO_E_INVALID : link_put_frame(l, &f);
}

int svc_link_locate(struct svc_link *l, uint32_t request, const char *bare_jid)
{
	uint8_t body[WIRE_PROPS_MAX];
	struct props_writer w = { .p = body, .max = sizeof(body) };

	if (l->side != SVC_GATEWAY || request == 0 || bare_jid == NULL || !props_text_fits(PROP_BARE_JID, bare_jid))
		return SVCPROTO_E_INVALID;
	message_put_locate(&w, bare_jid);
	return put_props(l, WIRE_LOCATE, request, &w);
}

int svc_link_located(struct svc_link *l, const struct svc_located *m)
{
	uint8_t body[WIRE_PROPS_MAX];
	struct props_writer w = { .p = body, .max = sizeof(body) };

	if (l->side != SVC_SERVICE || m->request == 0 || !props_text_fits(PROP_SEE_OTHER_HOST, m->see_other_host))
		return SVCPROTO_E_INVALID;
	message_put_located(&w, m);
	return put_props(l, WIRE_LOCATED, m->request, &w);
}

static const char *on_locate(struct svc_link *l, const struct wire_frame *f)
{
	struct message_text t;
	const char *bare_jid;
	int rc = message_get_locate(f, &t, &bare_jid);

	if (rc != WIRE_OK)
		return wire_strerror(rc);
	if (l->ops->locate != NULL)
		l->ops->locate(l->arg, f->sequence, bare_jid);
	else
		(void)svc_link_located(l, &(struct svc_located){ .request = f->sequence }); /* full: the peer gives up waiting */
	return NULL;
}

static const char *on_located(struct svc_link *l, const struct wire_frame *f)
{
	struct svc_located m;
	struct message_text t;
	int rc = message_get_located(f, &t, &m);

	if (rc != WIRE_OK)
		return wire_strerror(rc);
	if (l->ops->located != NULL)
		l->ops->located(l->arg, &m);
	return NULL;
}

const char *link_locate_input(struct svc_link *l, const struct wire_frame *f)
{
	return f->type == WIRE_LOCATE ? on_locate(l, f) : on_located(l, f);
}
