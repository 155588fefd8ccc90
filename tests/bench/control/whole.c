/* The product's own code, driven by the generator's loop. */
#include "tests/bench/control/whole.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <zmq.h>

#include "svcproto/announcer.h"
#include "svcproto/directory_feed.h"

#define SOCKETS 4u

struct whole {
	struct world *w;
	unsigned index;
	struct directory *directory;
	struct announcer *announcer;
	uint64_t due_ms;
};

static void on_registration(void *arg, const struct directory_registration *r, bool gone)
{
	struct whole *h = arg;

	if (!gone && h->w->probe != 0 && checksum_probe(r->domain) == h->w->probe && !world_is_service(h->w, h->index))
		world_saw_probe(h->w);
}

static void on_refused(void *arg, const char *what)
{
	struct whole *h = arg;

	fprintf(stderr, "control: refused: %s\n", what);
	h->w->refused++;
}

static const struct directory_ops directory_ops = { .registration = on_registration };
static const struct announcer_ops announcer_ops = { .refused = on_refused };

static int watch(struct whole *h, uint64_t tag)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.u64 = tag };
	void *sockets[SOCKETS];
	size_t nr = announcer_sockets(h->announcer, sockets, SOCKETS), n = sizeof(int);
	int fd, rc = 0;

	for (size_t i = 0; i < nr && rc == 0; i++)
		rc = zmq_getsockopt(sockets[i], ZMQ_FD, &fd, &n) == 0 ? epoll_ctl(h->w->epoll, EPOLL_CTL_ADD, fd, &ev) : -1;
	return rc;
}

static int announce_gateway(struct whole *h)
{
	struct directory_gateway g = { .endpoint = world_name(h->w, h->index, 0), .public_host = "gateway.example" };

	return world_is_service(h->w, h->index) ? 0 : announcer_set_gateway(h->announcer, &g);
}

struct whole *whole_new(struct world *w, unsigned index, const struct svc_key *key, uint64_t tag)
{
	struct whole *h = calloc(1, sizeof(*h));
	struct announcer_options o = { .zmq_context = w->zmq, .registries = w->registry, .public_key = key->public_z85,
				       .secret_key = key->secret_z85, .owner = world_owner(index), .incarnation = 1,
				       .role = world_is_service(w, index) ? DIR_ROLE_SERVICE : DIR_ROLE_GATEWAY };
	int error = 0;

	if (h == NULL)
		return NULL;
	h->w = w;
	h->index = index;
	h->directory = directory_new(&directory_ops, h);
	h->announcer = h->directory != NULL ? announcer_new(&o, h->directory, &announcer_ops, h, &error) : NULL;
	if (h->announcer != NULL && announce_gateway(h) == 0 && watch(h, tag) == 0)
		return h;
	whole_free(h);
	return NULL;
}

void whole_free(struct whole *h)
{
	if (h == NULL)
		return;
	announcer_free(h->announcer);
	directory_free(h->directory);
	free(h);
}

int whole_register(struct whole *h)
{
	int rc = 0;

	for (unsigned i = 0; i < h->w->registrations && rc == 0 && world_is_service(h->w, h->index); i++) {
		struct directory_registration r = { .domain = world_name(h->w, h->index, i), .types = SVCPROTO_CLIENT | SVCPROTO_SERVER,
						    .policy = "hash", .weight = 1 };

		rc = announcer_set_registration(h->announcer, &r);
	}
	h->due_ms = 0;
	return rc;
}

void whole_advance(struct whole *h, uint64_t now_ms)
{
	if (announcer_dispatch(h->announcer, now_ms) || h->due_ms <= now_ms)
		h->due_ms = announcer_tick(h->announcer, now_ms);
}

uint64_t whole_heard_at(const struct whole *h)
{
	return announcer_heard_at(h->announcer);
}

struct checksum whole_checksum(const struct whole *h)
{
	struct checksum c = { 0 };
	const struct entry *e = NULL;

	while ((e = directory_feed_next(h->directory, e)) != NULL)
		checksum_add(&c, e);
	return c;
}
