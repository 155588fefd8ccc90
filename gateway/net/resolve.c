#include "net/resolve.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unbound.h>
#include <unbound-event.h>
#include <unistd.h>

#include "common/log.h"
#include "net/srv.h"

/*
 * SRV, then AAAA and A of each target, all under one timer of our own. Always forwards: without a forwarder libunbound would go to the root servers. Its
 * callback may run inside ub_resolve_event, so a finished resolve is reported by the timer, never inside a call.
 */

#define TYPE_A 1
#define TYPE_AAAA 28
#define TYPE_SRV 33
#define TIMEOUT_MS 10000

struct resolver {
	struct loop *loop;
	struct ub_ctx *ctx;
	unsigned timeout_ms;
	bool forwards;
	struct resolve *all;
};

struct query {                           /* one question to libunbound */
	struct resolve *q;
	int type, id;
	unsigned target;
	bool running;
};

struct resolve {
	struct resolver *r;
	resolve_fn *fn;
	void *arg;
	struct loop_timer timer;
	struct query queries[1 + 2 * RESOLVE_TARGETS_MAX];
	unsigned nr_queries, nr_running;
	struct resolve_target targets[RESOLVE_TARGETS_MAX];
	size_t nr_targets;
	enum resolve_status status;
	const char *why;
	bool over, failed;
	uint16_t default_port;
	char domain[256];
	struct resolve *next, **prev;
};

static uint32_t draw_random(void *arg, uint32_t below)
{
	uint32_t v;

	(void)arg;
	mem_random(&v, sizeof v);
	return v % below;
}

/* Reports from the timer, so that no caller meets its callback inside its own call. */
static void settle(struct resolve *q, enum resolve_status status, const char *why)
{
	if (q->over)
		return;
	q->over = true;
	q->status = status;
	q->why = why;
	loop_timer_set(&q->timer, 0);
}

static void free_resolve(struct resolve *q)
{
	for (unsigned i = 0; i < q->nr_queries; i++) {
		if (q->queries[i].running)
			ub_cancel(q->r->ctx, q->queries[i].id);
	}
	loop_timer_cancel(&q->timer);
	*q->prev = q->next;
	if (q->next != NULL)
		q->next->prev = q->prev;
	free(q);
}

static void on_timer(void *arg)
{
	struct resolve *q = arg;

	if (!q->over) {
		q->status = RESOLVE_TIMEOUT;
		q->why = "DNS did not answer in time";
	}
	q->over = true;
	q->fn(q->arg, q->status, q->targets, q->status == RESOLVE_OK ? q->nr_targets : 0, q->why);
	free_resolve(q);
}

static void on_answer(void *arg, int rcode, void *packet, int packet_n, int secure, char *why_bogus, int was_ratelimited);

static void ask(struct resolve *q, const char *name, int type, unsigned target)
{
	struct query *u = &q->queries[q->nr_queries++];

	*u = (struct query){.q = q, .type = type, .target = target, .running = true};
	q->nr_running++;
	if (ub_resolve_event(q->r->ctx, name, type, 1, u, on_answer, &u->id) != 0) {
		u->running = false;
		q->nr_running--;
		q->failed = true;
	}
}

static void add_address(struct resolve_target *t, int family, const unsigned char *bytes)
{
	struct sockaddr_in6 *six;
	struct sockaddr_in *four;

	if (t->nr_addrs == ARRAY_LEN(t->addrs))
		return;
	if (family == AF_INET6) {
		/* IPv6 first: an earlier IPv4 makes room. */
		unsigned at = 0;

		while (at < t->nr_addrs && t->addrs[at].ss_family == AF_INET6)
			at++;
		memmove(&t->addrs[at + 1], &t->addrs[at], (t->nr_addrs - at) * sizeof t->addrs[0]);
		six = (void *)&t->addrs[at];
		*six = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(t->port)};
		memcpy(&six->sin6_addr, bytes, 16);
	} else {
		four = (void *)&t->addrs[t->nr_addrs];
		*four = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(t->port)};
		memcpy(&four->sin_addr, bytes, 4);
	}
	t->nr_addrs++;
}

static void ask_addresses(struct resolve *q)
{
	size_t nr = q->nr_targets;

	srv_order(q->targets, nr, draw_random, NULL);
	/* An answer may come inside ask(): it must not take itself for the last one. */
	q->nr_running++;
	for (unsigned i = 0; i < nr; i++) {
		ask(q, q->targets[i].host, TYPE_AAAA, i);
		ask(q, q->targets[i].host, TYPE_A, i);
	}
	q->nr_running--;
}

/* No SRV records: the domain's own addresses (RFC 6120 section 3.2.2). */
static void fall_back(struct resolve *q)
{
	q->targets[0] = (struct resolve_target){.port = q->default_port};
	snprintf(q->targets[0].host, sizeof q->targets[0].host, "%s", q->domain);
	q->nr_targets = 1;
	ask_addresses(q);
}

static bool wanted(const struct query *u, size_t n)
{
	return u->type == TYPE_SRV || n == (u->type == TYPE_AAAA ? 16u : 4u);
}

static void take_srv(struct resolve *q, struct slice rdata, bool secure)
{
	struct resolve_target t;

	if (q->nr_targets < RESOLVE_TARGETS_MAX && srv_parse(rdata, &t)) {
		t.secure = secure;
		q->targets[q->nr_targets++] = t;
	}
}

/* --- the wire answer (RFC 1035 section 4) -------------------------------- */

/* Past a name at `at`; 0 when it runs out of the packet. */
static size_t skip_name(const unsigned char *p, size_t n, size_t at)
{
	while (at < n) {
		if (p[at] == 0)
			return at + 1;
		if (p[at] >= 0xc0)
			return at + 2 <= n ? at + 2 : 0;
		at += p[at] + 1u;
	}
	return 0;
}

static unsigned be16(const unsigned char *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

/* An SRV target may be compressed by a careless server: copied out label by label, jumps bounded. */
static size_t expand(const unsigned char *p, size_t n, size_t at, char *out, size_t size)
{
	size_t len = 0;

	for (int jumps = 0; at < n && jumps < 16;) {
		size_t label = p[at];

		if (label >= 0xc0) {
			if (at + 1 >= n)
				return 0;
			at = (label & 0x3f) << 8 | p[at + 1];
			jumps++;
			continue;
		}
		if (label > 63 || at + 1 + label > n || len + 1 + label > size)
			return 0;
		memcpy(out + len, p + at, 1 + label);
		len += 1 + label;
		if (label == 0)
			return len;
		at += 1 + label;
	}
	return 0;
}

static void take_record(struct query *u, const unsigned char *p, size_t n, size_t at, size_t rdata_n, bool secure)
{
	char srv[6 + 256];
	size_t name_n;

	if (u->type != TYPE_SRV) {
		add_address(&u->q->targets[u->target], u->type == TYPE_AAAA ? AF_INET6 : AF_INET, p + at);
		return;
	}
	if (rdata_n < 7)
		return;
	memcpy(srv, p + at, 6);
	name_n = expand(p, n, at + 6, srv + 6, 256);
	if (name_n > 0)
		take_srv(u->q, (struct slice){srv, 6 + name_n}, secure);
}

static void parse(struct query *u, const unsigned char *p, size_t n, bool secure)
{
	size_t at = 12;

	if (n < 12)
		return;
	for (unsigned i = be16(p + 4); i > 0 && at != 0; i--) {
		at = skip_name(p, n, at);
		at = at != 0 && at + 4 <= n ? at + 4 : 0;
	}
	for (unsigned i = be16(p + 6); i > 0 && at != 0; i--) {
		unsigned type, rdata_n;

		at = skip_name(p, n, at);
		if (at == 0 || at + 10 > n)
			return;
		type = be16(p + at);
		rdata_n = be16(p + at + 8);
		at += 10;
		if (at + rdata_n > n)
			return;
		if (type == (unsigned)u->type && wanted(u, rdata_n))
			take_record(u, p, n, at, rdata_n, secure);
		at += rdata_n;
	}
}

static void after_addresses(struct resolve *q)
{
	size_t kept = 0;

	for (size_t i = 0; i < q->nr_targets; i++) {
		if (q->targets[i].nr_addrs > 0)
			q->targets[kept++] = q->targets[i];
	}
	q->nr_targets = kept;
	if (kept > 0)
		settle(q, RESOLVE_OK, NULL);
	else if (q->failed)
		settle(q, RESOLVE_TIMEOUT, "the DNS servers failed");
	else
		settle(q, RESOLVE_NO_DOMAIN, "the domain has no address");
}

static void after_srv(struct resolve *q)
{
	if (q->nr_targets == 1 && q->targets[0].host[0] == '\0')
		settle(q, RESOLVE_NO_SERVICE, "the domain says that it has no such service");
	else if (q->nr_targets > 0)
		ask_addresses(q);
	else if (q->failed)
		settle(q, RESOLVE_TIMEOUT, "the DNS servers failed");
	else
		fall_back(q);
}

static void on_answer(void *arg, int rcode, void *packet, int packet_n, int secure, char *why_bogus, int was_ratelimited)
{
	struct query *u = arg;
	struct resolve *q = u->q;

	(void)why_bogus;
	(void)was_ratelimited;
	u->running = false;
	q->nr_running--;
	if (q->over)
		return;
	if (secure == 1) {
		settle(q, RESOLVE_BOGUS, "the DNS answer's signature is bogus");
		return;
	}
	if (rcode == 0)
		parse(u, packet, (size_t)packet_n, secure == 2);
	else if (rcode != 3)
		q->failed = true;
	if (u->type == TYPE_SRV)
		after_srv(q);
	if (q->nr_running == 0 && !q->over)
		after_addresses(q);
}

/* --- birth --------------------------------------------------------------- */

static bool configure(struct resolver *r, const struct resolver_options *o)
{
	char server[300];
	const char *port;

	/* Loopback resolvers are usual (systemd-resolved, dnsmasq). */
	(void)ub_ctx_set_option(r->ctx, "do-not-query-localhost:", "no");
	if (o->trust_anchor != NULL && ub_ctx_add_ta_file(r->ctx, o->trust_anchor) != 0)
		return false;
	if (o->server == NULL) {
		r->forwards = access("/etc/resolv.conf", R_OK) == 0 && ub_ctx_resolvconf(r->ctx, NULL) == 0;
		return true;
	}
	port = strrchr(o->server, ':');
	if (port == NULL)
		return false;
	if (o->server[0] == '[')
		snprintf(server, sizeof server, "%.*s@%s", (int)(port - o->server) - 2, o->server + 1, port + 1);
	else
		snprintf(server, sizeof server, "%.*s@%s", (int)(port - o->server), o->server, port + 1);
	r->forwards = ub_ctx_set_fwd(r->ctx, server) == 0;
	return r->forwards;
}

struct resolver *resolver_new(struct loop *l, const struct resolver_options *o, char *why, size_t why_size)
{
	struct resolver *r = NEW(struct resolver);

	r->loop = l;
	r->timeout_ms = o->timeout_ms ? o->timeout_ms : TIMEOUT_MS;
	r->ctx = ub_ctx_create_event(loop_base(l));
	if (r->ctx == NULL || !configure(r, o)) {
		snprintf(why, why_size, "cannot use the DNS server %s; --resolver takes ADDR:PORT", o->server ? o->server : "of resolv.conf");
		resolver_free(r);
		return NULL;
	}
	return r;
}

void resolver_free(struct resolver *r)
{
	if (r == NULL)
		return;
	while (r->all != NULL)
		free_resolve(r->all);
	if (r->ctx != NULL)
		ub_ctx_delete(r->ctx);
	free(r);
}

/* An IP literal is its own address. */
static bool literal(struct resolve *q)
{
	char text[64];
	unsigned char bytes[16];
	size_t n = strlen(q->domain);

	q->targets[0] = (struct resolve_target){.port = q->default_port};
	if (inet_pton(AF_INET, q->domain, bytes) == 1) {
		add_address(&q->targets[0], AF_INET, bytes);
	} else {
		if (n < 4 || n > sizeof text || q->domain[0] != '[' || q->domain[n - 1] != ']')
			return false;
		snprintf(text, sizeof text, "%.*s", (int)n - 2, q->domain + 1);
		if (inet_pton(AF_INET6, text, bytes) != 1)
			return false;
		add_address(&q->targets[0], AF_INET6, bytes);
	}
	snprintf(q->targets[0].host, sizeof q->targets[0].host, "%s", q->domain);
	q->nr_targets = 1;
	return true;
}

struct resolve *resolve_server(struct resolver *r, const char *domain_ascii, const char *service, uint16_t default_port, resolve_fn *fn, void *arg)
{
	struct resolve *q = NEW(struct resolve);
	char name[400];

	q->r = r;
	q->fn = fn;
	q->arg = arg;
	q->default_port = default_port;
	snprintf(q->domain, sizeof q->domain, "%s", domain_ascii);
	snprintf(name, sizeof name, "%s.%s", service, q->domain);
	q->next = r->all;
	q->prev = &r->all;
	if (q->next != NULL)
		q->next->prev = &q->next;
	r->all = q;
	loop_timer_init(r->loop, &q->timer, on_timer, q);
	loop_timer_set(&q->timer, r->timeout_ms);
	if (literal(q))
		settle(q, RESOLVE_OK, NULL);
	else if (!r->forwards)
		settle(q, RESOLVE_TIMEOUT, "the system names no DNS server");
	else
		ask(q, name, TYPE_SRV, 0);
	return q;
}

void resolve_cancel(struct resolve *q)
{
	free_resolve(q);
}
