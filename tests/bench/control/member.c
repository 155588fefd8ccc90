/*
 * A member in little. What it sees goes into its checksum: a snapshot into a new one, updates into the one in force. Every entry is
 * announced once under its name, so a message applied twice, or not at all, shows for good.
 */
#include "tests/bench/control/member.h"

#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>
#include <zmq.h>

#include "svcproto/zlife.h"

#define AGAIN_MS 3000u
#define HIGH_WATER 4096
#define NEVER UINT64_MAX

static struct reg_message out;

static bool set(void *socket, int option, int value)
{
	return zmq_setsockopt(socket, option, &value, sizeof(value)) == 0;
}

static bool set_text(void *socket, int option, const char *text)
{
	return zmq_setsockopt(socket, option, text, strlen(text) + 1) == 0;
}

static bool set_options(void *s, int type, const struct member *m)
{
	return set(s, ZMQ_LINGER, 0) && set(s, ZMQ_IMMEDIATE, 1) && set(s, ZMQ_SNDHWM, HIGH_WATER) && set(s, ZMQ_RCVHWM, HIGH_WATER) &&
	       zlife_set(s) && set(s, ZMQ_RECONNECT_IVL, 100) && set(s, ZMQ_RECONNECT_IVL_MAX, 2000) && set(s, ZMQ_HANDSHAKE_IVL, 60000) &&
	       set_text(s, ZMQ_CURVE_SERVERKEY, m->w->server_key) && set_text(s, ZMQ_CURVE_PUBLICKEY, m->key.public_z85) &&
	       set_text(s, ZMQ_CURVE_SECRETKEY, m->key.secret_z85) && (type != ZMQ_SUB || zmq_setsockopt(s, ZMQ_SUBSCRIBE, "", 0) == 0);
}

static int open_socket(struct member *m, enum member_socket which, int type, const char *endpoint)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET, .data.u64 = 2 * m->index + which };
	void *s = m->sockets[which] = zmq_socket(m->w->zmq, type);
	size_t n = sizeof(int);
	int fd;

	if (s == NULL || !set_options(s, type, m) || zmq_connect(s, endpoint) != 0 || zmq_getsockopt(s, ZMQ_FD, &fd, &n) != 0)
		return -1;
	return epoll_ctl(m->w->epoll, EPOLL_CTL_ADD, fd, &ev);
}

int member_open(struct member *m, struct world *w, unsigned index)
{
	m->w = w;
	m->index = index;
	m->announce_due = true;
	m->snapshot_due_ms = m->renew_at_ms = 0;
	return open_socket(m, MEMBER_DEALER, ZMQ_DEALER, w->router) != 0 ? -1 : open_socket(m, MEMBER_SUB, ZMQ_SUB, w->pub);
}

void member_close(struct member *m)
{
	for (int i = 0; i < 2; i++)
		if (m->sockets[i] != NULL)
			(void)zmq_close(m->sockets[i]);
	m->sockets[0] = m->sockets[1] = NULL;
	svc_key_wipe(&m->key);
}

unsigned member_nr_entries(const struct member *m)
{
	return !world_is_service(m->w, m->index) ? 1 : m->w->registered ? m->w->registrations : 0;
}

struct entry member_entry(const struct member *m, unsigned i, const char *name)
{
	struct entry e = { .owner = world_owner(m->index), .incarnation = 1, .version = i + 1, .lease_ms = REG_LEASE_MAX_MS, .name = name };

	memcpy(e.key, m->key.public_z85, sizeof(e.key));
	if (world_is_service(m->w, m->index)) {
		e.kind = DIR_REGISTRATION;
		e.types = SVCPROTO_CLIENT | SVCPROTO_SERVER;
		e.weight = 1;
		e.policy = entry_policy("hash", 4);
	} else {
		e.kind = DIR_GATEWAY;
		e.public_host = "gateway.example";
	}
	return e;
}

/* ---- what leaves ---- */

static bool send_out(struct member *m)
{
	return zmq_send(m->sockets[MEMBER_DEALER], out.b, out.n, ZMQ_DONTWAIT) == (int)out.n;
}

static bool send_frame(struct member *m, uint8_t type, uint64_t number)
{
	static struct reg_frame f;

	f.type = type;
	f.e.owner = world_owner(m->index);
	f.e.incarnation = 1;
	reg_begin(&out, 0, number);
	return reg_put(&out, &f) && send_out(m);
}

static void announce(struct member *m)
{
	unsigned i = 0, nr = member_nr_entries(m);

	while (i < nr) {
		struct entry e = member_entry(m, i, world_name(m->w, m->index, i));

		reg_begin(&out, 0, 0);
		while (i < nr && reg_put_entry(&out, &e) && ++i < nr)
			e = member_entry(m, i, world_name(m->w, m->index, i));
		if (!send_out(m))
			return;
	}
	m->announce_due = false;
}

bool member_probe(struct member *m, bool gone)
{
	struct entry e = member_entry(m, m->w->registrations + 2 * m->w->probe + gone, world_probe_name(m->w, m->index));

	e.gone = gone;
	reg_begin(&out, 0, 0);
	return reg_put_entry(&out, &e) && send_out(m);
}

void member_want_snapshot(struct member *m, uint64_t now_ms)
{
	m->synced = false;
	m->coming = false;
	m->snapshot_due_ms = now_ms;
}

static void ask_snapshot(struct member *m, uint64_t now_ms)
{
	/* What was published before will be in it. */
	m->coming = false;
	member_read(m, MEMBER_SUB);
	m->coming = send_frame(m, REG_SNAPSHOT, ++m->request);
	m->next = (struct checksum){ 0 };
	m->w->snapshots += m->coming;
	m->snapshot_due_ms = now_ms + (m->coming ? AGAIN_MS : 100);
}

void member_tick(struct member *m, uint64_t now_ms)
{
	if (m->announce_due)
		announce(m);
	if (m->renew_at_ms <= now_ms)
		m->renew_at_ms = now_ms + (send_frame(m, REG_RENEW, 0) ? REG_RENEW_MS : 100);
	if (!m->synced && m->snapshot_due_ms <= now_ms)
		ask_snapshot(m, now_ms);
	/* A send may have eaten a descriptor's edge. */
	member_read(m, MEMBER_DEALER);
	if (!m->coming)
		member_read(m, MEMBER_SUB);
}

/* ---- what arrives ---- */

/* The answers that are this member's alone. */
static void on_own_answer(struct member *m, const uint8_t *p, size_t n)
{
	static struct reg_frame f;

	while (reg_next(&p, &n, &f) > 0) {
		if (f.refused != NULL)
			m->w->refused++;
		else if (f.type == REG_RENEWED && f.count < member_nr_entries(m))
			m->announce_due = true;
	}
}

static void on_answer(struct member *m, const uint8_t *p, size_t n, const struct wire_batch *b)
{
	const struct delta *d;

	if (n < WIRE_FRAME_HEADER || p[0] == REG_NOTED || p[0] == REG_RENEWED) {
		on_own_answer(m, p, n);
		return;
	}
	if (b->number != m->request || !m->coming || (d = checksum_read(p, n)) == NULL)
		return;
	m->snapshot_due_ms = world_now_ms() + AGAIN_MS;
	checksum_apply(&m->next, &d->change);
	if (!d->end)
		return;
	m->view = m->next;
	m->number = d->end_number;
	m->epoch = b->epoch;
	m->synced = true;
	m->coming = false;
	member_read(m, MEMBER_SUB);
}

static void on_publication(struct member *m, const uint8_t *p, size_t n, const struct wire_batch *b)
{
	bool beat = n >= WIRE_FRAME_HEADER && p[0] == REG_BEAT;
	const struct delta *d;

	if (!m->synced)
		return;
	if (b->epoch != m->epoch || b->number > m->number + !beat) {
		m->w->gaps++;
		if (b->epoch != m->epoch)
			m->renew_at_ms = 0;
		member_want_snapshot(m, world_now_ms());
		return;
	}
	if (beat || b->number <= m->number || (d = checksum_read(p, n)) == NULL)
		return;
	m->number = b->number;
	checksum_apply(&m->view, &d->change);
	if (d->probe != 0 && d->probe == m->w->probe && !world_is_service(m->w, m->index))
		world_saw_probe(m->w);
}

static void on_message(struct member *m, enum member_socket which, const uint8_t *p, size_t n)
{
	struct wire_batch b;

	if (reg_header(&p, &n, &b) != 0)
		return;
	if (which == MEMBER_DEALER)
		on_answer(m, p, n, &b);
	else
		on_publication(m, p, n, &b);
}

void member_read(struct member *m, enum member_socket which)
{
	zmq_msg_t msg;

	/* Updates wait for the snapshot that was asked for. */
	while (which == MEMBER_DEALER || !m->coming) {
		zmq_msg_init(&msg);
		if (zmq_msg_recv(&msg, m->sockets[which], ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(&msg);
			return;
		}
		on_message(m, which, zmq_msg_data(&msg), zmq_msg_size(&msg));
		zmq_msg_close(&msg);
	}
}
