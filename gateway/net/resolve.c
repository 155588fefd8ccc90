/*
 * The servers of a domain: both sets of SRV records, merged and put in order, then AAAA and A of each target, all at once and under one
 * deadline of ours. Each step only notes what came; what follows from it is decided in a task at the turn's end, since answers may come
 * inside the call that asks.
 */
#include "net/resolve.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/resolver_int.h"
#include "net/srv.h"

enum {
	SRV_MAX = 32,            /* looked at; RESOLVE_TARGETS_MAX of them are tried */
	FAMILY_MAX = 4,          /* addresses of each family and target */
	GRACE_MS = 2000,         /* once there is an address, the others may take this long */
	NAME_BYTES = 253,
	TAG_SRV = 1000,          /* and the number of the set */
	DEFAULT_PORT = 5269,     /* RFC 6120 section 14.7 */
};

/* Sets of SRV records. What one of them holds counts, whatever becomes of the other, unless that is bogus. */
enum { STARTTLS, DIRECT_TLS, NR_SETS };
static const char *const sets[NR_SETS] = {[STARTTLS] = "_xmpp-server._tcp", [DIRECT_TLS] = "_xmpps-server._tcp"};

enum stage { ASKING_SRV, ASKING_ADDRESSES, SETTLED };

struct target {
	struct resolve_target t;
	struct sockaddr_storage v4[FAMILY_MAX];
	unsigned nr_v4;
	bool bogus;
};

struct resolve {
	struct resolver *r;
	resolve_fn *fn;
	void *arg;
	struct loop_timer deadline;
	struct loop_task step;
	enum stage stage;
	enum resolve_status status;
	unsigned nr_asked;               /* and not answered */
	bool failed, bogus, timed_out, in_grace;
	bool secure[NR_SETS], known[NR_SETS];
	uint64_t give_up_at_ms;
	char domain[DNS_NAME_MAX];
	char why[200];
	struct dns_srv srv[SRV_MAX];
	size_t nr_srv;
	bool no_service;                 /* the target ".", for STARTTLS: it rules out the domain's own addresses as well */
	struct target targets[RESOLVE_TARGETS_MAX];
	size_t nr_targets;
	struct resolve *next, **prev;
};

static uint32_t draw_random(void *arg, uint32_t below)
{
	uint32_t v;

	(void)arg;
	mem_random(&v, sizeof v);
	return (uint32_t)((uint64_t)v * below >> 32);
}

static void settle(struct resolve *q, enum resolve_status status, const char *why)
{
	q->stage = SETTLED;
	q->status = status;
	if (why)
		snprintf(q->why, sizeof q->why, "%s", why);
	loop_task_queue(resolver_loop(q->r), &q->step);
}

/* --- answers ------------------------------------------------------------- */

static void add_address(struct target *t, int family, const void *bytes)
{
	if (family == AF_INET6 && t->t.nr_addrs < FAMILY_MAX) {
		struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(t->t.port)};

		memcpy(&six.sin6_addr, bytes, sizeof six.sin6_addr);
		memcpy(&t->t.addrs[t->t.nr_addrs++], &six, sizeof six);
	} else if (family == AF_INET && t->nr_v4 < FAMILY_MAX) {
		struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(t->t.port)};

		memcpy(&four.sin_addr, bytes, sizeof four.sin_addr);
		memcpy(&t->v4[t->nr_v4++], &four, sizeof four);
	}
}

static void take_aaaa(void *arg, struct slice packet, size_t at, size_t n)
{
	if (n == sizeof(struct in6_addr))
		add_address(arg, AF_INET6, packet.p + at);
}

static void take_a(void *arg, struct slice packet, size_t at, size_t n)
{
	if (n == sizeof(struct in_addr))
		add_address(arg, AF_INET, packet.p + at);
}

struct srv_reader {
	struct resolve *q;
	uint16_t set;
};

static void take_srv(void *arg, struct slice packet, size_t at, size_t n)
{
	struct srv_reader *reader = arg;
	struct resolve *q = reader->q;
	struct dns_srv *srv = &q->srv[q->nr_srv];

	if (q->nr_srv == SRV_MAX || !dns_answer_srv(packet, at, n, srv))
		return;
	srv->set = reader->set;
	if (srv->host[0] == '\0')
		q->no_service |= srv->set == STARTTLS;
	else if (srv->port != 0)
		q->nr_srv++;
}

static void note_bogus(struct resolve *q, const struct dns_answer *a)
{
	q->bogus = true;
	snprintf(q->why, sizeof q->why, "DNSSEC: %s", a->why ? a->why : "the answer is bogus");
}

/* Reads the records of a type, if there are any. False when the servers failed, or their answer is malformed. */
static bool read_answer(struct resolve *q, const struct dns_answer *a, unsigned type,
			void (*take)(void *arg, struct slice packet, size_t at, size_t n), void *arg)
{
	int rcode = a->rcode ? a->rcode : dns_answer_rcode(a->packet);

	if (rcode == DNS_NXDOMAIN || (rcode == DNS_NOERROR && a->packet.n == 0))
		return true;
	if (rcode == DNS_NOERROR)
		return dns_answer_each(a->packet, type, take, arg);
	if (q->why[0] == '\0')
		snprintf(q->why, sizeof q->why, "the DNS servers failed (%s)", rcode == DNS_SERVFAIL ? "SERVFAIL" : "no usable answer");
	return false;
}

static void take_set(struct resolve *q, uint16_t set, const struct dns_answer *a)
{
	struct srv_reader reader = {q, set};

	/* too late: the targets are chosen */
	if (q->stage != ASKING_SRV)
		return;
	q->secure[set] = a->security == DNS_SECURE;
	if (a->security == DNS_BOGUS)
		note_bogus(q, a);
	else
		q->known[set] = read_answer(q, a, DNS_SRV, take_srv, &reader);
}

static void take_address(struct resolve *q, unsigned tag, const struct dns_answer *a)
{
	struct target *t = &q->targets[tag / 2];
	unsigned before = t->t.nr_addrs + t->nr_v4;

	if (a->security == DNS_BOGUS) {
		note_bogus(q, a);
		t->bogus = true;
	} else if (!(tag % 2 ? read_answer(q, a, DNS_A, take_a, t) : read_answer(q, a, DNS_AAAA, take_aaaa, t))) {
		q->failed = true;
	}
	if (t->t.nr_addrs + t->nr_v4 > before)
		t->t.secure &= a->security == DNS_SECURE;
}

static void on_answer(void *arg, unsigned tag, const struct dns_answer *a)
{
	struct resolve *q = arg;

	q->nr_asked--;
	if (q->stage == SETTLED)
		return;
	if (tag < TAG_SRV)
		take_address(q, tag, a);
	else
		take_set(q, (uint16_t)(tag - TAG_SRV), a);
	loop_task_queue(resolver_loop(q->r), &q->step);
}

static void ask(struct resolve *q, const char *name, unsigned type, unsigned tag)
{
	const char *why;

	q->nr_asked++;
	if (resolver_ask(q->r, name, type, on_answer, q, tag, &why))
		return;
	q->nr_asked--;
	q->failed = true;
	snprintf(q->why, sizeof q->why, "DNS: %s", why);
}

/* --- steps --------------------------------------------------------------- */

static struct target *add_target(struct resolve *q, const char *host, uint16_t port, unsigned set)
{
	struct target *t = &q->targets[q->nr_targets++];

	t->t.port = port;
	t->t.direct_tls = set == DIRECT_TLS;
	t->t.secure = q->secure[set];
	snprintf(t->t.host, sizeof t->t.host, "%s", host);
	return t;
}

static void ask_addresses(struct resolve *q)
{
	uint64_t now = loop_now_ms(resolver_loop(q->r));

	q->stage = ASKING_ADDRESSES;
	q->in_grace = q->timed_out = false;
	loop_timer_set(&q->deadline, q->give_up_at_ms > now ? q->give_up_at_ms - now : 0);
	for (unsigned i = 0; i < q->nr_targets; i++) {
		ask(q, q->targets[i].t.host, DNS_AAAA, 2 * i);
		ask(q, q->targets[i].t.host, DNS_A, 2 * i + 1);
	}
	loop_task_queue(resolver_loop(q->r), &q->step);
}

/* Without any record, only the word that there is none for STARTTLS lets the domain's own addresses be tried. */
static bool enough(const struct resolve *q)
{
	return q->nr_srv > 0 || q->known[STARTTLS];
}

static void after_srv(struct resolve *q)
{
	if (q->bogus) {
		settle(q, RESOLVE_BOGUS, NULL);
	} else if (!enough(q)) {
		settle(q, RESOLVE_TIMEOUT, q->why[0] ? NULL : "DNS did not answer in time");
	} else if (q->nr_srv == 0 && q->no_service) {
		settle(q, RESOLVE_NO_SERVICE, "the domain says that it has no such service");
	} else if (q->nr_srv == 0) {
		/* RFC 6120 section 3.2.2 */
		add_target(q, q->domain, DEFAULT_PORT, STARTTLS);
		ask_addresses(q);
	} else {
		srv_order(q->srv, q->nr_srv, draw_random, NULL);
		for (size_t i = 0; i < q->nr_srv && i < RESOLVE_TARGETS_MAX; i++) {
			struct target *t = add_target(q, q->srv[i].host, q->srv[i].port, q->srv[i].set);

			t->t.priority = q->srv[i].priority;
			t->t.weight = q->srv[i].weight;
		}
		ask_addresses(q);
	}
}

/* What is known should not wait for a slow name server of what may not be needed. */
static void begin_grace(struct resolve *q)
{
	uint64_t now = loop_now_ms(resolver_loop(q->r));

	if (q->in_grace || now + GRACE_MS >= q->give_up_at_ms)
		return;
	q->in_grace = true;
	loop_timer_set(&q->deadline, GRACE_MS);
}

/* Bogus addresses are none, whatever came beside them. */
static size_t count_reachable(const struct resolve *q)
{
	size_t nr = 0;

	for (size_t i = 0; i < q->nr_targets; i++)
		nr += !q->targets[i].bogus && q->targets[i].t.nr_addrs + q->targets[i].nr_v4 > 0;
	return nr;
}

static void after_addresses(struct resolve *q)
{
	bool any = count_reachable(q) > 0;

	if (q->nr_asked > 0 && !q->timed_out) {
		if (any)
			begin_grace(q);
		return;
	}
	if (any)
		settle(q, RESOLVE_OK, NULL);
	else if (q->bogus)
		settle(q, RESOLVE_BOGUS, NULL);
	else if (q->nr_asked > 0)
		settle(q, RESOLVE_TIMEOUT, "DNS did not answer in time");
	else if (q->failed)
		settle(q, RESOLVE_TIMEOUT, q->why[0] ? NULL : "the DNS servers failed");
	else
		settle(q, RESOLVE_NO_DOMAIN, "there is no server and no address of that name");
}

static void unlink_resolve(struct resolve *q)
{
	loop_timer_cancel(&q->deadline);
	loop_task_cancel(resolver_loop(q->r), &q->step);
	resolver_forget(q->r, q);
	*q->prev = q->next;
	if (q->next)
		q->next->prev = q->prev;
}

static void interleave(const struct target *t, struct resolve_target *out)
{
	*out = t->t;
	out->nr_addrs = 0;
	for (unsigned i = 0; i < FAMILY_MAX; i++) {
		if (i < t->t.nr_addrs)
			out->addrs[out->nr_addrs++] = t->t.addrs[i];
		if (i < t->nr_v4)
			out->addrs[out->nr_addrs++] = t->v4[i];
	}
}

static void report(struct resolve *q)
{
	struct resolve_target *out = mem_alloc(RESOLVE_TARGETS_MAX * sizeof *out);
	size_t nr = 0;

	for (size_t i = 0; q->status == RESOLVE_OK && i < q->nr_targets; i++) {
		struct target *t = &q->targets[i];

		if (t->bogus || t->t.nr_addrs + t->nr_v4 == 0)
			continue;
		interleave(t, &out[nr++]);
	}
	unlink_resolve(q);
	q->fn(q->arg, q->status, out, nr, q->status == RESOLVE_OK ? NULL : q->why);
	free(out);
	free(q);
}

static void on_step(void *arg)
{
	struct resolve *q = arg;

	if (q->stage == ASKING_SRV && q->nr_asked > 0 && !q->timed_out) {
		if (enough(q))
			begin_grace(q);
	} else if (q->stage == ASKING_SRV) {
		after_srv(q);
	} else if (q->stage == ASKING_ADDRESSES) {
		after_addresses(q);
	} else if (q->stage == SETTLED) {
		report(q);
	}
}

static void on_deadline(void *arg)
{
	struct resolve *q = arg;

	q->timed_out = true;
	loop_task_queue(resolver_loop(q->r), &q->step);
}

/* --- beginnings and ends ------------------------------------------------- */

/* "192.0.2.1", "[2001:db8::1]": needs no DNS. */
static bool take_literal(struct resolve *q)
{
	char text[DNS_NAME_MAX];
	unsigned char bytes[sizeof(struct in6_addr)];
	size_t n = strlen(q->domain);
	bool brackets = n > 2 && q->domain[0] == '[' && q->domain[n - 1] == ']';
	int family = AF_INET6;

	snprintf(text, sizeof text, "%.*s", (int)(brackets ? n - 2 : n), q->domain + brackets);
	if (!brackets && inet_pton(AF_INET, text, bytes) == 1)
		family = AF_INET;
	else if (inet_pton(AF_INET6, text, bytes) != 1)
		return false;
	add_address(add_target(q, text, DEFAULT_PORT, STARTTLS), family, bytes);
	return true;
}

static bool is_domain(const char *name)
{
	size_t n = strlen(name), label = 0;

	if (n == 0 || n > NAME_BYTES)
		return false;
	for (size_t i = 0; i <= n; i++, label++) {
		if (name[i] != '.' && name[i] != '\0')
			continue;
		if (label == 0 || label > 63)
			return false;
		label = (size_t)-1;
	}
	return true;
}

static void ask_sets(struct resolve *q)
{
	char name[2 * DNS_NAME_MAX];

	for (unsigned i = 0; i < NR_SETS; i++) {
		snprintf(name, sizeof name, "%s.%s.", sets[i], q->domain);
		/* too long with the service's labels in front: it can have no SRV records */
		q->known[i] = strlen(name) > NAME_BYTES + 1;
		if (!q->known[i])
			ask(q, name, DNS_SRV, TAG_SRV + i);
	}
	loop_task_queue(resolver_loop(q->r), &q->step);
}

static void begin(struct resolve *q)
{
	const char *mute = resolver_mute(q->r);

	if (take_literal(q)) {
		settle(q, RESOLVE_OK, NULL);
	} else if (!is_domain(q->domain)) {
		settle(q, RESOLVE_NO_DOMAIN, "not a name that DNS can hold");
	} else if (mute) {
		settle(q, RESOLVE_TIMEOUT, mute);
	} else {
		ask_sets(q);
	}
}

struct resolve *resolve_server(struct resolver *r, const char *domain_ascii, resolve_fn *fn, void *arg)
{
	struct resolve *q = NEW(struct resolve), **list = resolver_list(r);

	q->r = r;
	q->fn = fn;
	q->arg = arg;
	q->give_up_at_ms = loop_now_ms(resolver_loop(r)) + resolver_timeout_ms(r);
	snprintf(q->domain, sizeof q->domain, "%s", strlen(domain_ascii) < sizeof q->domain ? domain_ascii : "");
	q->next = *list;
	q->prev = list;
	if (q->next)
		q->next->prev = &q->next;
	*list = q;
	loop_task_init(&q->step, on_step, q);
	loop_timer_init(resolver_loop(r), &q->deadline, on_deadline, q);
	loop_timer_set(&q->deadline, resolver_timeout_ms(r));
	begin(q);
	return q;
}

void resolve_cancel(struct resolve *q)
{
	unlink_resolve(q);
	free(q);
}

void resolve_drop_all(struct resolver *r)
{
	while (*resolver_list(r))
		resolve_cancel(*resolver_list(r));
}
