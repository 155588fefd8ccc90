#include "svcclient/cluster.h"

#include <dirent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

uint64_t test_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void die(const char *what)
{
	fprintf(stderr, "cluster: %s\n", what);
	abort();
}

const char *cluster_path(const struct cluster *c, const char *name)
{
	static char path[4][512];
	static unsigned next;
	char *p = path[next++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s", c->dir, name);
	return p;
}

static void start_registry(struct cluster *c, const char *bind)
{
	struct registry_server_options o = { .zmq_context = c->zmq, .zap = c->zap, .bind = bind, .state_dir = c->dir,
					     .embedded = true };
	char why[4096] = "";

	for (int i = 0; i < 50 && c->registry == NULL; i++) {
		c->registry = registry_server_start(&o, why, sizeof(why));
		if (c->registry == NULL)
			usleep(20000); /* 0MQ frees a port a little later */
	}
	if (c->registry == NULL)
		die(why);
	snprintf(c->where, sizeof(c->where), "%s=%s", registry_server_endpoint(c->registry), registry_server_key(c->registry));
	if (registry_server_publish_local(c->registry) != 0)
		die("publish_local");
}

void cluster_start(struct cluster *c)
{
	memset(c, 0, sizeof(*c));
	snprintf(c->dir, sizeof(c->dir), "/tmp/ambrosia-cluster-XXXXXX");
	if (mkdtemp(c->dir) == NULL)
		die("mkdtemp");
	c->zmq = zmq_ctx_new();
	c->zap = zap_start(c->zmq);
	if (c->zap == NULL)
		die("zap_start");
	start_registry(c, "tcp://127.0.0.1:*");
	if (svc_key_load(cluster_path(c, "gateway.key"), &c->gateway_key) != 0)
		die("gateway.key");
}

void cluster_stop_registry(struct cluster *c)
{
	registry_server_stop(c->registry);
	c->registry = NULL;
}

void cluster_start_registry(struct cluster *c)
{
	char endpoint[256];

	snprintf(endpoint, sizeof(endpoint), "%.*s", (int)(strlen(c->where) - 41), c->where);
	start_registry(c, endpoint);
}

void cluster_stop(struct cluster *c)
{
	DIR *d;
	struct dirent *e;

	registry_server_stop(c->registry);
	zap_stop(c->zap);
	zmq_ctx_term(c->zmq);
	d = opendir(c->dir);
	while (d != NULL && (e = readdir(d)) != NULL)
		if (e->d_name[0] != '.')
			unlink(cluster_path(c, e->d_name));
	if (d != NULL)
		closedir(d);
	rmdir(c->dir);
}

void cluster_write_keys(struct cluster *c, const char *text)
{
	struct svc_key service;
	FILE *f = fopen(cluster_path(c, "authorized_keys"), "w");

	if (f == NULL || svc_key_load(cluster_path(c, "service.key"), &service) != 0)
		die("authorized_keys");
	/* At the start of a line and before a space only: a key may hold a '%', also as its first letter. */
	for (bool start = true; *text != '\0'; text++) {
		if (!start || *text != '%' || text[1] == '\0' || text[2] != ' ')
			fputc(*text, f);
		else
			fputs(*++text == 'G' ? c->gateway_key.public_z85 : service.public_z85, f);
		start = *text == '\n';
	}
	fclose(f);
	registry_server_reload(c->registry);
}

/* ---- a service ---- */

static void note(struct service *s, char letter)
{
	if (s->nr_order < NOTES - 1)
		s->order[s->nr_order++] = letter;
}

static void copy(char *to, size_t size, const char *p, size_t n)
{
	snprintf(to, size, "%.*s", (int)(n < size ? n : size - 1), p);
}

static void on_open(void *arg, struct svcproto_session *session, const struct svcproto_open *o)
{
	struct service *s = arg;
	char jid[256];

	s->opened++;
	copy(s->bare_jid, sizeof(s->bare_jid), o->bare_jid, strlen(o->bare_jid));
	if (s->refuse) {
		if (svcproto_refuse(session, "auth", "not-allowed", "go away") != 0)
			die("refuse");
		return;
	}
	s->session = session;
	snprintf(jid, sizeof(jid), "%s/%s", o->bare_jid, o->resource != NULL ? o->resource : "chosen");
	if (!s->hold && svcproto_accept(session, jid) != 0)
		die("accept");
}

static void on_closed(void *arg, struct svcproto_session *session, const char *condition, const char *text)
{
	struct service *s = arg;

	(void)text;
	note(s, 'c');
	s->closed++;
	copy(s->closed_condition, sizeof(s->closed_condition), condition != NULL ? condition : "",
	     condition != NULL ? strlen(condition) : 0);
	if (s->session == session)
		s->session = NULL;
}

static void on_detached(void *arg, struct svcproto_session *session)
{
	(void)session;
	((struct service *)arg)->detached++;
}

static void on_resumed(void *arg, struct svcproto_session *session, const struct svcproto_open *o)
{
	struct service *s = arg;

	(void)session;
	s->resumed++;
	if (o != NULL)
		copy(s->resumed_address, sizeof(s->resumed_address), o->address, strlen(o->address));
}

static void on_stanza(void *arg, struct svcproto_session *session, const struct svcproto_stanza *st)
{
	struct service *s = arg;
	unsigned i = s->stanzas++ % NOTES;

	(void)session;
	note(s, 's');
	copy(s->xml[i], sizeof(s->xml[i]), st->xml, st->length);
	copy(s->remote[i], sizeof(s->remote[i]), st->remote_domain != NULL ? st->remote_domain : "", 60);
	copy(s->local[i], sizeof(s->local[i]), st->local_domain != NULL ? st->local_domain : "", 60);
	s->tickets[i] = st->ticket;
	if (s->slow != NULL)
		s->slow();
}

static void on_delivered(void *arg, uint64_t cookie)
{
	struct service *s = arg;

	note(s, 'd');
	s->delivered[s->nr_delivered++ % NOTES] = cookie;
}

static void on_undeliverable(void *arg, uint64_t cookie, const char *type, const char *condition, const char *xml, size_t length)
{
	struct service *s = arg;
	unsigned i = s->nr_undeliverable++ % NOTES;

	(void)xml;
	(void)length;
	note(s, 'u');
	s->undeliverable[i] = cookie;
	copy(s->conditions[i], sizeof(s->conditions[i]), condition, strlen(condition));
	copy(s->types[i], sizeof(s->types[i]), type, strlen(type));
}

static void on_locate(void *arg, uint64_t request, const char *bare_jid)
{
	struct service *s = arg;

	snprintf(s->bare_jid, sizeof(s->bare_jid), "%s", bare_jid);
	s->asked = request;
	s->nr_asked++;
}

static void on_linked(void *arg, unsigned nr)
{
	struct service *s = arg;

	s->linked_calls++;
	s->nr_gateways = nr;
}

static void on_refused(void *arg, const char *what)
{
	struct service *s = arg;

	s->refusals++;
	copy(s->refused, sizeof(s->refused), what, strlen(what));
	for (size_t i = 0; i < sizeof(s->unregister) / sizeof(s->unregister[0]); i++) {
		if (s->unregister[i] == NULL)
			continue;
		if (svcproto_unregister(s->sp, s->unregister[i]) != 0)
			die("unregister");
		s->unregister[i] = NULL;
		break;
	}
}

/* What it sends and acknowledges here leaves in the same dispatch. */
static void on_before_flush(void *arg)
{
	struct service *s = arg;

	s->nr_flushes++;
	if (s->answer == NULL || s->stanzas == 0)
		return;
	(void)svcproto_send(s->session, s->answer, strlen(s->answer), 0);
	(void)svcproto_ack(s->sp, s->tickets[0]);
	s->answer = NULL;
	s->answered_in = s->nr_flushes;
}

static void on_log(void *arg, enum svcproto_log level, const char *line)
{
	(void)arg;
	if (getenv("TEST_LOG") != NULL)
		fprintf(stderr, "log %d: %s\n", (int)level, line);
}

static const struct svcproto_callbacks callbacks = {
	.session_open = on_open, .session_detached = on_detached, .session_resumed = on_resumed,
		.session_closed = on_closed, .stanza = on_stanza, .delivered = on_delivered,
	.undeliverable = on_undeliverable, .linked = on_linked, .locate = on_locate,
	.refused = on_refused, .before_flush = on_before_flush, .log = on_log,
};

int service_start(struct service *s, const struct cluster *c, const char *key_file)
{
	struct svcproto_options o = { .state_dir = c->dir, .key_file = key_file, .name = "test", .ack_after_ms = s->ack_after_ms };
	int rc;

	memset(s, 0, sizeof(*s));
	s->sp = svcproto_new(&o, &callbacks, s, &rc);
	return rc;
}

void service_stop(struct service *s)
{
	svcproto_free(s->sp);
	s->sp = NULL;
}

int service_register(struct service *s, const char *domain, unsigned types)
{
	struct svcproto_registration r = { .domain = domain, .types = types };

	return svcproto_register(s->sp, &r);
}

/* Only what the descriptor says: a service that were called in every turn would hide a lost edge. */
static void run_services(const struct turn *t)
{
	for (unsigned i = 0; i < 4; i++) {
		struct service *s = t->services[i];
		struct pollfd p = { .events = POLLIN };

		if (s == NULL || s->sp == NULL)
			continue;
		p.fd = svcproto_fd(s->sp);
		if (poll(&p, 1, 0) > 0 && svcproto_dispatch(s->sp) != 0)
			die("dispatch");
	}
}

bool turn_until(const struct turn *t, bool (*cond)(void *arg), void *arg, unsigned max_ms)
{
	uint64_t end = test_now_ms() + max_ms;

	while (!cond(arg)) {
		if (test_now_ms() > end)
			return false;
		if (t->fn != NULL)
			t->fn(t->arg);
		run_services(t);
		usleep(300);
	}
	return true;
}

struct reach {
	const unsigned *counter;
	unsigned value;
};

static bool reached(void *arg)
{
	const struct reach *r = arg;

	return *r->counter >= r->value;
}

bool turn_until_reached(const struct turn *t, const unsigned *counter, unsigned value, unsigned max_ms)
{
	return turn_until(t, reached, &(struct reach){ counter, value }, max_ms);
}
