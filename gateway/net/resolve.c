/*
 * The servers of a domain: both sets of SRV records, merged and put in order, then AAAA and A of each target, then TLSA where DNSSEC proved
 * all that, under one deadline of ours. Each step only notes what came (resolve_read.c); what follows from it is decided in a task at the
 * turn's end, since answers may come inside the call that asks.
 */
#include "net/resolve.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/resolve_int.h"
#include "net/srv.h"

enum {
	TAG_TLSA = 500,          /* and the target's number */
	TAG_SRV = 1000,          /* and the set's */
	DEFAULT_PORT = 5269,     /* RFC 6120 section 14.7 */
};

static const char *const sets[NR_SETS] = {[STARTTLS] = "_xmpp-server._tcp", [DIRECT_TLS] = "_xmpps-server._tcp"};

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

/* --- questions ----------------------------------------------------------- */

static enum stage stage_of(unsigned tag)
{
	return tag >= TAG_SRV ? ASKING_SRV : tag >= TAG_TLSA ? ASKING_TLSA : ASKING_ADDRESSES;
}

static void on_answer(void *arg, unsigned tag, const struct dns_answer *a)
{
	struct resolve *q = arg;

	/* too late: what followed from its absence is decided */
	if (q->stage != stage_of(tag))
		return;
	q->nr_asked--;
	if (q->stage == ASKING_SRV)
		resolve_read_srv(q, (uint16_t)(tag - TAG_SRV), a);
	else if (q->stage == ASKING_TLSA)
		resolve_read_tlsa(q, &q->targets[tag - TAG_TLSA], a);
	else
		resolve_read_addresses(q, &q->targets[tag / 2], tag % 2 ? AF_INET : AF_INET6, a);
	loop_task_queue(resolver_loop(q->r), &q->step);
}

static void ask(struct resolve *q, const char *name, unsigned type, unsigned tag)
{
	const char *why;

	q->nr_asked++;
	if (!resolver_ask(q->r, &q->asker, name, type, tag, &why)) {
		q->nr_asked--;
		q->failed = true;
		snprintf(q->why, sizeof q->why, "DNS: %s", why);
	}
	q->waited |= q->asker.nr_waiting > 0;
}

/* --- steps --------------------------------------------------------------- */

static void enter(struct resolve *q, enum stage stage)
{
	uint64_t now = loop_now_ms(resolver_loop(q->r));

	q->stage = stage;
	q->nr_asked = 0;
	q->in_grace = q->timed_out = false;
	loop_timer_set(&q->deadline, q->give_up_at_ms > now ? q->give_up_at_ms - now : 0);
	loop_task_queue(resolver_loop(q->r), &q->step);
}

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
	enter(q, ASKING_ADDRESSES);
	for (unsigned i = 0; i < q->nr_targets; i++) {
		ask(q, q->targets[i].t.host, DNS_AAAA, 2 * i);
		ask(q, q->targets[i].t.host, DNS_A, 2 * i + 1);
	}
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
static bool found(const struct target *t)
{
	return !t->bogus && t->t.nr_addrs + t->nr_v4 > 0;
}

static bool usable(const struct target *t)
{
	return found(t) && (!t->t.secure || t->tlsa_known);
}

static size_t count(const struct resolve *q, bool (*is)(const struct target *t))
{
	size_t nr = 0;

	for (size_t i = 0; i < q->nr_targets; i++)
		nr += is(&q->targets[i]);
	return nr;
}

static bool waiting(struct resolve *q, bool any)
{
	bool is = q->nr_asked > 0 && !q->timed_out;

	if (is && any && q->asker.nr_waiting == 0)
		begin_grace(q);
	return is;
}

/* The time was not the DNS servers' alone, so their silence says nothing. */
static bool is_crowded(const struct resolve *q)
{
	return q->stage != SETTLED && q->waited && q->nr_asked > 0 && q->timed_out && !q->in_grace;
}

static void fail(struct resolve *q)
{
	if (q->bogus)
		settle(q, RESOLVE_BOGUS, NULL);
	else if (q->nr_asked > 0)
		settle(q, RESOLVE_TIMEOUT, "DNS did not answer in time");
	else if (q->failed)
		settle(q, RESOLVE_TIMEOUT, q->why[0] ? NULL : "the DNS servers failed");
	else
		settle(q, RESOLVE_NO_DOMAIN, "there is no server and no address of that name");
}

static void ask_tlsa(struct resolve *q)
{
	char name[2 * DNS_NAME_MAX];

	enter(q, ASKING_TLSA);
	for (unsigned i = 0; i < q->nr_targets; i++) {
		struct target *t = &q->targets[i];

		if (!found(t) || !t->t.secure)
			continue;
		snprintf(name, sizeof name, "_%u._tcp.%s.", t->t.port, t->t.host);
		t->tlsa_known = strlen(name) > NAME_BYTES + 1; /* no such name can be */
		if (!t->tlsa_known)
			ask(q, name, DNS_TLSA, TAG_TLSA + i);
	}
}

static void after_addresses(struct resolve *q)
{
	bool any = count(q, found) > 0;

	if (waiting(q, any))
		return;
	if (any)
		ask_tlsa(q);
	else
		fail(q);
}

static void after_tlsa(struct resolve *q)
{
	bool any = count(q, usable) > 0;

	if (waiting(q, any))
		return;
	if (any)
		settle(q, RESOLVE_OK, NULL);
	else
		fail(q);
}

static void unlink_resolve(struct resolve *q)
{
	loop_timer_cancel(&q->deadline);
	loop_task_cancel(resolver_loop(q->r), &q->step);
	resolver_forget(&q->asker);
	*q->prev = q->next;
	if (q->next)
		q->next->prev = q->prev;
}

static void free_resolve(struct resolve *q)
{
	for (size_t i = 0; i < q->nr_targets; i++)
		free(q->targets[i].tlsa);
	free(q->who);
	free(q);
}

static void interleave(const struct target *t, struct resolve_target *out)
{
	*out = t->t;
	out->tlsa = t->tlsa;
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

		if (usable(t))
			interleave(t, &out[nr++]);
	}
	unlink_resolve(q);
	q->fn(q->arg, q->status, out, nr, q->status == RESOLVE_OK ? NULL : q->why);
	free(out);
	free_resolve(q);
}

static void on_step(void *arg)
{
	struct resolve *q = arg;

	if (is_crowded(q)) {
		settle(q, RESOLVE_CROWDED, "too much is being looked up for that peer");
		return;
	}
	switch (q->stage) {
	case ASKING_SRV:
		if (!waiting(q, enough(q)))
			after_srv(q);
		break;
	case ASKING_ADDRESSES:
		after_addresses(q);
		break;
	case ASKING_TLSA:
		after_tlsa(q);
		break;
	case SETTLED:
		report(q);
		break;
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
	resolve_add_address(add_target(q, text, DEFAULT_PORT, STARTTLS), family, bytes);
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

	resolver_probe(q->r);
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

struct resolve *resolve_server(struct resolver *r, const char *domain_ascii, struct slice who, resolve_fn *fn, void *arg)
{
	struct resolve *q = NEW(struct resolve), **list = resolver_list(r);

	q->r = r;
	q->fn = fn;
	q->arg = arg;
	q->who = mem_slicedup(who);
	q->asker = (struct resolver_asker){.fn = on_answer, .arg = q, .who = {q->who, who.n}};
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
	free_resolve(q);
}

void resolve_drop_all(struct resolver *r)
{
	while (*resolver_list(r))
		resolve_cancel(*resolver_list(r));
}
