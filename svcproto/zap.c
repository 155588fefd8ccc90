/*
 * The ZAP thread (RFC 27/ZAP). One request, one answer; it knows keys and domains, nothing else. Who is admitted gets its own public key as
 * User-Id, and that is what all receivers go by. A key that leaves the set is not cut off here: ZAP is asked at a handshake only, so links
 * and registry look at every message.
 */
#include "svcproto/zap.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

#define ZAP_ENDPOINT "inproc://zeromq.zap.01"
#define ZAP_PARTS 7   /* version, request id, domain, address, identity, mechanism, client key */
#define ZAP_PART_MAX 255

struct zap {
	void *socket;
	int stop_fd;
	pthread_t thread;
	pthread_mutex_t lock; /* STYLE section 9 lists the mutexes of the gateway; this one is the set's alone, off every stanza's path */
	struct zap_entry *v;  /* sorted by key */
	size_t nr;
};

struct part {
	char b[ZAP_PART_MAX + 1];
	size_t n;
};

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct zap_entry *)a)->key, ((const struct zap_entry *)b)->key);
}

static bool admitted(struct zap *z, const char *key, unsigned domain)
{
	struct zap_entry want = { .domains = 0 };
	const struct zap_entry *e;
	bool yes;

	memcpy(want.key, key, sizeof(want.key));
	pthread_mutex_lock(&z->lock);
	e = z->nr > 0 ? bsearch(&want, z->v, z->nr, sizeof(*z->v), by_key) : NULL;
	yes = e != NULL && (e->domains & domain) != 0;
	pthread_mutex_unlock(&z->lock);
	return yes;
}

static bool is(const struct part *p, const char *text)
{
	return p->n == strlen(text) && memcmp(p->b, text, p->n) == 0;
}

/* All parts of a request; their number, or -1 when there is none to receive. What is too long or too many comes out as unusable. */
static int receive(void *socket, struct part parts[ZAP_PARTS])
{
	int nr = 0, more = 1;
	bool bad = false;
	size_t size = sizeof(more);

	while (more) {
		char b[ZAP_PART_MAX];
		int n = zmq_recv(socket, b, sizeof(b), nr == 0 ? ZMQ_DONTWAIT : 0);

		if (n < 0)
			return -1;
		bad = bad || n > ZAP_PART_MAX || nr >= ZAP_PARTS;
		if (!bad) {
			memcpy(parts[nr].b, b, (size_t)n);
			parts[nr].n = (size_t)n;
		}
		nr++;
		if (zmq_getsockopt(socket, ZMQ_RCVMORE, &more, &size) != 0)
			return -1;
	}
	return bad ? ZAP_PARTS + 1 : nr;
}

static void reply(void *socket, const struct part *id, const char *status, const char *text, const char *user)
{
	zmq_send(socket, "1.0", 3, ZMQ_SNDMORE);
	zmq_send(socket, id->b, id->n, ZMQ_SNDMORE);
	zmq_send(socket, status, strlen(status), ZMQ_SNDMORE);
	zmq_send(socket, text, strlen(text), ZMQ_SNDMORE);
	zmq_send(socket, user, strlen(user), ZMQ_SNDMORE);
	zmq_send(socket, "", 0, 0);
}

static void serve(struct zap *z, const struct part parts[ZAP_PARTS], int nr)
{
	unsigned domain = is(&parts[2], "link") ? ZAP_LINK : is(&parts[2], "registry") ? ZAP_REGISTRY : 0;
	char key[41] = "";

	if (nr != ZAP_PARTS || !is(&parts[0], "1.0") || !is(&parts[5], "CURVE") || parts[6].n != 32) {
		reply(z->socket, &parts[1], "400", "CURVE only", "");
		return;
	}
	if (zmq_z85_encode(key, (const uint8_t *)parts[6].b, 32) != NULL && admitted(z, key, domain))
		reply(z->socket, &parts[1], "200", "OK", key);
	else
		reply(z->socket, &parts[1], "400", "unknown key", "");
}

static void *zap_main(void *arg)
{
	struct zap *z = arg;
	zmq_pollitem_t items[2] = { { .socket = z->socket, .events = ZMQ_POLLIN }, { .fd = z->stop_fd, .events = ZMQ_POLLIN } };

	for (;;) {
		struct part parts[ZAP_PARTS] = { 0 };
		int nr;

		if (zmq_poll(items, 2, -1) < 0 && zmq_errno() == ETERM)
			break;
		if (items[1].revents != 0)
			break;
		while ((nr = receive(z->socket, parts)) >= 0)
			serve(z, parts, nr);
	}
	zmq_close(z->socket);
	return NULL;
}

struct zap *zap_start(void *zmq_context)
{
	struct zap *z = calloc(1, sizeof(*z));
	int none = 0;

	if (z == NULL)
		return NULL;
	pthread_mutex_init(&z->lock, NULL);
	z->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	z->socket = zmq_socket(zmq_context, ZMQ_REP);
	if (z->stop_fd >= 0 && z->socket != NULL && zmq_setsockopt(z->socket, ZMQ_LINGER, &none, sizeof(none)) == 0 &&
	    zmq_bind(z->socket, ZAP_ENDPOINT) == 0 && pthread_create(&z->thread, NULL, zap_main, z) == 0)
		return z;
	if (z->socket != NULL)
		zmq_close(z->socket);
	if (z->stop_fd >= 0)
		close(z->stop_fd);
	pthread_mutex_destroy(&z->lock);
	free(z);
	return NULL;
}

void zap_stop(struct zap *z)
{
	uint64_t one = 1;

	if (z == NULL)
		return;
	while (write(z->stop_fd, &one, sizeof(one)) < 0) /* an eventfd at 0 always takes it */
		;
	pthread_join(z->thread, NULL);
	close(z->stop_fd);
	pthread_mutex_destroy(&z->lock);
	free(z->v);
	free(z);
}

int zap_set(struct zap *z, const struct zap_entry *v, size_t nr)
{
	struct zap_entry *copy = calloc(nr > 0 ? nr : 1, sizeof(*copy)), *old;

	if (copy == NULL)
		return -1;
	if (nr > 0)
		memcpy(copy, v, nr * sizeof(*copy));
	qsort(copy, nr, sizeof(*copy), by_key);
	pthread_mutex_lock(&z->lock);
	old = z->v;
	z->v = copy;
	z->nr = nr;
	pthread_mutex_unlock(&z->lock);
	free(old);
	return 0;
}

int zap_set_keys(struct zap *z, const struct keyset *k)
{
	size_t nr = keyset_nr_keys(k);
	struct zap_entry *v = calloc(nr > 0 ? nr : 1, sizeof(*v));
	int rc;

	if (v == NULL)
		return -1;
	for (size_t i = 0; i < nr; i++) {
		enum directory_role role;

		memcpy(v[i].key, keyset_key(k, i, &role), sizeof(v[i].key));
		v[i].domains = ZAP_REGISTRY | (role == DIR_ROLE_SERVICE || role == DIR_ROLE_ADMIN ? ZAP_LINK : 0);
	}
	rc = zap_set(z, v, nr);
	free(v);
	return rc;
}
