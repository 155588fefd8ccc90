#include "role/edge_int.h"

#include <stdlib.h>
#include <unistd.h>

#include "common/log.h"
#include "common/stat.h"
#include "role/blocks.h"
#include "role/counts.h"

/*
 * Bytes flow conn -> stream here. What the stream did not consume, because it waits for an answer, is kept (one read at most) while reading
 * is paused. The stream may be freed only when the connection is gone, so no callback of either can meet a freed other.
 */

#define REST_MAX 65536
#define LINGER_MS 1000
/* A read with so much white space between stanzas is no sign of life but a flood: the next one waits. */
#define BLANKS_A_READ 4096
#define BLANKS_MS 100

static struct edge *edge_of(void *arg)
{
	struct edge *e = arg;

	OBJ_CHECK(e, EDGE_MAGIC);
	return e;
}

static void on_timer(void *arg)
{
	struct edge *e = edge_of(arg);

	e->timer_at_ms = UINT64_MAX;
	edge_kick(e);
}

static void make_stream(struct edge *e, const struct stream_params *p, const struct stream_ops *ops)
{
	e->stream = stream_new(p, ops, e, loop_now_ms(e->env->loop));
	e->kind = p->role;
	e->state_seen = stream_state(e->stream);
	edge_count_begin(e);
}

/* The stream's next deadline; an armed earlier one is left to fire and be set anew, so that a busy stream re-arms nothing. */
static void arm(struct edge *e)
{
	uint64_t now = loop_now_ms(e->env->loop);
	uint64_t at;

	if (e->ended || (e->waits && stream_state(e->stream) < STREAM_CLOSING))
		return;
	at = stream_tick(e->stream, now);
	if (e->slowed_until_ms > now && e->slowed_until_ms < at)
		at = e->slowed_until_ms;
	if (e->ended || at >= e->timer_at_ms)
		return;
	e->timer_at_ms = at;
	loop_timer_set(&e->timer, at > now ? at - now : 0);
}

static void set_paused(struct edge *e, bool paused)
{
	if (e->paused == paused || e->conn == NULL)
		return;
	e->paused = paused;
	conn_pause(e->conn, paused);
}

/* The stream takes no more for now, or is to wait for its next turn. */
static bool is_stopped(const struct edge *e)
{
	return !e->tls_running &&
	       (!stream_wants_input(e->stream) || buf_len(&e->rest) > 0 || e->slowed_until_ms > loop_now_ms(e->env->loop));
}

/* Others have their turn before it goes on. */
static void yield(struct edge *e)
{
	loop_task_cancel(e->env->loop, &e->resume);
	if (e->conn != NULL && conn_stands_behind(e->conn))
		loop_task_queue_behind(e->env->loop, &e->resume);
	else
		loop_task_queue_next(e->env->loop, &e->resume);
	e->yielded = true;
}

/* Keeps what the stream left over. It is never more than one read, since reading stops while anything is left. */
static void keep(struct edge *e, struct slice in)
{
	if (in.n > 0 && buf_add_slice(&e->rest, in) != 0)
		edge_close(e, CLOSE_RESOURCE_CONSTRAINT);
}

static void feed(struct edge *e, struct slice in)
{
	uint64_t now = loop_now_ms(e->env->loop);
	enum stream_state state;
	size_t used = 0;
	bool slowed, moved;

	stream_feed(e->stream, in, &used, now);
	edge_count_state(e);
	moved = !e->ended && edge_count_unfinished(e);
	if (e->ended)
		return;
	/* RFC 6120 5.4.3.3: what came before the handshake does not survive it. */
	if (!e->tls_running)
		keep(e, (struct slice){in.p + used, in.n - used});
	slowed = stream_fed_blanks(e->stream) >= BLANKS_A_READ;
	if (slowed)
		e->slowed_until_ms = now + BLANKS_MS;
	set_paused(e, is_stopped(e));
	if (buf_len(&e->rest) > 0 && stream_wants_input(e->stream))
		yield(e);
	state = stream_state(e->stream);
	if (slowed || moved || state != e->state_seen || e->timer_at_ms == UINT64_MAX) {
		e->state_seen = state;
		arm(e);
	}
}

void edge_hold(struct edge *e, bool full)
{
	if (e->ended)
		return;
	if (!full && !e->held) { /* as it is behind nearly every stanza */
		ASSERT(e->kept == NULL);
		return;
	}
	edge_count_held(e, full);
	edge_count_kept(e);
	stream_hold(e->stream, full);
	if (full)
		edge_kick(e); /* to arm its deadline */
}

static void set_ended(struct edge *e)
{
	e->ended = true;
	edge_count_held(e, false);
	kept_drop(&e->kept);
	halves_set(&e->env->halves, &e->half, 0, false);
}

static void on_data(void *arg, struct slice bytes)
{
	struct edge *e = edge_of(arg);

	if (e->ended)
		return;
	if (buf_len(&e->rest) > 0) {
		keep(e, bytes);
		edge_kick(e);
		return;
	}
	feed(e, bytes);
}

static void on_resume(void *arg)
{
	struct edge *e = edge_of(arg);

	e->yielded = false;
	if (e->ended || e->stream == NULL)
		return;
	edge_count_state(e);
	if (buf_len(&e->rest) > 0 && stream_wants_input(e->stream)) {
		struct buf rest = e->rest;

		buf_init(&e->rest, REST_MAX);
		feed(e, buf_slice(&rest));
		buf_clear(&rest);
		if (e->ended)
			return;
	} else {
		set_paused(e, is_stopped(e));
	}
	arm(e);
}

/* The time for which we make it wait is not its own. */
static void on_waits(void *arg, bool waits)
{
	struct edge *e = edge_of(arg);
	uint32_t now = (uint32_t)loop_now_ms(e->env->loop);

	if (e->ended || e->waits == waits)
		return;
	e->waits = waits;
	if (waits)
		e->waits_since_ms = now;
	else
		stream_put_off(e->stream, now - e->waits_since_ms);
	arm(e);
}

static void on_tls_done(void *arg)
{
	struct edge *e = edge_of(arg);

	e->tls_running = false;
	if (e->ended)
		return;
	log_info(e->role, e->id, "tls", "version=%s cipher=%s", SSL_get_version(conn_ssl(e->conn)), SSL_get_cipher(conn_ssl(e->conn)));
	if (e->tls_first)
		stream_start(e->stream, loop_now_ms(e->env->loop));
	else
		stream_tls_done(e->stream, loop_now_ms(e->env->loop));
	edge_kick(e);
}

static void on_drained(void *arg)
{
	struct edge *e = edge_of(arg);

	if (!e->ended)
		e->ops->drained(e);
}

/* It hears of it if it reads on while the rest is flushed. */
static void on_stalled(void *arg)
{
	struct edge *e = edge_of(arg);

	if (!e->ended)
		stream_close(e->stream, CLOSE_STALLED);
	if (!e->ended)
		stream_lost(e->stream, CLOSE_STALLED);
}

static void on_acked(void *arg, uint64_t pos)
{
	struct edge *e = edge_of(arg);

	if (!e->ended)
		e->ops->acked(e, pos);
}

static enum close_reason reason_of(enum conn_end why)
{
	switch (why) {
	case CONN_END_EOF:
		return CLOSE_EOF;
	case CONN_END_TLS_FAILED:
		return CLOSE_TLS_FAILED;
	case CONN_END_CONNECT_FAILED:
		return CLOSE_CONNECT_FAILED;
	case CONN_END_OVERFLOW:
		return CLOSE_SLOW_READER;
	case CONN_END_CROWDED:
		return CLOSE_CROWDED;
	case CONN_END_CLOSED_BY_US:
		return CLOSE_DONE;
	case CONN_END_RESET:
		break;
	}
	return CLOSE_LOST;
}

static void on_closed(void *arg, enum conn_end why, const char *text)
{
	struct edge *e = edge_of(arg);

	if (why != CONN_END_CLOSED_BY_US && !e->ended)
		log_debug(e->role, e->id, "connection", "why=%s", log_escape(slice_str(text)));
	if (!e->ended && e->stream != NULL)
		stream_lost(e->stream, reason_of(why));
	if (!e->ended) {
		set_ended(e);
		e->ops->ended(e, reason_of(why), text);
	}
	log_debug(e->role, e->id, "gone", "in=%llu out=%llu", (unsigned long long)conn_bytes_in(e->conn),
		  (unsigned long long)conn_bytes_out(e->conn));
	e->conn = NULL;
	loop_timer_cancel(&e->timer);
	loop_task_cancel(e->env->loop, &e->resume);
	e->ops->gone(e);
}

static void on_connected(void *arg)
{
	struct edge *e = edge_of(arg);

	if (e->ended)
		return;
	if (e->tls_first)
		edge_op_start_tls(e);
	else
		stream_start(e->stream, loop_now_ms(e->env->loop));
	edge_kick(e);
	e->ops->connected(e);
}

static const struct conn_ops conn_ops = {
	.connected = on_connected,
	.data = on_data,
	.tls_done = on_tls_done,
	.waits = on_waits,
	.stalled = on_stalled,
	.drained = on_drained,
	.acked = on_acked,
	.closed = on_closed,
};

void edge_init(struct edge *e, struct role_env *env, const char *role, const struct edge_ops *ops)
{
	e->magic = EDGE_MAGIC;
	e->env = env;
	e->role = role;
	e->ops = ops;
	e->id = ++env->next_id;
	e->since_ms = loop_now_ms(env->loop);
	e->timer_at_ms = UINT64_MAX;
	e->negotiating = true;
	buf_init(&e->rest, REST_MAX);
	loop_task_init(&e->resume, on_resume, e);
	loop_timer_init(env->loop, &e->timer, on_timer, e);
	e->next = env->edges;
	e->prev = &env->edges;
	if (e->next != NULL)
		e->next->prev = &e->next;
	env->edges = e;
	env->nr_edges++;
}

static void unlink_edge(struct edge *e)
{
	for (struct edge_walk *w = e->env->walks; w != NULL; w = w->next) {
		if (w->at == e)
			w->at = e->next;
	}
	edge_count_end(e);
	*e->prev = e->next;
	if (e->next != NULL)
		e->next->prev = e->prev;
	e->env->nr_edges--;
}

bool edge_accept(struct edge *e, int fd, const struct sockaddr *peer, socklen_t len, const struct stream_params *p,
		 const struct stream_ops *ops)
{
	/* Who is blocked gets no word: to answer would be work that an attacker can ask for. */
	if (blocks_address(e->env->blocks, peer, loop_now_ms(e->env->loop)))
		stat_add(STAT_connections_blocked, 1);
	else
		e->address = admit_enter(e->env, peer);
	if (e->address == NULL) {
		unlink_edge(e);
		close(fd);
		return false;
	}
	stat_add(STAT_connections_accepted, 1);
	e->conn = conn_accept(e->env->loop, fd, peer, len, &e->env->limits.conn, &conn_ops, e);
	log_info(e->role, e->id, "accept", "address=%s port=%u tls=%s", conn_peer_text(e->conn), conn_peer_port(e->conn),
		 p->direct_tls ? "direct" : "later");
	make_stream(e, p, ops);
	if (p->direct_tls)
		edge_op_start_tls(e);
	else
		conn_pause(e->conn, false);
	arm(e);
	return true;
}

bool edge_connect(struct edge *e, const struct sockaddr *to, socklen_t len)
{
	e->conn = conn_connect(e->env->loop, to, len, &e->env->limits.conn, &conn_ops, e);
	if (e->conn == NULL)
		unlink_edge(e);
	return e->conn != NULL;
}

void edge_start(struct edge *e, const struct stream_params *p, const struct stream_ops *ops)
{
	e->tls_first = p->direct_tls;
	make_stream(e, p, ops);
	arm(e);
}

void edge_kick(struct edge *e)
{
	if (!e->ended && !e->yielded)
		loop_task_queue(e->env->loop, &e->resume);
}

void edge_authenticated(struct edge *e)
{
	if (e->negotiating && e->address != NULL)
		admit_authenticated(e->address);
	e->negotiating = false;
}

/* Whom we dialled ourselves nobody counts. */
struct slice edge_who(const struct edge *e)
{
	return e->address != NULL ? admit_key(e->address) : slice_str(conn_peer_text(e->conn));
}

void edge_close(struct edge *e, enum close_reason r)
{
	if (e->ended)
		return;
	if (e->waits) {
		/* a word for it would wait as long as it does */
		stream_lost(e->stream, r);
		conn_abort(e->conn);
	} else if (e->stream != NULL) {
		stream_close(e->stream, r);
		edge_kick(e);
	} else if (e->conn != NULL) {
		conn_abort(e->conn);
	}
}

static void free_edge(void *p)
{
	struct edge *e = p;

	stream_free(e->stream);
	buf_clear(&e->rest);
	e->magic = 0;
	free(e);
}

void edge_free_later(struct edge *e)
{
	struct role_env *env = e->env;

	unlink_edge(e);
	admit_leave(env, e->address, e->negotiating);
	loop_reap(env->loop, free_edge, e);
	if (env->nr_edges == 0 && env->leaving && env->drained != NULL)
		env->drained(env->drained_arg);
}

void edge_op_send(void *arg, struct slice bytes)
{
	struct edge *e = edge_of(arg);

	if (e->conn != NULL)
		conn_send(e->conn, bytes);
}

void edge_op_start_tls(void *arg)
{
	struct edge *e = edge_of(arg);
	SSL *ssl = e->ops->make_ssl(e);

	if (ssl == NULL) {
		log_warn(e->role, e->id, "tls", "why=\"no TLS object\"");
		conn_abort(e->conn);
		return;
	}
	e->tls_running = true;
	buf_clear(&e->rest);
	conn_start_tls(e->conn, ssl);
}

void edge_op_closed(void *arg, enum close_reason r, const char *detail)
{
	struct edge *e = edge_of(arg);

	if (e->ended)
		return;
	/* What the peer has by now was delivered, though the stream is over. */
	if (e->conn != NULL)
		conn_look_acks(e->conn);
	set_ended(e);
	edge_count_state(e);
	stat_add(count_close(r), 1);
	log_info(e->role, e->id, "close", "reason=%s%s%s seconds=%llu", close_word(r), detail ? " detail=" : "",
		 detail ? log_escape(slice_str(detail)) : "", (unsigned long long)((loop_now_ms(e->env->loop) - e->since_ms) / 1000));
	e->ops->ended(e, r, detail);
	if (e->conn != NULL)
		conn_close(e->conn, r == CLOSE_PEER || r == CLOSE_EOF || r == CLOSE_LOST ? 0 : LINGER_MS);
}
