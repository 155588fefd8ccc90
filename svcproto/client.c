/*
 * The service's object. One epoll descriptor holds every 0MQ socket, a timer and a kick: it is readable when dispatch has work. 0MQ's
 * descriptors are edges, so a turn reads each socket that epoll names until it is empty or the budget ends, looks again at those that it
 * sent to, and kicks itself when anything is left. Others it does not touch: each look costs 0MQ system calls. Nothing calls back outside
 * of a turn.
 */
#include "svcproto/client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

#include "svcproto/entry.h"

#define SOCKETS_MAX 64u
#define ZMQ_SOCKETS_MAX 8192 /* three for each gateway worker; 0MQ's own limit of 1,023 ends at some 330 */
#define TURN_MAX_MS 1000u
#define EVENTS_MAX 32 /* what does not fit is told the next time */

static uint64_t clock_ms(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void client_read_clock(struct svcproto *sp)
{
	sp->now_ms = clock_ms(CLOCK_MONOTONIC);
}

void client_log(struct svcproto *sp, enum svcproto_log level, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	if (sp->cb->log == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	sp->cb->log(sp->arg, level, line);
}

void client_refused(struct svcproto *sp, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	if (sp->cb->refused == NULL)
		return;
	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	sp->cb->refused(sp->arg, line);
}

void client_kick(struct svcproto *sp)
{
	uint64_t one = 1;

	if (sp->kicked)
		return;
	sp->kicked = write(sp->kick_fd, &one, sizeof(one)) == (ssize_t)sizeof(one);
}

static int zsock_fd(void *zsock)
{
	int fd = -1;
	size_t n = sizeof(fd);

	return zmq_getsockopt(zsock, ZMQ_FD, &fd, &n) == 0 ? fd : -1;
}

static int watch_fd(struct svcproto *sp, int fd, bool *ready)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = ready };

	return fd >= 0 && epoll_ctl(sp->epoll_fd, EPOLL_CTL_ADD, fd, &ev) == 0 ? 0 : SVCPROTO_E_NOMEM;
}

int client_watch(struct svcproto *sp, void *zsock, bool *ready)
{
	*ready = true; /* what came before the watch */
	return watch_fd(sp, zsock_fd(zsock), ready);
}

void client_unwatch(struct svcproto *sp, void *zsock)
{
	int fd = zsock != NULL ? zsock_fd(zsock) : -1;

	if (fd >= 0)
		(void)epoll_ctl(sp->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* ---- what the announcer says ---- */

static void on_refused(void *arg, const char *what)
{
	client_refused(arg, "%s", what);
}

static void on_log(void *arg, enum svcproto_log level, const char *line)
{
	client_log(arg, level, "%s", line);
}

static void on_synced(void *arg)
{
	((struct svcproto *)arg)->synced = true;
}

static const struct announcer_ops announcer_ops = { .refused = on_refused, .synced = on_synced, .log = on_log };
static const struct directory_ops directory_ops = { .gateway = client_gateway_event };

/* ---- making it ---- */

/* The endpoint and key that the local gateway left in its state folder. */
static int local_registry(const char *dir, char *out, size_t size)
{
	char path[4096];
	FILE *f;
	bool ok;

	if ((size_t)snprintf(path, sizeof(path), "%s/registry", dir) >= sizeof(path))
		return SVCPROTO_E_INVALID;
	f = fopen(path, "re");
	if (f == NULL)
		return SVCPROTO_E_NOREGISTRY;
	ok = fgets(out, (int)size, f) != NULL;
	fclose(f);
	if (!ok)
		return SVCPROTO_E_NOREGISTRY;
	out[strcspn(out, "\n")] = '\0';
	return 0;
}

static int load_identity(struct svcproto *sp, const struct svcproto_options *o, char *registry, size_t registry_size)
{
	char dir[2048], path[2304];
	int rc = 0;

	if (o->registry == NULL || o->key_file == NULL) {
		if (o->state_dir != NULL)
			rc = (size_t)snprintf(dir, sizeof(dir), "%s", o->state_dir) < sizeof(dir) ? 0 : SVCPROTO_E_INVALID;
		else
			rc = svc_state_dir(dir, sizeof(dir));
	}
	if (rc == 0 && o->registry == NULL)
		rc = local_registry(dir, registry, registry_size);
	else if (rc == 0)
		rc = (size_t)snprintf(registry, registry_size, "%s", o->registry) < registry_size ? 0 : SVCPROTO_E_INVALID;
	if (rc == 0 && o->key_file == NULL) {
		snprintf(path, sizeof(path), "%s/service.key", dir);
		rc = svc_key_load(path, &sp->key);
	} else if (rc == 0) {
		rc = svc_key_load(o->key_file, &sp->key);
	}
	return rc;
}

static int make_hello(struct svcproto *sp, const struct svcproto_options *o)
{
	struct svc_hello *h = &sp->hello;

	if (getrandom(&h->instance, sizeof(h->instance), 0) != (ssize_t)sizeof(h->instance))
		return SVCPROTO_E_NOMEM;
	h->incarnation = clock_ms(CLOCK_REALTIME);
	snprintf(h->name, sizeof(h->name), "%s", o->name != NULL ? o->name : "service");
	h->stanza_bytes_max = o->stanza_bytes_max != 0 ? o->stanza_bytes_max : SVC_STANZA_BYTES;
	h->unacked_stanzas_max = o->unacked_stanzas_max != 0 ? o->unacked_stanzas_max : SVC_UNACKED_STANZAS;
	h->unacked_bytes_max = o->unacked_bytes_max != 0 ? o->unacked_bytes_max : SVC_UNACKED_BYTES;
	return 0;
}

static int open_descriptors(struct svcproto *sp)
{
	sp->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	sp->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	sp->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (sp->epoll_fd < 0 || watch_fd(sp, sp->timer_fd, &sp->timer_ready) != 0 || watch_fd(sp, sp->kick_fd, &sp->kick_ready) != 0)
		return SVCPROTO_E_NOMEM;
	return 0;
}

static int start(struct svcproto *sp, const char *registry)
{
	struct announcer_options ao = { .zmq_context = sp->zmq, .registries = registry, .public_key = sp->key.public_z85,
					.secret_key = sp->key.secret_z85, .owner = sp->hello.instance, .incarnation = sp->hello.incarnation,
					.role = DIR_ROLE_SERVICE };
	void *sockets[SOCKETS_MAX];
	size_t nr;
	int rc;

	sp->zmq = ao.zmq_context = zmq_ctx_new();
	sp->directory = directory_new(&directory_ops, sp);
	if (sp->zmq == NULL || sp->directory == NULL || zmq_ctx_set(sp->zmq, ZMQ_MAX_SOCKETS, ZMQ_SOCKETS_MAX) != 0)
		return SVCPROTO_E_NOMEM;
	rc = open_descriptors(sp);
	if (rc != 0)
		return rc;
	sp->announcer = announcer_new(&ao, sp->directory, &announcer_ops, sp, &rc);
	if (sp->announcer == NULL)
		return rc;
	nr = announcer_sockets(sp->announcer, sockets, SOCKETS_MAX);
	for (size_t i = 0; i < nr && rc == 0; i++)
		rc = client_watch(sp, sockets[i], &sp->announcer_ready);
	client_kick(sp);
	return rc;
}

struct svcproto *svcproto_new(const struct svcproto_options *o, const struct svcproto_callbacks *cb, void *arg, int *error)
{
	struct svcproto *sp = calloc(1, sizeof(*sp));
	char registry[4096];
	int rc = sp != NULL ? 0 : SVCPROTO_E_NOMEM;

	if (rc == 0) {
		sp->cb = cb;
		sp->arg = arg;
		sp->epoll_fd = sp->timer_fd = sp->kick_fd = -1;
		TAILQ_INIT(&sp->links);
		TAILQ_INIT(&sp->requests);
		TAILQ_INIT(&sp->questions);
		TAILQ_INIT(&sp->all_pairs);
		TAILQ_INIT(&sp->peers);
		TAILQ_INIT(&sp->work_pairs);
		rc = load_identity(sp, o, registry, sizeof(registry));
	}
	if (rc == 0)
		rc = make_hello(sp, o);
	if (rc == 0)
		rc = client_hub_start(sp, o);
	if (rc == 0)
		rc = start(sp, registry);
	if (error != NULL)
		*error = rc;
	if (rc == 0)
		return sp;
	svcproto_free(sp);
	return NULL;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		close(fd);
}

void svcproto_free(struct svcproto *sp)
{
	static const struct svcproto_callbacks silence;

	if (sp == NULL)
		return;
	sp->cb = &silence;
	client_links_free(sp);
	svc_hub_free(sp->hub);
	client_inbound_free(sp);
	client_pairs_free(sp);
	client_admin_free(sp);
	client_locate_free(sp);
	announcer_free(sp->announcer);
	directory_free(sp->directory);
	if (sp->zmq != NULL)
		zmq_ctx_term(sp->zmq);
	for (struct own_domain *d = sp->domains, *next; d != NULL; d = next) {
		next = d->next;
		free(d);
	}
	close_fd(sp->epoll_fd);
	close_fd(sp->timer_fd);
	close_fd(sp->kick_fd);
	svc_key_wipe(&sp->key);
	free(sp);
}

/* ---- the turn ---- */

int svcproto_fd(const struct svcproto *sp)
{
	return sp->epoll_fd;
}

static void clear_fd(int fd)
{
	uint64_t count;

	(void)!read(fd, &count, sizeof(count)); /* one read takes all of it */
}

/* Who has news. Descriptors stay readable until their socket is looked at. */
static void ask_epoll(struct svcproto *sp)
{
	struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(sp->epoll_fd, events, EVENTS_MAX, 0);

	for (int i = 0; i < n; i++)
		*(bool *)events[i].data.ptr = true;
	if (sp->kick_ready)
		clear_fd(sp->kick_fd);
	if (sp->timer_ready) {
		clear_fd(sp->timer_fd);
		sp->timer_at_ms = 0;
	}
	sp->kick_ready = sp->timer_ready = false;
}

static void set_timer(struct svcproto *sp, uint64_t at_ms)
{
	uint64_t in_ms = at_ms > sp->now_ms ? at_ms - sp->now_ms : 1;
	struct itimerspec t = { .it_value = { 0 } };

	in_ms = in_ms > TURN_MAX_MS ? TURN_MAX_MS : in_ms;
	/* One that ends sooner does no harm, and then this is set: so it is not moved on by every turn. */
	if (sp->timer_at_ms != 0 && sp->timer_at_ms <= sp->now_ms + in_ms)
		return;
	sp->timer_at_ms = sp->now_ms + in_ms;
	t.it_value.tv_sec = (time_t)(in_ms / 1000);
	t.it_value.tv_nsec = (long)(in_ms % 1000) * 1000000;
	(void)timerfd_settime(sp->timer_fd, 0, &t, NULL);
}

int svcproto_dispatch(struct svcproto *sp)
{
	uint64_t at, next;
	bool more;

	client_read_clock(sp);
	ask_epoll(sp);
	sp->kicked = true; /* what callbacks queue is flushed below: no kick for it */
	if (sp->announcer_ready)
		sp->announcer_ready = announcer_dispatch(sp->announcer, sp->now_ms);
	more = client_links_read(sp) || sp->announcer_ready;
	at = svc_hub_tick(sp->hub, sp->now_ms);
	client_pairs_run(sp);
	client_peers_run(sp);
	client_waits_run(sp);
	next = announcer_tick(sp->announcer, sp->now_ms);
	next = at < next ? at : next;
	at = client_links_tick(sp, &more);
	sp->kicked = false;
	set_timer(sp, at < next ? at : next);
	if (more || TAILQ_FIRST(&sp->work_pairs) != NULL)
		client_kick(sp);
	return 0;
}

/* ---- registrations ---- */

static struct own_domain *find_domain(const struct svcproto *sp, const char *domain)
{
	struct own_domain *d = sp->domains;

	while (d != NULL && strcmp(d->name, domain) != 0)
		d = d->next;
	return d;
}

bool client_has_domain(const struct svcproto *sp, const char *domain, unsigned type)
{
	const struct own_domain *d = find_domain(sp, domain);

	return d != NULL && (d->types & type) == type;
}

bool client_certificates_only(const struct svcproto *sp, const char *domain)
{
	const struct own_domain *d = find_domain(sp, domain);

	return d != NULL && d->certificates_only;
}

static int remember_domain(struct svcproto *sp, const struct svcproto_registration *r)
{
	struct own_domain *d = find_domain(sp, r->domain);
	size_t n = strlen(r->domain) + 1;

	if (d == NULL) {
		d = malloc(sizeof(*d) + n);
		if (d == NULL)
			return SVCPROTO_E_NOMEM;
		memcpy(d->name, r->domain, n);
		d->next = sp->domains;
		sp->domains = d;
	}
	d->types = r->types;
	d->certificates_only = r->certificates_only;
	return 0;
}

int svcproto_register(struct svcproto *sp, const struct svcproto_registration *r)
{
	struct directory_registration dr = { .domain = r->domain, .types = r->types, .policy = r->policy, .weight = r->weight,
					    .locate_open = r->locate_open, .certificates_only = r->certificates_only };
	int rc = SVCPROTO_E_INVALID;

	if (r->failover == NULL || entry_failover(r->failover, strlen(r->failover), &dr.reopens) == 0)
		rc = announcer_set_registration(sp->announcer, &dr);
	if (rc != 0)
		return rc;
	client_kick(sp);
	return remember_domain(sp, r);
}

int svcproto_unregister(struct svcproto *sp, const char *domain)
{
	struct own_domain **p = &sp->domains, *d;

	while (*p != NULL && strcmp((*p)->name, domain) != 0)
		p = &(*p)->next;
	d = *p;
	if (d == NULL)
		return SVCPROTO_E_INVALID;
	*p = d->next;
	free(d);
	client_kick(sp);
	return announcer_remove_registration(sp->announcer, domain);
}

const char *svcproto_strerror(int error)
{
	switch ((enum svcproto_error)error) {
	case SVCPROTO_OK:
		return "no error";
	case SVCPROTO_E_NOMEM:
		return "out of memory or descriptors";
	case SVCPROTO_E_INVALID:
		return "invalid argument";
	case SVCPROTO_E_FULL:
		return "too much is unacknowledged";
	case SVCPROTO_E_CLOSED:
		return "closed";
	case SVCPROTO_E_KEY:
		return "a key file is missing, malformed, or readable by others";
	case SVCPROTO_E_CONNECT:
		return "not a registry: write tcp://HOST:PORT=KEY, the key with 40 letters";
	case SVCPROTO_E_NOREGISTRY:
		return "no registry: start the gateway first, or give --registry ENDPOINT=KEY";
	case SVCPROTO_E_DENIED:
		return "not authorised";
	}
	return "unknown error";
}
