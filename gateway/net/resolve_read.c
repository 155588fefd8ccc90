/*
 * What answers say goes into the resolve under way, and nothing is decided here. Bogus is worse than failed: it is told apart from it
 * wherever it shows.
 */
#include "net/resolve_int.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

void resolve_add_address(struct target *t, int family, const void *bytes)
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
		resolve_add_address(arg, AF_INET6, packet.p + at);
}

static void take_a(void *arg, struct slice packet, size_t at, size_t n)
{
	if (n == sizeof(struct in_addr))
		resolve_add_address(arg, AF_INET, packet.p + at);
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

static void take_tlsa(void *arg, struct slice packet, size_t at, size_t n)
{
	tlsa_add(arg, (struct slice){packet.p + at, n});
}

void resolve_read_srv(struct resolve *q, uint16_t set, const struct dns_answer *a)
{
	struct srv_reader reader = {q, set};

	q->secure[set] = a->security == DNS_SECURE;
	if (a->security == DNS_BOGUS)
		note_bogus(q, a);
	else
		q->known[set] = read_answer(q, a, DNS_SRV, take_srv, &reader);
}

void resolve_read_addresses(struct resolve *q, struct target *t, int family, const struct dns_answer *a)
{
	unsigned before = t->t.nr_addrs + t->nr_v4;

	if (a->security == DNS_BOGUS) {
		note_bogus(q, a);
		t->bogus = true;
	} else if (!(family == AF_INET ? read_answer(q, a, DNS_A, take_a, t) : read_answer(q, a, DNS_AAAA, take_aaaa, t))) {
		q->failed = true;
	}
	if (t->t.nr_addrs + t->nr_v4 > before)
		t->t.secure &= a->security == DNS_SECURE;
}

/* Records that nobody signed are none. */
void resolve_read_tlsa(struct resolve *q, struct target *t, const struct dns_answer *a)
{
	struct tlsa_set *set;

	if (a->security == DNS_BOGUS) {
		note_bogus(q, a);
		t->bogus = true;
		return;
	}
	set = NEW(struct tlsa_set);
	t->tlsa_known = read_answer(q, a, DNS_TLSA, take_tlsa, set);
	q->failed |= !t->tlsa_known;
	if (t->tlsa_known && a->security == DNS_SECURE && set->nr > 0)
		t->tlsa = set;
	else
		free(set);
}
