/*
 * Our own entries and their versions. One counter numbers all versions of an owner, so that the highest one and the number of entries tell
 * a registry and us whether we agree.
 */
#include "svcproto/announcer_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "svcproto/announcer_redirects.h"
#include "svcproto/keys.h"
#include "svcproto/keyset.h"

#define DISPATCH_MAX_MS 1000u

void announcer_log(struct announcer *a, enum svcproto_log level, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	if (a->ops->log == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	a->ops->log(a->arg, level, line);
}

void announcer_refuse(struct announcer *a, const char *what)
{
	if (a->ops->refused != NULL)
		a->ops->refused(a->arg, what);
}

uint64_t announcer_heard_at(const struct announcer *a)
{
	return a->heard_at_ms;
}

void announcer_synced(struct announcer *a)
{
	if (!a->synced_said && a->ops->synced != NULL)
		a->ops->synced(a->arg);
	a->synced_said = true;
}

/* "ENDPOINT=KEY": the key is the last 40 characters, since '=' is one of its letters. */
static int split_one(const char *p, size_t n, char key[41])
{
	if (n < 42 || p[n - 41] != '=' || !registry_endpoint_ok(p, n - 41))
		return SVCPROTO_E_CONNECT;
	memcpy(key, p + n - 40, 40);
	key[40] = '\0';
	return svc_key_text_ok(key) ? 0 : SVCPROTO_E_CONNECT;
}

/* The next of the list, which *p is put behind; 0 at its end. */
static size_t next_one(const char **p, const char **one)
{
	size_t n;

	*p += strspn(*p, ",\n "); /* no letter of Z85 */
	n = strcspn(*p, ",\n ");
	*one = *p;
	*p += n;
	return n;
}

int announcer_check(const char *registries)
{
	const char *one;
	char key[41];
	unsigned nr = 0;
	size_t n;

	while ((n = next_one(&registries, &one)) > 0)
		if (++nr > REG_SOURCES || split_one(one, n, key) != 0)
			return SVCPROTO_E_CONNECT;
	return nr > 0 ? 0 : SVCPROTO_E_NOREGISTRY;
}

static int open_all(struct announcer *a, const struct announcer_options *o)
{
	const char *p = o->registries, *one;
	int rc = p != NULL ? announcer_check(p) : SVCPROTO_E_NOREGISTRY;
	char key[41];
	size_t n;

	while (rc == 0 && (n = next_one(&p, &one)) > 0) {
		rc = split_one(one, n, key);
		if (rc == 0)
			rc = registry_open(&a->registries[a->nr], a, a->nr, o, one, n - 41, key);
		if (rc == 0)
			a->nr++;
	}
	return rc;
}

struct announcer *announcer_new(const struct announcer_options *o, struct directory *d, const struct announcer_ops *ops, void *arg,
				int *error)
{
	struct announcer *a = calloc(1, sizeof(*a));
	int rc = a != NULL ? 0 : SVCPROTO_E_NOMEM;

	if (rc == 0 && (strlen(o->public_key) != 40 || strlen(o->secret_key) != 40))
		rc = SVCPROTO_E_KEY;
	if (rc == 0) {
		a->directory = d;
		a->ops = ops;
		a->arg = arg;
		a->owner = o->owner;
		a->incarnation = o->incarnation;
		memcpy(a->key, o->public_key, sizeof(a->key));
		rc = open_all(a, o);
	}
	if (rc != 0) {
		*error = rc;
		announcer_free(a);
		return NULL;
	}
	return a;
}

static void own_free(struct own *own)
{
	free((char *)(uintptr_t)own->e.name);
	free((char *)(uintptr_t)own->e.public_host);
	free(own);
}

/* A registry that hears it needs not wait for the lease to end. In a message of its own: this may be a callback's doing, in the middle of
 * a->message. */
static void send_withdrawal(struct announcer *a, const struct entry *e)
{
	struct reg_message *m = malloc(sizeof(*m));
	struct entry gone = *e;

	gone.gone = true;
	gone.version = ++a->version;
	for (unsigned i = 0; m != NULL && i < a->nr; i++) {
		reg_begin(m, 0, 0);
		if (a->registries[i].up && reg_put_entry(m, &gone))
			(void)zmq_send(a->registries[i].dealer.socket, m->b, m->n, ZMQ_DONTWAIT);
	}
	a->touched = true;
	free(m);
}

void announcer_free(struct announcer *a)
{
	struct own *own;

	if (a == NULL)
		return;
	while ((own = a->own) != NULL) {
		a->own = own->next;
		send_withdrawal(a, &own->e);
		own_free(own);
	}
	redirects_out_free(a);
	for (unsigned i = 0; i < a->nr; i++)
		registry_close(&a->registries[i]);
	free(a);
}

size_t announcer_sockets(struct announcer *a, void **zsocks, size_t max)
{
	size_t n = 0;

	for (unsigned i = 0; i < a->nr; i++) {
		void *all[4] = { a->registries[i].dealer.socket, a->registries[i].sub.socket, a->registries[i].dealer.monitor,
				 a->registries[i].sub.monitor };

		for (unsigned j = 0; j < 4 && n < max; j++)
			zsocks[n++] = all[j];
	}
	return n;
}

bool announcer_dispatch(struct announcer *a, uint64_t now_ms)
{
	bool more = false;

	a->touched = false;
	for (unsigned i = 0; i < a->nr; i++)
		more = registry_read(&a->registries[i], now_ms) || more;
	return more;
}

/* Although no descriptor says so: a send may have eaten its edge, and updates are left where they are until there is a snapshot. */
static bool is_due(const struct announcer *a)
{
	for (unsigned i = 0; i < a->nr; i++)
		if (!a->registries[i].synced)
			return true;
	return a->touched;
}

uint64_t announcer_tick(struct announcer *a, uint64_t now_ms)
{
	uint64_t next = directory_feed_tick(a->directory, now_ms);

	if (next > now_ms + DISPATCH_MAX_MS)
		next = now_ms + DISPATCH_MAX_MS;
	for (unsigned i = 0; i < a->nr; i++) {
		uint64_t at = registry_tick(&a->registries[i], now_ms);

		next = at < next ? at : next;
	}
	return is_due(a) && announcer_dispatch(a, now_ms) ? now_ms : next;
}

void announcer_exceed(struct announcer *a, uint64_t incarnation, uint64_t version)
{
	if (incarnation < a->incarnation)
		return;
	if (incarnation > a->incarnation) {
		a->incarnation = incarnation + 1;
		version = a->version;
	}
	if (version > a->version)
		a->version = version;
	for (struct own *own = a->own; own != NULL; own = own->next) {
		own->e.incarnation = a->incarnation;
		own->e.version = ++a->version;
		own->asked = own->noted = 0;
	}
}

static struct own **own_find(struct announcer *a, enum directory_kind kind, const char *name)
{
	struct own **p = &a->own;

	while (*p != NULL && ((*p)->e.kind != kind || strcmp((*p)->e.name, name) != 0))
		p = &(*p)->next;
	return p;
}

static int own_set(struct announcer *a, const struct entry *e)
{
	struct own **p = own_find(a, e->kind, e->name), *own = calloc(1, sizeof(*own));

	if (own == NULL)
		return SVCPROTO_E_NOMEM;
	own->e = *e;
	own->e.owner = a->owner;
	own->e.incarnation = a->incarnation;
	own->e.version = ++a->version;
	own->e.lease_ms = REG_LEASE_MS;
	memcpy(own->e.key, a->key, sizeof(a->key));
	own->e.name = strdup(e->name);
	own->e.public_host = e->public_host != NULL ? strdup(e->public_host) : NULL;
	if (own->e.name == NULL || (e->public_host != NULL && own->e.public_host == NULL)) {
		own_free(own);
		return SVCPROTO_E_NOMEM;
	}
	if (*p != NULL) {
		own->next = (*p)->next;
		own_free(*p);
	}
	*p = own;
	return 0;
}

int announcer_set_gateway(struct announcer *a, const struct directory_gateway *g)
{
	struct entry e = {
		.kind = DIR_GATEWAY, .name = g->endpoint, .public_host = g->public_host, .client_port = g->client_port,
		.load = g->load, .has_room = g->has_room, .room = g->room, .draining = g->draining};

	if (g->endpoint == NULL || strlen(g->endpoint) > ENTRY_TEXT_MAX ||
	    (g->public_host != NULL && strlen(g->public_host) > ENTRY_TEXT_MAX))
		return SVCPROTO_E_INVALID;
	return own_set(a, &e);
}

int announcer_set_registration(struct announcer *a, const struct directory_registration *r)
{
	const char *policy = r->policy != NULL ? r->policy : "round-robin";
	struct entry e = { .kind = DIR_REGISTRATION, .name = r->domain, .types = r->types, .weight = r->weight != 0 ? r->weight : 1,
			   .locate_open = r->locate_open, .certificates_only = r->certificates_only,
			   .reopens = r->reopens, .draining = r->draining,
			   .policy = entry_policy(policy, strlen(policy)) };

	if (r->domain == NULL || !keyset_domain_ok(r->domain, strlen(r->domain)) || e.policy == NULL || r->types == 0 ||
	    (r->types & ~(unsigned)(SVCPROTO_CLIENT | SVCPROTO_SERVER)) != 0)
		return SVCPROTO_E_INVALID;
	return own_set(a, &e);
}

int announcer_remove_registration(struct announcer *a, const char *domain)
{
	struct own **p = own_find(a, DIR_REGISTRATION, domain), *own = *p;

	if (own == NULL)
		return SVCPROTO_E_INVALID;
	*p = own->next;
	send_withdrawal(a, &own->e);
	own_free(own);
	return 0;
}
