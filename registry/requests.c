/*
 * What members ask and announce. Whoever speaks is known by the User-Id that ZAP set, never by its routing id. Nothing is kept for a member
 * that does not read: what its socket does not take is dropped, and it asks again.
 */
#include "registry/server_int.h"

#include <errno.h>
#include <string.h>
#include <zmq.h>

#include "common/log.h"
#include "common/stat.h"

struct request {
	struct registry_server *s;
	zmq_msg_t *route;
	const char *user;
	int fd;                      /* of the connection that it came by */
	uint64_t number, now;
};

/* One message to one member: routing id, then the message. False: it does not read, or is gone. */
static bool answer(void *arg, const struct reg_message *m)
{
	struct request *q = arg;
	zmq_msg_t id;
	bool ok;

	zmq_msg_init(&id);
	ok = zmq_msg_copy(&id, q->route) == 0 && zmq_msg_send(&id, q->s->sockets.router, ZMQ_SNDMORE | ZMQ_DONTWAIT) >= 0;
	if (!ok) {
		zmq_msg_close(&id);
		return false;
	}
	return zmq_send(q->s->sockets.router, m->b, m->n, ZMQ_DONTWAIT) >= 0;
}

/* NOTED or RENEWED goes into the answer that is being filled. */
static void add_answer(struct request *q, const struct reg_frame *f)
{
	struct reg_message *m = &q->s->out;

	if (reg_put(m, f))
		return;
	(void)answer(q, m);
	reg_begin(m, q->s->publisher.epoch, q->number);
	(void)reg_put(m, f);
}

static void spoke(struct request *q, const struct svc_id *owner)
{
	members_spoke(q->s->members, owner, q->user, zmq_msg_data(q->route), zmq_msg_size(q->route), q->fd, registry_now_ms());
}

static void on_entry(struct request *q, struct reg_frame *f)
{
	char why[256];
	struct entry seen;

	f->refused = registry_table_announce(q->s->table, q->user, &f->e, q->now, &seen, why, sizeof(why));
	stat_add(f->refused != NULL ? STAT_registry_refusals : STAT_registry_announcements, 1);
	if (f->refused != NULL)
		log_info("registry", 0, "refused", "kind=%u name=%s key=%s reason=%s", (unsigned)f->e.kind,
			 log_escape(slice_str(f->e.name)), log_escape(slice_str(q->user)), log_escape(slice_str(f->refused)));
	else if (f->e.kind != DIR_REDIRECT && !f->e.gone)
		spoke(q, &f->e.owner);
	f->e.incarnation = seen.incarnation;
	f->e.version = seen.version;
	f->type = REG_NOTED;
	add_answer(q, f);
}

static void on_renew(struct request *q, struct reg_frame *f)
{
	char why[128];

	snprintf(why, sizeof(why), "the registry does not know the key %s", q->user);
	f->refused = keyset_role(registry_table_keys(q->s->table), q->user) == DIR_ROLE_NONE ? why : NULL;
	f->count = f->refused != NULL ? 0 :
		   registry_table_renew(q->s->table, q->user, &f->e.owner, f->e.incarnation, q->now, &f->e.version);
	if (f->count > 0)
		spoke(q, &f->e.owner);
	f->type = REG_RENEWED;
	add_answer(q, f);
}

static void on_snapshot(struct request *q)
{
	struct registry_server *s = q->s;

	if (keyset_role(registry_table_keys(s->table), q->user) == DIR_ROLE_NONE)
		return;
	stat_add(STAT_registry_snapshots, 1);
	snapshots_ask(s->snapshots, zmq_msg_data(q->route), zmq_msg_size(q->route), q->number, q->now);
}

static bool build(void *arg, bool (*add)(void *to, const struct reg_message *m), void *to)
{
	struct registry_server *s = arg;

	return publish_snapshot(&s->publisher, s->table, s->keys.text, s->keys.n, registry_now_ms(), add, to);
}

static uint64_t table_number(void *arg)
{
	return ((struct registry_server *)arg)->publisher.number;
}

static enum snapshots_sent send_piece(void *arg, const void *route, size_t route_n, const struct reg_message *m)
{
	void *router = ((struct registry_server *)arg)->sockets.router;

	if (zmq_send(router, route, route_n, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
		return zmq_errno() == EAGAIN ? SNAPSHOTS_FULL : SNAPSHOTS_GONE;
	return zmq_send(router, m->b, m->n, ZMQ_DONTWAIT) >= 0 ? SNAPSHOTS_SENT : SNAPSHOTS_GONE;
}

const struct snapshots_ops requests_snapshots = { .build = build, .number = table_number, .send = send_piece };

/* A message without a frame says nothing. 0MQ knows a peer by its routing id until its connection has ended. */
static bool is_connected(void *arg, const void *route, size_t route_n)
{
	struct registry_server *s = arg;
	struct reg_message *m = &s->out;

	reg_begin(m, s->publisher.epoch, 0);
	if (zmq_send(s->sockets.router, route, route_n, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0)
		return zmq_errno() == EAGAIN;
	return zmq_send(s->sockets.router, m->b, m->n, ZMQ_DONTWAIT) >= 0;
}

static void on_gone(void *arg, const struct svc_id *owner, const char *key, bool died)
{
	struct registry_server *s = arg;
	size_t nr = registry_table_end(s->table, key, owner, died, registry_now_ms());

	if (nr > 0)
		log_info("registry", 0, "member-gone", "key=%s entries=%zu died=%d why=\"its connection ended and it made no other\"",
			 log_escape(slice_str(key)), nr, died);
}

const struct members_ops requests_members = { .connected = is_connected, .gone = on_gone };

static void add_slot(void *arg, const struct reg_slot *slot)
{
	struct request *q = arg;

	q->s->frame.type = REG_SECRETS_SLOT;
	q->s->frame.slot = *slot;
	add_answer(q, &q->s->frame);
}

/* To a gateway, in a message of its own to it alone, and nothing of it stays here. */
static void on_secrets(struct request *q)
{
	struct registry_server *s = q->s;

	if (keyset_role(registry_table_keys(s->table), q->user) != DIR_ROLE_GATEWAY) {
		log_warn("registry", 0, "refused", "what=secrets key=%s reason=\"not a gateway's\"", log_escape(slice_str(q->user)));
		return;
	}
	if (secrets_each(&s->master, registry_wall_ms(), add_slot, q) != 0)
		log_error("registry", 0, "secrets", "reason=\"OpenSSL derives none\"");
	memset(&s->frame.slot, 0, sizeof(s->frame.slot));
	(void)answer(q, &s->out);
	mem_wipe(s->out.b, s->out.n);
	reg_begin(&s->out, s->publisher.epoch, q->number);
}

static void serve(struct request *q, const uint8_t *p, size_t n)
{
	struct registry_server *s = q->s;
	struct wire_batch b;
	int rc = reg_header(&p, &n, &b);

	q->number = b.number;
	s->nr_announced = s->nr_withdrawn = 0;
	reg_begin(&s->out, s->publisher.epoch, q->number);
	while (rc == 0 && (rc = reg_next(&p, &n, &s->frame)) > 0) {
		if (s->frame.type == REG_ENTRY)
			on_entry(q, &s->frame);
		else if (s->frame.type == REG_RENEW)
			on_renew(q, &s->frame);
		else if (s->frame.type == REG_SNAPSHOT)
			on_snapshot(q);
		else if (s->frame.type == REG_SECRETS)
			on_secrets(q);
		rc = 0;
	}
	if (s->nr_announced + s->nr_withdrawn > 0)
		log_info("registry", 0, "registrations", "key=%s announced=%u withdrawn=%u", log_escape(slice_str(q->user)),
			 s->nr_announced, s->nr_withdrawn);
	if (rc < 0)
		log_info("registry", 0, "broken-message", "key=%s reason=%s", log_escape(slice_str(q->user)), wire_strerror(rc));
	if (s->out.n > WIRE_BATCH_HEADER)
		(void)answer(q, &s->out);
}

/* Routing id, then one part. Anything else is passed over. */
bool requests_serve_one(struct registry_server *s)
{
	zmq_msg_t route, body;
	int parts = 0;

	zmq_msg_init(&route);
	if (zmq_msg_recv(&route, s->sockets.router, ZMQ_DONTWAIT) < 0) {
		zmq_msg_close(&route);
		return false;
	}
	zmq_msg_init(&body);
	for (bool more = zmq_msg_more(&route); more; parts++) {
		if (zmq_msg_recv(&body, s->sockets.router, 0) < 0)
			break;
		more = zmq_msg_more(&body);
	}
	if (parts == 1 && zmq_msg_gets(&body, "User-Id") != NULL) {
		struct request q = { .s = s, .route = &route, .user = zmq_msg_gets(&body, "User-Id"),
				     .fd = zmq_msg_get(&body, ZMQ_SRCFD), .now = registry_now_ms() };

		serve(&q, zmq_msg_data(&body), zmq_msg_size(&body));
	}
	zmq_msg_close(&body);
	zmq_msg_close(&route);
	return true;
}
