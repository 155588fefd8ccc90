/*
 * libunbound inside the loop. It always forwards: left to itself it would ask the root servers. Its own patience with a dead server is some
 * twenty seconds and its cancellation belongs to its other modes, so a question that nobody waits for any more is just left to end, its
 * answer dropped here. The callback may come inside ub_resolve_event. It takes any number of questions and asks so many at a time, in the
 * order in which they came: so what strangers have us ask is bounded here, below that, and by what it costs until it ends.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <unbound-event.h>
#include <unbound.h>
#include <unistd.h>

#include "common/log.h"
#include "net/dns_answer.h"
#include "net/resolver_int.h"
#include "net/shares.h"

#define AT_A_TIME "128"          /* questions that libunbound asks: a socket for each */

enum { TIMEOUT_MS = 10000, SERVERS_MAX = 3, CLASS_IN = 1, STRANGERS_MAX = 64 /* of those */ };

struct resolver_query {
	struct resolver *r;
	struct resolver_asker *asker;    /* NULL: nobody waits */
	struct share *share;             /* a stranger's; or NULL */
	char *name;                      /* to be asked, once there is a place; then NULL */
	unsigned type, tag;
	LIST_ENTRY(resolver_query) link, asker_link;
};

struct resolver {
	struct loop *loop;
	struct ub_ctx *ctx;
	unsigned timeout_ms;
	unsigned nr_servers;
	bool validates;
	/* With the system's anchor: a context without any, for the case that the DNS servers strip DNSSEC; then the other one, which may
	 * have questions open. */
	struct ub_ctx *spare;
	bool undecided, probing;
	struct shares *strangers;
	struct loop_task go_on;          /* with what strangers have waiting */
	LIST_HEAD(, resolver_query) queries;
	unsigned nr_open;
	struct resolver_asker probe;
	struct resolve *resolves;
};

static void free_query(struct resolver_query *u)
{
	LIST_REMOVE(u, link);
	if (u->asker)
		LIST_REMOVE(u, asker_link);
	u->r->nr_open -= u->name == NULL;
	share_drop(u->share);
	free(u->name);
	free(u);
}

static void on_answer(void *arg, int rcode, void *packet, int packet_n, int security, char *why_bogus, int was_ratelimited)
{
	struct resolver_query *u = arg, q = *u;
	struct dns_answer a = {.rcode = rcode, .security = (enum dns_security)security, .why = why_bogus};

	(void)was_ratelimited;
	/* libunbound's word on an error counts before the packet, which must not be read then */
	if (rcode == 0 && packet != NULL && packet_n > 0)
		a.packet = (struct slice){packet, (size_t)packet_n};
	free_query(u);
	if (q.asker)
		q.asker->fn(q.asker->arg, q.tag, &a);
}

/* NULL, or why not: u is gone then. */
static const char *hand_over(struct resolver_query *u, const char *name)
{
	int err;

	u->r->nr_open++;
	err = ub_resolve_event(u->r->ctx, name, (int)u->type, CLASS_IN, u, on_answer, NULL);
	if (err == 0)
		return NULL;
	free_query(u);
	return ub_strerror(err);
}

bool resolver_ask(struct resolver *r, struct resolver_asker *asker, const char *name, unsigned type, unsigned tag, const char **why)
{
	struct resolver_query *u = NEW(struct resolver_query);

	*u = (struct resolver_query){.r = r, .asker = asker, .type = type, .tag = tag};
	LIST_INSERT_HEAD(&r->queries, u, link);
	LIST_INSERT_HEAD(&asker->queries_, u, asker_link);
	if (asker->who.n > 0)
		u->share = shares_ask(r->strangers, asker->who, u);
	if (u->share == NULL || share_is_place(u->share)) {
		*why = hand_over(u, name);
		return *why == NULL;
	}
	u->name = mem_strdup(name);
	asker->nr_waiting++;
	return true;
}

/* Who waits for a place still waits for the answer: resolver_forget() ends both. */
static void on_go_on(void *arg)
{
	struct resolver *r = arg;
	struct resolver_query *u;

	while ((u = shares_next(r->strangers)) != NULL) {
		struct resolver_asker *asker = u->asker;
		unsigned tag = u->tag;
		char *name = u->name;

		u->name = NULL;
		asker->nr_waiting--;
		if (hand_over(u, name) != NULL)
			asker->fn(asker->arg, tag, &(struct dns_answer){.rcode = DNS_SERVFAIL});
		free(name);
	}
}

/* Called in the midst of libunbound's work. */
static void on_room(void *arg)
{
	struct resolver *r = arg;

	loop_task_queue(r->loop, &r->go_on);
}

void resolver_forget(struct resolver_asker *asker)
{
	struct resolver_query *u;

	while ((u = LIST_FIRST(&asker->queries_)) != NULL) {
		if (u->name != NULL) {
			asker->nr_waiting--;
			free_query(u);
		} else {
			LIST_REMOVE(u, asker_link);
			u->asker = NULL;
		}
	}
}

unsigned resolver_nr_open(const struct resolver *r)
{
	return r->nr_open;
}

/* --- do the servers pass DNSSEC on? --------------------------------------- */

/* Many a home router strips it; nobody asked for an anchor there, and every answer would be bogus. */
static void on_probe(void *arg, unsigned tag, const struct dns_answer *a)
{
	struct resolver *r = arg;
	struct ub_ctx *strict = r->ctx;

	(void)tag;
	r->probing = false;
	if (a->security == DNS_SECURE)
		r->undecided = false;
	if (a->security != DNS_BOGUS)
		return;
	r->undecided = r->validates = false;
	r->ctx = r->spare;
	r->spare = strict;
	log_warn("dns", 0, "dnssec", "why=\"the DNS servers do not pass it on, so nothing is validated; name others with --resolver\"");
}

void resolver_probe(struct resolver *r)
{
	const char *why;

	if (!r->undecided || r->probing || r->nr_servers == 0)
		return;
	r->probing = true;
	if (!resolver_ask(r, &r->probe, ".", DNS_DNSKEY, 0, &why))
		r->probing = false;
}

struct loop *resolver_loop(const struct resolver *r)
{
	return r->loop;
}

unsigned resolver_timeout_ms(const struct resolver *r)
{
	return r->timeout_ms;
}

const char *resolver_mute(const struct resolver *r)
{
	return r->nr_servers ? NULL : "the system names no DNS server (nameserver in /etc/resolv.conf, or --resolver)";
}

bool resolver_validates(const struct resolver *r)
{
	return r->validates;
}

struct resolve **resolver_list(struct resolver *r)
{
	return &r->resolves;
}

/* --- set-up -------------------------------------------------------------- */

static bool is_address(const char *text)
{
	unsigned char bytes[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, text, bytes) == 1 || inet_pton(AF_INET6, text, bytes) == 1;
}

static bool is_port(const char *text)
{
	char *end;
	unsigned long port = strtoul(text, &end, 10);

	return text[0] >= '0' && text[0] <= '9' && *end == '\0' && port > 0 && port <= 65535;
}

/* ADDR:PORT, [ADDR6]:PORT, or an address alone, as libunbound wants it: ADDR@PORT. */
static bool translate(const char *server, char *out, size_t size)
{
	const char *colon = strrchr(server, ':'), *from = server, *port = NULL;
	char addr[64];
	size_t n = strlen(server);

	if (!is_address(server)) {
		if (colon == NULL)
			return false;
		port = colon + 1;
		n = (size_t)(colon - server);
		if (server[0] == '[' && n > 2 && colon[-1] == ']') {
			from++;
			n -= 2;
		}
	}
	if (n >= sizeof addr)
		return false;
	snprintf(addr, sizeof addr, "%.*s", (int)n, from);
	if (!is_address(addr) || (port && !is_port(port)))
		return false;
	return snprintf(out, size, "%s@%s", addr, port ? port : "53") < (int)size;
}

static bool use_server(struct resolver *r, const char *server)
{
	char text[80];

	if (!translate(server, text, sizeof text) || ub_ctx_set_fwd(r->ctx, text) != 0)
		return false;
	r->nr_servers++;
	return true;
}

/* A system without one (a container before its network, say) is no reason not to start: who asks is told. */
static void use_resolv_conf(struct resolver *r, const char *path)
{
	FILE *f = fopen(path, "re");
	char line[256], addr[128];

	if (f == NULL)
		return;
	while (r->nr_servers < SERVERS_MAX && fgets(line, sizeof line, f)) {
		if (sscanf(line, " nameserver %127s", addr) != 1)
			continue;
		/* a zone index is for link-local addresses, which libunbound takes as they are */
		if (strchr(addr, '%') ? ub_ctx_set_fwd(r->ctx, addr) == 0 && ++r->nr_servers : use_server(r, addr))
			continue;
		log_warn("dns", 0, "resolv-conf", "nameserver=%s why=\"not an address\"", log_escape(slice_str(addr)));
	}
	fclose(f);
}

static bool make_ctx(struct resolver *r, const struct resolver_options *o, char *why, size_t why_size)
{
	static const char *const settings[][2] = {
		{"do-not-query-localhost:", "no"},   /* systemd-resolved, dnsmasq and docker live there */
		{"infra-host-ttl:", "60"},           /* a server that was away is asked again soon */
		{"infra-keep-probing:", "yes"},
		{"outgoing-range:", AT_A_TIME},
	};

	snprintf(why, why_size, "the DNS library cannot be set up");
	r->nr_servers = 0;
	r->ctx = ub_ctx_create_event(loop_base(r->loop));
	if (r->ctx == NULL)
		return false;
	ub_ctx_debugout(r->ctx, NULL); /* it would write lines of its own to our standard error */
	for (size_t i = 0; i < ARRAY_LEN(settings); i++) {
		if (ub_ctx_set_option(r->ctx, settings[i][0], settings[i][1]) != 0)
			return false;
	}
	if (o->server == NULL) {
		use_resolv_conf(r, o->resolv_conf ? o->resolv_conf : "/etc/resolv.conf");
	} else if (!use_server(r, o->server)) {
		snprintf(why, why_size, "%s is no DNS server's address; --resolver takes ADDR:PORT", o->server);
		return false;
	}
	return true;
}

static const char *find_system_anchor(const struct resolver_options *o)
{
	static const char *const usual[] = {"/usr/share/dns/root.key", "/var/lib/unbound/root.key"};

	if (o->trust_anchor != NULL || o->system_anchor != NULL)
		return o->trust_anchor != NULL ? NULL : o->system_anchor;
	for (size_t i = 0; i < ARRAY_LEN(usual); i++) {
		if (access(usual[i], R_OK) == 0)
			return usual[i];
	}
	return NULL;
}

/* Without an anchor nothing is secure and nothing bogus. */
static bool set_up(struct resolver *r, const struct resolver_options *o, char *why, size_t why_size)
{
	const char *system = find_system_anchor(o), *file = system ? system : o->trust_anchor;

	if (system != NULL) {
		if (!make_ctx(r, o, why, why_size))
			return false;
		r->spare = r->ctx;
	}
	if (!make_ctx(r, o, why, why_size))
		return false;
	r->validates = file != NULL && access(file, R_OK) == 0 && ub_ctx_add_ta_file(r->ctx, file) == 0;
	r->undecided = r->validates && system != NULL;
	if (file == NULL || r->validates)
		return true;
	snprintf(why, why_size, "the trust anchor %s cannot be read; name another with --trust-anchor", file);
	return false;
}

struct resolver *resolver_new(struct loop *l, const struct resolver_options *o, char *why, size_t why_size)
{
	struct resolver *r = NEW(struct resolver);

	r->loop = l;
	r->timeout_ms = o->timeout_ms ? o->timeout_ms : TIMEOUT_MS;
	r->strangers = shares_new(STRANGERS_MAX, on_room, r);
	loop_task_init(&r->go_on, on_go_on, r);
	r->probe = (struct resolver_asker){.fn = on_probe, .arg = r};
	if (set_up(r, o, why, why_size)) {
		resolver_probe(r);
		return r;
	}
	resolver_free(r);
	return NULL;
}

void resolver_free(struct resolver *r)
{
	if (r == NULL)
		return;
	resolve_drop_all(r);
	if (r->spare && r->spare != r->ctx)
		ub_ctx_delete(r->spare);
	if (r->ctx)
		ub_ctx_delete(r->ctx);
	while (!LIST_EMPTY(&r->queries))
		free_query(LIST_FIRST(&r->queries));
	loop_task_cancel(r->loop, &r->go_on);
	shares_free(r->strangers);
	free(r);
}
