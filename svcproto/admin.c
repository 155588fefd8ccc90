/*
 * ADMIN and ADMIN_REPLY: a command with its arguments, and what came of it in parts. Both bodies are open lists of texts, so that a command
 * or a column more changes nothing here. Who may ask is the gateway's to judge: the engine only carries.
 */
#include "svcproto/engine.h"

#include <string.h>

static bool name_fits(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n <= SVC_ADMIN_NAME_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == n;
}

bool message_admin_fits(const struct svcproto_property *v, size_t nr)
{
	for (size_t i = 0; i < nr; i++) {
		size_t n = v[i].value != NULL ? strlen(v[i].value) : SIZE_MAX;

		if (v[i].name == NULL || !name_fits(v[i].name) || n > SVC_ADMIN_VALUE_MAX ||
		    !props_utf8_ok((const uint8_t *)v[i].value, n) || strcmp(v[i].name, "command") == 0 || strcmp(v[i].name, "error") == 0)
			return false;
		for (size_t k = 0; k < i; k++)
			if (strcmp(v[k].name, v[i].name) == 0)
				return false;
	}
	return nr <= SVC_ADMIN_PROPS_MAX;
}

static void put_all(struct props_writer *w, const struct svcproto_property *v, size_t nr)
{
	for (size_t i = 0; i < nr; i++)
		props_write(w, v[i].name, v[i].value, strlen(v[i].value));
}

void message_put_admin(struct props_writer *w, const char *command, const struct svcproto_property *v, size_t nr)
{
	props_put_text(w, PROP_COMMAND, command);
	put_all(w, v, nr);
}

void message_put_admin_reply(struct props_writer *w, const char *error, const struct svcproto_property *v, size_t nr)
{
	props_put_text(w, PROP_ERROR, error);
	put_all(w, v, nr);
}

static const char *keep(struct message_text *t, const struct props_value *v)
{
	char *p = t->b + t->n;

	memcpy(p, v->p, v->n);
	p[v->n] = '\0';
	t->n += v->n + 1;
	return p;
}

static int one_property(struct message_admin *m, const struct props_value *name, const struct props_value *value)
{
	struct svcproto_property *v = &m->v[m->nr];

	if (m->nr == SVC_ADMIN_PROPS_MAX || name->n > SVC_ADMIN_NAME_MAX || value->n > SVC_ADMIN_VALUE_MAX)
		return WIRE_E_LONG;
	if (!props_utf8_ok(value->p, value->n))
		return WIRE_E_VALUE;
	v->name = keep(&m->text, name);
	v->value = keep(&m->text, value);
	for (size_t i = 0; i < m->nr; i++)
		if (strcmp(m->v[i].name, v->name) == 0)
			return WIRE_E_TWICE;
	m->nr++;
	return WIRE_OK;
}

int message_get_admin(const struct wire_frame *f, struct message_admin *m)
{
	enum prop_name own = f->type == WIRE_ADMIN ? PROP_COMMAND : PROP_ERROR;
	const struct wire_rule *r = wire_rule(f->type);
	struct props_value known[PROP_COUNT], name, value;
	const uint8_t *p = f->body;
	size_t n = f->length;
	int rc = props_parse(p, n, r->required, r->allowed, known);

	m->text.n = m->nr = 0;
	m->word = NULL;
	if (rc == WIRE_OK && known[own].p != NULL)
		m->word = keep(&m->text, &known[own]);
	while (rc == WIRE_OK && (rc = props_next(&p, &n, &name, &value)) > 0)
		rc = value.p == known[own].p ? WIRE_OK : one_property(m, &name, &value);
	return rc;
}

/* ---- the engine's side ---- */

int svc_link_admin(struct svc_link *l, uint32_t request, const char *command, const struct svcproto_property *v, size_t nr)
{
	uint8_t body[WIRE_PROPS_MAX];
	struct props_writer w = { .p = body, .max = sizeof(body) };
	struct wire_frame f = { .type = WIRE_ADMIN, .sequence = request, .body = body };

	if (l->side != SVC_SERVICE || request == 0 || command == NULL || command[0] == '\0' || !props_text_fits(PROP_COMMAND, command) ||
	    !message_admin_fits(v, nr))
		return SVCPROTO_E_INVALID;
	if (l->state != LINK_UP)
		return SVCPROTO_E_CLOSED;
	message_put_admin(&w, command, v, nr);
	f.length = (uint32_t)w.n;
	return w.overflow ? SVCPROTO_E_INVALID : link_put_frame(l, &f);
}

int svc_link_admin_reply(struct svc_link *l, uint32_t request, bool more, const char *error, const struct svcproto_property *v, size_t nr)
{
	uint8_t body[WIRE_PROPS_MAX];
	struct props_writer w = { .p = body, .max = sizeof(body) };
	struct wire_frame f = { .type = WIRE_ADMIN_REPLY, .flags = more ? WIRE_MORE : 0, .sequence = request, .body = body };

	if (l->side != SVC_GATEWAY || request == 0 || (error != NULL && more) || !props_text_fits(PROP_ERROR, error) ||
	    !message_admin_fits(v, nr))
		return SVCPROTO_E_INVALID;
	if (l->state != LINK_UP)
		return SVCPROTO_E_CLOSED;
	message_put_admin_reply(&w, error, v, nr);
	f.length = (uint32_t)w.n;
	return w.overflow ? SVCPROTO_E_INVALID : link_put_frame(l, &f);
}

const char *admin_input(struct svc_link *l, const struct wire_frame *f)
{
	struct message_admin m;
	int rc = message_get_admin(f, &m);

	if (rc != WIRE_OK)
		return wire_strerror(rc);
	if (f->type == WIRE_ADMIN && m.word[0] == '\0')
		return wire_strerror(WIRE_E_VALUE);
	if (f->type == WIRE_ADMIN_REPLY && (f->flags & WIRE_MORE) != 0 && m.word != NULL)
		return "an error is the last part of an answer";
	if (f->type == WIRE_ADMIN_REPLY && l->ops->admin_reply != NULL)
		l->ops->admin_reply(l->arg, f->sequence, (f->flags & WIRE_MORE) != 0, m.word, m.v, m.nr);
	else if (f->type == WIRE_ADMIN && l->ops->admin != NULL)
		l->ops->admin(l->arg, f->sequence, m.word, m.v, m.nr);
	else if (f->type == WIRE_ADMIN)
		(void)svc_link_admin_reply(l, f->sequence, false, "this gateway has no administration", NULL, 0);
	return NULL;
}
