/* The bodies of ENABLE, ENABLED, REATTACH, RESUME and ATTACHED (PROTOCOL.md section 5). DETACH has none. */
#include "svcproto/message.h"

#include <string.h>

static void put_position(struct props_writer *w, const struct message_position *p)
{
	props_put_u32(w, PROP_GENERATION, p->generation);
	props_put_u32(w, PROP_LAST_RECEIVED, p->received);
	props_put_u32(w, PROP_LAST_HANDLED, p->handled);
	props_put_u32(w, PROP_CREDIT, p->credit);
}

static int get_position(const struct props_value v[PROP_COUNT], struct message_position *p)
{
	p->generation = props_u32(&v[PROP_GENERATION]);
	p->received = props_u32(&v[PROP_LAST_RECEIVED]);
	p->handled = props_u32(&v[PROP_LAST_HANDLED]);
	p->credit = props_u32(&v[PROP_CREDIT]);
	return p->credit <= (uint32_t)INT32_MAX ? WIRE_OK : WIRE_E_VALUE;
}

/* Two numbers, both required. */
static int get_two(const struct wire_frame *f, enum prop_name first, uint32_t *a, uint32_t *resume_s)
{
	struct props_value v[PROP_COUNT];
	int rc = message_parse(f, v);

	if (rc != WIRE_OK)
		return rc;
	*a = props_u32(&v[first]);
	*resume_s = props_u32(&v[PROP_RESUME_SECONDS]);
	return WIRE_OK;
}

void message_put_enable(struct props_writer *w, uint32_t base_to_service, uint32_t resume_s)
{
	props_put_u32(w, PROP_BASE_TO_SERVICE, base_to_service);
	props_put_u32(w, PROP_RESUME_SECONDS, resume_s);
}

int message_get_enable(const struct wire_frame *f, uint32_t *base_to_service, uint32_t *resume_s)
{
	return get_two(f, PROP_BASE_TO_SERVICE, base_to_service, resume_s);
}

void message_put_enabled(struct props_writer *w, uint32_t base_to_gateway, uint32_t resume_s)
{
	props_put_u32(w, PROP_BASE_TO_GATEWAY, base_to_gateway);
	props_put_u32(w, PROP_RESUME_SECONDS, resume_s);
}

int message_get_enabled(const struct wire_frame *f, uint32_t *base_to_gateway, uint32_t *resume_s)
{
	return get_two(f, PROP_BASE_TO_GATEWAY, base_to_gateway, resume_s);
}

void message_put_reattach(struct props_writer *w, const struct svc_id *id, const struct message_position *p)
{
	props_put_id(w, PROP_STREAM_ID, id);
	put_position(w, p);
}

int message_get_reattach(const struct wire_frame *f, struct svc_id *id, struct message_position *p)
{
	struct props_value v[PROP_COUNT];
	int rc = message_parse(f, v);

	if (rc != WIRE_OK)
		return rc;
	memcpy(id->b, v[PROP_STREAM_ID].p, sizeof(id->b));
	return get_position(v, p);
}

void message_put_resume(struct props_writer *w, const struct svc_resume *r)
{
	props_put_id(w, PROP_STREAM_ID, &r->stream_id);
	props_put_text(w, PROP_BARE_JID, r->bare_jid);
	props_put_u32(w, PROP_H, r->h);
	props_put_text(w, PROP_MECHANISM, r->mechanism);
	props_put_text(w, PROP_ADDRESS, r->address);
	props_put_bool(w, PROP_SECURE, r->secure);
}

int message_get_resume(const struct wire_frame *f, struct message_text *t, struct svc_resume *r)
{
	struct props_value v[PROP_COUNT];
	int rc = message_parse(f, v);

	if (rc != WIRE_OK)
		return rc;
	t->n = 0;
	memcpy(r->stream_id.b, v[PROP_STREAM_ID].p, sizeof(r->stream_id.b));
	r->bare_jid = message_text(t, &v[PROP_BARE_JID]);
	r->mechanism = message_text(t, &v[PROP_MECHANISM]);
	r->address = message_text(t, &v[PROP_ADDRESS]);
	r->secure = message_flag(&v[PROP_SECURE]);
	r->h = props_u32(&v[PROP_H]);
	return WIRE_OK;
}

bool message_resume_fits(const struct svc_resume *r)
{
	return r->bare_jid != NULL && props_text_fits(PROP_BARE_JID, r->bare_jid) && props_text_fits(PROP_MECHANISM, r->mechanism) &&
	       props_text_fits(PROP_ADDRESS, r->address);
}

void message_put_attached(struct props_writer *w, const struct message_attached *a)
{
	put_position(w, &a->at);
	props_put_text(w, PROP_FULL_JID, a->full_jid);
	if (a->full_jid != NULL)
		props_put_u32(w, PROP_LAST_ACKED, a->acked);
	if (!a->enabled)
		return;
	props_put_u32(w, PROP_BASE_TO_SERVICE, a->base_to_service);
	props_put_u32(w, PROP_BASE_TO_GATEWAY, a->base_to_gateway);
	props_put_u32(w, PROP_RESUME_SECONDS, a->resume_s);
}

int message_get_attached(const struct wire_frame *f, struct message_text *t, struct message_attached *a)
{
	struct props_value v[PROP_COUNT];
	int rc = message_parse(f, v);

	if (rc != WIRE_OK)
		return rc;
	memset(a, 0, sizeof(*a));
	t->n = 0;
	a->full_jid = message_text(t, &v[PROP_FULL_JID]);
	if ((a->full_jid != NULL) != (v[PROP_LAST_ACKED].p != NULL))
		return WIRE_E_MISSING;
	if (a->full_jid != NULL)
		a->acked = props_u32(&v[PROP_LAST_ACKED]);
	a->enabled = v[PROP_RESUME_SECONDS].p != NULL;
	if (a->enabled != (v[PROP_BASE_TO_SERVICE].p != NULL) || a->enabled != (v[PROP_BASE_TO_GATEWAY].p != NULL))
		return WIRE_E_MISSING;
	if (a->enabled) {
		a->base_to_service = props_u32(&v[PROP_BASE_TO_SERVICE]);
		a->base_to_gateway = props_u32(&v[PROP_BASE_TO_GATEWAY]);
		a->resume_s = props_u32(&v[PROP_RESUME_SECONDS]);
	}
	return get_position(v, &a->at);
}
