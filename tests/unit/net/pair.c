#include "pair.h"

#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../check.h"
#include "ca.h"
#include "net/transport.h"

struct loop *loop;
struct end a, b;
int raw;
struct conn_limits limits;

static struct tls_store *store;

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "test set-up failed: %s\n", what);
	abort();
}

/* --- what an end notes --------------------------------------------------- */

static void on_connected(void *arg)
{
	((struct end *)arg)->nr_connected++;
}

static void on_data(void *arg, struct slice bytes)
{
	struct end *e = arg;

	e->nr_data++;
	e->biggest = bytes.n > e->biggest ? bytes.n : e->biggest;
	must(buf_add_slice(&e->in, bytes) == 0, "input");
	if (e->on_data)
		e->on_data(e, bytes);
}

static void on_tls_done(void *arg)
{
	((struct end *)arg)->nr_tls++;
}

static void on_waits(void *arg, bool waits)
{
	struct end *e = arg;

	e->nr_waits += waits;
	e->nr_went += !waits;
}

static void on_drained(void *arg)
{
	((struct end *)arg)->nr_drained++;
}

static void on_stalled(void *arg)
{
	((struct end *)arg)->nr_stalled++;
}

static void on_acked(void *arg, uint64_t pos)
{
	struct end *e = arg;

	CHECK(pos >= e->acked);
	CHECK(pos <= conn_position(e->conn));
	e->acked = pos;
	e->nr_acked++;
}

static void on_closed(void *arg, enum conn_end why, const char *text)
{
	struct end *e = arg;

	e->nr_closed++;
	e->why = why;
	snprintf(e->text, sizeof e->text, "%s", text);
	if (e->on_closed)
		e->on_closed(e);
	e->conn = NULL;
}

const struct conn_ops pair_ops = {
	.connected = on_connected,
	.data = on_data,
	.tls_done = on_tls_done,
	.waits = on_waits,
	.stalled = on_stalled,
	.drained = on_drained,
	.acked = on_acked,
	.closed = on_closed,
};

/* --- running ------------------------------------------------------------- */

struct wait {
	struct loop_timer timer;
	bool (*done)(const void *arg, uint64_t want);
	const void *arg;
	uint64_t want, until;
	bool ok;
};

static void look(void *arg)
{
	struct wait *w = arg;

	w->ok = w->done(w->arg, w->want);
	if (w->ok || loop_now_ms(loop) >= w->until)
		loop_stop(loop);
	else
		loop_timer_set(&w->timer, 1);
}

static bool run(bool (*done)(const void *arg, uint64_t want), const void *arg, uint64_t want, unsigned ms)
{
	struct wait w = {.done = done, .arg = arg, .want = want, .until = loop_now_ms(loop) + ms};

	loop_timer_init(loop, &w.timer, look, &w);
	loop_timer_set(&w.timer, 0);
	loop_run(loop);
	loop_timer_cancel(&w.timer);
	return w.ok;
}

static bool enough(const void *arg, uint64_t want)
{
	return *(const unsigned *)arg >= want;
}

static bool never(const void *arg, uint64_t want)
{
	(void)arg;
	(void)want;
	return false;
}

static bool enough_in(const void *arg, uint64_t want)
{
	return buf_len(&((const struct end *)arg)->in) >= want;
}

static bool enough_acked(const void *arg, uint64_t want)
{
	return ((const struct end *)arg)->acked >= want;
}

bool run_until(const unsigned *n, unsigned want)
{
	return run(enough, n, want, 5000);
}

bool run_until_in(const struct end *e, size_t bytes)
{
	return run(enough_in, e, bytes, 10000);
}

bool run_until_acked(const struct end *e, uint64_t pos)
{
	return run(enough_acked, e, pos, 10000);
}

void run_for(unsigned ms)
{
	(void)run(never, NULL, 0, ms);
}

/* --- pairs --------------------------------------------------------------- */

static int listen_any(struct sockaddr_in *at)
{
	socklen_t len = sizeof *at;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	must(fd >= 0 && bind(fd, (struct sockaddr *)at, sizeof *at) == 0 && transport_tune(fd) && listen(fd, 8) == 0 &&
	     getsockname(fd, (struct sockaddr *)at, &len) == 0, "listen");
	return fd;
}

static void take(int listening)
{
	struct sockaddr_in peer;
	socklen_t len = sizeof peer;
	int fd = accept4(listening, (struct sockaddr *)&peer, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

	must(fd >= 0, "accept");
	close(listening);
	b.conn = conn_accept(loop, fd, (struct sockaddr *)&peer, len, &limits, &pair_ops, &b);
}

void pair_begin(void)
{
	signal(SIGPIPE, SIG_IGN); /* as daemon_init() does: OpenSSL writes without MSG_NOSIGNAL */
	a = b = (struct end){0};
	a.other = &b;
	b.other = &a;
	buf_init(&a.in, 64u << 20);
	buf_init(&b.in, 64u << 20);
	raw = -1;
	limits = (struct conn_limits){.out_high = 65536, .out_low = 16384, .out_max = 16u << 20};
	loop = loop_new();
	must(loop != NULL, "loop");
}

void pair_open(void)
{
	struct sockaddr_in at;
	int listening = listen_any(&at);

	a.conn = conn_connect(loop, (struct sockaddr *)&at, sizeof at, &limits, &pair_ops, &a);
	must(a.conn != NULL, "connect");
	take(listening);
	must(run_until(&a.nr_connected, 1), "connected");
}

void pair_raw(void)
{
	struct sockaddr_in at;
	int listening = listen_any(&at);

	raw = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(raw >= 0 && connect(raw, (struct sockaddr *)&at, sizeof at) == 0, "connect");
	take(listening);
}

static void finish(struct end *e)
{
	bool had = e->conn != NULL || e->nr_closed != 0;

	if (e->conn)
		conn_abort(e->conn);
	loop_turn(loop);
	if (had)
		CHECK_EQ(e->nr_closed, 1);
	buf_clear(&e->in);
}

void pair_end(void)
{
	finish(&a);
	finish(&b);
	if (raw >= 0)
		close(raw);
	loop_free(loop);
	tls_store_unref(store);
	store = NULL;
}

/* --- TLS ----------------------------------------------------------------- */

struct tls_store *pair_store(void)
{
	static const char *const none[] = {NULL};
	static const char *state;
	char why[200];

	state = state ? state : ca_folder();
	if (store == NULL)
		store = tls_store_load(&(struct tls_store_options){.dirs = none, .state_dir = state, .public_host = "host.example"}, why,
				       sizeof why);
	must(store != NULL, why);
	return store;
}

SSL *pair_ssl(bool server)
{
	return tls_store_ssl(pair_store(), server ? TLS_C2S : TLS_S2S_OUT, server ? NULL : "host.example", NULL, NULL);
}

void pair_tls(void)
{
	pair_open();
	conn_start_tls(b.conn, pair_ssl(true));
	conn_start_tls(a.conn, pair_ssl(false));
	must(run_until(&a.nr_tls, 1) && run_until(&b.nr_tls, 1), "handshake");
}

/* --- a pattern ----------------------------------------------------------- */

static char at(size_t i)
{
	return (char)((i * 2654435761u) >> 13);
}

void fill(char *p, size_t n, size_t from)
{
	for (size_t i = 0; i < n; i++)
		p[i] = at(from + i);
}

bool is_pattern(struct slice s, size_t from)
{
	for (size_t i = 0; i < s.n; i++) {
		if (s.p[i] != at(from + i))
			return false;
	}
	return true;
}
