/*
 * The relay's second process and the way to it: a ROUTER and a DEALER with CURVE, each with 0MQ's one I/O thread. A message is all that a
 * turn has, frame behind frame; the service writes in each whose it is and sends it back. It has one thread that waits in 0MQ itself.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "tests/bench/floor/relay.h"

enum { BATCH_MAX = 65536, ID_MAX = 255, RECEIVE_MAX = 8 /* batches for a turn */ };

/* Its bytes stand behind it. Whose: towards the service the sender's, from there the addressee's. */
struct frame {
	uint32_t whose, first, n;
};

static void *router;
static struct bytes batch;
static char service_id[ID_MAX];
static size_t service_id_n;
static bool rung;   /* there may be something to receive */

uint32_t relay_addressee(uint32_t sender, bool first, const char *p, size_t n)
{
	static uint32_t to[CLIENTS_MAX];
	const char *found = first ? memmem(p, n, " to='u", 6) : NULL;

	relay_need(sender < CLIENTS_MAX && (found || !first), "an address");
	if (found)
		to[sender] = (uint32_t)strtoul(found + 6, NULL, 10);
	return to[sender];
}

static void send_batch(void)
{
	if (batch.n == 0)
		return;
	relay_need(zmq_send(router, service_id, service_id_n, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0 &&
			   zmq_send(router, batch.p, batch.n, ZMQ_DONTWAIT) >= 0,
		   "room on the link");
	batch.n = 0;
	rung = true;   /* sending takes in what the descriptor would have told */
}

void link_pass(uint32_t sender, bool first, const char *head, size_t head_n, const char *body, size_t body_n)
{
	struct frame f = {sender, first, (uint32_t)(head_n + body_n)};

	if (batch.n + sizeof f + f.n > BATCH_MAX)
		send_batch();
	relay_append(&batch, &f, sizeof f);
	relay_append(&batch, head, head_n);
	relay_append(&batch, body, body_n);
}

static bool receive(void)
{
	char id[ID_MAX];
	int n = zmq_recv(router, id, sizeof id, ZMQ_DONTWAIT);
	struct frame f;
	zmq_msg_t m;

	if (n < 0)
		return false;
	relay_need(zmq_msg_init(&m) == 0 && zmq_msg_recv(&m, router, 0) >= 0, "a batch");
	if (zmq_msg_size(&m) == 0) {   /* the service is there */
		service_id_n = (size_t)n;
		memcpy(service_id, id, service_id_n);
		relay_need(zmq_send(router, id, service_id_n, ZMQ_SNDMORE) >= 0 && zmq_send(router, "", 0, 0) >= 0, "an answer");
	}
	for (const char *p = zmq_msg_data(&m), *end = p + zmq_msg_size(&m); p < end; p += sizeof f + f.n) {
		memcpy(&f, p, sizeof f);
		relay_queue(f.whose, p + sizeof f, f.n);
	}
	zmq_msg_close(&m);
	return true;
}

bool link_turn(void)
{
	int n = 0;

	send_batch();
	if (!rung)
		return false;
	while (n < RECEIVE_MAX && receive())
		n++;
	rung = n == RECEIVE_MAX;
	return rung;
}

static void on_link(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	rung = true;
}

void link_start(struct event_base *base)
{
	char public[41], secret[41], endpoint[64];
	int on = 1, fd = -1;
	size_t n = sizeof endpoint, fd_n = sizeof fd;
	struct event *ev;

	router = zmq_socket(zmq_ctx_new(), ZMQ_ROUTER);
	relay_need(router != NULL && zmq_curve_keypair(public, secret) == 0 &&
			   zmq_setsockopt(router, ZMQ_CURVE_SERVER, &on, sizeof on) == 0 &&
			   zmq_setsockopt(router, ZMQ_CURVE_SECRETKEY, secret, sizeof secret) == 0 &&
			   zmq_setsockopt(router, ZMQ_ROUTER_MANDATORY, &on, sizeof on) == 0 &&
			   zmq_bind(router, "tcp://127.0.0.1:*") == 0 && zmq_getsockopt(router, ZMQ_LAST_ENDPOINT, endpoint, &n) == 0 &&
			   zmq_getsockopt(router, ZMQ_FD, &fd, &fd_n) == 0,
		   "the link");
	ev = event_new(base, fd, EV_READ | EV_PERSIST, on_link, NULL);
	relay_need(ev != NULL && event_add(ev, NULL) == 0, "the link's event");
	rung = true;
	printf("link=%s key=%s ", endpoint, public);
}

void link_serve(const char *endpoint, const char *key)
{
	char public[41], secret[41];
	void *dealer = zmq_socket(zmq_ctx_new(), ZMQ_DEALER);
	zmq_msg_t m;

	relay_need(dealer != NULL && zmq_curve_keypair(public, secret) == 0 &&
			   zmq_setsockopt(dealer, ZMQ_CURVE_SERVERKEY, key, strlen(key) + 1) == 0 &&
			   zmq_setsockopt(dealer, ZMQ_CURVE_PUBLICKEY, public, sizeof public) == 0 &&
			   zmq_setsockopt(dealer, ZMQ_CURVE_SECRETKEY, secret, sizeof secret) == 0 && zmq_connect(dealer, endpoint) == 0 &&
			   zmq_send(dealer, "", 0, 0) == 0 && zmq_msg_init(&m) == 0 && zmq_msg_recv(&m, dealer, 0) == 0,
		   "the link");
	puts("ready");
	fflush(stdout);
	for (;;) {
		struct frame f;

		relay_need(zmq_msg_recv(&m, dealer, 0) > 0, "a batch");
		for (char *p = zmq_msg_data(&m), *end = p + zmq_msg_size(&m); p < end; p += sizeof f + f.n) {
			memcpy(&f, p, sizeof f);
			f.whose = relay_addressee(f.whose, f.first, p + sizeof f, f.n);
			memcpy(p, &f, sizeof f);
		}
		relay_need(zmq_msg_send(&m, dealer, 0) >= 0, "the link");
	}
}
