/*
 * Opening, binding, and binding again. 0MQ has no call that ends one peer's connection, and asks ZAP at a handshake only: so a key that is
 * no longer allowed is cut off by ending all connections. The others are back within a second.
 */
#include "registry/sockets.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <zmq.h>

#include "svcproto/link.h"
#include "svcproto/zap.h"
#include "svcproto/zlife.h"

#define HIGH_WATER 2000
#define ROUTER_HIGH_WATER 64 /* messages of 64 KiB to one member, whose snapshot waits in the table's image instead */
#define BIND_TRIES 50
#define GOODBYE_MS 500

static bool set(void *socket, int option, int value)
{
	return zmq_setsockopt(socket, option, &value, sizeof(value)) == 0;
}

static void *open_socket(void *context, int type, const struct svc_key *k)
{
	void *s = zmq_socket(context, type);
	int64_t message_max = SVC_MESSAGE_MAX;

	if (s != NULL && set(s, ZMQ_CURVE_SERVER, 1) && zmq_setsockopt(s, ZMQ_CURVE_SECRETKEY, k->secret_z85, 41) == 0 &&
	    zmq_setsockopt(s, ZMQ_ZAP_DOMAIN, "registry", 8) == 0 && set(s, ZMQ_ZAP_ENFORCE_DOMAIN, 1) && set(s, ZMQ_LINGER, 0) &&
	    set(s, ZMQ_IPV6, 1) && set(s, ZMQ_SNDHWM, type == ZMQ_ROUTER ? ROUTER_HIGH_WATER : HIGH_WATER) &&
	    set(s, ZMQ_RCVHWM, HIGH_WATER) && zlife_set(s) && set(s, ZMQ_BACKLOG, 1024) &&
	    zmq_setsockopt(s, ZMQ_MAXMSGSIZE, &message_max, sizeof(message_max)) == 0 &&
	    (type != ZMQ_ROUTER || set(s, ZMQ_ROUTER_MANDATORY, 1)))
		return s;
	if (s != NULL)
		zmq_close(s);
	return NULL;
}

/* Host and port of "tcp://HOST:PORT". */
static bool split(const char *endpoint, int *host_n, unsigned long *port)
{
	const char *colon = strrchr(endpoint, ':');
	char *end;

	if (colon == NULL || strncmp(endpoint, "tcp://", 6) != 0 || colon < endpoint + 6)
		return false;
	*port = strcmp(colon + 1, "*") == 0 ? 0 : strtoul(colon + 1, &end, 10);
	*host_n = (int)(colon - endpoint);
	return *port < 65535 && (strcmp(colon + 1, "*") == 0 || (*end == '\0' && end != colon + 1));
}

/* ROUTER there, PUB on the next port. 1: try another pair. */
static int bind_pair(struct registry_sockets *s, const char *want, int host_n, unsigned long port, int *error)
{
	char endpoint[256];
	size_t n = sizeof(s->endpoint);
	unsigned long got;
	int at;

	snprintf(endpoint, sizeof(endpoint), port == 0 ? "%.*s:*" : "%.*s:%lu", host_n, want, port);
	if (zmq_bind(s->router, endpoint) != 0) {
		*error = zmq_errno();
		return -1;
	}
	if (zmq_getsockopt(s->router, ZMQ_LAST_ENDPOINT, s->endpoint, &n) != 0 || !split(s->endpoint, &at, &got) || got == 0)
		return -1;
	snprintf(endpoint, sizeof(endpoint), "%.*s:%lu", host_n, want, got + 1);
	if (got < 65535 && zmq_bind(s->pub, endpoint) == 0)
		return 0;
	*error = got < 65535 ? zmq_errno() : EADDRINUSE;
	(void)zmq_unbind(s->router, s->endpoint);
	return port == 0 ? 1 : -1;
}

/* The monitor's pair runs inside the process: its name must be unique there. */
static bool open_monitor(struct registry_sockets *s)
{
	char name[64];

	snprintf(name, sizeof(name), "inproc://registry-%p", s->router);
	s->monitor = zmq_socket(s->context, ZMQ_PAIR);
	return s->monitor != NULL && set(s->monitor, ZMQ_LINGER, 0) && zmq_socket_monitor(s->router, name, ZMQ_EVENT_DISCONNECTED) == 0 &&
	       zmq_connect(s->monitor, name) == 0;
}

static bool open_both(struct registry_sockets *s, const struct svc_key *k)
{
	s->router = open_socket(s->context, ZMQ_ROUTER, k);
	s->pub = open_socket(s->context, ZMQ_PUB, k);
	return s->router != NULL && s->pub != NULL && open_monitor(s);
}

int registry_sockets_open(struct registry_sockets *s, const char *want, const struct svc_key *k, char *why, size_t why_size)
{
	unsigned long port = 0;
	int host_n = 0, error = EINVAL, rc = split(want, &host_n, &port) ? 1 : -1;

	if (!open_both(s, k)) {
		snprintf(why, why_size, "registry: cannot open its sockets: %s", zmq_strerror(zmq_errno()));
		registry_sockets_close(s, 0);
		return -1;
	}
	for (int i = 0; rc > 0 && i < BIND_TRIES; i++)
		rc = bind_pair(s, want, host_n, port, &error);
	if (rc == 0)
		return 0;
	snprintf(why, why_size, "registry: cannot bind %s and the next port: %s", want, zmq_strerror(error));
	registry_sockets_close(s, 0);
	return -1;
}

int registry_sockets_renew(struct registry_sockets *s, const struct svc_key *k)
{
	static const struct timespec pause = { .tv_nsec = 20000000 };
	unsigned long port = 0;
	char want[256];
	int host_n = 0, error = 0, rc = -1;

	memcpy(want, s->endpoint, sizeof(want));
	registry_sockets_close(s, GOODBYE_MS);
	if (!split(want, &host_n, &port) || !open_both(s, k))
		return -1;
	/* 0MQ lets go of a listener's port a little after the call. */
	for (int i = 0; rc != 0 && i < BIND_TRIES; i++) {
		rc = bind_pair(s, want, host_n, port, &error);
		if (rc != 0)
			nanosleep(&pause, NULL);
	}
	memcpy(s->endpoint, want, sizeof(want));
	if (rc != 0)
		registry_sockets_close(s, 0);
	return rc;
}

/* An event is two parts: its number and value, then the address. */
int registry_sockets_ended(struct registry_sockets *s)
{
	uint8_t event[6];
	char address[256];
	uint32_t fd;
	int n = zmq_recv(s->monitor, event, sizeof(event), ZMQ_DONTWAIT);

	if (n != (int)sizeof(event))
		return -1;
	(void)zmq_recv(s->monitor, address, sizeof(address), ZMQ_DONTWAIT);
	memcpy(&fd, event + 2, sizeof(fd));
	return (int)fd;
}

void registry_sockets_close(struct registry_sockets *s, int linger_ms)
{
	void **each[] = { &s->router, &s->pub, &s->monitor };

	if (s->router != NULL)
		(void)zmq_socket_monitor(s->router, NULL, 0);
	for (size_t i = 0; i < ARRAY_LEN(each); i++) {
		if (*each[i] == NULL)
			continue;
		(void)set(*each[i], ZMQ_LINGER, linger_ms);
		zmq_close(*each[i]);
		*each[i] = NULL;
	}
}
