/* DNS answers: whatever the packet, what comes out is a host's name or nothing, and the order loses and invents no record. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "net/srv.h"
#include "net/tlsa.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond)                                                     \
	do {                                                              \
		if (!(cond)) {                                            \
			fprintf(stderr, "violated: %s\n", #cond);         \
			abort();                                          \
		}                                                         \
	} while (0)

enum { SRV_MAX = 32 };

struct found {
	struct dns_srv v[SRV_MAX];
	size_t nr;
};

static void check_host(const char *host)
{
	size_t n = strlen(host);

	REQUIRE(n <= 253);
	REQUIRE(strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == n);
	REQUIRE(n == 0 || (host[0] != '.' && host[n - 1] != '.' && strstr(host, "..") == NULL));
}

static void take_srv(void *arg, struct slice packet, size_t at, size_t n)
{
	struct found *f = arg;

	REQUIRE(at <= packet.n && n <= packet.n - at);
	if (f->nr < SRV_MAX && dns_answer_srv(packet, at, n, &f->v[f->nr])) {
		check_host(f->v[f->nr].host);
		f->nr++;
	}
}

static void take_tlsa(void *arg, struct slice packet, size_t at, size_t n)
{
	tlsa_add(arg, (struct slice){packet.p + at, n});
}

static void check_tlsa(const struct tlsa_set *t)
{
	REQUIRE(t->nr <= TLSA_RECORDS_MAX && t->nr_bytes <= TLSA_BYTES_MAX);
	for (unsigned i = 0; i < t->nr; i++)
		REQUIRE(t->v[i].n > 0 && (size_t)t->v[i].at + t->v[i].n <= t->nr_bytes);
}

static uint32_t draw(void *arg, uint32_t below)
{
	uint32_t *state = arg;

	REQUIRE(below > 0);
	*state = *state * 1664525u + 1013904223u;
	return *state % below;
}

static uint64_t sum(const struct found *f)
{
	uint64_t total = 0;

	for (size_t i = 0; i < f->nr; i++)
		total += ((uint64_t)f->v[i].priority << 32) + ((uint64_t)f->v[i].weight << 16) + f->v[i].port + strlen(f->v[i].host);
	return total;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct found f;
	uint32_t seed = (uint32_t)size;
	char *copy = mem_slicedup((struct slice){(const char *)data, size});
	char *exact = mem_resize(copy, size ? size : 1); /* so that a read past the end shows */

	struct tlsa_set tlsa = {.nr = 0};

	f.nr = 0;
	(void)dns_answer_rcode((struct slice){exact, size});
	(void)dns_answer_each((struct slice){exact, size}, DNS_SRV, take_srv, &f);
	(void)dns_answer_each((struct slice){exact, size}, DNS_TLSA, take_tlsa, &tlsa);
	check_tlsa(&tlsa);
	uint64_t before = sum(&f);
	srv_order(f.v, f.nr, draw, &seed);
	REQUIRE(sum(&f) == before);
	for (size_t i = 1; i < f.nr; i++)
		REQUIRE(f.v[i - 1].priority <= f.v[i].priority);
	free(exact);
	return 0;
}
